//! The ledger while a batch is applied: rows read once, changed in memory, handed out at the end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::parameters::{Parameters, Rates};
use super::rows::{self, Chain, Node, Placement, Row, Supply, Wallet};
use super::token::Balance;
use super::tree;
use super::validators::Validators;
use super::view::{Changes, View, ViewError};
use crate::crypto::NodePublicKey;
use crate::ids::{Did, NetworkId};
use crate::time::Timestamp;

/// A row in memory.
struct Cached<T> {
    value: Option<T>,
    written: bool,
}

/// Rows over a view. Wallets, which every transaction reads and writes several times, and the rows there is one of
/// are kept parsed. The maps have no order; what leaves is sorted.
pub(crate) struct State<'v, V> {
    view: &'v V,
    rows: HashMap<Vec<u8>, Cached<Vec<u8>>>,
    wallets: HashMap<Did, Cached<Box<Wallet>>>,
    /// How often a row was written; a refusal must leave it as it is.
    pub(crate) writes: u64,
    pub(crate) network: NetworkId,
    pub(crate) height: u64,
    pub(crate) now: Timestamp,
    pub(crate) parameters: Arc<Parameters>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) validators: Arc<Validators>,
    pub(crate) supply: Supply,
}

fn singleton<R: Row>(view: &impl View) -> Result<R, ViewError> {
    rows::read(view, &[])?.ok_or(ViewError::Damaged { table: R::TABLE })
}

impl<'v, V: View> State<'v, V> {
    /// The state of `view`, on its way to `height` at `now`. Genesis must have been written.
    pub(crate) fn load(view: &'v V, height: u64, now: Timestamp) -> Result<Self, ViewError> {
        let chain: Chain = singleton(view)?;
        Ok(Self {
            view,
            rows: HashMap::new(),
            wallets: HashMap::new(),
            writes: 0,
            network: chain.network.parse().map_err(|_| ViewError::Damaged { table: Chain::TABLE })?,
            height,
            now,
            parameters: Arc::new(singleton(view)?),
            rates: Arc::new(singleton(view)?),
            validators: Arc::new(singleton(view)?),
            supply: singleton(view)?,
        })
    }

    /// The same state again. Nothing may have been changed in this one.
    pub(crate) fn again(&self) -> Self {
        debug_assert_eq!(self.writes, 0, "nothing was changed");
        Self {
            view: self.view,
            rows: HashMap::new(),
            wallets: HashMap::new(),
            writes: 0,
            network: self.network.clone(),
            height: self.height,
            now: self.now,
            parameters: Arc::clone(&self.parameters),
            rates: Arc::clone(&self.rates),
            validators: Arc::clone(&self.validators),
            supply: self.supply.clone(),
        }
    }

    pub(crate) fn get<R: Row>(&mut self, parts: &[&[u8]]) -> Result<Option<R>, ViewError> {
        let key = rows::key::<R>(parts);
        if let Some(cached) = self.rows.get(&key) {
            return cached.value.as_deref().map(rows::parse).transpose();
        }
        let value = self.view.get(&key)?;
        let row = value.as_deref().map(rows::parse).transpose()?;
        self.rows.insert(key, Cached { value, written: false });
        Ok(row)
    }

    pub(crate) fn put<R: Row>(&mut self, parts: &[&[u8]], row: &R) {
        self.writes += 1;
        self.rows.insert(rows::key::<R>(parts), Cached { value: Some(rows::value(row)), written: true });
    }

    pub(crate) fn delete<R: Row>(&mut self, parts: &[&[u8]]) {
        self.writes += 1;
        self.rows.insert(rows::key::<R>(parts), Cached { value: None, written: true });
    }

    /// The wallet as it is by now, in its place.
    fn cached(&mut self, account: &Did) -> Result<&mut Cached<Box<Wallet>>, ViewError> {
        match self.wallets.entry(account.clone()) {
            Entry::Occupied(cached) => Ok(cached.into_mut()),
            Entry::Vacant(place) => {
                let value: Option<Wallet> = rows::read(self.view, &[account.as_str().as_bytes()])?;
                Ok(place.insert(Cached { value: value.map(Box::new), written: false }))
            }
        }
    }

    pub(crate) fn wallet(&mut self, account: &Did) -> Result<Option<Wallet>, ViewError> {
        Ok(self.cached(account)?.value.as_deref().cloned())
    }

    pub(crate) fn put_wallet(&mut self, account: &Did, wallet: Wallet) {
        self.writes += 1;
        match self.wallets.get_mut(account) {
            Some(Cached { value: Some(value), written }) => (**value, *written) = (wallet, true),
            _ => {
                let cached = Cached { value: Some(Box::new(wallet)), written: true };
                self.wallets.insert(account.clone(), cached);
            }
        }
    }

    /// A wallet that a check has found.
    pub(crate) fn existing(&mut self, account: &Did) -> Result<Wallet, ViewError> {
        self.wallet(account)?.ok_or(ViewError::Damaged { table: Wallet::TABLE })
    }

    /// A wallet that a check has found, to look at.
    pub(crate) fn look(&mut self, account: &Did) -> Result<&Wallet, ViewError> {
        self.cached(account)?.value.as_deref().ok_or(ViewError::Damaged { table: Wallet::TABLE })
    }

    /// The next sequence number of an account; 0 where it has no wallet.
    pub(crate) fn next_sequence(&mut self, account: &Did) -> Result<u64, ViewError> {
        Ok(self.cached(account)?.value.as_ref().map_or(0, |wallet| wallet.sequence))
    }

    /// The home node of an account that has a wallet.
    pub(crate) fn home(&mut self, account: &Did) -> Result<Option<Did>, ViewError> {
        Ok(self.cached(account)?.value.as_ref().map(|wallet| wallet.home.clone()))
    }

    /// Changes a wallet that a check has found, where it is.
    pub(crate) fn change(&mut self, account: &Did, change: impl FnOnce(&mut Wallet)) -> Result<(), ViewError> {
        let cached = self.cached(account)?;
        change(cached.value.as_deref_mut().ok_or(ViewError::Damaged { table: Wallet::TABLE })?);
        cached.written = true;
        self.writes += 1;
        Ok(())
    }

    /// A node that is registered and has not retired.
    pub(crate) fn node(&mut self, did: &Did) -> Result<Option<Node>, ViewError> {
        Ok(self.get::<Node>(&[did.as_str().as_bytes()])?.filter(|node| !node.retired))
    }

    pub(crate) fn put_node(&mut self, did: &Did, node: &Node) {
        self.put(&[did.as_str().as_bytes()], node);
    }

    pub(crate) fn placement(&mut self, tenant: &Did) -> Result<Option<Placement>, ViewError> {
        self.get(&[tenant.as_str().as_bytes()])
    }

    pub(crate) fn put_placement(&mut self, tenant: &Did, placement: &Placement) {
        self.put(&[tenant.as_str().as_bytes()], placement);
    }

    /// The balance of `account` in a scope, empty when it never had one there.
    pub(crate) fn balance(&mut self, account: &Did, tenant: Option<&Did>) -> Result<Balance, ViewError> {
        match tenant {
            None => Ok(self.look(account)?.balance.clone()),
            Some(tenant) => {
                let parts: [&[u8]; 2] = [account.as_str().as_bytes(), tenant.as_str().as_bytes()];
                Ok(self.get::<rows::ScopedBalance>(&parts)?.unwrap_or_default().balance)
            }
        }
    }

    pub(crate) fn put_balance(
        &mut self,
        account: &Did,
        tenant: Option<&Did>,
        balance: Balance,
    ) -> Result<(), ViewError> {
        match tenant {
            None => {
                self.change(account, |wallet| wallet.balance = balance)?;
            }
            Some(tenant) => {
                let parts: [&[u8]; 2] = [account.as_str().as_bytes(), tenant.as_str().as_bytes()];
                self.put(&parts, &rows::ScopedBalance { balance });
            }
        }
        Ok(())
    }

    /// The rows that changed with the tree's pages, and the new root.
    pub(crate) fn finish(mut self) -> Result<(Changes, tree::Hash), ViewError> {
        let (parameters, rates) = (Arc::clone(&self.parameters), Arc::clone(&self.rates));
        let (validators, supply) = (Arc::clone(&self.validators), self.supply.clone());
        self.put_if_changed(&*parameters)?;
        self.put_if_changed(&*rates)?;
        self.put_if_changed(&*validators)?;
        self.put_if_changed(&supply)?;
        let rows = self.rows.into_iter().filter(|(_, row)| row.written).map(|(key, row)| (key, row.value));
        let wallets = self.wallets.into_iter().filter(|(_, row)| row.written).map(|(account, row)| {
            (rows::key::<Wallet>(&[account.as_str().as_bytes()]), row.value.as_deref().map(rows::value))
        });
        let mut changes: Changes = rows.chain(wallets).collect();
        let leaf = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            (tree::path_of(key), value.as_deref().map(|value| Sha256::digest(value).into()))
        };
        let mut leaves: Vec<_> = changes.iter().map(leaf).collect();
        leaves.sort_unstable();
        let root = tree::update(self.view, &leaves, &mut changes)?;
        Ok((changes, root))
    }

    fn put_if_changed<R: Row + PartialEq>(&mut self, row: &R) -> Result<(), ViewError> {
        if rows::read::<R>(self.view, &[])?.as_ref() != Some(row) {
            self.put(&[], row);
        }
        Ok(())
    }
}

/// The key of a node or validator, which is its DID.
pub(crate) fn node_key(did: &Did) -> Option<[u8; 32]> {
    NodePublicKey::from_did(did).ok().map(NodePublicKey::to_bytes)
}

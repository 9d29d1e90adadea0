//! Genesis: the state at height 0, which every node of a network starts from.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::action::{Holder, Region};
use super::amount::Amount;
use super::batch::Header;
use super::parameters::{Parameters, Rates};
use super::rows::{self, Chain, CheckpointState, Head, Kind, NameOwner, Node, Supply, Wallet};
use super::state::node_key;
use super::token::TokenType;
use super::transaction::encode;
use super::tree;
use super::validators::{ValidatorSet, Validators};
use super::view::{Changes, MemoryView, ViewError};
use crate::ids::{Did, NetworkId, NodeName};
use crate::limits::{GENESIS_WALLETS_MAX, LEDGER_DID_BYTES_MAX, VALIDATORS_MAX};
use crate::time::Timestamp;

/// What a network starts with. A file of it, in JSON, is what `--genesis` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// The network's id.
    pub network: NetworkId,
    /// When it starts; the first batch is later.
    pub time: Timestamp,
    /// Its numbers.
    pub parameters: Parameters,
    /// Its first nodes, with a wallet each.
    pub nodes: Vec<GenesisNode>,
    /// Its first wallets.
    pub wallets: Vec<GenesisWallet>,
}

/// A node that is there from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisNode {
    /// Its `did:key`.
    pub did: Did,
    /// Its name.
    pub name: NodeName,
    /// Who runs it.
    pub operator: Did,
    /// Where it stands.
    pub region: Region,
    /// Whether it takes tenants.
    pub hosts: bool,
    /// Whether it is a validator from the beginning.
    pub validator: bool,
}

/// A wallet that is there from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisWallet {
    /// The account.
    pub account: Did,
    /// Its Ed25519 wallet key.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Whose it is.
    pub holder: Holder,
    /// Its home node.
    pub home: Did,
    /// What it starts with, as a system grant.
    pub grant: Amount,
    /// Whether the operator of the home node vouches for the person.
    pub human: bool,
}

/// Why a genesis starts no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGenesis {
    /// The numbers do not fit together.
    #[error("the parameters are not ones a network can run with")]
    Parameters,
    /// Nobody decides, or too many do.
    #[error("a network starts with 1 to {VALIDATORS_MAX} validators")]
    Validators,
    /// A node is named twice, or is no `did:key` of an Ed25519 key.
    #[error("node {0} is named twice, shares its name, or its DID is no Ed25519 did:key")]
    Node(Did),
    /// An account is named twice, its home is no node, or its DID is too long.
    #[error("wallet {0} is named twice, its home is no node of the genesis, or its DID is too long")]
    Wallet(Did),
    /// More wallets than one genesis may hold.
    #[error("a genesis holds at most {GENESIS_WALLETS_MAX} wallets")]
    TooManyWallets,
    /// Together the grants are more than may exist.
    #[error("the grants are more than may ever exist")]
    Supply,
    /// The rows could not be made.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Genesis {
    /// What tells this genesis from every other: SHA-256 over its canonical DAG-CBOR.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(encode(self).expect("a genesis has only integers, texts and keys")).into()
    }

    /// The rows of height 0 and their header.
    ///
    /// # Errors
    /// [`InvalidGenesis`], by what is wrong.
    pub fn rows(&self) -> Result<(Changes, Header), InvalidGenesis> {
        if !self.parameters.valid() {
            return Err(InvalidGenesis::Parameters);
        }
        let mut changes = Changes::new();
        self.nodes(&mut changes)?;
        let minted = self.wallets(&mut changes)?;
        let validators =
            ValidatorSet::new(self.nodes.iter().filter(|node| node.validator).map(|node| node.did.clone()).collect());
        if validators.is_empty() || validators.len() > VALIDATORS_MAX {
            return Err(InvalidGenesis::Validators);
        }
        let (time, hash) = (self.time.as_millis(), self.hash());
        put(&mut changes, &[], &Chain { network: self.network.to_string(), genesis: hash });
        put(&mut changes, &[], &Head { height: 0, time, batch: hash, previous: [0; 32], posted: 0 });
        put(&mut changes, &[], &Supply { minted, ..Supply::default() });
        put(&mut changes, &[], &self.parameters);
        put(&mut changes, &[], &Rates::defaults());
        put(&mut changes, &[], &Validators::new(validators));
        put(&mut changes, &[], &CheckpointState { time, ..CheckpointState::default() });
        let mut leaves: Vec<_> = changes
            .iter()
            .map(|(key, value)| (tree::path_of(key), value.as_deref().map(|value| Sha256::digest(value).into())))
            .collect();
        leaves.sort_unstable();
        let root = tree::update(&MemoryView::new(), &leaves, &mut changes)?;
        let header =
            Header { network: self.network.clone(), height: 0, time: self.time, previous: [0; 32], batch: hash, root };
        Ok((changes, header))
    }

    fn nodes(&self, changes: &mut Changes) -> Result<(), InvalidGenesis> {
        let mut names = BTreeSet::new();
        let mut dids = BTreeSet::new();
        for node in &self.nodes {
            let wrong = || InvalidGenesis::Node(node.did.clone());
            let key = node_key(&node.did).ok_or_else(wrong)?;
            if !names.insert(&node.name) || !dids.insert(&node.did) {
                return Err(wrong());
            }
            let parts: [&[u8]; 1] = [node.did.as_str().as_bytes()];
            let row = Node {
                name: node.name.to_string(),
                operator: node.operator.clone(),
                region: node.region,
                hosts: node.hosts,
                validates: node.validator,
                since: self.time.as_millis(),
                retired: false,
                vouched: 0,
                primaries: 0,
            };
            put(changes, &parts, &row);
            put(changes, &[node.name.as_str().as_bytes()], &NameOwner(node.did.clone()));
            put(changes, &parts, &Wallet::new(key, Kind::Node, node.did.clone()));
        }
        Ok(())
    }

    fn wallets(&self, changes: &mut Changes) -> Result<Amount, InvalidGenesis> {
        if self.wallets.len() > GENESIS_WALLETS_MAX {
            return Err(InvalidGenesis::TooManyWallets);
        }
        let mut minted = Amount::ZERO;
        let mut seen: BTreeSet<&Did> = self.nodes.iter().map(|node| &node.did).collect();
        let homes = seen.clone();
        for it in &self.wallets {
            if !seen.insert(&it.account)
                || !homes.contains(&it.home)
                || it.account.as_str().len() > LEDGER_DID_BYTES_MAX
            {
                return Err(InvalidGenesis::Wallet(it.account.clone()));
            }
            minted = minted.plus(it.grant).ok_or(InvalidGenesis::Supply)?;
            let kind = match &it.holder {
                Holder::Person => Kind::Person,
                Holder::Business => Kind::Business,
                Holder::Agent { owner } => Kind::Agent(owner.clone()),
            };
            let mut wallet = Wallet::new(it.key, kind, it.home.clone());
            wallet.balance.parts.add(TokenType::SystemGrant, it.grant);
            wallet.balance.earned = it.grant.micro();
            wallet.vouched_by_home = it.human;
            put(changes, &[it.account.as_str().as_bytes()], &wallet);
        }
        Ok(minted)
    }
}

fn put<R: rows::Row>(changes: &mut Changes, parts: &[&[u8]], row: &R) {
    changes.insert(rows::key::<R>(parts), Some(rows::value(row)));
}

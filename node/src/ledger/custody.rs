//! Signing for this node and for the accounts whose wallet keys it keeps, and waiting for what the ledger decides. Whoever
//! keeps the key of a wallet alone signs elsewhere, and hands the transaction in.

use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Exchange, Holder, RegisterWallet};
use angel_protocol::ledger::{Action, Outcome, Signed, Transaction, TransactionId, statement};
use angel_protocol::mempool::{Refusal, Slot};

use super::wallet::WalletError;
use super::{LedgerError, NodeWallet};
use crate::accounts::{AccountError, Accounts};
use crate::mempool::SubmitError;
use crate::tenants::Tenants;
use crate::{blocking, clock};

/// How long a transaction may wait to be decided.
const LIFE: Duration = Duration::from_mins(10);

/// How often a transaction is signed when others of the same wallet come in between.
const TRIES: usize = 4;

/// Why something was not decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitFailed {
    /// The ledger refuses it.
    #[error("the ledger refuses: {}", .0.text())]
    Outcome(Outcome),
    /// It was not decided in time.
    #[error(
        "the network has not decided within the time; is a majority of its validators there? The transaction {0} may still be decided"
    )]
    Undecided(TransactionId),
    /// Others with the same wallet were always faster.
    #[error("other transactions of this wallet came in between each time; try again")]
    Outrun,
    /// The account lives here, and cannot pay or be paid yet.
    #[error(
        "the wallet of {0} is not open yet: its owner opens it with co.kendev.network.openWallet, the operator with `angel token open {0}`"
    )]
    NoWallet(Did),
    /// The wallet was opened with another key.
    #[error("this node does not keep the key of the wallet of {0}: sign with that key")]
    KeptElsewhere(Did),
    /// It was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// This node's wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The account's wallet key.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It is beyond a bound.
    #[error(transparent)]
    Form(#[from] angel_protocol::ledger::transaction::InvalidTransaction),
}

/// Signs for this node, and for the accounts whose wallet keys lie here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Submitter {
    /// This node's own wallet.
    pub(crate) wallet: NodeWallet,
    /// Whose wallets it keeps.
    pub(crate) accounts: Accounts,
    /// Which of them are businesses.
    pub(crate) tenants: Tenants,
}

impl Submitter {
    /// This node's key.
    pub(crate) fn key(&self) -> &NodeKey {
        self.wallet.key()
    }

    /// Asks in the name of this node.
    pub(crate) async fn as_node(&self, action: Action) -> Result<(), SubmitFailed> {
        Ok(self.wallet.act(action).await.map(drop)?)
    }

    /// Asks in the name of an account whose wallet this node keeps, opening the wallet first if need be.
    pub(crate) async fn as_account(
        &self,
        account: &Did,
        action: Action,
        limit: Duration,
    ) -> Result<TransactionId, SubmitFailed> {
        let key = self.open(account, limit).await?;
        self.submit(account, &key, action, None, limit).await
    }

    /// Pays from this node's own wallet, or from that of an account whose wallet it keeps. With `sequence` it is that
    /// wallet's transaction of this number or none: asked again, it pays once.
    pub(crate) async fn pay(
        &self,
        from: &Did,
        exchange: Exchange,
        sequence: Option<u64>,
        limit: Duration,
    ) -> Result<TransactionId, SubmitFailed> {
        let action = Action::CrossTenantExchange(exchange);
        if *from == self.wallet.did() {
            return self.submit(from, self.key(), action, sequence, limit).await;
        }
        // A wallet that is not open has nothing to pay with.
        let key = self.open_wallet(from).await?.ok_or_else(|| SubmitFailed::NoWallet(from.clone()))?;
        self.submit(from, &key, action, sequence, limit).await
    }

    /// Opens the wallet of an account that lives here, under a key that this node keeps: from now on others can pay the
    /// account. One that is open stays as it is.
    pub(crate) async fn open(&self, account: &Did, limit: Duration) -> Result<NodeKey, SubmitFailed> {
        for _ in 0..TRIES {
            if let Some(key) = self.open_wallet(account).await? {
                return Ok(key);
            }
            let (accounts, did) = (self.accounts.clone(), account.clone());
            let key = blocking::run(move || accounts.wallet_key_blocking(&did)).await?;
            let opening = Action::RegisterWallet(self.opening(account, &key));
            match self.submit(account, &key, opening, None, limit).await {
                Ok(_) => return Ok(key),
                // Somebody else asks at the same time: theirs is found waiting, or decided.
                Err(SubmitFailed::Submit(SubmitError::Outcome(Outcome::WalletExists))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SubmitFailed::Outrun)
    }

    /// Binds an account to the key of its wallet.
    fn opening(&self, account: &Did, key: &NodeKey) -> RegisterWallet {
        let (home, key) = (self.wallet.did(), key.public().to_bytes());
        let holder = if self.tenants.find(account).is_some() { Holder::Business } else { Holder::Person };
        let (domain, message) = statement::binding(self.wallet.ledger().network(), account, &key, &home);
        RegisterWallet { key, holder, home, binding: self.key().sign(domain, &message) }
    }

    /// The key of an account's wallet, if the wallet is open.
    async fn open_wallet(&self, account: &Did) -> Result<Option<NodeKey>, SubmitFailed> {
        // The wallet first: what is open was opened with a key that was kept by then.
        let wallet = self.wallet.ledger().wallet(account.clone()).await?;
        let (accounts, did) = (self.accounts.clone(), account.clone());
        let key = blocking::run(move || {
            let id = accounts.by_did_blocking(&did)?.ok_or(AccountError::NotFound)?.id();
            accounts.kept_wallet_key_blocking(id)
        })
        .await?;
        let Some(wallet) = wallet else { return Ok(None) };
        match key {
            Some(key) if wallet.key == key.public().to_bytes() => Ok(Some(key)),
            _ => Err(SubmitFailed::KeptElsewhere(account.clone())),
        }
    }

    async fn submit(
        &self,
        wallet: &Did,
        key: &NodeKey,
        action: Action,
        fixed: Option<u64>,
        limit: Duration,
    ) -> Result<TransactionId, SubmitFailed> {
        let ledger = self.wallet.ledger();
        // A wallet asked for twice is opened once, a payment asked for twice is made twice.
        let own_nonce = !matches!(action, Action::RegisterWallet(_));
        for _ in 0..if fixed.is_some() { 1 } else { TRIES } {
            let nonce = rand::random();
            let sign = |sequence| {
                let (network, wallet, action) = (ledger.network().clone(), wallet.clone(), action.clone());
                let expires = clock::now() + LIFE;
                Signed::sign(&Transaction { network, wallet, sequence, nonce, expires, action }, key)
            };
            let signed = match fixed {
                Some(sequence) => sign(sequence)?,
                None => {
                    let next = ledger.wallet(wallet.clone()).await?.map_or(0, |wallet| wallet.sequence);
                    match ledger.slot(wallet.clone(), next, own_nonce.then_some(nonce), action.clone()).await? {
                        Slot::Free(sequence) => sign(sequence)?,
                        Slot::Waits(signed) => signed,
                    }
                }
            };
            let id = signed.id();
            let outcome = match ledger.submit_and_wait(signed, limit).await {
                Ok(outcome) => outcome,
                // One that was found waiting has been decided since.
                Err(SubmitError::Decided) => ledger.receipt(id).await?.map(|receipt| receipt.outcome),
                Err(error) if fixed.is_none() && is_outrun(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            return match outcome {
                Some(outcome) if outcome.is_posted() => Ok(id),
                Some(Outcome::SequencePassed | Outcome::SequenceAhead) if fixed.is_none() => continue,
                Some(outcome) => Err(SubmitFailed::Outcome(outcome)),
                None => Err(SubmitFailed::Undecided(id)),
            };
        }
        Err(SubmitFailed::Outrun)
    }
}

/// Another transaction of the same wallet took the number in between.
const fn is_outrun(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Outcome(Outcome::SequencePassed | Outcome::SequenceAhead)
            | SubmitError::Refused(Refusal::SequencePassed { .. } | Refusal::SequenceTaken)
    )
}

//! Signing for this node and for the accounts whose wallet keys it keeps, and waiting for what the ledger decides. Whoever
//! keeps the key of a wallet alone signs elsewhere, and hands the transaction in.

use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Exchange, Holder, RegisterWallet};
use angel_protocol::ledger::{Action, Outcome, Signed, Transaction, TransactionId, statement};

use super::wallet::WalletError;
use super::{LedgerError, NodeWallet};
use crate::accounts::{AccountError, Accounts};
use crate::mempool::SubmitError;
use crate::tenants::Tenants;
use crate::{blocking, clock};

/// How long a transaction may wait to be decided.
const LIFE: Duration = Duration::from_mins(10);

/// How often a transaction is signed anew when another of the same wallet came in between.
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
        let key = self.account_wallet(account, limit).await?;
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
            return Ok(self.wallet.act(action).await?);
        }
        let key = self.account_wallet(from, limit).await?;
        self.submit(from, &key, action, sequence, limit).await
    }

    /// The key of an account's wallet, which is opened if there is none.
    async fn account_wallet(&self, account: &Did, limit: Duration) -> Result<NodeKey, SubmitFailed> {
        let (accounts, did) = (self.accounts.clone(), account.clone());
        let key = blocking::run(move || accounts.wallet_key_blocking(&did)).await?;
        let public = key.public().to_bytes();
        match self.wallet.ledger().wallet(account.clone()).await? {
            Some(wallet) if wallet.key == public => return Ok(key),
            Some(_) => return Err(SubmitFailed::KeptElsewhere(account.clone())),
            None => {}
        }
        let holder = if self.tenants.find(account).is_some() { Holder::Business } else { Holder::Person };
        let (domain, message) =
            statement::binding(self.wallet.ledger().network(), account, &public, &self.wallet.did());
        let binding = self.key().sign(domain, &message);
        let it = RegisterWallet { key: public, holder, home: self.wallet.did(), binding };
        self.submit(account, &key, Action::RegisterWallet(it), None, limit).await?;
        Ok(key)
    }

    async fn submit(
        &self,
        wallet: &Did,
        key: &NodeKey,
        action: Action,
        fixed: Option<u64>,
        limit: Duration,
    ) -> Result<TransactionId, SubmitFailed> {
        let tries = if fixed.is_some() { 1 } else { TRIES };
        for last in (0..tries).rev() {
            let next = self.wallet.ledger().wallet(wallet.clone()).await?.map_or(0, |wallet| wallet.sequence);
            let sequence = fixed.unwrap_or(next);
            let transaction = Transaction {
                network: self.wallet.ledger().network().clone(),
                wallet: wallet.clone(),
                sequence,
                nonce: rand::random(),
                expires: clock::now() + LIFE,
                action: action.clone(),
            };
            let id = match self.wallet.ledger().submit(Signed::sign(&transaction, key)?).await {
                Ok(id) => id,
                Err(SubmitError::Outcome(Outcome::SequencePassed | Outcome::SequenceAhead)) if last > 0 => continue,
                Err(error) => return Err(error.into()),
            };
            return match self.wallet.ledger().outcome(id, limit).await? {
                Some(outcome) if outcome.is_posted() => Ok(id),
                Some(Outcome::SequencePassed | Outcome::SequenceAhead) if last > 0 => continue,
                Some(outcome) => Err(SubmitFailed::Outcome(outcome)),
                None => Err(SubmitFailed::Undecided(id)),
            };
        }
        Err(SubmitFailed::Outrun)
    }
}

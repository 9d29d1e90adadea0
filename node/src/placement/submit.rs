//! Bringing placements before the ledger, and waiting for what it decides.

use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{Holder, RegisterWallet};
use angel_protocol::ledger::{Action, Outcome, Signed, Transaction, statement};

use crate::accounts::{AccountError, Accounts};
use crate::ledger::wallet::WalletError;
use crate::ledger::{LedgerError, NodeWallet};
use crate::mempool::SubmitError;
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
    #[error("the network has not decided within the time; is a majority of its validators there?")]
    Undecided,
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
    pub(crate) async fn as_account(&self, account: &Did, action: Action, limit: Duration) -> Result<(), SubmitFailed> {
        let key = self.account_wallet(account, limit).await?;
        self.submit(account, &key, action, limit).await
    }

    /// The key of an account's wallet, which is opened if there is none.
    async fn account_wallet(&self, account: &Did, limit: Duration) -> Result<NodeKey, SubmitFailed> {
        let (accounts, did) = (self.accounts.clone(), account.clone());
        let key = blocking::run(move || accounts.wallet_key_blocking(&did)).await?;
        if self.wallet.ledger().wallet(account.clone()).await?.is_some() {
            return Ok(key);
        }
        let public = key.public().to_bytes();
        let (domain, message) =
            statement::binding(self.wallet.ledger().network(), account, &public, &self.wallet.did());
        let binding = self.key().sign(domain, &message);
        let it = RegisterWallet { key: public, holder: Holder::Business, home: self.wallet.did(), binding };
        self.submit(account, &key, Action::RegisterWallet(it), limit).await?;
        Ok(key)
    }

    async fn submit(&self, wallet: &Did, key: &NodeKey, action: Action, limit: Duration) -> Result<(), SubmitFailed> {
        for last in (0..TRIES).rev() {
            let sequence = self.wallet.ledger().wallet(wallet.clone()).await?.map_or(0, |wallet| wallet.sequence);
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
                Some(outcome) if outcome.is_posted() => Ok(()),
                Some(Outcome::SequencePassed | Outcome::SequenceAhead) if last > 0 => continue,
                Some(outcome) => Err(SubmitFailed::Outcome(outcome)),
                None => Err(SubmitFailed::Undecided),
            };
        }
        Err(SubmitFailed::Undecided)
    }
}

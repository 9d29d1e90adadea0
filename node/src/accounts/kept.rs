//! Secrets that this node keeps for its accounts besides their signing keys, sealed as those are: the keys of their wallets on
//! the ledger, and the keys from which the secrets of their webhooks follow.

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_storage::accounts::{ACCOUNT_KEYS, KeyPurpose};
use angel_storage::{AccountId, Batch, CommitError};
use zeroize::Zeroizing;

use super::{AccountError, Accounts, SealError, seal};
use crate::secrets::random_bytes;

/// 32 secret bytes.
type Seed = Zeroizing<[u8; 32]>;

impl Accounts {
    /// The key of an account's wallet, made if there is none. Blocks until it is durable.
    ///
    /// # Errors
    /// There is no such account, no randomness, or the store fails.
    pub fn wallet_key_blocking(&self, did: &Did) -> Result<NodeKey, AccountError> {
        let seed = self.seed_blocking(did, KeyPurpose::Wallet)?;
        Ok(NodeKey::from_seed(&seed))
    }

    /// The key of an account's wallet, if this node keeps one. Blocks.
    ///
    /// # Errors
    /// The store fails, or the key does not open.
    pub fn kept_wallet_key_blocking(&self, id: AccountId) -> Result<Option<NodeKey>, AccountError> {
        Ok(self.kept_wallet_seed_blocking(id)?.map(|seed| NodeKey::from_seed(&seed)))
    }

    /// The secret half of the same. Blocks.
    ///
    /// # Errors
    /// As [`Self::kept_wallet_key_blocking`].
    pub(crate) fn kept_wallet_seed_blocking(&self, id: AccountId) -> Result<Option<Seed>, AccountError> {
        self.kept_seed_blocking(id, KeyPurpose::Wallet)
    }

    /// Adds the key of an account's wallet to a batch.
    ///
    /// # Errors
    /// There is no randomness, or the batch is full.
    pub fn stage_wallet_key(&self, batch: &mut Batch, id: AccountId, seed: &Seed) -> Result<(), AccountError> {
        self.stage_seed(batch, id, KeyPurpose::Wallet, seed)
    }

    /// From what the secrets of an account's webhooks follow, made if there is nothing yet, with the public half. Blocks
    /// until it is durable.
    ///
    /// # Errors
    /// As [`Self::wallet_key_blocking`].
    pub(crate) fn webhooks_seed_blocking(&self, did: &Did) -> Result<(Did, Seed), AccountError> {
        let seed = self.seed_blocking(did, KeyPurpose::Webhooks)?;
        Ok((NodeKey::from_seed(&seed).did(), seed))
    }

    /// The same, if there is any. Blocks.
    ///
    /// # Errors
    /// As [`Self::kept_wallet_key_blocking`].
    pub(crate) fn kept_webhooks_seed_blocking(&self, id: AccountId) -> Result<Option<Seed>, AccountError> {
        self.kept_seed_blocking(id, KeyPurpose::Webhooks)
    }

    /// Adds the same to a batch.
    ///
    /// # Errors
    /// As [`Self::stage_wallet_key`].
    pub(crate) fn stage_webhooks_key(&self, batch: &mut Batch, id: AccountId, seed: &Seed) -> Result<(), AccountError> {
        self.stage_seed(batch, id, KeyPurpose::Webhooks, seed)
    }

    fn seed_blocking(&self, did: &Did, purpose: KeyPurpose) -> Result<Seed, AccountError> {
        let id = self.by_did_blocking(did)?.ok_or(AccountError::NotFound)?.id();
        if let Some(seed) = self.kept_seed_blocking(id, purpose)? {
            return Ok(seed);
        }
        let seed = random_bytes::<32>().map_err(SealError::from)?;
        let mut batch = Batch::new();
        batch.expect_absent(&ACCOUNT_KEYS, &(id, purpose.number()))?;
        self.stage_seed(&mut batch, id, purpose, &seed)?;
        match self.0.writer.commit(batch) {
            // Somebody else asked at the same time, and theirs is the account's.
            Err(CommitError::Conflict { .. }) => self.kept_seed_blocking(id, purpose)?.ok_or(AccountError::NotFound),
            committed => Ok(committed.map(|_| seed)?),
        }
    }

    fn kept_seed_blocking(&self, id: AccountId, purpose: KeyPurpose) -> Result<Option<Seed>, AccountError> {
        let Some(row) = self.0.reader.get(&ACCOUNT_KEYS, &(id, purpose.number()))? else { return Ok(None) };
        Ok(Some(self.0.seal.open_secret(&seal::context(id, purpose), &row)?))
    }

    fn stage_seed(
        &self,
        batch: &mut Batch,
        id: AccountId,
        purpose: KeyPurpose,
        seed: &Seed,
    ) -> Result<(), AccountError> {
        let public = NodeKey::from_seed(seed).did();
        let row = self.0.seal.seal_secret(&seal::context(id, purpose), public, seed)?;
        Ok(batch.put(&ACCOUNT_KEYS, &(id, purpose.number()), &row)?)
    }
}

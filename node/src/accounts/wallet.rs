//! Keys of wallets on the ledger that this node keeps for its accounts, sealed as signing keys are.

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_storage::accounts::{ACCOUNT_KEYS, KeyPurpose};
use angel_storage::{AccountId, Batch, CommitError};
use zeroize::Zeroizing;

use super::{AccountError, Accounts, SealError, seal};
use crate::secrets::random_bytes;

const PURPOSE: KeyPurpose = KeyPurpose::Wallet;

impl Accounts {
    /// The key of an account's wallet, made if there is none. Blocks until it is durable.
    ///
    /// # Errors
    /// There is no such account, no randomness, or the store fails.
    pub fn wallet_key_blocking(&self, did: &Did) -> Result<NodeKey, AccountError> {
        let id = self.by_did_blocking(did)?.ok_or(AccountError::NotFound)?.id();
        if let Some(key) = self.kept_wallet_key_blocking(id)? {
            return Ok(key);
        }
        let seed = random_bytes::<32>().map_err(SealError::from)?;
        let mut batch = Batch::new();
        batch.expect_absent(&ACCOUNT_KEYS, &(id, PURPOSE.number()))?;
        self.stage_wallet_key(&mut batch, id, &seed)?;
        match self.0.writer.commit(batch) {
            // Somebody else asked at the same time, and theirs is the account's.
            Err(CommitError::Conflict { .. }) => self.kept_wallet_key_blocking(id)?.ok_or(AccountError::NotFound),
            committed => Ok(committed.map(|_| NodeKey::from_seed(&seed))?),
        }
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
    pub(crate) fn kept_wallet_seed_blocking(&self, id: AccountId) -> Result<Option<Zeroizing<[u8; 32]>>, AccountError> {
        let Some(row) = self.0.reader.get(&ACCOUNT_KEYS, &(id, PURPOSE.number()))? else { return Ok(None) };
        Ok(Some(self.0.seal.open_secret(&seal::context(id, PURPOSE), &row)?))
    }

    /// Adds the key of an account's wallet to a batch.
    ///
    /// # Errors
    /// There is no randomness, or the batch is full.
    pub fn stage_wallet_key(
        &self,
        batch: &mut Batch,
        id: AccountId,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<(), AccountError> {
        let public = NodeKey::from_seed(seed).did();
        let row = self.0.seal.seal_secret(&seal::context(id, PURPOSE), public, seed)?;
        Ok(batch.put(&ACCOUNT_KEYS, &(id, PURPOSE.number()), &row)?)
    }
}

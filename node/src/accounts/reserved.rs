//! Signing keys that were made for accounts to come (`com.atproto.server.reserveSigningKey`): whoever moves in can put
//! the key into the identity before the account is here. Anybody may ask, so there are few, and old ones make room.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::accounts::{RESERVED_KEYS, ReservedKeyRow};

use super::{AccountError, Accounts, new_signing_key};

/// Keys kept. Past this the oldest go.
const RESERVED_MAX: usize = 4096;

/// How long a key waits for its account.
const LIFE: Duration = Duration::from_hours(7 * 24);

/// What a reserved key is sealed for.
const CONTEXT: &[u8] = b"angel reserved key";

impl Accounts {
    /// The public half of a key for an account to come: the same one again for the same DID. Blocks until it is durable.
    ///
    /// # Errors
    /// There is no randomness, or the store fails.
    pub fn reserve_key_blocking(&self, did: Option<&Did>, now: Timestamp) -> Result<Did, AccountError> {
        if let Some(did) = did
            && let Some(row) = self.0.reader.get(&RESERVED_KEYS, did)?
        {
            return Ok(row.key.public);
        }
        let mut batch = Batch::new();
        self.stage_room(&mut batch, now)?;
        let key = new_signing_key().map_err(super::SealError::from)?;
        let row = ReservedKeyRow { did: did.cloned(), created_at: now, key: self.0.seal.seal(CONTEXT, &key)? };
        batch.put(&RESERVED_KEYS, did.unwrap_or(&key.did()), &row)?;
        self.0.writer.commit(batch)?;
        Ok(key.did())
    }

    /// The key that was reserved under `name`: a DID, or the `did:key` of the key itself. Blocks.
    ///
    /// # Errors
    /// The store fails, or the key does not open.
    pub fn reserved_key_blocking(&self, name: &Did) -> Result<Option<Arc<SigningKey>>, AccountError> {
        let Some(row) = self.0.reader.get(&RESERVED_KEYS, name)? else { return Ok(None) };
        Ok(Some(Arc::new(self.0.seal.open(CONTEXT, &row.key)?)))
    }

    /// Adds to the batch that makes an account that what was reserved under `name` is used.
    ///
    /// # Errors
    /// The batch is full.
    pub fn stage_reservation_used(&self, batch: &mut Batch, name: &Did) -> Result<(), AccountError> {
        Ok(batch.delete(&RESERVED_KEYS, name)?)
    }

    fn stage_room(&self, batch: &mut Batch, now: Timestamp) -> Result<(), AccountError> {
        let mut known = self.0.reader.scan(&RESERVED_KEYS).page(RESERVED_MAX)?.rows;
        known.sort_by_key(|(_, row)| row.created_at);
        let surplus = (known.len() + 1).saturating_sub(RESERVED_MAX);
        for (index, (name, row)) in known.iter().enumerate() {
            if index < surplus || row.created_at + LIFE <= now {
                batch.delete(&RESERVED_KEYS, name)?;
            }
        }
        Ok(())
    }
}

//! What both sides of a move compare before the switch: how far a copy is, and digests of what each side has.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::migration::wire::{Holds, Stand};
use angel_storage::belongings::JOURNALED;
use angel_storage::belongings::copy::stage_removal;
use angel_storage::{AccountId, Batch, CommitError, cursors, replicas, tenants};
use sha2::{Digest, Sha256};

use super::replay::UNSEEN;
use super::serve::with_shares;
use super::{Replication, ReplicationError};
use crate::blocking;
use crate::placement::Tenant;

/// Files looked at per step.
const FILES_PAGE: usize = 1_000;

/// Private rows that are dropped per step.
const ROWS_PAGE: usize = 5_000;

/// How often dropping what is noted of a copy is tried while somebody writes it.
const DROP_TRIES: usize = 4;

impl Replication {
    /// How this node stands to a tenant.
    pub(crate) async fn stand(&self, tenant: &Arc<Tenant>) -> Result<Stand, ReplicationError> {
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let row = blocking::run(move || reader.get(&replicas::REPLICAS, &did)).await?;
        let epoch = tenant.placed.epoch;
        let row = row.filter(|row| row.epoch == epoch || tenant.is_primary());
        Ok(Stand {
            epoch,
            serves: tenant.is_primary() && tenant.serves(),
            complete: row.as_ref().and_then(|row| row.complete).filter(|_| !tenant.is_primary()),
            bytes: row.as_ref().map_or(0, |row| row.bytes),
            stopped: row.as_ref().and_then(|row| row.stopped.clone()),
            account: row.map_or([0; 32], |row| row.state),
        })
    }

    /// What the primary's copy at `standby` has to have of the account besides repository and files, as a digest.
    pub(crate) async fn account_digest_for(
        &self,
        tenant: &Arc<Tenant>,
        standby: &Did,
    ) -> Result<[u8; 32], ReplicationError> {
        let (this, tenant, standby) = (self.clone(), Arc::clone(tenant), standby.clone());
        blocking::run(move || {
            let account = tenant.account.ok_or(crate::accounts::AccountError::NotFound)?;
            let (_, state) = this.state_blocking(&tenant, account)?;
            Ok(with_shares(state, &this.encoded_shares_blocking(&tenant, &standby)?))
        })
        .await
    }

    /// What this node has of a tenant. `account` is its digest of what else is kept.
    pub(crate) async fn holds(&self, tenant: &Arc<Tenant>, account: [u8; 32]) -> Result<Holds, ReplicationError> {
        let id = tenant.account.ok_or(crate::accounts::AccountError::NotFound)?;
        let have = self.have(id).await?.ok_or(ReplicationError::Unexpected)?;
        let (mut files, mut digest, mut after) = (0_u64, Sha256::new(), None);
        loop {
            let page = self.0.parts.blobs.list(id, None, after, FILES_PAGE).await?;
            for cid in &page {
                files += 1;
                digest.update(cid.to_string());
            }
            after = page.last().copied();
            if page.len() < FILES_PAGE {
                break;
            }
        }
        let private = self.private_summary(tenant, id).await?;
        Ok(Holds {
            rev: have.rev,
            root: have.data,
            files,
            files_digest: digest.finalize().into(),
            account,
            private_rows: private.rows,
            private_digest: private.digest,
        })
    }

    /// Drops the copy of a tenant that the ledger has others host.
    pub(crate) async fn drop_copy(&self, did: &Did) -> Result<(), ReplicationError> {
        let broken = |error: &dyn std::fmt::Display| ReplicationError::NotBelieved(error.to_string());
        let parts = &self.0.parts;
        let account = parts.accounts.by_did(did).await?.map(|account| account.id());
        if let Some(id) = account {
            // As long as the account is there, it is known whose these rows are.
            let (this, of) = (self.clone(), did.clone());
            blocking::run(move || this.drop_private_blocking(&of, id)).await?;
            parts.lifecycle.drop_copy(id).await.map_err(|error| broken(&error))?;
            let partials = self.0.partials.clone();
            let removed = blocking::run(move || partials.remove_all_blocking(id)).await;
            self.0.coming.lies(id, 0);
            if let Err(error) = removed {
                tracing::debug!(tenant = %did, %error, "parts of a copy that is dropped go later");
            }
        }
        let (this, did) = (self.clone(), did.clone());
        blocking::run(move || {
            this.drop_rows_blocking(&did, account)?;
            this.placement().refresh_blocking(&did).map_err(|error| ReplicationError::NotBelieved(error.to_string()))
        })
        .await
    }

    /// Drops what is noted of a copy whose account is gone. Clearing an account away takes its time: where the tenant came
    /// back meanwhile, another copy has begun, and what is noted now is of that one.
    fn drop_rows_blocking(&self, did: &Did, account: Option<AccountId>) -> Result<(), ReplicationError> {
        let parts = &self.0.parts;
        for _ in 0..DROP_TRIES {
            let row = parts.reader.get(&replicas::REPLICAS, did)?;
            if row.as_ref().zip(account).is_some_and(|(row, account)| row.account != account) {
                return Ok(());
            }
            let mut batch = Batch::new();
            match &row {
                Some(row) => batch.expect_value(&replicas::REPLICAS, did, row)?,
                None => batch.expect_absent(&replicas::REPLICAS, did)?,
            }
            batch.delete(&replicas::REPLICAS, did)?;
            batch.delete(&replicas::SETTINGS, did)?;
            cursors::remove(&mut batch, UNSEEN, did.as_str())?;
            for what in [replicas::Sealed::State, replicas::Sealed::Shares] {
                replicas::SEALED.delete(&parts.reader, &mut batch, &(did.clone(), what.number()))?;
            }
            match parts.writer.commit(batch) {
                Err(CommitError::Conflict { .. }) => {}
                committed => return Ok(committed.map(drop)?),
            }
        }
        Err(ReplicationError::Unexpected)
    }

    /// Drops the private rows of a copy, and those of a tenant that was served here.
    fn drop_private_blocking(&self, did: &Did, account: AccountId) -> Result<(), ReplicationError> {
        let parts = &self.0.parts;
        parts.tenants.give_away(did);
        let mut batch = Batch::new();
        while stage_removal(&parts.reader, &mut batch, account, ROWS_PAGE)? > 0 {
            parts.writer.commit(std::mem::take(&mut batch))?;
        }
        tenants::stage_remove(&parts.reader, &mut batch, account)
            .map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        batch.delete(&JOURNALED, &account)?;
        parts.writer.commit(batch)?;
        Ok(())
    }
}

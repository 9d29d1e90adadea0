//! What a copy takes, counted as it comes and after whoever followed before was ended (ADR 140).

use angel_protocol::ids::Did;
use angel_storage::AccountId;
use angel_storage::replicas::ReplicaRow;

use super::{Follower, keep_role};
use crate::blocking;
use crate::placement::Tenant;
use crate::replication::coming::Room;
use crate::replication::{Replication, ReplicationError};

/// Bytes that commits may bring before it is looked again whether there is room.
const GRANT_BYTES: u64 = 4 << 20;

impl Replication {
    /// Counts what is here of a copy that is about to be followed: files that were stored and not counted, and what lies
    /// here in part. Nothing else of it is on its way.
    pub(super) async fn recount(
        &self,
        tenant: &Tenant,
        account: AccountId,
        row: &mut ReplicaRow,
    ) -> Result<(), ReplicationError> {
        let files = self.0.parts.blobs.bytes_of(account).await?;
        let is_new = row.recount_files(files);
        let (this, did, bytes) = (self.clone(), tenant.did.clone(), row.bytes);
        blocking::run(move || {
            this.count_parts_blocking(account)?;
            if is_new { this.store_count_blocking(&did, bytes, files) } else { Ok(()) }
        })
        .await
    }

    /// Of a copy nothing is on its way: what was announced and has not come is room for others.
    fn count_parts_blocking(&self, account: AccountId) -> Result<(), ReplicationError> {
        let parts = self.0.partials.all_blocking()?.remove(&account);
        self.0.coming.lies(account, parts.unwrap_or(0));
        Ok(())
    }

    fn store_count_blocking(&self, tenant: &Did, bytes: u64, files: u64) -> Result<(), ReplicationError> {
        self.change_row_blocking(tenant, |stored| (stored.bytes, stored.files) = (bytes, Some(files)))
    }
}

impl Follower<'_> {
    /// Room for what this copy may still grow by.
    pub(super) async fn room(&self) -> Result<Room, ReplicationError> {
        let (this, did, account) = (self.replication.clone(), self.tenant.did.clone(), self.account.id());
        let bytes = self.row.bytes;
        blocking::run(move || this.room_blocking(&did, account, bytes)).await
    }

    /// Whether there is room for commits that carry so many bytes, as it was not long ago: they come one by one, and what
    /// all copies take is in many rows.
    ///
    /// # Errors
    /// [`ReplicationError::Quota`], or the store fails.
    pub(super) async fn room_for_commits(&mut self, bytes: u64) -> Result<(), ReplicationError> {
        if bytes > self.granted {
            let left = self.room().await?.left();
            if bytes > left {
                return Err(ReplicationError::Quota);
            }
            self.granted = left.min(bytes.max(GRANT_BYTES));
        }
        Ok(())
    }

    /// Counts by how many bytes the repository grew with commits.
    pub(super) fn count_commits(&mut self, grew: i64) {
        self.row.bytes = self.row.bytes.saturating_add_signed(grew);
        self.granted = self.granted.saturating_sub(u64::try_from(grew).unwrap_or(0));
    }

    /// Something was cut short: only what lies here of it takes room.
    pub(super) async fn count_parts(&self) -> Result<(), ReplicationError> {
        let (this, account) = (self.replication.clone(), self.account.id());
        blocking::run(move || this.count_parts_blocking(account)).await
    }

    /// Counts files of so many bytes that have come.
    pub(super) async fn count_files(&mut self, came: u64) -> Result<(), ReplicationError> {
        if came == 0 {
            return Ok(());
        }
        let files = self.row.files.unwrap_or(0).saturating_add(came);
        self.row.recount_files(files);
        let (this, did, account) = (self.replication.clone(), self.tenant.did.clone(), self.account.id());
        let bytes = self.row.bytes;
        blocking::run(move || {
            this.0.coming.count_blocking(account, came, || this.store_count_blocking(&did, bytes, files))
        })
        .await
    }

    /// Counts a repository of so many bytes that has come, and stores how far this copy is.
    pub(super) async fn count_repository(&mut self, came: u64) -> Result<(), ReplicationError> {
        self.row.bytes = self.row.bytes.saturating_add(came);
        let (this, did, account) = (self.replication.clone(), self.tenant.did.clone(), self.account.id());
        let row = self.row.clone();
        blocking::run(move || {
            let store = || this.change_row_blocking(&did, |stored| keep_role(stored, row));
            this.0.coming.count_blocking(account, came, store)
        })
        .await
    }
}

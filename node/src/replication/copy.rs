//! The first copy of a repository, which goes on where it was cut off (ADR 139), and what else is kept for an account. Files are fetched in `files`.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::replication::Have;
use angel_protocol::replication::wire::{AccountOf, Answer, Of, Question, Refusal, RepoOf, Sealed};
use angel_storage::accounts::AccountRow;
use angel_storage::replicas::{self, ReplicaRow, Role};
use angel_storage::{AccountId, Batch, CommitError, Committed};
use tokio::sync::oneshot;

use super::coming::Room;
use super::progress::What;
use super::{Replication, ReplicationError, stream as frames};
use crate::accounts::{Account, NewAccount};
use crate::blocking;
use crate::clock;
use crate::placement::Tenant;
use crate::repos::{Import, Owner};

/// How long the primary may take for the next piece.
pub(super) const PIECE_LIMIT: Duration = Duration::from_secs(30);

/// What a mark takes that says how far a repository has come, beside the path in it.
const MARK_BYTES: usize = 64;

impl Replication {
    /// The account here that holds the copy, made if there is none: it has no handle, address or password, signs with a
    /// key that nothing names yet, and is switched off.
    pub(super) async fn copy_account(&self, tenant: &Tenant) -> Result<Account, ReplicationError> {
        let accounts = self.0.parts.accounts.clone();
        let did = tenant.did.clone();
        let account = blocking::run(move || {
            if let Some(account) = accounts.by_did_blocking(&did)? {
                return Ok::<_, ReplicationError>(account);
            }
            let now = clock::now();
            accounts.reserve_key_blocking(Some(&did), now)?;
            let key = accounts.reserved_key_blocking(&did)?.ok_or(crate::accounts::AccountError::NotFound)?;
            let row = AccountRow::without_names(did.clone(), key.did(), now);
            let new = NewAccount { row, signing_key: key };
            accounts.create_blocking(new, |id, _, batch| {
                replicas::put(batch, &did, &ReplicaRow::new(id, Role::Standby))?;
                accounts.stage_reservation_used(batch, &did)?;
                Ok::<_, ReplicationError>(())
            })
        })
        .await?;
        let (this, did) = (self.clone(), tenant.did.clone());
        blocking::run(move || this.placement().refresh_blocking(&did))
            .await
            .map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        Ok(account)
    }

    /// The key that signs the tenant's commits, as its identity says now.
    pub(super) async fn signing_key(&self, tenant: &Tenant) -> Result<VerifyingKey, ReplicationError> {
        let resolved = self.0.parts.resolver.fresh_did(&tenant.did).await;
        let resolved = resolved.map_err(|error| ReplicationError::Identity(error.to_string()))?;
        let none = || ReplicationError::Identity("it names no signing key".to_owned());
        resolved.document.signing_key().ok_or_else(none)
    }

    /// Copies the whole repository, or what is not here of it since an earlier copy was cut off. Answers where it stands
    /// then, up to which event of the primary that is, and how many bytes came, then and now.
    pub(super) async fn copy_repository(
        &self,
        tenant: &Tenant,
        account: &Account,
        room: Room,
    ) -> Result<(Have, u64, u64), ReplicationError> {
        let (parts, partials, id) = (&self.0.parts, &self.0.partials, account.id());
        let key = self.signing_key(tenant).await?;
        let owner = Owner { id, did: tenant.did.clone(), key: parts.accounts.signing_key(id).await? };
        loop {
            let import = parts.repos.import(&owner, vec![key]).await.into_copy(partials.repository(id)).await?;
            let goes_on = import.has().is_some();
            let listing = partials.clone();
            let parts = blocking::run(move || listing.all_blocking()).await?.remove(&id);
            room.begin(parts.unwrap_or(0));
            let error = match self.receive_repository(tenant, import, &room).await {
                Ok((sequence, bytes)) => {
                    let have = self.have(id).await?.ok_or(ReplicationError::Unexpected)?;
                    tracing::info!(tenant = %tenant.did, rev = %have.rev, bytes, goes_on, "the repository was copied");
                    return Ok((have, sequence, bytes));
                }
                Err(error @ (ReplicationError::NotBelieved(_) | ReplicationError::Quota)) => error,
                Err(error) => return Err(error),
            };
            let removing = partials.clone();
            blocking::run(move || removing.remove_repository_blocking(id)).await?;
            if !goes_on {
                return Err(error);
            }
            // What had come may be of another history, or mostly of what is there no more.
            tracing::info!(tenant = %tenant.did, %error, "the copy of a repository does not go on: it begins anew");
        }
    }

    /// Takes what the primary sends of a repository into `import`, for as long as there is room.
    async fn receive_repository(
        &self,
        tenant: &Tenant,
        mut import: Import,
        room: &Room,
    ) -> Result<(u64, u64), ReplicationError> {
        let (before, mut came) = (import.bytes(), 0);
        room.take(0)?;
        let mut stream = self.open(&tenant.placed.primary).await?;
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        frames::ask(&mut stream, &Question::Repo(RepoOf { of, has: import.has().cloned() })).await?;
        let Answer::Begins { sequence, .. } = expect(frames::answered(&mut stream, PIECE_LIMIT).await?)? else {
            return Err(ReplicationError::Unexpected);
        };
        let mut has_come = false;
        loop {
            let mut takes = |bytes: usize| {
                came += bytes as u64;
                room.take(bytes as u64)
            };
            import = match expect(frames::piece(&mut stream, PIECE_LIMIT).await?)? {
                Answer::Piece(piece) if !piece.is_empty() => {
                    has_come = true;
                    takes(piece.len())?;
                    import.take(piece.into_vec()).await?
                }
                // One for some bytes: it costs bytes, too.
                Answer::Reached(path) if std::mem::take(&mut has_come) => {
                    takes(MARK_BYTES + path.len())?;
                    import.reached(path).await?
                }
                Answer::End => break,
                _ => return Err(ReplicationError::Unexpected),
            };
            self.0.progress.note(&tenant.did, What::Repository, import.bytes());
        }
        let bytes = import.bytes();
        import.finish(false).await?;
        // Put aside it is a little shorter than on the way.
        room.give_back((before + came).saturating_sub(bytes));
        Ok((sequence, bytes))
    }

    /// Where the repository of an account stands here.
    pub(super) async fn have(&self, account: AccountId) -> Result<Option<Have>, ReplicationError> {
        let repos = self.0.parts.repos.clone();
        let head = blocking::run(move || repos.head_blocking(account)).await?;
        Ok(head.map(|head| Have { rev: head.commit.rev(), data: head.commit.data() }))
    }

    /// Fetches what else is kept for the account, and brings along what this node would serve it with. Answers the
    /// digest of what is stored now.
    pub(super) async fn fetch_state(&self, tenant: &Tenant, account: &Account) -> Result<[u8; 32], ReplicationError> {
        let parts = &self.0.parts;
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        let question = Question::Account(AccountOf {
            of,
            recipient: parts.sealing.recipient(),
            signing_key: account.row().signing_key.clone(),
            rotation_key: parts.lifecycle.identities.rotation_key(),
            endpoint: parts.lifecycle.identities.endpoint().to_owned(),
        });
        let Answer::Account(sealed) = self.ask(&tenant.placed.primary, &question).await? else {
            return Err(ReplicationError::Unexpected);
        };
        let (this, did) = (self.clone(), tenant.did.clone());
        blocking::run(move || this.store_state_blocking(&did, &sealed)).await
    }

    fn store_state_blocking(
        &self,
        tenant: &angel_protocol::ids::Did,
        sealed: &Sealed,
    ) -> Result<[u8; 32], ReplicationError> {
        let parts = &self.0.parts;
        // What does not open now is found now, not on the day it is needed.
        parts.sealing.open(&sealed.state)?;
        let mut batch = Batch::new();
        let key = |what: replicas::Sealed| (tenant.clone(), what.number());
        replicas::replace(&replicas::SEALED, &parts.reader, &mut batch, &key(replicas::Sealed::State), &sealed.state)?;
        if !sealed.shares.is_empty() {
            let kept = self.with_held_shares_blocking(tenant, &sealed.shares)?;
            replicas::replace(&replicas::SEALED, &parts.reader, &mut batch, &key(replicas::Sealed::Shares), &kept)?;
        }
        parts.writer.commit(batch)?;
        Ok(sealed.digest)
    }

    /// Changes the row of a copy. Blocks.
    pub(crate) fn change_row_blocking(
        &self,
        tenant: &angel_protocol::ids::Did,
        change: impl FnOnce(&mut ReplicaRow),
    ) -> Result<(), ReplicationError> {
        if let Some(batch) = self.changed_row_blocking(tenant, change)? {
            self.0.parts.writer.commit(batch)?;
        }
        Ok(())
    }

    /// The same, behind whatever was handed to the store's writer before, and without waiting for the disk: the answer
    /// comes when the row is durable. The writer writes in order and stops for good where it fails, so the row is never
    /// there without what it tells of.
    pub(super) fn begin_change_row_blocking(
        &self,
        tenant: &angel_protocol::ids::Did,
        change: impl FnOnce(&mut ReplicaRow),
    ) -> Result<oneshot::Receiver<Result<Committed, CommitError>>, ReplicationError> {
        let batch = self.changed_row_blocking(tenant, change)?.unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        self.0.parts.writer.submit_blocking(batch, move |outcome| {
            // Whoever waited may have been told to stop.
            let _ = answer.send(outcome);
        });
        Ok(answered)
    }

    fn changed_row_blocking(
        &self,
        tenant: &angel_protocol::ids::Did,
        change: impl FnOnce(&mut ReplicaRow),
    ) -> Result<Option<Batch>, ReplicationError> {
        let Some(mut row) = self.0.parts.reader.get(&replicas::REPLICAS, tenant)? else { return Ok(None) };
        change(&mut row);
        let mut batch = Batch::new();
        replicas::put(&mut batch, tenant, &row)?;
        Ok(Some(batch))
    }
}

fn expect(answer: Answer) -> Result<Answer, ReplicationError> {
    match answer {
        Answer::Refused(Refusal::NotFound) => Err(ReplicationError::Refused(Refusal::NotFound)),
        Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
        answer => Ok(answer),
    }
}

/// A tenant's task shares what it works on.
pub(super) type SharedTenant = Arc<Tenant>;

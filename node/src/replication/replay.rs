//! What a former primary wrote and its successor has not seen: told in order when it comes back. Nothing is dropped and
//! nothing overwritten, neither of public records nor of those in spaces: where both wrote one record, the one that is
//! served stays and the other is kept beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use angel_protocol::data::{Cid, cbor};
use angel_protocol::firehose::{Frame, Message};
use angel_protocol::ids::{Did, RepoPath, Tid};
use angel_protocol::ledger::{Action, TransactionId, rows as ledger_rows};
use angel_protocol::limits::{REPLICA_REPLAY_WRITES_MAX, REV_AHEAD_MAX};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::replication::wire::{Answer, Of, Question, Refusal, Replay, Unseen};
use angel_protocol::repo::car::{self, CarLimits};
use angel_storage::accounts::PREFERENCES;
use angel_storage::belongings::STATE;
use angel_storage::cursors::{self, CursorRow};
use angel_storage::ledger::{LedgerView, decided};
use angel_storage::permissioned::{self as rows, RepoKey};
use angel_storage::replicas::{self, Kept, Told};
use angel_storage::{AccountId, Batch, Reader, events, firehose};
use serde_bytes::ByteBuf;

use super::{Replication, ReplicationError};
use crate::placement::Tenant;
use crate::preferences::PreferencesError;
use crate::repos::{Action as WriteAction, NewRecord, Owner, RepoError, RepoWrite, Swap};
use crate::{blocking, clock};

/// Heights that are searched for the decisions that made nodes primary.
pub(super) const HEIGHTS_SEARCHED: u64 = 200_000;

/// What holds the log for writes that are still to be told, in the table of cursors.
pub(super) const UNSEEN: &str = "unseen";

/// Under which path an account's preferences are told, which are no record: no path of a record is a single word.
pub(super) const PREFERENCES_PATH: &str = "preferences";

/// Bytes of one message, reached by its last write.
const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

impl Replication {
    /// Tells the new primary what only this node has.
    pub(crate) async fn tell_unseen(&self, tenant: &Tenant, account: AccountId) -> Result<(), ReplicationError> {
        let (this, did, epoch) = (self.clone(), tenant.did.clone(), tenant.placed.epoch);
        let height = tenant.placed.height;
        let seen = blocking::run(move || this.seen_until_blocking(&did, epoch, height)).await?;
        let Some(seen) = seen else { return Ok(()) };
        self.keep_log(&tenant.did, Some(seen.sequence)).await?;
        let this = self.clone();
        let writes = blocking::run(move || this.written_since_blocking(account, seen)).await?;
        let rest = self.untold(tenant, writes).await?;
        if rest.is_empty() {
            return self.keep_log(&tenant.did, None).await;
        }
        tracing::warn!(tenant = %tenant.did, writes = rest.len(), "telling the new primary what it has not seen");
        let mut waiting = rest.into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut message, mut bytes) = (Vec::new(), 0);
            while message.len() < REPLICA_REPLAY_WRITES_MAX && bytes < MESSAGE_BYTES {
                let Some(write) = waiting.next() else { break };
                bytes += write.path.len() + write.record.as_ref().map_or(0, |record| record.len());
                message.push(write);
            }
            let names: Vec<_> = message.iter().map(|write| told(tenant, write)).collect();
            let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
            match self.ask(&tenant.placed.primary, &Question::Replay(Replay { of, writes: message })).await? {
                Answer::Replayed { applied, kept, stopped } => {
                    let taken = applied as usize + kept as usize;
                    tracing::warn!(tenant = %tenant.did, applied, kept, "unseen writes were told");
                    let last = taken.checked_sub(1).and_then(|last| names.get(last)).cloned();
                    self.note_told(tenant, last, stopped.as_ref().map(ToString::to_string)).await?;
                    if let Some(refusal) = stopped {
                        return Err(ReplicationError::Refused(refusal));
                    }
                    if taken < names.len() {
                        return Err(ReplicationError::Unexpected);
                    }
                }
                _ => return Err(ReplicationError::Unexpected),
            }
        }
        self.keep_log(&tenant.did, None).await
    }

    /// What is still to be told: what lies behind the last that the present primary has taken.
    async fn untold(&self, tenant: &Tenant, writes: Vec<Unseen>) -> Result<Vec<Unseen>, ReplicationError> {
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let row = blocking::run(move || reader.get(&replicas::REPLICAS, &did)).await?;
        let last = row.and_then(|row| row.told);
        // One that is not found again, or was told to another, means nothing: what is told twice is taken once.
        let place = last.and_then(|last| writes.iter().position(|write| told(tenant, write) == last));
        Ok(writes.into_iter().skip(place.map_or(0, |place| place + 1)).collect())
    }

    /// Remembers how far the telling is, over a restart too, and why it goes no further, for the operator.
    async fn note_told(
        &self,
        tenant: &Tenant,
        last: Option<Told>,
        stopped: Option<String>,
    ) -> Result<(), ReplicationError> {
        let (this, did) = (self.clone(), tenant.did.clone());
        blocking::run(move || {
            this.change_row_blocking(&did, |row| {
                row.stopped = stopped;
                if last.is_some() {
                    row.told = last;
                }
            })
        })
        .await
    }

    /// As long as there is anything to tell, the log is not trimmed behind `since`; then it is.
    pub(crate) async fn keep_log(&self, did: &Did, since: Option<u64>) -> Result<(), ReplicationError> {
        let (writer, did) = (self.0.parts.writer.clone(), did.clone());
        blocking::run(move || {
            let mut batch = Batch::new();
            match since {
                Some(sequence) => {
                    cursors::set(&mut batch, UNSEEN, did.as_str(), CursorRow { sequence, at: clock::now() })?;
                }
                None => cursors::remove(&mut batch, UNSEEN, did.as_str())?,
            }
            writer.commit(batch)?;
            Ok(())
        })
        .await
    }

    /// Up to which event of this node's log its successor had a copy, as it signed; `None` where it was handed all.
    fn seen_until_blocking(&self, did: &Did, epoch: u64, height: u64) -> Result<Option<Seen>, ReplicationError> {
        let reader = &self.0.parts.reader;
        let own_epoch = reader.get(&replicas::REPLICAS, did)?.map_or(1, |row| row.epoch.max(1));
        if epoch <= own_epoch {
            return Ok(None);
        }
        for at in (height.saturating_sub(HEIGHTS_SEARCHED)..=height).rev() {
            let batch = decided::batch(reader, at).map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            for signed in batch.iter().flat_map(|batch| &batch.transactions) {
                let it = match &signed.transaction().action {
                    Action::Failover(it) => it,
                    Action::Claim(it) if it.tenant == *did && it.epoch == own_epoch + 1 => {
                        // A claim that was refused says nothing, whoever signed it.
                        if !self.is_posted_blocking(signed.id())? {
                            continue;
                        }
                        // The backup was perhaps made of another node's log: then everything is told that is kept here.
                        let of_here = it.from.as_ref().filter(|from| from.node == *self.own());
                        let sequence = of_here.map_or(0, |from| from.sequence);
                        return Ok(Some(Seen { sequence, is_claimed: true }));
                    }
                    _ => continue,
                };
                if it.tenant != *did || it.epoch != own_epoch + 1 {
                    continue;
                }
                // A transaction for this epoch that was refused before has other words in it, by another standby: the
                // least that any of them had is safe to begin with, for what is there already is no news.
                let said = it.observations.iter().find(|it| it.observer == signed.transaction().wallet);
                return Ok(said.map(|said| Seen { sequence: said.cursor, is_claimed: false }));
            }
        }
        Ok(None)
    }

    fn is_posted_blocking(&self, id: TransactionId) -> Result<bool, ReplicationError> {
        let receipt = ledger_rows::receipt(&LedgerView(&self.0.parts.reader), id);
        let receipt = receipt.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        Ok(receipt.is_some_and(|receipt| receipt.outcome.is_posted()))
    }

    fn written_since_blocking(&self, account: AccountId, seen: Seen) -> Result<Vec<Unseen>, ReplicationError> {
        let mut writes = Vec::new();
        let mut private = Private::default();
        let (mut state, mut first) = (None, None);
        let mut position = seen.sequence;
        loop {
            let page = events::after(&self.0.parts.reader, position, 500)?;
            let Some(last) = page.events.last() else { break };
            position = last.sequence;
            for event in page.events.iter().filter(|event| event.account == Some(account)) {
                first.get_or_insert(event.at);
                if event.kind == firehose::COMMIT {
                    writes.extend(firehose::frame(event).map(|frame| unseen_of(&frame)).unwrap_or_default());
                } else if event.kind == rows::WRITTEN
                    && let Ok(Some(written)) = rows::written(event)
                {
                    private.note(written);
                } else if event.kind == STATE {
                    state = Some(event.at);
                }
            }
        }
        let reader = &self.0.parts.reader;
        writes.extend(private.unseen(reader, account)?);
        if let Some(at) = state.or(first.filter(|_| seen.is_claimed)) {
            // Something of the account has changed; or may have, for the log of a tenant without backups, such as owners
            // claim, does not say so. What exactly is not told; whoever takes this finds out.
            let record = PREFERENCES.get(reader, &account)?.map(ByteBuf::from);
            let (path, rev) = (PREFERENCES_PATH.to_owned(), Tid::new(at.as_millis().saturating_mul(1000), 0));
            writes.push(Unseen { space: None, path, rev, before: None, record });
        }
        Ok(writes)
    }

    /// Takes what a former primary alone wrote.
    pub(super) async fn take_replay(
        &self,
        from: &Did,
        tenant: &Arc<Tenant>,
        replay: Replay,
    ) -> Result<Answer, ReplicationError> {
        let Some(id) = tenant.account else { return Err(ReplicationError::Unexpected) };
        let (this, of, node) = (self.clone(), Arc::clone(tenant), from.clone());
        if !blocking::run(move || this.was_primary_blocking(&of, &node)).await? {
            tracing::warn!(tenant = %tenant.did, %from, "a node that was never primary tells of unseen writes: they are not taken");
            return Err(ReplicationError::Refused(Refusal::NotPrimary));
        }
        let key = self.0.parts.accounts.signing_key(id).await?;
        let owner = Owner { id, did: tenant.did.clone(), key };
        let (reader, did) = (self.0.parts.reader.clone(), tenant.did.clone());
        let mut room = blocking::run(move || replicas::kept(&reader, &did)).await?;
        // Whoever followed the former primary has seen these revisions: none here is smaller, however the clocks differ.
        let latest = clock::now() + REV_AHEAD_MAX;
        let public = replay.writes.iter().filter(|unseen| unseen.space.is_none() && unseen.rev.timestamp() <= latest);
        public.for_each(|unseen| self.0.parts.repos.observe(unseen.rev));
        let (mut applied, mut kept, mut stopped) = (0, 0, None);
        for unseen in replay.writes {
            match self.replay_one(&owner, from, tenant, unseen, &mut room).await {
                Ok(true) => applied += 1,
                Ok(false) => kept += 1,
                Err(ReplicationError::Refused(refusal @ Refusal::TooManyVersions)) => {
                    tracing::error!(
                        tenant = %tenant.did, %from, kept = room.versions, bytes = room.bytes,
                        "no more second versions of records are kept: {from} keeps the rest, and is no standby until some are dismissed; \
                         see `angel tenant backups` and `angel tenant dismiss`"
                    );
                    stopped = Some(refusal);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(tenant = %tenant.did, %from, applied, kept, "a former primary told what it had written unseen");
        Ok(Answer::Replayed { applied, kept, stopped })
    }

    /// Whether the write was applied, or was there; otherwise it is kept as a second version.
    async fn replay_one(
        &self,
        owner: &Owner,
        from: &Did,
        tenant: &Arc<Tenant>,
        unseen: Unseen,
        kept: &mut Kept,
    ) -> Result<bool, ReplicationError> {
        let is_there = match unseen.space.clone() {
            None if unseen.path == PREFERENCES_PATH => self.replay_preferences(owner, tenant, &unseen).await?,
            Some(space) => self.replay_private(owner, &space, &unseen).await?,
            None => self.replay_public(owner, &unseen).await?,
        };
        if !is_there {
            self.keep_version(owner, from, unseen, kept).await?;
        }
        Ok(is_there)
    }

    /// Whether the record is now what the former primary wrote.
    async fn replay_public(&self, owner: &Owner, unseen: &Unseen) -> Result<bool, ReplicationError> {
        let Ok(path) = unseen.path.parse::<RepoPath>() else { return Ok(false) };
        let (repos, id, text) = (self.0.parts.repos.clone(), owner.id, unseen.path.clone());
        let present = blocking::run(move || repos.record_blocking(id, &text)).await?.map(|record| record.cid);
        let record = unseen.record.as_ref().map(|bytes| cbor::decode(bytes)).transpose();
        let Ok(record) = record else { return Ok(false) };
        let record = record.as_ref().map(NewRecord::new);
        if present == record.as_ref().map(NewRecord::cid) {
            return Ok(true);
        }
        if present != unseen.before {
            return Ok(false);
        }
        let action = record.map_or(WriteAction::Remove, WriteAction::Put);
        let swap = Some(present.map_or(Swap::Absent, Swap::Record));
        match self.0.parts.repos.write(owner, vec![RepoWrite { path, action, swap }], None).await {
            Ok(_) => Ok(true),
            // Somebody wrote it meanwhile, or it names a file that is not here.
            Err(RepoError::RecordSwapped { .. } | RepoError::Blob(_) | RepoError::Write(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The same for the owner's preferences. What they were before is not told: it is what was sealed to this node when it
    /// took over. If they are that still, the former primary's are put in their place.
    async fn replay_preferences(
        &self,
        owner: &Owner,
        tenant: &Arc<Tenant>,
        unseen: &Unseen,
    ) -> Result<bool, ReplicationError> {
        let (this, of, id) = (self.clone(), Arc::clone(tenant), owner.id);
        let (present, held) = blocking::run(move || {
            let present = PREFERENCES.get(&this.0.parts.reader, &id)?;
            let held = this.held_state_blocking(&of)?.and_then(|state| state.preferences).map(ByteBuf::into_vec);
            Ok::<_, ReplicationError>((present, held))
        })
        .await?;
        let told = unseen.record.as_ref().map(|record| record.to_vec());
        if told == present || told == held {
            return Ok(true);
        }
        if present != held {
            return Ok(false);
        }
        let leave = self.placement().may_write(id).await.map_err(RepoError::from)?;
        let preferences = self.0.parts.preferences.clone();
        let replaced = blocking::run(move || preferences.replace_blocking(id, held.as_deref(), told.as_deref())).await;
        match replaced {
            Ok(Some(committed)) => {
                leave.replicated(committed.last_sequence).await.map_err(RepoError::from)?;
                Ok(true)
            }
            // The owner has changed them this very moment.
            Ok(None) => Ok(false),
            Err(PreferencesError::Account(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(tenant = %owner.did, %error, "unseen preferences are kept beside what is there");
                Ok(false)
            }
        }
    }

    /// The same for a record in a space.
    async fn replay_private(&self, owner: &Owner, space: &SpaceUri, unseen: &Unseen) -> Result<bool, ReplicationError> {
        let record = unseen.record.as_ref().map(|bytes| cbor::decode(bytes)).transpose();
        let (Ok(path), Ok(record)) = (unseen.path.parse::<RepoPath>(), record) else {
            return Ok(false);
        };
        let author = self.0.parts.accounts.by_did(&owner.did).await?.ok_or(crate::accounts::AccountError::NotFound)?;
        let (reader, key) = (self.0.parts.reader.clone(), RepoKey { account: owner.id, space: space.digest() });
        let text = unseen.path.clone();
        let present = blocking::run(move || rows::record(&reader, key, &text)).await?.map(|record| record.cid);
        let record = record.as_ref().map(NewRecord::new);
        if present == record.as_ref().map(NewRecord::cid) {
            return Ok(true);
        }
        if present != unseen.before {
            return Ok(false);
        }
        let action = record.map_or(WriteAction::Remove, WriteAction::Put);
        let swap = Some(present.map_or(Swap::Absent, Swap::Record));
        match self.0.parts.permissioned.write(&author, space, vec![RepoWrite { path, action, swap }]).await {
            Ok(_) => Ok(true),
            Err(error) => {
                // Somebody wrote it meanwhile, the space has gone, or a file is not here: none of that is a reason to
                // drop it.
                tracing::debug!(tenant = %owner.did, %error, "an unseen private write is kept beside what is there");
                Ok(false)
            }
        }
    }
}

/// What the successor of this node had of what is here.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Up to which event of this node's log.
    sequence: u64,
    /// Whether its owner made it the successor.
    is_claimed: bool,
}

/// What was written into spaces. Of a record that was written several times the last is told, on top of what was there
/// before the first: what it was in between is not kept anywhere.
#[derive(Default)]
struct Private {
    /// In the order of the last write to each.
    order: u64,
    paths: BTreeMap<(String, String), Last>,
}

struct Last {
    order: u64,
    space: SpaceUri,
    rev: Tid,
    before: Option<Cid>,
    after: Option<Cid>,
}

impl Private {
    fn note(&mut self, written: rows::Written) {
        for op in written.ops {
            self.order += 1;
            let key = (written.space.to_string(), op.path.to_string());
            let before = self.paths.get(&key).map_or(op.prev, |earlier| earlier.before);
            let (order, space, rev) = (self.order, written.space.clone(), written.rev);
            self.paths.insert(key, Last { order, space, rev, before, after: op.cid });
        }
    }

    fn unseen(self, reader: &Reader, account: AccountId) -> Result<Vec<Unseen>, ReplicationError> {
        let mut paths: Vec<_> = self.paths.into_iter().filter(|(_, last)| last.before != last.after).collect();
        paths.sort_unstable_by_key(|(_, last)| last.order);
        let mut writes = Vec::with_capacity(paths.len());
        for ((_, path), Last { space, rev, before, after, .. }) in paths {
            let key = RepoKey { account, space: space.digest() };
            let record = match after {
                Some(cid) => {
                    // What it names is what was written, or somebody else has changed the store.
                    let found = rows::record(reader, key, &path)?.filter(|record| record.cid == cid);
                    let Some(found) = found else { continue };
                    Some(ByteBuf::from(found.bytes))
                }
                None => None,
            };
            writes.push(Unseen { space: Some(space), path, rev, before, record });
        }
        Ok(writes)
    }
}

/// How a write is remembered that was told.
fn told(tenant: &Tenant, write: &Unseen) -> Told {
    let Unseen { space, path, rev, .. } = write;
    Told { epoch: tenant.placed.epoch, space: space.clone(), path: path.clone(), rev: *rev }
}

/// The writes of one commit.
fn unseen_of(frame: &[u8]) -> Vec<Unseen> {
    let Ok(Frame::Message { message: Message::Commit(body), .. }) = Frame::decode(frame) else { return Vec::new() };
    let limits = CarLimits { bytes_max: body.car.len() as u64, blocks_max: u64::MAX };
    let Ok((_, blocks)) = car::decode(&body.car, limits) else { return Vec::new() };
    let records: BTreeMap<Cid, _> = blocks.iter().map(|block| (block.cid(), block)).collect();
    let written = body.changes.iter().map(|change| Unseen {
        space: None,
        path: change.key.as_str().to_owned(),
        rev: body.rev,
        before: change.before,
        record: change.after.and_then(|cid| records.get(&cid)).map(|block| ByteBuf::from(block.bytes().to_vec())),
    });
    written.collect()
}

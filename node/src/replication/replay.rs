//! What a former primary wrote and its successor has not seen: told in order when it comes back. Nothing is dropped and
//! nothing overwritten: where both wrote one record, the one that is served stays and the other is kept beside it.

use std::collections::BTreeMap;

use angel_protocol::data::{Cid, cbor};
use angel_protocol::firehose::{Frame, Message};
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::ledger::Action;
use angel_protocol::limits::REPLICA_REPLAY_WRITES_MAX;
use angel_protocol::replication::wire::{Answer, Of, Question, Replay, Unseen};
use angel_protocol::repo::car::{self, CarLimits};
use angel_storage::codec::{self, Cbor};
use angel_storage::ledger::decided;
use angel_storage::replicas::{self, VersionRow};
use angel_storage::{AccountId, Batch, events, firehose};
use serde_bytes::ByteBuf;

use super::{Replication, ReplicationError};
use crate::placement::Tenant;
use crate::repos::{Action as WriteAction, NewRecord, Owner, RepoError, RepoWrite, Swap};
use crate::{blocking, clock};

/// Heights that are searched for the decision that replaced this node.
const HEIGHTS_SEARCHED: u64 = 200_000;

/// Bytes of one message, reached by its last write.
const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

impl Replication {
    /// Tells the new primary what only this node has.
    pub(crate) async fn tell_unseen(&self, tenant: &Tenant, account: AccountId) -> Result<(), ReplicationError> {
        let (this, did, epoch) = (self.clone(), tenant.did.clone(), tenant.placed.epoch);
        let height = tenant.placed.height;
        let writes = blocking::run(move || {
            let seen = this.seen_until_blocking(&did, epoch, height)?;
            seen.map_or_else(|| Ok(Vec::new()), |seen| this.written_since_blocking(account, seen))
        })
        .await?;
        if writes.is_empty() {
            return Ok(());
        }
        tracing::warn!(tenant = %tenant.did, writes = writes.len(), "telling the new primary what it has not seen");
        let mut waiting = writes.into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut message, mut bytes) = (Vec::new(), 0);
            while message.len() < REPLICA_REPLAY_WRITES_MAX && bytes < MESSAGE_BYTES {
                let Some(write) = waiting.next() else { break };
                bytes += write.path.len() + write.record.as_ref().map_or(0, |record| record.len());
                message.push(write);
            }
            let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
            match self.ask(&tenant.placed.primary, &Question::Replay(Replay { of, writes: message })).await? {
                Answer::Replayed { applied, kept } => {
                    tracing::warn!(tenant = %tenant.did, applied, kept, "unseen writes were told");
                }
                _ => return Err(ReplicationError::Unexpected),
            }
        }
        Ok(())
    }

    /// Up to which event of this node's log its successor had a copy, as it signed; `None` where it was handed all.
    fn seen_until_blocking(&self, did: &Did, epoch: u64, height: u64) -> Result<Option<u64>, ReplicationError> {
        let reader = &self.0.parts.reader;
        let own_epoch = reader.get(&replicas::REPLICAS, did)?.map_or(1, |row| row.epoch.max(1));
        if epoch <= own_epoch {
            return Ok(None);
        }
        for at in (height.saturating_sub(HEIGHTS_SEARCHED)..=height).rev() {
            let batch = decided::batch(reader, at).map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            for signed in batch.iter().flat_map(|batch| &batch.transactions) {
                let Action::Failover(it) = &signed.transaction().action else { continue };
                if it.tenant != *did || it.epoch != own_epoch + 1 {
                    continue;
                }
                // A transaction for this epoch that was refused before has other words in it, by another standby: the
                // least that any of them had is safe to begin with, for what is there already is no news.
                let said = it.observations.iter().find(|it| it.observer == signed.transaction().wallet);
                return Ok(said.map(|said| said.cursor));
            }
        }
        Ok(None)
    }

    fn written_since_blocking(&self, account: AccountId, since: u64) -> Result<Vec<Unseen>, ReplicationError> {
        let mut writes = Vec::new();
        let mut position = since;
        loop {
            let page = events::after(&self.0.parts.reader, position, 500)?;
            let Some(last) = page.events.last() else { return Ok(writes) };
            position = last.sequence;
            for event in page.events.iter().filter(|event| event.account == Some(account)) {
                if event.kind == firehose::COMMIT {
                    writes.extend(firehose::frame(event).map(|frame| unseen_of(&frame)).unwrap_or_default());
                }
            }
        }
    }

    /// Takes what a former primary alone wrote.
    pub(super) async fn take_replay(
        &self,
        from: &Did,
        tenant: &Tenant,
        replay: Replay,
    ) -> Result<Answer, ReplicationError> {
        let Some(id) = tenant.account else { return Err(ReplicationError::Unexpected) };
        let key = self.0.parts.accounts.signing_key(id).await?;
        let owner = Owner { id, did: tenant.did.clone(), key };
        let (mut applied, mut kept) = (0, 0);
        for unseen in replay.writes {
            if self.replay_one(&owner, from, unseen).await? { applied += 1 } else { kept += 1 }
        }
        tracing::warn!(tenant = %tenant.did, %from, applied, kept, "a former primary told what it had written unseen");
        Ok(Answer::Replayed { applied, kept })
    }

    /// Whether the write was applied, or was there; otherwise it is kept as a second version.
    async fn replay_one(&self, owner: &Owner, from: &Did, unseen: Unseen) -> Result<bool, ReplicationError> {
        let Ok(path) = unseen.path.parse::<RepoPath>() else { return self.keep_version(owner, from, unseen).await };
        let (repos, id, text) = (self.0.parts.repos.clone(), owner.id, unseen.path.clone());
        let present = blocking::run(move || repos.record_blocking(id, &text)).await?.map(|record| record.cid);
        let record = unseen.record.as_ref().map(|bytes| cbor::decode(bytes)).transpose();
        let Ok(record) = record else { return self.keep_version(owner, from, unseen).await };
        let record = record.as_ref().map(NewRecord::new);
        if present == record.as_ref().map(NewRecord::cid) {
            return Ok(true);
        }
        if present != unseen.before {
            return self.keep_version(owner, from, unseen).await;
        }
        let action = record.map_or(WriteAction::Remove, WriteAction::Put);
        let swap = Some(present.map_or(Swap::Absent, Swap::Record));
        match self.0.parts.repos.write(owner, vec![RepoWrite { path, action, swap }], None).await {
            Ok(_) => Ok(true),
            // Somebody wrote it meanwhile, or it names a file that is not here.
            Err(RepoError::RecordSwapped { .. } | RepoError::Blob(_) | RepoError::Write(_)) => {
                self.keep_version(owner, from, unseen).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn keep_version(&self, owner: &Owner, from: &Did, unseen: Unseen) -> Result<bool, ReplicationError> {
        let (this, did, from) = (self.clone(), owner.did.clone(), from.clone());
        blocking::run(move || {
            let parts = &this.0.parts;
            let row = VersionRow { node: from, rev: unseen.rev, at: clock::now(), record: unseen.record };
            let key = (did, unseen.path, unseen.rev.to_string());
            let bytes = codec::encode(&Cbor(row)).map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            let mut batch = Batch::new();
            replicas::replace(&replicas::VERSIONS, &parts.reader, &mut batch, &key, &bytes)?;
            parts.writer.commit(batch)?;
            Ok(false)
        })
        .await
    }
}

/// The writes of one commit.
fn unseen_of(frame: &[u8]) -> Vec<Unseen> {
    let Ok(Frame::Message { message: Message::Commit(body), .. }) = Frame::decode(frame) else { return Vec::new() };
    let limits = CarLimits { bytes_max: body.car.len() as u64, blocks_max: u64::MAX };
    let Ok((_, blocks)) = car::decode(&body.car, limits) else { return Vec::new() };
    let records: BTreeMap<Cid, _> = blocks.iter().map(|block| (block.cid(), block)).collect();
    let written = body.changes.iter().map(|change| Unseen {
        path: change.key.as_str().to_owned(),
        rev: body.rev,
        before: change.before,
        record: change.after.and_then(|cid| records.get(&cid)).map(|block| ByteBuf::from(block.bytes().to_vec())),
    });
    written.collect()
}

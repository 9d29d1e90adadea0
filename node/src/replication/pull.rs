//! Following one tenant: the driver of [`Standby`], as long as this node is a standby of it in this epoch.

mod count;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::crypto::VerifyingKey;
use angel_protocol::firehose::{Frame, Message};
use angel_protocol::ids::Did;
use angel_protocol::replication::rows::SealedRows;
use angel_protocol::replication::wire::{Answer, Of, Pull, Question, Told};
use angel_protocol::replication::{Effect, Event, Have, Input, Page, Phase, Standby, Stopped};
use angel_protocol::repo::{VerifiedCommit, verify_commit, verify_sync};
use angel_protocol::time::Timestamp;
use angel_storage::replicas::{self, ReplicaRow, Role};
use angel_storage::{CommitError, Committed};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::copy::SharedTenant;
use super::files::Left;
use super::rows::Compared;
use super::stream;
use super::wanting::Wanting;
use super::{LOOK_EVERY, Replication, ReplicationError};
use crate::accounts::Account;
use crate::blocking;
use crate::clock;
use crate::placement::Tenant;
use crate::repos::Landing;
use crate::tasks::TaskResult;

/// How long the primary may wait for something to tell before it answers that there is nothing.
const WAIT: Duration = Duration::from_secs(5);

/// How much later than that an answer may come. A stream over a connection that died with a cable says nothing: it is given
/// up, and another opened.
const OWED: Duration = Duration::from_secs(10);

/// How often the private rows of a copy are compared with the primary's, whether or not anything told of a change.
const COMPARE_EVERY: Duration = Duration::from_mins(10);

/// How long to wait after a failure.
const PAUSE: Policy =
    Policy { base: Duration::from_millis(500), ceiling: Duration::from_secs(15), reset_after: Duration::from_secs(10) };

impl Replication {
    /// Follows every tenant that this node is a standby of, until told to stop.
    pub(super) async fn follow_all(self, stop: CancellationToken) -> TaskResult {
        let mut running = JoinSet::new();
        // By epoch and by when this node joined: what left and came back between two looks begins anew.
        let time = |tenant: &Tenant| (tenant.placed.epoch, tenant.joined);
        let mut followed: BTreeMap<Did, ((u64, u64), CancellationToken)> = BTreeMap::new();
        let mut changed = self.placement().watch();
        loop {
            let this = self.clone();
            let wanted = blocking::run(move || this.standbys_of()).await;
            followed.retain(|did, (since, stop)| {
                let goes_on = wanted.get(did).is_some_and(|tenant| time(tenant) == *since);
                if !goes_on {
                    stop.cancel();
                }
                goes_on
            });
            for (did, tenant) in wanted {
                if followed.contains_key(&did) {
                    continue;
                }
                let (this, stop) = (self.clone(), stop.child_token());
                followed.insert(did.clone(), (time(&tenant), stop.clone()));
                running.spawn(async move {
                    Box::pin(stop.run_until_cancelled(this.follow(tenant))).await;
                    did
                });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changed.changed() => changed.map_err(|_| "the placements ended")?,
                Some(ended) = running.join_next() => drop(ended?),
            }
        }
        running.shutdown().await;
        Ok(())
    }

    /// The tenants to follow: not those of which this node has still to tell what it wrote. Blocks.
    fn standbys_of(&self) -> BTreeMap<Did, SharedTenant> {
        let own = self.own();
        let mut wanted = BTreeMap::new();
        for tenant in self.placement().tenants() {
            let row = self.0.parts.reader.get(&replicas::REPLICAS, &tenant.did).ok().flatten();
            let ready = match row {
                Some(row) => row.role == Role::Standby,
                None => tenant.account.is_none(),
            };
            if ready && tenant.is_followed_by(own) {
                wanted.insert(tenant.did.clone(), tenant);
            }
        }
        wanted
    }

    /// Follows one tenant for as long as nobody stops it.
    async fn follow(&self, tenant: SharedTenant) {
        let mut backoff = Backoff::new(PAUSE);
        loop {
            let mut follower = match Follower::begin(self, &tenant).await {
                Ok(follower) => follower,
                Err(error) => {
                    tracing::warn!(tenant = %tenant.did, %error, "cannot hold a copy");
                    tokio::time::sleep(backoff.failed(clock::now(), rand::random())).await;
                    continue;
                }
            };
            let Err(error) = follower.run(&mut backoff).await else {
                // It has stopped for good in this epoch; the operator was told.
                let Some(tried) = follower.tried_in_vain() else { return std::future::pending().await };
                // Unless this node was behind: a new primary signs with a new key, and the identity that names it is decided
                // after the placement.
                self.until_another_key(&tenant, tried).await;
                tracing::info!(tenant = %tenant.did, "the identity names another key: following goes on");
                continue;
            };
            // What was applied is on its way to the disk, and whoever begins anew reads there how far this copy is.
            if let Err(error) = follower.land().await {
                tracing::warn!(tenant = %tenant.did, %error, "what was applied to a copy is not on the disk");
            }
            tracing::debug!(tenant = %tenant.did, %error, "following was interrupted");
            tokio::time::sleep(backoff.failed(clock::now(), rand::random())).await;
        }
    }
}

impl Replication {
    /// Waits until a tenant's identity, as far as this node knows it, names another signing key than this one.
    async fn until_another_key(&self, tenant: &SharedTenant, tried: VerifyingKey) {
        let mut backoff = Backoff::new(PAUSE);
        while self.signing_key(tenant).await.map_or(true, |key| key == tried) {
            tokio::time::sleep(backoff.failed(clock::now(), rand::random())).await;
        }
    }
}

struct Follower<'a> {
    replication: &'a Replication,
    tenant: SharedTenant,
    /// The key with which commits were verified last.
    tried: Option<VerifyingKey>,
    account: Account,
    machine: Standby,
    page: BTreeMap<u64, Message>,
    landing: Vec<Landing>,
    row: ReplicaRow,
    /// When the primary last answered with everything that it had.
    told_all: Option<Timestamp>,
    /// When the private rows were compared.
    compared: Instant,
    wanting: Wanting,
    /// Bytes of files that were taken.
    files: u64,
    /// Whether parts of a repository may lie here that nothing goes on with once the copy is whole.
    may_have_parts: bool,
    /// Bytes that commits may bring before it is looked again whether there is room.
    granted: u64,
}

impl<'a> Follower<'a> {
    async fn begin(replication: &'a Replication, tenant: &SharedTenant) -> Result<Self, ReplicationError> {
        let account = replication.copy_account(tenant).await?;
        let (reader, did) = (replication.0.parts.reader.clone(), tenant.did.clone());
        let row = blocking::run(move || reader.get(&replicas::REPLICAS, &did)).await?;
        let mut row = row.ok_or(ReplicationError::Unexpected)?;
        replication.recount(tenant, account.id(), &mut row).await?;
        let have = replication.have(account.id()).await?;
        let mut resumes = row.complete.is_none();
        if row.epoch != tenant.placed.epoch {
            // Another primary, another log, which goes on behind the one before. What was verified is kept; until the
            // rest is compared the copy is not whole.
            (row.epoch, row.complete) = (tenant.placed.epoch, None);
            (row.state, row.stopped) = ([0; 32], None);
            resumes = true;
        } else if let Some(complete) = row.complete {
            replication.0.failover.advanced(&tenant.did, row.epoch, complete);
        }
        let state = (row.state != [0; 32]).then_some(row.state);
        let machine = match have {
            Some(have) if resumes && row.cursor > 0 => Standby::resuming(have, row.cursor),
            // It was interrupted before the repository was here.
            _ if resumes => Standby::new(None, 0, state),
            have => Standby::new(have, row.cursor, state),
        };
        let (page, landing, compared) = (BTreeMap::new(), Vec::new(), Instant::now());
        let (tenant, wanting, told_all) = (Arc::clone(tenant), Wanting::default(), None);
        Ok(Self {
            replication,
            tenant,
            tried: None,
            account,
            machine,
            page,
            landing,
            row,
            told_all,
            compared,
            wanting,
            files: 0,
            may_have_parts: true,
            granted: 0,
        })
    }

    /// The key under which something did not verify, if that is why the machine has stopped.
    fn tried_in_vain(&self) -> Option<VerifyingKey> {
        self.tried.filter(|_| matches!(self.machine.phase(), Phase::Stopped(Stopped::Refused)))
    }

    /// Ends well when the machine has stopped.
    async fn run(&mut self, backoff: &mut Backoff) -> Result<(), ReplicationError> {
        let first = self.machine.begin();
        self.perform(first).await?;
        let mut io = self.replication.open(&self.tenant.placed.primary).await?;
        while !matches!(self.machine.phase(), Phase::Stopped(_)) {
            if !self.replication.0.failover.may_follow(&self.tenant.did, self.tenant.placed.epoch) {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            let input = self.pull(&mut io).await?;
            backoff.succeeded(clock::now());
            let mut effects = Vec::new();
            self.machine.handle(input, &mut effects);
            self.perform(effects).await?;
            if let Some(at) = self.told_all.filter(|_| self.machine.complete() == self.machine.cursor()) {
                self.replication.placement().note_current(&self.tenant.did, at);
            }
            if self.wanting.is_due(Instant::now()) {
                self.perform(vec![Effect::FetchFiles]).await?;
            }
            if self.compared.elapsed() >= COMPARE_EVERY && self.machine.complete() == self.machine.cursor() {
                self.compare().await?;
            }
        }
        Ok(())
    }

    /// Looks whether the private rows are the primary's although nothing more was told.
    async fn compare(&mut self) -> Result<(), ReplicationError> {
        self.compared = Instant::now();
        let at = self.machine.cursor();
        let compared = self.copy_rows().await?;
        if compared.unexplained > 0 {
            let rows = compared.unexplained;
            tracing::error!(tenant = %self.tenant.did, rows, at, "private rows differed though nothing had told of it; mended");
            self.row.mended = self.row.mended.saturating_add(rows);
            self.store().await?;
        }
        if compared.others > 0 {
            // They are as they were at a later event, or may be: nothing is complete before the copy is there.
            let mut effects = Vec::new();
            self.machine.handle(Input::RowsCopied(compared.sequence), &mut effects);
            self.perform(effects).await?;
        }
        Ok(())
    }

    async fn copy_rows(&mut self) -> Result<Compared, ReplicationError> {
        let room = self.room().await?.left();
        let (at, account) = (self.machine.cursor(), self.account.id());
        let compared = self.replication.compare_rows(&self.tenant, account, at, room).await?;
        self.row.bytes = self.row.bytes.saturating_add_signed(compared.grew);
        Ok(compared)
    }

    async fn pull(&mut self, io: &mut crate::network::Stream) -> Result<Input, ReplicationError> {
        let of = Of { tenant: self.tenant.did.clone(), epoch: self.tenant.placed.epoch };
        let complete = self.row.complete.unwrap_or(0);
        let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
        let since = self.machine.cursor();
        let recipient = self.replication.0.parts.sealing.recipient();
        let pull = Pull { of, since, complete, wait_ms, account: self.row.state, recipient };
        stream::ask(io, &Question::Pull(pull)).await?;
        match stream::answered(io, WAIT + OWED).await? {
            Answer::Page { events, next, head, rev, data, account, rows } => {
                self.page.clear();
                self.told_all = (next >= head).then(clock::now);
                let events = events.into_iter().map(|told| self.read(told)).collect::<Result<_, _>>();
                let Ok(events) = events else { return Ok(Input::Refused) };
                let came = rows.is_some();
                if let Some(rows) = rows {
                    match self.take_rows((since, next), rows).await {
                        Ok(()) => {}
                        Err(ReplicationError::NotBelieved(why)) => {
                            tracing::error!(tenant = %self.tenant.did, why, "what the primary sent does not verify");
                            return Ok(Input::Refused);
                        }
                        Err(ReplicationError::Quota) => return Ok(Input::Declined),
                        Err(error) => return Err(error),
                    }
                }
                Ok(Input::Page(Page { events, next, head, repo: Have { rev, data }, account, rows: came }))
            }
            Answer::Trimmed => Ok(Input::Trimmed),
            Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
            _ => Err(ReplicationError::Unexpected),
        }
    }

    /// Takes what events tell of private rows into the copy.
    async fn take_rows(&mut self, span: (u64, u64), rows: SealedRows) -> Result<(), ReplicationError> {
        let room = self.room().await?.left();
        let (this, tenant, account) = (self.replication.clone(), Arc::clone(&self.tenant), self.account.id());
        let grew = blocking::run(move || this.take_events_blocking(&tenant, account, span, &rows, room)).await?;
        self.row.bytes = self.row.bytes.saturating_add_signed(grew);
        Ok(())
    }

    /// Reads an event and keeps it for when it is to be applied.
    fn read(&mut self, told: Told) -> Result<(u64, Event), ReplicationError> {
        let refused = |why: String| ReplicationError::NotBelieved(why);
        let frame = Frame::decode(&told.frame).map_err(|error| refused(error.to_string()))?;
        let Frame::Message { sequence, message, .. } = frame else { return Err(refused("no message".to_owned())) };
        if sequence != told.sequence {
            return Err(refused("an event under another number".to_owned()));
        }
        let event = match &message {
            Message::Commit(body) if body.repo == self.tenant.did => Event::Commit { rev: body.rev, since: body.since },
            Message::Sync { did, rev, .. } if *did == self.tenant.did => Event::Sync { rev: *rev },
            Message::Identity { did, .. } | Message::Account { did, .. } if *did == self.tenant.did => Event::Account,
            _ => return Err(refused("an event of another account".to_owned())),
        };
        self.page.insert(sequence, message);
        Ok((sequence, event))
    }

    /// Performs effects, and those that follow from them.
    async fn perform(&mut self, effects: Vec<Effect>) -> Result<(), ReplicationError> {
        let mut waiting: VecDeque<_> = effects.into();
        while let Some(effect) = waiting.pop_front() {
            let done = if let Effect::Apply(first) = effect {
                // What comes in a row is verified and applied in a row.
                let mut sequences = vec![first];
                while let Some(Effect::Apply(next)) = waiting.front() {
                    sequences.push(*next);
                    waiting.pop_front();
                }
                self.apply(sequences).await
            } else {
                self.perform_one(effect).await.map(Vec::from_iter)
            };
            let inputs = match done {
                Ok(inputs) => inputs,
                Err(ReplicationError::NotBelieved(why)) => {
                    tracing::error!(tenant = %self.tenant.did, why, "what the primary sent does not verify");
                    vec![Input::Refused]
                }
                Err(ReplicationError::Quota) => vec![Input::Declined],
                Err(error) => return Err(error),
            };
            let mut effects = Vec::new();
            for input in inputs {
                self.machine.handle(input, &mut effects);
            }
            waiting.extend(effects);
        }
        Ok(())
    }

    async fn perform_one(&mut self, effect: Effect) -> Result<Option<Input>, ReplicationError> {
        let (replication, tenant, account) = (self.replication, Arc::clone(&self.tenant), self.account.id());
        Ok(match effect {
            Effect::Copy => Some(self.copy().await?),
            Effect::Apply(sequence) => self.apply(vec![sequence]).await?.pop(),
            Effect::Adopt(sequence) => Some(self.adopt(sequence).await?),
            Effect::FetchAccount => {
                let digest = replication.fetch_state(&tenant, &self.account).await?;
                self.row.state = digest;
                if self.row.complete.is_some() {
                    // Whoever asks how this copy stands is told what is there now; no later event may come to say so.
                    self.store().await?;
                }
                Some(Input::Stored(digest))
            }
            Effect::FetchFiles => {
                self.land().await?;
                let room = self.room().await?;
                let before = self.files;
                let left = replication.fetch_files(&tenant, account, room, &mut self.wanting, &mut self.files).await;
                // What is here counts, also when the rest does not come: a primary that breaks off again and again gets no
                // more room for it.
                self.count_files(self.files - before).await?;
                if left.is_err() {
                    self.count_parts().await?;
                }
                self.tell_wanting().await?;
                match left? {
                    Left::Nothing => Some(Input::Missing(false)),
                    Left::More => Some(Input::Missing(true)),
                    // They are asked for again in their time, and until then the copy is not whole.
                    Left::Wanting => None,
                }
            }
            Effect::CopyRows => {
                self.land().await?;
                self.compared = Instant::now();
                Some(Input::RowsCopied(self.copy_rows().await?.sequence))
            }
            Effect::Complete(cursor) => {
                replication.0.progress.done(&tenant.did);
                if std::mem::take(&mut self.may_have_parts) {
                    let partials = replication.0.partials.clone();
                    blocking::run(move || partials.remove_repository_blocking(account)).await?;
                }
                (self.row.cursor, self.row.complete) = (self.machine.cursor(), Some(cursor));
                self.row.current = self.told_all.or(self.row.current);
                // Whatever was in the way is not any more.
                self.row.stopped = None;
                // One flush for what was applied and for the row that tells of it.
                let stored = self.begin_store().await?;
                self.land().await?;
                stored.await.unwrap_or(Err(CommitError::Closed))?;
                replication.0.failover.advanced(&tenant.did, tenant.placed.epoch, cursor);
                None
            }
            Effect::Report(why) => {
                let words = match why {
                    Stopped::Fork { here, there } => {
                        format!(
                            "a fork: here is revision {}, the primary tells of {there}; nothing is merged",
                            here.rev
                        )
                    }
                    Stopped::Refused => "what the primary sent does not verify".to_owned(),
                    Stopped::Declined => ReplicaRow::NO_ROOM.to_owned(),
                };
                tracing::error!(tenant = %tenant.did, primary = %tenant.placed.primary, why = words, "stopped following");
                self.row.stopped = Some(words);
                self.store().await?;
                None
            }
        })
    }

    /// Tells the operator, and whoever waits for the copy, of files without which it does not become whole.
    async fn tell_wanting(&mut self) -> Result<(), ReplicationError> {
        let Some(words) = self.wanting.told().filter(|words| self.row.stopped.as_ref() != Some(words)) else {
            return Ok(());
        };
        tracing::error!(tenant = %self.tenant.did, primary = %self.tenant.placed.primary, why = words, "the copy is not whole");
        self.row.stopped = Some(words);
        self.store().await
    }

    async fn copy(&mut self) -> Result<Input, ReplicationError> {
        self.land().await?;
        self.tried = Some(self.replication.signing_key(&self.tenant).await?);
        self.may_have_parts = true;
        // The files that are here stay.
        self.row.bytes = self.replication.0.parts.blobs.bytes_of(self.account.id()).await?;
        self.row.files = Some(self.row.bytes);
        let room = self.room().await?;
        let copied = self.replication.copy_repository(&self.tenant, &self.account, room).await;
        if copied.is_err() {
            self.count_parts().await?;
        }
        let (have, sequence, bytes) = copied?;
        // Should the rest be interrupted, this much is here.
        self.row.cursor = sequence;
        self.count_repository(bytes).await?;
        Ok(Input::Copied { have, sequence })
    }

    /// Verifies and applies commits, up to the first that does not verify.
    async fn apply(&mut self, sequences: Vec<u64>) -> Result<Vec<Input>, ReplicationError> {
        let mut bodies = Vec::with_capacity(sequences.len());
        for sequence in &sequences {
            let Some(Message::Commit(body)) = self.page.remove(sequence) else {
                return Err(ReplicationError::Unexpected);
            };
            bodies.push(body);
        }
        self.room_for_commits(bodies.iter().map(|body| body.car.len() as u64).sum()).await?;
        let key = self.replication.signing_key(&self.tenant).await?;
        self.tried = Some(key);
        let (verified, refused) = blocking::run(move || {
            let mut verified = Vec::with_capacity(bodies.len());
            for body in &bodies {
                match verify_commit(body.message(), key) {
                    Ok(it) if it.commit().is_from_the_future(clock::now()) => {
                        return (verified, Some("a revision in the future".to_owned()));
                    }
                    Ok(it) => verified.push(it),
                    Err(error) => return (verified, Some(error.to_string())),
                }
            }
            (verified, None)
        })
        .await;
        let stands = |it: &VerifiedCommit| Have { rev: it.commit().rev(), data: it.commit().data() };
        let stands: Vec<_> = verified.iter().map(stands).collect();
        let followed = self.replication.0.parts.repos.follow(self.account.id(), verified).await?;
        self.landing.extend(followed.landing);
        self.count_commits(followed.grew);
        let applied = sequences.into_iter().zip(stands).zip(followed.name_files);
        let mut inputs: Vec<_> =
            applied.map(|((sequence, have), files)| Input::Applied { sequence, have, files }).collect();
        if let Some(why) = refused {
            tracing::error!(tenant = %self.tenant.did, why, "what the primary sent does not verify");
            inputs.push(Input::Refused);
        }
        Ok(inputs)
    }

    async fn adopt(&mut self, sequence: u64) -> Result<Input, ReplicationError> {
        let Some(Message::Sync { did, rev, car }) = self.page.remove(&sequence) else {
            return Err(ReplicationError::Unexpected);
        };
        let key = self.replication.signing_key(&self.tenant).await?;
        self.tried = Some(key);
        let commit = blocking::run(move || verify_sync(&did, rev, &car, key)).await;
        let commit = commit.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
        self.land().await?;
        let have = Have { rev: commit.rev(), data: commit.data() };
        if self.replication.0.parts.repos.adopt(self.account.id(), commit).await? {
            return Ok(Input::Applied { sequence, have, files: false });
        }
        self.copy().await
    }

    /// Waits until what was applied is durable.
    async fn land(&mut self) -> Result<(), ReplicationError> {
        for landing in self.landing.drain(..) {
            landing.durable().await?;
        }
        Ok(())
    }

    async fn store(&self) -> Result<(), ReplicationError> {
        let (replication, did, row) = (self.replication.clone(), self.tenant.did.clone(), self.row.clone());
        blocking::run(move || replication.change_row_blocking(&did, |stored| keep_role(stored, row))).await
    }

    /// As [`Self::store`], behind what was applied; answers when that is durable.
    async fn begin_store(&self) -> Result<oneshot::Receiver<Result<Committed, CommitError>>, ReplicationError> {
        let (replication, did, row) = (self.replication.clone(), self.tenant.did.clone(), self.row.clone());
        blocking::run(move || replication.begin_change_row_blocking(&did, |stored| keep_role(stored, row))).await
    }
}

/// Whoever changes the role may have come in between.
fn keep_role(stored: &mut ReplicaRow, row: ReplicaRow) {
    let (role, operation) = (stored.role, stored.operation.take());
    *stored = ReplicaRow { role, operation, ..row };
}

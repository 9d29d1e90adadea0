//! Answers to the other hosting nodes. Who asks is known from the stream; whether it may ask that, from the ledger.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::replication::rows::SealedRows;
use angel_protocol::replication::wire::{
    AccountOf, Answer, File, InFavour, Keep, Kept, Of, PROTOCOL, Pull, Question, Refusal, RepoOf, Told, encode_shares,
};
use angel_protocol::time::Timestamp;
use angel_storage::repos::Head;
use angel_storage::{AccountId, firehose};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::copy::SharedTenant;
use super::state::SealingError;
use super::stream::PIECE_BYTES;
use super::tails::Since;
use super::{Replication, ReplicationError, state, stream};
use crate::blobs::BlobError;
use crate::blocking;
use crate::events::Bulk;
use crate::network::{self, Stream};
use crate::placement::Tenant;
use crate::tasks::TaskResult;

/// Streams of all other nodes at once; more are dropped, and tried again by whoever opened them.
const STREAMS_MAX: usize = 512;

/// Longest wait that a puller may ask for.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What a stream knows from one question to the next.
#[derive(Default)]
struct Session {
    /// The newest stamp that was sent: confirming a later one is confirming nothing.
    stamp: u64,
}

/// What there is to tell a standby.
struct Looked {
    head: Head,
    found: Option<Since>,
    /// Digest of what else is kept for the account.
    account: [u8; 32],
    rows: Option<SealedRows>,
}

impl Looked {
    fn tells_nothing(&self, pull: &Pull) -> bool {
        let is_quiet = |found: &Since| found.events.is_empty() && found.rows.is_empty() && found.head <= pull.since;
        self.account == pull.account && self.found.as_ref().is_some_and(is_quiet)
    }
}

impl Replication {
    /// Answers until told to stop.
    pub(super) async fn serve(self, stop: CancellationToken) -> TaskResult {
        let mut incoming = self.0.parts.network.accept_streams(PROTOCOL)?;
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        let streams = TaskTracker::new();
        loop {
            let (peer, io) = tokio::select! {
                () = stop.cancelled() => break,
                next = incoming.next() => match next {
                    Some(next) => next,
                    None if stop.is_cancelled() => break,
                    None => return Err("the network ended".into()),
                },
            };
            let (Ok(place), Some(asker)) = (Arc::clone(&room).try_acquire_owned(), network::did_of(&peer)) else {
                continue;
            };
            let (this, stop) = (self.clone(), stop.clone());
            streams.spawn(async move {
                let served = Box::pin(stop.run_until_cancelled(this.serve_stream(&asker, io))).await;
                if let Some(Err(error)) = served {
                    tracing::debug!(peer = %asker, %error, "a stream of a hosting node ended");
                }
                drop(place);
            });
        }
        streams.close();
        streams.wait().await;
        Ok(())
    }

    async fn serve_stream(&self, asker: &Did, mut io: Stream) -> io::Result<()> {
        let mut session = Session::default();
        while let Some(question) = stream::question(&mut io).await? {
            match self.answer(asker, &mut session, &mut io, question).await {
                Ok(Some(answer)) => stream::answer(&mut io, &answer).await?,
                Ok(None) => {}
                Err(ReplicationError::Refused(refusal)) => stream::answer(&mut io, &Answer::Refused(refusal)).await?,
                Err(ReplicationError::Io(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(peer = %asker, %error, "cannot answer a hosting node");
                    stream::answer(&mut io, &Answer::Refused(Refusal::Not("it failed here".to_owned()))).await?;
                }
            }
        }
        Ok(())
    }

    async fn answer(
        &self,
        asker: &Did,
        session: &mut Session,
        io: &mut Stream,
        question: Question,
    ) -> Result<Option<Answer>, ReplicationError> {
        Ok(Some(match question {
            Question::Offer(offer) if let Some(tenant) = self.held_for(asker, &offer.tenant) => {
                self.has_room_for(&tenant).await?
            }
            Question::Offer(offer) => {
                let this = self.clone();
                let holding = blocking::run(move || this.holding_blocking(None)).await?;
                match self.0.parts.consent.to(asker, &offer, holding) {
                    Ok(()) => Answer::Accepted,
                    Err(declined) => Answer::Declined(declined),
                }
            }
            Question::Keep(keep) => self.kept(asker, session, keep),
            Question::Pull(pull) => self.pulled(asker, pull).await?,
            Question::Repo(asked) => {
                self.send_repository(asker, asked, io).await?;
                return Ok(None);
            }
            Question::File(file) => {
                self.send_file(asker, &file, io).await?;
                return Ok(None);
            }
            Question::Account(of) => self.account(asker, &of).await?,
            Question::Rows(asked) => {
                let (tenant, account) = self.primary_for(asker, &asked.of)?;
                self.rows(tenant, account, asked).await?
            }
            Question::Archive(asked) => {
                Box::pin(self.send_archive(asker, asked, io)).await?;
                return Ok(None);
            }
            Question::Prove(asked) => self.proof(asker, asked).await?,
            Question::Silent(asked) => {
                self.host(asker, &asked.tenant)?;
                self.0.failover.poll(&asked.tenant, asked.epoch)
            }
            Question::Observe(asked) => {
                self.host(asker, &asked.tenant)?;
                self.observed(&asked).await?
            }
            Question::Share(asked) => self.share(asker, asked).await?,
            Question::Replay(replay) => {
                // Who was primary may host nothing any more. Whether it was is found out from the ledger before anything is
                // taken.
                let unknown = || ReplicationError::Refused(Refusal::UnknownTenant);
                let tenant = self.placement().tenant(&replay.of.tenant).ok_or_else(unknown)?;
                if !tenant.is_primary() || tenant.placed.epoch != replay.of.epoch || !tenant.serves() {
                    return Err(ReplicationError::Refused(Refusal::NotPrimary));
                }
                self.take_replay(asker, &tenant, replay).await?
            }
            Question::HandOver(asked) => {
                let (tenant, _) = self.primary_for(asker, &asked.of)?;
                self.hand_over(&tenant, asker, asked.accepted).await?
            }
            Question::TakeOver(of) => {
                let tenant = self.host(asker, &of.tenant)?;
                if tenant.placed.primary != *asker || tenant.placed.epoch != of.epoch || tenant.is_primary() {
                    return Err(ReplicationError::Refused(Refusal::NotPrimary));
                }
                self.promote(&tenant).await?;
                Answer::HandedOver
            }
            Question::How(of) => {
                let tenant = self.host(asker, &of.tenant)?;
                Answer::How(self.how(&tenant).await?)
            }
        }))
    }

    /// The tenant, if the asker hosts it or witnesses for it.
    pub(super) fn host(&self, asker: &Did, tenant: &Did) -> Result<SharedTenant, ReplicationError> {
        let unknown = || ReplicationError::Refused(Refusal::UnknownTenant);
        let tenant = self.placement().tenant(tenant).ok_or_else(unknown)?;
        let hosts = tenant.placed.hosts().any(|host| host == asker)
            || tenant.placed.witness.as_ref() == Some(asker)
            || tenant.is_former(asker);
        if hosts { Ok(tenant) } else { Err(ReplicationError::Refused(Refusal::NotAHost)) }
    }

    /// The tenant and its account, if this node is primary in that epoch and the asker a standby.
    fn primary_for(&self, asker: &Did, of: &Of) -> Result<(SharedTenant, AccountId), ReplicationError> {
        let tenant = self.host(asker, &of.tenant)?;
        let refused = || ReplicationError::Refused(Refusal::NotPrimary);
        if !tenant.is_primary() || tenant.placed.epoch != of.epoch || !tenant.serves() {
            return Err(refused());
        }
        if !tenant.is_followed_by(asker) {
            return Err(ReplicationError::Refused(Refusal::NotAHost));
        }
        let account = tenant.account.ok_or_else(refused)?;
        Ok((tenant, account))
    }

    fn kept(&self, asker: &Did, session: &mut Session, keep: Keep) -> Answer {
        let confirmed = keep.confirms.filter(|stamp| *stamp <= session.stamp).map(Timestamp::from_millis);
        for kept in keep.tenants {
            let Ok(tenant) = self.host(asker, &kept.tenant) else { continue };
            let hosts = tenant.hosts();
            if !tenant.is_primary() || tenant.placed.epoch != kept.epoch || !hosts.is_backup(asker) {
                continue;
            }
            if let Some(sent) = confirmed {
                tenant.lease().confirm(asker, sent);
            }
            tenant.copied(asker, kept.sequence);
        }
        let mine = self.placement().tenants().into_iter().filter(|tenant| {
            // One that is still taking over is there, too: it must not be replaced for it.
            let hosts = tenant.hosts();
            tenant.is_primary() && (hosts.is_backup(asker) || hosts.witness.as_ref() == Some(asker))
        });
        let tenants = mine.map(|tenant| {
            let newest = tenant.account.and_then(|account| self.0.tails.head(account)).map_or(0, |(head, _)| head);
            Kept { tenant: tenant.did.clone(), epoch: tenant.placed.epoch, sequence: newest }
        });
        let tenants = tenants.collect();
        session.stamp = self.placement().uptime().now().as_millis();
        Answer::Kept { stamp: session.stamp, tenants }
    }

    async fn pulled(&self, asker: &Did, pull: Pull) -> Result<Answer, ReplicationError> {
        let (tenant, account) = self.primary_for(asker, &pull.of)?;
        tenant.copied(asker, pull.complete);
        tenant.holds_of_account(asker, pull.account);
        let (mut head, mut dealt) = (self.0.tails.watch(account), self.0.dealt.subscribe());
        let nothing_to_tell = *head.borrow() <= pull.since;
        let pull = Arc::new(pull);
        let mut looked = self.look(asker, &tenant, account, &pull, None).await?;
        if nothing_to_tell && looked.tells_nothing(&pull) {
            let wait = Duration::from_millis(pull.wait_ms.into()).min(WAIT_MAX);
            // Whoever waits is woken by the next event, or by new shares, and answered with nothing when none comes.
            let woken = async {
                tokio::select! {
                    more = head.wait_for(|head| *head > pull.since) => more.map(|_| Some(looked.account)),
                    dealt = dealt.changed() => dealt.map(|()| None),
                }
            };
            if let Ok(Ok(known)) = tokio::time::timeout(wait, woken).await {
                looked = self.look(asker, &tenant, account, &pull, known).await?;
            }
        }
        let Looked { head, found, account, rows } = looked;
        let Some(found) = found else { return Ok(Answer::Trimmed) };
        let told = |(sequence, stored): (u64, Arc<[u8]>)| {
            firehose::frame_of(&stored, sequence).map(|frame| Told { sequence, frame })
        };
        Ok(Answer::Page {
            events: found.events.into_iter().filter_map(told).collect(),
            next: found.next,
            head: found.head,
            rev: head.commit.rev(),
            data: head.commit.data(),
            account,
            rows,
        })
    }

    /// What there is to tell behind the cursor of a pull. `known` is the digest of what else is kept for the account as it
    /// was a moment ago: made anew only if something tells that it is another.
    async fn look(
        &self,
        asker: &Did,
        tenant: &SharedTenant,
        account: AccountId,
        pull: &Arc<Pull>,
        known: Option<[u8; 32]>,
    ) -> Result<Looked, ReplicationError> {
        let (this, asker, tenant, pull) = (self.clone(), asker.clone(), Arc::clone(tenant), Arc::clone(pull));
        blocking::run(move || {
            let head = this.0.parts.repos.head_blocking(account)?;
            let head = head.ok_or(ReplicationError::Refused(Refusal::NotFound))?;
            let found = this.0.tails.since_blocking(account, pull.since)?;
            // Behind the events: with one that says that the state is another goes the digest of that state, or a later.
            let is_same = found.as_ref().is_some_and(|found| !found.state);
            let digest = match known.filter(|_| is_same) {
                Some(known) => known,
                None => this.account_digest_blocking(&tenant, account, &asker)?,
            };
            let rows = match &found {
                Some(found) => {
                    let span = (pull.since, found.next);
                    this.sealed_events_blocking(&tenant, span, &found.rows, &pull.recipient)?
                }
                None => None,
            };
            Ok(Looked { head, found, account: digest, rows })
        })
        .await
    }

    async fn send_repository(&self, asker: &Did, asked: RepoOf, io: &mut Stream) -> Result<(), ReplicationError> {
        let (_, account) = self.primary_for(asker, &asked.of)?;
        // What is durable now is in the export, which waits for what is on its way.
        let _turn = self.0.pace.turn().await;
        let sequence = self.0.parts.reader.durable_sequence();
        let mut export = self.0.parts.repos.export_for_copy(account, asked.has).await?;
        stream::answer(io, &Answer::Begins { bytes: None, sequence, media_type: None }).await?;
        while let Some((piece, next)) = export.next().await? {
            export = next;
            for piece in piece.chunks(PIECE_BYTES) {
                self.send_piece(io, Bulk::Repository, piece.to_vec()).await?;
            }
            if !export.reached().is_empty() {
                stream::answer(io, &Answer::Reached(export.reached().to_owned())).await?;
            }
        }
        Ok(stream::answer(io, &Answer::End).await?)
    }

    /// Sends some of what goes in bulk, at the pace of copying.
    pub(super) async fn send_piece(&self, io: &mut Stream, what: Bulk, piece: Vec<u8>) -> io::Result<()> {
        let bytes = piece.len();
        self.0.pace.send(bytes).await;
        stream::answer(io, &Answer::Piece(piece.into())).await?;
        self.0.parts.events.bulk_sent(what, bytes as u64);
        Ok(())
    }

    async fn send_file(&self, asker: &Did, file: &File, io: &mut Stream) -> Result<(), ReplicationError> {
        let (_, account) = self.primary_for(asker, &file.of)?;
        let blob = match self.0.parts.blobs.get_for_copy(account, file.cid).await {
            Err(error @ BlobError::File { .. }) => {
                tracing::error!(cid = %file.cid, %error, "a file of an account is not to be had: no copy of it becomes whole");
                None
            }
            found => found?,
        };
        let blob = blob.ok_or(ReplicationError::Refused(Refusal::NotFound))?;
        let (media_type, size) = (Some(blob.mime_type.clone()), blob.size);
        stream::answer(io, &Answer::Begins { bytes: Some(size), sequence: 0, media_type }).await?;
        let mut body = blob.into_range(file.from.min(size)..size).into_data_stream();
        loop {
            // A turn for each piece: were one file sent to its end, others of the same standby would wait so long that it
            // gives up.
            let _turn = self.0.pace.turn().await;
            let Some(piece) = body.next().await else { break };
            let mut piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::error!(cid = %file.cid, %error, "a file of an account cannot be read to its end: no copy of it becomes whole");
                    break;
                }
            };
            while !piece.is_empty() {
                let now = piece.split_to(piece.len().min(PIECE_BYTES));
                self.send_piece(io, Bulk::Files, now.into()).await?;
            }
        }
        Ok(stream::answer(io, &Answer::End).await?)
    }

    async fn account(&self, asker: &Did, of: &AccountOf) -> Result<Answer, ReplicationError> {
        let (tenant, account) = self.primary_for(asker, &of.of)?;
        self.prepare_operation(&tenant, asker, of).await?;
        let (this, asker, recipient) = (self.clone(), asker.clone(), of.recipient.clone());
        blocking::run(move || {
            let mut sealed = this.sealed_state_blocking(&tenant, account, &recipient)?;
            this.0.tails.set_digest(account, sealed.digest);
            let shares = this.encoded_shares_blocking(&tenant, &asker)?;
            sealed.digest = with_shares(sealed.digest, &shares);
            sealed.shares = state::seal(&recipient, &shares)?;
            Ok(Answer::Account(sealed))
        })
        .await
    }

    /// The digest of what `standby` is to hold of an account besides repository and files. Blocks.
    pub(super) fn account_digest_blocking(
        &self,
        tenant: &Tenant,
        account: AccountId,
        standby: &Did,
    ) -> Result<[u8; 32], ReplicationError> {
        let made = || Ok::<_, ReplicationError>(self.state_blocking(tenant, account)?.1);
        let state = self.0.tails.digest(account, made)?;
        Ok(with_shares(state, &self.encoded_shares_blocking(tenant, standby)?))
    }

    pub(super) fn encoded_shares_blocking(
        &self,
        tenant: &Tenant,
        holder: &Did,
    ) -> Result<Zeroizing<Vec<u8>>, ReplicationError> {
        let shares = self.shares_of_blocking(tenant, holder)?;
        Ok(Zeroizing::new(encode_shares(&shares).map_err(SealingError::from)?))
    }

    async fn observed(&self, asked: &InFavour) -> Result<Answer, ReplicationError> {
        let observation = self.0.failover.observe(&asked.tenant, asked.epoch, self.0.parts.submitter.key()).await?;
        let no = || ReplicationError::Refused(Refusal::Not("the primary is not silent here".to_owned()));
        observation.map(Answer::Observed).ok_or_else(no)
    }

    async fn share(&self, asker: &Did, asked: InFavour) -> Result<Answer, ReplicationError> {
        let tenant = self.host(asker, &asked.tenant)?;
        // The ledger's decision alone releases it.
        if tenant.placed.primary != *asker || tenant.placed.epoch != asked.epoch {
            return Err(ReplicationError::Refused(Refusal::NotPrimary));
        }
        let (this, standby) = (self.clone(), asker.clone());
        let share = blocking::run(move || this.held_share_blocking(&asked.tenant, &standby)).await?;
        share.map(Answer::Share).ok_or(ReplicationError::Refused(Refusal::NotFound))
    }
}

/// The digest by which a standby notices that it has to ask again: the state's, and that of its own shares, which change
/// when another standby brings its keys.
pub(super) fn with_shares(state: [u8; 32], shares: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(state);
    hash.update(shares);
    hash.finalize().into()
}

//! The vault's side: it fetches the newest archive, keeps it as a file that it cannot open, and proves that it has it.
//!
//! Each tenant's archive is fetched by a task of its own, a few at a time; one that takes long lets others go first now and then,
//! and goes on where it was.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use angel_protocol::backoff::{Backoff, Policy};
use angel_protocol::ids::Did;
use angel_protocol::limits::{VAULT_RANGE_BYTES, VAULT_RANGES_MAX};
use angel_protocol::placement::Offer;
use angel_protocol::replication::wire::{Answer, ArchiveOf, Of, ProveOf, Question, Refusal};
use serde_bytes::ByteArray;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::copy::{PIECE_LIMIT, SharedTenant};
use super::super::{Replication, ReplicationError, stream};
use super::kept::Kept;
use crate::network::Stream;
use crate::placement::Tenant;
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// How long one archive is fetched before others come first.
const SLICE: Duration = Duration::from_mins(10);

/// How often it is looked for archives to let go of.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// How long to wait after a failure.
const PAUSE: Policy =
    Policy { base: Duration::from_secs(1), ceiling: Duration::from_mins(30), reset_after: Duration::ZERO };

/// What came of asking for the newest archive.
enum Fetched {
    /// It is here.
    Newest,
    /// Others are being fetched.
    NoTurn,
}

impl Replication {
    /// Keeps the archives of every tenant that this node is a vault of, until told to stop.
    pub(super) async fn keep_archives(self, stop: CancellationToken) -> TaskResult {
        let mut running = JoinSet::new();
        let mut kept: BTreeMap<Did, (SharedTenant, CancellationToken)> = BTreeMap::new();
        let mut placed = self.placement().watch();
        let mut swept: Option<Instant> = None;
        loop {
            let mut wanted: BTreeMap<Did, SharedTenant> = BTreeMap::new();
            for tenant in self.placement().tenants() {
                if tenant.placed.vaults.contains(self.own()) {
                    wanted.insert(tenant.did.clone(), tenant);
                }
            }
            kept.retain(|did, (tenant, stop)| {
                let goes_on = wanted.get(did).is_some_and(|it| it.placed == tenant.placed);
                if !goes_on {
                    stop.cancel();
                }
                goes_on
            });
            for (did, tenant) in wanted {
                if kept.contains_key(&did) {
                    continue;
                }
                let (this, stop, of) = (self.clone(), stop.child_token(), tenant.clone());
                kept.insert(did, (tenant, stop.clone()));
                running.spawn(async move {
                    Box::pin(stop.run_until_cancelled(this.keep_archive(&of))).await;
                });
            }
            if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
                swept = Some(Instant::now());
                let this = self.clone();
                if let Err(error) = blocking::run(move || this.sweep_kept_blocking(clock::now())).await {
                    tracing::warn!(%error, "the archives that are kept here cannot be looked through");
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = placed.changed() => changed.map_err(|_| "the placements ended")?,
                Some(ended) = running.join_next() => ended?,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
        running.shutdown().await;
        Ok(())
    }

    /// Fetches one tenant's archives as they are made.
    async fn keep_archive(&self, tenant: &Tenant) {
        let mut backoff = Backoff::new(PAUSE);
        let mut turn = None;
        loop {
            let fetching = Box::pin(self.fetch_archive(tenant, turn.take()));
            let pause = match tokio::time::timeout(SLICE, fetching).await {
                // The slice is over: whoever waits comes first.
                Err(_) => Duration::ZERO,
                Ok(Ok(Fetched::Newest)) => {
                    backoff.succeeded(clock::now());
                    self.0.vaults.round()
                }
                Ok(Ok(Fetched::NoTurn)) => {
                    // Nobody closes it.
                    turn = self.0.vaults.fetches.clone().acquire_owned().await.ok();
                    Duration::ZERO
                }
                // It is being made.
                Ok(Err(ReplicationError::Refused(Refusal::NotFound))) => self.0.vaults.round(),
                Ok(Err(error)) => {
                    let pause = backoff.failed(clock::now(), rand::random());
                    let primary = &tenant.placed.primary;
                    tracing::debug!(tenant = %tenant.did, %primary, %error, "the newest archive did not come");
                    let is_ours = matches!(error, ReplicationError::Quota | ReplicationError::Declined(_));
                    if is_ours || matches!(error, ReplicationError::NotBelieved(_)) {
                        tracing::warn!(tenant = %tenant.did, %primary, %error, "an archive is not kept here");
                    }
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch_archive(
        &self,
        tenant: &Tenant,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Fetched, ReplicationError> {
        let kept = Kept::of(&self.0.vaults.settings.dir, &tenant.did);
        let looking = kept.clone();
        let (has, begun) = blocking::run(move || (looking.has(), looking.begun())).await;
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        let part = begun.map(|(digest, from)| (ByteArray::new(digest), from));
        let mut io = self.open(&tenant.placed.primary).await?;
        let asked = ArchiveOf { of: of.clone(), has: has.map(ByteArray::new), part };
        stream::ask(&mut io, &Question::Archive(asked)).await?;
        let Answer::Archive { digest, bytes, from } = answered(&mut io).await? else {
            return Err(ReplicationError::Unexpected);
        };
        if has == Some(*digest) {
            return Ok(Fetched::Newest);
        }
        let Some(_turn) = turn.or_else(|| self.0.vaults.fetches.clone().try_acquire_owned().ok()) else {
            return Ok(Fetched::NoTurn);
        };
        let come = begun.filter(|(of, _)| *of == *digest).map_or(0, |(_, come)| come);
        if from > come || from > bytes {
            return Err(ReplicationError::Unexpected);
        }
        self.check_room(tenant, bytes - from.min(come)).await?;
        let (opening, did, primary) = (kept.clone(), tenant.did.clone(), tenant.placed.primary.clone());
        let mut file = blocking::run(move || opening.open(&did, &primary, &digest, from)).await?;
        let mut taken = from;
        loop {
            match answered(&mut io).await? {
                Answer::Piece(piece) if !piece.is_empty() && piece.len() as u64 <= bytes - taken => {
                    taken += piece.len() as u64;
                    file = blocking::run(move || file.write_all(&piece).map(|()| file)).await?;
                }
                Answer::End if taken == bytes => break,
                _ => return Err(ReplicationError::Unexpected),
            }
        }
        drop(file);
        let (did, primary) = (tenant.did.clone(), tenant.placed.primary.clone());
        if !blocking::run(move || kept.finish(&did, &primary, &digest)).await? {
            return Err(ReplicationError::NotBelieved("an archive that is not what was announced".to_owned()));
        }
        tracing::info!(tenant = %tenant.did, bytes, "an archive is kept here");
        // So that the primary knows at once whom it can ask.
        let has = Some(digest);
        self.ask(&tenant.placed.primary, &Question::Archive(ArchiveOf { of, has, part: None })).await?;
        Ok(Fetched::Newest)
    }

    /// Whether this node still takes what it consented to, and has room for so many bytes more. The archive that is here stays
    /// until the next one is whole, so it counts beside it.
    async fn check_room(&self, tenant: &Tenant, more: u64) -> Result<(), ReplicationError> {
        let (this, did) = (self.clone(), tenant.did.clone());
        let (others, all) = blocking::run(move || {
            Ok::<_, ReplicationError>((this.holding_blocking(Some(&did))?, this.holding_blocking(None)?))
        })
        .await?;
        let consent = &self.0.parts.consent;
        let offer = Offer { tenant: tenant.did.clone(), bytes: 0, residency: tenant.placed.residency };
        consent.to(&tenant.placed.primary, &offer, others)?;
        if more > consent.room(all) { Err(ReplicationError::Quota) } else { Ok(()) }
    }

    /// The vault's proof that it has an archive; nothing when it has it not.
    pub(in super::super) async fn proof(&self, asker: &Did, asked: ProveOf) -> Result<Answer, ReplicationError> {
        let tenant = self.host(asker, &asked.of.tenant)?;
        if tenant.placed.primary != *asker || !tenant.placed.vaults.contains(self.own()) {
            return Err(ReplicationError::Refused(Refusal::NotPrimary));
        }
        // Whoever asks without pause reads no faster than whoever copies.
        self.0.pace.send(VAULT_RANGES_MAX * usize::try_from(VAULT_RANGE_BYTES).unwrap_or(usize::MAX)).await;
        let kept = Kept::of(&self.0.vaults.settings.dir, &tenant.did);
        let proof = blocking::run(move || kept.prove(&asked.challenge)).await;
        Ok(Answer::Proof(proof.map(ByteArray::new)))
    }
}

async fn answered(io: &mut Stream) -> Result<Answer, ReplicationError> {
    match stream::answered(io, PIECE_LIMIT).await? {
        Answer::Refused(refusal) => Err(ReplicationError::Refused(refusal)),
        answer => Ok(answer),
    }
}

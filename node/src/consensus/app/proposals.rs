//! What may be decided at a height: kept through a restart, made here, come from others in parts or whole.

use std::sync::Arc;

use angel_protocol::consensus::{Address, Assembled, Height, Part, ValueId};
use angel_protocol::ids::Did;
use angel_storage::ledger::undecided::{self, Undecided};
use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{Round, Validator as _, Validity};
use malachitebft_engine::host::SyncedValueOutcome;
use malachitebft_engine::util::streaming::{StreamContent, StreamMessage};
use malachitebft_peer::PeerId as EnginePeer;

use super::super::decide::{self, Candidate};
use super::super::proposer;
use super::{App, AppError, Ctx, EARLY_MAX, validators};
use crate::blocking;
use crate::clock;
use crate::ledger::LedgerError;

impl App {
    /// What was seen of this height already: kept through a restart, or come early.
    pub(super) async fn started_round(
        &mut self,
        height: Height,
        round: Round,
    ) -> Result<Vec<ProposedValue<Ctx>>, AppError> {
        if round != Round::new(0) && !self.candidates.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = self.restore(height).await?;
        let (now, later): (Vec<_>, Vec<_>) = self.early.drain(..).partition(|early| early.head.height <= height);
        self.early = later.into();
        for assembled in now {
            if assembled.head.height == height {
                values.extend(self.consider(assembled).await?);
            }
        }
        Ok(values)
    }

    pub(super) async fn restore(&mut self, height: Height) -> Result<Vec<ProposedValue<Ctx>>, AppError> {
        let shared = Arc::clone(&self.shared);
        let restored = blocking::run(move || {
            let mut restored = Vec::new();
            for value in undecided::at(&shared.reader, height.0)? {
                let Some(kept) = undecided::get(&shared.reader, height.0, value)? else { continue };
                let Undecided { round, pol_round, proposer, body } = kept;
                // It was accepted when it was new.
                match decide::judge(&shared, ValueId(value), body, proposer, None) {
                    Ok(candidate) => restored.push((candidate, round, pol_round)),
                    Err(error) => {
                        tracing::warn!(%height, %error, "a proposal kept through a restart is not good any more");
                    }
                }
            }
            Ok::<_, LedgerError>(restored)
        });
        let mut values = Vec::new();
        for (candidate, round, pol_round) in restored.await? {
            values.push(proposed(&candidate, height, Round::new(round), pol_round.map_or(Round::Nil, Round::new)));
            self.candidates.insert(candidate.value, Arc::new(candidate));
        }
        Ok(values)
    }

    /// A batch of this node's own: what it proposed in this round before a restart, or a new one.
    pub(super) async fn propose(&mut self, height: Height, round: Round) -> Result<Option<ValueId>, AppError> {
        if height.0 != self.shared.tip().height + 1 {
            return Ok(None);
        }
        let waiting = self.mempool.select().await;
        let claimants = self.mesh.claimants(height.0);
        let own: Did = self.own.0.clone();
        let shared = Arc::clone(&self.shared);
        let made = blocking::run(move || {
            for value in undecided::at(&shared.reader, height.0)? {
                let kept = undecided::get(&shared.reader, height.0, value)?;
                if kept.is_some_and(|kept| kept.proposer == own && Round::new(kept.round) == round) {
                    return Ok::<_, LedgerError>((ValueId(value), None, Vec::new()));
                }
            }
            let (candidate, unfit) = proposer::make(&shared, waiting, clock::now())?;
            proposer::keep(&shared, height.0, &candidate, round, Round::Nil)?;
            Ok((candidate.value, Some(candidate), unfit))
        });
        let (value, made, unfit) = made.await?;
        self.mempool.unfit(unfit).await;
        if let Some(made) = made {
            self.candidates.insert(value, Arc::new(made));
        }
        self.proposed = Some((value, claimants));
        let candidate = self.candidates.get(&value).cloned().ok_or(AppError::Unknown { height: height.0, value })?;
        self.hand_out(&candidate, height, round, Round::Nil);
        Ok(Some(value))
    }

    pub(super) fn hand_out(&self, candidate: &Candidate, height: Height, round: Round, pol_round: Round) {
        for part in proposer::parts(candidate, height, round, pol_round, &self.shared.network, &self.key) {
            // An actor that is gone takes the engine with it.
            let _ = self.network.cast(part);
        }
    }

    /// One part of somebody's proposal; answers the value once it is whole.
    pub(super) async fn received(
        &mut self,
        publisher: Option<EnginePeer>,
        message: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Ctx>>, AppError> {
        let StreamMessage { stream_id, sequence, content } = message;
        let (Some(publisher), StreamContent::Data(part)) = (publisher, content) else { return Ok(None) };
        let key = (publisher.to_bytes(), stream_id.to_bytes().to_vec());
        let assembled = match self.assemblies.add(key, sequence, part) {
            Ok(Some(assembled)) => assembled,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::debug!(%publisher, %error, "a part of a proposal was refused");
                return Ok(None);
            }
        };
        let next = self.shared.tip().height + 1;
        match assembled.head.height.0.cmp(&next) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => self.consider(assembled).await,
            std::cmp::Ordering::Greater => {
                if self.early.len() >= EARLY_MAX {
                    self.early.pop_front();
                }
                self.early.push_back(assembled);
                Ok(None)
            }
        }
    }

    /// Judges a whole proposal of the height after the tip, and keeps it when it is good.
    async fn consider(&mut self, assembled: Assembled) -> Result<Option<ProposedValue<Ctx>>, AppError> {
        let Assembled { head, body } = assembled;
        let validators = validators(&self.shared).await?;
        let turn = head.round.as_u32().map(|round| validators.proposer(head.height.0, round).address().clone());
        if turn.as_ref() != Some(&head.sender) {
            tracing::debug!(sender = %head.sender, height = %head.height, "a proposal came from somebody whose turn it is not");
            return Ok(None);
        }
        if let Some(known) = self.candidates.get(&head.value) {
            return Ok(Some(proposed(known, head.height, head.round, head.pol_round)));
        }
        let fresh = head.pol_round == Round::Nil;
        let clock = fresh.then(clock::now);
        let shared = Arc::clone(&self.shared);
        let (value, proposer, height, round, pol_round) =
            (head.value, head.proposer.0.clone(), head.height.0, head.round, head.pol_round);
        let judged = blocking::run(move || {
            let candidate = match decide::judge(&shared, value, body, proposer, clock) {
                Ok(candidate) => candidate,
                Err(error) => return Ok::<_, LedgerError>(Err(error)),
            };
            proposer::keep(&shared, height, &candidate, round, pol_round)?;
            Ok(Ok(candidate))
        });
        match judged.await? {
            Ok(candidate) => {
                let value = proposed(&candidate, head.height, head.round, head.pol_round);
                self.candidates.insert(candidate.value, Arc::new(candidate));
                Ok(Some(value))
            }
            Err(error) => {
                tracing::warn!(proposer = %head.sender, height = %head.height, %error, "a proposal gets no vote");
                Ok(Some(ProposedValue {
                    height: head.height,
                    round: head.round,
                    valid_round: head.pol_round,
                    proposer: head.proposer,
                    value: head.value,
                    validity: Validity::Invalid,
                }))
            }
        }
    }

    /// A height that others decided: its certificate was checked by the engine, its batch is judged here.
    pub(super) async fn synced(
        &mut self,
        height: Height,
        round: Round,
        by: Address,
        body: Vec<u8>,
    ) -> SyncedValueOutcome<Ctx> {
        if height.0 != self.shared.tip().height + 1 {
            return SyncedValueOutcome::LocalTransientError;
        }
        let shared = Arc::clone(&self.shared);
        let by = by.0;
        let judged = blocking::run(move || {
            let candidate = match decide::follow(&shared, body, by) {
                Ok(candidate) => candidate,
                Err(error) => return Ok::<_, LedgerError>(Err(error)),
            };
            proposer::keep_followed(&shared, height.0, &candidate, round)?;
            Ok(Ok(candidate))
        });
        let judged = match judged.await {
            Ok(judged) => judged,
            Err(error) => {
                tracing::error!(%height, %error, "a height that a peer sent cannot be kept");
                return SyncedValueOutcome::LocalTransientError;
            }
        };
        match judged {
            Ok(candidate) => {
                let value = proposed(&candidate, height, round, Round::Nil);
                self.candidates.insert(candidate.value, Arc::new(candidate));
                SyncedValueOutcome::Verdict(value)
            }
            Err(error) => {
                tracing::warn!(%height, %error, "a height that a peer sent is no good");
                SyncedValueOutcome::PeerFault
            }
        }
    }
}

fn proposed(candidate: &Candidate, height: Height, round: Round, valid_round: Round) -> ProposedValue<Ctx> {
    ProposedValue {
        height,
        round,
        valid_round,
        proposer: Address(candidate.proposer.clone()),
        value: candidate.value,
        validity: Validity::Valid,
    }
}

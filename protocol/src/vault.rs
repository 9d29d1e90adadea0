//! Vaults: nodes that keep a tenant's archive, which only its owner's recovery key opens, and never take over.
//!
//! A vault is asked now and then to prove that it still has what it was given: it hashes some random ranges of the
//! archive behind a nonce. Whoever made the archive lets go of it once the vaults have it, so the questions are made with
//! it, answers and all; each is asked once, of one vault. A few hundred bytes are kept for each.
//!
//! [`Record`] is what the primary knows of one vault. That a vault does not answer says nothing; a wrong answer, or its
//! own word that it has the archive no more, is a loss. Nothing here reads files or a clock.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest as _, Sha256};

use crate::limits::{VAULT_QUESTIONS_MAX, VAULT_RANGE_BYTES, VAULT_RANGES_MAX};
use crate::time::Timestamp;

/// What every answer is hashed behind, so that it is an answer to nothing else.
const DOMAIN: &[u8] = b"angel/vault/prove/1";

/// Questions to spare, where a few are enough otherwise.
const QUESTIONS_SPARE: u64 = 8;

/// SHA-256 of a whole archive: by this it is known.
pub type ArchiveDigest = [u8; 32];

/// Which bytes to hash, behind which nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Challenge {
    /// Which archive is meant.
    #[serde(with = "serde_bytes")]
    pub archive: ArchiveDigest,
    /// Hashed first, so that nothing can be hashed beforehand.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// Where each range of [`VAULT_RANGE_BYTES`] begins; the last of an archive may be shorter.
    pub offsets: Vec<u64>,
}

/// A question with its answer, as whoever made the archive keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// What is asked.
    pub challenge: Challenge,
    /// What the answer has to be.
    #[serde(with = "serde_bytes")]
    pub answer: [u8; 32],
}

/// A challenge beyond what a vault answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// No range, or too many.
    #[error("a challenge asks for 1 to {VAULT_RANGES_MAX} ranges, this one for {0}")]
    Ranges(usize),
}

impl Challenge {
    /// Whether a vault answers it: what it costs is bounded.
    ///
    /// # Errors
    /// [`Unanswerable`].
    pub const fn check(&self) -> Result<(), Unanswerable> {
        match self.offsets.len() {
            1..=VAULT_RANGES_MAX => Ok(()),
            ranges => Err(Unanswerable::Ranges(ranges)),
        }
    }

    /// The answer over an archive of `bytes` bytes, of which `read(offset, bytes)` reads a part; less than asked for where
    /// it ends. Nothing beyond the archive, and no more than [`VAULT_RANGES_MAX`] ranges, is read, whatever is asked.
    ///
    /// # Errors
    /// What `read` says.
    pub fn answer<E>(&self, bytes: u64, mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, E>) -> Result<[u8; 32], E> {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(self.nonce);
        for offset in self.offsets.iter().take(VAULT_RANGES_MAX) {
            let wanted = bytes.saturating_sub(*offset).min(VAULT_RANGE_BYTES);
            let found = if wanted > 0 { read(*offset, wanted)? } else { Vec::new() };
            hash.update(offset.to_be_bytes());
            hash.update((found.len() as u64).to_be_bytes());
            hash.update(&found);
        }
        Ok(hash.finalize().into())
    }
}

/// Where the ranges of a question lie in an archive of `bytes` bytes: `random(n)` gives numbers below `n`.
pub fn offsets(bytes: u64, mut random: impl FnMut(u64) -> u64) -> Vec<u64> {
    let ranges = bytes.div_ceil(VAULT_RANGE_BYTES).max(1);
    (0..VAULT_RANGES_MAX).map(|_| random(ranges).min(ranges - 1) * VAULT_RANGE_BYTES).collect()
}

/// How many questions are made with an archive that lasts for `archives` milliseconds, where each of `vaults` vaults is
/// asked one in `checks` milliseconds. When they run out, another archive is due.
#[must_use]
pub fn questions(archives: u64, checks: u64, vaults: usize) -> usize {
    let each = archives.div_ceil(checks.max(1)).saturating_add(QUESTIONS_SPARE);
    let all = each.saturating_mul(u64::try_from(vaults.max(1)).unwrap_or(u64::MAX));
    usize::try_from(all).unwrap_or(usize::MAX).min(VAULT_QUESTIONS_MAX)
}

/// The newest archive of a tenant, as whoever made it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Which.
    pub digest: ArchiveDigest,
    /// How long ago it was made.
    pub age: Duration,
    /// Questions about it that were not asked yet.
    pub questions: usize,
    /// Whether it is still there, to be handed out.
    pub is_there: bool,
}

/// How old archives become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// No other is made before the newest is as old as this, or a vault that loses and finds its copy in turns would have
    /// them made without end. It is no bar to a vault that is new.
    pub min: Duration,
    /// So long one lasts.
    pub max: Duration,
}

/// Whether another archive is due: because there is none, a vault has lost the newest, one lacks it and it is there no more,
/// it is too old, or there is nothing left to ask about it. One that nobody has fetched does not become too old: it waits.
pub fn is_due<'a>(newest: Option<&Newest>, ages: Ages, mut vaults: impl Iterator<Item = &'a Record> + Clone) -> bool {
    let Some(newest) = newest else { return true };
    let is_for_new = !newest.is_there && vaults.clone().any(Record::is_new);
    let is_lost = vaults.clone().any(|vault| vault.has_lost(&newest.digest));
    let is_fetched = vaults.clone().any(|vault| vault.has(&newest.digest));
    let is_lacking = vaults.any(|vault| !vault.has(&newest.digest));
    let is_used_up = newest.age >= ages.max || newest.questions == 0;
    let is_wanted = is_lost || (is_fetched && is_used_up) || (is_lacking && !newest.is_there);
    is_for_new || (is_wanted && newest.age >= ages.min)
}

/// How a vault is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It has no archive yet.
    Waiting,
    /// It says that it has one, and has not been asked for a proof.
    Unproved,
    /// It has proved to have one.
    Proved,
    /// It has lost one, and has not proved since to have another.
    Lost,
}

/// What the primary knows of one vault of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The archive that it says it has.
    pub has: Option<ByteArray<32>>,
    /// The archive that it was last found to have lost: whatever it says of that one is not believed any more.
    pub lost: Option<ByteArray<32>>,
    /// When it last proved to have one.
    pub proved_at: Option<Timestamp>,
    /// When it was last noticed that it had lost one.
    pub lost_at: Option<Timestamp>,
    /// How often that was noticed.
    pub losses: u64,
}

impl Record {
    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.lost_at, self.proved_at) {
            (Some(lost), proved) if proved.is_none_or(|proved| proved <= lost) => State::Lost,
            (_, Some(_)) => State::Proved,
            _ if self.has.is_some() => State::Unproved,
            _ => State::Waiting,
        }
    }

    /// Whether it has never said that it has anything.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.has.is_none() && self.lost.is_none()
    }

    /// Whether it has this archive, as far as it is believed.
    #[must_use]
    pub fn has(&self, archive: &ArchiveDigest) -> bool {
        self.has.as_ref().is_some_and(|has| **has == *archive)
    }

    /// Whether this archive was lost there: it is given another one then.
    #[must_use]
    pub fn has_lost(&self, archive: &ArchiveDigest) -> bool {
        self.lost.as_ref().is_some_and(|lost| **lost == *archive)
    }

    /// It says which archive it has. Answers whether a loss shows in that.
    pub fn said(&mut self, has: Option<ArchiveDigest>, now: Timestamp) -> bool {
        let believed = has.filter(|has| !self.has_lost(has));
        if let (Some(had), None) = (self.has, has) {
            self.lose(had, now);
            return true;
        }
        self.has = believed.map(ByteArray::new);
        false
    }

    /// It answered a question: `None` is its word that it has no such archive. Answers whether a loss shows in that.
    pub fn answered(&mut self, question: &Question, answer: Option<[u8; 32]>, now: Timestamp) -> bool {
        if answer == Some(question.answer) {
            self.proved_at = Some(now);
            return false;
        }
        self.lose(ByteArray::new(question.challenge.archive), now);
        true
    }

    fn lose(&mut self, archive: ByteArray<32>, now: Timestamp) {
        self.has = None;
        self.lost = Some(archive);
        // A clock may stand, or go back: what was lost last is lost.
        self.lost_at = Some(self.proved_at.map_or(now, |proved| proved.max(now)));
        self.losses = self.losses.saturating_add(1);
    }
}

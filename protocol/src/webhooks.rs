//! Outgoing webhooks (`rules.md` API-01, FRM-02): what a call says and how it is signed, when the next one is due, and when
//! no more are made.
//!
//! What a hook tells is kept as records already: the messages of a business's system space, or the answers to a form. So a
//! hook is a place among them ([`Position`]) and how its calls went ([`Track`]); nothing waits in a queue. It goes on to the
//! next record when the one before was taken, so that calls come in the order of the records.
//!
//! Calls are those of the Standard Webhooks convention (<https://www.standardwebhooks.com>).

mod call;
mod sign;
mod target;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::{Backoff, Policy};
use crate::ids::Tid;
use crate::limits::CLOCK_SKEW_MAX;
use crate::time::Timestamp;

pub use self::call::{Call, Facts, of_message, of_submission, test};
pub use self::sign::{Secret, secret, sign};
pub use self::target::{TargetFlaw, target_flaw};

/// How long a hook is tried whose calls fail (API-01).
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

/// How far a hook has come: a record, by the revision that wrote it and its key. Revisions of a repository only grow, also
/// where another node goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The revision.
    pub rev: Tid,
    /// The key.
    pub rkey: String,
}

impl Position {
    /// Before all records.
    #[must_use]
    pub const fn start() -> Self {
        Self { rev: Tid::new(0, 0), rkey: String::new() }
    }

    /// Behind all records of a revision and of those before it.
    #[must_use]
    pub fn behind(rev: Tid) -> Self {
        // Behind every character of a record key.
        Self { rev, rkey: "\u{7f}".to_owned() }
    }

    /// The least key that a record behind this one can have: keys go by clocks, and that of a node which took over may be behind.
    #[must_use]
    pub fn first_key(&self) -> Tid {
        let apart = u64::try_from(CLOCK_SKEW_MAX.as_micros()).expect("some minutes");
        Tid::new(self.rev.micros().saturating_sub(apart), 0)
    }
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken: the receiver answered with a status of success.
    Accepted,
    /// Not taken, or not answered: it is tried again.
    Refused,
    /// The receiver is there no more and says so (410): nothing is tried again.
    Gone,
}

impl Answer {
    /// What a status says. Redirects are not followed, so they are refusals.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted,
            410 => Self::Gone,
            _ => Self::Refused,
        }
    }
}

/// Why a hook makes no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its people want it so.
    Staff,
    /// Its calls failed for [`GIVE_UP_AFTER`].
    Failing,
    /// Its receiver says that it is gone.
    Gone,
    /// The secret that its receiver knows was lost with the node that had it.
    SecretLost,
}

impl Why {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Failing => "failing",
            Self::Gone => "gone",
            Self::SecretLost => "secret-lost",
        }
    }
}

/// That a hook makes no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: Why,
}

/// How the calls of a hook went, and when the next one is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// Failures since the last success that lasted.
    failures: u32,
    /// When calls began to succeed, if the last one did.
    succeeded_at: Option<Timestamp>,
    /// When the first of the failures in a row was.
    failing_since: Option<Timestamp>,
    /// Before this no call is made.
    next_at: Option<Timestamp>,
    paused: Option<Paused>,
}

impl Track {
    /// Why no calls are made, if none are.
    #[must_use]
    pub const fn paused(&self) -> Option<Paused> {
        self.paused
    }

    /// Since when all calls have failed, if they do.
    #[must_use]
    pub const fn failing_since(&self) -> Option<Timestamp> {
        self.failing_since
    }

    /// Before when no call is made, if one is waited with.
    #[must_use]
    pub const fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }

    /// Takes note of how a call ended, `now`. `random` is drawn uniformly from all of `u64` by the caller (SLF-01).
    pub fn answered(&mut self, now: Timestamp, answer: Answer, random: u64) {
        let mut backoff = Backoff::resumed(Policy::default(), self.failures, self.succeeded_at);
        match answer {
            Answer::Accepted => {
                backoff.succeeded(now);
                (self.failing_since, self.next_at) = (None, None);
            }
            // Somebody paused it while the call was made.
            Answer::Refused | Answer::Gone if self.paused.is_some() => return,
            Answer::Gone => return self.pause(now, Why::Gone),
            Answer::Refused => {
                let wait = backoff.failed(now, random);
                let since = *self.failing_since.get_or_insert(now);
                let last = since + GIVE_UP_AFTER;
                if now >= last {
                    return self.pause(now, Why::Failing);
                }
                // The last try is made when the time is over, and not some minutes before.
                self.next_at = Some((now + wait).min(last));
            }
        }
        (self.failures, self.succeeded_at) = (backoff.failures(), backoff.succeeded_at());
    }

    /// No calls from now on.
    pub fn pause(&mut self, now: Timestamp, why: Why) {
        *self = Self { paused: Some(Paused { at: now, why }), ..Self::default() };
    }

    /// Calls are made again, as if none had failed.
    pub fn resume(&mut self) {
        *self = Self::default();
    }
}

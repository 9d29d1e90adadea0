//! A backup's eye on the primary of one tenant.
//!
//! Suspicion costs nobody anything: a backup that finds the primary silent first asks the others whether they do
//! ([`Effect::Poll`]). Only when so many say so that the ledger would believe them does it ask for their signed word, by
//! which they promise to follow the primary no more ([`Effect::Observe`]). It promises the same itself once it has as
//! many words as it needs: a promise binds for minutes, and one for a failover that cannot come about would only keep a
//! copy from being made. Until then, a moment, it follows nobody. So a backup that is cut off from the primary alone
//! hinders nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::quorum::observers_needed;
use crate::crypto::Signature;
use crate::ids::Did;
use crate::ledger::action::Observation;
use crate::time::Timestamp;

/// The times that the network agreed on, and how long questions take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Silence after which a primary counts as gone.
    pub silence: Duration,
    /// For how long an observation counts, and as much again as two clocks may be apart: so long a promise binds.
    pub promise: Duration,
    /// How long to wait for answers, and before asking again.
    pub patience: Duration,
}

/// Who hosts the tenant, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hosts {
    /// The current epoch.
    pub epoch: u64,
    /// The primary.
    pub primary: Did,
    /// Who may take over.
    pub standbys: Vec<Did>,
    /// Who holds ciphertext.
    pub vaults: Vec<Did>,
    /// Who speaks where there are two hosts.
    pub witness: Option<Did>,
}

impl Hosts {
    /// How many nodes host the tenant.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.standbys.len() + self.vaults.len()
    }

    /// All backups.
    pub fn backups(&self) -> impl Iterator<Item = &Did> {
        self.standbys.iter().chain(&self.vaults)
    }

    /// Whether `did` is a backup.
    #[must_use]
    pub fn is_backup(&self, did: &Did) -> bool {
        self.backups().any(|backup| backup == did)
    }
}

impl From<&crate::ledger::rows::Placement> for Hosts {
    fn from(row: &crate::ledger::rows::Placement) -> Self {
        Self {
            epoch: row.epoch,
            primary: row.primary.clone(),
            standbys: row.standbys.clone(),
            vaults: row.vaults.clone(),
            witness: row.witness.clone(),
        }
    }
}

/// Not to confirm or follow a primary of an epoch before `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    /// The epoch in favour of which it was made.
    pub epoch: u64,
    /// How far the copy went when it was made.
    pub cursor: u64,
    /// Until when it binds.
    pub until: Timestamp,
}

/// What a backup answers when it is asked whether it finds the primary silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Poll {
    /// It does; so far goes its copy.
    Silent {
        /// The primary's event number; `None` without a whole copy made in this epoch.
        cursor: Option<u64>,
    },
    /// It does not, or it is cut off itself, or knows of another epoch.
    No,
}

/// What happens to a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The primary of the epoch spoke.
    Heard,
    /// The copy, made or compared with the primary in this epoch, goes as far as this, complete and durable.
    Advanced {
        /// The epoch.
        epoch: u64,
        /// The primary's event number.
        cursor: u64,
    },
    /// Whether this node is itself cut off (NET-08).
    Isolated(bool),
    /// The ledger decided who hosts the tenant.
    Placed(Hosts),
    /// Another answered a poll.
    Polled(Did, Poll),
    /// Another gave its signed word, which was checked.
    Observed(Observation),
    /// The deadline has passed.
    Tick,
}

/// What a watch wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask whether it finds the primary silent; [`Input::Polled`] brings the answer.
    Poll(Did),
    /// Make this promise durable before anything that follows.
    Promise(Promise),
    /// Sign the own observation with this cursor, and bring it as [`Input::Observed`].
    Sign(Suspicion),
    /// Ask for the signed word of another; [`Input::Observed`] brings it.
    Observe(Did),
    /// Bring the failover before the ledger.
    Submit {
        /// The epoch that begins.
        epoch: u64,
        /// By observer.
        observations: Vec<Observation>,
    },
}

/// What an observer is about to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suspicion {
    /// In favour of this epoch.
    pub epoch: u64,
    /// For how long the primary has been silent.
    pub silent_for: Duration,
    /// How far the copy goes.
    pub cursor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Round {
    Polling {
        silent: BTreeMap<Did, Option<u64>>,
    },
    /// `signs` once it has promised and its own word is on its way.
    Collecting {
        given: BTreeMap<Did, Given>,
        signs: bool,
    },
    Submitted,
}

/// The rest of an observation, whose observer is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Given {
    heard: Timestamp,
    at: Timestamp,
    cursor: u64,
    signature: Signature,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    own: Did,
    config: Config,
    hosts: Hosts,
    heard: Timestamp,
    /// `None` until the copy is whole in this epoch. What it held of an earlier one may lack what the new primary has.
    cursor: Option<u64>,
    isolated: bool,
    promise: Option<Promise>,
    round: Option<Round>,
    next: Timestamp,
}

impl Watch {
    /// Begins to watch. Nothing is known of before, so the silence counts from now. `promise` is what an earlier run
    /// made durable.
    #[must_use]
    pub fn new(own: Did, config: Config, hosts: Hosts, promise: Option<Promise>, now: Timestamp) -> Self {
        let next = now + config.silence;
        let promise = promise.filter(|promise| promise.epoch > hosts.epoch);
        Self { own, config, hosts, heard: now, cursor: None, isolated: false, promise, round: None, next }
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub const fn next_deadline(&self) -> Timestamp {
        self.next
    }

    /// Whether this node may confirm and follow the primary of `epoch`.
    #[must_use]
    pub fn may_follow(&self, epoch: u64, now: Timestamp) -> bool {
        epoch == self.hosts.epoch && !self.is_promised(now) && !self.is_collecting()
    }

    /// For how long from `now` on this node follows nobody, if no failover comes about: it gave its word for one.
    #[must_use]
    pub fn promised_for(&self, now: Timestamp) -> Option<Duration> {
        self.promise.filter(|_| self.is_promised(now)).map(|promise| promise.until.since(now))
    }

    /// How far the copy is complete in this epoch.
    #[must_use]
    pub const fn complete(&self) -> Option<u64> {
        self.cursor
    }

    /// How long the primary has been silent.
    #[must_use]
    pub const fn silent_for(&self, now: Timestamp) -> Duration {
        now.since(self.heard)
    }

    /// Who hosts the tenant, as this watch knows it.
    #[must_use]
    pub const fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// What this node answers when another asks in favour of `epoch`.
    #[must_use]
    pub fn poll(&self, epoch: u64, now: Timestamp) -> Poll {
        if self.suspects(now) && epoch == self.hosts.epoch + 1 {
            Poll::Silent { cursor: self.said() }
        } else {
            Poll::No
        }
    }

    /// What this node signs when another asks for its word in favour of `epoch`: nothing, unless it finds the primary
    /// silent itself. The promise among the effects is to be made durable first.
    pub fn observe(&mut self, epoch: u64, now: Timestamp, effects: &mut Vec<Effect>) -> Option<Suspicion> {
        if !self.suspects(now) || epoch != self.hosts.epoch + 1 {
            return None;
        }
        Some(self.promise(now, effects))
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Heard => self.heard(now),
            Input::Advanced { epoch, cursor } if epoch == self.hosts.epoch => {
                self.cursor = self.cursor.max(Some(cursor));
            }
            Input::Advanced { .. } => {}
            Input::Isolated(isolated) => self.isolated = isolated,
            Input::Placed(hosts) => self.placed(now, hosts),
            Input::Polled(who, poll) => self.polled(now, who, poll, effects),
            Input::Observed(observation) => self.observed(now, observation, effects),
            Input::Tick => self.tick(now, effects),
        }
    }

    fn is_promised(&self, now: Timestamp) -> bool {
        self.promise.is_some_and(|promise| promise.epoch > self.hosts.epoch && now < promise.until)
    }

    /// Whether the others' words are on their way, with which it would promise at once: what it confirmed meanwhile would
    /// let the primary write beyond the end of its epoch.
    const fn is_collecting(&self) -> bool {
        matches!(self.round, Some(Round::Collecting { .. }))
    }

    fn suspects(&self, now: Timestamp) -> bool {
        let observes = self.hosts.is_backup(&self.own) || self.hosts.witness.as_ref() == Some(&self.own);
        !self.isolated && observes && self.silent_for(now) >= self.config.silence
    }

    /// What this node says of its copy: standbys alone can take over.
    fn said(&self) -> Option<u64> {
        self.cursor.filter(|_| self.hosts.standbys.contains(&self.own))
    }

    fn heard(&mut self, now: Timestamp) {
        // Words that were asked for are waited for until the deadline: whoever gave one is bound by it.
        if self.is_promised(now) || self.is_collecting() {
            return;
        }
        self.heard = self.heard.max(now);
        self.round = None;
        self.next = self.heard + self.config.silence;
    }

    fn placed(&mut self, now: Timestamp, hosts: Hosts) {
        if hosts.epoch < self.hosts.epoch {
            return;
        }
        if hosts.epoch > self.hosts.epoch {
            // The new primary gets the time that any has.
            self.heard = now;
            self.cursor = None;
            self.round = None;
            self.promise = self.promise.filter(|promise| promise.epoch > hosts.epoch);
            self.next = now + self.config.silence;
        }
        self.hosts = hosts;
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.next {
            return;
        }
        self.round = None;
        if !self.suspects(now) || self.said().is_none() {
            self.next = (self.heard + self.config.silence).max(now + self.config.patience);
            return;
        }
        self.next = now + self.config.patience;
        self.round = Some(Round::Polling { silent: BTreeMap::new() });
        let others: BTreeSet<_> =
            self.hosts.backups().chain(&self.hosts.witness).filter(|did| **did != self.own).collect();
        effects.extend(others.into_iter().cloned().map(Effect::Poll));
        self.judge_polls(now, effects);
    }

    fn polled(&mut self, now: Timestamp, who: Did, poll: Poll, effects: &mut Vec<Effect>) {
        let Some(Round::Polling { silent }) = &mut self.round else { return };
        let Poll::Silent { cursor } = poll else { return };
        silent.insert(who, cursor);
        self.judge_polls(now, effects);
    }

    fn judge_polls(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(Round::Polling { silent }) = &self.round else { return };
        let named: BTreeSet<Did> = silent.keys().cloned().collect();
        if !self.enough(named.iter()) || !self.suspects(now) {
            return;
        }
        let own = self.said();
        let first = |(who, cursor): (&Did, &Option<u64>)| {
            self.hosts.standbys.contains(who) && (*cursor > own || (*cursor == own && *who < self.own))
        };
        if silent.iter().any(first) {
            // That one takes over. Should it not, silence goes on and this one promises when it is asked.
            return;
        }
        self.round = Some(Round::Collecting { given: BTreeMap::new(), signs: false });
        effects.extend(named.into_iter().map(Effect::Observe));
    }

    fn observed(&mut self, now: Timestamp, observation: Observation, effects: &mut Vec<Effect>) {
        let Some(Round::Collecting { given, .. }) = &mut self.round else { return };
        let Observation { observer, heard, at, cursor, signature } = observation;
        given.insert(observer, Given { heard, at, cursor, signature });
        let Some(Round::Collecting { given, signs }) = &self.round else { return };
        let signed = given.get(&self.own).map(|own| own.cursor);
        let Some(own) = signed.or_else(|| self.said()) else { return };
        let ahead = given.iter().any(|(who, it)| self.hosts.standbys.contains(who) && it.cursor > own);
        if ahead || !self.enough(given.keys().filter(|who| **who != self.own)) {
            return;
        }
        if signed.is_none() {
            if !signs && self.suspects(now) {
                let suspicion = self.promise(now, effects);
                if let Some(Round::Collecting { signs, .. }) = &mut self.round {
                    *signs = true;
                }
                effects.push(Effect::Sign(suspicion));
            }
            return;
        }
        let observation = |(observer, it): (&Did, &Given)| Observation {
            observer: observer.clone(),
            heard: it.heard,
            at: it.at,
            cursor: it.cursor,
            signature: it.signature,
        };
        let observations = given.iter().map(observation).collect();
        let epoch = self.hosts.epoch + 1;
        self.round = Some(Round::Submitted);
        self.next = now + self.config.patience;
        effects.push(Effect::Submit { epoch, observations });
    }

    /// Whether the ledger would believe this node and `others`.
    fn enough<'a>(&self, others: impl Iterator<Item = &'a Did> + Clone) -> bool {
        let backups = 1 + others.clone().filter(|who| self.hosts.is_backup(who)).count();
        let hosts = self.hosts.count();
        backups >= observers_needed(hosts) && (hosts != 2 || others.count() > 0)
    }

    fn promise(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Suspicion {
        let epoch = self.hosts.epoch + 1;
        let promise = Promise { epoch, cursor: self.said().unwrap_or(0), until: now + self.config.promise };
        self.promise = Some(promise);
        effects.push(Effect::Promise(promise));
        Suspicion { epoch, silent_for: self.silent_for(now), cursor: promise.cursor }
    }
}

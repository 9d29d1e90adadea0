//! The standby's side, for one tenant in one epoch.

use crate::data::Cid;
use crate::ids::Tid;

/// Where a repository stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Have {
    /// The revision of its head.
    pub rev: Tid,
    /// The root of its tree.
    pub data: Cid,
}

/// One event of the primary's log, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A commit, with the revision and tree before; without them for the first.
    Commit {
        /// The revision.
        rev: Tid,
        /// The revision before.
        since: Option<Tid>,
    },
    /// Where the repository is, without saying how it came there.
    Sync {
        /// The revision.
        rev: Tid,
    },
    /// Something about the account or its identity.
    Account,
}

/// What the primary answered: events behind the cursor, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The events with their sequence numbers.
    pub events: Vec<(u64, Event)>,
    /// The cursor behind them: also what was passed over lies before it.
    pub next: u64,
    /// The newest event of the tenant.
    pub head: u64,
    /// Where the repository stands at the primary.
    pub repo: Have,
    /// Digest of what else is kept for the account.
    pub account: [u8; 32],
    /// Whether private rows came along; they are in the copy already.
    pub rows: bool,
}

/// Where a standby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The whole is being copied.
    Copying,
    /// It follows the log.
    Following,
    /// It has stopped, until an operator or another epoch.
    Stopped(Stopped),
}

/// Why a standby has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The primary's history is another than the one that this copy has: nothing is merged.
    Fork {
        /// Here.
        here: Have,
        /// What the primary tells.
        there: Tid,
    },
    /// What the primary sent does not verify.
    Refused,
    /// This node's terms are exceeded.
    Declined,
}

/// What happens to a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The primary answered.
    Page(Page),
    /// The primary's log does not go back to the cursor.
    Trimmed,
    /// The whole was copied: it stands there, and holds what happened up to the sequence number.
    Copied {
        /// Where it stands.
        have: Have,
        /// The primary's sequence number at which the copy began.
        sequence: u64,
    },
    /// The event was applied, and is on its way to the disk; the repository stands there.
    Applied {
        /// Its sequence number.
        sequence: u64,
        /// Where it stands.
        have: Have,
        /// Whether it names files, which may not be here.
        files: bool,
    },
    /// The account's state with this digest is stored.
    Stored([u8; 32]),
    /// Whether files that records name are still to be fetched.
    Missing(bool),
    /// All private rows were compared, and are here as they were when this was the tenant's newest event, or later.
    RowsCopied(u64),
    /// What was sent does not verify.
    Refused,
    /// This node's terms are exceeded.
    Declined,
}

/// What a standby wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Copy the whole repository; [`Input::Copied`] follows.
    Copy,
    /// Verify and apply the commit with this sequence number; [`Input::Applied`] follows.
    Apply(u64),
    /// Take over the commit of this `#sync`, if its tree is the one here, else copy; [`Input::Applied`] or
    /// [`Input::Copied`] follows.
    Adopt(u64),
    /// Fetch the account's state; [`Input::Stored`] follows.
    FetchAccount,
    /// Fetch missing files.
    FetchFiles,
    /// Compare all private rows, stretch by stretch, and fetch those that differ; [`Input::RowsCopied`] follows.
    CopyRows,
    /// The copy is complete up to here: make the cursor durable, not before what was applied, and tell the primary with the
    /// next question.
    Complete(u64),
    /// Tell the operator.
    Report(Stopped),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    phase: Phase,
    have: Option<Have>,
    /// Behind the last event applied.
    cursor: u64,
    /// Up to where everything is here, files too.
    complete: u64,
    /// The newest event at the primary.
    head: u64,
    account: Option<[u8; 32]>,
    missing: bool,
    /// Private rows are whole from this event on; `None` until they were copied.
    rows: Option<u64>,
    waiting: Vec<u64>,
    /// What the primary had that differed, when it had nothing else to tell.
    differed: Option<Have>,
    /// What the primary had when it answered last.
    there: Option<Have>,
}

impl Standby {
    /// A standby that holds `have` and goes on behind `cursor`; without a copy it begins with one. A copy is told of as
    /// such only with its private rows.
    #[must_use]
    pub fn new(have: Option<Have>, cursor: u64, account: Option<[u8; 32]>) -> Self {
        let phase = if have.is_some() { Phase::Following } else { Phase::Copying };
        let (complete, head, missing, waiting) = (cursor, cursor, true, Vec::new());
        let (rows, differed, there) = (have.is_some().then_some(cursor), None, None);
        Self { phase, have, cursor, complete, head, account, missing, rows, waiting, differed, there }
    }

    /// A standby whose repository comes from another epoch, or from a first copy that was broken off: what it has is
    /// kept, it goes on behind `cursor`, and nothing is called complete before private rows are compared.
    #[must_use]
    pub fn resuming(have: Have, cursor: u64) -> Self {
        Self { complete: 0, rows: None, ..Self::new(Some(have), cursor, None) }
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Where its next question begins.
    #[must_use]
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Up to where the copy is complete.
    #[must_use]
    pub const fn complete(&self) -> u64 {
        self.complete
    }

    /// What it holds.
    #[must_use]
    pub const fn have(&self) -> Option<Have> {
        self.have
    }

    /// How many sequence numbers it is behind.
    #[must_use]
    pub const fn behind(&self) -> u64 {
        self.head.saturating_sub(self.complete)
    }

    /// What to do first.
    #[must_use]
    pub fn begin(&self) -> Vec<Effect> {
        match self.phase {
            Phase::Copying => vec![Effect::FetchAccount, Effect::Copy],
            Phase::Following if self.rows.is_none() => {
                vec![Effect::FetchAccount, Effect::CopyRows, Effect::FetchFiles]
            }
            Phase::Following => vec![Effect::FetchFiles],
            Phase::Stopped(_) => Vec::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Stopped(_)) {
            return;
        }
        match input {
            Input::Page(page) => self.page(&page, effects),
            Input::Trimmed => self.copy(effects),
            Input::Copied { have, sequence } => self.copied(have, sequence, effects),
            Input::Applied { sequence, have, files } => {
                // Looking for files costs more than applying what names none.
                self.missing |= files && self.waiting.first() == Some(&sequence);
                self.applied(sequence, have, effects);
            }
            Input::Stored(digest) => self.account = Some(digest),
            Input::Missing(missing) => self.files(missing, effects),
            Input::RowsCopied(sequence) => {
                self.rows = Some(sequence);
                self.settle(effects);
            }
            Input::Refused => self.stop(Stopped::Refused, effects),
            Input::Declined => self.stop(Stopped::Declined, effects),
        }
    }

    fn page(&mut self, page: &Page, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Following || !self.waiting.is_empty() {
            return;
        }
        let Some(here) = self.have else { return self.copy(effects) };
        self.head = self.head.max(page.head);
        self.there = Some(page.repo);
        // Private rows may name files, without which they are not all that they say.
        self.missing |= page.rows;
        let mut rev = here.rev;
        for (sequence, event) in page.events.iter().filter(|(sequence, _)| *sequence > self.cursor) {
            match event {
                // What the first copy brought along.
                Event::Commit { rev: known, .. } | Event::Sync { rev: known } if *known <= rev => {}
                Event::Commit { rev: next, since } if *since == Some(rev) => {
                    rev = *next;
                    self.waiting.push(*sequence);
                    effects.push(Effect::Apply(*sequence));
                }
                Event::Commit { rev: there, since } if since.is_none_or(|since| since < rev) => {
                    // It leads from a point that this copy has passed: there are two histories.
                    self.waiting.clear();
                    effects.clear();
                    return self.forked(here, *there, effects);
                }
                Event::Commit { .. } => return self.copy(effects),
                Event::Sync { .. } => {
                    self.waiting.push(*sequence);
                    effects.push(Effect::Adopt(*sequence));
                    // What follows is judged when it is known where this led.
                    break;
                }
                Event::Account => effects.push(Effect::FetchAccount),
            }
        }
        if self.account != Some(page.account) && !effects.contains(&Effect::FetchAccount) {
            effects.push(Effect::FetchAccount);
        }
        if self.waiting.is_empty() {
            self.cursor = self.cursor.max(page.next);
            if page.rows {
                effects.push(Effect::FetchFiles);
            }
            self.compare(here, page, effects);
            self.settle(effects);
        }
    }

    /// Anti-entropy: when the primary has nothing to tell, the two must be the same. What it says of its repository may
    /// be a moment ahead of its log, so a difference counts when it is told twice.
    fn compare(&mut self, here: Have, page: &Page, effects: &mut Vec<Effect>) {
        let differs = page.events.is_empty() && page.next >= page.head && here != page.repo;
        let before = std::mem::replace(&mut self.differed, differs.then_some(page.repo));
        if !differs || before != Some(page.repo) {
            return;
        }
        self.differed = None;
        if here.rev >= page.repo.rev {
            // It has less than this copy, or another tree under the same revision: nothing is mended silently.
            self.forked(here, page.repo.rev, effects);
        } else {
            self.copy(effects);
        }
    }

    fn applied(&mut self, sequence: u64, have: Have, effects: &mut Vec<Effect>) {
        if self.waiting.first() != Some(&sequence) {
            return;
        }
        self.waiting.remove(0);
        self.have = Some(have);
        self.cursor = self.cursor.max(sequence);
        if self.waiting.is_empty() {
            if self.missing {
                effects.push(Effect::FetchFiles);
            }
            self.settle(effects);
        }
    }

    fn copied(&mut self, have: Have, sequence: u64, effects: &mut Vec<Effect>) {
        self.waiting.clear();
        // What was told before says nothing of what came since.
        (self.have, self.there) = (Some(have), None);
        self.phase = Phase::Following;
        self.cursor = self.cursor.max(sequence);
        self.missing = true;
        // The cursor has passed over what events told of private rows.
        self.rows = None;
        effects.extend([Effect::CopyRows, Effect::FetchFiles]);
    }

    fn files(&mut self, missing: bool, effects: &mut Vec<Effect>) {
        self.missing = missing;
        if missing {
            effects.push(Effect::FetchFiles);
        }
        self.settle(effects);
    }

    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let following = self.phase == Phase::Following && self.rows.is_some_and(|from| from <= self.cursor);
        // What comes from an earlier epoch may have gone further than its successor. It is no copy before it has given way;
        // that it differs shows when the primary has nothing else to tell.
        let gone_further =
            |(here, there): (Have, Have)| here.rev > there.rev || (here.rev == there.rev && here != there);
        let following = following && !(self.complete == 0 && self.have.zip(self.there).is_some_and(gone_further));
        if following && !self.missing && self.waiting.is_empty() && self.complete < self.cursor {
            self.complete = self.cursor;
            effects.push(Effect::Complete(self.complete));
        }
    }

    /// There are two histories. What came from an earlier epoch gives way; what this epoch's primary told itself does not.
    fn forked(&mut self, here: Have, there: Tid, effects: &mut Vec<Effect>) {
        if self.complete == 0 { self.copy(effects) } else { self.stop(Stopped::Fork { here, there }, effects) }
    }

    fn copy(&mut self, effects: &mut Vec<Effect>) {
        self.waiting.clear();
        self.phase = Phase::Copying;
        effects.retain(|effect| *effect == Effect::FetchAccount);
        effects.push(Effect::Copy);
    }

    fn stop(&mut self, why: Stopped, effects: &mut Vec<Effect>) {
        self.phase = Phase::Stopped(why);
        effects.push(Effect::Report(why));
    }
}

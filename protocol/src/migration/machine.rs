//! The node that is primary moves the tenant, step by step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The bounds that an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// For how long writes may wait before the ledger is asked.
    pub freeze_max: Duration,
    /// How often that is tried.
    pub attempts_max: u8,
    /// For how long the target may be silent before the move is undone.
    pub patience: Duration,
    /// How many events the target may be behind when writes are made to wait.
    pub lag_max: u64,
    /// For how long the move can be undone once the target serves.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            freeze_max: Duration::from_secs(5),
            attempts_max: 5,
            patience: Duration::from_mins(10),
            lag_max: 50,
            grace: Duration::from_hours(72),
        }
    }
}

/// What kind of move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To a node that is to keep the tenant.
    Move,
    /// Back to where it came from, within the grace. There is nothing to undo afterwards.
    Return,
}

/// Where a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Whether it can be done at all is asked.
    Precheck,
    /// The target is made a standby.
    Snapshot,
    /// The target copies.
    Copy,
    /// The target follows.
    CatchUp,
    /// Writes wait; the target gets the last of them.
    Freeze,
    /// Writes wait; both sides are compared.
    Verify,
    /// The ledger was asked to decide.
    Cutover,
    /// The ledger has decided; the target takes over.
    Switch,
    /// The target serves; it can be undone.
    Grace,
    /// The copy at the source is dropped.
    Cleanup,
    /// What was begun is taken back.
    Undo,
    /// It is over.
    Ended(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The target serves the tenant for good.
    Completed,
    /// It came to nothing; the source serves as before.
    Failed,
    /// It was undone after the switch.
    RolledBack,
}

/// What a move is to the outside (`network.md` 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Before anything was begun.
    Pending,
    /// Until the target serves.
    InProgress,
    /// The target serves.
    Completed,
    /// Nothing has changed.
    Failed,
    /// The source serves again.
    RolledBack,
}

/// Why a move was given up before the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody asked for it.
    #[error("it was cancelled")]
    Cancelled,
    /// The target is not there, or went away for too long.
    #[error("the target does not answer")]
    TargetUnreachable,
    /// The target declines.
    #[error("the target has no room for the tenant, or takes none")]
    NoRoom,
    /// The target stands elsewhere.
    #[error("the target stands outside the tenant's residency")]
    ResidencyViolation,
    /// The identity cannot be pointed at the target.
    #[error("the tenant's identity cannot be pointed at another node from here")]
    IdentityNotMovable,
    /// This node is not, or no longer, primary.
    #[error("this node is not the tenant's primary")]
    NotPrimary,
    /// The copy is another than what is here.
    #[error("the copy at the target differs from what is here")]
    DigestMismatch,
    /// The target did not get the last writes in time, as often as it was tried.
    #[error("writes would have had to wait for too long")]
    FreezeTooLong,
    /// The ledger does not decide so.
    #[error("the ledger does not decide so")]
    LedgerRefused,
}

/// How far the target's copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Up to which event it is complete, files too; `None` while the first copy is under way.
    pub complete: Option<u64>,
    /// The newest event of the tenant here.
    pub newest: u64,
    /// Whether the copy has stopped for good, because what came does not verify.
    pub stopped: bool,
}

/// What happens to a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// It can be done, or why not.
    Prechecked(Result<(), Why>),
    /// The target is a standby, or why not.
    Placed(Result<(), Why>),
    /// The target says how far it is.
    Progress(Progress),
    /// Writes have stopped.
    Frozen {
        /// For which attempt they were to.
        attempt: u8,
        /// The newest event.
        newest: u64,
    },
    /// Both sides were compared.
    Compared {
        /// For which attempt.
        attempt: u8,
        /// Whether they are the same.
        same: bool,
    },
    /// What the ledger decided: the switch, or that it never will.
    Decided(Result<(), Why>),
    /// The target serves the tenant, and the identity leads there.
    Serving,
    /// This node is primary again.
    Returned,
    /// Another move followed, or the grace ended early: this node has nothing to give back any more.
    MovedOn,
    /// The copy here is dropped, or stays because the tenant's strategy needs it.
    Released,
    /// What was begun is taken back.
    Undone,
    /// Somebody wants it no more.
    Cancel,
    /// The node was started anew.
    Resumed,
    /// The deadline has passed.
    Tick,
}

/// What a move wants done, in this order. Each may be asked for again after a crash, and must be as good the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the state durable before anything that follows.
    Journal,
    /// Find out whether it can be done; [`Input::Prechecked`] follows.
    Precheck,
    /// Make the target a standby; [`Input::Placed`] follows.
    Place,
    /// Ask the target how far it is, until told otherwise; [`Input::Progress`] follows, again and again.
    Observe,
    /// Make writes wait, for this attempt; [`Input::Frozen`] follows.
    Freeze(u8),
    /// Compare, for this attempt; [`Input::Compared`] follows.
    Compare(u8),
    /// Let writes go on.
    Thaw,
    /// Make writes wait if they do not, and ask the ledger under the same number each time; [`Input::Decided`] follows.
    Submit,
    /// Point names and identity at the target and wait until it serves; [`Input::Serving`] follows.
    Switch,
    /// Find out when this node is primary again; [`Input::Returned`] or [`Input::MovedOn`] follows.
    Watch,
    /// Drop the copy here; [`Input::Released`] follows.
    Release,
    /// Take the target's standing back; [`Input::Undone`] follows.
    Undo,
}

/// An input that means nothing in this phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} means nothing while a move is in {phase:?}")]
pub struct OutOfOrder {
    /// Where it is.
    pub phase: Phase,
    /// What came.
    pub input: Input,
}

/// See the module. What is stored of a move is this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    kind: Kind,
    phase: Phase,
    /// When the phase began.
    since: Timestamp,
    /// When the target was last heard.
    heard: Timestamp,
    /// The newest event when writes were stopped.
    newest: Option<u64>,
    /// How often writes were made to wait in vain.
    attempts: u8,
    /// When writes were made to wait, this time.
    frozen: Option<Timestamp>,
    /// For how long they had to, the last time, in milliseconds.
    froze_for: Option<u64>,
    /// Until when it can be undone.
    until: Option<Timestamp>,
    why: Option<Why>,
}

impl Migration {
    /// A move that begins at `now`; [`Self::begin`] says what to do first.
    #[must_use]
    pub const fn new(kind: Kind, now: Timestamp) -> Self {
        Self {
            kind,
            phase: Phase::Precheck,
            since: now,
            heard: now,
            newest: None,
            attempts: 0,
            frozen: None,
            froze_for: None,
            until: None,
            why: None,
        }
    }

    /// What to do first.
    #[must_use]
    pub fn begin(&self) -> Vec<Effect> {
        vec![Effect::Journal, Effect::Precheck]
    }

    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it was given up.
    #[must_use]
    pub const fn why(&self) -> Option<Why> {
        self.why
    }

    /// Until when it can be undone by going back.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// For how long writes had to wait, the last time, in milliseconds.
    #[must_use]
    pub const fn froze_for(&self) -> Option<u64> {
        self.froze_for
    }

    /// The newest event when writes were stopped, while they are.
    #[must_use]
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether writes must wait at this node: also after a restart, where the ledger may decide what was asked before.
    #[must_use]
    pub const fn holds_writes(&self) -> bool {
        matches!(self.phase, Phase::Freeze | Phase::Verify | Phase::Cutover)
    }

    /// Whether it can be called off: nothing was asked of the ledger that it might still decide.
    #[must_use]
    pub const fn can_cancel(&self) -> bool {
        use Phase::{CatchUp, Copy, Freeze, Precheck, Snapshot, Verify};
        matches!(self.phase, Precheck | Snapshot | Copy | CatchUp | Freeze | Verify)
    }

    /// What it is to the outside.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.phase {
            Phase::Precheck => Status::Pending,
            Phase::Grace | Phase::Cleanup | Phase::Ended(End::Completed) => Status::Completed,
            Phase::Ended(End::Failed) => Status::Failed,
            Phase::Ended(End::RolledBack) => Status::RolledBack,
            _ => Status::InProgress,
        }
    }

    /// When [`Input::Tick`] is due; never while only the world can say how it goes on.
    #[must_use]
    pub fn next_deadline(&self, config: &Config) -> Option<Timestamp> {
        match self.phase {
            Phase::Precheck | Phase::Snapshot => Some(self.since + config.patience),
            Phase::Copy | Phase::CatchUp => Some(self.heard + config.patience),
            Phase::Freeze | Phase::Verify => Some(self.frozen.unwrap_or(self.since) + config.freeze_max),
            Phase::Grace => self.until,
            Phase::Cutover | Phase::Switch | Phase::Cleanup | Phase::Undo | Phase::Ended(_) => None,
        }
    }

    /// Something happened at `now`.
    ///
    /// # Errors
    /// [`OutOfOrder`]: it means nothing now, and nothing has changed.
    pub fn handle(
        &mut self,
        now: Timestamp,
        config: &Config,
        input: Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), OutOfOrder> {
        match (self.phase, input) {
            (Phase::Ended(_), Input::Resumed | Input::Tick) => {}
            (_, Input::Resumed) => self.resumed(now, effects),
            (_, Input::Tick) => self.tick(now, config, effects),
            (_, Input::Cancel) if self.can_cancel() => self.give_up(now, Why::Cancelled, effects),
            (Phase::Precheck, Input::Prechecked(Ok(()))) => self.enter(now, Phase::Snapshot, &[Effect::Place], effects),
            // Nothing was begun, so there is nothing to take back.
            (Phase::Precheck, Input::Prechecked(Err(why))) => {
                self.why = Some(why);
                self.enter(now, Phase::Ended(End::Failed), &[], effects);
            }
            (Phase::Snapshot, Input::Placed(Ok(()))) => {
                self.heard = now;
                self.enter(now, Phase::Copy, &[Effect::Observe], effects);
            }
            (Phase::Snapshot, Input::Placed(Err(why))) => self.give_up(now, why, effects),
            (Phase::Copy | Phase::CatchUp | Phase::Freeze, Input::Progress(progress)) => {
                self.progress(now, config, progress, effects);
            }
            // One that was on its way while the phase changed tells nothing new.
            (Phase::Verify | Phase::Cutover | Phase::Undo, Input::Progress(_)) => {}
            // Of an attempt that has ended, writes go on since: what was true then says nothing now.
            (Phase::Freeze, Input::Frozen { attempt, newest }) if attempt == self.attempts => {
                self.newest = Some(newest);
            }
            (Phase::Verify, Input::Compared { attempt, same: true }) if attempt == self.attempts => {
                self.enter(now, Phase::Cutover, &[Effect::Submit], effects);
            }
            (Phase::Verify, Input::Compared { attempt, same: false }) if attempt == self.attempts => {
                self.thaw(now, config, Why::DigestMismatch, effects);
            }
            (Phase::Cutover, Input::Decided(Ok(()))) => {
                self.unfreeze(now);
                self.enter(now, Phase::Switch, &[Effect::Thaw, Effect::Switch], effects);
            }
            (Phase::Cutover, Input::Decided(Err(why))) => {
                self.unfreeze(now);
                effects.push(Effect::Thaw);
                self.give_up(now, why, effects);
            }
            (Phase::Switch, Input::Serving) => self.serving(now, config, effects),
            (Phase::Switch | Phase::Grace, Input::Returned) => {
                self.enter(now, Phase::Ended(End::RolledBack), &[], effects);
            }
            (Phase::Switch | Phase::Grace, Input::MovedOn) => {
                self.enter(now, Phase::Cleanup, &[Effect::Release], effects);
            }
            (Phase::Cleanup, Input::Released) => self.enter(now, Phase::Ended(End::Completed), &[], effects),
            (Phase::Undo, Input::Undone) => self.enter(now, Phase::Ended(End::Failed), &[], effects),
            (phase, input) => return Err(OutOfOrder { phase, input }),
        }
        Ok(())
    }

    fn enter(&mut self, now: Timestamp, phase: Phase, then: &[Effect], effects: &mut Vec<Effect>) {
        self.phase = phase;
        self.since = now;
        effects.push(Effect::Journal);
        effects.extend(then);
    }

    fn progress(&mut self, now: Timestamp, config: &Config, progress: Progress, effects: &mut Vec<Effect>) {
        self.heard = now;
        if progress.stopped {
            if self.phase == Phase::Freeze {
                self.unfreeze(now);
                effects.push(Effect::Thaw);
            }
            return self.give_up(now, Why::DigestMismatch, effects);
        }
        let Some(complete) = progress.complete else { return };
        match self.phase {
            Phase::Copy => self.enter(now, Phase::CatchUp, &[Effect::Observe], effects),
            Phase::CatchUp if progress.newest.saturating_sub(complete) <= config.lag_max => {
                self.frozen = Some(now);
                self.newest = None;
                self.enter(now, Phase::Freeze, &[Effect::Freeze(self.attempts), Effect::Observe], effects);
            }
            Phase::Freeze if self.newest.is_some_and(|newest| complete >= newest) => {
                self.enter(now, Phase::Verify, &[Effect::Compare(self.attempts)], effects);
            }
            _ => {}
        }
    }

    /// Lets writes go on, and tries again unless that was often enough.
    fn thaw(&mut self, now: Timestamp, config: &Config, why: Why, effects: &mut Vec<Effect>) {
        self.unfreeze(now);
        self.attempts = self.attempts.saturating_add(1);
        effects.push(Effect::Thaw);
        if self.attempts >= config.attempts_max {
            self.give_up(now, why, effects);
        } else {
            self.enter(now, Phase::CatchUp, &[Effect::Observe], effects);
        }
    }

    fn unfreeze(&mut self, now: Timestamp) {
        let frozen = self.frozen.take().map(|frozen| now.since(frozen).as_millis());
        self.froze_for = frozen.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)).or(self.froze_for);
        self.newest = None;
    }

    fn give_up(&mut self, now: Timestamp, why: Why, effects: &mut Vec<Effect>) {
        if self.frozen.is_some() {
            self.unfreeze(now);
            effects.push(Effect::Thaw);
        }
        self.why = Some(why);
        if self.phase == Phase::Precheck {
            return self.enter(now, Phase::Ended(End::Failed), &[], effects);
        }
        self.enter(now, Phase::Undo, &[Effect::Undo], effects);
    }

    fn serving(&mut self, now: Timestamp, config: &Config, effects: &mut Vec<Effect>) {
        match self.kind {
            Kind::Move => {
                self.until = Some(now + config.grace);
                self.enter(now, Phase::Grace, &[Effect::Watch], effects);
            }
            // Where it came from keeps it; this node is a copy as the ledger has it.
            Kind::Return => self.enter(now, Phase::Cleanup, &[Effect::Release], effects),
        }
    }

    fn resumed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.heard = now;
        match self.phase {
            Phase::Precheck => self.enter(now, Phase::Precheck, &[Effect::Precheck], effects),
            Phase::Snapshot => self.enter(now, Phase::Snapshot, &[Effect::Place], effects),
            Phase::Copy => effects.push(Effect::Observe),
            // Nothing was asked of the ledger yet, and writes wait no more: the process that made them wait is gone.
            Phase::CatchUp | Phase::Freeze | Phase::Verify => {
                (self.frozen, self.newest) = (None, None);
                self.enter(now, Phase::CatchUp, &[Effect::Observe], effects);
            }
            // It may be decided at any moment. Until it is known, nothing may be written.
            Phase::Cutover => effects.push(Effect::Submit),
            Phase::Switch => effects.push(Effect::Switch),
            Phase::Grace => effects.push(Effect::Watch),
            Phase::Cleanup => effects.push(Effect::Release),
            Phase::Undo => effects.push(Effect::Undo),
            Phase::Ended(_) => {}
        }
    }

    fn tick(&mut self, now: Timestamp, config: &Config, effects: &mut Vec<Effect>) {
        if self.next_deadline(config).is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Freeze | Phase::Verify => self.thaw(now, config, Why::FreezeTooLong, effects),
            Phase::Grace => self.enter(now, Phase::Cleanup, &[Effect::Release], effects),
            _ => self.give_up(now, Why::TargetUnreachable, effects),
        }
    }
}

impl Phase {
    /// Its name in the specification; [`Self::Switch`] is the second half of the cutover.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Precheck => "precheck",
            Self::Snapshot => "snapshot",
            Self::Copy => "copy",
            Self::CatchUp => "catch_up",
            Self::Freeze => "freeze",
            Self::Verify => "verify",
            Self::Cutover | Self::Switch => "cutover",
            Self::Grace => "grace",
            Self::Cleanup => "cleanup",
            Self::Undo => "rollback",
            Self::Ended(_) => "ended",
        }
    }
}

impl Status {
    /// Its name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl Why {
    /// The name by which a program knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::TargetUnreachable => "TargetUnreachable",
            Self::NoRoom => "NoRoom",
            Self::ResidencyViolation => "ResidencyViolation",
            Self::IdentityNotMovable => "IdentityNotMovable",
            Self::NotPrimary => "NotPrimary",
            Self::DigestMismatch => "DigestMismatch",
            Self::FreezeTooLong => "FreezeTooLong",
            Self::LedgerRefused => "LedgerRefused",
        }
    }

    /// The status that answers a request which fails for it (`network.md` 6.2).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Cancelled | Self::NotPrimary | Self::FreezeTooLong | Self::LedgerRefused => 409,
            Self::ResidencyViolation | Self::IdentityNotMovable => 412,
            Self::DigestMismatch => 422,
            Self::TargetUnreachable => 424,
            Self::NoRoom => 507,
        }
    }
}

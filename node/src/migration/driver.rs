//! One move: effects are performed in their order, and what the world answers is the machine's next input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use angel_protocol::ids::Did;
use angel_protocol::migration::{Effect, Input, Phase, Progress};
use angel_storage::moves::MoveRow;
use tokio::sync::{OwnedRwLockWriteGuard, mpsc, watch};

use super::{Migrations, NotMoved, names};
use crate::clock;

/// How often the target is asked how far it is, while it copies and while it has nearly done so.
const COPY_ASK: Duration = Duration::from_secs(1);
const NEAR_ASK: Duration = Duration::from_millis(200);

/// How often it is looked whether the world has changed, where nothing tells.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long to wait before trying again what did not succeed.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    pub(super) migrations: Migrations,
    pub(super) did: Did,
    pub(super) id: String,
    pub(super) row: MoveRow,
    /// Held as long as writes wait.
    pub(super) held: Option<OwnedRwLockWriteGuard<()>>,
    told: watch::Sender<MoveRow>,
    inbox: mpsc::Receiver<Input>,
    /// When names are looked at next; never again once they all lead where they should.
    names_due: Option<Instant>,
}

impl Driver {
    pub(super) const fn new(
        migrations: Migrations,
        did: Did,
        id: String,
        row: MoveRow,
        held: Option<OwnedRwLockWriteGuard<()>>,
        told: watch::Sender<MoveRow>,
        inbox: mpsc::Receiver<Input>,
    ) -> Self {
        Self { migrations, did, id, row, held, told, inbox, names_due: None }
    }

    /// Drives the move to its end.
    pub(super) async fn run(mut self, resumed: bool) {
        let mut todo = VecDeque::new();
        if resumed {
            self.feed(Input::Resumed, &mut todo);
        } else {
            todo.extend(self.row.state.begin());
        }
        loop {
            while let Some(effect) = todo.pop_front() {
                match self.perform(effect).await {
                    Ok(Some(input)) => self.feed(input, &mut todo),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(tenant = %self.did, ?effect, %error, "a step of the move did not succeed; trying again");
                        self.row.note(clock::now(), format!("{effect:?}: {error}"));
                        self.tell();
                        todo.push_front(effect);
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                self.take_commands(&mut todo);
            }
            if self.row.state.is_over() {
                tracing::warn!(tenant = %self.did, status = self.row.state.status().name(), "the move is over");
                return;
            }
            if let Some(input) = self.wait().await {
                self.feed(input, &mut todo);
            }
            self.feed(Input::Tick, &mut todo);
        }
    }

    /// What the machine makes of it; an input that came too late means nothing.
    fn feed(&mut self, input: Input, todo: &mut VecDeque<Effect>) {
        let (before, mut effects) = (self.row.state.phase(), Vec::new());
        let config = self.migrations.0.parts.config;
        if let Err(late) = self.row.state.handle(clock::now(), &config, input, &mut effects) {
            tracing::debug!(tenant = %self.did, %late, "passed over");
        }
        let phase = self.row.state.phase();
        if phase != before {
            let why = self.row.state.why().map(|why| format!(": {why}")).unwrap_or_default();
            tracing::info!(tenant = %self.did, phase = phase.name(), "the move has come to{why}");
            self.row.note(clock::now(), format!("after {}{why}", before.name()));
            if self.row.state.is_over() {
                self.row.ended_at = Some(clock::now());
            }
        }
        self.tell();
        todo.extend(effects);
    }

    fn take_commands(&mut self, todo: &mut VecDeque<Effect>) {
        while let Ok(command) = self.inbox.try_recv() {
            // What was asked for by steps that are called off is not wanted any more.
            let before = todo.len();
            self.feed(command, todo);
            if self.row.state.phase() == Phase::Undo {
                drop(todo.drain(..before));
            }
        }
    }

    pub(super) fn tell(&self) {
        self.told.send_replace(self.row.clone());
    }

    /// Waits for a command, or for the next look at the world.
    async fn wait(&mut self) -> Option<Input> {
        let pause = match self.row.state.phase() {
            Phase::Copy => COPY_ASK,
            Phase::CatchUp | Phase::Freeze | Phase::Switch => NEAR_ASK,
            _ => LOOK_EVERY,
        };
        tokio::select! {
            command = self.inbox.recv() => return command,
            () = tokio::time::sleep(pause) => {}
        }
        match self.row.state.phase() {
            Phase::Copy | Phase::CatchUp => self.progress().await.map(Input::Progress),
            Phase::Freeze => self.caught_up().await.map(Input::Progress),
            Phase::Grace => {
                if self.names_due.is_some_and(|due| due <= Instant::now()) {
                    let all = self.look_at_names().await;
                    self.names_due = (!all).then(|| Instant::now() + names::LOOK_EVERY);
                }
                self.moved_on()
            }
            _ => None,
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<Option<Input>, NotMoved> {
        Ok(match effect {
            Effect::Journal => {
                self.migrations.store(&self.did, &self.id, &self.row).await?;
                None
            }
            Effect::Precheck => Some(Input::Prechecked(self.prechecked().await)),
            Effect::Place => Some(Input::Placed(self.place().await)),
            Effect::Observe => match self.row.state.phase() {
                Phase::Freeze => self.caught_up().await.map(Input::Progress),
                _ => None,
            },
            Effect::Freeze(attempt) => self.freeze().await?.map(|newest| Input::Frozen { attempt, newest }),
            Effect::Compare(attempt) => Some(Input::Compared { attempt, same: self.compare().await }),
            Effect::Thaw => {
                self.held = None;
                None
            }
            Effect::Submit => Some(Input::Decided(self.decide().await?)),
            Effect::Switch => Some(self.switch().await?),
            Effect::Watch => {
                self.point_names().await;
                self.names_due = Some(Instant::now() + names::LOOK_EVERY);
                self.moved_on()
            }
            Effect::Release => {
                self.release().await?;
                Some(Input::Released)
            }
            Effect::Undo => {
                self.undo().await?;
                Some(Input::Undone)
            }
        })
    }

    /// How far the target is, by its own word; nothing when it does not answer.
    async fn progress(&mut self) -> Option<Progress> {
        match self.stand().await {
            Ok((progress, bytes)) => {
                self.row.bytes = bytes;
                self.tell();
                Some(progress)
            }
            Err(error) => {
                tracing::debug!(tenant = %self.did, %error, "the target does not say how far it is");
                None
            }
        }
    }
}

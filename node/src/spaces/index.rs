//! The reader of the event log that keeps the index. Each step takes some events, changes the rows, and moves the cursor
//! in the same batch; then those who follow are told. Woken when events are durable, never by a clock.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use angel_protocol::data::cbor;
use angel_protocol::ids::Did;
use angel_protocol::spaces::text_of;
use angel_storage::Batch;
use angel_storage::cursors::{self, CursorRow};
use angel_storage::events;
use angel_storage::spaces::{FACTS, MESSAGES, Overlay, SEGMENT_MESSAGES, SPACES, SpaceId, forget_facts, index_words};
use tokio_util::sync::CancellationToken;

use super::agents::Lookups;
use super::apply::Step;
use super::{CURSOR, SpaceError, Spaces};
use crate::blocking;
use crate::clock;
use crate::tasks::TaskResult;

/// Events of one step, and about how many bytes of them.
const STEP_EVENTS: usize = 256;
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// Rows, and bytes of them, after which a step ends early: well below what a batch holds, whatever one event adds.
const STEP_ROWS: usize = 20_000;
const STEP_ROW_BYTES: usize = 3 * 1024 * 1024;

/// How long events are gathered before they are read when those before were of other apps alone. A message waits for as long
/// at most, and only one that comes after some silence.
const GATHER: Duration = Duration::from_millis(3);

/// Keeps the index until told to stop.
pub(crate) async fn run(spaces: Spaces, stop: CancellationToken) -> TaskResult {
    let mut durable = spaces.0.durable.clone();
    let this = spaces.clone();
    // A log that was trimmed beyond the cursor, or an index that never was: the repositories know.
    blocking::run(move || this.begin()).await?;
    let mut lookups = Lookups::default();
    loop {
        durable.borrow_and_update();
        let this = spaces.clone();
        let Done { more, idle, reconcile } = blocking::run(move || this.step()).await?;
        for did in reconcile {
            let this = spaces.clone();
            blocking::run(move || this.reconcile(&did)).await?;
        }
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = durable.changed() => changed.map_err(|_| "the store's writer ended")?,
            (did, said) = lookups.next(&spaces) => {
                let this = spaces.clone();
                blocking::run(move || this.take_in_unheard(&did, &said)).await?;
                continue;
            }
        }
        if idle && stop.run_until_cancelled(tokio::time::sleep(GATHER)).await.is_none() {
            break;
        }
    }
    spaces.0.live.close().await;
    Ok(())
}

/// What a step came to.
struct Done {
    /// Whether there may be more events.
    more: bool,
    /// Whether nothing of what was read is in the index.
    idle: bool,
    /// Accounts whose records have to be gone through.
    reconcile: BTreeSet<Did>,
}

impl Spaces {
    /// Sees to it that the log goes on where the index left it. Blocks.
    fn begin(&self) -> Result<(), SpaceError> {
        let reader = &self.0.reader;
        let cursor = cursors::get(reader, CURSOR.0, CURSOR.1)?;
        let oldest = events::oldest(reader)?.unwrap_or(0);
        if cursor == 0 || oldest > cursor + 1 {
            // What happens from here on is read from the log, again if it has to be. An index that was there before and is
            // lost is made from the repositories and from what was kept besides, and goes on behind them.
            let newest = reader.durable_sequence();
            let is_lost =
                reader.scan(&MESSAGES).page(1)?.rows.is_empty() && !reader.scan(&FACTS).page(1)?.rows.is_empty();
            self.reconcile_all(is_lost)?;
            let from = if is_lost { newest } else { cursor.max(oldest.saturating_sub(1)) };
            let mut batch = Batch::new();
            let row = CursorRow { sequence: from, at: clock::now() };
            cursors::set(&mut batch, CURSOR.0, CURSOR.1, row)?;
            self.0.writer.commit(batch)?;
            self.0.indexed.send_replace(from);
            tracing::debug!(newest, "the index of spaces was made from the repositories");
        }
        Ok(())
    }

    /// Deals with some events of the log. Blocks.
    fn step(&self) -> Result<Done, SpaceError> {
        let cursor = *self.0.indexed.borrow();
        let cursor = cursor.max(cursors::get(&self.0.reader, CURSOR.0, CURSOR.1)?);
        let page = events::page(&self.0.reader, cursor, STEP_EVENTS, STEP_BYTES)?;
        let Some(last) = page.events.last().map(|event| event.sequence) else {
            return Ok(Done { more: false, idle: false, reconcile: BTreeSet::new() });
        };
        let live = self.0.live.steps().lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = Step::new(self);
        step.is_of_the_log = true;
        let (mut done, mut more) = (last, page.more);
        for event in &page.events {
            step.event(event)?;
            let (rows, bytes) = step.overlay.size();
            if rows > STEP_ROWS || bytes > STEP_ROW_BYTES {
                (done, more) = (event.sequence, true);
                break;
            }
        }
        // Commits of other apps move the cursor only now and then: nothing depends on it, and each move is a write.
        let idle = step.overlay.size().0 == 0;
        let far = done.saturating_sub(cursors::get(&self.0.reader, CURSOR.0, CURSOR.1)?) > STEP_EVENTS as u64;
        let reconcile = std::mem::take(&mut step.reconcile).into_iter().collect();
        // Before the cursor moves on: a node that stops in between reads of the deletion again.
        for (holder, rkey) in std::mem::take(&mut step.deleted) {
            self.forget_facts_of(&holder, &rkey)?;
        }
        if !idle || far {
            self.finish(step, Some(done))?;
        }
        drop(live);
        self.0.indexed.send_replace(done);
        Ok(Done { more, idle, reconcile })
    }

    /// Forgets what no record says of a space that was deleted: nobody asks for it again. Blocks.
    fn forget_facts_of(&self, holder: &Did, rkey: &str) -> Result<(), SpaceError> {
        loop {
            let mut batch = Batch::new();
            let more = forget_facts(&self.0.reader, &mut batch, (holder, rkey))?;
            if !batch.is_empty() {
                self.0.writer.commit(batch)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Makes a step durable and tells of it. Blocks.
    pub(super) fn finish(&self, mut step: Step<'_>, cursor: Option<u64>) -> Result<(), SpaceError> {
        for (space, fresh) in std::mem::take(&mut step.fresh) {
            self.words(&mut step.overlay, space, &fresh)?;
        }
        let mut batch = Batch::new();
        if let Some(sequence) = cursor {
            cursors::set(&mut batch, CURSOR.0, CURSOR.1, CursorRow { sequence, at: clock::now() })?;
        }
        let Step { overlay, notices, members, changed, strangers, .. } = step;
        overlay.stage(&mut batch)?;
        let began = Instant::now();
        self.0.writer.commit(batch)?;
        tracing::trace!(took_us = began.elapsed().as_micros(), notices = notices.len(), "a step of the index");
        // Whoever has to go hears nothing of what came after, and whoever came hears it.
        self.judge_again(&members, &changed)?;
        self.0.live.tell(notices);
        if strangers {
            self.0.strangers.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Indexes the words of a space's messages once enough of them wait.
    fn words(&self, overlay: &mut Overlay<'_>, id: SpaceId, fresh: &[u64]) -> Result<(), SpaceError> {
        let Some(mut space) = overlay.get(&SPACES, &id)? else { return Ok(()) };
        if space.words_waiting < SEGMENT_MESSAGES {
            return Ok(());
        }
        let mut waiting = vec![];
        let mut from = (id, space.words_upto + 1);
        loop {
            let page = self.0.reader.scan(&MESSAGES).prefix(&id).from(&from).page(SEGMENT_MESSAGES as usize)?;
            waiting.extend(page.rows.iter().map(|((_, position), _)| *position));
            match page.rows.last() {
                Some(((_, last), _)) if page.more => from = (id, last + 1),
                _ => break,
            }
        }
        waiting.extend(fresh.iter().copied());
        waiting.sort_unstable();
        waiting.dedup();
        let text = |record: &[u8]| cbor::decode(record).map(|record| text_of(&record)).unwrap_or_default();
        index_words(overlay, id, &mut space, &waiting, &text)?;
        Ok(overlay.put(&SPACES, &id, &space)?)
    }
}

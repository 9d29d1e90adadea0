//! What the writing child writes, and how it tells whether everything acknowledged is whole and everything else is whole
//! or absent.
//!
//! Several streams write batches numbered from 1. Batch `n` of a stream sets its blocks, the stream's head, one of a few
//! slots, and an event; it removes the blocks of the batch [`KEPT`] before. So after any interruption the head says
//! exactly which rows must be there and which must not. Before some batches come rows that fill: they are whole once
//! their batch is there, and may be there in part before.

use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use angel_protocol::time::Timestamp;
use angel_storage::codec::Raw;
use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::events::{self, EventKind, NewEvent};
use angel_storage::{Batch, Options, Reader, Store, Table, TableId, Writer};

/// Writers at a time.
pub const STREAMS: u8 = 4;

/// Blocks per batch, and their size: about what a record write changes.
const BLOCKS: u16 = 8;
const BLOCK_BYTES: usize = 300;

/// Every so many batches one has large rows, near the bound, which sled keeps differently.
const LARGE_EVERY: u64 = 16;
const LARGE_BYTES: usize = 16_000;

/// Batches whose blocks are there at a time.
const KEPT: u64 = 50;

/// Slots per stream: rows that are overwritten again and again.
const SLOTS: u64 = 7;

/// Events looked at, from the newest.
const EVENTS_CHECKED: usize = 400;

/// Stream, kind of row, number, part.
type Key = (u8, u8, u64, u16);
const ROWS: Table<Key, Raw> = Table::new(TableId::Peers);
const BLOCK: u8 = 0;
const HEAD: u8 = 1;
const SLOT: u8 = 2;
const FILLED: u8 = 3;

/// Before every so many batches rows are filled in, and how many.
const FILLED_EVERY: u64 = 4;
const FILLED_ROWS: u16 = 40;

/// The last batch of each stream.
pub type Heads = [u64; STREAMS as usize];

/// Every so many batches one is larger than a segment of sled.
const HUGE_EVERY: u64 = 128;
const HUGE_BLOCKS: u16 = 150;

/// How what was found differs from what was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Something acknowledged is missing, or something is torn.
    Broken(String),
    /// The store says that it cannot read something.
    Unreadable(String),
}

fn broken(text: impl Into<String>) -> Violation {
    Violation::Broken(text.into())
}

fn unreadable(error: impl std::fmt::Display) -> Violation {
    Violation::Unreadable(error.to_string())
}

/// The child's whole life: opens the store, checks it against what was acknowledged before, then writes until it is
/// killed, the store fails, or the number of batches per stream is reached. Speaks in lines on standard output.
///
/// Arguments: directory, engine, acknowledged heads (comma-separated), batches per stream (0 only checks), and, for the
/// control of the power-cut test, `without-barrier`.
///
/// # Errors
///
/// The arguments are wrong, or nobody listens any more.
pub fn child_main(args: &[String]) -> anyhow::Result<()> {
    let [dir, engine, acknowledged, batches, rest @ ..] = args else { anyhow::bail!("four arguments are needed") };
    let kind: EngineKind = engine.parse()?;
    let acknowledged = parse_heads(acknowledged)?;
    let batches: u64 = batches.parse()?;
    let mut options = Options::new(kind, "store-writer 1");
    options.tuning = Tuning::with_memory(32 << 20);
    if rest.iter().any(|arg| arg == "without-barrier") {
        options.tuning = options.tuning.without_barrier();
    }
    let store = match Store::open(Path::new(dir), options) {
        Ok(store) => store,
        Err(error) => return say(&format!("refused {error}")),
    };
    let heads = match check(store.reader(), &acknowledged) {
        Ok(heads) => heads,
        Err(Violation::Broken(text)) => return say(&format!("broken {text}")),
        Err(Violation::Unreadable(text)) => return say(&format!("unreadable {text}")),
    };
    say(&format!("ready {}", format_heads(&heads)))?;
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for (stream, head) in (0..STREAMS).zip(heads) {
            let (writer, failure) = (store.writer(), &failure);
            scope.spawn(move || {
                if let Err(error) = write(writer, stream, head, batches) {
                    failure.lock().expect("no panic under the lock").get_or_insert(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner()? {
        return say(&format!("failed {error}"));
    }
    match store.close() {
        Ok(()) => say("closed"),
        Err(error) => say(&format!("failed {error}")),
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.replace('\n', " "))?;
    Ok(out.flush()?)
}

/// Heads as one argument or line.
pub(super) fn format_heads(heads: &Heads) -> String {
    heads.map(|head| head.to_string()).join(",")
}

/// Reads [`format_heads`] back.
pub(super) fn parse_heads(text: &str) -> anyhow::Result<Heads> {
    let heads = text.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    heads.try_into().map_err(|_| anyhow::anyhow!("one head per stream is needed"))
}

fn write(writer: &Writer, stream: u8, head: u64, batches: u64) -> anyhow::Result<()> {
    for n in head + 1..=head + batches {
        if filled(n) > 0 {
            writer.commit(filling(stream, n)?)?;
        }
        writer.commit(batch(stream, n)?)?;
        say(&format!("ack {stream} {n}"))?;
    }
    Ok(())
}

fn filling(stream: u8, n: u64) -> anyhow::Result<Batch> {
    let mut batch = Batch::filling();
    for part in 0..filled(n) {
        batch.put(&ROWS, &(stream, FILLED, n, part), &block(stream, n, part))?;
    }
    Ok(batch)
}

/// How many rows are filled in before a batch.
const fn filled(n: u64) -> u16 {
    if n.is_multiple_of(FILLED_EVERY) { FILLED_ROWS } else { 0 }
}

fn batch(stream: u8, n: u64) -> anyhow::Result<Batch> {
    let mut batch = Batch::new();
    let head = (stream, HEAD, 0, 0);
    match n {
        1 => batch.expect_absent(&ROWS, &head)?,
        _ => batch.expect_value(&ROWS, &head, &number(n - 1))?,
    }
    for part in 0..blocks(stream, n) {
        batch.put(&ROWS, &(stream, BLOCK, n, part), &block(stream, n, part))?;
    }
    if n > KEPT {
        for part in 0..blocks(stream, n - KEPT) {
            batch.delete(&ROWS, &(stream, BLOCK, n - KEPT, part))?;
        }
        for part in 0..filled(n - KEPT) {
            batch.delete(&ROWS, &(stream, FILLED, n - KEPT, part))?;
        }
    }
    batch.put(&ROWS, &head, &number(n))?;
    batch.put(&ROWS, &(stream, SLOT, n % SLOTS, 0), &number(n))?;
    let body = [&[stream][..], &n.to_be_bytes()].concat();
    batch.append_event(NewEvent::new(Timestamp::from_millis(n), None, EventKind(1), &body)?)?;
    Ok(batch)
}

fn number(n: u64) -> Raw {
    Raw(n.to_be_bytes().to_vec())
}

/// How many blocks a batch has.
fn blocks(stream: u8, n: u64) -> u16 {
    if stream == 0 && n.is_multiple_of(HUGE_EVERY) { HUGE_BLOCKS } else { BLOCKS }
}

/// The content of a block, different for each.
fn block(stream: u8, n: u64, part: u16) -> Raw {
    let large = n.is_multiple_of(LARGE_EVERY) && (part < 3 || stream == 0);
    let bytes = if large { LARGE_BYTES } else { BLOCK_BYTES };
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(stream) << 32) ^ u64::from(part);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        content.extend_from_slice(&state.to_be_bytes());
    }
    content.truncate(bytes);
    Raw(content)
}

/// Compares every row with what the heads say, and the heads with what was acknowledged.
fn check(reader: &Reader, acknowledged: &Heads) -> Result<Heads, Violation> {
    let mut heads = [0; STREAMS as usize];
    for (stream, promised) in (0..STREAMS).zip(acknowledged) {
        let head = check_stream(reader, stream)?;
        if head < *promised {
            return Err(broken(format!("stream {stream}: batch {promised} was acknowledged, the last one is {head}")));
        }
        heads[usize::from(stream)] = head;
    }
    check_events(reader, &heads)?;
    Ok(heads)
}

fn check_stream(reader: &Reader, stream: u8) -> Result<u64, Violation> {
    let get = |key: Key| reader.get(&ROWS, &key).map_err(unreadable);
    let head = match get((stream, HEAD, 0, 0))? {
        None => 0,
        Some(Raw(bytes)) => u64::from_be_bytes(bytes.try_into().map_err(|_| broken("the head is torn"))?),
    };
    check_rows(reader, stream, BLOCK, head, blocks)?;
    check_rows(reader, stream, FILLED, head, |_, n| filled(n))?;
    for slot in 0..SLOTS {
        let newest = (1..=head).rev().take(usize::try_from(SLOTS).unwrap_or(usize::MAX)).find(|n| n % SLOTS == slot);
        if get((stream, SLOT, slot, 0))? != newest.map(number) {
            return Err(broken(format!("with head {head}, slot {slot} does not hold {newest:?}")));
        }
    }
    Ok(head)
}

/// Compares the rows of a kind with those that the batches up to `head` have, `parts` of each. Of rows that fill there may
/// be some whose batch is still to come.
fn check_rows(
    reader: &Reader,
    stream: u8,
    kind: u8,
    head: u64,
    parts: impl Fn(u8, u64) -> u16,
) -> Result<(), Violation> {
    let first = head.saturating_sub(KEPT) + 1;
    let mut expected = (first..=head).flat_map(|n| (0..parts(stream, n)).map(move |part| (n, part)));
    let mut after = None;
    loop {
        let scan = reader.scan(&ROWS).prefix(&(stream, kind));
        let scan = if let Some(after) = &after { scan.after(after) } else { scan };
        let page = scan.page(1000).map_err(unreadable)?;
        for (key, value) in &page.rows {
            let (_, _, n, part) = *key;
            let is_early = kind == FILLED && n > head;
            if !is_early && expected.next() != Some((n, part)) {
                return Err(broken(format!("with head {head}, row {kind}/{n}/{part} is out of place")));
            }
            if *value != block(stream, n, part) {
                return Err(broken(format!("row {kind}/{n}/{part} has other bytes than were written")));
            }
        }
        match page.rows.last() {
            Some((key, _)) if page.more => after = Some(*key),
            _ => break,
        }
    }
    match expected.next() {
        Some((n, part)) => Err(broken(format!("with head {head}, row {kind}/{n}/{part} is missing"))),
        None => Ok(()),
    }
}

/// The newest events of each stream must be those of its last batches, without a gap.
fn check_events(reader: &Reader, heads: &Heads) -> Result<(), Violation> {
    let mut next = *heads;
    let mut before = u64::MAX;
    let latest = events::latest(reader, EVENTS_CHECKED).map_err(unreadable)?;
    for event in latest {
        let (stream, n) = event.body.split_first().ok_or_else(|| broken("an event is empty"))?;
        let n = u64::from_be_bytes(n.try_into().map_err(|_| broken("an event is torn"))?);
        let expected = &mut next[usize::from(*stream)];
        if n != *expected || event.sequence >= before {
            return Err(broken(format!("stream {stream}: event of batch {n} where {expected} was due")));
        }
        *expected -= 1;
        before = event.sequence;
    }
    // Fewer events than were looked for: all of them, down to the first.
    let seen: u64 = heads.iter().zip(next).map(|(head, next)| head - next).sum();
    if seen < EVENTS_CHECKED as u64 && next != [0; STREAMS as usize] {
        return Err(broken(format!("events of the first batches are missing: {next:?}")));
    }
    Ok(())
}

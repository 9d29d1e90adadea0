//! Where in the log a follower begins ("Event Stream", section "Sequence Numbers").

use angel_protocol::time::Timestamp;
use angel_storage::reader::ReadError;
use angel_storage::{Reader, events};

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Behind this sequence.
    At(u64),
    /// Behind this sequence, and it is told that it has missed something.
    Outdated(u64),
    /// Not at all: the cursor is ahead of everything that ever happened here.
    Future,
}

/// Where `cursor` begins, when events up to `trimmed` are gone and those before `since` are no longer told.
pub(super) fn begin(reader: &Reader, cursor: u64, trimmed: u64, since: Timestamp) -> Result<Begin, ReadError> {
    if cursor > reader.durable_sequence() {
        return Ok(Begin::Future);
    }
    let next = events::after(reader, cursor, 1)?.events.into_iter().next();
    if cursor >= trimmed && next.is_none_or(|event| event.at >= since) {
        return Ok(Begin::At(cursor));
    }
    Ok(Begin::Outdated(last_before(reader, since)?.max(trimmed)))
}

/// The sequence behind which everything that happened since then lies, found by halving: the log is in the order of
/// time, as far as clocks are.
pub(super) fn last_before(reader: &Reader, since: Timestamp) -> Result<u64, ReadError> {
    let newest = reader.durable_sequence();
    let Some(oldest) = events::oldest(reader)? else { return Ok(newest) };
    // Everything up to `low` happened before, everything behind `high` did not.
    let (mut low, mut high) = (oldest.saturating_sub(1), newest);
    while low < high {
        let middle = low + (high - low) / 2;
        match events::after(reader, middle, 1)?.events.first() {
            Some(event) if event.at < since => low = event.sequence.min(high),
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use angel_storage::events::{EventKind, NewEvent};
    use angel_storage::{Batch, Store};

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    /// A log with one event a second, and holes in its numbers.
    fn log() -> Store {
        let store = Store::in_memory().expect("starts");
        for second in 1..=20 {
            let mut batch = Batch::new();
            batch.raise_sequence_floor(second * 10);
            batch.append_event(NewEvent::new(at(second), None, EventKind(1), b"").expect("small")).expect("fits");
            store.writer().commit(batch).expect("commits");
        }
        store
    }

    #[test]
    fn the_place_of_a_time_is_found() {
        let store = log();
        for second in 0..=21_u64 {
            let last = last_before(store.reader(), at(second)).expect("reads");
            let next = events::after(store.reader(), last, 1).expect("reads").events;
            let expected = second.max(1);
            assert_eq!(next.first().map(|event| event.at), (expected <= 20).then(|| at(expected)), "{second}");
        }
        let empty = Store::in_memory().expect("starts");
        assert_eq!(last_before(empty.reader(), at(5)).expect("reads"), 0);
    }

    #[test]
    fn cursors_begin_where_they_should() {
        let store = log();
        let begin = |cursor, trimmed, since| begin(store.reader(), cursor, trimmed, at(since)).expect("reads");
        assert_eq!(begin(0, 0, 0), Begin::At(0));
        assert_eq!(begin(55, 0, 0), Begin::At(55));
        assert_eq!(begin(201, 0, 0), Begin::At(201), "up to date");
        assert_eq!(begin(202, 0, 0), Begin::Future);
        assert_eq!(begin(0, 0, 5), Begin::Outdated(41), "the window has passed it");
        assert_eq!(begin(41, 0, 5), Begin::At(41), "just within");
        assert_eq!(begin(0, 11, 0), Begin::Outdated(11), "what it missed is gone");
        assert_eq!(begin(11, 11, 0), Begin::At(11));
        assert_eq!(begin(201, 0, 99), Begin::At(201), "nothing was missed");
        assert_eq!(begin(0, 0, 99), Begin::Outdated(201));
    }
}

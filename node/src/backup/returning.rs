//! A node that was put back from a backup does not know what it said and did after the backup was made: it may have voted
//! on heights that its ledger does not reach, and others may have become primary of its tenants. Until it has heard from
//! others how far the ledger is, and got there, it neither votes nor takes writes. One that never knew others goes on at
//! once: there is nobody who could know better.
//!
//! A node that was merely off listens, too, for a moment: an owner may have claimed a tenant of its own for another node
//! meanwhile. It votes, and writes wait until it has heard how far the ledger is, or nobody has told it in time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_storage::Reader;
use angel_storage::peers;
use tokio::sync::watch;

use super::restore::Restored;
use crate::data_dir::Layout;

/// Heights beyond the newest decided one on which a validator may have voted: the one under way, and the one after it if
/// it was first to hear that the former was decided.
const MAY_HAVE_VOTED: u64 = 2;

/// How long a node that was off waits for somebody to tell it how far the ledger is. Peers say so once they are connected;
/// when none does for so long, none may be there.
const LISTENS: Duration = Duration::from_secs(10);

/// Whether this node was put back and has not caught up. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Returning(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    note: PathBuf,
    caught_up: watch::Sender<bool>,
    /// Of a node that was off: until when it listens.
    listens_until: Option<Instant>,
}

impl Returning {
    /// Reads the note of a restore. `others` says whether the operator named other nodes. Blocks.
    ///
    /// # Errors
    /// The note cannot be looked at, or removed where it is of no use.
    pub(crate) fn read(layout: &Layout, reader: &Reader, others: bool) -> io::Result<Self> {
        let note = Restored::path(layout);
        // What cannot be read counts as others.
        let knows_others = others || peers::all(reader).is_ok_and(|peers| !peers.is_empty());
        let restored = Restored::read(&note)?;
        let listens_until = (knows_others && restored.is_none()).then(|| Instant::now() + LISTENS);
        let mut caught_up = listens_until.is_none();
        if let Some(restored) = restored {
            if knows_others {
                tracing::warn!(
                    made_at = %restored.made_at,
                    "this node was restored from a backup: it neither votes nor takes writes before it has caught up; if the \
                     other nodes are gone for good, stop it and remove {}",
                    note.display()
                );
                caught_up = false;
            } else {
                tracing::info!(made_at = %restored.made_at, "this node was restored from a backup and knows no others: it goes on");
                Restored::forget(&note)?;
            }
        }
        let (caught_up, _) = watch::channel(caught_up);
        Ok(Self(Arc::new(Shared { note, caught_up, listens_until })))
    }

    /// A node that was never put back.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        let (caught_up, _) = watch::channel(true);
        Self(Arc::new(Shared { note: PathBuf::new(), caught_up, listens_until: None }))
    }

    /// Whether it may take writes.
    pub(crate) fn has_caught_up(&self) -> bool {
        *self.0.caught_up.borrow() || self.0.listens_until.is_some_and(|until| Instant::now() >= until)
    }

    /// Whether it was merely off, and is to hear in a moment how far the ledger is.
    pub(crate) fn listens(&self) -> bool {
        self.0.listens_until.is_some() && !self.has_caught_up()
    }

    /// Whether the note is there.
    pub(crate) fn is_pending(&self) -> bool {
        !self.0.note.as_os_str().is_empty() && self.0.note.exists()
    }

    /// It decides alone: nobody can have decided anything without it.
    pub(crate) fn is_alone(&self) {
        self.0.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
    }

    /// The ledger here ends at `own`; others claim `heard`, 0 when nobody has claimed anything. Answers up to which height
    /// others have to decide before this node may vote.
    pub(crate) fn heard(&self, own: u64, heard: u64, is_alone: bool) -> Option<u64> {
        if heard == 0 {
            return None;
        }
        if own >= heard {
            self.0.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
        }
        Some(if is_alone { heard } else { heard.saturating_add(MAY_HAVE_VOTED) })
    }

    /// It has caught up, and nothing that it may have said is open any more. Blocks.
    pub(crate) fn done(&self) -> io::Result<()> {
        self.0.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
        Restored::forget(&self.0.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_knew_others_waits_for_their_word() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path());
        std::fs::create_dir(layout.secrets()).expect("made");
        let store = angel_storage::Store::in_memory().expect("a store");
        let read = |others| Returning::read(&layout, store.reader(), others).expect("read");
        assert!(!read(true).is_pending() && !read(false).is_pending(), "never put back");
        assert!(read(false).has_caught_up() && !read(false).listens(), "nobody could know better");

        // It was off. It waits for a word, and not for ever.
        let was_off = read(true);
        assert!(was_off.listens() && !was_off.has_caught_up());
        was_off.heard(5, 9, false);
        assert!(was_off.listens(), "it is not that far");
        was_off.heard(9, 9, false);
        assert!(was_off.has_caught_up() && !was_off.listens());
        let alone = read(true);
        alone.is_alone();
        assert!(alone.has_caught_up());
        let patient =
            Shared { note: PathBuf::new(), caught_up: watch::Sender::new(false), listens_until: Some(Instant::now()) };
        assert!(Returning(Arc::new(patient)).has_caught_up(), "nobody told it in time");

        std::fs::write(Restored::path(&layout), "{}").expect("written");
        let returning = read(true);
        assert!(!returning.has_caught_up() && returning.is_pending());
        assert_eq!(returning.heard(5, 0, false), None);
        assert_eq!(returning.heard(5, 9, false), Some(11));
        assert!(!returning.has_caught_up());
        assert_eq!(returning.heard(9, 9, false), Some(11));
        assert!(returning.has_caught_up() && returning.is_pending(), "it takes writes, and does not vote yet");
        assert!(!read(true).has_caught_up(), "a restart asks again");
        returning.done().expect("done");
        assert!(!read(true).is_pending());

        std::fs::write(Restored::path(&layout), "{}").expect("written");
        assert!(read(false).has_caught_up(), "nobody could know better");
        assert!(!Restored::path(&layout).exists());
    }
}

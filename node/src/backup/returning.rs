//! A node that was put back from a backup does not know what it said and did after the backup was made: it may have voted
//! on heights that its ledger does not reach, and others may have become primary of its tenants. Until it has heard from
//! others how far the ledger is, and got there, it neither votes nor takes writes. One that never knew others goes on at
//! once: there is nobody who could know better.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use angel_storage::Reader;
use angel_storage::peers;
use tokio::sync::watch;

use super::restore::Restored;
use crate::data_dir::Layout;

/// Heights beyond the newest decided one on which a validator may have voted: the one under way, and the one after it if
/// it was first to hear that the former was decided.
const MAY_HAVE_VOTED: u64 = 2;

/// Whether this node was put back and has not caught up. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Returning(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    note: PathBuf,
    caught_up: watch::Sender<bool>,
}

impl Returning {
    /// Reads the note of a restore. `others` says whether the operator named other nodes. Blocks.
    ///
    /// # Errors
    /// The note cannot be looked at, or removed where it is of no use.
    pub(crate) fn read(layout: &Layout, reader: &Reader, others: bool) -> io::Result<Self> {
        let note = Restored::path(layout);
        let mut caught_up = true;
        if let Some(restored) = Restored::read(&note)? {
            // What cannot be read counts as others.
            let knows_others = others || peers::all(reader).is_ok_and(|peers| !peers.is_empty());
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
        Ok(Self(Arc::new(Shared { note, caught_up })))
    }

    /// A node that was never put back.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        let (caught_up, _) = watch::channel(true);
        Self(Arc::new(Shared { note: PathBuf::new(), caught_up }))
    }

    /// Whether it may take writes.
    pub(crate) fn has_caught_up(&self) -> bool {
        *self.0.caught_up.borrow()
    }

    /// Whether the note is there.
    pub(crate) fn is_pending(&self) -> bool {
        !self.0.note.as_os_str().is_empty() && self.0.note.exists()
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
        assert!(read(true).has_caught_up() && !read(true).is_pending(), "never put back");

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
        assert!(read(true).has_caught_up());

        std::fs::write(Restored::path(&layout), "{}").expect("written");
        assert!(read(false).has_caught_up(), "nobody could know better");
        assert!(!Restored::path(&layout).exists());
    }
}

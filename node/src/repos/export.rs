//! A whole repository as a CAR file, piece by piece, while others write to it.
//!
//! An export reads the repository as it was when it began. From then on the writer keeps what it supersedes, until the
//! last export of that repository has ended ([`super::sweeper`] drops it). A piece is made while the client takes the one
//! before, and no further ahead, so an export holds no thread while it waits, and its memory does not depend on the
//! repository's size: small trees are read at once, which is far cheaper than node by node, larger ones are not, and few
//! are at a time.

use std::collections::HashSet;
use std::sync::Arc;

use angel_protocol::data::Cid;
use angel_protocol::ids::Tid;
use angel_protocol::repo::mst::{MstError, StoredStep, StoredSteps};
use angel_protocol::repo::{UpTo, car};
use angel_storage::AccountId;
use angel_storage::repos::{self, Head, NodeShelf, Order, RecordScan};
use tokio::sync::OwnedSemaphorePermit;

use super::cache::Slot;
use super::{RepoError, Repos};
use crate::blocking;

/// Bytes of one piece: large enough that its way through threads and sockets costs little.
const PIECE_BYTES: usize = 512 * 1024;

/// The same of a copy for another node, which keeps what has come piece by piece.
const COPY_PIECE_BYTES: usize = 128 * 1024;

/// Records read at a time.
const PAGE_RECORDS: usize = 512;

/// Bytes of tree nodes that one export reads at once.
const NODES_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Nodes of a tree that may fit into [`NODES_BYTES_MAX`]; each has several hundred bytes.
const NODES_MAX: u64 = 50_000;

/// Records that are remembered, so that one which lies at several paths is sent once. Beyond that it may be sent again,
/// which readers accept.
const SENT_MAX: usize = 64 * 1024;

/// Exports that read all tree nodes at once. Others read them one by one.
pub(super) const ROOMY_EXPORTS_MAX: usize = 2;

/// An export under way.
pub struct Export {
    steps: StoredSteps,
    blocks: Blocks,
    has_begun: bool,
    piece_bytes: usize,
    /// The path of the last record that was gone through.
    reached: String,
    /// Blocks are kept as long as this lives.
    _turn: Turn,
}

/// Where the blocks of an export come from.
struct Blocks {
    repos: Repos,
    head: Head,
    since: Option<Tid>,
    /// What whoever asks has already.
    has: Option<UpTo>,
    nodes: Option<Nodes>,
    /// Records in the order of the tree.
    records: Option<RecordScan>,
    sent: HashSet<Cid>,
}

/// The tree nodes that were read at once.
struct Nodes {
    shelf: NodeShelf,
    _room: OwnedSemaphorePermit,
}

/// An export's place: ends with it.
struct Turn {
    repos: Repos,
    slot: Arc<Slot>,
    head: Head,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.slot.end_export() {
            self.repos.shared.leftovers.retained(self.head.contents);
        }
        self.repos.shared.leftovers.export_ended(self.slot.account);
    }
}

impl Repos {
    /// Begins an export: of everything, or of what was written after the revision `since`.
    ///
    /// # Errors
    /// [`RepoError::NoRepository`], or the store cannot be read.
    pub async fn export(&self, account: AccountId, since: Option<Tid>) -> Result<Export, RepoError> {
        self.begin_export(account, since, None, PIECE_BYTES).await
    }

    /// Begins an export for a copy, of which `has` is there already.
    ///
    /// # Errors
    /// As [`Self::export`].
    pub(crate) async fn export_for_copy(&self, account: AccountId, has: Option<UpTo>) -> Result<Export, RepoError> {
        self.begin_export(account, None, has, COPY_PIECE_BYTES).await
    }

    async fn begin_export(
        &self,
        account: AccountId,
        since: Option<Tid>,
        has: Option<UpTo>,
        piece_bytes: usize,
    ) -> Result<Export, RepoError> {
        let slot = self.shared.cache.slot(account);
        let open = slot.open.lock().await;
        slot.begin_export();
        let handed_over = slot.flight.handed_over();
        drop(open);
        let ending = EndOnDrop(Some(Arc::clone(&slot)));
        slot.flight.until_durable(handed_over).await?;
        let repos = self.clone();
        blocking::run(move || {
            let head = repos.head_blocking(account)?.ok_or(RepoError::NoRepository)?;
            let slot = ending.disarm();
            let turn = Turn { repos: repos.clone(), slot, head: head.clone() };
            let steps = StoredSteps::new(head.commit.data());
            let expected = usize::try_from(head.totals.records).unwrap_or(usize::MAX).min(SENT_MAX);
            let sent = HashSet::with_capacity(if since.is_none() { expected } else { 0 });
            let mut blocks = Blocks { repos, head, since, has, nodes: None, records: None, sent };
            if since.is_none() {
                blocks.read_ahead()?;
            }
            Ok(Export { steps, blocks, has_begun: false, piece_bytes, reached: String::new(), _turn: turn })
        })
        .await
    }
}

/// Gives the place back when beginning is cut short.
struct EndOnDrop(Option<Arc<Slot>>);

impl EndOnDrop {
    fn disarm(mut self) -> Arc<Slot> {
        self.0.take().expect("disarmed once")
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            // Whatever was kept meanwhile goes with the next export, or at the next start.
            slot.end_export();
        }
    }
}

impl Export {
    /// The next piece; `None` behind the last. It is begun at once, whenever its end is waited for.
    ///
    /// # Errors
    /// [`RepoError`] when the repository cannot be read; the export is of no use afterwards.
    pub fn next(mut self) -> impl Future<Output = Result<Option<(Vec<u8>, Self)>, RepoError>> + Send + 'static {
        blocking::begin(move || Ok(self.piece()?.map(|piece| (piece, self))))
    }

    /// The path up to which pieces have everything, those before it too. Empty before the first record.
    pub(crate) fn reached(&self) -> &str {
        &self.reached
    }

    /// The next piece. Blocks.
    fn piece(&mut self) -> Result<Option<Vec<u8>>, RepoError> {
        let Self { steps, blocks, piece_bytes, reached, .. } = self;
        let mut out = Vec::with_capacity(*piece_bytes + 16 * 1024);
        if !std::mem::replace(&mut self.has_begun, true) {
            let commit = &blocks.head.commit;
            car::write_header(&mut out, commit.cid());
            if !blocks.wants(commit.rev()) {
                return Ok(Some(out));
            }
            car::write_block(&mut out, commit.block());
        }
        while out.len() < *piece_bytes {
            match steps.next() {
                None => break,
                Some(StoredStep::Node(cid)) => blocks.node(&mut out, cid, steps)?,
                Some(StoredStep::Record(path, cid)) => {
                    path.clone_into(reached);
                    blocks.record(&mut out, path, cid)?;
                }
            }
        }
        Ok(if out.is_empty() { None } else { Some(out) })
    }
}

impl Blocks {
    fn wants(&self, rev: Tid) -> bool {
        self.since.is_none_or(|since| rev > since)
    }

    fn node(&self, out: &mut Vec<u8>, cid: Cid, steps: &mut StoredSteps) -> Result<(), RepoError> {
        if let Some(has) = self.has.as_ref().filter(|has| has.passes(steps.end_of_named())) {
            let node = self.stored_node(cid)?;
            if node.rev > has.rev {
                steps.enter(&node.bytes)?;
                car::write_stored_block(out, cid, &node.bytes);
            }
            return Ok(());
        }
        // Those on the way to what is missing are sent, whether they are there or not: there is one on each layer.
        if let Some(bytes) = self.nodes.as_ref().and_then(|nodes| nodes.shelf.get(&cid)) {
            steps.enter(bytes)?;
            car::write_stored_block(out, cid, bytes);
            return Ok(());
        }
        let node = self.stored_node(cid)?;
        // What lies under a node is never newer than the node.
        if self.wants(node.rev) {
            steps.enter(&node.bytes)?;
            car::write_stored_block(out, cid, &node.bytes);
        }
        Ok(())
    }

    fn stored_node(&self, cid: Cid) -> Result<repos::Node, RepoError> {
        let reader = &self.repos.shared.reader;
        let contents = self.head.contents;
        // Looked for again in its first place: between the two looks it may have come back.
        let places = [repos::node, repos::retained, repos::node];
        for place in places {
            if let Some(node) = place(reader, contents, cid)? {
                return Ok(node);
            }
        }
        Err(MstError::MissingBlock(cid).into())
    }

    fn record(&mut self, out: &mut Vec<u8>, path: &str, cid: Cid) -> Result<(), RepoError> {
        let is_new = if self.sent.len() < SENT_MAX { self.sent.insert(cid) } else { !self.sent.contains(&cid) };
        if !is_new {
            return Ok(());
        }
        let reader = &self.repos.shared.reader;
        let contents = self.head.contents;
        // Where something was written lately within what is there, records are looked for one by one.
        let is_before = self.has.as_ref().is_some_and(|has| has.passes(Some(path)));
        if let Some(records) = self.records.as_mut().filter(|_| !is_before) {
            if let Some(record) = records.at(path, PAGE_RECORDS)?.filter(|record| record.cid == cid) {
                car::write_stored_block(out, cid, &record.bytes);
                return Ok(());
            }
        } else if let Some(record) = repos::record(reader, contents, path)?.filter(|record| record.cid == cid) {
            if self.wants(record.rev) && !self.has.as_ref().is_some_and(|has| has.holds(path, record.rev)) {
                car::write_stored_block(out, cid, &record.bytes);
            }
            return Ok(());
        }
        let kept = repos::retained(reader, contents, cid)?;
        let bytes = match kept {
            Some(kept) => kept.bytes,
            // It may have come back since.
            None => {
                let again = repos::record(reader, contents, path)?.filter(|record| record.cid == cid);
                again.ok_or(MstError::MissingBlock(cid))?.bytes
            }
        };
        car::write_stored_block(out, cid, &bytes);
        Ok(())
    }

    /// Reads everything in the order in which it is stored, when there is room for the tree.
    fn read_ahead(&mut self) -> Result<(), RepoError> {
        let reader = &self.repos.shared.reader;
        let contents = self.head.contents;
        let first = self.has.as_ref().map_or("", |has| has.path.as_str());
        self.records = Some(repos::records(reader, contents, first, None, Order::Ascending));
        if self.head.totals.nodes > NODES_MAX {
            return Ok(());
        }
        let Ok(room) = Arc::clone(&self.repos.shared.roomy_exports).try_acquire_owned() else { return Ok(()) };
        let shelf = NodeShelf::read(reader, contents, NODES_BYTES_MAX).map_err(RepoError::from)?;
        self.nodes = Some(Nodes { shelf, _room: room });
        Ok(())
    }
}

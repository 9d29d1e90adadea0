//! From what happened to bytes. Map keys are written in canonical order: by length, then by bytes.

use super::HostingStatus;
use crate::data::cbor::Writer;
use crate::ids::{Did, Handle};
use crate::repo::mst::{Action, Change};
use crate::repo::{NewCommit, SignedCommit};
use crate::time::Timestamp;

/// Bytes in front of the frame that say where the number belongs.
const PLACE_BYTES: usize = size_of::<u32>();

/// Room for what is small in a message, so that encoding allocates once.
const FIXED_BYTES: usize = 512;

/// Room for one operation of a commit, its path not counted.
const OPERATION_BYTES: usize = 128;

/// A message that is encoded and has no sequence number yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Unnumbered {
    at: Timestamp,
    stored: Vec<u8>,
}

impl Unnumbered {
    /// When it happened: the `time` of the message.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The form to store, which [`number`] makes a frame of: four bytes that say where the number belongs, then the
    /// frame without it.
    #[must_use]
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }
}

impl std::fmt::Debug for Unnumbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unnumbered({}, {} bytes)", self.at, self.stored.len())
    }
}

/// The frame of a stored message under its sequence number; `None` when the bytes are no stored message.
#[must_use]
pub fn number(stored: &[u8], sequence: u64) -> Option<Vec<u8>> {
    let (place, frame) = stored.split_first_chunk::<PLACE_BYTES>()?;
    let (before, after) = frame.split_at_checked(usize::try_from(u32::from_be_bytes(*place)).ok()?)?;
    let mut number = Writer::with_capacity(9);
    number.integer(i64::try_from(sequence).ok()?);
    Some([before, &number.into_bytes(), after].concat())
}

/// A frame in the making, its number to be filled in later.
struct Draft {
    writer: Writer,
    place: usize,
}

impl Draft {
    /// Begins with the header and the map of the message.
    fn new(kind: &str, bytes: usize, fields: usize) -> Self {
        let mut writer = Writer::with_capacity(FIXED_BYTES + bytes);
        header(&mut writer, Some(kind));
        writer.map(fields);
        Self { writer, place: 0 }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.writer.text(key);
        self.writer.text(text);
    }

    fn bool(&mut self, key: &str, bool: bool) {
        self.writer.text(key);
        self.writer.bool(bool);
    }

    /// The field whose value comes later.
    fn sequence(&mut self) {
        self.writer.text("seq");
        self.place = self.writer.len();
    }

    fn finish(self, at: Timestamp) -> Unnumbered {
        let frame = self.writer.into_bytes();
        // A message has at most FIREHOSE_MESSAGE_BYTES_MAX bytes, and the place is near its beginning.
        let place = u32::try_from(self.place).unwrap_or(u32::MAX);
        let mut stored = Vec::with_capacity(PLACE_BYTES + frame.len());
        stored.extend_from_slice(&place.to_be_bytes());
        stored.extend_from_slice(&frame);
        Unnumbered { at, stored }
    }
}

/// The first of the two values of a frame; without a kind it is the header of an error.
fn header(writer: &mut Writer, kind: Option<&str>) {
    writer.map(1 + usize::from(kind.is_some()));
    if let Some(kind) = kind {
        writer.text("t");
        writer.text(kind);
    }
    writer.text("op");
    writer.integer(if kind.is_some() { 1 } else { -1 });
}

/// `#commit`: an account's repository has a new commit. Blobs are not listed: the field is deprecated, and the records
/// that came along name them.
#[must_use]
pub fn commit(commit: &NewCommit, time: Timestamp) -> Unnumbered {
    let head = commit.repository.head();
    let car = commit.car();
    let operations: usize = commit.changes.iter().map(|change| OPERATION_BYTES + change.key.as_str().len()).sum();
    let fields = 11 + usize::from(commit.prev_data.is_some());
    let mut draft = Draft::new("#commit", car.len() + operations, fields);
    draft.writer.text("ops");
    draft.writer.list(commit.changes.len());
    commit.changes.iter().for_each(|change| operation(&mut draft.writer, change));
    draft.text("rev", &head.rev().to_string());
    draft.sequence();
    draft.text("repo", head.did().as_str());
    draft.text("time", &time.to_string());
    draft.writer.text("blobs");
    draft.writer.list(0);
    draft.writer.text("since");
    match commit.since {
        Some(since) => draft.writer.text(&since.to_string()),
        None => draft.writer.null(),
    }
    draft.writer.text("blocks");
    draft.writer.bytes(&car);
    draft.writer.text("commit");
    draft.writer.link(head.cid());
    draft.bool("rebase", false);
    draft.bool("tooBig", false);
    if let Some(prev_data) = commit.prev_data {
        draft.writer.text("prevData");
        draft.writer.link(prev_data);
    }
    draft.finish(time)
}

fn operation(writer: &mut Writer, change: &Change) {
    writer.map(3 + usize::from(change.before.is_some()));
    writer.text("cid");
    writer.link_or_null(change.after);
    writer.text("path");
    writer.text(change.key.as_str());
    if let Some(before) = change.before {
        writer.text("prev");
        writer.link(before);
    }
    writer.text("action");
    writer.text(match change.action() {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    });
}

/// `#sync`: an account's repository is at this commit, however it came there.
#[must_use]
pub fn sync(head: &SignedCommit, time: Timestamp) -> Unnumbered {
    let car = head.car();
    let mut draft = Draft::new("#sync", car.len(), 5);
    draft.text("did", head.did().as_str());
    draft.text("rev", &head.rev().to_string());
    draft.sequence();
    draft.text("time", &time.to_string());
    draft.writer.text("blocks");
    draft.writer.bytes(&car);
    draft.finish(time)
}

/// `#identity`: an account's identity has changed, or may have; followers resolve it anew. The handle is a hint.
#[must_use]
pub fn identity(did: &Did, handle: Option<&Handle>, time: Timestamp) -> Unnumbered {
    let mut draft = Draft::new("#identity", 0, 3 + usize::from(handle.is_some()));
    draft.text("did", did.as_str());
    draft.sequence();
    draft.text("time", &time.to_string());
    if let Some(handle) = handle {
        draft.text("handle", handle.as_str());
    }
    draft.finish(time)
}

/// `#account`: whether this host serves an account has changed.
#[must_use]
pub fn account(did: &Did, status: HostingStatus, time: Timestamp) -> Unnumbered {
    let inactive = status.inactive_word();
    let mut draft = Draft::new("#account", 0, 4 + usize::from(inactive.is_some()));
    draft.text("did", did.as_str());
    draft.sequence();
    draft.text("time", &time.to_string());
    draft.bool("active", inactive.is_none());
    if let Some(word) = inactive {
        draft.text("status", word);
    }
    draft.finish(time)
}

/// `#info`: a word to this subscriber alone. It has no sequence number.
#[must_use]
pub fn info_frame(name: &str, message: &str) -> Vec<u8> {
    let mut writer = Writer::with_capacity(FIXED_BYTES);
    header(&mut writer, Some("#info"));
    writer.map(2);
    for (key, text) in [("name", name), ("message", message)] {
        writer.text(key);
        writer.text(text);
    }
    writer.into_bytes()
}

/// The frame after which a stream ends: why.
#[must_use]
pub fn error_frame(name: &str, message: &str) -> Vec<u8> {
    let mut writer = Writer::with_capacity(FIXED_BYTES);
    header(&mut writer, None);
    writer.map(2);
    for (key, text) in [("error", name), ("message", message)] {
        writer.text(key);
        writer.text(text);
    }
    writer.into_bytes()
}

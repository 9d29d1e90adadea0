//! The events that the public event stream carries, in the log's terms. A body is the message in the form that
//! [`firehose::number`] makes a frame of, so that whoever reads the log never encodes anything.

use angel_protocol::firehose::{self, Frame, HostingStatus, Message, Unnumbered};
use angel_protocol::ids::{Did, Handle};
use angel_protocol::repo::{NewCommit, SignedCommit};
use angel_protocol::time::Timestamp;

use crate::batch::{Batch, RowRefused};
use crate::codec::Cbor;
use crate::events::{Event, EventKind, NewEvent};
use crate::key::AccountId;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// Accounts that were deleted of late, by number, and when in milliseconds.
const DELETED: Table<String, Cbor<u64>> = Table::new(TableId::Local);

/// What their keys begin with, and what lies behind all of them.
const DELETED_FROM: &str = "deleted-account/";
const DELETED_UNTIL: &str = "deleted-account0";

/// Rows that are read at a time.
const PAGE_ROWS: usize = 256;

/// `#commit`: an account's repository has a new commit.
pub const COMMIT: EventKind = EventKind(16);

/// `#sync`: an account's repository is at this commit, however it came there.
pub const SYNC: EventKind = EventKind(17);

/// `#identity`: an account's identity has changed, or may have.
pub const IDENTITY: EventKind = EventKind(18);

/// `#account`: whether this node serves an account has changed.
pub const ACCOUNT: EventKind = EventKind(19);

/// Tells of a commit, in the batch that stores it.
///
/// # Errors
/// [`RowRefused::EventTooLarge`], which a commit within the bounds of the protocol never is.
pub fn commit(account: AccountId, commit: &NewCommit, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(COMMIT, account, &firehose::commit(commit, now))
}

/// Tells where a repository is after it was imported or came back, when no `#commit` leads there from what followers
/// know.
///
/// # Errors
/// None that can happen: the message is small.
pub fn sync(account: AccountId, head: &SignedCommit, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(SYNC, account, &firehose::sync(head, now))
}

/// Tells that followers should resolve an identity anew.
///
/// # Errors
/// None that can happen: the message is small.
pub fn identity(
    account: AccountId,
    did: &Did,
    handle: Option<&Handle>,
    now: Timestamp,
) -> Result<NewEvent, RowRefused> {
    event(IDENTITY, account, &firehose::identity(did, handle, now))
}

/// Tells whether this node serves an account from now on.
///
/// # Errors
/// None that can happen: the message is small.
pub fn account(account: AccountId, did: &Did, status: HostingStatus, now: Timestamp) -> Result<NewEvent, RowRefused> {
    event(ACCOUNT, account, &firehose::account(did, status, now))
}

fn event(kind: EventKind, account: AccountId, message: &Unnumbered) -> Result<NewEvent, RowRefused> {
    NewEvent::new(message.at(), Some(account), kind, message.stored())
}

/// The frame of an event that the public stream carries; `None` for events of other kinds, and for a body that is no
/// stored message.
#[must_use]
pub fn frame(event: &Event) -> Option<Vec<u8>> {
    match event.kind {
        COMMIT | SYNC | IDENTITY | ACCOUNT => firehose::number(&event.body, event.sequence),
        _ => None,
    }
}

/// As [`frame`], of what is stored of such an event.
#[must_use]
pub fn frame_of(stored: &[u8], sequence: u64) -> Option<Vec<u8>> {
    firehose::number(stored, sequence)
}

/// Whether an event tells that its account was deleted: the last word of it.
#[must_use]
pub fn is_deletion(event: &Event) -> bool {
    let is_word = |frame: Vec<u8>| {
        let word = HostingStatus::Deleted.inactive_word();
        matches!(Frame::decode(&frame), Ok(Frame::Message { message: Message::Account { status, .. }, .. }) if status.as_deref() == word)
    };
    event.kind == ACCOUNT && frame(event).is_some_and(is_word)
}

fn deleted_key(account: AccountId) -> String {
    format!("{DELETED_FROM}{:020}", account.0)
}

/// Notes that an account is deleted, in the batch that deletes it.
///
/// # Errors
/// The batch is full.
pub fn note_deleted(batch: &mut Batch, account: AccountId, now: Timestamp) -> Result<(), RowRefused> {
    batch.put(&DELETED, &deleted_key(account), &Cbor(now.as_millis()))
}

/// Forgets that an account was deleted: none of its events is told any more.
///
/// # Errors
/// The batch is full.
pub fn forget_deleted(batch: &mut Batch, account: AccountId) -> Result<(), RowRefused> {
    batch.delete(&DELETED, &deleted_key(account))
}

/// The accounts of which is noted that they were deleted, and when.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn deleted(reader: &Reader) -> Result<Vec<(AccountId, Timestamp)>, ReadError> {
    let (mut found, mut after) = (Vec::new(), DELETED_FROM.to_owned());
    loop {
        let page = reader.scan(&DELETED).after(&after).until(&DELETED_UNTIL.to_owned()).page(PAGE_ROWS)?;
        found.extend(page.rows.iter().filter_map(|(key, Cbor(at))| {
            let number = key.strip_prefix(DELETED_FROM)?.parse().ok()?;
            Some((AccountId(number), Timestamp::from_millis(*at)))
        }));
        match page.rows.into_iter().next_back() {
            Some((last, _)) if page.more => after = last,
            _ => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::crypto::{Secp256k1Key, SigningKey};
    use angel_protocol::data::{Block, Codec, Value, cbor};
    use angel_protocol::ids::TidClock;
    use angel_protocol::limits::COMMIT_CAR_BYTES_MAX;
    use angel_protocol::repo::{MemoryBlocks, Repository, Write, verify_commit};

    use super::*;
    use crate::batch::Batch;
    use crate::events;
    use crate::store::Store;

    #[test]
    fn a_commit_of_the_largest_kind_goes_through_the_log_and_verifies() {
        let now = Timestamp::from_millis(1_763_715_600_000);
        let key: SigningKey = Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into();
        let mut clock = TidClock::new(1);
        let did: Did = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid");
        let first = Repository::create(did.clone(), clock.next(now).expect("a TID"), &key);
        let blocks: MemoryBlocks = first.blocks().collect();
        let writes = (0..2).map(|n| {
            let record = cbor::encode(&Value::Bytes(vec![n; 990_000]));
            let path = format!("com.example.note/{n}").parse().expect("valid");
            Write::Create { path, record: Block::new(Codec::DagCbor, record) }
        });
        let large =
            first.repository.write(&blocks, writes.collect(), clock.next(now).expect("a TID"), &key).expect("fits");
        assert!(large.car().len() > COMMIT_CAR_BYTES_MAX * 9 / 10);

        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        let id = AccountId(1);
        batch.append_event(identity(id, &did, None, now).expect("small")).expect("fits");
        batch.append_event(account(id, &did, HostingStatus::Active, now).expect("small")).expect("fits");
        batch.append_event(sync(id, first.repository.head(), now).expect("small")).expect("fits");
        batch.append_event(commit(id, &large, now).expect("within the bound")).expect("fits");
        batch.append_event(NewEvent::new(now, None, EventKind(1), b"").expect("small")).expect("fits");
        store.writer().commit(batch).expect("commits");

        let page = events::after(store.reader(), 0, 10).expect("reads");
        let frames: Vec<_> = page.events.iter().map(frame).collect();
        assert!(frames[4].is_none(), "events of other kinds stay here");
        let sequences: Vec<_> = frames[..4]
            .iter()
            .map(|frame| match Frame::decode(frame.as_ref().expect("a message")).expect("reads") {
                Frame::Message { sequence, message, .. } => {
                    if let Message::Commit(body) = message {
                        let verified = verify_commit(body.message(), key.public()).expect("verifies");
                        assert_eq!(verified.commit(), large.repository.head());
                    }
                    sequence
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sequences, [1, 2, 3, 4]);
    }

    #[test]
    fn accounts_that_were_deleted_are_noted_until_they_are_forgotten() {
        let store = Store::in_memory().expect("starts");
        let at = Timestamp::from_millis(1_763_715_600_000);
        let accounts: Vec<_> = (1..=300).map(AccountId).collect();
        let mut batch = Batch::new();
        accounts.iter().for_each(|account| note_deleted(&mut batch, *account, at).expect("fits"));
        store.writer().commit(batch).expect("commits");
        let noted: Vec<_> = accounts.iter().map(|account| (*account, at)).collect();
        assert_eq!(deleted(store.reader()).expect("reads"), noted);
        let mut batch = Batch::new();
        accounts[1..].iter().for_each(|account| forget_deleted(&mut batch, *account).expect("fits"));
        store.writer().commit(batch).expect("commits");
        assert_eq!(deleted(store.reader()).expect("reads"), noted[..1]);
    }

    #[test]
    fn the_last_word_of_an_account_is_told_from_others() {
        let did: Did = "did:web:ada.example".parse().expect("valid");
        let now = Timestamp::from_millis(1_763_715_600_000);
        let store = Store::in_memory().expect("starts");
        let mut batch = Batch::new();
        for status in [HostingStatus::Active, HostingStatus::Deactivated, HostingStatus::Deleted] {
            batch.append_event(account(AccountId(1), &did, status, now).expect("small")).expect("fits");
        }
        batch.append_event(identity(AccountId(1), &did, None, now).expect("small")).expect("fits");
        store.writer().commit(batch).expect("commits");
        let page = events::after(store.reader(), 0, 10).expect("reads");
        assert_eq!(page.events.iter().map(is_deletion).collect::<Vec<_>>(), [false, false, true, false]);
    }
}

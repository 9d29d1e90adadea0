//! Messages that go out come back as they were, hold up before the verifier, and no bytes do harm.

use proptest::prelude::*;

use super::*;
use crate::crypto::{Secp256k1Key, SigningKey};
use crate::data::{Block, CborError, Codec, cbor, record_from_json};
use crate::ids::TidClock;
use crate::limits::{COMMIT_WRITES_MAX, FIREHOSE_MESSAGE_BYTES_MAX, SEQUENCE_MAX};
use crate::repo::{MemoryBlocks, NewCommit, Repository, Write, verify_commit, verify_sync};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_763_715_600_000);
const DID: &str = "did:plc:yk4dd2qkboz2yv6tpubpc6co";

fn key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn record(bytes: usize, text: char) -> Block {
    let text: String = std::iter::repeat_n(text, bytes).collect();
    let value = record_from_json(&serde_json::json!({"$type": "com.example.note", "text": text})).expect("valid");
    Block::new(Codec::DagCbor, cbor::encode(&value))
}

/// The first commit of an account, one with all three kinds of change behind a few creations, and the blocks.
fn history() -> (NewCommit, Vec<NewCommit>) {
    let (key, mut clock) = (key(), TidClock::new(1));
    let mut rev = || clock.next(NOW).expect("not exhausted");
    let first = Repository::create(DID.parse().expect("valid"), rev(), &key);
    let mut stored: MemoryBlocks = first.blocks().collect();
    let path = |n: usize| format!("com.example.note/{n}").parse().expect("valid");
    let creates = (0..40).map(|n| Write::Create { path: path(n), record: record(n, 'a') }).collect();
    let second = first.repository.write(&stored, creates, rev(), &key).expect("commits");
    stored.extend(second.blocks());
    let mixed = vec![
        Write::Create { path: path(100), record: record(3, 'b') },
        Write::Update { path: path(7), record: record(3, 'c') },
        Write::Delete { path: path(8) },
    ];
    let third = second.repository.write(&stored, mixed, rev(), &key).expect("commits");
    (first, vec![second, third])
}

fn decode(unnumbered: &Unnumbered, sequence: u64) -> Message {
    let frame = number(unnumbered.stored(), sequence).expect("made here");
    let Frame::Message { sequence: read, time, message } = Frame::decode(&frame).expect("made here") else {
        panic!("a message was made")
    };
    assert_eq!((read, time), (sequence, NOW.to_string()));
    message
}

#[test]
fn commits_come_back_as_they_were_and_verify() {
    let (first, later) = history();
    for made in std::iter::once(&first).chain(&later) {
        let unnumbered = commit(made, NOW);
        for sequence in [0, 23, 24, 255, 256, 65_536, 1 << 32, SEQUENCE_MAX] {
            let Message::Commit(body) = decode(&unnumbered, sequence) else { panic!("a commit was made") };
            let head = made.repository.head();
            assert_eq!((&body.repo, body.commit, body.rev), (head.did(), head.cid(), head.rev()));
            assert_eq!((body.since, body.prev_data, &body.changes), (made.since, made.prev_data, &made.changes));
            let verified = verify_commit(body.message(), key().public()).expect("verifies");
            assert_eq!(verified.commit(), head);
        }
    }
}

#[test]
fn a_commit_has_the_fields_of_the_lexicon() {
    let (first, later) = history();
    let fields = |made: &NewCommit| {
        let frame = number(commit(made, NOW).stored(), 5).expect("made here");
        let (header, rest) = cbor::decode_first(&frame).expect("canonical");
        assert_eq!(crate::data::to_json(&header), serde_json::json!({"op": 1, "t": "#commit"}));
        crate::data::to_json(&cbor::decode(rest).expect("canonical"))
    };
    let json = fields(&first);
    assert_eq!(json["since"], serde_json::Value::Null);
    assert!(json.get("prevData").is_none(), "the first commit follows on nothing");
    let json = fields(&later[1]);
    assert_eq!((&json["seq"], &json["rebase"], &json["tooBig"]), (&5.into(), &false.into(), &false.into()));
    assert_eq!(json["blobs"], serde_json::json!([]));
    let actions: Vec<_> = json["ops"].as_array().expect("a list").iter().map(|op| op["action"].clone()).collect();
    assert_eq!(actions, ["create", "update", "delete"]);
    assert_eq!(json["ops"][2]["cid"], serde_json::Value::Null);
    assert!(json["ops"][0].get("prev").is_none());
}

#[test]
fn the_other_kinds_come_back_as_they_were() {
    let (first, _) = history();
    let did: crate::ids::Did = DID.parse().expect("valid");
    let Message::Sync { did: of, rev, car } = decode(&sync(first.repository.head(), NOW), 9) else {
        panic!("a sync was made")
    };
    assert_eq!(verify_sync(&of, rev, &car, key().public()).expect("verifies"), *first.repository.head());

    let handle: crate::ids::Handle = "ada.example.org".parse().expect("valid");
    for handle in [Some(handle), None] {
        let message = decode(&identity(&did, handle.as_ref(), NOW), 9);
        assert_eq!(message, Message::Identity { did: did.clone(), handle });
    }
    use HostingStatus::{Active, Deactivated, Deleted, Suspended, TakenDown};
    for (status, word) in [
        (Active, None),
        (Deactivated, Some("deactivated")),
        (Suspended, Some("suspended")),
        (TakenDown, Some("takendown")),
        (Deleted, Some("deleted")),
    ] {
        let message = decode(&account(&did, status, NOW), 9);
        let status = word.map(ToOwned::to_owned);
        assert_eq!(message, Message::Account { did: did.clone(), active: word.is_none(), status });
    }
}

#[test]
fn words_to_one_subscriber_have_no_number() {
    let (name, message) = ("OutdatedCursor".to_owned(), Some("older events are gone".to_owned()));
    let info = info_frame(&name, "older events are gone");
    assert_eq!(Frame::decode(&info), Ok(Frame::Info { name: name.clone(), message: message.clone() }));
    let error = error_frame(&name, "older events are gone");
    assert_eq!(Frame::decode(&error), Ok(Frame::Error { name, message }));
}

#[test]
fn the_largest_commit_fits_the_bound() {
    let (key, mut clock) = (key(), TidClock::new(1));
    let mut rev = || clock.next(NOW).expect("not exhausted");
    let did = format!("did:web:{}.example", "a".repeat(2000)).parse().expect("valid");
    let first = Repository::create(did, rev(), &key);
    let stored: MemoryBlocks = first.blocks().collect();
    let writes = (0..COMMIT_WRITES_MAX)
        .map(|n| Write::Create {
            path: format!("com.example.{}/{n:0>512}", "n".repeat(63)).parse().expect("valid"),
            record: record(4500 + n, char::from_u32(0x100).expect("a letter")),
        })
        .collect();
    let commit = commit(&first.repository.write(&stored, writes, rev(), &key).expect("just fits"), NOW);
    let frame = number(commit.stored(), SEQUENCE_MAX).expect("made here");
    assert!(frame.len() > 1_900_000 && frame.len() < FIREHOSE_MESSAGE_BYTES_MAX, "{}", frame.len());
    assert_eq!(Frame::decode(&vec![0; FIREHOSE_MESSAGE_BYTES_MAX + 1]), Err(FrameError::TooLong));
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let (_, later) = history();
    let frame = number(commit(&later[1], NOW).stored(), 5).expect("made here");
    let (header, rest) = cbor::decode_first(&frame).expect("canonical");
    let alter = |change: &dyn Fn(&mut crate::data::Map)| {
        let crate::data::Value::Map(mut body) = cbor::decode(rest).expect("canonical") else { panic!("a map") };
        change(&mut body);
        Frame::decode(&[cbor::encode(&header), cbor::encode(&crate::data::Value::Map(body))].concat())
    };
    use crate::data::Value;
    assert!(alter(&|body| drop(body.insert("later".into(), Value::Null))).is_ok());
    assert_eq!(alter(&|body| drop(body.remove("seq"))), Err(FrameError::Field("seq")));
    assert_eq!(alter(&|body| drop(body.insert("seq".into(), Value::Integer(-1)))), Err(FrameError::Field("seq")));
    assert!(matches!(
        alter(&|body| drop(body.insert("repo".into(), Value::String("x".into())))),
        Err(FrameError::Did(_))
    ));
    let first_operation = |name: &'static str, value: Value| {
        alter(&move |body| {
            let Some(Value::List(operations)) = body.get_mut("ops") else { panic!("a list") };
            let Value::Map(operation) = &mut operations[0] else { panic!("a map") };
            operation.insert(name.into(), value.clone());
        })
    };
    assert!(matches!(first_operation("cid", Value::Null), Err(FrameError::Operation(_))));
    assert!(matches!(first_operation("action", Value::String("move".into())), Err(FrameError::Operation(_))));
    assert!(matches!(first_operation("path", Value::String("x".into())), Err(FrameError::Path(_))));
    assert_eq!(Frame::decode(&[frame.clone(), vec![0]].concat()), Err(CborError::Trailing.into()));
    let unknown = [&cbor::encode(&record_from_json(&serde_json::json!({"op": 1, "t": "#new"})).expect("valid")), rest];
    assert_eq!(Frame::decode(&unknown.concat()), Err(FrameError::Kind("#new".to_owned())));
    assert_eq!(number(&[0, 0, 0, 9, 1], 1), None, "a place behind the end");
    assert_eq!(number(&[0, 0], 1), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let _ = Frame::decode(&bytes);
        let _ = number(&bytes, 7);
        let mut frame = number(commit(&history().1[1], NOW).stored(), 5).expect("made here");
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = Frame::decode(&frame);
    }
}

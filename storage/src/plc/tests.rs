use std::time::Duration;

use angel_protocol::crypto::{Secp256k1Key, SigningKey};
use angel_protocol::plc::{PlcData, PlcStatement};

use super::*;
use crate::store::Store;
use crate::writer::CommitError;

const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn key(n: u8) -> SigningKey {
    Secp256k1Key::from_bytes(&[n; 32]).expect("a scalar").into()
}

/// An operation of the identity whose owner holds key 1 and whose host holds key 2.
fn operation(handle: &str, prev: Option<&PlcOperation>, signer: u8) -> PlcOperation {
    let handle = handle.parse().expect("valid");
    let rotation = vec![key(1).did(), key(2).did()];
    let data = PlcData::account(rotation, key(9).did(), &handle, "https://pds.example".to_owned());
    PlcStatement::State { data, prev: prev.map(PlcOperation::cid) }.sign(&key(signer))
}

fn create(store: &Store, clock: &Clock, handle: &str) -> (Did, PlcOperation) {
    let operation = operation(handle, None, 2);
    let moment = clock.next(START);
    let mut batch = Batch::new();
    let log = stage_genesis(&mut batch, &operation, moment.at()).expect("valid");
    store.writer().commit(batch).expect("written");
    (log.did().clone(), operation)
}

fn follow(store: &Store, clock: &Clock, did: &Did, operation: &PlcOperation, now: Timestamp) -> Result<(), StageError> {
    let moment = clock.next(now);
    let log = log(store.reader(), did)?.expect("registered");
    let mut batch = Batch::new();
    stage(&mut batch, log, operation, moment.at())?;
    store.writer().commit(batch).expect("written");
    Ok(())
}

#[test]
fn a_log_comes_back_as_it_grew_with_what_was_taken_back() {
    let store = Store::in_memory().expect("starts");
    let clock = Clock::new(None);
    let (did, first) = create(&store, &clock, "a.example");
    let stolen = operation("thief.example", Some(&first), 2);
    follow(&store, &clock, &did, &stolen, START).expect("the host may");
    let more = operation("more.example", Some(&stolen), 2);
    follow(&store, &clock, &did, &more, START).expect("the host may");
    let recovered = operation("mine.example", Some(&first), 1);
    follow(&store, &clock, &did, &recovered, START + Duration::from_secs(3600)).expect("the owner takes it back");

    let log = log(store.reader(), &did).expect("read").expect("registered");
    let told: Vec<_> = log.entries().iter().map(|entry| (entry.cid, entry.nullified)).collect();
    assert_eq!(told, [(first.cid(), false), (stolen.cid(), true), (more.cid(), true), (recovered.cid(), false)]);
    assert_eq!(head(store.reader(), &did).expect("read").as_ref(), Some(log.head()));
    let audit = log.entries().iter().map(|entry| angel_protocol::plc::AuditEntry {
        operation: entry.operation.clone(),
        cid: entry.cid,
        created_at: entry.created_at,
        nullified: entry.nullified,
    });
    assert_eq!(PlcLog::from_audit(&did, audit.collect()), Ok(log), "what is stored stands on its own");
    let stranger = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid");
    assert_eq!(super::log(store.reader(), &stranger).expect("read"), None);
    assert_eq!(head(store.reader(), &stranger).expect("read"), None);
}

#[test]
fn of_two_operations_on_one_head_only_one_is_written() {
    let store = Store::in_memory().expect("starts");
    let clock = Clock::new(None);
    let (did, first) = create(&store, &clock, "a.example");
    let known = log(store.reader(), &did).expect("read").expect("registered");
    let mut batches = Vec::new();
    for handle in ["b.example", "c.example"] {
        let mut batch = Batch::new();
        let next = operation(handle, Some(&first), 2);
        stage(&mut batch, known.clone(), &next, clock.next(START).at()).expect("each may follow");
        batches.push(batch);
    }
    let [one, other] = batches.try_into().expect("two");
    store.writer().commit(one).expect("the first");
    assert!(matches!(store.writer().commit(other), Err(CommitError::Conflict { .. })));
    let mut again = Batch::new();
    stage_genesis(&mut again, &first, clock.next(START).at()).expect("valid in itself");
    assert!(matches!(store.writer().commit(again), Err(CommitError::Conflict { .. })));
}

#[test]
fn the_export_is_in_order_and_skips_nothing() {
    let store = Store::in_memory().expect("starts");
    let clock = Clock::new(None);
    let dids: Vec<_> = ["a.example", "b.example", "c.example"].map(|handle| create(&store, &clock, handle).0).into();
    let read = |after: Timestamp, limit: usize| export(store.reader(), after, clock.settled(), limit).expect("read");
    let all = read(Timestamp::EPOCH, 10);
    assert_eq!(all.iter().map(|exported| exported.did.clone()).collect::<Vec<_>>(), dids);
    let page = read(all[0].entry.created_at, 1);
    assert_eq!(page, all[1..2], "one after the other");
    assert_eq!(all[2].entry.created_at.as_millis(), START.as_millis() + 2, "three in one millisecond stay apart");

    // One that is on its way holds back those behind it.
    let slow = clock.next(START);
    let (late, _) = create(&store, &clock, "d.example");
    assert_eq!(read(Timestamp::EPOCH, 10).len(), 3);
    drop(slow);
    assert_eq!(read(Timestamp::EPOCH, 10)[3].did, late);

    let reopened = Clock::new(newest(store.reader()).expect("read"));
    assert_eq!(reopened.next(Timestamp::EPOCH).at().as_millis(), START.as_millis() + 5, "time never goes back");
}

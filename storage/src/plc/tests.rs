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

fn commit(store: &Store, stage: impl FnOnce(&mut Batch) -> Result<(), RowRefused>) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    stage(&mut batch).expect("room");
    store.writer().commit(batch).map(drop)
}

#[test]
fn a_log_comes_back_as_it_grew_and_goes_without_a_trace() {
    let store = Store::in_memory().expect("starts");
    let at = |minutes: u64| START + Duration::from_secs(60 * minutes);
    let first = operation("a.example", None, 2);
    let mut grown = PlcLog::create(first.clone(), START).expect("valid");
    grown.append(operation("thief.example", Some(&first), 2), at(1)).expect("the host may");
    grown.append(operation("mine.example", Some(&first), 1), at(2)).expect("the owner takes it back");
    let other = PlcLog::create(operation("b.example", None, 2), at(3)).expect("valid");
    for log in [&grown, &other] {
        commit(&store, |batch| stage_log(batch, log)).expect("written");
    }
    assert_eq!(log(store.reader(), grown.did()).expect("read").as_ref(), Some(&grown));
    let mut dids = [grown.did().clone(), other.did().clone()];
    dids.sort();
    let next = |after: Option<&Did>| first_of(&store, after);
    assert_eq!((next(None), next(Some(&dids[0]))), (Some(dids[0].clone()), Some(dids[1].clone())));
    assert_eq!(next(Some(&dids[1])), None);
    for log in [&grown, &other] {
        commit(&store, |batch| stage_dropped(batch, log)).expect("written");
    }
    assert_eq!(next(None), None);
    assert!(store.reader().scan(&ACCEPTED).page(1).expect("read").rows.is_empty());
}

fn first_of(store: &Store, after: Option<&Did>) -> Option<Did> {
    first(store.reader(), after).expect("read")
}

#[test]
fn an_identity_is_settled_once() {
    let store = Store::in_memory().expect("starts");
    let operation = operation("a.example", None, 2);
    let did = operation.creates().expect("the first");
    commit(&store, |batch| stage_pending(batch, &did, &operation)).expect("written");
    assert!(matches!(
        commit(&store, |batch| stage_pending(batch, &did, &operation)),
        Err(CommitError::Conflict { table: TableId::PlcPending, .. })
    ));
    assert_eq!(pending(store.reader(), None).expect("read"), [(did.clone(), operation)]);
    assert_eq!(pending(store.reader(), Some(&did)).expect("read"), []);
    assert!(is_pending(store.reader(), &did).expect("read"));
    commit(&store, |batch| stage_settled(batch, &did)).expect("written");
    assert!(!is_pending(store.reader(), &did).expect("read"));
    assert!(matches!(
        commit(&store, |batch| stage_settled(batch, &did)),
        Err(CommitError::Conflict { table: TableId::PlcPending, .. })
    ));
}

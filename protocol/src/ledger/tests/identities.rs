//! Operations on identities (did:plc): one test for every outcome, and journeys.

use std::time::Duration;

use super::world::*;
use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
use crate::data::Cid;
use crate::ids::Did;
use crate::ledger::action::ChangeIdentity;
use crate::ledger::transaction::InvalidTransaction;
use crate::ledger::{directory, *};
use crate::plc::{self, Inadmissible, InvalidOperation, PlcData, PlcOperation, PlcStatement};
use crate::time::Timestamp;

/// Rotation keys by number, every other one on P-256.
pub(crate) fn rotation_key(number: u8) -> SigningKey {
    let secret = [number; 32];
    if number.is_multiple_of(2) {
        P256Key::from_bytes(&secret).expect("a scalar").into()
    } else {
        Secp256k1Key::from_bytes(&secret).expect("a scalar").into()
    }
}

/// The state of an identity with these rotation keys, the most powerful first.
pub(crate) fn state(rotation: &[u8], name: &str, prev: Option<Cid>) -> PlcStatement {
    let keys = rotation.iter().map(|number| rotation_key(*number).did()).collect();
    let handle = format!("{name}.example").parse().expect("a handle");
    let data = PlcData::account(keys, rotation_key(99).did(), &handle, "https://pds.example".to_owned());
    PlcStatement::State { data, prev }
}

/// Keys 1 (the owner's) and 2 (its host's), signed by one of them.
fn owned(name: &str, prev: Option<Cid>, signer: u8) -> PlcOperation {
    state(&[1, 2], name, prev).sign(&rotation_key(signer))
}

pub(crate) fn wrap(did: &Did, operation: &PlcOperation) -> Signed {
    Signed::from_operation(network(), did.clone(), operation).expect("within bounds")
}

struct Directory {
    world: World,
    did: Did,
    head: Cid,
}

impl Directory {
    /// With one identity.
    fn new() -> Self {
        Self::with(World::new())
    }

    fn with(world: World) -> Self {
        let first = owned("ada", None, 2);
        let did = first.creates().expect("the first");
        let mut directory = Self { world, head: first.cid(), did };
        assert_eq!(directory.submit(&first), Outcome::Posted);
        directory
    }

    /// Decides an operation of the identity a second later. A refusal leaves no trace.
    fn submit(&mut self, operation: &PlcOperation) -> Outcome {
        let signed = wrap(&self.did, operation);
        let before = self.entries();
        let applied = self.world.decide(vec![signed.clone()]);
        let entry = applied.entries[0];
        assert_eq!((entry.id, entry.fit), (signed.id(), entry.outcome.is_posted()));
        if entry.outcome.is_posted() {
            self.head = operation.cid();
        } else {
            assert_eq!(self.entries(), before);
        }
        entry.outcome
    }

    /// Names and which of them hold.
    fn entries(&self) -> Vec<(Cid, bool)> {
        let log = directory::log(&self.world.view, &self.did).expect("memory reads");
        let entries = log.iter().flat_map(|log| log.entries());
        entries.map(|entry| (entry.cid, !entry.nullified)).collect()
    }

    fn rename(&mut self, name: &str, signer: u8) -> Outcome {
        self.submit(&owned(name, Some(self.head), signer))
    }

    fn handle(&self) -> Option<String> {
        let last = directory::last(&self.world.view, &self.did).expect("memory reads").expect("it exists");
        last.operation.statement().data().map(|data| data.also_known_as[0].clone())
    }
}

#[test]
fn an_identity_is_created_and_changes() {
    let mut directory = Directory::new();
    assert_eq!(directory.rename("ada2", 1), Outcome::Posted);
    assert_eq!(directory.rename("ada3", 2), Outcome::Posted);
    assert_eq!(directory.handle().as_deref(), Some("at://ada3.example"));
    assert_eq!(rows::wallet(&directory.world.view, &directory.did), Ok(None), "it needs no wallet");
    // The log that the rows hold is one that any other directory would hold.
    let log = directory::log(&directory.world.view, &directory.did).expect("memory reads").expect("it exists");
    let told = log.to_audit_json();
    let told = told.as_array().expect("a list").iter().map(|it| plc::AuditEntry::from_json(it).expect("valid"));
    assert_eq!(plc::PlcLog::from_audit(&directory.did, told.collect()), Ok(log.clone()));
    let times: Vec<_> = log.entries().iter().map(|entry| entry.created_at.since(START).as_secs()).collect();
    assert_eq!(times, [1, 2, 3], "the times are those of the batches");
    let receipt = directory.world.receipt(TransactionId::of_operation(&directory.did, directory.head));
    assert_eq!((receipt.outcome, receipt.height), (Outcome::Posted, 3));
}

#[test]
fn an_operation_is_decided_once_whoever_sends_it() {
    let mut directory = Directory::new();
    let first = directory::last(&directory.world.view, &directory.did).expect("reads").expect("it exists");
    assert_eq!(directory.submit(&first.operation), Outcome::AlreadyDecided);
    let elsewhere = Signed::from_operation("other".parse().expect("a name"), directory.did.clone(), &first.operation);
    let applied = directory.world.decide(vec![elsewhere.expect("within bounds")]);
    assert_eq!(applied.entries[0].outcome, Outcome::WrongNetwork);
}

#[test]
fn first_operations_that_create_nothing_here() {
    let mut directory = Directory::new();
    let (did, head) = (directory.did.clone(), directory.head);
    let mut refused =
        |named: &Did, operation: &PlcOperation| directory.world.decide(vec![wrap(named, operation)]).entries[0].outcome;
    let other = owned("other", None, 1);
    let other_did = other.creates().expect("a first operation");
    assert_eq!(refused(&other_did, &owned("other", Some(head), 1)), Outcome::UnknownIdentity);
    let end = PlcStatement::Tombstone { prev: head }.sign(&rotation_key(1));
    assert_eq!(refused(&other_did, &end), Outcome::UnknownIdentity);
    assert_eq!(refused(&super::world::did("ada"), &other), Outcome::OtherIdentity);
    assert_eq!(refused(&did, &other), Outcome::IdentityExists);
    let forged = owned("forged", None, 3);
    assert_eq!(refused(&forged.creates().expect("a first operation"), &forged), Outcome::BadOperationSignature);
    assert_eq!(refused(&other_did, &other), Outcome::Posted);
}

#[test]
fn what_cannot_follow() {
    let mut directory = Directory::new();
    let first = directory.head;
    let unknown = owned("unknown", None, 1).cid();
    assert_eq!(directory.submit(&owned("ada2", Some(unknown), 1)), Outcome::PrevUnknown);
    assert_eq!(directory.rename("ada2", 3), Outcome::BadOperationSignature);
    assert_eq!(directory.rename("ada2", 99), Outcome::BadOperationSignature, "the signing key has no say");
    assert_eq!(directory.rename("ada2", 2), Outcome::Posted);
    // A key cannot take back its own, nor a weaker one what a stronger one did.
    assert_eq!(directory.submit(&owned("ada3", Some(first), 2)), Outcome::BadOperationSignature);
    assert_eq!(directory.submit(&owned("ada3", Some(first), 1)), Outcome::Posted);
    assert_eq!(directory.submit(&owned("ada4", Some(first), 2)), Outcome::BadOperationSignature);
}

#[test]
fn a_more_powerful_key_takes_back_within_72_hours() {
    const WINDOW: Duration = Duration::from_hours(72);
    let rescue = |after: Duration, signer: u8| {
        let mut directory = Directory::new();
        let first = directory.head;
        assert_eq!(directory.rename("thief", 2), Outcome::Posted);
        let stolen_at = directory.world.now;
        let stolen = directory.head;
        directory.world.now = directory.world.now + HOUR;
        assert_eq!(directory.rename("thief2", 2), Outcome::Posted);
        // The rescue is decided this long after the first thing it takes back.
        directory.world.now = stolen_at + after - Duration::from_secs(1);
        let outcome = directory.submit(&owned("saved", Some(first), signer));
        (outcome, directory, stolen)
    };
    let (outcome, mut saved, stolen) = rescue(WINDOW, 1);
    assert_eq!(outcome, Outcome::Posted, "the last moment counts");
    assert_eq!(saved.entries().iter().map(|(_, holds)| *holds).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(saved.handle().as_deref(), Some("at://saved.example"));
    let undone = saved.world.receipt(TransactionId::of_operation(&saved.did, stolen));
    let by = TransactionId::of_operation(&saved.did, saved.head);
    assert_eq!(undone.reversed_by, Some(by.0), "its receipt tells what took it back");
    assert_eq!(saved.submit(&owned("thief3", Some(stolen), 2)), Outcome::PrevUnknown);
    assert_eq!(saved.rename("later", 2), Outcome::Posted);

    assert_eq!(rescue(WINDOW + Duration::from_millis(1), 1).0, Outcome::TooLateToTakeBack);
    assert_eq!(rescue(HOUR * 2, 2).0, Outcome::BadOperationSignature);
}

#[test]
fn a_tombstone_ends_the_identity_unless_taken_back() {
    let mut directory = Directory::new();
    let first = directory.head;
    assert_eq!(directory.submit(&PlcStatement::Tombstone { prev: first }.sign(&rotation_key(2))), Outcome::Posted);
    assert_eq!(directory.handle(), None);
    assert_eq!(directory.rename("back", 1), Outcome::IdentityEnded);
    assert_eq!(directory.submit(&owned("back", Some(first), 1)), Outcome::Posted);
    assert_eq!(directory.handle().as_deref(), Some("at://back.example"));
}

#[test]
fn an_identity_changes_at_most_ten_times_an_hour_and_a_rescue_always_may() {
    let mut directory = Directory::new();
    let first = directory.head;
    for count in 1..10 {
        assert_eq!(directory.rename(&format!("n{count}"), 2), Outcome::Posted, "{count}");
    }
    assert_eq!(directory.rename("more", 2), Outcome::IdentityTooOften);
    assert_eq!(directory.submit(&owned("saved", Some(first), 1)), Outcome::Posted);
    assert_eq!(directory.rename("more", 1), Outcome::IdentityTooOften, "what was taken back counts");
    directory.world.now = directory.world.now + HOUR;
    assert_eq!(directory.rename("more", 1), Outcome::Posted);
}

#[test]
fn an_hour_has_room_for_so_many_new_identities() {
    let world = World::with(|genesis| genesis.parameters.identities_per_hour = 2);
    let mut directory = Directory::with(world);
    let mut create = |name: &str, wait: Duration| {
        let operation = owned(name, None, 1);
        directory.did = operation.creates().expect("a first operation");
        directory.world.now = directory.world.now + wait;
        directory.submit(&operation)
    };
    assert_eq!(create("two", Duration::ZERO), Outcome::Posted);
    assert_eq!(create("three", Duration::ZERO), Outcome::IdentitiesSpent);
    assert_eq!(create("three", HOUR), Outcome::Posted);
}

#[test]
fn a_page_by_time_ends_with_a_batch() {
    let mut world = World::new();
    let mut dids = Vec::new();
    for batch in [["a", "b", "c"], ["d", "e", "f"]] {
        let operations = batch.map(|name| owned(name, None, 2));
        let signed = operations.iter().map(|it| wrap(&it.creates().expect("the first"), it));
        assert!(world.decide(signed.collect()).fit());
        dids.extend(operations.iter().map(|it| it.creates().expect("the first")));
    }
    let page = |after, count| {
        let page = directory::export_after(&world.view, after, count).expect("memory reads");
        page.into_iter().map(|it| (it.did, it.entry.created_at)).collect::<Vec<_>>()
    };
    let first = page(Timestamp::EPOCH, 1);
    assert_eq!(first.iter().map(|it| &it.0).collect::<Vec<_>>(), dids[..3].iter().collect::<Vec<_>>());
    let second = page(first[0].1, 2);
    assert_eq!(second.iter().map(|it| &it.0).collect::<Vec<_>>(), dids[3..].iter().collect::<Vec<_>>());
    assert_eq!(page(second[0].1, 9), []);
    assert_eq!(page(Timestamp::EPOCH, 4).len(), 6);
}

#[test]
fn every_operation_is_exported_in_decided_order() {
    let mut directory = Directory::new();
    let others: Vec<_> = ["x", "y", "z"].iter().map(|name| owned(name, None, 1)).collect();
    let wrapped = others.iter().map(|operation| wrap(&operation.creates().expect("a first"), operation));
    let applied = directory.world.decide(wrapped.collect());
    assert!(applied.fit());
    assert_eq!(directory.rename("last", 2), Outcome::Posted);
    let view = &directory.world.view;
    assert_eq!(directory::operations(view), Ok(5));
    let all = directory::export(view, 0, usize::MAX).expect("memory reads");
    assert_eq!(all.iter().map(|it| it.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(
        all[1..4].iter().map(|it| it.entry.cid).collect::<Vec<_>>(),
        others.iter().map(PlcOperation::cid).collect::<Vec<_>>()
    );
    assert_eq!((&all[4].did, all[4].entry.cid), (&directory.did, directory.head));
    assert_eq!(directory::export(view, 3, 1).expect("memory reads"), all[3..4]);
    assert_eq!(directory::export(view, 5, 9), Ok(vec![]));
}

#[test]
fn the_head_is_proved_to_whoever_knows_the_validators() {
    let mut directory = Directory::new();
    assert_eq!(directory.rename("proved", 1), Outcome::Posted);
    let world = &directory.world;
    let validators = rows::validators(&world.view).expect("memory reads").expect("genesis");
    let subject = proof::Subject::Identity(directory.did.clone());
    let proof = LedgerProof::make(&world.view, &subject, world.header.clone(), world.certificate(&[0, 1, 2]));
    let proof = proof.expect("memory reads");
    let identity = proof.identity(&validators, &directory.did).expect("it holds").expect("it exists");
    let last = directory::last(&world.view, &directory.did).expect("memory reads").expect("it exists");
    assert!(identity.is_head(&last.operation) && identity.cid() == last.cid);
    assert!(!identity.is_head(&owned("another", None, 1)));
    assert!(proof.identity(&validators, &super::world::did("ada")).is_err(), "it speaks of one identity");
}

#[test]
fn operations_of_one_identity_in_one_batch() {
    let mut directory = Directory::new();
    let first = directory.head;
    let stolen = owned("thief", Some(first), 2);
    let more = owned("thief2", Some(stolen.cid()), 2);
    let rescue = owned("saved", Some(first), 1);
    let late = owned("thief3", Some(more.cid()), 2);
    let batch = [&stolen, &more, &rescue, &late].map(|operation| wrap(&directory.did, operation));
    let outcomes: Vec<_> = directory.world.decide(batch.to_vec()).entries.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Posted, Outcome::Posted, Outcome::Posted, Outcome::PrevUnknown]);
    assert_eq!(directory.handle().as_deref(), Some("at://saved.example"));
    // A batch leaves out what is refused: nobody proposes it.
    let time = directory.world.now + HOUR;
    let height = directory.world.height + 1;
    let candidates = [late, owned("good", Some(rescue.cid()), 2)].map(|operation| wrap(&directory.did, &operation));
    let (batch, applied, unfit) =
        assemble(&directory.world.view, height, time, candidates.clone(), &Strict).expect("the next");
    assert_eq!((batch.transactions, applied.fit()), (vec![candidates[1].clone()], true));
    assert_eq!(unfit.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [Outcome::PrevUnknown]);
}

#[test]
fn admission_foresees_the_outcome() {
    let directory = Directory::new();
    let check = |operation: &PlcOperation| {
        let signed = wrap(&directory.did, operation);
        admit(&directory.world.view, Timestamp::EPOCH, &signed, &Strict).expect("memory reads")
    };
    assert_eq!(check(&owned("good", Some(directory.head), 1)), Ok(Admission { next_sequence: 0 }));
    assert_eq!(check(&owned("good", Some(directory.head), 4)), Err(Outcome::BadOperationSignature));
}

#[test]
fn remembered_operations_are_those_of_the_same_keys() {
    let directory = Directory::new();
    let signed = wrap(&directory.did, &owned("good", Some(directory.head), 2));
    let keys = [1, 2].map(|number| rotation_key(number).did());
    let mut remembered = Remembered::new();
    let recording = Recording::new(&mut remembered);
    let admitted = admit(&directory.world.view, Timestamp::EPOCH, &signed, &recording).expect("memory reads");
    assert_eq!(admitted, Ok(Admission { next_sequence: 0 }));
    assert_eq!(remembered.len(), 1);
    assert_eq!(remembered.operation_signer(&signed, &keys), Some(1));
    assert_eq!(remembered.operation_signer(&signed, &keys[..1]), None);
    remembered.forget(signed.digest());
    assert!(remembered.is_empty());
}

#[test]
fn an_operation_has_one_wrapping() {
    let operation = owned("ada", None, 1);
    let did = operation.creates().expect("a first operation");
    let signed = wrap(&did, &operation);
    let read = Signed::decode(signed.bytes()).expect("its own encoding");
    assert_eq!((read.id(), read.operation(), read.signature()), (signed.id(), Some(&operation), None));
    assert_eq!(read.id(), TransactionId::of_operation(&did, operation.cid()));
    let good = signed.transaction();
    let key = key(1, 0);
    assert_eq!(Signed::sign(good, &key), Err(InvalidTransaction::Signature), "a wallet's signature has no place here");
    let altered: [fn(&mut Transaction); 3] = [|it| it.sequence = 1, |it| it.nonce[3] = 1, |it| it.expires = START];
    for alter in altered {
        let mut transaction = good.clone();
        alter(&mut transaction);
        assert_eq!(unsigned(&transaction), Err(InvalidTransaction::Wrapping));
    }
    let payment = World::new().draft(&super::world::did("ada"), pay("ben", tokens(1)));
    assert_eq!(unsigned(&payment), Err(InvalidTransaction::Signature), "a payment needs its wallet's signature");
}

#[test]
fn what_is_no_operation_never_reaches_the_ledger() {
    let wrapped = |operation: Vec<u8>| {
        let good = wrap(&owned("ada", None, 1).creates().expect("a first"), &owned("ada", None, 1));
        let action = Action::ChangeIdentity(ChangeIdentity { operation });
        unsigned(&Transaction { action, ..good.transaction().clone() })
    };
    assert!(matches!(wrapped(vec![0xa0]), Err(InvalidTransaction::Operation(InvalidOperation::Form(_)))));
    let bytes = owned("ada", None, 1).to_bytes();
    // The length of the map in two bytes instead of one.
    let long = [&[0xb8, bytes[0] & 0x1f], &bytes[1..]].concat();
    assert!(matches!(wrapped(long), Err(InvalidTransaction::Operation(_))));
    let many: Vec<u8> = (1..12).collect();
    let many = state(&many, "many", None).sign(&rotation_key(1)).to_bytes();
    let refused = InvalidTransaction::OperationBound(Inadmissible::TooManyEntries("rotationKeys"));
    assert_eq!(wrapped(many), Err(refused));
    assert_eq!(wrapped(vec![0; 8000]), Err(InvalidTransaction::Operation(InvalidOperation::TooLarge)));
}

/// A transaction as it travels, without a wallet's signature.
fn unsigned(transaction: &Transaction) -> Result<Signed, InvalidTransaction> {
    #[derive(serde::Serialize)]
    struct Envelope {
        #[serde(with = "serde_bytes")]
        tx: Vec<u8>,
    }
    let tx = transaction::encode(transaction)?;
    Signed::decode(&transaction::encode(&Envelope { tx })?)
}

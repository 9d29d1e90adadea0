//! Logs that must hold and logs that must not.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
use crate::ids::Did;
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);

/// Keys by number, every other one on P-256.
fn key(n: u8) -> SigningKey {
    let secret = [n; 32];
    if n.is_multiple_of(2) {
        P256Key::from_bytes(&secret).expect("a scalar").into()
    } else {
        Secp256k1Key::from_bytes(&secret).expect("a scalar").into()
    }
}

fn data(rotation: &[u8], handle: &str) -> PlcData {
    let rotation_keys = rotation.iter().map(|n| key(*n).did()).collect();
    PlcData::account(rotation_keys, key(99).did(), &handle.parse().expect("valid"), "https://pds.example".to_owned())
}

fn state(rotation: &[u8], handle: &str, prev: Option<&PlcOperation>, signer: u8) -> PlcOperation {
    PlcStatement::State { data: data(rotation, handle), prev: prev.map(PlcOperation::cid) }.sign(&key(signer))
}

fn tombstone(prev: &PlcOperation, signer: u8) -> PlcOperation {
    PlcStatement::Tombstone { prev: prev.cid() }.sign(&key(signer))
}

/// An identity whose owner holds key 1 and whose host holds key 2.
fn owned() -> (PlcLog, PlcOperation) {
    let first = state(&[1, 2], "a.example", None, 2);
    (PlcLog::create(first.clone(), START).expect("valid"), first)
}

#[test]
fn the_oldest_identity_has_its_known_names() {
    // The first operations of did:plc:yk4dd2qkboz2yv6tpubpc6co, the example of the specification, as the public
    // directory tells them.
    let first = json!({
        "sig": "7QTzqO1BcL3eDzP4P_YBxMmv5U4brHzAItkM9w5o8gZA7ElZkrVYEwsfQCfk5EoWLk58Z1y6fyNP9x1pthJnlw",
        "prev": null,
        "type": "create",
        "handle": "dan.bsky.social",
        "service": "https://bsky.social",
        "signingKey": "did:key:zQ3shP5TBe1sQfSttXty15FAEHV1DZgcxRZNxvEWnPfLFwLxJ",
        "recoveryKey": "did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg"
    });
    let second = json!({
        "sig": "n-VWsPZY4xkFN8wlg-kJBU_yzWTNd2oBnbjkjxXu3HdjbBLaEB7K39JHIPn_DZVALKRjts6bUicjSEecZy8eIw",
        "prev": "bafyreigcxay6ucqlwowfpu35alyxqtv3c4vsj7gmdtmnidsnqs6nblyarq",
        "type": "plc_operation",
        "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": "https://bsky.social"}},
        "alsoKnownAs": ["at://dholms.xyz"],
        "rotationKeys": [
            "did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg",
            "did:key:zQ3shP5TBe1sQfSttXty15FAEHV1DZgcxRZNxvEWnPfLFwLxJ"
        ],
        "verificationMethods": {"atproto": "did:key:zQ3shP5TBe1sQfSttXty15FAEHV1DZgcxRZNxvEWnPfLFwLxJ"}
    });
    let audit = |operation: &serde_json::Value, cid: &str, created_at: &str| {
        let entry = json!({"operation": operation, "cid": cid, "createdAt": created_at, "nullified": false});
        AuditEntry::from_json(&entry).expect("valid")
    };
    let entries = vec![
        audit(&first, "bafyreigcxay6ucqlwowfpu35alyxqtv3c4vsj7gmdtmnidsnqs6nblyarq", "2022-11-17T01:07:13.996Z"),
        audit(&second, "bafyreiho5sanautvnw3det66jcwic4vkeabc35y7iou3ygwj2l3xqcxdau", "2023-03-06T18:47:09.501Z"),
    ];
    assert_eq!(entries[0].operation.to_json(), first);
    assert_eq!(entries[1].operation.to_json(), second);
    let did: Did = "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid");
    let log = PlcLog::from_audit(&did, entries.clone()).expect("valid");
    let data = log.data().expect("it holds");
    let document = data.document(did.clone());
    assert_eq!(document.claimed_handle(), Some("dholms.xyz".parse().expect("valid")));
    assert_eq!(document.pds(), Some("https://bsky.social"));
    assert_eq!(data.to_json(&did)["rotationKeys"], second["rotationKeys"]);
    // The older form comes to the same kind of state.
    let older = entries[0].operation.statement().data().expect("it holds");
    assert_eq!(
        (older.rotation_keys, older.also_known_as),
        (data.rotation_keys, vec!["at://dan.bsky.social".to_owned()])
    );

    let other: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("valid");
    let refused = PlcLog::from_audit(&other, entries);
    assert_eq!(refused, Err(InvalidAuditLog::Refused { at: 0, reason: LogError::OtherDid(did) }));
}

#[test]
fn an_operation_survives_its_json() {
    let (_, first) = owned();
    for operation in [state(&[1, 2, 3], "b.example", Some(&first), 1), tombstone(&first, 1), first] {
        let json = operation.to_json();
        assert_eq!(PlcOperation::from_json(&json), Ok(operation.clone()));
        assert_eq!(PlcOperation::from_json(&json).expect("valid").cid(), operation.cid());
        assert_eq!(PlcOperation::from_bytes(&operation.to_bytes()), Ok(operation));
    }
}

#[test]
fn bytes_have_one_spelling() {
    let bytes = owned().1.to_bytes();
    // The length of the map in two bytes instead of one.
    let long = [&[0xb8, bytes[0] & 0x1f], &bytes[1..]].concat();
    assert!(PlcOperation::from_bytes(&long).is_err());
    assert!(PlcOperation::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    assert!(PlcOperation::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert_eq!(PlcOperation::from_bytes(&[0; 7501]), Err(InvalidOperation::TooLarge));
}

#[test]
fn json_that_is_no_operation_is_refused_by_reason() {
    let (_, first) = owned();
    let with = |field: &str, value: serde_json::Value| {
        let mut json = first.to_json();
        json[field] = value;
        PlcOperation::from_json(&json).expect_err("not an operation")
    };
    assert!(matches!(with("more", json!(1)), InvalidOperation::Form(_)));
    assert!(matches!(with("type", json!("rotate")), InvalidOperation::Form(_)));
    assert!(matches!(with("sig", json!(null)), InvalidOperation::Form(_)));
    assert!(matches!(with("rotationKeys", json!(["key"])), InvalidOperation::Did { .. }));
    let ed25519 = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    assert!(matches!(with("rotationKeys", json!([ed25519])), InvalidOperation::RotationKey { .. }));
    assert!(matches!(
        with("verificationMethods", json!({"a": "did:web:a.example"})),
        InvalidOperation::VerificationMethod(_)
    ));
    assert!(matches!(with("prev", json!("x")), InvalidOperation::Prev(_)));
    assert!(matches!(with("alsoKnownAs", json!(["x".repeat(8000)])), InvalidOperation::TooLarge));
    let mut json = first.to_json();
    json.as_object_mut().expect("an object").remove("prev");
    assert!(matches!(PlcOperation::from_json(&json), Err(InvalidOperation::Form(_))), "null has to be written");
    // A key of a curve that is not known here is passed on as it is.
    let mut json = first.to_json();
    json["verificationMethods"]["other"] = ed25519.into();
    assert_eq!(PlcOperation::from_json(&json).expect("valid").to_json(), json);
}

#[test]
fn each_operation_is_signed_by_a_key_of_the_one_before() {
    let (mut log, first) = owned();
    let second = state(&[3], "b.example", Some(&first), 2);
    assert_eq!(log.append(second.clone(), START + HOUR), Ok(vec![]));
    assert_eq!(log.head().cid, second.cid());
    let by = |signer: u8| state(&[3], "c.example", Some(&second), signer);
    assert_eq!(log.append(by(1), START + HOUR), Err(LogError::Signature));
    assert_eq!(log.append(by(99), START + HOUR), Err(LogError::Signature), "the signing key has no say");
    assert_eq!(log.append(by(3), START), Err(LogError::Backwards));
    assert_eq!(log.append(by(3), START + HOUR), Ok(vec![]));
    assert_eq!(log.append(by(3), START + HOUR), Err(LogError::Signature), "it would take itself back");
    assert_eq!(log.data(), Some(data(&[3], "c.example")));
}

#[test]
fn only_the_first_operation_creates() {
    let (mut log, first) = owned();
    assert_eq!(log.append(first.clone(), START), Err(LogError::SecondGenesis));
    let elsewhere = state(&[1, 2], "z.example", None, 1);
    let unknown = state(&[1, 2], "b.example", Some(&elsewhere), 1);
    assert_eq!(log.append(unknown, START), Err(LogError::UnknownPrev(elsewhere.cid())));
    let update = state(&[1, 2], "b.example", Some(&first), 1);
    assert_eq!(PlcLog::create(update, START), Err(LogError::NotGenesis));
    assert_eq!(PlcLog::create(tombstone(&first, 1), START), Err(LogError::NotGenesis));
    assert_eq!(PlcLog::create(state(&[1, 2], "a.example", None, 3), START), Err(LogError::Signature));
    assert_eq!(PlcLog::create(state(&[], "a.example", None, 3), START), Err(LogError::Signature));
}

#[test]
fn a_more_powerful_key_takes_back_within_72_hours() {
    let (log, first) = owned();
    let stolen = state(&[2], "thief.example", Some(&first), 2);
    let more = state(&[2], "thief2.example", Some(&stolen), 2);
    let rescue = |signer: u8| state(&[1], "a.example", Some(&first), signer);
    let taken = |after: Duration, signer: u8| {
        let mut log = log.clone();
        log.append(stolen.clone(), START + HOUR).expect("signed");
        log.append(more.clone(), START + 2 * HOUR).expect("signed");
        let before = log.clone();
        let result = log.append(rescue(signer), START + HOUR + after);
        assert!(result.is_ok() || log == before, "an error changes nothing");
        (result, log)
    };
    let (result, rescued) = taken(72 * HOUR, 1);
    assert_eq!(result, Ok(vec![stolen.cid(), more.cid()]), "the last moment counts");
    assert_eq!(rescued.data(), Some(data(&[1], "a.example")));
    assert_eq!(rescued.canonical().count(), 2);
    assert_eq!(taken(72 * HOUR + Duration::from_millis(1), 1).0, Err(LogError::TooLate));
    assert_eq!(taken(2 * HOUR, 2).0, Err(LogError::Signature), "a key cannot take back its own");
    // What was taken back is no ground to build on, even for its own key.
    let mut log = rescued.clone();
    let on_nullified = state(&[2], "thief3.example", Some(&more), 2);
    assert_eq!(log.append(on_nullified, START + 80 * HOUR), Err(LogError::UnknownPrev(more.cid())));
    // The rescue cannot be undone by the weaker key.
    let again = state(&[2], "thief4.example", Some(&first), 2);
    assert_eq!(log.append(again, START + 80 * HOUR), Err(LogError::Signature));
    // The whole story survives being told.
    let entries = rescued.to_audit_json();
    let entries: Vec<_> =
        entries.as_array().expect("a list").iter().map(|entry| AuditEntry::from_json(entry).expect("valid")).collect();
    assert_eq!(PlcLog::from_audit(rescued.did(), entries.clone()), Ok(rescued.clone()));
    for at in 1..entries.len() {
        let mut told = entries.clone();
        told[at].nullified = !told[at].nullified;
        assert_eq!(PlcLog::from_audit(rescued.did(), told), Err(InvalidAuditLog::OtherFork { at }));
    }
    let mut told = entries;
    told[1].cid = first.cid();
    assert_eq!(PlcLog::from_audit(rescued.did(), told), Err(InvalidAuditLog::OtherCid { at: 1, found: stolen.cid() }));
    assert_eq!(PlcLog::from_audit(rescued.did(), vec![]), Err(InvalidAuditLog::Empty));
}

#[test]
fn a_tombstone_ends_the_identity_unless_taken_back() {
    let (mut log, first) = owned();
    let end = tombstone(&first, 2);
    log.append(end.clone(), START).expect("signed");
    assert_eq!(log.data(), None);
    let after = state(&[1, 2], "b.example", Some(&end), 1);
    assert_eq!(log.append(after, START), Err(LogError::Tombstoned));
    let rescue = state(&[1], "a.example", Some(&first), 1);
    assert_eq!(log.append(rescue, START + HOUR), Ok(vec![end.cid()]));
    assert_eq!(log.data(), Some(data(&[1], "a.example")));
}

#[test]
fn a_signature_has_one_spelling() {
    let (_, first) = owned();
    let keys = data(&[1, 2], "a.example").rotation_keys;
    assert_eq!(first.signer(&keys), Some(1));
    let mut json = first.to_json();
    let sig = json["sig"].as_str().expect("text").to_owned();
    // 86 characters hold 516 bits for 512: the last character has 16 spellings, of which one counts.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&sig[85..]).expect("base64url");
    let loose = format!("{}{}", &sig[..85], &alphabet[last + 1..last + 2]);
    for spelling in [format!("{sig}=="), format!("{sig}\n"), sig.replace(['-', '_'], "+"), loose, String::new()] {
        json["sig"] = spelling.clone().into();
        if spelling != sig {
            assert_eq!(PlcOperation::from_json(&json).expect("still the form").signer(&keys), None, "{spelling}");
        }
    }
}

#[test]
fn a_directory_has_bounds() {
    let refused = |edit: &dyn Fn(&mut PlcData)| {
        let mut data = data(&[1, 2], "a.example");
        edit(&mut data);
        admit(None, &PlcStatement::State { data, prev: None }.sign(&key(1)), START).expect_err("out of bounds")
    };
    let many = |data: &mut PlcData| data.also_known_as = (0..11).map(|n| format!("at://{n}.example")).collect();
    assert_eq!(refused(&many), Inadmissible::TooManyEntries("alsoKnownAs"));
    let keys = |data: &mut PlcData| data.rotation_keys = vec![key(1).did(); 11];
    assert_eq!(refused(&keys), Inadmissible::TooManyEntries("rotationKeys"));
    let twice = |data: &mut PlcData| data.also_known_as.push("at://a.example".to_owned());
    assert_eq!(refused(&twice), Inadmissible::Repeated("at://a.example".to_owned()));
    let long = |data: &mut PlcData| data.also_known_as.push("x".repeat(259));
    assert_eq!(refused(&long), Inadmissible::TooLong { field: "alsoKnownAs", max: 258 });
    let name = |data: &mut PlcData| drop(data.verification_methods.insert("x".repeat(33), key(1).did()));
    assert_eq!(refused(&name), Inadmissible::TooLong { field: "verificationMethods", max: 32 });
    let endpoint = |data: &mut PlcData| {
        let service = PlcService { kind: "x".to_owned(), endpoint: "x".repeat(513) };
        data.services.insert("x".to_owned(), service);
    };
    assert_eq!(refused(&endpoint), Inadmissible::TooLong { field: "services.endpoint", max: 512 });
    let large = |data: &mut PlcData| {
        for n in 0..9 {
            let service = PlcService { kind: "x".repeat(256), endpoint: "x".repeat(400) };
            data.services.insert(n.to_string(), service);
        }
    };
    assert_eq!(refused(&large), Inadmissible::TooLarge);
    let (log, first) = owned();
    assert_eq!(admit(Some(&log), &tombstone(&first, 1), START), Ok(()));
    assert_eq!(admit(None, &first, START), Ok(()));
}

#[test]
fn an_identity_changes_at_most_ten_times_an_hour() {
    let (mut log, mut last) = owned();
    for n in 0..9 {
        let next = state(&[1, 2], &format!("n{n}.example"), Some(&last), 1);
        admit(Some(&log), &next, START).expect("within the rate");
        log.append(next.clone(), START).expect("signed");
        last = next;
    }
    let next = state(&[1, 2], "more.example", Some(&last), 1);
    assert_eq!(admit(Some(&log), &next, START), Err(Inadmissible::TooOften { count: 10, within: HOUR }));
    assert_eq!(admit(Some(&log), &next, START + HOUR), Ok(()));
    // A rescue is never held up by what a thief did.
    let rescue = state(&[1], "a.example", Some(&log.entries()[0].operation.clone()), 1);
    assert_eq!(admit(Some(&log), &rescue, START), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any sequence of attempts leaves a log that tells itself truly.
    #[test]
    fn any_log_survives_being_told(attempts in prop::collection::vec((0..8_usize, 1..4_u8, 0..40_u64), 0..14)) {
        let first = state(&[1, 2, 3], "a.example", None, 3);
        let mut log = PlcLog::create(first, START).expect("valid");
        let mut now = START;
        for (n, (back, signer, hours)) in attempts.into_iter().enumerate() {
            now = now + HOUR * u32::try_from(hours).expect("small");
            let prev = log.entries()[log.entries().len().saturating_sub(1 + back)].operation.clone();
            let before = log.clone();
            if log.append(state(&[1, 2, 3], &format!("n{n}.example"), Some(&prev), signer), now).is_err() {
                prop_assert_eq!(&log, &before);
            }
        }
        let told = log.to_audit_json();
        let told = told.as_array().expect("a list").iter().map(|entry| AuditEntry::from_json(entry).expect("valid")).collect();
        prop_assert_eq!(PlcLog::from_audit(log.did(), told), Ok(log));
    }

    /// Whatever is put in the place of a field is refused or survives its own JSON.
    #[test]
    fn no_field_panics(at in 0..8_usize, with in 0..8_usize, text in "\\PC{0,20}") {
        let (log, first) = owned();
        let others = [
            json!(null), json!(text), json!(1), json!([text]), json!({ text.as_str(): text }), json!({ "a": {} }),
            json!(log.head().cid.to_string()), json!({ "a": { "type": text, "endpoint": text } }),
        ];
        for operation in [first.clone(), tombstone(&first, 1)] {
            let mut json = operation.to_json();
            let fields: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
            json[&fields[at % fields.len()]] = others[with].clone();
            if let Ok(read) = PlcOperation::from_json(&json) {
                prop_assert_eq!(read.to_json(), json);
                let _ = (admit(Some(&log), &read, START), log.clone().append(read, START));
            }
        }
    }
}

use angel_protocol::crypto::{P256Key, Secp256k1Key};
use angel_protocol::plc::PlcData;
use angel_protocol::time::Timestamp;

use super::*;

fn key(number: u8) -> SigningKey {
    Secp256k1Key::from_bytes(&[number; 32]).expect("a scalar").into()
}

fn state(keys: &[&SigningKey], prev: Option<&PlcOperation>) -> PlcStatement {
    let handle = "cafe.example".parse().expect("a handle");
    let keys = keys.iter().map(|key| key.did()).collect();
    let data = PlcData::account(keys, key(9).did(), &handle, "https://old.example".to_owned());
    PlcStatement::State { data, prev: prev.map(PlcOperation::cid) }
}

fn wanted() -> Value {
    json!({
        "did": "did:plc:cafe", "network": "test-dev", "epoch": 3, "to": key(7).did(),
        "from": { "node": key(6).did(), "sequence": 40 },
        "endpoint": "https://new.example", "signingKey": key(8).did(), "rotationKeys": [key(7).did()],
    })
}

fn log(first: &PlcOperation, more: &[&PlcOperation]) -> PlcLog {
    let at = |second: u64| Timestamp::from_millis(1_000 * second);
    let mut log = PlcLog::create(first.clone(), at(0)).expect("the first");
    for (second, operation) in (1..).zip(more) {
        log.append((*operation).clone(), at(second)).expect("follows");
    }
    log
}

#[test]
fn the_identity_is_pointed_at_the_node_and_the_old_hosts_lose_their_power() {
    let (owner, host) = (key(1), key(2));
    let first = state(&[&owner, &host], None).sign(&host);
    let log = log(&first, &[]);
    let keys = [owner];
    let (owner, prev) = owners(&keys, &log).expect("the owner's");
    let (operation, dropped) = operation(owner, prev, &wanted()).expect("made");
    assert_eq!(dropped, [host.did()]);
    let data = operation.statement().data().expect("a state");
    assert_eq!(data.rotation_keys, [owner.did(), key(7).did()]);
    let document = data.document("did:plc:cafe".parse().expect("a DID"));
    assert_eq!(document.pds(), Some("https://new.example"));
    assert_eq!(document.signing_key().map(|key| key.did()), Some(key(8).did()));
    assert_eq!(operation.signer(&[owner.did()]), Some(0));
    assert_eq!(operation.statement().prev(), Some(first.cid()));
    assert_eq!(data.also_known_as, ["at://cafe.example"]);
}

#[test]
fn what_a_weaker_key_did_is_taken_back_and_that_key_claims_nothing() {
    let (owner, host) = (key(1), key(2));
    let first = state(&[&owner, &host], None).sign(&host);
    let stolen = state(&[&host], Some(&first)).sign(&host);
    let log = log(&first, &[&stolen]);
    let keys = [owner];
    assert_eq!(owners(&keys, &log).expect("the owner's").1.cid(), first.cid());
    // Nobody else's is taken for it, and it is said why.
    let first = super::tests::log(&first, &[]);
    let refused = |keys: &[SigningKey]| owners(keys, &first).expect_err("no owner").words().to_owned();
    assert!(refused(&[key(2)]).contains("others come before it"), "{}", refused(&[key(2)]));
    assert!(refused(&[key(3)]).contains("nothing to the identity"));
}

#[test]
fn a_key_on_the_other_curve_is_found_by_its_public_half() {
    let secret = [5; 32];
    let owner = SigningKey::from(P256Key::from_bytes(&secret).expect("a scalar"));
    let host = key(2);
    let log = log(&state(&[&owner, &host], None).sign(&host), &[]);
    let keys = written_keys(&"05".repeat(32));
    assert_eq!(owners(&keys, &log).expect("the owner's").0.did(), owner.did());
}

#[test]
fn the_word_for_the_ledger_is_over_what_the_daemon_asks() {
    let word = owners_word(&key(1), &wanted()).expect("signed");
    let signature = BASE64URL_NOPAD.decode(word.as_bytes()).expect("letters");
    let from = Source { node: key(6).did(), sequence: 40 };
    let (network, tenant) = ("test-dev".parse().expect("a name"), "did:plc:cafe".parse().expect("a DID"));
    let (domain, message) = statement::claim(&network, &tenant, 3, &key(7).did(), Some(&from));
    assert_eq!(key(1).public().verify_for(domain, &message, &signature), Ok(()));
    let (_, other) = statement::claim(&network, &tenant, 4, &key(7).did(), Some(&from));
    assert!(key(1).public().verify_for(domain, &other, &signature).is_err());
}

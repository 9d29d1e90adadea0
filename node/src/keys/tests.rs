use std::fs;
use std::time::Duration;

use super::*;
use crate::data_dir::DataDir;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn data_dir() -> (tempfile::TempDir, DataDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = DataDir::open(dir.path()).expect("made");
    (dir, data)
}

#[test]
fn the_key_is_made_once_and_is_did_and_peer_id() {
    let (_dir, data) = data_dir();
    let first = Identity::load_or_create(data.layout(), START).expect("made");
    let again = Identity::load_or_create(data.layout(), START).expect("read");
    assert_eq!((first.did(), first.peer_id()), (again.did(), again.peer_id()));
    assert_eq!(crate::network::did_of(&first.peer_id()).as_ref(), Some(first.did()));
    assert_eq!(first.default_node_id(), again.default_node_id());
}

#[test]
fn a_damaged_key_is_told_from_a_missing_one_and_its_secret_is_not_shown() {
    let (_dir, data) = data_dir();
    let identity = Identity::load_or_create(data.layout(), START).expect("made");
    let path = data.layout().secrets().join("node.key");
    let good = fs::read_to_string(&path).expect("readable");
    let secret = good.lines().last().expect("three lines").strip_prefix("secret: ").expect("the secret");
    let flipped = if secret.starts_with('0') { "1" } else { "0" };
    let damages = [
        String::new(),
        good.replace("angel node key 1", "angel node key 9"),
        good.replace(secret, &secret[1..]),
        good.replace(secret, &format!("{flipped}{}", &secret[1..])),
        good.replace(secret, &format!("ä{}", &secret[2..])),
        good.replace(identity.did().as_str(), "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
    ];
    for damage in damages {
        fs::write(&path, &damage).expect("written");
        let error = Identity::load_or_create(data.layout(), START).expect_err("damaged");
        assert!(matches!(error, SecretError::Corrupt { .. }), "{damage}: {error}");
        assert!(!error.to_string().contains(&secret[2..]), "the message keeps the secret");
    }
    assert!(!format!("{identity:?}").contains(&secret[2..]));
}

#[test]
fn a_node_that_was_at_work_gets_no_other_key() {
    let (_dir, data) = data_dir();
    let identity = Identity::load_or_create(data.layout(), START).expect("made");
    let path = data.layout().secrets().join("node.key");
    let kept = fs::read_to_string(&path).expect("readable");
    let engine = angel_storage::engine::EngineKind::Sled;
    drop(angel_storage::Store::open(&data.layout().storage(), angel_storage::Options::new(engine, "a test")));
    fs::remove_file(&path).expect("removed");
    let lost = Identity::load_or_create(data.layout(), START).expect_err("it would be another node");
    assert!(matches!(lost, SecretError::Lost { .. }) && !path.exists(), "{lost}");
    crate::secrets::create_secret(&path, &kept).expect("put back");
    assert_eq!(Identity::load_or_create(data.layout(), START).expect("read").did(), identity.did());
}

#[test]
fn a_rotation_keeps_the_old_key_for_the_overlap() {
    let (_dir, data) = data_dir();
    let old = Identity::load_or_create(data.layout(), START).expect("made");
    let rotation = rotate(data.layout(), START, 24 * HOUR).expect("rotated");
    assert_eq!(rotation.previous, *old.did());
    let new = Identity::load_or_create(data.layout(), START + 23 * HOUR).expect("read");
    assert_eq!(rotation.current, *new.did());
    assert_eq!(new.previous().iter().map(|p| p.key.did()).collect::<Vec<_>>(), [old.did().clone()]);
    let network = "home-dev".parse().expect("a network id");
    let statement = new.rotation_statement(&network).expect("the old key is valid");
    assert_eq!(statement.verify(), Ok(()));
    assert_eq!((&statement.statement.old, &statement.statement.new), (old.did(), new.did()));
    assert_eq!((statement.statement.issued_at, statement.statement.overlap_until), (START, START + 24 * HOUR));
    let later = Identity::load_or_create(data.layout(), START + 24 * HOUR).expect("read");
    assert!(later.previous().is_empty() && later.rotation_statement(&network).is_none());
    let names = fs::read_dir(data.layout().secrets()).expect("readable").count();
    assert_eq!(names, 1, "the replaced key is deleted when its time is over");
}

#[test]
fn a_rotation_cut_short_leaves_the_old_key_in_force() {
    let (_dir, data) = data_dir();
    let old = Identity::load_or_create(data.layout(), START).expect("made");
    let secrets = data.layout().secrets();
    // As after a crash between the old key's second name and the new key's taking its place.
    fs::hard_link(secrets.join("node.key"), secrets.join("previous-1800000000000-1900000000000.key")).expect("linked");
    fs::write(secrets.join("node.key.next"), "half").expect("written");
    let same = Identity::load_or_create(data.layout(), START).expect("read");
    assert_eq!(same.did(), old.did());
    assert!(same.previous().is_empty());
    rotate(data.layout(), START, HOUR).expect("goes through the next time");
}

#[test]
fn rotations_in_a_row_are_bounded() {
    let (_dir, data) = data_dir();
    Identity::load_or_create(data.layout(), START).expect("made");
    for minute in 0..4 {
        rotate(data.layout(), START + minute * Duration::from_secs(60), HOUR).expect("rotated");
    }
    let error = rotate(data.layout(), START + HOUR / 2, HOUR).expect_err("too many");
    assert!(matches!(error, RotationError::TooMany { next } if next == START + HOUR));
    rotate(data.layout(), START + HOUR, HOUR).expect("the oldest has ended");
}

#[test]
fn the_web_document_carries_the_federation_key_alone() {
    let (_dir, data) = data_dir();
    let identity = Identity::load_or_create(data.layout(), START).expect("made");
    let url = "https://angel.example.org".parse().expect("a URL");
    let document = did_web_document(identity.did(), &url).expect("a host name");
    assert_eq!(document["id"], "did:web:angel.example.org");
    assert_eq!(document["alsoKnownAs"][0], identity.did().as_str());
    assert_eq!(document["service"][0]["serviceEndpoint"], "https://angel.example.org");
    let methods = document["verificationMethod"].as_array().expect("a list");
    assert_eq!(methods.len(), 1);
    assert_eq!(methods[0]["id"], "did:web:angel.example.org#angelos_federation");
    let key: Did =
        format!("did:key:{}", methods[0]["publicKeyMultibase"].as_str().expect("text")).parse().expect("a DID");
    assert_eq!(key, *identity.did());
}

#[test]
fn hosts_without_a_name_of_their_own_have_no_web_did() {
    for url in ["https://192.0.2.1", "https://[2001:db8::1]", "http://localhost", "https://angel.example.org:8443"] {
        assert_eq!(did_web(&url.parse().expect("a URL")), None, "{url}");
    }
}

//! What an envelope proves, and what it refuses by which name.

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    text: String,
    #[serde(default)]
    numbers: Vec<u64>,
}

impl Body for Note {
    const DOMAIN: Domain = Domain::new("angel/test-note/1");

    fn check(&self, _head: &Head) -> Result<(), &'static str> {
        if self.numbers.len() > 20_000 { Err("at most 20,000 numbers") } else { Ok(()) }
    }
}

/// The same bytes for another purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OtherPurpose(Note);

impl Body for OtherPurpose {
    const DOMAIN: Domain = Domain::new("angel/test-other/1");

    fn check(&self, _head: &Head) -> Result<(), &'static str> {
        Ok(())
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn network() -> NetworkId {
    "home-dev".parse().expect("valid")
}

fn note() -> Note {
    Note { text: "good morning".to_owned(), numbers: vec![1, 2, 3] }
}

fn sealed() -> Verified<Note> {
    seal(&NodeKey::from_seed(&[1; 32]), &network(), 7, NOW, note()).expect("within bounds")
}

fn read(bytes: &[u8]) -> Result<Verified<Note>, EnvelopeError> {
    Opened::from_cbor(bytes, &network())?.verify()
}

/// An envelope with some fields replaced, properly signed when the result still has the usual form.
fn forge(change: impl FnOnce(&mut std::collections::BTreeMap<String, ipld_core::ipld::Ipld>)) -> Vec<u8> {
    let mut fields = serde_ipld_dagcbor::from_slice(sealed().bytes()).expect("decodes");
    change(&mut fields);
    serde_ipld_dagcbor::to_vec(&fields).expect("encodes")
}

#[test]
fn what_was_sealed_is_read_back() {
    let sealed = sealed();
    let read = read(sealed.bytes()).expect("verifies");
    assert_eq!((read.head(), read.body(), read.bytes()), (sealed.head(), sealed.body(), sealed.bytes()));
    assert_eq!(read.head().issuer, NodeKey::from_seed(&[1; 32]).did());
    assert_eq!(&**read.bytes(), serde_ipld_dagcbor::to_vec(&forge_identity()).expect("encodes"));
}

fn forge_identity() -> ipld_core::ipld::Ipld {
    serde_ipld_dagcbor::from_slice(sealed().bytes()).expect("decodes")
}

#[test]
fn json_and_cbor_are_one_message() {
    let sealed = sealed();
    let text = sealed.to_json().to_string();
    let read = Opened::<Note>::from_json(text.as_bytes(), &network()).and_then(Opened::verify).expect("verifies");
    assert_eq!(read.bytes(), sealed.bytes());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sealed().bytes().to_vec();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("cut off");
        assert_eq!(error, EnvelopeError::NotCanonical(CborError::Truncated), "{length} bytes");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = sealed().bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&altered).is_err(), "bit {bit}");
    }
}

#[test]
fn unknown_fields_pass_in_the_body_and_nowhere_else() {
    use ipld_core::ipld::Ipld;
    let outside = forge(|fields| {
        fields.insert("later".to_owned(), Ipld::Null);
    });
    assert!(matches!(read(&outside), Err(EnvelopeError::Field(_))));

    // A later version's body: one field more, signed by its issuer.
    #[derive(Serialize, Deserialize)]
    struct LaterNote {
        text: String,
        mood: String,
    }
    impl Body for LaterNote {
        const DOMAIN: Domain = Note::DOMAIN;
        fn check(&self, _head: &Head) -> Result<(), &'static str> {
            Ok(())
        }
    }
    let later = LaterNote { text: "hi".to_owned(), mood: "fine".to_owned() };
    let later = seal(&NodeKey::from_seed(&[1; 32]), &network(), 8, NOW, later).expect("within bounds");
    assert_eq!(read(later.bytes()).expect("verifies").body().text, "hi");
    let mut altered = later.bytes().to_vec();
    let at = altered.windows(4).position(|window| window == b"fine").expect("the unknown field is there");
    altered[at] = b'w';
    assert_eq!(read(&altered).expect_err("altered"), EnvelopeError::Signature);
}

#[test]
fn each_refusal_has_its_name() {
    use ipld_core::ipld::Ipld;
    let with = |name: &str, value: Ipld| {
        let name = name.to_owned();
        read(&forge(|fields| drop(fields.insert(name, value)))).expect_err("forged")
    };
    let without = |name: &str| read(&forge(|fields| drop(fields.remove(name)))).expect_err("forged");
    assert_eq!(with("v", Ipld::Integer(2)), EnvelopeError::Version(2));
    assert_eq!(with("v", Ipld::Integer(0)), EnvelopeError::Version(0));
    assert_eq!(with("v", Ipld::String("1".into())), EnvelopeError::Field("v"));
    assert_eq!(with("network", Ipld::String("other".into())), EnvelopeError::Network);
    assert_eq!(with("network", Ipld::String("No Name".into())), EnvelopeError::Field("network"));
    assert_eq!(with("did", Ipld::String("did:web:a.example".into())), EnvelopeError::Issuer);
    assert_eq!(with("did", Ipld::String("nonsense".into())), EnvelopeError::Field("did"));
    assert_eq!(with("seq", Ipld::Integer(-1)), EnvelopeError::Field("seq"));
    assert_eq!(with("seq", Ipld::Integer(1 << 53)), EnvelopeError::Field("seq"));
    assert_eq!(with("seq", Ipld::Integer(8)), EnvelopeError::Signature);
    assert_eq!(with("issuedAt", Ipld::Integer(1 << 60)), EnvelopeError::Field("issuedAt"));
    assert_eq!(with("issuedAt", Ipld::Integer(1)), EnvelopeError::Signature);
    assert_eq!(with("sig", Ipld::Bytes(vec![0; 64])), EnvelopeError::Signature);
    assert_eq!(with("sig", Ipld::Bytes(vec![0; 63])), EnvelopeError::Field("sig"));
    assert_eq!(with("sig", Ipld::Null), EnvelopeError::Field("sig"));
    assert!(matches!(with("body", Ipld::Null), EnvelopeError::Body(_)));
    for name in FIELDS {
        assert!(matches!(without(name), EnvelopeError::Field(_)), "{name}");
    }
    let other = Opened::<OtherPurpose>::from_cbor(sealed().bytes(), &network()).expect("the form is right");
    assert_eq!(other.verify().expect_err("signed for another purpose"), EnvelopeError::Signature);
}

#[test]
fn size_is_looked_at_first() {
    assert_eq!(read(&vec![0xff; ENVELOPE_BYTES_MAX + 1]).expect_err("too large"), EnvelopeError::TooLarge);
    let key = NodeKey::from_seed(&[1; 32]);
    let large = Note { text: "x".repeat(ENVELOPE_BYTES_MAX), numbers: vec![] };
    assert_eq!(seal(&key, &network(), 1, NOW, large).expect_err("too large"), EnvelopeError::TooLarge);
    let many = Note { text: String::new(), numbers: vec![0; 20_001] };
    assert!(matches!(seal(&key, &network(), 1, NOW, many), Err(EnvelopeError::Body(_))));
}

#[test]
fn the_clock_may_differ_by_two_minutes() {
    let opened = Opened::<Note>::from_cbor(sealed().bytes(), &network()).expect("valid");
    assert_eq!(opened.check_clock(NOW + CLOCK_TOLERANCE), Ok(()));
    assert_eq!(opened.check_clock(NOW - CLOCK_TOLERANCE), Ok(()));
    let off = CLOCK_TOLERANCE + Duration::from_millis(1);
    assert_eq!(opened.check_clock(NOW + off), Err(EnvelopeError::Clock(off)));
    assert_eq!(opened.check_clock(NOW - off), Err(EnvelopeError::Clock(off)));
}

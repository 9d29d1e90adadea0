//! Canonical bytes, judged by published vectors, by a second implementation, and by arbitrary input.

use ipld_core::ipld::Ipld;
use proptest::prelude::*;

use super::*;
use crate::data::{Cid, Codec, from_json, to_json};
use crate::interop;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn follows_the_published_vectors() {
    for case in interop::json("data-model/data-model-fixtures.json") {
        let value = from_json(&case["json"]).expect("valid");
        let base64 = case["cbor_base64"].as_str().unwrap();
        let bytes = data_encoding::BASE64_NOPAD.decode(base64.as_bytes()).unwrap();
        assert_eq!(encode(&value), bytes);
        assert_eq!(decode(&bytes), Ok(value.clone()));
        assert_eq!(Cid::of(Codec::DagCbor, &bytes).to_string(), case["cid"].as_str().unwrap());
        assert_eq!(to_json(&value), case["json"]);
    }
}

#[test]
fn sorts_keys_by_length_and_bytes() {
    let value = from_json(&serde_json::json!({"aa": 1, "b": 2, "ab": 3, "": 4, "c": 5})).expect("valid");
    assert_eq!(encode(&value), hex("a5 60 04 6162 02 6163 05 626161 01 626162 03"));
}

#[test]
fn writes_integers_in_their_shortest_form() {
    for (integer, bytes) in [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65_536, "1a00010000"),
        (4_294_967_296, "1b0000000100000000"),
        (i64::MAX, "1b7fffffffffffffff"),
        (-1, "20"),
        (-24, "37"),
        (-25, "3818"),
        (i64::MIN, "3b7fffffffffffffff"),
    ] {
        assert_eq!(encode(&Value::Integer(integer)), hex(bytes), "{integer}");
        assert_eq!(decode(&hex(bytes)), Ok(Value::Integer(integer)), "{integer}");
    }
}

#[test]
fn refuses_by_reason() {
    let cid = "0171 1220 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let cases = [
        ("", CborError::Truncated),
        ("61", CborError::Truncated),
        ("1b00", CborError::Truncated),
        ("0000", CborError::Trailing),
        ("1817", CborError::NotShortest),
        ("1900ff", CborError::NotShortest),
        ("7801 61", CborError::NotShortest),
        ("9801 00", CborError::NotShortest),
        ("5f ff", CborError::Indefinite),
        ("9f ff", CborError::Indefinite),
        ("bf ff", CborError::Indefinite),
        ("1c", CborError::Indefinite),
        ("ff", CborError::Indefinite),
        ("f90000", CborError::Float),
        ("f97e00", CborError::Float),
        ("fa7fc00000", CborError::Float),
        ("fb3ff0000000000000", CborError::Float),
        ("f7", CborError::Simple),
        ("f818", CborError::Simple),
        ("e0", CborError::Simple),
        ("1b8000000000000000", CborError::IntegerRange),
        ("3b8000000000000000", CborError::IntegerRange),
        ("61ff", CborError::Utf8),
        ("a1 00 00", CborError::KeyType),
        ("a2 6161 00 6161 00", CborError::KeyOrder),
        ("a2 6162 00 6161 00", CborError::KeyOrder),
        ("a2 626161 00 6162 00", CborError::KeyOrder),
        ("c0 6161", CborError::Tag),
        ("d82b 4100", CborError::Tag),
        ("d82a 6100", CborError::Link),
        ("d82a 40", CborError::Link),
        ("d82a 4100", CborError::Link),
        (&format!("d82a 5825 01 {cid}"), CborError::Link),
        (&format!("d82a 5824 {cid}"), CborError::Link),
        (&format!("d82a 5825 00 {}", cid.replacen("0171", "0170", 1)), CborError::Link),
        ("9a00020001", CborError::Elements),
        ("99ffff 00", CborError::Truncated),
        ("ba00010000 6161 00", CborError::Truncated),
        ("5bffffffffffffffff", CborError::Truncated),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(&hex(bytes)), Err(error), "{bytes}");
    }
    assert!(decode(&hex(&format!("d82a 5825 00 {cid}"))).is_ok());
    assert_eq!(decode(&vec![0; BLOCK_BYTES_MAX + 1]), Err(CborError::TooLong));
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| [vec![0x81; levels], vec![0x00]].concat();
    assert!(decode(&nested(DATA_DEPTH_MAX)).is_ok());
    assert_eq!(decode(&nested(DATA_DEPTH_MAX + 1)), Err(CborError::Depth));
    assert_eq!(decode(&nested(BLOCK_BYTES_MAX - 1)), Err(CborError::Depth));
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        (-30..300_i64).prop_map(Value::Integer),
        "\\PC{0,8}".prop_map(Value::String),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<[u8; 32]>().prop_map(|digest| Value::Link(Cid::from_digest(Codec::Raw, digest))),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..8).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives(value in any_value()) {
        prop_assert_eq!(length(&value), encode(&value).len());
        prop_assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn another_implementation_agrees(value in any_value()) {
        let ours = encode(&value);
        let theirs: Ipld = serde_ipld_dagcbor::from_slice(&ours).expect("canonical to them too");
        prop_assert_eq!(serde_ipld_dagcbor::to_vec(&theirs).expect("encodes"), ours);
    }

    #[test]
    fn accepted_bytes_encode_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }

    #[test]
    fn an_outline_judges_as_decoding_does(value in any_value(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&value);
        let named = !crate::data::blob_refs(&value).is_empty();
        let whole = outline(&bytes).expect("canonical");
        prop_assert_eq!(whole.is_map, value.as_map().is_some());
        prop_assert!(whole.may_name_blobs || !named);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        prop_assert_eq!(outline(&bytes).err(), decode(&bytes).err());
    }

    #[test]
    fn altered_bytes_are_refused_or_encode_to_themselves(value in any_value(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&value);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }
}

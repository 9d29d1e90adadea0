//! Values of the data model, and everything that is parsed from text or a token.

use bolero::check;

use super::bend::bend;
use crate::data::{cbor, record_from_json, to_json};
use crate::did_document::DidDocument;
use crate::firehose::Frame;
use crate::ids::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, RepoPath, Tid};
use crate::plc::{PlcLog, PlcOperation};

const RECORD: &str = r#"{"$type":"com.example.thing","text":"péage","n":-7,"big":9007199254740991,"flag":true,"none":null,
    "list":[1,[2,[3]],{"a":{}}],"link":{"$link":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"},
    "bytes":{"$bytes":"AAECAw"},"blob":{"$type":"blob","mimeType":"image/png","size":10,
    "ref":{"$link":"bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"}}}"#;

#[test]
fn what_is_read_as_cbor_is_written_as_the_same_bytes() {
    let json = serde_json::from_str(RECORD).expect("JSON");
    let valid = cbor::encode(&record_from_json(&json).expect("a record"));
    check!().for_each(|input: &[u8]| {
        for bytes in [bend(&valid, input), input.to_vec()] {
            if let Ok(value) = cbor::decode(&bytes) {
                assert_eq!(cbor::encode(&value), bytes);
            }
        }
    });
}

#[test]
fn what_is_read_from_json_survives_both_encodings() {
    check!().for_each(|input: &[u8]| {
        let Ok(json) = serde_json::from_slice(&bend(RECORD.as_bytes(), input)) else { return };
        if let Ok(value) = record_from_json(&json) {
            assert_eq!(cbor::decode(&cbor::encode(&value)).as_ref(), Ok(&value));
            assert_eq!(record_from_json(&to_json(&value)), Ok(value));
        }
    });
}

#[test]
fn identifiers_are_written_as_they_were_read() {
    const VALID: &[&str] = &[
        "did:plc:yk4dd2qkboz2yv6tpubpc6co",
        "did:web:a.example",
        "alice.example.org",
        "com.example.feed.post",
        "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/com.example.feed.post/3kznmn7xqxl22",
        "3kznmn7xqxl22",
        "2026-11-21T09:00:00.000Z",
        "de-CH-1996",
    ];
    fn same<T: std::str::FromStr + ToString>(text: &str) {
        if let Ok(read) = text.parse::<T>() {
            assert_eq!(read.to_string(), text);
        }
    }
    check!().for_each(|input: &[u8]| {
        let Some((which, input)) = input.split_first() else { return };
        let bent = bend(VALID[usize::from(*which) % VALID.len()].as_bytes(), input);
        let text = String::from_utf8_lossy(&bent);
        same::<Did>(&text);
        same::<Nsid>(&text);
        same::<RecordKey>(&text);
        same::<RepoPath>(&text);
        same::<Tid>(&text);
        same::<Datetime>(&text);
        same::<Language>(&text);
        // Handles are folded to lower case, so these agree with themselves alone.
        for read in [
            text.parse::<Handle>().map(|read| read.to_string()).ok(),
            text.parse::<AtUri>().map(|read| read.to_string()).ok(),
            text.parse::<AtIdentifier>().map(|read| read.to_string()).ok(),
        ]
        .into_iter()
        .flatten()
        {
            assert!(read.eq_ignore_ascii_case(&text), "{read} from {text}");
        }
    });
}

#[test]
fn documents_and_operations_are_read_or_refused() {
    const DOCUMENT: &str = r##"{"id":"did:plc:yk4dd2qkboz2yv6tpubpc6co","alsoKnownAs":["at://a.example"],"verificationMethod":[{"id":"#atproto",
        "type":"Multikey","controller":"did:plc:yk4dd2qkboz2yv6tpubpc6co","publicKeyMultibase":"zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}],
        "service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://a.example"}]}"##;
    const OPERATION: &str = r#"{"type":"plc_operation","prev":null,"sig":"AAAA","rotationKeys":["did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"],
        "verificationMethods":{"atproto":"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"},"alsoKnownAs":["at://a.example"],
        "services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":"https://a.example"}}}"#;
    check!().for_each(|input: &[u8]| {
        if let Ok(json) = serde_json::from_slice(&bend(DOCUMENT.as_bytes(), input))
            && let Ok(document) = DidDocument::from_json(&json)
        {
            assert_eq!(DidDocument::from_json(&document.to_json()), Ok(document));
        }
        if let Ok(json) = serde_json::from_slice(&bend(OPERATION.as_bytes(), input))
            && let Ok(operation) = PlcOperation::from_json(&json)
        {
            assert_eq!(
                PlcOperation::from_json(&operation.to_json()).map(|again| again.to_bytes()),
                Ok(operation.to_bytes())
            );
            // Nobody signed it.
            assert!(PlcLog::create(operation, crate::time::Timestamp::EPOCH).is_err());
        }
    });
}

#[test]
fn frames_of_the_event_stream_are_read_or_refused() {
    let valid = crate::firehose::info_frame("OutdatedCursor", "some events are gone");
    check!().for_each(|input: &[u8]| {
        drop(Frame::decode(&bend(&valid, input)));
    });
}

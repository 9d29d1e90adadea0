//! Private data that somebody else made: files, commits, tokens, signed requests, notices.

use bolero::check;

use super::bend::bend;
use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
use crate::data::{Block, Codec, Value, cbor};
use crate::ids::{Did, Tid};
use crate::permissioned::wire::car::{self, Found, IndexWriter, RepoCarReader};
use crate::permissioned::wire::commit::SignedCommit;
use crate::permissioned::wire::notice::WriteNotice;
use crate::permissioned::wire::request::{SignedHeaders, sign, verify_exchange, verify_presentation};
use crate::permissioned::wire::token::{AuthorityKey, Claims, Kind, SignedToken, Token};
use crate::permissioned::{SetHash, SpaceRecordUri, SpaceUri};

const SPACE: &str = "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self";

const AUTHOR: &str = "did:plc:z72i7hdynmk6r22z27h6tvur";

fn key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn space() -> SpaceUri {
    SPACE.parse().expect("a space")
}

fn author() -> Did {
    AUTHOR.parse().expect("a DID")
}

/// The file of a repository with some records.
fn file() -> Vec<u8> {
    let records: Vec<_> = (0..30)
        .map(|n| {
            let record = Block::new(Codec::DagCbor, cbor::encode(&Value::String(format!("record {n}"))));
            (format!("com.example.post/{n:03}"), record)
        })
        .collect();
    let (mut hash, mut index) = (SetHash::default(), Vec::new());
    let mut writer = IndexWriter::begin(records.len() as u64, &mut index);
    for (path, record) in &records {
        hash.add(path, record.cid());
        writer.entry(path, record.cid(), &mut index);
    }
    let (cid, bytes) = writer.finish();
    let commit = SignedCommit::sign(&space(), &author(), Tid::new(7, 7), hash.digest(), [5; 32], &key());
    let mut file = Vec::new();
    car::write_start(&mut file, &commit.to_block(), cid, bytes);
    file.extend_from_slice(&index);
    records.iter().for_each(|(_, record)| car::write_record(&mut file, record.cid(), record.bytes()));
    file
}

fn read(file: &[u8], piece: usize) -> Result<Vec<Found>, car::RepoCarError> {
    let mut reader = RepoCarReader::default();
    let mut found = Vec::new();
    for mut piece in file.chunks(piece) {
        while let Some(next) = reader.read(&mut piece)? {
            found.push(next);
        }
    }
    reader.finish().map(|()| found)
}

#[test]
fn a_bent_repository_is_refused_or_is_the_authors() {
    let valid = file();
    let whole = read(&valid, 64).expect("a repository");
    let paths = |found: &[Found]| {
        let path = |found: &Found| if let Found::Entry(path, cid) = found { Some((path.clone(), *cid)) } else { None };
        found.iter().filter_map(path).collect::<Vec<_>>()
    };
    check!().for_each(|input: &[u8]| {
        let bent = bend(&valid, input);
        let (once, pieces) = (read(&bent, bent.len().max(1)), read(&bent, 61));
        assert_eq!(once, pieces, "read alike in one piece and in many");
        let Ok(found) = once else { return };
        let Some(Found::Commit(commit)) = found.first() else { panic!("a whole file has a commit") };
        if commit.verify(&space(), &author(), key().public()).is_ok() {
            // The MAC is no secret: another digest can be committed to, but only by who rewrites the commit on purpose.
            assert_eq!(paths(&found), paths(&whole));
        }
    });
}

#[test]
fn a_bent_commit_is_refused_or_says_the_same() {
    let commit = SignedCommit::sign(&space(), &author(), Tid::new(7, 7), [9; 32], [5; 32], &key());
    let valid = commit.to_block().bytes().to_vec();
    check!().for_each(|input: &[u8]| {
        if let Ok(read) = SignedCommit::from_bytes(&bend(&valid, input))
            && read.verify(&space(), &author(), key().public()).is_ok()
        {
            assert_eq!(read, commit);
        }
    });
}

#[test]
fn bent_tokens_and_requests_are_refused_or_say_the_same() {
    let holder = || P256Key::from_bytes(&[1; 32]).expect("a scalar");
    let token = Token {
        claims: Claims::Credential {
            space: space(),
            key: SigningKey::from(holder()).did(),
            signed_by: AuthorityKey::Account,
        },
        issued_at: 1_700_000_000,
        expires_at: 1_700_000_600,
        nonce: "0123456789abcdef".to_owned(),
    };
    let text = token.sign(&key());
    let authorization = format!("Atproto-Space {text}");
    let bound = SigningKey::from(holder()).did();
    let presented = sign(holder(), &authorization, Some(&author()));
    let exchanged = sign(holder(), &authorization, None);
    check!().for_each(|input: &[u8]| {
        let bent = String::from_utf8_lossy(&bend(text.as_bytes(), input)).into_owned();
        if let Ok(read) = SignedToken::read(Kind::Credential, &bent)
            && read.verify(key().public()).is_ok()
        {
            assert_eq!(read.token, token);
        }
        for (signature, is_exchange) in [(&presented, false), (&exchanged, true)] {
            let part = |valid: &str, input: &[u8]| String::from_utf8_lossy(&bend(valid.as_bytes(), input)).into_owned();
            let (first, second) = input.split_at(input.len() / 2);
            let (signed_input, bytes) = (part(&signature.input, first), part(&signature.signature, second));
            let headers = SignedHeaders {
                authorization: vec![&authorization],
                audience: vec![AUTHOR],
                signature_input: vec![&signed_input],
                signature: vec![&bytes],
            };
            if is_exchange {
                if let Ok(named) = verify_exchange(&headers) {
                    assert_eq!(named, bound);
                }
            } else if let Ok(audience) = verify_presentation(&headers, &bound) {
                assert_eq!(audience, author().as_str());
            }
        }
    });
}

#[test]
fn names_and_notices_are_written_as_they_were_read() {
    let record = format!("{SPACE}/{}/com.example.post/3kznmn7xqxl22", author());
    let notice = WriteNotice {
        space: space(),
        repo: author(),
        repo_rev: Tid::new(7, 7),
        hash: [1; 32],
        space_rev: Some(Tid::new(8, 7)),
        prev_space_rev: None,
    }
    .to_json();
    check!().for_each(|input: &[u8]| {
        let text = |valid: &str| String::from_utf8_lossy(&bend(valid.as_bytes(), input)).into_owned();
        let bent = text(SPACE);
        if let Ok(read) = bent.parse::<SpaceUri>() {
            assert_eq!(read.to_string(), bent);
        }
        let bent = text(&record);
        if let Ok(read) = bent.parse::<SpaceRecordUri>() {
            assert_eq!(read.to_string(), bent);
        }
        if let Ok(read) = serde_json::from_str::<WriteNotice>(&text(&notice)) {
            assert_eq!(serde_json::from_str::<WriteNotice>(&read.to_json()).expect("its own"), read);
        }
    });
}

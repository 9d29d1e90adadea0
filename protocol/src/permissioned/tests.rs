//! What holds across the parts of a permissioned repository.

use proptest::prelude::*;

use super::repo::{AdvanceError, Agreement};
use super::wire::commit::{CommitRefusal, SignedCommit};
use super::{Head, Op, SpaceUri};
use crate::crypto::{P256Key, Secp256k1Key, SigningKey};
use crate::data::{Cid, Codec, from_json, to_json};
use crate::ids::{Did, Tid};

fn space() -> SpaceUri {
    "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space")
}

fn author() -> Did {
    "did:plc:z72i7hdynmk6r22z27h6tvur".parse().expect("a DID")
}

fn keys() -> [SigningKey; 2] {
    [
        Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into(),
        P256Key::from_bytes(&[7; 32]).expect("a scalar").into(),
    ]
}

fn rev(n: u64) -> Tid {
    Tid::new(1_700_000_000_000_000 + n, 5)
}

fn op(name: &str, prev: Option<u8>, cid: Option<u8>) -> Op {
    let of = |n: u8| Cid::of(Codec::DagCbor, &[n]);
    Op { path: format!("com.example.post/{name}").parse().expect("a path"), cid: cid.map(of), prev: prev.map(of) }
}

#[test]
fn a_commit_convinces_its_reader_and_nobody_else() {
    for key in keys() {
        let hash = [9; 32];
        let commit = SignedCommit::sign(&space(), &author(), rev(1), hash, [3; 32], &key);
        assert_eq!(commit.verify(&space(), &author(), key.public()), Ok(()));
        // Whoever holds the commit can make it say something else: it is no proof of what was written.
        let forged = SignedCommit::sign(&space(), &author(), rev(1), [8; 32], [3; 32], &key);
        assert_eq!((forged.sig, forged.ikm), (commit.sig, commit.ikm));
        assert_ne!(forged.mac, commit.mac);
        // A new reader gets a commit that shares nothing with the first but what it says.
        let other = SignedCommit::sign(&space(), &author(), rev(1), hash, [4; 32], &key);
        assert!(other.sig != commit.sig && other.mac != commit.mac && other.hash == commit.hash);
    }
}

#[test]
fn a_commit_counts_for_its_space_author_revision_and_digest_alone() {
    let [key, stranger] = keys();
    let commit = SignedCommit::sign(&space(), &author(), rev(1), [9; 32], [3; 32], &key);
    let other: SpaceUri = space().to_string().replace("self", "other").parse().expect("a space");
    assert_eq!(commit.verify(&space(), &author(), stranger.public()), Err(CommitRefusal::Signature));
    assert_eq!(commit.verify(&other, &author(), key.public()), Err(CommitRefusal::Mac));
    assert_eq!(commit.verify(&space(), &space().authority, key.public()), Err(CommitRefusal::Mac));
    let mut changed = commit.clone();
    changed.hash = [8; 32];
    assert_eq!(changed.verify(&space(), &author(), key.public()), Err(CommitRefusal::Mac));
    let mut changed = commit;
    changed.rev = rev(2);
    assert_eq!(changed.verify(&space(), &author(), key.public()), Err(CommitRefusal::Mac));
}

#[test]
fn a_commit_survives_both_encodings() {
    let [key, _] = keys();
    let commit = SignedCommit::sign(&space(), &author(), rev(1), [9; 32], [3; 32], &key);
    assert_eq!(SignedCommit::from_bytes(commit.to_block().bytes()).as_ref(), Ok(&commit));
    let json = to_json(&commit.to_value());
    assert_eq!(json["ver"], 1);
    let value = from_json(&json).expect("a value");
    assert_eq!(SignedCommit::from_value(&value).as_ref(), Ok(&commit));
    let mut wrong = commit.to_block().bytes().to_vec();
    let at = wrong.windows(3).position(|window| window == b"ver").expect("there is a version") + 3;
    wrong[at] = 2;
    assert_eq!(SignedCommit::from_bytes(&wrong), Err(CommitRefusal::Version(2)));
}

#[test]
fn a_head_goes_on_by_operations_and_never_back() {
    let mut head = Head::empty();
    head.advance(rev(1), &[op("a", None, Some(1)), op("b", None, Some(2))]).expect("it follows");
    head.advance(rev(2), &[op("a", Some(1), Some(3)), op("b", Some(2), None)]).expect("it follows");
    let mut direct = Head::empty();
    direct.advance(rev(2), &[op("a", None, Some(3))]).expect("it follows");
    assert_eq!(head, direct);
    assert_eq!(head.records, 1);
    assert_eq!(head.advance(rev(2), &[]), Err(AdvanceError::Revision { rev: rev(2), head: rev(2) }));
    let both = [op("a", Some(3), None), op("b", Some(2), None)];
    assert_eq!(head.advance(rev(3), &both), Err(AdvanceError::Underflow));
    assert_eq!(head, direct, "what failed changed nothing");
}

proptest! {
    #[test]
    fn a_copy_that_missed_an_operation_is_told_from_the_original(
        names in proptest::collection::btree_set("[a-z]{1,5}", 1..10),
        missed in any::<prop::sample::Index>(),
    ) {
        let [key, _] = keys();
        let (mut original, mut copy) = (Head::empty(), Head::empty());
        let missed = missed.index(names.len());
        for (n, name) in names.iter().enumerate() {
            let ops = [op(name, None, Some(1))];
            original.advance(rev(n as u64), &ops).expect("it follows");
            if n != missed {
                copy.advance(rev(n as u64), &ops).expect("it follows");
            }
        }
        let commit =
            SignedCommit::sign(&space(), &author(), original.rev, original.hash.digest(), [0; 32], &key);
        prop_assert_eq!(original.agrees(&commit), Agreement::Same);
        prop_assert_eq!(copy.agrees(&commit), Agreement::Diverged);
    }
}

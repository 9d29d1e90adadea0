//! Commits from the write to the reader's belief, and every way to break one on the way.

mod exports;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::mst::{Change, InvalidMstKey, Mst, MstError, MstKey, Step, Steps, Walk, WalkItem};
use super::*;
use crate::crypto::{BadSignature, P256Key, Secp256k1Key, SigningKey};
use crate::data::{Block, Cid, Codec, Value, cbor};
use crate::ids::{Did, RepoPath, Tid};
use crate::interop;
use crate::limits::{BLOCK_BYTES_MAX, COMMIT_WRITES_MAX};
use crate::repo::car::{CarError, CarLimits};

fn signing_key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn did() -> Did {
    "did:plc:yk4dd2qkboz2yv6tpubpc6co".parse().expect("valid")
}

fn rev(n: u64) -> Tid {
    Tid::new(1_700_000_000_000_000 + n, 1)
}

fn path(n: impl std::fmt::Display) -> RepoPath {
    format!("com.example.post/{n}").parse().expect("valid")
}

fn record(text: &str) -> Block {
    Block::new(Codec::DagCbor, cbor::encode(&Value::String(text.to_owned())))
}

/// A repository and its blocks, as storage would keep them.
#[derive(Clone)]
struct Host {
    repository: Repository,
    blocks: MemoryBlocks,
    records: BTreeMap<Cid, usize>,
}

impl Host {
    fn new() -> Self {
        let first = Repository::create(did(), rev(0), &signing_key());
        let blocks = first.blocks().collect();
        Self { repository: first.repository, blocks, records: BTreeMap::new() }
    }

    fn filled(count: u64) -> Self {
        let mut host = Self::new();
        for n in 0..count {
            host.write(vec![Write::Create { path: path(n), record: record(&n.to_string()) }], n + 1);
        }
        host
    }

    fn write(&mut self, writes: Vec<Write>, n: u64) -> NewCommit {
        let commit = self.repository.write(&self.blocks, writes, rev(n), &signing_key()).expect("possible");
        self.store(&commit);
        commit
    }

    fn store(&mut self, commit: &NewCommit) {
        self.blocks.extend(commit.blocks());
        commit.removed.iter().for_each(|cid| self.blocks.remove(cid));
        for change in &commit.changes {
            if let Some(after) = change.after {
                *self.records.entry(after).or_default() += 1;
            }
            if let Some(before) = change.before {
                let count = self.records.get_mut(&before).expect("counted when it came");
                *count -= 1;
                if *count == 0 {
                    self.records.remove(&before);
                    self.blocks.remove(&before);
                }
            }
        }
        self.repository = commit.repository.clone();
    }

    /// Nothing is missing and nothing is left over.
    fn assert_whole(&self) {
        let mut needed = MemoryBlocks::default();
        needed.insert(self.repository.head().block());
        for item in Walk::new(&self.blocks, self.repository.head().data()) {
            match item.expect("a sound tree") {
                WalkItem::Node(node) => needed.insert(&node),
                WalkItem::Record(_, cid) => needed.insert(&self.blocks.block(&cid).expect("stored")),
            }
        }
        assert_eq!(needed, self.blocks);
    }
}

fn message<'a>(commit: &'a NewCommit, car: &'a [u8]) -> CommitMessage<'a> {
    let head = commit.repository.head();
    CommitMessage {
        repo: head.did(),
        commit: head.cid(),
        rev: head.rev(),
        since: commit.since,
        prev_data: commit.prev_data,
        changes: &commit.changes,
        car,
    }
}

fn verify(commit: &NewCommit) -> Result<VerifiedCommit, VerifyError> {
    verify_commit(message(commit, &commit.car()), signing_key().public())
}

#[test]
fn writes_to_one_path_come_to_one_change() {
    let mut host = Host::filled(20);
    let before = host.clone();
    let commit = host.write(
        vec![
            Write::Create { path: path("a"), record: record("1") },
            Write::Update { path: path("a"), record: record("2") },
            Write::Create { path: path("b"), record: record("gone") },
            Write::Delete { path: path("b") },
            Write::Delete { path: path(3) },
            Write::Create { path: path(3), record: record("new 3") },
            Write::Update { path: path(4), record: record("gone") },
            Write::Update { path: path(4), record: record("4") },
            Write::Update { path: path(5), record: record("gone") },
            Write::Delete { path: path(5) },
        ],
        100,
    );
    let change = |n: &str, before: Option<&str>, after: Option<&str>| Change {
        key: MstKey::try_from(&path(n)).expect("a key"),
        before: before.map(|text| record(text).cid()),
        after: after.map(|text| record(text).cid()),
    };
    let expected = [change("3", Some("3"), Some("new 3")), change("5", Some("5"), None), change("a", None, Some("2"))];
    assert_eq!(commit.changes, expected);
    assert_eq!(commit.records.len(), 2);
    assert_eq!((commit.since, commit.prev_data), (Some(rev(20)), Some(before.repository.head().data())));
    host.assert_whole();
    verify(&commit).expect("it holds together");
}

#[test]
fn a_record_under_two_paths_is_kept_until_both_are_gone() {
    let mut host = Host::new();
    host.write(vec![Write::Create { path: path("a"), record: record("same") }], 1);
    host.write(vec![Write::Create { path: path("b"), record: record("same") }], 2);
    host.assert_whole();
    host.write(vec![Write::Delete { path: path("a") }], 3);
    host.assert_whole();
    assert!(host.blocks.contains(&record("same").cid()));
    host.write(vec![Write::Delete { path: path("b") }], 4);
    host.assert_whole();
    assert_eq!(host.blocks.len(), 2, "the commit and the empty tree");
}

#[test]
fn writes_that_are_not_possible_change_nothing() {
    let host = Host::filled(3);
    let write = |writes: Vec<Write>, n: u64| {
        host.repository.write(&host.blocks, writes, rev(n), &signing_key()).expect_err("not possible")
    };
    let create = |n: &str| Write::Create { path: path(n), record: record("x") };
    assert!(matches!(write(vec![create("9"), create("1")], 9), WriteError::Tree(MstError::Exists(_))));
    assert!(matches!(write(vec![Write::Delete { path: path(9) }], 9), WriteError::Tree(MstError::NotFound(_))));
    let update = Write::Update { path: path(9), record: record("x") };
    assert!(matches!(write(vec![update], 9), WriteError::Tree(MstError::NotFound(_))));
    assert!(matches!(write(vec![], 3), WriteError::RevNotNewer { .. }));
    assert!(matches!(write(vec![create("9"); COMMIT_WRITES_MAX + 1], 9), WriteError::TooManyWrites));
    let large = Write::Create { path: path(9), record: record(&"x".repeat(BLOCK_BYTES_MAX)) };
    assert!(matches!(write(vec![large], 9), WriteError::RecordTooLarge(_)));
    let half = |n: u32| Write::Create { path: path(n), record: record(&n.to_string().repeat(BLOCK_BYTES_MAX / 2 - 8)) };
    assert!(matches!(write(vec![half(10), half(11), half(12), half(13)], 9), WriteError::TooLarge(_)));
    host.assert_whole();
}

#[test]
fn a_commit_without_writes_signs_the_tree_anew() {
    let mut host = Host::filled(5);
    let before = host.repository.head().clone();
    let commit = host.write(vec![], 9);
    assert_eq!((commit.nodes.len(), commit.removed.as_slice()), (0, [before.cid()].as_slice()));
    assert_eq!(host.repository.head().data(), before.data());
    verify(&commit).expect("it holds together");
    host.assert_whole();
}

#[test]
fn the_first_commit_verifies() {
    let first = Repository::create(did(), rev(0), &signing_key());
    verify(&first).expect("it holds together");
}

#[test]
fn a_follower_arrives_where_the_host_is() {
    let mut host = Host::new();
    let mut follower = host.clone();
    for n in 0..60 {
        let mut writes = vec![Write::Create { path: path(n), record: record(&n.to_string()) }];
        if n % 3 == 2 {
            writes.push(Write::Delete { path: path(n - 1) });
            writes.push(Write::Update { path: path(n - 2), record: record("updated") });
        }
        let commit = host.write(writes, n + 1);
        let verified = verify(&commit).expect("it holds together");
        let next = follower.repository.follow(&follower.blocks, verified).expect("the next one");
        assert_eq!(next.nodes, commit.nodes);
        assert_eq!(next.removed, commit.removed);
        assert_eq!(next.car().len(), commit.car().len());
        follower.store(&next);
        follower.assert_whole();
        if n % 7 == 0 {
            follower.repository = Repository::open(follower.repository.head().clone());
        }
    }
    assert_eq!(follower.blocks, host.blocks);
}

#[test]
fn a_follower_tells_what_does_not_follow() {
    let mut host = Host::filled(5);
    let follower = host.clone();
    let create = |n: u64| vec![Write::Create { path: path(n), record: record("x") }];
    let one = host.write(create(10), 10);
    let two = host.write(create(11), 11);
    let verified = |commit: &NewCommit| verify(commit).expect("it holds together");
    let gap = follower.repository.follow(&follower.blocks, verified(&two));
    assert!(matches!(gap, Err(FollowError::Gap { since: Some(since), .. }) if since == rev(10)));
    let known = host.repository.follow(&host.blocks, verified(&one));
    assert!(matches!(known, Err(FollowError::Known(known)) if known == rev(10)));
    // Another history with the same revision before: a fork.
    let mut fork = Host::filled(4);
    fork.write(create(99), 5);
    let forked = fork.write(create(10), 10);
    let refused = follower.repository.follow(&follower.blocks, verified(&forked));
    assert!(matches!(refused, Err(FollowError::Gap { .. })));
    let other = Repository::create("did:plc:other".parse().expect("valid"), rev(50), &signing_key());
    let refused = follower.repository.follow(&follower.blocks, verified(&other));
    assert!(matches!(refused, Err(FollowError::OtherAccount(_))));
}

#[test]
fn a_message_that_does_not_hold_together_is_refused_by_reason() {
    let mut host = Host::filled(40);
    let commit =
        host.write(vec![Write::Create { path: path("a"), record: record("a") }, Write::Delete { path: path(7) }], 99);
    let car = commit.car();
    let key = signing_key().public();
    let good = message(&commit, &car);
    let refused = |message: CommitMessage<'_>| verify_commit(message, key).expect_err("not sound");
    verify_commit(good, key).expect("it holds together");

    let other: Did = "did:plc:other".parse().expect("valid");
    assert!(matches!(refused(CommitMessage { repo: &other, ..good }), VerifyError::OtherAccount { .. }));
    assert!(matches!(refused(CommitMessage { rev: rev(100), ..good }), VerifyError::OtherRev { .. }));
    assert!(matches!(refused(CommitMessage { since: Some(rev(99)), ..good }), VerifyError::RevNotNewer { .. }));
    let elsewhere = record("a").cid();
    assert!(matches!(refused(CommitMessage { commit: elsewhere, ..good }), VerifyError::NoCommit));
    assert!(matches!(refused(CommitMessage { prev_data: Some(elsewhere), ..good }), VerifyError::OtherPrevData { .. }));
    assert!(matches!(refused(CommitMessage { prev_data: None, ..good }), VerifyError::NoPrevData));
    let none = CommitMessage { prev_data: None, since: None, ..good };
    assert!(matches!(refused(none), VerifyError::OtherPrevData { .. }));
    assert!(matches!(
        refused(CommitMessage { car: &car[..car.len() - 1], ..good }),
        VerifyError::Car(CarError::Truncated)
    ));

    let stranger = SigningKey::from(P256Key::from_bytes(&[9; 32]).expect("a scalar"));
    let by_stranger = verify_commit(good, stranger.public());
    assert!(matches!(by_stranger, Err(VerifyError::Signature(BadSignature))));

    let with = |edit: &dyn Fn(&mut Vec<Change>)| {
        let mut changes = commit.changes.clone();
        edit(&mut changes);
        refused(CommitMessage { changes: &changes, ..good })
    };
    assert!(matches!(with(&|changes| drop(changes.pop())), VerifyError::OtherPrevData { .. }));
    assert!(matches!(with(&|changes| changes.push(changes[0].clone())), VerifyError::Repeated(_)));
    assert!(matches!(with(&|changes| changes[0].before = None), VerifyError::NoChange(_)));
    assert!(matches!(with(&|changes| changes[0].before = Some(elsewhere)), VerifyError::OtherPrevData { .. }));
    assert!(matches!(
        with(&|changes| changes[1].after = Some(good.commit)),
        VerifyError::Tree(MstError::OtherValue(_))
    ));
    let unknown = |changes: &mut Vec<Change>| changes[1].after = Some(record("unknown").cid());
    assert!(matches!(with(&unknown), VerifyError::MissingRecord(_)));
    let many = |changes: &mut Vec<Change>| *changes = vec![changes[0].clone(); COMMIT_WRITES_MAX + 1];
    assert!(matches!(with(&many), VerifyError::TooManyChanges));

    // Every block is needed.
    let limits = CarLimits { bytes_max: 1 << 20, blocks_max: 1000 };
    let (roots, blocks) = car::decode(&car, limits).expect("sound");
    for left_out in 0..blocks.len() {
        let rest = blocks.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, block)| block);
        let short = car::encode(roots[0], rest);
        let error = refused(CommitMessage { car: &short, ..good });
        let named = match blocks[left_out].cid() {
            cid if cid == good.commit => matches!(error, VerifyError::NoCommit),
            cid if cid == record("a").cid() => matches!(error, VerifyError::MissingRecord(_)),
            _ => matches!(error, VerifyError::Tree(MstError::MissingBlock(_))),
        };
        assert!(named, "{error}");
    }
}

#[test]
fn a_sync_message_tells_where_a_repository_is() {
    let host = Host::filled(3);
    let head = host.repository.head();
    let (did, car, key) = (did(), head.car(), signing_key().public());
    assert_eq!(verify_sync(&did, head.rev(), &car, key).expect("sound"), *head);
    let stranger = SigningKey::from(P256Key::from_bytes(&[9; 32]).expect("a scalar")).public();
    let other: Did = "did:plc:other".parse().expect("valid");
    let empty = car::encode(head.cid(), []);
    assert!(matches!(verify_sync(&other, head.rev(), &car, key), Err(VerifyError::OtherAccount { .. })));
    assert!(matches!(verify_sync(&did, rev(9), &car, key), Err(VerifyError::OtherRev { .. })));
    assert!(matches!(verify_sync(&did, head.rev(), &empty, key), Err(VerifyError::NoCommit)));
    assert!(matches!(verify_sync(&did, head.rev(), &car, stranger), Err(VerifyError::Signature(_))));
}

#[test]
fn a_key_made_to_be_tall_is_refused_with_its_name() {
    // Such a key cannot be found here; the error that names it can be formed.
    let error = WriteError::Key { path: path(1), reason: InvalidMstKey::TooTall };
    assert_eq!(error.to_string(), "com.example.post/1 cannot be a key: the key lies more than 32 layers up");
}

#[test]
fn follows_the_published_proofs() {
    for case in interop::json("firehose/commit-proof-fixtures.json") {
        let text = |field: &str| case[field].as_str().expect("a string");
        let list = |field: &str| -> Vec<String> {
            case[field]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| item.as_str().expect("a string").to_owned())
                .collect()
        };
        let keys =
            |field: &str| list(field).iter().map(|key| key.parse::<MstKey>().expect("a key")).collect::<Vec<_>>();
        let leaf: Cid = text("leafValue").parse().expect("a CID");
        let mut tree = Mst::empty();
        let mut blocks = MemoryBlocks::default();
        for key in keys("keys") {
            tree.add(&blocks, &key, leaf).expect("new");
        }
        let before = tree.commit();
        blocks.extend(&before.new);
        assert_eq!(before.root.to_string(), text("rootBeforeCommit"), "{}", case["comment"]);
        let mut changes = Vec::new();
        for key in keys("adds") {
            tree.add(&blocks, &key, leaf).expect("new");
            changes.push(Change { key, before: None, after: Some(leaf) });
        }
        for key in keys("dels") {
            tree.delete(&blocks, &key).expect("there");
            changes.push(Change { key, before: Some(leaf), after: None });
        }
        let after = tree.commit();
        assert_eq!(after.root.to_string(), text("rootAfterCommit"), "{}", case["comment"]);
        let proof = tree.covering_proof(&blocks, &changes).expect("whole");
        let ours: std::collections::BTreeSet<_> = proof.iter().map(|block| block.cid().to_string()).collect();
        assert_eq!(ours, list("blocksInProof").into_iter().collect(), "{}", case["comment"]);
        let proof: MemoryBlocks = proof.iter().collect();
        let mut undone = Mst::open(after.root);
        undone.undo(&proof, &changes).expect("the proof suffices");
        assert_eq!(undone.commit().root, before.root);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_commit_verifies_and_needs_no_certain_order(
        count in 0..120_u64,
        writes in prop::collection::vec((0..160_u64, 0..4_u8), 0..24),
        seed: u64,
    ) {
        let mut host = Host::filled(count);
        let mut there: std::collections::BTreeSet<u64> = (0..count).collect();
        let writes = writes.into_iter().map(|(n, what)| match (there.contains(&n), what) {
            (true, 0 | 1) => { there.remove(&n); Write::Delete { path: path(n) } }
            (true, _) => Write::Update { path: path(n), record: record(&format!("{n}.{what}")) },
            (false, _) => { there.insert(n); Write::Create { path: path(n), record: record(&format!("{n}.{what}")) } }
        }).collect();
        let before = host.repository.head().data();
        let commit = host.write(writes, 1000);
        host.assert_whole();
        verify(&commit).expect("it holds together");
        // Others undo in an order of their own.
        let sent: MemoryBlocks = commit.proof.iter().chain(&commit.nodes).collect();
        let mut changes = commit.changes.clone();
        changes.sort_by_key(|change| Cid::of(Codec::Raw, format!("{seed}{}", change.key).as_bytes()));
        let mut tree = Mst::open(commit.repository.head().data());
        tree.undo(&sent, &changes).expect("the proof suffices in any order");
        prop_assert_eq!(tree.commit().root, before);
    }
}

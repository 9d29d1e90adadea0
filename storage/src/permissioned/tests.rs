//! Rows go in and come out as they were, in the order that readers rely on.

use angel_protocol::data::{Block, Cid, Codec};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::{Head, Member, Op, SpaceConfig, SpaceUri};
use angel_protocol::time::Timestamp;

use super::*;
use crate::batch::Batch;
use crate::store::Store;

const ADA: AccountId = AccountId(1);

fn space_uri() -> SpaceUri {
    "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space")
}

fn key() -> RepoKey {
    RepoKey { account: ADA, space: space_uri().digest() }
}

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().expect("a DID")
}

fn rev(n: u64) -> Tid {
    Tid::new(1_700_000_000_000_000 + n, 5)
}

fn commit(store: &Store, stage: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    stage(&mut batch);
    store.writer().commit(batch).expect("written");
}

#[test]
fn records_of_any_size_are_read_by_path_and_indexed_by_length() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let large = Block::new(Codec::DagCbor, vec![7; 40_000]);
    let small = Block::new(Codec::DagCbor, vec![8; 10]);
    commit(&store, |batch| {
        put_record(batch, key(), "com.example.post/long", rev(1), &large, None).expect("fits");
        put_record(batch, key(), "com.example.post/b", rev(1), &small, None).expect("fits");
        put_record(batch, key(), "com.example.a/longer", rev(1), &small, None).expect("fits");
    });
    let found = record(reader, key(), "com.example.post/long").expect("reads").expect("there");
    assert_eq!((found.cid, found.rev, found.bytes.len()), (large.cid(), rev(1), 40_000));

    let paths: Vec<_> = index(reader, key(), None, 10).expect("reads").into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["com.example.post/b", "com.example.a/longer", "com.example.post/long"]);
    let after = index(reader, key(), Some("com.example.a/longer"), 10).expect("reads");
    assert_eq!(after, [IndexEntry { path: "com.example.post/long".to_owned(), cid: large.cid() }]);

    for order in [Order::Ascending, Order::Descending] {
        let mut scan = records(reader, key(), "com.example.post/", Some("com.example.post0"), order);
        let mut paths = Vec::new();
        while let Some((path, found)) = scan.next(1).expect("reads") {
            assert!(found.cid.matches(&found.bytes));
            paths.push(path);
        }
        if order == Order::Descending {
            paths.reverse();
        }
        assert_eq!(paths, ["com.example.post/b", "com.example.post/long"]);
    }

    commit(&store, |batch| {
        put_record(batch, key(), "com.example.post/long", rev(2), &small, Some(40_000)).expect("fits");
        delete_record(batch, key(), "com.example.post/b", 10).expect("fits");
    });
    assert_eq!(record(reader, key(), "com.example.post/long").expect("reads").expect("there").cid, small.cid());
    assert_eq!(record(reader, key(), "com.example.post/b").expect("reads"), None);
    assert_eq!(index(reader, key(), None, 10).expect("reads").len(), 2);
    let other = RepoKey { account: AccountId(2), ..key() };
    assert_eq!(record(reader, other, "com.example.post/long").expect("reads"), None);
}

#[test]
fn the_log_keeps_revisions_whole_and_lets_go_of_its_old_end() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let op = |name: &str| Op {
        path: format!("com.example.post/{name}").parse().expect("a path"),
        cid: Some(Cid::of(Codec::DagCbor, name.as_bytes())),
        prev: None,
    };
    commit(&store, |batch| {
        for (n, name) in ["a", "b", "c"].iter().enumerate() {
            put_op(batch, key(), rev(1), n as u16, &op(name)).expect("fits");
        }
        put_op(batch, key(), rev(2), 0, &op("d")).expect("fits");
    });
    let page = ops(reader, key(), None, 2).expect("reads");
    assert_eq!(page, [(rev(1), op("a")), (rev(1), op("b")), (rev(1), op("c"))]);
    assert_eq!(ops(reader, key(), Some(rev(1)), 2).expect("reads"), [(rev(2), op("d"))]);
    let mut trimmed = None;
    commit(&store, |batch| trimmed = trim_ops(reader, batch, key(), 2).expect("fits"));
    assert_eq!(trimmed, Some((rev(1), 3)));
    assert_eq!(ops(reader, key(), None, 10).expect("reads"), [(rev(2), op("d"))]);
}

#[test]
fn a_repository_and_a_space_come_back_as_they_were() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let mut head = Head::empty();
    let added = Op {
        path: "com.example.post/a".parse().expect("a path"),
        cid: Some(Cid::of(Codec::DagCbor, b"a")),
        prev: None,
    };
    head.advance(rev(1), [&added]).expect("it follows");
    let stored = Repo { space: space_uri(), head, log_from: Tid::MIN, log_ops: 1, space_deleted_at: None };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let row = SpaceRow { uri: space_uri(), config: SpaceConfig::default(), created_at: now, deleted_at: None };
    let may = MemberRow { member: Member { read: true, write: false }, since: now };
    commit(&store, |batch| {
        put_repo(batch, key(), &stored).expect("fits");
        put_space(batch, ADA, &row).expect("fits");
        put_member(batch, key().space, &did("bob"), &may).expect("fits");
    });
    assert_eq!(repo(reader, key()).expect("reads"), Some(stored.clone()));
    assert_eq!(repos_of(reader, ADA, None, 10).expect("reads"), [stored]);
    assert_eq!(space(reader, ADA, key().space).expect("reads"), Some(row));
    assert_eq!(members(reader, key().space, None, 10).expect("reads"), [(did("bob"), may)]);
    commit(&store, |batch| remove_member(batch, key().space, &did("bob")).expect("fits"));
    assert_eq!(member(reader, key().space, &did("bob")).expect("reads"), None);
    let mut gone = 1;
    while gone > 0 {
        commit(&store, |batch| gone = stage_removal(reader, batch, ADA, 100).expect("fits"));
    }
    assert_eq!(repo(reader, key()).expect("reads"), None);
}

#[test]
fn writers_are_listed_in_the_order_of_their_changes_each_once() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let row = |name: &str, n: u64| WriterRow { did: did(name), rev: rev(n), hash: [1; 32], space_rev: rev(n) };
    let space = key().space;
    commit(&store, |batch| {
        put_writer(batch, space, &row("ada", 1), None).expect("fits");
        put_writer(batch, space, &row("bob", 2), None).expect("fits");
    });
    commit(&store, |batch| put_writer(batch, space, &row("ada", 3), Some(rev(1))).expect("fits"));
    let names = |rows: Vec<WriterRow>| rows.into_iter().map(|row| row.did).collect::<Vec<_>>();
    assert_eq!(names(writers(reader, space, None, 10).expect("reads")), [did("bob"), did("ada")]);
    assert_eq!(names(writers(reader, space, Some(rev(2)), 10).expect("reads")), [did("ada")]);
    assert_eq!(newest_space_rev(reader, space).expect("reads"), Some(rev(3)));
    assert_eq!(writer(reader, space, &did("ada")).expect("reads").expect("there").rev, rev(3));
}

#[test]
fn a_token_is_used_once_and_forgotten_when_it_has_expired() {
    let store = Store::in_memory().expect("starts");
    let reader = store.reader();
    let token = token_digest("delegation", "did:web:bob.example", "nonce");
    let until = Timestamp::from_millis(1000);
    let spend = |batch: &mut Batch| put_spent(batch, token, until, true).expect("fits");
    commit(&store, spend);
    let mut again = Batch::new();
    spend(&mut again);
    assert!(store.writer().commit(again).is_err(), "used before");
    for (now, spent) in [(500, true), (1500, false)] {
        let now = Timestamp::from_millis(now);
        commit(&store, |batch| assert_eq!(sweep_tokens(reader, batch, None, now, 10).expect("fits"), None));
        assert_eq!(is_spent(reader, token).expect("reads"), spent);
    }
}

#[test]
fn a_later_delivery_takes_the_place_of_an_earlier_one() {
    let store = Store::in_memory().expect("starts");
    let now = Timestamp::from_millis(1000);
    let delivery = |body: &str| Delivery {
        issuer: did("ada"),
        service: "did:web:syncer.example#atproto_space_syncer".to_owned(),
        at: "did:web:syncer.example#atproto_space_syncer".to_owned(),
        method: "com.atproto.space.notifyWrite".to_owned(),
        space: space_uri(),
        body: body.to_owned(),
        space_rev: Some(rev(1)),
        attempts: 0,
        due: now,
        until: now,
    };
    let name = delivery_key("did:web:syncer.example", "method", &space_uri(), "did:web:ada.example");
    for body in ["1", "2"] {
        commit(&store, |batch| put_delivery(batch, name, &delivery(body)).expect("fits"));
    }
    assert_eq!(deliveries(store.reader(), None, 10).expect("reads"), [(name, delivery("2"))]);
    let registration = Registration { service: "did:web:syncer.example".to_owned(), expires_at: now, told: None };
    commit(&store, |batch| {
        remove_delivery(batch, name).expect("fits");
        put_registration(batch, key().space, &registration).expect("fits");
    });
    assert!(deliveries(store.reader(), None, 10).expect("reads").is_empty());
    assert_eq!(registrations(store.reader(), key().space, 10).expect("reads"), [registration]);
}

#[test]
fn credentials_are_found_by_whom_they_were_issued_to() {
    let store = Store::in_memory().expect("starts");
    let (reader, space, until) = (store.reader(), key().space, Timestamp::from_millis(1000));
    commit(&store, |batch| {
        put_issued(batch, space, &did("bob"), "1", until).expect("fits");
        put_issued(batch, space, &did("bob"), "2", until).expect("fits");
        put_issued(batch, space, &did("eve"), "3", until).expect("fits");
        put_issued(batch, [9; 32], &did("bob"), "4", until).expect("fits");
    });
    let nonces = |did: Option<&Did>| {
        let found = issued(reader, space, did, None, 10).expect("reads");
        found.into_iter().map(|(_, nonce, _)| nonce).collect::<Vec<_>>()
    };
    assert_eq!(nonces(Some(&did("bob"))), ["1", "2"]);
    assert_eq!(nonces(None), ["1", "2", "3"]);
    commit(&store, |batch| remove_issued(batch, space, &did("bob"), "1").expect("fits"));
    assert_eq!(nonces(Some(&did("bob"))), ["2"]);
    let now = Timestamp::from_millis(1001);
    commit(&store, |batch| assert_eq!(sweep_tokens(reader, batch, None, now, 10).expect("fits"), None));
    assert!(nonces(None).is_empty());
}

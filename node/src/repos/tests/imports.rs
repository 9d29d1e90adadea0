//! Imports that take the place of what was there, or change nothing.

use super::*;

/// Sends a file in parts of `part` bytes.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_the_place_of_what_was_there() {
    let (dir, other_dir) = (temporary(), temporary());
    let node = Node::open(dir.path());
    let elsewhere = Node::open(other_dir.path());
    let there = elsewhere.account(1);
    for chunk in 0..20 {
        let create = |n: u32| {
            let text = if n == 7 { "x".repeat(100_000) } else { format!("{chunk} {n}") };
            write(&path(["a", "b"][chunk % 2], &format!("k{chunk}-{n}")), Action::Create(record(&text)))
        };
        elsewhere.repos.write(&there, (0..100).map(create).collect(), None).await.expect("taken");
    }
    let file = elsewhere.car(&there, None).await;
    let expected = contents_of(&file, &there);

    let mut here = node.account(1);
    here.key = Arc::new(Secp256k1Key::from_bytes(&[77; 32]).expect("a scalar").into());
    let old = path("c", "old");
    node.repos.write(&here, vec![write(&old, Action::Create(record("old")))], None).await.expect("taken");
    let reading = node.repos.export(here.id, None).await.expect("begins");
    let key = there.key.public();
    for part in [file.len(), 1000] {
        let made = import(&node, &here, &[here.key.public(), key], &file, part).await.expect("taken");
        let (head, _) = read(&node.car(&here, None).await);
        assert_eq!((head.cid(), head.rev(), head.data()), (made.cid, made.rev, read(&file).0.data()));
        assert!(head.rev() > read(&file).0.rev());
        assert_eq!(node.contents(&here).await, expected, "and signed with the key of this node");
        let collections = node.repos.describe_blocking(here.id).expect("reads").expect("there").collections;
        assert_eq!(collections, ["com.example.a", "com.example.b"]);
        let with = |name: &str| node.repos.accounts_with_blocking(&nsid(name), None, 9).expect("reads");
        assert_eq!((with("com.example.a"), with("com.example.c")), (vec![here.id], vec![]));
    }
    // What was being read when it was replaced is there until it was read.
    node.sweep().await;
    let whole = rest_of(reading).await;
    assert_eq!(read(&whole).1.len(), 3, "commit, node, record");
    node.sweep().await;
    assert!(rows::leftovers(node.store.reader()).expect("reads").is_empty());
    // It goes on from there.
    node.repos.write(&here, vec![write(&old, Action::Create(record("new")))], None).await.expect("taken");
    assert_eq!(node.contents(&here).await.len(), expected.len() + 1);
    node.repos.delete_all(here.id).await.expect("deletes");
    assert!(node.repos.head_blocking(here.id).expect("reads").is_none());
    assert!(matches!(node.repos.export(here.id, None).await, Err(RepoError::NoRepository)));
    node.sweep().await;
    node.close();
    elsewhere.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_not_sound_changes_nothing() {
    let (dir, other_dir) = (temporary(), temporary());
    let node = Node::open(dir.path());
    let elsewhere = Node::open(other_dir.path());
    let there = elsewhere.account(1);
    let create = |n: u32| write(&path("a", &format!("k{n}")), Action::Create(record(&n.to_string())));
    elsewhere.repos.write(&there, (0..100).map(create).collect(), None).await.expect("taken");
    let file = elsewhere.car(&there, None).await;
    let (roots, blocks) = car::decode(&file, LIMITS).expect("a CAR file");
    let head = read(&file).0;
    let here = node.account(1);
    let kept = path("kept", "x");
    node.repos.write(&here, vec![write(&kept, Action::Create(record("kept")))], None).await.expect("taken");

    let key = there.key.public();
    let refused =
        async |keys: &[VerifyingKey], file: &[u8]| import(&node, &here, keys, file, 4096).await.expect_err("not sound");
    let stranger = Secp256k1Key::from_bytes(&[5; 32]).map(SigningKey::from).expect("a scalar");
    assert!(matches!(refused(&[stranger.public()], &file).await, ImportRefused::Signature(_)));
    assert!(matches!(refused(&[key], &file[..file.len() - 1]).await, ImportRefused::Car(_)));
    assert!(matches!(refused(&[key], b"garbage").await, ImportRefused::Car(_)));
    assert!(matches!(refused(&[key], &[]).await, ImportRefused::Car(_)));
    let missing_record = car::encode(roots[0], blocks.iter().filter(|block| block.cid() != record("7").cid()));
    let error = refused(&[key], &missing_record).await;
    assert!(matches!(error, ImportRefused::Tree(ImportError::MissingRecord { .. })), "{error}");
    let missing_node = car::encode(roots[0], blocks.iter().filter(|block| block.cid() != head.data()));
    assert!(matches!(refused(&[key], &missing_node).await, ImportRefused::Tree(ImportError::Tree(_))));
    let no_commit = car::encode(roots[0], &blocks[1..]);
    assert!(matches!(refused(&[key], &no_commit).await, ImportRefused::NoCommit));
    let no_root = {
        let mut out = Vec::new();
        car::write_rootless_header(&mut out);
        blocks.iter().for_each(|block| car::write_block(&mut out, block));
        out
    };
    assert!(matches!(refused(&[key], &no_root).await, ImportRefused::Roots(0)));
    assert!(matches!(refused(&[key], &car::encode(record("7").cid(), &blocks)).await, ImportRefused::Commit(_)));
    let signed = |did: &Did, rev| {
        let commit = Commit { did: did.clone(), data: head.data(), rev, prev: None }.sign(&there.key);
        car::encode(commit.cid(), std::iter::once(commit.block()).chain(&blocks[1..]))
    };
    let other = refused(&[key], &signed(&owner(2).did, head.rev())).await;
    assert!(matches!(other, ImportRefused::Tree(ImportError::OtherAccount(_))));
    let future = Tid::new(head.rev().micros() + 3_600_000_000, 1);
    assert!(matches!(refused(&[key], &signed(&there.did, future)).await, ImportRefused::FromTheFuture(_)));
    // A record that is a string, and one that is no CBOR at all.
    for bytes in [cbor::encode(&Value::String("no map".to_owned())), vec![0xff]] {
        let odd = Block::new(Codec::DagCbor, bytes);
        let first = Repository::create(there.did.clone(), head.rev(), &there.key);
        let source: MemoryBlocks = first.blocks().collect();
        let add = vec![Write::Create { path: path("a", "odd"), record: odd.clone() }];
        let made = first.repository.write(&source, add, future_free(head.rev()), &there.key).expect("possible");
        let error = refused(&[key], &made.car()).await;
        assert!(matches!(error, ImportRefused::NotAnObject(_) | ImportRefused::Record { .. }), "{error}");
        assert!(source.get(&odd.cid()).expect("reads").is_none());
    }
    // An import that is given up half way.
    let half = node.repos.import(&here, vec![key]).await;
    drop(half.take(file[..file.len() / 2].to_vec()).await.expect("sound so far"));

    node.sweep().await;
    assert!(rows::leftovers(node.store.reader()).expect("reads").is_empty());
    assert_eq!(node.contents(&here).await, BTreeMap::from([(kept.to_string(), record("kept").cid())]));
    import(&node, &here, &[key], &file, 4096).await.expect("the sound one is taken after all");
    assert_eq!(node.contents(&here).await.len(), 100);
    node.close();
    elsewhere.close();
}

fn future_free(rev: Tid) -> Tid {
    Tid::new(rev.micros() + 1, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_signs_anew_and_tells_followers_where_it_is() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let mut owner = node.account(1);
    node.repos.write(&owner, vec![write(&path("a", "x"), Action::Create(record("1")))], None).await.expect("taken");
    let before = node.repos.head_blocking(owner.id).expect("reads").expect("there").commit;
    owner.key = Arc::new(Secp256k1Key::from_bytes(&[55; 32]).expect("a scalar").into());
    let made = node.repos.resync(&owner, |_| Ok(())).await.expect("signs");
    let (head, _) = read(&node.car(&owner, None).await);
    assert_eq!((head.cid(), head.data()), (made.cid, before.data()));
    head.verify(owner.key.public()).expect("with the new key");
    let event = events::latest(node.store.reader(), 1).expect("reads").remove(0);
    assert_eq!(event.kind, firehose::SYNC);
    node.close();
}

/// Over what an import brought, several writers replace, delete and add records at once, many of them of the same pack, and
/// commits go to the store while those before them are still on their way.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_is_changed_by_many_at_once() {
    let (dir, other_dir) = (temporary(), temporary());
    let (node, elsewhere) = (Node::open(dir.path()), Node::open(other_dir.path()));
    let (there, here) = (elsewhere.account(1), node.account(1));
    let at = |n: usize| path(["a", "b"][n % 2], &format!("k{n:04}"));
    let create = |n: usize| write(&at(n), Action::Create(record(&format!("imported {n}"))));
    for first in (0..600).step_by(200) {
        elsewhere.repos.write(&there, (first..first + 200).map(create).collect(), None).await.expect("taken");
    }
    let file = elsewhere.car(&there, None).await;
    import(&node, &here, &[there.key.public()], &file, 4096).await.expect("taken");
    let totals = || node.repos.head_blocking(here.id).expect("reads").expect("there").totals;
    assert_eq!((totals().records, totals().packed_records), (600, 600));
    let imported = contents_of(&file, &there);
    let mut expected = imported.clone();
    let reading = node.repos.export(here.id, None).await.expect("begins");

    let mut rng = StdRng::seed_from_u64(123);
    // Some writers have neighbours, the others places all over; nobody else changes what one has.
    let mut scattered: Vec<usize> = (300..600).collect();
    scattered.shuffle(&mut rng);
    let mut writers = tokio::task::JoinSet::new();
    for own in (0..300).collect::<Vec<_>>().chunks(38).chain(scattered.chunks(38)) {
        let mut steps = Vec::new();
        for n in own.iter().copied() {
            let again = record(&format!("changed {n}"));
            let beside = path("c", &format!("k{n}"));
            steps.extend(match rng.random_range(0..5) {
                0 => vec![],
                1 => vec![(at(n), Action::Delete)],
                2 => vec![(at(n), Action::Put(again))],
                3 => vec![(at(n), Action::Delete), (at(n), Action::Create(again))],
                _ => vec![
                    (at(n), Action::Update(again.clone())),
                    (at(n), Action::Remove),
                    (beside, Action::Create(again)),
                ],
            });
        }
        for (path, action) in &steps {
            match action {
                Action::Delete | Action::Remove => drop(expected.remove(&path.to_string())),
                Action::Put(record)
                | Action::Update(record)
                | Action::Create(record)
                | Action::CreateInPlace(record) => {
                    expected.insert(path.to_string(), record.cid());
                }
            }
        }
        let (repos, here) = (node.repos.clone(), here.clone());
        writers.spawn(async move {
            for (path, action) in steps {
                let written = repos.write(&here, vec![write(&path, action)], None).await;
                written.unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("no panic");
    }
    assert_eq!(contents_of(&rest_of(reading).await, &here).len(), 600, "an export that began before sees what was");
    let check = async |node: &Node| {
        assert_eq!(node.contents(&here).await, expected);
        for (path, cid) in &expected {
            let found = node.repos.record_blocking(here.id, path).expect("reads").expect("there");
            assert_eq!(found.cid, *cid, "{path}");
        }
        for n in (0..600).filter(|n| !expected.contains_key(&at(*n).to_string())) {
            assert!(node.repos.record_blocking(here.id, &at(n).to_string()).expect("reads").is_none(), "{n}");
        }
        for collection in ["a", "b", "c"] {
            let prefix = format!("com.example.{collection}/");
            let mut keys: Vec<_> =
                expected.keys().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect();
            for reverse in [true, false] {
                let nsid = nsid(&format!("com.example.{collection}"));
                let listed = node.repos.list_blocking(here.id, &nsid, 1000, None, reverse).expect("reads").records;
                assert_eq!(listed.into_iter().map(|(rkey, _)| rkey).collect::<Vec<_>>(), keys);
                keys.reverse();
            }
        }
    };
    check(&node).await;
    let left = totals();
    assert_eq!(left.records, expected.len() as u64);
    let untouched = expected.iter().filter(|(path, cid)| imported.get(*path) == Some(cid));
    assert_eq!(left.packed_records, untouched.count() as u64);
    node.sweep().await;
    node.close();
    let node = Node::open(dir.path());
    check(&node).await;
    node.close();
    elsewhere.close();
}

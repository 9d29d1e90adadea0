//! Exports, proofs and blocks, while others write.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_export_shows_the_repository_as_it_was_when_it_began() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let owner = node.account(1);
    for chunk in 0..10 {
        let create = |n: u32| write(&path("a", &format!("k{chunk}-{n}")), Action::Create(record(&"x".repeat(2000))));
        node.repos.write(&owner, (0..150).map(create).collect(), None).await.expect("taken");
    }
    let before = node.contents(&owner).await;
    let root = node.repos.head_blocking(owner.id).expect("reads").expect("there");
    let export = node.repos.export(owner.id, None).await.expect("begins");
    let (first, export) = export.next().await.expect("exports").expect("there is more than one piece");
    for path in before.keys().step_by(3) {
        let path: RepoPath = path.parse().expect("valid");
        node.repos.write(&owner, vec![write(&path, Action::Delete)], None).await.expect("taken");
    }
    for path in before.keys().skip(1).step_by(3) {
        let path: RepoPath = path.parse().expect("valid");
        node.repos.write(&owner, vec![write(&path, Action::Update(record("new")))], None).await.expect("taken");
    }
    let kept = || rows::retained(node.store.reader(), root.contents, root.commit.data()).expect("reads");
    assert!(kept().is_some());
    let whole = [first, rest_of(export).await].concat();
    assert_eq!(contents_of(&whole, &owner), before);
    node.sweep().await;
    assert!(kept().is_none(), "what was kept goes when the export has ended");
    let after = node.contents(&owner).await;
    assert_eq!(after.len(), before.len() - before.len().div_ceil(3));
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_since_a_revision_holds_what_came_after_it() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let owner = node.account(1);
    let create = |n: u32| write(&path("a", &format!("k{n}")), Action::Create(record(&n.to_string())));
    let first = node.repos.write(&owner, (0..150).map(create).collect(), None).await.expect("taken").expect("made");
    let old = read(&node.car(&owner, None).await).1;
    let writes = vec![create(200), write(&path("a", "k7"), Action::Delete)];
    let second = node.repos.write(&owner, writes, None).await.expect("taken").expect("made");
    let (head, new) = read(&node.car(&owner, Some(first.rev)).await);
    assert_eq!(head.cid(), second.cid);
    assert!(new.len() < 20, "{} blocks", new.len());
    assert!(new.cids().all(|cid| old.block(&cid).is_none()));
    assert!(new.contains(&record("200").cid()));
    // Both together are the whole.
    let mut both = old;
    new.cids().filter_map(|cid| new.block(&cid)).for_each(|block| both.insert(&block));
    let mut records = 0;
    verify_repository(&both, &head, &owner.did, owner.key.public(), 1000, |found| {
        records += u32::from(matches!(found, Found::Record(..)));
        Ok::<_, ImportError>(())
    })
    .expect("whole");
    assert_eq!(records, 150);
    let (roots, none) = car::decode(&node.car(&owner, Some(second.rev)).await, LIMITS).expect("a CAR file");
    assert_eq!((roots, none), (vec![second.cid], vec![]));
    node.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_proved_to_be_there_or_not_and_blocks_are_given_by_name() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let owner = node.account(1);
    let create = |n: u32| write(&path("a", &format!("k{n}")), Action::Create(record(&n.to_string())));
    node.repos.write(&owner, (0..100).map(create).collect(), None).await.expect("taken");
    for n in [0, 50, 99, 100, 5000] {
        let (collection, rkey) = (nsid("com.example.a"), format!("k{n}").parse::<RecordKey>().expect("valid"));
        let proof = node.repos.proof_blocking(owner.id, &collection, &rkey).expect("reads");
        let key = format!("com.example.a/k{n}").parse().expect("a key");
        let (_, found) = verify_record(&proof, &owner.did, &key, owner.key.public()).expect("proves");
        let expected = (n < 100).then(|| record(&n.to_string()).cid());
        assert_eq!(found.map(|block| block.cid()), expected, "{n}");
    }
    let head = node.repos.head_blocking(owner.id).expect("reads").expect("there");
    let wanted = [head.commit.cid(), head.commit.data(), record("3").cid()];
    let (roots, blocks) =
        car::decode(&node.repos.blocks_blocking(owner.id, &wanted).expect("reads"), LIMITS).expect("a CAR file");
    assert_eq!(roots, []);
    assert_eq!(blocks.iter().map(Block::cid).collect::<Vec<_>>(), wanted);
    let absent = record("never").cid();
    let refused = node.repos.blocks_blocking(owner.id, &[head.commit.cid(), absent]);
    assert!(matches!(refused, Err(RepoError::BlockNotFound(cid)) if cid == absent));
    node.close();
}

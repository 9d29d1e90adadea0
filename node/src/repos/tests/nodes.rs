//! Where the nodes of the tree lie: those of recent commits apart, each once, and none that is superseded.

use super::*;

const WRITERS: usize = 8;

/// As many records in each round that nodes are moved several times.
const RECORDS: usize = 60;

#[derive(Debug, PartialEq, Eq)]
struct Stored {
    fresh: u64,
    settled: u64,
}

/// Counts what is stored of the tree, and holds it against the tree itself.
async fn stored(node: &Node, owner: &Owner) -> Stored {
    let head = node.repos.head_blocking(owner.id).expect("reads").expect("there");
    let reader = node.store.reader();
    let (mut stored, mut rows_seen) = (Stored { fresh: 0, settled: 0 }, BTreeSet::new());
    rows::nodes::<RepoError>(reader, head.contents, |cid, _| {
        assert!(rows_seen.insert(cid), "{cid} is stored twice");
        match rows::place(reader, head.contents, cid)? {
            rows::Place::Fresh => stored.fresh += 1,
            rows::Place::Settled => stored.settled += 1,
        }
        Ok(())
    })
    .expect("reads");
    assert_eq!(head.totals.fresh_nodes, stored.fresh);
    let (head, blocks) = read(&node.car(owner, None).await);
    let mut tree = BTreeSet::new();
    verify_repository(&blocks, &head, &owner.did, owner.key.public(), u64::MAX, |found| {
        if let Found::Node(node) = found {
            tree.insert(node.cid());
        }
        Ok::<_, ImportError>(())
    })
    .expect("whole and signed");
    assert_eq!(tree, rows_seen, "what is stored is the tree");
    stored
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_is_stored_once_wherever_commits_have_moved_it() {
    let dir = temporary();
    let mut node = Node::open(dir.path());
    let owner = node.account(1);
    let mut settled = 0;
    for round in 0..3 {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (repos, owner) = (node.repos.clone(), owner.clone());
            writers.spawn(async move {
                // Side by side: what one moves is on its way while the next is made.
                for n in 0..RECORDS {
                    let at = path("a", &format!("{}-{round}-{writer}", n * 7919 % 997));
                    repos.write(&owner, vec![write(&at, Action::Create(record("1")))], None).await.expect("taken");
                    if n % 3 == 0 {
                        repos.write(&owner, vec![write(&at, Action::Delete)], None).await.expect("taken");
                    }
                }
            });
        }
        writers.join_all().await;
        let now = stored(&node, &owner).await;
        assert!(now.settled > settled, "{now:?} in round {round}");
        assert!(now.fresh < 4 * cache::SETTLE_AT, "{now:?} in round {round}");
        settled = now.settled;
        node.close();
        node = Node::open(dir.path());
    }
    let held = node.contents(&owner).await;
    let file = node.car(&owner, None).await;
    import(&node, &owner, &[owner.key.public()], &file, 4096).await.expect("taken");
    let all = stored(&node, &owner).await;
    assert_eq!(all.fresh, 0, "nobody has written since");
    let removals = held.keys().take(100).map(|at| write(&at.parse().expect("a path"), Action::Delete));
    node.repos.write(&owner, removals.collect(), None).await.expect("taken");
    let now = stored(&node, &owner).await;
    assert!(now.settled < all.settled && now.fresh > 0, "{now:?} after {all:?}");
    node.sweep().await;
    assert_eq!(node.contents(&owner).await.len(), held.len() - 100);
    node.close();
}

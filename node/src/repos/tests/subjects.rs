//! Records of which one for each subject is enough.

use serde_json::json;

use super::*;

const LIKE: &str = "app.bsky.feed.like";
const FOLLOW: &str = "app.bsky.graph.follow";

fn at(collection: &str, rkey: &str) -> RepoPath {
    format!("{collection}/{rkey}").parse().expect("valid")
}

fn like(of: &str, n: u8) -> NewRecord {
    let uri = format!("at://did:web:a.example/app.bsky.feed.post/{of}");
    let record = json!({ "subject": { "uri": uri, "cid": "x" }, "createdAt": format!("2026-01-01T00:00:{n:02}Z") });
    NewRecord::new(&angel_protocol::data::record_from_json(&record).expect("of the data model"))
}

fn follow(of: &str) -> NewRecord {
    let record = json!({ "subject": format!("did:web:{of}.example") });
    NewRecord::new(&angel_protocol::data::record_from_json(&record).expect("of the data model"))
}

impl Node {
    async fn keys(&self, owner: &Owner) -> Vec<String> {
        self.contents(owner).await.into_keys().collect()
    }

    async fn put_in_place(&self, owner: &Owner, path: &RepoPath, record: NewRecord) {
        let write = write(path, Action::CreateInPlace(record));
        self.repos.write(owner, vec![write], None).await.expect("written");
    }
}

#[tokio::test]
async fn a_new_like_takes_the_place_of_the_one_before() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let alice = node.account(1);
    node.put_in_place(&alice, &at(LIKE, "a"), like("p", 1)).await;
    node.put_in_place(&alice, &at(LIKE, "b"), like("q", 2)).await;
    node.put_in_place(&alice, &at(FOLLOW, "a"), follow("bob")).await;
    let before = node.repos.head_blocking(alice.id).expect("reads").expect("there");
    node.put_in_place(&alice, &at(LIKE, "c"), like("p", 3)).await;
    let after = node.repos.head_blocking(alice.id).expect("reads").expect("there");
    assert_eq!(after.totals.records, before.totals.records, "one came and one went");
    assert_eq!(node.keys(&alice).await, [at(LIKE, "b"), at(LIKE, "c"), at(FOLLOW, "a")].map(|path| path.to_string()));
    node.put_in_place(&alice, &at(FOLLOW, "b"), follow("bob")).await;
    node.put_in_place(&alice, &at(FOLLOW, "c"), follow("carol")).await;

    // Whoever makes a second one on purpose has two; the next takes the place of both, and one that says something else
    // meanwhile is left alone.
    node.repos.write(&alice, vec![write(&at(LIKE, "d"), Action::Create(like("p", 4)))], None).await.expect("written");
    node.repos.write(&alice, vec![write(&at(LIKE, "b"), Action::Update(like("r", 5)))], None).await.expect("written");
    node.put_in_place(&alice, &at(LIKE, "e"), like("q", 6)).await;
    node.put_in_place(&alice, &at(LIKE, "f"), like("p", 7)).await;
    let expected = [at(LIKE, "b"), at(LIKE, "e"), at(LIKE, "f"), at(FOLLOW, "b"), at(FOLLOW, "c")];
    assert_eq!(node.keys(&alice).await, expected.map(|path| path.to_string()));
}

#[tokio::test]
async fn of_many_at_once_one_stays() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let alice = node.account(1);
    let writes = (0..24_u8).map(|n| {
        let (repos, alice) = (node.repos.clone(), alice.clone());
        async move {
            let write = write(&at(LIKE, &format!("k{n}")), Action::CreateInPlace(like("p", n)));
            repos.write(&alice, vec![write], None).await.expect("written");
        }
    });
    futures::future::join_all(writes).await;
    assert_eq!(node.keys(&alice).await.len(), 1);
}

#[tokio::test]
async fn what_an_import_brought_gives_way_as_well() {
    let dirs = (temporary(), temporary());
    let (there, here) = (Node::open(dirs.0.path()), Node::open(dirs.1.path()));
    let (from, to) = (there.account(1), here.account(1));
    let likes = (0..50_u8).map(|n| write(&at(LIKE, &format!("k{n:02}")), Action::Create(like(&n.to_string(), n))));
    there.repos.write(&from, likes.collect(), None).await.expect("written");
    here.put_in_place(&to, &at(LIKE, "z"), like("1", 1)).await;
    let file = there.car(&from, None).await;
    import(&here, &to, &[from.key.public()], &file, 4096).await.expect("imported");
    here.put_in_place(&to, &at(LIKE, "z"), like("7", 1)).await;
    let keys = here.keys(&to).await;
    assert_eq!(keys.len(), 50);
    assert!(!keys.contains(&at(LIKE, "k07").to_string()) && keys.contains(&at(LIKE, "z").to_string()));
}

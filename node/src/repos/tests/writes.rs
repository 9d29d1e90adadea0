//! Writing: what a map would hold, whoever else writes, and across restarts.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_done_or_refused_by_name() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let owner = node.account(1);
    let at = path("a", "x");
    let put = |text: &str, swap: Option<Swap>, head: Option<Cid>| {
        let write = RepoWrite { path: at.clone(), action: Action::Put(record(text)), swap };
        let (repos, owner) = (node.repos.clone(), owner.clone());
        async move { repos.write(&owner, vec![write], head).await }
    };
    let one = put("1", Some(Swap::Absent), None).await.expect("taken").expect("a commit");
    assert_eq!(put("1", None, None).await.expect("taken"), None, "the same again is no change");
    assert!(matches!(put("2", Some(Swap::Absent), None).await, Err(RepoError::RecordSwapped { found: Some(_), .. })));
    let stale = Some(Swap::Record(record("0").cid()));
    assert!(matches!(put("2", stale, None).await, Err(RepoError::RecordSwapped { .. })));
    let two = put("2", Some(Swap::Record(record("1").cid())), Some(one.cid)).await.expect("taken").expect("a commit");
    assert!(two.rev > one.rev);
    assert!(matches!(put("3", None, Some(one.cid)).await, Err(RepoError::HeadSwapped(head)) if head == two.cid));

    let refused = async |action| node.repos.write(&owner, vec![write(&at, action)], None).await.expect_err("refused");
    assert!(matches!(refused(Action::Create(record("4"))).await, RepoError::Write(_)));
    let (elsewhere, nowhere) = (path("a", "y"), owner_without_repository());
    let update = node.repos.write(&owner, vec![write(&elsewhere, Action::Update(record("4")))], None).await;
    assert!(matches!(update, Err(RepoError::Write(_))));
    let delete = node.repos.write(&owner, vec![write(&elsewhere, Action::Delete)], None).await;
    assert!(matches!(delete, Err(RepoError::Write(_))));
    assert_eq!(node.repos.write(&owner, vec![write(&elsewhere, Action::Remove)], None).await.expect("taken"), None);
    let write_nowhere = node.repos.write(&nowhere, vec![write(&at, Action::Remove)], None).await;
    assert!(matches!(write_nowhere, Err(RepoError::NoRepository)));

    let writes = vec![write(&elsewhere, Action::Create(record("5"))), write(&path("b", "z"), Action::Delete)];
    assert!(node.repos.write(&owner, writes, None).await.is_err());
    assert_eq!(node.contents(&owner).await, BTreeMap::from([(at.to_string(), record("2").cid())]), "all or nothing");
    let large = record(&"x".repeat(BLOCK_BYTES_MAX - 100));
    node.repos.write(&owner, vec![write(&at, Action::Put(large.clone()))], None).await.expect("taken");
    let stored = node.repos.record_blocking(owner.id, &at.to_string()).expect("reads").expect("there");
    assert_eq!((stored.cid, stored.bytes.len()), (large.cid(), large.block.bytes().len()));
    node.repos.write(&owner, vec![write(&at, Action::Remove)], None).await.expect("taken");
    assert_eq!(node.contents(&owner).await, BTreeMap::new());
    assert_eq!(node.repos.describe_blocking(owner.id).expect("reads").expect("there").collections, [""; 0]);
    node.close();
}

fn owner_without_repository() -> Owner {
    owner(99)
}

/// Every commit of the log, followed as a consumer follows it.
fn follow_all(node: &Node, owners: &[Owner]) -> BTreeMap<AccountId, SignedCommit> {
    let mut followed: BTreeMap<AccountId, (Repository, MemoryBlocks)> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = events::after(node.store.reader(), after, 100).expect("reads");
        for event in &page.events {
            after = event.sequence;
            let Some(frame) = firehose::frame(event) else { continue };
            let Frame::Message { message: Message::Commit(body), .. } = Frame::decode(&frame).expect("a frame") else {
                continue;
            };
            let account = event.account.expect("a commit has an account");
            let owner = owners.iter().find(|owner| owner.id == account).expect("known");
            let verified = verify_commit(body.message(), owner.key.public()).expect("verifies");
            let (repository, blocks) = match followed.remove(&account) {
                None => (Repository::open(verified.commit().clone()), read(body.message().car).1),
                Some((repository, mut blocks)) => {
                    let next = repository.follow(&blocks, verified).expect("continues");
                    blocks.extend(next.blocks());
                    (next.repository, blocks)
                }
            };
            followed.insert(account, (repository, blocks));
        }
        if page.events.is_empty() {
            return followed.into_iter().map(|(id, (repository, _))| (id, repository.head().clone())).collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_side_by_side_queue_up_and_the_log_tells_of_each() {
    let dir = temporary();
    let node = Node::open(dir.path());
    let owners = [node.account(1), node.account(2)];
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (repos, owner) = (node.repos.clone(), owners[n % 2].clone());
        writers.spawn(async move {
            let at = path("a", &format!("k{n}"));
            let (shared, mine) = (path("b", "shared"), record(&format!("by {n}")));
            repos.write(&owner, vec![write(&at, Action::Create(record("1")))], None).await.expect("taken");
            repos.write(&owner, vec![write(&shared, Action::Put(mine))], None).await.expect("taken");
            repos.write(&owner, vec![write(&at, Action::Update(record("2")))], None).await.expect("taken")
        });
    }
    let revs: BTreeSet<_> = writers.join_all().await.into_iter().map(|made| made.expect("a commit").rev).collect();
    assert!(revs.len() >= 30, "no two of one account are alike");
    let followed = follow_all(&node, &owners);
    for owner in &owners {
        let head = node.repos.head_blocking(owner.id).expect("reads").expect("there");
        assert_eq!(followed[&owner.id], head.commit);
        let contents = node.contents(owner).await;
        assert_eq!(contents.len(), 31);
        assert_eq!(contents.values().filter(|cid| **cid == record("2").cid()).count(), 30);
        assert_eq!(head.totals.records, 31);
    }
    node.close();
}

/// A model of what accounts hold.
type Model = BTreeMap<AccountId, BTreeMap<String, Cid>>;

async fn random_write(node: &Node, owner: &Owner, model: &mut Model, random: &mut StdRng) {
    let held = model.entry(owner.id).or_default();
    let mut writes = Vec::new();
    let mut touched = BTreeSet::new();
    for _ in 0..random.random_range(1..12) {
        // Names of which one is the beginning of another: the order of paths is not that of collections.
        let collection = ["a", "ab", "a.b", "c"][random.random_range(0..4)];
        let at = path(collection, &format!("k{}", random.random_range(0..40)));
        if !touched.insert(at.clone()) {
            continue;
        }
        let is_there = held.contains_key(&at.to_string());
        let text = if random.random_bool(0.02) { "x".repeat(40_000) } else { random.random_range(0..5).to_string() };
        let action = match (is_there, random.random_range(0..4)) {
            (false, _) => Action::Create(record(&text)),
            (true, 0) => Action::Update(record(&text)),
            (true, 1) => Action::Put(record(&text)),
            (true, _) => Action::Delete,
        };
        match &action {
            Action::Create(record) | Action::CreateInPlace(record) | Action::Update(record) | Action::Put(record) => {
                held.insert(at.to_string(), record.cid());
            }
            Action::Delete | Action::Remove => drop(held.remove(&at.to_string())),
        }
        writes.push(write(&at, action));
    }
    node.repos.write(owner, writes, None).await.expect("possible");
}

async fn assert_holds(node: &Node, owner: &Owner, expected: &BTreeMap<String, Cid>) {
    assert_eq!(&node.contents(owner).await, expected);
    let head = node.repos.head_blocking(owner.id).expect("reads").expect("there");
    assert_eq!(head.totals.records, expected.len() as u64);
    let (_, blocks) = read(&node.car(owner, None).await);
    let distinct: BTreeSet<_> = expected.values().collect();
    assert_eq!(head.totals.nodes, (blocks.len() - distinct.len() - 1) as u64);
    let collections: BTreeSet<_> = expected.keys().map(|path| write::collection_of(path).to_owned()).collect();
    let described = node.repos.describe_blocking(owner.id).expect("reads").expect("there").collections;
    assert_eq!(described, collections.iter().cloned().collect::<Vec<_>>());
    for collection in ["a", "ab", "a.b", "c"].map(|name| format!("com.example.{name}")) {
        let with = node.repos.accounts_with_blocking(&nsid(&collection), None, 99).expect("reads");
        assert_eq!(with.contains(&owner.id), collections.contains(&collection), "{collection}");
        let listed = node.repos.list_blocking(owner.id, &nsid(&collection), 1000, None, true).expect("reads");
        let listed: Vec<_> = listed.records.into_iter().map(|(rkey, record)| (rkey, record.cid)).collect();
        let prefix = format!("{collection}/");
        let expected: Vec<_> =
            expected.iter().filter_map(|(path, cid)| Some((path.strip_prefix(&prefix)?.to_owned(), *cid))).collect();
        assert_eq!(listed, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_writes_to_several_accounts_survive_restarts() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = temporary();
    let mut node = Node::open(dir.path());
    let owners: Vec<_> = (1..4).map(|id| node.account(id)).collect();
    let mut model = Model::new();
    for _ in 0..4 {
        for _ in 0..40 {
            let owner = &owners[random.random_range(0..owners.len())];
            random_write(&node, owner, &mut model, &mut random).await;
        }
        for owner in &owners {
            assert_holds(&node, owner, model.entry(owner.id).or_default()).await;
        }
        node.close();
        node = Node::open(dir.path());
        for owner in &owners {
            assert_holds(&node, owner, &model[&owner.id]).await;
        }
    }
    let followed = follow_all(&node, &owners);
    for owner in &owners {
        assert_eq!(followed[&owner.id], node.repos.head_blocking(owner.id).expect("reads").expect("there").commit);
    }
    node.close();
}

/// A record that names a blob.
fn picture(text: &str, blob: Cid) -> NewRecord {
    let blob = BlobRef { cid: blob, mime_type: "image/png".to_owned(), size: Some(3) };
    let text = Value::String(text.to_owned());
    NewRecord::new(&Value::Map([("text".to_owned(), text), ("picture".to_owned(), blob.to_value())].into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_named_as_long_as_a_record_names_them() {
    let (dir, other_dir) = (temporary(), temporary());
    let (node, elsewhere) = (Node::open(dir.path()), Node::open(other_dir.path()));
    let (here, there) = (node.account(1), elsewhere.account(1));
    let [one, two] = ["one", "two"].map(|text| Cid::of(Codec::Raw, text.as_bytes()));
    let upload = |node: &Node, cid: Cid| {
        let upload = BlobRef { cid, mime_type: "image/png".to_owned(), size: Some(3) };
        let mut batch = Batch::new();
        blobs::stage_upload(node.store.reader(), &mut batch, AccountId(1), &upload, clock::now()).expect("stages");
        node.store.writer().commit(batch).expect("commits");
    };
    let named = |node: &Node, cid: Cid| blobs::is_named(node.store.reader(), AccountId(1), cid).expect("reads");
    let put = async |node: &Node, owner: &Owner, at: &str, record: NewRecord| {
        node.repos.write(owner, vec![write(&path("a", at), Action::Put(record))], None).await
    };
    let absent = put(&node, &here, "x", picture("1", one)).await;
    assert!(matches!(absent, Err(RepoError::Blob(_))), "upload first");
    upload(&node, one);
    put(&node, &here, "x", picture("1", one)).await.expect("taken");
    put(&node, &here, "x", picture("2", one)).await.expect("taken");
    assert!(named(&node, one));
    put(&node, &here, "x", record("none")).await.expect("taken");
    assert!(!named(&node, one));
    put(&node, &here, "old", picture("3", one)).await.expect("taken");

    upload(&elsewhere, two);
    put(&elsewhere, &there, "new", picture("4", two)).await.expect("taken");
    let file = elsewhere.car(&there, None).await;
    import(&node, &here, &[there.key.public()], &file, 4096).await.expect("taken");
    let missing = blobs::missing(node.store.reader(), AccountId(1), None, 9).expect("reads");
    assert_eq!(missing, [(two, path("a", "new").to_string())]);
    node.sweep().await;
    assert!(!named(&node, one), "its record was replaced");
    upload(&node, two);
    assert_eq!(blobs::missing(node.store.reader(), AccountId(1), None, 9).expect("reads"), []);
    node.close();
    elsewhere.close();
}

//! Repositories on a real store: what is written is what a map would hold, across restarts, side by side, and whatever
//! readers are doing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use angel_protocol::crypto::{Secp256k1Key, VerifyingKey};
use angel_protocol::firehose::{Frame, Message};
use angel_protocol::ids::{Nsid, RecordKey};
use angel_protocol::limits::BLOCK_BYTES_MAX;
use angel_protocol::repo::car::{self, CarLimits};
use angel_protocol::repo::{
    BlockSource as _, Commit, Found, ImportError, MemoryBlocks, Repository, SignedCommit, Write, verify_commit,
    verify_record, verify_repository,
};
use angel_storage::engine::EngineKind;
use angel_storage::{Batch, Options, Store, blobs, events, firehose, repos as rows};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::*;

const LIMITS: CarLimits = CarLimits { bytes_max: 1 << 30, blocks_max: 1 << 20 };

struct Node {
    store: Store,
    repos: Repos,
}

impl Node {
    fn open(dir: &Path) -> Self {
        let store = Store::open(dir, Options::new(EngineKind::Sled, "test")).expect("opens");
        let repos = Repos::new(store.reader().clone(), store.writer().clone(), 7, dir.join("spool"));
        repos.recover().expect("recovers");
        Self { store, repos }
    }

    fn close(self) {
        drop(self.repos);
        self.store.close().expect("closes");
    }

    /// A new account with an empty repository.
    fn account(&self, id: u64) -> Owner {
        let owner = owner(id);
        let mut batch = Batch::new();
        let first = self.repos.stage_new(&mut batch, owner.id, &owner.did, &owner.key).expect("stages");
        batch.append_event(firehose::commit(owner.id, &first, clock::now()).expect("small")).expect("fits");
        self.store.writer().commit(batch).expect("commits");
        owner
    }

    async fn car(&self, owner: &Owner, since: Option<Tid>) -> Vec<u8> {
        rest_of(self.repos.export(owner.id, since).await.expect("begins")).await
    }

    /// Everything that the repository holds by its export, verified.
    async fn contents(&self, owner: &Owner) -> BTreeMap<String, Cid> {
        contents_of(&self.car(owner, None).await, owner)
    }

    /// Sweeps until nothing waits.
    async fn sweep(&self) {
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(self.repos.clone().run_sweeper(stop.clone()));
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.repos.is_sweeping() {
            assert!(tokio::time::Instant::now() < deadline, "it never ends");
            tokio::task::yield_now().await;
        }
        stop.cancel();
        sweeping.await.expect("no panic").expect("sweeps");
    }
}

fn owner(id: u64) -> Owner {
    let key = Secp256k1Key::from_bytes(&[u8::try_from(id).expect("small"); 32]).expect("a scalar");
    let did = format!("did:web:n{id}.example").parse().expect("valid");
    Owner { id: AccountId(id), did, key: Arc::new(key.into()) }
}

async fn rest_of(mut export: Export) -> Vec<u8> {
    let mut car = Vec::new();
    while let Some((piece, next)) = export.next().await.expect("exports") {
        car.extend(piece);
        export = next;
    }
    car
}

fn read(car: &[u8]) -> (SignedCommit, MemoryBlocks) {
    let (roots, blocks) = car::decode(car, LIMITS).expect("a CAR file");
    let blocks_len = blocks.len();
    let blocks: MemoryBlocks = blocks.iter().collect();
    assert_eq!(blocks.len(), blocks_len, "no block is there twice");
    let head = SignedCommit::decode(blocks.block(&roots[0]).expect("the commit")).expect("a commit");
    (head, blocks)
}

fn contents_of(car: &[u8], owner: &Owner) -> BTreeMap<String, Cid> {
    let (head, blocks) = read(car);
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::from([head.cid()]);
    verify_repository(&blocks, &head, &owner.did, owner.key.public(), u64::MAX, |block| {
        match block {
            Found::Node(node) => seen.insert(node.cid()),
            Found::Record(key, record) => {
                found.insert(key.as_str().to_owned(), record.cid());
                seen.insert(record.cid())
            }
        };
        Ok::<_, ImportError>(())
    })
    .expect("whole and signed");
    assert_eq!(seen.len(), blocks.len(), "nothing is left over");
    found
}

fn record(text: &str) -> NewRecord {
    let text = Value::String(text.to_owned());
    NewRecord::new(&Value::Map([("text".to_owned(), text)].into()))
}

fn path(collection: &str, rkey: &str) -> RepoPath {
    format!("com.example.{collection}/{rkey}").parse().expect("valid")
}

fn write(path: &RepoPath, action: Action) -> RepoWrite {
    RepoWrite { path: path.clone(), action, swap: None }
}

fn nsid(text: &str) -> Nsid {
    text.parse().expect("valid")
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

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
            Action::Create(record) | Action::Update(record) | Action::Put(record) => {
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

/// Sends a file in parts of `part` bytes.
async fn import(
    node: &Node,
    owner: &Owner,
    keys: &[VerifyingKey],
    file: &[u8],
    part: usize,
) -> Result<Made, ImportRefused> {
    let mut import = node.repos.import(owner, keys.to_vec()).await;
    for part in file.chunks(part) {
        import = import.take(part.to_vec()).await?;
    }
    import.finish(true).await
}

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

//! Private data on a real store: what is written is what a map would hold, side by side and across restarts, and who
//! may do what follows the list at once.

use std::collections::BTreeMap;
use std::path::Path;

use angel_protocol::data::{BlobRef, Cid, Codec, Value};
use angel_protocol::ids::RepoPath;
use angel_protocol::permissioned::{Member, Policy, SetHash, SpaceConfig};
use angel_storage::engine::EngineKind;
use angel_storage::permissioned::{CHANGED, Change, WRITTEN, changed, written};
use angel_storage::{Batch, Options, Store, blobs, events, firehose};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::accounts::AccountError;
use crate::accounts::tests::new_account;
use crate::clock;
use crate::data_dir::DataDir;

pub(super) struct Node {
    store: Store,
    pub(super) accounts: Accounts,
    pub(super) permissioned: Permissioned,
    _data: DataDir,
}

impl Node {
    pub(super) fn open(dir: &Path) -> Self {
        let data = DataDir::open(dir).expect("made");
        let store = Store::open(&dir.join("rows"), Options::new(EngineKind::Sled, "test")).expect("opens");
        let rooms = || (store.reader().clone(), store.writer().clone());
        let (reader, writer) = rooms();
        let accounts = Accounts::open(reader, writer, data.layout()).expect("opens");
        let (reader, writer) = rooms();
        let permissioned = Permissioned::new(reader, writer, accounts.clone(), 7, dir.join("spool"));
        Self { store, accounts, permissioned, _data: data }
    }

    pub(super) fn account(&self, name: &str) -> Account {
        let new = new_account(&format!("did:plc:{name}"), &format!("{name}.test"), None);
        self.accounts.create_blocking(new, |_, _, _| Ok::<_, AccountError>(())).expect("made")
    }

    fn close(self) {
        drop((self.accounts, self.permissioned));
        self.store.close().expect("closes");
    }

    pub(super) async fn space(&self, owner: &Account, members: &[&Account]) -> SpaceUri {
        let (kind, key) = ("com.example.forum".parse().expect("an NSID"), "self".parse().expect("a key"));
        let made = self.permissioned.create_space(owner, kind, Some(key), SpaceConfig::default()).await;
        let space = made.expect("made");
        let may = Some(Member { read: true, write: true });
        let list = members.iter().map(|member| (member.did().clone(), may)).collect();
        self.permissioned.set_members(&space, list).await.expect("set");
        space
    }

    /// What a repository holds, by all its records, checked against its head.
    pub(super) async fn contents(&self, space: &SpaceUri, author: &Account) -> BTreeMap<String, Cid> {
        let mut found = BTreeMap::new();
        let mut cursor = None;
        loop {
            let page = self.permissioned.list(space, author.did(), None, cursor, 7, true).await.expect("reads");
            for Listed { path, record } in page.records {
                assert!(record.cid.matches(&record.bytes));
                found.insert(path.to_string(), record.cid);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let head = self.permissioned.head(space, author.did()).await.expect("reads");
        let mut hash = SetHash::default();
        found.iter().for_each(|(path, cid)| hash.add(path, *cid));
        let (is, records) = head.map_or_else(|| (SetHash::default(), 0), |head| (head.hash, head.records));
        assert_eq!((is, records), (hash, found.len() as u64));
        found
    }
}

pub(super) fn record(text: &str) -> NewRecord {
    NewRecord::new(&Value::Map([("text".to_owned(), Value::String(text.to_owned()))].into()))
}

fn path(name: &str) -> RepoPath {
    format!("com.example.post/{name}").parse().expect("a path")
}

pub(super) fn write(name: &str, action: Action) -> PermissionedWrite {
    PermissionedWrite { path: path(name), action, swap: None }
}

#[tokio::test]
async fn random_writes_leave_what_a_map_would_hold_also_after_a_restart() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut node = Node::open(dir.path());
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    let mut model = BTreeMap::new();
    for round in 0..120 {
        let mut writes = Vec::new();
        let mut after = model.clone();
        let mut fails = false;
        for n in 0..random.random_range(1..4) {
            let name = format!("{}{n}", random.random_range(0..8));
            let (key, record) = (path(&name).to_string(), record(&random.random::<u32>().to_string()));
            let action = match random.random_range(0..4) {
                0 => Action::Create(record.clone()),
                1 => Action::Put(record.clone()),
                2 => Action::Delete,
                _ => Action::Remove,
            };
            fails |= match &action {
                Action::Create(_) => after.contains_key(&key),
                Action::Delete => !after.contains_key(&key),
                _ => false,
            };
            match &action {
                Action::Create(_) | Action::Put(_) => drop(after.insert(key, record.cid())),
                _ => drop(after.remove(&key)),
            }
            writes.push(write(&name, action));
        }
        let wrote = node.permissioned.write(&ada, &space, writes).await;
        assert_eq!(wrote.is_err(), fails, "round {round}: {wrote:?}");
        if !fails {
            assert_eq!(wrote.expect("written").is_some(), after != model, "a head is made for a change alone");
            model = after;
        }
        if round % 40 == 39 {
            node.close();
            node = Node::open(dir.path());
        }
    }
    assert_eq!(node.contents(&space, &ada).await, model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_side_by_side_lose_nothing_and_are_told_of_in_one_order() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let (ada, bob) = (node.account("ada"), node.account("bob"));
    let space = node.space(&ada, &[&bob]).await;
    let mut tasks = Vec::new();
    for n in 0..40 {
        for author in [&ada, &bob] {
            let (permissioned, author, space) = (node.permissioned.clone(), author.clone(), space.clone());
            tasks.push(tokio::spawn(async move {
                let write = write(&format!("n{n}"), Action::Create(record(&n.to_string())));
                permissioned.write(&author, &space, vec![write]).await.expect("written").expect("a change")
            }));
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    for author in [&ada, &bob] {
        assert_eq!(node.contents(&space, author).await.len(), 40);
        let (account, repo) = node.permissioned.repo(&space, author.did()).await.expect("reads").expect("there");
        let ops = node.permissioned.ops(&account, &repo, None, 1000).await.expect("reads").expect("all are kept");
        let mut copy = angel_protocol::permissioned::Head::empty();
        ops.iter().for_each(|(rev, op)| copy.advance(*rev, [op]).expect("it follows"));
        assert_eq!(copy, repo.head, "the log leads to the head");
    }
    // The event log has each write once, in an order in which revisions of one author rise.
    let told = events::after(node.store.reader(), 0, 1000).expect("reads").events;
    let written: Vec<_> = told.iter().filter_map(|event| written(event).expect("reads")).collect();
    assert_eq!(written.len(), 80);
    for author in [&ada, &bob] {
        let revs: Vec<_> = written.iter().filter(|one| one.author == *author.did()).map(|one| one.rev).collect();
        assert!(revs.is_sorted());
    }
    let writers = rows::writers(node.store.reader(), space.digest(), None, 10).expect("reads");
    assert_eq!(writers.len(), 2);
    for writer in writers {
        let head = node.permissioned.head(&space, &writer.did).await.expect("reads").expect("there");
        assert_eq!((writer.rev, writer.hash), (head.rev, head.hash.digest()));
    }
}

#[tokio::test]
async fn whoever_is_not_on_the_list_is_told_of_no_space() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let (ada, bob, eve) = (node.account("ada"), node.account("bob"), node.account("eve"));
    let space = node.space(&ada, &[&bob]).await;
    let one = || vec![write("a", Action::Put(record("a")))];
    let nowhere: SpaceUri = space.to_string().replace("self", "nowhere").parse().expect("a space");
    node.permissioned.write(&bob, &space, one()).await.expect("a member");
    for place in [&space, &nowhere] {
        let refused = node.permissioned.write(&eve, place, one()).await.expect_err("no member");
        assert_eq!(refused.to_string(), PermissionedError::SpaceNotFound.to_string());
    }
    assert!(node.permissioned.may_read(&space, bob.did()).await.expect("reads"));
    assert!(!node.permissioned.may_read(&space, eve.did()).await.expect("reads"));
    // Taken off the list, a member is a stranger from then on.
    node.permissioned.set_member(&space, bob.did(), None).await.expect("set");
    assert!(!node.permissioned.may_read(&space, bob.did()).await.expect("reads"));
    let refused = node.permissioned.write(&bob, &space, vec![write("b", Action::Put(record("b")))]).await;
    assert!(matches!(refused, Err(PermissionedError::SpaceNotFound)));
    // A public space takes everybody.
    let open = ConfigChange { read: Some(Policy::Public), write: Some(Policy::Public), apps: None };
    node.permissioned.update_space(&space, open).await.expect("set");
    node.permissioned.write(&eve, &space, one()).await.expect("everybody may");
}

#[tokio::test]
async fn a_deleted_space_is_gone_and_one_made_anew_holds_nothing_of_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let (ada, bob) = (node.account("ada"), node.account("bob"));
    let space = node.space(&ada, &[&bob]).await;
    for author in [&ada, &bob] {
        node.permissioned.write(author, &space, vec![write("a", Action::Put(record("a")))]).await.expect("written");
    }
    node.permissioned.delete_space(&space).await.expect("deleted");
    assert!(matches!(node.permissioned.space(&space).await, Err(PermissionedError::SpaceDeleted)));
    let refused = node.permissioned.write(&bob, &space, vec![write("b", Action::Put(record("b")))]).await;
    assert!(matches!(refused, Err(PermissionedError::SpaceDeleted)));
    assert!(node.contents(&space, &ada).await.is_empty(), "the authority's own records go with the space");
    assert_eq!(node.contents(&space, &bob).await.len(), 1, "those of others stay theirs");
    assert!(node.permissioned.spaces_of(&ada, None, 10).await.expect("reads").is_empty());

    let again = node.space(&ada, &[]).await;
    assert_eq!(again, space);
    assert_eq!(node.permissioned.members(&space, None, 10).await.expect("reads"), MemberPage::default());
    node.permissioned.write(&ada, &space, vec![write("c", Action::Put(record("c")))]).await.expect("written");
    assert_eq!(node.contents(&space, &ada).await.len(), 1);
    let told = events::after(node.store.reader(), 0, 1000).expect("reads").events;
    let deleted = told.iter().filter_map(|event| changed(event).expect("reads"));
    assert_eq!(deleted.filter(|one| one.change == Change::Deleted).count(), 1);
}

#[tokio::test]
async fn nothing_private_shows_in_what_is_public() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    let blob = BlobRef { cid: Cid::of(Codec::Raw, b"secret"), mime_type: "text/plain".to_owned(), size: Some(6) };
    let reader = node.store.reader();
    let mut batch = Batch::new();
    blobs::stage_upload(reader, &mut batch, ada.id(), &blob, clock::now()).expect("staged");
    node.store.writer().commit(batch).expect("written");
    let naming = NewRecord::new(&Value::Map([("picture".to_owned(), blob.to_value())].into()));
    let wrote = node.permissioned.write(&ada, &space, vec![write("a", Action::Create(naming))]).await;
    wrote.expect("written").expect("a change");

    // The blob is held, but no public method has it; whoever may read the space does.
    let of_ada = |cid| blobs::is_public(reader, ada.id(), cid).expect("reads");
    assert!(!of_ada(blob.cid));
    assert!(blobs::is_named(reader, ada.id(), blob.cid).expect("reads"));
    assert!(blobs::is_in_space(reader, ada.id(), &space.digest(), blob.cid).expect("reads"));
    assert!(!blobs::is_in_space(reader, ada.id(), &[0; 32], blob.cid).expect("reads"));
    assert!(blobs::list(reader, ada.id(), None, None, 10).expect("reads").is_empty());
    assert_eq!(blobs::counts(reader, ada.id()).expect("reads").named, 0);
    let listed = blobs::list_in_space(reader, ada.id(), &space.digest(), None, None, 10).expect("reads");
    assert_eq!(listed, [blob.cid]);

    // Events of private data are none that the public stream carries.
    let told = events::after(reader, 0, 1000).expect("reads").events;
    let private: Vec<_> = told.iter().filter(|event| matches!(event.kind, WRITTEN | CHANGED)).collect();
    assert_eq!(private.len(), 2);
    for event in private {
        assert_eq!(firehose::frame(event), None);
    }
}

#[tokio::test]
async fn what_cannot_be_written_changes_nothing_and_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    let many = (0..201).map(|n| write(&format!("n{n}"), Action::Put(record("a")))).collect();
    let refused = node.permissioned.write(&ada, &space, many).await;
    assert!(matches!(refused, Err(PermissionedError::TooManyWrites)));
    let twice = vec![write("a", Action::Put(record("a"))), write("a", Action::Put(record("b")))];
    let refused = node.permissioned.write(&ada, &space, twice).await;
    assert!(matches!(refused, Err(PermissionedError::Repeated(1))));
    let swap =
        PermissionedWrite { swap: Some(Swap::Record(record("x").cid())), ..write("a", Action::Put(record("a"))) };
    let refused = node.permissioned.write(&ada, &space, vec![swap]).await;
    assert!(matches!(refused, Err(PermissionedError::RecordSwapped(0))));
    let absent = BlobRef { cid: Cid::of(Codec::Raw, b"none"), mime_type: "text/plain".to_owned(), size: Some(4) };
    let naming = NewRecord::new(&Value::Map([("picture".to_owned(), absent.to_value())].into()));
    let refused = node.permissioned.write(&ada, &space, vec![write("a", Action::Put(naming))]).await;
    assert!(matches!(refused, Err(PermissionedError::Blob(_))));
    assert!(node.contents(&space, &ada).await.is_empty());
    let kind = space.space_type.clone();
    let again = node.permissioned.create_space(&ada, kind, Some(space.key.clone()), SpaceConfig::default()).await;
    assert!(matches!(again, Err(PermissionedError::SpaceExists)));
    let long = format!("did:web:{}.example", "a".repeat(1500)).parse().expect("a DID");
    let refused = node.permissioned.set_member(&space, &long, Some(Member { read: true, write: true })).await;
    assert!(matches!(refused, Err(PermissionedError::KeyTooLong)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_whole_repository_is_read_as_it_was_while_its_author_goes_on_writing() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let ada = node.account("ada");
    let space = node.space(&ada, &[]).await;
    // Names of mixed lengths, some of them many of one length, and records of more than a row.
    let names: Vec<_> =
        (0..900).map(|n| if n < 600 { format!("n{n:05}") } else { "x".repeat(n % 90 + 1) + &n.to_string() }).collect();
    for some in names.chunks(150) {
        let record = |n: &String| record(&n.repeat(if n.len() == 10 { 3000 } else { 1 }));
        let writes = some.iter().map(|name| write(name, Action::Create(record(name)))).collect();
        node.permissioned.write(&ada, &space, writes).await.expect("written");
    }
    let before = node.contents(&space, &ada).await;
    let head = node.permissioned.head(&space, ada.did()).await.expect("reads").expect("there");

    let mut export = node.permissioned.export(&ada, &space).await.expect("begins");
    let mut file = Vec::new();
    while let Some((piece, more)) = export.next().await.expect("reads") {
        file.extend_from_slice(&piece);
        export = more;
        // Records are rewritten, taken away and added behind the reader and ahead of it.
        for _ in 0..40 {
            let name = &names[random.random_range(0..names.len())];
            let action =
                if random.random() { Action::Put(record(&random.random::<u32>().to_string())) } else { Action::Remove };
            node.permissioned.write(&ada, &space, vec![write(name, action)]).await.expect("written");
        }
    }
    let mut reader = angel_protocol::permissioned::wire::car::RepoCarReader::default();
    let (mut commit, mut entries, mut records, mut rest) = (None, Vec::new(), Vec::new(), file.as_slice());
    loop {
        use angel_protocol::permissioned::wire::car::Found;
        match reader.read(&mut rest).expect("a repository") {
            Some(Found::Commit(found)) => commit = Some(found),
            Some(Found::Entry(path, cid)) => entries.push((path.to_string(), cid)),
            Some(Found::IndexEnd(hash)) => assert_eq!(hash, head.hash),
            Some(Found::Record(block)) => records.push(block),
            None => break,
        }
    }
    reader.finish().expect("whole");
    assert_eq!(entries.iter().cloned().collect::<BTreeMap<_, _>>(), before);
    assert!(entries.iter().map(|(_, cid)| *cid).eq(records.iter().map(angel_protocol::data::Block::cid)));
    let key = node.accounts.signing_key(ada.id()).await.expect("reads").public();
    let commit = commit.expect("there is one");
    assert_eq!((commit.rev, commit.verify(&space, ada.did(), key)), (head.rev, Ok(())));

    // What was kept for it is let go of, and an empty repository has a file as well.
    let slot = node.permissioned.shared.slots.slot(repo_key(ada.id(), &space));
    assert!(before.values().all(|cid| slot.retained(cid).is_none()));
    let nobody = node.account("bob");
    let none = node.permissioned.export(&nobody, &space).await;
    assert!(matches!(none.map(drop), Err(PermissionedError::RepoNotFound)));
}

#[tokio::test]
async fn what_a_deleted_account_wrote_and_managed_goes_with_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = Node::open(dir.path());
    let (ada, bob) = (node.account("ada"), node.account("bob"));
    let space = node.space(&ada, &[&bob]).await;
    for author in [&ada, &bob] {
        node.permissioned.write(author, &space, vec![write("a", Action::Put(record("a")))]).await.expect("written");
    }
    node.permissioned.delete_all_blocking(ada.id()).expect("cleared");
    let reader = node.store.reader();
    assert!(rows::spaces_of(reader, ada.id(), None, 10).expect("reads").is_empty());
    assert!(rows::members(reader, space.digest(), None, 10).expect("reads").is_empty());
    assert!(node.permissioned.repos_of(&ada, None, 10).await.expect("reads").is_empty());
    assert_eq!(node.contents(&space, &bob).await.len(), 1, "what others wrote is theirs");
}

/// The code that makes a tenant's workspace and the document that declares what one is name the same kind.
#[test]
fn a_tenants_workspace_is_of_the_kind_that_its_document_declares() {
    let kind = angel_protocol::permissioned::kinds::workspace();
    let space = crate::tenants::workspace(&"did:web:a.example".parse().expect("a DID"));
    assert!(kind.is(&space), "{space} is no {}", kind.nsid());
    assert!(kind.declaration().key.accepts(space.key.as_str()), "{space}");
}

//! Repositories on a real store: what is written is what a map would hold, across restarts, side by side, and whatever
//! readers are doing.

mod copies;
mod exports;
mod imports;
mod nodes;
mod subjects;
mod writes;

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
use rand::seq::SliceRandom as _;
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

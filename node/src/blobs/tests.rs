//! Blobs on a real disk and a real store.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::data::{BlobRef, Codec};
use angel_protocol::ids::RepoPath;
use angel_storage::Store;
use angel_storage::blobs::{Absent, FILE_STAYS_FOR, Naming, UNNAMED_FOR};
use futures::stream;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::config::ByteSize;

const ADA: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    dir: TempDir,
    store: Store,
    blobs: Blobs,
}

impl World {
    fn new() -> Self {
        let (dir, store) = (tempfile::tempdir().expect("a directory"), Store::in_memory().expect("starts"));
        let blobs = Self::open(&dir, &store);
        Self { dir, store, blobs }
    }

    fn open(dir: &TempDir, store: &Store) -> Blobs {
        let config = BlobsConfig { size_max: ByteSize::from_mib(2) };
        Blobs::open(dir.path().join("blobs"), store.reader().clone(), store.writer().clone(), &config).expect("opens")
    }

    async fn upload(&self, account: AccountId, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let chunks: Vec<_> =
            bytes.chunks(7000).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))).collect();
        self.blobs.upload(account, Some("text/plain".to_owned()), stream::iter(chunks)).await
    }

    fn name(&self, account: AccountId, added: &[BlobRef], removed: &[BlobRef]) {
        let path: RepoPath = "com.example.note/1".parse().expect("valid");
        let rev = "3jzfcijpj2z2a".parse().expect("valid");
        let naming = Naming { account, path: &path, rev, now: clock::now(), absent: Absent::Refuse };
        let mut batch = Batch::new();
        blobs::stage_refs(self.store.reader(), &mut batch, naming, added, removed).expect("the blobs are here");
        self.store.writer().commit(batch).expect("commits");
    }

    async fn bytes(&self, account: AccountId, cid: Cid) -> Option<Vec<u8>> {
        let blob = self.blobs.get(account, cid).await.expect("reads")?;
        let size = blob.size;
        let bytes = axum::body::to_bytes(blob.into_body(), usize::MAX).await.expect("reads");
        assert_eq!(bytes.len() as u64, size);
        Some(bytes.to_vec())
    }

    fn files(&self) -> Vec<Cid> {
        let dirs = self.blobs.0.files.dirs().expect("reads");
        dirs.iter().flat_map(|dir| Files::blobs_in(dir).expect("reads")).collect()
    }

    fn temporary_files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("blobs/tmp")).expect("reads").count()
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n * n % 251).expect("below 251")).collect()
}

#[tokio::test]
async fn what_goes_up_comes_back_once_a_record_names_it() {
    let world = World::new();
    for length in [0, 1, READ_BYTES, READ_BYTES + 1, 2 << 20] {
        let content = bytes(length);
        let blob = world.upload(ADA, &content).await.expect("taken");
        assert_eq!((blob.cid, blob.size), (Cid::of(Codec::Raw, &content), Some(length as u64)));
        assert_eq!(world.bytes(ADA, blob.cid).await, None, "no record names it");
        world.name(ADA, std::slice::from_ref(&blob), &[]);
        assert_eq!(world.bytes(ADA, blob.cid).await.as_ref(), Some(&content));
        assert_eq!(world.bytes(BOB, blob.cid).await, None, "not Bob's");
    }
    assert_eq!(world.temporary_files(), 0);
}

#[tokio::test]
async fn too_much_and_too_little_leave_nothing_behind() {
    let world = World::new();
    let refused = world.upload(ADA, &bytes((2 << 20) + 1)).await.expect_err("one byte too many");
    assert!(matches!(refused, BlobError::TooLarge { max } if max == 2 << 20));
    let broken = stream::iter([Ok(Bytes::from(bytes(300_000))), Err("reset by peer")]);
    let refused = world.blobs.upload(ADA, None, broken).await.expect_err("cut short");
    assert!(matches!(refused, BlobError::Interrupted(_)));
    let no_type =
        world.blobs.upload(ADA, Some("nonsense".to_owned()), stream::iter([Ok::<_, Infallible>(Bytes::new())]));
    assert!(matches!(no_type.await.expect_err("no media type"), BlobError::MediaType));
    assert_eq!(world.files(), []);
    tokio::time::timeout(PATIENCE, async {
        while world.temporary_files() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("what was begun is removed");
}

#[tokio::test]
async fn an_upload_that_was_under_way_when_the_node_stopped_is_removed_at_the_next_start() {
    let world = World::new();
    let blob = world.upload(ADA, &bytes(10)).await.expect("taken");
    std::fs::write(world.dir.path().join("blobs/tmp/half"), b"half").expect("written");
    // In its place, and the row was not written any more.
    let stray = Cid::of(Codec::Raw, b"stray");
    let mut temp = world.blobs.0.files.temp().expect("made");
    temp.write(b"stray").expect("written");
    world.blobs.0.files.place(&mut temp, stray).expect("placed");

    let again = World::open(&world.dir, &world.store);
    assert_eq!(world.temporary_files(), 0);
    assert_eq!(world.files().len(), 2);
    again.remove_strays().await.expect("reads");
    assert_eq!(world.files(), [blob.cid]);
}

#[tokio::test]
async fn a_file_goes_when_its_last_owner_has_let_it_go() {
    let world = World::new();
    let blob = world.upload(ADA, b"shared").await.expect("taken");
    world.upload(BOB, b"shared").await.expect("taken");
    world.name(ADA, std::slice::from_ref(&blob), &[]);
    world.name(BOB, std::slice::from_ref(&blob), &[]);
    world.name(ADA, &[], std::slice::from_ref(&blob));
    assert_eq!(world.bytes(ADA, blob.cid).await, None, "at once");
    let day = clock::now() + UNNAMED_FOR;
    world.blobs.sweep(day).await.expect("sweeps");
    world.blobs.sweep(day + FILE_STAYS_FOR).await.expect("sweeps");
    assert_eq!(world.bytes(BOB, blob.cid).await.as_deref(), Some(b"shared".as_slice()));

    world.blobs.delete_all_blocking(BOB).expect("removed");
    assert_eq!(world.bytes(BOB, blob.cid).await, None);
    world.blobs.sweep(clock::now()).await.expect("sweeps");
    assert_eq!(world.files(), [blob.cid], "for a while the file stays");
    world.blobs.sweep(clock::now() + FILE_STAYS_FOR).await.expect("sweeps");
    assert_eq!(world.files(), []);
}

#[tokio::test]
async fn one_account_cannot_hold_all_places() {
    let world = World::new();
    let open = Arc::new(Notify::new());
    let slow = || {
        let (blobs, open) = (world.blobs.clone(), Arc::clone(&open));
        let body = Box::pin(stream::once(async move {
            open.notified().await;
            Ok::<_, Infallible>(Bytes::from_static(b"slow"))
        }));
        tokio::spawn(async move { blobs.upload(ADA, None, body).await })
    };
    let held: Vec<_> = (0..UPLOADS_PER_ACCOUNT_MAX).map(|_| slow()).collect();
    let under_way = || world.blobs.0.uploading.lock().expect("not poisoned").get(&ADA).copied();
    tokio::time::timeout(PATIENCE, async {
        while under_way() != Some(UPLOADS_PER_ACCOUNT_MAX) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all began");
    let refused = world.upload(ADA, b"one more").await.expect_err("too many");
    assert!(matches!(refused, BlobError::TooManyUploads));
    world.upload(BOB, b"somebody else").await.expect("taken");
    open.notify_waiters();
    for upload in held {
        upload.await.expect("ends").expect("taken");
    }
    assert_eq!(under_way(), None);
    world.upload(ADA, b"one more").await.expect("taken");
}

#[tokio::test]
async fn copies_are_given_what_nobody_may_read_and_go_on_where_they_stopped() {
    let world = World::new();
    for length in [5, READ_BYTES + 7] {
        let content = bytes(length);
        let blob = world.upload(ADA, &content).await.expect("taken");
        assert_eq!(world.bytes(ADA, blob.cid).await, None, "no public record names it");
        assert!(world.blobs.get_for_copy(BOB, blob.cid).await.expect("reads").is_none(), "not Bob's");
        for from in [0, 1, 3, length as u64] {
            let copy = world.blobs.get_for_copy(ADA, blob.cid).await.expect("reads").expect("Ada's");
            let rest = copy.into_range(from..length as u64);
            let rest = axum::body::to_bytes(rest, usize::MAX).await.expect("reads");
            assert_eq!(rest, content[usize::try_from(from).expect("small")..], "behind {from} of {length}");
        }
    }
}

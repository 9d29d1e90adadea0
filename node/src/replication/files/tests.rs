//! Real blobs and partial files on a real disk; the primary at the other end of the streams does what the test wants.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use angel_protocol::data::{BlobRef, Codec};
use angel_protocol::ids::{Did, RepoPath};
use angel_storage::blobs::{Absent, Naming, stage_refs};
use angel_storage::{Batch, Store};
use futures::FutureExt;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::Barrier;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;
use crate::clock;
use crate::config::{BlobsConfig, ByteSize};
use crate::replication::coming::Coming;
use crate::replication::stream::PIECE_BYTES;

const ADA: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

/// What a stream takes before whoever writes to it waits.
const WINDOW: usize = 64 * 1024;

/// What the primary does when it is asked for a file.
#[derive(Clone)]
enum Deed {
    Sends,
    /// Sends other bytes, as many.
    Lies,
    /// Announces as many, and sends one more.
    Overdoes,
    /// Sends nothing, again and again.
    Stalls,
    /// Sends so many and breaks off.
    BreaksOff(usize),
    IsGone,
}

struct Primary {
    files: BTreeMap<Cid, (Vec<u8>, Deed)>,
    /// Sends nothing before so many files are asked for.
    together: Option<Barrier>,
    asked: AtomicUsize,
    asked_max: AtomicUsize,
    opened: AtomicUsize,
    sent: AtomicU64,
}

struct World {
    dir: TempDir,
    store: Store,
    blobs: Blobs,
    partials: Partials,
    coming: Coming,
}

fn bytes(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| ((at + number) % 251) as u8).chain(number.to_be_bytes()).collect()
}

impl Primary {
    fn of(sizes: &[usize], deed: impl Fn(usize) -> Deed) -> Self {
        let file = |(number, size): (usize, &usize)| {
            let bytes = bytes(number, *size);
            (Cid::of(Codec::Raw, &bytes), (bytes, deed(number)))
        };
        Self {
            files: sizes.iter().enumerate().map(file).collect(),
            together: None,
            asked: AtomicUsize::new(0),
            asked_max: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// As it is, but for what it does.
    fn doing(self: Arc<Self>, deed: impl Fn(usize) -> Deed) -> Arc<Self> {
        let files = self.files.iter().enumerate();
        let files = files.map(|(number, (cid, (bytes, _)))| (*cid, (bytes.clone(), deed(number)))).collect();
        Arc::new(Self { files, ..Self::of(&[], |_| Deed::Sends) })
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|(bytes, _)| bytes.len() as u64).sum()
    }

    fn open(self: &Arc<Self>) -> impl Future<Output = Result<Compat<DuplexStream>, ReplicationError>> + Send + use<> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (here, there) = tokio::io::duplex(WINDOW);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut there = there.compat();
            // The other side goes when it has what it wants.
            while let Ok(Some(Question::File(file))) = frames::question(&mut there).await {
                if this.answer(&mut there, &file).await.is_err() {
                    break;
                }
            }
        });
        async move { Ok(here.compat()) }
    }

    async fn answer(&self, io: &mut Compat<DuplexStream>, file: &File) -> std::io::Result<()> {
        let (bytes, deed) = &self.files[&file.cid];
        let now = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.asked_max.fetch_max(now, Ordering::Relaxed);
        if let Some(together) = &self.together {
            together.wait().await;
        }
        let mut bytes = bytes.clone();
        let size = Some(bytes.len() as u64);
        let mut breaks_off = usize::MAX;
        match deed {
            Deed::Sends => {}
            Deed::Lies => bytes.fill(9),
            Deed::Overdoes => bytes.push(0),
            Deed::Stalls => {
                frames::answer(io, &Answer::Begins { bytes: size, sequence: 0, media_type: None }).await?;
                loop {
                    frames::answer(io, &Answer::Piece(Vec::new().into())).await?;
                }
            }
            Deed::BreaksOff(at) => breaks_off = *at,
            Deed::IsGone => {
                self.asked.fetch_sub(1, Ordering::Relaxed);
                return frames::answer(io, &Answer::Refused(Refusal::NotFound)).await;
            }
        }
        frames::answer(io, &Answer::Begins { bytes: size, sequence: 0, media_type: None }).await?;
        let from = usize::try_from(file.from).expect("small").min(bytes.len());
        let mut sent = 0;
        for piece in bytes[from..].chunks(PIECE_BYTES) {
            let piece = &piece[..piece.len().min(breaks_off - sent)];
            frames::answer(io, &Answer::Piece(piece.to_vec().into())).await?;
            sent += piece.len();
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if sent == breaks_off {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
        }
        // Before the end is told: whoever hears of it asks for the next.
        self.asked.fetch_sub(1, Ordering::Relaxed);
        frames::answer(io, &Answer::End).await
    }
}

impl World {
    /// With records that name all files of a primary.
    fn naming(primary: &Primary) -> Self {
        let (dir, store) = (tempfile::tempdir().expect("a directory"), Store::in_memory().expect("starts"));
        let config = BlobsConfig { size_max: ByteSize::from_mib(4) };
        let at = dir.path().join("blobs");
        let blobs = Blobs::open(at, store.reader().clone(), store.writer().clone(), &config).expect("opens");
        let partials = Partials::new(dir.path().join("copies"));
        let mut batch = Batch::new();
        for (number, cid) in primary.files.keys().enumerate() {
            let path: RepoPath = format!("com.example.note/{number}").parse().expect("valid");
            let rev = "3jzfcijpj2z2a".parse().expect("valid");
            let naming = Naming { account: ADA, path: &path, rev, now: clock::now(), absent: Absent::Note };
            let blob = BlobRef { cid: *cid, mime_type: "text/plain".to_owned(), size: None };
            stage_refs(store.reader(), &mut batch, naming, &[blob], &[]).expect("it may follow");
        }
        store.writer().commit(batch).expect("commits");
        Self { dir, store, blobs, partials, coming: Coming::default() }
    }

    /// As whoever follows the tenant does: where a write of before is still under way, it is tried again.
    async fn fetch(
        &self,
        primary: &Arc<Primary>,
        room: u64,
        wanting: &mut Wanting,
        taken: &mut u64,
    ) -> Result<Left, ReplicationError> {
        loop {
            match self.fetch_now(primary, room, wanting, taken).await {
                Err(ReplicationError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    tokio::task::yield_now().await;
                }
                fetched => return fetched,
            }
        }
    }

    async fn fetch_now(
        &self,
        primary: &Arc<Primary>,
        room: u64,
        wanting: &mut Wanting,
        taken: &mut u64,
    ) -> Result<Left, ReplicationError> {
        let due = due(&self.blobs, ADA, wanting).await?;
        let did: Did = "did:web:shop.example".parse().expect("a DID");
        let (of, open) = (Of { tenant: did, epoch: 1 }, || primary.open());
        let came = |_| {};
        let free = || Ok::<_, ReplicationError>((room, BTreeSet::from([ADA, BOB])));
        let room = self.coming.room_blocking(ADA, free).expect("there is nothing to read");
        let fetching = Fetching::begin(&self.blobs, &self.partials, ADA, of, open, room, &due, &came).await?;
        fetching.run(due, wanting, taken).await
    }

    /// Bytes of files, whole and partial, on the disk.
    fn on_disk(&self) -> u64 {
        fn under(path: &Path) -> u64 {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let size = |path: &Path| if path.is_dir() { under(path) } else { path.metadata().map_or(0, |it| it.len()) };
            entries.map(|entry| size(&entry.path())).sum()
        }
        under(self.dir.path())
    }

    async fn has_all(&self, primary: &Primary) -> bool {
        for (cid, (bytes, _)) in &primary.files {
            let Some(blob) = self.blobs.get_for_copy(ADA, *cid).await.expect("reads") else { return false };
            if axum::body::to_bytes(blob.into_body(), usize::MAX).await.expect("reads") != *bytes {
                return false;
            }
        }
        angel_storage::blobs::bytes_of(self.store.reader(), ADA).expect("reads") == primary.bytes()
    }
}

#[tokio::test]
async fn several_are_asked_for_at_once_and_all_come() {
    let sizes = [0, 1, 1_000, 256 * 1024, 300_000, 1_000_000, 2_000_000, 5_000].repeat(2);
    let together = Some(Barrier::new(AT_ONCE));
    let primary = Arc::new(Primary { together, ..Primary::of(&sizes, |_| Deed::Sends) });
    let world = World::naming(&primary);
    let mut taken = 0;
    // Were fewer asked for at once, nothing would ever come.
    let left = world.fetch(&primary, u64::MAX, &mut Wanting::default(), &mut taken).await.expect("they come");
    assert_eq!(left, Left::Nothing);
    assert_eq!((taken, primary.asked_max.load(Ordering::Relaxed)), (primary.bytes(), AT_ONCE));
    assert_eq!(primary.opened.load(Ordering::Relaxed), AT_ONCE, "one stream after another serves many files");
    assert!(world.has_all(&primary).await);
    assert_eq!(world.on_disk(), primary.bytes(), "nothing else is left");
}

#[tokio::test]
async fn more_than_one_pass_takes_is_fetched_in_several() {
    let primary = Arc::new(Primary::of(&[10; PASS + 3], |_| Deed::Sends));
    let world = World::naming(&primary);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    let first = world.fetch(&primary, u64::MAX, &mut wanting, &mut taken).await.expect("they come");
    assert_eq!(first, Left::More);
    let then = world.fetch(&primary, u64::MAX, &mut wanting, &mut taken).await.expect("they come");
    assert_eq!((then, taken), (Left::Nothing, primary.bytes()));
}

#[tokio::test]
async fn what_was_cut_off_goes_on_where_it_was() {
    let sizes = [1_500_000; AT_ONCE];
    let cut = Arc::new(Primary::of(&sizes, |_| Deed::BreaksOff(1_000_000)));
    let world = World::naming(&cut);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    let refused = world.fetch(&cut, u64::MAX, &mut wanting, &mut taken).await.expect_err("it broke off");
    assert!(matches!(refused, ReplicationError::Io(_)), "{refused}");
    assert_eq!(taken, 0);
    let there = world.on_disk();
    assert!(there > 0, "what came stays");
    let whole = Arc::clone(&cut).doing(|_| Deed::Sends);
    let left = world.fetch(&whole, u64::MAX, &mut wanting, &mut taken).await.expect("the rest comes");
    assert_eq!((left, taken), (Left::Nothing, whole.bytes()));
    let sent = whole.sent.load(Ordering::Relaxed);
    assert!(sent <= whole.bytes() - there + AT_ONCE as u64 * 4096, "{sent} bytes came again, {there} were there");
    assert!(world.has_all(&whole).await);
}

#[tokio::test]
async fn who_is_stopped_leaves_what_has_come_and_nothing_that_runs() {
    // The primary never goes on: one more would have to ask.
    let sizes = [1_000_000; AT_ONCE];
    let primary = Arc::new(Primary::of(&sizes, |_| Deed::Sends));
    let stuck = Arc::new(Primary { together: Some(Barrier::new(AT_ONCE + 1)), ..Primary::of(&sizes, |_| Deed::Sends) });
    let world = World::naming(&primary);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    {
        let cut = Arc::clone(&primary).doing(|number| if number == 0 { Deed::BreaksOff(900_000) } else { Deed::Sends });
        drop(world.fetch(&cut, u64::MAX, &mut wanting, &mut taken).await);
        while world.partials.of_blocking(ADA).is_err() {
            tokio::task::yield_now().await;
        }
        let waits = world.fetch(&stuck, u64::MAX, &mut wanting, &mut taken);
        tokio::pin!(waits);
        while stuck.asked.load(Ordering::Relaxed) == 0 {
            assert!(waits.as_mut().now_or_never().is_none(), "it waits for the primary");
            tokio::task::yield_now().await;
        }
    }
    let left = world.fetch(&primary, u64::MAX, &mut wanting, &mut taken).await.expect("nobody is in the way");
    assert_eq!((left, taken), (Left::Nothing, primary.bytes()));
    assert!(world.has_all(&primary).await);
}

/// However many are in flight, and however often a primary breaks off and begins others.
#[tokio::test]
async fn no_more_is_taken_than_there_is_room_for() {
    let room = 1_000_000;
    let sizes = [400_000; 3 * AT_ONCE];
    let together = Some(Barrier::new(AT_ONCE));
    let greedy = Arc::new(Primary { together, ..Primary::of(&sizes, |_| Deed::Sends) });
    let world = World::naming(&greedy);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    let refused = world.fetch(&greedy, room, &mut wanting, &mut taken).await.expect_err("there is no room");
    assert!(matches!(refused, ReplicationError::Quota), "{refused}");
    for turn in 0..sizes.len() {
        let others = Arc::clone(&greedy).doing(|number| match number {
            _ if number == turn => Deed::BreaksOff(350_000),
            _ if number < turn => Deed::IsGone,
            _ => Deed::Sends,
        });
        drop(world.fetch(&others, room - taken, &mut Wanting::default(), &mut taken).await);
        assert!(world.on_disk() <= room, "{} bytes lie here, for {room} there is room", world.on_disk());
    }
    assert!(world.on_disk() > 0, "something was taken");
}

#[tokio::test]
async fn what_others_have_in_part_is_no_room() {
    let primary = Arc::new(Primary::of(&[400_000], |_| Deed::Sends));
    let world = World::naming(&primary);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    world.coming.lies(BOB, 700_000);
    let refused = world.fetch(&primary, 1_000_000, &mut wanting, &mut taken).await.expect_err("there is no room");
    assert!(matches!(refused, ReplicationError::Quota), "{refused}");
    world.coming.lies(BOB, 500_000);
    let left = world.fetch(&primary, 1_000_000, &mut wanting, &mut taken).await.expect("there is room");
    assert_eq!((left, taken), (Left::Nothing, primary.bytes()));
    assert_eq!(world.coming.except(Some(BOB)), taken, "until a row counts it");
    // Another has it in the meantime.
    let bob = world.coming.room_blocking(BOB, || Ok::<_, ReplicationError>((1_000_000, BTreeSet::from([ADA, BOB]))));
    assert!(matches!(bob.expect("there is nothing to read").take(200_000), Err(ReplicationError::Quota)));
}

#[tokio::test]
async fn one_that_is_not_as_its_name_says_keeps_none_of_the_others_away() {
    let sizes = [300_000, 400_000, 500_000, 10, 20, 30, 5_000_000, 40, 50];
    let deeds = [
        Deed::Lies,
        Deed::Overdoes,
        Deed::Sends,
        Deed::Lies,
        Deed::Overdoes,
        Deed::IsGone,
        Deed::Sends,
        Deed::Sends,
        Deed::Stalls,
    ];
    let primary = Arc::new(Primary::of(&sizes, |number| deeds[number].clone()));
    let world = World::naming(&primary);
    let (mut wanting, mut taken) = (Wanting::default(), 0);
    let (room, began) = (primary.bytes(), Instant::now());
    let left = world.fetch(&primary, room, &mut wanting, &mut taken).await.expect("the others come");
    assert_eq!(left, Left::Wanting);
    let good = 500_008 + 48;
    assert_eq!((taken, world.on_disk()), (good, good), "of the others nothing is left");
    let all = primary.files.keys();
    let waiting = all.filter(|cid| wanting.waits(cid, began)).count();
    assert_eq!(waiting, sizes.len() - 2, "too large a file is among them");
}

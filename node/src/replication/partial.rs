//! Files on their way to a copy: what has come of a large one is kept on disk, so that after a cut only the rest is asked for.
//!
//! A partial file is believed no more than what comes from the network: it counts once the whole has the digest that its
//! CID names, which the blobs see to. One that is not what it should be is dropped, and begun anew. Each is written by one
//! at a time: whoever follows a tenant may be stopped while a write is under way, and another begin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use angel_protocol::data::Cid;
use angel_storage::AccountId;

use crate::blobs::{BlobError, Blobs, Incoming};

/// Partial files that nobody went on with for so long are dropped.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(7 * 24);

/// Where partial files lie. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Partials {
    dir: PathBuf,
    written: Arc<Mutex<BTreeSet<(AccountId, Cid)>>>,
}

/// The right to write a partial file, for as long as it lives.
#[derive(Debug)]
struct Turn {
    partials: Partials,
    of: (AccountId, Cid),
}

/// A file of which something may have come.
pub(super) struct Partial {
    turn: Turn,
    incoming: Incoming,
}

impl Partials {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, written: Arc::default() }
    }

    /// What there is of files of an account, in bytes. Blocks.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while somebody still writes one; or the directory cannot be read.
    pub(super) fn of_blocking(&self, account: AccountId) -> io::Result<BTreeMap<Cid, u64>> {
        if self.written().iter().any(|(of, _)| *of == account) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut found = BTreeMap::new();
        for (of, entry) in self.entries_blocking()? {
            let name = entry.file_name();
            let cid = name.to_str().and_then(|name| name.split_once('-')?.1.parse().ok());
            if let Some(cid) = cid.filter(|_| of == account) {
                found.insert(cid, entry.metadata()?.len());
            }
        }
        Ok(found)
    }

    /// What has come of files and repositories, in bytes, by whose they are. Blocks.
    pub(super) fn all_blocking(&self) -> io::Result<BTreeMap<AccountId, u64>> {
        let mut found = BTreeMap::new();
        for (account, entry) in self.entries_blocking()? {
            // Whoever has one may just be done with it.
            let bytes = entry.metadata().map_or(0, |it| it.len());
            *found.entry(account).or_default() += bytes;
        }
        Ok(found)
    }

    fn entries_blocking(&self) -> io::Result<Vec<(AccountId, fs::DirEntry)>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let account = entry.file_name().to_str().and_then(|name| name.split_once('-')?.0.parse().ok());
            found.extend(account.map(|account| (AccountId(account), entry)));
        }
        Ok(found)
    }

    /// A file, as far as it has come. Blocks.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while somebody still writes it; or it cannot be opened.
    pub(super) fn open_blocking(&self, blobs: &Blobs, account: AccountId, cid: Cid) -> Result<Partial, BlobError> {
        let path = self.path(account, cid);
        let at = |source| BlobError::File { path: path.clone(), source };
        let turn = self.turn(account, cid).map_err(at)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(at)?;
        Ok(Partial { turn, incoming: blobs.resume_incoming(path.clone())? })
    }

    /// Drops what has come of a file: it is not what it should be, or nothing names it any more. Blocks.
    pub(super) fn remove_blocking(&self, account: AccountId, cid: Cid) -> io::Result<()> {
        let _turn = self.turn(account, cid)?;
        match fs::remove_file(self.path(account, cid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where what has come of the repository of an account lies; the import sees to the rest.
    pub(super) fn repository(&self, account: AccountId) -> PathBuf {
        self.dir.join(format!("{}-repository", account.0))
    }

    /// Drops what has come of a repository. Blocks.
    pub(super) fn remove_repository_blocking(&self, account: AccountId) -> io::Result<()> {
        match fs::remove_file(self.repository(account)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Drops everything that has come of an account, whose copy goes. Blocks.
    pub(super) fn remove_all_blocking(&self, account: AccountId) -> io::Result<()> {
        for cid in self.of_blocking(account)?.into_keys() {
            self.remove_blocking(account, cid)?;
        }
        self.remove_repository_blocking(account)
    }

    /// Drops what nobody went on with, and what is of accounts that have no copy here. Blocks.
    pub(super) fn sweep_blocking(&self, copies: &BTreeSet<AccountId>) -> io::Result<()> {
        for (account, entry) in self.entries_blocking()? {
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > FORGOTTEN_AFTER || !copies.contains(&account) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn turn(&self, account: AccountId, cid: Cid) -> io::Result<Turn> {
        let of = (account, cid);
        let is_free = self.written().insert(of);
        if is_free { Ok(Turn { partials: self.clone(), of }) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn written(&self) -> MutexGuard<'_, BTreeSet<(AccountId, Cid)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, account: AccountId, cid: Cid) -> PathBuf {
        self.dir.join(format!("{}-{cid}", account.0))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.partials.written().remove(&self.of);
    }
}

impl Partial {
    /// Bytes that have come.
    pub(super) const fn bytes(&self) -> u64 {
        self.incoming.bytes()
    }

    /// Appends what comes. Blocks.
    pub(super) fn add_blocking(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.incoming.add(piece)
    }

    /// Makes it the blob, with its row: see [`Incoming::finish`]. What is not the file, or is not taken, goes. Blocks.
    pub(super) fn finish_blocking(self, media_type: Option<&str>) -> Result<(), BlobError> {
        let Self { turn, incoming } = self;
        let (account, cid) = turn.of;
        let taken = incoming.finish(account, media_type, cid);
        let path = turn.partials.path(account, cid);
        if let Err(BlobError::OtherContent(_) | BlobError::TooLarge { .. } | BlobError::TakenDown) = &taken {
            fs::remove_file(&path).map_err(|source| BlobError::File { path, source })?;
        }
        taken.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Codec;
    use angel_storage::Store;
    use tempfile::TempDir;

    use super::*;
    use crate::config::{BlobsConfig, ByteSize};

    const ADA: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);

    fn world() -> (TempDir, Store, Blobs, Partials) {
        let (dir, store) = (tempfile::tempdir().expect("a directory"), Store::in_memory().expect("starts"));
        let config = BlobsConfig { size_max: ByteSize::from_mib(2) };
        let at = dir.path().join("blobs");
        let blobs = Blobs::open(at, store.reader().clone(), store.writer().clone(), &config).expect("opens");
        let partials = Partials::new(dir.path().join("partial"));
        (dir, store, blobs, partials)
    }

    async fn read(blobs: &Blobs, account: AccountId, cid: Cid) -> Vec<u8> {
        let blob = blobs.get_for_copy(account, cid).await.expect("reads").expect("it is there");
        axum::body::to_bytes(blob.into_body(), usize::MAX).await.expect("reads").to_vec()
    }

    #[tokio::test]
    async fn what_has_come_is_there_after_a_cut_and_becomes_the_blob() {
        let (_dir, _store, blobs, partials) = world();
        let all: Vec<u8> = (0..700_001_u32).map(|at| (at % 251) as u8).collect();
        let cid = Cid::of(Codec::Raw, &all);
        let mut first = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        first.add_blocking(&all[..600_000]).expect("writes");
        drop(first);
        let has = partials.of_blocking(ADA).expect("reads")[&cid];
        assert!(has <= 600_000 && 600_000 - has <= 256 * 1024, "{has} bytes lie there");
        assert_eq!(partials.of_blocking(BOB).expect("reads"), BTreeMap::new(), "of another account nothing has come");
        let mut again = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        assert_eq!(again.bytes(), Incoming::resumable(has));
        let rest = usize::try_from(again.bytes()).expect("small");
        again.add_blocking(&all[rest..]).expect("writes");
        again.finish_blocking(Some("image/png")).expect("is what its name says");
        assert!(read(&blobs, ADA, cid).await == all);
        assert_eq!(partials.of_blocking(ADA).expect("reads"), BTreeMap::new(), "it is kept once");
        partials.sweep_blocking(&BTreeSet::from([ADA])).expect("nothing is old");
    }

    /// The node was killed when the file lay in its place and had no row yet.
    #[tokio::test]
    async fn one_that_lies_in_its_place_already_does_not_come_again() {
        let (dir, _store, blobs, partials) = world();
        let all: Vec<u8> = (0..500_001_u32).map(|at| (at % 251) as u8).collect();
        let cid = Cid::of(Codec::Raw, &all);
        let mut first = partials.open_blocking(&blobs, BOB, cid).expect("opens");
        first.add_blocking(&all).expect("writes");
        first.finish_blocking(None).expect("is what its name says");
        let (place, _) = blobs.file_of(cid).expect("it is there");
        fs::hard_link(&place, dir.path().join(format!("partial/{}-{cid}", ADA.0))).expect("as it was left behind");
        let mut again = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        let from = usize::try_from(again.bytes()).expect("small");
        assert!(all.len() - from < 4096, "{from} bytes need not come again");
        again.add_blocking(&vec![9; all.len() - from]).expect("writes");
        assert!(read(&blobs, BOB, cid).await == all, "nobody writes into a blob");
        again.finish_blocking(None).expect_err("other bytes");
        assert!(read(&blobs, BOB, cid).await == all, "nobody writes into a blob");
        fs::hard_link(&place, dir.path().join(format!("partial/{}-{cid}", ADA.0))).expect("as it was left behind");
        let mut again = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        again.add_blocking(&all[from..]).expect("writes");
        again.finish_blocking(None).expect("is what its name says");
        assert!(read(&blobs, ADA, cid).await == all);
        assert_eq!(partials.of_blocking(ADA).expect("reads"), BTreeMap::new(), "it lies in its place alone");
    }

    #[test]
    fn parts_count_as_long_as_their_account_has_a_copy() {
        let (_dir, _store, blobs, partials) = world();
        assert_eq!(partials.all_blocking().expect("reads"), BTreeMap::new());
        for (account, text, bytes) in [(ADA, "a", 400_000), (ADA, "b", 300_000), (BOB, "a", 500_000)] {
            let cid = Cid::of(Codec::Raw, text.as_bytes());
            let mut file = partials.open_blocking(&blobs, account, cid).expect("opens");
            file.add_blocking(&vec![7; bytes]).expect("writes");
        }
        fs::write(partials.repository(BOB), [7; 1_000]).expect("writes");
        let lies = |account| {
            let of = format!("{}-", account);
            let entries = fs::read_dir(&partials.dir).expect("reads").map(|entry| entry.expect("reads"));
            let its = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&of));
            its.map(|entry| entry.metadata().expect("reads").len()).sum::<u64>()
        };
        assert_eq!(partials.all_blocking().expect("reads"), BTreeMap::from([(ADA, lies(1)), (BOB, lies(2))]));
        assert!(lies(1) > 256 * 1024 && lies(2) > 1_000);
        partials.sweep_blocking(&BTreeSet::from([BOB])).expect("sweeps");
        assert_eq!(partials.all_blocking().expect("reads"), BTreeMap::from([(BOB, lies(2))]));
        partials.remove_all_blocking(BOB).expect("removes");
        assert_eq!(partials.all_blocking().expect("reads"), BTreeMap::new());
    }

    #[test]
    fn one_that_is_not_what_its_name_says_goes() {
        let (_dir, _store, blobs, partials) = world();
        let cid = Cid::of(Codec::Raw, b"what was asked for");
        let mut other = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        other.add_blocking(b"something else").expect("writes");
        let refused = other.finish_blocking(None);
        assert!(matches!(refused, Err(BlobError::OtherContent(_))), "{refused:?}");
        let mut large = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        assert_eq!(large.bytes(), 0, "nothing is left of it");
        large.add_blocking(&vec![0; 3 << 20]).expect("writes");
        let refused = large.finish_blocking(None);
        assert!(matches!(refused, Err(BlobError::TooLarge { .. })), "{refused:?}");
        assert_eq!(partials.of_blocking(ADA).expect("reads"), BTreeMap::new());
    }

    #[test]
    fn one_writes_at_a_time() {
        let (_dir, _store, blobs, partials) = world();
        let cid = Cid::of(Codec::Raw, b"a file");
        let first = partials.open_blocking(&blobs, ADA, cid).expect("opens");
        let busy = |found: Result<(), BlobError>| match found {
            Err(BlobError::File { source, .. }) => source.kind() == io::ErrorKind::WouldBlock,
            _ => false,
        };
        assert!(busy(partials.open_blocking(&blobs, ADA, cid).map(drop)));
        assert_eq!(partials.remove_blocking(ADA, cid).expect_err("busy").kind(), io::ErrorKind::WouldBlock);
        assert_eq!(partials.of_blocking(ADA).expect_err("busy").kind(), io::ErrorKind::WouldBlock);
        partials.open_blocking(&blobs, BOB, cid).map(drop).expect("another's");
        drop(first);
        partials.open_blocking(&blobs, ADA, cid).map(drop).expect("nobody writes it now");
        partials.remove_blocking(ADA, cid).expect("removes");
        partials.remove_blocking(ADA, cid).expect("one that is gone is fine");
    }
}

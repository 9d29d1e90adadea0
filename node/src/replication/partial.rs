//! Files on their way to a copy: what has come is kept on disk, so that after a cut only the rest is asked for.
//!
//! A partial file is believed no more than what comes from the network: it counts once the whole has the digest that its
//! CID names, which the blobs see to. One that is not what it should be is dropped, and begun anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use angel_protocol::data::Cid;
use angel_storage::AccountId;
use axum::body::Bytes;
use futures::{Stream, stream};

use crate::blocking;

/// Partial files that nobody went on with for so long are dropped.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(7 * 24);

/// Bytes that are read at a time.
const READ_BYTES: u64 = 1024 * 1024;

/// Where partial files lie.
#[derive(Clone, Debug)]
pub(super) struct Partials {
    dir: PathBuf,
}

/// A file of which something has come.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Partials {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What there is of a file, maybe nothing. Blocks.
    pub(super) fn open_blocking(&self, account: AccountId, cid: Cid) -> io::Result<Partial> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(format!("{}-{cid}", account.0));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Partial { path, file, bytes })
    }

    /// Drops what nobody went on with. Blocks.
    pub(super) fn sweep_blocking(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > FORGOTTEN_AFTER {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Partial {
    /// Bytes that have come.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends what comes. Blocks.
    pub(super) fn add_blocking(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// All that has come, from the beginning. Blocks.
    pub(super) fn read_blocking(
        &self,
    ) -> io::Result<impl Stream<Item = Result<Bytes, io::Error>> + Unpin + Send + use<>> {
        let file = File::open(&self.path)?;
        Ok(Box::pin(stream::try_unfold(file, |mut file| {
            blocking::run(move || {
                let mut piece = Vec::new();
                (&mut file).take(READ_BYTES).read_to_end(&mut piece)?;
                Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
            })
        })))
    }

    /// Drops it: it is kept elsewhere now, or is not what it should be. Blocks.
    pub(super) fn remove_blocking(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::data::Codec;
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn what_has_come_is_there_after_a_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let partials = Partials::new(dir.path().join("partial"));
        let cid = Cid::of(Codec::Raw, b"a file");
        let mut first = partials.open_blocking(AccountId(1), cid).expect("opens");
        first.add_blocking(b"a fi").expect("writes");
        drop(first);
        let other = partials.open_blocking(AccountId(2), cid).expect("opens");
        assert_eq!(other.bytes(), 0, "of another account nothing has come");
        let mut again = partials.open_blocking(AccountId(1), cid).expect("opens");
        assert_eq!(again.bytes(), 4);
        again.add_blocking(b"le").expect("writes");
        let pieces: Vec<_> = again.read_blocking().expect("opens").try_collect().await.expect("reads");
        assert_eq!(pieces.concat(), b"a file");
        again.remove_blocking().expect("removes");
        assert_eq!(partials.open_blocking(AccountId(1), cid).expect("opens").bytes(), 0);
        partials.sweep_blocking().expect("nothing is old");
    }
}

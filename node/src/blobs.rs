//! Blobs: files named by what is in them, with rows that say whose they are.
//!
//! A file is on disk, under its name, before its row is written, and its row is on disk before the upload is answered.
//! A file goes after its last row has been gone for a while (`sweep`). The rows, and what records have to do with them,
//! are `angel_storage::blobs`; nothing here knows HTTP or records.

mod direct;
mod files;
mod incoming;
mod media_type;
pub(crate) mod sweep;
mod upload;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angel_protocol::data::Cid;
use angel_protocol::ids::Tid;
use angel_storage::batch::RowRefused;
use angel_storage::blobs::{self, BlobRow, Counts};
use angel_storage::events::TrimError;
use angel_storage::permissioned::SpaceDigest;
use angel_storage::reader::ReadError;
use angel_storage::{AccountId, Batch, CommitError, Reader, Writer};
use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::Semaphore;

use crate::blocking;
use crate::clock;
use crate::config::BlobsConfig;
use files::Files;
pub(crate) use incoming::Incoming;

/// Uploads that may be under way at once; more wait. Each holds up to half a mebibyte.
const UPLOADS_MAX: usize = 64;

/// Uploads of one account that may be under way at once; more are refused, so that one cannot hold all places.
const UPLOADS_PER_ACCOUNT_MAX: usize = 16;

/// Locks over which blobs are spread: taking a file away excludes putting the same one there.
const LOCKS: usize = 64;

/// Bytes that are read from a file at a time; a blob of up to this size is read at once.
const READ_BYTES: usize = 256 * 1024;

/// Rows that one step of removing an account's blobs takes.
const REMOVAL_ROWS: usize = 1000;

/// The blobs of a node. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Shared>);

struct Shared {
    files: Files,
    reader: Reader,
    writer: Writer,
    size_max: u64,
    uploads: Arc<Semaphore>,
    uploading: Mutex<HashMap<AccountId, usize>>,
    locks: [Mutex<()>; LOCKS],
    /// How many want every file to stay.
    held: AtomicUsize,
}

/// While it lives, no file is removed.
#[derive(Debug)]
pub(crate) struct FilesHeld(Blobs);

impl Drop for FilesHeld {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where the file of a blob lies under `dir`.
pub(crate) fn path_in(dir: &std::path::Path, cid: Cid) -> PathBuf {
    files::path_in(dir, cid)
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blobs").field(&self.0.files).finish()
    }
}

/// A blob about to be served.
#[derive(Debug)]
pub struct Blob {
    /// Its media type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    File(File),
}

impl Blobs {
    /// The blobs under `dir`, which is made if need be; what uploads left half done is removed. Blocks.
    ///
    /// # Errors
    /// [`BlobError::File`].
    pub fn open(dir: PathBuf, reader: Reader, writer: Writer, config: &BlobsConfig) -> Result<Self, BlobError> {
        Ok(Self(Arc::new(Shared {
            files: Files::open(dir)?,
            reader,
            writer,
            size_max: config.size_max.bytes(),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            uploading: Mutex::default(),
            locks: std::array::from_fn(|_| Mutex::new(())),
            held: AtomicUsize::new(0),
        })))
    }

    /// Keeps every file where it is while the answer lives: what is let go of meanwhile is removed by a later sweep.
    pub(crate) fn hold_files(&self) -> FilesHeld {
        self.0.held.fetch_add(1, Ordering::AcqRel);
        FilesHeld(self.clone())
    }

    /// The file of a blob, whoever may read it: for copies of the whole node. Blocks.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn file_of(&self, cid: Cid) -> Result<(PathBuf, File), BlobError> {
        self.0.files.read(cid)
    }

    /// Largest upload that is taken, in bytes.
    #[must_use]
    pub fn size_max(&self) -> u64 {
        self.0.size_max
    }

    /// The blob, if a public record of the account names it and the operator did not take it down.
    ///
    /// # Errors
    /// The store or the file cannot be read.
    pub async fn get(&self, account: AccountId, cid: Cid) -> Result<Option<Blob>, BlobError> {
        let this = self.clone();
        blocking::run(move || this.get_blocking(account, cid)).await
    }

    /// Bytes of a file that the account brought, whether or not a record names it yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn size_of(&self, account: AccountId, cid: Cid) -> Result<Option<u64>, BlobError> {
        let this = self.clone();
        blocking::run(move || Ok(blobs::get(&this.0.reader, account, cid)?.map(|row| row.size))).await
    }

    /// The blob, if a record of the account in a space names it and the operator did not take it down. Whether the
    /// space may be read is for the caller to know.
    ///
    /// # Errors
    /// The store or the file cannot be read.
    pub(crate) async fn get_in_space(
        &self,
        account: AccountId,
        space: SpaceDigest,
        cid: Cid,
    ) -> Result<Option<Blob>, BlobError> {
        let this = self.clone();
        blocking::run(move || {
            if blobs::is_in_space(&this.0.reader, account, &space, cid)? {
                this.open_blocking(account, cid)
            } else {
                Ok(None)
            }
        })
        .await
    }

    /// Up to `limit` blobs that records of the account in a space name, as [`Self::list`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn list_in_space(
        &self,
        account: AccountId,
        space: SpaceDigest,
        since: Option<Tid>,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<Cid>, BlobError> {
        let this = self.clone();
        blocking::run(move || Ok(blobs::list_in_space(&this.0.reader, account, &space, since, after, limit)?)).await
    }

    /// The blob, whoever may read it, also one that the operator took down: for the nodes that keep a copy of the account.
    /// What is served of a copy is decided where it is served.
    ///
    /// # Errors
    /// The store or the file cannot be read.
    pub(crate) async fn get_for_copy(&self, account: AccountId, cid: Cid) -> Result<Option<Blob>, BlobError> {
        let this = self.clone();
        blocking::run(move || match blobs::get(&this.0.reader, account, cid)? {
            Some(row) => this.open_row_blocking(cid, row).map(Some),
            None => Ok(None),
        })
        .await
    }

    fn get_blocking(&self, account: AccountId, cid: Cid) -> Result<Option<Blob>, BlobError> {
        if blobs::is_public(&self.0.reader, account, cid)? { self.open_blocking(account, cid) } else { Ok(None) }
    }

    /// A blob that a record names and the operator did not take down.
    fn open_blocking(&self, account: AccountId, cid: Cid) -> Result<Option<Blob>, BlobError> {
        let reader = &self.0.reader;
        let Some(row) = blobs::get(reader, account, cid)? else { return Ok(None) };
        if blobs::is_taken_down(reader, account, cid)? {
            return Ok(None);
        }
        self.open_row_blocking(cid, row).map(Some)
    }

    fn open_row_blocking(&self, cid: Cid, row: BlobRow) -> Result<Blob, BlobError> {
        let (path, mut file) = self.0.files.read(cid)?;
        let content = match usize::try_from(row.size) {
            Ok(size) if size <= READ_BYTES => {
                let mut bytes = Vec::with_capacity(size);
                file.read_to_end(&mut bytes).map_err(|source| BlobError::File { path, source })?;
                Content::Whole(bytes.into())
            }
            _ => Content::File(file),
        };
        Ok(Blob { mime_type: row.mime_type, size: row.size, content })
    }

    /// Up to `limit` blobs that records of the account name, behind `after`; with `since`, only those that a record
    /// written after that revision names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        account: AccountId,
        since: Option<Tid>,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<Cid>, BlobError> {
        let this = self.clone();
        Ok(blocking::run(move || blobs::list(&this.0.reader, account, since, after, limit)).await?)
    }

    /// Up to `limit` blobs that records of the account name and that are not here, behind `after`, each with the path of
    /// a record.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn missing(
        &self,
        account: AccountId,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, String)>, BlobError> {
        let this = self.clone();
        Ok(blocking::run(move || blobs::missing(&this.0.reader, account, after, limit)).await?)
    }

    /// How many blobs the records of an account name, and how many of them are here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn counts(&self, account: AccountId) -> Result<Counts, BlobError> {
        let this = self.clone();
        Ok(blocking::run(move || blobs::counts(&this.0.reader, account)).await?)
    }

    /// Bytes of all blobs of an account.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn bytes_of(&self, account: AccountId) -> Result<u64, BlobError> {
        let this = self.clone();
        Ok(blocking::run(move || blobs::bytes_of(&this.0.reader, account)).await?)
    }

    /// Removes the blobs of an account that is gone. Files that nobody else has follow later. Can be called again when
    /// it was cut short. Blocks.
    ///
    /// # Errors
    /// The store fails.
    pub fn delete_all_blocking(&self, account: AccountId) -> Result<(), BlobError> {
        loop {
            let mut batch = Batch::new();
            let rows = blobs::stage_removal(&self.0.reader, &mut batch, account, clock::now(), REMOVAL_ROWS)?;
            if rows == 0 {
                return Ok(());
            }
            self.0.writer.commit(batch)?;
        }
    }

    /// Excludes putting the file of a blob there and taking it away at the same time.
    fn lock(&self, cid: Cid) -> MutexGuard<'_, ()> {
        let lock = usize::from(cid.digest()[31]) % LOCKS;
        self.0.locks[lock].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blob {
    /// The bytes, as an answer sends them. A large file is read piece by piece, as fast as the client takes it.
    pub fn into_body(self) -> Body {
        let all = 0..self.size;
        self.into_range(all)
    }

    /// Some of the bytes, all of which there have to be.
    pub fn into_range(self, range: Range<u64>) -> Body {
        fn at(place: u64) -> usize {
            usize::try_from(place).unwrap_or(usize::MAX)
        }
        match self.content {
            Content::Whole(bytes) => {
                let end = at(range.end).min(bytes.len());
                Body::from(bytes.slice(at(range.start).min(end)..end))
            }
            Content::File(file) => Body::from_stream(stream::try_unfold((file, range), |(file, mut range)| async {
                blocking::run(move || {
                    let mut piece = vec![0; at(range.end - range.start).min(READ_BYTES)];
                    file.read_exact_at(&mut piece, range.start)?;
                    range.start += piece.len() as u64;
                    Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), (file, range))))
                })
                .await
            })),
        }
    }
}

/// Why a blob cannot be taken, served or removed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Larger than `blobs.size_max`.
    #[error("a blob has at most {max} bytes here")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// What the client says of the type is no media type.
    #[error("the Content-Type is no media type")]
    MediaType,
    /// Too many uploads of one account at once.
    #[error("at most {UPLOADS_PER_ACCOUNT_MAX} uploads of an account are taken at once; wait for one to end")]
    TooManyUploads,
    /// The client stopped sending.
    #[error("the upload ended early: {0}")]
    Interrupted(String),
    /// The bytes are not those that were asked for.
    #[error("the bytes hash to {0}, which is not the file that was asked for")]
    OtherContent(Cid),
    /// The operator took this very blob down.
    #[error("Blob has been takendown, cannot re-upload")]
    TakenDown,
    /// The disk is nearly full.
    #[error("{}", crate::room::SHORT)]
    NoRoom,
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something does not fit a batch.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The batch was not written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<TrimError> for BlobError {
    fn from(error: TrimError) -> Self {
        match error {
            TrimError::Read(error) => Self::Read(error),
            TrimError::Refused(error) => Self::Row(error),
        }
    }
}

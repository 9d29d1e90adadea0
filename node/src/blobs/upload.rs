//! Taking a blob: hashed and written as it comes, in pieces that neither fill the memory nor hold a thread while a slow
//! client makes up its mind.

use std::path::PathBuf;
use std::sync::PoisonError;

use angel_protocol::data::{BlobRef, Cid, Codec};
use angel_storage::blobs::{self, BlobRow};
use angel_storage::{AccountId, Batch};
use axum::body::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};

use super::files::{Files, TempFile};
use super::media_type::{HEAD_BYTES, media_type};
use super::{BlobError, Blobs, UPLOADS_PER_ACCOUNT_MAX};
use crate::blocking;
use crate::clock;

/// Bytes that are gathered before they are hashed and written.
const PIECE_BYTES: usize = 256 * 1024;

/// Chunks that are gathered before they are hashed and written, however small they are.
const PIECE_CHUNKS: usize = 256;

impl Blobs {
    /// Takes an upload: `declared` is its media type as the client says, `body` its bytes. Answers with what a record
    /// has to say to name it.
    ///
    /// # Errors
    /// [`BlobError`], by what stands in the way.
    pub async fn upload<S, E>(
        &self,
        account: AccountId,
        declared: Option<String>,
        mut body: S,
    ) -> Result<BlobRef, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let _place = Place::take(self, account)?;
        let _turn = self.0.uploads.acquire().await.expect("nobody closes the semaphore");
        let (mut draft, mut piece) = (Draft::default(), Piece::default());
        while let Some(chunk) = body.next().await {
            piece.add(chunk.map_err(|error| BlobError::Interrupted(error.to_string()))?);
            if draft.size + piece.bytes as u64 > self.0.size_max {
                drop((draft, piece));
                return Err(self.too_large(body).await);
            }
            if piece.is_full() {
                let (this, full) = (self.clone(), std::mem::take(&mut piece));
                draft = blocking::run(move || draft.write(&this, &full)).await?;
            }
        }
        let this = self.clone();
        blocking::run(move || draft.write(&this, &piece)?.finish(&this, account, declared.as_deref(), None)).await
    }

    /// Refuses what is too large. Clients that are still sending do not listen, so as much again is let pass first.
    async fn too_large<E>(&self, mut body: impl Stream<Item = Result<Bytes, E>> + Unpin) -> BlobError {
        let max = self.0.size_max;
        let mut passed = 0;
        while passed < max
            && let Some(Ok(chunk)) = body.next().await
        {
            passed += chunk.len() as u64;
        }
        BlobError::TooLarge { max }
    }
}

/// One of the uploads that an account may have under way.
struct Place<'a> {
    blobs: &'a Blobs,
    account: AccountId,
}

impl<'a> Place<'a> {
    fn take(blobs: &'a Blobs, account: AccountId) -> Result<Self, BlobError> {
        let mut uploading = blobs.0.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uploading.entry(account).or_default();
        if *count >= UPLOADS_PER_ACCOUNT_MAX {
            return Err(BlobError::TooManyUploads);
        }
        *count += 1;
        Ok(Self { blobs, account })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut uploading = self.blobs.0.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uploading.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                uploading.remove(&self.account);
            }
        }
    }
}

/// What came and is not written yet.
#[derive(Default)]
struct Piece {
    chunks: Vec<Bytes>,
    bytes: usize,
}

impl Piece {
    fn add(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push(chunk);
    }

    fn is_full(&self) -> bool {
        self.bytes >= PIECE_BYTES || self.chunks.len() >= PIECE_CHUNKS
    }
}

/// After so many bytes it is looked whether the disk has room for more: several large files come at once.
const ROOM_EVERY: u64 = 1 << 20;

/// A file as far as it is written.
#[derive(Default)]
pub(super) struct Draft {
    temp: Option<TempFile>,
    hash: Sha256,
    size: u64,
    head: Vec<u8>,
}

impl Draft {
    /// Goes on with a file at a place of somebody else's, where it stays when it is cut off.
    pub(super) fn resumed(path: PathBuf) -> Result<Self, BlobError> {
        let mut draft = Self::default();
        draft.temp = Some(Files::resumed(path, |piece| draft.note(piece))?);
        Ok(draft)
    }

    /// Bytes so far.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    fn write(mut self, blobs: &Blobs, piece: &Piece) -> Result<Self, BlobError> {
        for chunk in &piece.chunks {
            self.add(blobs, chunk)?;
        }
        if piece.chunks.is_empty() {
            // An empty file is one, too.
            self.add(blobs, &[])?;
        }
        Ok(self)
    }

    /// Appends.
    pub(super) fn add(&mut self, blobs: &Blobs, bytes: &[u8]) -> Result<(), BlobError> {
        let temp = match &mut self.temp {
            Some(temp) => temp,
            none => none.insert(blobs.0.files.temp()?),
        };
        temp.write(bytes)?;
        if self.size / ROOM_EVERY != (self.size + bytes.len() as u64) / ROOM_EVERY && blobs.0.files.has_no_room() {
            return Err(BlobError::NoRoom);
        }
        self.note(bytes);
        Ok(())
    }

    /// What is known of a file from its bytes, besides where they lie.
    fn note(&mut self, bytes: &[u8]) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Puts the file in its place, then its row. What does not hash to `expected` is not kept.
    pub(super) fn finish(
        self,
        blobs: &Blobs,
        account: AccountId,
        declared: Option<&str>,
        expected: Option<Cid>,
    ) -> Result<BlobRef, BlobError> {
        let mime_type = media_type(declared, &self.head).ok_or(BlobError::MediaType)?;
        let cid = Cid::from_digest(Codec::Raw, self.hash.finalize().into());
        if expected.is_some_and(|expected| expected != cid) {
            return Err(BlobError::OtherContent(cid));
        }
        let (reader, files) = (&blobs.0.reader, &blobs.0.files);
        if blobs::is_taken_down(reader, account, cid)? {
            return Err(BlobError::TakenDown);
        }
        let blob = BlobRef { cid, mime_type, size: Some(self.size) };
        // From here to the row the file must not be taken away.
        let _lock = blobs.lock(cid);
        let mut temp = self.temp.expect("writing makes the file");
        files.place(&mut temp, cid)?;
        let mut batch = Batch::new();
        let BlobRow { mime_type, .. } = blobs::stage_upload(reader, &mut batch, account, &blob, clock::now())?;
        blobs.0.writer.commit(batch)?;
        temp.done()?;
        Ok(BlobRef { mime_type, ..blob })
    }
}

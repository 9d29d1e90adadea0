//! Files that come from the node that serves an account to one that holds a copy of it: hashed and written as they come,
//! like uploads. What has come of a large one stays when it is cut off, where whoever fetches it wants it, and becomes the
//! blob itself when it is whole: its bytes are written once.
//!
//! All of this blocks.

use std::path::PathBuf;

use angel_protocol::data::{BlobRef, Cid};
use angel_storage::AccountId;

use super::direct;
use super::upload::Draft;
use super::{BlobError, Blobs};

/// A file that is coming.
pub(crate) struct Incoming {
    blobs: Blobs,
    draft: Draft,
}

impl Blobs {
    /// A file that is not kept when it is cut off.
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming { blobs: self.clone(), draft: Draft::default() }
    }

    /// A file that stays at `path` as far as it has come, and goes on there.
    ///
    /// # Errors
    /// [`BlobError::File`].
    pub(crate) fn resume_incoming(&self, path: PathBuf) -> Result<Incoming, BlobError> {
        Ok(Incoming { blobs: self.clone(), draft: Draft::resumed(path)? })
    }
}

impl Incoming {
    /// How much of a file that was cut off with so many bytes need not come again.
    pub(crate) const fn resumable(bytes: u64) -> u64 {
        direct::resumable(bytes)
    }

    /// Bytes that have come.
    pub(crate) const fn bytes(&self) -> u64 {
        self.draft.size()
    }

    /// Appends what comes.
    ///
    /// # Errors
    /// [`BlobError::File`].
    pub(crate) fn add(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.draft.add(&self.blobs, piece)
    }

    /// Puts it in its place, then its row: both are on the disk when this returns. What does not hash to `cid`, or is more
    /// than a blob may have here, is not taken, and lies where it lay.
    ///
    /// # Errors
    /// [`BlobError`], by what stands in the way.
    pub(crate) fn finish(
        mut self,
        account: AccountId,
        media_type: Option<&str>,
        cid: Cid,
    ) -> Result<BlobRef, BlobError> {
        let max = self.blobs.size_max();
        if self.bytes() > max {
            return Err(BlobError::TooLarge { max });
        }
        // An empty file is one, too.
        self.draft.add(&self.blobs, &[])?;
        self.draft.finish(&self.blobs, account, media_type, Some(cid))
    }
}

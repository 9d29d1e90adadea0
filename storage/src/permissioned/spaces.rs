//! Spaces under hosted accounts: settings, members, and whose repositories they have.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::{Member, SpaceConfig, SpaceUri};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MEMBERS, SPACES, SpaceDigest, WRITERS, number, revision};
use crate::batch::{Batch, RowRefused};
use crate::codec::Row;
use crate::events::TrimError;
use crate::key::{AccountId, InvalidKey, Key};
use crate::reader::{ReadError, Reader};

/// A space. A deleted one keeps its row, so that whoever asks learns that it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRow {
    /// Its name.
    pub uri: SpaceUri,
    /// Who may do what.
    pub config: SpaceConfig,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

impl Row for SpaceRow {
    const VERSION: u8 = 1;
}

/// A member of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// What they may do.
    pub member: Member,
    /// Since when they have been on the list.
    pub since: Timestamp,
}

impl Row for MemberRow {
    const VERSION: u8 = 1;
}

/// Where a writer of a space is found: by name, or by the revision of the space at which their repository last changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriterKey {
    /// By name.
    Did(Did),
    /// By place in the order of changes.
    SpaceRev(Tid),
}

impl Key for WriterKey {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Did(did) => {
                0_u8.encode(out);
                did.encode(out);
            }
            Self::SpaceRev(rev) => {
                1_u8.encode(out);
                number(*rev).encode(out);
            }
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        match u8::decode(bytes)? {
            0 => Did::decode(bytes).map(Self::Did),
            1 => u64::decode(bytes).map(|rev| Self::SpaceRev(revision(rev))),
            _ => Err(InvalidKey),
        }
    }
}

/// Somebody whose repository a space has, as last heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterRow {
    /// Who.
    pub did: Did,
    /// The revision of the repository.
    pub rev: Tid,
    /// The digest of its set hash.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// The revision of the space that this change made.
    pub space_rev: Tid,
}

impl Row for WriterRow {
    const VERSION: u8 = 1;
}

/// The space, deleted or not.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn space(reader: &Reader, authority: AccountId, space: SpaceDigest) -> Result<Option<SpaceRow>, ReadError> {
    reader.get(&SPACES, &(authority, space))
}

/// Up to `limit` spaces of an authority behind `after`, deleted or not, in the order of their digests.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn spaces_of(
    reader: &Reader,
    authority: AccountId,
    after: Option<SpaceDigest>,
    limit: usize,
) -> Result<Vec<SpaceRow>, ReadError> {
    let mut scan = reader.scan(&SPACES).prefix(&authority);
    if let Some(after) = after {
        scan = scan.after(&(authority, after));
    }
    Ok(scan.page(limit)?.rows.into_iter().map(|(_, row)| row).collect())
}

/// Sets a space.
///
/// # Errors
/// The batch is full.
pub fn put_space(batch: &mut Batch, authority: AccountId, row: &SpaceRow) -> Result<(), RowRefused> {
    batch.put(&SPACES, &(authority, row.uri.digest()), row)
}

/// Takes a space away, when its authority's account is gone. What it leaves behind is for [`stage_clear`].
///
/// # Errors
/// The batch is full.
pub fn remove_space(batch: &mut Batch, authority: AccountId, space: SpaceDigest) -> Result<(), RowRefused> {
    batch.delete(&SPACES, &(authority, space))
}

/// What somebody may do, if they are on the list.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn member(reader: &Reader, space: SpaceDigest, did: &Did) -> Result<Option<MemberRow>, ReadError> {
    reader.get(&MEMBERS, &(space, did.clone()))
}

/// Up to `limit` members behind `after`, in the order of their DIDs.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn members(
    reader: &Reader,
    space: SpaceDigest,
    after: Option<&Did>,
    limit: usize,
) -> Result<Vec<(Did, MemberRow)>, ReadError> {
    let mut scan = reader.scan(&MEMBERS).prefix(&space);
    if let Some(after) = after {
        scan = scan.after(&(space, after.clone()));
    }
    Ok(scan.page(limit)?.rows.into_iter().map(|((_, did), row)| (did, row)).collect())
}

/// Sets what somebody may do.
///
/// # Errors
/// The batch is full, or the DID is too long for a key.
pub fn put_member(batch: &mut Batch, space: SpaceDigest, did: &Did, row: &MemberRow) -> Result<(), RowRefused> {
    batch.put(&MEMBERS, &(space, did.clone()), row)
}

/// Takes somebody off the list.
///
/// # Errors
/// The batch is full.
pub fn remove_member(batch: &mut Batch, space: SpaceDigest, did: &Did) -> Result<(), RowRefused> {
    batch.delete(&MEMBERS, &(space, did.clone()))
}

/// What is known of somebody's repository in the space.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn writer(reader: &Reader, space: SpaceDigest, did: &Did) -> Result<Option<WriterRow>, ReadError> {
    reader.get(&WRITERS, &(space, WriterKey::Did(did.clone())))
}

/// Up to `limit` writers whose repositories changed after `after`, in the order of the changes.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn writers(
    reader: &Reader,
    space: SpaceDigest,
    after: Option<Tid>,
    limit: usize,
) -> Result<Vec<WriterRow>, ReadError> {
    let from = (space, WriterKey::SpaceRev(Tid::MIN));
    let mut scan = reader.scan(&WRITERS).prefix(&space).from(&from);
    if let Some(after) = after {
        scan = scan.after(&(space, WriterKey::SpaceRev(after)));
    }
    Ok(scan.page(limit)?.rows.into_iter().map(|(_, row)| row).collect())
}

/// The revision of the last change in the space.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn newest_space_rev(reader: &Reader, space: SpaceDigest) -> Result<Option<Tid>, ReadError> {
    let from = (space, WriterKey::SpaceRev(Tid::MIN));
    let newest = reader.scan(&WRITERS).prefix(&space).from(&from).reverse().page(1)?.rows;
    Ok(newest.into_iter().next().map(|(_, row)| row.space_rev))
}

/// Sets what is known of a repository, in the place of what was known at the space's revision `before`.
///
/// # Errors
/// The batch is full, or the DID is too long for a key.
pub fn put_writer(
    batch: &mut Batch,
    space: SpaceDigest,
    row: &WriterRow,
    before: Option<Tid>,
) -> Result<(), RowRefused> {
    if let Some(before) = before {
        batch.delete(&WRITERS, &(space, WriterKey::SpaceRev(before)))?;
    }
    batch.put(&WRITERS, &(space, WriterKey::SpaceRev(row.space_rev)), row)?;
    batch.put(&WRITERS, &(space, WriterKey::Did(row.did.clone())), row)
}

/// Adds the removal of up to about `limit` rows of each kind of what a deleted space leaves behind, its members and its
/// writers; answers how many. Call it until it answers zero.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn stage_clear(reader: &Reader, batch: &mut Batch, space: SpaceDigest, limit: usize) -> Result<usize, TrimError> {
    let members = reader.scan(&MEMBERS).prefix(&space).page(limit)?.rows;
    members.iter().try_for_each(|(key, _)| batch.delete(&MEMBERS, key))?;
    let writers = reader.scan(&WRITERS).prefix(&space).page(limit)?.rows;
    writers.iter().try_for_each(|(key, _)| batch.delete(&WRITERS, key))?;
    Ok(members.len() + writers.len())
}

//! Who is told of changes in a space, what is still to be told, and which tokens are used up or revoked.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{NOTICES, SpaceDigest};
use crate::batch::{Batch, RowRefused};
use crate::codec::Row;
use crate::key::{InvalidKey, Key, PrefixOf};
use crate::reader::{ReadError, Reader};

/// What identifies a delivery: a later one to the same service about the same repository takes its place.
pub type DeliveryKey = [u8; 32];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKey {
    /// A service that is told of changes in a space.
    Registration(SpaceDigest, String),
    /// Something that is still to be told.
    Delivery(DeliveryKey),
    /// A token that counts no longer, or only once.
    Spent([u8; 32]),
}

impl Key for NoticeKey {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Registration(space, service) => {
                1_u8.encode(out);
                space.encode(out);
                service.encode(out);
            }
            Self::Delivery(key) => {
                2_u8.encode(out);
                key.encode(out);
            }
            Self::Spent(token) => {
                3_u8.encode(out);
                token.encode(out);
            }
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(match u8::decode(bytes)? {
            1 => Self::Registration(SpaceDigest::decode(bytes)?, String::decode(bytes)?),
            2 => Self::Delivery(DeliveryKey::decode(bytes)?),
            3 => Self::Spent(<[u8; 32]>::decode(bytes)?),
            _ => return Err(InvalidKey),
        })
    }
}

impl PrefixOf<NoticeKey> for u8 {}
impl PrefixOf<NoticeKey> for (u8, SpaceDigest) {}

/// Stored form of such a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeRow {
    /// Of [`NoticeKey::Registration`].
    Registration(Registration),
    /// Of [`NoticeKey::Delivery`].
    Delivery(Delivery),
    /// Of [`NoticeKey::Spent`]: until when this has to be remembered.
    Spent(Timestamp),
}

impl Row for NoticeRow {
    const VERSION: u8 = 1;
}

/// A service that is told of changes in a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The service: a DID, perhaps with `#` and the name of one of its services.
    pub service: String,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// The last revision of the space that the service has heard of.
    pub told: Option<Tid>,
}

/// Something that one host has to tell another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// On whose behalf: signs the call.
    pub issuer: Did,
    /// Who is told.
    pub service: String,
    /// The method called.
    pub method: String,
    /// The space it is about.
    pub space: SpaceUri,
    /// What is told, as JSON.
    pub body: String,
    /// The revision of the space that it tells of, if of one.
    pub space_rev: Option<Tid>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Timestamp,
    /// When trying ends.
    pub until: Timestamp,
}

/// Names a delivery by what a later one would replace.
#[must_use]
pub fn delivery_key(service: &str, method: &str, space: &SpaceUri, subject: &str) -> DeliveryKey {
    let mut hash = Sha256::new();
    for part in [service, method, &space.to_string(), subject] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Names a token by who issued it and what makes it unlike any other.
#[must_use]
pub fn token_digest(kind: &str, issuer: &str, nonce: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [kind, issuer, nonce] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The registration of a service, lapsed or not.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn registration(reader: &Reader, space: SpaceDigest, service: &str) -> Result<Option<Registration>, ReadError> {
    match reader.get(&NOTICES, &NoticeKey::Registration(space, service.to_owned()))? {
        Some(NoticeRow::Registration(registration)) => Ok(Some(registration)),
        _ => Ok(None),
    }
}

/// Up to `limit` registrations for a space, lapsed or not.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn registrations(reader: &Reader, space: SpaceDigest, limit: usize) -> Result<Vec<Registration>, ReadError> {
    let rows = reader.scan(&NOTICES).prefix(&(1_u8, space)).page(limit)?.rows;
    let of = |row| if let NoticeRow::Registration(registration) = row { Some(registration) } else { None };
    Ok(rows.into_iter().filter_map(|(_, row)| of(row)).collect())
}

/// Sets a registration.
///
/// # Errors
/// The batch is full, or the name of the service is too long for a key.
pub fn put_registration(batch: &mut Batch, space: SpaceDigest, row: &Registration) -> Result<(), RowRefused> {
    let key = NoticeKey::Registration(space, row.service.clone());
    batch.put(&NOTICES, &key, &NoticeRow::Registration(row.clone()))
}

/// Takes a registration away.
///
/// # Errors
/// The batch is full.
pub fn remove_registration(batch: &mut Batch, space: SpaceDigest, service: &str) -> Result<(), RowRefused> {
    batch.delete(&NOTICES, &NoticeKey::Registration(space, service.to_owned()))
}

/// Up to `limit` deliveries behind `after`, in the order of their names.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn deliveries(
    reader: &Reader,
    after: Option<DeliveryKey>,
    limit: usize,
) -> Result<Vec<(DeliveryKey, Delivery)>, ReadError> {
    let mut scan = reader.scan(&NOTICES).prefix(&2_u8);
    if let Some(after) = after {
        scan = scan.after(&NoticeKey::Delivery(after));
    }
    let of = |row| match row {
        (NoticeKey::Delivery(key), NoticeRow::Delivery(delivery)) => Some((key, delivery)),
        _ => None,
    };
    Ok(scan.page(limit)?.rows.into_iter().filter_map(of).collect())
}

/// Sets a delivery, in the place of an earlier one of that name.
///
/// # Errors
/// The batch is full.
pub fn put_delivery(batch: &mut Batch, key: DeliveryKey, delivery: &Delivery) -> Result<(), RowRefused> {
    batch.put(&NOTICES, &NoticeKey::Delivery(key), &NoticeRow::Delivery(delivery.clone()))
}

/// Takes a delivery away.
///
/// # Errors
/// The batch is full.
pub fn remove_delivery(batch: &mut Batch, key: DeliveryKey) -> Result<(), RowRefused> {
    batch.delete(&NOTICES, &NoticeKey::Delivery(key))
}

/// Whether a token is used up or revoked.
///
/// # Errors
/// The engine fails.
pub fn is_spent(reader: &Reader, token: [u8; 32]) -> Result<bool, ReadError> {
    reader.contains(&NOTICES, &NoticeKey::Spent(token))
}

/// Uses a token up, or revokes it; `once` refuses the batch when that was done before.
///
/// # Errors
/// The batch is full.
pub fn put_spent(batch: &mut Batch, token: [u8; 32], until: Timestamp, once: bool) -> Result<(), RowRefused> {
    if once {
        batch.expect_absent(&NOTICES, &NoticeKey::Spent(token))?;
    }
    batch.put(&NOTICES, &NoticeKey::Spent(token), &NoticeRow::Spent(until))
}

/// Adds to `batch` the removal of up to `limit` tokens behind `after` that need not be remembered any more. Answers
/// where to go on; `None` when all have been looked at.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn sweep_spent(
    reader: &Reader,
    batch: &mut Batch,
    after: Option<[u8; 32]>,
    now: Timestamp,
    limit: usize,
) -> Result<Option<[u8; 32]>, crate::events::TrimError> {
    let mut scan = reader.scan(&NOTICES).prefix(&3_u8);
    if let Some(after) = after {
        scan = scan.after(&NoticeKey::Spent(after));
    }
    let page = scan.page(limit)?;
    let mut last = None;
    for (key, row) in page.rows {
        if matches!(row, NoticeRow::Spent(until) if until < now) {
            batch.delete(&NOTICES, &key)?;
        }
        if let NoticeKey::Spent(token) = key {
            last = Some(token);
        }
    }
    Ok(last.filter(|_| page.more))
}

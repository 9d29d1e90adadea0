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
    /// A credential that was issued to somebody, by its nonce.
    Issued(SpaceDigest, Did, String),
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
            Self::Issued(space, did, nonce) => {
                4_u8.encode(out);
                space.encode(out);
                did.encode(out);
                nonce.encode(out);
            }
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        Ok(match u8::decode(bytes)? {
            1 => Self::Registration(SpaceDigest::decode(bytes)?, String::decode(bytes)?),
            2 => Self::Delivery(DeliveryKey::decode(bytes)?),
            3 => Self::Spent(<[u8; 32]>::decode(bytes)?),
            4 => Self::Issued(SpaceDigest::decode(bytes)?, Did::decode(bytes)?, String::decode(bytes)?),
            _ => return Err(InvalidKey),
        })
    }
}

impl PrefixOf<NoticeKey> for u8 {}
impl PrefixOf<NoticeKey> for (u8, SpaceDigest) {}
impl PrefixOf<NoticeKey> for (u8, SpaceDigest, Did) {}

/// Stored form of such a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeRow {
    /// Of [`NoticeKey::Registration`].
    Registration(Registration),
    /// Of [`NoticeKey::Delivery`].
    Delivery(Delivery),
    /// Of [`NoticeKey::Spent`] and [`NoticeKey::Issued`]: until when this has to be remembered.
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
    /// Who is told: the audience of the call.
    pub service: String,
    /// The service whose address is called: mostly the same.
    pub at: String,
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

/// Replaces a delivery, or takes it away; the batch is refused when a later one has taken its place meanwhile.
///
/// # Errors
/// The batch is full.
pub fn replace_delivery(
    batch: &mut Batch,
    key: DeliveryKey,
    before: &Delivery,
    after: Option<&Delivery>,
) -> Result<(), RowRefused> {
    batch.expect_value(&NOTICES, &NoticeKey::Delivery(key), &NoticeRow::Delivery(before.clone()))?;
    match after {
        Some(after) => put_delivery(batch, key, after),
        None => remove_delivery(batch, key),
    }
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

/// Takes note of a credential that was issued to somebody.
///
/// # Errors
/// The batch is full, or the DID is too long for a key.
pub fn put_issued(
    batch: &mut Batch,
    space: SpaceDigest,
    did: &Did,
    nonce: &str,
    until: Timestamp,
) -> Result<(), RowRefused> {
    batch.put(&NOTICES, &NoticeKey::Issued(space, did.clone(), nonce.to_owned()), &NoticeRow::Spent(until))
}

/// Up to `limit` credentials that were issued for a space and may count still: to whom, their nonces, and until when.
/// Of one person alone if one is given.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn issued(
    reader: &Reader,
    space: SpaceDigest,
    did: Option<&Did>,
    after: Option<(Did, String)>,
    limit: usize,
) -> Result<Vec<(Did, String, Timestamp)>, ReadError> {
    let mut scan = match did {
        Some(did) => reader.scan(&NOTICES).prefix(&(4_u8, space, did.clone())),
        None => reader.scan(&NOTICES).prefix(&(4_u8, space)),
    };
    if let Some((did, nonce)) = after {
        scan = scan.after(&NoticeKey::Issued(space, did, nonce));
    }
    let of = |row| match row {
        (NoticeKey::Issued(_, did, nonce), NoticeRow::Spent(until)) => Some((did, nonce, until)),
        _ => None,
    };
    Ok(scan.page(limit)?.rows.into_iter().filter_map(of).collect())
}

/// Forgets a credential that was issued.
///
/// # Errors
/// The batch is full.
pub fn remove_issued(batch: &mut Batch, space: SpaceDigest, did: &Did, nonce: &str) -> Result<(), RowRefused> {
    batch.delete(&NOTICES, &NoticeKey::Issued(space, did.clone(), nonce.to_owned()))
}

/// Adds to `batch` the removal of those of up to `limit` rows behind `after` that need not be remembered any more: used,
/// revoked and issued tokens. Answers where to go on; `None` when all have been looked at.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn sweep_tokens(
    reader: &Reader,
    batch: &mut Batch,
    after: Option<NoticeKey>,
    now: Timestamp,
    limit: usize,
) -> Result<Option<NoticeKey>, crate::events::TrimError> {
    let mut scan = reader.scan(&NOTICES).from(&NoticeKey::Spent([0; 32]));
    if let Some(after) = &after {
        scan = scan.after(after);
    }
    let page = scan.page(limit)?;
    let mut last = None;
    for (key, row) in page.rows {
        if matches!(row, NoticeRow::Spent(until) if until < now) {
            batch.delete(&NOTICES, &key)?;
        }
        last = Some(key);
    }
    Ok(last.filter(|_| page.more))
}

//! What a directory takes: the bounds that the reference directory sets against abuse. A log from elsewhere is not
//! held to them; they were other ones when it grew.

use std::collections::BTreeSet;
use std::time::Duration;

use super::log::PlcLog;
use super::operation::{PlcOperation, PlcStatement};
use crate::time::Timestamp;

/// Largest operation, in bytes of DAG-CBOR.
const OPERATION_BYTES_MAX: usize = 4000;
/// Most entries in each of the lists and maps.
const ENTRIES_MAX: usize = 10;
/// Longest other name: a handle and `at://`.
const ALSO_KNOWN_AS_LENGTH_MAX: usize = 258;
/// Longest name of a key or a service.
const NAME_LENGTH_MAX: usize = 32;
/// Longest `did:key`. On secp256k1 it has 57 characters.
const DID_KEY_LENGTH_MAX: usize = 256;
/// Longest type of a service.
const SERVICE_TYPE_LENGTH_MAX: usize = 256;
/// Longest URL of a service.
const SERVICE_ENDPOINT_LENGTH_MAX: usize = 512;
/// Most operations of one identity within a time, the longest time last.
pub(crate) const RATES: [(usize, Duration); 3] = [
    (10, Duration::from_secs(60 * 60)),
    (30, Duration::from_secs(24 * 60 * 60)),
    (100, Duration::from_secs(7 * 24 * 60 * 60)),
];

/// Why a directory does not take an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// Too many bytes.
    #[error("the operation has more than {OPERATION_BYTES_MAX} bytes")]
    TooLarge,
    /// The older form, which makes no new identities.
    #[error("operations of type create are no longer taken")]
    Legacy,
    /// Too many entries in a list or map.
    #[error("{0} has more than {ENTRIES_MAX} entries")]
    TooManyEntries(&'static str),
    /// Too long a text.
    #[error("{field} is longer than {max} characters")]
    TooLong {
        /// Where.
        field: &'static str,
        /// The bound, in UTF-16 code units, as the reference directory counts.
        max: usize,
    },
    /// The same name twice.
    #[error("alsoKnownAs names {0} twice")]
    Repeated(String),
    /// Too many operations of this identity of late.
    #[error("the identity has had {count} operations within {} hours", within.as_secs() / 3600)]
    TooOften {
        /// How many.
        count: usize,
        /// Within which time.
        within: Duration,
    },
}

/// Checks whether a directory takes `operation` at `now` for the identity with `log`, if there is one yet. Whether it
/// may follow is for [`PlcLog::append`].
///
/// # Errors
/// [`Inadmissible`], by what is wrong.
pub fn admit(log: Option<&PlcLog>, operation: &PlcOperation, now: Timestamp) -> Result<(), Inadmissible> {
    check_bounds(operation)?;
    match log {
        // Whoever rescues an identity is not held up by what the thief did.
        Some(log) if operation.statement().prev() == Some(log.head().cid) => {
            check_rate(log.entries().iter().map(|entry| entry.created_at), now)
        }
        _ => Ok(()),
    }
}

/// Checks the bounds of `operation` itself, whatever identity it is for.
///
/// # Errors
/// [`Inadmissible`], by what is wrong.
pub fn check_bounds(operation: &PlcOperation) -> Result<(), Inadmissible> {
    if operation.to_bytes().len() > OPERATION_BYTES_MAX {
        return Err(Inadmissible::TooLarge);
    }
    match operation.statement() {
        PlcStatement::LegacyCreate { .. } => return Err(Inadmissible::Legacy),
        PlcStatement::Tombstone { .. } => {}
        PlcStatement::State { data, .. } => {
            entries("rotationKeys", data.rotation_keys.len())?;
            entries("verificationMethods", data.verification_methods.len())?;
            entries("alsoKnownAs", data.also_known_as.len())?;
            entries("services", data.services.len())?;
            let mut seen = BTreeSet::new();
            for name in &data.also_known_as {
                length("alsoKnownAs", name, ALSO_KNOWN_AS_LENGTH_MAX)?;
                if !seen.insert(name) {
                    return Err(Inadmissible::Repeated(name.clone()));
                }
            }
            for (name, key) in &data.verification_methods {
                length("verificationMethods", name, NAME_LENGTH_MAX)?;
                length("verificationMethods", key.as_str(), DID_KEY_LENGTH_MAX)?;
            }
            for (name, service) in &data.services {
                length("services", name, NAME_LENGTH_MAX)?;
                length("services.type", &service.kind, SERVICE_TYPE_LENGTH_MAX)?;
                length("services.endpoint", &service.endpoint, SERVICE_ENDPOINT_LENGTH_MAX)?;
            }
        }
    }
    Ok(())
}

fn entries(field: &'static str, count: usize) -> Result<(), Inadmissible> {
    if count > ENTRIES_MAX { Err(Inadmissible::TooManyEntries(field)) } else { Ok(()) }
}

fn length(field: &'static str, text: &str, max: usize) -> Result<(), Inadmissible> {
    if text.encode_utf16().count() > max { Err(Inadmissible::TooLong { field, max }) } else { Ok(()) }
}

/// Checks how often an identity has changed, given when, against the bounds for an operation at `now` that takes
/// nothing back. Those that were taken back count: or else a weak key could go on without end.
pub(crate) fn check_rate(times: impl Iterator<Item = Timestamp> + Clone, now: Timestamp) -> Result<(), Inadmissible> {
    for (max, within) in RATES {
        let count = times.clone().filter(|at| now.since(*at) < within).count();
        if count >= max {
            return Err(Inadmissible::TooOften { count, within });
        }
    }
    Ok(())
}

//! The log of one identity: which operation may follow, which ones it takes back, and what holds in the end.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::data::PlcData;
use super::operation::{InvalidOperation, PlcOperation, PlcStatement};
use crate::data::{Cid, InvalidCid};
use crate::ids::{Datetime, Did, InvalidDatetime};
use crate::limits::PLC_LOG_ENTRIES_MAX;
use crate::time::Timestamp;

/// How long a more powerful rotation key can take back what a less powerful one did (did:plc, "Key Rotation & Account
/// Recovery"). The last millisecond counts.
pub(crate) const RECOVERY_WINDOW: Duration = Duration::from_secs(72 * 60 * 60);

/// An operation in its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The operation.
    pub operation: PlcOperation,
    /// Its CID.
    pub cid: Cid,
    /// When the directory accepted it.
    pub created_at: Timestamp,
    /// Whether a later operation has taken it back.
    pub nullified: bool,
}

impl LogEntry {
    /// The entry as a directory tells it (`/{did}/log/audit`, `/export`).
    #[must_use]
    pub fn to_json(&self, did: &Did) -> Json {
        json!({
            "did": did.as_str(),
            "operation": self.operation.to_json(),
            "cid": self.cid.to_string(),
            "nullified": self.nullified,
            "createdAt": self.created_at.to_string(),
        })
    }
}

/// The operations of one identity in the order they were accepted, those taken back included. Never empty, and valid
/// from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcLog {
    did: Did,
    entries: Vec<LogEntry>,
}

/// Why an operation cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The first operation is none that creates an identity.
    #[error("the first operation has to create the identity")]
    NotGenesis,
    /// The first operation creates another identity.
    #[error("the first operation creates {0}")]
    OtherDid(Did),
    /// An older form after the first operation, or one without `prev`.
    #[error("only the first operation can create an identity")]
    SecondGenesis,
    /// `prev` names no operation that holds: unknown, or taken back.
    #[error("prev is {0}, which is no operation that holds")]
    UnknownPrev(Cid),
    /// The identity has ended.
    #[error("the identity has ended with a tombstone")]
    Tombstoned,
    /// None of the rotation keys that may do this has signed.
    #[error("no rotation key with the power for this has signed")]
    Signature,
    /// The operation takes back one that is older than the recovery window.
    #[error("what the operation takes back is more than 72 hours old")]
    TooLate,
    /// Earlier than the operation before.
    #[error("the operation is earlier than the one before")]
    Backwards,
    /// More operations than [`PLC_LOG_ENTRIES_MAX`].
    #[error("the log has {PLC_LOG_ENTRIES_MAX} operations and takes no more")]
    Full,
}

impl PlcLog {
    /// The log of the identity that `operation` creates.
    ///
    /// # Errors
    /// [`LogError::NotGenesis`] or [`LogError::Signature`].
    pub fn create(operation: PlcOperation, now: Timestamp) -> Result<Self, LogError> {
        let did = operation.creates().ok_or(LogError::NotGenesis)?;
        let data = operation.statement().data().ok_or(LogError::NotGenesis)?;
        operation.signer(&data.rotation_keys).ok_or(LogError::Signature)?;
        let entry = LogEntry { cid: operation.cid(), operation, created_at: now, nullified: false };
        Ok(Self { did, entries: vec![entry] })
    }

    /// A log that was checked when it was kept; nothing for none.
    #[must_use]
    pub fn from_kept(did: Did, entries: Vec<LogEntry>) -> Option<Self> {
        if entries.is_empty() { None } else { Some(Self { did, entries }) }
    }

    /// Whose log it is.
    #[must_use]
    pub const fn did(&self) -> &Did {
        &self.did
    }

    /// Every operation that was accepted, in order (`/{did}/log/audit`).
    #[must_use]
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }

    /// The operations that hold, in order (`/{did}/log`).
    pub fn canonical(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.iter().filter(|entry| !entry.nullified)
    }

    /// The last operation that holds (`/{did}/log/last`). Its CID is the `prev` of the next.
    #[must_use]
    pub fn head(&self) -> &LogEntry {
        self.canonical().next_back().expect("the first operation is never taken back")
    }

    /// The state; `None` after a tombstone.
    #[must_use]
    pub fn data(&self) -> Option<PlcData> {
        self.head().operation.statement().data()
    }

    /// Appends an operation accepted at `now`; answers the CIDs of those it takes back. After an error the log is as it
    /// was.
    ///
    /// # Errors
    /// [`LogError`], by what is wrong.
    pub fn append(&mut self, operation: PlcOperation, now: Timestamp) -> Result<Vec<Cid>, LogError> {
        let nullified = self.check(&operation, now)?;
        let mut cids = Vec::new();
        for at in nullified {
            self.entries[at].nullified = true;
            cids.push(self.entries[at].cid);
        }
        self.entries.push(LogEntry { cid: operation.cid(), operation, created_at: now, nullified: false });
        Ok(cids)
    }

    /// Which entries `operation` would take back.
    fn check(&self, operation: &PlcOperation, now: Timestamp) -> Result<Vec<usize>, LogError> {
        if self.entries.len() >= PLC_LOG_ENTRIES_MAX {
            return Err(LogError::Full);
        }
        if self.entries.last().is_some_and(|last| now < last.created_at) {
            return Err(LogError::Backwards);
        }
        let prev = match operation.statement() {
            PlcStatement::LegacyCreate { .. } => return Err(LogError::SecondGenesis),
            statement => statement.prev().ok_or(LogError::SecondGenesis)?,
        };
        let holds = |at: &usize| !self.entries[*at].nullified;
        let fork = (0..self.entries.len())
            .filter(holds)
            .find(|at| self.entries[*at].cid == prev)
            .ok_or(LogError::UnknownPrev(prev))?;
        let data = self.entries[fork].operation.statement().data().ok_or(LogError::Tombstoned)?;
        let nullified: Vec<usize> = (fork + 1..self.entries.len()).filter(holds).collect();
        let powerful = match nullified.first() {
            None => &data.rotation_keys[..],
            Some(&disputed) => self.more_powerful(&data, disputed, now)?,
        };
        operation.signer(powerful).ok_or(LogError::Signature)?;
        Ok(nullified)
    }

    /// The keys of `data` that may take back the entry `disputed`, which follows on it.
    fn more_powerful<'a>(&self, data: &'a PlcData, disputed: usize, now: Timestamp) -> Result<&'a [Did], LogError> {
        let disputed = &self.entries[disputed];
        if now.since(disputed.created_at) > RECOVERY_WINDOW {
            return Err(LogError::TooLate);
        }
        let signer = disputed.operation.signer(&data.rotation_keys).ok_or(LogError::Signature)?;
        Ok(&data.rotation_keys[..signer])
    }

    /// The answer of a directory to `/{did}/log/audit`.
    #[must_use]
    pub fn to_audit_json(&self) -> Json {
        self.entries.iter().map(|entry| entry.to_json(&self.did)).collect()
    }

    /// Checks the log of `did` as another directory tells it, and takes it over. Nothing in it is believed but the
    /// times; those it cannot prove.
    ///
    /// # Errors
    /// [`InvalidAuditLog`], by what is wrong and where.
    pub fn from_audit(did: &Did, entries: Vec<AuditEntry>) -> Result<Self, InvalidAuditLog> {
        let told: Vec<bool> = entries.iter().map(|entry| entry.nullified).collect();
        let mut log: Option<Self> = None;
        for (at, AuditEntry { operation, cid, created_at, .. }) in entries.into_iter().enumerate() {
            if operation.cid() != cid {
                return Err(InvalidAuditLog::OtherCid { at, found: operation.cid() });
            }
            let refused = |reason| InvalidAuditLog::Refused { at, reason };
            match &mut log {
                Some(log) => drop(log.append(operation, created_at).map_err(refused)?),
                None => log = Some(Self::create(operation, created_at).map_err(refused)?),
            }
        }
        let log = log.ok_or(InvalidAuditLog::Empty)?;
        if log.did != *did {
            return Err(InvalidAuditLog::Refused { at: 0, reason: LogError::OtherDid(log.did) });
        }
        match log.entries.iter().zip(told).position(|(entry, told)| entry.nullified != told) {
            Some(at) => Err(InvalidAuditLog::OtherFork { at }),
            None => Ok(log),
        }
    }
}

/// An entry as a directory tells it (`/{did}/log/audit`, `/export`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The operation.
    pub operation: PlcOperation,
    /// Its CID, as told.
    pub cid: Cid,
    /// When it was accepted, as told.
    pub created_at: Timestamp,
    /// Whether it was taken back, as told.
    pub nullified: bool,
}

/// Why the log that a directory tells is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuditLog {
    /// Nothing in it.
    #[error("the log is empty")]
    Empty,
    /// A field is missing or of another type.
    #[error("an entry of the log lacks {0}")]
    Field(&'static str),
    /// An operation cannot be read.
    #[error(transparent)]
    Operation(#[from] InvalidOperation),
    /// A CID cannot be read.
    #[error(transparent)]
    Cid(#[from] InvalidCid),
    /// A time cannot be read, or lies before 1970.
    #[error("an entry of the log has no time: {0}")]
    CreatedAt(InvalidDatetime),
    /// An operation has another CID than told.
    #[error("entry {at} of the log has the CID {found}")]
    OtherCid {
        /// Which entry, from 0.
        at: usize,
        /// Its CID.
        found: Cid,
    },
    /// An operation could not follow on those before.
    #[error("entry {at} of the log: {reason}")]
    Refused {
        /// Which entry, from 0.
        at: usize,
        /// Why.
        reason: LogError,
    },
    /// An operation is told to hold though it was taken back, or the other way about.
    #[error("entry {at} of the log is told on the wrong side of a fork")]
    OtherFork {
        /// Which entry, from 0.
        at: usize,
    },
}

impl AuditEntry {
    /// Reads one entry.
    ///
    /// # Errors
    /// [`InvalidAuditLog`], by what is wrong.
    pub fn from_json(json: &Json) -> Result<Self, InvalidAuditLog> {
        let text = |field: &'static str| json[field].as_str().ok_or(InvalidAuditLog::Field(field));
        let created_at: Datetime = text("createdAt")?.parse().map_err(InvalidAuditLog::CreatedAt)?;
        Ok(Self {
            operation: PlcOperation::from_json(&json["operation"])?,
            cid: text("cid")?.parse()?,
            created_at: created_at.timestamp().ok_or(InvalidAuditLog::CreatedAt(InvalidDatetime::Year))?,
            nullified: json["nullified"].as_bool().ok_or(InvalidAuditLog::Field("nullified"))?,
        })
    }
}

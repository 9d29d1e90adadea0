//! What crosses `/angel/{network}/replicate/1`: a question, then answers, each a frame of canonical DAG-CBOR behind its
//! length in four bytes, the most significant first.
//!
//! The stream itself says who asks: it is encrypted and authenticated with the keys of both nodes. What is told is
//! believed no more for that: commits are verified, files hashed, secrets sealed.

mod account;

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::rows::{Place, SealedRows, check_place};
use crate::crypto::Signature;
use crate::data::Cid;
use crate::ids::{Did, Tid};
use crate::ledger::action::Observation;
use crate::limits::{
    MST_KEY_BYTES_MAX, REPLICA_ANSWER_BYTES_MAX, REPLICA_KEPT_MAX, REPLICA_QUESTION_BYTES_MAX,
    REPLICA_RECIPIENT_BYTES_MAX, REPLICA_REPLAY_WRITES_MAX,
};
use crate::permissioned::SpaceUri;
use crate::placement::{Declined, Offer};
use crate::repo::UpTo;
use crate::vault::Challenge;
use crate::wire::canonical;

pub use self::account::{AccountState, AppPassword};

/// The name of the protocol, behind the network's.
pub const PROTOCOL: &str = "replicate/1";

/// What one hosting node asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Question {
    /// Would you hold a copy?
    Offer(Offer),
    /// I am here and confirm what you sent.
    Keep(Keep),
    /// What happened since?
    Pull(Pull),
    /// The whole repository, or what the asker does not have of it, as a CAR file.
    Repo(RepoOf),
    /// One file.
    File(File),
    /// What else is kept for the account, sealed.
    Account(AccountOf),
    /// A stretch of the tenant's private rows, or only its digest.
    Rows(RowsOf),
    /// Do you find the primary silent?
    Silent(InFavour),
    /// Sign that you do.
    Observe(InFavour),
    /// Your share of the identity operation that the ledger's decision releases.
    Share(InFavour),
    /// What this node wrote and you have not seen.
    Replay(Replay),
    /// Hand the tenant over to me.
    HandOver(HandOver),
    /// Ask me to hand the tenant over to you: it is tried on purpose.
    TakeOver(Of),
    /// How is the tenant with you?
    How(Of),
    /// The newest archive, for a vault.
    Archive(ArchiveOf),
    /// Prove that you have an archive.
    Prove(ProveOf),
}

/// Which tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Of {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that the asker knows.
    pub epoch: u64,
}

/// Which tenant, in favour of which epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InFavour {
    /// The tenant.
    pub tenant: Did,
    /// The epoch that begins, or has begun.
    pub epoch: u64,
}

/// The repository of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepoOf {
    /// Whose.
    pub of: Of,
    /// What the asker has of it already, from a copy that was cut off: neither that nor what lies before it comes again,
    /// but for what was written since, and nodes on the way there.
    pub has: Option<UpTo>,
}

/// A file of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// Whose.
    pub of: Of,
    /// Which.
    pub cid: Cid,
    /// Bytes that the asker has already.
    pub from: u64,
}

/// A stretch of a tenant's private rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowsOf {
    /// Whose.
    pub of: Of,
    /// To whom to seal them: an `age` recipient; `None` when the digest is enough.
    pub recipient: Option<String>,
    /// Behind which place.
    pub after: Option<Place>,
}

/// The newest archive of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveOf {
    /// Whose.
    pub of: Of,
    /// The archive that the asker has, whole and compared with its digest.
    pub has: Option<ByteArray<32>>,
    /// The archive of which it has a part, and how many bytes.
    pub part: Option<(ByteArray<32>, u64)>,
}

/// A question by which a vault proves that it has an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProveOf {
    /// Whose.
    pub of: Of,
    /// The question.
    pub challenge: Challenge,
}

/// What a standby needs for the account's state, and what it brings along for the day it takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountOf {
    /// Whose.
    pub of: Of,
    /// To whom to seal: an `age` recipient.
    pub recipient: String,
    /// The key that would sign the account's commits, as `did:key`.
    pub signing_key: Did,
    /// The node's rotation key, as `did:key`.
    pub rotation_key: Did,
    /// Where the node answers.
    pub endpoint: String,
}

/// What is sealed to a standby: all that is kept for an account besides repository and files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sealed {
    /// Ciphertext of the state.
    #[serde(with = "serde_bytes")]
    pub state: Vec<u8>,
    /// Digest of the state as it was before sealing.
    #[serde(with = "serde_bytes")]
    pub digest: [u8; 32],
    /// Ciphertext of this standby's shares.
    #[serde(with = "serde_bytes")]
    pub shares: Vec<u8>,
}

/// A share of an operation that moves an identity to a standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Share {
    /// The standby that the operation moves it to.
    pub standby: Did,
    /// What the operation follows on. Once the identity has another head, the share is worth nothing.
    pub prev: Cid,
    /// Shares that are needed.
    pub needed: u8,
    /// The share.
    #[serde(with = "serde_bytes")]
    pub share: Vec<u8>,
}

/// What a backup confirms, for all tenants that it has from this primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keep {
    /// The tenants with the epoch in which the asker follows, and how far its copy is complete.
    pub tenants: Vec<Kept>,
    /// What the primary's last answer said about its clock.
    pub confirms: Option<u64>,
}

/// One tenant in [`Keep`] and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kept {
    /// The tenant.
    pub tenant: Did,
    /// The epoch.
    pub epoch: u64,
    /// In a question how far the copy is complete; in an answer the newest event.
    pub sequence: u64,
}

/// What happened since a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pull {
    /// Of which tenant.
    pub of: Of,
    /// Behind this event.
    pub since: u64,
    /// Up to here the asker's copy is complete and durable.
    pub complete: u64,
    /// How long the primary may wait for something to tell.
    pub wait_ms: u32,
    /// The digest that came with what the asker holds of the account besides; zeros when it holds nothing. The primary
    /// does not wait when it has another, and knows from it who holds shares of the identity.
    #[serde(with = "serde_bytes")]
    pub account: [u8; 32],
    /// To whom to seal private rows: an `age` recipient.
    pub recipient: String,
}

/// An event of the primary's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Told {
    /// Its number.
    pub sequence: u64,
    /// The frame of the firehose.
    #[serde(with = "serde_bytes")]
    pub frame: Vec<u8>,
}

/// What a node wrote and others have not seen, when it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// Whose.
    pub of: Of,
    /// In the order in which they were made.
    pub writes: Vec<Unseen>,
}

/// A write that was not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unseen {
    /// In which space, for a record that is for certain people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SpaceUri>,
    /// Where.
    pub path: String,
    /// The revision that made it.
    pub rev: Tid,
    /// What was there before.
    pub before: Option<Cid>,
    /// The record, unless it was taken away.
    pub record: Option<serde_bytes::ByteBuf>,
}

/// A standby asks a living primary for the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandOver {
    /// Whose.
    pub of: Of,
    /// The asker's consent to become primary in the next epoch.
    #[serde(with = "serde_bytes")]
    pub accepted: Signature,
}

/// What a hosting node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// It would hold a copy.
    Accepted,
    /// It would not.
    Declined(Declined),
    /// To [`Question::Keep`].
    Kept {
        /// The primary's clock, to be confirmed.
        stamp: u64,
        /// The tenants of which this node is primary.
        tenants: Vec<Kept>,
    },
    /// To [`Question::Pull`].
    Page {
        /// The events.
        events: Vec<Told>,
        /// The cursor behind them.
        next: u64,
        /// The newest event of the tenant.
        head: u64,
        /// Revision of the repository.
        rev: Tid,
        /// Root of its tree.
        data: Cid,
        /// Digest of what else is kept.
        #[serde(with = "serde_bytes")]
        account: [u8; 32],
        /// What events up to `next` tell of private rows: a list of [`super::rows::EventOf`].
        rows: Option<SealedRows>,
    },
    /// To [`Question::Rows`].
    Rows {
        /// The tenant's newest event before they were read.
        sequence: u64,
        /// Where the stretch ends; `None` at the end of everything.
        end: Option<Place>,
        /// Digest of the list of [`super::rows::RowOf`].
        #[serde(with = "serde_bytes")]
        digest: [u8; 32],
        /// The rows, if they were asked for.
        rows: Option<SealedRows>,
    },
    /// The log does not go back so far.
    Trimmed,
    /// Bytes follow in [`Answer::Piece`]s.
    Begins {
        /// How many, where that is known beforehand.
        bytes: Option<u64>,
        /// The event up to which they are complete.
        sequence: u64,
        /// The media type of a file.
        media_type: Option<String>,
    },
    /// Some bytes.
    Piece(serde_bytes::ByteBuf),
    /// Of a repository, everything up to the record at this path has come.
    Reached(String),
    /// There are no more.
    End,
    /// To [`Question::Account`].
    Account(Sealed),
    /// To [`Question::Silent`].
    Silent {
        /// Whether it finds the primary silent.
        silent: bool,
        /// How far its copy goes, where that is whole.
        cursor: Option<u64>,
    },
    /// To [`Question::Observe`].
    Observed(Observation),
    /// To [`Question::Share`].
    Share(Share),
    /// To [`Question::Replay`]: how many were applied, and how many are kept beside what was there; from the first on, in
    /// order.
    Replayed {
        /// Applied.
        applied: u32,
        /// Kept as a second version.
        kept: u32,
        /// Why the rest was not taken, where there is a rest: the asker goes on keeping it, and tells it again later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<Refusal>,
    },
    /// To [`Question::HandOver`]: the ledger has decided.
    HandedOver,
    /// To [`Question::How`].
    How(How),
    /// To [`Question::Archive`]: which is the newest. Unless the asker has it, its bytes follow.
    Archive {
        /// Its digest.
        digest: ByteArray<32>,
        /// Its size.
        bytes: u64,
        /// Where the bytes that follow begin.
        from: u64,
    },
    /// To [`Question::Prove`]; nothing where the archive is not there.
    Proof(Option<ByteArray<32>>),
    /// It does not do that.
    Refused(Refusal),
}

/// How a tenant is with one of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct How {
    /// The epoch that it knows.
    pub epoch: u64,
    /// Whether it is the primary, and serves.
    pub serves: bool,
    /// Up to which event of the primary its copy is complete; none at the primary, or before it is whole.
    pub complete: Option<u64>,
    /// Revision of the repository there.
    pub rev: Option<Tid>,
    /// Root of its tree.
    pub data: Option<Cid>,
}

/// Why a hosting node does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// It does not know the tenant.
    #[error("the tenant is not known there")]
    UnknownTenant,
    /// The asker does not host it.
    #[error("only the tenant's hosting nodes are answered")]
    NotAHost,
    /// It is not primary in that epoch.
    #[error("it is not the tenant's primary in that epoch")]
    NotPrimary,
    /// There is no such thing.
    #[error("it does not have that")]
    NotFound,
    /// As many second versions of the tenant's records are kept as may be.
    #[error("as many second versions of the tenant's records are kept there as may be: the owner has to dismiss some")]
    TooManyVersions,
    /// Not under these circumstances.
    #[error("it does not do that now: {0}")]
    Not(String),
}

/// Why a frame is no message.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFrame {
    /// Longer than may be.
    #[error("a frame has at most {max} bytes, this one {bytes}")]
    TooLong {
        /// The bound.
        max: usize,
        /// What it says.
        bytes: usize,
    },
    /// Not the canonical form of a message.
    #[error("not a message: {0}")]
    Encoding(String),
    /// A list beyond its bound.
    #[error("{0} is beyond its bound")]
    Bound(&'static str),
}

impl From<InvalidFrame> for io::Error {
    fn from(error: InvalidFrame) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Question {
    /// Largest frame of a question, in bytes. What is told anew after an absence is the one large question.
    pub const BYTES_MAX: usize = REPLICA_QUESTION_BYTES_MAX;

    /// Reads one from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        let question: Self = decode(bytes, Self::BYTES_MAX)?;
        match &question {
            Self::Keep(keep) if keep.tenants.len() > REPLICA_KEPT_MAX => Err(InvalidFrame::Bound("tenants")),
            Self::Replay(replay) if replay.writes.len() > REPLICA_REPLAY_WRITES_MAX => {
                Err(InvalidFrame::Bound("writes"))
            }
            Self::Repo(asked) if asked.has.as_ref().is_some_and(|has| !has.is_bounded()) => {
                Err(InvalidFrame::Bound("the path"))
            }
            Self::Prove(asked) if asked.challenge.check().is_err() => Err(InvalidFrame::Bound("ranges")),
            Self::Pull(pull) if pull.recipient.len() > REPLICA_RECIPIENT_BYTES_MAX => {
                Err(InvalidFrame::Bound("the recipient"))
            }
            Self::Rows(rows) => {
                if rows.recipient.as_ref().is_some_and(|recipient| recipient.len() > REPLICA_RECIPIENT_BYTES_MAX) {
                    return Err(InvalidFrame::Bound("the recipient"));
                }
                check_place(rows.after.as_ref()).map(|()| question)
            }
            _ => Ok(question),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It is too large.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFrame> {
        encode(self, Self::BYTES_MAX)
    }
}

impl Answer {
    /// Largest frame of an answer, in bytes: one commit with all its blocks fits, and some more.
    pub const BYTES_MAX: usize = REPLICA_ANSWER_BYTES_MAX;

    /// Reads one from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        let answer: Self = decode(bytes, Self::BYTES_MAX)?;
        match &answer {
            Self::Kept { tenants, .. } if tenants.len() > REPLICA_KEPT_MAX => Err(InvalidFrame::Bound("tenants")),
            Self::Reached(path) if path.len() > MST_KEY_BYTES_MAX => Err(InvalidFrame::Bound("the path")),
            Self::Rows { end, .. } => check_place(end.as_ref()).map(|()| answer),
            _ => Ok(answer),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It is too large.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFrame> {
        encode(self, Self::BYTES_MAX)
    }
}

/// Shares of one holder, before they are sealed and after they were opened.
///
/// # Errors
/// They are too large.
pub fn encode_shares(shares: &[Share]) -> Result<Vec<u8>, InvalidFrame> {
    encode(&shares, REPLICA_ANSWER_BYTES_MAX)
}

/// See [`encode_shares`].
///
/// # Errors
/// [`InvalidFrame`].
pub fn decode_shares(bytes: &[u8]) -> Result<Vec<Share>, InvalidFrame> {
    decode(bytes, REPLICA_ANSWER_BYTES_MAX)
}

pub(super) fn encode(value: &impl Serialize, max: usize) -> Result<Vec<u8>, InvalidFrame> {
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|error| InvalidFrame::Encoding(error.to_string()))?;
    if bytes.len() > max { Err(InvalidFrame::TooLong { max, bytes: bytes.len() }) } else { Ok(bytes) }
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, InvalidFrame> {
    if bytes.len() > max {
        return Err(InvalidFrame::TooLong { max, bytes: bytes.len() });
    }
    canonical::check(bytes).map_err(|error| InvalidFrame::Encoding(error.to_string()))?;
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidFrame::Encoding(error.to_string()))
}

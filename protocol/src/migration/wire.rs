//! What crosses `/angel/{network}/migrate/1`: a question, then an answer, each a frame of canonical DAG-CBOR behind its
//! length in four bytes, the most significant first.
//!
//! The stream says who asks. What the tenant has is never carried here: that is replication's.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::crypto::Signature;
use crate::data::Cid;
use crate::ids::Tid;
use crate::limits::MIGRATION_FRAME_BYTES_MAX;
use crate::placement::{Declined, Offer};
use crate::replication::wire::{InFavour, InvalidFrame, Of, Refusal};
use crate::wire::canonical;

/// The name of the protocol, behind the network's.
pub const PROTOCOL: &str = "migrate/1";

/// What one node asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Question {
    /// To the target: would you take the tenant?
    Offer(Offer),
    /// To the target, by a primary that is full: would you take the tenant off me, now?
    Relieve(Offer),
    /// To a hosting node: how far are you?
    Stand(Of),
    /// To the target, a standby: what do you have?
    Holds(Of),
    /// To the target: your signed consent to become primary in the epoch.
    Accept(InFavour),
    /// To the primary, by the one before it: a token for a client whose token of yours I have checked.
    Session(Session),
    /// To the primary, by the one before it: move the tenant back.
    Return(Of),
    /// To the primary, by the one before it: I keep my copy no longer than the tenant needs it.
    Release(Of),
    /// To a node whose copy is needed no more.
    Drop(Of),
}

/// For whom a token is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Session {
    /// Whose account.
    pub of: Of,
    /// What the client's own token allows.
    pub allows: Allows,
}

/// What a client's token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Allows {
    /// What an app may do.
    App,
    /// The same, and private messages.
    PrivilegedApp,
    /// Everything.
    Owner,
}

/// What a node has of a tenant: equal on both sides before the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Holds {
    /// Revision of the repository.
    pub rev: Tid,
    /// Root of its tree: equal roots are equal records.
    pub root: Cid,
    /// Files, counted.
    pub files: u64,
    /// Digest over their CIDs in order.
    #[serde(with = "serde_bytes")]
    pub files_digest: [u8; 32],
    /// Digest of what else is kept for the account, as replication compares it.
    #[serde(with = "serde_bytes")]
    pub account: [u8; 32],
    /// Rows that nobody but the hosts may see, counted.
    pub private_rows: u64,
    /// Digest over them in the order of their tables and keys.
    #[serde(with = "serde_bytes")]
    pub private_digest: [u8; 32],
}

/// How far a copy is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stand {
    /// The epoch that the node knows.
    pub epoch: u64,
    /// Whether it serves the tenant as its primary.
    pub serves: bool,
    /// Up to which event it is complete, once the copy is whole.
    pub complete: Option<u64>,
    /// Bytes copied so far.
    pub bytes: u64,
    /// Why it has stopped, for people.
    pub stopped: Option<String>,
    /// Digest of what else is kept for the account, as replication compares it.
    #[serde(with = "serde_bytes")]
    pub account: [u8; 32],
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// It would take the tenant.
    Welcome,
    /// It would not.
    Declined(Declined),
    /// To [`Question::Stand`].
    Stand(Stand),
    /// To [`Question::Holds`].
    Holds(Holds),
    /// To [`Question::Accept`].
    Accepted(#[serde(with = "serde_bytes")] Signature),
    /// To [`Question::Session`].
    Session {
        /// An access token.
        access: String,
        /// Where the node answers.
        endpoint: String,
    },
    /// To [`Question::Return`]: the move back has begun, under this id.
    Returning(String),
    /// To [`Question::Release`] and [`Question::Drop`]: the node's copy is needed no more, or is gone.
    Released,
    /// To [`Question::Release`]: the tenant's strategy needs it.
    Needed,
    /// It does not do that.
    Refused(Refusal),
}

impl Question {
    /// Reads one from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        decode(bytes)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It is too large.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFrame> {
        encode(self)
    }
}

impl Answer {
    /// Reads one from untrusted bytes.
    ///
    /// # Errors
    /// [`InvalidFrame`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        decode(bytes)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It is too large.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFrame> {
        encode(self)
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, InvalidFrame> {
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|error| InvalidFrame::Encoding(error.to_string()))?;
    let (max, length) = (MIGRATION_FRAME_BYTES_MAX, bytes.len());
    if length > max { Err(InvalidFrame::TooLong { max, bytes: length }) } else { Ok(bytes) }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidFrame> {
    let max = MIGRATION_FRAME_BYTES_MAX;
    if bytes.len() > max {
        return Err(InvalidFrame::TooLong { max, bytes: bytes.len() });
    }
    canonical::check(bytes).map_err(|error| InvalidFrame::Encoding(error.to_string()))?;
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| InvalidFrame::Encoding(error.to_string()))
}

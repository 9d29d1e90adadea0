//! From a frame to what it says. Fields that are not known are passed over, as later versions of the stream may have
//! them.

use crate::data::cbor::decode_first;
use crate::data::{CborError, Cid, Map, Value};
use crate::ids::{Did, Handle, InvalidDid, InvalidTid, Tid};
use crate::limits::{COMMIT_WRITES_MAX, FIREHOSE_MESSAGE_BYTES_MAX};
use crate::repo::CommitMessage;
use crate::repo::mst::{Change, InvalidMstKey};

/// What one frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Something happened to an account.
    Message {
        /// Its place in the stream.
        sequence: u64,
        /// When the host says it happened.
        time: String,
        /// What happened.
        message: Message,
    },
    /// A word to this subscriber, outside the order of the stream.
    Info {
        /// What it is about.
        name: String,
        /// The word.
        message: Option<String>,
    },
    /// The stream ends here.
    Error {
        /// Why, as a name.
        name: String,
        /// Why, in words.
        message: Option<String>,
    },
}

/// Something that happened to an account. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A new commit.
    Commit(CommitBody),
    /// Where the repository is now.
    Sync {
        /// The account.
        did: Did,
        /// The revision.
        rev: Tid,
        /// A CAR file with the commit.
        car: Vec<u8>,
    },
    /// The identity may have changed.
    Identity {
        /// The account.
        did: Did,
        /// Its handle, a hint; absent when it is not told or is none.
        handle: Option<Handle>,
    },
    /// Whether the host serves the account.
    Account {
        /// The account.
        did: Did,
        /// Whether it is served.
        active: bool,
        /// Why not, in the words of the protocol or later ones.
        status: Option<String>,
    },
}

/// The fields of `#commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitBody {
    /// The account.
    pub repo: Did,
    /// The CID of the commit.
    pub commit: Cid,
    /// Its revision.
    pub rev: Tid,
    /// The revision before.
    pub since: Option<Tid>,
    /// The tree before.
    pub prev_data: Option<Cid>,
    /// What became of each path.
    pub changes: Vec<Change>,
    /// A CAR file with the commit, the records and the covering proof.
    pub car: Vec<u8>,
}

impl CommitBody {
    /// The form that [`verify_commit`](crate::repo::verify_commit) takes.
    #[must_use]
    pub fn message(&self) -> CommitMessage<'_> {
        CommitMessage {
            repo: &self.repo,
            commit: self.commit,
            rev: self.rev,
            since: self.since,
            prev_data: self.prev_data,
            changes: &self.changes,
            car: &self.car,
        }
    }
}

/// Why bytes are no frame of the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than [`FIREHOSE_MESSAGE_BYTES_MAX`].
    #[error("a frame of the firehose has at most {FIREHOSE_MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Not two canonical DAG-CBOR values.
    #[error("the frame cannot be read: {0}")]
    Cbor(#[from] CborError),
    /// The header asks for something that is not known.
    #[error("the frame's header is not known")]
    Header,
    /// A kind of message that is not known; later versions of the stream may have it.
    #[error("messages of the kind {0} are not known")]
    Kind(String),
    /// A field is missing or of another type.
    #[error("the field {0} is missing or of another type")]
    Field(&'static str),
    /// The account is no DID.
    #[error("the message names no account: {0}")]
    Did(#[from] InvalidDid),
    /// A revision is no TID.
    #[error("a revision is no TID: {0}")]
    Rev(#[from] InvalidTid),
    /// A path is no key of a repository.
    #[error("the commit names no path: {0}")]
    Path(#[from] InvalidMstKey),
    /// More operations than [`COMMIT_WRITES_MAX`].
    #[error("the commit has more than {COMMIT_WRITES_MAX} operations")]
    TooManyOperations,
    /// An operation whose action does not fit its CIDs.
    #[error("the operation on {0} contradicts itself")]
    Operation(String),
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`], by what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > FIREHOSE_MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        let (header, rest) = decode_first(bytes)?;
        let (body, rest) = decode_first(rest)?;
        if !rest.is_empty() {
            return Err(CborError::Trailing.into());
        }
        let Value::Map(body) = body else { return Err(CborError::Type.into()) };
        let mut fields = Fields(body);
        match (header.get("op").and_then(Value::as_integer), header.get("t").and_then(Value::as_str)) {
            (Some(-1), _) => Ok(Self::Error { name: fields.text("error")?, message: fields.optional_text("message")? }),
            (Some(1), Some("#info")) => {
                Ok(Self::Info { name: fields.text("name")?, message: fields.optional_text("message")? })
            }
            (Some(1), Some(kind)) => {
                let message = message(kind, &mut fields)?;
                let sequence = fields.integer("seq")?;
                let sequence = u64::try_from(sequence).map_err(|_| FrameError::Field("seq"))?;
                Ok(Self::Message { sequence, time: fields.text("time")?, message })
            }
            _ => Err(FrameError::Header),
        }
    }
}

fn message(kind: &str, fields: &mut Fields) -> Result<Message, FrameError> {
    Ok(match kind {
        "#commit" => Message::Commit(CommitBody {
            repo: fields.text("repo")?.parse()?,
            commit: fields.link("commit")?.ok_or(FrameError::Field("commit"))?,
            rev: fields.text("rev")?.parse()?,
            since: fields.optional_text("since")?.map(|rev| rev.parse()).transpose()?,
            prev_data: fields.link("prevData")?,
            changes: changes(fields.list("ops")?)?,
            car: fields.bytes("blocks")?,
        }),
        "#sync" => Message::Sync {
            did: fields.text("did")?.parse()?,
            rev: fields.text("rev")?.parse()?,
            car: fields.bytes("blocks")?,
        },
        "#identity" => Message::Identity {
            did: fields.text("did")?.parse()?,
            handle: fields.optional_text("handle")?.and_then(|handle| handle.parse().ok()),
        },
        "#account" => Message::Account {
            did: fields.text("did")?.parse()?,
            active: fields.bool("active")?,
            status: fields.optional_text("status")?,
        },
        other => return Err(FrameError::Kind(other.chars().take(64).collect())),
    })
}

fn changes(operations: Vec<Value>) -> Result<Vec<Change>, FrameError> {
    if operations.len() > COMMIT_WRITES_MAX {
        return Err(FrameError::TooManyOperations);
    }
    operations
        .into_iter()
        .map(|operation| {
            let Value::Map(operation) = operation else { return Err(FrameError::Field("ops")) };
            let mut fields = Fields(operation);
            let path = fields.text("path")?;
            let (after, before) = (fields.link("cid")?, fields.link("prev")?);
            let action = fields.text("action")?;
            let fits = match action.as_str() {
                "create" => after.is_some() && before.is_none(),
                "update" => after.is_some() && before.is_some(),
                "delete" => after.is_none() && before.is_some(),
                _ => false,
            };
            if !fits {
                return Err(FrameError::Operation(path));
            }
            Ok(Change { key: path.parse()?, before, after })
        })
        .collect()
}

/// The fields of a message, each taken once.
struct Fields(Map);

impl Fields {
    /// The field, unless it is absent or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| *value != Value::Null)
    }

    fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, FrameError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(FrameError::Field(name)),
        }
    }

    fn text(&mut self, name: &'static str) -> Result<String, FrameError> {
        self.optional_text(name)?.ok_or(FrameError::Field(name))
    }

    fn integer(&mut self, name: &'static str) -> Result<i64, FrameError> {
        self.take(name).and_then(|value| value.as_integer()).ok_or(FrameError::Field(name))
    }

    fn bool(&mut self, name: &'static str) -> Result<bool, FrameError> {
        if let Some(Value::Bool(bool)) = self.take(name) { Ok(bool) } else { Err(FrameError::Field(name)) }
    }

    fn bytes(&mut self, name: &'static str) -> Result<Vec<u8>, FrameError> {
        if let Some(Value::Bytes(bytes)) = self.take(name) { Ok(bytes) } else { Err(FrameError::Field(name)) }
    }

    fn list(&mut self, name: &'static str) -> Result<Vec<Value>, FrameError> {
        if let Some(Value::List(list)) = self.take(name) { Ok(list) } else { Err(FrameError::Field(name)) }
    }

    fn link(&mut self, name: &'static str) -> Result<Option<Cid>, FrameError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => value.as_link().map(Some).ok_or(FrameError::Field(name)),
        }
    }
}

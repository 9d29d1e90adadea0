//! Why something is not done in a space.

use angel_protocol::lexicon::Violation;
use angel_protocol::rules::Refused;
use angel_protocol::spaces::{JoinRefused, MessageRefused, RoleRefused};
use angel_storage::CommitError;
use angel_storage::accounts::NumbersError;
use angel_storage::batch::RowRefused;
use angel_storage::codec::CodecError;
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;
use angel_storage::spaces::{ForgetError, HeardError};
use axum::http::StatusCode;

use crate::accounts::AccountError;
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::repos::RepoError;
use crate::tenants::{FeatureDisabled, LimitReached, RulebookError};

/// Why something is not done in a space. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpaceError {
    /// There is none, or none for whoever asks: the two are answered alike.
    #[error("there is no such space here")]
    SpaceNotFound,
    /// There is none, or none for whoever asks.
    #[error("there is no such channel here")]
    ChannelNotFound,
    /// There is none, or none for whoever asks.
    #[error("there is no such message here")]
    MessageNotFound,
    /// There is no such complaint, or none for whoever asks.
    #[error("there is no such report here")]
    ReportNotFound,
    /// There is none.
    #[error("there is no such member")]
    MemberNotFound,
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Who asks has to say who they are.
    #[error("log in first: this takes an Authorization header")]
    Anonymous,
    /// Not by this role.
    #[error(transparent)]
    Role(#[from] RoleRefused),
    /// Does not join.
    #[error(transparent)]
    Join(#[from] JoinRefused),
    /// The invitation is none of this space, is used up, or is somebody else's.
    #[error("the invitation is not valid here")]
    InvalidInvitation,
    /// The invitation has ended.
    #[error("the invitation has expired; ask for another one")]
    ExpiredInvitation,
    /// The code is too short to be one.
    #[error("a code has at least {min} characters", min = angel_protocol::limits::INVITE_CODE_CHARS_MIN)]
    ShortCode,
    /// The record does not fit its lexicon.
    #[error("the record does not fit its lexicon: {0}")]
    Invalid(#[from] Box<Violation>),
    /// The record is no record.
    #[error("{0}")]
    Malformed(String),
    /// The record breaks the rules of its collection.
    #[error(transparent)]
    Rules(#[from] Refused),
    /// The plan of the tenant has no room for more.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The plan of whoever holds the space has not the feature.
    #[error(transparent)]
    Feature(#[from] FeatureDisabled),
    /// The message is not as it has to be.
    #[error(transparent)]
    Message(#[from] MessageRefused),
    /// The author's records are kept elsewhere.
    #[error(
        "your records are kept by another host: write the record into your repository there, it will be seen from here"
    )]
    AuthorElsewhere,
    /// The tenant is not hosted here.
    #[error("that account is not hosted here; ask its own host")]
    HolderElsewhere,
    /// Whether the space is public cannot be found out.
    #[error("whether the space is public cannot be found out: its host does not answer; try again later")]
    HolderSilent,
    /// Whether an agent's owner confirms it cannot be found out.
    #[error("whether the agent's owner confirms it cannot be found out: its records do not answer; try again later")]
    AgentUnknown,
    /// The rules cannot look up what they have to know.
    #[error(transparent)]
    Rulebook(#[from] RulebookError),
    /// More than there may be.
    #[error("{0}")]
    TooMany(&'static str),
    /// The repository refuses.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The permissioned repository refuses.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
    /// The accounts cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is too large.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The store did not write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// No number can be had.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// An event of the log cannot be read.
    #[error(transparent)]
    Event(#[from] CodecError),
}

impl From<HeardError> for SpaceError {
    fn from(error: HeardError) -> Self {
        match error {
            HeardError::Read(error) => error.into(),
            HeardError::Row(error) => error.into(),
        }
    }
}

impl From<ForgetError> for SpaceError {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::Read(error) => error.into(),
            ForgetError::Row(error) => error.into(),
            ForgetError::Commit(error) => error.into(),
        }
    }
}

impl From<TrimError> for SpaceError {
    fn from(error: TrimError) -> Self {
        match error {
            TrimError::Read(error) => error.into(),
            TrimError::Refused(error) => error.into(),
        }
    }
}

impl From<SpaceError> for XrpcError {
    fn from(error: SpaceError) -> Self {
        let named = |status, name| Self::new(status, name, error.to_string());
        let bad = StatusCode::BAD_REQUEST;
        match error {
            SpaceError::SpaceNotFound | SpaceError::Join(JoinRefused::NotFound) => {
                Self::new(bad, "SpaceNotFound", SpaceError::SpaceNotFound.to_string())
            }
            SpaceError::ChannelNotFound => named(bad, "ChannelNotFound"),
            SpaceError::MessageNotFound => named(bad, "MessageNotFound"),
            SpaceError::ReportNotFound => named(bad, "ReportNotFound"),
            SpaceError::MemberNotFound => named(bad, "MemberNotFound"),
            SpaceError::Anonymous => named(StatusCode::UNAUTHORIZED, "AuthMissing"),
            SpaceError::Forbidden(_) | SpaceError::Role(_) => named(StatusCode::FORBIDDEN, "NotAllowed"),
            SpaceError::Join(JoinRefused::Banned | JoinRefused::Suspended) => {
                named(StatusCode::FORBIDDEN, "NotAllowed")
            }
            SpaceError::Join(JoinRefused::InvitationNeeded) => named(StatusCode::FORBIDDEN, "InvitationNeeded"),
            SpaceError::Join(JoinRefused::CodeNeeded) => named(StatusCode::FORBIDDEN, "CodeNeeded"),
            SpaceError::InvalidInvitation => named(bad, "InvalidInvitation"),
            SpaceError::ExpiredInvitation => named(StatusCode::GONE, "ExpiredInvitation"),
            SpaceError::AuthorElsewhere => named(bad, "AuthorElsewhere"),
            SpaceError::HolderElsewhere => named(bad, "HolderElsewhere"),
            SpaceError::HolderSilent | SpaceError::AgentUnknown => Self::unavailable(error.to_string()),
            SpaceError::Message(MessageRefused::Unconfirmed(_)) => named(StatusCode::FORBIDDEN, "AgentNotConfirmed"),
            SpaceError::Message(MessageRefused::NotAPerson) => named(StatusCode::FORBIDDEN, "AgentNotPerson"),
            SpaceError::TooMany(_) => named(bad, "TooMany"),
            SpaceError::ShortCode
            | SpaceError::Invalid(_)
            | SpaceError::Malformed(_)
            | SpaceError::Rules(_)
            | SpaceError::Message(_) => named(bad, "InvalidRequest"),
            SpaceError::Limit(reached) => reached.into(),
            SpaceError::Feature(disabled) => disabled.into(),
            SpaceError::Repo(error) => error.into(),
            SpaceError::Permissioned(PermissionedError::SpaceNotFound | PermissionedError::SpaceDeleted) => {
                Self::new(bad, "SpaceNotFound", SpaceError::SpaceNotFound.to_string())
            }
            SpaceError::Permissioned(PermissionedError::Store(CommitError::Busy)) => {
                Self::unavailable("the store has too much to do; try again")
            }
            SpaceError::Permissioned(PermissionedError::Account(error @ AccountError::NotWritable(_))) => error.into(),
            SpaceError::Permissioned(error) => Self::unexpected(&error),
            SpaceError::Account(error) => error.into(),
            SpaceError::Commit(CommitError::Busy) => Self::unavailable(error.to_string()),
            SpaceError::Read(_)
            | SpaceError::Row(_)
            | SpaceError::Commit(_)
            | SpaceError::Numbers(_)
            | SpaceError::Rulebook(_)
            | SpaceError::Event(_) => Self::unexpected(&error),
        }
    }
}

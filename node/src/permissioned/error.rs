//! Why something cannot be done with private data.

use angel_protocol::ids::TidsExhausted;
use angel_protocol::limits::{PERMISSIONED_WRITES_MAX, SPACE_URI_BYTES_MAX};
use angel_protocol::permissioned::policy::InvalidConfig;
use angel_protocol::permissioned::repo::AdvanceError;
use angel_storage::CommitError;
use angel_storage::batch::RowRefused;
use angel_storage::blobs::NamingError;
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;

use crate::accounts::AccountError;
use crate::placement::NotWritable;

/// Why something cannot be done with private data. Nothing has changed then. No text of it names a record or says what
/// is in one: such texts are logged.
#[derive(Debug, thiserror::Error)]
pub enum PermissionedError {
    /// There is no such space, or none for whoever asks.
    #[error("there is no such space")]
    SpaceNotFound,
    /// The space was deleted by its authority.
    #[error("the space was deleted")]
    SpaceDeleted,
    /// The account has no repository in the space, or none for whoever asks.
    #[error("there is no such repository in the space")]
    RepoNotFound,
    /// There is such a space already.
    #[error("there is a space of this type and key already")]
    SpaceExists,
    /// The URI of the space would be too long.
    #[error("the URI of the space would have more than {SPACE_URI_BYTES_MAX} bytes")]
    UriTooLong,
    /// The settings of the space cannot be enforced.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// More than [`PERMISSIONED_WRITES_MAX`] writes at once.
    #[error("at most {PERMISSIONED_WRITES_MAX} writes are made at once")]
    TooManyWrites,
    /// There is a record already where one was to be created. The number is that of the write, from 0 on.
    #[error("write {0}: there is a record of this name already")]
    RecordExists(usize),
    /// There is no record where one was to be replaced or deleted.
    #[error("write {0}: there is no such record")]
    RecordNotFound(usize),
    /// The record is not the one that the client expected.
    #[error("write {0}: the record is not the one named in swapRecord")]
    RecordSwapped(usize),
    /// A path occurs in more than one write.
    #[error("write {0}: an earlier write is about the same record")]
    Repeated(usize),
    /// A record names a blob that it cannot name.
    #[error(transparent)]
    Blob(NamingError),
    /// The writes make no new head.
    #[error(transparent)]
    Advance(#[from] AdvanceError),
    /// A service that is to be told of writes cannot be found.
    #[error("the service cannot be resolved to an address")]
    ServiceNotResolvable,
    /// As many services are told of writes as can be.
    #[error("the space tells as many services of its writes as it can")]
    TooManyServices,
    /// A revision from further in the future than clocks may differ.
    #[error("the revision is from the future")]
    FutureRev,
    /// Too many exports or imports are under way.
    #[error("too many exports and imports are under way; try again later")]
    Busy,
    /// So much was rewritten while an export read that it cannot go on.
    #[error("the repository was rewritten while it was read; begin anew")]
    Rewritten,
    /// What is stored contradicts itself.
    #[error("{0}; run `angel storage verify`")]
    Broken(&'static str),
    /// What an export puts aside cannot be written or read.
    #[error("an index cannot be put aside: {0}")]
    Spool(#[from] std::io::Error),
    /// The accounts cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A DID or the name of a service is too long to be kept.
    #[error("a name is too long to be kept")]
    KeyTooLong,
    /// The store cannot be read. What it says of the row is not told: the key of a row names a record.
    #[error("private data cannot be read; run `angel storage verify`")]
    Read(ReadError),
    /// The change is larger than the store takes at once.
    #[error("the change is larger than the store takes at once")]
    Refused(RowRefused),
    /// The store did not write.
    #[error("private data cannot be written")]
    Store(CommitError),
    /// The clock is at its end.
    #[error(transparent)]
    Clock(#[from] TidsExhausted),
}

impl From<ReadError> for PermissionedError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<RowRefused> for PermissionedError {
    fn from(error: RowRefused) -> Self {
        if matches!(error, RowRefused::KeyTooLong { .. }) { Self::KeyTooLong } else { Self::Refused(error) }
    }
}

impl From<NotWritable> for PermissionedError {
    fn from(error: NotWritable) -> Self {
        Self::Account(error.into())
    }
}

impl From<CommitError> for PermissionedError {
    fn from(error: CommitError) -> Self {
        Self::Store(error)
    }
}

impl From<NamingError> for PermissionedError {
    fn from(error: NamingError) -> Self {
        match error {
            NamingError::Read(error) => error.into(),
            NamingError::Refused(error) => error.into(),
            refused => Self::Blob(refused),
        }
    }
}

impl From<TrimError> for PermissionedError {
    fn from(error: TrimError) -> Self {
        match error {
            TrimError::Read(error) => error.into(),
            TrimError::Refused(error) => error.into(),
        }
    }
}

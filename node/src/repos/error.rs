//! Why something cannot be done to a repository.

use angel_protocol::data::Cid;
use angel_protocol::ids::{RepoPath, TidsExhausted};
use angel_protocol::repo::WriteError;
use angel_protocol::repo::mst::{InvalidMstKey, MstError};
use angel_storage::CommitError;
use angel_storage::batch::RowRefused;
use angel_storage::blobs::NamingError;
use angel_storage::events::TrimError;
use angel_storage::reader::ReadError;

/// Why something cannot be done to a repository. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// This node may not write it now, or the write is not safe as its owner asked.
    #[error(transparent)]
    NotWritable(#[from] crate::placement::NotWritable),
    /// The account has no repository here.
    #[error("there is no repository for this account")]
    NoRepository,
    /// The head is not the commit that the client expected.
    #[error("the head of the repository is {0}, not the commit named in swapCommit")]
    HeadSwapped(Cid),
    /// The record is not the one that the client expected.
    #[error("{path} is not as swapRecord says: {}", found.map_or_else(|| "there is no record".to_owned(), |cid| format!("the record is {cid}")))]
    RecordSwapped {
        /// Where.
        path: RepoPath,
        /// What is there.
        found: Option<Cid>,
    },
    /// A record names a blob that it cannot name.
    #[error(transparent)]
    Blob(NamingError),
    /// The writes make no commit.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A path that no tree takes.
    #[error("{path} cannot be the path of a record: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: InvalidMstKey,
    },
    /// A block was not found.
    #[error("the repository has no block {0}")]
    BlockNotFound(Cid),
    /// The tree cannot be read.
    #[error("the tree cannot be read: {0}")]
    Tree(#[from] MstError),
    /// What is stored contradicts itself.
    #[error("{0}; run `angel storage verify`")]
    Broken(&'static str),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The change is larger than the store takes at once.
    #[error(transparent)]
    Refused(#[from] RowRefused),
    /// The store did not write.
    #[error(transparent)]
    Store(#[from] CommitError),
    /// The clock is at its end.
    #[error(transparent)]
    Clock(#[from] TidsExhausted),
}

impl From<NamingError> for RepoError {
    fn from(error: NamingError) -> Self {
        match error {
            NamingError::Read(error) => error.into(),
            NamingError::Refused(error) => error.into(),
            refused => Self::Blob(refused),
        }
    }
}

impl From<TrimError> for RepoError {
    fn from(error: TrimError) -> Self {
        match error {
            TrimError::Read(error) => error.into(),
            TrimError::Refused(error) => error.into(),
        }
    }
}

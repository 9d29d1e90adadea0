//! Why a node does not start, and why it does not end well.

use angel_storage::reader::ReadError;
use angel_storage::store::{CloseError, OpenError};
use tokio::task::JoinError;

use super::handle::STOP_LIMIT;
use crate::accounts::AccountsOpenError;
use crate::blobs::BlobError;
use crate::data_dir::DataDirError;
use crate::fetch::FetchError;
use crate::http::server::BindError;
use crate::identities::IdentitiesOpenError;
use crate::ledger::genesis::GenesisError;
use crate::mail::SmtpError;
use crate::membership::DriverError;
use crate::network;
use crate::placement::PlacementError;
use crate::repos::RepoError;
use crate::secrets::SecretError;
use crate::service_account::ServiceAccountError;
use crate::tasks::TaskFailed;

/// Why a node did not start. Everything that was started is stopped again then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A key or password.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP port.
    #[error(transparent)]
    Http(#[from] BindError),
    /// The store.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The accounts.
    #[error(transparent)]
    Accounts(#[from] AccountsOpenError),
    /// The files of accounts.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The log of events.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The accounts' identities.
    #[error(transparent)]
    Identities(#[from] IdentitiesOpenError),
    /// The mail server.
    #[error(transparent)]
    Mail(#[from] SmtpError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] GenesisError),
    /// The peer-to-peer network.
    #[error(transparent)]
    Network(#[from] network::StartError),
    /// The repositories.
    #[error(transparent)]
    Repos(#[from] RepoError),
    /// The node's own account.
    #[error(transparent)]
    ServiceAccount(#[from] ServiceAccountError),
    /// Which accounts are copies.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Moves that are under way.
    #[error("a move of a tenant cannot go on: {0}")]
    Move(String),
    /// What is known of the network's nodes.
    #[error(transparent)]
    Membership(#[from] DriverError),
    /// Requests to other nodes cannot be made.
    #[error("the HTTP client does not start: {0}")]
    Fetch(#[from] FetchError),
    /// A step that blocks did not come to an end.
    #[error("starting was cut short: {0}")]
    Cut(#[from] JoinError),
}

/// Why a node did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A task ended unasked, and took the node with it.
    #[error("{0}")]
    Task(TaskFailed),
    /// Tasks did not end in time.
    #[error("would not stop within {} s: {}", STOP_LIMIT.as_secs(), names.join(", "))]
    Stragglers {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// The store could not be closed; what was acknowledged is safe.
    #[error("the store was not closed cleanly: {0}")]
    Storage(#[from] CloseError),
    /// The stopping itself broke.
    #[error("stopping was cut short: {0}")]
    Cut(#[from] JoinError),
}

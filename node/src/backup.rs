//! Backups: made while the node serves, sealed to the owner's recovery key, verified by restoring them.
//!
//! | where | what |
//! |---|---|
//! | `depot` | where backups lie: a directory, one file, a bucket |
//! | `recovery` | who can open one, and the proof that somebody can |
//! | `make`, `read` | from the node to chunks, and back, believing nothing |
//! | `make_account` | the same of one account alone, for vaults |
//! | `check` | a backup is verified by restoring it into a scratch store |
//! | `restore` | a new data directory from a backup |
//! | `returning` | what a node that was put back may not do before it has caught up |
//! | `prune` | letting go of old snapshots |
//! | `service` | what the daemon does: on request, and by the clock |
//!
//! What a backup consists of is `angel_protocol::backup`; how the store is read at one moment is
//! `angel_storage::backup`. See ADR 107.

pub(crate) mod check;
pub(crate) mod depot;
mod make;
pub(crate) mod make_account;
pub(crate) mod progress;
mod prune;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod restore;
pub(crate) mod returning;
mod service;
pub(crate) mod tenant;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use angel_protocol::backup::{ChunkName, FileKind, ManifestRefused, NoKeepRule, NotAChunk};
use angel_protocol::ids::Did;
use angel_storage::backup::{CutError, FillError, RootsError};
use angel_storage::store::{CloseError, OpenError};
use angel_storage::verify::VerifyError;

use crate::blobs::BlobError;
use crate::data_dir::DataDirError;
pub(crate) use depot::BucketAccess;
use depot::DepotError;
pub use depot::{NoPlace, Place};
pub(crate) use make::Source;
use recovery::RecoveryError;
pub(crate) use service::{Backups, BackupsCollector, Inbox, Settings, Wish, manifest_json, roots_json};

/// In `secrets`: that this node was restored and has not caught up since.
pub(crate) const RESTORED_FILE: &str = "restored";

/// Why a backup was not made, is not believed, or was not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The place.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// No place.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// No rule of what to keep.
    #[error(transparent)]
    NoKeepRule(#[from] NoKeepRule),
    /// Nothing says where backups go.
    #[error("it is not said where backups go: set backup.to, or name a place with --to")]
    Nowhere,
    /// Who can open it.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The place is empty.
    #[error("{place} holds no snapshot")]
    Empty {
        /// The place.
        place: String,
    },
    /// There is no such snapshot.
    #[error("{place} holds no snapshot {number}; `angel backup list` names those it has")]
    NoSnapshot {
        /// The place.
        place: String,
        /// The number asked for.
        number: u64,
    },
    /// A manifest is not believed.
    #[error("snapshot {number} is not believed: {source}")]
    Manifest {
        /// Its number.
        number: u64,
        /// Why.
        source: ManifestRefused,
    },
    /// A manifest lies under the number of another.
    #[error("what lies there as snapshot {number} says that it is snapshot {says}: somebody has moved it")]
    OtherNumber {
        /// The number in its name.
        number: u64,
        /// The number in it.
        says: u64,
    },
    /// The backup belongs to another node than was asked for.
    #[error("this is a backup of {found}, and not of {expected}; name the node with --node if that is meant")]
    OtherNode {
        /// Who made it.
        found: String,
        /// Who should have.
        expected: String,
    },
    /// It is sealed with the key of other backups.
    #[error("the snapshot is sealed with another key than the one at hand: it belongs to other backups")]
    OtherKey,
    /// A chunk is not what it should be.
    #[error("the chunk {name} is damaged: {source}")]
    Chunk {
        /// Its name.
        name: ChunkName,
        /// What is wrong.
        source: NotAChunk,
    },
    /// Rows are not where they belong.
    #[error("the rows of the chunk {name} are not in order: the backup was put together wrongly")]
    NotInOrder {
        /// Its name.
        name: ChunkName,
    },
    /// A file is not what the backup says.
    #[error("the file {kind:?} is not what the backup says")]
    FileDiffers {
        /// Which.
        kind: FileKind,
    },
    /// What was read or restored does not come to what the manifest says.
    #[error("the backup does not come to what its manifest says: {what} differs")]
    Differs {
        /// What.
        what: String,
    },
    /// A row names a blob that is none, or holds no key.
    #[error("a row that names a blob or holds a key cannot be read; run `angel storage verify`")]
    Row,
    /// It is of one account, and a node was to be made of it.
    #[error("this is a backup of the account {0} alone: restore it into a node that is there, with --tenant {0}")]
    OneAccount(Did),
    /// A file of accounts is not what its name says.
    #[error("{} is not what its name says: it is damaged on this machine; fetch it from a copy, or remove it", path.display())]
    BlobDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A file is larger than one can be.
    #[error("{} is too large for a backup", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Too many keys.
    #[error("{} holds more files than a backup takes", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A file.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    DataDir(Box<DataDirError>),
    /// The files of accounts.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store cannot be read at one moment.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// A store cannot be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// A store that was filled cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A store that was filled cannot be closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// Its rows cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Something does not come to its root.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The store of the daemon.
    #[error(transparent)]
    Commit(#[from] angel_storage::CommitError),
    /// One account of it is not restored.
    #[error(transparent)]
    Tenant(#[from] NotThisTenant),
    /// One is being made.
    #[error("a backup is being made or verified; wait until it is done")]
    Busy,
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
}

impl BackupError {
    /// A word for programs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Depot(_) | Self::NoPlace(_) => "PlaceUnusable",
            Self::Nowhere => "NoPlace",
            Self::Recovery(RecoveryError::NoRecipient) => "NoRecoveryKey",
            Self::Recovery(RecoveryError::Unproved(_)) => "RecoveryKeyUnproved",
            Self::Recovery(_) => "RecoveryKeyUnusable",
            Self::Empty { .. } | Self::NoSnapshot { .. } => "NoSnapshot",
            Self::OtherNode { .. } | Self::OtherKey => "ForeignBackup",
            Self::OneAccount(_) => "OneAccountOnly",
            Self::Manifest { .. }
            | Self::OtherNumber { .. }
            | Self::Chunk { .. }
            | Self::NotInOrder { .. }
            | Self::FileDiffers { .. }
            | Self::Differs { .. } => "BackupDamaged",
            Self::BlobDamaged { .. } | Self::Row | Self::Roots(_) => "SourceDamaged",
            Self::Tenant(NotThisTenant::Here(_)) => "AccountExists",
            Self::Tenant(NotThisTenant::Hosted { .. }) => "HostedElsewhere",
            Self::Tenant(NotThisTenant::NothingToClaim(_)) => "NothingToClaim",
            Self::Tenant(NotThisTenant::NotInBackup { .. } | NotThisTenant::OnlyCopy { .. }) => "NotInBackup",
            Self::Busy => "BackupUnderWay",
            Self::Stopped => "Stopping",
            _ => "BackupFailed",
        }
    }
}

/// Why one account of a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotThisTenant {
    /// It is here.
    #[error(
        "{0} is on this node, and nothing is restored over an account: what it has may be newer; delete it first, with \
         `angel account delete`, if the backup is to take its place"
    )]
    Here(Did),
    /// Others have it.
    #[error(
        "{did} is hosted by {hosts}, whose copies are newer than any backup: take over there with `angel tenant promote`, \
         or have it moved here with `angel tenant migrate`; if they are gone for good, restore it with --claim, and its \
         owner claims it"
    )]
    Hosted {
        /// The account.
        did: Did,
        /// Who hosts it, as the ledger has it here.
        hosts: String,
    },
    /// There is nobody to claim it from.
    #[error("this node is the primary of {0} by the ledger: restore it without --claim")]
    NothingToClaim(Did),
    /// The snapshot has no such account.
    #[error("snapshot {number} has no account {did}; `angel backup list` names the others")]
    NotInBackup {
        /// The account.
        did: Did,
        /// The snapshot.
        number: u64,
    },
    /// The snapshot has a copy of it only.
    #[error("snapshot {number} has {did} only as a standby's copy: restore it from a backup of its primary")]
    OnlyCopy {
        /// The account.
        did: Did,
        /// The snapshot.
        number: u64,
    },
    /// Who this node is cannot be read.
    #[error(transparent)]
    Node(crate::secrets::SecretError),
    /// The ledger here cannot be read.
    #[error("who hosts the account cannot be read from the ledger: {0}")]
    Ledger(String),
    /// Accounts cannot be opened.
    #[error("the accounts cannot be opened: {0}")]
    Accounts(String),
    /// An account.
    #[error(transparent)]
    Account(crate::accounts::AccountError),
    /// A row.
    #[error(transparent)]
    Read(angel_storage::reader::ReadError),
    /// The account's rows.
    #[error(transparent)]
    Rows(Box<angel_storage::belongings::restore::NotRestored>),
}

//! How a command ends: one code for each way, so that scripts and service managers can tell them apart.

use std::process::ExitCode;

use angel_storage::manifest::ManifestError;
use angel_storage::migrate::MigrateError;
use angel_storage::store::OpenError;

use super::Common;
use crate::accounts::AccountsOpenError;
use crate::config::ConfigError;
use crate::data_dir::DataDirError;
use crate::identities::IdentitiesOpenError;
use crate::keys::RotationError;
use crate::ledger::genesis::GenesisError;
use crate::membership::DriverError;
use crate::node::{StartError, StopError};
use crate::secrets::SecretError;

/// The table of the help.
pub(super) const TABLE: &str = "\
Exit codes:
  0   done
  1   something unexpected went wrong
  2   the command line makes no sense
  3   the configuration has an unknown key
  4   the configuration is invalid or cannot be read
  5   the data directory cannot be used (not writable, not ours)
  6   the data directory is in use by another daemon
  7   the data was written by a newer release
  8   the data is damaged
  9   a secret file can be read by others, or cannot be used
  10  an address or port cannot be listened on
  11  a part of the node failed while it ran
  12  parts of the node would not stop in time
  13  no daemon runs in this data directory
  14  the daemon cannot be reached, or refused
  15  the doctor found something to mend
  130, 143  cut short by a second SIGINT or SIGTERM";

/// The codes of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    Unexpected = 1,
    Usage = 2,
    UnknownKey = 3,
    Config = 4,
    DataDir = 5,
    Locked = 6,
    NewerData = 7,
    DamagedData = 8,
    Secret = 9,
    Listen = 10,
    TaskFailed = 11,
    Stragglers = 12,
    NotRunning = 13,
    Daemon = 14,
    Findings = 15,
}

/// A command that did not succeed: what to say and how to end.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    words: String,
}

impl Failure {
    pub(super) fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    pub(super) fn words(&self) -> &str {
        &self.words
    }

    pub(super) fn unexpected(words: impl Into<String>) -> Self {
        Self::new(Code::Unexpected, words)
    }

    /// Says what happened, on standard error, and gives the code.
    pub(super) fn report(&self, common: &Common) -> ExitCode {
        if common.json {
            let error = serde_json::json!({ "error": format!("{:?}", self.code), "message": self.words });
            eprintln!("{error}");
        } else {
            eprintln!("angel: {}", self.words);
        }
        ExitCode::from(self.code as u8)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::UnknownKey { .. } => Code::UnknownKey,
            ConfigError::Read { .. }
            | ConfigError::Syntax { .. }
            | ConfigError::Value { .. }
            | ConfigError::Contradiction { .. }
            | ConfigError::NoDataDir => Code::Config,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let code = match error {
            DataDirError::Access { .. }
            | DataDirError::Foreign { .. }
            | DataDirError::Occupied { .. }
            | DataDirError::Missing { .. } => Code::DataDir,
            DataDirError::Locked { .. } => Code::Locked,
            DataDirError::Newer { .. } => Code::NewerData,
            DataDirError::Corrupt { .. } | DataDirError::HalfRestored { .. } | DataDirError::StoreMissing { .. } => {
                Code::DamagedData
            }
            DataDirError::Genesis { .. } | DataDirError::OtherGenesis { .. } => Code::Config,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        let code = match error {
            SecretError::Corrupt { .. } => Code::DamagedData,
            SecretError::Setting { .. } => Code::Config,
            SecretError::Missing { .. }
            | SecretError::Lost { .. }
            | SecretError::Access { .. }
            | SecretError::Exposed { .. }
            | SecretError::Exists { .. }
            | SecretError::EmptyPassword
            | SecretError::Randomness(_) => Code::Secret,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::DataDir(error) => error.into(),
            StartError::Secret(error) => error.into(),
            StartError::Http(error) => Self::new(Code::Listen, error.to_string()),
            StartError::Storage(error) => error.into(),
            StartError::Accounts(AccountsOpenError::Secret(error)) => error.into(),
            StartError::Accounts(AccountsOpenError::Read(error)) => Self::new(Code::DamagedData, error.to_string()),
            StartError::Repos(error) => Self::new(Code::DamagedData, error.to_string()),
            StartError::ServiceAccount(error) => Self::new(Code::DamagedData, error.to_string()),
            StartError::Log(_) | StartError::Placement(_) | StartError::Move(_) => {
                Self::new(Code::DamagedData, error.to_string())
            }
            StartError::Blobs(_) => Self::new(Code::DataDir, error.to_string()),
            StartError::Identities(IdentitiesOpenError::Secret(error)) => error.into(),
            StartError::Identities(IdentitiesOpenError::Read(error)) => Self::new(Code::DamagedData, error.to_string()),
            StartError::Identities(IdentitiesOpenError::Fetch(error)) => Self::unexpected(error.to_string()),
            StartError::Mail(error) => Self::new(Code::Config, error.to_string()),
            StartError::Ledger(error) => error.into(),
            StartError::Network(error) => Self::new(Code::Listen, error.to_string()),
            StartError::Membership(DriverError::Profile(_)) => Self::new(Code::Config, error.to_string()),
            StartError::Membership(error) => Self::new(Code::DamagedData, error.to_string()),
            StartError::Fetch(_) | StartError::Cut(_) => Self::unexpected(error.to_string()),
        }
    }
}

impl From<GenesisError> for Failure {
    fn from(error: GenesisError) -> Self {
        let code = match &error {
            GenesisError::File { .. }
            | GenesisError::Syntax { .. }
            | GenesisError::Invalid(_)
            | GenesisError::OtherNetwork { .. } => Code::Config,
            GenesisError::DataDir(_) | GenesisError::Changed { .. } => Code::DataDir,
            GenesisError::Write(_) | GenesisError::Read(_) | GenesisError::Ledger(_) => Code::DamagedData,
        };
        Self::new(code, error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Io { .. } | OpenError::NotFound { .. } => Code::DataDir,
            OpenError::InUse { .. } => Code::Locked,
            OpenError::OtherEngine { .. } => Code::Config,
            OpenError::Manifest(ManifestError::Newer { .. }) | OpenError::Migrate(MigrateError::Newer { .. }) => {
                Code::NewerData
            }
            OpenError::Manifest(ManifestError::Io { .. }) => Code::DataDir,
            OpenError::Manifest(ManifestError::Damaged { .. })
            | OpenError::ManifestMissing { .. }
            | OpenError::DataMissing { .. }
            | OpenError::HalfRestored { .. }
            | OpenError::Damaged { .. }
            | OpenError::Incomplete { .. }
            | OpenError::Migrate(_)
            | OpenError::Read(_)
            | OpenError::Engine(_) => Code::DamagedData,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StopError> for Failure {
    fn from(error: StopError) -> Self {
        let code = match error {
            StopError::Task(_) => Code::TaskFailed,
            StopError::Stragglers { .. } => Code::Stragglers,
            StopError::Storage(_) => Code::TaskFailed,
            StopError::Cut(_) => Code::Unexpected,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Secret(error) => error.into(),
            RotationError::TooMany { .. } => Self::new(Code::Daemon, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../docs/running.md");
        assert!(page.contains(TABLE), "docs/running.md has another table of exit codes than --help");
    }

    #[test]
    fn every_code_is_in_the_table() {
        use Code::*;
        let codes = [
            Unexpected,
            UnknownKey,
            Config,
            DataDir,
            Locked,
            NewerData,
            DamagedData,
            Secret,
            Listen,
            TaskFailed,
            Stragglers,
            NotRunning,
            Daemon,
            Findings,
        ];
        for code in codes {
            assert!(TABLE.contains(&format!("\n  {:<4}", code as u8)), "{code:?}");
        }
    }
}

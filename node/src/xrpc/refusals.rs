//! How the errors of accounts, sessions, passwords, repositories and blobs are named on the wire.

use axum::http::StatusCode;

use angel_protocol::repo::WriteError;
use angel_protocol::repo::mst::MstError;
use angel_storage::CommitError;
use angel_storage::blobs::NamingError;

use super::auth;
use crate::accounts::AccountError;
use crate::blobs::BlobError;
use crate::http::XrpcError;
use crate::passwords::PasswordError;
use crate::repos::RepoError;
use crate::sessions::SessionError;

impl From<AccountError> for XrpcError {
    fn from(error: AccountError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match &error {
            AccountError::NotFound => refused("AccountNotFound"),
            AccountError::DidTaken => refused("InvalidRequest"),
            AccountError::HandleTaken => refused("HandleNotAvailable"),
            AccountError::EmailTaken => refused("EmailNotAvailable"),
            AccountError::Busy => Self::unavailable(error.to_string()),
            AccountError::Commit(angel_storage::CommitError::Busy) => Self::unavailable(error.to_string()),
            AccountError::Seal(_) | AccountError::Read(_) | AccountError::Row(_) | AccountError::Commit(_) => {
                Self::unexpected(&error)
            }
        }
    }
}

impl From<SessionError> for XrpcError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Token(refused) => auth::refused(refused),
            SessionError::NameTaken => Self::new(StatusCode::BAD_REQUEST, "DuplicateCreate", error.to_string()),
            SessionError::TooManyAppPasswords => Self::invalid_request(error.to_string()),
            SessionError::Secret(error) => Self::unexpected(&error),
            SessionError::Account(error) => error.into(),
        }
    }
}

impl From<PasswordError> for XrpcError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::TooLong | PasswordError::Empty => Self::invalid_request(error.to_string()),
            PasswordError::Busy => Self::unavailable(error.to_string()),
            PasswordError::Secret(error) => Self::unexpected(&error),
        }
    }
}

impl From<RepoError> for XrpcError {
    fn from(error: RepoError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match &error {
            RepoError::NoRepository => refused("RepoNotFound"),
            RepoError::HeadSwapped(_) | RepoError::RecordSwapped { .. } => refused("InvalidSwap"),
            RepoError::BlockNotFound(_) => refused("BlockNotFound"),
            RepoError::Blob(NamingError::NotFound { .. }) => refused("BlobNotFound"),
            RepoError::Blob(NamingError::MimeType { .. }) => refused("InvalidMimeType"),
            RepoError::Blob(NamingError::Size { .. }) => refused("InvalidSize"),
            RepoError::Path { .. }
            | RepoError::Write(
                WriteError::TooManyWrites
                | WriteError::RecordTooLarge(_)
                | WriteError::TooLarge(_)
                | WriteError::Key { .. }
                | WriteError::Tree(MstError::Exists(_) | MstError::NotFound(_) | MstError::NodeTooLarge(_)),
            ) => refused("InvalidRequest"),
            RepoError::Store(CommitError::Busy) => Self::unavailable(error.to_string()),
            _ => Self::unexpected(&error),
        }
    }
}

impl From<BlobError> for XrpcError {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", error.to_string())
            }
            BlobError::TooManyUploads => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", error.to_string())
            }
            BlobError::MediaType | BlobError::Interrupted(_) | BlobError::TakenDown => {
                Self::invalid_request(error.to_string())
            }
            BlobError::Commit(angel_storage::CommitError::Busy) => Self::unavailable(error.to_string()),
            BlobError::File { .. } | BlobError::Read(_) | BlobError::Row(_) | BlobError::Commit(_) => {
                Self::unexpected(&error)
            }
        }
    }
}

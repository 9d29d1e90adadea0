//! How the errors of accounts, sessions and passwords are named on the wire.

use axum::http::StatusCode;

use super::auth;
use crate::accounts::AccountError;
use crate::http::XrpcError;
use crate::passwords::PasswordError;
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

//! How the errors of accounts, sessions, passwords, repositories and blobs are named on the wire.

use axum::http::StatusCode;

use angel_protocol::plc::NotAdded;
use angel_protocol::repo::WriteError;
use angel_protocol::repo::mst::MstError;
use angel_protocol::tenants::invitation::InvitationRefused;
use angel_storage::CommitError;
use angel_storage::blobs::NamingError;

use super::auth;
use crate::accounts::AccountError;
use crate::blobs::BlobError;
use crate::http::XrpcError;
use crate::invites::InviteError;
use crate::lifecycle::LifecycleError;
use crate::mail::{CodeRefused, MailError};
use crate::passwords::PasswordError;
use crate::permissioned::PermissionedError;
use crate::permissioned::credentials::CredentialError;
use crate::placement::NotWritable;
use crate::preferences::PreferencesError;
use crate::repos::RepoError;
use crate::sessions::SessionError;
use crate::takedowns::TakedownError;
use crate::tenants::{FeatureDisabled, LimitReached, ProvisionError, TenantError};

impl From<AccountError> for XrpcError {
    fn from(error: AccountError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match &error {
            AccountError::NotFound => refused("AccountNotFound"),
            AccountError::DidTaken => refused("AlreadyExists"),
            AccountError::HandleTaken => refused("HandleNotAvailable"),
            AccountError::EmailTaken => refused("InvalidRequest"),
            AccountError::NotWritable(error) => error.clone().into(),
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

impl From<NotWritable> for XrpcError {
    fn from(error: NotWritable) -> Self {
        let name = match &error {
            NotWritable::NotPrimary { .. } => "NotPrimary",
            NotWritable::Unconfirmed => "PrimaryUnconfirmed",
            NotWritable::CatchingUp => "CatchingUp",
            NotWritable::TakingOver | NotWritable::HandingOver => "TakingOver",
            NotWritable::ReplicationUnavailable => "ReplicationUnavailable",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, name, error.to_string())
    }
}

impl From<RepoError> for XrpcError {
    fn from(error: RepoError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match &error {
            RepoError::NotWritable(error) => error.clone().into(),
            RepoError::NoRepository => refused("RepoNotFound"),
            RepoError::HeadSwapped(_) | RepoError::RecordSwapped { .. } => refused("InvalidSwap"),
            RepoError::BlockNotFound(_) => refused("BlockNotFound"),
            RepoError::Blob(NamingError::NotFound { .. }) => {
                Self::new(StatusCode::BAD_REQUEST, "BlobNotFound", format!("Could not find blob: {error}"))
            }
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
            BlobError::TooLarge { .. } => Self::payload_too_large(error.to_string()),
            BlobError::TooManyUploads => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", error.to_string())
            }
            BlobError::MediaType | BlobError::Interrupted(_) | BlobError::OtherContent(_) | BlobError::TakenDown => {
                Self::invalid_request(error.to_string())
            }
            BlobError::NoRoom => Self::new(StatusCode::SERVICE_UNAVAILABLE, "DiskFull", error.to_string()),
            BlobError::Commit(angel_storage::CommitError::Busy) => Self::unavailable(error.to_string()),
            BlobError::File { .. } | BlobError::Read(_) | BlobError::Row(_) | BlobError::Commit(_) => {
                Self::unexpected(&error)
            }
        }
    }
}

impl From<CodeRefused> for XrpcError {
    fn from(error: CodeRefused) -> Self {
        match error {
            CodeRefused::Invalid => Self::new(StatusCode::BAD_REQUEST, "InvalidToken", error.to_string()),
            CodeRefused::Expired => Self::new(StatusCode::BAD_REQUEST, "ExpiredToken", error.to_string()),
            CodeRefused::Account(error) => error.into(),
        }
    }
}

impl From<MailError> for XrpcError {
    fn from(error: MailError) -> Self {
        match error {
            MailError::NoAddress => Self::invalid_request(error.to_string()),
            MailError::NoServer | MailError::OutboxFull => Self::unavailable(error.to_string()),
            MailError::Secret(error) => Self::unexpected(&error),
            MailError::Account(error) => error.into(),
        }
    }
}

impl From<InviteError> for XrpcError {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::NotAvailable => Self::new(StatusCode::BAD_REQUEST, "InvalidInviteCode", error.to_string()),
            InviteError::Uses | InviteError::TooMany => Self::invalid_request(error.to_string()),
            InviteError::Secret(error) => Self::unexpected(&error),
            InviteError::Account(error) => error.into(),
        }
    }
}

impl From<LifecycleError> for XrpcError {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Identity(_) => Self::invalid_request(error.to_string()),
            LifecycleError::Operation(_) => Self::new(StatusCode::BAD_REQUEST, "IncompatibleDidDoc", error.to_string()),
            LifecycleError::OwnersKey(NotAdded::HasOwner(_)) => {
                Self::new(StatusCode::CONFLICT, "HasOwnersKey", error.to_string())
            }
            LifecycleError::OwnersKey(_) | LifecycleError::Unconfirmed => Self::invalid_request(error.to_string()),
            LifecycleError::TakenDown => Self::new(StatusCode::UNAUTHORIZED, "AccountTakedown", error.to_string()),
            LifecycleError::Code(error) => error.into(),
            LifecycleError::Invite(error) => error.into(),
            LifecycleError::Account(error) => error.into(),
            LifecycleError::Session(error) => error.into(),
            LifecycleError::Repo(error) => error.into(),
            LifecycleError::Directory(error) => error.into(),
            LifecycleError::Resolve(error) => error.into(),
            LifecycleError::Blob(error) => error.into(),
            LifecycleError::Permissioned(error) => error.into(),
            LifecycleError::Secret(error) => Self::unexpected(&error),
        }
    }
}

impl From<PreferencesError> for XrpcError {
    fn from(error: PreferencesError) -> Self {
        match error {
            PreferencesError::Form(_)
            | PreferencesError::Namespace(_)
            | PreferencesError::OwnerAlone(_)
            | PreferencesError::TooLarge => Self::invalid_request(error.to_string()),
            PreferencesError::Stored(error) => Self::unexpected(&error),
            PreferencesError::Account(error) => error.into(),
        }
    }
}

impl From<LimitReached> for XrpcError {
    fn from(error: LimitReached) -> Self {
        let LimitReached { resource, limit, used, plan, .. } = error;
        let figures = serde_json::json!({
            "resource": resource.name(), "limit": limit, "used": used, "plan": plan.name(),
        });
        let refused = Self::new(StatusCode::PAYMENT_REQUIRED, "UsageLimitExceeded", error.to_string());
        match figures {
            serde_json::Value::Object(figures) => refused.with_details(figures),
            _ => refused,
        }
    }
}

impl From<FeatureDisabled> for XrpcError {
    fn from(error: FeatureDisabled) -> Self {
        let FeatureDisabled { feature, plan, needed } = error;
        let figures = serde_json::json!({
            "feature": feature.name(), "plan": plan.name(), "neededPlan": needed.name(),
        });
        let refused = Self::new(StatusCode::PAYMENT_REQUIRED, "FeatureDisabled", error.to_string());
        match figures {
            serde_json::Value::Object(figures) => refused.with_details(figures),
            _ => refused,
        }
    }
}

impl From<TenantError> for XrpcError {
    fn from(error: TenantError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match error {
            TenantError::NotFound => refused("TenantNotFound"),
            TenantError::SlugTaken(_) => refused("SlugNotAvailable"),
            TenantError::NotMember(_) => refused("MembershipNotFound"),
            TenantError::AlreadyMember(_) => refused("AlreadyMember"),
            TenantError::Status { .. } => refused("InvalidStatus"),
            TenantError::Closed(_) => Self::new(StatusCode::FORBIDDEN, "TenantClosed", error.to_string()),
            TenantError::Limit(limit) => limit.into(),
            TenantError::Role(_) => Self::new(StatusCode::FORBIDDEN, "NotAllowed", error.to_string()),
            TenantError::Invitation(InvitationRefused::Role(_)) => {
                Self::new(StatusCode::FORBIDDEN, "NotAllowed", error.to_string())
            }
            TenantError::Invitation(InvitationRefused::Expired) => {
                Self::new(StatusCode::GONE, "InvitationExpired", error.to_string())
            }
            TenantError::Invitation(_) | TenantError::TooManyInvitations => Self::invalid_request(error.to_string()),
            TenantError::NoInvitation => refused("InvitationNotFound"),
            TenantError::NoWebhook => refused("WebhookNotFound"),
            TenantError::TooManyWebhooks => refused("TooManyWebhooks"),
            TenantError::Full => Self::unavailable(error.to_string()),
            TenantError::Secret(error) => Self::unexpected(&error),
            TenantError::Account(error) => error.into(),
            TenantError::Read(error) => Self::unexpected(&error),
        }
    }
}

impl From<ProvisionError> for XrpcError {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Tenant(error) => error.into(),
            ProvisionError::Lifecycle(error) => error.into(),
            ProvisionError::Handle(error) => error.into(),
            ProvisionError::Account(error) => error.into(),
            ProvisionError::Repo(error) => error.into(),
            ProvisionError::Form(_) | ProvisionError::Name(_) | ProvisionError::Blueprint(_) => {
                Self::invalid_request(error.to_string())
            }
            ProvisionError::Refused(_) => Self::new(StatusCode::BAD_REQUEST, "InvalidHandle", error.to_string()),
            ProvisionError::Taken(_) => Self::new(StatusCode::BAD_REQUEST, "SlugNotAvailable", error.to_string()),
            ProvisionError::Permissioned(_)
            | ProvisionError::Rulebook(_)
            | ProvisionError::Record(_)
            | ProvisionError::Space(_) => Self::unexpected(&error),
        }
    }
}

impl From<TakedownError> for XrpcError {
    fn from(error: TakedownError) -> Self {
        match error {
            TakedownError::TooMany => Self::invalid_request(error.to_string()),
            TakedownError::Account(error) => error.into(),
        }
    }
}

impl From<PermissionedError> for XrpcError {
    fn from(error: PermissionedError) -> Self {
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match &error {
            PermissionedError::SpaceNotFound => refused("SpaceNotFound"),
            PermissionedError::SpaceDeleted => refused("SpaceDeleted"),
            PermissionedError::SpaceExists => refused("SpaceAlreadyExists"),
            PermissionedError::RepoNotFound => refused("RepoNotFound"),
            PermissionedError::RecordExists(_) => refused("RecordAlreadyExists"),
            PermissionedError::RecordNotFound(_) => refused("RecordNotFound"),
            PermissionedError::RecordSwapped(_) => refused("InvalidSwap"),
            PermissionedError::Blob(NamingError::NotFound { .. }) => refused("BlobNotFound"),
            PermissionedError::Blob(NamingError::MimeType { .. }) => refused("InvalidMimeType"),
            PermissionedError::Blob(NamingError::Size { .. }) => refused("InvalidSize"),
            PermissionedError::ServiceNotResolvable => refused("ServiceNotResolvable"),
            PermissionedError::FutureRev => refused("FutureRev"),
            PermissionedError::UriTooLong
            | PermissionedError::Config(_)
            | PermissionedError::TooManyWrites
            | PermissionedError::TooManyServices
            | PermissionedError::Repeated(_)
            | PermissionedError::Advance(_)
            | PermissionedError::KeyTooLong => refused("InvalidRequest"),
            PermissionedError::Busy | PermissionedError::Store(CommitError::Busy) => {
                Self::unavailable(error.to_string())
            }
            PermissionedError::Account(AccountError::NotWritable(error)) => error.clone().into(),
            PermissionedError::Account(_)
            | PermissionedError::Blob(_)
            | PermissionedError::Rewritten
            | PermissionedError::Broken(_)
            | PermissionedError::Spool(_)
            | PermissionedError::Read(_)
            | PermissionedError::Refused(_)
            | PermissionedError::Store(_)
            | PermissionedError::Clock(_) => Self::unexpected(&error),
        }
    }
}

impl From<CredentialError> for XrpcError {
    fn from(error: CredentialError) -> Self {
        let text = error.to_string();
        let unauthorized = |name| Self::new(StatusCode::UNAUTHORIZED, name, text.clone());
        let refused = |name| Self::new(StatusCode::BAD_REQUEST, name, text.clone());
        match error {
            CredentialError::Missing => unauthorized("AuthMissing"),
            CredentialError::Token(refusal) => unauthorized(refusal.name()),
            CredentialError::Request(_) => unauthorized("BadSpaceSignature"),
            CredentialError::Audience => unauthorized("BadSpaceAudience"),
            CredentialError::Revoked => unauthorized("CredentialRevoked"),
            CredentialError::OtherSpace => refused("InvalidCredential"),
            CredentialError::TooMany => Self::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", text),
            CredentialError::Delegation => refused("InvalidDelegationToken"),
            CredentialError::Attestation(_) => refused("InvalidClientAttestation"),
            CredentialError::App => refused("AppNotAuthorized"),
            CredentialError::Issuer(_) => Self::authentication_required(text),
            CredentialError::ManagingApp(_) => Self::unavailable(text),
            CredentialError::Permissioned(error) => error.into(),
        }
    }
}

//! Why something is not done with a webhook.

use angel_protocol::webhooks::TargetFlaw;
use axum::http::StatusCode;

use crate::accounts::AccountError;
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::repos::RepoError;
use crate::spaces::SpaceError;
use crate::tenants::{FeatureDisabled, TenantError};

/// Why something is not done with a webhook. Nothing has changed then. Never says a URL or a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// The URL is none to call.
    #[error(transparent)]
    Target(#[from] TargetFlaw),
    /// It leads to an address that is not called from here.
    #[error("{host} is no address that this node calls: addresses of private networks are refused")]
    Private {
        /// The name or address.
        host: String,
    },
    /// What is asked of a hook is for hooks of events.
    #[error("this is the webhook of a form: its settings say what is called (submitAction)")]
    OfForm,
    /// The plan has no webhooks.
    #[error(transparent)]
    Feature(#[from] FeatureDisabled),
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The records that are told.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
    /// The system space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// No key can be had for a new one.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

impl From<WebhookError> for XrpcError {
    fn from(error: WebhookError) -> Self {
        let named = |name| Self::new(StatusCode::BAD_REQUEST, name, error.to_string());
        match error {
            WebhookError::Target(_) => named("InvalidTarget"),
            WebhookError::Private { .. } => named("PrivateTarget"),
            WebhookError::OfForm => named("InvalidRequest"),
            WebhookError::Feature(disabled) => disabled.into(),
            WebhookError::Tenant(error) => error.into(),
            WebhookError::Account(error) => error.into(),
            WebhookError::Space(error) => error.into(),
            WebhookError::Repo(error) => error.into(),
            WebhookError::Permissioned(_) => Self::unexpected(&error),
        }
    }
}

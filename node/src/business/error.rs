//! Why something is not done with an order, a lead, a customer or a recognition.

use angel_protocol::business::order::StepRefused;
use angel_protocol::forms::Fault;
use angel_protocol::lexicon::Violation;
use angel_protocol::people::karma;
use angel_protocol::rules::Refused;
use angel_protocol::tenants::TenantStatus;
use angel_storage::CommitError;
use axum::http::StatusCode;
use serde_json::json;

use crate::accounts::AccountError;
use crate::http::XrpcError;
use crate::permissioned::PermissionedError;
use crate::repos::RepoError;
use crate::spaces::SpaceError;
use crate::tenants::{FeatureDisabled, LimitReached, RulebookError, TenantError};
use crate::webhooks::WebhookError;

/// Why something is not done with an order, a lead or a recognition. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusinessError {
    /// There is none, or none for whoever asks: the two are answered alike.
    #[error("there is no such order here")]
    OrderNotFound,
    /// There is none, or none for whoever asks.
    #[error("there is no such lead here")]
    LeadNotFound,
    /// Nothing is known about them.
    #[error("nothing is known about that person as a customer")]
    CustomerNotFound,
    /// There is none, or none for whoever asks.
    #[error("there is no such record here")]
    RecordNotFound,
    /// There is none, or its business is closed: the two are answered alike.
    #[error("there is no such form here")]
    FormNotFound,
    /// It takes no answers at the moment; why not is for the business.
    #[error("the form takes no answers at the moment")]
    FormClosed,
    /// The form takes no answers without (FRM-04).
    #[error("the form takes no answers without consent")]
    ConsentRequired,
    /// Answers are not what the form asks for (FRM-01): each that is wrong, and there is one.
    #[error("{}", first_fault(.0))]
    InvalidAnswers(Vec<Fault>),
    /// They do not belong to the tenant.
    #[error("nobody of that name belongs to the tenant")]
    PersonNotFound,
    /// Who asks says that they are an agent.
    #[error("recognitions are given by people, and this account says that it is an agent")]
    NotAPerson,
    /// Whose agent it is cannot be found out.
    #[error("whether this account is an agent of yours cannot be found out: its host does not answer; try again later")]
    OwnerUnknown,
    /// The recognition is not given.
    #[error(transparent)]
    Recognition(#[from] karma::Refused),
    /// What is ordered is not offered.
    #[error("line {0}: the business offers no such product")]
    ProductNotFound(usize),
    /// There are not as many.
    #[error("line {line}: {left} are left")]
    OutOfStock {
        /// Of which line.
        line: usize,
        /// How many there are.
        left: i64,
    },
    /// The tenant takes no writes.
    #[error("the tenant is {}: nothing is written for it", .0.name())]
    Closed(TenantStatus),
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The step does not follow from where the order stands.
    #[error(transparent)]
    Step(#[from] StepRefused),
    /// What was asked for is not of its form.
    #[error("{0}")]
    Malformed(String),
    /// The record does not fit its lexicon.
    #[error("the record does not fit its lexicon: {0}")]
    Invalid(#[from] Box<Violation>),
    /// The record breaks the rules of its collection.
    #[error(transparent)]
    Rules(#[from] Refused),
    /// The plan of the tenant has no room for more.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The plan of the tenant has not the feature.
    #[error(transparent)]
    Feature(#[from] FeatureDisabled),
    /// Somebody changed it at the same time.
    #[error("somebody else has changed it meanwhile; look again, and try again")]
    Changed,
    /// The rules cannot look up what they have to know.
    #[error(transparent)]
    Rulebook(#[from] RulebookError),
    /// The public repository cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The workspace refuses.
    #[error(transparent)]
    Permissioned(PermissionedError),
    /// The accounts cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It is done, and the audit log does not say so.
    #[error("it is done, but the audit log of the tenant does not say so: {0}")]
    Unnoted(#[source] Box<TenantError>),
    /// The audit log takes nothing, and so it is not done.
    #[error("the audit log of the tenant cannot be written: {0}")]
    NotLogged(#[source] Box<TenantError>),
    /// Where answers are sent cannot be found out, or may not be called.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// It cannot be told.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

/// The first of several, with its place: the words are the form's own, and nothing of the answer.
fn first_fault(faults: &[Fault]) -> String {
    faults.first().map(|fault| format!("{}: {}: {}", fault.path, fault.name, fault.why)).unwrap_or_default()
}

impl From<PermissionedError> for BusinessError {
    fn from(error: PermissionedError) -> Self {
        match error {
            PermissionedError::RecordSwapped(_) => Self::Changed,
            error => Self::Permissioned(error),
        }
    }
}

impl From<BusinessError> for XrpcError {
    fn from(error: BusinessError) -> Self {
        let named = |status, name| Self::new(status, name, error.to_string());
        let bad = StatusCode::BAD_REQUEST;
        match error {
            BusinessError::OrderNotFound => named(bad, "OrderNotFound"),
            BusinessError::LeadNotFound => named(bad, "LeadNotFound"),
            BusinessError::CustomerNotFound => named(bad, "CustomerNotFound"),
            BusinessError::RecordNotFound => named(bad, "RecordNotFound"),
            BusinessError::FormNotFound => named(bad, "FormNotFound"),
            BusinessError::FormClosed => named(bad, "FormClosed"),
            BusinessError::ConsentRequired => named(bad, "ConsentRequired"),
            BusinessError::InvalidAnswers(ref faults) => {
                let told = |fault: &Fault| json!({ "path": fault.path, "field": fault.name, "message": fault.why });
                let faults: Vec<_> = faults.iter().map(told).collect();
                named(bad, "InvalidAnswer").with_details([("faults".to_owned(), faults.into())].into_iter().collect())
            }
            BusinessError::PersonNotFound => named(bad, "PersonNotFound"),
            BusinessError::OwnerUnknown => Self::unavailable(error.to_string()),
            BusinessError::NotAPerson => named(StatusCode::FORBIDDEN, "AgentNotPerson"),
            BusinessError::Recognition(refused) => match refused {
                karma::Refused::Oneself => named(bad, "RecognitionOfOneself"),
                karma::Refused::OwnAgent => named(bad, "RecognitionOfOwnAgent"),
                karma::Refused::Unknown => named(bad, "InvalidRequest"),
                karma::Refused::Repeated => named(bad, "RecognitionRepeated"),
                karma::Refused::TooMany => named(bad, "TooManyRecognitions"),
                karma::Refused::NotAnAngel => named(StatusCode::FORBIDDEN, "NotGuardianAngel"),
            },
            BusinessError::ProductNotFound(_) => named(bad, "ProductNotFound"),
            BusinessError::OutOfStock { .. } => named(bad, "OutOfStock"),
            BusinessError::Closed(status) => TenantError::Closed(status).into(),
            BusinessError::Forbidden(_) => named(StatusCode::FORBIDDEN, "NotAllowed"),
            BusinessError::Step(_) => named(bad, "InvalidStatus"),
            BusinessError::Changed => named(bad, "InvalidSwap"),
            BusinessError::Malformed(_) | BusinessError::Invalid(_) | BusinessError::Rules(_) => {
                named(bad, "InvalidRequest")
            }
            BusinessError::Limit(reached) => reached.into(),
            BusinessError::Feature(disabled) => disabled.into(),
            BusinessError::Permissioned(PermissionedError::Store(CommitError::Busy)) => {
                Self::unavailable("the store has too much to do; try again")
            }
            BusinessError::Permissioned(PermissionedError::Account(error @ AccountError::NotWritable(_))) => {
                error.into()
            }
            BusinessError::Permissioned(error) => Self::unexpected(&error),
            BusinessError::Repo(error) => error.into(),
            BusinessError::Account(error) => error.into(),
            BusinessError::Space(error) => error.into(),
            BusinessError::Webhook(error) => error.into(),
            BusinessError::Rulebook(_) | BusinessError::Unnoted(_) | BusinessError::NotLogged(_) => {
                Self::unexpected(&error)
            }
        }
    }
}

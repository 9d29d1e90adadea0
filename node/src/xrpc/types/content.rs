//! What the methods of `co.kendev.content.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use serde::Deserialize;
use serde_json::Value;

/// The body of `co.kendev.content.deleteSubmission`.
#[derive(Deserialize)]
pub(crate) struct DeleteSubmissionInput {
    /// The submission. An AT URI.
    pub(crate) submission: String,
}

/// The parameters of `co.kendev.content.getForm`.
#[derive(Deserialize)]
pub(crate) struct GetFormParameters {
    /// The form. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.content.getFormSettings`.
#[derive(Deserialize)]
pub(crate) struct GetFormSettingsParameters {
    /// The settings of the form. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.content.getRoadmapFeature`.
#[derive(Deserialize)]
pub(crate) struct GetRoadmapFeatureParameters {
    /// The feature. An AT URI.
    pub(crate) uri: String,
}

/// The body of `co.kendev.content.submitForm`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubmitFormInput {
    /// The answers, each question once at most. A question without an answer is left out. At most 200 entries.
    pub(crate) answers: Vec<SubmitFormNewAnswer>,
    /// How long it took from the first look, in seconds. From 0 to 86400.
    pub(crate) completion_seconds: Option<u32>,
    /// Whether consent is given. A form that requires it takes no answers without.
    pub(crate) consent: Option<bool>,
    /// The form. An AT URI.
    pub(crate) form: String,
    /// Where the visitor came from.
    pub(crate) utm: Option<Value>,
}

/// An answer to one question.
#[derive(Deserialize)]
pub(crate) struct SubmitFormNewAnswer {
    /// The record of a file that lies with the business, where a file is asked for. An AT URI.
    pub(crate) file: Option<String>,
    /// The name of the question. At most 64 bytes.
    pub(crate) name: String,
    /// The answer: a text; one of the answers to choose from; a day as YYYY-MM-DD; true or false for a box to tick. At
    /// most 100000 bytes. At most 10000 graphemes.
    pub(crate) value: Option<String>,
}

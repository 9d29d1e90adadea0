//! What the methods of `co.kendev.content.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use serde::Deserialize;

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

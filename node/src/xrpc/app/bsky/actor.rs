//! `app.bsky.actor.*`: preferences.

pub(crate) mod get_preferences;
pub(crate) mod put_preferences;

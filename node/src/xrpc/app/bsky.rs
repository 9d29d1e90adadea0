//! `app.bsky.*`, as far as hosts answer it.

pub(crate) mod actor;

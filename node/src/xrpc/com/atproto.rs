//! The methods of AT Protocol itself.

pub(crate) mod admin;
pub(crate) mod identity;
mod invite_view;
pub(crate) mod lexicon;
pub(crate) mod moderation;
pub(crate) mod repo;
pub(crate) mod server;
pub(crate) mod simplespace;
pub(crate) mod space;
pub(crate) mod sync;
pub(crate) mod temp;

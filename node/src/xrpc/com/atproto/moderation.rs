//! `com.atproto.moderation.*`: complaints.

pub(crate) mod create_report;

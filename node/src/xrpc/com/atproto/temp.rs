//! `com.atproto.temp.*`: what clients ask before there is a method for good.

pub(crate) mod check_handle_availability;
pub(crate) mod check_signup_queue;

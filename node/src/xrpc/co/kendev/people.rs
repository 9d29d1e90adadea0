//! `co.kendev.people.*`: what the people of a business recognise each other for, and what they earn by it.
//!
//! All of it is of one business and for those who belong to it. To everybody else there is no such business.

pub(crate) mod get_karma;
pub(crate) mod list_recognitions;
pub(crate) mod recognise;
pub(crate) mod revoke_recognition;

#[cfg(test)]
mod tests;

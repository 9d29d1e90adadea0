//! What people are to each other in a business: what they earn when they are recognised (network specification, `rules.md` 6).
//!
//! Functions of records alone. Where records lie, and who may read them, belongs to the node; the fields that follow
//! from a record by itself are computed by the table of rules ([`crate::rules`]), which calls what is here.

pub mod karma;

/// The collection of recognitions.
pub const RECOGNITION: &str = "co.kendev.people.recognition";

/// The collection of the public halves of people.
pub const PROFILE: &str = "co.kendev.people.profile";

/// The collection of the private halves of people, of which each has one record, `self`.
pub const ACCOUNT: &str = "co.kendev.people.account";

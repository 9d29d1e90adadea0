//! `co.kendev.*`: what this network's nodes offer beyond AT Protocol.

pub(crate) mod business;
pub(crate) mod content;
pub(crate) mod network;
pub(crate) mod people;
pub(crate) mod spaces;
pub(crate) mod tenants;

//! `co.*`: this network's own methods.

pub(crate) mod kendev;

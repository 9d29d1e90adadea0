//! `co.kendev.content.*`: what is published, with the figures that are computed of it.

pub(crate) mod get_form_settings;
pub(crate) mod get_roadmap_feature;

#[cfg(test)]
mod tests;

//! `co.kendev.content.*`: what is published, with the figures that are computed of it, and answers to forms.

pub(crate) mod delete_submission;
pub(crate) mod get_form;
pub(crate) mod get_form_settings;
pub(crate) mod get_roadmap_feature;
pub(crate) mod submit_form;
mod visitor;

#[cfg(test)]
mod tests;

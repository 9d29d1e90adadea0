//! Templates: the records that a new tenant begins with (PRV-03).
//!
//! The same wish gives the same records under the same keys, byte for byte, so that a step of provisioning which was cut
//! short is simply done again. Whether a record is public is not said here: that is what the rules of its collection
//! are for.

mod content;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::content::Draft;
use super::{Feature, Plan, Slug};
use crate::data::Value;
use crate::ids::{Did, RepoPath};
use crate::time::Timestamp;

/// What a tenant begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// A public space, three pages, a form to get in touch.
    BasicBusiness,
    /// Besides, categories and example products to sell.
    EcommerceStore,
    /// Besides, a place with a bay, services to book, a form to ask for a quote.
    ServiceProvider,
    /// Besides, a first post, a project with tasks, a campaign, a form for a brief.
    CreativeAgency,
    /// Besides, a subscription, a roadmap page, support.
    SaasCompany,
    /// Besides, a page for donations, an event, a form for volunteers.
    NonProfit,
    /// The start space alone; the rest is in a blueprint.
    Custom,
}

/// Whom the records are for.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The tenant.
    pub tenant: &'a Did,
    /// What it is called.
    pub name: &'a str,
    /// Its short name.
    pub slug: &'a Slug,
    /// Its primary domain.
    pub domain: &'a str,
    /// Its kind of business, as `co.kendev.tenants.profile` has it.
    pub business_type: &'a str,
    /// When it was made: the records say so too, and their keys follow from it.
    pub created_at: Timestamp,
}

/// A record that a tenant begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Where.
    pub path: RepoPath,
    /// What.
    pub record: Value,
}

impl Template {
    /// The seven.
    pub const ALL: [Self; 7] = [
        Self::BasicBusiness,
        Self::EcommerceStore,
        Self::ServiceProvider,
        Self::CreativeAgency,
        Self::SaasCompany,
        Self::NonProfit,
        Self::Custom,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BasicBusiness => "basic-business",
            Self::EcommerceStore => "ecommerce-store",
            Self::ServiceProvider => "service-provider",
            Self::CreativeAgency => "creative-agency",
            Self::SaasCompany => "saas-company",
            Self::NonProfit => "non-profit",
            Self::Custom => "custom",
        }
    }

    /// The template of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// The kind of business that is most likely meant (TEN-04).
    #[must_use]
    pub const fn business_type(self) -> &'static str {
        match self {
            Self::EcommerceStore => "retail",
            Self::ServiceProvider | Self::CreativeAgency => "service",
            Self::BasicBusiness | Self::SaasCompany | Self::NonProfit | Self::Custom => "other",
        }
    }

    /// The plan of a tenant for which nobody names one: the smallest that has the features of what the template makes, so
    /// that a shop can sell from its first day.
    #[must_use]
    pub fn plan(self) -> Plan {
        let takes = match self {
            Self::EcommerceStore | Self::SaasCompany => Some(Feature::Ecommerce),
            Self::CreativeAgency => Some(Feature::Projects),
            Self::BasicBusiness | Self::ServiceProvider | Self::NonProfit | Self::Custom => None,
        };
        takes.map_or(Plan::default(), Feature::smallest_plan)
    }

    /// The records, the profile first and each record after those that it refers to. What happens in the business is told
    /// in its system space, which the node makes: no record of the template can stand for it, since those who join the
    /// start space must not read it.
    #[must_use]
    pub fn seeds(self, setting: &Setting<'_>) -> Vec<Seed> {
        let mut draft = Draft::new(setting);
        draft.profile();
        let space = draft.space(self);
        draft.channel(&space, "general", "Everybody is welcome here.");
        match self {
            Self::Custom => return draft.finish(),
            Self::BasicBusiness => {}
            Self::EcommerceStore => draft.store(),
            Self::ServiceProvider => draft.services(),
            Self::CreativeAgency => draft.agency(&space),
            Self::SaasCompany => draft.software(&space),
            Self::NonProfit => draft.cause(&space),
        }
        draft.basics();
        draft.finish()
    }
}

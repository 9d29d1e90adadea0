//! Plans: what each lets a tenant use in a month or at once, and which features it has (USE-01 to USE-05).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a tenant has agreed to. The operator's list is the one that counts (USE-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// To try it.
    #[default]
    Free,
    /// Called "basic" in the tenant's own settings.
    Starter,
    /// Called "pro" by some.
    Professional,
    /// Shown as professional in the tenant's own settings.
    Business,
    /// No limit on people, the rest by contract.
    Enterprise,
    /// All by contract; shown as enterprise in the tenant's own settings.
    Custom,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// Active members.
    Users,
    /// Spaces, of whatever visibility.
    Spaces,
    /// Storage, in MB.
    Storage,
    /// Products in the catalogue.
    Products,
    /// Calls that name the tenant, in a month.
    ApiCalls,
    /// Orders in a month.
    Orders,
    /// Jobs and tasks made by agents or people, in a month.
    Tasks,
    /// Syndicated or scheduled posts in a month.
    Posts,
    /// Campaign mails in a month.
    Emails,
}

/// Something a plan has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Leads, contacts, opportunities.
    Crm,
    /// Products and orders.
    Ecommerce,
    /// Projects and tasks.
    Projects,
    /// Figures.
    Analytics,
    /// API keys.
    Api,
    /// Own colours and logo.
    Branding,
    /// The operator answers first.
    PrioritySupport,
    /// Events go out.
    Webhooks,
    /// Single sign-on.
    Sso,
    /// No word of the node.
    WhiteLabel,
}

/// What one tenant may use: its plan, and what was agreed beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The plan.
    pub plan: Plan,
    /// Limits that count instead of the plan's.
    #[serde(default)]
    pub limits: BTreeMap<Resource, u64>,
    /// Features besides the plan's.
    #[serde(default)]
    pub features: BTreeSet<Feature>,
}

impl Plan {
    /// Every plan, the smallest first.
    pub const ALL: [Self; 6] =
        [Self::Free, Self::Starter, Self::Professional, Self::Business, Self::Enterprise, Self::Custom];

    /// Its name in the operator's file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starter => "starter",
            Self::Professional => "professional",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
            Self::Custom => "custom",
        }
    }

    /// Its name in the tenant's own settings, whose list is shorter.
    #[must_use]
    pub const fn settings_name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starter => "basic",
            Self::Professional | Self::Business => "professional",
            Self::Enterprise | Self::Custom => "enterprise",
        }
    }

    /// What a vote for a feature of the roadmap counts that is cast by somebody of a tenant with this plan (RMP-02).
    #[must_use]
    pub const fn vote_weight(self) -> u64 {
        match self {
            Self::Free => 1,
            Self::Starter | Self::Professional => 2,
            Self::Business | Self::Enterprise | Self::Custom => 3,
        }
    }

    /// The plan of this name, by any of the lists that are in use.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "basic" => Some(Self::Starter),
            "pro" => Some(Self::Professional),
            name => Self::ALL.into_iter().find(|plan| plan.name() == name),
        }
    }

    /// How much of `resource` the plan allows; `None` is no limit but what a contract says.
    #[must_use]
    pub const fn limit(self, resource: Resource) -> Option<u64> {
        let row: [Option<u64>; 9] = match self {
            Self::Free => row([25, 3, 500, 50, 10_000, 100, 10, 5, 3]),
            Self::Starter => row([1_000, 10, 5_000, 500, 100_000, 1_000, 30, 15, 8]),
            Self::Professional => row([5_000, 50, 25_000, 2_000, 500_000, 5_000, 100, 50, 25]),
            Self::Business => row([50_000, 200, 100_000, 10_000, 2_000_000, 20_000, 500, 250, 125]),
            Self::Enterprise => [None, None, None, None, None, None, Some(1_000), Some(500), Some(250)],
            Self::Custom => [None; 9],
        };
        row[resource as usize]
    }

    /// Whether the plan has the feature; each has those of the smaller ones.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self >= feature.smallest_plan()
    }

    /// Whether the hourly engine runs for it (USE-05).
    #[must_use]
    pub fn has_engine(self) -> bool {
        self >= Self::Professional
    }
}

const fn row(numbers: [u64; 9]) -> [Option<u64>; 9] {
    let [a, b, c, d, e, f, g, h, i] = numbers;
    [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f), Some(g), Some(h), Some(i)]
}

impl Resource {
    /// Everything that is counted. The order is that of the table in [`Plan::limit`].
    pub const ALL: [Self; 9] = [
        Self::Users,
        Self::Spaces,
        Self::Storage,
        Self::Products,
        Self::ApiCalls,
        Self::Orders,
        Self::Tasks,
        Self::Posts,
        Self::Emails,
    ];

    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Spaces => "spaces",
            Self::Storage => "storage",
            Self::Products => "products",
            Self::ApiCalls => "apiCalls",
            Self::Orders => "orders",
            Self::Tasks => "tasks",
            Self::Posts => "posts",
            Self::Emails => "emails",
        }
    }

    /// The resource of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }

    /// Whether it is counted anew each month; others count what is there.
    #[must_use]
    pub const fn is_monthly(self) -> bool {
        matches!(self, Self::ApiCalls | Self::Orders | Self::Tasks | Self::Posts | Self::Emails)
    }
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Crm,
        Self::Ecommerce,
        Self::Projects,
        Self::Analytics,
        Self::Api,
        Self::Branding,
        Self::PrioritySupport,
        Self::Webhooks,
        Self::Sso,
        Self::WhiteLabel,
    ];

    /// Its name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Ecommerce => "ecommerce",
            Self::Projects => "projects",
            Self::Analytics => "analytics",
            Self::Api => "api",
            Self::Branding => "branding",
            Self::PrioritySupport => "priority-support",
            Self::Webhooks => "webhooks",
            Self::Sso => "sso",
            Self::WhiteLabel => "white-label",
        }
    }

    /// The smallest plan that has it (USE-04).
    #[must_use]
    pub const fn smallest_plan(self) -> Plan {
        match self {
            Self::Projects => Plan::Free,
            Self::Crm | Self::Branding => Plan::Starter,
            Self::Ecommerce | Self::Analytics | Self::Api | Self::Webhooks => Plan::Professional,
            Self::WhiteLabel | Self::PrioritySupport => Plan::Business,
            Self::Sso => Plan::Enterprise,
        }
    }
}

impl Allowance {
    /// A plan as it is.
    #[must_use]
    pub fn of(plan: Plan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// How much of `resource` may be used; `None` is no limit.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> Option<u64> {
        self.limits.get(&resource).copied().or_else(|| self.plan.limit(resource))
    }

    /// Whether the feature is there.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.plan.has(feature) || self.features.contains(&feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_rules() {
        let three = |plan: Plan| [Resource::Tasks, Resource::Posts, Resource::Emails].map(|one| plan.limit(one));
        assert_eq!(three(Plan::Free), [10, 5, 3].map(Some));
        assert_eq!(three(Plan::Professional), [100, 50, 25].map(Some));
        assert_eq!(three(Plan::Enterprise), [1000, 500, 250].map(Some));
        assert_eq!(
            (Plan::Starter.limit(Resource::Users), Plan::Business.limit(Resource::Users)),
            (Some(1000), Some(50_000))
        );
        assert_eq!(Plan::Enterprise.limit(Resource::Users), None);
        assert_eq!(Plan::Free.limit(Resource::Spaces), Some(3));
    }

    #[test]
    fn a_larger_plan_never_allows_less() {
        for (resource, pair) in
            Resource::ALL.into_iter().flat_map(|one| Plan::ALL.windows(2).map(move |pair| (one, pair)))
        {
            let [smaller, larger] = [pair[0], pair[1]].map(|plan| plan.limit(resource).unwrap_or(u64::MAX));
            assert!(smaller <= larger, "{resource:?} {pair:?}");
            assert!(Feature::ALL.into_iter().all(|feature| !pair[0].has(feature) || pair[1].has(feature)));
        }
    }

    #[test]
    fn every_list_of_names_leads_to_a_plan() {
        for name in ["free", "starter", "basic", "professional", "pro", "business", "enterprise", "custom"] {
            assert!(Plan::from_name(name).is_some(), "{name}");
        }
        assert_eq!(Plan::from_name("gold"), None);
        for plan in Plan::ALL {
            assert!(Plan::from_name(plan.settings_name()).is_some());
        }
    }

    #[test]
    fn a_contract_counts_before_the_plan() {
        let mut allowance = Allowance::of(Plan::Free);
        allowance.limits.insert(Resource::Tasks, 11);
        allowance.features.insert(Feature::Sso);
        assert_eq!((allowance.limit(Resource::Tasks), allowance.limit(Resource::Posts)), (Some(11), Some(5)));
        assert!(allowance.has(Feature::Sso) && allowance.has(Feature::Projects) && !allowance.has(Feature::Crm));
    }
}

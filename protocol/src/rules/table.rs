//! What code alone can say about single collections, one line each.

use super::computed::{Fill, agents, business, content, people, sales, tenants};
use super::consistency::{self, Check};
use super::figures::{self, Figures};
use crate::data::Value;
use crate::ids::RepoPath;
use crate::tenants::Permission;

/// Who says whether a record is public when neither it nor those it refers to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Whoever writes it, by where they write it.
    Writer,
    /// Another record of theirs, or an approval; `default` counts without one.
    Record {
        /// Whether it is public when nothing is said.
        default: bool,
    },
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The collection.
    pub collection: &'static str,
    /// What the node computes.
    pub fill: Option<Fill>,
    /// What its fields have to say together.
    pub check: Option<Check>,
    /// The records of the same holder that it reads for that.
    pub reads: Option<fn(&Value) -> Vec<RepoPath>>,
    /// The public records of whomever that it looks at.
    pub looks_at: Option<fn(&Value) -> Vec<String>>,
    /// The field whose record's holder is the tenant within which a person's record stays.
    pub scope: Option<&'static str>,
    /// Who decides whether it is public, where `flags.json` says that it is decided elsewhere.
    pub elsewhere: Option<Elsewhere>,
    /// What is computed when it is asked for.
    pub figures: Option<Figures>,
}

const NOTHING: Rule = Rule {
    collection: "",
    fill: None,
    check: None,
    reads: None,
    looks_at: None,
    scope: None,
    elsewhere: None,
    figures: None,
};

const fn fills(collection: &'static str, fill: Fill) -> Rule {
    Rule { collection, fill: Some(fill), ..NOTHING }
}

const fn checks(collection: &'static str, check: Check) -> Rule {
    Rule { collection, check: Some(check), ..NOTHING }
}

const fn checked(check: Check, rule: Rule) -> Rule {
    Rule { check: Some(check), ..rule }
}

const fn stays_with(collection: &'static str, field: &'static str) -> Rule {
    Rule { collection, scope: Some(field), ..NOTHING }
}

const fn decided(collection: &'static str, elsewhere: Elsewhere) -> Rule {
    Rule { collection, elsewhere: Some(elsewhere), ..NOTHING }
}

/// The table. What is not in it follows `lexicons/flags.json` alone.
pub const TABLE: &[Rule] = &[
    fills("co.kendev.agents.agentSettings", agents::agent_settings),
    fills("co.kendev.agents.insight", agents::insight),
    fills("co.kendev.agents.job", agents::job),
    decided("co.kendev.agents.listing", Elsewhere::Record { default: false }),
    fills("co.kendev.agents.webChatSession", agents::web_chat_session),
    fills("co.kendev.business.activity", business::activity),
    fills("co.kendev.business.appointment", sales::appointment),
    Rule { figures: Some(figures::campaign), ..fills("co.kendev.business.campaign", business::campaign) },
    fills("co.kendev.business.document", business::document),
    checked(consistency::donation, fills("co.kendev.business.donation", sales::donation)),
    fills("co.kendev.business.invoice", sales::invoice),
    fills("co.kendev.business.lead", business::lead),
    checked(consistency::opportunity, fills("co.kendev.business.opportunity", business::opportunity)),
    fills("co.kendev.business.order", sales::order),
    checked(consistency::product, fills("co.kendev.business.product", sales::product)),
    Rule { reads: Some(sales::product_of), ..fills("co.kendev.business.productSettings", sales::product_settings) },
    Rule { figures: Some(figures::project), ..fills("co.kendev.business.project", business::project) },
    Rule { figures: Some(figures::task), ..fills("co.kendev.business.task", business::task) },
    fills("co.kendev.business.taskComment", business::task_comment),
    fills("co.kendev.business.timeEntry", business::time_entry),
    checked(consistency::venue, fills("co.kendev.business.venue", business::venue)),
    checks("co.kendev.content.category", consistency::category),
    fills("co.kendev.content.course", content::course),
    fills("co.kendev.content.form", content::form),
    Rule { figures: Some(figures::form_settings), ..fills("co.kendev.content.formSettings", content::form_settings) },
    Rule { reads: Some(content::form_of), ..fills("co.kendev.content.formSubmission", content::form_submission) },
    Rule { fill: Some(content::media), ..decided("co.kendev.content.media", Elsewhere::Writer) },
    checks("co.kendev.content.page", consistency::has_content),
    checks("co.kendev.content.post", consistency::has_content),
    Rule {
        figures: Some(figures::roadmap_feature),
        check: Some(consistency::roadmap_feature),
        ..fills("co.kendev.content.roadmapFeature", content::roadmap_feature)
    },
    Rule { looks_at: Some(content::feature_of), ..fills("co.kendev.content.roadmapVote", content::roadmap_vote) },
    checks("co.kendev.people.ask", consistency::ask),
    fills("co.kendev.people.connection", people::connection),
    checks("co.kendev.people.follow", consistency::follow),
    checks("co.kendev.people.offer", consistency::offer),
    fills("co.kendev.people.pointsEntry", people::points_entry),
    Rule {
        figures: Some(figures::profile),
        ..decided("co.kendev.people.profile", Elsewhere::Record { default: true })
    },
    fills("co.kendev.people.recognition", people::recognition),
    checks("co.kendev.spaces.channelSettings", consistency::channel_settings),
    fills("co.kendev.spaces.memberCrm", business::member_crm),
    stays_with("co.kendev.spaces.memberPreferences", "space"),
    stays_with("co.kendev.spaces.message", "space"),
    stays_with("co.kendev.spaces.readMark", "space"),
    checked(consistency::space, fills("co.kendev.spaces.space", tenants::space)),
    fills("co.kendev.tenants.management", tenants::management),
    checks("co.kendev.tenants.profile", consistency::tenant_profile),
    fills("co.kendev.tenants.settings", tenants::settings),
];

/// The line of a collection.
pub(super) fn of(collection: &str) -> Option<&'static Rule> {
    TABLE.iter().find(|rule| rule.collection == collection)
}

/// What a member must be allowed to do to write records of a collection that tenants hold.
pub(super) fn permission(collection: &str) -> Permission {
    let group = collection.rsplit_once('.').map_or(collection, |(group, _)| group);
    match (group, collection) {
        ("co.kendev.spaces", _) => Permission::ManageSpaces,
        ("co.kendev.tenants" | "co.kendev.agents" | "co.kendev.network", _) => Permission::ManageSettings,
        (_, "co.kendev.business.product" | "co.kendev.business.productSettings" | "co.kendev.content.category") => {
            Permission::ManageProducts
        }
        (_, "co.kendev.business.order" | "co.kendev.business.appointment" | "co.kendev.business.invoice") => {
            Permission::ManageOrders
        }
        _ => Permission::ManageContent,
    }
}

/// What a member must be allowed to do to read records of a collection that tenants hold: what it takes to write them,
/// but of customers (`records.md` 4.4), whom others write about than look at figures.
pub(super) fn permission_to_read(collection: &str) -> Permission {
    if collection == crate::business::MEMBER_CRM { Permission::ViewAnalytics } else { permission(collection) }
}

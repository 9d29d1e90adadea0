//! What code alone can say about single collections, one line each.

use super::computed::{self, Fill};
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
    /// What the node computes from the record alone.
    pub fill: Option<Fill>,
    /// The field whose record's holder is the tenant within which a person's record stays.
    pub scope: Option<&'static str>,
    /// Who decides whether it is public, where `flags.json` says that it is decided elsewhere.
    pub elsewhere: Option<Elsewhere>,
}

const NOTHING: Rule = Rule { collection: "", fill: None, scope: None, elsewhere: None };

const fn fills(collection: &'static str, fill: Fill) -> Rule {
    Rule { collection, fill: Some(fill), ..NOTHING }
}

const fn stays_with(collection: &'static str, field: &'static str) -> Rule {
    Rule { collection, scope: Some(field), ..NOTHING }
}

const fn decided(collection: &'static str, elsewhere: Elsewhere) -> Rule {
    Rule { collection, elsewhere: Some(elsewhere), ..NOTHING }
}

/// The table. What is not in it follows `lexicons/flags.json` alone.
pub const TABLE: &[Rule] = &[
    decided("co.kendev.agents.listing", Elsewhere::Record { default: false }),
    fills("co.kendev.business.activity", computed::activity),
    fills("co.kendev.business.campaign", computed::campaign),
    fills("co.kendev.business.lead", computed::lead),
    fills("co.kendev.business.opportunity", computed::opportunity),
    fills("co.kendev.business.order", computed::order),
    fills("co.kendev.business.product", computed::product),
    fills("co.kendev.business.project", computed::project),
    fills("co.kendev.business.task", computed::task),
    fills("co.kendev.business.taskComment", computed::task_comment),
    fills("co.kendev.business.timeEntry", computed::time_entry),
    fills("co.kendev.business.venue", computed::venue),
    fills("co.kendev.content.course", computed::course),
    Rule { fill: Some(computed::media), ..decided("co.kendev.content.media", Elsewhere::Writer) },
    fills("co.kendev.content.roadmapFeature", computed::roadmap_feature),
    fills("co.kendev.people.connection", computed::connection),
    decided("co.kendev.people.profile", Elsewhere::Record { default: true }),
    stays_with("co.kendev.spaces.memberPreferences", "space"),
    stays_with("co.kendev.spaces.message", "space"),
    stays_with("co.kendev.spaces.readMark", "space"),
    fills("co.kendev.spaces.space", computed::space),
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

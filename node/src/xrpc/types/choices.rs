//! What the documents do not say of their Rust types, and the generator is told.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A type of our own for words that a document lists.
pub(super) struct Words {
    /// Where: the definition and the field, as in `co.kendev.spaces.setMemberRole/role`.
    pub(super) place: &'static str,
    /// The type's path.
    pub(super) path: &'static str,
    /// Whether it reads a word.
    pub(super) reads: fn(&str) -> bool,
}

/// All that is chosen. A place that no document has is refused, so that none is left behind.
#[derive(Clone, Copy)]
pub(super) struct Choices {
    /// Types for words. Other lists of words are text.
    pub(super) words: &'static [Words],
    /// Fields that stay JSON, whatever the document says of them.
    pub(super) as_it_came: &'static [&'static str],
    /// Methods whose input is read by hand. Each says why where it is read.
    pub(super) by_hand: &'static [&'static str],
}

/// Whether `T` reads the word.
pub(super) fn reads<T: DeserializeOwned>(word: &str) -> bool {
    serde_json::from_value::<T>(Value::from(word)).is_ok()
}

/// A list of [`Words`].
macro_rules! words {
    ($($place:literal => $type:ty,)*) => {
        &[$(Words { place: $place, path: stringify!($type), reads: reads::<$type> }),*]
    };
}

/// The choices for the documents of this node.
pub(super) const OURS: Choices = Choices {
    words: words![
        "co.kendev.network.getRate/source" => angel_protocol::ledger::parameters::Currency,
        "co.kendev.network.getRate/target" => angel_protocol::ledger::parameters::Currency,
        "co.kendev.spaces.createChannel/allowedRoles" => angel_protocol::spaces::Role,
        "co.kendev.spaces.createChannel/visibility" => angel_protocol::spaces::ChannelVisibility,
        "co.kendev.spaces.inviteMember/role" => angel_protocol::spaces::Role,
        "co.kendev.spaces.listMembers/status" => angel_protocol::spaces::Status,
        "co.kendev.spaces.listReports/status" => crate::spaces::Complaints,
        "co.kendev.spaces.setChannelAccess/access" => angel_protocol::spaces::ChannelAccess,
        "co.kendev.spaces.setMemberRole/customPermissions" => angel_protocol::spaces::Permission,
        "co.kendev.spaces.setMemberRole/role" => angel_protocol::spaces::Role,
        "co.kendev.spaces.updateChannel/allowedRoles" => angel_protocol::spaces::Role,
        "co.kendev.spaces.updateChannel/visibility" => angel_protocol::spaces::ChannelVisibility,
        "co.kendev.tenants.invite/permissions" => angel_protocol::tenants::Permission,
        "co.kendev.tenants.invite/role" => angel_protocol::tenants::Role,
        "co.kendev.tenants.provision/plan" => angel_protocol::tenants::Plan,
        "co.kendev.tenants.provision/template" => angel_protocol::tenants::Template,
        "co.kendev.tenants.setRole/permissions" => angel_protocol::tenants::Permission,
        "co.kendev.tenants.setRole/role" => angel_protocol::tenants::Role,
        "co.kendev.tenants.setRole/status" => angel_protocol::tenants::MembershipStatus,
        "co.kendev.tenants.updateTenant#limit/resource" => angel_protocol::tenants::Resource,
        "co.kendev.tenants.updateTenant/features" => angel_protocol::tenants::Feature,
    ],
    // These become parts of records. A record's fields are told by the record's own document, and may be more.
    as_it_came: &[
        "co.kendev.business.createOrder/billingAddress",
        "co.kendev.business.createOrder/shippingAddress",
        "co.kendev.business.enterMetrics/metrics",
        "co.kendev.content.submitForm/utm",
        "co.kendev.spaces.editMessage/content",
    ],
    by_hand: &["co.kendev.network.sendHeartbeat", "co.kendev.spaces.sendMessage"],
};

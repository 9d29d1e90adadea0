//! What the index takes from records: of spaces, channels, messages and reactions. A record that does not fit its
//! lexicon is no record here, whoever wrote it.

use std::collections::BTreeSet;

use angel_protocol::data::Value;
use angel_protocol::ids::{AtIdentifier, AtUri, Did};
use angel_protocol::lexicon::Schemas;
use angel_protocol::spaces::{
    Approval, CHANNEL, ChannelRules, ChannelVisibility, Context, MESSAGE, REACTION, SPACE, SpaceRules, Visibility,
    context_of,
};

/// The kind of a space that is a conversation between two people.
pub(super) const DIRECT: &str = "direct";

/// The address of a record: whose, and `collection/key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) did: Did,
    pub(super) path: String,
}

impl Address {
    /// From a URI that names a record of `collection` by a DID.
    pub(super) fn of(uri: &str, collection: &str) -> Option<Self> {
        let uri: AtUri = uri.parse().ok()?;
        let AtIdentifier::Did(did) = uri.authority() else { return None };
        let path = uri.path()?;
        (path.collection.as_str() == collection).then(|| Self { did: did.clone(), path: path.to_string() })
    }

    /// As a key of the index.
    pub(super) fn key(&self) -> (Did, String) {
        (self.did.clone(), self.path.clone())
    }

    /// The key within the collection.
    pub(super) fn rkey(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What a record says, as far as the index cares.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Space(SpaceSaid),
    Channel(ChannelSaid),
    Message(Box<MessageSaid>),
    Reaction(ReactionSaid),
}

#[derive(Clone, Debug)]
pub(super) struct SpaceSaid {
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) rules: SpaceRules,
}

#[derive(Clone, Debug)]
pub(super) struct ChannelSaid {
    pub(super) space: Option<Address>,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) visibility: ChannelVisibility,
}

#[derive(Clone, Debug)]
pub(super) struct MessageSaid {
    pub(super) space: Address,
    pub(super) channel: Option<Address>,
    pub(super) kind: String,
    pub(super) priority: Option<String>,
    pub(super) root: Option<Address>,
    pub(super) context: Context,
}

#[derive(Clone, Debug)]
pub(super) struct ReactionSaid {
    pub(super) subject: Address,
    pub(super) emoji: String,
}

/// Reads a record of `collection`; `None` when it is none that counts.
pub(super) fn read(collection: &str, record: &Value) -> Option<Said> {
    let schema = Schemas::builtin().record(collection)?;
    schema.validate(record).ok()?;
    match collection {
        SPACE => space(record).map(Said::Space),
        CHANNEL => channel(record).map(Said::Channel),
        MESSAGE => message(record).map(|said| Said::Message(Box::new(said))),
        REACTION => reaction(record).map(Said::Reaction),
        _ => None,
    }
}

fn text<'v>(record: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter().try_fold(record, |value, name| value.get(name))?.as_str()
}

fn flag(record: &Value, path: &[&str]) -> bool {
    path.iter().try_fold(record, |value, name| value.get(name)) == Some(&Value::Bool(true))
}

/// The settings of a space.
pub(super) fn space(record: &Value) -> Option<SpaceSaid> {
    let visibility = match text(record, &["visibility"])? {
        "public" => Visibility::Public,
        "invite_only" => Visibility::InviteOnly,
        // What is not known counts as the narrowest.
        _ => Visibility::Private,
    };
    let approval = match text(record, &["memberApproval"])? {
        "automatic" => Approval::Automatic,
        "manual" => Approval::Manual,
        _ => Approval::Disabled,
    };
    Some(SpaceSaid {
        name: text(record, &["name"])?.to_owned(),
        slug: text(record, &["slug"])?.to_owned(),
        rules: SpaceRules {
            visibility,
            approval,
            members_can_invite: flag(record, &["inviteSettings", "membersCanInvite"]),
            requires_code: flag(record, &["inviteSettings", "requireInviteCode"]),
            direct: text(record, &["businessIdentity", "type"]) == Some(DIRECT),
        },
    })
}

fn channel(record: &Value) -> Option<ChannelSaid> {
    let visibility = match text(record, &["accessControl", "visibility"])? {
        "public" => ChannelVisibility::Public,
        "private" => ChannelVisibility::Private,
        _ => ChannelVisibility::Restricted,
    };
    Some(ChannelSaid {
        space: text(record, &["space"]).and_then(|uri| Address::of(uri, SPACE)),
        name: text(record, &["name"])?.to_owned(),
        kind: text(record, &["channelType"])?.to_owned(),
        visibility,
    })
}

fn message(record: &Value) -> Option<MessageSaid> {
    let channel = match text(record, &["channel"]) {
        Some(uri) => Some(Address::of(uri, CHANNEL)?),
        None => None,
    };
    let root = text(record, &["replyTo", "root", "uri"]).or_else(|| text(record, &["threadId"]));
    Some(MessageSaid {
        space: Address::of(text(record, &["space"])?, SPACE)?,
        channel,
        kind: text(record, &["messageType"])?.to_owned(),
        priority: text(record, &["priority"]).filter(|priority| *priority != "normal").map(ToOwned::to_owned),
        root: root.and_then(|uri| Address::of(uri, MESSAGE)),
        context: context_of(record),
    })
}

fn reaction(record: &Value) -> Option<ReactionSaid> {
    Some(ReactionSaid {
        subject: Address::of(text(record, &["subject", "uri"])?, MESSAGE)?,
        emoji: text(record, &["emoji"])?.to_owned(),
    })
}

/// The rules of a channel that was just made: the record says who may know of it, its settings come later.
pub(super) const fn new_rules(visibility: ChannelVisibility) -> ChannelRules {
    ChannelRules { visibility, allowed_roles: BTreeSet::new(), guest_access: false }
}

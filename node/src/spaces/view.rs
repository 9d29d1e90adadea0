//! What is answered about spaces, channels, members and messages: the record, with what the node knows about it.

use std::collections::BTreeMap;

use angel_protocol::data::{Value, cbor, to_json};
use angel_protocol::ids::Did;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::{CHANNEL, MESSAGE};
use angel_storage::codec::Cbor;
use angel_storage::permissioned::{RepoKey, record};
use angel_storage::spaces::{
    ChannelNumber, ChannelRow, MemberRow, MessageRow, REACTIONS, READ_MARKS, SpaceRow, message_record, old_version,
};
use serde_json::{Value as Json, json};

use super::SpaceError;
use super::find::Found;
use super::reading::Reading;
use super::rooms::{decoded, room_of};
use super::streams::Stream;
use super::told::{channel_uri, message_uri, space_uri};

/// Reactions of one message that are counted.
const REACTIONS_MAX: usize = 1000;

/// Members who have read a message that are named.
const READERS_MAX: usize = 1000;

impl Reading {
    /// A space. Blocks.
    pub(crate) fn space_view(&self, found: &Found) -> Result<Json, SpaceError> {
        let SpaceRow { rkey, cid, .. } = &found.row;
        let value =
            self.held_record(&found.row, room_of(&found.row), &format!("{}/{rkey}", angel_protocol::spaces::SPACE))?;
        let mut view = json!({
            "uri": space_uri(&found.row),
            "cid": cid.to_string(),
            "value": value,
            "indexedAt": found.row.indexed_at.to_string(),
            "stats": {
                "memberCount": found.row.members,
                "messageCount": found.row.messages,
                "lastActivity": found.row.active_at.to_string(),
            },
        });
        if let Some(score) = self.engagement_score(found.id) {
            view["stats"]["engagementScore"] = score.into();
        }
        if let Some(membership) = &found.membership {
            view["viewer"] = json!({ "role": membership.role, "status": membership.status });
        }
        Ok(view)
    }

    /// A channel. Blocks.
    pub(crate) fn channel_view(
        &self,
        found: &Found,
        number: ChannelNumber,
        row: &ChannelRow,
    ) -> Result<Json, SpaceError> {
        let room = Stream::of(number, row.clone()).room(&found.row);
        let ChannelRow { holder, rkey, cid, .. } = row;
        let path = format!("{CHANNEL}/{rkey}");
        let mut view = json!({
            "uri": format!("at://{holder}/{path}"),
            "cid": cid.to_string(),
            "value": self.held_record(&found.row, room, &path)?,
            "indexedAt": row.indexed_at.to_string(),
            "guestAccess": row.rules.guest_access,
        });
        if let Some(department) = &row.department {
            view["department"] = department.as_str().into();
        }
        Ok(view)
    }

    /// A message. Blocks.
    pub(crate) fn message_view(&self, found: &Found, position: u64, row: &MessageRow) -> Result<Json, SpaceError> {
        let reader = &self.reader;
        let record = message_record(reader, found.id, position, row)?;
        let value = cbor::decode(&record).map(|value| to_json(&value)).unwrap_or(Json::Null);
        let (uri, cid) = (message_uri(&row.author, &row.rkey), row.cid.to_string());
        let mut view = json!({
            "uri": uri,
            "cid": cid,
            "value": value,
            "indexedAt": row.indexed_at.to_string(),
            "sender": row.author,
            "reactions": self.reactions(found, position)?,
            "atProtocol": { "type": MESSAGE, "did": row.author, "uri": uri, "cid": cid },
        });
        let optional = [
            ("department", row.department.clone()),
            ("workflow", row.workflow.clone()),
            ("customerJourney", row.journey.clone()),
            ("editedAt", row.edited_at.map(|at| at.to_string())),
            ("channel", channel_uri(reader, found.id, row.channel)?),
        ];
        for (name, text) in optional {
            if let Some(text) = text {
                view[name] = text.into();
            }
        }
        if let Some(hidden) = &row.hidden {
            view["hidden"] = json!({ "at": hidden.at.to_string() });
            if let Some(reason) = &hidden.reason {
                view["hidden"]["reason"] = reason.as_str().into();
            }
        }
        Ok(view)
    }

    /// Members whose mark is at a message or behind it. Blocks.
    pub(crate) fn readers(&self, found: &Found, channel: ChannelNumber, position: u64) -> Result<Vec<Did>, SpaceError> {
        let marks = self.reader.scan(&READ_MARKS).prefix(&(found.id, channel)).page(READERS_MAX)?;
        let read = marks.rows.into_iter().filter(|(_, Cbor(mark))| mark.position >= position);
        Ok(read.map(|((_, _, did), _)| did).collect())
    }

    /// The versions of a message before the present one, the oldest first. Blocks.
    pub(crate) fn versions(&self, found: &Found, position: u64, row: &MessageRow) -> Result<Vec<Json>, SpaceError> {
        let mut versions = vec![];
        for number in 0..row.version {
            if let Some(record) = old_version(&self.reader, found.id, position, number)?
                && let Ok(value) = cbor::decode(&record)
            {
                versions.push(json!({ "version": number, "value": to_json(&value) }));
            }
        }
        Ok(versions)
    }

    /// A member. Blocks.
    pub(crate) fn member_view(&self, found: &Found, did: &Did, row: &MemberRow) -> Json {
        let membership = &row.membership;
        let mut view = json!({
            "did": did,
            "role": membership.role,
            "status": membership.status,
            "createdAt": row.created_at.to_string(),
        });
        if !membership.permissions.is_empty() {
            view["customPermissions"] = json!(membership.permissions);
        }
        if let Some(by) = &membership.invited_by {
            view["invitedBy"] = json!(by);
        }
        if let Some(invitation) = membership.invitation {
            view["invitationStatus"] = json!(invitation);
        }
        if let Some(joined_at) = row.joined_at {
            view["joinedAt"] = joined_at.to_string().into();
        }
        if let Some(engagement) = self.engagement_of(found, did) {
            view["engagement"] = engagement;
        }
        view
    }

    fn reactions(&self, found: &Found, position: u64) -> Result<Vec<Json>, SpaceError> {
        let page = self.reader.scan(&REACTIONS).prefix(&(found.id, position)).page(REACTIONS_MAX)?;
        let mut by_emoji: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        for ((_, _, emoji, did), _) in page.rows {
            let (count, own) = by_emoji.entry(emoji).or_default();
            *count += 1;
            *own |= found.did.as_ref() == Some(&did);
        }
        let view = |(emoji, (count, own))| json!({ "emoji": emoji, "count": count, "own": own });
        Ok(by_emoji.into_iter().map(view).collect())
    }

    /// A record of whoever holds a space, from where the records of that space lie.
    fn held_record(&self, space: &SpaceRow, room: Option<SpaceUri>, path: &str) -> Result<Json, SpaceError> {
        if let Some(room) = room {
            let record = match self.copied_account() {
                Some(account) => decoded(record(&self.reader, RepoKey { account, space: room.digest() }, path)?),
                None => self.spaces.room_record(&room, &space.holder, path)?,
            };
            return Ok(record.map_or(Json::Null, |(_, map)| to_json(&Value::Map(map))));
        }
        let Some(account) = self.spaces.0.accounts.by_did_blocking(&space.holder)? else { return Ok(Json::Null) };
        let record = self.spaces.0.repos.record_blocking(account.id(), path)?;
        Ok(record.and_then(|record| cbor::decode(&record.bytes).ok()).map_or(Json::Null, |value| to_json(&value)))
    }
}

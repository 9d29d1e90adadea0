//! What the methods of `co.kendev.spaces.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use angel_protocol::ids::{CidString, Did};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::spaces::{ChannelAccess, ChannelVisibility, Permission, Role, Status};
use serde::Deserialize;
use serde_json::Value;

use crate::spaces::Complaints;

/// The body of `co.kendev.spaces.approveMember`.
#[derive(Deserialize)]
pub(crate) struct ApproveMemberInput {
    /// Whether they are let in; true if absent.
    pub(crate) approve: Option<bool>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.banMember`.
#[derive(Deserialize)]
pub(crate) struct BanMemberInput {
    /// Forgiven.
    pub(crate) lift: Option<bool>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.blockPerson`.
#[derive(Deserialize)]
pub(crate) struct BlockPersonInput {
    /// Taken again.
    pub(crate) lift: Option<bool>,
    /// Whom.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.createChannel`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateChannelInput {
    /// The roles that a restricted channel lets in. At most 20 entries. Each: One of `owner`, `space_admin`,
    /// `moderator`, `member`, `guest`, `viewer`.
    pub(crate) allowed_roles: Option<Vec<Role>>,
    /// What is done in it. At most 64 bytes. For example `photo_analysis`, `document_processing`, `data_collection`,
    /// `monitoring`, `intelligence_gathering`, `economic_analysis`, `chat`, `communication`.
    pub(crate) channel_type: String,
    /// The department that its messages are of when they do not say. At most 64 bytes.
    pub(crate) department: Option<String>,
    /// What it is for. At most 10000 bytes. At most 1000 graphemes.
    pub(crate) description: Option<String>,
    /// Whether guests may read and write.
    pub(crate) guest_access: Option<bool>,
    /// Its name. At most 1000 bytes. At most 100 graphemes.
    pub(crate) name: String,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Who may know of the channel. One of `public`, `private`, `restricted`.
    pub(crate) visibility: Option<ChannelVisibility>,
}

/// The body of `co.kendev.spaces.createSpace`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateSpaceInput {
    /// A code by which others may join; kept as a hash. From 12 to 256 bytes.
    pub(crate) invite_code: Option<String>,
    /// The fields of co.kendev.spaces.space; tenant and createdAt may be left out.
    pub(crate) record: Value,
    /// Whose space it is; the caller's own without one.
    pub(crate) tenant: Option<Did>,
}

/// The body of `co.kendev.spaces.deleteMessage`.
#[derive(Deserialize)]
pub(crate) struct DeleteMessageInput {
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The body of `co.kendev.spaces.deleteSpace`.
#[derive(Deserialize)]
pub(crate) struct DeleteSpaceInput {
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The body of `co.kendev.spaces.editMessage`.
#[derive(Deserialize)]
pub(crate) struct EditMessageInput {
    /// What the message says.
    pub(crate) content: Value,
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.getMessage`.
#[derive(Deserialize)]
pub(crate) struct GetMessageParameters {
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.getMessageInsight`.
#[derive(Deserialize)]
pub(crate) struct GetMessageInsightParameters {
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.getSpace`.
#[derive(Deserialize)]
pub(crate) struct GetSpaceParameters {
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The parameters of `co.kendev.spaces.getThread`.
#[derive(Deserialize)]
pub(crate) struct GetThreadParameters {
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// A message of the thread. An AT URI.
    pub(crate) uri: String,
}

/// The body of `co.kendev.spaces.hideMessage`.
#[derive(Deserialize)]
pub(crate) struct HideMessageInput {
    /// Shown again.
    pub(crate) lift: Option<bool>,
    /// Why, for the author. At most 4000 bytes.
    pub(crate) reason: Option<String>,
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.importRepo`.
#[derive(Deserialize)]
pub(crate) struct ImportRepoParameters {
    /// The space.
    pub(crate) space: SpaceUri,
}

/// The body of `co.kendev.spaces.inviteMember`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InviteMemberInput {
    /// How long it is good. From 1 to 90. When absent, `7`.
    #[serde(default = "invite_member_input_expires_in_days")]
    pub(crate) expires_in_days: u8,
    /// What they become; member if absent. One of `space_admin`, `moderator`, `member`, `guest`, `viewer`.
    pub(crate) role: Option<Role>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Whom it is for; anybody who has the token without one.
    pub(crate) user: Option<Did>,
}

const fn invite_member_input_expires_in_days() -> u8 {
    7
}

/// The body of `co.kendev.spaces.joinSpace`.
#[derive(Deserialize)]
pub(crate) struct JoinSpaceInput {
    /// The code of the space. At most 256 bytes.
    pub(crate) code: Option<String>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// The token of an invitation. At most 256 bytes.
    pub(crate) token: Option<String>,
}

/// The body of `co.kendev.spaces.leaveSpace`.
#[derive(Deserialize)]
pub(crate) struct LeaveSpaceInput {
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The parameters of `co.kendev.spaces.listChannels`.
#[derive(Deserialize)]
pub(crate) struct ListChannelsParameters {
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The parameters of `co.kendev.spaces.listMembers`.
#[derive(Deserialize)]
pub(crate) struct ListMembersParameters {
    /// What the page before gave.
    pub(crate) cursor: Option<Did>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Where the membership stands. One of `active`, `pending`, `suspended`, `left`, `banned`.
    pub(crate) status: Option<Status>,
}

/// The parameters of `co.kendev.spaces.listMessageVersions`.
#[derive(Deserialize)]
pub(crate) struct ListMessageVersionsParameters {
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.listMessages`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMessagesParameters {
    /// Only messages of this author.
    pub(crate) author: Option<Did>,
    /// Only messages of this channel. An AT URI.
    pub(crate) channel: Option<String>,
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Only messages of this stage of the customer's journey. At most 64 bytes.
    pub(crate) customer_journey: Option<String>,
    /// Only messages of this department. At most 64 bytes.
    pub(crate) department: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only messages of this kind. One of `user`, `leo`, `system`, `action`, `intelligence`.
    pub(crate) message_type: Option<String>,
    /// Only messages of this priority. At most 64 bytes. For example `low`, `normal`, `high`, `urgent`.
    pub(crate) priority: Option<String>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Only messages of this workflow. At most 64 bytes.
    pub(crate) workflow: Option<String>,
}

/// The parameters of `co.kendev.spaces.listReports`.
#[derive(Deserialize)]
pub(crate) struct ListReportsParameters {
    /// What the page before ended with. At most 64 bytes.
    pub(crate) cursor: Option<String>,
    /// How many. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Which ones. One of `open`, `settled`, `all`. When absent, `open`.
    pub(crate) status: Complaints,
}

/// The parameters of `co.kendev.spaces.listSpaces`.
#[derive(Deserialize)]
pub(crate) struct ListSpacesParameters {
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only spaces that the caller is in.
    pub(crate) member: Option<bool>,
    /// Only spaces of this account.
    pub(crate) tenant: Option<Did>,
}

/// The body of `co.kendev.spaces.markRead`.
#[derive(Deserialize)]
pub(crate) struct MarkReadInput {
    /// The newest message that was read. An AT URI.
    pub(crate) message: String,
}

/// The body of `co.kendev.spaces.notifyInvitation`.
#[derive(Deserialize)]
pub(crate) struct NotifyInvitationInput {
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Who was asked.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.openDirect`.
#[derive(Deserialize)]
pub(crate) struct OpenDirectInput {
    /// The other person.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.react`.
#[derive(Deserialize)]
pub(crate) struct ReactInput {
    /// The channel of the message, when it is on another node. An AT URI.
    pub(crate) channel: Option<String>,
    /// Which version of the message; needed when the message is in a space on another node.
    pub(crate) cid: Option<CidString>,
    /// The emoji. At most 40 bytes. At most 4 graphemes.
    pub(crate) emoji: String,
    /// Taken back.
    pub(crate) remove: Option<bool>,
    /// The space of the message, when it is on another node. An AT URI.
    pub(crate) space: Option<String>,
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The body of `co.kendev.spaces.reportMessage`.
#[derive(Deserialize)]
pub(crate) struct ReportMessageInput {
    /// Why. At most 4000 bytes.
    pub(crate) reason: String,
    /// The message. An AT URI.
    pub(crate) uri: String,
}

/// The parameters of `co.kendev.spaces.searchMessages`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchMessagesParameters {
    /// Only messages of this author.
    pub(crate) author: Option<Did>,
    /// Only messages of this channel. An AT URI.
    pub(crate) channel: Option<String>,
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Only messages of this stage of the customer's journey. At most 64 bytes.
    pub(crate) customer_journey: Option<String>,
    /// Only messages of this department. At most 64 bytes.
    pub(crate) department: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only messages of this kind. One of `user`, `leo`, `system`, `action`, `intelligence`.
    pub(crate) message_type: Option<String>,
    /// Only messages of this priority. At most 64 bytes. For example `low`, `normal`, `high`, `urgent`.
    pub(crate) priority: Option<String>,
    /// The words. At most 1000 bytes.
    pub(crate) q: String,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// Only messages of this workflow. At most 64 bytes.
    pub(crate) workflow: Option<String>,
}

/// The body of `co.kendev.spaces.setChannelAccess`.
#[derive(Deserialize)]
pub(crate) struct SetChannelAccessInput {
    /// What they may do there; as their role says, when absent. One of `none`, `read`, `write`, `admin`.
    pub(crate) access: Option<ChannelAccess>,
    /// The channel. An AT URI.
    pub(crate) channel: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.setMemberRole`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetMemberRoleInput {
    /// What the member may do besides, in place of what was set before. At most 12 entries. Each: One of
    /// `post_messages`, `upload_files`, `create_events`, `moderate_content`, `manage_members`, `view_analytics`,
    /// `manage_bookings`, `access_private`, `invite_users`, `create_channels`, `manage_space`, `export_data`.
    pub(crate) custom_permissions: Option<Vec<Permission>>,
    /// What the member may do by default. One of `owner`, `space_admin`, `moderator`, `member`, `guest`, `viewer`.
    pub(crate) role: Role,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.setTyping`.
#[derive(Deserialize)]
pub(crate) struct SetTypingInput {
    /// Where. An AT URI.
    pub(crate) channel: Option<String>,
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The body of `co.kendev.spaces.settleReport`.
#[derive(Deserialize)]
pub(crate) struct SettleReportInput {
    /// The number of the complaint.
    pub(crate) id: u64,
    /// What is said of it, for those who moderate the space. At most 4000 bytes.
    pub(crate) note: Option<String>,
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The parameters of `co.kendev.spaces.subscribeSpace`.
#[derive(Deserialize)]
pub(crate) struct SubscribeSpaceParameters {
    /// The last number that is known.
    pub(crate) cursor: Option<u64>,
    /// In which form messages come; frames if absent. One of `frames`, `json`.
    pub(crate) format: Option<String>,
    /// The space. An AT URI.
    pub(crate) space: String,
}

/// The body of `co.kendev.spaces.suspendMember`.
#[derive(Deserialize)]
pub(crate) struct SuspendMemberInput {
    /// On again.
    pub(crate) lift: Option<bool>,
    /// The space. An AT URI.
    pub(crate) space: String,
    /// The member.
    pub(crate) user: Did,
}

/// The body of `co.kendev.spaces.updateChannel`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateChannelInput {
    /// The roles that a restricted channel lets in. At most 20 entries. Each: One of `owner`, `space_admin`,
    /// `moderator`, `member`, `guest`, `viewer`.
    pub(crate) allowed_roles: Option<Vec<Role>>,
    /// The channel. An AT URI.
    pub(crate) channel: String,
    /// What is done in it. At most 64 bytes. For example `photo_analysis`, `document_processing`, `data_collection`,
    /// `monitoring`, `intelligence_gathering`, `economic_analysis`, `chat`, `communication`.
    pub(crate) channel_type: Option<String>,
    /// The department that its messages are of when they do not say. At most 64 bytes.
    pub(crate) department: Option<String>,
    /// What it is for. At most 10000 bytes. At most 1000 graphemes.
    pub(crate) description: Option<String>,
    /// Whether guests may read and write.
    pub(crate) guest_access: Option<bool>,
    /// Its name. At most 1000 bytes. At most 100 graphemes.
    pub(crate) name: Option<String>,
    /// Who may know of the channel. One of `public`, `private`, `restricted`.
    pub(crate) visibility: Option<ChannelVisibility>,
}

/// The body of `co.kendev.spaces.updateSpace`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateSpaceInput {
    /// A code by which others may join; kept as a hash. From 12 to 256 bytes.
    pub(crate) invite_code: Option<String>,
    /// Fields of co.kendev.spaces.space that change.
    pub(crate) record: Value,
    /// The space. An AT URI.
    pub(crate) space: String,
}

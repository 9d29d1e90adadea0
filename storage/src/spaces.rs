//! The index of spaces: which there are, who is in them, what was said, in which order.
//!
//! One reader of the event log writes all of it ("spaces" in the table of cursors), each step in one batch with its
//! cursor, so that a restart does nothing twice and leaves nothing out. Rows are keyed by the space's number first:
//! what is asked of one space cannot reach another's rows. Within a space everything that happens has a number, rising
//! and never used twice, which is the order of messages and the cursor of live subscriptions.
//!
//! Nothing here decides who may see what.

mod awaited;
mod events;
mod facts;
mod forget;
mod overlay;
mod read;
mod words;

use std::collections::BTreeMap;

use angel_protocol::data::Cid;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::spaces::{ChannelRules, Membership, Role, SpaceRules, Status};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::codec::{Cbor, Present, Raw, Row};
use crate::key::{InvalidKey, Key};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use awaited::Readers;
pub use events::{
    ChannelSettings, FOREIGN, Foreign, INVITED, Invited, MEMBER, MODERATED, MemberChange, Moderated, READ, ReadChange,
    SETTINGS, SpaceEvent, event,
};
pub use facts::{
    Complaint, FACTS, Fact, Heard, HeardError, Settled, all_heard, asked, complaints, facts, forget_facts, heard_record,
};
pub use forget::{ForgetError, forget_index};
pub use overlay::Overlay;
pub use read::{Among, Reads, message_record, messages_back, old_version};
pub use words::{SEGMENT_MESSAGES, Search, index_words, search, stage_word};

/// The number by which this node knows a space. Never leaves the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpaceId(pub u64);

impl Key for SpaceId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, InvalidKey> {
        u64::decode(bytes).map(Self)
    }
}

/// The number of a channel within its space; 0 is the space's own stream.
pub type ChannelNumber = u32;

/// The space's own stream.
pub const OWN_STREAM: ChannelNumber = 0;

/// Spaces.
pub const SPACES: Table<SpaceId, SpaceRow> = Table::new(TableId::Spaces);

/// What a record of an author is to which space, by the author and `collection/key`.
pub const RECORDS: Table<(Did, String), Cbor<Place>> = Table::new(TableId::SpaceRecords);

/// Channels.
pub const CHANNELS: Table<(SpaceId, ChannelNumber), ChannelRow> = Table::new(TableId::SpaceChannels);

/// Members.
pub const MEMBERS: Table<(SpaceId, Did), MemberRow> = Table::new(TableId::SpaceMembers);

/// The spaces of a person.
pub const SPACES_OF: Table<(Did, SpaceId), Present> = Table::new(TableId::SpacesOfMember);

/// Messages by their number.
pub const MESSAGES: Table<(SpaceId, u64), MessageRow> = Table::new(TableId::SpaceMessages);

/// Records too large for their row, and earlier versions: space, message, version, part.
pub const VERSIONS: Table<(SpaceId, u64, u32, u16), Raw> = Table::new(TableId::SpaceMessageParts);

/// Messages of a channel.
pub const BY_CHANNEL: Table<(SpaceId, ChannelNumber, u64), Present> = Table::new(TableId::MessagesByChannel);

/// Messages of a thread, by the number of its first message.
pub const BY_THREAD: Table<(SpaceId, u64, u64), Present> = Table::new(TableId::MessagesByThread);

/// Reactions: space, message, emoji, author → the key of the record.
pub const REACTIONS: Table<(SpaceId, u64, String, Did), Cbor<String>> = Table::new(TableId::SpaceReactions);

/// How far members have read.
pub const READ_MARKS: Table<(SpaceId, ChannelNumber, Did), Cbor<ReadMark>> = Table::new(TableId::SpaceReadMarks);

/// Which messages hold a word: space, word, first message of the list.
pub const WORDS: Table<(SpaceId, String, u64), Raw> = Table::new(TableId::SpaceWords);

/// What happened in a space besides new messages, by its number.
pub const LOG: Table<(SpaceId, u64), Cbor<Happening>> = Table::new(TableId::SpaceLog);

/// Invitations by the SHA-256 of their token; a space's code under its own hash.
pub const INVITES: Table<(SpaceId, [u8; 32]), Cbor<InviteRow>> = Table::new(TableId::SpaceInvites);

/// Hosts of authors who live elsewhere, and how far each was followed.
pub const HOSTS: Table<String, Cbor<HostRow>> = Table::new(TableId::SpaceHosts);

/// Authors who live elsewhere.
pub const AUTHORS: Table<Did, Cbor<AuthorRow>> = Table::new(TableId::SpaceAuthors);

/// Who takes no direct messages from whom. No part of the index: what people asked for outlives it.
pub const BLOCKS: Table<(Did, Did), Present> = Table::new(TableId::SpaceBlocks);

/// A space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRow {
    /// Whose record it is: the tenant.
    pub holder: Did,
    /// The key of the record.
    pub rkey: String,
    /// The CID of the record.
    pub cid: Cid,
    /// Its name.
    pub name: String,
    /// What its URL says.
    pub slug: String,
    /// Who may do what.
    pub rules: SpaceRules,
    /// When it was taken into the index.
    pub indexed_at: Timestamp,
    /// When it was taken away, if it was: its number is not given again.
    pub gone_at: Option<Timestamp>,
    /// The number of what happened last.
    pub last: u64,
    /// Messages that are there.
    pub messages: u64,
    /// Members who are active.
    pub members: u64,
    /// When the newest message or membership came.
    pub active_at: Timestamp,
    /// Messages up to this number are in the lists of words.
    pub words_upto: u64,
    /// Messages behind that.
    pub words_waiting: u32,
    /// Channels that ever were.
    pub channels: ChannelNumber,
}

impl Row for SpaceRow {
    const VERSION: u8 = 1;
}

impl SpaceRow {
    /// The number of what happens next, at the event `sequence` of the log: above every earlier one, and above whatever
    /// a log from before a restore can have led to.
    pub fn next(&mut self, sequence: u64) -> u64 {
        self.last = sequence.max(self.last + 1);
        self.last
    }
}

/// What a record is to a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The space itself.
    Space(SpaceId),
    /// A channel.
    Channel(SpaceId, ChannelNumber),
    /// A message.
    Message(SpaceId, u64),
    /// A reaction to a message.
    Reaction(SpaceId, u64, String),
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// Whose record it is.
    pub holder: Did,
    /// The key of the record.
    pub rkey: String,
    /// The CID of the record.
    pub cid: Cid,
    /// Its name.
    pub name: String,
    /// What is done in it.
    pub kind: String,
    /// Who may do what.
    pub rules: ChannelRules,
    /// The department that its messages are of when they do not say.
    pub department: Option<String>,
    /// When it was taken into the index.
    pub indexed_at: Timestamp,
    /// When it was taken away, if it was.
    pub gone_at: Option<Timestamp>,
    /// Whether it is in a room of its own, for some of those who may see the space.
    #[serde(default)]
    pub own_room: bool,
}

impl Row for ChannelRow {
    const VERSION: u8 = 1;
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// What they are.
    pub membership: Membership,
    /// When the membership first became active.
    pub joined_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

impl Row for MemberRow {
    const VERSION: u8 = 1;
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Who wrote it.
    pub author: Did,
    /// The key of the record.
    pub rkey: String,
    /// The CID of the record.
    pub cid: Cid,
    /// Where it stands.
    pub channel: ChannelNumber,
    /// `messageType`.
    pub kind: String,
    /// `priority`, when it is not the usual one.
    pub priority: Option<String>,
    /// What it is about.
    pub department: Option<String>,
    /// What it is about.
    pub workflow: Option<String>,
    /// What it is about.
    pub journey: Option<String>,
    /// The first message of its thread.
    pub root: Option<u64>,
    /// When it was taken into the index.
    pub indexed_at: Timestamp,
    /// When it was last changed.
    pub edited_at: Option<Timestamp>,
    /// How often it was changed: versions before are kept.
    pub version: u32,
    /// Hidden by a moderator.
    pub hidden: Option<Hidden>,
    /// The record, when it fits a row; else it lies in [`VERSIONS`] under the present version.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}

impl Row for MessageRow {
    const VERSION: u8 = 1;
}

/// What a moderator did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Who.
    pub by: Did,
    /// Why, for the author.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How far a member has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMark {
    /// The newest message read.
    pub position: u64,
    /// When.
    pub at: Timestamp,
}

/// What happened in a space, besides new messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A message was changed, or shown again.
    Edited {
        /// Its number.
        position: u64,
    },
    /// A message is gone.
    Gone {
        /// Where it stood.
        channel: ChannelNumber,
        /// Who wrote it.
        author: Did,
        /// The key of the record.
        rkey: String,
        /// Whether a moderator hid it.
        hidden: bool,
    },
    /// A reaction came or went.
    Reaction {
        /// Where the message stands.
        channel: ChannelNumber,
        /// The message.
        position: u64,
        /// Who.
        author: Did,
        /// What.
        emoji: String,
        /// Whether it came.
        added: bool,
    },
    /// A membership changed.
    Member {
        /// Whose.
        did: Did,
        /// Their role now.
        role: Role,
        /// Where it stands now.
        status: Status,
    },
    /// A channel was made, changed or taken away.
    Channel {
        /// Which.
        channel: ChannelNumber,
        /// Whether it was taken away.
        gone: bool,
    },
    /// The space was changed or taken away.
    Space {
        /// Whether it was taken away.
        gone: bool,
    },
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRow {
    /// What whoever takes it becomes.
    pub role: Role,
    /// Who invites.
    pub by: Did,
    /// Whom it is for; anybody who has it when absent.
    pub only: Option<Did>,
    /// When it ends; a code of a space does not end.
    pub expires_at: Option<Timestamp>,
    /// Whether taking it uses it up; the code of a space is for many.
    pub once: bool,
}

/// A host of authors elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRow {
    /// The sequence of its stream that was dealt with last.
    pub cursor: Option<u64>,
}

/// An author elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorRow {
    /// Where they live, as their identity says.
    pub host: String,
    /// The newest commit that was dealt with.
    pub rev: Option<Tid>,
    /// The tree of that commit.
    pub data: Option<Cid>,
    /// Whether their host serves them.
    pub active: bool,
    /// Whether their repository says that they are an agent; none before it was gone through.
    #[serde(default)]
    pub says_agent: Option<bool>,
}

/// Spaces of one person, with what they are there.
pub type Memberships = BTreeMap<SpaceId, MemberRow>;

/// How the rows of these tables are checked.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![
        Check::of(&SPACES),
        Check::of(&RECORDS),
        Check::of(&CHANNELS),
        Check::of(&MEMBERS),
        Check::of(&SPACES_OF),
        Check::of(&MESSAGES),
        Check::of(&VERSIONS),
        Check::of(&BY_CHANNEL),
        Check::of(&BY_THREAD),
        Check::of(&REACTIONS),
        Check::of(&READ_MARKS),
        Check::of(&WORDS),
        Check::of(&LOG),
        Check::of(&INVITES),
        Check::of(&HOSTS),
        Check::of(&AUTHORS),
        Check::of(&BLOCKS),
        Check::of(&FACTS),
    ]
}

#[cfg(test)]
mod tests;

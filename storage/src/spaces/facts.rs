//! What is known of a space and said by no record of it: who is a member and as what, what is hidden, how far people have
//! read, invitations, settings of channels, and the records that were superseded. No part of the index, which is made anew
//! from the repositories and these: they name people and records by their addresses, never by numbers of the index.

use angel_protocol::data::Cid;
use angel_protocol::ids::Did;
use angel_protocol::spaces::{ChannelRules, MESSAGE};
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::awaited::Readers;
use super::{Hidden, InviteRow, MemberRow, Overlay, SpaceRow};
use crate::batch::{Batch, RowRefused};
use crate::codec::Cbor;
use crate::limits::VALUE_BYTES_MAX;
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};

/// What is known of spaces, by their holder and key.
pub const FACTS: Table<(Did, String, String), Cbor<Fact>> = Table::new(TableId::SpaceFacts);

/// Bytes of a superseded record in one row, with room for what stands beside them: whose it is, and where.
const PART_BYTES: usize = VALUE_BYTES_MAX - 4096;

/// Longest name that is kept as it is: keys of records may be long, and keys of rows may not.
const NAME_BYTES_MAX: usize = 256;

/// How names of being asked into spaces elsewhere begin: before those of everything else that lies under no space.
const ASKED: &str = "asked";

/// How names of complaints begin.
const REPORTED: &str = "reported";

/// Facts that are read at once.
const PAGE: usize = 500;

/// Something that is known of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// A membership.
    Member(Did, MemberRow),
    /// A message is hidden: whose, and `collection/key`.
    Hidden(Did, String, Hidden),
    /// The settings of the channel at `collection/key`.
    Settings(String, ChannelRules, Option<String>),
    /// Somebody has read up to a message.
    Read {
        /// Who.
        did: Did,
        /// Whose message.
        author: Did,
        /// `collection/key` of the message.
        path: String,
        /// When.
        at: Timestamp,
    },
    /// An invitation, by the hash of its token.
    Invite(serde_bytes::ByteBuf, InviteRow),
    /// An event was told.
    Told {
        /// When.
        at: Timestamp,
    },
    /// A part of a record that was superseded.
    Version {
        /// Whose.
        author: Did,
        /// `collection/key`.
        path: String,
        /// Which version, from 0 on.
        version: u32,
        /// Which part of it, from 0 on.
        part: u16,
        /// When it was superseded.
        until: Timestamp,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A part of what an author elsewhere said in public, as it was indexed: their host need not have it for good.
    Heard {
        /// Whose.
        author: Did,
        /// `collection/key`.
        path: String,
        /// Which part of it, from 0 on.
        part: u16,
        /// When it came.
        at: Timestamp,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Some of those who had read up to a message that is not here yet.
    Awaited {
        /// Whose message.
        author: Did,
        /// `collection/key` of the message.
        path: String,
        /// Which part of them, from 0 on.
        part: u16,
        /// Who, and when they said so.
        readers: Readers,
    },
    /// Somebody complained about a message.
    Reported(Complaint),
    /// Somebody here was asked into a space elsewhere. It lies under no space, by whom was asked.
    Asked {
        /// The space.
        space: String,
        /// When they were asked first.
        at: Timestamp,
        /// When their host last heard of it.
        heard_at: Timestamp,
    },
}

/// A complaint about a message, for the moderators of its space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// The number under which the operator has it as well.
    pub number: u64,
    /// Who complains.
    pub by: Did,
    /// Why.
    pub reason: String,
    /// Whose message.
    pub author: Did,
    /// `collection/key` of the message.
    pub path: String,
    /// Which version of it.
    pub cid: Cid,
    /// The key of the channel's record; none for the space's own stream.
    pub channel: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub settled: Option<Settled>,
}

/// The end of a complaint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Who looked at it.
    pub by: Did,
    /// What they say of it.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Fact {
    /// The name of a complaint: one of each person about each message.
    #[must_use]
    pub fn reported(complaint: &Complaint) -> String {
        let Complaint { author, path, by, .. } = complaint;
        named(REPORTED, &format!("{author} {path} {by}"))
    }

    /// The name of a membership.
    #[must_use]
    pub fn member(did: &Did) -> String {
        named("member", did.as_str())
    }

    /// The name of what hides a message.
    #[must_use]
    pub fn hidden(author: &Did, path: &str) -> String {
        named("hidden", &format!("{author} {path}"))
    }

    /// The name of a channel's settings.
    #[must_use]
    pub fn settings(path: &str) -> String {
        named("settings", path)
    }

    /// The name of a mark; the space's own stream has no key.
    #[must_use]
    pub fn read(did: &Did, channel: Option<&str>) -> String {
        named("read", &format!("{did} {}", channel.unwrap_or_default()))
    }

    /// The name of an invitation.
    #[must_use]
    pub fn invite(hash: &[u8; 32]) -> String {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("invite {hex}")
    }

    /// Whether it goes with a space to another store, under this name: what was decided about people and messages, and how far
    /// people have read. What authors said is theirs, and is asked of their hosts.
    #[must_use]
    pub fn travels_as(&self, name: &str) -> bool {
        match self {
            Self::Member(did, _) => name == Self::member(did),
            Self::Hidden(author, path, _) => name == Self::hidden(author, path),
            Self::Settings(path, ..) => name == Self::settings(path),
            Self::Reported(complaint) => name == Self::reported(complaint),
            Self::Invite(hash, _) => {
                <[u8; 32]>::try_from(hash.as_slice()).is_ok_and(|hash| name == Self::invite(&hash))
            }
            // The rest of the name is the channel's key; where the name is a digest, that is not known any more.
            Self::Read { did, path, .. } => {
                let channel = name.strip_prefix(&format!("read {did} "));
                let is_it = |channel: &str| name == Self::read(did, (!channel.is_empty()).then_some(channel));
                is_message(path) && channel.is_some_and(is_it)
            }
            Self::Awaited { author, path, part, .. } => is_message(path) && name == Self::awaited(author, path, *part),
            Self::Told { .. } | Self::Version { .. } | Self::Heard { .. } | Self::Asked { .. } => false,
        }
    }

    /// The name of being asked into a space elsewhere.
    #[must_use]
    pub fn asked(space: &str) -> String {
        named(ASKED, space)
    }

    /// The name of a part of those who had read up to a message that is not here yet.
    pub(super) fn awaited(author: &Did, path: &str, part: u16) -> String {
        format!("{} {part:05}", named("awaited", &format!("{author} {path}")))
    }

    fn heard(author: &Did, path: &str, part: u16) -> String {
        format!("{} {part:05}", named("heard", &format!("{author} {path}")))
    }

    fn version(author: &Did, path: &str, version: u32, part: u16) -> String {
        format!("{} {version:08} {part:05}", named("version", &format!("{author} {path}")))
    }
}

/// Whether a path is a message's.
fn is_message(path: &str) -> bool {
    path.split_once('/').is_some_and(|(collection, key)| collection == MESSAGE && !key.is_empty())
}

/// A name of a fact; of what is too long for one, the digest.
fn named(kind: &str, what: &str) -> String {
    if what.len() <= NAME_BYTES_MAX {
        return format!("{kind} {what}");
    }
    let digest: String = Sha256::digest(what.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind} #{digest}")
}

impl Overlay<'_> {
    /// Notes a fact, or that it is none any more.
    ///
    /// # Errors
    /// The value has no stored form.
    pub fn put_fact(&mut self, space: &SpaceRow, name: String, fact: Option<Fact>) -> Result<(), RowRefused> {
        let key = (space.holder.clone(), space.rkey.clone(), name);
        match fact {
            Some(fact) => self.put(&FACTS, &key, &Cbor(fact)),
            None => {
                self.delete(&FACTS, &key);
                Ok(())
            }
        }
    }

    /// Notes a record that was superseded.
    ///
    /// # Errors
    /// A value has no stored form.
    pub fn put_superseded(
        &mut self,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        version: u32,
        until: Timestamp,
        record: &[u8],
    ) -> Result<(), RowRefused> {
        for (part, bytes) in (0_u16..).zip(record.chunks(PART_BYTES)) {
            let name = Fact::version(author, path, version, part);
            let (author, path, bytes) = (author.clone(), path.to_owned(), bytes.to_vec());
            self.put_fact(space, name, Some(Fact::Version { author, path, version, part, until, bytes }))?;
        }
        Ok(())
    }

    /// Notes what an author elsewhere said in public, in place of what they said there before.
    ///
    /// # Errors
    /// The engine fails, or a value has no stored form.
    pub fn put_heard(
        &mut self,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        at: Timestamp,
        record: &[u8],
    ) -> Result<(), HeardError> {
        self.forget_heard(space, (author, path))?;
        for (part, bytes) in (0_u16..).zip(record.chunks(PART_BYTES)) {
            let name = Fact::heard(author, path, part);
            let (author, path, bytes) = (author.clone(), path.to_owned(), bytes.to_vec());
            self.put_fact(space, name, Some(Fact::Heard { author, path, part, at, bytes }))?;
        }
        Ok(())
    }

    /// Forgets what an author elsewhere said.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn forget_heard(&mut self, space: &SpaceRow, (author, path): (&Did, &str)) -> Result<(), ReadError> {
        for part in 0.. {
            let key = (space.holder.clone(), space.rkey.clone(), Fact::heard(author, path, part));
            if self.get(&FACTS, &key)?.is_none() {
                break;
            }
            self.delete(&FACTS, &key);
        }
        Ok(())
    }

    /// Forgets superseded records of these versions.
    ///
    /// # Errors
    /// The engine fails, or a row cannot be read.
    pub fn forget_superseded(
        &mut self,
        space: &SpaceRow,
        (author, path): (&Did, &str),
        versions: std::ops::Range<u32>,
    ) -> Result<(), ReadError> {
        for version in versions {
            for part in 0.. {
                let name = Fact::version(author, path, version, part);
                let key = (space.holder.clone(), space.rkey.clone(), name);
                if self.get(&FACTS, &key)?.is_none() {
                    break;
                }
                self.delete(&FACTS, &key);
            }
        }
        Ok(())
    }
}

/// Why something said elsewhere is not noted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HeardError {
    /// What was noted before cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The value has no stored form.
    #[error(transparent)]
    Row(#[from] RowRefused),
}

/// Something that an author elsewhere said in public, and in which space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who holds the space.
    pub holder: Did,
    /// The key of the space.
    pub rkey: String,
    /// Whose.
    pub author: Did,
    /// `collection/key`.
    pub path: String,
    /// When it came.
    pub at: Timestamp,
}

/// Everything that authors elsewhere said in public, in all spaces.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn all_heard(reader: &Reader) -> Result<Vec<Heard>, ReadError> {
    let (mut all, mut last) = (vec![], None);
    loop {
        let mut scan = reader.scan(&FACTS);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE)?;
        for ((holder, rkey, name), Cbor(fact)) in page.rows {
            if let Fact::Heard { author, path, part: 0, at, .. } = fact {
                all.push(Heard { holder: holder.clone(), rkey: rkey.clone(), author, path, at });
            }
            last = Some((holder, rkey, name));
        }
        if !page.more {
            return Ok(all);
        }
    }
}

/// The record of something that was heard.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn heard_record(reader: &Reader, heard: &Heard) -> Result<Vec<u8>, ReadError> {
    let mut record = vec![];
    for part in 0.. {
        let name = Fact::heard(&heard.author, &heard.path, part);
        match reader.get(&FACTS, &(heard.holder.clone(), heard.rkey.clone(), name))? {
            Some(Cbor(Fact::Heard { bytes, .. })) => record.extend(bytes),
            _ => break,
        }
    }
    Ok(record)
}

/// Stages the end of some of the facts of a space that is gone for good. Answers whether there may be more.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn forget_facts(
    reader: &Reader,
    batch: &mut Batch,
    (holder, rkey): (&Did, &str),
) -> Result<bool, super::ForgetError> {
    let page = reader.scan(&FACTS).prefix(&(holder.clone(), rkey.to_owned())).page(PAGE)?;
    for (key, _) in page.rows {
        batch.delete(&FACTS, &key)?;
    }
    Ok(page.more)
}

/// The complaints about messages of the space of `holder` with this key, up to `limit`, in no order that means anything.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn complaints(reader: &Reader, (holder, rkey): (&Did, &str), limit: usize) -> Result<Vec<Complaint>, ReadError> {
    let prefix = (holder.clone(), rkey.to_owned());
    let before = (holder.clone(), rkey.to_owned(), REPORTED.to_owned());
    let page = reader.scan(&FACTS).prefix(&prefix).after(&before).page(limit)?;
    let facts = page.rows.into_iter().map_while(|(_, Cbor(fact))| match fact {
        Fact::Reported(complaint) => Some(complaint),
        _ => None,
    });
    Ok(facts.collect())
}

/// Up to `limit` spaces elsewhere that somebody was asked into.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn asked(reader: &Reader, did: &Did, limit: usize) -> Result<Vec<Fact>, ReadError> {
    let page = reader.scan(&FACTS).prefix(&(did.clone(), String::new())).page(limit)?;
    let facts = page.rows.into_iter().map(|(_, Cbor(fact))| fact);
    Ok(facts.take_while(|fact| matches!(fact, Fact::Asked { .. })).collect())
}

/// What is known of the space of `holder` with this key, page by page.
///
/// # Errors
/// The engine fails, or a row cannot be read; or `take` fails.
pub fn facts<E: From<ReadError>>(
    reader: &Reader,
    space: &SpaceRow,
    mut take: impl FnMut(Fact) -> Result<(), E>,
) -> Result<(), E> {
    let prefix = (space.holder.clone(), space.rkey.clone());
    let mut last: Option<(Did, String, String)> = None;
    loop {
        let mut scan = reader.scan(&FACTS).prefix(&prefix);
        if let Some(last) = &last {
            scan = scan.after(last);
        }
        let page = scan.page(PAGE)?;
        for (key, Cbor(fact)) in page.rows {
            last = Some(key);
            take(fact)?;
        }
        if !page.more {
            return Ok(());
        }
    }
}

//! What is known of a space and said by no record of it: who is a member and as what, what is hidden, how far people have
//! read, invitations, settings of channels, and the records that were superseded. No part of the index, which is made anew
//! from the repositories and these: they name people and records by their addresses, never by numbers of the index.

use angel_protocol::ids::Did;
use angel_protocol::spaces::ChannelRules;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Hidden, InviteRow, MemberRow, Overlay, SpaceRow};
use crate::batch::RowRefused;
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
}

impl Fact {
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

    fn version(author: &Did, path: &str, version: u32, part: u16) -> String {
        format!("{} {version:08} {part:05}", named("version", &format!("{author} {path}")))
    }
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

//! The catalogue: every table, its key, its value, and who writes it.
//!
//! All tables live in one key space; the first byte of a key is the table. A table is a constant that ties the byte to
//! the types, so that a key or a value of another table does not compile.

use std::marker::PhantomData;

use crate::codec::{self, CodecError, Raw, StoredValue};
use crate::cursors::{CursorName, CursorRow};
use crate::engine::KeyRange;
use crate::events::EventHead;
use crate::key::{InvalidKey, Key, PrefixOf};
use crate::node_meta::MetaRow;

macro_rules! catalogue {
    ($($byte:literal $name:ident $text:literal: $key:literal => $value:literal, by $writer:literal;)*) => {
        /// Which table a row belongs to: the first byte of its key. Two tables with one byte do not compile.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum TableId {
            $(#[doc = concat!("`", $text, "`: ", $key, " → ", $value, "; written by ", $writer, ".")] $name = $byte,)*
        }

        /// Every table, in the order of their bytes.
        pub const CATALOGUE: &[TableInfo] = &[
            $(TableInfo { id: TableId::$name, name: $text, key: $key, value: $value, writer: $writer },)*
        ];
    };
}

catalogue! {
    0x01 NodeMeta "node_meta": "name" => "facts about this store, by name", by "the store";
    0x02 Events "events": "sequence" => "an event", by "every batch that has something to tell";
    0x03 EventParts "event_parts": "sequence, part" => "what of an event did not fit its row", by "the same batch";
    0x04 Cursors "cursors": "reader kind, reader" => "the last sequence it has dealt with", by "each reader of the event log";
    0x05 Peers "peers": "node DID, part" => "what membership knows of a node", by "the membership driver";
    0x06 Local "local": "name" => "what a part of this node remembers about itself", by "each part its own names";
    0x10 Accounts "accounts": "account" => "an account that this node hosts", by "the accounts";
    0x11 AccountsByDid "accounts_by_did": "DID" => "its account", by "the batch of the account";
    0x12 AccountsByHandle "accounts_by_handle": "handle" => "its account", by "the batch of the account";
    0x13 AccountsByEmail "accounts_by_email": "e-mail address" => "its account", by "the batch of the account";
    0x14 AccountKeys "account_keys": "account, purpose" => "a secret key, sealed", by "the accounts";
    0x15 ReservedKeys "reserved_keys": "did:key" => "a secret key for an account to come, sealed", by "the accounts";
    0x16 Sessions "sessions": "account, session" => "a login that can be refreshed", by "the sessions";
    0x17 AppPasswords "app_passwords": "account, name" => "a password for one app", by "the sessions";
    0x18 InviteCodes "invite_codes": "code" => "an invitation to make accounts", by "the invitations";
    0x19 InviteCodesByAccount "invite_codes_by_account": "account, code" => "nothing more", by "the batch of the code";
    0x1A MailCodes "mail_codes": "account, purpose" => "a code that proves an e-mail address", by "the mail codes";
    0x1B MailOutbox "mail_outbox": "number" => "a mail that is still to be sent", by "the mail";
    0x1C Preferences "preferences": "account, part" => "what an app keeps for the account", by "the preferences";
    0x1D Reports "reports": "number" => "a complaint for the operator", by "the moderation";
    0x1E Takedowns "takedowns": "account, subject" => "a record or blob that the operator took down", by "the moderation";
    0x1F ResetCodes "reset_codes": "code" => "the account whose password it sets anew", by "the batch of the code";
    0x20 Repos "repos": "account" => "the head of its repository, and which contents are in force", by "the write path of repositories";
    0x21 RepoNodes "repo_nodes": "contents, digest, part" => "a node of the tree of records", by "the same batch";
    0x22 RepoRecords "repo_records": "contents, path, part" => "a record with its CID and revision", by "the same batch";
    0x23 RepoCollections "repo_collections": "contents, collection" => "that the collection holds a record", by "the same batch";
    0x24 CollectionRepos "collection_repos": "collection, account" => "that the account has a record in it", by "the same batch";
    0x25 RepoRetained "repo_retained": "contents, digest, part" => "a superseded block that an export still reads", by "the same batch, dropped after the export";
    0x26 RepoLeftovers "repo_leftovers": "contents" => "contents that are in force no longer, or not yet", by "imports and deletions, dropped by the sweeper";
    0x27 RepoFreshNodes "repo_fresh_nodes": "contents, digest, part" => "a node of the tree that a recent commit wrote", by "the same batch, moved among the others by a later one";
    0x28 Blobs "blobs": "account, CID" => "a blob that the account has uploaded", by "uploads";
    0x29 BlobRefs "blob_refs": "account, CID, path" => "that a record names a blob", by "the write path";
    0x2A BlobHolders "blob_holders": "CID, account" => "who has a blob: its file stays while somebody does", by "uploads";
    0x2B BlobsMissing "blobs_missing": "account, CID" => "that an imported record names a blob that is not here", by "imports";
    0x2C BlobChecks "blob_checks": "time, account, CID" => "when to look whether a blob is still named", by "uploads and the write path";
    0x2D BlobFiles "blob_files": "time, CID" => "when to look whether a file is still held", by "the sweep of blobs";
    0x2E RepoPacks "repo_packs": "contents, path of the first" => "records that an import brought, several in a row", by "imports; the write path takes records out";
    0x2F RepoLinks "repo_links": "contents, collection, digest of a subject, record key" => "that the record is about the subject", by "the write path, where one for each subject is enough";
    0x30 PlcEntries "plc_entries": "DID, place" => "an operation of an identity, from before the ledger decided them", by "nobody any more; dropped once it is carried over";
    0x31 PlcAccepted "plc_accepted": "moment" => "which operation was accepted then", by "nobody any more; dropped with the operation";
    0x40 LedgerRows "ledger_rows": "ledger key, part" => "a row of the ledger's state, or a page of its tree", by "the batch of a decided height";
    0x41 LedgerBatches "ledger_batches": "height, part" => "a decided batch that was not kept as a proposal", by "the same batch";
    0x42 LedgerDecisions "ledger_decisions": "height" => "the header decided and its certificate", by "the same batch";
    0x43 LedgerValidators "ledger_validators": "first height" => "the validators from that height on", by "the same batch";
    0x44 LedgerHistory "ledger_history": "account, height, number" => "what the height moved of the account's balances, from that movement on", by "the same batch";
    0x45 LedgerCheckpoints "ledger_checkpoints": "height" => "a root worth publishing", by "the same batch";
    0x46 LedgerEvidence "ledger_evidence": "height, number" => "two messages of one validator that contradict each other", by "consensus";
    0x47 LedgerUndecided "ledger_undecided": "height, value, part" => "a proposed batch; the one that was decided stays", by "consensus, the others dropped once the height is decided";
    0x48 Mempool "mempool": "transaction, part" => "a transaction that waits to be decided, as versions before kept it", by "nobody any more; dropped once it is decided";
    0x49 LedgerNotes "ledger_notes": "name" => "what consensus remembers about itself", by "consensus";
    0x4A PlcPending "plc_pending": "DID" => "an account's identity that is not decided yet", by "the batch of the account, dropped once it is";
    0x4B MempoolGroups "mempool_groups": "number, part" => "transactions that came together and wait to be decided", by "the mempool";
    0x50 Tenants "tenants": "account" => "an account that is a business", by "the tenants";
    0x51 TenantsBySlug "tenants_by_slug": "short name" => "its account", by "the batch of the tenant";
    0x52 TenantMembers "tenant_members": "account, DID" => "that somebody belongs to the tenant, and as what", by "the tenants";
    0x53 TenantInvitations "tenant_invitations": "account, digest of the token" => "that somebody may join the tenant", by "the tenants";
    0x54 TenantUsage "tenant_usage": "account, month" => "what the tenant used in it", by "the tenants";
    0x55 TenantAudit "tenant_audit": "account, number" => "what was done to the tenant, by whom", by "the batch of what was done";
    0x56 SpaceBlocks "space_blocks": "DID, DID" => "that the first takes no messages from the second", by "whoever blocks";
    0x57 SpaceFacts "space_facts": "DID, key of the space, what" => "what is known of a space and said by no record of it", by "the index of spaces, which is made anew from them";
    0x58 Spaces "spaces": "space" => "a space, as the index knows it", by "the index of spaces";
    0x59 SpaceRecords "space_records": "author, path" => "what the record is to which space", by "the index of spaces";
    0x5A SpaceChannels "space_channels": "space, channel" => "a channel", by "the index of spaces";
    0x5B SpaceMembers "space_members": "space, person" => "a membership", by "the index of spaces";
    0x5C SpacesOfMember "spaces_of_member": "person, space" => "nothing more", by "the index of spaces";
    0x5D SpaceMessages "space_messages": "space, number" => "a message with its record", by "the index of spaces";
    0x5E SpaceMessageParts "space_message_parts": "space, message, version, part" => "a large record, or one of before", by "the index of spaces";
    0x5F MessagesByChannel "messages_by_channel": "space, channel, message" => "nothing more", by "the index of spaces";
    0x60 MessagesByThread "messages_by_thread": "space, first message, message" => "nothing more", by "the index of spaces";
    0x61 SpaceReactions "space_reactions": "space, message, emoji, person" => "the key of the reaction's record", by "the index of spaces";
    0x62 SpaceReadMarks "space_read_marks": "space, channel, person" => "how far they have read", by "the index of spaces";
    0x63 SpaceWords "space_words": "space, word, first message" => "messages that hold the word", by "the index of spaces";
    0x64 SpaceLog "space_log": "space, number" => "what happened besides new messages", by "the index of spaces";
    0x65 SpaceInvites "space_invites": "space, hash of the token" => "an invitation", by "the index of spaces";
    0x66 SpaceHosts "space_hosts": "host" => "how far its stream was followed", by "the follower of authors elsewhere";
    0x67 SpaceAuthors "space_authors": "person" => "where an author elsewhere lives, and their newest commit", by "the follower of authors elsewhere";
    0x68 PermissionedSpaces "permissioned_spaces": "authority's account, space" => "a space under a hosted account", by "the spaces of permissioned data";
    0x69 PermissionedMembers "permissioned_members": "space, DID" => "what a member of a space may do", by "the spaces of permissioned data";
    0x6A PermissionedWriters "permissioned_writers": "space, DID or place" => "whose repositories a space has, and in which order they changed", by "the batch of a private write, and notifications";
    0x6B PermissionedRepos "permissioned_repos": "account, space" => "where a permissioned repository stands", by "the write path of permissioned repositories";
    0x6C PermissionedRecords "permissioned_records": "account, space, path, part" => "a private record with its CID and revision", by "the same batch";
    0x6D PermissionedIndex "permissioned_index": "account, space, length of the path, path" => "the record's CID, in the order of a serialised repository", by "the same batch";
    0x6E PermissionedOps "permissioned_ops": "account, space, revision, number" => "what a recent write did at one path", by "the same batch";
    0x6F PermissionedNotices "permissioned_notices": "kind, details" => "who is told of writes, what is still to be told, which tokens are used up", by "the notifications of permissioned data";
    0x70 Replicas "replicas": "tenant" => "the copy that this node holds of it", by "replication";
    0x71 ReplicaSealed "replica_sealed": "tenant, what, part" => "what is sealed to this node for the day it takes over", by "replication";
    0x72 ReplicaPromises "replica_promises": "tenant" => "in favour of which epoch this node follows the primary no more", by "failover, before it says so";
    0x73 ReplicaOperations "replica_operations": "tenant, standby, part" => "the operation that would move the identity there, in shares", by "the primary";
    0x74 ReplicaSettings "replica_settings": "tenant" => "what the tenant asks of its copies", by "the primary, and whoever takes over";
    0x75 ReplicaVersions "replica_versions": "tenant, path, revision, part" => "a second version of a record that two nodes wrote", by "the primary, when the other comes back";
    0x76 ReplicaRows "replica_rows": "account, table, key" => "a private row of an account that another node serves", by "replication";
    0x77 ReplicaJournaled "replica_journaled": "account" => "that changes of its private rows are told in the event log", by "the primary";
    0x78 Moves "moves": "tenant, id" => "a move of the tenant to another node, and how far it is", by "the node that moves it";
    0x79 ReplicaPlaces "replica_places": "author, path, account" => "what the record is to which space of a copy", by "replication";
    0x7A RoadmapVotes "roadmap_votes": "key of the feature, person" => "the feature that somebody elsewhere votes for", by "the follower of authors elsewhere";
    0x7B RoadmapVotesOf "roadmap_votes_of": "person, key of the feature" => "nothing more", by "the batch of the vote";
    0x7C FormViews "form_views": "account, key of the form" => "how often a form was asked for, and answered since", by "the forms, every few seconds";
    0x7D Webhooks "webhooks": "account, hook" => "a webhook of the tenant, how far it has come, and how its calls went", by "the webhooks";
}

/// A table as the catalogue describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its byte.
    pub id: TableId,
    /// Its name in messages and figures.
    pub name: &'static str,
    /// The parts of its key.
    pub key: &'static str,
    /// What a row says.
    pub value: &'static str,
    /// Who writes it.
    pub writer: &'static str,
}

impl TableId {
    /// The first byte of the keys of this table.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The table whose keys begin with `byte`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        CATALOGUE.iter().map(|info| info.id).find(|id| id.byte() == byte)
    }

    /// The entry of the catalogue.
    #[must_use]
    pub fn name(self) -> &'static str {
        CATALOGUE.iter().find(|info| info.id == self).map_or("unknown", |info| info.name)
    }

    /// All keys of this table.
    #[must_use]
    pub fn range(self) -> KeyRange {
        KeyRange::prefix(&[self.byte()])
    }
}

impl std::fmt::Display for TableId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Room that a key is given at first: most have less, and none of these is moved while it is put together.
const KEY_BYTES_USUAL: usize = 64;

/// A table with its types.
#[derive(Debug)]
pub struct Table<K, V> {
    id: TableId,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K: Key, V: StoredValue> Table<K, V> {
    /// Ties a table's byte to its types. Each table is declared once, beside the code that owns it.
    #[must_use]
    pub const fn new(id: TableId) -> Self {
        Self { id, types: PhantomData }
    }

    /// Which table this is.
    #[must_use]
    pub const fn id(&self) -> TableId {
        self.id
    }

    /// The stored form of a key.
    #[must_use]
    pub fn key(&self, key: &K) -> Vec<u8> {
        self.prefix_bytes(key)
    }

    /// The range of the keys that begin with `prefix`.
    #[must_use]
    pub fn prefix<P: PrefixOf<K>>(&self, prefix: &P) -> KeyRange {
        KeyRange::prefix(&self.prefix_bytes(prefix))
    }

    /// All keys.
    #[must_use]
    pub fn all(&self) -> KeyRange {
        self.id.range()
    }

    /// Reads a stored key back.
    ///
    /// # Errors
    ///
    /// The bytes are no key of this table.
    pub fn decode_key(&self, stored: &[u8]) -> Result<K, InvalidKey> {
        let mut rest = stored.strip_prefix(&[self.id.byte()]).ok_or(InvalidKey)?;
        let key = K::decode(&mut rest)?;
        if rest.is_empty() { Ok(key) } else { Err(InvalidKey) }
    }

    /// Reads a stored value back.
    ///
    /// # Errors
    ///
    /// The bytes are no value of this table, or of a newer version.
    pub fn decode_value(&self, stored: &[u8]) -> Result<V, CodecError> {
        codec::decode(stored)
    }

    fn prefix_bytes(&self, prefix: &impl Key) -> Vec<u8> {
        let mut out = Vec::with_capacity(KEY_BYTES_USUAL);
        out.push(self.id.byte());
        prefix.encode(&mut out);
        out
    }
}

/// Facts about this store.
pub(crate) const NODE_META: Table<String, MetaRow> = Table::new(TableId::NodeMeta);

/// The event log.
pub(crate) const EVENTS: Table<u64, EventHead> = Table::new(TableId::Events);

/// Further parts of large events.
pub(crate) const EVENT_PARTS: Table<(u64, u16), Raw> = Table::new(TableId::EventParts);

/// How far each reader of the event log has got.
pub const CURSORS: Table<CursorName, CursorRow> = Table::new(TableId::Cursors);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_table_has_a_byte_and_a_name_of_its_own() {
        let bytes: BTreeSet<_> = CATALOGUE.iter().map(|info| info.id.byte()).collect();
        let names: BTreeSet<_> = CATALOGUE.iter().map(|info| info.name).collect();
        assert_eq!((bytes.len(), names.len()), (CATALOGUE.len(), CATALOGUE.len()));
        // 0x00 and 0xFF stay free, so that a range can begin before and end behind every table.
        assert!(!bytes.contains(&0) && !bytes.contains(&u8::MAX));
        for info in CATALOGUE {
            assert_eq!(TableId::from_byte(info.id.byte()), Some(info.id));
        }
    }

    #[test]
    fn keys_of_another_table_are_refused() {
        let key = EVENTS.key(&7);
        assert_eq!(key, [2, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(EVENTS.decode_key(&key), Ok(7));
        assert_eq!(CURSORS.decode_key(&key), Err(InvalidKey));
        assert_eq!(EVENTS.decode_key(&[key, vec![0]].concat()), Err(InvalidKey));
    }
}

//! What is kept of tenants that have copies: how far a copy goes, what is sealed to this node, what it has promised, and
//! the operations by which an identity would move.
//!
//! A copy's records and files are ordinary rows and files of its account; here is what makes it a copy. Everything
//! secret lies sealed: the store alone tells nobody anything.

mod versions;

use angel_protocol::failover::Promise;
use angel_protocol::ids::{Did, Tid};
use angel_protocol::ledger::rows::{self, Placement};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::batch::{Batch, RowRefused};
use crate::chunked::ChunkedTable;
use crate::codec::{Cbor, Row};
use crate::events::TrimError;
use crate::key::AccountId;
use crate::ledger::{LedgerView, keys};
use crate::reader::{ReadError, Reader};
use crate::tables::{Table, TableId};
use crate::verify::Check;

pub use self::versions::{
    Kept, VERSIONS, VersionKey, VersionPage, VersionRow, dismiss, is_kept, kept, version_path, versions,
};

/// Copies that this node holds, or held, by tenant.
pub const REPLICAS: Table<Did, ReplicaRow> = Table::new(TableId::Replicas);

/// What is sealed to this node for a tenant: see [`Sealed`].
pub const SEALED: ChunkedTable<(Did, u8)> = ChunkedTable::new(TableId::ReplicaSealed);

/// What this node has promised, by tenant.
pub const PROMISES: Table<Did, Cbor<PromiseRow>> = Table::new(TableId::ReplicaPromises);

/// Operations that move an identity to a standby, in shares, at the primary: by tenant and standby.
pub const OPERATIONS: ChunkedTable<(Did, Did)> = ChunkedTable::new(TableId::ReplicaOperations);

/// What a tenant asks of its copies, at whatever node is primary.
pub const SETTINGS: Table<Did, Cbor<SettingsRow>> = Table::new(TableId::ReplicaSettings);

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRow {
    /// Its account here.
    pub account: AccountId,
    /// The epoch in which the copy was made or compared.
    pub epoch: u64,
    /// Behind the last event of the primary's log that was applied.
    pub cursor: u64,
    /// Up to where it is complete, files too; `None` until it was whole in this epoch.
    pub complete: Option<u64>,
    /// Digest of the account's state that is sealed here.
    #[serde(with = "serde_bytes")]
    pub state: [u8; 32],
    /// Bytes of records and files, as counted when they came.
    pub bytes: u64,
    /// Those of them that are files'; `None` where a version counted that did not tell them apart.
    #[serde(default)]
    pub files: Option<u64>,
    /// What this node is to the tenant.
    pub role: Role,
    /// When it was last complete and the same as what the primary had, by this node's clock.
    #[serde(default)]
    pub current: Option<Timestamp>,
    /// Why it stopped, for the operator.
    pub stopped: Option<String>,
    /// Private rows that were found to differ although nothing told of it, and were mended.
    #[serde(default)]
    pub mended: u64,
    /// While it gives way: how far it has told what it alone had written.
    #[serde(default)]
    pub told: Option<Told>,
    /// Of an account that was put back from a backup to be claimed: whose data it is.
    #[serde(default)]
    pub restored: Option<Restored>,
    /// The operation by which the owner of the identity points it here, signed: kept from before the ledger is asked until
    /// this node serves.
    #[serde(default)]
    pub operation: Option<ByteBuf>,
}

/// Whose data an account that was put back has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The node that made the backup: it was primary then.
    pub node: Did,
    /// Up to which event of that node's log the backup goes.
    pub sequence: u64,
}

/// The last of the unseen writes that were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// To the primary of this epoch.
    pub epoch: u64,
    /// In which space, for a record that is for certain people only.
    pub space: Option<SpaceUri>,
    /// Where.
    pub path: String,
    /// The revision that made it.
    pub rev: Tid,
}

impl ReplicaRow {
    /// Why a copy stopped whose account is being put back from a backup, or was when that was cut short.
    pub const RESTORING: &str = "a restore from a backup is under way, or was cut short: restore it again";

    /// Why a copy stopped that takes more room than its node sets aside.
    pub const NO_ROOM: &str = "the copy takes more room than replicas.quota";

    /// Of a copy into which nothing has come yet.
    #[must_use]
    pub const fn new(account: AccountId, role: Role) -> Self {
        Self {
            account,
            epoch: 0,
            cursor: 0,
            complete: None,
            state: [0; 32],
            bytes: 0,
            files: Some(0),
            role,
            current: None,
            stopped: None,
            mended: 0,
            told: None,
            restored: None,
            operation: None,
        }
    }

    /// Counts the files anew, which have so many bytes: whoever was ended while files came has stored some that nothing
    /// counts. Answers whether something else is counted now.
    pub fn recount_files(&mut self, files: u64) -> bool {
        let before = self.files.replace(files);
        if let Some(before) = before {
            self.bytes = self.bytes.saturating_sub(before).saturating_add(files);
        }
        before != self.files
    }

    /// Whether the copy stopped because there is no room for more of it.
    #[must_use]
    pub fn has_no_room(&self) -> bool {
        self.stopped.as_deref() == Some(Self::NO_ROOM)
    }

    /// Whether the account is half of what a backup has: it is nobody's until the restore is done again.
    #[must_use]
    pub fn is_half_restored(&self) -> bool {
        self.stopped.as_deref() == Some(Self::RESTORING)
    }
}

impl Row for ReplicaRow {
    const VERSION: u8 = 1;
}

/// What this node is to a tenant, and how far it is in becoming something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It was primary and is none any more; what it alone has written is still to be told.
    GivingWay,
    /// It holds a copy.
    Standby,
    /// The ledger made it primary; the identity does not lead here yet.
    TakingOver,
    /// It serves the tenant.
    Primary,
    /// It has what was put back from a backup, and waits for the owner to claim it.
    Restored,
}

/// What lies in [`SEALED`] under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// The account's state.
    State,
    /// Shares of operations.
    Shares,
}

impl Sealed {
    /// How keys write it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::State => 0,
            Self::Shares => 1,
        }
    }
}

/// A promise as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseRow {
    /// In favour of this epoch.
    pub epoch: u64,
    /// How far the copy went.
    pub cursor: u64,
    /// When it was made, by the wall clock.
    pub at: Timestamp,
}

impl PromiseRow {
    /// The promise at `now` of another clock, `age` after it was made.
    #[must_use]
    pub fn promise(self, now: Timestamp, age: std::time::Duration, length: std::time::Duration) -> Promise {
        Promise { epoch: self.epoch, cursor: self.cursor, until: now + length.saturating_sub(age) }
    }
}

/// What a tenant asks of its copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRow {
    /// Whether a write waits until a standby has it (`ack = "replicated"`).
    pub waits_for_standby: bool,
    /// To whom archives for vaults are sealed: the owner's recovery key, as an `age` recipient.
    #[serde(default)]
    pub recovery: Option<String>,
    /// How many standbys it is to have, while one that has no room is being replaced.
    #[serde(default)]
    pub standbys: Option<u16>,
}

/// An operation that moves an identity to a standby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// What the standby would sign commits with, as `did:key`.
    pub signing_key: Did,
    /// The standby's rotation key, as `did:key`.
    pub rotation_key: Did,
    /// Where the standby answers.
    pub endpoint: String,
    /// CID of the operation that it follows on, as text.
    pub prev: String,
    /// How many shares put it together.
    pub needed: u8,
    /// Who holds which share.
    pub shares: Vec<(Did, serde_bytes::ByteBuf)>,
}

/// A tenant's settings.
///
/// # Errors
/// The engine fails, or the row cannot be read.
pub fn settings(reader: &Reader, tenant: &Did) -> Result<SettingsRow, ReadError> {
    Ok(reader.get(&SETTINGS, tenant)?.map_or_else(SettingsRow::default, |Cbor(row)| row))
}

/// All copies, at most `limit`, behind `after`.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn page(reader: &Reader, after: Option<&Did>, limit: usize) -> Result<Vec<(Did, ReplicaRow)>, ReadError> {
    let scan = reader.scan(&REPLICAS);
    let scan = match after {
        Some(after) => scan.after(after),
        None => scan,
    };
    Ok(scan.page(limit)?.rows)
}

/// Puts a value in the place of what is there, in a chunked table.
///
/// # Errors
/// The engine fails, or the batch is full.
pub fn replace<K: crate::key::Key + Clone>(
    table: &ChunkedTable<K>,
    reader: &Reader,
    batch: &mut Batch,
    key: &K,
    value: &[u8],
) -> Result<(), TrimError> {
    table.delete(reader, batch, key)?;
    Ok(table.put(batch, key, value)?)
}

/// Tenants with their placements, and behind which the next page begins, if there is one.
pub type PlacementPage = (Vec<(Did, Placement)>, Option<Did>);

/// Tenants placed on the network, behind `after`: at most `limit` rows are looked at, and where the next page begins is
/// told unless it was the last.
///
/// # Errors
/// The engine fails, or a row cannot be read.
pub fn placements(reader: &Reader, after: Option<&Did>, limit: usize) -> Result<PlacementPage, ReadError> {
    let after = after.map(|did| [&[PLACEMENT], did.as_str().as_bytes()].concat());
    let (keys, more) = keys(reader, PLACEMENT, after.as_deref(), limit)?;
    let mut found = Vec::new();
    let mut last = None;
    for key in keys {
        let did = std::str::from_utf8(&key[1..]).ok().and_then(|text| text.parse::<Did>().ok());
        let Some(did) = did else { continue };
        last = Some(did.clone());
        if let Ok(Some(placement)) = rows::placement(&LedgerView(reader), &did) {
            found.push((did, placement));
        }
    }
    Ok((found, last.filter(|_| more)))
}

/// The byte of the ledger's table of placements.
const PLACEMENT: u8 = 0x42;

/// Adds a tenant's row to a batch.
///
/// # Errors
/// The batch is full.
pub fn put(batch: &mut Batch, tenant: &Did, row: &ReplicaRow) -> Result<(), RowRefused> {
    batch.put(&REPLICAS, tenant, row)
}

/// How the tables of this module are checked by [`crate::verify`].
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::of(&REPLICAS),
        Check::of(&SEALED.rows()),
        Check::of(&PROMISES),
        Check::of(&OPERATIONS.rows()),
        Check::of(&SETTINGS),
        Check::of(&VERSIONS.rows()),
    ]
}

#[cfg(test)]
mod tests {
    use angel_protocol::ledger::action::{Residency, Strategy};
    use angel_protocol::ledger::view::Changes;

    use super::*;
    use crate::store::Store;

    #[test]
    fn files_that_nothing_counted_count_once_they_are_found() {
        let mut row = ReplicaRow::new(AccountId(1), Role::Standby);
        assert!(!row.recount_files(0), "there are none");
        row.bytes = 1_000;
        assert!(row.recount_files(64));
        assert_eq!((row.bytes, row.files), (1_064, Some(64)));
        assert!(row.recount_files(14) && !row.recount_files(14), "fifty are gone");
        assert_eq!((row.bytes, row.files), (1_014, Some(14)));
        // Counted by a version that did not tell files apart: they are among the bytes already.
        row.files = None;
        assert!(row.recount_files(14));
        assert_eq!((row.bytes, row.files), (1_014, Some(14)));
    }

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    #[test]
    fn placements_are_found_page_by_page_in_the_ledgers_own_rows() {
        let store = Store::in_memory().expect("starts");
        let placement = |primary: &str| Placement {
            epoch: 1,
            primary: did(primary),
            standbys: (0..900).map(|at| did(&format!("standby-{at}"))).collect(),
            vaults: vec![],
            witness: None,
            strategy: Strategy::MultiNodeReplica,
            residency: Residency::Global,
            previous: None,
            height: 1,
        };
        let mut changes = Changes::new();
        for tenant in ["a", "b", "c"] {
            let key = [&[PLACEMENT], did(tenant).as_str().as_bytes()].concat();
            changes.insert(key, Some(borsh_of(&placement(tenant))));
        }
        changes.insert(vec![0x40, 1], Some(vec![1]));
        changes.insert(vec![0x50, 1], Some(vec![1]));
        crate::ledger::genesis(store.writer(), &changes, &angel_protocol::ledger::ValidatorSet::default())
            .expect("written");
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = placements(store.reader(), after.as_ref(), 2).expect("reads");
            found.extend(page.into_iter().map(|(tenant, placement)| {
                assert_eq!(placement.primary, tenant, "each under its own name");
                tenant
            }));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, [did("a"), did("b"), did("c")]);
    }

    fn borsh_of(placement: &Placement) -> Vec<u8> {
        borsh::to_vec(placement).expect("memory takes it")
    }
}

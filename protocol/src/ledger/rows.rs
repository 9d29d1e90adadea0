//! The rows of the ledger: which tables there are, how keys are laid out, what values hold.
//!
//! A key is the table's byte followed by the parts that name the row. A value is Borsh, which has one encoding for
//! each value, so that every node stores and hashes the same bytes.

mod chain;
mod governance;
mod identity;
mod network;
mod receipt;
mod wallet;

use borsh::{BorshDeserialize, BorshSerialize};

pub use chain::{Head, Supply};
pub use governance::Proposal;
pub use identity::{Identity, IdentityOperation};
pub use network::{Node, Placement, Previous};
pub use receipt::{Moved, Receipt};
pub use wallet::{Debt, Flags, Kind, Release, Voucher, Wallet, verification_hash};

pub(crate) use chain::{Chain, CheckpointState};
pub(crate) use governance::{Ballot, Delegators};
pub(crate) use identity::{Directory, Order};
pub(crate) use network::NameOwner;
pub(crate) use receipt::{Mark, Pair};
pub(crate) use wallet::ScopedBalance;

use super::view::{View, ViewError};
use crate::ids::Did;

/// A kind of row.
pub(crate) trait Row: BorshSerialize + BorshDeserialize {
    /// First byte of its keys.
    const TABLE: u8;
}

macro_rules! tables {
    ($($row:ty = $table:literal),+ $(,)?) => {
        $(impl Row for $row { const TABLE: u8 = $table; })+

        #[cfg(test)]
        const TABLES: &[u8] = &[$($table),+];
    };
}

// 0x00 holds the pages of the state tree.
tables! {
    Chain = 0x01,
    Head = 0x02,
    Supply = 0x03,
    super::parameters::Parameters = 0x04,
    super::parameters::Rates = 0x05,
    super::validators::Validators = 0x06,
    CheckpointState = 0x07,
    Wallet = 0x10,
    ScopedBalance = 0x11,
    Delegators = 0x12,
    Receipt = 0x20,
    Mark = 0x21,
    Pair = 0x22,
    Proposal = 0x30,
    Ballot = 0x31,
    Node = 0x40,
    NameOwner = 0x41,
    Placement = 0x42,
    Identity = 0x50,
    IdentityOperation = 0x51,
    Order = 0x52,
    Directory = 0x53,
}

/// The key of the row of table `R` named by `parts`, which are joined by zero bytes; no DID or name holds one.
pub(crate) fn key<R: Row>(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len() + 1).sum::<usize>());
    key.push(R::TABLE);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.push(0);
        }
        key.extend_from_slice(part);
    }
    key
}

/// Whether a row says what became of a transaction, by its key.
#[must_use]
pub fn is_receipt(key: &[u8]) -> bool {
    key.first() == Some(&Receipt::TABLE)
}

/// The value of a row.
pub(crate) fn value<R: Row>(row: &R) -> Vec<u8> {
    borsh::to_vec(row).expect("memory takes every byte")
}

/// Reads a row's value.
pub(crate) fn parse<R: Row>(bytes: &[u8]) -> Result<R, ViewError> {
    borsh::from_slice(bytes).map_err(|_| ViewError::Damaged { table: R::TABLE })
}

/// Reads a row of `view`.
pub(crate) fn read<R: Row>(view: &impl View, parts: &[&[u8]]) -> Result<Option<R>, ViewError> {
    view.get(&key::<R>(parts))?.map(|bytes| parse(&bytes)).transpose()
}

/// The wallet of `account`.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn wallet(view: &impl View, account: &Did) -> Result<Option<Wallet>, ViewError> {
    read(view, &[account.as_str().as_bytes()])
}

/// The balance of `account` inside `tenant`, or outside all.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn balance(
    view: &impl View,
    account: &Did,
    tenant: Option<&Did>,
) -> Result<Option<super::token::Balance>, ViewError> {
    match tenant {
        None => Ok(wallet(view, account)?.map(|wallet| wallet.balance)),
        Some(tenant) => {
            let row: Option<ScopedBalance> = read(view, &[account.as_str().as_bytes(), tenant.as_str().as_bytes()])?;
            Ok(row.map(|row| row.balance))
        }
    }
}

/// Where `tenant` is.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn placement(view: &impl View, tenant: &Did) -> Result<Option<Placement>, ViewError> {
    read(view, &[tenant.as_str().as_bytes()])
}

/// A registered node.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn node(view: &impl View, did: &Did) -> Result<Option<Node>, ViewError> {
    read(view, &[did.as_str().as_bytes()])
}

/// What became of a transaction.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn receipt(view: &impl View, id: super::TransactionId) -> Result<Option<Receipt>, ViewError> {
    read(view, &[&id.0])
}

/// A proposal, by the id of the transaction that made it.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn proposal(view: &impl View, id: super::TransactionId) -> Result<Option<Proposal>, ViewError> {
    read(view, &[&id.0])
}

/// The latest height applied, nothing before genesis.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn head(view: &impl View) -> Result<Option<Head>, ViewError> {
    read(view, &[])
}

/// The hash of the genesis that the ledger began with.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn genesis(view: &impl View) -> Result<Option<[u8; 32]>, ViewError> {
    Ok(read::<Chain>(view, &[])?.map(|chain| chain.genesis))
}

/// How many tokens there are, and where they came from.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn supply(view: &impl View) -> Result<Option<Supply>, ViewError> {
    read(view, &[])
}

/// The numbers the network agreed on.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn parameters(view: &impl View) -> Result<Option<super::Parameters>, ViewError> {
    read(view, &[])
}

/// The rates in force and to come.
///
/// # Errors
/// [`ViewError`] when it cannot be read.
pub fn rates(view: &impl View) -> Result<Option<super::Rates>, ViewError> {
    read(view, &[])
}

/// The validators of the height to be decided next.
///
/// # Errors
/// [`ViewError`] when they cannot be read.
pub fn validators(view: &impl View) -> Result<Option<super::ValidatorSet>, ViewError> {
    let row: Option<super::validators::Validators> = read(view, &[])?;
    Ok(row.map(|row| row.current().clone()))
}

impl BorshSerialize for Did {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.as_str().serialize(writer)
    }
}

impl BorshDeserialize for Did {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let text = String::deserialize_reader(reader)?;
        text.parse().map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tables_share_a_byte() {
        let mut bytes = TABLES.to_vec();
        bytes.sort_unstable();
        bytes.dedup();
        assert_eq!(bytes.len(), TABLES.len());
        assert!(!bytes.contains(&0), "zero is the state tree's");
    }

    #[test]
    fn a_damaged_row_is_no_absent_row() {
        assert_eq!(parse::<Wallet>(&[1, 2, 3]), Err(ViewError::Damaged { table: 0x10 }));
    }
}

//! Making a snapshot of one account alone, in one file: what is handed to somebody who is to keep it and not to read it.
//!
//! It has the form of any other snapshot, and is restored like one account of one (`angel restore --tenant`). What is in it
//! is of the account alone: no key of the node, no row of anybody else. The keys of the account are sealed with a
//! sealing key that lies in the snapshot and nowhere else, and the snapshot with a key that nobody has but whoever opens
//! the manifest with the recovery key: once it is made, this node cannot open it either.

use std::fs;
use std::path::Path;
use std::sync::TryLockError;

use angel_protocol::backup::{BackupKey, ChunkName, Manifest, manifest};
use angel_protocol::ledger::tree;
use angel_storage::accounts::ACCOUNT_KEYS;
use angel_storage::backup::{Cut, Holders, StoredRow};
use angel_storage::{TableId, codec};

use super::depot::{BucketAccess, Depot, Place, Purpose};
use super::make::{Making, Source};
use super::progress::Progress;
use super::read::Snapshot;
use super::{BackupError, NotThisTenant, check, recovery};
use crate::accounts::{Account, Accounts, ApartSeal};
use crate::clock;
use crate::facts::VERSION;
use crate::secrets::random_bytes;

/// Makes the file `path`, which must not be there yet and end in `.tar`, and reads it back. Blocks.
///
/// # Errors
/// [`BackupError`]; [`BackupError::Busy`] while a backup reads the store. There is no file then.
pub(crate) fn make_account(
    source: &Source,
    accounts: &Accounts,
    account: &Account,
    recipient: &str,
    path: &Path,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let key = BackupKey::from_bytes(*random_bytes::<32>().map_err(recovery::RecoveryError::from)?);
    let place = Place::Archive(path.to_owned());
    let mut depot = Depot::open(&place, &BucketAccess::default(), Purpose::Write)?;
    let manifest = write(source, accounts, account, recipient, key.clone(), &mut depot, progress)?;
    depot.put_manifest(manifest.number, manifest.sign(&source.key))?;
    drop(depot);
    // Nobody here can open it again: what is wrong with it is found now, or on the day it is needed.
    let snapshot = Snapshot { manifest, key };
    let reading = Depot::open(&place, &BucketAccess::default(), Purpose::Read).map_err(BackupError::from);
    if let Err(error) = reading.and_then(|reading| check::read_through(&reading, &snapshot, progress)) {
        drop(fs::remove_file(path));
        return Err(error);
    }
    Ok(snapshot.manifest)
}

fn write(
    source: &Source,
    accounts: &Accounts,
    account: &Account,
    recipient: &str,
    key: BackupKey,
    depot: &mut Depot,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    let recipients = vec![recipient.to_owned()];
    let sealed_key = recovery::seal(&recipients, &*key.to_bytes())?;
    let apart = ApartSeal::new().map_err(recovery::RecoveryError::from)?;
    // Files that are let go of stay until they are copied.
    let _held = source.blobs.hold_files();
    let _turn = match source.turn.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(BackupError::Busy),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Ok(turn) => turn,
    };
    let gone = || NotThisTenant::Account(crate::accounts::AccountError::NotFound);
    let cut = Cut::begin_of(&source.reader, &source.writer, account.id(), source.aside_max)?;
    let mut cut = cut.ok_or_else(gone)?;
    let made_at = clock::now();
    let mut making = Making::new(depot, key, &source.blobs, progress);
    progress.phase("copying");
    let mut holders = Holders::default();
    while let Some(rows) = cut.next_rows()? {
        progress.check()?;
        for (row_key, value) in rows {
            put(&mut making, holders.before(&row_key, account.id()))?;
            let value = apart_of(accounts, &apart, &row_key, value)?;
            making.row(&row_key, &value)?;
        }
    }
    put(&mut making, holders.rest(account.id()))?;
    making.end_table()?;
    let sequence = cut.sequence();
    drop(cut);
    let (name, content) = apart.file();
    making.secret(name, content)?;
    making.end_index()?;
    Ok(Manifest {
        format: manifest::FORMAT_OF_ACCOUNT,
        number: 1,
        made_at,
        node: source.key.did(),
        network: source.network.clone(),
        software: format!("angel {VERSION}"),
        sequence,
        height: 0,
        ledger_root: ChunkName(tree::EMPTY),
        key_id: making.key.id(),
        sealed_key,
        recipients,
        previous: ChunkName([0; 32]),
        tables: making.tables,
        totals: making.totals,
        index: making.index_chunks,
        account: Some(account.did().clone()),
    })
}

fn put(making: &mut Making<'_>, rows: Vec<StoredRow>) -> Result<(), BackupError> {
    rows.into_iter().try_for_each(|(key, value)| making.row(&key, &value))
}

/// The value as it lies in the archive: keys are sealed anew.
fn apart_of(accounts: &Accounts, apart: &ApartSeal, key: &[u8], value: Vec<u8>) -> Result<Vec<u8>, BackupError> {
    if key.first() != Some(&TableId::AccountKeys.byte()) {
        return Ok(value);
    }
    let of = ACCOUNT_KEYS.decode_key(key).map_err(|_| BackupError::Row)?;
    let row = ACCOUNT_KEYS.decode_value(&value).map_err(|_| BackupError::Row)?;
    let failed = |error| NotThisTenant::Account(crate::accounts::AccountError::Seal(error));
    match accounts.key_apart(of, &row, apart).map_err(failed)? {
        Some(row) => codec::encode(&row).map_err(|_| BackupError::Row),
        None => Err(BackupError::Row),
    }
}

//! Restoring one account of a backup into a node that is stopped, beside the accounts that it has.
//!
//! The whole backup is read and believed first, and restored beside: into a directory of its own under the data
//! directory, without the files of others, and compared there. Only then is anything written where the node keeps its
//! accounts. An account that is here already is never written over, nor is one that other nodes host: whatever they have is
//! newer; unless they are gone, and its owner is to claim it here. What is restored is switched off: it is switched on once
//! its identity is found to lead here, and never before.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::Did;
use angel_protocol::ledger::rows;
use angel_protocol::time::Timestamp;
use angel_storage::accounts::{ACCOUNTS_BY_EMAIL, ACCOUNTS_BY_HANDLE, AccountRow, Numbers};
use angel_storage::belongings::restore::{Restored, Source, Target, files, restore as restore_rows};
use angel_storage::codec::Cbor;
use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::events::floor_after_restore;
use angel_storage::ledger::LedgerView;
use angel_storage::replicas::{self, ReplicaRow, Role};
use angel_storage::{AccountId, Options, Store};

use super::depot::Depot;
use super::progress::Progress;
use super::read::Snapshot;
use super::restore::restore_only;
use super::{BackupError, NotThisTenant};
use crate::accounts::{Account, AccountError, Accounts, Deactivation, NewAccount};
use crate::blobs;
use crate::data_dir::{DataDir, Layout};
use crate::facts::VERSION;
use crate::identities::load_rotation_key;
use crate::keys::Identity;

/// What an account is restored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// To be again what it was, under the key that it had.
    Itself,
    /// To be claimed by its owner, whose hosts are gone: under a new key, and waiting, whatever the ledger says of its hosts.
    Claim,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct RestoredTenant {
    /// Its rows.
    pub(crate) rows: Restored,
    /// Its files.
    pub(crate) files: u64,
    /// Its handle, as far as nobody else here has it.
    pub(crate) handle: Option<String>,
    /// Names that somebody else has here by now.
    pub(crate) taken: Vec<String>,
}

/// Where the backup is restored to, whole, before one account of it is taken.
fn beside(root: &Path) -> PathBuf {
    root.join("restore-beside")
}

/// Restores the account `did` of the snapshot into the data directory `root`, whose node is stopped. Blocks.
///
/// # Errors
/// [`BackupError`]. Whatever it is, nothing of the account is served.
pub(crate) fn restore_tenant(
    depot: &Depot,
    snapshot: &Snapshot,
    root: &Path,
    (did, purpose): (&Did, For),
    (kind, tuning): (EngineKind, Tuning),
    now: Timestamp,
    progress: &Progress,
) -> Result<RestoredTenant, BackupError> {
    // Holds the lock for as long as it lives: no daemon starts meanwhile, and none runs.
    let data_dir = DataDir::open_existing(root)?;
    let layout = data_dir.layout();
    let own = Identity::load(layout, now).map_err(NotThisTenant::Node)?;
    if !Store::is_begun(&layout.storage()) {
        // A node that has not run yet gets here what its first start would make, which a node with accounts is refused.
        load_rotation_key(layout, None, true).map_err(NotThisTenant::Node)?;
    }
    let here = open(layout, kind, tuning)?;
    check_free(&here, own.did(), did, purpose)?;

    let beside = beside(root);
    remove(&beside)?;
    progress.phase("restoring beside");
    restore_only(depot, snapshot, &beside, (kind, tuning), Some(did), now, progress)?;
    let there_layout = Layout::new(&beside);
    let there = open(&there_layout, kind, tuning)?;
    let done = take_over(&there, &there_layout, &here, layout, (did, purpose), snapshot, now, progress);
    there.close()?;
    let done = done?;
    here.close()?;
    remove(&beside)?;
    Ok(done)
}

fn open(layout: &Layout, kind: EngineKind, tuning: Tuning) -> Result<Store, BackupError> {
    let mut options = Options::new(kind, &format!("angel {VERSION}"));
    options.tuning = tuning;
    Ok(Store::open(&layout.storage(), options)?)
}

/// Whether there is nobody here, or on the network, over whom this would be restored.
fn check_free(here: &Store, own: &Did, did: &Did, purpose: For) -> Result<(), BackupError> {
    let reader = here.reader();
    let row = reader.get(&replicas::REPLICAS, did).map_err(NotThisTenant::Read)?;
    let is_begun = row.is_some_and(|row| row.is_half_restored());
    let known = reader.get(&angel_storage::accounts::ACCOUNTS_BY_DID, did).map_err(NotThisTenant::Read)?;
    if known.is_some() && !is_begun {
        return Err(NotThisTenant::Here(did.clone()).into());
    }
    let placed = rows::placement(&LedgerView(reader), did).map_err(|error| NotThisTenant::Ledger(error.to_string()))?;
    let hosts: Vec<String> = placed.iter().flat_map(|placed| placed.hosts()).map(ToString::to_string).collect();
    if purpose == For::Claim {
        let is_primary = placed.is_some_and(|placed| placed.primary == *own);
        return if is_primary { Err(NotThisTenant::NothingToClaim(did.clone()).into()) } else { Ok(()) };
    }
    if hosts.iter().any(|host| host != own.as_str()) {
        return Err(NotThisTenant::Hosted { did: did.clone(), hosts: hosts.join(", ") }.into());
    }
    Ok(())
}

/// Takes the account from the store that was restored beside into the node's own.
#[expect(clippy::too_many_arguments, reason = "two stores with their directories, and what is done with them")]
fn take_over(
    there: &Store,
    there_layout: &Layout,
    here: &Store,
    layout: &Layout,
    (did, purpose): (&Did, For),
    snapshot: &Snapshot,
    now: Timestamp,
    progress: &Progress,
) -> Result<RestoredTenant, BackupError> {
    let of_backup = accounts(there, there_layout)?;
    let own = accounts(here, layout)?;
    let found = of_backup.by_did_blocking(did).map_err(NotThisTenant::Account)?;
    let found =
        found.ok_or_else(|| NotThisTenant::NotInBackup { did: did.clone(), number: snapshot.manifest.number })?;
    let source = Source { reader: there.reader(), account: found.id() };
    let is_copy = there.reader().get(&replicas::REPLICAS, did).map_err(NotThisTenant::Read)?;
    if is_copy.is_some_and(|row| row.role != Role::Primary) {
        return Err(NotThisTenant::OnlyCopy { did: did.clone(), number: snapshot.manifest.number }.into());
    }
    let key = match purpose {
        For::Itself => of_backup.signing_key_blocking(found.id()).map_err(NotThisTenant::Account)?,
        For::Claim => new_key(&own, did, now)?,
    };
    let wallet = of_backup.kept_wallet_seed_blocking(found.id()).map_err(NotThisTenant::Account)?;
    let webhooks = of_backup.kept_webhooks_seed_blocking(found.id()).map_err(NotThisTenant::Account)?;

    progress.phase("placing files");
    let files = files(source, did).map_err(NotThisTenant::Read)?;
    for cid in &files {
        place_file(&blobs::path_in(&there_layout.blobs(), *cid), &blobs::path_in(&layout.blobs(), *cid))?;
    }
    make_durable(layout.root())?;

    progress.phase("placing rows");
    let account = begin(&own, did, &key, now)?;
    let target = Target { reader: here.reader(), writer: here.writer(), account: account.id() };
    let numbers = Numbers::open(here.reader(), "space").map_err(NotThisTenant::Read)?;
    let rows = restore_rows(source, target, did, now, || numbers.next(here.writer()))
        .map_err(|error| NotThisTenant::Rows(Box::new(error)))?;

    let (wished, mut taken) = (found.row().clone(), Vec::new());
    let handle = wished.handle.clone().filter(|handle| {
        let holder = here.reader().get(&ACCOUNTS_BY_HANDLE, &handle.to_string());
        free(holder, account.id(), handle.as_str(), &mut taken)
    });
    let email = wished.email.clone().filter(|email| {
        let holder = here.reader().get(&ACCOUNTS_BY_EMAIL, email);
        free(holder, account.id(), "its e-mail address", &mut taken)
    });
    let shown = handle.as_ref().map(ToString::to_string);
    let age = now.since(snapshot.manifest.made_at);
    let finish = own.change_role_blocking(account.id(), |row, batch| {
        *row = AccountRow {
            handle: handle.clone(),
            email: email.clone(),
            // Whoever had a token then may have lost the right to it since.
            tokens_valid_from: now,
            deactivated: Some(Deactivation::new(now, None)),
            ..wished.clone()
        };
        own.stage_signing_key(batch, account.id(), row, &key)?;
        if let Some(seed) = &wallet {
            own.stage_wallet_key(batch, account.id(), seed)?;
        }
        if let Some(seed) = &webhooks {
            own.stage_webhooks_key(batch, account.id(), seed)?;
        }
        match purpose {
            For::Itself => batch.delete(&replicas::REPLICAS, did)?,
            For::Claim => {
                own.stage_reservation_used(batch, did)?;
                let (node, sequence) = (snapshot.manifest.node.clone(), snapshot.manifest.sequence);
                let restored = Some(replicas::Restored { node, sequence });
                replicas::put(batch, did, &ReplicaRow { restored, ..mark(account.id(), Role::Restored, None) })?;
            }
        }
        batch.raise_sequence_floor(floor_after_restore(snapshot.manifest.sequence, age));
        Ok::<_, AccountError>(())
    });
    finish.map_err(NotThisTenant::Account)?;
    Ok(RestoredTenant { rows, files: files.len() as u64, handle: shown, taken })
}

/// The account that what is restored lies under until it is whole: nobody's name, switched off, and marked.
fn begin(own: &Accounts, did: &Did, key: &std::sync::Arc<SigningKey>, now: Timestamp) -> Result<Account, BackupError> {
    if let Some(account) = own.by_did_blocking(did).map_err(NotThisTenant::Account)? {
        return Ok(account);
    }
    let row = AccountRow::without_names(did.clone(), key.did(), now);
    let made = own.create_blocking(NewAccount { row, signing_key: key.clone() }, |id, _, batch| {
        let mark = mark(id, Role::GivingWay, Some(ReplicaRow::RESTORING.to_owned()));
        Ok::<_, AccountError>(replicas::put(batch, did, &mark)?)
    });
    Ok(made.map_err(NotThisTenant::Account)?)
}

fn mark(account: AccountId, role: Role, stopped: Option<String>) -> ReplicaRow {
    ReplicaRow { stopped, ..ReplicaRow::new(account, role) }
}

/// A key of this node's own for the account: whoever has what the old hosts had cannot sign for it once it is claimed. The
/// same one each time, until it is used.
fn new_key(own: &Accounts, did: &Did, now: Timestamp) -> Result<std::sync::Arc<SigningKey>, BackupError> {
    own.reserve_key_blocking(Some(did), now).map_err(NotThisTenant::Account)?;
    let key = own.reserved_key_blocking(did).map_err(NotThisTenant::Account)?;
    Ok(key.ok_or(NotThisTenant::Account(AccountError::NotFound))?)
}

fn accounts(store: &Store, layout: &Layout) -> Result<Accounts, BackupError> {
    let opened = Accounts::open(store.reader().clone(), store.writer().clone(), layout);
    Ok(opened.map_err(|error| NotThisTenant::Accounts(error.to_string()))?)
}

/// Whether a name is nobody else's; one that cannot be looked up counts as taken.
fn free<E>(holder: Result<Option<Cbor<AccountId>>, E>, own: AccountId, name: &str, taken: &mut Vec<String>) -> bool {
    let is_free = holder.is_ok_and(|holder| holder.is_none_or(|Cbor(holder)| holder == own));
    if !is_free {
        taken.push(name.to_owned());
    }
    is_free
}

/// Files never change under their names: one that is there is the one.
fn place_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { what: "place", path: to.to_owned(), source };
    if to.exists() {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    match fs::rename(from, to) {
        // The files lie on a disk of their own.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let whole = to.with_extension("restored");
            fs::copy(from, &whole).and_then(|_| fs::rename(&whole, to)).map_err(failed)
        }
        placed => placed.map_err(failed),
    }
}

fn make_durable(root: &Path) -> Result<(), BackupError> {
    let synced = File::open(root).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
    synced.map_err(|source| BackupError::File { what: "sync", path: root.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::File { what: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

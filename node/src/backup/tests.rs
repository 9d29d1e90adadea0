//! Whole backups: made, read, restored, damaged in every way, and cut short.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use angel_protocol::backup::Keep;
use angel_protocol::backup::rows::StoredRow;
use angel_protocol::crypto::NodeKey;
use angel_protocol::data::{Cid, Codec};
use angel_protocol::time::Timestamp;
use angel_storage::accounts::ACCOUNT_KEYS;
use angel_storage::codec::{Present, Raw};
use angel_storage::engine::{EngineKind, Tuning};
use angel_storage::events::{EventKind, NewEvent};
use angel_storage::{AccountId, Batch, Options, Store, Table, TableId};

use super::depot::{BucketAccess, Depot, Place, Purpose};
use super::make::{Made, make};
use super::make_account::make_account;
use super::progress::Progress;
use super::read::{Opener, Receiver, Snapshot, receive};
use super::recovery::{self, RecoveryKey};
use super::restore::{Restored, restore};
use super::*;
use crate::accounts::{Account, AccountError, AccountRow, Accounts, NewAccount};
use crate::blobs::Blobs;
use crate::clock;
use crate::config::BlobsConfig;
use crate::data_dir::{DataDir, DataDirError, Layout};

/// A table whose rows the storage does not decode when it verifies them.
const ROWS: Table<u64, Raw> = Table::new(TableId::Peers);
const HOLDERS: Table<([u8; Cid::BYTES], AccountId), Present> = Table::new(TableId::BlobHolders);

/// A node, as far as its backups are concerned.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    source: Source,
    recovery: RecoveryKey,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(&dir.path().join("data"));
        drop(DataDir::open(layout.root()).expect("made"));
        fs::write(layout.genesis(), "the genesis").expect("written");
        crate::secrets::create_secret(&layout.secrets().join("node.key"), "a key\n").expect("written");
        let options = Options::new(EngineKind::Sled, "angel 0.1.0");
        let store = Store::open(&layout.storage(), options).expect("a store");
        let (reader, writer) = (store.reader().clone(), store.writer().clone());
        let blobs =
            Blobs::open(layout.blobs(), reader.clone(), writer.clone(), &BlobsConfig::default()).expect("blobs");
        let source = Source {
            reader,
            writer,
            blobs,
            layout,
            key: Arc::new(NodeKey::from_seed(&[5; 32])),
            network: "backup-dev".parse().expect("a network id"),
            aside_max: 64 << 20,
            turn: Arc::default(),
        };
        let bench = Self { dir, store, source, recovery: RecoveryKey::generate() };
        bench.prove();
        bench
    }

    /// Shows that somebody holds the recovery key, as the command line does.
    fn prove(&self) {
        let recipient = self.recipients().remove(0);
        let challenge = recovery::challenge(&self.source.layout, &recipient).expect("sealed");
        let answer = self.recovery.open(&challenge, &[]).expect("opened");
        let answer = String::from_utf8(answer.to_vec()).expect("text");
        recovery::prove(&self.source.layout, &recipient, &answer).expect("proved");
    }

    fn recipients(&self) -> Vec<String> {
        self.recovery.recipients()
    }

    fn place(&self) -> Place {
        Place::Directory(self.dir.path().join("backups"))
    }

    fn write(&self, rows: std::ops::Range<u64>, bytes: usize) {
        for first in rows.clone().step_by(100) {
            let mut batch = Batch::new();
            for row in first..rows.end.min(first + 100) {
                let value = noise(row * 31 + bytes as u64, bytes);
                batch.put(&ROWS, &row, &Raw(value)).expect("fits");
            }
            batch.append_event(NewEvent::new(clock::now(), None, EventKind(1), b"x").expect("small")).expect("room");
            self.store.writer().commit(batch).expect("commits");
        }
    }

    fn blob(&self, content: &[u8]) -> Cid {
        let cid = Cid::of(Codec::Raw, content);
        let path = crate::blobs::path_in(&self.source.layout.blobs(), cid);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
        let mut batch = Batch::new();
        batch.put(&HOLDERS, &(cid.to_bytes(), AccountId(1)), &Present).expect("fits");
        self.store.writer().commit(batch).expect("commits");
        cid
    }

    fn make_in(&self, place: &Place) -> Result<Made, BackupError> {
        let mut depot = Depot::open(place, &BucketAccess::default(), Purpose::Write)?;
        let recipients = recovery::recipients(&self.source.layout, &[])?;
        make(&self.source, &mut depot, recipients, &Progress::default())
    }

    fn make(&self) -> Made {
        self.make_in(&self.place()).expect("made")
    }

    fn read(&self, place: &Place) -> Depot {
        Depot::open(place, &BucketAccess::default(), Purpose::Read).expect("opens")
    }

    fn restore_from(&self, place: &Place, number: Option<u64>, into: &Path) -> Result<(), BackupError> {
        let depot = Depot::open(place, &BucketAccess::default(), Purpose::Read)?;
        let snapshot = Snapshot::open(&depot, number, &Opener::Recovery(&self.recovery))?;
        let (kind, tuning) = (EngineKind::Sled, Tuning::default());
        restore(&depot, &snapshot, into, (kind, tuning), clock::now(), &Progress::default()).map(drop)
    }

    fn verify(&self, place: &Place) -> Result<(), BackupError> {
        let depot = self.read(place);
        let key = recovery::key(&self.source.layout)?;
        let snapshot = Snapshot::open(&depot, None, &Opener::Own(&key))?;
        let scratch = self.dir.path().join("scratch");
        let verified = check::verify(&depot, &snapshot, &scratch, EngineKind::Sled, &Progress::default());
        assert!(!scratch.exists(), "nothing stays behind");
        verified.map(drop)
    }
}

/// Bytes that a compressor cannot make smaller, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

/// Every file below a directory, by its path there.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("listed").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else {
                found.insert(entry.strip_prefix(root).expect("below").to_owned(), fs::read(&entry).expect("read"));
            }
        }
    }
    found
}

fn value(store: &Store, row: u64) -> Option<Vec<u8>> {
    store.reader().get(&ROWS, &row).expect("reads").map(|Raw(value)| value)
}

fn open(layout: &Layout) -> Store {
    Store::open(&layout.storage(), Options::new(EngineKind::Sled, "angel 0.1.0")).expect("opens")
}

#[test]
fn a_node_comes_back_as_it_was_and_its_numbers_are_ahead() {
    let bench = Bench::new();
    bench.write(0..3_000, 700);
    let large = bench.blob(&noise(2, 9_000_000));
    let empty = bench.blob(b"");
    let made = bench.make();
    bench.verify(&bench.place()).expect("verified");
    // What comes later is not in it.
    bench.write(0..200, 100);

    let target = bench.dir.path().join("restored");
    bench.restore_from(&bench.place(), None, &target).expect("restored");
    let layout = Layout::new(&target);
    assert!(DataDir::open(&target).is_ok());
    let store = open(&layout);
    assert_eq!(value(&store, 2_999), value(&bench.store, 2_999));
    assert_eq!(value(&store, 7).map(|value| value.len()), Some(700));
    let mut batch = Batch::new();
    batch.append_event(NewEvent::new(Timestamp::EPOCH, None, EventKind(1), b"x").expect("small")).expect("room");
    let next = store.writer().commit(batch).expect("commits").first_sequence.expect("an event");
    assert!(next > bench.store.reader().durable_sequence() + 1_000_000, "{next}");
    assert_eq!(made.manifest.sequence, 30);

    for cid in [large, empty] {
        let copied = fs::read(crate::blobs::path_in(&layout.blobs(), cid)).expect("there");
        assert_eq!(Cid::of(Codec::Raw, &copied), cid);
    }
    assert_eq!(fs::read_to_string(layout.genesis()).expect("there"), "the genesis");
    let key = layout.secrets().join("node.key");
    assert_eq!(fs::read_to_string(&key).expect("there"), "a key\n");
    assert_eq!(fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(Restored::read(&Restored::path(&layout)).expect("read").is_some());
    assert!(
        matches!(bench.restore_from(&bench.place(), None, &target), Err(BackupError::DataDir(_))),
        "never over another"
    );
}

#[test]
fn a_second_backup_of_an_unchanged_node_is_a_manifest() {
    let bench = Bench::new();
    bench.write(0..5_000, 900);
    bench.blob(&noise(1, 5_000_000));
    let first = bench.make();
    let second = bench.make();
    assert!(first.bytes_written > 4_000_000, "{}", first.bytes_written);
    assert!(second.bytes_written < 8_000, "{}", second.bytes_written);
    assert_eq!((second.manifest.number, second.chunks_written), (2, 0));
    bench.write(2_000..2_001, 10);
    let third = bench.make();
    assert!(third.bytes_written < 1_500_000, "{}", third.bytes_written);
    bench.verify(&bench.place()).expect("verified");
}

#[test]
fn every_byte_that_is_flipped_or_cut_off_is_refused_or_changes_nothing() {
    let bench = Bench::new();
    bench.write(0..20, 40);
    bench.blob(b"a file");
    bench.make();
    let Place::Directory(root) = bench.place() else { unreachable!("a directory") };
    let good = files(&root);
    let depot = bench.read(&bench.place());
    let snapshot = Snapshot::open(&depot, None, &Opener::Recovery(&bench.recovery)).expect("opens");
    check::read_through(&depot, &snapshot, &Progress::default()).expect("whole");
    let believed = || {
        let snapshot = Snapshot::open(&depot, None, &Opener::Recovery(&bench.recovery))?;
        check::read_through(&depot, &snapshot, &Progress::default())
    };
    let (mut flips, mut cuts) = (0, 0);
    for (name, bytes) in good.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let path = root.join(name);
        // All of the manifest, and every byte of the chunks in a stride that differs from one to the next.
        let stride = if name.starts_with("snapshots") { 7 } else { 11 };
        for at in (flips % stride..bytes.len()).step_by(stride) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).expect("written");
            assert!(believed().is_err(), "{} flipped at {at}", name.display());
            flips += 1;
        }
        for at in (0..bytes.len()).step_by(bytes.len() / 9 + 1) {
            fs::write(&path, &bytes[..at]).expect("written");
            assert!(believed().is_err(), "{} cut at {at}", name.display());
            cuts += 1;
        }
        fs::remove_file(&path).expect("removed");
        assert!(believed().is_err(), "{} is gone", name.display());
        fs::write(&path, bytes).expect("written");
        believed().expect("whole again");
    }
    assert!(flips > 200 && cuts > 50, "{flips} {cuts}");
}

#[test]
fn what_is_damaged_moved_or_foreign_is_refused_by_name_and_nothing_is_written() {
    let bench = Bench::new();
    let Place::Directory(root) = bench.place() else { unreachable!("a directory") };
    bench.write(0..3_000, 300);
    bench.make();
    let old = files(&root);
    bench.write(0..3_000, 310);
    bench.make();
    let target = bench.dir.path().join("restored");
    let refused = |expected: &str| {
        let error = bench.restore_from(&bench.place(), None, &target).expect_err("refused");
        assert_eq!(error.name(), expected, "{error}");
        assert!(!target.exists(), "nothing was written: {error}");
    };
    let manifests = |number: u64| root.join(format!("snapshots/{number:08}"));
    let newest = fs::read(manifests(2)).expect("there");

    // An older one in the place of a newer one.
    fs::copy(manifests(1), manifests(2)).expect("copied");
    refused("BackupDamaged");
    fs::write(manifests(2), &newest).expect("written");

    // Two chunks change places. They are of the newest backup: what only older ones need is not read.
    let chunks: Vec<_> =
        files(&root).into_keys().filter(|name| name.starts_with("chunks") && !old.contains_key(name)).collect();
    let (first, second) = (root.join(&chunks[0]), root.join(&chunks[1]));
    let aside = root.join("aside");
    for (from, to) in [(&first, &aside), (&second, &first), (&aside, &second)] {
        fs::rename(from, to).expect("renamed");
    }
    refused("BackupDamaged");
    for (from, to) in [(&first, &aside), (&second, &first), (&aside, &second)] {
        fs::rename(from, to).expect("renamed");
    }

    // A manifest of another node, over these chunks; and one that the recovery key does not open.
    let other = Bench::new();
    other.write(0..10, 10);
    other.make();
    let Place::Directory(theirs) = other.place() else { unreachable!("a directory") };
    fs::copy(theirs.join("snapshots/00000001"), manifests(3)).expect("copied");
    let error = bench.restore_from(&bench.place(), Some(3), &target).expect_err("refused");
    assert_eq!(error.name(), "BackupDamaged", "{error}");
    fs::copy(theirs.join("snapshots/00000001"), manifests(1)).expect("copied");
    let error = bench.restore_from(&bench.place(), Some(1), &target).expect_err("refused");
    assert_eq!(error.name(), "RecoveryKeyUnusable", "{error}");
    assert!(!target.exists());
    let error = bench.restore_from(&bench.place(), Some(9), &target).expect_err("refused");
    assert_eq!(error.name(), "NoSnapshot");

    bench.restore_from(&bench.place(), Some(2), &target).expect("the good one is restored");
}

#[test]
fn a_restore_that_was_cut_short_keeps_everybody_out_until_it_is_done_again() {
    let bench = Bench::new();
    bench.write(0..500, 300);
    bench.make();
    let target = bench.dir.path().join("restored");
    let (layout, lock) = DataDir::begin_restore(&target, "a test").expect("begun");
    fs::create_dir_all(layout.storage()).expect("made");
    fs::write(layout.storage().join("half"), "half").expect("written");
    assert!(DataDir::begin_restore(&target, "another").is_err(), "two at a time");
    drop(lock);
    for error in [DataDir::open(&target).expect_err("kept out"), DataDir::open_existing(&target).expect_err("kept out")]
    {
        assert!(matches!(error, DataDirError::HalfRestored { .. }), "{error}");
        assert!(error.to_string().contains("run the same `angel restore` again"));
    }
    bench.restore_from(&bench.place(), None, &target).expect("done again");
    assert!(DataDir::open(&target).is_ok());

    let busy = bench.dir.path().join("busy");
    fs::create_dir(&busy).expect("made");
    fs::write(busy.join("thesis.tex"), "text").expect("written");
    let error = bench.restore_from(&bench.place(), None, &busy).expect_err("not over others' files");
    assert!(matches!(&error, BackupError::DataDir(error) if matches!(**error, DataDirError::Occupied { .. })));
    assert_eq!(files(&busy).len(), 1);
}

#[test]
fn a_backup_that_nobody_could_open_is_not_made() {
    let bench = Bench::new();
    let layout = &bench.source.layout;
    let stranger = RecoveryKey::generate().recipients().remove(0);
    assert!(
        matches!(recovery::recipients(layout, std::slice::from_ref(&stranger)), Err(RecoveryError::Unproved(who)) if who == stranger)
    );
    assert!(matches!(recovery::prove(layout, &stranger, "guess"), Err(RecoveryError::WrongAnswer(_))));
    assert!(recovery::challenge(layout, "age1nobody").is_err());
    fs::remove_file(layout.secrets().join("backup-recipients")).expect("removed");
    assert!(matches!(bench.make_in(&bench.place()), Err(BackupError::Recovery(RecoveryError::NoRecipient))));
    assert!(
        Depot::open(&bench.place(), &BucketAccess::default(), Purpose::Read)
            .expect("empty")
            .snapshots()
            .expect("listed")
            .is_empty()
    );
}

#[test]
fn a_recovery_key_is_kept_with_or_without_a_passphrase() {
    let mut key = RecoveryKey::generate();
    key.nodes.push("did:key:zNode".to_owned());
    let plain = key.write(None).expect("written");
    let read = RecoveryKey::read(&plain, None).expect("read");
    assert_eq!((read.recipients(), read.nodes), (key.recipients(), key.nodes.clone()));
    let sealed = key.write(Some("correct horse".to_owned().into())).expect("written");
    assert!(RecoveryKey::wants_passphrase(&sealed) && !RecoveryKey::wants_passphrase(&plain));
    assert!(RecoveryKey::read(&sealed, None).is_err());
    assert!(RecoveryKey::read(&sealed, Some("wrong".to_owned().into())).is_err());
    let read = RecoveryKey::read(&sealed, Some("correct horse".to_owned().into())).expect("read");
    assert_eq!(read.recipients(), key.recipients());
    assert!(RecoveryKey::read(b"# nothing\n", None).is_err());
}

#[test]
fn old_snapshots_go_and_what_others_need_stays() {
    let bench = Bench::new();
    for round in 0..4 {
        bench.write(0..2_000, 300 + round);
        bench.make();
    }
    let key = recovery::key(&bench.source.layout).expect("a key");
    let mut depot = Depot::open(&bench.place(), &BucketAccess::default(), Purpose::Write).expect("opens");
    let before = depot.chunks().expect("listed").len();
    let keep: Keep = "last 2".parse().expect("a rule");
    let pruned = prune::prune(&mut depot, &key, keep, &Progress::default()).expect("pruned");
    assert_eq!(pruned.snapshots, 2);
    assert!(pruned.chunks > 0 && depot.chunks().expect("listed").len() < before);
    assert_eq!(depot.snapshots().expect("listed"), [3, 4]);
    drop(depot);
    for number in [3, 4] {
        let depot = bench.read(&bench.place());
        let snapshot = Snapshot::open(&depot, Some(number), &Opener::Own(&key)).expect("opens");
        check::read_through(&depot, &snapshot, &Progress::default()).expect("whole");
    }
}

#[test]
fn one_file_holds_one_snapshot_and_is_never_overwritten() {
    let bench = Bench::new();
    bench.write(0..3_000, 300);
    bench.blob(&noise(1, 5_000_000));
    let place = Place::Archive(bench.dir.path().join("node.tar"));
    bench.make_in(&place).expect("made");
    bench.verify(&place).expect("verified");
    assert!(matches!(bench.make_in(&place), Err(BackupError::Depot(DepotError::Exists { .. }))));
    let target = bench.dir.path().join("restored");
    bench.restore_from(&place, None, &target).expect("restored");
    assert_eq!(value(&open(&Layout::new(&target)), 17), value(&bench.store, 17));

    let Place::Archive(path) = &place else { unreachable!("a file") };
    let bytes = fs::read(path).expect("there");
    let cut = bench.dir.path().join("cut.tar");
    let nowhere = bench.dir.path().join("nowhere");
    for at in [0, 600, bytes.len() / 2, bytes.len() - 4_000] {
        fs::write(&cut, &bytes[..at]).expect("written");
        assert!(bench.restore_from(&Place::Archive(cut.clone()), None, &nowhere).is_err(), "cut at {at}");
    }
    assert!(!nowhere.exists());
}

#[test]
fn a_place_that_is_taken_or_full_is_said_and_leaves_no_snapshot() {
    let bench = Bench::new();
    bench.write(0..500, 300);
    let taken = bench.dir.path().join("taken");
    fs::create_dir(&taken).expect("made");
    fs::write(taken.join("thesis.tex"), "text").expect("written");
    assert!(matches!(bench.make_in(&Place::Directory(taken)), Err(BackupError::Depot(DepotError::Foreign { .. }))));

    let held = Depot::open(&bench.place(), &BucketAccess::default(), Purpose::Write).expect("opens");
    assert!(matches!(bench.make_in(&bench.place()), Err(BackupError::Depot(DepotError::Busy { .. }))));
    drop(held);
    bench.make();

    // A blob whose file is not what its name says.
    let cid = bench.blob(b"good");
    let path = crate::blobs::path_in(&bench.source.layout.blobs(), cid);
    fs::write(&path, "evil").expect("written");
    assert!(matches!(bench.make_in(&bench.place()), Err(BackupError::BlobDamaged { .. })));
    assert_eq!(bench.read(&bench.place()).snapshots().expect("listed"), [1]);
    fs::write(&path, "good").expect("written");
    bench.make();
}

/// Everything that is handed on, files by what they are.
#[derive(Default)]
struct Listed {
    rows: Vec<StoredRow>,
    files: Vec<(FileKind, Vec<u8>)>,
}

impl Receiver for Listed {
    fn rows(&mut self, rows: Vec<StoredRow>) -> Result<(), BackupError> {
        self.rows.extend(rows);
        Ok(())
    }

    fn file(&mut self, kind: &FileKind) -> Result<(), BackupError> {
        self.files.push((kind.clone(), vec![]));
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        self.files.last_mut().expect("a file began").1.extend_from_slice(piece);
        Ok(())
    }

    fn file_ends(&mut self) -> Result<(), BackupError> {
        Ok(())
    }
}

#[test]
fn one_account_goes_into_a_file_that_the_recovery_key_alone_opens() {
    let bench = Bench::new();
    bench.write(0..200, 700);
    let (reader, writer) = (bench.store.reader().clone(), bench.store.writer().clone());
    let accounts = Accounts::open(reader, writer, &bench.source.layout).expect("accounts");
    let make_account_of = |name: &str| {
        let did: Did = format!("did:web:{name}.example").parse().expect("a DID");
        let signing_key = Arc::new(crate::accounts::new_signing_key().expect("a key"));
        let row = AccountRow::without_names(did.clone(), signing_key.did(), clock::now());
        let new = NewAccount { row, signing_key };
        let account = accounts.create_blocking(new, |_, _, _| Ok::<_, AccountError>(())).expect("made");
        accounts.wallet_key_blocking(&did).expect("a wallet");
        accounts.webhooks_seed_blocking(&did).expect("a secret for webhooks");
        account
    };
    let (shop, other) = (make_account_of("shop"), make_account_of("other"));
    let path = bench.dir.path().join("shop.tar");
    let recipient = bench.recipients().remove(0);
    let make = || make_account(&bench.source, &accounts, &shop, &recipient, &path, &Progress::default());
    let turn = bench.source.turn.lock().expect("nobody panicked");
    assert!(matches!(make(), Err(BackupError::Busy)), "a backup is being made");
    drop(turn);
    let made = make().expect("made");
    assert_eq!((made.account.as_ref(), &made.recipients), (Some(shop.did()), &vec![recipient.clone()]));
    assert!(matches!(make(), Err(BackupError::Depot(_))), "nothing is overwritten");

    // Neither this node nor a stranger opens it, and it is no node.
    let place = Place::Archive(path.clone());
    let depot = bench.read(&place);
    let own = recovery::key(&bench.source.layout).expect("a key");
    assert!(matches!(Snapshot::open(&depot, None, &Opener::Own(&own)), Err(BackupError::OtherKey)));
    let stranger = RecoveryKey::generate();
    assert!(Snapshot::open(&depot, None, &Opener::Recovery(&stranger)).is_err());
    let target = bench.dir.path().join("restored");
    assert!(matches!(bench.restore_from(&place, None, &target), Err(BackupError::OneAccount(_))));
    assert!(!target.exists());

    // In it is the account and nobody else; its keys open with what lies beside them, and with nothing of the node.
    let snapshot = Snapshot::open(&depot, None, &Opener::Recovery(&bench.recovery)).expect("opens");
    let mut listed = Listed::default();
    receive(&depot, &snapshot, &mut listed, &Progress::default()).expect("whole");
    let bytes = |account: &Account| account.id().0.to_be_bytes();
    let mine: Vec<_> = listed.rows.iter().filter(|(key, _)| ![0x01, 0x11].contains(&key[0])).collect();
    assert!(!mine.is_empty() && mine.iter().all(|(key, _)| key[1..].starts_with(&bytes(&shop))));
    assert!(!listed.rows.iter().any(|(key, _)| key[1..].starts_with(&bytes(&other))));
    let [(FileKind::Secret(name), seal)] = &listed.files[..] else { panic!("{} files", listed.files.len()) };
    let own_seal = fs::read(bench.source.layout.secrets().join(name)).expect("the node has one too");
    assert_ne!(*seal, own_seal);
    let keys: Vec<_> = mine.iter().filter(|(key, _)| key[0] == TableId::AccountKeys.byte()).collect();
    assert_eq!(keys.len(), 3, "to sign with, to pay with, and for webhooks");
    for (key, value) in keys {
        let of = ACCOUNT_KEYS.decode_key(key).expect("a key of the table");
        let row = ACCOUNT_KEYS.decode_value(value).expect("a sealed key");
        let here = bench.store.reader().get(&ACCOUNT_KEYS, &of).expect("reads").expect("it is here");
        assert_eq!((&row.public, row.sealed == here.sealed), (&here.public, false));
    }

    // Every byte of it is sealed: one that is altered is found.
    let mut damaged = fs::read(&path).expect("read");
    // Behind the header of the first.
    damaged[512 + 40] ^= 1;
    let bad = bench.dir.path().join("bad.tar");
    fs::write(&bad, damaged).expect("written");
    let depot = bench.read(&Place::Archive(bad));
    let read = Snapshot::open(&depot, None, &Opener::Recovery(&bench.recovery))
        .and_then(|snapshot| receive(&depot, &snapshot, &mut Listed::default(), &Progress::default()));
    assert!(read.is_err());
}

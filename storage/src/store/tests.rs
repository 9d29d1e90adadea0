//! Opening, closing, and everything that must not open.

use std::fs;

use super::*;
use crate::Batch;
use crate::codec::Raw;
use crate::limits::VALUE_BYTES_MAX;
use crate::tables::{Table, TableId};

const ROWS: Table<u64, Raw> = Table::new(TableId::Peers);
const SOFTWARE: &str = "angel 0.1.0";

fn open(dir: &Path, kind: EngineKind) -> Result<Store, OpenError> {
    Store::open(dir, Options::new(kind, SOFTWARE))
}

fn put(store: &Store, key: u64) {
    let mut batch = Batch::new();
    batch.put(&ROWS, &key, &Raw(vec![key as u8; 100])).expect("fits");
    store.writer().commit(batch).expect("commits");
}

/// A store with one row, closed.
fn closed(kind: EngineKind) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), kind).expect("creates");
    put(&store, 1);
    store.close().expect("closes");
    dir
}

fn refusal(dir: &Path, kind: EngineKind) -> String {
    open(dir, kind).map(|_| ()).expect_err("must not open").to_string()
}

#[test]
fn rows_survive_closing_and_dropping() {
    for kind in EngineKind::ALL {
        let dir = closed(kind);
        let store = open(dir.path(), kind).expect("opens");
        assert_eq!(store.reader().get(&ROWS, &1).expect("reads"), Some(Raw(vec![1; 100])), "{kind}");
        put(&store, 2);
        drop(store);
        let store = open(dir.path(), kind).expect("opens after an unclean stop");
        assert!(store.reader().contains(&ROWS, &2).expect("reads"), "{kind}");
        store.close().expect("closes");
    }
}

#[test]
fn another_engine_says_what_to_do() {
    let dir = closed(EngineKind::Sled);
    let text = refusal(dir.path(), EngineKind::Fjall);
    assert!(text.contains("storage.engine = \"sled\"") && text.contains("storage convert --to fjall"), "{text}");
}

#[test]
fn two_processes_do_not_share_a_store() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let _store = open(dir.path(), EngineKind::Sled).expect("creates");
    assert!(refusal(dir.path(), EngineKind::Sled).contains("in use by another process"));
}

#[test]
fn nothing_starts_afresh_where_something_was() {
    for kind in EngineKind::ALL {
        let dir = closed(kind);
        let away = tempfile::tempdir().expect("temporary directory");
        fs::rename(dir.path().join("data-1"), away.path().join("data")).expect("moves");
        assert!(refusal(dir.path(), kind).contains("missing or empty"), "{kind}");
        // An empty directory in its place is no better, and neither are empty files.
        fs::create_dir(dir.path().join("data-1")).expect("creates");
        assert!(refusal(dir.path(), kind).contains("missing or empty"), "{kind}");

        let dir = closed(kind);
        fs::remove_file(dir.path().join("manifest.json")).expect("removes");
        assert!(refusal(dir.path(), kind).contains("no manifest"), "{kind}");

        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("holiday.jpg"), b"not ours").expect("writes");
        assert!(refusal(dir.path(), kind).contains("no manifest"), "{kind}");
    }
}

#[test]
fn an_older_copy_of_the_data_is_noticed() {
    for kind in EngineKind::ALL {
        let dir = closed(kind);
        let old = tempfile::tempdir().expect("temporary directory");
        copy(&dir.path().join("data-1"), &old.path().join("data-1"));
        let store = open(dir.path(), kind).expect("opens");
        put(&store, 2);
        store.close().expect("closes");
        fs::remove_dir_all(dir.path().join("data-1")).expect("removes");
        copy(&old.path().join("data-1"), &dir.path().join("data-1"));
        let text = refusal(dir.path(), kind);
        assert!(text.contains("the rows written last are missing"), "{kind}: {text}");
    }
}

#[test]
fn an_interrupted_creation_begins_again() {
    for kind in EngineKind::ALL {
        let dir = tempfile::tempdir().expect("temporary directory");
        Manifest::creating(kind, crate::engine::EngineSettings::default(), SOFTWARE).write(dir.path()).expect("writes");
        fs::create_dir(dir.path().join("data-1")).expect("creates");
        fs::write(dir.path().join("data-1/conf"), b"half a line").expect("writes");
        let store = open(dir.path(), kind).expect("creates");
        put(&store, 1);
        store.close().expect("closes");
    }
}

#[test]
fn values_above_the_bound_are_refused_and_chunks_hold_them() {
    use crate::chunked::ChunkedTable;
    const CHUNKS: ChunkedTable<u64> = ChunkedTable::new(TableId::Peers);
    let store = Store::in_memory().expect("starts");
    for bytes in [0, 1, VALUE_BYTES_MAX, VALUE_BYTES_MAX * 3 + 5, crate::limits::CHUNKED_BYTES_MAX] {
        let value: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        let mut batch = Batch::new();
        CHUNKS.put(&mut batch, &7, &value).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(CHUNKS.get(store.reader(), &7).expect("reads"), Some(value));
        let mut batch = Batch::new();
        CHUNKS.delete(store.reader(), &mut batch, &7).expect("fits");
        store.writer().commit(batch).expect("commits");
        assert_eq!(CHUNKS.get(store.reader(), &7).expect("reads"), None);
        assert!(store.reader().scan(&CHUNKS.rows()).page(1).expect("reads").rows.is_empty());
    }
    let too_large = vec![0; crate::limits::CHUNKED_BYTES_MAX + 1];
    assert!(CHUNKS.put(&mut Batch::new(), &7, &too_large).is_err());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

#[test]
fn a_snapshot_that_a_kill_left_half_written_is_no_damage() {
    let dir = closed(EngineKind::Sled);
    let manifest = fs::read_to_string(dir.path().join("manifest.json")).expect("reads");
    let data = fs::read_dir(dir.path()).expect("lists").filter_map(Result::ok).map(|entry| entry.path());
    let data = data.filter(|path| path.join("conf").exists()).collect::<Vec<_>>();
    assert_eq!(data.len(), 1, "one live directory: {manifest}");
    fs::write(data[0].join("snap.FFFFFFFFFFFFFFFF.generating"), [1, 2, 3]).expect("writes");
    let store = open(dir.path(), EngineKind::Sled).expect("opens");
    assert_eq!(store.reader().get(&ROWS, &1).expect("reads"), Some(Raw(vec![1; 100])));
}

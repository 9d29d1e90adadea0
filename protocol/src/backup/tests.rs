//! What a backup refuses, and that what it says stays the same.

use proptest::prelude::*;

use super::rows::{Gather, StoredRow, TableRoot};
use super::*;
use crate::crypto::NodeKey;
use crate::time::Timestamp;

fn key() -> BackupKey {
    BackupKey::from_bytes([7; 32])
}

fn manifest(node: &NodeKey) -> Manifest {
    let table = TableRoot::default().sum(1, "node_meta");
    Manifest {
        format: manifest::FORMAT,
        number: 3,
        made_at: Timestamp::from_millis(1_000),
        node: node.did(),
        network: "angel-dev".parse().expect("a network id"),
        software: "angel 0.1.0".to_owned(),
        sequence: 9,
        height: 2,
        ledger_root: ChunkName([1; 32]),
        key_id: key().id(),
        sealed_key: vec![1, 2, 3],
        recipients: vec!["age1example".to_owned()],
        previous: ChunkName([0; 32]),
        tables: vec![table],
        totals: Totals::default(),
        index: vec![ChunkRef { name: ChunkName([2; 32]), bytes: 5 }],
        account: None,
    }
}

#[test]
fn every_byte_of_a_chunk_counts() {
    let content = b"rows and rows and rows and rows and rows and rows".repeat(4);
    let (name, sealed) = rows::sealed(&key(), &content);
    assert!(sealed.len() < content.len(), "it is compressed");
    assert_eq!(key().open(name, &sealed), Ok(content.clone()));
    assert_eq!(rows::sealed(&key(), &content), (name, sealed.clone()), "made again it is the same");
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(key().open(name, &bad).is_err(), "flipped at {at}");
        assert!(key().open(name, &sealed[..at]).is_err(), "cut at {at}");
    }
    assert!(key().open(name, &[sealed.clone(), vec![0]].concat()).is_err(), "something behind it");
    let (other, _) = rows::sealed(&key(), b"another");
    assert_eq!(key().open(other, &sealed), Err(NotAChunk::Seal), "under another name");
    assert_eq!(BackupKey::from_bytes([8; 32]).open(name, &sealed), Err(NotAChunk::Seal), "of other backups");
}

#[test]
fn every_byte_of_a_manifest_counts() {
    let node = NodeKey::from_seed(&[3; 32]);
    let signed = manifest(&node).sign(&node);
    assert_eq!(Manifest::read(&signed), Ok(manifest(&node)));
    for at in 0..signed.len() {
        let mut bad = signed.clone();
        bad[at] ^= 1;
        assert!(Manifest::read(&bad).is_err(), "flipped at {at}");
        assert!(Manifest::read(&signed[..at]).is_err(), "cut at {at}");
    }
    let other = NodeKey::from_seed(&[4; 32]);
    assert_eq!(Manifest::read(&manifest(&node).sign(&other)), Err(ManifestRefused::Signature(node.did())));
    let newer = Manifest { format: 3, ..manifest(&node) };
    assert_eq!(Manifest::read(&newer.sign(&node)), Err(ManifestRefused::Newer(3)));
    let nobody = Manifest { recipients: vec![], ..manifest(&node) };
    assert!(matches!(Manifest::read(&nobody.sign(&node)), Err(ManifestRefused::Contradiction(_))));
}

#[test]
fn a_snapshot_of_one_account_is_not_taken_for_a_nodes() {
    let node = NodeKey::from_seed(&[3; 32]);
    let account = Some("did:web:shop.example".parse().expect("a DID"));
    let of_one = Manifest { format: manifest::FORMAT_OF_ACCOUNT, account, ..manifest(&node) };
    assert_eq!(Manifest::read(&of_one.sign(&node)), Ok(of_one.clone()));
    for wrong in [
        Manifest { format: manifest::FORMAT_OF_ACCOUNT, ..manifest(&node) },
        Manifest { format: manifest::FORMAT, ..of_one },
    ] {
        assert!(matches!(Manifest::read(&wrong.sign(&node)), Err(ManifestRefused::Contradiction(_))));
    }
}

fn gathered(rows: &[StoredRow]) -> Vec<Vec<u8>> {
    let mut gather = Gather::default();
    let mut chunks: Vec<_> = rows.iter().filter_map(|(key, value)| gather.push(key, value)).collect();
    chunks.extend(gather.end());
    assert_eq!(chunks.iter().map(|chunk| chunk.rows).sum::<u64>(), rows.len() as u64);
    chunks.into_iter().map(|chunk| chunk.content).collect()
}

fn some_rows(count: u32) -> Vec<StoredRow> {
    (0..count).map(|n| ([&[9], &n.to_be_bytes()[..]].concat(), vec![n as u8; 400])).collect()
}

#[test]
fn a_change_alters_the_chunk_it_is_in_and_no_other() {
    let before = some_rows(20_000);
    let chunks = gathered(&before);
    assert!(chunks.len() > 10, "{}", chunks.len());
    let mut after = before;
    after[7_000].1 = vec![1; 380];
    after.remove(12_000);
    after.push((vec![9, 0xff, 0xff], vec![3; 4]));
    let changed = gathered(&after).iter().filter(|chunk| !chunks.contains(chunk)).count();
    assert!(changed <= 5, "{changed} of {}", chunks.len());
}

#[test]
fn an_index_is_read_as_it_was_written() {
    let chunk = |n: u32| ChunkRef { name: key().name(&n.to_be_bytes()), bytes: n };
    let entries: Vec<_> = (0..5_000)
        .map(|n| match n % 3 {
            0 => Entry::Rows { table: 9, rows: u64::from(n), chunk: chunk(n) },
            1 => Entry::File { kind: FileKind::Blob(format!("b{n}")), bytes: 3, pieces: vec![chunk(n), chunk(n + 1)] },
            _ => Entry::File { kind: FileKind::Secret("empty".to_owned()), bytes: 0, pieces: vec![] },
        })
        .collect();
    let mut gather = index::Gather::default();
    let mut chunks: Vec<_> = entries.iter().filter_map(|entry| gather.push(entry)).collect();
    chunks.extend(gather.end());
    assert!(chunks.len() > 5);
    let read: Vec<_> = chunks.iter().flat_map(|content| index::read(content).expect("an index")).collect();
    assert_eq!(read, entries);
    assert!(index::read(&chunks[0][1..]).is_err());
}

#[test]
fn the_newest_of_each_period_is_kept() {
    let day = 86_400_000;
    let snapshots: Vec<_> = (0..120).map(|n| (n, Timestamp::from_millis(n * day / 2))).collect();
    let keep: Keep = "last 2, daily 3, weekly 2, monthly 1".parse().expect("a rule");
    let kept: Vec<_> = keep.choose(&snapshots).into_iter().collect();
    // Day 59 ends with 119; the days before with 117 and 115; the week before it with 111.
    assert_eq!(kept, [111, 115, 117, 118, 119]);
    assert_eq!("last 1".parse::<Keep>().expect("a rule").choose(&[]).len(), 0);
    assert_eq!(Keep::default().to_string().parse(), Ok(Keep::default()));
    for bad in ["", "last", "last 0", "last -1", "hourly 3", "last 1, last 2", "last 1 daily 2"] {
        assert!(bad.parse::<Keep>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_are_read_as_they_were_written(
        rows in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::collection::vec(any::<u8>(), 0..600),
            0..200,
        ),
    ) {
        let rows: Vec<StoredRow> = rows.into_iter().map(|(key, value)| ([vec![5], key].concat(), value)).collect();
        let mut read: Vec<StoredRow> = Vec::new();
        for content in gathered(&rows) {
            let last = read.last().map(|(key, _)| key.clone());
            let more = super::rows::read(&content, 5, last.as_deref()).expect("rows");
            prop_assert!(super::rows::read(&content, 6, None).is_err(), "of another table");
            read.extend(more);
        }
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn what_is_no_chunk_is_refused_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(key().open(ChunkName([0; 32]), &bytes).is_err());
        prop_assert!(Manifest::read(&bytes).is_err());
        drop(super::rows::read(&bytes, 5, None));
        drop(index::read(&bytes));
    }
}

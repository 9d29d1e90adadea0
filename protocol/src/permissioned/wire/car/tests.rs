use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::crypto::{Secp256k1Key, SigningKey};
use crate::ids::{Did, Tid};
use crate::permissioned::SpaceUri;

fn key() -> SigningKey {
    Secp256k1Key::from_bytes(&[7; 32]).expect("a scalar").into()
}

fn space() -> SpaceUri {
    "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space")
}

fn author() -> Did {
    "did:plc:z72i7hdynmk6r22z27h6tvur".parse().expect("a DID")
}

type Records = BTreeMap<(usize, String), Block>;

fn records(names: impl IntoIterator<Item = String>) -> Records {
    names
        .into_iter()
        .map(|name| {
            let mut writer = Writer::with_capacity(64);
            writer.text(&name);
            let path = format!("com.example.post/{name}");
            ((path.len(), path), Block::new(Codec::DagCbor, writer.into_bytes()))
        })
        .collect()
}

/// The file of a repository with these records.
fn file(records: &Records) -> Vec<u8> {
    let mut hash = SetHash::default();
    records.iter().for_each(|((_, path), block)| hash.add(path, block.cid()));
    let commit = SignedCommit::sign(&space(), &author(), Tid::new(7, 7), hash.digest(), [5; 32], &key());
    let mut index = Vec::new();
    let mut writer = IndexWriter::begin(records.len() as u64, &mut index);
    records.iter().for_each(|((_, path), block)| writer.entry(path, block.cid(), &mut index));
    assert_eq!(writer.left(), 0);
    let (cid, bytes) = writer.finish();
    assert_eq!((Cid::of(Codec::DagCbor, &index), index.len() as u64), (cid, bytes));
    let mut file = Vec::new();
    write_start(&mut file, &commit.to_block(), cid, bytes);
    file.extend_from_slice(&index);
    records.values().for_each(|block| write_record(&mut file, block.cid(), block.bytes()));
    file
}

/// Everything in a file that arrives in pieces of this length.
fn read(file: &[u8], piece: usize) -> Result<Vec<Found>, RepoCarError> {
    let mut reader = RepoCarReader::default();
    let mut found = Vec::new();
    for mut piece in file.chunks(piece) {
        while let Some(next) = reader.read(&mut piece)? {
            found.push(next);
        }
    }
    reader.finish()?;
    Ok(found)
}

#[test]
fn the_ordinary_reader_finds_the_same_blocks() {
    let records = records(["b".to_owned(), "a".to_owned(), "long".to_owned()]);
    let limits = car::CarLimits { bytes_max: 1 << 20, blocks_max: 100 };
    let (roots, blocks) = car::decode(&file(&records), limits).expect("a CAR file");
    assert_eq!(roots, [blocks[0].cid(), blocks[1].cid()]);
    assert_eq!(blocks[2..], records.into_values().collect::<Vec<_>>());
    let index = crate::data::cbor::decode(blocks[1].bytes()).expect("canonical DAG-CBOR");
    assert_eq!(index.as_map().expect("a map").len(), 3);
}

#[test]
fn what_is_not_whole_or_not_the_authors_is_refused_by_name() {
    let records = records(["b".to_owned(), "a".to_owned(), "long".to_owned()]);
    let whole = file(&records);
    assert_eq!(read(&whole[..whole.len() - 1], 64), Err(RepoCarError::Truncated));
    let last = records.values().next_back().expect("three").clone();
    let mut more = whole.clone();
    write_record(&mut more, last.cid(), last.bytes());
    assert_eq!(read(&more, 64), Err(RepoCarError::Records));
    let fewer = whole.len() - car::block_bytes(&last);
    assert_eq!(read(&whole[..fewer], 64), Err(RepoCarError::Records));

    // An index of other records under the same commit.
    let commit = SignedCommit::sign(&space(), &author(), Tid::new(7, 7), [9; 32], [5; 32], &key()).to_block();
    let mut index = Vec::new();
    let mut writer = IndexWriter::begin(1, &mut index);
    writer.entry("com.example.post/b", last.cid(), &mut index);
    let (cid, bytes) = writer.finish();
    let mut other = Vec::new();
    write_start(&mut other, &commit, cid, bytes);
    other.extend_from_slice(&index);
    assert_eq!(read(&other, 64), Err(RepoCarError::Digest));

    let mut one_root = Vec::new();
    car::write_header(&mut one_root, cid);
    assert_eq!(read(&one_root, 64), Err(RepoCarError::Roots(1)));
}

proptest! {
    #[test]
    fn a_repository_comes_back_from_its_file_in_whatever_pieces(
        names in proptest::collection::btree_set("[a-z]{1,12}", 0..40),
        piece in 1_usize..300,
    ) {
        let records = records(names);
        let found = read(&file(&records), piece).expect("a repository");
        let Some(Found::Commit(commit)) = found.first() else { panic!("the commit is first") };
        prop_assert_eq!(commit.verify(&space(), &author(), key().public()), Ok(()));
        let entries: Vec<_> = found.iter().filter_map(|found| match found {
            Found::Entry(path, cid) => Some((path.to_string(), *cid)),
            _ => None,
        }).collect();
        let expected: Vec<_> = records.iter().map(|((_, path), block)| (path.clone(), block.cid())).collect();
        prop_assert_eq!(entries, expected);
        let blocks: Vec<_> = found.into_iter().filter_map(|found| match found {
            Found::Record(block) => Some(block),
            _ => None,
        }).collect();
        prop_assert_eq!(blocks, records.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn bytes_of_any_kind_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        let _ = read(&bytes, piece);
    }
}

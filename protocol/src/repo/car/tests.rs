//! Files that must pass, whole and in pieces, and files that must not.

use proptest::prelude::*;

use super::*;
use crate::data::Codec;

const LIMITS: CarLimits = CarLimits { bytes_max: 1 << 24, blocks_max: 1000 };

fn block(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes())
}

fn file() -> Vec<u8> {
    encode(block("a").cid(), [&block("a"), &block("b"), &block(&"c".repeat(1000))])
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let (roots, blocks) = decode(&file(), LIMITS).expect("sound");
    assert_eq!(roots, [block("a").cid()]);
    assert_eq!(blocks, [block("a"), block("b"), block(&"c".repeat(1000))]);
}

#[test]
fn bytes_are_those_of_the_format() {
    // Header of 58 bytes, then a section of 37: as any other writer of CARv1 has it.
    let file = encode(block("a").cid(), [&block("a")]);
    assert_eq!(file.len(), HEADER_BYTES + block_bytes(&block("a")));
    let expected = format!(
        "3aa265726f6f747381d82a5825000155{hash}6776657273696f6e01250155{hash}61",
        hash = "1220ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    );
    assert_eq!(data_encoding::HEXLOWER.encode(&file), expected);
}

#[test]
fn the_size_of_a_block_is_known_before() {
    for length in [0, 90, 91, 92, 16_347, 16_348, 100_000] {
        let block = block(&"x".repeat(length));
        let mut out = Vec::new();
        write_block(&mut out, &block);
        assert_eq!(out.len(), block_bytes(&block), "{length}");
    }
}

#[test]
fn refuses_by_reason() {
    let good = file();
    let error = |bytes: &[u8]| decode(bytes, LIMITS).expect_err("not sound");
    assert_eq!(error(&[]), CarError::Truncated);
    assert_eq!(error(&good[..10]), CarError::Truncated);
    assert_eq!(error(&good[..good.len() - 1]), CarError::Truncated);
    assert_eq!(error(&[&good[..], &[0x80]].concat()), CarError::Truncated);
    assert_eq!(error(&[0xff, 0xff, 0x03]), CarError::HeaderTooLong);
    assert_eq!(error(&[0x81, 0x00]), CarError::Length);
    assert_eq!(error(&[0xff, 0xff, 0xff, 0xff]), CarError::Length);
    assert_eq!(error(&[0]), CarError::Header(CborError::Truncated));
    assert_eq!(error(&[1, 0xa0]), CarError::Header(CborError::Type));
    assert_eq!(error(&[&good[..], &[0]].concat()), CarError::Cid(InvalidCid::Length));
    assert_eq!(error(&[&good[..], &[1, 1]].concat()), CarError::Cid(InvalidCid::Length));
    assert_eq!(error(&[&good[..], &[0xff, 0xff, 0xff, 0x01]].concat()), CarError::BlockTooLong);
    let mut version = good.clone();
    let at = version.windows(8).position(|window| window == b"version\x01").expect("in the header") + 7;
    version[at] = 2;
    assert_eq!(error(&version), CarError::Version(2));
    let mut wrong = good.clone();
    *wrong.last_mut().expect("not empty") ^= 1;
    assert_eq!(error(&wrong), CarError::WrongCid(block(&"c".repeat(1000)).cid()));
    let bytes_max = good.len() as u64 - 1;
    assert_eq!(decode(&good, CarLimits { bytes_max, ..LIMITS }), Err(CarError::TooManyBytes(bytes_max)));
    assert_eq!(decode(&good, CarLimits { blocks_max: 2, ..LIMITS }), Err(CarError::TooManyBlocks(2)));
}

#[test]
fn what_is_announced_takes_no_memory() {
    let mut reader = CarReader::new(LIMITS);
    let mut header = Vec::new();
    write_header(&mut header, block("a").cid());
    write_length(&mut header, BLOCK_BYTES_MAX);
    header.push(1);
    assert_eq!(reader.read(&mut &header[..]), Ok(None));
    let Stage::Section { so_far, .. } = &reader.stage else { panic!("within a section") };
    assert!(so_far.capacity() < 64, "{}", so_far.capacity());
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        sizes in prop::collection::vec(1..200_usize, 1..8),
    ) {
        let blocks: Vec<_> = contents.into_iter().map(|bytes| Block::new(Codec::DagCbor, bytes)).collect();
        let file = encode(block("root").cid(), &blocks);
        let mut reader = CarReader::new(LIMITS);
        let mut found = Vec::new();
        let mut rest = &file[..];
        for size in sizes.into_iter().cycle() {
            let mut chunk = rest.split_off(..rest.len().min(size)).expect("within");
            while let Some(block) = reader.read(&mut chunk).expect("sound") {
                found.push(block);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, blocks);
        prop_assert_eq!(reader.finish().expect("ended"), [block("root").cid()]);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, byte: u8) {
        let _ = decode(&bytes, LIMITS);
        let mut altered = file();
        let at = at.index(altered.len());
        altered[at] = byte;
        // Whatever is still accepted consists of blocks that are what their CIDs say.
        if let Ok((_, blocks)) = decode(&altered, LIMITS) {
            prop_assert!(blocks.iter().all(|block| block.cid().matches(block.bytes())));
        }
    }
}

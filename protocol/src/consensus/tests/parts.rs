//! Parts come together in any order, and nothing that does not fit costs memory.

use malachitebft_core_types::Round;

use super::super::assembly::{Assemblies, PartRefused};
use super::super::part::{InvalidHead, Part, PartHead, split};
use super::super::{Address, Height, ValueId};
use crate::crypto::NodeKey;
use crate::ids::NetworkId;
use crate::limits::{ASSEMBLIES_MAX, BATCH_ENCODED_BYTES_MAX, PART_BYTES_MAX};

fn network() -> NetworkId {
    "home-dev".parse().expect("a network id")
}

fn key() -> NodeKey {
    NodeKey::from_seed(&[7; 32])
}

fn head(bytes: usize) -> PartHead {
    let sender = Address(key().did());
    PartHead {
        height: Height(3),
        round: Round::new(0),
        pol_round: Round::Nil,
        value: ValueId([9; 32]),
        proposer: sender.clone(),
        sender,
        bytes: u32::try_from(bytes).expect("small"),
    }
}

fn stream(id: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![1], vec![id])
}

#[test]
fn any_order_makes_the_whole() {
    let body: Vec<u8> = (0..3 * PART_BYTES_MAX + 17).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
    let mut parts: Vec<Part> = vec![Part::head(head(body.len()), &network(), &key())];
    parts.extend(split(&body));
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let mut assemblies = Assemblies::new(network());
        let mut whole = None;
        for index in order {
            assert!(whole.is_none(), "complete before its time");
            let sequence = u64::try_from(index).expect("small");
            whole = assemblies.add(stream(1), sequence, parts[index].clone()).expect("fits");
            // A repeated part changes nothing.
            if whole.is_none() {
                assert_eq!(assemblies.add(stream(1), sequence, parts[index].clone()), Ok(None));
            }
        }
        assert_eq!(whole.expect("complete").body, body);
        assert!(assemblies.is_empty());
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut assemblies = Assemblies::new(network());
    let forged = match Part::head(head(10), &network(), &key()) {
        Part::Head { head, signature } => Part::Head { head: PartHead { bytes: 11, ..head }, signature },
        Part::Body { .. } => panic!("a head"),
    };
    assert_eq!(assemblies.add(stream(1), 0, forged), Err(PartRefused::Head(InvalidHead::Signature)));
    let huge = Part::head(head(BATCH_ENCODED_BYTES_MAX + 1), &network(), &key());
    assert_eq!(assemblies.add(stream(1), 0, huge), Err(PartRefused::Head(InvalidHead::Length)));
    let other: NetworkId = "other-dev".parse().expect("a network id");
    let foreign = Part::head(head(10), &other, &key());
    assert_eq!(assemblies.add(stream(1), 0, foreign), Err(PartRefused::Head(InvalidHead::Signature)));

    let piece = |bytes: usize| Part::Body { last: true, bytes: vec![5; bytes] };
    assemblies.add(stream(2), 0, Part::head(head(10), &network(), &key())).expect("fits");
    assert_eq!(assemblies.add(stream(2), 1, piece(11)), Err(PartRefused::Misfit), "longer than its head says");
    assert_eq!(assemblies.add(stream(3), 0, piece(1)), Err(PartRefused::Misfit), "no head in first place");
    assert_eq!(assemblies.add(stream(3), 1_000_000, piece(1)), Err(PartRefused::Misfit), "beyond every batch");
    assert!(assemblies.is_empty(), "whatever was refused is gone");
}

#[test]
fn streams_without_an_end_give_way() {
    let mut assemblies = Assemblies::new(network());
    for id in 0..=u8::MAX {
        let piece = Part::Body { last: false, bytes: vec![id; PART_BYTES_MAX] };
        assert_eq!(assemblies.add(stream(id), 1, piece), Ok(None));
    }
    assert_eq!(assemblies.len(), ASSEMBLIES_MAX);
}

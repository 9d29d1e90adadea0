//! Bytes: what is a transaction, and that there is one encoding of each.

use super::world::*;
use crate::ledger::action::{Cause, Witness};
use crate::ledger::transaction::InvalidTransaction;
use crate::ledger::*;
use crate::limits::{LEDGER_TEXT_BYTES_MAX, TRANSACTION_BYTES_MAX, WITNESSES_MAX};

#[test]
fn a_transaction_survives_the_wire() {
    let mut world = World::new();
    let draft = world.draft(&did("ada"), pay("ben", tokens(1)));
    let signed = world.signed(&draft);
    let read = Signed::decode(signed.bytes()).expect("its own encoding");
    assert_eq!((read.id(), read.transaction(), read.body()), (signed.id(), &draft, signed.body()));
    assert_eq!(read.id().to_string().parse(), Ok(read.id()));
}

#[test]
fn every_altered_byte_is_noticed() {
    let mut world = World::new();
    let draft = world.draft(&did("ada"), pay("ben", tokens(1)));
    let signed = world.signed(&draft);
    let key = world.wallet(&did("ada")).key;
    for index in 0..signed.bytes().len() {
        let mut bytes = signed.bytes().to_vec();
        bytes[index] ^= 1;
        let passes = Signed::decode(&bytes).is_ok_and(|altered| Strict.transaction_holds(&key, &altered));
        assert!(!passes, "byte {index}");
    }
}

#[test]
fn bounds_are_kept_at_the_door() {
    let mut world = World::new();
    let witness = Witness { account: did("ben"), tenant: None, signature: [0; 64] };
    let many = Cause { witnesses: vec![witness; WITNESSES_MAX + 1], ..cause("a", START) };
    let no_address = Cause { uri: String::new(), ..cause("a", START) };
    for cause in [many, no_address] {
        let draft = world.draft(&did("ada"), recognise("ben", tokens(1), cause));
        let error = Signed::sign(&draft, &world.keys[&did("ada")]).expect_err("beyond a bound");
        assert!(matches!(error, InvalidTransaction::Bound(_)), "{error}");
    }
    let mut draft = world.draft(&did("ada"), recognise("ben", tokens(1), cause("a", START)));
    if let Action::PeerRecognition(it) = &mut draft.action {
        it.reason = "x".repeat(LEDGER_TEXT_BYTES_MAX + 1);
    }
    assert!(Signed::sign(&draft, &world.keys[&did("ada")]).is_err());
    assert_eq!(Signed::decode(&vec![0; TRANSACTION_BYTES_MAX + 1]), Err(InvalidTransaction::TooLarge));
}

#[test]
fn another_encoding_of_the_same_values_is_refused() {
    let mut world = World::new();
    let draft = world.draft(&did("ada"), pay("ben", tokens(1)));
    let signed = world.signed(&draft);
    let trailing = [signed.bytes(), &[0]].concat();
    assert!(matches!(Signed::decode(&trailing), Err(InvalidTransaction::Encoding(_))));
    // The same map with its length in two bytes instead of one.
    let long = [&[0xb8, 0x02], &signed.bytes()[1..]].concat();
    assert!(matches!(Signed::decode(&long), Err(InvalidTransaction::Encoding(_))));
}

#[test]
fn one_transaction_of_a_batch_is_read_without_the_others() {
    let mut world = World::new();
    let transactions: Vec<_> = (1..4)
        .map(|amount| {
            let draft = world.draft(&did("ada"), pay("ben", tokens(amount)));
            world.signed(&draft)
        })
        .collect();
    let batch = Batch { height: 1, time: START, transactions };
    let encoded = batch.encode();
    for (index, signed) in batch.transactions.iter().enumerate() {
        assert_eq!(Batch::decode_one(&encoded, index).as_ref(), Ok(&Some(signed.clone())));
    }
    assert_eq!(Batch::decode_one(&encoded, 3), Ok(None));
    assert!(Batch::decode_one(&encoded[1..], 0).is_err());
}

#[test]
fn an_amount_beyond_the_supply_is_no_amount() {
    let too_large = serde_ipld_dagcbor::to_vec(&u64::MAX).expect("an integer");
    assert!(serde_ipld_dagcbor::from_slice::<Amount>(&too_large).is_err());
}

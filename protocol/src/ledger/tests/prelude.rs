//! What every transaction is checked for first, and the rules of batches.

use std::time::Duration;

use super::world::*;
use crate::ledger::*;
use crate::limits::TRANSACTION_LIFE_MAX;
use crate::time::Timestamp;

#[test]
fn a_payment_is_posted() {
    let mut world = World::new();
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(30))), Outcome::Posted);
    assert_eq!((world.balance("ada"), world.balance("ben")), (70_000_000, 130_000_000));
    let wallet = world.wallet(&did("ada"));
    assert_eq!((wallet.sequence, wallet.posted, wallet.balance.spent), (1, 1, 30_000_000));
    assert_eq!(world.wallet(&did("ben")).balance.earned, 130_000_000);
}

#[test]
fn refusals_that_leave_no_trace() {
    let mut world = World::new();
    let good = world.draft(&did("ada"), pay("ben", tokens(1)));
    let after = world.now + Duration::from_secs(1);
    let cases: Vec<(Outcome, Transaction)> = vec![
        (Outcome::WrongNetwork, Transaction { network: "other".parse().expect("valid"), ..good.clone() }),
        (Outcome::Expired, Transaction { expires: world.now, ..good.clone() }),
        (
            Outcome::ExpiresTooLate,
            Transaction { expires: after + TRANSACTION_LIFE_MAX + Duration::from_millis(1), ..good.clone() },
        ),
        (Outcome::SequenceAhead, Transaction { sequence: 1, ..good.clone() }),
    ];
    for (expected, transaction) in cases {
        let (before, wallet) = (world.balance("ada"), world.wallet(&did("ada")));
        let signed = world.signed(&transaction);
        let mut copy = World { now: world.now, ..World::new() };
        let applied = copy.decide(vec![signed.clone()]);
        assert_eq!(applied.entries, [Entry { id: signed.id(), outcome: expected, fit: false }]);
        assert!(!applied.fit());
        assert_eq!((copy.balance("ada"), copy.wallet(&did("ada"))), (before, wallet));
        assert_eq!(rows::receipt(&copy.view, signed.id()), Ok(None));
    }
    let stranger = key(9, 9);
    world.add_key(did("nobody"), key(9, 9));
    assert_eq!(world.act(&did("nobody"), pay("ben", tokens(1))), Outcome::WalletUnknown);
    let forged = Signed::sign(&good, &stranger).expect("within bounds");
    assert_eq!(world.decide(vec![forged]).entries[0].outcome, Outcome::BadSignature);
    assert_eq!(world.submit(&good), Outcome::Posted);
    assert_eq!(world.submit(&good), Outcome::AlreadyDecided);
    let other = Transaction { action: pay("ben", tokens(2)), sequence: 1, ..good.clone() };
    assert_eq!(world.submit(&other), Outcome::IdReused);
    assert_eq!(world.submit(&Transaction { nonce: [9; 16], ..good }), Outcome::SequencePassed);
    assert_eq!(world.balance("ada"), 99_000_000);
}

#[test]
fn a_refusal_after_that_is_final() {
    let mut world = World::new();
    let too_much = world.draft(&did("ada"), pay("ben", tokens(101)));
    assert_eq!(world.submit(&too_much), Outcome::InsufficientBalance);
    let receipt = world.receipt(world.last.expect("sent"));
    assert_eq!((receipt.outcome, receipt.moved), (Outcome::InsufficientBalance, None));
    // Were it decided again once there is enough, a payment called failed would come true.
    assert_eq!(world.act_approved(&node(0), grant("ada", tokens(50)), &[0, 1, 2]), Outcome::Posted);
    assert_eq!(world.submit(&too_much), Outcome::AlreadyDecided);
    assert_eq!(world.wallet(&did("ada")).sequence, 1);
}

#[test]
fn an_hour_has_room_for_a_hundred() {
    let mut world = World::new();
    for count in 0..100 {
        assert_eq!(world.act(&did("ada"), pay("ben", micro(1))), Outcome::Posted, "{count}");
    }
    assert_eq!(world.act(&did("ada"), pay("ben", micro(1))), Outcome::RateLimited);
    assert_eq!(world.act(&did("ben"), pay("ada", micro(1))), Outcome::Posted);
    world.now = START + HOUR;
    assert_eq!(world.act(&did("ada"), pay("ben", micro(1))), Outcome::Posted);
}

#[test]
fn two_transactions_for_one_sequence_cannot_both_be_decided() {
    let mut world = World::new();
    let one = world.draft(&did("ada"), pay("ben", tokens(60)));
    let two = Transaction { nonce: [7; 16], action: pay("cleo", tokens(60)), ..one.clone() };
    let batch = vec![world.signed(&one), world.signed(&two)];
    let outcomes: Vec<_> = world.decide(batch).entries.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Posted, Outcome::SequencePassed]);
    assert_eq!(world.balance("cleo"), 100_000_000);
}

#[test]
fn a_batch_is_applied_once_in_order_and_in_time() {
    let mut world = World::new();
    let signed = world.draft(&did("ada"), pay("ben", tokens(1)));
    let batch = Batch { height: 1, time: START + DAY, transactions: vec![] };
    assert_eq!(apply(&world.view, &Batch { height: 2, ..batch.clone() }, &Strict), Err(ApplyError::Gap(1)));
    assert_eq!(apply(&world.view, &Batch { time: START, ..batch.clone() }, &Strict), Err(ApplyError::Time));
    assert_eq!(apply(&MemoryView::new(), &batch, &Strict), Err(ApplyError::NoGenesis));
    assert_eq!(world.submit(&signed), Outcome::Posted);
    assert_eq!(apply(&world.view, &batch, &Strict), Err(ApplyError::AlreadyApplied(1)));
}

#[test]
fn headers_form_a_chain() {
    let mut world = World::new();
    for _ in 0..3 {
        let before = world.header.clone();
        world.act(&did("ada"), pay("ben", tokens(1)));
        assert_eq!(world.header.previous, before.hash());
        assert_eq!(world.header.height, before.height + 1);
        assert_ne!(world.header.root, before.root);
    }
}

#[test]
fn assembling_leaves_out_what_is_unfit() {
    let mut world = World::new();
    let good = world.draft(&did("ada"), pay("ben", tokens(1)));
    let refused = world.draft(&did("ben"), pay("ada", tokens(1000)));
    let ahead = Transaction { sequence: 5, ..world.draft(&did("cleo"), pay("ada", tokens(1))) };
    let signed: Vec<_> = [&ahead, &good, &refused].into_iter().map(|it| world.signed(it)).collect();
    let time = world.now + HOUR / 2;
    let (batch, applied, unfit) = assemble(&world.view, 1, time, signed.clone(), &Strict).expect("next");
    assert_eq!(batch.transactions, signed[1..]);
    assert!(applied.fit());
    assert_eq!(unfit.iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [Outcome::SequenceAhead]);
    assert_eq!(apply(&world.view, &batch, &Strict), Ok(applied), "whoever applies the batch finds the same");
}

#[test]
fn admission_foresees_the_outcome() {
    let mut world = World::new();
    let now = Timestamp::from_millis(0);
    let check = |world: &World, transaction: &Transaction| {
        admit(&world.view, now, &world.signed(transaction), &Strict).expect("memory reads")
    };
    let good = world.draft(&did("ada"), pay("ben", tokens(1)));
    assert_eq!(check(&world, &good), Ok(Admission { next_sequence: 0 }));
    let ahead = Transaction { sequence: 3, ..good };
    assert_eq!(check(&world, &ahead), Ok(Admission { next_sequence: 0 }));
    let poor = world.draft(&did("ada"), pay("ben", tokens(1000)));
    assert_eq!(check(&world, &poor), Err(Outcome::InsufficientBalance));
    assert_eq!(world.height, 0);
}

#[test]
fn a_batch_survives_the_wire() {
    let mut world = World::new();
    let drafts = [world.draft(&did("ada"), pay("ben", tokens(1))), world.draft(&did("ben"), pay("ada", tokens(1)))];
    let transactions = drafts.iter().map(|draft| world.signed(draft)).collect();
    let batch = Batch { height: 1, time: START + HOUR, transactions };
    let read = Batch::decode(&batch.encode()).expect("its own encoding");
    assert_eq!((read.hash(), &read), (batch.hash(), &batch));
    assert!(Batch::decode(&batch.encode()[1..]).is_err());
}

#[test]
fn remembered_signatures_hold_for_their_key_alone() {
    let mut world = World::new();
    let signed = world.draft(&did("ada"), pay("ben", tokens(1)));
    let signed = world.signed(&signed);
    let (ada, ben) = (world.wallet(&did("ada")).key, world.wallet(&did("ben")).key);
    let mut remembered = Remembered::new();
    assert!(remembered.check(&ada, &signed) && !remembered.check(&ben, &signed));
    assert_eq!(remembered.len(), 1);
    assert!(remembered.transaction_holds(&ada, &signed) && !remembered.transaction_holds(&ben, &signed));
    remembered.forget(signed.digest());
    assert!(remembered.is_empty());
}

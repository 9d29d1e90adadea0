//! Proposals that get no vote: every validator refuses each of them, and by the same name.

use std::time::Duration;

use angel_protocol::consensus::Height;
use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::NetworkId;
use angel_protocol::ledger::action::{Exchange, Holder, Region};
use angel_protocol::ledger::amount::SUPPLY_MAX;
use angel_protocol::ledger::genesis::{GenesisNode, GenesisWallet};
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::{Action, Amount, Genesis, MemoryView, Outcome, Parameters, Signed, Transaction, rows};
use angel_protocol::limits::{
    BATCH_ENCODED_BYTES_MAX, BATCH_TIME_AHEAD_MAX, BATCH_TIME_BEHIND_MAX, BATCH_TRANSACTIONS_MAX,
};
use angel_storage::chunked::ChunkedTable;
use angel_storage::engine::MemoryEngine;
use angel_storage::ledger::{LedgerView, undecided};
use angel_storage::{Batch as Rows, Store, TableId};
use malachitebft_core_types::Round;

use super::super::proposer;
use super::*;

const FOUNDED: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const SECOND: Duration = Duration::from_secs(1);

fn key(number: u8) -> NodeKey {
    NodeKey::from_seed(&[number; 32])
}

fn network() -> NetworkId {
    "refusals-dev".parse().expect("a network id")
}

/// Two nodes that validate, each with a store of its own, and two wallets with ten tokens.
fn validators() -> [(Shared, Store); 2] {
    [1, 2].map(|number| founded(number, Store::in_memory().expect("starts")))
}

/// The node of that number, in an empty store.
fn founded(number: u8, store: Store) -> (Shared, Store) {
    let nodes = [1, 2].map(|number| GenesisNode {
        did: key(number).did(),
        name: format!("node-{number}").parse().expect("a name"),
        operator: key(number).did(),
        region: Region::Europe,
        hosts: true,
        validator: true,
    });
    let wallets = [11, 12].map(|number| GenesisWallet {
        account: key(number).did(),
        key: key(number).public().to_bytes(),
        holder: Holder::Person,
        home: key(1).did(),
        grant: Amount::tokens(10),
        human: true,
    });
    let parameters = Parameters::new(key(1).did());
    let genesis =
        Genesis { network: network(), time: FOUNDED, parameters, nodes: nodes.into(), wallets: wallets.into() };
    let (changes, _) = genesis.rows().expect("a valid genesis");
    let mut memory = MemoryView::new();
    memory.write(changes.clone());
    let set = rows::validators(&memory).expect("memory reads").expect("validators");
    ledger::genesis(store.writer(), &changes, &set).expect("written");
    (opened(number, &store), store)
}

fn opened(number: u8, store: &Store) -> Shared {
    let (reader, writer) = (store.reader().clone(), store.writer().clone());
    Shared::new(network(), key(number).did(), reader, writer).expect("a ledger")
}

fn payment(amount: u64, change: impl FnOnce(&mut Transaction)) -> Signed {
    let exchange = Exchange {
        to: key(12).did(),
        from_tenant: None,
        to_tenant: None,
        amount: Amount::new(amount).expect("within the supply"),
        currency: Currency::AngelTokens,
        quote: None,
        reason: String::new(),
    };
    let mut transaction = Transaction {
        network: network(),
        wallet: key(11).did(),
        sequence: 0,
        nonce: [1; 16],
        expires: FOUNDED + Duration::from_hours(1),
        action: Action::CrossTenantExchange(exchange),
    };
    change(&mut transaction);
    Signed::sign(&transaction, &key(11)).expect("within bounds")
}

/// Where a proposer says a batch leads to.
fn value(shared: &Shared, batch: &Batch) -> ValueId {
    let view = LedgerView(&shared.reader);
    ValueId::of(&apply(&view, batch, &shared.verified).expect("it can be applied").header)
}

#[test]
fn what_is_no_good_batch_is_refused_by_everybody_by_the_same_name() {
    let validators = validators();
    let now = FOUNDED + 10 * SECOND;
    let proposer = key(1).did();
    let batch = |transactions| Batch { height: 1, time: now, transactions };
    let good = batch(vec![payment(1_000, |_| {})]);
    let encoded = good.encode();
    let is = value(&validators[0].0, &good);

    let refused = |what: &str, value: ValueId, body: &[u8], clock: Timestamp, named: fn(&Unacceptable) -> bool| {
        let judge = |shared: &Shared| judge(shared, value, body.to_vec(), proposer.clone(), Some(clock));
        let [one, other] = [0, 1].map(|index| judge(&validators[index].0).expect_err(what));
        assert!(named(&one), "{what}: {one}");
        assert_eq!(one.to_string(), other.to_string(), "{what}");
    };
    let no_batch: fn(&Unacceptable) -> bool = |error| matches!(error, Unacceptable::Batch(InvalidBatch::Encoding(_)));
    refused("nothing", is, &[], now, no_batch);
    refused("nonsense", is, &[0xee; 100], now, no_batch);
    refused("cut short", is, &encoded[..encoded.len() - 1], now, no_batch);
    refused("followed by more", is, &[encoded.as_slice(), &[0]].concat(), now, no_batch);
    let many = batch(vec![payment(1_000, |_| {}); BATCH_TRANSACTIONS_MAX + 1]).encode();
    refused("too many", is, &many, now, |error| matches!(error, Unacceptable::Batch(InvalidBatch::TooMany)));
    let large = vec![0; BATCH_ENCODED_BYTES_MAX + 1];
    refused("too large", is, &large, now, |error| matches!(error, Unacceptable::Batch(InvalidBatch::TooLarge)));

    // One micro-token more than there can ever be.
    let mut beyond = batch(vec![payment(SUPPLY_MAX, |_| {})]).encode();
    let amount = SUPPLY_MAX.to_be_bytes();
    let place = beyond.windows(8).position(|window| window == amount).expect("the amount is in there");
    beyond[place..place + 8].copy_from_slice(&(SUPPLY_MAX + 1).to_be_bytes());
    refused("more than the supply", is, &beyond, now, |error| {
        matches!(error, Unacceptable::Batch(InvalidBatch::Transaction(0, _)))
    });

    let at = |height| Batch { height, ..good.clone() }.encode();
    refused("a height left out", is, &at(2), now, |error| matches!(error, Unacceptable::Apply(ApplyError::Gap(1))));
    refused("a height again", is, &at(0), now, |error| {
        matches!(error, Unacceptable::Apply(ApplyError::AlreadyApplied(0)))
    });
    let timed = |time| Batch { time, ..good.clone() }.encode();
    refused("time stands still", is, &timed(FOUNDED), now, |error| {
        matches!(error, Unacceptable::Time(InvalidTime::NotAfter))
    });
    let late = now + BATCH_TIME_BEHIND_MAX + SECOND;
    refused("old", is, &encoded, late, |error| matches!(error, Unacceptable::Time(InvalidTime::Behind(_))));
    refused("from the future", is, &timed(now + BATCH_TIME_AHEAD_MAX + SECOND), now, |error| {
        matches!(error, Unacceptable::Time(InvalidTime::Ahead(_)))
    });
    refused("leads elsewhere", ValueId([7; 32]), &encoded, now, |error| matches!(error, Unacceptable::Value { .. }));

    let forged = {
        let signed = payment(1_000, |_| {});
        let mut bytes = signed.bytes().to_vec();
        let signature = signed.signature().expect("a wallet signs");
        let place = bytes.windows(64).position(|window| window == signature).expect("it is in there");
        bytes[place + 40] ^= 1;
        Signed::decode(&bytes).expect("still a transaction")
    };
    for (what, outcome, transactions) in [
        ("forged", Outcome::BadSignature, vec![forged]),
        ("expired", Outcome::Expired, vec![payment(1, |it| it.expires = FOUNDED)]),
        (
            "another network",
            Outcome::WrongNetwork,
            vec![payment(1, |it| it.network = "other-dev".parse().expect("an id"))],
        ),
        ("out of turn", Outcome::SequenceAhead, vec![payment(1, |it| it.sequence = 1)]),
        ("no wallet", Outcome::WalletUnknown, vec![payment(1, |it| it.wallet = key(13).did())]),
        ("twice", Outcome::AlreadyDecided, vec![payment(1, |_| {}), payment(1, |_| {})]),
    ] {
        let batch = batch(transactions);
        let leads_to = value(&validators[0].0, &batch);
        let judge = |index: usize| {
            let shared = &validators[index].0;
            judge(shared, leads_to, batch.encode(), proposer.clone(), Some(now)).expect_err(what).to_string()
        };
        let said = judge(0);
        assert!(said.ends_with(&outcome.to_string()), "{what}: {said}");
        assert_eq!(said, judge(1), "{what}");
    }
    for (shared, _) in &validators {
        assert_eq!(shared.tip().height, 0);
        assert!(judge(shared, is, encoded.clone(), proposer.clone(), Some(now)).is_ok(), "the good one still is");
    }
}

/// What cannot be paid is decided all the same: refused by name, with its number used up, equally everywhere. All tokens
/// there can be are more than anybody has, and more than may move in a day, which counts first.
#[test]
fn what_cannot_be_paid_is_decided_and_refused_alike_by_everybody() {
    let validators = validators();
    let now = FOUNDED + 10 * SECOND;
    let waiting = vec![payment(SUPPLY_MAX, |_| {}), payment(SUPPLY_MAX, |it| (it.sequence, it.nonce) = (1, [2; 16]))];
    let (made, unfit) = proposer::make(&validators[0].0, waiting, now).expect("made");
    assert!(unfit.is_empty(), "{unfit:?}");
    let judged = judge(&validators[1].0, made.value, made.encoded.clone(), key(1).did(), Some(now)).expect("good");
    for applied in [&made.applied, &judged.applied] {
        let outcomes: Vec<_> = applied.entries.iter().map(|entry| entry.outcome).collect();
        assert_eq!(outcomes, [Outcome::DailyCeiling; 2]);
    }
    assert_eq!(made.applied, judged.applied);
}

/// Three heights, each with a payment.
fn decide_three(shared: &Shared) {
    for sequence in 0..3_u8 {
        let now = FOUNDED + u32::from(1 + sequence) * SECOND;
        let paid = payment(1_000, |it| (it.sequence, it.nonce) = (sequence.into(), [sequence; 16]));
        let (made, _) = proposer::make(shared, vec![paid], now).expect("made");
        let decided = CommitCertificate {
            height: Height(made.applied.header.height),
            round: Round::new(0),
            value_id: made.value,
            commit_signatures: vec![],
        };
        write(shared, &made, &decided).expect("written");
    }
}

#[test]
fn what_was_decided_and_not_written_is_made_anew_when_the_ledger_is_opened() {
    let engine = Arc::new(MemoryEngine::new());
    let store = || Store::on(engine.clone(), Box::new(|_| {})).expect("starts");
    let (shared, first) = founded(1, store());
    decide_three(&shared);
    let balance = |shared: &Shared| rows::balance(&LedgerView(&shared.reader), &key(12).did(), None).expect("reads");
    let (tip, received) = (shared.tip(), balance(&shared));
    assert_eq!(tip.height, 3);
    drop((shared, first));

    let again = store();
    let written = rows::head(&LedgerView(again.reader())).expect("reads").expect("there").height;
    assert_eq!(written, 0, "the tables are behind");
    let shared = opened(1, &again);
    assert_eq!((shared.tip(), balance(&shared)), (tip, received));
    shared.settle().expect("written");
    drop((shared, again));
    let shared = opened(1, &store());
    assert_eq!(shared.tip(), tip);
}

#[test]
fn a_damaged_height_is_named_and_nothing_is_built_on_it() {
    const BATCHES: ChunkedTable<u64> = ChunkedTable::new(TableId::LedgerBatches);
    let opens = |instead: Option<Batch>| {
        let engine = Arc::new(MemoryEngine::new());
        let store = || Store::on(engine.clone(), Box::new(|_| {})).expect("starts");
        let (shared, first) = founded(1, store());
        decide_three(&shared);
        let mut rows = Rows::new();
        BATCHES.delete(&shared.reader, &mut rows, &2).expect("deleted");
        if let Some(batch) = instead {
            BATCHES.put(&mut rows, &2, &batch.encode()).expect("small");
        }
        first.writer().commit(rows).expect("written");
        drop((shared, first));
        let again = store();
        let (reader, writer) = (again.reader().clone(), again.writer().clone());
        Shared::new(network(), key(1).did(), reader, writer).map(|shared| shared.tip().height)
    };
    assert!(matches!(opens(None), Err(LedgerError::NoBatch(2))));
    let paid = payment(2_000, |it| (it.sequence, it.nonce) = (1, [1; 16]));
    let other = Batch { height: 2, time: FOUNDED + 2 * SECOND, transactions: vec![paid] };
    assert!(matches!(opens(Some(other)), Err(LedgerError::Elsewhere(2))));
}

#[test]
fn what_a_peer_sent_is_kept_before_the_engine_may_decide_it() {
    let [(one, _kept), (two, store)] = validators();
    let (made, _) = proposer::make(&one, vec![payment(1_000, |_| {})], FOUNDED + SECOND).expect("made");
    let sent = follow(&two, made.encoded.clone(), key(1).did()).expect("good");
    for _ in 0..2 {
        proposer::keep_followed(&two, 1, &sent, Round::new(3)).expect("kept");
    }
    let kept = undecided::get(store.reader(), 1, made.value.0).expect("reads").expect("kept");
    assert_eq!((kept.body, kept.proposer, kept.round, kept.pol_round), (made.encoded, key(1).did(), 3, None));
    assert_eq!(undecided::voting(store.reader()).expect("reads"), None, "it is no vote");
}

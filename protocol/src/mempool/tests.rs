//! The machine by example, and under random inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::data::Cid;
use crate::ids::Did;
use crate::ledger::tests::identities::{rotation_key, state, wrap};
use crate::ledger::tests::random::Random;
use crate::ledger::tests::world::*;
use crate::ledger::{Admission, Batch, Entry, Outcome, Signed, Transaction, TransactionId};
use crate::limits::{MEMPOOL_IDENTITY_MAX, TRANSACTION_LIFE_MAX};
use crate::plc::PlcOperation;
use crate::time::Timestamp;

const AT: Timestamp = START;

struct Pool {
    world: World,
    state: State,
    now: Timestamp,
}

impl Pool {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self { world: World::new(), state: State::new(config, AT), now: AT }
    }

    fn signed(&mut self, by: &Did, sequence: u64) -> Signed {
        let draft = self.world.draft(by, pay("ben", micro(1)));
        self.world.signed(&Transaction { sequence, ..draft })
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.state.handle(self.now, input, &mut effects);
        self.state.check();
        effects
    }

    fn submit(&mut self, signed: &Signed) -> Vec<Effect> {
        self.submit_at(signed, 0, Origin::Local)
    }

    fn submit_at(&mut self, signed: &Signed, next_sequence: u64, origin: Origin) -> Vec<Effect> {
        self.input(Input::Submitted { signed: signed.clone(), admission: Admission { next_sequence }, origin })
    }

    fn decide(&mut self, transactions: &[&Signed]) -> Vec<Effect> {
        let transactions: Vec<_> = transactions.iter().map(|signed| (*signed).clone()).collect();
        let entry = |signed: &Signed| Entry { id: signed.id(), outcome: Outcome::Posted, fit: true };
        let entries = transactions.iter().map(entry).collect();
        let batch = Arc::new(Batch { height: 1, time: self.now, transactions });
        self.input(Input::Decided { batch, entries })
    }

    fn selected(&self) -> Vec<TransactionId> {
        self.state.select(usize::MAX, usize::MAX).iter().map(Signed::id).collect()
    }
}

fn refused(signed: &Signed, refusal: Refusal) -> Effect {
    Effect::Refused { id: signed.id(), refusal }
}

fn operation(prev: Option<Cid>, name: &str, signer: u8) -> PlcOperation {
    state(&[1, 2], name, prev).sign(&rotation_key(signer))
}

#[test]
fn operations_wait_side_by_side_and_apart_from_the_wallet_of_their_identity() {
    let mut pool = Pool::new(|_| {});
    let first = operation(None, "first", 1);
    let did = first.creates().expect("a first operation");
    let stolen = wrap(&did, &operation(Some(first.cid()), "thief", 2));
    let rescue = wrap(&did, &operation(Some(first.cid()), "saved", 1));
    pool.world.add_key(did.clone(), key(9, 1));
    let payment = pool.signed(&did, 0);
    for signed in [&stolen, &rescue, &payment] {
        assert!(pool.submit(signed).contains(&Effect::Accepted(signed.id())));
    }
    assert_eq!(pool.submit(&rescue), [Effect::Accepted(rescue.id())]);
    assert_eq!(pool.selected(), [&stolen, &rescue, &payment].map(Signed::id));
    // What was decided may have taken the ground from the others.
    let effects = pool.decide(&[&stolen]);
    let (forgotten, resolved) =
        (Effect::Forget(stolen.id()), Effect::Resolved { id: stolen.id(), outcome: Outcome::Posted });
    assert_eq!(effects, [forgotten, resolved, Effect::Recheck(rescue.clone())]);
    let effects = pool.input(Input::Unfit { id: rescue.id(), outcome: Outcome::BadOperationSignature });
    assert_eq!(effects[0], Effect::Forget(rescue.id()));
    assert_eq!(pool.selected(), [payment.id()]);
}

#[test]
fn an_operation_that_nobody_decides_is_given_up_after_a_day() {
    let mut pool = Pool::new(|_| {});
    let first = operation(None, "first", 1);
    let signed = wrap(&first.creates().expect("a first operation"), &first);
    pool.submit(&signed);
    pool.now = AT + TRANSACTION_LIFE_MAX;
    assert!(!pool.input(Input::Tick).contains(&Effect::Forget(signed.id())));
    pool.now = pool.now + Duration::from_millis(1);
    assert!(pool.input(Input::Tick).contains(&Effect::Forget(signed.id())));
}

#[test]
fn operations_have_bounds() {
    let mut pool = Pool::new(|config| config.transactions_max = 40);
    let first = operation(None, "first", 1);
    let identity = first.creates().expect("a first operation");
    let later = |n: usize| wrap(&identity, &operation(Some(first.cid()), &format!("n{n}"), 1));
    for n in 0..MEMPOOL_IDENTITY_MAX {
        pool.submit(&later(n));
    }
    let more = later(MEMPOOL_IDENTITY_MAX);
    assert_eq!(pool.state.precheck(AT, &more), Err(Refusal::IdentityFull { waiting: MEMPOOL_IDENTITY_MAX }));
    let create = |n: usize| {
        let operation = operation(None, &format!("new{n}"), 1);
        wrap(&operation.creates().expect("a first operation"), &operation)
    };
    for n in 0..10 {
        assert!(pool.submit(&create(n)).contains(&Effect::Accepted(create(n).id())));
    }
    assert!(matches!(pool.state.precheck(AT, &create(10)), Err(Refusal::Full { .. })));
    let payment = pool.signed(&did("ada"), 0);
    assert!(pool.submit(&payment).contains(&Effect::Accepted(payment.id())), "others find room");
}

#[test]
fn a_local_transaction_is_stored_answered_and_gossiped() {
    let mut pool = Pool::new(|_| {});
    let one = pool.signed(&did("ada"), 0);
    assert_eq!(
        pool.submit(&one),
        [
            Effect::Persist { signed: one.clone(), local: true, arrival: 0 },
            Effect::Accepted(one.id()),
            Effect::Gossip(one.clone()),
            Effect::Ready,
        ]
    );
    assert_eq!(pool.submit(&one), [Effect::Accepted(one.id())], "a retry hears the same");
    let two = pool.signed(&did("ben"), 0);
    assert_eq!(
        pool.submit_at(&two, 0, Origin::Peer(node(1))),
        [Effect::Persist { signed: two.clone(), local: false, arrival: 1 }, Effect::Accepted(two.id())],
        "gossip has spread it already"
    );
    assert_eq!((pool.state.len(), pool.state.bytes()), (2, one.bytes().len() + two.bytes().len()));
}

#[test]
fn the_first_of_two_for_one_number_stays() {
    let mut pool = Pool::new(|_| {});
    let (one, two) = (pool.signed(&did("ada"), 0), pool.signed(&did("ada"), 0));
    pool.submit(&one);
    let double = Effect::DoubleSpend { wallet: did("ada"), waiting: one.clone(), refused: two.clone() };
    assert_eq!(pool.submit(&two), [double, refused(&two, Refusal::SequenceTaken)]);
    assert_eq!(pool.selected(), [one.id()]);
}

#[test]
fn a_wallet_goes_on_behind_what_nobody_decides_and_fills_what_expired() {
    let mut pool = Pool::new(|_| {});
    let ada = did("ada");
    let action = pay("ben", micro(1));
    let other = pay("ben", micro(2));
    assert_eq!(pool.state.slot(&ada, 4, None, &action), Slot::Free(4));
    let waits = pool.signed(&ada, 4);
    pool.submit_at(&waits, 4, Origin::Local);
    assert_eq!(pool.state.slot(&ada, 4, None, &other), Slot::Free(5), "behind the one that waits");
    assert_eq!(pool.state.slot(&ada, 4, None, &action), Slot::Waits(waits.clone()), "not a second time");
    let nonce = waits.transaction().nonce;
    assert_eq!(pool.state.slot(&ada, 4, Some(nonce), &action), Slot::Waits(waits.clone()));
    assert_eq!(pool.state.slot(&ada, 4, Some([0xee; 16]), &action), Slot::Free(5), "it has to have that id");
    let behind = pool.signed(&ada, 5);
    pool.submit_at(&behind, 4, Origin::Local);
    assert_eq!(pool.state.slot(&ada, 4, None, &other), Slot::Free(6));
    pool.input(Input::Unfit { id: waits.id(), outcome: Outcome::Expired });
    assert_eq!(pool.state.slot(&ada, 4, None, &other), Slot::Free(4), "where one expired is room");
    assert_eq!(pool.state.slot(&did("ben"), 0, None, &other), Slot::Free(0), "another's wallet is another's");
}

#[test]
fn an_id_is_taken_once() {
    let mut pool = Pool::new(|_| {});
    let draft = pool.world.draft(&did("ada"), pay("ben", micro(1)));
    let one = pool.world.signed(&draft);
    let two = pool.world.signed(&Transaction { sequence: 1, ..draft });
    pool.submit(&one);
    assert_eq!(pool.submit(&two), [refused(&two, Refusal::IdTaken)]);
}

#[test]
fn numbers_are_within_reach_and_wallets_within_their_bound() {
    let mut pool = Pool::new(|config| config.wallet_max = 2);
    let far = pool.signed(&did("ada"), 7);
    assert_eq!(pool.submit_at(&far, 5, Origin::Local), [refused(&far, Refusal::TooFarAhead { next: 5 })]);
    let past = pool.signed(&did("ada"), 4);
    assert_eq!(pool.submit_at(&past, 5, Origin::Local), [refused(&past, Refusal::SequencePassed { next: 5 })]);
    for sequence in [5, 6] {
        let signed = pool.signed(&did("ada"), sequence);
        pool.submit_at(&signed, 5, Origin::Local);
    }
    let third = pool.signed(&did("ada"), 7);
    assert_eq!(pool.submit_at(&third, 5, Origin::Local), [refused(&third, Refusal::WalletFull { waiting: 2 })]);
    assert_eq!(pool.state.precheck(AT, &third), Err(Refusal::WalletFull { waiting: 2 }));
    // A node acts for many.
    for sequence in 0..5 {
        let signed = pool.signed(&node(0), sequence);
        assert!(pool.submit(&signed).contains(&Effect::Accepted(signed.id())));
    }
}

#[test]
fn full_says_when_to_try_again() {
    let mut pool = Pool::new(|config| (config.transactions_max, config.reserved_percent) = (4, 50));
    for name in ["ada", "ben"] {
        let signed = pool.signed(&did(name), 0);
        pool.submit(&signed);
    }
    let cleo = pool.signed(&did("cleo"), 0);
    let later = Refusal::Full { retry_after: Duration::from_secs(30) };
    assert_eq!(pool.submit(&cleo), [refused(&cleo, later)]);
    assert_eq!(pool.state.precheck(AT, &cleo), Err(later));
    pool.decide(&[]);
    assert_eq!(pool.submit(&cleo), [refused(&cleo, Refusal::Full { retry_after: Duration::from_secs(1) })]);
    // The other half is for what the network needs.
    let draft = pool.world.draft(&node(0), crate::ledger::Action::RetireNode);
    let retire = pool.world.signed(&draft);
    assert!(pool.submit(&retire).contains(&Effect::Accepted(retire.id())));
    assert_eq!(pool.selected()[0], retire.id(), "and it goes first");
}

#[test]
fn what_can_be_decided_takes_the_place_of_what_cannot() {
    let mut pool = Pool::new(|config| (config.transactions_max, config.reserved_percent) = (3, 0));
    let (stuck, later) = (pool.signed(&did("ada"), 1), pool.signed(&did("ada"), 2));
    let ready = pool.signed(&did("ben"), 0);
    for signed in [&stuck, &later, &ready] {
        pool.submit(signed);
    }
    let ahead = pool.signed(&did("cleo"), 1);
    let full = Refusal::Full { retry_after: Duration::from_secs(30) };
    assert_eq!(pool.submit(&ahead), [refused(&ahead, full)], "no better than what waits");
    let next = pool.signed(&did("cleo"), 0);
    let effects = pool.submit(&next);
    assert_eq!(effects[..2], [Effect::Forget(later.id()), refused(&later, full)]);
    assert!(effects.contains(&Effect::Accepted(next.id())));
    assert_eq!(pool.selected(), [ready.id(), next.id()]);
}

#[test]
fn the_room_is_bounded_in_bytes() {
    let mut pool = Pool::new(|_| {});
    let (one, two) = (pool.signed(&did("ada"), 0), pool.signed(&did("ben"), 0));
    let bytes_max = one.bytes().len() + two.bytes().len() - 1;
    pool.state = State::new(Config { bytes_max, reserved_percent: 0, ..Config::default() }, AT);
    pool.submit(&one);
    let full = Refusal::Full { retry_after: Duration::from_secs(30) };
    assert_eq!(pool.submit(&two), [refused(&two, full)]);
}

#[test]
fn what_expires_is_dropped_in_time() {
    let mut pool = Pool::new(|_| {});
    let signed = pool.signed(&did("ada"), 0);
    pool.submit(&signed);
    pool.now = signed.transaction().expires;
    assert!(!pool.input(Input::Tick).iter().any(|effect| matches!(effect, Effect::Resolved { .. })));
    let deadline = pool.state.next_deadline();
    assert!(deadline > pool.now && deadline <= pool.now + Duration::from_millis(1));
    pool.now = deadline;
    let gone = [Effect::Forget(signed.id()), Effect::Resolved { id: signed.id(), outcome: Outcome::Expired }];
    assert_eq!(pool.input(Input::Tick), gone);
    assert_eq!(pool.submit(&signed), [refused(&signed, Refusal::Expired)]);
}

#[test]
fn a_decision_resolves_and_moves_wallets_on() {
    let mut pool = Pool::new(|_| {});
    let (one, two) = (pool.signed(&did("ada"), 0), pool.signed(&did("ada"), 1));
    let elsewhere = pool.signed(&did("ada"), 0);
    let other = pool.signed(&did("cleo"), 0);
    pool.submit(&one);
    pool.submit(&two);
    // Another transaction for number 0 was decided, which waited elsewhere.
    let posted = |signed: &Signed| Effect::Resolved { id: signed.id(), outcome: Outcome::Posted };
    assert_eq!(
        pool.decide(&[&elsewhere, &other]),
        [
            posted(&elsewhere),
            Effect::Forget(one.id()),
            Effect::Resolved { id: one.id(), outcome: Outcome::SequencePassed },
            posted(&other),
        ]
    );
    assert_eq!(pool.selected(), [two.id()]);
    assert_eq!(pool.decide(&[&two]), [Effect::Forget(two.id()), posted(&two)]);
    assert!(pool.state.is_empty());
}

#[test]
fn what_assembling_finds_unfit_goes_unless_it_may_yet_be_fit() {
    let mut pool = Pool::new(|_| {});
    let signed = pool.signed(&did("ada"), 0);
    pool.submit(&signed);
    assert_eq!(pool.input(Input::Unfit { id: signed.id(), outcome: Outcome::SequenceAhead }), []);
    let outcome = Outcome::BadSignature;
    assert_eq!(
        pool.input(Input::Unfit { id: signed.id(), outcome }),
        [Effect::Forget(signed.id()), Effect::Resolved { id: signed.id(), outcome }]
    );
}

#[test]
fn selection_keeps_each_wallets_order_and_its_bounds() {
    let mut pool = Pool::new(|_| {});
    let ada: Vec<_> = [1, 0, 3].into_iter().map(|sequence| pool.signed(&did("ada"), sequence)).collect();
    let ben = pool.signed(&did("ben"), 0);
    for signed in [&ada[0], &ben, &ada[1], &ada[2]] {
        pool.submit(signed);
    }
    // Ada's first came last; her third waits for the second.
    let order = [ben.id(), ada[1].id(), ada[0].id()];
    assert_eq!(pool.selected(), order);
    let ids = |list: Vec<Signed>| list.iter().map(Signed::id).collect::<Vec<_>>();
    assert_eq!(ids(pool.state.select(2, usize::MAX)), order[..2]);
    let room = ben.bytes().len() + ada[1].bytes().len();
    assert_eq!(ids(pool.state.select(9, room)), order[..2]);
    assert_eq!(ids(pool.state.select(9, room - 1)), order[..1]);
}

#[test]
fn own_transactions_are_gossiped_again_in_turn() {
    let mut pool = Pool::new(|config| config.repeats_max = 2);
    let mine: Vec<_> = (0..3).map(|sequence| pool.signed(&did("ada"), sequence)).collect();
    for signed in &mine {
        pool.submit(signed);
    }
    let foreign = pool.signed(&did("ben"), 0);
    pool.submit_at(&foreign, 0, Origin::Peer(node(1)));
    for turn in [[0, 1], [2, 0], [1, 2]] {
        pool.now = pool.state.next_deadline();
        let expected: Vec<_> = turn.iter().map(|index| Effect::Gossip(mine[*index].clone())).collect();
        assert_eq!(pool.input(Input::Tick), expected);
    }
}

#[test]
fn one_that_its_submitter_keeps_is_gossiped_and_not_stored() {
    let mut pool = Pool::new(|_| {});
    let signed = pool.signed(&did("ada"), 0);
    let effects = pool.submit_at(&signed, 0, Origin::Kept);
    assert_eq!(effects, [Effect::Accepted(signed.id()), Effect::Gossip(signed.clone()), Effect::Ready]);
    pool.now = pool.state.next_deadline();
    assert_eq!(pool.input(Input::Tick), [Effect::Gossip(signed.clone())]);
    assert_eq!(pool.submit(&signed), [Effect::Accepted(signed.id())], "once is enough");
}

/// What a driver would have stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored(BTreeMap<TransactionId, (u64, Signed, bool)>);

impl Stored {
    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Persist { signed, local, arrival } => {
                    let old = self.0.insert(signed.id(), (*arrival, signed.clone(), *local));
                    assert!(old.is_none(), "stored once");
                }
                Effect::Forget(id) => assert!(self.0.remove(id).is_some(), "only what is stored is deleted"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_restart_loses_nothing() {
    let mut pool = Pool::new(|_| {});
    let mut stored = Stored::default();
    let names = ["ada", "ben", "cleo"];
    for number in 0..9_u64 {
        let signed = pool.signed(&did(names[usize::try_from(number % 3).expect("small")]), number / 3);
        stored.perform(&pool.submit(&signed));
    }
    let before = pool.selected();
    let mut found: Vec<_> = stored.0.into_values().collect();
    found.sort_by_key(|(arrival, ..)| *arrival);
    pool.state = State::new(Config::default(), AT);
    for (_, signed, local) in found {
        let effects = pool.submit_at(&signed, 0, Origin::Stored { local });
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist { .. } | Effect::Gossip(_))));
    }
    assert_eq!(pool.selected(), before);
    // One that has expired meanwhile is deleted.
    let late = pool.signed(&did("dan"), 0);
    pool.now = AT + DAY;
    let effects = pool.submit_at(&late, 0, Origin::Stored { local: true });
    assert_eq!(effects[effects.len() - 2..], [refused(&late, Refusal::Expired), Effect::Forget(late.id())]);
}

/// A few identities, with more operations than may wait for one.
fn some_operations() -> Vec<Signed> {
    let of = |identity: usize| {
        let first = operation(None, &format!("first{identity}"), 1);
        let did = first.creates().expect("a first operation");
        let later = |n: usize| wrap(&did, &operation(Some(first.cid()), &format!("n{n}"), 1));
        let mut all = vec![wrap(&did, &first)];
        all.extend((0..MEMPOOL_IDENTITY_MAX + 2).map(later));
        all
    };
    (0..4).flat_map(of).collect()
}

#[test]
fn random_inputs_keep_every_index_and_two_copies_alike() {
    let seed = Random::seed_from_env();
    let mut random = Random::new(seed);
    let change = |config: &mut Config| {
        (config.transactions_max, config.wallet_max, config.node_wallet_max) = (40, 8, 16);
    };
    let mut pool = Pool::new(change);
    let mut twin = pool.state.clone();
    let mut stored = Stored::default();
    let mut wallets = PEOPLE.map(did).to_vec();
    wallets.extend([node(0), node(1)]);
    let operations = some_operations();
    let mut next: BTreeMap<Did, u64> = BTreeMap::new();
    let mut ready = false;
    for step in 0..4000 {
        let wallet = random.pick(&wallets).clone();
        let base = next.get(&wallet).copied().unwrap_or(0);
        let input = match random.below(12) {
            10..12 => {
                let origin = if random.one_in(2) { Origin::Local } else { Origin::Peer(node(2)) };
                let signed = random.pick(&operations).clone();
                Input::Submitted { signed, admission: Admission { next_sequence: 0 }, origin }
            }
            0..6 => {
                let sequence = (base + random.next() % 10).saturating_sub(1);
                let origin = if random.one_in(2) { Origin::Local } else { Origin::Peer(node(2)) };
                let draft = pool.world.draft(&wallet, pay("ben", micro(1)));
                let life = Duration::from_secs(random.next() % 200);
                let signed = pool.world.signed(&Transaction { sequence, expires: pool.now + life, ..draft });
                Input::Submitted { signed, admission: Admission { next_sequence: base }, origin }
            }
            6..8 => {
                let transactions = pool.state.select(1 + random.below(6), usize::MAX);
                for signed in transactions.iter().filter(|signed| signed.operation().is_none()) {
                    let transaction = signed.transaction();
                    let expected = next.entry(transaction.wallet.clone()).or_default();
                    assert!(transaction.sequence >= *expected, "step {step}, seed {seed}");
                    *expected = transaction.sequence + 1;
                }
                let entries = transactions
                    .iter()
                    .map(|signed| Entry { id: signed.id(), outcome: Outcome::Posted, fit: true })
                    .collect();
                let batch = Batch { height: 1, time: pool.now, transactions };
                Input::Decided { batch: Arc::new(batch), entries }
            }
            8 => {
                pool.now = pool.now + Duration::from_secs(random.next() % 20);
                Input::Tick
            }
            _ => match pool.state.select(1, usize::MAX).first() {
                Some(signed) => Input::Unfit { id: signed.id(), outcome: Outcome::BadSignature },
                None => Input::Tick,
            },
        };
        let effects = pool.input(input.clone());
        let mut again = Vec::new();
        twin.handle(pool.now, input, &mut again);
        assert_eq!(effects, again, "step {step}, seed {seed}");
        stored.perform(&effects);
        let waiting: Vec<_> = stored.0.keys().copied().collect();
        assert_eq!(waiting.len(), pool.state.len(), "step {step}, seed {seed}");
        assert!(waiting.iter().all(|id| pool.state.get(id).is_some()), "step {step}, seed {seed}");
        let became_ready = effects.contains(&Effect::Ready);
        assert_eq!(became_ready, !ready && pool.state.has_ready(), "step {step}, seed {seed}");
        ready = pool.state.has_ready();
        // What is selected is each wallet's unbroken run from its next number.
        let mut expected: BTreeMap<Did, u64> = BTreeMap::new();
        for signed in pool.state.select(usize::MAX, usize::MAX) {
            if signed.operation().is_some() {
                continue;
            }
            let transaction = signed.transaction();
            if let Some(before) = expected.insert(transaction.wallet.clone(), transaction.sequence) {
                assert_eq!(transaction.sequence, before + 1, "step {step}, seed {seed}");
            }
        }
    }
}

//! Payments, quotes, scopes, fees, grants, node rewards, reversals, staking.

use super::world::*;
use crate::ids::Did;
use crate::ledger::action::*;
use crate::ledger::parameters::{Currency, Rate};
use crate::ledger::*;

fn exchange(change: impl FnOnce(&mut Exchange)) -> Action {
    let Action::CrossTenantExchange(mut it) = pay("ben", tokens(10)) else { unreachable!("an exchange") };
    change(&mut it);
    Action::CrossTenantExchange(it)
}

fn quote(world: &World, currency: Currency, change: impl FnOnce(&mut Quote)) -> Quote {
    let mut quote = Quote {
        node: node(0),
        issued: world.now,
        expires: world.now + std::time::Duration::from_mins(1),
        rate: 10_000,
        fee: 10,
        signature: [0; 64],
    };
    change(&mut quote);
    if world.keys.contains_key(&quote.node) {
        quote.signature = world.sign(&quote.node, &statement::quote(&network(), currency, &quote));
    }
    quote
}

#[test]
fn payments_are_refused_by_reason() {
    let mut world = World::new();
    let ada = did("ada");
    for (expected, action) in [
        (Outcome::AmountZero, pay("ben", Amount::ZERO)),
        (Outcome::UnknownReceiver, pay("nobody", tokens(1))),
        (Outcome::SameWallet, pay("ada", tokens(1))),
        (Outcome::QuoteMissing, exchange(|it| it.currency = Currency::KarmaPoints)),
        (Outcome::InsufficientBalance, pay("ben", tokens(101))),
    ] {
        assert_eq!(world.act(&ada, action), expected);
    }
    // Several reasons at once: the first in the list wins.
    assert_eq!(world.act(&ada, pay("nobody", Amount::ZERO)), Outcome::AmountZero);
}

#[test]
fn a_fee_is_due_across_nodes_and_goes_to_the_pool() {
    let mut world = World::new();
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(10))), Outcome::Posted);
    assert_eq!(world.supply().pool, Amount::ZERO);
    assert_eq!(world.act(&did("ada"), pay("dan", tokens(10))), Outcome::Posted);
    assert_eq!(world.supply().pool, micro(10_000));
    assert_eq!(world.balance("ada"), 80_000_000 - 10_000);
    // The fee counts: what is left covers the amount and not the fee.
    assert_eq!(world.act(&did("ada"), pay("dan", micro(79_990_000))), Outcome::InsufficientBalance);
    let moved = world.receipt(TransactionId::new(&did("ada"), &nonce(2))).moved.expect("moved");
    assert_eq!((moved.amount, moved.fee), (tokens(10), micro(10_000)));
}

fn nonce(number: u64) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce
}

#[test]
fn quotes_are_judged_by_reason() {
    let mut world = World::new();
    let ada = did("ada");
    let points = Currency::KarmaPoints;
    let life = std::time::Duration::from_mins(1);
    let mut offer = |expected, currency, change: &dyn Fn(&mut Quote)| {
        let mut promised = quote(&world, currency, change);
        if expected == Outcome::BadQuoteSignature {
            promised.signature[3] ^= 1;
        }
        let action = exchange(|it| {
            it.currency = currency;
            it.amount = tokens(250);
            it.quote = Some(promised);
        });
        assert_eq!(world.act(&ada, action), expected);
    };
    offer(Outcome::QuoteNodeUnknown, points, &|it| it.node = did("ben"));
    offer(Outcome::QuoteInFuture, points, &|it| it.issued = it.issued + life);
    offer(Outcome::QuoteTooLong, points, &|it| it.expires = it.expires + life);
    offer(Outcome::QuoteExpired, points, &|it| (it.issued, it.expires) = (it.issued - life, it.expires - life));
    offer(Outcome::RateUnavailable, Currency::Usd, &|_| {});
    offer(Outcome::QuoteMismatch, points, &|it| it.rate += 1);
    offer(Outcome::QuoteMismatch, points, &|it| it.fee += 1);
    offer(Outcome::BadQuoteSignature, points, &|_| {});
    offer(Outcome::Posted, points, &|_| {});
    // 250 points at a hundredth of a token each.
    assert_eq!((world.balance("ada"), world.balance("ben")), (97_500_000, 102_500_000));
    let dust = quote(&world, points, |_| {});
    let nothing = exchange(|it| (it.currency, it.amount, it.quote) = (points, micro(99), Some(dust)));
    assert_eq!(world.act(&ada, nothing), Outcome::NothingMoves);
}

#[test]
fn a_rate_agreed_on_takes_effect_when_it_says() {
    let mut world = World::new();
    let from = world.now + HOUR;
    let change = |rate| {
        Action::Change(ApprovedChange {
            change: Change::Rate(RateChange { currency: Currency::Usd, rate }),
            approvals: Vec::new(),
        })
    };
    let rate = Some(Rate { micro_per_unit: 2_000_000, from: from.as_millis() });
    assert_eq!(world.act_approved(&node(0), change(rate), &[0, 1, 2]), Outcome::Posted);
    let rates = rows::rates(&world.view).expect("memory reads").expect("genesis");
    assert_eq!(rates.at(Currency::Usd, from - std::time::Duration::from_millis(1)), None);
    assert_eq!(rates.at(Currency::Usd, from), Some(2_000_000));
    world.now = from + HOUR;
    assert_eq!(world.act_approved(&node(0), change(None), &[0, 1, 2]), Outcome::Posted);
    let rates = rows::rates(&world.view).expect("memory reads").expect("genesis");
    assert_eq!(rates.at(Currency::Usd, world.now), None);
    let token = Change::Rate(RateChange { currency: Currency::AngelTokens, rate });
    let action = Action::Change(ApprovedChange { change: token, approvals: Vec::new() });
    assert_eq!(world.act_approved(&node(0), action, &[0, 1, 2]), Outcome::ChangeInvalid);
    assert_eq!(world.act(&did("ada"), change(None)), Outcome::NotAValidator);
}

#[test]
fn tokens_earned_inside_a_tenant_stay_there_until_exchanged() {
    let mut world = World::new();
    let ada = did("ada");
    let into = exchange(|it| it.to_tenant = Some(did("shop")));
    assert_eq!(world.act(&ada, into), Outcome::Posted);
    assert_eq!((world.balance("ben"), world.scoped("ben", "shop")), (100_000_000, 10_000_000));
    let ben = did("ben");
    let mut thanks = recognise("ada", tokens(4), cause("a", world.now));
    if let Action::PeerRecognition(it) = &mut thanks {
        it.tenant = Some(did("shop"));
    }
    assert_eq!(world.act(&ben, thanks), Outcome::Posted);
    assert_eq!(world.scoped("ada", "shop"), 4_000_000);
    let home = |amount| {
        exchange(|it| {
            it.to = ben.clone();
            it.from_tenant = Some(did("shop"));
            it.amount = amount;
        })
    };
    assert_eq!(world.act(&ben, home(tokens(7))), Outcome::InsufficientBalance);
    assert_eq!(world.act(&ben, home(tokens(6))), Outcome::Posted);
    assert_eq!((world.balance("ben"), world.scoped("ben", "shop")), (106_000_000, 0));
}

#[test]
fn grants_need_a_quorum_a_ceiling_and_room() {
    let mut world = World::with(|genesis| genesis.parameters.ceilings.system_grant = tokens(50));
    let act = |world: &mut World, by: &Did, to, amount, approvers: &[u8]| {
        world.act_approved(by, grant(to, amount), approvers)
    };
    assert_eq!(act(&mut world, &did("ada"), "ada", tokens(1), &[0, 1, 2]), Outcome::NotAValidator);
    assert_eq!(act(&mut world, &node(0), "ada", Amount::ZERO, &[0, 1, 2]), Outcome::AmountZero);
    assert_eq!(act(&mut world, &node(0), "nobody", tokens(1), &[0, 1, 2]), Outcome::UnknownReceiver);
    assert_eq!(act(&mut world, &node(0), "ada", tokens(1), &[0, 0, 1, 2]), Outcome::ApprovalInvalid);
    assert_eq!(act(&mut world, &node(0), "ada", tokens(1), &[0, 1]), Outcome::NoQuorum);
    assert_eq!(act(&mut world, &node(0), "ada", tokens(51), &[0, 1, 2]), Outcome::DailyCeiling);
    assert_eq!(act(&mut world, &node(0), "ada", tokens(50), &[0, 1, 2]), Outcome::Posted);
    assert_eq!(act(&mut world, &node(0), "ada", micro(1), &[0, 1, 2]), Outcome::DailyCeiling);
    world.now = START + DAY;
    assert_eq!(act(&mut world, &node(0), "ada", micro(1), &[0, 1, 2]), Outcome::Posted);
    assert_eq!(world.supply().minted, micro(850_000_001));

    // Approvals hold for their transaction alone.
    let mut transaction = world.draft(&node(0), grant("ada", tokens(1)));
    let other = TransactionId([1; 32]);
    let approvals = world.approvals(other, &transaction.action, &[0, 1, 2]);
    if let Action::SystemGrant(it) = &mut transaction.action {
        it.approvals = approvals;
    }
    assert_eq!(world.submit(&transaction), Outcome::BadApproval);
}

#[test]
fn the_supply_has_an_end() {
    let all = Amount::new(amount::SUPPLY_MAX - 800_000_000).expect("within");
    let mut world = World::with(|genesis| genesis.parameters.ceilings.system_grant = all);
    assert_eq!(world.act_approved(&node(0), grant("ada", all), &[0, 1, 2]), Outcome::Posted);
    world.now = START + DAY;
    assert_eq!(world.act_approved(&node(0), grant("ada", micro(1)), &[0, 1, 2]), Outcome::SupplyExhausted);
    let reward = karma_reward("ada", 100, tokens(1), cause("a", world.now));
    assert_eq!(world.act(&node(0), reward), Outcome::SupplyExhausted);
    let day = world.now.as_millis() / 86_400_000;
    let reward = Action::NodeReward(NodeReward { to: node(1), amount: tokens(1), day });
    assert_eq!(world.act(&node(0), reward), Outcome::SupplyExhausted);
}

#[test]
fn a_node_is_paid_once_a_day_from_the_pool_first() {
    let mut world = World::with(|genesis| genesis.parameters.ceilings.node_reward = tokens(15));
    assert_eq!(world.act(&did("ada"), pay("dan", tokens(50))), Outcome::Posted);
    let pool = world.supply().pool;
    assert_eq!(pool, micro(50_000));
    let today = world.now.as_millis() / 86_400_000;
    let reward = |to: Did, amount, day| Action::NodeReward(NodeReward { to, amount, day });
    for (expected, by, action) in [
        (Outcome::NotAValidator, did("ada"), reward(node(1), tokens(1), today)),
        (Outcome::AmountZero, node(0), reward(node(1), Amount::ZERO, today)),
        (Outcome::ReceiverNotANode, node(0), reward(did("ada"), tokens(1), today)),
        (Outcome::CauseInFuture, node(0), reward(node(1), tokens(1), today + 1)),
        (Outcome::CauseInFuture, node(0), reward(node(1), tokens(1), u64::MAX)),
        (Outcome::CauseTooOld, node(0), reward(node(1), tokens(1), today - 31)),
        (Outcome::RewardNotEarned, node(0), reward(node(1), tokens(11), today)),
        (Outcome::Posted, node(0), reward(node(1), tokens(10), today)),
        (Outcome::CauseRewarded, node(0), reward(node(1), tokens(1), today)),
        (Outcome::DailyCeiling, node(0), reward(node(2), tokens(6), today)),
        (Outcome::Posted, node(0), reward(node(2), tokens(5), today)),
    ] {
        assert_eq!(world.act(&by, action), expected);
    }
    let supply = world.supply();
    assert_eq!((supply.pool, supply.minted), (Amount::ZERO, micro(800_000_000 + 15_000_000 - 50_000)));
}

#[test]
fn the_justice_fund_is_on_one_side() {
    let mut world = World::new();
    let give = |to: &str, amount| Action::JusticeFund(JusticeFund { to: did(to), amount, reason: "justice".into() });
    for (expected, by, action) in [
        (Outcome::AmountZero, "ada", give("fund", Amount::ZERO)),
        (Outcome::UnknownReceiver, "ada", give("nobody", tokens(1))),
        (Outcome::SameWallet, "fund", give("fund", tokens(1))),
        (Outcome::NotJusticeFund, "ada", give("ben", tokens(1))),
        (Outcome::InsufficientBalance, "ada", give("fund", tokens(101))),
        (Outcome::Posted, "ada", give("fund", tokens(5))),
        (Outcome::Posted, "fund", give("ben", tokens(3))),
    ] {
        assert_eq!(world.act(&did(by), action), expected);
    }
    assert_eq!((world.balance("fund"), world.balance("ben")), (2_000_000, 103_000_000));
    assert_eq!(world.wallet(&did("ben")).balance.parts.get(TokenType::JusticeFund), tokens(3));
}

fn reversal(of: TransactionId) -> Action {
    Action::Reversal(Reversal { reverses: of.0, reason: "a mistake".into(), approvals: Vec::new() })
}

#[test]
fn a_reversal_gives_back_what_is_there_and_owes_the_rest() {
    let mut world = World::new();
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(80))), Outcome::Posted);
    let paid = world.last.expect("sent");
    assert_eq!(world.act(&did("ben"), pay("cleo", tokens(150))), Outcome::Posted);
    assert_eq!(world.act(&did("ben"), reversal(TransactionId([9; 32]))), Outcome::UnknownTransfer);
    assert_eq!(world.act(&did("ada"), reversal(paid)), Outcome::NotPermitted);
    assert_eq!(world.act(&did("ben"), reversal(paid)), Outcome::Posted);
    assert_eq!(world.receipt(paid).reversed_by, world.last.map(|id| id.0));
    assert_eq!((world.balance("ada"), world.balance("ben")), (50_000_000, 0));
    assert_eq!(world.wallet(&did("ben")).debts[0].amount, tokens(50));
    assert_eq!(world.act(&did("ben"), reversal(paid)), Outcome::AlreadyReversed);
    // Income pays the debt first.
    assert_eq!(world.act(&did("cleo"), pay("ben", tokens(20))), Outcome::Posted);
    assert_eq!((world.balance("ada"), world.balance("ben")), (70_000_000, 0));
    assert_eq!(world.act(&did("cleo"), pay("ben", tokens(40))), Outcome::Posted);
    assert_eq!((world.balance("ada"), world.balance("ben")), (100_000_000, 10_000_000));
    assert!(world.wallet(&did("ben")).debts.is_empty());
    assert!(world.wallet(&did("ben")).reversals.is_empty(), "who gives back freely loses no trust");
}

#[test]
fn proven_fraud_is_reversed_without_the_receiver() {
    let mut world = World::new();
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(80))), Outcome::Posted);
    let paid = world.last.expect("sent");
    assert_eq!(world.act_approved(&did("ada"), reversal(paid), &[0, 1, 2]), Outcome::NotPermitted);
    assert_eq!(world.act_approved(&node(0), reversal(paid), &[0, 1]), Outcome::NoQuorum);
    assert_eq!(world.act_approved(&node(0), reversal(paid), &[0, 1, 2]), Outcome::Posted);
    assert_eq!(world.balance("ada"), 100_000_000);
    assert_eq!(world.wallet(&did("ben")).reversals.len(), 1);
    // A grant that is undone goes to the pool: nothing is burned.
    assert_eq!(world.act_approved(&node(0), grant("ben", tokens(7)), &[0, 1, 2]), Outcome::Posted);
    let granted = world.last.expect("sent");
    assert_eq!(world.act_approved(&node(0), reversal(granted), &[1, 2, 3]), Outcome::Posted);
    assert_eq!(world.supply().pool, tokens(7));
    // A reversal is no transfer.
    assert_eq!(world.act(&did("ben"), reversal(world.last.expect("sent"))), Outcome::UnknownTransfer);
}

#[test]
fn debts_to_too_many_are_not_taken_on() {
    let mut world = World::with(|genesis| genesis.parameters.transactions_per_hour = 1000);
    // Seventeen scopes are seventeen different debts.
    let mut paid = Vec::new();
    for number in 0..17 {
        let tenant = Some(did(&format!("tenant{number}")));
        let into = exchange(|it| (it.to, it.to_tenant, it.amount) = (did("ben"), tenant.clone(), tokens(1)));
        assert_eq!(world.act(&did("ada"), into), Outcome::Posted);
        paid.push(world.last.expect("sent"));
        let away = exchange(|it| (it.to, it.from_tenant, it.amount) = (did("cleo"), tenant, tokens(1)));
        assert_eq!(world.act(&did("ben"), away), Outcome::Posted);
    }
    for id in &paid[..16] {
        assert_eq!(world.act(&did("ben"), reversal(*id)), Outcome::Posted);
    }
    assert_eq!(world.act(&did("ben"), reversal(paid[16])), Outcome::DebtsFull);
}

#[test]
fn staked_tokens_come_back_after_notice() {
    let mut world = World::new();
    let ada = did("ada");
    let stake = |amount| Action::Stake(Stake { amount });
    let unstake = |amount| Action::Unstake(Stake { amount });
    assert_eq!(world.act(&ada, stake(Amount::ZERO)), Outcome::AmountZero);
    assert_eq!(world.act(&ada, stake(tokens(101))), Outcome::InsufficientBalance);
    assert_eq!(world.act(&ada, stake(tokens(90))), Outcome::Posted);
    assert_eq!(world.balance("ada"), 10_000_000);
    assert_eq!(world.act(&ada, unstake(Amount::ZERO)), Outcome::AmountZero);
    assert_eq!(world.act(&ada, unstake(tokens(91))), Outcome::InsufficientStake);
    for _ in 0..8 {
        assert_eq!(world.act(&ada, unstake(tokens(1))), Outcome::Posted);
    }
    assert_eq!(world.act(&ada, unstake(tokens(1))), Outcome::TooManyReleases);
    assert_eq!(world.act(&ada, pay("ben", tokens(11))), Outcome::InsufficientBalance);
    world.now = world.now + 7 * DAY;
    assert_eq!(world.act(&ada, pay("ben", tokens(18))), Outcome::Posted);
    assert_eq!((world.balance("ada"), world.wallet(&ada).staked.total()), (0, tokens(82)));
}

#[test]
fn a_transfer_leaves_postings_for_histories() {
    let mut world = World::new();
    let draft = world.draft(&did("ada"), pay("dan", tokens(10)));
    let signed = world.signed(&draft);
    let postings = world.decide(vec![signed]).postings;
    let seen: Vec<_> = postings.iter().map(|it| (it.account.clone(), it.change, it.balance.micro())).collect();
    assert_eq!(seen, [(did("ada"), -10_010_000, 89_990_000), (did("dan"), 10_000_000, 110_000_000)]);
}

#[test]
fn checkpoints_come_after_a_hundred_transactions_or_ten_minutes() {
    let mut world = World::new();
    let mut roots = Vec::new();
    for count in 1..=100_u64 {
        let draft = world.draft(&did("ada"), pay("ben", micro(1)));
        let signed = world.signed(&draft);
        let checkpoint = world.decide(vec![signed]).checkpoint;
        assert_eq!(checkpoint.is_some(), count == 100);
        roots.extend(checkpoint);
    }
    assert_eq!((roots[0].transactions, roots[0].height, roots[0].root), (100, 100, world.header.root));
    world.now = world.now + HOUR;
    assert_eq!(world.decide(Vec::new()).checkpoint, None, "nothing was posted since");
    let draft = world.draft(&did("ben"), pay("ada", micro(1)));
    let signed = world.signed(&draft);
    let checkpoint = world.decide(vec![signed]).checkpoint.expect("ten minutes with something posted");
    assert_eq!((checkpoint.transactions, checkpoint.previous), (1, roots[0].root));

    let signatures = |signers: &[u8]| {
        let mut list: Vec<_> = signers
            .iter()
            .map(|number| checkpoint::CheckpointSignature {
                validator: node(*number),
                signature: world.sign_bytes(&node(*number), checkpoint::CHECKPOINT, &checkpoint.sign_bytes()),
            })
            .collect();
        list.sort_by(|a, b| a.validator.cmp(&b.validator));
        list
    };
    let validators = rows::validators(&world.view).expect("memory reads").expect("genesis");
    assert!(checkpoint.is_signed_by(&validators, &signatures(&[0, 1, 3])));
    assert!(!checkpoint.is_signed_by(&validators, &signatures(&[0, 1])));
    assert!(!checkpoint.is_signed_by(&validators, &signatures(&[0, 1, 1])));
}

//! Karma rewards, recognition, witnesses, humanity, flags, wallets, voting.

use super::world::*;
use crate::ids::Did;
use crate::ledger::action::*;
use crate::ledger::rows::Kind;
use crate::ledger::*;

#[test]
fn karma_is_rewarded_for_each_hundred_passed() {
    let mut world = World::new();
    let reward = |world: &World, to, karma, amount, name: &str| karma_reward(to, karma, amount, cause(name, world.now));
    let (n0, n1) = (node(0), node(1));
    for (expected, by, to, karma, amount, name) in [
        (Outcome::NotANode, did("ada"), "ada", 100, tokens(1), "a"),
        (Outcome::AmountZero, n0.clone(), "ada", 100, Amount::ZERO, "a"),
        (Outcome::UnknownReceiver, n0.clone(), "nobody", 100, tokens(1), "a"),
        (Outcome::NotHomeNode, n1, "ada", 100, tokens(1), "a"),
        (Outcome::ReceiverNotHuman, node(3), "fay", 100, tokens(1), "a"),
        (Outcome::RewardNotEarned, n0.clone(), "ada", 99, tokens(1), "a"),
        (Outcome::RewardNotEarned, n0.clone(), "ada", 250, tokens(3), "a"),
        (Outcome::Posted, n0.clone(), "ada", 250, tokens(2), "a"),
        (Outcome::CauseRewarded, n0.clone(), "ada", 350, tokens(1), "a"),
        (Outcome::RewardNotEarned, n0.clone(), "ada", 299, tokens(1), "b"),
        (Outcome::Posted, n0, "ada", 300, tokens(1), "b"),
    ] {
        let action = reward(&world, to, karma, amount, name);
        assert_eq!(world.act(&by, action), expected, "{to} {karma} {name}");
    }
    assert_eq!((world.balance("ada"), world.supply().minted), (103_000_000, tokens(803)));
    assert_eq!(world.wallet(&did("ada")).balance.parts.get(TokenType::KarmaReward), tokens(3));
}

#[test]
fn a_cause_is_recent_and_counts_once() {
    let mut world = World::new();
    let ahead = karma_reward("ada", 100, tokens(1), cause("a", world.now + HOUR));
    assert_eq!(world.act(&node(0), ahead), Outcome::CauseInFuture);
    let old = karma_reward("ada", 100, tokens(1), cause("a", world.now - 31 * DAY));
    assert_eq!(world.act(&node(0), old), Outcome::CauseTooOld);
    // The same content may be rewarded and recognised, by each person once.
    for (expected, by) in [(Outcome::Posted, "ada"), (Outcome::CauseRewarded, "ada"), (Outcome::Posted, "cleo")] {
        let action = recognise("ben", tokens(1), cause("a", world.now));
        assert_eq!(world.act(&did(by), action), expected);
    }
}

#[test]
fn witnesses_are_people_apart_and_their_signatures_hold() {
    let mut world = World::new();
    let mut judge = |expected, witnesses: &[(&str, Option<&str>)], change: &dyn Fn(&mut Transaction)| {
        let action = recognise("ben", tokens(1), cause("a", world.now));
        let mut transaction = world.draft(&did("ada"), action);
        world.witness(&mut transaction, witnesses);
        change(&mut transaction);
        assert_eq!(world.submit(&transaction), expected);
        world.wallet(&did("ben"))
    };
    judge(Outcome::WitnessRepeated, &[("cleo", None), ("cleo", Some("shop"))], &|_| {});
    judge(Outcome::WitnessIsParty, &[("ada", None)], &|_| {});
    judge(Outcome::WitnessIsParty, &[("cleo", None), ("ben", None)], &|_| {});
    judge(Outcome::WitnessNotHuman, &[("fay", None)], &|_| {});
    judge(Outcome::WitnessUnknown, &[("cleo", None)], &|tx| {
        cause_of(&mut tx.action).witnesses[0].account = did("nobody");
    });
    judge(Outcome::ImpactWrong, &[("cleo", None)], &|tx| cause_of(&mut tx.action).impact = 21);
    judge(Outcome::BadWitnessSignature, &[("cleo", None)], &|tx| {
        cause_of(&mut tx.action).witnesses[0].signature[0] ^= 1;
    });
    judge(Outcome::BadWitnessSignature, &[("cleo", None)], &|tx| {
        if let Action::PeerRecognition(it) = &mut tx.action {
            it.amount = tokens(2);
        }
    });
    let ben = judge(Outcome::Posted, &[("cleo", None), ("dan", Some("shop"))], &|_| {});
    assert_eq!((ben.impact_sum, ben.impacts, ben.witnesses), (50, 1, 2));
}

#[test]
fn a_network_can_ask_for_witnesses() {
    let mut world = World::with(|genesis| genesis.parameters.karma_reward_witnesses = 1);
    let action = karma_reward("ada", 100, tokens(1), cause("a", world.now));
    assert_eq!(world.act(&node(0), action.clone()), Outcome::TooFewWitnesses);
    let mut transaction = world.draft(&node(0), action);
    world.witness(&mut transaction, &[("ben", None)]);
    assert_eq!(world.submit(&transaction), Outcome::Posted);
}

#[test]
fn recognition_is_between_people() {
    let mut world = World::new();
    for (expected, by, to, amount) in [
        (Outcome::AgentMayNotGrant, "bot", "ben", tokens(1)),
        (Outcome::AmountZero, "ada", "ben", Amount::ZERO),
        (Outcome::UnknownReceiver, "ada", "nobody", tokens(1)),
        (Outcome::SameWallet, "ada", "ada", tokens(1)),
        (Outcome::OwnAgent, "ada", "bot", tokens(1)),
        (Outcome::NotHuman, "fay", "ada", tokens(1)),
        (Outcome::ReceiverNotHuman, "ada", "fay", tokens(1)),
        (Outcome::ReceiverNotHuman, "ada", "shop", tokens(1)),
        (Outcome::InsufficientBalance, "ada", "ben", tokens(101)),
    ] {
        let action = recognise(to, amount, cause("a", world.now));
        assert_eq!(world.act(&did(by), action), expected, "{by} {to}");
    }
    for number in 0..10 {
        let action = recognise(["ben", "cleo"][number % 2], micro(1), cause(&number.to_string(), world.now));
        assert_eq!(world.act(&did("ada"), action), Outcome::Posted);
    }
    let action = recognise("dan", micro(1), cause("x", world.now));
    assert_eq!(world.act(&did("ada"), action.clone()), Outcome::RecognitionLimit);
    world.now = START + DAY;
    assert_eq!(world.act(&did("ada"), action), Outcome::Posted);
}

#[test]
fn two_who_recognise_each_other_alone_are_flagged() {
    let mut world = World::new();
    for number in 0..5 {
        let (by, to) = if number % 2 == 0 { ("ada", "ben") } else { ("ben", "ada") };
        let action = recognise(to, tokens(1), cause(&number.to_string(), world.now));
        assert_eq!(world.act(&did(by), action), Outcome::Posted);
    }
    let sixth = recognise("ada", tokens(1), cause("six", world.now));
    assert_eq!(world.act(&did("ben"), sixth), Outcome::ReciprocalRecognition);
    for name in ["ada", "ben"] {
        assert!(world.wallet(&did(name)).flags.contains(Anomaly::ReciprocalRecognition));
    }
    assert_eq!(world.act(&did("ada"), pay("cleo", tokens(1))), Outcome::Frozen);
    // Recognising somebody else as well shows that they are not alone.
    let other = recognise("cleo", tokens(1), cause("seven", world.now));
    assert_eq!(world.act(&did("ben"), other), Outcome::Posted);
    let again = recognise("ada", tokens(1), cause("eight", world.now));
    assert_eq!(world.act(&did("ben"), again), Outcome::Posted);
}

#[test]
fn flags_are_raised_and_cleared_by_those_who_may() {
    let mut world = World::new();
    let flag = |account: &str, raised| {
        Action::Flag(Flag {
            account: did(account),
            anomaly: Anomaly::CircularTransfers,
            raised,
            reason: "seen in the log".into(),
            approvals: Vec::new(),
        })
    };
    assert_eq!(world.act(&node(0), flag("nobody", true)), Outcome::UnknownAccount);
    assert_eq!(world.act(&node(1), flag("ada", true)), Outcome::NotPermitted);
    assert_eq!(world.act(&node(0), flag("ada", true)), Outcome::Posted);
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(1))), Outcome::Frozen);
    assert_eq!(world.act(&did("ada"), Action::Stake(Stake { amount: tokens(1) })), Outcome::Posted);
    assert_eq!(world.act_approved(&node(3), flag("ada", false), &[1, 2]), Outcome::NoQuorum);
    assert_eq!(world.act_approved(&node(3), flag("ada", false), &[1, 2, 3]), Outcome::Posted);
    assert_eq!(world.act(&did("ada"), pay("ben", tokens(1))), Outcome::Posted);
}

fn vouch(person: &str) -> Action {
    Action::Vouch(Vouch { person: did(person) })
}

#[test]
fn humanity_is_vouched_for() {
    let mut world = World::with(|genesis| genesis.parameters.vouches_per_node = 1);
    for (expected, by, person) in [
        (Outcome::UnknownAccount, node(3), "nobody"),
        (Outcome::SameWallet, did("ada"), "ada"),
        (Outcome::NotPermitted, did("ada"), "fay"),
        (Outcome::NotAPerson, node(0), "bot"),
        (Outcome::NotAPerson, node(1), "shop"),
        (Outcome::AlreadyVouched, node(0), "ada"),
        (Outcome::Posted, node(3), "fay"),
        (Outcome::AlreadyVouched, node(3), "fay"),
    ] {
        assert_eq!(world.act(&by, vouch(person)), expected, "{person}");
    }
    assert!(world.wallet(&did("fay")).is_human());
    let withdraw = Action::WithdrawVouch(Vouch { person: did("fay") });
    assert_eq!(world.act(&node(2), withdraw.clone()), Outcome::NotVouched);
    assert_eq!(world.act(&node(3), withdraw.clone()), Outcome::Posted);
    assert_eq!(world.act(&node(3), vouch("fay")), Outcome::VouchesSpent);
    assert!(!world.wallet(&did("fay")).is_human());
    // Two Guardian Angels of different nodes.
    for (name, home) in [("ada", 0), ("ben", 0), ("dan", 1)] {
        let reward = karma_reward(name, 1000, tokens(10), cause(name, world.now));
        assert_eq!(world.act(&node(home), reward), Outcome::Posted);
        assert_eq!(world.act(&did(name), vouch("fay")), Outcome::Posted);
        assert_eq!(world.wallet(&did("fay")).is_human(), name == "dan");
    }
    assert_eq!(world.act(&did("dan"), withdraw), Outcome::Posted);
    assert!(!world.wallet(&did("fay")).is_human());
}

fn registration(world: &World, account: &Did, home: &Did, holder: Holder) -> RegisterWallet {
    let key = world.keys[account].public().to_bytes();
    let binding = world.sign(home, &statement::binding(&network(), account, &key, home));
    RegisterWallet { key, holder, home: home.clone(), binding }
}

#[test]
fn a_wallet_is_bound_to_its_account_by_the_home_node() {
    let mut world = World::new();
    let gus = did("gus");
    world.add_key(gus.clone(), key(7, 1));
    let good = registration(&world, &gus, &node(2), Holder::Person);
    let orphan = RegisterWallet { holder: Holder::Agent { owner: did("bot") }, ..good.clone() };
    assert_eq!(world.act(&gus, Action::RegisterWallet(orphan)), Outcome::UnknownAccount);
    let homeless = RegisterWallet { home: did("ada"), ..good.clone() };
    assert_eq!(world.act(&gus, Action::RegisterWallet(homeless)), Outcome::UnknownNode);
    let elsewhere = RegisterWallet { home: node(1), ..good.clone() };
    assert_eq!(world.act(&gus, Action::RegisterWallet(elsewhere)), Outcome::BadBinding);
    let stolen = RegisterWallet { key: world.wallet(&did("ada")).key, ..good.clone() };
    assert_eq!(world.act(&gus, Action::RegisterWallet(stolen)), Outcome::BadSignature);
    let late = Transaction { sequence: 1, ..world.draft(&gus, Action::RegisterWallet(good.clone())) };
    assert_eq!(world.submit(&late), Outcome::SequenceAhead);
    assert_eq!(rows::wallet(&world.view, &gus), Ok(None), "a refused registration leaves no trace");
    assert_eq!(world.act(&gus, Action::RegisterWallet(good.clone())), Outcome::Posted);
    let wallet = world.wallet(&gus);
    assert_eq!((wallet.sequence, wallet.kind, wallet.home), (1, Kind::Person, node(2)));
    assert_eq!(world.act(&gus, Action::RegisterWallet(good)), Outcome::WalletExists);
}

#[test]
fn a_home_node_binds_so_many_in_an_hour() {
    let mut world = World::with(|genesis| genesis.parameters.node_transactions_per_hour = 1);
    for (number, expected) in [(1, Outcome::Posted), (2, Outcome::BindingsSpent)] {
        let account = did(&format!("new{number}"));
        world.add_key(account.clone(), key(7, number));
        let action = registration(&world, &account, &node(2), Holder::Business);
        assert_eq!(world.act(&account, Action::RegisterWallet(action)), expected);
    }
}

#[test]
fn a_key_is_replaced_with_both_keys_consent() {
    let mut world = World::new();
    let ada = did("ada");
    let new = key(8, 8);
    let rotate = |sequence| {
        let public = new.public().to_bytes();
        let (domain, message) = statement::possession(&network(), &ada, &public, sequence);
        Action::RotateKey(RotateKey { key: public, possession: new.sign(domain, &message) })
    };
    assert_eq!(world.act(&ada, rotate(7)), Outcome::BadPossession);
    assert_eq!(world.act(&node(0), rotate(0)), Outcome::NotPermitted);
    assert_eq!(world.act(&ada, rotate(1)), Outcome::Posted);
    assert_eq!(world.act(&ada, pay("ben", tokens(1))), Outcome::BadSignature, "the old key is worthless");
    world.add_key(ada.clone(), key(8, 8));
    assert_eq!(world.act(&ada, pay("ben", tokens(1))), Outcome::Posted);
}

#[test]
fn moving_home_leaves_the_old_operators_word_behind() {
    let mut world = World::new();
    let to = |home| Action::MoveHome(MoveHome { home });
    assert_eq!(world.act(&did("ada"), to(did("ben"))), Outcome::UnknownNode);
    assert_eq!(world.act(&node(0), to(node(1))), Outcome::NotPermitted);
    assert_eq!(world.act(&did("ada"), to(node(1))), Outcome::Posted);
    let wallet = world.wallet(&did("ada"));
    assert!(wallet.home == node(1) && !wallet.is_human());
}

fn stake(world: &mut World, name: &str, amount: Amount) {
    assert_eq!(world.act(&did(name), Action::Stake(Stake { amount })), Outcome::Posted);
}

fn delegate(to: Option<&str>) -> Action {
    Action::Delegate(Delegate { to: to.map(did) })
}

#[test]
fn delegation_is_one_level_deep() {
    let mut world = World::new();
    for (expected, by, to) in [
        (Outcome::UnknownAccount, "ada", Some("nobody")),
        (Outcome::SameWallet, "ada", Some("ada")),
        (Outcome::Posted, "ada", Some("ben")),
        (Outcome::Posted, "ada", Some("ben")),
        (Outcome::DelegationChain, "ben", Some("cleo")),
        (Outcome::DelegationChain, "cleo", Some("ada")),
        (Outcome::Posted, "ada", Some("cleo")),
        (Outcome::Posted, "ben", Some("cleo")),
        (Outcome::Posted, "ada", None),
        (Outcome::Posted, "ada", None),
    ] {
        assert_eq!(world.act(&did(by), delegate(to)), expected, "{by} {to:?}");
    }
    let count = |name| world.wallet(&did(name)).delegators;
    assert_eq!((count("ben"), count("cleo")), (0, 1));
}

#[test]
fn a_delegate_votes_for_so_many() {
    let mut world = World::new();
    for number in 0..=64_u8 {
        let account = did(&format!("new{number}"));
        world.add_key(account.clone(), key(7, number));
        let action = registration(&world, &account, &node(2), Holder::Person);
        assert_eq!(world.act(&account, Action::RegisterWallet(action)), Outcome::Posted);
        let expected = if number < 64 { Outcome::Posted } else { Outcome::DelegatorsFull };
        assert_eq!(world.act(&account, delegate(Some("ada"))), expected);
    }
}

#[test]
fn a_proposal_is_voted_on_and_carried_out() {
    let mut world = World::new();
    let mut parameters = rows::parameters(&world.view).expect("memory reads").expect("genesis");
    parameters.exchange_fee = 50;
    let propose = |world: &World, hours: u32, change| {
        Action::Propose(Propose { title: "a higher fee".into(), ends: world.now + HOUR * hours, change })
    };
    let change = Some(Change::Parameters(Box::new(parameters.clone())));
    let impossible = Some(Change::Parameters(Box::new(Parameters { silence: 0, ..parameters })));
    let action = propose(&world, 2, change.clone());
    assert_eq!(world.act(&did("ada"), action), Outcome::NoVotingPower);
    for name in ["ada", "ben", "cleo", "dan"] {
        stake(&mut world, name, tokens(100));
    }
    let action = propose(&world, 1, change.clone());
    assert_eq!(world.act(&did("ada"), action), Outcome::VotingTimeWrong);
    let action = propose(&world, 2, impossible);
    assert_eq!(world.act(&did("ada"), action), Outcome::ChangeInvalid);
    let action = propose(&world, 2, change);
    assert_eq!(world.act(&did("ada"), action), Outcome::Posted);
    let id = world.last.expect("sent");
    let vote = |in_favour| Action::Vote(CastVote { proposal: id.0, in_favour });
    let close = Action::Close(Close { proposal: id.0 });
    let unknown = Action::Vote(CastVote { proposal: [1; 32], in_favour: true });
    assert_eq!(world.act(&did("ada"), unknown), Outcome::UnknownProposal);
    assert_eq!(world.act(&did("ben"), delegate(Some("ada"))), Outcome::Posted);
    assert_eq!(world.act(&did("ben"), vote(false)), Outcome::PowerDelegated);
    assert_eq!(world.act(&did("ada"), vote(true)), Outcome::Posted);
    assert_eq!(world.act(&did("ada"), vote(true)), Outcome::AlreadyVoted);
    // The delegated power is used: taking it back does not let it vote again.
    assert_eq!(world.act(&did("ben"), delegate(None)), Outcome::Posted);
    assert_eq!(world.act(&did("ben"), vote(false)), Outcome::AlreadyVoted);
    assert_eq!(world.act(&did("eve"), vote(false)), Outcome::NoVotingPower);
    assert_eq!(world.act(&did("cleo"), vote(false)), Outcome::Posted);
    assert_eq!(world.act(&did("ada"), close.clone()), Outcome::VotingNotOver);
    let proposal = rows::proposal(&world.view, id).expect("memory reads").expect("made");
    assert_eq!((proposal.in_favour, proposal.against), (14, 7));
    world.now = world.now + HOUR * 2;
    assert_eq!(world.act(&did("dan"), vote(false)), Outcome::VotingOver);
    assert_eq!(world.act(&did("eve"), close.clone()), Outcome::Posted);
    assert_eq!(world.act(&did("eve"), close), Outcome::ProposalClosed);
    let parameters = rows::parameters(&world.view).expect("memory reads").expect("genesis");
    assert_eq!(parameters.exchange_fee, 50);
}

//! Nodes, placement, migration, failover, validators.

use std::time::Duration;

use super::world::*;
use crate::crypto::NodeKey;
use crate::ids::Did;
use crate::ledger::action::*;
use crate::ledger::certificate::{Step, VOTE, ValueHash, Vote};
use crate::ledger::parameters::Admission;
use crate::ledger::*;
use crate::limits::VALIDATOR_LEAD_MAX;

pub(crate) fn newcomer(world: &mut World, number: u8) -> Did {
    let key = key(5, number);
    let did = key.did();
    world.add_key(did.clone(), key);
    did
}

pub(crate) fn node_action(
    world: &World,
    guest: &Did,
    name: &str,
    inviter: Option<&Did>,
    change: fn(&mut RegisterNode),
) -> Action {
    let invitation = inviter.map(|inviter| {
        let mut it = Invitation { node: inviter.clone(), expires: world.now + HOUR, signature: [0; 64] };
        it.signature = world.sign(inviter, &statement::invitation(&network(), guest, &it));
        it
    });
    let mut it = RegisterNode {
        name: name.parse().expect("a name"),
        operator: did("operator9"),
        region: Region::Europe,
        hosts: true,
        validates: true,
        invitation,
    };
    change(&mut it);
    Action::RegisterNode(it)
}

pub(crate) fn join_network(world: &mut World, number: u8) -> Did {
    let did = newcomer(world, number);
    let name = format!("new-{number}");
    let mut action = node_action(world, &did, &name, Some(&node(0)), |_| {});
    if let Action::RegisterNode(it) = &mut action {
        it.operator = super::world::did(&format!("newoperator{number}"));
    }
    assert_eq!(world.act(&did, action), Outcome::Posted);
    did
}

#[test]
fn a_node_is_invited() {
    let mut world = World::new();
    let guest = newcomer(&mut world, 1);
    let mut attempt = |expected, name: &str, inviter: Option<Did>, change: fn(&mut RegisterNode)| {
        let action = node_action(&world, &guest, name, inviter.as_ref(), change);
        assert_eq!(world.act(&guest, action), expected);
        rows::node(&world.view, &guest).expect("memory reads")
    };
    attempt(Outcome::NameTaken, "node-1", Some(node(0)), |_| {});
    attempt(Outcome::NotInvited, "new", None, |_| {});
    attempt(Outcome::InviterUnknown, "new", Some(did("ada")), |_| {});
    attempt(Outcome::InvitationExpired, "new", Some(node(0)), |it| {
        it.invitation.as_mut().expect("invited").expires = START;
    });
    let none = attempt(Outcome::BadInvitation, "new", Some(node(0)), |it| {
        it.invitation.as_mut().expect("invited").signature[5] ^= 1;
    });
    assert_eq!(none, None, "a refused registration leaves no trace");
    attempt(Outcome::Posted, "new", Some(node(0)), |_| {});
    // It renews what it says without another invitation, and gives its old name back.
    let row = attempt(Outcome::Posted, "newer", None, |it| it.region = Region::Asia).expect("registered");
    assert_eq!((row.name.as_str(), row.region), ("newer", Region::Asia));
    attempt(Outcome::Posted, "new", None, |_| {});
    let nobody = did("nobody");
    world.add_key(nobody.clone(), key(5, 2));
    let by_nobody = node_action(&world, &nobody, "nobody", Some(&node(0)), |_| {});
    assert_eq!(world.act(&nobody, by_nobody), Outcome::BadSignature, "a node signs with the key that is its name");
    let by_person = node_action(&world, &did("ada"), "person", Some(&node(0)), |_| {});
    assert_eq!(world.act(&did("ada"), by_person), Outcome::NotPermitted);
}

#[test]
fn a_network_may_admit_everyone_or_a_list() {
    let mut open = World::with(|genesis| genesis.parameters.admission = Admission::Open);
    let guest = newcomer(&mut open, 1);
    let action = node_action(&open, &guest, "new", None, |_| {});
    assert_eq!(open.act(&guest, action.clone()), Outcome::Posted);
    let listed = NodeKey::from_seed(&[77; 32]).did();
    let mut closed = World::with(|genesis| genesis.parameters.admission = Admission::Allowlist(vec![listed.clone()]));
    newcomer(&mut closed, 1);
    assert_eq!(closed.act(&guest, action.clone()), Outcome::NotInvited);
    closed.add_key(listed.clone(), NodeKey::from_seed(&[77; 32]));
    assert_eq!(closed.act(&listed, action), Outcome::Posted);
}

#[test]
fn a_node_retires_when_nothing_depends_on_it() {
    let mut world = World::new();
    assert_eq!(world.act(&did("ada"), Action::RetireNode), Outcome::NotANode);
    assert_eq!(world.act(&node(0), Action::RetireNode), Outcome::StillValidator);
    let guest = join_network(&mut world, 1);
    place(&mut world, &guest, &[], &[], Strategy::SingleNode);
    assert_eq!(world.act(&guest, Action::RetireNode), Outcome::StillPrimary);
    let action = migrate(&world, "shop", 2, &node(0));
    assert_eq!(world.act(&guest, action), Outcome::Posted);
    assert_eq!(world.act(&guest, Action::RetireNode), Outcome::Posted);
    assert_eq!(world.act(&guest, Action::RetireNode), Outcome::NotANode);
    // The name is free again.
    let other = newcomer(&mut world, 2);
    let action = node_action(&world, &other, "new-1", Some(&node(0)), |_| {});
    assert_eq!(world.act(&other, action), Outcome::Posted);
}

fn placement(world: &World, tenant: &str, primary: &Did, backups: Backups, strategy: Strategy) -> PlaceTenant {
    let accepted = if world.keys.contains_key(primary) {
        world.sign(primary, &statement::hosting(&network(), &did(tenant), 1, primary))
    } else {
        [0; 64]
    };
    PlaceTenant { primary: primary.clone(), backups, strategy, residency: Residency::Global, accepted }
}

fn place(world: &mut World, primary: &Did, standbys: &[Did], vaults: &[Did], strategy: Strategy) {
    let backups = Backups { standbys: standbys.to_vec(), vaults: vaults.to_vec(), witness: None };
    let action = Action::PlaceTenant(placement(world, "shop", primary, backups, strategy));
    assert_eq!(world.act(&did("shop"), action), Outcome::Posted);
}

fn migrate(world: &World, tenant: &str, epoch: u64, to: &Did) -> Action {
    let accepted = world.sign(to, &statement::hosting(&network(), &did(tenant), epoch, to));
    Action::Migrate(Migrate { tenant: did(tenant), epoch, to: to.clone(), accepted })
}

#[test]
fn a_tenant_is_placed_as_its_strategy_and_residency_ask() {
    let mut world = World::new();
    let quiet = newcomer(&mut world, 1);
    let action = node_action(&world, &quiet, "quiet", Some(&node(0)), |it| it.hosts = false);
    assert_eq!(world.act(&quiet, action), Outcome::Posted);
    let european = join_network(&mut world, 2);
    let shop = did("shop");
    let backups = |standbys: &[Did]| Backups { standbys: standbys.to_vec(), ..Backups::default() };
    let cases: Vec<(Outcome, Did, Backups, Strategy, Residency)> = vec![
        (Outcome::HostUnknown, did("ada"), backups(&[]), Strategy::SingleNode, Residency::Global),
        (
            Outcome::HostUnknown,
            node(0),
            Backups { witness: Some(did("ada")), ..backups(&[]) },
            Strategy::SingleNode,
            Residency::Global,
        ),
        (Outcome::HostNotHosting, node(0), backups(&[quiet]), Strategy::LoadBalanced, Residency::Global),
        (Outcome::HostRepeated, node(0), backups(&[node(0)]), Strategy::LoadBalanced, Residency::Global),
        (Outcome::TooFewHosts, node(0), backups(&[node(1)]), Strategy::MultiNodeReplica, Residency::Global),
        (Outcome::TooManyHosts, node(0), backups(&[node(1), node(2)]), Strategy::SingleNode, Residency::Global),
        (Outcome::ResidencyViolation, node(0), backups(&[]), Strategy::SingleNode, Residency::Eu),
    ];
    for (expected, primary, backups, strategy, residency) in cases {
        let it = PlaceTenant { residency, ..placement(&world, "shop", &primary, backups, strategy) };
        assert_eq!(world.act(&shop, Action::PlaceTenant(it)), expected);
    }
    let mut it = placement(&world, "shop", &node(2), backups(&[european, node(3)]), Strategy::GeoDistributed);
    it.accepted[0] ^= 1;
    assert_eq!(world.act(&shop, Action::PlaceTenant(it.clone())), Outcome::BadAcceptance);
    it.accepted[0] ^= 1;
    assert_eq!(world.act(&shop, Action::PlaceTenant(it.clone())), Outcome::Posted);
    assert_eq!(world.act(&shop, Action::PlaceTenant(it)), Outcome::AlreadyPlaced);
    assert_eq!((world.placement("shop").epoch, world.placement("shop").primary), (1, node(2)));
    // Both backups in the primary's own region are no spread.
    let third = join_network(&mut world, 3);
    let second = world.placement("shop").standbys[0].clone();
    let near = Action::ChangeHosts(ChangeHosts { tenant: shop, epoch: 1, backups: backups(&[second, third]) });
    assert_eq!(world.act(&node(2), near), Outcome::TooFewRegions);
}

#[test]
fn hosts_change_within_an_epoch() {
    let mut world = World::new();
    place(&mut world, &node(0), &[node(1)], &[], Strategy::LoadBalanced);
    let change = |tenant: &str, epoch, standby| {
        let backups = Backups { standbys: vec![standby], ..Backups::default() };
        Action::ChangeHosts(ChangeHosts { tenant: did(tenant), epoch, backups })
    };
    assert_eq!(world.act(&node(0), change("ada", 1, node(2))), Outcome::UnknownTenant);
    assert_eq!(world.act(&node(1), change("shop", 1, node(2))), Outcome::NotPermitted);
    assert_eq!(world.act(&node(0), change("shop", 2, node(2))), Outcome::StaleEpoch);
    assert_eq!(world.act(&node(0), change("shop", 1, node(2))), Outcome::Posted);
    assert_eq!(world.act(&did("shop"), change("shop", 1, node(3))), Outcome::Posted);
    let row = world.placement("shop");
    assert_eq!((row.epoch, row.standbys), (1, vec![node(3)]));
}

#[test]
fn a_migration_begins_an_epoch_and_can_be_undone() {
    let mut world = World::new();
    place(&mut world, &node(0), &[node(1)], &[], Strategy::LoadBalanced);
    let action = migrate(&world, "ada", 2, &node(2));
    assert_eq!(world.act(&node(0), action), Outcome::UnknownTenant);
    let action = migrate(&world, "shop", 2, &node(2));
    assert_eq!(world.act(&node(1), action.clone()), Outcome::NotPermitted);
    let stale = migrate(&world, "shop", 3, &node(2));
    assert_eq!(world.act(&node(0), stale), Outcome::StaleEpoch);
    let unknown = migrate(&world, "shop", 2, &did("ada"));
    assert_eq!(world.act(&node(0), unknown), Outcome::HostUnknown);
    let itself = migrate(&world, "shop", 2, &node(0));
    assert_eq!(world.act(&node(0), itself), Outcome::HostRepeated);
    let mut unwilling = action.clone();
    if let Action::Migrate(it) = &mut unwilling {
        it.accepted[9] ^= 1;
    }
    assert_eq!(world.act(&node(0), unwilling), Outcome::BadAcceptance);
    assert_eq!(world.act(&node(0), action.clone()), Outcome::Posted);
    let row = world.placement("shop");
    assert_eq!((row.epoch, row.primary, row.standbys), (2, node(2), vec![node(0), node(1)]));
    assert_eq!(world.act(&node(0), action), Outcome::NotPermitted, "the old primary is none any more");

    let back = |tenant: &str, epoch| Action::RollBack(RollBack { tenant: did(tenant), epoch });
    assert_eq!(world.act(&node(0), back("ada", 3)), Outcome::UnknownTenant);
    assert_eq!(world.act(&node(1), back("shop", 3)), Outcome::NotPermitted);
    assert_eq!(world.act(&node(0), back("shop", 2)), Outcome::StaleEpoch);
    assert_eq!(world.act(&node(0), back("shop", 3)), Outcome::Posted);
    let row = world.placement("shop");
    assert_eq!((row.epoch, row.primary, row.standbys), (3, node(0), vec![node(2), node(1)]));
    assert_eq!(world.act(&did("shop"), back("shop", 4)), Outcome::NoMigration);
    let again = migrate(&world, "shop", 4, &node(2));
    assert_eq!(world.act(&node(0), again), Outcome::Posted);
    world.now = world.now + 4 * DAY;
    assert_eq!(world.act(&did("shop"), back("shop", 5)), Outcome::GraceOver);
}

#[test]
fn a_migration_keeps_to_hosts_that_take_tenants_where_they_may_lie() {
    let mut world = World::new();
    let quiet = newcomer(&mut world, 1);
    let action = node_action(&world, &quiet, "quiet", Some(&node(0)), |it| it.hosts = false);
    assert_eq!(world.act(&quiet, action), Outcome::Posted);
    let mut it = placement(&world, "shop", &node(2), Backups::default(), Strategy::SingleNode);
    it.residency = Residency::Eu;
    assert_eq!(world.act(&did("shop"), Action::PlaceTenant(it)), Outcome::Posted);
    let action = migrate(&world, "shop", 2, &quiet);
    assert_eq!(world.act(&node(2), action), Outcome::HostNotHosting);
    let action = migrate(&world, "shop", 2, &node(0));
    assert_eq!(world.act(&node(2), action), Outcome::ResidencyViolation);
}

struct Seen {
    observer: Did,
    silence: Duration,
    cursor: u64,
}

fn seen(observer: Did, cursor: u64) -> Seen {
    Seen { observer, silence: Duration::from_mins(5), cursor }
}

fn failover(world: &World, epoch: u64, seen: Vec<Seen>) -> Failover {
    let mut observations: Vec<_> = seen
        .into_iter()
        .map(|Seen { observer, silence, cursor }| {
            let mut it =
                Observation { observer, heard: world.now - silence, at: world.now, cursor, signature: [0; 64] };
            it.signature = world.sign(&it.observer, &statement::silence(&network(), &did("shop"), epoch, &it));
            it
        })
        .collect();
    observations.sort_by(|a, b| a.observer.cmp(&b.observer));
    Failover { tenant: did("shop"), epoch, observations }
}

#[test]
fn a_majority_that_hears_nothing_moves_the_primary() {
    let mut world = World::new();
    place(&mut world, &node(0), &[node(1), node(2)], &[node(3)], Strategy::MultiNodeReplica);
    let all = |cursor| vec![seen(node(1), cursor), seen(node(2), 50), seen(node(3), 70)];
    let mut attempt = |expected, by: Did, change: &dyn Fn(&World) -> Failover| {
        let action = Action::Failover(change(&world));
        assert_eq!(world.act(&by, action), expected);
    };
    attempt(Outcome::NotANode, did("shop"), &|world| failover(world, 2, all(60)));
    attempt(Outcome::UnknownTenant, node(1), &|world| Failover { tenant: did("ada"), ..failover(world, 2, all(60)) });
    attempt(Outcome::NotPermitted, node(3), &|world| failover(world, 2, all(60)));
    attempt(Outcome::StaleEpoch, node(1), &|world| failover(world, 1, all(60)));
    attempt(Outcome::StaleEpoch, node(1), &|world| failover(world, 3, all(60)));
    attempt(Outcome::ObserverRepeated, node(1), &|world| {
        failover(world, 2, vec![seen(node(1), 60), seen(node(1), 60), seen(node(2), 50)])
    });
    attempt(Outcome::ObserverUnknown, node(1), &|world| failover(world, 2, vec![seen(node(1), 60), seen(node(0), 60)]));
    attempt(Outcome::ObservationStale, node(1), &|world| {
        let mut it = failover(world, 2, all(60));
        it.observations[0].at = world.now - HOUR;
        it
    });
    attempt(Outcome::PrimaryHeard, node(1), &|world| {
        let mut heard = all(60);
        heard[1].silence = Duration::from_secs(299);
        failover(world, 2, heard)
    });
    attempt(Outcome::NoMajority, node(1), &|world| failover(world, 2, vec![seen(node(1), 60), seen(node(2), 5)]));
    attempt(Outcome::NoMajority, node(1), &|world| failover(world, 2, vec![seen(node(2), 60), seen(node(3), 5)]));
    attempt(Outcome::NotMostAdvanced, node(1), &|world| failover(world, 2, all(49)));
    attempt(Outcome::BadObservation, node(1), &|world| {
        let mut it = failover(world, 2, all(60));
        it.observations[2].cursor = 0;
        it.observations[2].signature[1] ^= 1;
        it
    });
    attempt(Outcome::Posted, node(1), &|world| failover(world, 2, all(60)));
    // One primary in an epoch: the other standby's claim for the same epoch is too late.
    attempt(Outcome::StaleEpoch, node(2), &|world| failover(world, 2, all(60)));
    let row = world.placement("shop");
    assert_eq!((row.epoch, row.primary, row.standbys), (2, node(1), vec![node(2), node(0)]));
    let counts = [0, 1].map(|number| rows::node(&world.view, &node(number)).expect("reads").expect("there").primaries);
    assert_eq!(counts, [0, 1]);
}

#[test]
fn with_two_hosting_nodes_owner_or_witness_speaks() {
    for other in [did("shop"), node(3)] {
        let mut world = World::new();
        let backups = Backups { standbys: vec![node(1)], vaults: Vec::new(), witness: Some(node(3)) };
        let it = placement(&world, "shop", &node(0), backups, Strategy::LoadBalanced);
        assert_eq!(world.act(&did("shop"), Action::PlaceTenant(it)), Outcome::Posted);
        let alone = failover(&world, 2, vec![seen(node(1), 9)]);
        assert_eq!(world.act(&node(1), Action::Failover(alone)), Outcome::NoMajority);
        let both = failover(&world, 2, vec![seen(node(1), 9), seen(other, 0)]);
        assert_eq!(world.act(&node(1), Action::Failover(both)), Outcome::Posted);
    }
}

fn validators(world: &World) -> ValidatorSet {
    rows::validators(&world.view).expect("memory reads").expect("genesis")
}

fn join(at: u64) -> Action {
    Action::JoinValidators(JoinValidators { at, approvals: Vec::new() })
}

#[test]
fn a_validator_joins_at_its_height() {
    let mut world = World::new();
    let guest = join_network(&mut world, 1);
    let approvers = [0, 1, 2];
    assert_eq!(world.act_approved(&did("ada"), join(9), &approvers), Outcome::NotANode);
    let early = world.height + 10;
    assert_eq!(world.act_approved(&guest, join(early), &approvers), Outcome::NotACandidate);
    world.now = world.now + 8 * DAY;
    assert_eq!(world.act_approved(&node(0), join(early), &approvers), Outcome::AlreadyValidator);
    let now = world.height + 1;
    assert_eq!(world.act_approved(&guest, join(now), &approvers), Outcome::HeightWrong);
    let far = world.height + 2 + VALIDATOR_LEAD_MAX;
    assert_eq!(world.act_approved(&guest, join(far), &approvers), Outcome::HeightWrong);
    assert_eq!(world.act_approved(&guest, join(early), &[0, 1]), Outcome::NoQuorum);
    let at = world.height + 5;
    assert_eq!(world.act_approved(&guest, join(at), &approvers), Outcome::Posted);
    assert_eq!(world.act_approved(&guest, join(at), &approvers), Outcome::AlreadyValidator);
    let other = join_network(&mut world, 2);
    assert!(!validators(&world).contains(&guest), "one height early");
    world.decide(Vec::new());
    assert!(validators(&world).contains(&guest) && world.height + 1 == at);
    world.now = world.now + 8 * DAY;
    // One operator, one validator.
    let mut same = node_action(&world, &other, "new-2", None, |_| {});
    if let Action::RegisterNode(it) = &mut same {
        it.operator = did("newoperator1");
    }
    assert_eq!(world.act(&other, same), Outcome::Posted);
    let action = join(world.height + 5);
    assert_eq!(world.act_approved(&other, action, &[0, 1, 2, 3]), Outcome::OperatorTaken);
}

#[test]
fn changes_wait_their_turn() {
    let mut world = World::with(|genesis| genesis.parameters.candidate_age = 0);
    let (one, two) = (join_network(&mut world, 1), join_network(&mut world, 2));
    let action = join(world.height + 50);
    assert_eq!(world.act_approved(&one, action.clone(), &[0, 1, 2]), Outcome::Posted);
    assert_eq!(world.act_approved(&two, action, &[0, 1, 2]), Outcome::ChangesPending);
}

#[test]
fn validators_leave_and_are_removed_but_never_the_last() {
    let mut world = World::new();
    let leave = |at| Action::LeaveValidators(LeaveValidators { at });
    let remove = |number, at| {
        Action::RemoveValidator(RemoveValidator {
            validator: node(number),
            at,
            reason: "silent".into(),
            approvals: Vec::new(),
        })
    };
    assert_eq!(world.act(&did("ada"), leave(5)), Outcome::NotAValidator);
    assert_eq!(world.act(&node(0), leave(1)), Outcome::HeightWrong);
    let at = world.height + 2;
    assert_eq!(world.act(&node(0), leave(at)), Outcome::Posted);
    assert_eq!(world.act(&node(0), leave(9)), Outcome::NotAValidator);
    let at = world.height + 2;
    assert_eq!(world.act_approved(&did("ada"), remove(1, at), &[1, 2, 3]), Outcome::NotAValidator);
    assert_eq!(world.act_approved(&node(2), remove(0, at + 9), &[1, 2, 3]), Outcome::UnknownValidator);
    let at = world.height + 2;
    assert_eq!(world.act_approved(&node(2), remove(1, at), &[2, 3]), Outcome::NoQuorum);
    let at = world.height + 2;
    assert_eq!(world.act_approved(&node(2), remove(1, at), &[1, 2, 3]), Outcome::Posted);
    let at = world.height + 2;
    assert_eq!(world.act(&node(2), leave(at)), Outcome::Posted);
    assert_eq!(validators(&world), ValidatorSet::new(vec![node(3)]));
    let at = world.height + 2;
    assert_eq!(world.act(&node(3), leave(at)), Outcome::LastValidator);
}

#[test]
fn a_full_set_takes_nobody() {
    let mut world = World::with(|genesis| {
        genesis.parameters.candidate_age = 0;
        for number in 4..100 {
            let did = key(1, number).did();
            genesis.nodes.push(genesis::GenesisNode {
                did,
                name: format!("node-{number}").parse().expect("a name"),
                operator: super::world::did(&format!("operator{number}")),
                ..genesis.nodes[0].clone()
            });
        }
    });
    let guest = join_network(&mut world, 1);
    let at = world.height + 2;
    assert_eq!(world.act(&guest, join(at)), Outcome::ValidatorsFull);
}

fn double_vote(world: &World, number: u8, change: impl FnOnce(&mut Vote)) -> Action {
    let first =
        Vote { network: network(), height: 7, round: 1, step: Step::Precommit, value: Some(ValueHash([1; 32])) };
    let mut second = first.clone();
    second.value = None;
    change(&mut second);
    let sign = |vote: Vote| SignedVote { signature: world.sign_bytes(&node(number), VOTE, &vote.sign_bytes()), vote };
    Action::ReportDoubleVote(ReportDoubleVote { validator: node(number), first: sign(first), second: sign(second) })
}

#[test]
fn a_double_vote_expels_at_once() {
    let mut world = World::new();
    let reporter = did("eve");
    let mut forged = double_vote(&world, 1, |_| {});
    if let Action::ReportDoubleVote(it) = &mut forged {
        it.validator = node(0);
    }
    assert_eq!(world.act(&reporter, forged), Outcome::BadVoteSignature);
    for agree in [
        double_vote(&world, 1, |vote| vote.value = Some(ValueHash([1; 32]))),
        double_vote(&world, 1, |vote| vote.round = 2),
        double_vote(&world, 1, |vote| vote.height = 8),
        double_vote(&world, 1, |vote| vote.step = Step::Prevote),
        double_vote(&world, 1, |vote| vote.network = "other".parse().expect("a name")),
    ] {
        assert_eq!(world.act(&reporter, agree), Outcome::VotesAgree);
    }
    let proof = double_vote(&world, 1, |_| {});
    assert_eq!(world.act(&reporter, proof.clone()), Outcome::Posted);
    assert!(!validators(&world).contains(&node(1)), "gone from the next height on");
    assert_eq!(world.act(&reporter, proof), Outcome::UnknownValidator);
    for number in [2, 3] {
        let proof = double_vote(&world, number, |_| {});
        assert_eq!(world.act(&reporter, proof), Outcome::Posted);
    }
    let last = double_vote(&world, 0, |_| {});
    assert_eq!(world.act(&reporter, last), Outcome::LastValidator);
}

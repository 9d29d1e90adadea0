use std::time::Duration;

use proptest::{prop_assert, proptest};

use super::super::{
    Candidate, Declined, FULL_FOR, Hosted, Intake, Load, Proposal, Rebalance, Region, Residency, Strategy,
};
use super::{did, node};
use crate::ids::Did;
use crate::limits::BACKUPS_MAX;
use crate::time::Timestamp;

const WORK: Load = Load { work: 90, space: 10 };
const SPACE: Load = Load { work: 10, space: 90 };
const IDLE: Load = Load { work: 5, space: 5 };

fn hour(hour: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_hours(hour)
}

fn full_of(load: Load) -> Rebalance {
    let mut full = Rebalance::default();
    full.measured(hour(0), load);
    full
}

fn hosted(name: &str, newest: u64, backups: &[&str]) -> Hosted {
    let backups: Vec<_> = backups.iter().map(|name| did(name)).collect();
    Hosted {
        tenant: did(name),
        strategy: Strategy::MultiNodeReplica,
        residency: Residency::Eu,
        copies: backups.clone(),
        backups,
        newest,
        moved_at: None,
        in_grace: false,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be nothing")]
fn to(tenant: &str, to: &str) -> Option<Proposal> {
    Some(Proposal { tenant: did(tenant), to: did(to) })
}

#[test]
fn a_node_is_due_when_it_was_full_for_long_and_three_times_a_day_at_most() {
    let mut full = full_of(WORK);
    assert_eq!(full.is_due(hour(0)), None, "not at once");
    full.measured(hour(1), Load { work: 70, ..WORK });
    assert_eq!(full.is_due(hour(1)), None, "it is not full now");
    full.measured(hour(1), WORK);
    assert_eq!(full.is_due(hour(1)), Some(WORK), "a load between the bounds has ended nothing");
    (1..=3).for_each(|at| full.moved(hour(at)));
    assert_eq!(full.is_due(hour(4)), None, "three in a day");
    assert_eq!(full.is_due(hour(25)), Some(WORK));
    full.measured(hour(26), Load { work: 59, ..WORK });
    full.measured(hour(26), WORK);
    assert_eq!(full.is_due(hour(26)), None, "it had room meanwhile");

    let mut anew = Rebalance::new(FULL_FOR, vec![hour(0), hour(0), hour(1)]);
    anew.measured(hour(1), WORK);
    assert_eq!(anew.is_due(hour(3)), None, "what was done before it was started anew counts");
    assert_eq!(anew.is_due(hour(24)), Some(WORK));
}

#[test]
fn the_quietest_replicated_tenant_goes_to_whoever_has_its_copy_and_room() {
    let nodes = [
        node("own", Region::Europe, 0, 90),
        node("idle", Region::Europe, 1, 5),
        node("copy", Region::Europe, 1, 50),
        node("busy", Region::Europe, 1, 70),
        node("far", Region::Asia, 1, 0),
    ];
    let alone = Hosted { strategy: Strategy::SingleNode, ..hosted("alone", 1, &[]) };
    let (loud, quiet) = (hosted("loud", 9, &["copy"]), hosted("quiet", 3, &["busy", "copy"]));
    let tenants = [loud.clone(), alone.clone(), quiet.clone()];
    let propose = |tenants: &[Hosted], nodes: &[Candidate]| full_of(WORK).propose(hour(2), &did("own"), tenants, nodes);
    assert_eq!(propose(&tenants, &nodes), to("quiet", "copy"), "not the least busy, which has no copy");
    let half = Hosted { copies: vec![], ..quiet };
    assert_eq!(propose(&[half], &nodes), to("quiet", "idle"), "half a copy is none");
    let busy = nodes.clone().map(|it| Candidate { load_score: it.load_score.max(60), ..it });
    assert_eq!(propose(&tenants, &busy), None, "nobody has room");
    let outside = Hosted { residency: Residency::Us, ..loud };
    assert_eq!(propose(&[outside], &nodes), None, "nobody stands inside");
    assert_eq!(propose(&[alone], &nodes), None, "its owner is asked first");
    assert_eq!(full_of(WORK).propose(hour(0), &did("own"), &tenants, &nodes), None, "not at once");
}

#[test]
fn what_has_moved_rests_and_what_misses_a_backup_stays() {
    let nodes =
        [node("own", Region::Europe, 0, 90), node("copy", Region::Europe, 1, 50), node("idle", Region::Europe, 1, 5)];
    let at = |hours: u64, tenant: &Hosted, nodes: &[Candidate]| {
        full_of(WORK).propose(hour(hours), &did("own"), std::slice::from_ref(tenant), nodes)
    };
    let quiet = hosted("quiet", 3, &["copy"]);
    let lately = Hosted { moved_at: Some(hour(2)), ..quiet.clone() };
    assert_eq!((at(169, &lately, &nodes), at(170, &lately, &nodes)), (None, to("quiet", "copy")));
    let in_grace = Hosted { in_grace: true, ..quiet.clone() };
    assert_eq!(at(500, &in_grace, &nodes), None, "the move that brought it can still be undone");
    let gone = nodes.clone().map(|it| Candidate { online: it.did != did("copy"), ..it });
    assert_eq!(at(2, &quiet, &gone), None, "somebody may be about to take its place");
    assert_eq!(at(2, &hosted("quiet", 3, &["stranger"]), &nodes), None, "a backup that nobody has seen");
}

#[test]
fn a_node_without_room_is_relieved_only_by_one_that_has_no_copy_yet() {
    let mut nodes = vec![
        node("own", Region::Europe, 0, 90),
        node("copy", Region::Europe, 1, 5),
        node("same", Region::Europe, 1, 5),
        node("other", Region::Europe, 1, 50),
    ];
    nodes[2].operator = did("op-copy");
    let tenant = hosted("quiet", 3, &["copy"]);
    let propose = |load: Load, tenant: &Hosted, nodes: &[Candidate]| {
        full_of(load).propose(hour(2), &did("own"), std::slice::from_ref(tenant), nodes)
    };
    assert_eq!(propose(WORK, &tenant, &nodes), to("quiet", "copy"));
    assert_eq!(propose(SPACE, &tenant, &nodes), to("quiet", "other"), "of another operator than the copy's");
    assert_eq!(propose(SPACE, &tenant, &nodes[..3]), to("quiet", "same"), "or of the same");
    assert_eq!(propose(SPACE, &tenant, &nodes[..2]), None, "its own copy would have to stay");
    let both = Load { work: 99, space: 90 };
    assert_eq!(propose(both, &tenant, &nodes[..2]), None);
    let names: Vec<_> = (0..BACKUPS_MAX).map(|at| format!("b{at}")).collect();
    nodes.extend(names.iter().map(|name| node(name, Region::Europe, 1, 70)));
    let most = hosted("quiet", 3, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(propose(SPACE, &most, &nodes), None, "no more backups than there may be");
}

#[test]
fn tenants_come_to_a_node_one_by_one_and_three_a_day() {
    let mut takes = Intake::new(vec![]);
    let nowhere = |_: &Did| false;
    let asked = |takes: &mut Intake, at, name: &str| takes.asked(hour(at), &did(name), IDLE, nowhere);
    assert_eq!(takes.asked(hour(0), &did("a"), Load { work: 60, ..IDLE }, nowhere), Err(Declined::Busy));
    assert_eq!(asked(&mut takes, 0, "a"), Ok(()));
    assert_eq!(asked(&mut takes, 0, "b"), Err(Declined::Taking), "one is on its way");
    assert_eq!(asked(&mut takes, 1, "a"), Ok(()), "it is the same");
    assert_eq!(takes.asked(hour(1), &did("b"), IDLE, |it| *it == did("a")), Ok(()), "the first has come");
    assert_eq!(asked(&mut takes, 6, "c"), Err(Declined::Taking), "the second has not");
    assert_eq!(asked(&mut takes, 7, "c"), Ok(()), "the second never came");
    assert_eq!(asked(&mut takes, 20, "d"), Err(Declined::Taking), "three in a day");
    assert_eq!(asked(&mut takes, 24, "d"), Ok(()));

    let arrived = (0..5).map(|at| (hour(at), did(&format!("n{at}")))).collect();
    let mut anew = Intake::new(arrived);
    let here = |_: &Did| true;
    assert_eq!(anew.asked(hour(10), &did("a"), IDLE, here), Err(Declined::Taking), "what came before counts");
    assert_eq!(anew.asked(hour(26), &did("a"), IDLE, here), Ok(()));
}

/// A tenant in [`tenants_do_not_wander`]: its primary, its backup, and when it moved.
struct Wanderer {
    primary: usize,
    backup: usize,
    moved: Vec<Timestamp>,
}

/// One on its way: which, to whom, and when it is there.
type UnderWay = (usize, usize, Timestamp);

struct World {
    /// The load of each node without its tenants.
    bases: Vec<u8>,
    tenants: Vec<Wanderer>,
    gives: Vec<Rebalance>,
    takes: Vec<Intake>,
    under_way: Vec<UnderWay>,
}

impl World {
    fn name(node: usize) -> Did {
        did(&format!("n{node}"))
    }

    fn load(&self, node: usize) -> Load {
        let tenants = self.tenants.iter().filter(|it| it.primary == node).count();
        let work = (usize::from(self.bases[node]) + 4 * tenants).min(100);
        Load { work: u8::try_from(work).expect("at most 100"), space: 0 }
    }

    fn arrive(&mut self, now: Timestamp) {
        let there: Vec<_> = self.under_way.extract_if(.., |(_, _, at)| *at <= now).collect();
        for (tenant, to, _) in there {
            let it = &mut self.tenants[tenant];
            (it.backup, it.primary) = (it.primary, to);
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |at| Candidate { did: Self::name(at), ..node("n", Region::Europe, 1, self.load(at).score()) };
        (0..self.bases.len()).map(candidate).collect()
    }

    /// What a node hands over now, if anything, and whether the target takes it.
    fn look(&mut self, now: Timestamp, at: usize) -> Option<(usize, usize)> {
        let load = self.load(at);
        self.gives[at].measured(now, load);
        if self.under_way.iter().any(|(tenant, ..)| self.tenants[*tenant].primary == at) {
            return None;
        }
        let own = self.tenants.iter().enumerate().filter(|(_, it)| it.primary == at);
        let all = own.map(|(number, it)| Hosted {
            tenant: did(&format!("t{number}")),
            strategy: Strategy::LoadBalanced,
            residency: Residency::Global,
            backups: vec![Self::name(it.backup)],
            copies: vec![Self::name(it.backup)],
            newest: number as u64,
            moved_at: it.moved.last().copied(),
            in_grace: false,
        });
        let all: Vec<_> = all.collect();
        let proposal = self.gives[at].propose(now, &Self::name(at), &all, &self.candidates())?;
        let to = (0..self.bases.len()).find(|it| Self::name(*it) == proposal.to).expect("one of them");
        let number = (0..self.tenants.len()).find(|it| did(&format!("t{it}")) == proposal.tenant).expect("one of them");
        let (load, tenants) = (self.load(to), &self.tenants);
        let is_here = |other: &Did| {
            tenants.iter().enumerate().any(|(it, at)| at.primary == to && did(&format!("t{it}")) == *other)
        };
        self.takes[to].asked(now, &proposal.tenant, load, is_here).ok()?;
        self.gives[at].moved(now);
        self.tenants[number].moved.push(now);
        self.under_way.push((number, to, now + Duration::from_hours(1)));
        Some((number, to))
    }
}

#[test]
fn a_full_node_comes_down_and_no_further() {
    let mut world = World {
        bases: vec![50, 10, 10],
        tenants: (0..12).map(|_| Wanderer { primary: 0, backup: 1, moved: vec![] }).collect(),
        gives: vec![Rebalance::default(); 3],
        takes: vec![Intake::default(); 3],
        under_way: vec![],
    };
    let mut moved = Vec::new();
    for step in 0..96_u64 {
        let now = hour(24) + Duration::from_mins(30 * step);
        world.arrive(now);
        (0..3).for_each(|at| moved.extend(world.look(now, at).map(|(_, to)| (step, to))));
    }
    // From 98 by four each: 82 is full no more. One an hour, to the node with the copies.
    assert_eq!(moved.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [1, 1, 1, 1], "{moved:?}");
    assert!(moved[1].0 - moved[0].0 >= 2 && moved[3].0 - moved[0].0 >= 48, "{moved:?}");
    assert_eq!(world.load(0).work, 82);
}

proptest! {
    /// Ten days of nodes that are as busy as they like: nobody gives or takes more than three a day, two are never on their
    /// way to one node, none goes where there is no room, and none goes anywhere twice in a week.
    #[test]
    fn tenants_do_not_wander(
        bases in proptest::collection::vec(0_u8..100, 2..7),
        homes in proptest::collection::vec((0_usize..7, 1_usize..7), 1..40),
        swing in 0_u8..40,
    ) {
        let nodes = bases.len();
        let tenants = homes.iter().map(|(primary, next)| {
            let primary = primary % nodes;
            Wanderer { primary, backup: (primary + 1 + next % (nodes - 1)) % nodes, moved: vec![] }
        });
        let mut world = World {
            tenants: tenants.collect(),
            gives: vec![Rebalance::default(); nodes],
            takes: vec![Intake::default(); nodes],
            under_way: vec![],
            bases: bases.clone(),
        };
        let mut given = vec![Vec::new(); nodes];
        let mut taken = vec![Vec::new(); nodes];
        for step in 0..480_u64 {
            let now = hour(24) + Duration::from_mins(30 * step);
            // A day has its busy hours, on each node others.
            for (at, base) in world.bases.iter_mut().enumerate() {
                let busy = (step / 12 + at as u64).is_multiple_of(4);
                *base = if busy { bases[at].saturating_add(swing).min(100) } else { bases[at] };
            }
            world.arrive(now);
            for (at, given) in given.iter_mut().enumerate() {
                let before = world.under_way.clone();
                let Some((tenant, to)) = world.look(now, at) else { continue };
                prop_assert!(world.load(at).score() > 85 && world.load(to).score() < 60 && to != at);
                prop_assert!(before.iter().all(|(_, other, _)| *other != to), "two on their way to one node");
                given.push(now);
                taken[to].push(now);
                let moved = &world.tenants[tenant].moved;
                prop_assert!(moved.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_hours(7 * 24)));
            }
        }
        for times in given.iter().chain(&taken) {
            prop_assert!(times.windows(4).all(|four| four[3].since(four[0]) >= Duration::from_hours(24)), "{times:?}");
        }
    }
}

mod rebalance;
mod replace;

use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{
    Accept, BTreeSet, Candidate, Consent, Declined, Holding, LOAD_FULL, NoPlace, Offer, Region, Residency, Wish, choose,
};
use crate::ids::Did;
use crate::ledger::action::Strategy;

fn did(name: &str) -> Did {
    format!("did:web:{name}.example").parse().expect("a DID")
}

fn node(name: &str, region: Region, latency_ms: u32, load_score: u8) -> Candidate {
    Candidate {
        did: did(name),
        region,
        operator: did(&format!("op-{name}")),
        hosts: true,
        online: true,
        load_score,
        tenants: (10, 0),
        latency_ms: Some(latency_ms),
    }
}

const WISH: Wish = Wish { strategy: Strategy::MultiNodeReplica, residency: Residency::Global, backups: 2 };

fn names(chosen: Result<Vec<Did>, NoPlace>) -> Vec<String> {
    chosen.expect("found").iter().map(|did| did.as_str()[8..9].to_owned()).collect()
}

#[test]
fn near_then_idle_then_by_name_and_strangers_first() {
    let mut nodes = vec![
        node("p", Region::Europe, 0, 10),
        node("a", Region::Europe, 20, 50),
        node("b", Region::Europe, 20, 10),
        node("c", Region::Asia, 90, 0),
    ];
    assert_eq!(names(choose(&nodes, &did("p"), WISH)), ["b", "a"]);
    nodes[2].operator = did("op-p");
    assert_eq!(names(choose(&nodes, &did("p"), WISH)), ["a", "c"], "another operator where possible");
    let by_load = Wish { strategy: Strategy::LoadBalanced, backups: 1, ..WISH };
    assert_eq!(names(choose(&nodes, &did("p"), by_load)), ["c"]);
    let wide = Wish { strategy: Strategy::GeoDistributed, ..WISH };
    assert_eq!(names(choose(&nodes, &did("p"), wide)), ["c", "a"], "another region first");
    let here = Wish { residency: Residency::Eu, strategy: Strategy::GeoDistributed, ..WISH };
    assert_eq!(choose(&nodes, &did("p"), here), Err(NoPlace::OneRegion));
}

#[test]
fn nodes_that_do_not_fit_are_left_out_by_name() {
    let good = node("a", Region::Europe, 1, 0);
    let unfit = [
        Candidate { online: false, ..good.clone() },
        Candidate { load_score: LOAD_FULL, ..good.clone() },
        Candidate { tenants: (3, 3), ..good.clone() },
        Candidate { hosts: false, ..good.clone() },
        Candidate { region: Region::Australia, ..good },
    ];
    for candidate in unfit {
        let nodes = [node("p", Region::Europe, 0, 0), candidate];
        let wish = Wish { strategy: Strategy::LoadBalanced, residency: Residency::Eu, backups: 1 };
        assert_eq!(choose(&nodes, &did("p"), wish), Err(NoPlace::TooFew { needed: 1, found: 0 }));
    }
    let nodes = [node("p", Region::UsEast, 0, 0)];
    let wish = Wish { strategy: Strategy::SingleNode, residency: Residency::Eu, backups: 0 };
    assert_eq!(choose(&nodes, &did("p"), wish), Err(NoPlace::Primary(did("p"))));
}

proptest! {
    /// Whoever has the same data comes to the same result, in whatever order it came.
    #[test]
    fn the_order_of_candidates_does_not_matter(
        loads in proptest::collection::vec((0_u8..100, 0_u32..5, 0_usize..3), 3..9), turn in 0_usize..9,
    ) {
        let regions = [Region::Europe, Region::Asia, Region::UsEast];
        let mut nodes: Vec<_> = loads.iter().enumerate()
            .map(|(at, (load, latency, region))| node(&format!("n{at}"), regions[*region], *latency, *load)).collect();
        for strategy in [Strategy::MultiNodeReplica, Strategy::GeoDistributed, Strategy::LoadBalanced] {
            let wish = Wish { strategy, ..WISH };
            let before = choose(&nodes, &did("n0"), wish);
            let length = nodes.len();
            nodes.rotate_left(turn % length);
            prop_assert_eq!(choose(&nodes, &did("n0"), wish), before.clone());
            if let Ok(chosen) = before {
                let distinct: BTreeSet<_> = chosen.iter().collect();
                prop_assert!(distinct.len() == chosen.len() && !chosen.contains(&did("n0")));
            }
        }
    }
}

#[test]
fn consent_is_refused_by_name() {
    let terms = Consent { accept: Accept::Listed(vec![did("p")]), quota: 100, tenants_max: 2, region: Region::Europe };
    let offer = Offer { tenant: did("t"), bytes: 60, residency: Residency::Eu };
    let holding = |tenants, bytes| Holding { tenants, bytes };
    assert_eq!(terms.to(&did("p"), &offer, holding(1, 40)), Ok(()));
    assert_eq!(terms.to(&did("q"), &offer, holding(1, 40)), Err(Declined::NotFromYou));
    assert_eq!(terms.to(&did("p"), &offer, holding(1, 41)), Err(Declined::Quota));
    assert_eq!(terms.to(&did("p"), &offer, holding(2, 0)), Err(Declined::TooManyTenants));
    let elsewhere = Offer { residency: Residency::Us, ..offer.clone() };
    assert_eq!(terms.to(&did("p"), &elsewhere, holding(0, 0)), Err(Declined::Residency));
    let endless = Offer { bytes: u64::MAX, ..offer };
    assert_eq!(terms.to(&did("p"), &endless, holding(0, 1)), Err(Declined::Quota));
}

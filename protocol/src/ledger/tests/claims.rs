//! Claims: whom the owner's word makes primary, one test for every refusal, and who is the owner.

use std::time::Duration;

use super::identities::{rotation_key, state, wrap};
use super::network::{join_network, newcomer, node_action};
use super::world::*;
use crate::data::Cid;
use crate::ids::{Did, NetworkId};
use crate::ledger::action::*;
use crate::ledger::*;
use crate::plc::{PlcOperation, PlcStatement};

/// A network that holds the identity of a tenant: key 1 is its owner's, key 2 (on P-256) that of its host.
struct Owned {
    world: World,
    tenant: Did,
    head: Cid,
}

impl Owned {
    fn new() -> Self {
        Self::by(&[1, 2])
    }

    fn by(keys: &[u8]) -> Self {
        let first = state(keys, "cafe", None).sign(&rotation_key(2));
        let tenant = first.creates().expect("the first");
        let mut owned = Self { world: World::new(), head: first.cid(), tenant };
        assert_eq!(owned.change(&first), Outcome::Posted);
        owned
    }

    fn change(&mut self, operation: &PlcOperation) -> Outcome {
        let applied = self.world.decide(vec![wrap(&self.tenant, operation)]);
        if applied.entries[0].outcome.is_posted() {
            self.head = operation.cid();
        }
        applied.entries[0].outcome
    }

    /// The identity gets these keys, by one of those before.
    fn rotate(&mut self, keys: &[u8], signer: u8) -> Outcome {
        let name = format!("cafe{}", self.world.height);
        self.change(&state(keys, &name, Some(self.head)).sign(&rotation_key(signer)))
    }

    /// A claim as the holder of a key signs it.
    fn signed_for(&self, network: &NetworkId, epoch: u64, node: &Did, from: Option<Source>, key: u8) -> Claim {
        let (domain, message) = statement::claim(network, &self.tenant, epoch, node, from.as_ref());
        let owner = rotation_key(key).sign_for(domain, &message);
        Claim { tenant: self.tenant.clone(), epoch, from, owner }
    }

    fn claim(&self, epoch: u64, node: &Did, key: u8) -> Claim {
        let from = Source { node: super::world::node(0), sequence: 40 };
        self.signed_for(&network(), epoch, node, Some(from), key)
    }

    /// The holder of a key gives the tenant to a node.
    fn attempt(&mut self, epoch: u64, node: &Did, key: u8) -> Outcome {
        let claim = self.claim(epoch, node, key);
        self.world.act(node, Action::Claim(claim))
    }

    fn placement(&self) -> rows::Placement {
        rows::placement(&self.world.view, &self.tenant).expect("memory reads").expect("placed")
    }

    fn primaries(&self) -> [u32; 4] {
        [0, 1, 2, 3]
            .map(|number| rows::node(&self.world.view, &node(number)).expect("memory reads").expect("there").primaries)
    }
}

#[test]
fn a_tenant_that_was_never_placed_is_placed_by_its_owner() {
    let mut owned = Owned::new();
    assert_eq!(owned.attempt(1, &node(1), 1), Outcome::StaleEpoch, "what it was before counts as the first");
    assert_eq!(owned.attempt(2, &node(1), 1), Outcome::Posted);
    let placed = owned.placement();
    assert_eq!((placed.epoch, &placed.primary, placed.strategy), (2, &node(1), Strategy::SingleNode));
    assert_eq!((placed.residency, placed.hosts().count(), placed.previous), (Residency::Global, 1, None));
    assert_eq!((placed.height, owned.primaries()), (owned.world.height, [0, 1, 0, 0]));
    // The new primary gives it backups as any primary does.
    let backups = Backups { standbys: vec![node(2)], ..Backups::default() };
    let change = ChangeHosts { tenant: owned.tenant.clone(), epoch: 2, backups };
    assert_eq!(owned.world.act(&node(1), Action::ChangeHosts(change)), Outcome::Posted);
}

#[test]
fn the_hosts_that_were_are_dropped_and_what_the_owner_asked_for_stays() {
    let mut owned = Owned::new();
    assert_eq!(owned.attempt(2, &node(0), 1), Outcome::Posted);
    let backups = Backups { standbys: vec![node(2)], vaults: vec![], witness: Some(node(3)) };
    let change = ChangeHosts { tenant: owned.tenant.clone(), epoch: 2, backups };
    assert_eq!(owned.world.act(&node(0), Action::ChangeHosts(change)), Outcome::Posted);
    assert_eq!(owned.attempt(3, &node(0), 1), Outcome::HostRepeated, "it is primary");
    // A standby without a majority that it could take over with.
    assert_eq!(owned.attempt(3, &node(2), 1), Outcome::Posted);
    let placed = owned.placement();
    assert_eq!((placed.epoch, &placed.primary, placed.hosts().count(), &placed.witness), (3, &node(2), 1, &None));
    assert_eq!(owned.primaries(), [0, 0, 1, 0]);
    // Whoever was primary is none any more, and cannot come back by itself.
    let accepted = owned.world.sign(&node(0), &statement::hosting(&network(), &owned.tenant, 4, &node(0)));
    let migrate = Migrate { tenant: owned.tenant.clone(), epoch: 4, to: node(0), accepted };
    assert_eq!(owned.world.act(&node(0), Action::Migrate(migrate)), Outcome::NotPermitted);
    let back = RollBack { tenant: owned.tenant.clone(), epoch: 4 };
    assert_eq!(owned.world.act(&node(0), Action::RollBack(back)), Outcome::NotPermitted);
}

#[test]
fn a_claim_is_refused_by_name() {
    let mut owned = Owned::new();
    let quiet = newcomer(&mut owned.world, 1);
    let action = node_action(&owned.world, &quiet, "quiet", Some(&node(0)), |it| it.hosts = false);
    assert_eq!(owned.world.act(&quiet, action), Outcome::Posted);
    assert_eq!(owned.attempt(2, &did("ada"), 1), Outcome::NotANode);
    assert_eq!(owned.attempt(3, &node(1), 1), Outcome::StaleEpoch);
    assert_eq!(owned.attempt(2, &quiet, 1), Outcome::HostNotHosting);
    assert_eq!(owned.attempt(2, &node(1), 7), Outcome::BadClaim, "a key that is nothing to the identity");
    assert_eq!(owned.attempt(2, &node(1), 2), Outcome::BadClaim, "the host's own key");
    let other = owned.signed_for(&"other-dev".parse().expect("a name"), 2, &node(1), None, 1);
    assert_eq!(owned.world.act(&node(1), Action::Claim(other)), Outcome::BadClaim, "for another network");
    // A node that nobody named, and one that did not consent: the claim for node 1 is of use to node 1 alone.
    let named = owned.claim(2, &node(1), 1);
    assert_eq!(owned.world.act(&node(2), Action::Claim(named.clone())), Outcome::BadClaim);
    let from = Some(Source { node: node(0), sequence: 41 });
    let altered = Claim { from, ..named.clone() };
    assert_eq!(owned.world.act(&node(1), Action::Claim(altered)), Outcome::BadClaim, "with another copy");
    let elsewhere = Claim { tenant: did("shop"), ..named.clone() };
    assert_eq!(owned.world.act(&node(1), Action::Claim(elsewhere)), Outcome::OwnerUnknown, "its identity is elsewhere");
    assert_eq!(owned.world.act(&node(1), Action::Claim(named.clone())), Outcome::Posted);
    assert_eq!(owned.world.act(&node(1), Action::Claim(named)), Outcome::StaleEpoch, "it counts once");
}

#[test]
fn a_claim_keeps_to_where_the_tenant_may_lie() {
    let mut owned = Owned::new();
    let european = join_network(&mut owned.world, 2);
    assert_eq!(owned.attempt(2, &european, 1), Outcome::Posted);
    let mut placed = owned.placement();
    placed.residency = Residency::Eu;
    let mut changes = view::Changes::default();
    changes.insert(rows::key::<rows::Placement>(&[owned.tenant.as_str().as_bytes()]), Some(rows::value(&placed)));
    owned.world.view.write(changes);
    assert_eq!(owned.attempt(3, &node(1), 1), Outcome::ResidencyViolation);
}

#[test]
fn a_stolen_key_that_puts_itself_first_is_not_the_owners_for_as_long_as_that_can_be_taken_back() {
    let mut owned = Owned::new();
    assert_eq!(owned.rotate(&[2], 2), Outcome::Posted, "the host's key throws the owner's out");
    assert_eq!(owned.attempt(2, &node(1), 2), Outcome::BadClaim);
    assert_eq!(owned.rotate(&[2, 3], 2), Outcome::Posted, "and again, first by now");
    assert_eq!(owned.attempt(2, &node(1), 2), Outcome::BadClaim);
    // The owner is heard, whatever the identity says at the moment.
    assert_eq!(owned.attempt(2, &node(1), 1), Outcome::Posted);
    // After three days it is what the identity says.
    owned.world.now = owned.world.now + 3 * DAY;
    assert_eq!(owned.attempt(3, &node(2), 2), Outcome::Posted);
    assert_eq!(owned.attempt(4, &node(1), 1), Outcome::BadClaim);
}

#[test]
fn an_owner_who_takes_another_key_is_the_owner_at_once() {
    let mut owned = Owned::new();
    assert_eq!(owned.rotate(&[5, 2], 1), Outcome::Posted);
    assert_eq!(owned.attempt(2, &node(1), 1), Outcome::BadClaim, "nobody takes back what the first key did");
    assert_eq!(owned.attempt(2, &node(1), 5), Outcome::Posted);
    // What the host does in between changes nothing.
    assert_eq!(owned.rotate(&[5, 2], 2), Outcome::Posted);
    assert_eq!(owned.attempt(3, &node(2), 5), Outcome::Posted);
}

#[test]
fn what_was_taken_back_counts_for_nothing_and_an_ended_identity_has_no_owner() {
    let mut owned = Owned::new();
    let first = owned.head;
    assert_eq!(owned.rotate(&[2], 2), Outcome::Posted);
    let rescue = state(&[5, 1], "cafe", Some(first)).sign(&rotation_key(1));
    assert_eq!(owned.change(&rescue), Outcome::Posted);
    assert_eq!(owned.attempt(2, &node(1), 2), Outcome::BadClaim);
    assert_eq!(owned.attempt(2, &node(1), 5), Outcome::Posted);
    let end = PlcStatement::Tombstone { prev: owned.head }.sign(&rotation_key(5));
    assert_eq!(owned.change(&end), Outcome::Posted);
    assert_eq!(owned.attempt(3, &node(2), 5), Outcome::OwnerUnknown);
}

#[test]
fn an_owners_key_may_be_on_either_curve() {
    let mut owned = Owned::by(&[4, 2]);
    owned.world.now = owned.world.now + Duration::from_secs(1);
    assert_eq!(owned.attempt(2, &node(1), 1), Outcome::BadClaim);
    assert_eq!(owned.attempt(2, &node(1), 4), Outcome::Posted);
}

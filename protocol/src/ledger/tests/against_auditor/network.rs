//! Nodes and the places of tenants: random transactions about them, and both sides' word on them.

use std::time::Duration;

use super::*;

/// A node that is not on the network yet.
pub(super) fn newcomer(world: &mut World, number: u8) -> Did {
    let key = key(6, number);
    let did = key.did();
    world.add_key(did.clone(), key);
    did
}

impl Run {
    /// A newcomer registers, mostly as the rules ask, or somebody retires.
    pub(super) fn node_action(&mut self, now: Timestamp) -> (Did, Action) {
        let by = if self.random.one_in(12) { self.anybody() } else { self.random.pick(&self.newcomers).clone() };
        if self.random.one_in(3) {
            let by = if self.random.one_in(6) { self.anybody() } else { by };
            return (by, Action::RetireNode);
        }
        let invitation = (!self.random.one_in(5)).then(|| {
            let node = if self.random.one_in(8) { self.anybody() } else { self.node() };
            let expires = self.near(now, 10_000) + Duration::from_millis(self.random.next() % 200_000);
            let mut invitation = Invitation { node: node.clone(), expires, signature: [0; 64] };
            invitation.signature = self.sign(&node, &statement::invitation(&network(), &by, &invitation));
            invitation
        });
        let regions = [Region::UsEast, Region::UsWest, Region::Europe, Region::Asia, Region::Australia];
        let name = if self.random.one_in(12) { "node-1".to_owned() } else { format!("n{}", self.random.below(6)) };
        let it = RegisterNode {
            name: name.parse().expect("a name"),
            operator: self.person(),
            region: *self.random.pick(&regions),
            hosts: !self.random.one_in(6),
            validates: self.random.one_in(2),
            invitation,
        };
        (by, Action::RegisterNode(it))
    }

    /// A tenant, mostly one of three so that much happens to them.
    fn tenant(&mut self) -> Did {
        if self.random.one_in(4)
            && let Some(identity) = self.identity()
        {
            return identity;
        }
        let tenants = ["shop", "ada", "fund"].map(did);
        if self.random.one_in(15) { self.anybody() } else { self.random.pick(&tenants).clone() }
    }

    fn host(&mut self) -> Did {
        if self.random.one_in(40) { self.anybody() } else { self.node() }
    }

    fn backups(&mut self) -> Backups {
        let mut list = |most: usize| (0..self.random.below(most + 1)).map(|_| self.host()).collect::<Vec<_>>();
        let (standbys, vaults) = (list(3), list(1));
        let witness = self.random.one_in(3).then(|| self.host());
        Backups { standbys, vaults, witness }
    }

    fn consent(&mut self, tenant: &Did, epoch: u64, node: &Did) -> Signature {
        self.sign(node, &statement::hosting(&network(), tenant, epoch, node))
    }

    pub(super) fn placement_action(&mut self, now: Timestamp) -> (Did, Action) {
        let tenant = self.tenant();
        let Some(placement) = rows::placement(&self.world.view, &tenant).expect("reads") else {
            let unplaced = self.world.keys.contains_key(&tenant) && !self.random.one_in(20);
            return if unplaced { self.place(tenant) } else { self.claim(tenant, 2) };
        };
        let epoch = placement.epoch + u64::from(!self.random.one_in(15));
        let stranger = self.random.one_in(10);
        let by = |expected: Did, run: &mut Self| if stranger { run.anybody() } else { expected };
        match self.random.below(8) {
            0 => self.place(tenant),
            1..3 => {
                let expected = if self.random.one_in(2) { tenant.clone() } else { placement.primary };
                let (by, backups) = (by(expected, self), self.backups());
                (by, Action::ChangeHosts(ChangeHosts { tenant, epoch: epoch - 1, backups }))
            }
            3 => {
                let (by, to) = (by(placement.primary, self), self.host());
                let accepted = self.consent(&tenant, epoch, &to);
                (by, Action::Migrate(Migrate { tenant, epoch, to, accepted }))
            }
            4 => {
                let previous = placement.previous.map_or(tenant.clone(), |previous| previous.primary);
                let among = [tenant.clone(), placement.primary, previous];
                let expected = self.random.pick(&among).clone();
                (by(expected, self), Action::RollBack(RollBack { tenant, epoch }))
            }
            5 => self.claim(tenant, epoch),
            _ => self.failover(now, tenant, &placement, epoch),
        }
    }

    fn place(&mut self, tenant: Did) -> (Did, Action) {
        let strategies =
            [Strategy::SingleNode, Strategy::LoadBalanced, Strategy::MultiNodeReplica, Strategy::GeoDistributed];
        let residencies = [Residency::Us, Residency::Eu, Residency::Asia];
        let (primary, backups) = (self.host(), self.backups());
        let accepted = self.consent(&tenant, 1, &primary);
        let strategy = *self.random.pick(&strategies);
        let residency = if self.random.one_in(8) { *self.random.pick(&residencies) } else { Residency::Global };
        (tenant, Action::PlaceTenant(PlaceTenant { primary, backups, strategy, residency, accepted }))
    }

    fn claim(&mut self, tenant: Did, epoch: u64) -> (Did, Action) {
        let by = self.host();
        let from = self.random.one_in(2).then(|| Source { node: self.host(), sequence: self.random.next() % 100 });
        let named = if self.random.one_in(15) { self.host() } else { by.clone() };
        let (domain, message) = statement::claim(&network(), &tenant, epoch, &named, from.as_ref());
        let key = *self.random.pick(&[1, 1, 1, 1, 3, 5]);
        let owner = identities::owner_key(key).sign_for(domain, &message);
        (by, Action::Claim(Claim { tenant, epoch, from, owner }))
    }

    fn failover(&mut self, now: Timestamp, tenant: Did, placement: &rows::Placement, epoch: u64) -> (Did, Action) {
        let standbys = &placement.standbys;
        let by = if standbys.is_empty() || self.random.one_in(10) {
            self.anybody()
        } else {
            self.random.pick(standbys).clone()
        };
        let others = std::iter::once(&tenant).chain(&placement.witness);
        let mut observers: Vec<_> = standbys.iter().chain(&placement.vaults).chain(others).cloned().collect();
        if self.random.one_in(4) {
            let out = self.random.below(observers.len());
            observers.remove(out);
        }
        if self.random.one_in(15) {
            observers.push(self.anybody());
        }
        observers.sort();
        if !self.random.one_in(15) {
            observers.dedup();
        }
        let observations = observers.into_iter().map(|observer| self.observation(now, &tenant, &by, observer, epoch));
        let observations = observations.collect();
        (by, Action::Failover(Failover { tenant, epoch, observations }))
    }

    fn observation(&mut self, now: Timestamp, tenant: &Did, by: &Did, observer: Did, epoch: u64) -> Observation {
        let at = if self.random.one_in(60) { now - HOUR } else { self.near(now, 100_000) };
        let silence = Duration::from_secs(if self.random.one_in(60) { 299 } else { 300 });
        let ahead = observer == *by || self.random.one_in(20);
        let cursor = if ahead { 50 } else { self.random.next() % 50 };
        let mut seen = Observation { observer: observer.clone(), heard: at - silence, at, cursor, signature: [0; 64] };
        seen.signature = self.sign(&observer, &statement::silence(&network(), tenant, epoch, &seen));
        seen
    }

    pub(super) fn compare_network(&self, auditor: &Auditor<'_>) {
        let (seed, view) = (self.seed, &self.world.view);
        for (did, node) in &auditor.nodes {
            let row = rows::node(view, did).expect("reads").expect("it was registered");
            let counted =
                (row.name, row.operator, row.region, row.hosts, row.since, !row.retired, row.primaries as usize);
            let audit::Node { name, operator, region, hosts, since, here } = node;
            let expected = (name.clone(), operator.clone(), *region, *hosts, *since, *here, auditor.primaries(did));
            assert_eq!(counted, expected, "seed {seed}: {did}");
        }
        for (tenant, placement) in &auditor.placements {
            let row = rows::placement(view, tenant).expect("reads").expect("it was placed");
            let counted = (row.epoch, row.primary, row.standbys, row.vaults, row.witness);
            let audit::Placement { epoch, primary, standbys, vaults, witness, .. } = placement;
            let expected = (*epoch, primary.clone(), standbys.clone(), vaults.clone(), witness.clone());
            assert_eq!(counted, expected, "seed {seed}: {tenant}");
        }
    }
}

//! Where tenants are: placed, moved, taken over (`network.md` 4.2, 4.3, 5.2 and 5.6).

use std::collections::BTreeSet;

use super::super::action::*;
use super::super::{Outcome, statement};
use super::{Auditor, DAY, Verdict};
use crate::ids::Did;

/// Where one tenant is.
pub(in super::super) struct Placement {
    pub(in super::super) epoch: u64,
    pub(in super::super) primary: Did,
    pub(in super::super) standbys: Vec<Did>,
    pub(in super::super) vaults: Vec<Did>,
    pub(in super::super) witness: Option<Did>,
    strategy: Strategy,
    residency: Residency,
    /// Who was primary before a migration, and until when he can be again.
    before: Option<(Did, u64)>,
}

impl Placement {
    fn backups(&self) -> Vec<Did> {
        [&self.standbys[..], &self.vaults[..]].concat()
    }

    /// Another primary; whoever it is backs up no more.
    fn move_to(&mut self, to: &Did) {
        self.epoch += 1;
        for list in [&mut self.standbys, &mut self.vaults] {
            list.retain(|node| node != to);
        }
        if self.witness.as_ref() == Some(to) {
            self.witness = None;
        }
        self.primary = to.clone();
    }
}

const fn residence(region: Region) -> Residency {
    match region {
        Region::UsEast | Region::UsWest => Residency::Us,
        Region::Europe => Residency::Eu,
        Region::Asia => Residency::Asia,
        Region::Australia => Residency::Global,
    }
}

impl Auditor<'_> {
    fn outside(&self, node: &Did, residency: Residency) -> bool {
        residency != Residency::Global && residence(self.nodes[node].region) != residency
    }

    fn may_host(&self, primary: &Did, backups: &Backups, strategy: Strategy, residency: Residency) -> Verdict {
        let copies = [&backups.standbys[..], &backups.vaults[..]].concat();
        let mut hosts = copies.clone();
        hosts.push(primary.clone());
        let mut everybody = hosts.clone();
        everybody.extend(backups.witness.clone());
        let different: BTreeSet<_> = everybody.iter().collect();
        let regions = || hosts.iter().map(|node| self.nodes[node].region as u8).collect::<BTreeSet<_>>().len();
        let (least, spread) = match strategy {
            Strategy::SingleNode => (0, 1),
            Strategy::LoadBalanced => (1, 1),
            Strategy::MultiNodeReplica => (2, 1),
            Strategy::GeoDistributed => (2, 2),
        };
        refuse! {
            !everybody.iter().all(|node| self.is_node(node)) => HostUnknown,
            hosts.iter().any(|node| !self.nodes[node].hosts) => HostNotHosting,
            different.len() < everybody.len() => HostRepeated,
            copies.len() < least => TooFewHosts,
            strategy == Strategy::SingleNode && copies.len() > 1 => TooManyHosts,
            regions() < spread => TooFewRegions,
            hosts.iter().any(|node| self.outside(node, residency)) => ResidencyViolation,
        }
        Ok(())
    }

    /// The node has agreed to become primary of the tenant in this epoch.
    fn agreed(&self, tenant: &Did, epoch: u64, node: &Did, signature: &[u8; 64]) -> Verdict {
        let what = statement::hosting(&self.network, tenant, epoch, node);
        refuse! { !self.node_holds(node, &what, signature) => BadAcceptance }
        Ok(())
    }

    pub(super) fn place(&mut self, by: &Did, it: &PlaceTenant) -> Verdict {
        refuse! { self.placements.contains_key(by) => AlreadyPlaced }
        self.may_host(&it.primary, &it.backups, it.strategy, it.residency)?;
        self.agreed(by, 1, &it.primary, &it.accepted)?;
        let Backups { standbys, vaults, witness } = it.backups.clone();
        let placement = Placement {
            epoch: 1,
            primary: it.primary.clone(),
            standbys,
            vaults,
            witness,
            strategy: it.strategy,
            residency: it.residency,
            before: None,
        };
        self.placements.insert(by.clone(), placement);
        Ok(())
    }

    pub(super) fn change_hosts(&mut self, by: &Did, it: &ChangeHosts) -> Verdict {
        let Some(placement) = self.placements.get(&it.tenant) else { return Err(Outcome::UnknownTenant) };
        refuse! {
            placement.primary != *by && it.tenant != *by => NotPermitted,
            placement.epoch != it.epoch => StaleEpoch,
        }
        self.may_host(&placement.primary, &it.backups, placement.strategy, placement.residency)?;
        let Backups { standbys, vaults, witness } = it.backups.clone();
        let placement = self.placements.get_mut(&it.tenant).expect("found before");
        (placement.standbys, placement.vaults, placement.witness) = (standbys, vaults, witness);
        Ok(())
    }

    pub(super) fn migrate(&mut self, by: &Did, it: &Migrate, now: u64) -> Verdict {
        let Some(placement) = self.placements.get(&it.tenant) else { return Err(Outcome::UnknownTenant) };
        let backups = placement.backups();
        let full = backups.len() >= 16 && !backups.contains(&it.to);
        refuse! {
            placement.primary != *by => NotPermitted,
            placement.epoch + 1 != it.epoch => StaleEpoch,
            !self.is_node(&it.to) => HostUnknown,
            !self.nodes[&it.to].hosts => HostNotHosting,
            placement.primary == it.to => HostRepeated,
            full && placement.strategy != Strategy::SingleNode => TooManyHosts,
            self.outside(&it.to, placement.residency) => ResidencyViolation,
        }
        self.agreed(&it.tenant, it.epoch, &it.to, &it.accepted)?;
        let placement = self.placements.get_mut(&it.tenant).expect("found before");
        placement.before = Some((by.clone(), now + 3 * DAY));
        placement.move_to(&it.to);
        if placement.strategy != Strategy::SingleNode {
            placement.standbys.insert(0, by.clone());
        }
        Ok(())
    }

    pub(super) fn roll_back(&mut self, by: &Did, it: &RollBack, now: u64) -> Verdict {
        let Some(placement) = self.placements.get(&it.tenant) else { return Err(Outcome::UnknownTenant) };
        let before = placement.before.clone();
        let concerned =
            it.tenant == *by || placement.primary == *by || before.as_ref().is_some_and(|(did, _)| did == by);
        refuse! {
            !concerned => NotPermitted,
            placement.epoch + 1 != it.epoch => StaleEpoch,
            before.as_ref().is_some_and(|(did, _)| !self.is_node(did)) => HostUnknown,
        }
        let Some((to, until)) = before else { return Err(Outcome::NoMigration) };
        refuse! { now > until => GraceOver }
        let placement = self.placements.get_mut(&it.tenant).expect("found before");
        let from = placement.primary.clone();
        placement.before = None;
        placement.move_to(&to);
        if placement.strategy != Strategy::SingleNode && from != to {
            placement.standbys.insert(0, from);
        }
        Ok(())
    }

    pub(super) fn failover(&mut self, by: &Did, it: &Failover, now: u64) -> Verdict {
        refuse! { !self.is_node(by) => NotANode }
        let Some(placement) = self.placements.get(&it.tenant) else { return Err(Outcome::UnknownTenant) };
        refuse! {
            !placement.standbys.contains(by) => NotPermitted,
            placement.epoch + 1 != it.epoch => StaleEpoch,
        }
        self.observed(by, it, placement, now)?;
        let placement = self.placements.get_mut(&it.tenant).expect("found before");
        let from = placement.primary.clone();
        placement.epoch += 1;
        placement.primary = by.clone();
        placement.before = None;
        placement.standbys.retain(|node| node != by);
        placement.standbys.push(from);
        Ok(())
    }

    pub(super) fn claim(&mut self, by: &Did, it: &Claim, now: u64) -> Verdict {
        refuse! { !self.is_node(by) => NotANode }
        let placement = self.placements.get(&it.tenant);
        let residency = placement.map_or(Residency::Global, |placement| placement.residency);
        refuse! {
            it.epoch != placement.map_or(2, |placement| placement.epoch + 1) => StaleEpoch,
            !self.nodes[by].hosts => HostNotHosting,
            placement.is_some_and(|placement| placement.primary == *by) => HostRepeated,
            self.outside(by, residency) => ResidencyViolation,
        }
        let Some(owner) = self.owner(&it.tenant, now) else { return Err(Outcome::OwnerUnknown) };
        let what = statement::claim(&self.network, &it.tenant, it.epoch, by, it.from.as_ref());
        refuse! { !self.signatures.owner_holds(&owner, what.0, &what.1, &it.owner) => BadClaim }
        let strategy = placement.map_or(Strategy::SingleNode, |placement| placement.strategy);
        let placement = Placement {
            epoch: it.epoch,
            primary: by.clone(),
            standbys: vec![],
            vaults: vec![],
            witness: None,
            strategy,
            residency,
            before: None,
        };
        self.placements.insert(it.tenant.clone(), placement);
        Ok(())
    }

    fn observed(&self, by: &Did, it: &Failover, placement: &Placement, now: u64) -> Verdict {
        let seen = &it.observations;
        let observers: Vec<_> = seen.iter().map(|seen| seen.observer.clone()).collect();
        let in_order: Vec<_> = observers.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        let backups = placement.backups();
        let others: Vec<_> = [Some(it.tenant.clone()), placement.witness.clone()].into_iter().flatten().collect();
        let (at, heard) = (|seen: &Observation| seen.at.as_millis(), |seen: &Observation| seen.heard.as_millis());
        let age = self.parameters.observation_age;
        let votes = observers.iter().filter(|did| backups.contains(did)).count();
        let enough = match backups.len() {
            // A tenant that is its own backup is one voice, not two.
            1 => votes == 1 && observers.iter().any(|did| others.contains(did) && !backups.contains(did)),
            copies => votes * 2 > copies + 1,
        };
        let own = seen.iter().find(|seen| seen.observer == *by);
        let most = seen.iter().filter(|seen| placement.standbys.contains(&seen.observer)).map(|seen| seen.cursor).max();
        refuse! {
            observers != in_order => ObserverRepeated,
            !observers.iter().all(|did| backups.contains(did) || others.contains(did)) => ObserverUnknown,
            seen.iter().any(|seen| at(seen) + age < now || at(seen) > now + 120_000) => ObservationStale,
            seen.iter().any(|seen| heard(seen) + self.parameters.silence > at(seen)) => PrimaryHeard,
            own.is_none() || !enough => NoMajority,
            own.map(|own| own.cursor) < most => NotMostAdvanced,
        }
        for seen in seen {
            let what = statement::silence(&self.network, &it.tenant, it.epoch, seen);
            let holds = match self.accounts.get(&seen.observer) {
                Some(account) if seen.observer == it.tenant => self.holds(&account.key, &what, &seen.signature),
                _ => self.node_holds(&seen.observer, &what, &seen.signature),
            };
            refuse! { !holds => BadObservation }
        }
        Ok(())
    }
}

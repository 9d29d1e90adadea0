//! Whether nodes may host a tenant (`network.md` 4.2 and 4.3).

use std::collections::BTreeSet;

use super::super::action::{Backups, Region, Residency, Strategy};
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::rows::{Node, Placement};
use super::super::state::node_key;
use super::super::statement;
use super::super::view::{View, ViewError};
use crate::crypto::Signature;
use crate::ids::Did;

/// What the strategy asks for: fewest backups, most backups, fewest regions.
const fn demands(strategy: Strategy) -> (usize, usize, usize) {
    match strategy {
        // The one to which it moves, as long as it does.
        Strategy::SingleNode => (0, 1, 1),
        Strategy::MultiNodeReplica => (2, usize::MAX, 1),
        Strategy::GeoDistributed => (2, usize::MAX, 2),
        Strategy::LoadBalanced => (1, usize::MAX, 1),
    }
}

pub(super) const fn within(residency: Residency, region: Region) -> bool {
    match residency {
        Residency::Us => matches!(region, Region::UsEast | Region::UsWest),
        Residency::Eu => matches!(region, Region::Europe),
        Residency::Asia => matches!(region, Region::Asia),
        Residency::Global => true,
    }
}

impl<V: View> Tx<'_, '_, V> {
    /// Whether `primary` and `backups` may host a tenant with these demands.
    pub(super) fn may_host(
        &mut self,
        primary: &Did,
        backups: &Backups,
        strategy: Strategy,
        residency: Residency,
    ) -> Result<(), Stop> {
        let hosts: Vec<&Did> = std::iter::once(primary).chain(&backups.standbys).chain(&backups.vaults).collect();
        let mut nodes: Vec<Node> = Vec::with_capacity(hosts.len());
        for host in &hosts {
            nodes.extend(self.state.node(host)?);
        }
        let witness_known = match &backups.witness {
            Some(witness) => self.state.node(witness)?.is_some(),
            None => true,
        };
        self.require(nodes.len() == hosts.len() && witness_known, Outcome::HostUnknown)?;
        self.require(nodes.iter().all(|node| node.hosts), Outcome::HostNotHosting)?;
        let named: Vec<&Did> = hosts.iter().copied().chain(&backups.witness).collect();
        let distinct: BTreeSet<&Did> = named.iter().copied().collect();
        self.require(distinct.len() == named.len(), Outcome::HostRepeated)?;
        let (fewest, most, regions) = demands(strategy);
        self.require(hosts.len() > fewest, Outcome::TooFewHosts)?;
        self.require(hosts.len() - 1 <= most, Outcome::TooManyHosts)?;
        let mut spread: Vec<Region> = Vec::new();
        for node in &nodes {
            if !spread.contains(&node.region) {
                spread.push(node.region);
            }
        }
        self.require(spread.len() >= regions, Outcome::TooFewRegions)?;
        let inside = nodes.iter().all(|node| within(residency, node.region));
        self.require(inside, Outcome::ResidencyViolation)
    }

    /// `node` agreed to become primary of `tenant` in `epoch`.
    pub(super) fn accepted(&mut self, tenant: &Did, epoch: u64, node: &Did, signature: &Signature) -> Result<(), Stop> {
        let (domain, message) = statement::hosting(&self.state.network, tenant, epoch, node);
        let holds = node_key(node).is_some_and(|key| self.signatures.holds(&key, domain, &message, signature));
        self.require(holds, Outcome::BadAcceptance)
    }

    /// Begins the epoch after `placement`'s, with another primary.
    pub(super) fn begin_epoch(
        &mut self,
        tenant: &Did,
        mut placement: Placement,
        primary: &Did,
    ) -> Result<Placement, ViewError> {
        self.count_primary(&placement.primary, false)?;
        self.count_primary(primary, true)?;
        placement.epoch += 1;
        placement.primary = primary.clone();
        placement.height = self.state.height;
        self.state.put_placement(tenant, &placement);
        Ok(placement)
    }

    /// Counts a tenant for or against a node's primaries.
    pub(super) fn count_primary(&mut self, node: &Did, more: bool) -> Result<(), ViewError> {
        let mut row: Node = self.state.get(&[node.as_str().as_bytes()])?.ok_or(ViewError::Damaged { table: 0x40 })?;
        row.primaries = if more { row.primaries + 1 } else { row.primaries.saturating_sub(1) };
        self.state.put_node(node, &row);
        Ok(())
    }
}

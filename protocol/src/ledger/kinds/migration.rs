//! Moves a tenant from its living primary, and back within the grace (`network.md` 5.2).

use super::super::action::{Migrate, RollBack, Strategy};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Placement, Previous};
use super::super::view::View;
use super::Done;
use crate::ids::Did;
use crate::limits::BACKUPS_MAX;

pub(super) fn migrate<V: View>(tx: &mut Tx<'_, '_, V>, it: &Migrate) -> Done {
    let placement = tx.state.placement(&it.tenant)?;
    let placement = tx.some(placement, Outcome::UnknownTenant)?;
    tx.require(*tx.signer() == placement.primary, Outcome::NotPermitted)?;
    tx.require(placement.epoch.checked_add(1) == Some(it.epoch), Outcome::StaleEpoch)?;
    let after = moved(placement.clone(), &it.to);
    let to = tx.state.node(&it.to)?;
    tx.require(to.is_some(), Outcome::HostUnknown)?;
    let hosts = to.as_ref().is_some_and(|node| node.hosts);
    tx.require(hosts, Outcome::HostNotHosting)?;
    tx.require(it.to != placement.primary, Outcome::HostRepeated)?;
    tx.require(after.standbys.len() + after.vaults.len() <= BACKUPS_MAX, Outcome::TooManyHosts)?;
    let inside = to.is_some_and(|node| super::hosts::within(placement.residency, node.region));
    tx.require(inside, Outcome::ResidencyViolation)?;
    tx.accepted(&it.tenant, it.epoch, &it.to, &it.accepted)?;
    // Nothing may fail from here on.

    let previous = Previous { primary: placement.primary, until: tx.now() + tx.state.parameters.grace };
    let before = Placement { previous: Some(previous), ..after };
    tx.begin_epoch(&it.tenant, before, &it.to)?;
    Ok(None)
}

pub(super) fn roll_back<V: View>(tx: &mut Tx<'_, '_, V>, it: &RollBack) -> Done {
    let signer = tx.signer();
    let placement = tx.state.placement(&it.tenant)?;
    let placement = tx.some(placement, Outcome::UnknownTenant)?;
    let source = placement.previous.as_ref().map(|previous| &previous.primary);
    let permitted = [Some(&it.tenant), Some(&placement.primary), source].contains(&Some(signer));
    tx.require(permitted, Outcome::NotPermitted)?;
    tx.require(placement.epoch.checked_add(1) == Some(it.epoch), Outcome::StaleEpoch)?;
    let still_there = match source {
        Some(source) => tx.state.node(source)?.is_some(),
        None => true,
    };
    tx.require(still_there, Outcome::HostUnknown)?;
    let previous = tx.some(placement.previous.clone(), Outcome::NoMigration)?;
    tx.require(tx.now() <= previous.until, Outcome::GraceOver)?;
    // Nothing may fail from here on.

    let before = Placement { previous: None, ..moved(placement, &previous.primary) };
    tx.begin_epoch(&it.tenant, before, &previous.primary)?;
    Ok(None)
}

/// The backups once `to` is primary: it is no backup any more, and the old primary becomes the first standby, unless
/// the tenant wants no backups.
fn moved(mut placement: Placement, to: &Did) -> Placement {
    placement.standbys.retain(|node| node != to);
    placement.vaults.retain(|node| node != to);
    placement.witness = placement.witness.filter(|node| node != to);
    if placement.strategy != Strategy::SingleNode && placement.primary != *to {
        placement.standbys.insert(0, placement.primary.clone());
    }
    placement
}

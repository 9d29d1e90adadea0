//! Placing a tenant and changing its backups (`network.md` 4).

use super::super::action::{ChangeHosts, PlaceTenant};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::Placement;
use super::super::view::View;
use super::Done;

pub(super) fn place<V: View>(tx: &mut Tx<'_, '_, V>, it: &PlaceTenant) -> Done {
    let tenant = tx.signer();
    let before = tx.state.placement(tenant)?;
    tx.require(before.is_none(), Outcome::AlreadyPlaced)?;
    tx.may_host(&it.primary, &it.backups, it.strategy, it.residency)?;
    tx.accepted(tenant, 1, &it.primary, &it.accepted)?;
    // Nothing may fail from here on.

    tx.count_primary(&it.primary, true)?;
    let placement = Placement {
        epoch: 1,
        primary: it.primary.clone(),
        standbys: it.backups.standbys.clone(),
        vaults: it.backups.vaults.clone(),
        witness: it.backups.witness.clone(),
        strategy: it.strategy,
        residency: it.residency,
        previous: None,
        height: tx.state.height,
    };
    tx.state.put_placement(tenant, &placement);
    Ok(None)
}

pub(super) fn change_hosts<V: View>(tx: &mut Tx<'_, '_, V>, it: &ChangeHosts) -> Done {
    let signer = tx.signer();
    let placement = tx.state.placement(&it.tenant)?;
    let mut placement = tx.some(placement, Outcome::UnknownTenant)?;
    tx.require(*signer == placement.primary || *signer == it.tenant, Outcome::NotPermitted)?;
    tx.require(it.epoch == placement.epoch, Outcome::StaleEpoch)?;
    tx.may_host(&placement.primary, &it.backups, placement.strategy, placement.residency)?;
    // Nothing may fail from here on.

    placement.standbys.clone_from(&it.backups.standbys);
    placement.vaults.clone_from(&it.backups.vaults);
    placement.witness.clone_from(&it.backups.witness);
    placement.height = tx.state.height;
    tx.state.put_placement(&it.tenant, &placement);
    Ok(None)
}

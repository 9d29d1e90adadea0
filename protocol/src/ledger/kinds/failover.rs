//! Takes a tenant over from a silent primary (`network.md` 5.6).

use super::super::action::{Failover, Observation};
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::rows::Placement;
use super::super::state::node_key;
use super::super::statement;
use super::super::view::View;
use super::Done;
use crate::ids::Did;
use crate::limits::CLOCK_SKEW_MAX;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &Failover) -> Done {
    let signer = tx.signer();
    tx.signed_by_node()?;
    let placement = tx.state.placement(&it.tenant)?;
    let placement = tx.some(placement, Outcome::UnknownTenant)?;
    tx.require(placement.standbys.contains(signer), Outcome::NotPermitted)?;
    tx.require(placement.epoch.checked_add(1) == Some(it.epoch), Outcome::StaleEpoch)?;
    observed(tx, it, &placement)?;
    // Nothing may fail from here on.

    let mut before = placement;
    before.standbys.retain(|node| node != signer);
    before.standbys.push(before.primary.clone());
    before.previous = None;
    tx.begin_epoch(&it.tenant, before, signer)?;
    Ok(None)
}

/// A majority of the hosting nodes has not heard the primary for long enough, and no standby among them is ahead of
/// the signer.
fn observed<V: View>(tx: &mut Tx<'_, '_, V>, it: &Failover, placement: &Placement) -> Result<(), Stop> {
    let signer = tx.signer();
    let seen = &it.observations;
    tx.require(seen.is_sorted_by(|a, b| a.observer < b.observer), Outcome::ObserverRepeated)?;
    let is_backup = |did: &Did| placement.standbys.contains(did) || placement.vaults.contains(did);
    let is_other = |did: &Did| *did == it.tenant || placement.witness.as_ref() == Some(did);
    let known = seen.iter().all(|seen| is_backup(&seen.observer) || is_other(&seen.observer));
    tx.require(known, Outcome::ObserverUnknown)?;

    let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).expect("two minutes");
    let (now, parameters) = (tx.now(), &tx.state.parameters);
    let (oldest, newest) = (now.saturating_sub(parameters.observation_age), now + skew);
    let silence = parameters.silence;
    let fresh = |seen: &Observation| (oldest..=newest).contains(&seen.at.as_millis());
    let silent = |seen: &Observation| seen.at.as_millis().saturating_sub(seen.heard.as_millis()) >= silence;
    tx.require(seen.iter().all(fresh), Outcome::ObservationStale)?;
    tx.require(seen.iter().all(silent), Outcome::PrimaryHeard)?;

    let own = seen.iter().find(|seen| seen.observer == *signer);
    let hosts = placement.hosts().count();
    let backups = seen.iter().filter(|seen| is_backup(&seen.observer)).count();
    // With two hosting nodes the one that is left is never a majority: owner or witness speaks instead.
    let enough = if hosts == 2 { backups == 1 && seen.len() > 1 } else { backups * 2 > hosts };
    tx.require(own.is_some() && enough, Outcome::NoMajority)?;
    let cursor = own.map_or(0, |own| own.cursor);
    let ahead = |seen: &Observation| placement.standbys.contains(&seen.observer) && seen.cursor > cursor;
    tx.require(!seen.iter().any(ahead), Outcome::NotMostAdvanced)?;

    let owner_key = tx.state.wallet(&it.tenant)?.map(|wallet| wallet.key);
    let holds = seen.iter().all(|seen| {
        let (domain, message) = statement::silence(&tx.state.network, &it.tenant, it.epoch, seen);
        let key = if seen.observer == it.tenant { owner_key } else { node_key(&seen.observer) };
        key.is_some_and(|key| tx.signatures.holds(&key, domain, &message, &seen.signature))
    });
    tx.require(holds, Outcome::BadObservation)
}

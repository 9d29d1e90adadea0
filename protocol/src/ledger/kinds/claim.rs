//! Gives a tenant whose hosts are gone to another node, on its owner's word.
//!
//! The owner is whoever holds the key of the identity that nobody can overrule. A weaker key, such as the one of a host
//! that was stolen, can put itself first in the identity, and the owner can take that back for 72 hours: for as long the
//! weaker key is not the owner's. There is nothing to wait for, as there is in a failover: that key can point the identity
//! anywhere at once.

use super::super::action::{Claim, Residency, Strategy};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Identity, IdentityOperation, Placement};
use super::super::statement;
use super::super::view::{View, ViewError};
use super::Done;
use crate::ids::Did;
use crate::plc::{PlcOperation, RECOVERY_WINDOW};
use crate::time::Timestamp;

/// What a tenant was before it was placed counts as its first epoch, so that what its host alone had can be told later.
const BEFORE_PLACED: u64 = 1;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &Claim) -> Done {
    let node = tx.signed_by_node()?;
    let to = tx.signer();
    let before = tx.state.placement(&it.tenant)?;
    let epoch = before.as_ref().map_or(BEFORE_PLACED, |placement| placement.epoch);
    tx.require(epoch.checked_add(1) == Some(it.epoch), Outcome::StaleEpoch)?;
    tx.require(node.hosts, Outcome::HostNotHosting)?;
    let is_primary = before.as_ref().is_some_and(|placement| placement.primary == *to);
    tx.require(!is_primary, Outcome::HostRepeated)?;
    let residency = before.as_ref().map_or(Residency::Global, |placement| placement.residency);
    tx.require(super::hosts::within(residency, node.region), Outcome::ResidencyViolation)?;
    let owner = owner_key(tx, &it.tenant)?;
    let owner = tx.some(owner, Outcome::OwnerUnknown)?;
    let (domain, message) = statement::claim(&tx.state.network, &it.tenant, it.epoch, to, it.from.as_ref());
    let holds = tx.signatures.owner_holds(&owner, domain, &message, &it.owner);
    tx.require(holds, Outcome::BadClaim)?;
    // Nothing may fail from here on.

    if let Some(before) = &before {
        tx.count_primary(&before.primary, false)?;
    }
    tx.count_primary(to, true)?;
    let placement = Placement {
        epoch: it.epoch,
        primary: to.clone(),
        // They are gone. The new primary would wait for the word of each before it writes.
        standbys: Vec::new(),
        vaults: Vec::new(),
        witness: None,
        strategy: before.as_ref().map_or(Strategy::SingleNode, |placement| placement.strategy),
        residency,
        previous: None,
        height: tx.state.height,
    };
    tx.state.put_placement(&it.tenant, &placement);
    Ok(None)
}

/// The key of the identity that nobody can overrule: the first of the state behind which everything could still be taken
/// back. What the first key itself has done, nobody takes back. `None` for an identity that is not known here, or has
/// ended. Reads no further back than the recovery window.
fn owner_key<V: View>(tx: &mut Tx<'_, '_, V>, tenant: &Did) -> Result<Option<Did>, ViewError> {
    const DAMAGED: ViewError = ViewError::Damaged { table: 0x51 };
    let name = tenant.as_str().as_bytes();
    let Some(identity) = tx.state.get::<Identity>(&[name])? else { return Ok(None) };
    let mut owner = None;
    // Which key signed the operation that follows.
    let mut follower = None;
    for place in (0..identity.operations).rev() {
        let row: IdentityOperation = tx.state.get(&[name, &place.to_be_bytes()])?.ok_or(DAMAGED)?;
        if row.nullified {
            continue;
        }
        if follower.is_none_or(|signer| signer > 0) {
            let operation = PlcOperation::from_bytes(&row.operation).map_err(|_| DAMAGED)?;
            let Some(data) = operation.statement().data() else { return Ok(None) };
            owner = data.rotation_keys.into_iter().next();
        }
        if tx.state.now.since(Timestamp::from_millis(row.created_at)) > RECOVERY_WINDOW {
            break;
        }
        follower = Some(row.signer);
    }
    Ok(owner)
}

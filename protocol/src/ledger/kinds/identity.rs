//! Operations on identities (did:plc): the rules of [`crate::plc::PlcLog`], over rows of which only the latest are
//! read, however long the log is.

use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Directory, Identity, IdentityOperation, Order, Receipt};
use super::super::transaction::TransactionId;
use super::super::view::{View, ViewError};
use super::Done;
use crate::data::{Cid, Codec};
use crate::limits::PLC_LOG_ENTRIES_MAX;
use crate::plc::{PlcOperation, RECOVERY_WINDOW, check_rate};
use crate::time::Timestamp;

/// Milliseconds in an hour.
const HOUR: u64 = 3_600_000;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>) -> Done {
    let operation = tx.signed.operation().expect("a transaction of this kind was read with its operation");
    match tx.state.get::<Identity>(&[tx.signer().as_str().as_bytes()])? {
        None => create(tx, operation),
        Some(identity) => follow(tx, operation, identity),
    }
}

/// The first operation of an identity, whose hash is its name.
fn create<V: View>(tx: &mut Tx<'_, '_, V>, operation: &PlcOperation) -> Done {
    let created = operation.creates().zip(operation.statement().data());
    let (did, data) = tx.some(created, Outcome::UnknownIdentity)?;
    tx.require(did == *tx.signer(), Outcome::OtherIdentity)?;
    let mut directory: Directory = tx.state.get(&[])?.unwrap_or_default();
    let hour = tx.now() / HOUR;
    if directory.hour != hour {
        (directory.hour, directory.created) = (hour, 0);
    }
    tx.require(directory.created < tx.state.parameters.identities_per_hour, Outcome::IdentitiesSpent)?;
    let signer = tx.signatures.operation_signer(tx.signed, &data.rotation_keys);
    let signer = tx.some(signer, Outcome::BadOperationSignature)?;
    // Nothing may fail from here on.

    directory.created += 1;
    tx.state.put(&[], &directory);
    append(tx, operation, Identity { head: [0; 32], operations: 0, recent: Vec::new() }, signer)
}

/// An operation on an identity that exists.
fn follow<V: View>(tx: &mut Tx<'_, '_, V>, operation: &PlcOperation, identity: Identity) -> Done {
    let did = tx.signer();
    let prev = tx.some(operation.statement().prev(), Outcome::IdentityExists)?;
    let decided: Option<Receipt> = tx.state.get(&[&TransactionId::of_operation(did, prev).0])?;
    let holds = decided.is_some_and(|receipt| receipt.reversed_by.is_none());
    tx.require(holds, Outcome::PrevUnknown)?;
    let fork = find_fork(tx, &identity, prev)?;
    let Fork { at, disputed } = tx.some(fork, Outcome::TooLateToTakeBack)?;
    let data = read(&at)?.statement().data();
    let data = tx.some(data, Outcome::IdentityEnded)?;
    // Whoever rescues an identity is not held up by what the thief did.
    let recent = identity.recent.iter().map(|at| Timestamp::from_millis(*at));
    let seldom = !disputed.is_empty() || check_rate(recent, tx.state.now).is_ok();
    tx.require(seldom, Outcome::IdentityTooOften)?;
    tx.require((identity.operations as usize) < PLC_LOG_ENTRIES_MAX, Outcome::IdentityLogFull)?;
    let powerful = match disputed.last() {
        None => &data.rotation_keys[..],
        Some((_, first)) => data.rotation_keys.get(..usize::from(first.signer)).ok_or(DAMAGED)?,
    };
    let signer = tx.signatures.operation_signer(tx.signed, powerful);
    let signer = tx.some(signer, Outcome::BadOperationSignature)?;
    // Nothing may fail from here on.

    for (place, row) in disputed {
        nullify(tx, place, row)?;
    }
    append(tx, operation, identity, signer)
}

const DAMAGED: ViewError = ViewError::Damaged { table: 0x51 };

/// Where an operation joins the log.
struct Fork {
    /// What it follows on.
    at: IdentityOperation,
    /// What it takes back, with its places, the latest first.
    disputed: Vec<(u32, IdentityOperation)>,
}

/// The operation `prev`, and those after it that hold; nothing when the first of them is too old to be taken back.
/// Looks no further back than the recovery window, and within that the rates bound what there can be.
fn find_fork<V: View>(tx: &mut Tx<'_, '_, V>, identity: &Identity, prev: Cid) -> Result<Option<Fork>, ViewError> {
    let did = tx.signer().as_str().as_bytes();
    let mut disputed = Vec::new();
    for place in (0..identity.operations).rev() {
        let row: IdentityOperation = tx.state.get(&[did, &place.to_be_bytes()])?.ok_or(DAMAGED)?;
        if row.nullified {
            continue;
        }
        if Cid::of(Codec::DagCbor, &row.operation) == prev {
            return Ok(Some(Fork { at: row, disputed }));
        }
        if tx.state.now.since(Timestamp::from_millis(row.created_at)) > RECOVERY_WINDOW {
            return Ok(None);
        }
        disputed.push((place, row));
    }
    Err(DAMAGED)
}

fn read(row: &IdentityOperation) -> Result<PlcOperation, ViewError> {
    PlcOperation::from_bytes(&row.operation).map_err(|_| DAMAGED)
}

/// Takes an operation back. Its receipt says so too: nothing may follow on it any more.
fn nullify<V: View>(tx: &mut Tx<'_, '_, V>, place: u32, row: IdentityOperation) -> Result<(), ViewError> {
    let did = tx.signer();
    let id = TransactionId::of_operation(did, Cid::of(Codec::DagCbor, &row.operation));
    let receipt: Receipt = tx.state.get(&[&id.0])?.ok_or(DAMAGED)?;
    tx.state.put(&[&id.0], &Receipt { reversed_by: Some(tx.signed.id().0), ..receipt });
    let row = IdentityOperation { nullified: true, ..row };
    tx.state.put(&[did.as_str().as_bytes(), &place.to_be_bytes()], &row);
    Ok(())
}

/// Adds an operation at the end of the log: it is the head now.
fn append<V: View>(tx: &mut Tx<'_, '_, V>, operation: &PlcOperation, mut identity: Identity, signer: usize) -> Done {
    let did = tx.signer();
    let name = did.as_str().as_bytes();
    let place = identity.operations;
    let mut directory: Directory = tx.state.get(&[])?.unwrap_or_default();
    let number = directory.operations;
    directory.operations += 1;
    identity.advance(*operation.cid().digest(), tx.state.now);
    let row = IdentityOperation {
        operation: operation.to_bytes(),
        created_at: tx.now(),
        nullified: false,
        signer: u8::try_from(signer).expect("an operation has ten rotation keys at most"),
        number,
    };
    tx.state.put(&[], &directory);
    tx.state.put(&[name], &identity);
    tx.state.put(&[name, &place.to_be_bytes()], &row);
    tx.state.put(&[&number.to_be_bytes()], &Order { did: did.clone(), place });
    Ok(None)
}

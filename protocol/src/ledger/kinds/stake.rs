//! Staking, unstaking and delegation (TOK-12).

use super::super::action::{Delegate, Stake};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Delegators, Release};
use super::super::view::{View, ViewError};
use super::Done;
use crate::ids::Did;
use crate::limits::DELEGATORS_MAX;

pub(super) fn stake<V: View>(tx: &mut Tx<'_, '_, V>, it: &Stake) -> Done {
    let mut wallet = tx.state.existing(tx.signer())?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    tx.require(wallet.balance.total() >= it.amount, Outcome::InsufficientBalance)?;
    // Nothing may fail from here on.

    let taken = wallet.balance.parts.spend(it.amount);
    wallet.staked.add_all(&taken);
    tx.state.put_wallet(tx.signer(), wallet);
    Ok(None)
}

pub(super) fn unstake<V: View>(tx: &mut Tx<'_, '_, V>, it: &Stake) -> Done {
    let mut wallet = tx.state.existing(tx.signer())?;
    tx.require(!it.amount.is_zero(), Outcome::AmountZero)?;
    tx.require(wallet.can_release(), Outcome::TooManyReleases)?;
    tx.require(wallet.staked.total() >= it.amount, Outcome::InsufficientStake)?;
    // Nothing may fail from here on.

    let parts = wallet.staked.spend(it.amount);
    let at = tx.now() + tx.state.parameters.unstake_notice;
    wallet.releases.push(Release { at, parts });
    wallet.releases.sort_by_key(|release| release.at);
    tx.state.put_wallet(tx.signer(), wallet);
    Ok(None)
}

pub(super) fn delegate<V: View>(tx: &mut Tx<'_, '_, V>, it: &Delegate) -> Done {
    let signer = tx.signer();
    let wallet = tx.state.existing(signer)?;
    if let Some(to) = &it.to {
        let delegate = tx.state.wallet(to)?;
        let delegate = tx.some(delegate, Outcome::UnknownAccount)?;
        tx.require(to != signer, Outcome::SameWallet)?;
        let one_level = delegate.delegate.is_none() && wallet.delegators == 0;
        tx.require(one_level, Outcome::DelegationChain)?;
        let already = wallet.delegate.as_ref() == Some(to);
        let room = usize::try_from(delegate.delegators).is_ok_and(|count| count < DELEGATORS_MAX);
        tx.require(already || room, Outcome::DelegatorsFull)?;
    }
    // Nothing may fail from here on.

    if let Some(old) = &wallet.delegate {
        change_delegators(tx, old, |list| list.retain(|delegator| delegator != signer))?;
    }
    if let Some(new) = &it.to {
        change_delegators(tx, new, |list| list.push(signer.clone()))?;
    }
    let mut wallet = tx.state.existing(signer)?;
    wallet.delegate.clone_from(&it.to);
    tx.state.put_wallet(signer, wallet);
    Ok(None)
}

fn change_delegators<V: View>(
    tx: &mut Tx<'_, '_, V>,
    of: &Did,
    change: impl FnOnce(&mut Vec<Did>),
) -> Result<(), ViewError> {
    let parts: [&[u8]; 1] = [of.as_str().as_bytes()];
    let mut delegators: Delegators = tx.state.get(&parts)?.unwrap_or_default();
    change(&mut delegators.0);
    delegators.0.sort();
    let mut wallet = tx.state.existing(of)?;
    wallet.delegators = u32::try_from(delegators.0.len()).expect("delegators are bounded");
    tx.state.put_wallet(of, wallet);
    tx.state.put(&parts, &delegators);
    Ok(())
}

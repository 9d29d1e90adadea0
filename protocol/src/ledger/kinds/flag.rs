//! Raises or clears a sign of fraud (TOK-13): the account's home node does, or the validators together.

use super::super::action::Flag;
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::view::View;
use super::Done;

pub(super) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>, it: &Flag) -> Done {
    let signer = tx.signer();
    let wallet = tx.state.wallet(&it.account)?;
    let wallet = tx.some(wallet, Outcome::UnknownAccount)?;
    let by_home = it.approvals.is_empty();
    let permitted = if by_home { wallet.home == *signer } else { tx.state.validators.current().contains(signer) };
    tx.require(permitted, Outcome::NotPermitted)?;
    if !by_home {
        tx.approved(&it.approvals)?;
    }
    // Nothing may fail from here on.

    let mut wallet = tx.state.existing(&it.account)?;
    wallet.flags.set(it.anomaly, it.raised);
    tx.state.put_wallet(&it.account, wallet);
    Ok(None)
}

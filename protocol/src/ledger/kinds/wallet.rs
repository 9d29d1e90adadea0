//! Opening a wallet, replacing its key, moving it to another home.

use super::super::action::{Holder, MoveHome, RegisterWallet, RotateKey};
use super::super::apply::Tx;
use super::super::outcome::Outcome;
use super::super::rows::{Kind, Wallet};
use super::super::state::node_key;
use super::super::statement;
use super::super::view::View;
use super::Done;

/// The account's home node binds the key to the account: it hosts the account's repository and holds its signing
/// key, so it is trusted with more than this already. Another node cannot take the account over afterwards, because
/// every later change needs the wallet's own signature.
pub(super) fn register<V: View>(tx: &mut Tx<'_, '_, V>, it: &RegisterWallet) -> Done {
    let signer = tx.signer();
    let kind = match &it.holder {
        Holder::Person => Kind::Person,
        Holder::Business => Kind::Business,
        Holder::Agent { owner } => {
            let owner_wallet = tx.state.wallet(owner)?;
            let answers = owner_wallet.is_some_and(|wallet| !matches!(wallet.kind, Kind::Agent(_)));
            tx.require(answers, Outcome::UnknownAccount)?;
            Kind::Agent(owner.clone())
        }
    };
    let home = tx.state.node(&it.home)?;
    tx.require(home.is_some(), Outcome::UnknownNode)?;
    let mut home = tx.state.existing(&it.home)?;
    let counted = tx.count_hour(&mut home);
    tx.require(counted, Outcome::BindingsSpent)?;
    let (domain, message) = statement::binding(&tx.state.network, signer, &it.key, &it.home);
    let holds = node_key(&it.home).is_some_and(|key| tx.signatures.holds(&key, domain, &message, &it.binding));
    tx.require(holds, Outcome::BadBinding)?;
    // Nothing may fail from here on.

    tx.state.put_wallet(&it.home, home);
    let mut wallet = Wallet::new(it.key, kind, it.home.clone());
    wallet.sequence = 1;
    tx.state.put_wallet(signer, wallet);
    Ok(None)
}

pub(super) fn rotate_key<V: View>(tx: &mut Tx<'_, '_, V>, it: &RotateKey) -> Done {
    let signer = tx.signer();
    let mut wallet = tx.state.existing(signer)?;
    // A node's key is its DID.
    tx.require(wallet.kind != Kind::Node, Outcome::NotPermitted)?;
    let sequence = tx.signed.transaction().sequence;
    let (domain, message) = statement::possession(&tx.state.network, signer, &it.key, sequence);
    let holds = tx.signatures.holds(&it.key, domain, &message, &it.possession);
    tx.require(holds, Outcome::BadPossession)?;
    // Nothing may fail from here on.

    wallet.key = it.key;
    tx.state.put_wallet(signer, wallet);
    Ok(None)
}

pub(super) fn move_home<V: View>(tx: &mut Tx<'_, '_, V>, it: &MoveHome) -> Done {
    let mut wallet = tx.state.existing(tx.signer())?;
    let home = tx.state.node(&it.home)?;
    tx.require(home.is_some(), Outcome::UnknownNode)?;
    tx.require(wallet.kind != Kind::Node, Outcome::NotPermitted)?;
    // Nothing may fail from here on.

    wallet.home = it.home.clone();
    // The old operator's word about the person does not bind the new one.
    wallet.vouched_by_home = false;
    tx.state.put_wallet(tx.signer(), wallet);
    Ok(None)
}

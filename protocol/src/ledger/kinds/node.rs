//! Nodes come and go (`network.md` 2.3 and 2.4).

use super::super::action::RegisterNode;
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::parameters::Admission;
use super::super::rows::{Kind, NameOwner, Node, Wallet};
use super::super::state::node_key;
use super::super::statement;
use super::super::view::View;
use super::Done;

pub(super) fn register<V: View>(tx: &mut Tx<'_, '_, V>, it: &RegisterNode) -> Done {
    let signer = tx.signer();
    let wallet = tx.state.wallet(signer)?;
    let fitting = wallet.as_ref().is_none_or(|wallet| wallet.kind == Kind::Node);
    tx.require(fitting, Outcome::NotPermitted)?;
    let owner: Option<NameOwner> = tx.state.get(&[it.name.as_str().as_bytes()])?;
    tx.require(owner.is_none_or(|owner| owner.0 == *signer), Outcome::NameTaken)?;
    let before: Option<Node> = tx.state.get(&[signer.as_str().as_bytes()])?;
    if before.as_ref().is_none_or(|node| node.retired) {
        admitted(tx, it)?;
    }
    // Nothing may fail from here on.

    if wallet.is_none() {
        let key = node_key(signer).expect("the signature was checked with this key");
        let mut wallet = Wallet::new(key, Kind::Node, signer.clone());
        wallet.sequence = 1;
        tx.state.put_wallet(signer, wallet);
    }
    if let Some(before) = before.as_ref().filter(|before| !before.retired) {
        tx.state.delete::<NameOwner>(&[before.name.as_bytes()]);
    }
    tx.state.put(&[it.name.as_str().as_bytes()], &NameOwner(signer.clone()));
    let node = Node {
        name: it.name.as_str().to_owned(),
        operator: it.operator.clone(),
        region: it.region,
        hosts: it.hosts,
        validates: it.validates,
        since: before.as_ref().filter(|node| !node.retired).map_or(tx.now(), |node| node.since),
        retired: false,
        vouched: before.as_ref().map_or(0, |node| node.vouched),
        primaries: before.as_ref().map_or(0, |node| node.primaries),
    };
    tx.state.put_node(signer, &node);
    Ok(None)
}

/// The network lets the node in.
fn admitted<V: View>(tx: &mut Tx<'_, '_, V>, it: &RegisterNode) -> Result<(), Stop> {
    let signer = tx.signer();
    let invitation = match &tx.state.parameters.admission {
        Admission::Open => return Ok(()),
        Admission::Allowlist(list) => {
            let listed = list.contains(signer);
            return tx.require(listed, Outcome::NotInvited);
        }
        Admission::Invite => tx.some(it.invitation.as_ref(), Outcome::NotInvited)?,
    };
    let inviter = tx.state.node(&invitation.node)?;
    tx.require(inviter.is_some(), Outcome::InviterUnknown)?;
    tx.require(invitation.expires >= tx.state.now, Outcome::InvitationExpired)?;
    let (domain, message) = statement::invitation(&tx.state.network, signer, invitation);
    let holds = node_key(&invitation.node)
        .is_some_and(|key| tx.signatures.holds(&key, domain, &message, &invitation.signature));
    tx.require(holds, Outcome::BadInvitation)
}

pub(super) fn retire<V: View>(tx: &mut Tx<'_, '_, V>) -> Done {
    let signer = tx.signer();
    let mut node = tx.signed_by_node()?;
    let validator = tx.state.validators.present_and_future().any(|validator| validator == signer);
    tx.require(!validator, Outcome::StillValidator)?;
    tx.require(node.primaries == 0, Outcome::StillPrimary)?;
    // Nothing may fail from here on.

    tx.state.delete::<NameOwner>(&[node.name.as_bytes()]);
    node.retired = true;
    tx.state.put_node(signer, &node);
    Ok(None)
}

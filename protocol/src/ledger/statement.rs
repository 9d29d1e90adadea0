//! What is signed apart from transactions: quotes, witnesses, approvals, consents, observations, claims.
//!
//! Every statement is canonical DAG-CBOR of a list that begins with the network id, under a domain of its own, so a
//! statement made for one purpose, network or transaction means nothing for another.

use serde::Serialize;
use serde_bytes::Bytes;
use sha2::{Digest, Sha256};

use super::action::{Action, Invitation, Observation, Quote, Source};
use super::parameters::Currency;
use super::transaction::{TransactionId, encode};
use crate::crypto::Domain;
use crate::ids::{Did, NetworkId};

/// A domain and the bytes to sign for it.
pub type Statement = (Domain, Vec<u8>);

fn statement(domain: &'static str, content: &impl Serialize) -> Statement {
    (Domain::new(domain), encode(content).expect("a statement has only integers, texts and hashes"))
}

fn digest(action: &Action) -> [u8; 32] {
    Sha256::digest(encode(&action.bare()).expect("an action has only integers, texts and hashes")).into()
}

/// A node's promise to exchange at a rate.
#[must_use]
pub fn quote(network: &NetworkId, currency: Currency, quote: &Quote) -> Statement {
    let Quote { node, issued, expires, rate, fee, signature: _ } = quote;
    statement("angel/quote/1", &(network, currency, node, issued, expires, rate, fee))
}

/// One person's word that a contribution happened and deserves `action`, which transaction `id` asks for
/// (`network.md` 7.5). The action names the contribution and its impact.
#[must_use]
pub fn witness(
    network: &NetworkId,
    id: TransactionId,
    action: &Action,
    account: &Did,
    tenant: Option<&Did>,
) -> Statement {
    statement("angel/human-worth/1", &(network, Bytes::new(&id.0), Bytes::new(&digest(action)), account, tenant))
}

/// A validator's consent to `action`, which transaction `id` asks for.
#[must_use]
pub fn approval(network: &NetworkId, id: TransactionId, action: &Action) -> Statement {
    statement("angel/approval/1", &(network, Bytes::new(&id.0), Bytes::new(&digest(action))))
}

/// The home node's word that wallet key `key` is `account`'s.
#[must_use]
pub fn binding(network: &NetworkId, account: &Did, key: &[u8; 32], home: &Did) -> Statement {
    statement("angel/wallet-binding/1", &(network, account, Bytes::new(key), home))
}

/// A new wallet key's consent to serve `account` from `sequence` on.
#[must_use]
pub fn possession(network: &NetworkId, account: &Did, key: &[u8; 32], sequence: u64) -> Statement {
    statement("angel/wallet-key/1", &(network, account, Bytes::new(key), sequence))
}

/// A member's invitation of a node.
#[must_use]
pub fn invitation(network: &NetworkId, guest: &Did, invitation: &Invitation) -> Statement {
    let Invitation { node, expires, signature: _ } = invitation;
    statement("angel/invitation/1", &(network, guest, node, expires))
}

/// A node's consent to become primary of `tenant` in `epoch`.
#[must_use]
pub fn hosting(network: &NetworkId, tenant: &Did, epoch: u64, node: &Did) -> Statement {
    statement("angel/hosting/1", &(network, tenant, epoch, node))
}

/// The owner's word that `node` becomes primary of `tenant` in `epoch`, with the data of `from`. It is made with a key
/// of the identity, on the curves of did:plc: [`crate::crypto::SigningKey::sign_for`].
#[must_use]
pub fn claim(network: &NetworkId, tenant: &Did, epoch: u64, node: &Did, from: Option<&Source>) -> Statement {
    let from = from.map(|from| (&from.node, from.sequence));
    statement("angel/claim/1", &(network, tenant, epoch, node, from))
}

/// An observer's word that the primary of `tenant` is silent, in favour of `epoch`.
#[must_use]
pub fn silence(network: &NetworkId, tenant: &Did, epoch: u64, observation: &Observation) -> Statement {
    let Observation { observer, heard, at, cursor, signature: _ } = observation;
    statement("angel/silence/1", &(network, tenant, epoch, observer, heard, at, cursor))
}

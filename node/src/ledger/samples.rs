//! Transactions as tests of what carries and keeps them need them.

use angel_protocol::crypto::NodeKey;
use angel_protocol::ledger::action::{Holder, RegisterWallet};
use angel_protocol::ledger::{Action, Signed, Transaction};
use angel_protocol::time::Timestamp;

/// A wallet of `key` that says its key is `claimed`'s: well formed, and expired for whoever looks at the clock.
pub(crate) fn registration(key: &NodeKey, claimed: &NodeKey, number: u64) -> Signed {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let action = Action::RegisterWallet(RegisterWallet {
        key: claimed.public().to_bytes(),
        holder: Holder::Person,
        home: key.did(),
        binding: [0; 64],
    });
    let transaction = Transaction {
        network: "samples-dev".parse().expect("a network id"),
        wallet: key.did(),
        sequence: number,
        nonce,
        expires: Timestamp::from_millis(1),
        action,
    };
    Signed::sign(&transaction, key).expect("within bounds")
}

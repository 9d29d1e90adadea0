//! Bounds of one node's mempool.

use std::time::Duration;

use crate::limits::{
    MEMPOOL_BYTES_MAX, MEMPOOL_NODE_WALLET_MAX, MEMPOOL_REPEATS_MAX, MEMPOOL_TRANSACTIONS_MAX, MEMPOOL_WALLET_MAX,
};

/// Bounds of one node's mempool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Transactions.
    pub transactions_max: usize,
    /// Their bytes together.
    pub bytes_max: usize,
    /// Transactions of one wallet; also how far ahead of the ledger a sequence number may be.
    pub wallet_max: usize,
    /// The same for nodes' wallets.
    pub node_wallet_max: usize,
    /// Of the room, the share that only operational transactions may use, in per cent.
    pub reserved_percent: usize,
    /// How often a transaction submitted here is gossiped again while it waits.
    pub repeat_interval: Duration,
    /// How many are gossiped again at once.
    pub repeats_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            transactions_max: MEMPOOL_TRANSACTIONS_MAX,
            bytes_max: MEMPOOL_BYTES_MAX,
            wallet_max: MEMPOOL_WALLET_MAX,
            node_wallet_max: MEMPOOL_NODE_WALLET_MAX,
            reserved_percent: 10,
            repeat_interval: Duration::from_secs(30),
            repeats_max: MEMPOOL_REPEATS_MAX,
        }
    }
}

impl Config {
    /// Operations that may wait to create identities: a quarter of all.
    pub(super) const fn creations_max(&self) -> usize {
        self.transactions_max / 4
    }

    /// The room for operational transactions, or for all others: count and bytes.
    pub(super) const fn room(&self, operational: bool) -> (usize, usize) {
        let percent = if operational { 100 } else { 100 - self.reserved_percent };
        (
            self.transactions_max / 100 * percent + self.transactions_max % 100 * percent / 100,
            self.bytes_max / 100 * percent + self.bytes_max % 100 * percent / 100,
        )
    }
}

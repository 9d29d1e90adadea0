//! Gossip topics, and what the mesh does with a message.

use crate::ids::NetworkId;

/// What is gossiped. Each has a topic of its own per network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Heartbeats (`network.md` 3.2).
    Heartbeat,
    /// Ledger transactions on their way to the validators.
    Transactions,
    /// Votes, proposals and their parts.
    Consensus,
}

impl Topic {
    /// The topic's name on the mesh: `angel/{network}/{kind}/{version}`.
    #[must_use]
    pub fn name(self, network: &NetworkId) -> String {
        match self {
            Self::Heartbeat => format!("angel/{network}/heartbeat/1"),
            Self::Transactions => format!("angel/{network}/transactions/1"),
            Self::Consensus => format!("angel/{network}/consensus/1"),
        }
    }

    /// The name for the ledger that begins with `genesis`: nodes of one network whose ledgers differ, as those of
    /// nodes that were each started alone, do not hear each other's.
    #[must_use]
    pub fn of_ledger(self, network: &NetworkId, genesis: &[u8; 32]) -> String {
        let short: String = genesis[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}/{short}", self.name(network))
    }
}

/// The answer to gossipsub about a message (libp2p gossipsub v1.1, "Extended Validators").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Do not pass it on, and blame nobody: it is old, or known, or this node cannot judge it.
    Ignore,
    /// Do not pass it on, and score down whoever sent it: no honest node would have.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_carry_network_and_version() {
        let network: NetworkId = "home-dev".parse().expect("valid");
        assert_eq!(Topic::Heartbeat.name(&network), "angel/home-dev/heartbeat/1");
        assert_eq!(Topic::Transactions.name(&network), "angel/home-dev/transactions/1");
        let ledger = Topic::Consensus.of_ledger(&network, &[0xab; 32]);
        assert_eq!(ledger, "angel/home-dev/consensus/1/abababababababab");
    }
}

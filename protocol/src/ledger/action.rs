//! What a transaction can ask for. One variant per kind; how each is judged is in the file of its kind.

mod bounds;
mod governance;
mod identity;
mod nodes;
mod placement;
mod transfers;
mod validators;
mod wallets;

use serde::{Deserialize, Serialize};

pub use governance::{Approval, ApprovedChange, CastVote, Change, Close, Delegate, Propose, RateChange, Stake};
pub use identity::ChangeIdentity;
pub use nodes::{Invitation, Region, RegisterNode};
pub use placement::{
    Backups, ChangeHosts, Claim, Failover, Migrate, Observation, PlaceTenant, Residency, RollBack, Source, Strategy,
};
pub use transfers::{
    Cause, Exchange, JusticeFund, KarmaReward, NodeReward, PeerRecognition, Quote, Reversal, SystemGrant, Witness,
};
pub use validators::{JoinValidators, LeaveValidators, RemoveValidator, ReportDoubleVote, SignedVote};
pub use wallets::{Anomaly, Flag, Holder, MoveHome, RegisterWallet, RotateKey, Vouch};

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// A home node pays a person for karma gained (TOK-04).
    KarmaReward(KarmaReward),
    /// A person recognises another (KAR-02).
    PeerRecognition(PeerRecognition),
    /// Pays across tenants, nodes or scopes (TOK-07).
    CrossTenantExchange(Exchange),
    /// A validator pays a node for a day's work.
    NodeReward(NodeReward),
    /// Pays into the justice fund or out of it.
    JusticeFund(JusticeFund),
    /// The operators together grant tokens.
    SystemGrant(SystemGrant),
    /// Undoes a posted transfer (`network.md` 7.6).
    Reversal(Reversal),
    /// Locks tokens for voting power (TOK-12).
    Stake(Stake),
    /// Unlocks staked tokens; they are free after the notice period.
    Unstake(Stake),
    /// Gives one's voting power to another, or takes it back.
    Delegate(Delegate),
    /// Puts a question to the vote.
    Propose(Propose),
    /// Votes on a proposal.
    Vote(CastVote),
    /// Counts a proposal whose time is over and carries it out when it passed.
    Close(Close),
    /// Opens the wallet of an account.
    RegisterWallet(RegisterWallet),
    /// Replaces the wallet's key.
    RotateKey(RotateKey),
    /// Moves the wallet to another home node.
    MoveHome(MoveHome),
    /// Confirms that a person is human (TOK-05).
    Vouch(Vouch),
    /// Takes that confirmation back.
    WithdrawVouch(Vouch),
    /// Marks a wallet as suspicious, or clears the mark (TOK-13).
    Flag(Flag),
    /// Registers the signing node, or renews what it says about itself.
    RegisterNode(RegisterNode),
    /// Takes the signing node off the network.
    RetireNode,
    /// Places a tenant for the first time.
    PlaceTenant(PlaceTenant),
    /// Changes a tenant's backups.
    ChangeHosts(ChangeHosts),
    /// Moves a tenant from its living primary to another node.
    Migrate(Migrate),
    /// Undoes a migration within its grace.
    RollBack(RollBack),
    /// Takes a tenant over from a silent primary.
    Failover(Failover),
    /// The owner gives a tenant whose hosts are gone to the signing node.
    Claim(Claim),
    /// The signing node becomes a validator.
    JoinValidators(JoinValidators),
    /// The signing node stops being a validator.
    LeaveValidators(LeaveValidators),
    /// The others remove a validator.
    RemoveValidator(RemoveValidator),
    /// Shows two votes of one validator that contradict each other.
    ReportDoubleVote(ReportDoubleVote),
    /// The validators change rates or parameters.
    Change(ApprovedChange),
    /// Creates or changes an identity (did:plc). Signed by a rotation key of the identity, never by a wallet.
    ChangeIdentity(ChangeIdentity),
}

impl Action {
    /// The approvals it carries, none for most kinds.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match self {
            Self::SystemGrant(SystemGrant { approvals, .. })
            | Self::Reversal(Reversal { approvals, .. })
            | Self::Flag(Flag { approvals, .. })
            | Self::JoinValidators(JoinValidators { approvals, .. })
            | Self::RemoveValidator(RemoveValidator { approvals, .. })
            | Self::Change(ApprovedChange { approvals, .. }) => approvals,
            _ => &[],
        }
    }

    /// The same without approvals and witnesses: what approvals and witnesses sign.
    #[must_use]
    pub fn bare(&self) -> Self {
        let mut bare = self.clone();
        match &mut bare {
            Self::SystemGrant(SystemGrant { approvals, .. })
            | Self::Reversal(Reversal { approvals, .. })
            | Self::Flag(Flag { approvals, .. })
            | Self::JoinValidators(JoinValidators { approvals, .. })
            | Self::RemoveValidator(RemoveValidator { approvals, .. })
            | Self::Change(ApprovedChange { approvals, .. }) => approvals.clear(),
            Self::KarmaReward(KarmaReward { cause, .. }) | Self::PeerRecognition(PeerRecognition { cause, .. }) => {
                cause.witnesses.clear();
            }
            _ => {}
        }
        bare
    }

    /// Whether the network's own running depends on it: placement, nodes and validators. Such transactions have
    /// room of their own where transactions wait.
    #[must_use]
    pub const fn is_operational(&self) -> bool {
        matches!(
            self,
            Self::RegisterNode(_)
                | Self::RetireNode
                | Self::PlaceTenant(_)
                | Self::ChangeHosts(_)
                | Self::Migrate(_)
                | Self::RollBack(_)
                | Self::Failover(_)
                | Self::Claim(_)
                | Self::JoinValidators(_)
                | Self::LeaveValidators(_)
                | Self::RemoveValidator(_)
                | Self::ReportDoubleVote(_)
                | Self::Change(_)
        )
    }
}

//! One file per kind of transaction: its checks, in the order of [`Outcome`], and then what it does.

mod approval;
mod cause;
mod change;
mod claim;
mod exchange;
mod failover;
mod flag;
mod grant;
mod hosts;
mod identity;
mod justice_fund;
mod karma_reward;
mod migration;
mod node;
mod node_reward;
mod placement;
mod proposal;
mod recognition;
mod reversal;
mod stake;
mod validator;
mod vouch;
mod wallet;

use super::action::Action;
use super::apply::{Stop, Tx};
use super::outcome::Outcome;
use super::rows::Moved;
use super::view::View;

pub(crate) use change::carry_out as change;

/// What carrying a transaction out comes to: a movement of tokens, nothing, or a refusal.
pub(crate) type Done = Result<Option<Moved>, Stop>;

/// Judges a transaction that is its wallet's next, or an operation, and carries it out when it is good.
pub(crate) fn carry_out<V: View>(tx: &mut Tx<'_, '_, V>) -> Done {
    match &tx.signed.transaction().action {
        Action::KarmaReward(it) => karma_reward::carry_out(tx, it),
        Action::PeerRecognition(it) => recognition::carry_out(tx, it),
        Action::CrossTenantExchange(it) => exchange::carry_out(tx, it),
        Action::NodeReward(it) => node_reward::carry_out(tx, it),
        Action::JusticeFund(it) => justice_fund::carry_out(tx, it),
        Action::SystemGrant(it) => grant::carry_out(tx, it),
        Action::Reversal(it) => reversal::carry_out(tx, it),
        Action::Stake(it) => stake::stake(tx, it),
        Action::Unstake(it) => stake::unstake(tx, it),
        Action::Delegate(it) => stake::delegate(tx, it),
        Action::Propose(it) => proposal::propose(tx, it),
        Action::Vote(it) => proposal::vote(tx, it),
        Action::Close(it) => proposal::close(tx, it),
        Action::RegisterWallet(it) => wallet::register(tx, it),
        Action::RotateKey(it) => wallet::rotate_key(tx, it),
        Action::MoveHome(it) => wallet::move_home(tx, it),
        Action::Vouch(it) => vouch::vouch(tx, it),
        Action::WithdrawVouch(it) => vouch::withdraw(tx, it),
        Action::Flag(it) => flag::carry_out(tx, it),
        Action::RegisterNode(it) => node::register(tx, it),
        Action::RetireNode => node::retire(tx),
        Action::PlaceTenant(it) => placement::place(tx, it),
        Action::ChangeHosts(it) => placement::change_hosts(tx, it),
        Action::Migrate(it) => migration::migrate(tx, it),
        Action::RollBack(it) => migration::roll_back(tx, it),
        Action::Failover(it) => failover::carry_out(tx, it),
        Action::Claim(it) => claim::carry_out(tx, it),
        Action::JoinValidators(it) => validator::join(tx, it),
        Action::LeaveValidators(it) => validator::leave(tx, it),
        Action::RemoveValidator(it) => validator::remove(tx, it),
        Action::ReportDoubleVote(it) => validator::report_double_vote(tx, it),
        Action::Change(it) => change::approved(tx, it),
        Action::ChangeIdentity(_) => identity::carry_out(tx),
    }
}

impl<V: View> Tx<'_, '_, V> {
    /// The signer is a registered node.
    pub(crate) fn signed_by_node(&mut self) -> Result<super::rows::Node, Stop> {
        let node = self.state.node(self.signer())?;
        self.some(node, Outcome::NotANode)
    }

    /// The signer is a validator of this height.
    pub(crate) fn signed_by_validator(&mut self) -> Result<(), Stop> {
        let is_validator = self.state.validators.current().contains(self.signer());
        self.require(is_validator, Outcome::NotAValidator)
    }
}

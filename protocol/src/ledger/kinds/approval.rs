//! The consent of the validators.

use super::super::action::Approval;
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::state::node_key;
use super::super::statement;
use super::super::view::View;

impl<V: View> Tx<'_, '_, V> {
    /// More than two thirds of the validators approve this transaction. The list is sorted by validator.
    pub(super) fn approved(&mut self, approvals: &[Approval]) -> Result<(), Stop> {
        let validators = self.state.validators.current();
        let once_each = approvals.is_sorted_by(|a, b| a.validator < b.validator);
        let all_validators = approvals.iter().all(|approval| validators.contains(&approval.validator));
        let quorum = validators.is_quorum(approvals.len());
        self.require(once_each && all_validators, Outcome::ApprovalInvalid)?;
        self.require(quorum, Outcome::NoQuorum)?;
        let (domain, message) =
            statement::approval(&self.state.network, self.signed.id(), &self.signed.transaction().action);
        let holds = approvals.iter().all(|approval| {
            node_key(&approval.validator)
                .is_some_and(|key| self.signatures.holds(&key, domain, &message, &approval.signature))
        });
        self.require(holds, Outcome::BadApproval)
    }
}

//! What others have signed: consent of the validators, witnesses of a cause.

use std::collections::BTreeSet;

use super::super::action::{Approval, Cause};
use super::super::statement::{self, Statement};
use super::super::{Outcome, Signed};
use super::{Auditor, Verdict};
use crate::crypto::NodePublicKey;
use crate::ids::Did;

impl Auditor<'_> {
    pub(super) fn holds(&self, key: &[u8; 32], statement: &Statement, signature: &[u8; 64]) -> bool {
        self.signatures.holds(key, statement.0, &statement.1, signature)
    }

    pub(super) fn node_holds(&self, node: &Did, statement: &Statement, signature: &[u8; 64]) -> bool {
        NodePublicKey::from_did(node).is_ok_and(|key| self.holds(&key.to_bytes(), statement, signature))
    }

    pub(super) fn approved(&self, signed: &Signed, approvals: &[Approval]) -> Verdict {
        let people: BTreeSet<_> = approvals.iter().map(|approval| &approval.validator).collect();
        let in_order = people.iter().copied().eq(approvals.iter().map(|approval| &approval.validator));
        let what = statement::approval(&self.network, signed.id(), &signed.transaction().action);
        refuse! {
            !in_order || !people.iter().all(|did| self.validators.contains(*did)) => ApprovalInvalid,
            people.len() * 3 <= self.validators.len() * 2 => NoQuorum,
            !approvals.iter().all(|it| self.node_holds(&it.validator, &what, &it.signature)) => BadApproval,
        }
        Ok(())
    }

    pub(super) fn cause(
        &self,
        signed: &Signed,
        cause: &Cause,
        receiver: &Did,
        name: &str,
        needed: u8,
        now: u64,
    ) -> Verdict {
        let by = &signed.transaction().wallet;
        let at = cause.at.as_millis();
        let names: BTreeSet<_> = cause.witnesses.iter().map(|witness| &witness.account).collect();
        let tenants: BTreeSet<_> = cause.witnesses.iter().filter_map(|witness| witness.tenant.as_ref()).collect();
        let impact = std::cmp::min(100, names.len() * 20 + tenants.len() * 10);
        refuse! {
            at > now + 120_000 => CauseInFuture,
            at + self.parameters.cause_age < now => CauseTooOld,
            self.causes.contains(name) => CauseRewarded,
            names.len() < cause.witnesses.len() => WitnessRepeated,
            names.contains(receiver) || names.contains(by) => WitnessIsParty,
            names.iter().any(|did| !self.accounts.contains_key(*did)) => WitnessUnknown,
            names.iter().any(|did| !self.human(did)) => WitnessNotHuman,
            impact != cause.impact as usize => ImpactWrong,
            names.len() < needed as usize => TooFewWitnesses,
        }
        for witness in &cause.witnesses {
            let action = &signed.transaction().action;
            let what =
                statement::witness(&self.network, signed.id(), action, &witness.account, witness.tenant.as_ref());
            if !self.holds(&self.accounts[&witness.account].key, &what, &witness.signature) {
                return Err(Outcome::BadWitnessSignature);
            }
        }
        Ok(())
    }
}

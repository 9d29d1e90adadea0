//! Every bound of a transaction's content, checked when its bytes are read, so that nothing behind this door needs to.

use super::super::transaction::{InvalidTransaction, Transaction};
use super::{Action, Approval, Backups, Cause, Holder};
use crate::ids::Did;
use crate::limits::{
    BACKUPS_MAX, LEDGER_DID_BYTES_MAX, LEDGER_TEXT_BYTES_MAX, LEDGER_URI_BYTES_MAX, VALIDATORS_MAX, WITNESSES_MAX,
};

type Bounded = Result<(), InvalidTransaction>;

fn did(did: &Did) -> Bounded {
    if did.as_str().len() > LEDGER_DID_BYTES_MAX { Err(InvalidTransaction::Bound("a DID")) } else { Ok(()) }
}

fn text(text: &str) -> Bounded {
    if text.len() > LEDGER_TEXT_BYTES_MAX { Err(InvalidTransaction::Bound("a text")) } else { Ok(()) }
}

fn list<T>(list: &[T], max: usize, name: &'static str, each: impl Fn(&T) -> Bounded) -> Bounded {
    if list.len() > max {
        return Err(InvalidTransaction::Bound(name));
    }
    list.iter().try_for_each(each)
}

fn approvals(approvals: &[Approval]) -> Bounded {
    list(approvals, VALIDATORS_MAX, "the number of approvals", |approval| did(&approval.validator))
}

fn cause(cause: &Cause) -> Bounded {
    if cause.uri.is_empty() || cause.uri.len() > LEDGER_URI_BYTES_MAX {
        return Err(InvalidTransaction::Bound("the cause's address"));
    }
    list(&cause.witnesses, WITNESSES_MAX, "the number of witnesses", |witness| {
        did(&witness.account)?;
        witness.tenant.iter().try_for_each(did)
    })
}

fn backups(backups: &Backups) -> Bounded {
    if backups.standbys.len() + backups.vaults.len() > BACKUPS_MAX {
        return Err(InvalidTransaction::Bound("the number of backups"));
    }
    backups.standbys.iter().chain(&backups.vaults).chain(&backups.witness).try_for_each(did)
}

impl Transaction {
    /// Checks every bound, so that nothing behind this door needs to.
    pub(crate) fn bounded(&self) -> Bounded {
        did(&self.wallet)?;
        match &self.action {
            Action::KarmaReward(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                cause(&it.cause)
            }
            Action::PeerRecognition(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                text(&it.reason)?;
                cause(&it.cause)
            }
            Action::CrossTenantExchange(it) => {
                did(&it.to)?;
                it.from_tenant.iter().chain(&it.to_tenant).try_for_each(did)?;
                it.quote.iter().try_for_each(|quote| did(&quote.node))?;
                text(&it.reason)
            }
            Action::NodeReward(it) => did(&it.to),
            Action::JusticeFund(it) => {
                did(&it.to)?;
                text(&it.reason)
            }
            Action::SystemGrant(it) => {
                did(&it.to)?;
                it.tenant.iter().try_for_each(did)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::Reversal(it) => {
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::Delegate(it) => it.to.iter().try_for_each(did),
            Action::Propose(it) => text(&it.title),
            Action::RegisterWallet(it) => {
                if let Holder::Agent { owner } = &it.holder {
                    did(owner)?;
                }
                did(&it.home)
            }
            Action::MoveHome(it) => did(&it.home),
            Action::Vouch(it) | Action::WithdrawVouch(it) => did(&it.person),
            Action::Flag(it) => {
                did(&it.account)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::RegisterNode(it) => {
                did(&it.operator)?;
                it.invitation.iter().try_for_each(|invitation| did(&invitation.node))
            }
            Action::PlaceTenant(it) => {
                did(&it.primary)?;
                backups(&it.backups)
            }
            Action::ChangeHosts(it) => {
                did(&it.tenant)?;
                backups(&it.backups)
            }
            Action::Migrate(it) => {
                did(&it.tenant)?;
                did(&it.to)
            }
            Action::RollBack(it) => did(&it.tenant),
            Action::Failover(it) => {
                did(&it.tenant)?;
                list(&it.observations, BACKUPS_MAX + 2, "the number of observations", |it| did(&it.observer))
            }
            Action::Claim(it) => {
                did(&it.tenant)?;
                it.from.iter().try_for_each(|from| did(&from.node))
            }
            Action::JoinValidators(it) => approvals(&it.approvals),
            Action::RemoveValidator(it) => {
                did(&it.validator)?;
                text(&it.reason)?;
                approvals(&it.approvals)
            }
            Action::ReportDoubleVote(it) => did(&it.validator),
            Action::Change(it) => approvals(&it.approvals),
            // Its own bounds are checked where it is read.
            Action::ChangeIdentity(_)
            | Action::Stake(_)
            | Action::Unstake(_)
            | Action::Vote(_)
            | Action::Close(_)
            | Action::RotateKey(_)
            | Action::RetireNode
            | Action::LeaveValidators(_) => Ok(()),
        }
    }
}

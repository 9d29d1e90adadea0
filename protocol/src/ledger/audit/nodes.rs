//! Nodes that come and go (`network.md` 2.3 and 2.4).

use super::super::action::{Region, RegisterNode};
use super::super::parameters::Admission;
use super::super::{Outcome, statement};
use super::account::Who;
use super::{Auditor, Verdict};
use crate::ids::Did;

/// A node that is here, or was.
pub(in super::super) struct Node {
    pub(in super::super) name: String,
    pub(in super::super) operator: Did,
    pub(in super::super) region: Region,
    pub(in super::super) hosts: bool,
    pub(in super::super) since: u64,
    pub(in super::super) here: bool,
}

impl Auditor<'_> {
    pub(super) fn is_node(&self, did: &Did) -> bool {
        self.nodes.get(did).is_some_and(|node| node.here)
    }

    /// Tenants of which the node is primary.
    pub(in super::super) fn primaries(&self, did: &Did) -> usize {
        self.placements.values().filter(|placement| placement.primary == *did).count()
    }

    pub(super) fn register_node(&mut self, by: &Did, it: &RegisterNode, now: u64) -> Verdict {
        let somebody_else = self.accounts.get(by).is_some_and(|account| account.who != Who::Node);
        let named = |(did, node): (&Did, &Node)| node.here && did != by && node.name == it.name.as_str();
        refuse! {
            somebody_else => NotPermitted,
            self.nodes.iter().any(named) => NameTaken,
        }
        if !self.is_node(by) {
            assert_eq!(self.parameters.admission, Admission::Invite, "the auditor knows no other admission");
            let Some(invitation) = &it.invitation else { return Err(Outcome::NotInvited) };
            let what = statement::invitation(&self.network, by, invitation);
            refuse! {
                !self.is_node(&invitation.node) => InviterUnknown,
                invitation.expires.as_millis() < now => InvitationExpired,
                !self.node_holds(&invitation.node, &what, &invitation.signature) => BadInvitation,
            }
        }
        let since = self.nodes.get(by).filter(|node| node.here).map_or(now, |node| node.since);
        let (name, operator) = (it.name.as_str().to_owned(), it.operator.clone());
        let node = Node { name, operator, region: it.region, hosts: it.hosts, since, here: true };
        self.nodes.insert(by.clone(), node);
        Ok(())
    }

    pub(super) fn retire_node(&mut self, by: &Did) -> Verdict {
        refuse! {
            !self.is_node(by) => NotANode,
            self.validators.contains(by) => StillValidator,
            self.primaries(by) > 0 => StillPrimary,
        }
        self.nodes.get_mut(by).expect("found before").here = false;
        Ok(())
    }
}

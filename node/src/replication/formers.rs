//! Who was primary of a tenant before its present epoch. The ledger's decisions say, and nobody's word: a former primary may
//! tell what it wrote unseen, which is then written in the tenant's name; no other node may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use angel_protocol::ids::Did;
use angel_protocol::ledger::{Action, Outcome, rows};
use angel_storage::ledger::{LedgerView, decided};

use super::replay::HEIGHTS_SEARCHED;
use super::{Replication, ReplicationError};
use crate::placement::Tenant;

/// Tenants whose former primaries are remembered; with more, all are looked up anew.
const TENANTS_MAX: usize = 1_000;

/// Former primaries by tenant, each with the epoch for which they were looked up. However often it is asked, the ledger is
/// searched once for an epoch.
#[derive(Debug, Default)]
pub(super) struct Formers(Mutex<BTreeMap<Did, OfEpoch>>);

/// The epoch for which they were looked up, and they.
type OfEpoch = (u64, Arc<BTreeSet<Did>>);

impl Replication {
    /// Whether the ledger made `node` primary of the tenant in an earlier epoch. Blocks.
    pub(super) fn was_primary_blocking(&self, tenant: &Tenant, node: &Did) -> Result<bool, ReplicationError> {
        if tenant.is_former(node) {
            return Ok(true);
        }
        let epoch = tenant.placed.epoch;
        let known = || self.0.formers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, formers)) = known().get(&tenant.did)
            && *at == epoch
        {
            return Ok(formers.contains(node));
        }
        let formers = Arc::new(self.formers_blocking(tenant)?);
        let was = formers.contains(node);
        let mut known = known();
        if known.len() >= TENANTS_MAX {
            known.clear();
        }
        known.insert(tenant.did.clone(), (epoch, formers));
        Ok(was)
    }

    fn formers_blocking(&self, tenant: &Tenant) -> Result<BTreeSet<Did>, ReplicationError> {
        let reader = &self.0.parts.reader;
        let mut found = Found { tenant: &tenant.did, epoch: tenant.placed.epoch, formers: BTreeSet::new() };
        let newest = tenant.placed.height;
        for height in (newest.saturating_sub(HEIGHTS_SEARCHED)..=newest).rev() {
            let batch = decided::batch(reader, height);
            let batch = batch.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            for signed in batch.iter().flat_map(|batch| batch.transactions.iter().rev()) {
                let transaction = signed.transaction();
                if !found.concerns(&transaction.action, &transaction.wallet) {
                    continue;
                }
                // What was refused stands in a batch, too.
                let receipt = rows::receipt(&LedgerView(reader), signed.id());
                let receipt = receipt.map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
                let is_posted = receipt.is_some_and(|receipt| receipt.outcome == Outcome::Posted);
                if is_posted && found.note(&transaction.action, &transaction.wallet) {
                    return Ok(found.formers);
                }
            }
        }
        Ok(found.formers)
    }
}

struct Found<'a> {
    tenant: &'a Did,
    epoch: u64,
    formers: BTreeSet<Did>,
}

impl Found<'_> {
    /// Whether an action says who is or was primary of the tenant.
    fn concerns(&self, action: &Action, signer: &Did) -> bool {
        match action {
            Action::PlaceTenant(_) => signer == self.tenant,
            Action::Failover(it) => it.tenant == *self.tenant,
            Action::Migrate(it) => it.tenant == *self.tenant,
            Action::Claim(it) => it.tenant == *self.tenant,
            _ => false,
        }
    }

    /// Takes in what was decided, the newest first; answers whether there is nothing before it.
    fn note(&mut self, action: &Action, signer: &Did) -> bool {
        let mut led = |node: &Did, epoch: u64| {
            if epoch < self.epoch {
                self.formers.insert(node.clone());
            }
        };
        match action {
            Action::PlaceTenant(it) => led(&it.primary, 1),
            Action::Failover(it) => led(signer, it.epoch),
            // The owner says whose data it was, also where the ledger knew nothing of the tenant before.
            Action::Claim(it) => {
                led(signer, it.epoch);
                if let Some(from) = &it.from {
                    led(&from.node, it.epoch.saturating_sub(1));
                }
            }
            // Whoever gives a tenant away had it; going back leads to one that was found so.
            Action::Migrate(it) => {
                led(signer, it.epoch.saturating_sub(1));
                led(&it.to, it.epoch);
            }
            _ => {}
        }
        matches!(action, Action::PlaceTenant(_))
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::ledger::action::{Backups, Claim, Failover, Migrate, PlaceTenant, Residency, Source, Strategy};

    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    #[test]
    fn those_are_former_primaries_whom_the_ledger_had_made_that() {
        let tenant = did("shop");
        let mut found = Found { tenant: &tenant, epoch: 4, formers: BTreeSet::new() };
        let failover = |epoch| Action::Failover(Failover { tenant: did("shop"), epoch, observations: vec![] });
        let migrate =
            |name: &str| Action::Migrate(Migrate { tenant: did(name), epoch: 3, to: did("c"), accepted: [0; 64] });
        let place = Action::PlaceTenant(PlaceTenant {
            primary: did("a"),
            backups: Backups { standbys: vec![did("b"), did("never")], vaults: vec![], witness: None },
            strategy: Strategy::MultiNodeReplica,
            residency: Residency::Global,
            accepted: [0; 64],
        });
        for (action, signer) in [(failover(4), "d"), (migrate("shop"), "b"), (failover(2), "b")] {
            assert!(found.concerns(&action, &did(signer)));
            assert!(!found.note(&action, &did(signer)), "there is more before it");
        }
        assert!(!found.concerns(&migrate("other"), &did("x")) && !found.concerns(&place, &did("other")));
        assert!(found.concerns(&place, &tenant) && found.note(&place, &tenant));
        let from = Some(Source { node: did("e"), sequence: 7 });
        let claim = Action::Claim(Claim { tenant: did("shop"), epoch: 4, from, owner: [0; 64] });
        assert!(found.concerns(&claim, &did("d")) && !found.note(&claim, &did("d")));
        let formers = ["a", "b", "c", "e"].map(did);
        assert_eq!(found.formers, formers.into(), "not the present one, and none that only kept a copy");
    }
}

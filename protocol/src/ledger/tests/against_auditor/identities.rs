//! Identities: random operations on them, good and bad, and both sides' word on their logs.

pub(super) use super::super::identities::rotation_key as owner_key;
use super::super::identities::{rotation_key, state, wrap};
use super::*;
use crate::data::Cid;
use crate::ledger::directory;
use crate::plc::{PlcOperation, PlcStatement};

/// Identities and operations to build on, accepted or not.
#[derive(Default)]
pub(super) struct Known {
    identities: Vec<(Did, Vec<PlcOperation>)>,
}

/// Most identities in a run, so that much happens to each.
const MOST: usize = 12;

impl Run {
    /// One that the network may hold.
    pub(super) fn identity(&mut self) -> Option<Did> {
        let known = &self.identities.identities;
        (!known.is_empty()).then(|| self.random.pick(known).0.clone())
    }

    /// An operation on some identity; half of them on one, so that it meets its rates.
    pub(super) fn operation(&mut self) -> Signed {
        let known = self.identities.identities.len();
        if known == 0 || (known < MOST && self.random.one_in(6)) || self.random.one_in(40) {
            return self.create();
        }
        let at = if self.random.one_in(2) { 0 } else { self.random.below(known) };
        let (did, operations) = self.identities.identities[at].clone();
        if self.random.one_in(30) {
            return wrap(&did, self.random.pick(&operations));
        }
        let head = directory::last(&self.world.view, &did).expect("reads").map(|entry| entry.cid);
        let back = self.random.below(4.min(operations.len()));
        let earlier = operations[operations.len() - 1 - back].cid();
        let prev = if self.random.one_in(3) { earlier } else { head.unwrap_or(earlier) };
        let operation = self.signed_operation(Some(prev));
        self.identities.identities[at].1.push(operation.clone());
        let wrong = self.random.one_in(40);
        wrap(if wrong { &self.names[0] } else { &did }, &operation)
    }

    fn create(&mut self) -> Signed {
        let operation = self.signed_operation(None);
        let did = operation.creates().expect("a first operation");
        if self.random.one_in(15) {
            return wrap(&self.names[0], &operation);
        }
        if self.identities.identities.len() < MOST {
            self.identities.identities.push((did.clone(), vec![operation.clone()]));
        }
        wrap(&did, &operation)
    }

    /// Three keys with one order in nearly every operation, so that one is known to be more powerful than another, and
    /// sometimes a stranger's. On secp256k1 mostly: it is checked faster.
    fn signed_operation(&mut self, prev: Option<Cid>) -> PlcOperation {
        let signer = if self.random.one_in(10) { 9 } else { *self.random.pick(&[1, 3, 3, 5, 5, 5]) };
        let rotation = match self.random.below(24) {
            0 | 1 => &[1, 2, 5][..],
            // A host that puts itself first, which the owner can take back.
            2 => &[3, 1, 5],
            _ => &[1, 3, 5],
        };
        let name = format!("n{}", self.random.next() % 1_000_000);
        match prev {
            Some(prev) if self.random.one_in(25) => PlcStatement::Tombstone { prev },
            prev => state(rotation, &name, prev),
        }
        .sign(&rotation_key(signer))
    }

    pub(super) fn compare_identities(&self, auditor: &Auditor<'_>) {
        let (seed, view) = (self.seed, &self.world.view);
        for (did, log) in &auditor.identities.logs {
            assert_eq!(directory::log(view, did).expect("reads").as_ref(), Some(log), "seed {seed}: {did}");
        }
        let mut exported = Vec::new();
        loop {
            let page = directory::export(view, exported.len() as u64, 7).expect("reads");
            if page.is_empty() {
                break;
            }
            exported.extend(page.into_iter().map(|it| (it.did, it.entry.cid)));
        }
        assert_eq!(exported, auditor.identities.order, "seed {seed}");
    }
}

//! Identities: their whole logs, judged whole each time.

use std::collections::BTreeMap;

use super::super::{Outcome, Signed};
use super::{Auditor, DAY, HOUR, Verdict};
use crate::data::Cid;
use crate::ids::Did;
use crate::plc::{LogError, PlcLog};
use crate::time::Timestamp;

/// The directory.
#[derive(Default)]
pub(in super::super) struct Identities {
    pub(in super::super) logs: BTreeMap<Did, PlcLog>,
    /// Every operation in decided order.
    pub(in super::super) order: Vec<(Did, Cid)>,
}

/// Operations of one identity within an hour, a day and a week.
const RATES: [(usize, u64); 3] = [(10, HOUR), (30, DAY), (100, 7 * DAY)];

fn too_often(log: &PlcLog, now: u64) -> bool {
    let ages: Vec<_> = log.entries().iter().map(|entry| now - entry.created_at.as_millis()).collect();
    RATES.iter().any(|(most, within)| ages.iter().filter(|age| *age < within).count() >= *most)
}

impl Auditor<'_> {
    /// The key that has the last word: of whatever can still be taken back, it could take back the earliest.
    pub(super) fn owner(&self, did: &Did, now: u64) -> Option<Did> {
        let log = self.identities.logs.get(did)?;
        let last = log.data()?;
        let holding: Vec<_> = log.canonical().collect();
        for step in holding.windows(2) {
            let (before, after) = (step[0].operation.statement().data()?, step[1]);
            let is_young = now - after.created_at.as_millis() <= 3 * DAY;
            if is_young && after.operation.signer(&before.rotation_keys[..1]).is_none() {
                return Some(before.rotation_keys[0].clone());
            }
        }
        Some(last.rotation_keys[0].clone())
    }

    pub(super) fn identity(&mut self, signed: &Signed, now: u64) -> Verdict {
        let did = &signed.transaction().wallet;
        let operation = signed.operation().expect("asked for operations only");
        let (at, hour) = (Timestamp::from_millis(now), now / HOUR);
        let born = |log: &&PlcLog| log.entries()[0].created_at.as_millis() / HOUR == hour;
        let born = self.identities.logs.values().filter(born).count();
        match self.identities.logs.get_mut(did) {
            None => {
                let log = PlcLog::create(operation.clone(), at);
                refuse! {
                    operation.creates().is_none() => UnknownIdentity,
                    operation.creates().as_ref() != Some(did) => OtherIdentity,
                    born >= self.parameters.identities_per_hour as usize => IdentitiesSpent,
                }
                let log = log.map_err(|_| Outcome::BadOperationSignature)?;
                self.identities.logs.insert(did.clone(), log);
            }
            Some(log) => {
                let rescue = operation.statement().prev() != Some(log.head().cid);
                let limited = !rescue && too_often(log, now);
                let mut next = log.clone();
                match next.append(operation.clone(), at) {
                    Err(LogError::SecondGenesis) => return Err(Outcome::IdentityExists),
                    Err(LogError::UnknownPrev(_)) => return Err(Outcome::PrevUnknown),
                    Err(LogError::TooLate) => return Err(Outcome::TooLateToTakeBack),
                    Err(LogError::Tombstoned) => return Err(Outcome::IdentityEnded),
                    _ if limited => return Err(Outcome::IdentityTooOften),
                    Err(LogError::Signature) => return Err(Outcome::BadOperationSignature),
                    Err(other) => panic!("a random log does not come so far: {other}"),
                    Ok(_) => *log = next,
                }
            }
        }
        self.identities.order.push((did.clone(), operation.cid()));
        Ok(())
    }
}

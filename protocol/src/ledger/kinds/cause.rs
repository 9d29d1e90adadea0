//! Causes and their witnesses (`network.md` 7.4 and 7.5, TOK-06).

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::super::action::Cause;
use super::super::apply::{Stop, Tx};
use super::super::outcome::Outcome;
use super::super::rows::Mark;
use super::super::statement;
use super::super::view::{View, ViewError};
use crate::ids::Did;
use crate::limits::CLOCK_SKEW_MAX;

const REWARDED: &[u8] = b"cause";
const WITNESSED: &[u8] = b"witness";

/// What makes one rewarded cause different from another.
pub(super) struct CauseKey<'a> {
    /// The transaction's type, and whoever else tells two rewards for one cause apart.
    pub(super) within: &'a [&'a [u8]],
    /// What is rewarded.
    pub(super) subject: &'a str,
}

impl CauseKey<'_> {
    fn with<T>(&self, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        // Hashed, so that a long address makes no long key.
        let subject: [u8; 32] = Sha256::digest(self.subject).into();
        let parts: Vec<&[u8]> = [&[REWARDED], self.within, &[&subject]].concat();
        then(&parts)
    }
}

impl<V: View> Tx<'_, '_, V> {
    /// The cause is recent and was not rewarded before.
    pub(super) fn cause_is_new(&mut self, at: u64, key: &CauseKey<'_>) -> Result<(), Stop> {
        let now = self.now();
        let skew = u64::try_from(CLOCK_SKEW_MAX.as_millis()).expect("two minutes");
        self.require(at <= now.saturating_add(skew), Outcome::CauseInFuture)?;
        let oldest = now.saturating_sub(self.state.parameters.cause_age);
        self.require(at >= oldest, Outcome::CauseTooOld)?;
        let rewarded: Option<Mark> = key.with(|parts| self.state.get(parts))?;
        self.require(rewarded.is_none(), Outcome::CauseRewarded)
    }

    /// The cause is used up.
    pub(super) fn use_cause(&mut self, key: &CauseKey<'_>) {
        key.with(|parts| self.state.put(parts, &Mark));
    }

    /// Enough people with proof of humanity, none of them a party, say that it happened, and the impact follows from
    /// them.
    pub(super) fn witnessed(&mut self, cause: &Cause, receiver: &Did, needed: u8) -> Result<(), Stop> {
        let witnesses = &cause.witnesses;
        let people: BTreeSet<_> = witnesses.iter().map(|witness| &witness.account).collect();
        self.require(people.len() == witnesses.len(), Outcome::WitnessRepeated)?;
        let parties = people.contains(receiver) || people.contains(self.signer());
        self.require(!parties, Outcome::WitnessIsParty)?;
        let mut wallets = Vec::with_capacity(witnesses.len());
        for witness in witnesses {
            wallets.extend(self.state.wallet(&witness.account)?);
        }
        self.require(wallets.len() == witnesses.len(), Outcome::WitnessUnknown)?;
        self.require(wallets.iter().all(super::super::rows::Wallet::is_human), Outcome::WitnessNotHuman)?;
        let tenants: BTreeSet<_> = witnesses.iter().filter_map(|witness| witness.tenant.as_ref()).collect();
        let impact = (20 * witnesses.len() + 10 * tenants.len()).min(100);
        self.require(usize::from(cause.impact) == impact, Outcome::ImpactWrong)?;
        self.require(witnesses.len() >= usize::from(needed), Outcome::TooFewWitnesses)?;
        let (network, id) = (self.state.network.clone(), self.signed.id());
        let action = &self.signed.transaction().action;
        let holds = witnesses.iter().zip(&wallets).all(|(witness, wallet)| {
            let (domain, message) = statement::witness(&network, id, action, &witness.account, witness.tenant.as_ref());
            self.signatures.holds(&wallet.key, domain, &message, &witness.signature)
        });
        self.require(holds, Outcome::BadWitnessSignature)
    }

    /// What the contribution adds to its author's reputation.
    pub(super) fn count_contribution(&mut self, author: &Did, cause: &Cause) -> Result<(), ViewError> {
        let mut new = 0;
        for witness in &cause.witnesses {
            let parts: [&[u8]; 3] = [WITNESSED, author.as_str().as_bytes(), witness.account.as_str().as_bytes()];
            if self.state.get::<Mark>(&parts)?.is_none() {
                self.state.put(&parts, &Mark);
                new += 1;
            }
        }
        let mut wallet = self.state.existing(author)?;
        wallet.impact_sum += u64::from(cause.impact);
        wallet.impacts += 1;
        wallet.witnesses += new;
        self.state.put_wallet(author, wallet);
        Ok(())
    }
}

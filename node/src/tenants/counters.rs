//! What tenants use in a month, counted in memory and written down every few seconds.

use std::collections::HashMap;
use std::time::Duration;

use angel_protocol::tenants::{Allowance, LimitReached, Month, Usage, Use};
use angel_storage::codec::Cbor;
use angel_storage::tenants::TENANT_USAGE;
use angel_storage::{AccountId, Batch};

use super::{TenantError, Tenants};

/// How often counts are written down: calls are counted on every request, which a write each would be too much for.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Counters {
    counts: HashMap<AccountId, Counter>,
    /// Last counts of months that are over.
    closed: Vec<(AccountId, Usage)>,
}

struct Counter {
    usage: Usage,
    dirty: bool,
}

impl Counters {
    pub(super) fn load(&mut self, id: AccountId, usage: Usage) {
        self.counts.insert(id, Counter { usage, dirty: false });
    }

    pub(super) fn forget(&mut self, id: AccountId) {
        self.counts.remove(&id);
        self.closed.retain(|(of, _)| *of != id);
    }

    /// The counter of this month. A month never comes back, even when the clock is set back.
    fn of(&mut self, id: AccountId, month: Month) -> &mut Counter {
        let counter = self.counts.entry(id).or_insert_with(|| Counter { usage: Usage::new(month), dirty: false });
        if counter.usage.month < month {
            let over = std::mem::replace(&mut counter.usage, Usage::new(month));
            if counter.dirty {
                self.closed.push((id, over));
            }
            counter.dirty = false;
        }
        counter
    }

    pub(super) fn take(
        &mut self,
        id: AccountId,
        allowance: &Allowance,
        wish: Use,
        month: Month,
    ) -> Result<(), LimitReached> {
        let counter = self.of(id, month);
        counter.usage.take(allowance, wish)?;
        counter.dirty |= wish.resource.is_monthly();
        Ok(())
    }

    /// Counts several uses, all or none.
    pub(super) fn take_all(
        &mut self,
        id: AccountId,
        allowance: &Allowance,
        wishes: &[Use],
        month: Month,
    ) -> Result<(), LimitReached> {
        let counter = self.of(id, month);
        let mut usage = counter.usage.clone();
        wishes.iter().try_for_each(|wish| usage.take(allowance, *wish))?;
        counter.dirty |= wishes.iter().any(|wish| wish.resource.is_monthly());
        counter.usage = usage;
        Ok(())
    }

    /// Takes back what was counted in this month for something that did not happen. When the month is over, nothing is
    /// left to take it from.
    pub(super) fn take_back(&mut self, id: AccountId, wishes: &[Use], month: Month) {
        let Some(counter) = self.counts.get_mut(&id).filter(|counter| counter.usage.month == month) else { return };
        for wish in wishes.iter().filter(|wish| wish.resource.is_monthly()) {
            if let Some(count) = counter.usage.counts.get_mut(&wish.resource) {
                *count = count.saturating_sub(wish.more);
                counter.dirty = true;
            }
        }
    }

    pub(super) fn note_storage(&mut self, id: AccountId, mb: u64, month: Month) {
        let counter = self.of(id, month);
        if mb > counter.usage.storage_mb {
            counter.usage.storage_mb = mb;
            counter.dirty = true;
        }
    }

    pub(super) fn usage(&mut self, id: AccountId, month: Month) -> Usage {
        self.of(id, month).usage.clone()
    }

    /// What is to be written down.
    fn take_dirty(&mut self) -> Vec<(AccountId, Usage)> {
        let mut dirty = std::mem::take(&mut self.closed);
        for (id, counter) in self.counts.iter_mut().filter(|(_, counter)| counter.dirty) {
            counter.dirty = false;
            dirty.push((*id, counter.usage.clone()));
        }
        dirty
    }

    /// Marks counts that were not written down after all.
    fn give_back(&mut self, unwritten: Vec<(AccountId, Usage)>) {
        for (id, usage) in unwritten {
            match self.counts.get_mut(&id) {
                Some(counter) if counter.usage.month == usage.month => counter.dirty = true,
                _ => self.closed.push((id, usage)),
            }
        }
    }
}

impl Tenants {
    /// Writes down what was counted since the last time. Blocks until that is durable.
    ///
    /// # Errors
    /// The store fails; the counts are kept for the next time.
    pub(super) fn flush_blocking(&self) -> Result<(), TenantError> {
        let dirty = self.counters().take_dirty();
        if dirty.is_empty() {
            return Ok(());
        }
        let write = || {
            let mut batch = Batch::new();
            for (id, usage) in &dirty {
                batch.put(&TENANT_USAGE, &(*id, usage.month.number()), &Cbor(usage.clone()))?;
            }
            self.0.writer.commit(batch)?;
            Ok(())
        };
        let written: Result<(), TenantError> = write();
        if written.is_err() {
            self.counters().give_back(dirty);
        }
        written
    }
}

//! What is kept of each node.
//!
//! Bounded: when the registry is full, the node that has been offline longest makes room; when none is offline, the
//! newcomer is refused. What every heartbeat touches lies together in [`Entry`]; the rest is a step away.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::admission::AdmittedBy;
use super::due::Due;
use super::failure_detector::{Observed, Status};
use super::heartbeat::VerifiedHeartbeat;
use super::record::NodeRecord;
use super::stored::{FormerKey, StoredEntry};
use super::uptime::Uptime;
use crate::data::Cid;
use crate::ids::{Did, NodeName};
use crate::limits::RETIRED_KEYS_MAX;
use crate::time::Timestamp;

/// A node's public key, the fast form of its DID.
pub(super) type Key = [u8; 32];

/// Where an entry lies. Slots of removed entries are used again.
pub(super) type Slot = u32;

/// [`Entry::due`] of an entry whose row has come up and that waits to be taken.
const CAME_UP: Timestamp = Timestamp::from_millis(u64::MAX);

/// One node in the eyes of this observer.
///
/// A large network is a large table read in random order, so what a heartbeat touches fills one cache line. Key,
/// sequence and what else is compared with the last heartbeat is read from that heartbeat: `latest` is shared, and
/// whoever runs many observers in one process has it in the cache.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub(super) struct Entry {
    /// Its newest heartbeat, signed with the current key.
    pub(super) latest: Arc<VerifiedHeartbeat>,
    /// When the node was last heard, by this observer's clock.
    pub(super) last_heard: Timestamp,
    /// When the failure detector looks at it next; the epoch while nothing is booked, [`CAME_UP`] while it is due.
    due: Timestamp,
    /// The verdict.
    pub(super) observed: Observed,
    /// Heartbeats in a row.
    pub(super) streak: u8,
    pub(super) uptime: Uptime,
    pub(super) persisted_at: Timestamp,
    pub(super) rest: Box<Rest>,
}

/// What not every heartbeat touches.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) created_at: Timestamp,
    pub(super) admitted_by: AdmittedBy,
    pub(super) former_keys: Vec<FormerKey>,
    pub(super) latency: Latency,
    pub(super) response_ms: Option<u32>,
    pub(super) record: Option<HeldRecord>,
}

/// A verified copy of a node's record.
#[derive(Clone, Debug)]
pub(super) struct HeldRecord {
    pub(super) cid: Cid,
    pub(super) bytes: Arc<[u8]>,
    pub(super) record: Arc<NodeRecord>,
}

/// The last ten round trips (NET-04).
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    samples: [u32; 10],
    taken: usize,
}

impl Latency {
    pub(super) fn measured(&mut self, rtt_ms: u32) {
        self.samples[self.taken % self.samples.len()] = rtt_ms;
        self.taken += 1;
        if self.taken == 2 * self.samples.len() {
            self.taken = self.samples.len();
        }
    }

    /// The median; of an even number the lower of the two in the middle.
    pub(super) fn median(&self) -> Option<u32> {
        let mut sorted = self.samples;
        let known = &mut sorted[..self.taken.min(self.samples.len())];
        known.sort_unstable();
        known.get(known.len().saturating_sub(1) / 2).copied()
    }
}

impl Entry {
    /// The current key.
    pub(super) fn key(&self) -> &Key {
        &self.latest.head().key
    }

    /// The node's DID.
    pub(super) fn did(&self) -> &Did {
        &self.latest.head().issuer
    }

    /// The node's name.
    pub(super) fn name(&self) -> &NodeName {
        &self.latest.body().node_id
    }

    /// What is shown of it.
    pub(super) fn status(&self) -> Status {
        self.observed.shown(self.latest.body().status)
    }

    /// The form that survives a restart.
    pub(super) fn stored(&self) -> StoredEntry {
        StoredEntry {
            did: self.did().clone(),
            created_at: self.rest.created_at,
            admitted_by: self.rest.admitted_by.clone(),
            last_heard: self.last_heard,
            observed: self.observed,
            uptime: self.uptime.clone(),
            former_keys: self.rest.former_keys.clone(),
            heartbeat: self.latest.bytes().clone(),
            record: self.rest.record.as_ref().map(|held| held.bytes.clone()),
        }
    }

    /// A node that is heard for the first time.
    pub(super) fn new(
        now: Timestamp,
        heard: Timestamp,
        latest: Arc<VerifiedHeartbeat>,
        admitted_by: AdmittedBy,
    ) -> Self {
        Self {
            last_heard: heard,
            observed: Observed::Online,
            streak: 1,
            latest,
            uptime: Uptime::starting(now),
            persisted_at: now,
            due: Timestamp::EPOCH,
            rest: Box::new(Rest {
                created_at: now,
                admitted_by,
                former_keys: Vec::new(),
                latency: Latency::default(),
                response_ms: None,
                record: None,
            }),
        }
    }
}

/// All nodes known, found by key or by name.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    slots: Vec<Option<Entry>>,
    free: Vec<Slot>,
    /// Entries by their current key. Never iterated: its order means nothing.
    by_key: HashTable<Slot>,
    /// Entries by their current DID, so that what names a node by its text is found without decoding a key.
    by_did: HashTable<Slot>,
    by_former_key: BTreeMap<Key, Slot>,
    by_name: BTreeMap<NodeName, Slot>,
    /// When the failure detector looks at which entries. One row per entry; a heartbeat leaves it alone, the row is moved
    /// when it comes up.
    due: Due,
    /// The row that has come up and was not wholly taken yet, the lowest slot last.
    came_up: Vec<Slot>,
    first_due: Option<Timestamp>,
    /// Entries observed online, and the XOR of their keys: equal for two nodes that see the same ones.
    online: usize,
    digest: Key,
}

impl Registry {
    pub(super) fn new(grain: Duration) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            by_did: HashTable::new(),
            by_former_key: BTreeMap::new(),
            by_name: BTreeMap::new(),
            due: Due::new(grain),
            came_up: Vec::new(),
            first_due: None,
            online: 0,
            digest: [0; 32],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The entry that has or had this key.
    pub(super) fn find(&self, key: &Key) -> Option<Slot> {
        self.find_hashed(key, hash(key))
    }

    /// Where the entry lies whose key has this hash, most likely.
    pub(super) fn locate(&self, hash: u64) -> Option<Slot> {
        self.by_key.find(hash, |_| true).copied()
    }

    /// Reads what a heartbeat will read of the entry, and waits for none of it.
    pub(super) fn glance(&self, slot: Slot) -> u64 {
        self.slots.get(slot as usize).and_then(Option::as_ref).map_or(0, |entry| entry.last_heard.as_millis())
    }

    /// The same for one who has the [`hash`] of the key at hand.
    pub(super) fn find_hashed(&self, key: &Key, hash: u64) -> Option<Slot> {
        let current = self.by_key.find(hash, |slot| self.entry(*slot).key() == key);
        current.or_else(|| self.by_former_key.get(key)).copied()
    }

    /// The entry whose current DID this is.
    pub(super) fn find_did(&self, did: &Did) -> Option<Slot> {
        self.find_text(did.as_str().as_bytes())
    }

    /// The entry whose current DID reads so.
    pub(super) fn find_text(&self, did: &[u8]) -> Option<Slot> {
        self.by_did.find(hash(did), |slot| self.entry(*slot).did().as_str().as_bytes() == did).copied()
    }

    pub(super) fn entry(&self, slot: Slot) -> &Entry {
        self.slots[slot as usize].as_ref().expect("slots are handed out only for entries that are there")
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.slots[slot as usize].as_mut().expect("slots are handed out only for entries that are there")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flatten()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().zip(0..).filter_map(|(entry, slot)| entry.is_some().then_some(slot))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut().flatten()
    }

    /// Which entry has the name.
    pub(super) fn named(&self, name: &NodeName) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    pub(super) const fn online(&self) -> usize {
        self.online
    }

    pub(super) const fn digest(&self) -> &Key {
        &self.digest
    }

    /// When [`Self::take_due`] has something to give.
    pub(super) const fn first_due(&self) -> Option<Timestamp> {
        self.first_due
    }

    /// Adds an entry whose key and name are free.
    pub(super) fn insert(&mut self, entry: Entry, due: Timestamp) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).expect("the registry is bounded far below")
        });
        for former in &entry.rest.former_keys {
            if let Some(key) = key_of(&former.did) {
                self.by_former_key.insert(key, slot);
            }
        }
        self.by_name.insert(entry.name().clone(), slot);
        let key = *entry.key();
        self.count(&key, entry.observed, true);
        self.slots[slot as usize] = Some(entry);
        self.index(&key, slot);
        self.index_did(slot);
        self.arm(slot, due);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        self.unindex(slot);
        self.unindex_did(slot);
        let entry = self.slots[slot as usize].take().expect("slots are handed out only for entries that are there");
        self.free.push(slot);
        self.disarm(slot, entry.due);
        self.refresh_first_due();
        for former in &entry.rest.former_keys {
            if let Some(key) = key_of(&former.did) {
                self.by_former_key.remove(&key);
            }
        }
        if self.named(entry.name()) == Some(slot) {
            self.by_name.remove(entry.name());
        }
        self.count(entry.key(), entry.observed, false);
        entry
    }

    /// Replaces the newest heartbeat by one that declares something else, perhaps another name. The name is free.
    pub(super) fn redeclare(&mut self, slot: Slot, latest: Arc<VerifiedHeartbeat>) -> Arc<VerifiedHeartbeat> {
        let name = latest.body().node_id.clone();
        self.unindex_did(slot);
        let entry = self.entry_mut(slot);
        let before = std::mem::replace(&mut entry.latest, latest);
        self.index_did(slot);
        if before.body().node_id != name {
            self.by_name.remove(&before.body().node_id);
            self.by_name.insert(name, slot);
        }
        before
    }

    /// The same for one signed with a new key, which is free. The old one leads to the entry still, as a former key.
    pub(super) fn rekey(
        &mut self,
        slot: Slot,
        latest: Arc<VerifiedHeartbeat>,
        accepted_until: Timestamp,
    ) -> Arc<VerifiedHeartbeat> {
        self.unindex(slot);
        let new = latest.head().key;
        let before = self.redeclare(slot, latest);
        let (head, entry) = (before.head(), self.entry_mut(slot));
        let observed = entry.observed;
        entry.rest.former_keys.push(FormerKey {
            did: head.issuer.clone(),
            accepted_until,
            sequence: head.sequence,
            issued_at: head.issued_at,
        });
        let too_many = entry.rest.former_keys.len() > RETIRED_KEYS_MAX;
        let forgotten = too_many.then(|| entry.rest.former_keys.remove(0));
        if let Some(key) = forgotten.and_then(|forgotten| key_of(&forgotten.did)) {
            self.by_former_key.remove(&key);
        }
        self.by_former_key.insert(head.key, slot);
        self.index(&new, slot);
        self.count(&head.key, observed, false);
        self.count(&new, observed, true);
        before
    }

    /// Changes the verdict and when it is looked at again.
    pub(super) fn set_observed(&mut self, slot: Slot, observed: Observed, due: Timestamp) {
        let entry = self.entry_mut(slot);
        let (key, before) = (*entry.key(), std::mem::replace(&mut entry.observed, observed));
        debug_assert!(before.may_become(observed), "{before:?} cannot become {observed:?}");
        self.count(&key, before, false);
        self.count(&key, observed, true);
        self.arm(slot, due);
    }

    /// The next entry the failure detector should look at; it must be armed again or removed.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Slot> {
        if self.came_up.is_empty() {
            if !self.due.take(now, &mut self.came_up) {
                return None;
            }
            // All at once: the memory is waited for once, and not at each of them.
            for slot in &self.came_up {
                if let Some(entry) = &mut self.slots[*slot as usize] {
                    entry.due = CAME_UP;
                }
            }
        }
        let slot = self.came_up.pop()?;
        self.entry_mut(slot).due = Timestamp::EPOCH;
        self.refresh_first_due();
        Some(slot)
    }

    /// Looks at the entry again at `due`, rounded up to the grain so that a node wakes for many entries at once.
    pub(super) fn arm(&mut self, slot: Slot, due: Timestamp) {
        let due = self.due.push(due, slot);
        let before = std::mem::replace(&mut self.entry_mut(slot).due, due);
        self.disarm(slot, before);
        self.refresh_first_due();
    }

    /// Removes the row of an entry that has one. Rare: rows are moved when they come up.
    fn disarm(&mut self, slot: Slot, due: Timestamp) {
        if due == Timestamp::EPOCH {
            return;
        }
        if due != CAME_UP {
            return self.due.remove(due, slot);
        }
        if let Some(place) = self.came_up.iter().position(|up| *up == slot) {
            // In order: it is sorted.
            self.came_up.remove(place);
        }
    }

    /// The entry that has been offline longest.
    pub(super) fn longest_offline(&self) -> Option<Slot> {
        let offline = self.slots.iter().zip(0..).filter_map(|(entry, slot)| Some((entry.as_ref()?, slot)));
        offline
            .filter(|(entry, _)| entry.observed == Observed::Offline)
            .min_by_key(|(entry, slot)| (entry.last_heard, *slot))
            .map(|(_, slot)| slot)
    }

    fn index(&mut self, key: &Key, slot: Slot) {
        let Self { by_key, slots, .. } = self;
        let key_at = |slot: &Slot| slots[*slot as usize].as_ref().map_or(0, |entry| hash(entry.key()));
        by_key.insert_unique(hash(key), slot, key_at);
    }

    fn unindex(&mut self, slot: Slot) {
        let hash = hash(self.entry(slot).key());
        if let Ok(found) = self.by_key.find_entry(hash, |indexed| *indexed == slot) {
            found.remove();
        }
    }

    fn index_did(&mut self, slot: Slot) {
        let Self { by_did, slots, .. } = self;
        let did_at =
            |slot: &Slot| slots[*slot as usize].as_ref().map_or(0, |entry| hash(entry.did().as_str().as_bytes()));
        by_did.insert_unique(did_at(&slot), slot, did_at);
    }

    fn unindex_did(&mut self, slot: Slot) {
        let hash = hash(self.entry(slot).did().as_str().as_bytes());
        if let Ok(found) = self.by_did.find_entry(hash, |indexed| *indexed == slot) {
            found.remove();
        }
    }

    fn refresh_first_due(&mut self) {
        self.first_due = self.due.first();
    }

    fn count(&mut self, key: &Key, observed: Observed, add: bool) {
        if observed == Observed::Online {
            self.online = if add { self.online + 1 } else { self.online - 1 };
            self.digest.iter_mut().zip(key).for_each(|(sum, byte)| *sum ^= byte);
        }
    }
}

/// Keys are chosen by others, so the hash must not be something they aim at cheaply; and it must be the same in every
/// run, so it is not seeded at random. Whoever makes thousands of keys collide slows one lookup of this registry down.
pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// The Ed25519 key in a DID that has been verified before.
pub(super) fn key_of(did: &Did) -> Option<Key> {
    crate::crypto::decode_did_key(did).ok()?.1.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_touches_one_cache_line() {
        assert!(std::mem::offset_of!(Entry, uptime) + Uptime::HOT_BYTES <= 64);
        assert_eq!((size_of::<Entry>(), size_of::<Option<Entry>>()), (128, 128));
    }

    #[test]
    fn the_median_is_of_the_last_ten() {
        let mut latency = Latency::default();
        assert_eq!(latency.median(), None);
        latency.measured(1000);
        assert_eq!(latency.median(), Some(1000));
        for _ in 0..25 {
            latency.measured(7);
            latency.measured(9);
        }
        assert_eq!(latency.median(), Some(7));
        for _ in 0..6 {
            latency.measured(3);
        }
        assert_eq!(latency.median(), Some(3));
    }
}

//! Who is primary for which tenant, as the ledger has it, and the one check at the head of every write.
//!
//! An account that is not placed on the ledger lives here alone and costs one look into a map. For one that is placed,
//! a write passes when this node is its primary, serves it, and holds the lease of the present epoch: so many backups
//! have confirmed it of late that the others are too few to have replaced it ([`angel_protocol::failover::Lease`]).

mod error;
mod fence;
mod uptime;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use angel_protocol::failover::quorum::contacts_needed;
use angel_protocol::failover::{Hosts, Lease};
use angel_protocol::ids::Did;
use angel_protocol::ledger::rows::{self, Placement as Placed};
use angel_protocol::ledger::{Action, Parameters};
use angel_protocol::time::Timestamp;
use angel_storage::belongings::JOURNALED;
use angel_storage::codec::Cbor;
use angel_storage::ledger::LedgerView;
use angel_storage::replicas::{self, Role};
use angel_storage::{AccountId, Batch, Reader, Writer};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, watch};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::backup::returning::Returning;
use crate::ledger::{Ledger, LedgerError};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

pub use error::{NotWritable, PlacementError};
pub(crate) use fence::{Fence, Leave};
use uptime::Uptime;

/// How long a write may wait while the tenant is handed over.
const FREEZE_MAX: Duration = Duration::from_secs(8);

/// How long a write waits for the backups to confirm this node, and how often it looks.
const CONFIRM_WAIT: Duration = Duration::from_secs(5);
const CONFIRM_LOOK: Duration = Duration::from_millis(10);

/// Rows of the ledger that are looked at in one step when a node starts.
const SCAN: usize = 2_000;

/// The placements that concern this node. Cheap to clone.
#[derive(Clone)]
pub struct Placement(Arc<Shared>);

/// How many tenants this node hosts, in whatever role: told to the network as part of how full it is.
pub(crate) type HostedCount = Arc<AtomicU64>;

struct Shared {
    own: Did,
    uptime: Uptime,
    reader: Reader,
    writer: Writer,
    ledger: Ledger,
    accounts: Accounts,
    ack_limit: Duration,
    silence: Mutex<Parameters>,
    tenants: RwLock<Tenants>,
    changed: watch::Sender<u64>,
    returning: OnceLock<Returning>,
    hosted: HostedCount,
    /// When the copies here were last the same as what their primaries had.
    current: Mutex<BTreeMap<Did, Timestamp>>,
}

#[derive(Default)]
struct Tenants {
    by_did: BTreeMap<Did, Arc<Tenant>>,
    by_account: HashMap<AccountId, Arc<Tenant>>,
}

/// A tenant that this node hosts in whatever role, in one epoch and with one set of hosts.
pub(crate) struct Tenant {
    pub(crate) did: Did,
    pub(crate) placed: Placed,
    pub(crate) account: Option<AccountId>,
    /// Which of the times this is at which this node came to follow it: within one epoch it may leave and come back.
    pub(crate) joined: u64,
    is_primary: bool,
    serves: AtomicBool,
    waits_for_standby: AtomicBool,
    lease: Mutex<Lease>,
    /// How far each standby's copy is complete.
    copies: watch::Sender<BTreeMap<Did, u64>>,
    /// The digest of what each standby holds of the account besides repository and files, as it says.
    of_account: Mutex<BTreeMap<Did, [u8; 32]>>,
    /// Writes hold it to read; who hands over, to write.
    freeze: Arc<tokio::sync::RwLock<()>>,
}

impl Tenant {
    /// Who hosts it.
    pub(crate) fn hosts(&self) -> Hosts {
        Hosts::from(&self.placed)
    }

    pub(crate) const fn is_primary(&self) -> bool {
        self.is_primary
    }

    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Acquire)
    }

    pub(crate) fn waits_for_standby(&self) -> bool {
        self.waits_for_standby.load(Ordering::Relaxed)
    }

    pub(crate) fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `node` was primary before a move that can still be undone.
    pub(crate) fn is_former(&self, node: &Did) -> bool {
        let now = clock::now().as_millis();
        self.placed.previous.as_ref().is_some_and(|before| before.primary == *node && now <= before.until)
    }

    /// Whether `node` keeps a copy of which it may become primary: as a standby, or to be moved back to.
    pub(crate) fn is_followed_by(&self, node: &Did) -> bool {
        self.placed.standbys.contains(node) || (self.is_former(node) && self.placed.primary != *node)
    }

    /// Whether anybody goes by what `node` says of the tenant: a host, a witness, or who was primary before a move. An
    /// account may lie on others.
    pub(crate) fn concerns(&self, node: &Did) -> bool {
        let is_named = self.placed.hosts().any(|host| host == node) || self.placed.witness.as_ref() == Some(node);
        is_named || self.is_former(node)
    }

    /// How far the standbys' copies are complete, as they say.
    pub(crate) fn copies(&self) -> BTreeMap<Did, u64> {
        self.copies.borrow().clone()
    }

    /// The same of every standby, for the operator: 0 of one that has not said anything since this node started.
    pub(crate) fn copies_told(&self) -> BTreeMap<Did, u64> {
        let mut copies: BTreeMap<_, _> = self.placed.standbys.iter().map(|standby| (standby.clone(), 0)).collect();
        copies.extend(self.copies());
        copies
    }

    /// The standbys that have a whole copy, if perhaps an older one. One that is still being made is complete up to no event.
    pub(crate) fn whole_copies(&self) -> BTreeSet<Did> {
        self.copies.borrow().iter().filter(|(_, complete)| **complete > 0).map(|(standby, _)| standby.clone()).collect()
    }

    /// A standby says how far its copy is complete.
    pub(crate) fn copied(&self, standby: &Did, complete: u64) {
        if !self.is_followed_by(standby) {
            return;
        }
        self.copies.send_if_modified(|copies| {
            let known = copies.entry(standby.clone()).or_default();
            let rises = complete > *known;
            *known = (*known).max(complete);
            rises
        });
    }

    /// A standby says what it holds of the account besides repository and files.
    pub(crate) fn holds_of_account(&self, standby: &Did, digest: [u8; 32]) {
        if self.is_followed_by(standby) {
            self.of_account.lock().unwrap_or_else(PoisonError::into_inner).insert(standby.clone(), digest);
        }
    }

    /// What the standbys hold of the account besides repository and files, as they say.
    pub(crate) fn held_of_account(&self) -> BTreeMap<Did, [u8; 32]> {
        self.of_account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Up to which event so many standbys have everything that every failover would find it.
    pub(crate) fn safe(&self) -> u64 {
        safe_up_to(&self.copies.borrow(), copies_needed(&self.placed))
    }

    /// Stops writes and waits for those under way.
    pub(crate) async fn freeze(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.freeze).write_owned().await
    }

    /// Waits until one standby's copy is complete up to `sequence`.
    pub(crate) async fn until_copied(&self, standby: &Did, sequence: u64, limit: Duration) -> bool {
        let mut copies = self.copies.subscribe();
        let done = copies.wait_for(|copies| copies.get(standby).is_some_and(|at| *at >= sequence));
        matches!(tokio::time::timeout(limit, done).await, Ok(Ok(_)))
    }
}

/// Standbys that have to hold a write before every failover is sure to find it. Vaults have a say in a failover and no copy
/// that counts: what all standbys have, whichever of them takes over has.
fn copies_needed(placed: &Placed) -> usize {
    contacts_needed(placed.hosts().count()).min(placed.standbys.len().max(1))
}

fn safe_up_to(copies: &BTreeMap<Did, u64>, needed: usize) -> u64 {
    if needed == 0 {
        return u64::MAX;
    }
    let mut complete: Vec<_> = copies.values().copied().collect();
    complete.sort_unstable_by(|a, b| b.cmp(a));
    complete.get(needed - 1).copied().unwrap_or(0)
}

/// Leave to write, for as long as it is held.
pub(crate) struct WriteGuard {
    tenant: Option<Arc<Tenant>>,
    limit: Duration,
    uptime: Uptime,
    _under_way: Option<OwnedRwLockReadGuard<()>>,
}

impl WriteGuard {
    /// Whether the tenant asks that a standby has what is written.
    pub(crate) fn is_waiting(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| tenant.waits_for_standby())
    }

    /// Waits until the event `sequence` is safe, if the tenant asks for that. Otherwise this node must still be primary
    /// for sure: a machine may stand still between leave and flush, and others write meanwhile.
    pub(crate) async fn replicated(self, sequence: Option<u64>) -> Result<(), NotWritable> {
        let (Some(tenant), Some(sequence)) = (&self.tenant, sequence) else { return Ok(()) };
        if !tenant.waits_for_standby() {
            let holds = tenant.lease().holds(self.uptime.now());
            return holds.then_some(()).ok_or(NotWritable::ReplicationUnavailable);
        }
        let needed = copies_needed(&tenant.placed);
        let mut copies = tenant.copies.subscribe();
        let safe = copies.wait_for(|copies| safe_up_to(copies, needed) >= sequence);
        match tokio::time::timeout(self.limit, safe).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotWritable::ReplicationUnavailable),
        }
    }
}

impl Placement {
    /// Nothing is known yet: [`Self::load_blocking`] comes next.
    pub(crate) fn new(
        (reader, writer): (Reader, Writer),
        ledger: Ledger,
        accounts: Accounts,
        ack_limit: Duration,
        hosted: HostedCount,
    ) -> Self {
        let own = ledger.own().clone();
        let silence = Mutex::new(Parameters::new(own.clone()));
        let (changed, _) = watch::channel(0);
        let (uptime, tenants, returning) = (Uptime::start(), RwLock::default(), OnceLock::new());
        Self(Arc::new(Shared {
            own,
            uptime,
            reader,
            writer,
            ledger,
            accounts,
            ack_limit,
            silence,
            tenants,
            changed,
            returning,
            hosted,
            current: Mutex::default(),
        }))
    }

    /// Lets no write in before a node that was restored has caught up.
    pub(crate) fn wait_for(&self, returning: Returning) {
        // Said once, at the start.
        drop(self.0.returning.set(returning));
    }

    /// Whether this node was put back from a backup and has not caught up yet.
    pub(crate) fn is_returning(&self) -> bool {
        self.0.returning.get().is_some_and(|returning| !returning.has_caught_up())
    }

    /// This node.
    pub(crate) fn own(&self) -> &Did {
        &self.0.own
    }

    pub(crate) fn uptime(&self) -> Uptime {
        self.0.uptime
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The numbers that the network agreed on.
    pub(crate) fn parameters(&self) -> Parameters {
        self.0.silence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells when a placement has changed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Wakes whoever follows placements: something that depends on them has changed.
    pub(crate) fn touch(&self) {
        self.0.changed.send_modify(|version| *version += 1);
    }

    /// Every tenant of which this node is a host.
    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).by_did.values().cloned().collect()
    }

    pub(crate) fn tenant(&self, did: &Did) -> Option<Arc<Tenant>> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).by_did.get(did).cloned()
    }

    fn of_account(&self, account: AccountId) -> Option<Arc<Tenant>> {
        self.0.tenants.read().unwrap_or_else(PoisonError::into_inner).by_account.get(&account).cloned()
    }

    /// The copy here was the same as what its primary had, at that moment of this node's clock.
    pub(crate) fn note_current(&self, did: &Did, at: Timestamp) {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).insert(did.clone(), at);
    }

    /// When the copy here was last seen to be the same as what its primary had, since this node started.
    pub(crate) fn current_at(&self, did: &Did) -> Option<Timestamp> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).get(did).copied()
    }

    /// Whether the account is placed on the network, with this node as one of its hosts.
    pub(crate) fn is_placed(&self, account: AccountId) -> bool {
        self.of_account(account).is_some()
    }

    /// Whether this node only holds a copy of the account.
    pub(crate) fn is_copy(&self, account: AccountId) -> bool {
        self.of_account(account).is_some_and(|tenant| !tenant.is_primary())
    }

    /// Whether what is private to an account is told here: a copy's is sealed or older until it is taken over.
    ///
    /// # Errors
    /// Another node serves the account, or this one does not yet.
    pub(crate) fn serves(&self, account: AccountId) -> Result<(), NotWritable> {
        match self.of_account(account) {
            Some(tenant) if !tenant.is_primary() => {
                Err(NotWritable::NotPrimary { primary: tenant.placed.primary.clone() })
            }
            Some(tenant) if !tenant.serves() => Err(NotWritable::TakingOver),
            _ => Ok(()),
        }
    }

    /// Whether an account takes writes at this moment: who would only try again later need not wait for it.
    ///
    /// # Errors
    /// What [`Self::may_write`] would wait for, or refuse with.
    pub(crate) fn may_write_now(&self, account: AccountId) -> Result<(), NotWritable> {
        if self.is_returning() {
            return Err(NotWritable::CatchingUp);
        }
        self.serves(account)?;
        let Some(tenant) = self.of_account(account) else { return Ok(()) };
        if tenant.freeze.try_read().is_err() {
            return Err(NotWritable::HandingOver);
        }
        let is_confirmed = tenant.lease().holds(self.0.uptime.now());
        if is_confirmed { Ok(()) } else { Err(NotWritable::Unconfirmed) }
    }

    /// Leave to write into an account. Waits while the tenant is handed over.
    pub(crate) async fn may_write(&self, account: AccountId) -> Result<WriteGuard, NotWritable> {
        let (limit, uptime) = (self.0.ack_limit, self.0.uptime);
        // Who was off hears in a moment whether others have become primary, or that nobody is there.
        while self.0.returning.get().is_some_and(Returning::listens) {
            tokio::time::sleep(CONFIRM_LOOK).await;
        }
        if self.is_returning() {
            return Err(NotWritable::CatchingUp);
        }
        let Some(tenant) = self.of_account(account) else {
            return Ok(WriteGuard { tenant: None, limit, uptime, _under_way: None });
        };
        let waiting = tokio::time::timeout(FREEZE_MAX, Arc::clone(&tenant.freeze).read_owned());
        let under_way = waiting.await.map_err(|_| NotWritable::HandingOver)?;
        // It may have been handed over meanwhile.
        let tenant = self.of_account(account).unwrap_or(tenant);
        if !tenant.is_primary() {
            return Err(NotWritable::NotPrimary { primary: tenant.placed.primary.clone() });
        }
        if !tenant.serves() {
            return Err(NotWritable::TakingOver);
        }
        let asked = uptime.now();
        while !tenant.lease().holds(uptime.now()) {
            // With new backups, or after a switch, the first confirmation is on its way.
            if uptime.now().since(asked) >= CONFIRM_WAIT {
                return Err(NotWritable::Unconfirmed);
            }
            tokio::time::sleep(CONFIRM_LOOK).await;
        }
        Ok(WriteGuard { tenant: Some(tenant), limit, uptime, _under_way: Some(under_way) })
    }

    /// Reads all placements that concern this node. Blocks.
    pub(crate) fn load_blocking(&self) -> Result<(), PlacementError> {
        self.read_parameters()?;
        let mut after = None;
        loop {
            let (page, next) = replicas::placements(&self.0.reader, after.as_ref(), SCAN)?;
            for (did, placed) in page {
                self.set(&did, Some(placed))?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Reads one placement anew. Blocks.
    pub(crate) fn refresh_blocking(&self, did: &Did) -> Result<(), PlacementError> {
        let placed = rows::placement(&LedgerView(&self.0.reader), did).map_err(LedgerError::from)?;
        self.set(did, placed)
    }

    fn read_parameters(&self) -> Result<(), PlacementError> {
        if let Some(parameters) = rows::parameters(&LedgerView(&self.0.reader)).map_err(LedgerError::from)? {
            *self.0.silence.lock().unwrap_or_else(PoisonError::into_inner) = parameters;
        }
        Ok(())
    }

    fn set(&self, did: &Did, placed: Option<Placed>) -> Result<(), PlacementError> {
        let before = self.tenant(did);
        let concerns = |placed: &Placed| {
            placed.hosts().any(|host| *host == self.0.own) || placed.witness.as_ref() == Some(&self.0.own)
        };
        let account = self.0.accounts.by_did_blocking(did)?.map(|account| account.id());
        // What lies here and is hosted by others is no account of this node's own: nothing may be written to it.
        let hosted = placed.filter(|placed| account.is_some() || concerns(placed));
        let Some(placed) = hosted else {
            if let Some(before) = before {
                self.journal(before.account, did, false)?;
                let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
                let gone = tenants.by_did.remove(did);
                self.0.current.lock().unwrap_or_else(PoisonError::into_inner).remove(did);
                self.count(gone.as_deref(), None);
                before.account.map(|account| tenants.by_account.remove(&account));
                drop(tenants);
                self.0.changed.send_modify(|version| *version += 1);
            }
            return Ok(());
        };
        let row = self.0.reader.get(&replicas::REPLICAS, did)?;
        let is_primary = placed.primary == self.0.own;
        // An account that was here before it was placed has no row.
        let serves = is_primary && account.is_some() && row.is_none_or(|row| row.role == Role::Primary);
        let settings = replicas::settings(&self.0.reader, did)?;
        // Before anybody can write, so that no change goes untold. Who was primary before a move follows like a standby.
        let is_followed = !placed.standbys.is_empty() || placed.previous.is_some();
        self.journal(account, did, serves && is_followed)?;
        if let Some(before) = before.filter(|before| before.placed == placed && before.account == account) {
            before.serves.store(serves, Ordering::Release);
            before.waits_for_standby.store(settings.waits_for_standby, Ordering::Relaxed);
            return Ok(());
        }
        let silence = Duration::from_millis(self.parameters().silence);
        let same_epoch = self.tenant(did).filter(|before| before.placed.epoch == placed.epoch);
        let mut lease = Lease::new(placed.hosts().count(), silence);
        let mut copies = same_epoch.as_ref().map(|before| before.copies()).unwrap_or_default();
        // Who left has dropped its copy, and begins anew should it come back.
        let before_move = placed.previous.as_ref().map(|before| &before.primary);
        copies.retain(|standby, _| placed.standbys.contains(standby) || before_move == Some(standby));
        let of_account = same_epoch.as_ref().map(|before| before.held_of_account()).unwrap_or_default();
        if let Some(before) = &same_epoch
            && before.placed.hosts().count() == placed.hosts().count()
        {
            lease = before.lease().clone();
            lease.retain(|backup| placed.standbys.contains(backup) || placed.vaults.contains(backup));
        }
        let followed = same_epoch.as_ref().filter(|before| before.is_followed_by(&self.0.own));
        let joined = followed.map_or_else(|| *self.0.changed.borrow(), |before| before.joined);
        let freeze = same_epoch.map_or_else(Arc::default, |before| Arc::clone(&before.freeze));
        let tenant = Arc::new(Tenant {
            did: did.clone(),
            account,
            joined,
            is_primary,
            serves: serves.into(),
            waits_for_standby: settings.waits_for_standby.into(),
            lease: Mutex::new(lease),
            copies: watch::Sender::new(copies),
            of_account: Mutex::new(of_account),
            freeze,
            placed,
        });
        tracing::info!(tenant = %did, epoch = tenant.placed.epoch, primary = %tenant.placed.primary, "placed");
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = account {
            tenants.by_account.insert(account, Arc::clone(&tenant));
        }
        let before = tenants.by_did.insert(did.clone(), Arc::clone(&tenant));
        self.count(before.as_deref(), Some(&tenant));
        drop(tenants);
        self.0.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Counts a tenant whose hosts have changed, under the lock that guards them.
    fn count(&self, before: Option<&Tenant>, after: Option<&Tenant>) {
        let is_host = |tenant: Option<&Tenant>| {
            tenant.is_some_and(|tenant| tenant.placed.hosts().any(|host| *host == self.0.own))
        };
        match (is_host(before), is_host(after)) {
            (false, true) => drop(self.0.hosted.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.0.hosted.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Whether the event log tells of changes of the account's private rows. Blocks until that is so.
    fn journal(&self, account: Option<AccountId>, did: &Did, is_told: bool) -> Result<(), PlacementError> {
        let Some(account) = account else { return Ok(()) };
        if self.0.reader.contains(&JOURNALED, &account)? == is_told {
            return Ok(());
        }
        let mut batch = Batch::new();
        if is_told {
            batch.put(&JOURNALED, &account, &Cbor(did.clone()))?;
        } else {
            batch.delete(&JOURNALED, &account)?;
        }
        self.0.writer.commit(batch)?;
        Ok(())
    }

    /// Follows the ledger until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let mut tip = self.0.ledger.watch();
        let mut height = tip.borrow_and_update().height;
        let this = self.clone();
        blocking::run(move || this.load_blocking()).await?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = tip.changed() => changed.map_err(|_| "the ledger ended")?,
            }
            let newest = tip.borrow_and_update().height;
            let (this, from) = (self.clone(), height + 1);
            blocking::run(move || this.follow_blocking(from, newest)).await?;
            height = newest;
        }
    }

    fn follow_blocking(&self, from: u64, to: u64) -> Result<(), PlacementError> {
        let mut moved = BTreeSet::new();
        let mut numbers = false;
        for height in from..=to {
            let Some(batch) = self.0.ledger.shared.batch(height)? else { continue };
            for signed in &batch.transactions {
                match &signed.transaction().action {
                    Action::PlaceTenant(_) => drop(moved.insert(signed.transaction().wallet.clone())),
                    Action::ChangeHosts(it) => drop(moved.insert(it.tenant.clone())),
                    Action::Migrate(it) => drop(moved.insert(it.tenant.clone())),
                    Action::RollBack(it) => drop(moved.insert(it.tenant.clone())),
                    Action::Failover(it) => drop(moved.insert(it.tenant.clone())),
                    Action::Claim(it) => drop(moved.insert(it.tenant.clone())),
                    Action::Change(_) => numbers = true,
                    _ => {}
                }
            }
        }
        if numbers {
            self.read_parameters()?;
        }
        moved.iter().try_for_each(|did| self.refresh_blocking(did))
    }
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Placement")
    }
}

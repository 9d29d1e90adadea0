//! What becomes of a business's records by the time alone (CNT-01, FRM-04): a post that waited goes from the workspace into
//! the public repository, answers that were kept long enough go away. What falls due when,
//! [`angel_protocol::business::due`] says.
//!
//! The agenda lies in memory. It is drawn up when the node starts, every ten minutes, and when businesses come, go or change;
//! what is written through the methods is noted at once. Before anything is done the record is looked at again.

use std::sync::{Mutex, PoisonError};

use angel_protocol::business::due::{self, Agenda, Step};
use angel_protocol::data::{Value, cbor};
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::lexicon::Schemas;
use angel_protocol::rules::{By, Place};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Business, BusinessError, Entry, PAGE, entry, nsid};
use crate::accounts::Account;
use crate::permissioned::PermissionedWrite;
use crate::repos::{Action, NewRecord, Owner, RepoWrite, Swap};
use crate::tasks::TaskResult;
use crate::tenants::{Tenant, workspace};
use crate::{blocking, clock};

/// Records that were written and are still to be looked at. More are found when the agenda is drawn up anew.
const INBOX_MAX: usize = 1024;

/// Tenants that are listed at once.
const TENANTS: usize = 100;

/// Milliseconds of a day.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// A record that may fall due: whose, and where.
type Hint = (Did, RepoPath);

/// What was written and is to be looked at.
pub(super) struct Hints {
    told: mpsc::Sender<Hint>,
    waiting: Mutex<Option<mpsc::Receiver<Hint>>>,
}

impl Hints {
    pub(super) fn new() -> Self {
        let (told, waiting) = mpsc::channel(INBOX_MAX);
        Self { told, waiting: Mutex::new(Some(waiting)) }
    }

    /// Tells of records of a tenant that were written.
    pub(super) fn tell<'p>(&self, tenant: &Did, written: impl Iterator<Item = &'p RepoPath>) {
        for path in written.filter(|path| due::COLLECTIONS.contains(&path.collection.as_str())) {
            // When there is no room, it is found when the agenda is drawn up anew.
            let _ = self.told.try_send((tenant.clone(), path.clone()));
        }
    }

    fn take(&self) -> Option<mpsc::Receiver<Hint>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Does what falls due until told to stop.
pub(crate) async fn run(business: Business, stop: CancellationToken) -> TaskResult {
    let mut hints = business.0.hints.take().ok_or("what falls due is done by one task")?;
    let mut changes = business.0.tenants.changes();
    let mut scored_on = None;
    loop {
        changes.borrow_and_update();
        // What is old counts less with each day (LEA-01).
        let today = clock::now().as_millis() / DAY_MILLIS;
        if scored_on.replace(today) != Some(today) {
            let scoring = Box::pin(business.score_all());
            if stop.run_until_cancelled(scoring).await.is_none() {
                return Ok(());
            }
        }
        let Some(mut agenda) = stop.run_until_cancelled(business.agenda()).await else { return Ok(()) };
        while !agenda.is_over(clock::now()) {
            for (tenant, path) in agenda.take(clock::now()) {
                if stop.is_cancelled() {
                    return Ok(());
                }
                business.fall_due(&tenant, &path).await;
            }
            let wait = agenda.next().since(clock::now());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    changed.map_err(|_| "the tenants ended")?;
                    agenda.shorten(clock::now());
                }
                hint = hints.recv() => {
                    let (tenant, path) = hint.ok_or("the business ended")?;
                    business.note(&mut agenda, tenant, path).await;
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Business {
    /// What falls due soon. A tenant that cannot be read is left out, and the log says so.
    async fn agenda(&self) -> Agenda<Hint> {
        let mut agenda = Agenda::new(clock::now());
        let mut after = None;
        loop {
            let tenants = self.0.tenants.list(after, TENANTS, |_, _| true, None);
            let Some(last) = tenants.last() else { return agenda };
            after = Some(last.id());
            for tenant in &tenants {
                if let Err(error) = self.note_all(&mut agenda, tenant).await {
                    tracing::warn!(tenant = %tenant.did(), %error, "what falls due for a tenant was not found out");
                }
            }
        }
    }

    async fn note_all(&self, agenda: &mut Agenda<Hint>, tenant: &Tenant) -> Result<(), BusinessError> {
        // A business that is suspended publishes nothing, and forgets as others do.
        let space = workspace(tenant.did());
        for collection in due::COLLECTIONS {
            let (collection, mut at) = (nsid(collection), None);
            loop {
                let page = self.0.permissioned.list(&space, tenant.did(), Some(&collection), at, PAGE, false).await?;
                for listed in page.records {
                    let Some(found) = entry(listed.path, listed.record.cid, &listed.record.bytes) else { continue };
                    if let Some((time, _)) = due::due(collection.as_str(), &found.record) {
                        agenda.note(time, (tenant.did().clone(), found.path));
                    }
                }
                at = page.cursor;
                if at.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Notes a record that was written, if it falls due soon.
    async fn note(&self, agenda: &mut Agenda<Hint>, tenant: Did, path: RepoPath) {
        match self.entry(&tenant, &path).await {
            Ok(Some(found)) => {
                if let Some((time, _)) = due::due(path.collection.as_str(), &found.record) {
                    agenda.note(time, (tenant, path));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%tenant, %path, %error, "when a record falls due was not found out"),
        }
    }

    /// Does what a record waits for, if its time has come. What fails is tried again when the agenda is drawn up anew.
    async fn fall_due(&self, tenant: &Did, path: &RepoPath) {
        let Some(tenant) = self.0.tenants.find(tenant) else { return };
        match self.do_due(&tenant, path).await {
            Ok(()) | Err(BusinessError::Closed(_)) => {}
            Err(error) => {
                tracing::warn!(tenant = %tenant.did(), %path, %error, "what was due was not done; it is tried again in some minutes");
            }
        }
    }

    async fn do_due(&self, tenant: &Tenant, path: &RepoPath) -> Result<(), BusinessError> {
        let Some(found) = self.entry(tenant.did(), path).await? else { return Ok(()) };
        match due::due(path.collection.as_str(), &found.record) {
            Some((at, step)) if at <= clock::now() => match step {
                Step::Publish => self.publish(&self.account(tenant).await?, found).await,
                Step::Forget => self.forget_submission(tenant, path).await,
            },
            _ => Ok(()),
        }
    }

    /// Puts a post into the public repository, in the place of an earlier version of it if there is one, and takes it out of
    /// the workspace. After a crash between the two it is done again, and the first changes nothing then.
    async fn publish(&self, account: &Account, waiting: Entry) -> Result<(), BusinessError> {
        let Entry { path, cid, record } = waiting;
        let (repos, id, at) = (self.0.repos.clone(), account.id(), path.to_string());
        let before = blocking::run(move || repos.record_blocking(id, &at)).await?;
        let before = before.and_then(|before| cbor::decode(&before.bytes).ok());
        let (how, record) = ((Place::Public, By::Node), Value::Map(due::published(record)));
        let judging = self.0.rulebook.judge(account, account.did(), how, &path.collection, record, before.as_ref());
        let record = judging.await??;
        Schemas::builtin()
            .record(path.collection.as_str())
            .expect("collections of ours have lexicons")
            .validate(&record)?;
        let key = self.0.accounts.signing_key(account.id()).await?;
        let owner = Owner { id: account.id(), did: account.did().clone(), key };
        let write = RepoWrite { path: path.clone(), action: Action::Put(NewRecord::new(&record)), swap: None };
        self.0.repos.write(&owner, vec![write], None).await?;
        let gone = PermissionedWrite { path: path.clone(), action: Action::Delete, swap: Some(Swap::Record(cid)) };
        self.0.permissioned.write(account, &workspace(account.did()), vec![gone]).await?;
        tracing::info!(tenant = %account.did(), %path, "a post was published at its time");
        Ok(())
    }
}

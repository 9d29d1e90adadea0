//! Records of the workspace with the figures that are computed when somebody asks (`records.md` 1.2): rates of campaigns
//! (CMP-01 to CMP-04), how far projects are (PRJ-01), what was worked on tasks (TSK-01), how often forms were seen and filled in (FRM-03). What they are computed from is
//! counted here; the formulas are in `angel_protocol::rules::figures`.
//!
//! Nothing of it is stored. What was counted is remembered for as long as the workspace stands where it stood, so that a
//! record that is looked at again costs one look at the head.

use std::collections::{BTreeMap, HashSet};

use angel_protocol::business::campaign::METRICS;
use angel_protocol::business::{CAMPAIGN, FORM_SETTINGS, FORM_SUBMISSION, PROJECT, TASK, TIME_ENTRY};
use angel_protocol::data::{Map, Value, cbor};
use angel_protocol::forms::FORM;
use angel_protocol::ids::{Did, RepoPath, Tid};
use angel_protocol::rules::figures::{Counts, figures};
use angel_protocol::time::Timestamp;
use quick_cache::sync::Cache;

use super::{Business, BusinessError, Entry, PAGE, entry, nsid};
use crate::tenants::{Actor, Tenant, TenantError, workspace};
use crate::{blocking, clock};

/// Records of one collection that are looked at to count. Of more, nothing is counted: half a sum is a wrong one.
const COUNTED_MAX: usize = 50_000;

/// Submissions whose time goes into the average (FRM-03).
const TIMED_MAX: u64 = 100;

/// Records whose counts are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What was counted, by the record or the person that it is of, and where the workspace stood then.
pub(super) struct Remembered(Cache<(Did, String), (Tid, Counts)>);

impl Default for Remembered {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }
}

impl Remembered {
    /// What was counted for a record or a person, if the workspace still stands there.
    pub(super) fn at(&self, tenant: &Did, of: &str, rev: Tid) -> Option<Counts> {
        let (counted_at, counts) = self.0.get(&(tenant.clone(), of.to_owned()))?;
        (counted_at == rev).then_some(counts)
    }

    /// Notes it. What is written while it is counted is counted with the next look.
    pub(super) fn note(&self, tenant: &Did, of: &str, rev: Tid, counts: Counts) {
        self.0.insert((tenant.clone(), of.to_owned()), (rev, counts));
    }
}

/// A record with its figures.
#[derive(Debug)]
pub(crate) struct Figured {
    /// The record.
    pub(crate) entry: Entry,
    /// When it was written here.
    pub(crate) at: Timestamp,
    /// Objects of figures, by their names.
    pub(crate) figures: Map,
}

impl Business {
    /// A record of the workspace with its figures.
    ///
    /// # Errors
    /// [`BusinessError::RecordNotFound`], or the store cannot be read.
    pub(crate) async fn figured(&self, tenant: &Tenant, path: &RepoPath) -> Result<Figured, BusinessError> {
        let space = workspace(tenant.did());
        let found = self.0.permissioned.read(&space, tenant.did(), path).await?;
        let found = found.ok_or(BusinessError::RecordNotFound)?;
        let entry = entry(path.clone(), found.cid, &found.bytes).ok_or(BusinessError::RecordNotFound)?;
        let mut counts = self.counts(tenant.did(), path).await?;
        if path.collection.as_str() == FORM_SETTINGS {
            let seen = self.form_views(tenant, path.rkey.as_str()).await?;
            (counts.views, counts.views_answered) = (Some(seen.views), Some(seen.answers));
        }
        let figures = figures(path.collection.as_str(), &Value::Map(entry.record.clone()), &counts);
        Ok(Figured { entry, at: found.rev.timestamp(), figures })
    }

    /// Enters by hand how a campaign goes, and notes that somebody did (`records.md` 7.9).
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn enter_metrics(
        &self,
        tenant: &Tenant,
        by: &Actor,
        did: &Did,
        path: &RepoPath,
        metrics: &BTreeMap<String, i64>,
    ) -> Result<Figured, BusinessError> {
        if let Some(name) = metrics.keys().find(|name| !METRICS.contains(&name.as_str())) {
            return Err(BusinessError::Malformed(format!("metrics/{name}: this is none of {}", METRICS.join(", "))));
        }
        let account = self.account(tenant).await?;
        let turn = self.turn(tenant).await;
        let before = self.entry(tenant.did(), path).await?.ok_or(BusinessError::RecordNotFound)?;
        let mut record = before.record.clone();
        let entered = record.entry("metrics".to_owned()).or_insert_with(|| Value::Map(Map::new()));
        if let Value::Map(entered) = entered {
            entered.extend(metrics.iter().map(|(name, figure)| (name.clone(), Value::Integer(*figure))));
        }
        let record = self.judged(&account, did, CAMPAIGN, record, Some(&before.record)).await?;
        self.write(&account, vec![(path.clone(), record, Some(before.cid))]).await?;
        drop(turn);
        let (tenants, at, by) = (self.0.tenants.clone(), tenant.did().clone(), by.clone());
        let action = format!("enter figures of {path}");
        let noting = blocking::run(move || tenants.note_blocking(&at, &by, &action, clock::now()));
        noting.await.map_err(|error: TenantError| BusinessError::Unnoted(Box::new(error)))?;
        self.figured(tenant, path).await
    }

    /// What has to be counted for the figures of a record.
    async fn counts(&self, tenant: &Did, path: &RepoPath) -> Result<Counts, BusinessError> {
        if !matches!(path.collection.as_str(), PROJECT | TASK | FORM_SETTINGS) {
            return Ok(Counts::default());
        }
        let Some(head) = self.0.permissioned.head(&workspace(tenant), tenant).await? else {
            return Ok(Counts::default());
        };
        let of = path.to_string();
        if let Some(counts) = self.0.counted.at(tenant, &of, head.rev) {
            return Ok(counts);
        }
        let uri = format!("at://{tenant}/{path}");
        let counts = match path.collection.as_str() {
            PROJECT => self.of_project(tenant, &uri).await?,
            // The two halves of a form have one key.
            FORM_SETTINGS => self.of_form(tenant, &format!("at://{tenant}/{FORM}/{}", path.rkey)).await?,
            _ => Counts { minutes: self.minutes(tenant, &HashSet::from([uri])).await?, ..Counts::default() },
        };
        self.0.counted.note(tenant, &of, head.rev, counts);
        Ok(counts)
    }

    async fn of_project(&self, tenant: &Did, project: &str) -> Result<Counts, BusinessError> {
        let (mut tasks, mut done) = (HashSet::new(), 0_u64);
        let whole = self.each(tenant, TASK, |path, task| {
            if task.get("project").and_then(Value::as_str) == Some(project) {
                done += u64::from(task.get("status").and_then(Value::as_str) == Some("done"));
                tasks.insert(format!("at://{tenant}/{path}"));
            }
        });
        if !whole.await? {
            return Ok(Counts::default());
        }
        let minutes = if tasks.is_empty() { Some(0) } else { self.minutes(tenant, &tasks).await? };
        Ok(Counts { tasks: Some(tasks.len() as u64), tasks_done: Some(done), minutes, ..Counts::default() })
    }

    async fn of_form(&self, tenant: &Did, form: &str) -> Result<Counts, BusinessError> {
        let (mut submissions, mut seconds) = (0_u64, vec![]);
        // The newest come first.
        let whole = self.each(tenant, FORM_SUBMISSION, |_, submission| {
            if submission.get("form").and_then(|form| form.get("uri")).and_then(Value::as_str) != Some(form) {
                return;
            }
            submissions += 1;
            let took = submission.get("completionSeconds").and_then(Value::as_integer);
            if let (Some(took), true) = (took.and_then(|took| u64::try_from(took).ok()), submissions <= TIMED_MAX) {
                seconds.push(took);
            }
        });
        if !whole.await? {
            return Ok(Counts::default());
        }
        let sum = seconds.iter().fold(0_u64, |sum, took| sum.saturating_add(*took));
        let completion_seconds = sum.checked_div(seconds.len() as u64);
        Ok(Counts { submissions: Some(submissions), completion_seconds, ..Counts::default() })
    }

    /// Minutes that were entered for these tasks.
    async fn minutes(&self, tenant: &Did, tasks: &HashSet<String>) -> Result<Option<u64>, BusinessError> {
        let mut minutes = 0_u64;
        let whole = self.each(tenant, TIME_ENTRY, |_, entry| {
            if entry.get("task").and_then(Value::as_str).is_some_and(|task| tasks.contains(task)) {
                let entered = entry.get("minutes").and_then(Value::as_integer).unwrap_or(0);
                minutes = minutes.saturating_add(u64::try_from(entered).unwrap_or(0));
            }
        });
        Ok(whole.await?.then_some(minutes))
    }

    /// Calls `seen` with each record of a collection; `false` when there are more than are looked at.
    pub(super) async fn each(
        &self,
        tenant: &Did,
        collection: &str,
        mut seen: impl FnMut(&RepoPath, &Value),
    ) -> Result<bool, BusinessError> {
        let (space, nsid) = (workspace(tenant), nsid(collection));
        let (mut at, mut looked_at) = (None, 0);
        loop {
            let page = self.0.permissioned.list(&space, tenant, Some(&nsid), at, PAGE, false).await?;
            looked_at += page.records.len();
            for listed in page.records {
                if let Ok(record) = cbor::decode(&listed.record.bytes) {
                    seen(&listed.path, &record);
                }
            }
            at = page.cursor;
            match &at {
                None => return Ok(true),
                Some(_) if looked_at >= COUNTED_MAX => return Ok(false),
                Some(_) => {}
            }
        }
    }
}

//! Scores of leads that follow from what was noted about them, in whichever way that was written, and from how long ago it
//! is (LEA-01, LEA-02). The methods that note something score by themselves; plain writes are followed here, and once a day
//! everything is scored anew, for what is old counts less.

use std::collections::BTreeMap;

use angel_protocol::business::{ACTIVITY, LEAD, lead};
use angel_protocol::data::{Map, Value};
use angel_protocol::ids::{Datetime, RepoPath};
use angel_protocol::time::Timestamp;

use super::leads::activity_of;
use super::{Business, BusinessError, Entry, LOOKED_AT_MAX, address};
use crate::clock;
use crate::tenants::Tenant;

/// Activities, and leads, that are looked at in one go, the newest first.
const RECORDS_MAX: usize = 50_000;

/// Tenants that are listed at once.
const TENANTS: usize = 100;

impl Business {
    /// Scores the lead anew that an activity is about which was just written. What fails is done with the next one, or
    /// within a day.
    pub(super) async fn score_after(&self, tenant: &Tenant, activity: &RepoPath) {
        if let Err(error) = self.score_subject(tenant, activity).await {
            tracing::warn!(tenant = %tenant.did(), %activity, %error, "a lead was not scored anew");
        }
    }

    async fn score_subject(&self, tenant: &Tenant, activity: &RepoPath) -> Result<(), BusinessError> {
        let Some(noted) = self.entry(tenant.did(), activity).await? else { return Ok(()) };
        let Some(subject) = subject_of(&noted.record) else { return Ok(()) };
        let Some((did, path)) = address(subject, LEAD).filter(|(did, _)| did == tenant.did()) else { return Ok(()) };
        let of_lead = |record: &Map| subject_of(record) == Some(subject);
        let points = self.points(tenant, of_lead).await?.remove(&format!("at://{did}/{path}")).unwrap_or(0);
        self.set_behavior(tenant, &path, points, made_at(&noted.record)).await
    }

    /// Scores the leads of all businesses anew.
    pub(super) async fn score_all(&self) {
        let mut after = None;
        loop {
            let tenants = self.0.tenants.list(after, TENANTS, |_, _| true, None);
            let Some(last) = tenants.last() else { return };
            after = Some(last.id());
            for tenant in &tenants {
                match self.score_tenant(tenant).await {
                    Ok(()) | Err(BusinessError::Closed(_)) => {}
                    Err(error) => tracing::warn!(tenant = %tenant.did(), %error, "leads were not scored anew"),
                }
            }
        }
    }

    async fn score_tenant(&self, tenant: &Tenant) -> Result<(), BusinessError> {
        let mut stale = vec![];
        let mut points = None;
        self.each_entry(tenant, LEAD, |_| true, |entry| stale.push((entry.path.clone(), behavior_of(&entry.record))))
            .await?;
        for (path, had) in stale {
            let points = match &points {
                Some(points) => points,
                None => points.insert(self.points(tenant, |_| true).await?),
            };
            let now = points.get(&format!("at://{}/{path}", tenant.did())).copied().unwrap_or(0);
            if now != had {
                self.set_behavior(tenant, &path, now, None).await?;
            }
        }
        Ok(())
    }

    /// Points for what happened, by the lead that it is about, of those activities that `wanted` lets through.
    async fn points(
        &self,
        tenant: &Tenant,
        wanted: impl Fn(&Map) -> bool,
    ) -> Result<BTreeMap<String, i64>, BusinessError> {
        let (mut points, now) = (BTreeMap::new(), clock::now());
        let count = |entry: &Entry| {
            if let Some(subject) = subject_of(&entry.record) {
                let sum: &mut i64 = points.entry(subject.to_owned()).or_default();
                *sum = lead::sum(*sum, lead::behavior([activity_of(&entry.record, now)]));
            }
        };
        self.each_entry(tenant, ACTIVITY, wanted, count).await?;
        Ok(points)
    }

    async fn each_entry(
        &self,
        tenant: &Tenant,
        collection: &str,
        wanted: impl Fn(&Map) -> bool,
        mut look: impl FnMut(&Entry),
    ) -> Result<(), BusinessError> {
        let (mut cursor, mut looked_at) = (None, 0);
        loop {
            let page = self.entries(tenant.did(), collection, cursor, LOOKED_AT_MAX, &wanted).await?;
            page.entries.iter().for_each(&mut look);
            looked_at += LOOKED_AT_MAX;
            cursor = page.cursor.and_then(|cursor| cursor.parse().ok());
            if cursor.is_none() || looked_at >= RECORDS_MAX {
                return Ok(());
            }
        }
    }

    /// Writes what a lead has got for what happened, and when something happened last, if it says otherwise.
    async fn set_behavior(
        &self,
        tenant: &Tenant,
        path: &RepoPath,
        points: i64,
        noted_at: Option<Timestamp>,
    ) -> Result<(), BusinessError> {
        let account = self.account(tenant).await?;
        let _turn = self.turn(tenant).await;
        let Some(before) = self.entry(tenant.did(), path).await? else { return Ok(()) };
        let last = before.record.get("lastActivityAt").and_then(Value::as_str);
        let last = last.and_then(|at| at.parse::<Datetime>().ok()?.timestamp());
        let newer = noted_at.filter(|at| last.is_none_or(|last| last < *at));
        if behavior_of(&before.record) == points && newer.is_none() {
            return Ok(());
        }
        let mut record = before.record.clone();
        if let Some(at) = newer {
            record.insert("lastActivityAt".to_owned(), Value::String(at.to_string()));
        }
        let scoring = record.entry("scoring".to_owned()).or_insert_with(|| Value::Map(Map::new()));
        if let Value::Map(scoring) = scoring {
            scoring.insert("behaviorScore".to_owned(), Value::Integer(points));
        }
        let record = self.judged(&account, tenant.did(), LEAD, record, Some(&before.record)).await?;
        self.write(&account, vec![(path.clone(), record, Some(before.cid))]).await?;
        Ok(())
    }
}

fn subject_of(activity: &Map) -> Option<&str> {
    activity.get("subjectRecord")?.as_str()
}

/// When something was noted, by whoever noted it; nothing is noted ahead of its time.
fn made_at(activity: &Map) -> Option<Timestamp> {
    let at = activity.get("createdAt")?.as_str()?.parse::<Datetime>().ok()?.timestamp()?;
    Some(at.min(clock::now()))
}

fn behavior_of(lead: &Map) -> i64 {
    let behavior = lead.get("scoring").and_then(|scoring| scoring.get("behaviorScore"));
    behavior.and_then(Value::as_integer).unwrap_or(0)
}

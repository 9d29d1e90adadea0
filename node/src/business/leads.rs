//! Leads, and what happens with them (LEA-01 to LEA-07).

use angel_protocol::business::lead::{self, Activity};
use angel_protocol::business::{ACTIVITY, LEAD};
use angel_protocol::data::{Map, Value, record_from_json};
use angel_protocol::ids::{Datetime, Did, RecordKey, RepoPath};
use angel_protocol::tenants::Feature;
use angel_protocol::time::Timestamp;
use serde_json::Value as Json;

use super::{Business, BusinessError, Change, Entries, Entry, nsid, text};
use crate::accounts::Account;
use crate::clock;
use crate::spaces::announce::Announcement;
use crate::tenants::Tenant;

/// Leads among which one with the same address is looked for, the newest first.
const LEADS_LOOKED_AT_MAX: usize = 20_000;

/// Activities that count towards a score: the newest of the tenant are looked at.
const ACTIVITIES_MAX: usize = 1000;

/// Which leads are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeadFilter {
    /// Those that stand here.
    pub(crate) status: Option<String>,
    /// Those of one colleague.
    pub(crate) assigned_to: Option<Did>,
}

/// Something that happened with a lead.
#[derive(Clone, Debug)]
pub(crate) struct NewActivity {
    /// Of which kind.
    pub(crate) kind: String,
    /// What it was about.
    pub(crate) subject: String,
    /// What came of it.
    pub(crate) outcome: Option<String>,
    /// What is to be done next.
    pub(crate) next_action: Option<String>,
}

impl Business {
    /// Takes a lead in. One with the same e-mail address is brought up to date instead, and that it came again is noted
    /// (LEA-06). Answers whether it is new.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn take_lead(
        &self,
        tenant: &Tenant,
        by: &Did,
        record: &Json,
    ) -> Result<(Entry, bool), BusinessError> {
        let account = self.account(tenant).await?;
        self.0.tenants.check_feature(tenant.did(), Feature::Crm)?;
        let record = record_from_json(record).map_err(|error| BusinessError::Malformed(format!("record: {error}")))?;
        let Value::Map(mut record) = record else {
            return Err(BusinessError::Malformed("record: a lead is an object".to_owned()));
        };
        if let Some(field) = claimed(&record) {
            return Err(BusinessError::Malformed(format!("/{field}: the node writes this field itself")));
        }
        record.insert("tenant".to_owned(), text(tenant.did().as_str()));
        record.entry("createdAt".to_owned()).or_insert_with(|| text(clock::now().to_string()));
        record.entry("status".to_owned()).or_insert_with(|| text("new"));
        let email = record.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
        let _turn = self.turn(tenant).await;
        let Some(known) = self.lead_of(tenant.did(), &email).await? else {
            let record = self.judged(&account, by, LEAD, record, None).await?;
            let newest = self.entries(tenant.did(), LEAD, None, 1, |_| true).await?.entries.pop();
            let path = RepoPath::new(nsid(LEAD), self.next_key(newest.as_ref())?);
            return Ok((self.write(&account, vec![(path, record, None)]).await?.swap_remove(0), true));
        };
        for kept in ["createdAt", "status"] {
            if let Some(had) = known.record.get(kept) {
                record.insert(kept.to_owned(), had.clone());
            }
        }
        let mut updated = known.record.clone();
        updated.extend(record);
        let again =
            NewActivity { kind: "note".to_owned(), subject: "came again".to_owned(), outcome: None, next_action: None };
        let after = self.with_activity(&account, tenant, by, known, updated, again).await?;
        Ok((after, false))
    }

    /// Notes something that happened with a lead, and scores it anew.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way.
    pub(crate) async fn log_activity(
        &self,
        tenant: &Tenant,
        by: &Did,
        path: &RepoPath,
        activity: NewActivity,
    ) -> Result<Entry, BusinessError> {
        let account = self.account(tenant).await?;
        self.0.tenants.check_feature(tenant.did(), Feature::Crm)?;
        let turn = self.turn(tenant).await;
        let before = self.entry(tenant.did(), path).await?.ok_or(BusinessError::LeadNotFound)?;
        let (was, record) = (score(&before.record), before.record.clone());
        let after = self.with_activity(&account, tenant, by, before, record, activity).await?;
        drop(turn);
        if score(&after.record) != was {
            let subject = Some(format!("at://{}/{path}", tenant.did()));
            let actor = Some(by.clone());
            let told = Announcement { event: "lead.scored", subject, actor, ..Announcement::of_department("sales") };
            self.0.spaces.announce(tenant.did(), told).await;
        }
        Ok(after)
    }

    /// A lead.
    ///
    /// # Errors
    /// [`BusinessError::LeadNotFound`], or the store cannot be read.
    pub(crate) async fn lead(&self, tenant: &Tenant, path: &RepoPath) -> Result<Entry, BusinessError> {
        self.entry(tenant.did(), path).await?.ok_or(BusinessError::LeadNotFound)
    }

    /// Leads of a tenant, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn leads(
        &self,
        tenant: &Tenant,
        filter: &LeadFilter,
        cursor: Option<RecordKey>,
        limit: usize,
    ) -> Result<Entries, BusinessError> {
        let says = |record: &Map, field: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| record.get(field).and_then(Value::as_str) == Some(wanted))
        };
        let wanted = |record: &Map| {
            says(record, "status", filter.status.as_deref())
                && says(record, "assignedTo", filter.assigned_to.as_ref().map(Did::as_str))
        };
        self.entries(tenant.did(), LEAD, cursor, limit, wanted).await
    }

    /// The lead with an e-mail address.
    pub(super) async fn lead_of(&self, tenant: &Did, email: &str) -> Result<Option<Entry>, BusinessError> {
        let is_it = |record: &Map| {
            let found = record.get("email").and_then(Value::as_str);
            found.is_some_and(|found| lead::is_same_email(found, email))
        };
        let (mut cursor, mut looked_at) = (None, 0);
        loop {
            let mut page = self.entries(tenant, LEAD, cursor, 1, is_it).await?;
            if let Some(found) = page.entries.pop() {
                return Ok(Some(found));
            }
            looked_at += super::LOOKED_AT_MAX;
            cursor = page.cursor.and_then(|cursor| cursor.parse().ok());
            if cursor.is_none() || looked_at >= LEADS_LOOKED_AT_MAX {
                return Ok(None);
            }
        }
    }

    /// Writes an activity and the lead as it is then, in one piece.
    async fn with_activity(
        &self,
        account: &Account,
        tenant: &Tenant,
        by: &Did,
        before: Entry,
        record: Map,
        activity: NewActivity,
    ) -> Result<Entry, BusinessError> {
        let at = (before.path.clone(), Some(before));
        let writes = self.staged_activity(account, tenant, by, at, record, activity).await?;
        Ok(self.write(account, writes).await?.swap_remove(0))
    }

    /// A lead as it is with an activity, and the activity, as they are to be written; the lead comes first. `before` is
    /// where it is, and what is there now.
    pub(super) async fn staged_activity(
        &self,
        account: &Account,
        tenant: &Tenant,
        by: &Did,
        (at, before): (RepoPath, Option<Entry>),
        mut record: Map,
        activity: NewActivity,
    ) -> Result<Vec<Change>, BusinessError> {
        let (now, subject) = (clock::now(), format!("at://{}/{at}", tenant.did()));
        let newest = self.entries(tenant.did(), ACTIVITY, None, 1, |_| true).await?.entries.pop();
        let key = self.next_key(newest.as_ref())?;
        let mut noted = Map::from([
            ("subjectRecord".to_owned(), text(subject.as_str())),
            ("type".to_owned(), text(activity.kind.as_str())),
            ("subject".to_owned(), text(activity.subject)),
            ("createdAt".to_owned(), text(now.to_string())),
        ]);
        for (field, value) in [("outcome", activity.outcome), ("nextAction", activity.next_action)] {
            if let Some(value) = value {
                noted.insert(field.to_owned(), text(value));
            }
        }
        let noted = self.judged(account, by, ACTIVITY, noted, None).await?;
        let of_lead = |record: &Map| record.get("subjectRecord").and_then(Value::as_str) == Some(subject.as_str());
        let done = self.entries(tenant.did(), ACTIVITY, None, ACTIVITIES_MAX, of_lead).await?.entries;
        let done = done.iter().map(|entry| &entry.record).chain([&noted]);
        let points = lead::behavior(done.map(|record| activity_of(record, now)));
        record.insert("lastActivityAt".to_owned(), text(now.to_string()));
        let scoring = record.entry("scoring".to_owned()).or_insert_with(|| Value::Map(Map::new()));
        if let Value::Map(scoring) = scoring {
            scoring.insert("behaviorScore".to_owned(), Value::Integer(points));
        }
        let record = self.judged(account, by, LEAD, record, before.as_ref().map(|before| &before.record)).await?;
        let path = RepoPath::new(nsid(ACTIVITY), key);
        Ok(vec![(at, record, before.map(|before| before.cid)), (path, noted, None)])
    }
}

/// A field that is the node's and was sent.
fn claimed(record: &Map) -> Option<String> {
    let computed = ["fullName", "lastActivityAt", "updatedAt"].into_iter().find(|field| record.contains_key(*field));
    let scored = ["score", "behaviorScore", "demographicScore", "engagementLevel", "conversionPrediction"];
    let scoring = record.get("scoring");
    let scored = scored.into_iter().find(|field| scoring.and_then(|scoring| scoring.get(field)).is_some());
    computed.map(str::to_owned).or_else(|| scored.map(|field| format!("scoring/{field}")))
}

pub(super) fn score(record: &Map) -> Option<i64> {
    record.get("scoring")?.get("score")?.as_integer()
}

pub(super) fn activity_of(record: &Map, now: Timestamp) -> Activity<'_> {
    const DAY_MILLIS: u64 = 24 * 3600 * 1000;
    let says = |field: &str| record.get(field).and_then(Value::as_str);
    let at = says("createdAt").and_then(|at| at.parse::<Datetime>().ok()?.timestamp()).unwrap_or(now);
    let age_days = now.as_millis().saturating_sub(at.as_millis()) / DAY_MILLIS;
    Activity { kind: says("type").unwrap_or_default(), outcome: says("outcome"), age_days }
}

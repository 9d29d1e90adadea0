//! What is known about members of a business as its customers (CRM-01, CRM-02): a record for each, in the tenant's own partition
//! of its workspace (ADR 037). What happened and how close a customer somebody is, `angel_protocol::business::customer` says.
//!
//! The node reads the event log behind a cursor of its own: orders, appointments, answers to forms and leads, in whichever
//! way they are written. Nobody who writes those waits for it. What is read again after a crash changes nothing. So of a
//! business that was taken over from another node, or that took no writes when something was to be noted, all records are
//! read again as soon as it takes some.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use angel_protocol::business::customer::{self, EVENTS_MAX, Event, Said};
use angel_protocol::business::{LEAD, MEMBER_CRM};
use angel_protocol::data::{Map, Value, cbor, to_json};
use angel_protocol::ids::{Did, RecordKey, RepoPath};
use angel_protocol::lexicon::Schemas;
use angel_protocol::permissioned::Op;
use angel_protocol::rules::{By, Place};
use angel_protocol::tenants::Feature;
use angel_storage::cursors::{self, CursorRow};
use angel_storage::permissioned::{self as rows, RepoKey, WRITTEN};
use angel_storage::reader::ReadError;
use angel_storage::{Batch, CommitError, events};
use tokio_util::sync::CancellationToken;

use super::{Business, BusinessError, Entries, Entry, nsid};
use crate::accounts::AccountError;
use crate::firehose::Beside;
use crate::permissioned::PermissionedError;
use crate::tasks::TaskResult;
use crate::tenants::{Tenant, workspace};
use crate::{blocking, clock};

/// The cursor in the event log.
const CURSOR: (&str, &str) = ("customers", "business");

/// Events of one step, and about how many bytes of them.
const STEP_EVENTS: usize = 256;
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// Events that say nothing of customers, after which the cursor is written. They are looked at again after a crash.
const KEPT_AFTER: u64 = 4096;

/// How often something is written anew that somebody else changed meanwhile, or that the store had no room for just then.
const TRIES: usize = 8;

/// How long is waited before that.
const RETRY: Duration = Duration::from_millis(50);

/// How long events are gathered before they are read: reading many at once costs little more than reading one.
const GATHER: Duration = Duration::from_millis(25);

/// How often is looked whether a business takes writes again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long whoever reads waits for what was written just before.
const PATIENCE: Duration = Duration::from_secs(5);

/// The scores of leads by the account that a lead has. Of several with one account, the highest counts.
type Scores = BTreeMap<String, i64>;

/// What some events of the log say of the customers of one business.
#[derive(Default)]
struct News {
    /// What happened, by whom.
    said: BTreeMap<Did, Vec<Said>>,
    /// The accounts of leads that were written.
    named: BTreeSet<Did>,
    /// Whether a lead may have had another account before, or is gone.
    moved: bool,
}

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// They are noted, or never will be.
    Done,
    /// Nothing can be written just now.
    Later,
}

/// What a step read, by the tenant.
struct Step {
    news: BTreeMap<Did, News>,
    upto: u64,
    more: bool,
}

/// Brings what is known about customers up to date until told to stop.
pub(crate) async fn run(business: Business, mut beside: Beside, stop: CancellationToken) -> TaskResult {
    let mut changes = business.0.tenants.changes();
    let this = business.clone();
    let mut cursor = blocking::run(move || this.begin_with_customers()).await?;
    let mut kept = cursor;
    // Those of whom all records are to be read again.
    let mut behind = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        behind.append(&mut business.0.tenants.take_arrived());
        let passed = beside.pass(cursor);
        let more = if passed > cursor {
            cursor = passed;
            business.0.followed.send_replace(passed);
            false
        } else {
            business.follow_customers(&mut cursor, &mut behind, &stop).await?
        };
        if cursor.saturating_sub(kept) >= KEPT_AFTER {
            let this = business.clone();
            blocking::run(move || this.keep_customers_at(cursor)).await?;
            kept = cursor;
        }
        business.catch_up_with_customers(&mut behind, &stop).await;
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = beside.changed() => changed?,
            changed = changes.changed() => changed.map_err(|_| "the tenants ended")?,
            () = tokio::time::sleep(AGAIN), if !behind.is_empty() => {}
        }
        if stop.run_until_cancelled(tokio::time::sleep(GATHER)).await.is_none() {
            return Ok(());
        }
    }
}

impl Business {
    /// What is known about a person as a customer.
    ///
    /// # Errors
    /// [`BusinessError::CustomerNotFound`], or the store cannot be read.
    pub(crate) async fn customer(&self, tenant: &Tenant, person: &Did) -> Result<Entry, BusinessError> {
        self.customers_caught_up().await;
        let key = customer::key(person).ok_or(BusinessError::CustomerNotFound)?;
        self.entry(tenant.did(), &path(key)).await?.ok_or(BusinessError::CustomerNotFound)
    }

    /// What is known about customers of one tier or of all, in the order of their keys from the last to the first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn customers(
        &self,
        tenant: &Tenant,
        tier: Option<&str>,
        cursor: Option<RecordKey>,
        limit: usize,
    ) -> Result<Entries, BusinessError> {
        self.customers_caught_up().await;
        let says = |record: &Map| record.get("crmData")?.get("customerTier")?.as_str().map(str::to_owned);
        let wanted = |record: &Map| tier.is_none_or(|tier| says(record).as_deref() == Some(tier));
        self.entries(tenant.did(), MEMBER_CRM, cursor, limit, wanted).await
    }

    /// The score of the lead that has a person's account, as it is known of the customer.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn score_of(&self, tenant: &Tenant, person: &Did) -> Result<Option<i64>, BusinessError> {
        match self.customer(tenant, person).await {
            Ok(found) => Ok(customer::score(&found.record)),
            Err(BusinessError::CustomerNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until everything that is durable now is known of the customers, so that whoever wrote reads what follows. While
    /// the node has much to catch up with, they are told what is known so far.
    async fn customers_caught_up(&self) {
        let newest = self.0.reader.durable_sequence();
        let mut followed = self.0.followed.subscribe();
        drop(tokio::time::timeout(PATIENCE, followed.wait_for(|sequence| *sequence >= newest)).await);
    }

    /// Where to go on. What happened before there was a cursor is looked up when a customer is heard of first. Blocks.
    fn begin_with_customers(&self) -> Result<u64, Box<dyn Error + Send + Sync>> {
        let cursor = cursors::get(&self.0.reader, CURSOR.0, CURSOR.1)?;
        if cursor > 0 {
            return Ok(cursor);
        }
        // In a store that is new there is nothing yet, and 0 is said of who never read.
        let newest = self.0.reader.durable_sequence().max(1);
        self.keep_customers_at(newest)?;
        Ok(newest)
    }

    fn keep_customers_at(&self, sequence: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut batch = Batch::new();
        cursors::set(&mut batch, CURSOR.0, CURSOR.1, CursorRow { sequence, at: clock::now() })?;
        self.0.writer.commit(batch)?;
        Ok(())
    }

    async fn follow_customers(
        &self,
        cursor: &mut u64,
        behind: &mut BTreeSet<Did>,
        stop: &CancellationToken,
    ) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let (this, from) = (self.clone(), *cursor);
        let Step { news, upto, more } = blocking::run(move || this.news_of_customers(from)).await?;
        for (tenant, news) in &news {
            let Some(tenant) = self.0.tenants.find(tenant) else { continue };
            // The cursor stays, and what was read is read again at the next start.
            if stop.is_cancelled() {
                return Ok(false);
            }
            // What is read of it again says this, too.
            if !behind.contains(tenant.did()) && self.take_in(&tenant, news).await == Taken::Later {
                behind.insert(tenant.did().clone());
            }
        }
        if !news.is_empty() {
            let this = self.clone();
            blocking::run(move || this.keep_customers_at(upto)).await?;
        }
        *cursor = upto;
        self.0.followed.send_replace(upto);
        Ok(more)
    }

    /// Reads all records of businesses again that take writes now.
    async fn catch_up_with_customers(&self, behind: &mut BTreeSet<Did>, stop: &CancellationToken) {
        for did in behind.clone() {
            let Some(tenant) = self.0.tenants.find(&did) else {
                behind.remove(&did);
                continue;
            };
            if stop.is_cancelled() || self.0.repos.may_write_now(tenant.id()).is_err_and(|error| error.passes()) {
                continue;
            }
            let taken = match self.all_news_of(&tenant).await {
                Ok(news) => {
                    let taken = self.take_in(&tenant, &news).await;
                    if taken == Taken::Done {
                        tracing::info!(tenant = %did, "its customers are known by all its records");
                    }
                    taken
                }
                Err(error) => {
                    tracing::warn!(tenant = %did, %error, "what is known about customers was not brought up to date");
                    Taken::Done
                }
            };
            if taken == Taken::Done {
                behind.remove(&did);
            }
        }
    }

    /// What all records of a business say. Of more than are looked at, the newest.
    async fn all_news_of(&self, tenant: &Tenant) -> Result<News, BusinessError> {
        let mut news = News::default();
        if self.0.tenants.check_feature(tenant.did(), Feature::Crm).is_err() {
            return Ok(news);
        }
        for collection in [LEAD].into_iter().chain(customer::SAYING) {
            self.each(tenant.did(), collection, |path, record| news.note(tenant.did(), path, record)).await?;
        }
        // Leads may have gone elsewhere.
        news.moved = true;
        Ok(news)
    }

    /// What some events of the log say; how far they went, and whether there are more. Blocks.
    fn news_of_customers(&self, cursor: u64) -> Result<Step, ReadError> {
        let durable = self.0.reader.durable_sequence();
        let page = events::page(&self.0.reader, cursor, STEP_EVENTS, STEP_BYTES)?;
        let mut news: BTreeMap<Did, News> = BTreeMap::new();
        for event in page.events.iter().filter(|event| event.kind == WRITTEN) {
            // What cannot be read is no write of ours: others who follow the log say so.
            let Ok(Some(written)) = rows::written(event) else { continue };
            let is_ours = |op: &&Op| {
                let collection = op.path.collection.as_str();
                collection == LEAD || customer::SAYING.contains(&collection)
            };
            let ops: Vec<_> = written.ops.iter().filter(is_ours).collect();
            if ops.is_empty() || written.space != workspace(&written.author) {
                continue;
            }
            let Some(tenant) = self.0.tenants.find(&written.author) else { continue };
            if self.0.tenants.check_feature(tenant.did(), Feature::Crm).is_err() {
                continue;
            }
            let repo = RepoKey { account: tenant.id(), space: written.space.digest() };
            let of = news.entry(tenant.did().clone()).or_default();
            for op in ops {
                let record = rows::record(&self.0.reader, repo, &op.path.to_string())?;
                let record = record.and_then(|record| cbor::decode(&record.bytes).ok());
                of.read(tenant.did(), op, record.as_ref());
            }
        }
        news.retain(|_, news| !news.is_empty());
        let last = page.events.last().map_or(cursor, |event| event.sequence);
        // Numbers that a stop left out stand behind the last event, and whoever waits for the newest waits for them too.
        let upto = if page.more { last } else { last.max(durable) };
        Ok(Step { news, upto, more: page.more })
    }

    /// Writes what follows from news of a business.
    async fn take_in(&self, tenant: &Tenant, news: &News) -> Taken {
        match self.try_taking_in(tenant, news).await {
            Ok(()) => Taken::Done,
            Err(error) if is_for_later(&error) => Taken::Later,
            Err(error) => {
                tracing::warn!(tenant = %tenant.did(), %error, "what is known about customers was not brought up to date");
                Taken::Done
            }
        }
    }

    async fn try_taking_in(&self, tenant: &Tenant, news: &News) -> Result<(), BusinessError> {
        let now = self.0.repos.may_write_now(tenant.id());
        now.map_err(|error| PermissionedError::Account(error.into()))?;
        let scores = if news.moved || !news.named.is_empty() { Some(self.scores(tenant.did()).await?) } else { None };
        let mut due: BTreeMap<&Did, &[Said]> = news.named.iter().map(|person| (person, &[] as &[Said])).collect();
        due.extend(news.said.iter().map(|(person, said)| (person, said.as_slice())));
        let mut stale = BTreeSet::new();
        if let Some(scores) = scores.as_ref().filter(|_| news.moved) {
            let whole = self.each(tenant.did(), MEMBER_CRM, |path, record| {
                let (Some(person), Value::Map(record)) = (customer::person(&path.rkey), record) else { return };
                if customer::score(record) != scores.get(person.as_str()).copied() {
                    stale.insert(person);
                }
            });
            whole.await?;
        }
        for person in &stale {
            due.entry(person).or_default();
        }
        for (person, said) in due {
            if let Err(error) = self.note_customer(tenant, person, said, scores.as_ref()).await {
                if is_for_later(&error) {
                    return Err(error);
                }
                tracing::warn!(tenant = %tenant.did(), %error, "what is known about a customer was not brought up to date");
            }
        }
        Ok(())
    }

    /// Notes what was said of somebody, if they are a member of the business. Of who was one, the score alone moves on.
    async fn note_customer(
        &self,
        tenant: &Tenant,
        person: &Did,
        said: &[Said],
        scores: Option<&Scores>,
    ) -> Result<(), BusinessError> {
        let Some(key) = customer::key(person) else { return Ok(()) };
        let said = if self.is_member(tenant, person).await? { Some(said) } else { None };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_noting(tenant, person, &key, said, scores).await {
                Err(error) if tries < TRIES && passes(&error) => tokio::time::sleep(RETRY).await,
                outcome => return outcome,
            }
        }
    }

    async fn try_noting(
        &self,
        tenant: &Tenant,
        person: &Did,
        key: &RecordKey,
        said: Option<&[Said]>,
        scores: Option<&Scores>,
    ) -> Result<(), BusinessError> {
        let account = self.account(tenant).await?;
        let (path, now) = (path(key.clone()), clock::now());
        let before = self.entry(tenant.did(), &path).await?;
        if before.is_none() && said.is_none() {
            return Ok(());
        }
        let said = said.unwrap_or_default();
        let mut record = before.as_ref().map(|entry| entry.record.clone());
        let (events, paid, score) = match &record {
            Some(record) if customer::has_events(record) || said.is_empty() => {
                let events = said.iter().filter_map(|said| said.event.clone()).collect();
                let score = scores.map_or_else(|| customer::score(record), |all| all.get(person.as_str()).copied());
                (events, said.iter().any(|said| said.paid), score)
            }
            // Nothing was noted before they were a member, and it is all still there.
            _ => self.history(tenant.did(), person).await?,
        };
        let record = record.get_or_insert_with(|| customer::new_record(tenant.did(), key, now));
        let gone = customer::add(record, events);
        if paid {
            customer::note_paid(record);
        }
        customer::set_score(record, score);
        record.insert("$type".to_owned(), Value::String(MEMBER_CRM.to_owned()));
        let was = before.as_ref().map(|entry| Value::Map(entry.record.clone()));
        let (how, collection) = ((Place::Permissioned, By::Node), nsid(MEMBER_CRM));
        let judging =
            self.0.rulebook.judge(&account, tenant.did(), how, &collection, Value::Map(record.clone()), was.as_ref());
        let record = judging.await??;
        if was.as_ref() == Some(&record) {
            return Ok(());
        }
        Schemas::builtin().record(MEMBER_CRM).expect("collections of ours have lexicons").validate(&record)?;
        let Value::Map(record) = record else { return Ok(()) };
        // Noted first: after a crash in between, the log says it twice, and nothing is lost.
        if !gone.is_empty() {
            let (tenants, of) = (self.0.tenants.clone(), tenant.did().clone());
            let gone = gone.iter().map(|event| format!("{person} {}", to_json(event))).collect();
            let noting = blocking::run(move || tenants.note_customer_events_blocking(&of, gone, now));
            noting.await.map_err(|error| BusinessError::NotLogged(Box::new(error)))?;
        }
        self.write(&account, vec![(path, record, before.map(|entry| entry.cid))]).await?;
        Ok(())
    }

    /// Whether somebody belongs to the business by a role, or is a member of one of its spaces.
    async fn is_member(&self, tenant: &Tenant, person: &Did) -> Result<bool, BusinessError> {
        let has_role = self.0.tenants.role(tenant.did(), person).is_some();
        Ok(has_role || self.0.spaces.is_member_of_any(tenant.did(), person).await?)
    }

    /// What the workspace says of a person: what happened last, whether they paid, and the score of their lead.
    async fn history(&self, tenant: &Did, person: &Did) -> Result<(Vec<Event>, bool, Option<i64>), BusinessError> {
        let (mut events, mut paid, now) = (vec![], false, clock::now());
        for collection in customer::SAYING {
            let mut left = EVENTS_MAX;
            // The newest come first.
            let looking = self.each(tenant, collection, |path, record| {
                let said = customer::said(collection, &format!("at://{tenant}/{path}"), record, now);
                for said in said.into_iter().filter(|said| said.person == *person) {
                    paid |= said.paid;
                    if let Some(event) = said.event.filter(|_| left > 0) {
                        left -= 1;
                        events.push(event);
                    }
                }
            });
            looking.await?;
        }
        let score = self.scores(tenant).await?.get(person.as_str()).copied();
        Ok((events, paid, score))
    }

    /// The scores of the leads that have an account. Of a business with more leads than are looked at, of the newest.
    async fn scores(&self, tenant: &Did) -> Result<Scores, BusinessError> {
        let mut scores = Scores::new();
        let looking = self.each(tenant, LEAD, |_, lead| {
            let score = lead.get("scoring").and_then(|scoring| scoring.get("score")).and_then(Value::as_integer);
            if let (Some(user), Some(score)) = (lead.get("user").and_then(Value::as_str), score) {
                let known = scores.entry(user.to_owned()).or_insert(score);
                *known = score.max(*known);
            }
        });
        looking.await?;
        Ok(scores)
    }
}

impl News {
    fn is_empty(&self) -> bool {
        self.said.is_empty() && self.named.is_empty() && !self.moved
    }

    /// Takes note of a write, with the record as it is now.
    fn read(&mut self, tenant: &Did, op: &Op, record: Option<&Value>) {
        self.moved |= op.path.collection.as_str() == LEAD && op.prev.is_some();
        if let Some(record) = record {
            self.note(tenant, &op.path, record);
        }
    }

    /// Takes note of what a record says.
    fn note(&mut self, tenant: &Did, path: &RepoPath, record: &Value) {
        let collection = path.collection.as_str();
        if collection == LEAD {
            let user = record.get("user").and_then(Value::as_str);
            self.named.extend(user.and_then(|user| user.parse::<Did>().ok()));
            return;
        }
        let said = customer::said(collection, &format!("at://{tenant}/{path}"), record, clock::now());
        for said in said.into_iter().filter(|said| said.paid || said.event.is_some()) {
            self.said.entry(said.person.clone()).or_default().push(said);
        }
    }
}

/// Whether nothing can be written into the business just now.
const fn is_for_later(error: &BusinessError) -> bool {
    match error {
        BusinessError::Permissioned(PermissionedError::Account(AccountError::NotWritable(error))) => error.passes(),
        _ => false,
    }
}

/// Whether it may go well when it is tried again at once.
const fn passes(error: &BusinessError) -> bool {
    matches!(error, BusinessError::Changed | BusinessError::Permissioned(PermissionedError::Store(CommitError::Busy)))
}

fn path(key: RecordKey) -> RepoPath {
    RepoPath::new(nsid(MEMBER_CRM), key)
}

//! Answers to the forms of a business, by whoever sends them (FRM-01 to FRM-05). What a form asks and what an answer has to
//! be, `angel_protocol::forms` says.
//!
//! A submission is a record of the tenant's workspace, as orders are (ADR 084): the tenant's account is its author, for
//! whoever answers may have none. What follows from it (a lead, what was done about it, tasks) is written in one piece
//! with it. Nothing of an answer is in a log, in an error or in anything public.

mod forget;
mod lead;
mod letters;
mod settings;
mod views;

use angel_protocol::business::{FORM_SETTINGS, FORM_SUBMISSION, TASK};
use angel_protocol::data::{Map, Value, cbor, from_json};
use angel_protocol::forms::{self, Answer, FORM};
use angel_protocol::ids::{Did, RecordKey, RepoPath, Tid};
use angel_protocol::tenants::{Feature, Resource, TenantStatus};
use angel_protocol::time::Timestamp;
use serde_json::Value as Json;

use self::lead::Told;
pub(super) use self::letters::Mailed;
pub(super) use self::views::Views;
use super::{Business, BusinessError, Change, Entry, address, nsid, text};
use crate::accounts::Account;
use crate::spaces::announce::Announcement;
use crate::tenants::{Admitted, Tenant, Use};
use crate::{blocking, clock};

/// How often what follows from answers is looked up anew when somebody changed it meanwhile.
const TRIES: usize = 3;

/// A form that takes answers.
#[derive(Debug)]
pub(crate) struct OpenForm {
    /// Whose it is.
    pub(crate) tenant: Tenant,
    /// The public record.
    pub(crate) entry: Entry,
    /// When it was written here.
    pub(crate) at: Timestamp,
}

/// Answers that somebody sends.
#[derive(Clone, Debug)]
pub(crate) struct NewSubmission {
    /// What they answer.
    pub(crate) answers: Vec<Answer>,
    /// Whether they consent.
    pub(crate) consent: bool,
    /// How long it took them, in seconds.
    pub(crate) completion_seconds: Option<u32>,
    /// Where they came from.
    pub(crate) utm: Option<Json>,
    /// Who they are, if they have an account.
    pub(crate) submitter: Option<Did>,
}

impl OpenForm {
    /// Its URI.
    pub(crate) fn uri(&self) -> String {
        format!("at://{}/{}", self.tenant.did(), self.entry.path)
    }

    fn rkey(&self) -> &RecordKey {
        &self.entry.path.rkey
    }

    fn name(&self) -> &str {
        self.entry.record.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it takes no answers without consent (FRM-04).
    fn requires_consent(&self) -> bool {
        let compliance = self.entry.record.get("compliance");
        compliance.and_then(|compliance| compliance.get("consentRequired")) == Some(&Value::Bool(true))
    }
}

impl Business {
    /// A form, as anybody finds it. One that there is not and one of a business that is closed, or not open yet, are the
    /// same to whoever asks.
    ///
    /// # Errors
    /// [`BusinessError::FormNotFound`], or the store cannot be read.
    pub(crate) async fn form(&self, uri: &str) -> Result<OpenForm, BusinessError> {
        let missing = || BusinessError::FormNotFound;
        let (did, path) = address(uri, FORM).ok_or_else(missing)?;
        let is_open = |tenant: &Tenant| matches!(tenant.status(), TenantStatus::Active | TenantStatus::Trial);
        let tenant = self.0.tenants.find(&did).filter(is_open).ok_or_else(missing)?;
        let account = self.0.accounts.resident(&did).await?.filter(Account::is_active).ok_or_else(missing)?;
        let (repos, at) = (self.0.repos.clone(), path.to_string());
        let found = blocking::run(move || repos.record_blocking(account.id(), &at)).await?.ok_or_else(missing)?;
        match cbor::decode(&found.bytes) {
            Ok(Value::Map(record)) => {
                let entry = Entry { path, cid: found.cid, record };
                Ok(OpenForm { tenant, entry, at: found.rev.timestamp() })
            }
            _ => Err(missing()),
        }
    }

    /// Takes answers in, with all that follows from them. Answers with the submission, once it is durable; letters wait in
    /// the outbox then.
    ///
    /// # Errors
    /// [`BusinessError`], by what stands in the way; nothing is kept then.
    pub(crate) async fn submit(&self, form: &OpenForm, wish: NewSubmission) -> Result<Entry, BusinessError> {
        if form.requires_consent() && !wish.consent {
            return Err(BusinessError::ConsentRequired);
        }
        let (questions, sent, now) = (Value::Map(form.entry.record.clone()), wish.answers.clone(), clock::now());
        let checked = blocking::run(move || forms::check(&questions, &sent, now)).await;
        let answers = checked.map_err(BusinessError::InvalidAnswers)?;
        let wish = NewSubmission { answers, ..wish };
        let path = RepoPath::new(nsid(FORM_SETTINGS), form.rkey().clone());
        let settings = self.entry(form.tenant.did(), &path).await?.map(|entry| entry.record).unwrap_or_default();
        // Before the answers are there: they are what it tells next.
        if let Err(error) = self.0.webhooks.prepare_form(&form.tenant, form.rkey().as_str()).await {
            tracing::warn!(form = form.uri(), %error, "answers are kept, and may not be sent to the URL of their form");
        }
        let mut tries = 1;
        let submission = loop {
            match self.try_submit(form, &settings, &wish).await {
                // Staff changed the lead at that moment.
                Err(BusinessError::Changed) if tries < TRIES => tries += 1,
                done => break done?,
            }
        };
        self.0.webhooks.ring(form.tenant.did());
        self.mail_answers(form, &settings, &wish.answers).await;
        Ok(submission)
    }

    async fn try_submit(&self, form: &OpenForm, settings: &Map, wish: &NewSubmission) -> Result<Entry, BusinessError> {
        let tenant = &form.tenant;
        let account = self.account(tenant).await?;
        let room = self.0.tenants.hold(tenant, vec![Use::one(Resource::ApiCalls)], None)?;
        let _turn = self.turn(tenant).await;
        let newest = self.entries(tenant.did(), FORM_SUBMISSION, None, 1, |_| true).await?.entries.pop();
        let path = RepoPath::new(nsid(FORM_SUBMISSION), self.next_key(newest.as_ref())?);
        let told = self.told_lead(&account, form, settings, wish).await?;
        let mut tasks = self.tasks_of(&account, form, settings, &path).await?;
        let for_tasks = self.room_for(form, &mut tasks);
        let record = submission(form, wish, &told, self.colleague(tenant, settings));
        let record = self.judged(&account, tenant.did(), FORM_SUBMISSION, record, None).await?;
        let mut writes = vec![(path, record, None)];
        writes.extend(told.writes);
        writes.extend(tasks);
        let written = self.write(&account, writes).await?.swap_remove(0);
        room.written();
        if let Some(room) = for_tasks {
            room.written();
        }
        self.0.views.answered(tenant.did(), form.rkey());
        if let Some(lead) = told.scored {
            let announcement =
                Announcement { event: "lead.scored", subject: Some(lead), ..Announcement::of_department("sales") };
            self.0.spaces.announce(tenant.did(), announcement).await;
        }
        Ok(written)
    }

    /// Room in the plan for tasks. Where there is none for all of them, there are none: the answers count more.
    fn room_for(&self, form: &OpenForm, tasks: &mut Vec<Change>) -> Option<Admitted> {
        if tasks.is_empty() {
            return None;
        }
        let uses = vec![Use { resource: Resource::Tasks, more: tasks.len() as u64, now: 0 }];
        match self.0.tenants.hold(&form.tenant, uses, None) {
            Ok(room) => Some(room),
            Err(reached) => {
                tracing::warn!(form = form.uri(), %reached, "answers were taken in without the tasks that follow");
                tasks.clear();
                None
            }
        }
    }

    /// A task for each of the follow-up actions (FRM-05). One that breaks a rule is left out: the answers count more.
    async fn tasks_of(
        &self,
        account: &Account,
        form: &OpenForm,
        settings: &Map,
        submission: &RepoPath,
    ) -> Result<Vec<Change>, BusinessError> {
        let (tenant, workflow) = (&form.tenant, settings.get("workflow"));
        let Some(Value::List(actions)) = workflow.and_then(|workflow| workflow.get("followUpActions")) else {
            return Ok(vec![]);
        };
        if self.0.tenants.check_feature(tenant.did(), Feature::Projects).is_err() {
            return Ok(vec![]);
        }
        let newest = self.entries(tenant.did(), TASK, None, 1, |_| true).await?.entries.pop();
        let first = self.next_key(newest.as_ref())?;
        let keys = (0..).map(|n| match first.as_str().parse::<Tid>() {
            Ok(first) => Tid::new(first.micros().saturating_add(n), first.clock_id()).into(),
            Err(_) => first.clone(),
        });
        let mut tasks = vec![];
        for (action, rkey) in actions.iter().filter_map(Value::as_str).zip(keys) {
            let title = forms::task_title(action);
            let about = format!("{action}\n\nat://{}/{submission}", tenant.did());
            let about = Map::from([("text".to_owned(), text(about)), ("format".to_owned(), text("plain"))]);
            let mut task = Map::from([
                ("title".to_owned(), text(title)),
                ("description".to_owned(), Value::Map(about)),
                ("status".to_owned(), text("todo")),
                ("priority".to_owned(), text(priority(settings))),
                ("tenant".to_owned(), text(tenant.did().as_str())),
                ("createdAt".to_owned(), text(clock::now().to_string())),
            ]);
            if let Some(colleague) = self.colleague(tenant, settings) {
                task.insert("assignee".to_owned(), text(colleague));
            }
            match self.judged(account, tenant.did(), TASK, task, None).await {
                Ok(task) => tasks.push((RepoPath::new(nsid(TASK), rkey), task, None)),
                Err(error) if is_of_the_record(&error) => {
                    tracing::warn!(
                        form = form.uri(),
                        "a follow-up action of the form makes no task that can be written"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tasks)
    }

    /// Who deals with the answers, if they still belong to the business.
    fn colleague<'s>(&self, tenant: &Tenant, settings: &'s Map) -> Option<&'s str> {
        let named = settings.get("workflow")?.get("assignTo")?.as_str()?;
        let did = named.parse().ok()?;
        self.0.tenants.role(tenant.did(), &did).map(|_| named)
    }
}

/// The record of a submission; what follows from it by itself, the rules add.
fn submission(form: &OpenForm, wish: &NewSubmission, told: &Told, colleague: Option<&str>) -> Map {
    let strong =
        Map::from([("uri".to_owned(), text(form.uri())), ("cid".to_owned(), text(form.entry.cid.to_string()))]);
    let answer = |answer: &Answer| {
        let mut kept = Map::from([("name".to_owned(), text(answer.name.as_str()))]);
        for (field, said) in [("value", &answer.value), ("file", &answer.file)] {
            if let Some(said) = said {
                kept.insert(field.to_owned(), text(said.as_str()));
            }
        }
        Value::Map(kept)
    };
    let mut record = Map::from([
        ("form".to_owned(), Value::Map(strong)),
        ("tenant".to_owned(), text(form.tenant.did().as_str())),
        ("answers".to_owned(), Value::List(wish.answers.iter().map(answer).collect())),
        ("consentGiven".to_owned(), Value::Bool(wish.consent)),
        ("createdAt".to_owned(), text(clock::now().to_string())),
    ]);
    if let Some(did) = &wish.submitter {
        record.insert("submitter".to_owned(), text(did.as_str()));
    }
    if let Some(seconds) = wish.completion_seconds {
        record.insert("completionSeconds".to_owned(), Value::Integer(i64::from(seconds)));
    }
    if let Some(Ok(utm)) = wish.utm.as_ref().map(from_json) {
        record.insert("utm".to_owned(), utm);
    }
    if let Some(colleague) = colleague {
        record.insert("assignedTo".to_owned(), text(colleague));
    }
    if let Some(lead) = &told.lead {
        record.insert("lead".to_owned(), text(lead.as_str()));
        let copied = told.copied.iter().map(|(field, value)| {
            Value::Map(Map::from([
                ("field".to_owned(), text(field.as_str())),
                ("value".to_owned(), text(value.as_str())),
            ]))
        });
        let copied: Vec<_> = copied.collect();
        if !copied.is_empty() {
            record.insert("copied".to_owned(), Value::List(copied));
        }
    }
    record
}

/// How urgent what follows is: the words of forms, in those of tasks and leads.
fn priority(settings: &Map) -> &'static str {
    let said = settings.get("workflow").and_then(|workflow| workflow.get("priority")).and_then(Value::as_str);
    match said {
        Some("low") => "low",
        Some("high") => "high",
        _ => "medium",
    }
}

/// Whether what was to be written is not as it has to be; other things stand in the way of all that is written.
const fn is_of_the_record(error: &BusinessError) -> bool {
    matches!(error, BusinessError::Rules(_) | BusinessError::Invalid(_) | BusinessError::Malformed(_))
}

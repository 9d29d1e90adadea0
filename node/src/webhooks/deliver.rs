//! One look at a hook: the next record that it tells of, the call, and what came of it.

use angel_protocol::data::cbor;
use angel_protocol::ids::Did;
use angel_protocol::tenants::Feature;
use angel_protocol::time::Timestamp;
use angel_protocol::webhooks::{self as rules, Answer, Call, Facts, Position, Secret, Why};
use angel_storage::AccountId;
use angel_storage::tenants::{WEBHOOKS, WebhookRow};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use super::manage::parsed;
use super::{WebhookError, Webhooks, form_uri};
use crate::accounts::AccountError;
use crate::fetch::{FetchError, failed};
use crate::permissioned::Listed;
use crate::spaces::announce::Announcement;
use crate::tenants::Tenant;
use crate::{blocking, clock};

/// Records that are read at once.
const PAGE: usize = 100;

/// Pages that one look reads when nothing in them is told.
const PAGES_MAX: usize = 10;

/// Records that were passed over before it is written down that they were.
const PASSED_OVER_MAX: usize = 100;

/// Longest text that is kept of a failure, in characters.
const WHY_CHARS_MAX: usize = 200;

/// When a hook is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// When something happens.
    Idle,
    /// At this time.
    At(Timestamp),
}

/// What came of a call.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) status: Option<u16>,
    /// What went wrong, in words.
    pub(super) why: Option<String>,
}

/// What a hook tells next.
enum Next {
    /// Nothing of what there is up to here.
    Nothing { upto: Position, passed_over: usize, more: bool },
    /// This.
    Call(Position, Call),
}

impl Webhooks {
    /// Looks at a hook, and makes the call that is due. What a node that serves the tenant no more would tell, the one that
    /// does tells.
    pub(super) async fn look(&self, did: &Did, name: &str) -> Result<Look, WebhookError> {
        let Some(tenant) = self.0.tenants.find(did) else { return Ok(Look::Idle) };
        let is_open = self.0.tenants.takes_writes(did);
        if !is_open || self.0.tenants.check_feature(did, Feature::Webhooks).is_err() {
            return Ok(Look::Idle);
        }
        self.0.repos.may_write_now(tenant.id()).map_err(AccountError::from)?;
        let (this, key) = (self.clone(), (tenant.id(), name.to_owned()));
        let row = blocking::run(move || this.0.reader.get(&WEBHOOKS, &key)).await.map_err(AccountError::from)?;
        let Some(row) = row else { return Ok(Look::Idle) };
        if row.track.paused().is_some() {
            self.notice(&tenant, name, &row).await?;
            return Ok(Look::Idle);
        }
        if let Some(next) = row.track.next_at().filter(|next| *next > clock::now()) {
            return Ok(Look::At(next));
        }
        let Some(url) = self.target(did, name, &row).await? else {
            // The settings of the form send its answers elsewhere, or nowhere.
            self.keep(tenant.id(), name, |_| None).await?;
            return Ok(Look::Idle);
        };
        match self.next(did, name, &row).await? {
            Next::Nothing { upto, passed_over, more } => {
                if passed_over >= PASSED_OVER_MAX || more {
                    self.keep(tenant.id(), name, move |mut row| {
                        row.told = row.told.max(upto.clone());
                        Some(row)
                    })
                    .await?;
                }
                Ok(if more { Look::At(clock::now()) } else { Look::Idle })
            }
            Next::Call(position, call) => self.tell(&tenant, name, (&row, &url), (position, call)).await,
        }
    }

    /// Makes a call and writes down what came of it.
    async fn tell(
        &self,
        tenant: &Tenant,
        name: &str,
        (row, url): (&WebhookRow, &str),
        (position, call): (Position, Call),
    ) -> Result<Look, WebhookError> {
        let secret = self.secret(tenant.id(), name, row).await?;
        let outcome = match &secret {
            Some(secret) => Some(self.post(url, secret, &call).await),
            None => None,
        };
        let (now, random, was) = (clock::now(), rand::random(), row.clone());
        let answer = outcome.as_ref().map(|outcome| outcome.answer);
        let why = outcome.and_then(|outcome| outcome.why);
        let kept = self.keep(tenant.id(), name, move |mut row| {
            match answer {
                Some(Answer::Accepted) => {
                    row.told = row.told.max(position.clone());
                    row.delivered = row.delivered.saturating_add(1);
                    row.accepted_at = Some(now);
                    row.track.answered(now, Answer::Accepted, random);
                }
                // What was called with what, is called no more: the failure says nothing of what is called since.
                Some(_) if row.url != was.url || row.salt != was.salt => {}
                Some(answer) => {
                    row.failed = why.clone().map(|why| (now, why));
                    row.track.answered(now, answer, random);
                }
                None if row.key != was.key => {}
                None => row.track.pause(now, Why::SecretLost),
            }
            Some(row)
        });
        let Some(row) = kept.await? else { return Ok(Look::Idle) };
        if row.track.paused().is_some() {
            self.notice(tenant, name, &row).await?;
            return Ok(Look::Idle);
        }
        Ok(Look::At(row.track.next_at().unwrap_or(now)))
    }

    /// What a hook calls; `None` for that of a form which sends its answers to no URL any more.
    pub(super) async fn target(
        &self,
        tenant: &Did,
        name: &str,
        row: &WebhookRow,
    ) -> Result<Option<String>, WebhookError> {
        match &row.url {
            Some(url) => Ok(Some(url.clone())),
            None => self.target_of_form(tenant, name.strip_prefix(super::OF_FORM).unwrap_or_default()).await,
        }
    }

    /// The secret of a hook; `None` when this node has not the key from which it follows.
    pub(super) async fn secret(
        &self,
        id: AccountId,
        name: &str,
        row: &WebhookRow,
    ) -> Result<Option<Secret>, WebhookError> {
        let this = self.clone();
        let seed = blocking::run(move || this.0.accounts.kept_webhooks_seed_blocking(id)).await?;
        let is_it = |seed: &[u8; 32]| angel_protocol::crypto::NodeKey::from_seed(seed).did() == row.key;
        Ok(seed.filter(|seed| is_it(seed)).map(|seed| rules::secret(&seed, name, &row.salt)))
    }

    /// The next record that a hook tells of. Keys go by the clocks of nodes: they are read from some minutes before, and one
    /// page beyond the first that is found, so that what a node with a late clock wrote after taking over comes in its turn.
    async fn next(&self, tenant: &Did, name: &str, row: &WebhookRow) -> Result<Next, WebhookError> {
        let nothing = |upto| Ok(Next::Nothing { upto, passed_over: 0, more: false });
        let Some((space, collection)) = self.source(tenant, row).await? else { return nothing(row.told.clone()) };
        let form = form_uri(tenant, name);
        let mut at = Some(format!("{collection}/{}", row.told.first_key()));
        let (mut upto, mut passed_over, mut found) = (row.told.clone(), 0, None::<(Position, Call)>);
        let mut pages = 0;
        loop {
            let page = self.0.permissioned.list(&space, tenant, Some(&collection), at.take(), PAGE, true).await?;
            let (is_beyond, mut is_new) = (found.is_some(), false);
            for Listed { path, record } in &page.records {
                let position = Position { rev: record.rev, rkey: path.rkey.to_string() };
                if position <= row.told {
                    continue;
                }
                is_new = true;
                if found.as_ref().is_some_and(|(first, _)| *first <= position) {
                    continue;
                }
                let facts = Facts { tenant, path };
                let call = cbor::decode(&record.bytes).ok().and_then(|value| match &form {
                    Some(form) => rules::of_submission(facts, &value, form),
                    None => rules::of_message(facts, &value, &row.events),
                });
                match call {
                    Some(call) => found = Some((position, call)),
                    None => {
                        upto = upto.max(position);
                        passed_over += 1;
                    }
                }
            }
            at = page.cursor;
            // Those before the place are read over, however many they are: they are of some minutes.
            pages += usize::from(is_new);
            if at.is_none() || is_beyond || pages >= PAGES_MAX {
                break;
            }
        }
        Ok(match found {
            Some((position, call)) => Next::Call(position, call),
            None => Next::Nothing { upto, passed_over, more: at.is_some() },
        })
    }

    /// Makes one call. What is answered beside the status is not read.
    pub(super) async fn post(&self, url: &str, secret: &Secret, call: &Call) -> Outcome {
        match self.try_post(url, secret, call).await {
            Ok(status) => {
                let answer = Answer::of_status(status);
                let why = (answer != Answer::Accepted).then(|| format!("it answered {status}"));
                Outcome { answer, status: Some(status), why }
            }
            Err(why) => {
                let why = why.chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect();
                Outcome { answer: Answer::Refused, status: None, why: Some(why) }
            }
        }
    }

    async fn try_post(&self, url: &str, secret: &Secret, call: &Call) -> Result<u16, String> {
        let url = parsed(url, self.0.scope).map_err(|flaw| flaw.to_string())?;
        let now = clock::now();
        let seconds = now.as_millis() / 1000;
        let in_words = |error: FetchError| error.to_string();
        let request = self.0.fetcher.request(Method::POST, &url).map_err(in_words)?;
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &call.id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", secret.sign(&call.id, now, &call.body))
            .body(call.body.clone());
        let response = request.send().await.map_err(|error| in_words(failed(error)))?;
        Ok(response.status().as_u16())
    }

    /// Tells the business once that a hook is paused, unless its people paused it.
    async fn notice(&self, tenant: &Tenant, name: &str, row: &WebhookRow) -> Result<(), WebhookError> {
        let Some(paused) = row.track.paused().filter(|paused| !row.is_noticed && paused.why != Why::Staff) else {
            return Ok(());
        };
        let why = paused.why.name();
        tracing::warn!(tenant = %tenant.did(), webhook = name, why, "a webhook is paused; its people are told");
        let data = Some(json!({ "webhook": name, "why": why }));
        let priority = Some("high");
        let told = Announcement { event: "job.failed", data, priority, ..Announcement::of_department("operations") };
        self.0.spaces.announce(tenant.did(), told).await;
        let noticed = move |mut row: WebhookRow| {
            row.is_noticed |= row.track.paused() == Some(paused);
            Some(row)
        };
        self.keep(tenant.id(), name, noticed).await?;
        Ok(())
    }

    /// Changes the row of a hook, or deletes it where `change` gives none. Answers with the row as it is then; `None` when there
    /// is none.
    async fn keep(
        &self,
        id: AccountId,
        name: &str,
        change: impl Fn(WebhookRow) -> Option<WebhookRow> + Send + 'static,
    ) -> Result<Option<WebhookRow>, WebhookError> {
        let (tenants, name) = (self.0.tenants.clone(), name.to_owned());
        Ok(blocking::run(move || tenants.keep_webhook_blocking(id, &name, change)).await?)
    }
}

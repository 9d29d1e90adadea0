//! Letters about answers (FRM-02): to the address that the form's settings name, and to whoever sent them. They go into the
//! outbox, which sends them, and again while it is worth it.
//!
//! Who answers a form may be anybody, and may give anybody's address. So a letter to them says nothing that they wrote, and
//! goes to one address once an hour; and letters about answers leave room in the outbox for others.

use std::time::Duration;

use angel_protocol::data::{Map, Value};
use angel_protocol::forms::{self, Answer};
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use quick_cache::sync::Cache;

use super::super::Business;
use super::OpenForm;
use crate::mail::{Answered, MailError, is_email};
use crate::{blocking, clock};

/// The window in which letters to one address are counted.
const WINDOW: Duration = Duration::from_hours(1);

/// Letters to whoever answered, in that window (FRM-02).
const THANKS_MAX: u32 = 1;

/// Letters with answers to one address of a business, in that window: beyond, they are read where they are kept.
const ANSWERS_MAX: u32 = 60;

/// Addresses of which it is remembered when they were written to; the least used make room.
const ADDRESSES_MAX: usize = 20_000;

/// How often a business wrote to whom. Begins anew with the process.
pub(in crate::business) struct Mailed(Cache<(Did, &'static str, String), (Timestamp, u32)>);

impl Default for Mailed {
    fn default() -> Self {
        Self(Cache::new(ADDRESSES_MAX))
    }
}

impl Mailed {
    /// Counts a letter, unless that would be one too many.
    fn may(&self, tenant: &Did, kind: &'static str, to: &str, most: u32, now: Timestamp) -> bool {
        let key = (tenant.clone(), kind, to.to_lowercase());
        let (began, count) = self.0.get(&key).filter(|(began, _)| now.since(*began) < WINDOW).unwrap_or((now, 0));
        let may = count < most;
        if may {
            self.0.insert(key, (began, count + 1));
        }
        may
    }
}

impl Business {
    /// Puts letters about answers into the outbox, as the settings of the form ask for them. What cannot be sent is told in
    /// the log, by the form alone, and to staff by [`Business::form_warnings`].
    pub(super) async fn mail_answers(&self, form: &OpenForm, settings: &Map, answers: &[Answer]) {
        let action = settings.get("submitAction");
        let says = |field: &str| action.and_then(|action| action.get(field)).and_then(Value::as_str);
        let (now, tenant) = (clock::now(), form.tenant.did());
        let destination = says("destination").filter(|_| says("type") == Some("email"));
        let questions = Value::Map(form.entry.record.clone());
        let thanks = action.and_then(|action| action.get("autoResponse")) == Some(&Value::Bool(true));
        let sender = forms::email(&questions, answers).filter(|_| thanks);
        if destination.is_none() && sender.is_none() {
            return;
        }
        let mail = &self.0.mail;
        if !mail.sends() {
            tracing::warn!(
                form = form.uri(),
                "answers were kept, and no letter was sent: no mail server is configured"
            );
            return;
        }
        let mailed = &self.0.mailed;
        let destination = destination.filter(|to| is_email(to)).filter(|to| {
            let may = mailed.may(tenant, "answers", to, ANSWERS_MAX, now);
            if !may {
                tracing::warn!(form = form.uri(), "answers were kept, and not mailed: too many letters in an hour");
            }
            may
        });
        let sender = sender.filter(|to| is_email(to) && mailed.may(tenant, "thanks", to, THANKS_MAX, now));
        let labels = forms::labels(&questions);
        let lines = answers.iter().filter_map(|answer| {
            let label = labels.get(&answer.name).unwrap_or(&answer.name).clone();
            let value = answer.value.clone().or_else(|| answer.file.clone())?;
            Some((answer.name.clone(), label, value))
        });
        let answered = Answered {
            form: form.name().to_owned(),
            tenant: form.tenant.row().name.clone(),
            lines: lines.collect(),
            template: says("template").map(str::to_owned),
        };
        let (mail, to, sender) = (mail.clone(), destination.map(str::to_owned), sender.map(str::to_owned));
        let put = move || {
            if let Some(to) = to {
                mail.send_answers_blocking(&to, &answered, now)?;
            }
            if let Some(to) = sender {
                mail.send_thanks_blocking(&to, &answered, now)?;
            }
            Ok::<_, MailError>(())
        };
        if let Err(error) = blocking::run(put).await {
            tracing::warn!(form = form.uri(), %error, "answers were kept, and a letter about them was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_to_so_often_and_then_after_an_hour() {
        let mailed = Mailed::default();
        let (one, other): (Did, Did) =
            ("did:web:one.example".parse().expect("valid"), "did:web:other.example".parse().expect("valid"));
        let start = Timestamp::from_millis(1_700_000_000_000);
        assert!(mailed.may(&one, "thanks", "ada@mail.test", 1, start));
        assert!(!mailed.may(&one, "thanks", "Ada@mail.test", 1, start), "letter case aside");
        assert!(mailed.may(&other, "thanks", "ada@mail.test", 1, start), "each business by itself");
        assert!(mailed.may(&one, "answers", "ada@mail.test", 1, start), "each kind by itself");
        assert!(!mailed.may(&one, "thanks", "ada@mail.test", 1, start + Duration::from_mins(59)));
        assert!(mailed.may(&one, "thanks", "ada@mail.test", 1, start + WINDOW));
    }
}

//! What a call says. Of an event it says what the message of the system space says, and of answers to a form what the
//! submission says; nothing is looked up besides.

use data_encoding::HEXLOWER;
use serde_json::{Map as Object, Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::data::{Value, to_json};
use crate::ids::{Datetime, Did, RepoPath};
use crate::time::Timestamp;

/// Whose record is told of, and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The business.
    pub tenant: &'a Did,
    /// The record's path in its repository.
    pub path: &'a RepoPath,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The same whenever the same thing is told, and of nothing else: by this a receiver knows what it has had.
    pub id: String,
    /// The name of what happened.
    pub event: String,
    /// The body: `type`, `timestamp` and `data`.
    pub body: Vec<u8>,
}

impl Call {
    fn new(id: &str, event: &str, at: &str, data: Object<String, Json>) -> Self {
        let body = json!({ "type": event, "timestamp": at, "data": data }).to_string().into_bytes();
        let digest = Sha256::digest(id.as_bytes());
        Self { id: format!("msg_{}", HEXLOWER.encode(&digest[..16])), event: event.to_owned(), body }
    }
}

impl Facts<'_> {
    fn uri(&self) -> String {
        format!("at://{}/{}", self.tenant, self.path)
    }
}

/// The call that tells of a message in a system space; `None` for a message that tells of no event, or of one that the hook
/// does not tell of. Without `events` it tells of all.
#[must_use]
pub fn of_message(facts: Facts<'_>, message: &Value, events: &[String]) -> Option<Call> {
    let content = message.get("content").filter(|content| text(content, "type") == Some("system"))?;
    let told = content.get("systemData")?;
    let event = text(told, "event").filter(|event| events.is_empty() || events.iter().any(|it| it == event))?;
    let mut data = begin(facts, "message");
    for name in ["subject", "actor"] {
        put(&mut data, name, text(told, name));
    }
    // Both are JSON in a text of the record.
    let read = |json: Option<&str>| json.and_then(|json| serde_json::from_str::<Json>(json).ok());
    if let Some(details) = read(text(told, "data")) {
        data.insert("details".to_owned(), details);
    }
    if let Some(Json::Object(context)) = read(text(content, "metadata")) {
        let known = ["department", "workflow", "customerJourney"];
        data.extend(context.into_iter().filter(|(name, _)| known.contains(&name.as_str())));
    }
    put(&mut data, "priority", text(message, "priority"));
    Some(Call::new(&facts.uri(), event, made(message)?, data))
}

/// The call that brings answers to a form; `None` for a record that is none, or of another form than the one with this URI.
#[must_use]
pub fn of_submission(facts: Facts<'_>, submission: &Value, form: &str) -> Option<Call> {
    submission.get("form").filter(|named| text(named, "uri") == Some(form))?;
    let mut data = begin(facts, "submission");
    put(&mut data, "form", Some(form));
    for name in ["answers", "consentGiven", "completionSeconds", "utm", "submitter"] {
        if let Some(value) = submission.get(name) {
            data.insert(name.to_owned(), to_json(value));
        }
    }
    Some(Call::new(&facts.uri(), "form.submitted", made(submission)?, data))
}

/// A call by which staff see whether a receiver takes calls. It tells of nothing that happened.
#[must_use]
pub fn test(tenant: &Did, hook: &str, now: Timestamp) -> Call {
    let data = Object::from_iter([("tenant".to_owned(), tenant.as_str().into()), ("webhook".to_owned(), hook.into())]);
    Call::new(&format!("test {tenant} {hook} {now}"), "webhook.test", &now.to_string(), data)
}

fn begin(facts: Facts<'_>, record: &str) -> Object<String, Json> {
    let mut data = Object::new();
    put(&mut data, "tenant", Some(facts.tenant.as_str()));
    put(&mut data, record, Some(&facts.uri()));
    data
}

fn put(data: &mut Object<String, Json>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        data.insert(name.to_owned(), value.into());
    }
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

/// When the record was made, as it says.
fn made(record: &Value) -> Option<&str> {
    text(record, "createdAt").filter(|at| at.parse::<Datetime>().is_ok())
}

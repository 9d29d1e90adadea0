//! What a message has to be beyond its lexicon: the part that its kind of content demands, who may speak as what, and
//! clean markup (`records.md` 4.3, MSG-02). And what the index takes from it: its words, and what it is about.

use serde_json::Value as Json;

use super::markup::{UncleanMarkup, check_markup};
use crate::data::Value;
use crate::limits::CONTEXT_WORD_BYTES_MAX;

/// In whose name a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A person.
    Person,
    /// An agent whose owner confirms it (AGT-10).
    Agent,
    /// Such an agent, whose owner is who holds the space.
    HouseAgent,
    /// An account that says it is an agent, whose owner does not say so.
    Unconfirmed,
    /// The node, for a tenant: events of the business.
    House,
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefused {
    /// The content lacks what its type demands.
    #[error("content.type is {kind}, which needs content.{field}")]
    Lacks {
        /// The type of the content.
        kind: String,
        /// The field that is missing or empty.
        field: &'static str,
    },
    /// Somebody speaks as what they are not.
    #[error("a message of type {0} is not yours to write")]
    Speaker(String),
    /// What only looks like an event of the business, which others act upon.
    #[error(
        "content.systemData tells what happened in a business, in messages of type system or intelligence; this one is of \
         type {0}"
    )]
    NoEvent(String),
    /// An agent speaks whose owner does not confirm it.
    #[error(
        "a message of type {0} is for agents whose owner confirms them: the owner that the agent's profile names has to \
         write the record co.kendev.agents.ownership for it"
    )]
    Unconfirmed(String),
    /// An account that says it is an agent writes as a person.
    #[error(
        "a message of type user is for people, and this account says in co.kendev.agents.agentProfile that it is an agent: \
         write it as leo, action or intelligence"
    )]
    NotAPerson,
    /// Markup that is not of the simple kind.
    #[error("content.html: {0}")]
    Markup(#[from] UncleanMarkup),
}

/// Checks a message that its lexicon has accepted.
///
/// # Errors
/// [`MessageRefused`], by what is wrong.
pub fn check_message(record: &Value, speaker: Speaker) -> Result<(), MessageRefused> {
    let speaks_as = record.get("messageType").and_then(Value::as_str).unwrap_or_default();
    if speaks_as == "user" && matches!(speaker, Speaker::Agent | Speaker::HouseAgent | Speaker::Unconfirmed) {
        return Err(MessageRefused::NotAPerson);
    }
    if speaker == Speaker::Unconfirmed {
        return Err(MessageRefused::Unconfirmed(speaks_as.to_owned()));
    }
    let allowed = match speaks_as {
        "user" => speaker == Speaker::Person,
        "leo" => matches!(speaker, Speaker::Agent | Speaker::HouseAgent),
        "intelligence" => matches!(speaker, Speaker::Agent | Speaker::HouseAgent | Speaker::House),
        // What happens in a business, the business tells.
        "system" => matches!(speaker, Speaker::HouseAgent | Speaker::House),
        // Anybody may propose; a button does nothing without the reader's own rights.
        "action" => true,
        _ => false,
    };
    if !allowed {
        return Err(MessageRefused::Speaker(speaks_as.to_owned()));
    }
    let content = record.get("content");
    let field = |name: &str| content.and_then(|content| content.get(name));
    let kind = field("type").and_then(Value::as_str).unwrap_or_default();
    let needed = match kind {
        "text" => "text",
        "rich" => "rich",
        "system" => "systemData",
        "widget" => "widgets",
        "action" => "actionData",
        _ => "type",
    };
    let is_there = match field(needed) {
        Some(Value::String(text)) => !text.trim().is_empty() && needed != "type",
        Some(Value::List(items)) => !items.is_empty(),
        Some(Value::Map(_)) => true,
        _ => false,
    };
    if !is_there {
        return Err(MessageRefused::Lacks { kind: kind.to_owned(), field: needed });
    }
    if (kind == "system" || field("systemData").is_some()) && !matches!(speaks_as, "system" | "intelligence") {
        return Err(MessageRefused::NoEvent(speaks_as.to_owned()));
    }
    match field("html").and_then(Value::as_str) {
        Some(html) => Ok(check_markup(html)?),
        None => Ok(()),
    }
}

/// All text of a message that people read, for searching.
#[must_use]
pub fn text_of(record: &Value) -> String {
    let mut out = String::new();
    let Some(content) = record.get("content") else { return out };
    let mut add = |text: &str| {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(text);
    };
    content.get("text").and_then(Value::as_str).into_iter().for_each(&mut add);
    if let Some(rich) = content.get("rich") {
        readable(rich, &mut add);
    }
    if let Some(Value::List(widgets)) = content.get("widgets") {
        widgets.iter().for_each(|widget| readable(widget, &mut add));
    }
    content.get("systemData").and_then(|data| data.get("event")).and_then(Value::as_str).into_iter().for_each(&mut add);
    content
        .get("actionData")
        .and_then(|data| data.get("action"))
        .and_then(Value::as_str)
        .into_iter()
        .for_each(&mut add);
    out
}

/// The fields of blocks and widgets that hold words; the depth is bounded by the data model.
fn readable(value: &Value, add: &mut impl FnMut(&str)) {
    const WORDS: [&str; 9] = ["text", "items", "title", "body", "question", "options", "caption", "alt", "label"];
    match value {
        Value::Map(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(text) if WORDS.contains(&name.as_str()) => add(text),
                    Value::List(items) if WORDS.contains(&name.as_str()) || name == "blocks" => {
                        items.iter().for_each(|item| match item {
                            Value::String(text) => add(text),
                            other => readable(other, add),
                        });
                    }
                    _ => {}
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| readable(item, add)),
        _ => {}
    }
}

/// What a message is about in the business, by which it is filtered (MSG-01).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// For example `sales`.
    pub department: Option<String>,
    /// For example `customer_onboarding`.
    pub workflow: Option<String>,
    /// For example `purchase`.
    pub journey: Option<String>,
}

/// The context that a message declares in `content.metadata`, as JSON with the fields `department`, `workflow` and
/// `customerJourney`. Anything else there is for programs.
#[must_use]
pub fn context_of(record: &Value) -> Context {
    let metadata = record.get("content").and_then(|content| content.get("metadata")).and_then(Value::as_str);
    let parsed: Option<Json> = metadata.and_then(|text| serde_json::from_str(text).ok());
    let word = |name: &str| {
        let text = parsed.as_ref()?.get(name)?.as_str()?;
        (!text.is_empty() && text.len() <= CONTEXT_WORD_BYTES_MAX).then(|| text.to_owned())
    };
    Context { department: word("department"), workflow: word("workflow"), journey: word("customerJourney") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::record_from_json;

    fn message(kind: &str, content: Json) -> Value {
        record_from_json(&json!({ "messageType": kind, "content": content })).expect("data")
    }

    #[test]
    fn content_has_what_its_type_demands() {
        for (content, missing) in [
            (json!({ "type": "text" }), Some("text")),
            (json!({ "type": "text", "text": "  " }), Some("text")),
            (json!({ "type": "text", "text": "a" }), None),
            (json!({ "type": "rich", "text": "a" }), Some("rich")),
            (json!({ "type": "widget", "widgets": [] }), Some("widgets")),
            (json!({ "type": "system" }), Some("systemData")),
            (json!({ "type": "action", "actionData": { "action": "a" } }), None),
            (json!({ "text": "a" }), Some("type")),
        ] {
            let checked = check_message(&message("user", content.clone()), Speaker::Person);
            let found = match checked {
                Err(MessageRefused::Lacks { field, .. }) => Some(field),
                other => other.map(|()| None).expect("no other reason"),
            };
            assert_eq!(found, missing, "{content}");
        }
    }

    #[test]
    fn only_the_house_speaks_for_the_house() {
        let text = json!({ "type": "text", "text": "a" });
        let may = |kind: &str, speaker| check_message(&message(kind, text.clone()), speaker).is_ok();
        assert!(may("user", Speaker::Person) && !may("user", Speaker::House));
        assert!(!may("system", Speaker::Person) && may("system", Speaker::House));
        assert!(!may("leo", Speaker::Person) && !may("leo", Speaker::House));
        for agent in [Speaker::Agent, Speaker::HouseAgent] {
            assert!(may("leo", agent) && may("action", agent) && may("intelligence", agent));
        }
        for agent in [Speaker::Agent, Speaker::HouseAgent, Speaker::Unconfirmed] {
            let refused = check_message(&message("user", text.clone()), agent);
            assert_eq!(refused, Err(MessageRefused::NotAPerson), "whether or not its owner confirms it");
        }
        assert!(may("system", Speaker::HouseAgent) && !may("system", Speaker::Agent));
        for kind in ["leo", "action", "intelligence", "system"] {
            let refused = check_message(&message(kind, text.clone()), Speaker::Unconfirmed);
            assert_eq!(refused, Err(MessageRefused::Unconfirmed(kind.to_owned())), "until its owner confirms it");
        }
        assert!(!may("intelligence", Speaker::Person) && may("action", Speaker::Person));
        assert!(!may("queen", Speaker::House));
    }

    #[test]
    fn nobody_makes_up_what_happened() {
        let event = json!({ "event": "payment.captured" });
        let beside = json!({ "type": "text", "text": "a", "systemData": event });
        for content in [json!({ "type": "system", "systemData": event }), beside] {
            for (kind, speaker) in [("user", Speaker::Person), ("action", Speaker::Person), ("leo", Speaker::Agent)] {
                let refused = check_message(&message(kind, content.clone()), speaker);
                assert_eq!(refused, Err(MessageRefused::NoEvent(kind.to_owned())));
            }
            for (kind, speaker) in [("system", Speaker::House), ("intelligence", Speaker::Agent)] {
                check_message(&message(kind, content.clone()), speaker).expect("who may tell of it");
            }
        }
    }

    #[test]
    fn words_and_context_are_taken_from_where_they_are() {
        let rich = message(
            "user",
            json!({
                "type": "rich", "text": "Lead",
                "rich": { "text": "Body", "format": "plain", "blocks": [
                    { "$type": "co.kendev.defs#blockList", "items": ["one", "two"] },
                    { "$type": "co.kendev.defs#blockCode", "text": "code", "language": "rust" },
                ] },
                "metadata": "{\"department\":\"sales\",\"customerJourney\":\"purchase\",\"workflow\":7}",
            }),
        );
        assert_eq!(text_of(&rich), "Lead\none\ntwo\ncode\nBody");
        let context = context_of(&rich);
        assert_eq!((context.department.as_deref(), context.journey.as_deref()), (Some("sales"), Some("purchase")));
        assert_eq!(context.workflow, None);
        assert_eq!(context_of(&message("user", json!({ "metadata": "no JSON" }))), Context::default());
    }
}

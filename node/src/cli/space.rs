//! `angel space`: the public spaces that the running node serves, and what is said in one. Private ones are for their
//! members alone, and the operator is none.

use clap::Subcommand;
use serde_json::Value;

use super::client::Daemon;
use super::exit::Failure;
use super::output::print;
use super::{Common, block_on};

/// What can be asked about spaces.
#[derive(Debug, Subcommand)]
pub(super) enum SpaceVerb {
    /// List the public spaces.
    List,
    /// Show one: who holds it, how many are in it, its channels.
    Show {
        /// Its URI, as `angel space list` prints it.
        space: String,
    },
    /// Print the newest messages of one.
    Messages {
        /// Its URI, as `angel space list` prints it.
        space: String,
    },
}

pub(super) fn space(common: &Common, verb: SpaceVerb) -> Result<(), Failure> {
    let daemon = Daemon::find(common)?;
    let ask = |method: &str, space: Option<&str>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(space) = space {
            query.append_pair("space", space);
        }
        block_on(daemon.get(&format!("/xrpc/co.kendev.spaces.{method}?{}", query.finish())))?
    };
    let (answer, lines) = match verb {
        SpaceVerb::List => {
            let answer = ask("listSpaces", None)?;
            let lines = list(&answer, "spaces").iter().map(line_of_space).collect();
            (answer, lines)
        }
        SpaceVerb::Show { space } => {
            let mut answer = ask("getSpace", Some(&space))?;
            answer["channels"] = ask("listChannels", Some(&space))?["channels"].take();
            let channels = list(&answer, "channels").iter().map(|channel| {
                format!("  #{:<24} {}", text(channel, "/value/name"), text(channel, "/value/channelType"))
            });
            let lines = std::iter::once(line_of_space(&answer)).chain(channels).collect();
            (answer, lines)
        }
        SpaceVerb::Messages { space } => {
            let answer = ask("listMessages", Some(&space))?;
            let line = |message: &Value| {
                let said = text(message, "/value/content/text");
                format!("{}  {}  {said}", text(message, "/indexedAt"), text(message, "/sender"))
            };
            let lines: Vec<String> = list(&answer, "messages").iter().rev().map(line).collect();
            (answer, lines)
        }
    };
    print(common, &answer, lines)?;
    Ok(())
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}

fn line_of_space(space: &Value) -> String {
    let number = |pointer: &str| space.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    format!(
        "{:<24} members {:>6}  messages {:>8}  {}",
        text(space, "/value/name"),
        number("/stats/memberCount"),
        number("/stats/messageCount"),
        text(space, "/uri"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_space_is_one_line() {
        let space = json!({
            "uri": "at://did:web:a.example/co.kendev.spaces.space/3kz", "value": { "name": "Shop floor" },
            "stats": { "memberCount": 3, "messageCount": 12 },
        });
        let expected = "Shop floor               members      3  messages       12  \
                        at://did:web:a.example/co.kendev.spaces.space/3kz";
        assert_eq!(super::line_of_space(&space), expected);
    }
}

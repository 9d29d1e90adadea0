//! What the methods of `a.b.*` take. Written by `scripts/types` from their documents under `lexicons/`: change those,
//! and not this.

use angel_protocol::ids::{Did, Tid, Uri};
use serde::Deserialize;
use serde_json::Value;

use crate::xrpc::types::Bytes;

/// The body of `a.b.doIt`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DoItInput {
    /// Where.
    #[serde(rename = "aURL")]
    pub(crate) a_url: Option<Uri>,
    /// Anything.
    pub(crate) any: Option<Value>,
    /// Perhaps nothing. When absent, `1`.
    pub(crate) gone: Option<i64>,
    /// How many. From 1 to 90. When absent, `7`.
    #[serde(default = "do_it_input_how_many")]
    pub(crate) how_many: u8,
    /// Something inside.
    pub(crate) inside: Option<DoItInputInside>,
    /// Whether. When absent, `false`.
    #[serde(default)]
    pub(crate) loud: bool,
    /// One of them.
    pub(crate) one: Option<DoItInputOne>,
    /// One of these alone.
    pub(crate) only: Option<DoItInputOnly>,
    /// What is said. At most 10 bytes. When absent, `nothing "much"`.
    #[serde(default = "do_it_input_said")]
    pub(crate) said: String,
    /// The signature. At most 64 bytes.
    pub(crate) signed: Option<Bytes>,
    /// Whether not. When absent, `true`.
    #[serde(default = "do_it_input_sure")]
    pub(crate) sure: bool,
    /// Which. One of `open`, `settled`.
    pub(crate) r#type: String,
    /// Who. At most 2 entries.
    pub(crate) who: Vec<Did>,
}

const fn do_it_input_how_many() -> u8 {
    7
}

fn do_it_input_said() -> String {
    "nothing \"much\"".to_owned()
}

const fn do_it_input_sure() -> bool {
    true
}

/// Something inside.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DoItInputInside {
    /// A number.
    pub(crate) self_: i64,
}

/// One of them.
#[derive(Deserialize)]
#[serde(tag = "$type")]
pub(crate) enum DoItInputOne {
    /// Left.
    #[serde(rename = "a.b.doIt#left")]
    DoItLeft(DoItLeft),
    /// Right.
    #[serde(rename = "a.b.defs#right")]
    Right(Right),
    /// Something that the document does not name.
    #[serde(other)]
    Other,
}

/// Left.
#[derive(Deserialize)]
pub(crate) struct DoItLeft {
    /// How far.
    pub(crate) n: i64,
}

/// Right.
#[derive(Deserialize)]
pub(crate) struct Right {}

/// One of these alone.
#[derive(Deserialize)]
#[serde(tag = "$type")]
pub(crate) enum DoItInputOnly {
    /// Left.
    #[serde(rename = "a.b.doIt#left")]
    DoItLeft(DoItLeft),
}

/// The parameters of `a.b.list`. Which page.
#[derive(Deserialize)]
pub(crate) struct ListParameters {
    /// What the page before gave.
    pub(crate) cursor: Option<Tid>,
    /// Most. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
}

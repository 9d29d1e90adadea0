//! The event stream as lines of JSON, as Jetstream servers have it: for those who want a few kinds of record and no CBOR.
//!
//! A line is made of an event once and shared by all who read JSON; each follower's [`Filter`] decides which it gets.
//! Nothing here is signed or proves anything: whoever needs that follows the frames.

mod filter;
mod line;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;

use crate::firehose::{Entry, Format, Frames, Heard, ReadsJson};
pub(crate) use filter::{Filter, OptionsUpdate, Wanted};
pub(crate) use line::{Line, lines};

/// Longest message that a follower may send, in bytes: the largest [`Filter`] as JSON.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// How far before its cursor a follower begins. Times say only roughly what came first, and a line that comes twice does
/// less harm than one that never comes.
pub(crate) const REWIND: Duration = Duration::from_secs(5);

/// Lines for one follower.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    filter: Arc<Filter>,
    /// Whether nothing is sent until the follower has said what it wants.
    awaits_hello: bool,
    _counted: Arc<ReadsJson>,
}

impl Lines {
    /// What passes `filter`.
    pub(crate) fn new(filter: Filter, awaits_hello: bool, counted: ReadsJson) -> Self {
        Self { filter: Arc::new(filter), awaits_hello, _counted: Arc::new(counted) }
    }

    fn update(&mut self, text: &str) -> ControlFlow<String> {
        let update = match serde_json::from_str::<OptionsUpdate>(text) {
            Ok(update) => update,
            Err(error) => return ControlFlow::Break(format!("the message cannot be read: {error}")),
        };
        match Filter::new(update.payload) {
            Ok(filter) => {
                self.filter = Arc::new(filter);
                self.awaits_hello = false;
                ControlFlow::Continue(())
            }
            Err(refused) => ControlFlow::Break(refused.to_string()),
        }
    }
}

impl Format<Entry> for Lines {
    fn frames(&self, entry: &Entry, out: &mut Frames) {
        let wanted = entry.lines().iter().filter(|line| self.filter.passes(line));
        out.extend(wanted.map(|line| line.text.wire()));
    }

    fn heard(&mut self, message: Message) -> Heard {
        match message {
            Message::Text(text) => match self.update(&text) {
                ControlFlow::Continue(()) => Heard::Changed,
                ControlFlow::Break(refused) => Heard::Refused(refused),
            },
            _ => Heard::Nothing,
        }
    }

    fn is_open(&self) -> bool {
        !self.awaits_hello
    }

    /// A stream of JSON has no form for errors: the reason stands in the close frame.
    fn error(&self, _name: &str, _message: &str) -> Option<Message> {
        None
    }

    fn outdated(&self) -> Option<Message> {
        None
    }
}

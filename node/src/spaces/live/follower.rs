//! One follower of a space: where their entries come from, and in which form they get them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_protocol::firehose::{error_frame, info_frame};
use angel_protocol::spaces::Told;
use angel_storage::codec::Cbor;
use angel_storage::reader::ReadError;
use angel_storage::spaces::{LOG, MESSAGES, SPACES};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Message;

use super::super::Spaces;
use super::super::told::{Audience, notice_again, notice_of_what};
use super::join::Chair;
use super::{Entry, Hub, Seat};
use crate::blocking;
use crate::firehose::{Behind, Format, Frames, Goodbye, Heard, News, Next, Stream};

/// Entries that are read from the index at a time for one follower.
const PAGE_ENTRIES: usize = 64;

/// The least time between two signals of one follower: typing is told to everybody.
const SIGNAL_GAP: Duration = Duration::from_millis(500);

/// A space as one follower follows it.
#[derive(Clone)]
pub(crate) struct SpaceStream {
    spaces: Spaces,
    hub: Arc<Hub>,
    seat: Arc<Seat>,
    _chair: Arc<Chair>,
}

impl SpaceStream {
    pub(super) fn new(spaces: Spaces, hub: Arc<Hub>, seat: Arc<Seat>, chair: Chair) -> Self {
        Self { spaces, hub, seat, _chair: Arc::new(chair) }
    }

    /// Whether the follower may hear an entry now.
    pub(crate) fn hears(&self, entry: &Entry) -> bool {
        self.seat.hears(entry.audience)
    }

    /// Tells when there is more, whoever is not told in rounds.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.hub.head.subscribe()
    }

    /// What is told besides, to those who are there, and kept by nobody.
    pub(crate) fn aside(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.hub.aside.subscribe()
    }

    /// A page of the index: new messages and what else happened, in the order of their numbers.
    fn page(&self, position: u64) -> Result<Next<Entry>, ReadError> {
        let (reader, id) = (&self.spaces.0.reader, self.hub.space);
        let Some(space) = reader.get(&SPACES, &id)? else { return Ok(Next::Nothing) };
        let messages = reader.scan(&MESSAGES).prefix(&id).after(&(id, position)).page(PAGE_ENTRIES)?;
        let happenings = reader.scan(&LOG).prefix(&id).after(&(id, position)).page(PAGE_ENTRIES)?;
        let ends = [
            messages.rows.last().filter(|_| messages.more).map(|((_, number), _)| *number),
            happenings.rows.last().filter(|_| happenings.more).map(|((_, number), _)| *number),
        ];
        // Where one of the two pages ends, the other may not go on.
        let behind = ends.into_iter().flatten().min();
        let upto = behind.unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        for ((_, number), row) in messages.rows.into_iter().filter(|((_, number), _)| *number <= upto) {
            entries.extend(notice_again(reader, id, &space, number, &row)?);
        }
        for ((_, number), Cbor(happening)) in happenings.rows.into_iter().filter(|((_, number), _)| *number <= upto) {
            entries.extend(notice_of_what(reader, id, &space, number, &happening)?);
        }
        entries.sort_by_key(|notice| notice.number);
        let from = self.hub.round.look(|ring| ring.from());
        let last = entries.last().map_or(position, |notice| notice.number);
        // Without more, everything before the ring was read, whatever is left of it.
        let behind = behind.unwrap_or_else(|| last.max(from));
        Ok(Next::Entries(entries.into_iter().map(Entry::of).collect(), behind))
    }
}

impl Stream for SpaceStream {
    type Entry = Entry;

    async fn next(&self, position: u64, current: bool) -> Result<Next<Entry>, ReadError> {
        match self.hub.round.after(position) {
            Ok((entries, _)) if entries.is_empty() => Ok(Next::Nothing),
            Ok((entries, position)) => Ok(Next::Entries(entries, position)),
            Err(Behind) if current => Ok(Next::TooSlow),
            Err(Behind) => {
                let this = self.clone();
                blocking::run(move || this.page(position)).await
            }
        }
    }

    fn news(&self) -> News<Entry> {
        News::Round(Arc::clone(&self.hub.round))
    }

    async fn closing(&self) -> Goodbye {
        tokio::select! {
            () = self.spaces.0.live.0.closing.cancelled() => Goodbye::node_stops(),
            () = self.seat.ended.cancelled() => self.seat.why.get().cloned().unwrap_or_else(Goodbye::node_stops),
        }
    }

    fn count_sent(&self, _messages: u64) {}

    fn count_too_slow(&self) {
        tracing::debug!("a follower of a space was too slow");
    }
}

/// In which form a follower gets entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames of DAG-CBOR.
    Frames,
    /// JSON objects.
    Json,
}

/// The form of one follower, and what they may say.
#[derive(Clone)]
pub(crate) struct SpaceFormat {
    stream: SpaceStream,
    form: Form,
    signalled: Option<Instant>,
}

/// What a follower may say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
enum Said {
    /// They are writing.
    Typing { channel: Option<String> },
}

impl SpaceFormat {
    /// For a follower of `stream`.
    pub(crate) const fn new(stream: SpaceStream, form: Form) -> Self {
        Self { stream, form, signalled: None }
    }

    fn typing(&mut self, channel: Option<&str>) {
        let now = Instant::now();
        let too_soon = self.signalled.is_some_and(|last| now.duration_since(last) < SIGNAL_GAP);
        let Some(did) = self.stream.seat.did().filter(|_| !too_soon) else { return };
        self.signalled = Some(now);
        self.stream.spaces.typing(self.stream.hub.space, did, channel);
    }
}

impl Format<Entry> for SpaceFormat {
    fn frames(&self, entry: &Entry, out: &mut Frames) {
        // Nobody is told of themselves: that they write, or that they have come.
        let of_themselves = matches!(entry.told, Told::Typing | Told::Presence)
            && self.stream.seat.did().is_some_and(|did| {
                entry.body.get("did").and_then(angel_protocol::data::Value::as_str) == Some(did.as_str())
            });
        if !of_themselves && self.stream.hears(entry) {
            let framed = match self.form {
                Form::Frames => entry.frame(),
                Form::Json => entry.text(),
            };
            out.push_back(framed.wire());
        }
    }

    fn heard(&mut self, message: Message) -> Heard {
        let Message::Text(text) = message else { return Heard::Nothing };
        match serde_json::from_str(&text) {
            Ok(Said::Typing { channel }) => {
                self.typing(channel.as_deref());
                Heard::Nothing
            }
            Err(error) => Heard::Refused(format!("the message cannot be read: {error}")),
        }
    }

    fn error(&self, name: &str, message: &str) -> Option<Message> {
        Some(match self.form {
            Form::Frames => Message::Binary(error_frame(name, message).into()),
            Form::Json => Message::Text(json!({ "error": name, "message": message }).to_string().into()),
        })
    }

    fn outdated(&self) -> Option<Message> {
        let text = "what happened after the cursor is no longer kept: some may have been missed";
        Some(match self.form {
            Form::Frames => Message::Binary(info_frame("OutdatedCursor", text).into()),
            Form::Json => {
                let info = json!({
                    "$type": "co.kendev.spaces.subscribeSpace#info", "name": "OutdatedCursor", "message": text,
                });
                Message::Text(info.to_string().into())
            }
        })
    }
}

impl Spaces {
    /// Tells those who may read a channel that somebody is writing there; a channel that they may not write to is passed
    /// over. Reads a few rows.
    pub(crate) fn typing(
        &self,
        space: angel_storage::spaces::SpaceId,
        did: &angel_protocol::ids::Did,
        channel: Option<&str>,
    ) {
        let (this, did, channel) = (self.clone(), did.clone(), channel.map(ToOwned::to_owned));
        tokio::spawn(async move {
            let found = blocking::run({
                let (this, did, channel) = (this.clone(), did.clone(), channel.clone());
                move || this.may_type(space, &did, channel.as_deref())
            });
            if let Ok(Some(number)) = found.await {
                this.0.live.signal(space, Audience::Channel(number), Told::Typing, |body| {
                    body.text("did", did.as_str());
                    if let Some(channel) = channel {
                        body.text("channel", channel);
                    }
                });
            }
        });
    }
}

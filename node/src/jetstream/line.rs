//! One line: something that happened to a record or an account, as JSON.

use angel_protocol::data::{cbor, to_json};
use angel_protocol::firehose::{CommitBody, Frame, Message};
use angel_protocol::ids::Did;
use angel_protocol::limits::{COMMIT_CAR_BLOCKS_MAX, COMMIT_CAR_BYTES_MAX};
use angel_protocol::repo::MemoryBlocks;
use angel_protocol::repo::car::{self, CarLimits};
use angel_protocol::repo::mst::{Action, Change};
use angel_protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::firehose::Framed;

/// A line with what a filter looks at.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) did: Did,
    /// Of a change to a record.
    pub(crate) collection: Option<String>,
    pub(crate) text: Framed,
}

/// The lines of an event that happened `at`: one for each record that a commit changes, one for a change of the account,
/// none for a `#sync`. A commit's lines follow one another by a microsecond. Times are made of milliseconds, and writes
/// side by side are not in the log in the order of their times: hence [`super::REWIND`].
pub(crate) fn lines(frame: &[u8], at: Timestamp) -> Vec<Line> {
    // Frames are made here; one that cannot be read is passed over rather than ending the stream of everybody.
    let Ok(Frame::Message { sequence, time, message }) = Frame::decode(frame) else { return vec![] };
    let time_us = at.as_millis().saturating_mul(1000);
    match message {
        Message::Commit(body) => commit_lines(&body, time_us),
        Message::Identity { did, handle } => {
            let mut identity = json!({ "did": did, "seq": sequence, "time": time });
            if let Some(handle) = handle {
                identity["handle"] = handle.as_str().into();
            }
            vec![Line::new(did, None, time_us, "identity", identity)]
        }
        Message::Account { did, active, status } => {
            let mut account = json!({ "did": did, "seq": sequence, "time": time, "active": active });
            if let Some(status) = status {
                account["status"] = status.into();
            }
            vec![Line::new(did, None, time_us, "account", account)]
        }
        Message::Sync { .. } => vec![],
    }
}

fn commit_lines(body: &CommitBody, time_us: u64) -> Vec<Line> {
    let limits = CarLimits { bytes_max: COMMIT_CAR_BYTES_MAX as u64, blocks_max: COMMIT_CAR_BLOCKS_MAX };
    let Ok((_, blocks)) = car::decode(&body.car, limits) else { return vec![] };
    let blocks: MemoryBlocks = blocks.iter().collect();
    let changes = body.changes.iter().zip(time_us..);
    changes.filter_map(|(change, time_us)| commit_line(body, change, &blocks, time_us)).collect()
}

fn commit_line(body: &CommitBody, change: &Change, blocks: &MemoryBlocks, time_us: u64) -> Option<Line> {
    let (collection, rkey) = change.key.as_str().split_once('/')?;
    let operation = match change.action() {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
    };
    let mut commit = json!({
        "rev": body.rev.to_string(),
        "operation": operation,
        "collection": collection,
        "rkey": rkey,
    });
    if let Some(cid) = change.after {
        commit["record"] = to_json(&cbor::decode(blocks.block(&cid)?.bytes()).ok()?);
        commit["cid"] = cid.to_string().into();
    }
    Some(Line::new(body.repo.clone(), Some(collection.to_owned()), time_us, "commit", commit))
}

impl Line {
    fn new(did: Did, collection: Option<String>, time_us: u64, kind: &str, body: Value) -> Self {
        let mut line = json!({ "did": did, "time_us": time_us, "kind": kind });
        line[kind] = body;
        Self { did, collection, text: Framed::text(&line.to_string()) }
    }
}

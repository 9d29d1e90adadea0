//! Subscribers of the event stream, as cheap as they can be: one thread reads them all, finds sequence and revision in
//! each frame, and notes the time. Each must hear every event once and in order.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use angel_harness::crowd::{Crowd, Tally};
use anyhow::{Context, Result, bail, ensure};

use crate::host::Host;

/// A revision is a TID: thirteen characters.
const REV_LEN: usize = 13;
/// How "rev" with such a value begins in DAG-CBOR: text(3) "rev" text(13).
const REV_MARK: &[u8] = b"\x63rev\x6d";
/// How "seq" begins: text(3) "seq". The order of keys puts it right behind "rev" where there is one.
const SEQ_MARK: &[u8] = b"\x63seq";
const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether all are still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Rev = [u8; REV_LEN];

/// Connected subscribers that have each seen a first event.
pub(crate) struct Subscribers {
    crowd: Crowd,
    seen: Tally<(Rev, Instant)>,
    count: usize,
}

impl Subscribers {
    /// Connects `count` subscribers without a cursor, and writes until all of them are seen to receive.
    pub(crate) async fn connect(host: &Host, count: usize) -> Result<Self> {
        let url = format!("{}/xrpc/com.atproto.sync.subscribeRepos", host.target.url.replacen("http", "ws", 1));
        let seen = Tally::default();
        let mut last = vec![0; count];
        let crowd = Crowd::connect(&url, count, {
            let seen = seen.clone();
            move |subscriber, frame, at| {
                let (sequence, rev) = what(frame)?;
                let last = last.get_mut(subscriber).context("nobody")?;
                ensure!(sequence > *last, "event {sequence} came after event {last}");
                *last = sequence;
                if let Some(rev) = rev {
                    seen.note((rev, at));
                }
                Ok(())
            }
        })?;
        let mut subscribers = Self { crowd, seen, count };
        let writer = host.writers.first().context("no account")?;
        for _ in 0..20 {
            let rev = host.create_record(writer).await?;
            if subscribers.reached(&[rev], Duration::from_secs(2)).await? {
                return Ok(subscribers);
            }
        }
        bail!("not every subscriber received anything")
    }

    /// Waits until every subscriber has every revision; false when the time is over.
    pub(crate) async fn reached(&mut self, revs: &[String], limit: Duration) -> Result<bool> {
        let revs = revs.iter().map(|rev| rev_of(rev.as_bytes())).collect::<Result<HashSet<_>>>()?;
        let wanted = revs.len() * self.count;
        let deadline = Instant::now() + limit;
        loop {
            ensure!(self.crowd.is_there(), "a subscriber was disconnected, or heard something out of order");
            let (have, all) =
                self.seen.look(|seen| (seen.iter().filter(|(rev, _)| revs.contains(rev)).count(), seen.len()));
            ensure!(have <= wanted, "{have} deliveries where {wanted} were due: events came twice");
            if have == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // Looks again, whichever it was.
            self.seen.until(all + wanted - have, left.min(LOOK_EVERY)).await;
        }
    }

    /// Waits for the revisions everywhere; answers the time from each answer to each delivery, in microseconds.
    pub(crate) async fn lags(mut self, answered: &HashMap<String, Instant>) -> Result<Vec<i64>> {
        let revs: Vec<String> = answered.keys().cloned().collect();
        let complete = self.reached(&revs, DELIVERY_MAX).await;
        let complete = match complete {
            Ok(complete) => complete,
            Err(error) => return Err(self.crowd.leave().err().unwrap_or(error)),
        };
        let answered = answered.iter().map(|(rev, at)| Ok((rev_of(rev.as_bytes())?, *at)));
        let answered = answered.collect::<Result<HashMap<_, _>>>()?;
        let lags: Vec<i64> = self.seen.look(|seen| {
            let due = seen.iter().filter_map(|(rev, at)| Some((*at, *answered.get(rev)?)));
            due.map(|(delivered, answered)| signed_us(delivered, answered)).collect()
        });
        let wanted = answered.len() * self.count;
        ensure!(complete, "{} of {wanted} deliveries came within {DELIVERY_MAX:?}", lags.len());
        self.crowd.leave()?;
        Ok(lags)
    }
}

/// The sequence of a frame, and the revision where it is a commit's.
fn what(frame: &[u8]) -> Result<(u64, Option<Rev>)> {
    let mark = memchr::memmem::find(frame, SEQ_MARK).context("a frame without a sequence")?;
    let sequence = match frame.get(mark + SEQ_MARK.len()..).unwrap_or_default() {
        [small @ 0..0x18, ..] => u64::from(*small),
        [0x18, a, ..] => u64::from(*a),
        [0x19, a, b, ..] => u64::from(u16::from_be_bytes([*a, *b])),
        [0x1A, a, b, c, d, ..] => u64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        [0x1B, a, b, c, d, e, f, g, h, ..] => u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        _ => bail!("a sequence that is no number"),
    };
    let before = frame.get(..mark).and_then(|before| before.split_last_chunk::<REV_LEN>());
    Ok((sequence, before.filter(|(before, _)| before.ends_with(REV_MARK)).map(|(_, rev)| *rev)))
}

fn rev_of(bytes: &[u8]) -> Result<Rev> {
    bytes.try_into().context("a revision that is no TID")
}

fn signed_us(later: Instant, earlier: Instant) -> i64 {
    let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    if later >= earlier { us(later - earlier) } else { -us(earlier - later) }
}

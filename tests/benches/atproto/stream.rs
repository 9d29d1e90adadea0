//! Subscribers of the event stream, as cheap as they can be: each looks for the revision in a frame and notes the time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::host::Host;

/// A revision is a TID: thirteen characters.
const REV_LEN: usize = 13;
/// How "rev" with such a value begins in DAG-CBOR: text(3) "rev" text(13).
const REV_MARK: &[u8] = b"\x63rev\x6d";
const DELIVERY_MAX: Duration = Duration::from_secs(60);

type Rev = [u8; REV_LEN];

/// Connected subscribers that have each seen a first event.
pub(crate) struct Subscribers {
    tasks: JoinSet<Result<()>>,
    seen: Arc<Mutex<Vec<(Rev, Instant)>>>,
    delivered: watch::Receiver<usize>,
    count: usize,
}

impl Subscribers {
    /// Connects `count` subscribers without a cursor, and writes until all of them are seen to receive.
    pub(crate) async fn connect(host: &Host, count: usize) -> Result<Self> {
        let url = format!("{}/xrpc/com.atproto.sync.subscribeRepos", host.target.url.replacen("http", "ws", 1));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (notify, delivered) = watch::channel(0);
        let notify = Arc::new(notify);
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (socket, _) = connect_async(&url).await.context("a subscriber does not connect")?;
            tasks.spawn(subscriber(socket, Arc::clone(&seen), Arc::clone(&notify)));
        }
        let mut subscribers = Self { tasks, seen, delivered, count };
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
        let revs = revs.iter().map(|rev| rev_of(rev.as_bytes())).collect::<Result<Vec<_>>>()?;
        let wanted = revs.len() * self.count;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a subscriber was disconnected");
            }
            let have = self.lock(|seen| seen.iter().filter(|(rev, _)| revs.contains(rev)).count());
            ensure!(have <= wanted, "{have} deliveries where {wanted} were due: events came twice");
            if have == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || timeout(left, self.delivered.changed()).await.is_err() {
                return Ok(false);
            }
            // Many deliveries wake this once.
            tokio::time::sleep(Duration::from_millis(20).min(left)).await;
        }
    }

    /// Waits for the revisions everywhere; answers the time from each answer to each delivery, in microseconds.
    pub(crate) async fn lags(mut self, answered: &HashMap<String, Instant>) -> Result<Vec<i64>> {
        let revs: Vec<String> = answered.keys().cloned().collect();
        let complete = self.reached(&revs, DELIVERY_MAX).await?;
        let answered = answered.iter().map(|(rev, at)| Ok((rev_of(rev.as_bytes())?, *at)));
        let answered = answered.collect::<Result<HashMap<_, _>>>()?;
        let lags = self.lock(|seen| {
            let due = seen.iter().filter_map(|(rev, at)| Some((*at, *answered.get(rev)?)));
            due.map(|(delivered, answered)| signed_us(delivered, answered)).collect::<Vec<_>>()
        });
        let wanted = answered.len() * self.count;
        ensure!(complete, "{} of {wanted} deliveries came within {DELIVERY_MAX:?}", lags.len());
        Ok(lags)
    }

    fn lock<T>(&self, read: impl FnOnce(&Vec<(Rev, Instant)>) -> T) -> T {
        read(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn subscriber(
    mut socket: Socket,
    seen: Arc<Mutex<Vec<(Rev, Instant)>>>,
    notify: Arc<watch::Sender<usize>>,
) -> Result<()> {
    while let Some(message) = socket.next().await {
        let Message::Binary(frame) = message? else { continue };
        let at = Instant::now();
        let mark = frame.windows(REV_MARK.len()).position(|window| window == REV_MARK);
        let rev = mark.and_then(|mark| frame.get(mark + REV_MARK.len()..)?.get(..REV_LEN));
        if let Some(rev) = rev {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((rev_of(rev)?, at));
            notify.send_modify(|count| *count += 1);
        }
    }
    Ok(())
}

fn rev_of(bytes: &[u8]) -> Result<Rev> {
    bytes.try_into().context("a revision that is no TID")
}

fn signed_us(later: Instant, earlier: Instant) -> i64 {
    let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    if later >= earlier { us(later - earlier) } else { -us(earlier - later) }
}

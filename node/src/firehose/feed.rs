//! The one reader of the log on behalf of everybody who is up to date, whom it tells at once. Woken when events are durable;
//! only while nobody follows it lets some more come before it reads them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use angel_storage::events;
use angel_storage::reader::ReadError;
use tokio_util::sync::CancellationToken;

use super::ring::Ring;
use super::{Entry, FEED_EVENTS, Firehose, Stream};
use crate::blocking;
use crate::tasks::TaskResult;

/// How long followers get to hear that the node stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long events are gathered while nobody follows: reading many at once costs little more than reading one.
const GATHER: Duration = Duration::from_millis(20);

/// Feeds until told to stop, then sends the followers away.
pub(crate) async fn run(firehose: Firehose, stop: CancellationToken) -> TaskResult {
    let mut durable = firehose.0.durable.clone();
    loop {
        let (this, upto) = (firehose.clone(), firehose.0.reader.durable_sequence());
        let more = blocking::run(move || this.feed()).await?;
        if !more {
            firehose.0.fed.send_replace(upto);
        }
        // Told before more is read: the ring holds far more than one reading, so a round never falls behind it.
        while firehose.tell().await && !stop.is_cancelled() {}
        if more && !stop.is_cancelled() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = durable.changed() => changed.map_err(|_| "the store's writer ended")?,
        }
        if firehose.0.places.taken() == 0 {
            tokio::select! {
                () = stop.cancelled() => break,
                () = firehose.0.wanted.notified() => {}
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }
    firehose.0.closing.cancel();
    // Whoever does not take the goodbye is cut off with the connection.
    drop(tokio::time::timeout(GOODBYE, firehose.0.places.all_free()).await);
    Ok(())
}

impl Firehose {
    /// Moves what is durable from the log into the ring; answers whether there may be more. Blocks.
    fn feed(&self) -> Result<bool, ReadError> {
        let head = self.0.round.look(Ring::head);
        let page = events::after(&self.0.reader, head, FEED_EVENTS)?;
        let Some(last) = page.events.last().map(|event| event.sequence) else { return Ok(false) };
        let gone = self.0.gone.learn(&page.events);
        // Nothing is made and held for nobody. A follower takes its place before it is told where it begins, so it begins
        // behind what was read before that: nobody who is up to date misses anything.
        let is_followed = self.0.places.taken() > 0;
        let entries = if is_followed { self.0.gone.entries(&page.events) } else { Vec::new() };
        if self.0.json_followers.load(Ordering::Relaxed) > 0 {
            entries.iter().for_each(|entry| {
                entry.lines();
            });
        }
        self.0.round.change(|ring| {
            if !gone.is_empty() {
                ring.remove(|entry: &Entry| entry.account.is_some_and(|account| gone.contains(&account)));
            }
            ring.push(entries, last);
            if !is_followed {
                ring.clear();
            }
        });
        Ok(page.more)
    }

    /// Tells some of it to those who are up to date; answers whether there is more.
    async fn tell(&self) -> bool {
        let told = self.0.round.tell().await;
        self.count_sent(told.messages);
        told.more
    }
}

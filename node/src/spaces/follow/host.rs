//! The stream of one host ("Event Stream", `com.atproto.sync.subscribeRepos`), read for the accounts that matter here.

use std::time::Duration;

use angel_protocol::backoff::Backoff;
use angel_protocol::firehose::{Frame, FrameError, Message};
use angel_protocol::limits::FIREHOSE_MESSAGE_BYTES_MAX;
use angel_storage::Batch;
use angel_storage::codec::Cbor;
use angel_storage::spaces::{HOSTS, HostRow};
use futures::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use super::{Authors, Follower};
use crate::blocking;
use crate::clock;
use crate::fetch::FetchError;
use crate::spaces::SpaceError;

/// How long a host may take until its stream begins.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// How often a host is asked for a sign of life, and how long it may give none.
const PING_EVERY: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How often the place in a stream is kept when nothing of it was: what comes again is known by its revision.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// Why a host is not followed for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowFailed {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its address makes no URL")]
    Address,
    #[error("it did not answer in time")]
    Slow,
    #[error("it gave no sign of life")]
    Silent,
    #[error("its stream broke: {0}")]
    Socket(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("it ended its stream: {0}")]
    Ended(String),
    #[error(transparent)]
    Here(#[from] SpaceError),
}

impl Follower {
    /// Follows a host until it ends, breaks or has no authors here any more. `known` are those whose records were gone
    /// through since this node started.
    pub(super) async fn follow_host(
        &self,
        host: &str,
        authors: &mut watch::Receiver<Authors>,
        known: &mut Authors,
        backoff: &mut Backoff,
    ) -> Result<(), FollowFailed> {
        let spaces = self.0.spaces.clone();
        let name = host.to_owned();
        let row = blocking::run(move || spaces.0.reader.get(&HOSTS, &name)).await.map_err(SpaceError::from)?;
        let mut cursor = row.and_then(|Cbor(row)| row.cursor);
        let mut url: Url = host.parse().map_err(|_| FollowFailed::Address)?;
        url.set_path("/xrpc/com.atproto.sync.subscribeRepos");
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", &cursor.to_string());
        }
        let connecting = self.0.fetcher.upgrade(&url);
        let upgraded = timeout(CONNECT_WITHIN, connecting).await.map_err(|_| FollowFailed::Slow)??;
        let config = WebSocketConfig::default()
            .max_message_size(Some(FIREHOSE_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(FIREHOSE_MESSAGE_BYTES_MAX));
        let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        tracing::debug!(%host, ?cursor, "following a host");
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut kept) = (Instant::now(), Instant::now());
        loop {
            // From the stream's beginning on nothing is missed: what was before is in the repositories.
            let now = authors.borrow_and_update().clone();
            known.retain(|did| now.contains(did));
            for did in &now {
                if !known.contains(did) {
                    self.backfill(host, did).await;
                    known.insert(did.clone());
                }
            }
            if now.is_empty() {
                return Ok(());
            }
            let frame = loop {
                tokio::select! {
                    sent = socket.next() => {
                        heard = Instant::now();
                        match sent {
                            None => return Ok(()),
                            Some(Ok(Sent::Binary(frame))) => break Some(frame),
                            Some(Ok(Sent::Close(close))) => {
                                let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                                return Err(FollowFailed::Ended(reason));
                            }
                            Some(Ok(_)) => {}
                            Some(Err(error)) => return Err(error.into()),
                        }
                    }
                    changed = authors.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                        break None;
                    }
                    _ = ping.tick() => {
                        if heard.elapsed() > SILENCE_MAX {
                            return Err(FollowFailed::Silent);
                        }
                        socket.send(Sent::Ping(axum::body::Bytes::new())).await?;
                    }
                }
            };
            let Some(frame) = frame else { continue };
            backoff.succeeded(clock::now());
            let sequence = self.heard(host, &frame, &now).await?;
            cursor = sequence.or(cursor);
            if kept.elapsed() > KEEP_EVERY {
                self.keep_cursor(host, cursor).await?;
                kept = Instant::now();
            }
        }
    }

    /// Deals with a frame; answers its sequence.
    async fn heard(&self, host: &str, frame: &[u8], authors: &Authors) -> Result<Option<u64>, FollowFailed> {
        let (sequence, message) = match Frame::decode(frame) {
            Ok(Frame::Message { sequence, message, .. }) => (sequence, message),
            Ok(Frame::Info { name, .. }) => {
                if name == "OutdatedCursor" {
                    // Something was missed: the repositories know.
                    for did in authors {
                        self.backfill(host, did).await;
                    }
                }
                return Ok(None);
            }
            Ok(Frame::Error { name, message }) => {
                if name == "FutureCursor" {
                    self.keep_cursor(host, None).await?;
                    for did in authors {
                        self.backfill(host, did).await;
                    }
                }
                return Err(FollowFailed::Ended(format!("{name} {}", message.unwrap_or_default())));
            }
            // Later versions of the stream may have other kinds.
            Err(FrameError::Kind(_)) => return Ok(None),
            Err(error) => return Err(FollowFailed::Ended(error.to_string())),
        };
        match message {
            Message::Commit(body) if authors.contains(&body.repo) => {
                self.take_commit(host, body).await?;
                self.keep_cursor(host, Some(sequence)).await?;
            }
            Message::Sync { did, .. } if authors.contains(&did) => self.backfill(host, &did).await,
            Message::Identity { did, .. } if authors.contains(&did) => {
                drop(self.0.resolver.fresh_did(&did).await);
                // Perhaps they live elsewhere now.
                self.0.spaces.0.strangers.send_modify(|count| *count += 1);
            }
            Message::Account { did, active, .. } if authors.contains(&did) => {
                self.note_active(host, &did, active).await?;
            }
            _ => {}
        }
        Ok(Some(sequence))
    }

    async fn keep_cursor(&self, host: &str, cursor: Option<u64>) -> Result<(), SpaceError> {
        let (spaces, host) = (self.0.spaces.clone(), host.to_owned());
        blocking::run(move || {
            let mut batch = Batch::new();
            batch.put(&HOSTS, &host, &Cbor(HostRow { cursor }))?;
            spaces.0.writer.commit(batch)?;
            Ok(())
        })
        .await
    }
}

//! Answers and bodies of many lines of JSON, which nobody holds as a whole.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::http::XrpcError;

/// The media type of lines of JSON.
pub(crate) const LINES: &str = "application/jsonl";

/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 4;

/// Where the pieces of an answer go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    /// Sends a piece; `false` when the client has gone away and takes no more.
    pub(crate) async fn send(self, piece: Vec<u8>) -> bool {
        piece.is_empty() || self.0.send(piece.into()).await.is_ok()
    }
}

/// An answer that `work` makes piece by piece. It ends with the client: a body that is dropped takes no more pieces.
pub(crate) fn answer<W>(work: impl FnOnce(Pieces) -> W) -> Response
where
    W: Future<Output = ()> + Send + 'static,
{
    let (pieces, body) = mpsc::channel::<Bytes>(PIECES_MAX);
    drop(tokio::spawn(work(Pieces(pieces)).in_current_span()));
    let body =
        stream::unfold(body, |mut body| async { body.recv().await.map(|piece| (Ok::<_, Infallible>(piece), body)) });
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(body)).into_response()
}

/// Reads a body line by line.
pub(crate) struct LineReader {
    chunks: axum::body::BodyDataStream,
    waiting: Vec<u8>,
    searched: usize,
    left: u64,
    line_max: usize,
    number: u64,
}

impl LineReader {
    /// Takes at most `bytes_max` bytes, and lines of at most `line_max`.
    pub(crate) fn new(body: Body, bytes_max: u64, line_max: usize) -> Self {
        let chunks = body.into_data_stream();
        Self { chunks, waiting: Vec::new(), searched: 0, left: bytes_max, line_max, number: 0 }
    }

    /// The next line; `None` behind the last. What follows the last line break is no line.
    ///
    /// # Errors
    /// The body breaks off or is too long, or a line is too long or not of its form.
    pub(crate) async fn next<L: DeserializeOwned>(&mut self) -> Result<Option<L>, XrpcError> {
        loop {
            let end = self.waiting[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
            if end.unwrap_or(self.waiting.len()) > self.line_max {
                let words = format!("line {} is longer than {} bytes", self.number + 1, self.line_max);
                return Err(XrpcError::payload_too_large(words));
            }
            if let Some(end) = end {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                self.searched = 0;
                self.number += 1;
                let unfit = |error| XrpcError::invalid_request(format!("line {} is none: {error}", self.number));
                return serde_json::from_slice(&line).map(Some).map_err(unfit);
            }
            self.searched = self.waiting.len();
            let Some(chunk) = self.chunks.next().await else { return Ok(None) };
            let broken_off = |error: axum::Error| XrpcError::invalid_request(format!("the body broke off: {error}"));
            let chunk = chunk.map_err(broken_off)?;
            let too_long = || XrpcError::payload_too_large("the body is too long".to_owned());
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or_else(too_long)?;
            self.waiting.extend_from_slice(&chunk);
        }
    }
}

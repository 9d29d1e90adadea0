//! Decided heights for peers that catch up, and their word on how far they are. Read from storage: neither the engine
//! nor the application is asked, so an idle node serves them too.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::consensus::{Address, Height, LedgerContext, ValueId};
use angel_storage::ledger::decided;
use angel_storage::reader::ReadError;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use malachitebft_codec::Codec;
use malachitebft_core_types::Round;
use malachitebft_sync::Request;
use tokio::sync::Semaphore;

use super::codec::{BorshCodec, SentValue};
use super::engine::{SYNC_BYTES_MAX, SYNC_HEIGHTS_MAX};
use super::network::{Mesh, TIP, VALUES};
use crate::blocking;
use crate::ledger::Shared;
use crate::network::{IncomingStreams, PeerId, Stream};

/// Streams dealt with at once; more wait to be accepted.
const STREAMS_MAX: usize = 32;

/// How long one may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a question.
const QUESTION_BYTES_MAX: u64 = 64;

/// Takes streams until the network ends.
pub(super) async fn run(mesh: Arc<Mesh>, mut incoming: IncomingStreams) {
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    while let Some((peer, stream)) = incoming.next().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let mesh = Arc::clone(&mesh);
        tokio::spawn(async move {
            let served = tokio::time::timeout(STREAM_TIMEOUT, serve(&mesh, peer, stream)).await;
            if let Ok(Err(error)) = served {
                tracing::debug!(%peer, %error, "a stream of the ledger ended early");
            }
            drop(place);
        });
    }
}

async fn serve(mesh: &Arc<Mesh>, peer: PeerId, mut stream: Stream) -> std::io::Result<()> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    match kind[0] {
        TIP => {
            let mut tip = [0; 8];
            stream.read_exact(&mut tip).await?;
            mesh.peer_at(peer, u64::from_be_bytes(tip));
            Ok(())
        }
        VALUES => {
            let mut question = Vec::new();
            (&mut stream).take(QUESTION_BYTES_MAX).read_to_end(&mut question).await?;
            let request: Request<LedgerContext> = BorshCodec.decode(question.into()).map_err(std::io::Error::other)?;
            let Request::ValueRequest(request) = request;
            let shared = Arc::clone(mesh.shared());
            let (first, last) = (request.range.start().0, request.range.end().0);
            let answer = blocking::run(move || heights(&shared, first, last)).await.map_err(std::io::Error::other)?;
            stream.write_all(&answer).await?;
            stream.close().await
        }
        kind => Err(std::io::Error::other(format!("a stream of the unknown kind {kind}"))),
    }
}

/// As many decided heights from `first` to `last` as an answer may have.
fn heights(shared: &Shared, first: u64, last: u64) -> Result<Vec<u8>, ReadError> {
    let last = last.min(shared.tip().height);
    let mut values = Vec::new();
    let mut bytes = 0;
    for height in (first.max(1)..=last).take(SYNC_HEIGHTS_MAX) {
        let decision = decided::decision(&shared.reader, height)?;
        let body = decided::encoded_batch(&shared.reader, height)?;
        let Some((decision, body)) = decision.zip(body) else { break };
        let certificate = decision.certificate;
        // A signature with its DID has about 130 bytes.
        bytes += body.len() + 200 * certificate.signatures.len() + 200;
        if bytes > SYNC_BYTES_MAX && !values.is_empty() {
            break;
        }
        let signatures = certificate.signatures.into_iter();
        values.push(SentValue {
            height: Height(height),
            round: Round::new(certificate.round),
            value: ValueId(certificate.value.0),
            signatures: signatures.map(|entry| (Address(entry.validator), entry.signature)).collect(),
            body,
        });
    }
    Ok(borsh::to_vec(&(Height(first), values)).expect("memory takes every byte"))
}

//! What whoever audits the ledger needs: its genesis, and the decided heights whole, with their certificates. Nothing in
//! them has to be believed: whoever knows the genesis can check all of it.

use angel_protocol::ledger::{Certificate, Header};
use angel_storage::ledger::decided;
use angel_storage::reader::ReadError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use super::error::XrpcError;
use super::ledger::{LedgerRoutes, hex};
use crate::blocking;
use crate::ledger::{Ledger, LedgerError};

/// Heights of one answer, and about how many bytes.
const HEIGHTS_MAX: usize = 256;
const BYTES_MAX: usize = 2 << 20;

/// Proofs of one answer.
const EVIDENCE_MAX: usize = 100;

type Routes = State<std::sync::Arc<LedgerRoutes>>;

/// A decided height with everything that proves it.
#[derive(Serialize, Deserialize)]
pub(crate) struct WholeHeight {
    pub(crate) header: Header,
    pub(crate) certificate: Certificate,
    /// The batch as it travelled.
    pub(crate) batch: ByteBuf,
}

/// The genesis, as `--genesis` reads it.
pub(super) async fn genesis(State(routes): Routes) -> Result<Response, XrpcError> {
    let path = routes.genesis.clone();
    let read = blocking::run(move || std::fs::read(path)).await.map_err(|error| XrpcError::unexpected(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], read).into_response())
}

/// Decided heights from `first` on, as DAG-CBOR; fewer when they are large, none when there are no more.
pub(super) async fn heights(State(routes): Routes, Path(first): Path<u64>) -> Result<Response, XrpcError> {
    let ledger = routes.ledger.clone();
    let bytes = blocking::run(move || encoded(&ledger, first)).await.map_err(LedgerError::from)?;
    Ok(([(header::CONTENT_TYPE, "application/vnd.ipld.dag-cbor")], bytes).into_response())
}

fn encoded(ledger: &Ledger, first: u64) -> Result<Vec<u8>, ReadError> {
    let reader = &ledger.shared.reader;
    let (mut heights, mut bytes) = (Vec::new(), 0);
    for height in (first.max(1)..=ledger.shared.tip().height).take(HEIGHTS_MAX) {
        let found = decided::decision(reader, height)?.zip(decided::encoded_batch(reader, height)?);
        let Some((decision, batch)) = found else { break };
        bytes += batch.len() + 200 * decision.certificate.signatures.len() + 400;
        if bytes > BYTES_MAX && !heights.is_empty() {
            break;
        }
        let (header, certificate) = (decision.header, decision.certificate);
        heights.push(WholeHeight { header, certificate, batch: ByteBuf::from(batch) });
    }
    Ok(serde_ipld_dagcbor::to_vec(&heights).expect("heights have only integers, texts and bytes"))
}

/// Messages of validators that contradict each other, the newest first.
pub(super) async fn evidence(State(routes): Routes) -> Result<Json<Value>, XrpcError> {
    let found = routes.ledger.evidence(EVIDENCE_MAX).await?;
    let evidence: Vec<_> = found
        .into_iter()
        .map(|(height, it)| {
            json!({
                "height": height,
                "validator": it.validator,
                "kind": it.kind,
                "first": { "message": hex(&it.first), "signature": hex(&it.first_signature) },
                "second": { "message": hex(&it.second), "signature": hex(&it.second_signature) },
            })
        })
        .collect();
    Ok(Json(json!({ "evidence": evidence })))
}

//! Questions to the host of an author elsewhere, each signed with the key of the credential, and their answers.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::crypto::P256Key;
use angel_protocol::data::{Block, Cid, Codec, Value, cbor, from_json, record_from_json};
use angel_protocol::ids::{Nsid, RecordKey, RepoPath, Tid};
use angel_protocol::limits::CREDENTIAL_LIFE;
use angel_protocol::permissioned::Op;
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::wire::request::sign;
use angel_protocol::permissioned::wire::{AUDIENCE_HEADER, CREDENTIAL_SCHEME};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::timeout;

use super::{Elsewhere, PullError, Puller};
use crate::fetch::{self, FetchError};

/// How long a credential is used: not to its end, for clocks differ.
pub(super) const CREDENTIAL_USED_FOR: Duration = Duration::from_secs(CREDENTIAL_LIFE.as_secs() / 2);

/// Most bytes of one answer, and of a whole repository.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
pub(super) const REPOSITORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A credential that this node gave itself. Cheap to clone.
#[derive(Clone)]
pub(super) struct Own(Arc<(String, [u8; 32])>);

impl Own {
    pub(super) fn new(credential: String, secret: [u8; 32]) -> Self {
        Self(Arc::new((credential, secret)))
    }
}

/// Operations, and the commit that they lead to when they are the last.
pub(super) struct Page {
    pub(super) operations: Vec<Operation>,
    pub(super) commit: Option<SignedCommit>,
    pub(super) is_last: bool,
}

/// One operation, with the record that it left when it was told.
pub(super) struct Operation {
    pub(super) rev: Tid,
    pub(super) op: Op,
    pub(super) value: Option<Block>,
}

#[derive(Deserialize)]
struct Operations {
    ops: Vec<Told>,
    commit: Option<Json>,
}

#[derive(Deserialize)]
struct Told {
    rev: Tid,
    collection: Nsid,
    rkey: RecordKey,
    cid: Option<Cid>,
    prev: Option<Cid>,
    value: Option<Json>,
}

#[derive(Deserialize)]
struct RecordTold {
    value: Json,
}

impl Puller {
    /// Operations behind the revision `since`.
    pub(super) async fn operations(&self, of: &Elsewhere, since: Tid, limit: usize) -> Result<Page, PullError> {
        let (since_text, limit) = (since.to_string(), limit.to_string());
        let mut query = vec![("limit", limit.as_str())];
        if since > Tid::MIN {
            query.push(("since", since_text.as_str()));
        }
        let answer: Operations = self.json(of, "com.atproto.space.listRepoOps", &query).await?;
        let commit = answer.commit.as_ref().map(|json| {
            let value = from_json(json).map_err(|_| PullError::Form)?;
            SignedCommit::from_value(&value).map_err(|_| PullError::Form)
        });
        let (commit, is_last) = (commit.transpose()?, answer.commit.is_some());
        let operations = answer.ops.into_iter().map(|told| {
            let value = told.value.as_ref().zip(told.cid).and_then(|(json, cid)| block(json, cid));
            let path = RepoPath::new(told.collection, told.rkey);
            Operation { rev: told.rev, op: Op { path, cid: told.cid, prev: told.prev }, value }
        });
        Ok(Page { operations: operations.collect(), commit, is_last })
    }

    /// One record, which has to be the one with `cid`.
    pub(super) async fn record(&self, of: &Elsewhere, path: &RepoPath, cid: Cid) -> Result<Block, PullError> {
        let query = [("collection", path.collection.as_str()), ("rkey", path.rkey.as_str())];
        let answer: RecordTold = self.json(of, "com.atproto.space.getRecord", &query).await?;
        block(&answer.value, cid).ok_or(PullError::Records)
    }

    /// The whole repository, as it arrives.
    pub(super) async fn repository(&self, of: &Elsewhere) -> Result<Response, PullError> {
        self.ask(of, "com.atproto.space.getRepo", &[]).await
    }

    async fn json<T: for<'a> Deserialize<'a>>(
        &self,
        of: &Elsewhere,
        method: &str,
        query: &[(&str, &str)],
    ) -> Result<T, PullError> {
        let answer = self.ask(of, method, query).await?;
        let reading = fetch::read(answer, ANSWER_BYTES_MAX);
        let slow = |_| FetchError::Failed("it did not answer in time".to_owned());
        let bytes = timeout(ANSWER_WITHIN, reading).await.map_err(slow)??;
        serde_json::from_slice(&bytes).map_err(|_| PullError::Form)
    }

    /// Asks the host of the author. A credential that is refused is replaced once.
    async fn ask(&self, of: &Elsewhere, method: &str, query: &[(&str, &str)]) -> Result<Response, PullError> {
        let (space, author) = of;
        let services = self.0.credentials.services();
        let mut url = services.endpoint(&author.clone().into()).await?;
        url.set_path(&format!("/xrpc/{method}"));
        url.query_pairs_mut().append_pair("space", &space.to_string()).append_pair("repo", author.as_str());
        url.query_pairs_mut().extend_pairs(query);
        let mut refused = false;
        loop {
            let own = self.own(space).await?;
            let (credential, secret) = &*own.0;
            let authorization = format!("{CREDENTIAL_SCHEME} {credential}");
            let key = P256Key::from_bytes(secret).ok_or(PullError::Form)?;
            let signature = sign(key, &authorization, Some(author));
            let request = self.0.fetcher.request(Method::GET, &url)?;
            let request = request
                .header(AUTHORIZATION, authorization)
                .header(AUDIENCE_HEADER, author.as_str())
                .header("signature-input", signature.input)
                .header("signature", signature.signature);
            let slow = |_| FetchError::Failed("it did not answer in time".to_owned());
            let answer = timeout(ANSWER_WITHIN, request.send()).await.map_err(slow)?.map_err(fetch::failed)?;
            match answer.status() {
                status if status.is_success() => return Ok(answer),
                StatusCode::UNAUTHORIZED if !refused => {
                    refused = true;
                    self.forget_own(space);
                }
                status => return Err(FetchError::Status(status.as_u16()).into()),
            }
        }
    }
}

/// A record that came as JSON, if it is the one with `cid`.
fn block(json: &Json, cid: Cid) -> Option<Block> {
    let value: Value = record_from_json(json).ok()?;
    let block = Block::new(Codec::DagCbor, cbor::encode(&value));
    (block.cid() == cid).then_some(block)
}

//! Records of accounts that are hosted elsewhere: asked of their host, and believed because the account signed them.

use angel_protocol::data::{Value, cbor};
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::limits::{BLOCK_BYTES_MAX, COMMIT_CAR_BYTES_MAX};
use angel_protocol::repo::mst::MstKey;
use angel_protocol::repo::verify_record;
use url::Url;

use super::{ResolveError, Resolver};
use crate::fetch::FetchError;

/// Largest proof that is read, in bytes: a record, a commit, and the nodes between them.
const PROOF_BYTES_MAX: usize = BLOCK_BYTES_MAX + COMMIT_CAR_BYTES_MAX;

/// Why a record is not known.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Whose it would be cannot be found out.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The account has no host, or no key that signs its records.
    #[error("the DID document of {0} names no host of records with a key")]
    NoHost(Did),
    /// The host does not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What the host says is not what the account signed.
    #[error("the host of {did} gave no proof: {why}")]
    Proof {
        /// Whose record.
        did: Did,
        /// What is wrong.
        why: String,
    },
}

impl Resolver {
    /// The record at `path` in the public repository of `did`, wherever that is; `None` when there is none. What is
    /// hosted here is read from the store instead.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn record(&self, did: &Did, path: &RepoPath) -> Result<Option<Value>, RecordError> {
        let resolved = self.did(did).await?;
        let document = &resolved.document;
        let no_host = || RecordError::NoHost(did.clone());
        let (host, key) = (document.pds().ok_or_else(no_host)?, document.signing_key().ok_or_else(no_host)?);
        let proof = |why: String| RecordError::Proof { did: did.clone(), why };
        let wrong_host = |error: url::ParseError| proof(error.to_string());
        let base: Url = host.parse().map_err(wrong_host)?;
        let mut url = base.join("/xrpc/com.atproto.sync.getRecord").map_err(wrong_host)?;
        url.query_pairs_mut()
            .append_pair("did", did.as_str())
            .append_pair("collection", path.collection.as_str())
            .append_pair("rkey", path.rkey.as_str());
        let answer = {
            let _turn = self.0.questions.acquire().await;
            self.0.parts.fetcher.get(&url, PROOF_BYTES_MAX).await
        };
        let car = match answer {
            Err(FetchError::Status(400 | 404)) => return Ok(None),
            answer => answer?,
        };
        let key_of_path = MstKey::try_from(path).map_err(|error| proof(error.to_string()))?;
        let (_, block) = verify_record(&car, did, &key_of_path, key).map_err(|error| proof(error.to_string()))?;
        let value = block.map(|block| cbor::decode(block.bytes())).transpose();
        value.map_err(|error| proof(error.to_string()))
    }
}

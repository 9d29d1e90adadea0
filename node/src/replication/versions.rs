//! Second versions of records: what two nodes had written into one place while they could not hear each other. The one
//! that is served stays, the other is kept beside it until somebody has looked at it and dismisses it. Only so many are
//! kept; what is beyond them stays with the node that has it, and is never dropped.

use angel_protocol::ids::{Did, Tid};
use angel_protocol::limits::{REPLICA_VERSIONS_BYTES_MAX, REPLICA_VERSIONS_MAX};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::replication::wire::{Refusal, Unseen};
use angel_storage::Batch;
use angel_storage::codec::{self, Cbor};
use angel_storage::replicas::{self, Kept, VersionRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Replication, ReplicationError};
use crate::repos::{Owner, RepoError};
use crate::{blocking, clock};

/// Second versions that are shown, or dismissed, at once.
pub(crate) const VERSIONS_SHOWN: usize = 200;

/// A second version as it is named from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VersionOf {
    path: String,
    #[serde(default)]
    space: Option<SpaceUri>,
    rev: Tid,
}

/// What came of dismissing some.
pub(crate) struct Dismissed {
    /// How many there were.
    pub(crate) versions: usize,
    /// The newest event that tells of it.
    pub(crate) sequence: Option<u64>,
}

impl Replication {
    /// Second versions of records that are kept beside those that are served, for the operator: which, of whom and since
    /// when, and never what is in them. Blocks.
    pub(crate) fn versions_blocking(&self, tenant: &Did) -> Result<Vec<Value>, ReplicationError> {
        let kept = replicas::versions(&self.0.parts.reader, tenant, VERSIONS_SHOWN)?;
        let shown = kept.into_iter().map(|(at, row)| {
            let path = at.split_once('~').filter(|_| row.space.is_some()).map_or(at.as_str(), |(_, path)| path);
            json!({
                "path": path,
                "space": row.space,
                "rev": row.rev,
                "node": row.node,
                "keptAt": row.at,
                "bytes": row.record.as_ref().map(|record| record.len()),
            })
        });
        Ok(shown.collect())
    }

    /// Forgets second versions that somebody has looked at; those that are not there are passed over. Whoever asks has leave
    /// to write for the tenant. Blocks.
    pub(crate) fn dismiss_blocking(&self, tenant: &Did, which: &[VersionOf]) -> Result<Dismissed, ReplicationError> {
        let parts = &self.0.parts;
        let mut dismissed = Dismissed { versions: 0, sequence: None };
        for version in which {
            let path = replicas::version_path(version.space.as_ref(), &version.path);
            let mut batch = Batch::new();
            if replicas::dismiss(&parts.reader, &mut batch, &(tenant.clone(), path, version.rev.to_string()))? {
                let committed = parts.writer.commit(batch)?;
                dismissed.versions += 1;
                dismissed.sequence = dismissed.sequence.max(committed.last_sequence);
            }
        }
        if dismissed.versions > 0 {
            tracing::warn!(%tenant, versions = dismissed.versions, "second versions of records were dismissed");
        }
        Ok(dismissed)
    }

    /// Keeps a write beside what is there, if there is room: `kept` says how much is kept, and is counted up.
    ///
    /// # Errors
    /// [`Refusal::TooManyVersions`]: whoever tells of it has to go on keeping it.
    pub(super) async fn keep_version(
        &self,
        owner: &Owner,
        from: &Did,
        unseen: Unseen,
        kept: &mut Kept,
    ) -> Result<(), ReplicationError> {
        let leave = self.placement().may_write(owner.id).await.map_err(RepoError::from)?;
        let (this, did, from, before) = (self.clone(), owner.did.clone(), from.clone(), *kept);
        let (after, sequence) = blocking::run(move || {
            let parts = &this.0.parts;
            let Unseen { space, path, rev, record, .. } = unseen;
            let key = (did, replicas::version_path(space.as_ref(), &path), rev.to_string());
            let row = VersionRow { node: from, rev, at: clock::now(), record, space };
            let bytes = codec::encode(&Cbor(row)).map_err(|error| ReplicationError::NotBelieved(error.to_string()))?;
            // Told twice, it is kept once.
            let after = if replicas::is_kept(&parts.reader, &key)? { before } else { before.with(bytes.len() as u64) };
            if after.versions > REPLICA_VERSIONS_MAX || after.bytes > REPLICA_VERSIONS_BYTES_MAX {
                return Err(ReplicationError::Refused(Refusal::TooManyVersions));
            }
            let mut batch = Batch::new();
            replicas::replace(&replicas::VERSIONS, &parts.reader, &mut batch, &key, &bytes)?;
            Ok((after, parts.writer.commit(batch)?.last_sequence))
        })
        .await?;
        leave.replicated(sequence).await.map_err(RepoError::from)?;
        *kept = after;
        Ok(())
    }
}

//! Second versions of records: what two nodes had written into one place while they could not hear each other. The one
//! that is served stays, the other is kept beside it until somebody has looked at it and dismisses it. Only so many are
//! kept; what is beyond them stays with the node that has it, and is never dropped.

use std::fmt;
use std::str::FromStr;

use angel_protocol::data::{Cid, Codec, cbor, to_json};
use angel_protocol::ids::{Did, Tid};
use angel_protocol::limits::{REPLICA_VERSIONS_BYTES_MAX, REPLICA_VERSIONS_MAX};
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::replication::wire::{Refusal, Unseen};
use angel_storage::Batch;
use angel_storage::accounts::PREFERENCES;
use angel_storage::codec::{self, Cbor};
use angel_storage::permissioned::{self as rows, RepoKey};
use angel_storage::replicas::{self, Kept, VersionRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::replay::PREFERENCES_PATH;
use super::{Replication, ReplicationError};
use crate::accounts::Account;
use crate::repos::{Owner, RepoError};
use crate::{blocking, clock};

/// Second versions that are shown, or dismissed, at once.
pub(crate) const VERSIONS_SHOWN: usize = 200;

/// A second version as it is named from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VersionOf {
    /// Where the record is in its repository.
    pub(crate) path: String,
    /// The space that it is in, unless it is public.
    #[serde(default)]
    pub(crate) space: Option<SpaceUri>,
    /// The revision that the version had where it was written.
    pub(crate) rev: Tid,
}

/// Bytes of second versions in one page for their owner, reached by the last of them.
const VERSIONS_BYTES_SHOWN: u64 = 1024 * 1024;

/// Behind which second version a page begins. Clients are told it as text and send it back as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionsCursor {
    rev: Tid,
    /// Where it lies: its path, behind the digest of its space.
    at: String,
}

impl fmt::Display for VersionsCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rev, self.at)
    }
}

impl FromStr for VersionsCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (rev, at) = text.split_once('/').filter(|(_, at)| at.len() <= CURSOR_PATH_MAX).ok_or(())?;
        Ok(Self { rev: rev.parse().map_err(drop)?, at: at.to_owned() })
    }
}

/// Longest place of a version: a digest of a space, a collection and a record key.
const CURSOR_PATH_MAX: usize = 1024;

/// What came of dismissing some.
pub(crate) struct Dismissed {
    /// How many there were.
    pub(crate) versions: usize,
    /// The newest event that tells of it.
    pub(crate) sequence: Option<u64>,
}

/// The path by which a version is named: without the digest of its space.
fn path_of<'a>(at: &'a str, row: &VersionRow) -> &'a str {
    at.split_once('~').filter(|_| row.space.is_some()).map_or(at, |(_, path)| path)
}

/// One of two versions. Preferences are kept as JSON and have no CID; what cannot be read is told by its size alone.
fn content(path: &str, bytes: &[u8], with_contents: bool) -> Value {
    let mut content = json!({ "bytes": bytes.len() });
    if !with_contents {
        return content;
    }
    let value = if path == PREFERENCES_PATH {
        serde_json::from_slice::<Value>(bytes).ok().map(|preferences| json!({ "preferences": preferences }))
    } else {
        content["cid"] = json!(Cid::of(Codec::DagCbor, bytes));
        cbor::decode(bytes).ok().map(|record| to_json(&record))
    };
    if let Some(value) = value {
        content["value"] = value;
    }
    content
}

impl Replication {
    /// Second versions of records that are kept beside those that are served, for the operator: which, of whom and since
    /// when, and never what is in them. Blocks.
    pub(crate) fn versions_blocking(&self, tenant: &Did) -> Result<Vec<Value>, ReplicationError> {
        let (kept, _) = replicas::versions(&self.0.parts.reader, tenant, None, VERSIONS_SHOWN, u64::MAX)?;
        let shown = kept.into_iter().map(|((_, at, _), row)| {
            json!({
                "path": path_of(&at, &row),
                "space": row.space,
                "rev": row.rev,
                "node": row.node,
                "keptAt": row.at,
                "bytes": row.record.as_ref().map(|record| record.len()),
            })
        });
        Ok(shown.collect())
    }

    /// A page of second versions with the record that is served in the place of each, and behind which the next page
    /// begins. What is in them is told to their owner alone (`with_contents`). Blocks.
    pub(crate) fn both_versions_blocking(
        &self,
        account: &Account,
        after: Option<&VersionsCursor>,
        limit: usize,
        with_contents: bool,
    ) -> Result<(Vec<Value>, Option<VersionsCursor>), ReplicationError> {
        let reader = &self.0.parts.reader;
        let after = after.map(|VersionsCursor { rev, at }| (account.did().clone(), at.clone(), rev.to_string()));
        let (kept, more) = replicas::versions(reader, account.did(), after.as_ref(), limit, VERSIONS_BYTES_SHOWN)?;
        let last = kept.last().filter(|_| more);
        let cursor = last.map(|((_, at, _), row)| VersionsCursor { rev: row.rev, at: at.clone() });
        let mut shown = Vec::with_capacity(kept.len());
        for ((_, at, _), row) in kept {
            let path = path_of(&at, &row);
            let mut version = json!({ "path": path, "rev": row.rev, "node": row.node, "keptAt": row.at });
            if let Some(space) = &row.space {
                version["space"] = json!(space);
            }
            let served = self.served_blocking(account, row.space.as_ref(), path)?;
            for (name, bytes) in [("kept", row.record.as_ref().map(|it| it.to_vec())), ("served", served)] {
                if let Some(bytes) = bytes {
                    version[name] = content(path, &bytes, with_contents);
                }
            }
            shown.push(version);
        }
        Ok((shown, cursor))
    }

    /// What is served where a second version is kept: a record, or the owner's preferences.
    fn served_blocking(
        &self,
        account: &Account,
        space: Option<&SpaceUri>,
        path: &str,
    ) -> Result<Option<Vec<u8>>, ReplicationError> {
        let reader = &self.0.parts.reader;
        Ok(match space {
            None if path == PREFERENCES_PATH => PREFERENCES.get(reader, &account.id())?,
            None => self.0.parts.repos.record_blocking(account.id(), path)?.map(|record| record.bytes.to_vec()),
            Some(space) => {
                let key = RepoKey { account: account.id(), space: space.digest() };
                rows::record(reader, key, path)?.map(|record| record.bytes.to_vec())
            }
        })
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

//! What of an entry survives a restart of the observer.
//!
//! The issuer's signed heartbeat is kept whole: it carries everything the node declared, addresses to dial included,
//! and proves itself when it is read back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::AdmittedBy;
use super::failure_detector::Observed;
use super::uptime::Uptime;
use crate::ids::Did;
use crate::time::Timestamp;

/// An entry as [`Effect::Persist`](super::Effect::Persist) hands it out and [`State::restore`](super::State::restore)
/// takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEntry {
    /// The node.
    pub did: Did,
    /// When this observer first saw it.
    pub created_at: Timestamp,
    /// Why it is a member.
    pub admitted_by: AdmittedBy,
    /// When it was last heard.
    pub last_heard: Timestamp,
    /// The last verdict.
    pub observed: Observed,
    /// Its uptime so far.
    pub uptime: Uptime,
    /// Keys it no longer signs with.
    pub former_keys: Vec<FormerKey>,
    /// Its newest heartbeat, as it signed it.
    #[serde(with = "shared_bytes")]
    pub heartbeat: Arc<[u8]>,
    /// Its verified record.
    #[serde(default, with = "shared_bytes_optional")]
    pub record: Option<Arc<[u8]>>,
}

/// A key that a node has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerKey {
    /// The DID of that key.
    pub did: Did,
    /// Until when heartbeats signed with it are still accepted.
    pub accepted_until: Timestamp,
    /// The last sequence number seen from it.
    pub sequence: u64,
    /// When the heartbeat with that number was issued.
    pub issued_at: Timestamp,
}

/// `Arc<[u8]>` as a byte string rather than a list of numbers.
mod shared_bytes {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::ByteBuf;

    pub(super) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        ByteBuf::deserialize(deserializer).map(|bytes| bytes.into_vec().into())
    }
}

mod shared_bytes_optional {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_bytes::{ByteBuf, Bytes};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Arc<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Bytes::new).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        Ok(Option::<ByteBuf>::deserialize(deserializer)?.map(|bytes| bytes.into_vec().into()))
    }
}

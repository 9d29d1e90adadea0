//! What hosts tell each other: that a repository has advanced, that a space is gone, that credentials count no more
//! (lexicons `com.atproto.space.notify*`). Notices name things and hold none: whoever hears one asks for the rest.

use serde::{Deserialize, Serialize};

use crate::data::{Value, from_json, json_of, to_json};
use crate::ids::{Did, Tid};
use crate::limits::NOTIFIED_REV_AHEAD_MAX;
use crate::permissioned::SpaceUri;
use crate::time::Timestamp;

/// `com.atproto.space.notifyWrite`: a repository has advanced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteNotice {
    /// The space.
    pub space: SpaceUri,
    /// Whose repository.
    pub repo: Did,
    /// Its revision.
    pub repo_rev: Tid,
    /// The digest of its set hash.
    #[serde(with = "digest")]
    pub hash: [u8; 32],
    /// The revision of the space that this makes. Only the space's host says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_rev: Option<Tid>,
    /// The revision of the space that the receiver heard of last. Another one means that notices were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_space_rev: Option<Tid>,
}

/// `com.atproto.space.notifySpaceDeleted`: a space is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionNotice {
    /// The space.
    pub space: SpaceUri,
}

/// `com.atproto.space.notifyCredentialRevoked`: credentials of a space count no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationNotice {
    /// The space.
    pub space: SpaceUri,
    /// What names them: their `jti`.
    pub credentials: Vec<String>,
}

impl WriteNotice {
    /// Whether the revision claims to be from further in the future than clocks may differ.
    #[must_use]
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.repo_rev.timestamp() > now + NOTIFIED_REV_AHEAD_MAX
    }

    /// The notice as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_of(self).to_string()
    }
}

/// Bytes as JSON has them in AT Protocol: `{"$bytes": …}`.
mod digest {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{Value, from_json, to_json};

    pub(super) fn serialize<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        to_json(&Value::Bytes(digest.to_vec())).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        let Ok(Value::Bytes(bytes)) = from_json(&json) else { return Err(D::Error::custom("not bytes")) };
        bytes.try_into().map_err(|_| D::Error::custom("a digest has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_notice_is_written_as_the_lexicon_says() {
        let notice = WriteNotice {
            space: "at://did:plc:yk4dd2qkboz2yv6tpubpc6co/space/com.example.forum/self".parse().expect("a space"),
            repo: "did:web:bob.example".parse().expect("a DID"),
            repo_rev: "3jzfcijpj2z2a".parse().expect("a TID"),
            hash: [0; 32],
            space_rev: None,
            prev_space_rev: None,
        };
        let json: serde_json::Value = serde_json::from_str(&notice.to_json()).expect("JSON");
        assert_eq!(json["hash"], json!({ "$bytes": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }));
        assert_eq!(json["repoRev"], "3jzfcijpj2z2a");
        assert!(json.get("spaceRev").is_none());
        assert_eq!(serde_json::from_value::<WriteNotice>(json).expect("a notice"), notice);
        let then = notice.repo_rev.timestamp();
        assert!(!notice.is_from_the_future(then));
        assert!(notice.is_from_the_future(Timestamp::from_millis(then.as_millis() - 300_001)));
    }
}

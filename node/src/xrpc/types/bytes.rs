//! Bytes as AT Protocol's JSON has them (Data Model specification, "bytes").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;

/// Bytes in JSON: a map with the one key `$bytes`, which holds base64.
#[derive(Deserialize)]
pub(crate) struct Bytes {
    #[serde(rename = "$bytes")]
    base64: String,
}

impl Bytes {
    /// The bytes; nothing if the text is no base64 (RFC 4648 section 4; padding is optional).
    pub(crate) fn decode(&self) -> Option<Vec<u8>> {
        STANDARD_NO_PAD.decode(self.base64.trim_end_matches('=')).ok()
    }
}

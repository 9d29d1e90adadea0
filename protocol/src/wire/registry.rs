//! How one node hands another the heartbeats it holds: as the issuers signed them, page by page.
//!
//! Nobody speaks for another node: a page is a list of signed envelopes, and its receiver checks each like a gossiped
//! one. The bytes are canonical DAG-CBOR; the request-response protocol that carries them belongs to the runtime.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::canonical;
use crate::data::CborError;
use crate::limits::{ENVELOPE_BYTES_MAX, REGISTRY_PAGE_BYTES_MAX, REGISTRY_PAGE_ENVELOPES_MAX};

/// The libp2p protocol name.
pub const PROTOCOL: &str = "/angel/registry/1";

/// Largest request in bytes: two keys and their names.
pub const REQUEST_BYTES_MAX: usize = 256;

/// Largest page in bytes: the envelopes, their lengths, the cursor.
pub const PAGE_BYTES_MAX: usize = REGISTRY_PAGE_BYTES_MAX + 8 * REGISTRY_PAGE_ENVELOPES_MAX + 256;

/// Asks for the heartbeats a peer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryRequest {
    /// The last key of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ByteArray<32>>,
    /// Digest of the nodes the asker sees; a peer that sees the same ones answers with an empty page.
    pub digest: ByteArray<32>,
}

/// One page of signed heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryPage {
    /// Envelopes as their issuers signed them, in the order of the issuers' keys.
    pub envelopes: Vec<Arc<[u8]>>,
    /// Where the next page starts; nothing when this is the last.
    pub next: Option<[u8; 32]>,
}

/// Why bytes are no registry message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistryMessage {
    /// More bytes or envelopes than allowed.
    #[error(
        "a registry message holds at most {REGISTRY_PAGE_ENVELOPES_MAX} heartbeats and {REGISTRY_PAGE_BYTES_MAX} bytes of them"
    )]
    TooLarge,
    /// Not canonical DAG-CBOR.
    #[error("a registry message is canonical DAG-CBOR: {0}")]
    NotCanonical(#[from] CborError),
    /// Other fields than a request or a page has.
    #[error("a registry message has other fields than the protocol knows")]
    Field,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Page {
    envelopes: Vec<ByteBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<ByteArray<32>>,
}

impl RegistryRequest {
    /// The request's bytes.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("byte strings encode")
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`InvalidRegistryMessage`], by what is wrong.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, InvalidRegistryMessage> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(InvalidRegistryMessage::TooLarge);
        }
        canonical::check(bytes)?;
        serde_ipld_dagcbor::from_slice(bytes).map_err(|_| InvalidRegistryMessage::Field)
    }
}

impl RegistryPage {
    /// The page's bytes.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        let envelopes = self.envelopes.iter().map(|bytes| ByteBuf::from(bytes.to_vec())).collect();
        let page = Page { envelopes, next: self.next.map(ByteArray::new) };
        serde_ipld_dagcbor::to_vec(&page).expect("byte strings encode")
    }

    /// Reads a page and its bounds; the envelopes inside are not looked at.
    ///
    /// # Errors
    /// [`InvalidRegistryMessage`], by what is wrong.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, InvalidRegistryMessage> {
        if bytes.len() > PAGE_BYTES_MAX {
            return Err(InvalidRegistryMessage::TooLarge);
        }
        canonical::check(bytes)?;
        let page: Page = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| InvalidRegistryMessage::Field)?;
        let total: usize = page.envelopes.iter().map(|envelope| envelope.len()).sum();
        let one_too_large = page.envelopes.iter().any(|envelope| envelope.len() > ENVELOPE_BYTES_MAX);
        if page.envelopes.len() > REGISTRY_PAGE_ENVELOPES_MAX || total > REGISTRY_PAGE_BYTES_MAX || one_too_large {
            return Err(InvalidRegistryMessage::TooLarge);
        }
        let envelopes = page.envelopes.into_iter().map(|bytes| bytes.into_vec().into()).collect();
        Ok(Self { envelopes, next: page.next.map(ByteArray::into_array) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_pages_survive_the_round_trip() {
        for after in [None, Some(ByteArray::new([3; 32]))] {
            let request = RegistryRequest { after, digest: ByteArray::new([9; 32]) };
            assert!(request.to_cbor().len() <= REQUEST_BYTES_MAX);
            assert_eq!(RegistryRequest::from_cbor(&request.to_cbor()), Ok(request));
        }
        let page = RegistryPage { envelopes: vec![vec![1, 2].into(), vec![].into()], next: Some([4; 32]) };
        assert_eq!(RegistryPage::from_cbor(&page.to_cbor()), Ok(page));
    }

    #[test]
    fn the_fullest_page_fits_its_bound() {
        let each = REGISTRY_PAGE_BYTES_MAX / REGISTRY_PAGE_ENVELOPES_MAX;
        let envelopes = vec![vec![7; each].into(); REGISTRY_PAGE_ENVELOPES_MAX];
        let page = RegistryPage { envelopes, next: Some([4; 32]) };
        assert!(page.to_cbor().len() <= PAGE_BYTES_MAX);
        assert_eq!(RegistryPage::from_cbor(&page.to_cbor()), Ok(page));
    }

    #[test]
    fn refuses_more_than_a_page_holds() {
        let many = RegistryPage { envelopes: vec![vec![].into(); REGISTRY_PAGE_ENVELOPES_MAX + 1], next: None };
        assert_eq!(RegistryPage::from_cbor(&many.to_cbor()), Err(InvalidRegistryMessage::TooLarge));
        let large = RegistryPage { envelopes: vec![vec![0; ENVELOPE_BYTES_MAX + 1].into()], next: None };
        assert_eq!(RegistryPage::from_cbor(&large.to_cbor()), Err(InvalidRegistryMessage::TooLarge));
        assert_eq!(RegistryPage::from_cbor(&[0; PAGE_BYTES_MAX + 1]), Err(InvalidRegistryMessage::TooLarge));
    }

    #[test]
    fn refuses_other_shapes() {
        assert_eq!(RegistryPage::from_cbor(&[0xa0]), Err(InvalidRegistryMessage::Field));
        assert_eq!(
            RegistryPage::from_cbor(&[0x18, 1]),
            Err(InvalidRegistryMessage::NotCanonical(CborError::NotShortest))
        );
    }
}

//! The AT Protocol data model: values, their canonical DAG-CBOR bytes, their JSON form, and CIDs.
//!
//! Bytes that came from elsewhere are kept as they came: a value is for looking into a record, and only a record made
//! here is ever encoded. Nothing here knows lexicons.

mod blob;
pub mod cbor;
mod cid;
mod json;
mod misfit;
mod transcode;
mod value;

pub use blob::{BlobRef, blob_refs};
pub use cbor::CborError;
pub use cid::{Block, Cid, CidText, Codec, InvalidCid};
pub use json::{JsonError, Misplaced, from_json, json_of, record_from_json, to_json};
pub(crate) use misfit::misfit;
pub use transcode::write_json;
pub use value::{Map, Value};

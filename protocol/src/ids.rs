//! Identifiers, parsed once at the door so that nothing inside checks twice.
//!
//! Those of AT Protocol follow its syntax specifications; a value that exists is valid.

mod at_identifier;
mod at_uri;
mod cid_string;
mod datetime;
mod did;
mod handle;
mod language;
mod names;
mod nsid;
mod record_key;
mod repo_path;
mod text;
mod tid;
mod uri;

pub use at_identifier::{AtIdentifier, InvalidAtIdentifier};
pub use at_uri::{AtUri, InvalidAtUri};
pub use cid_string::{CidString, InvalidCidString};
pub use datetime::{Datetime, InvalidDatetime};
pub use did::{Did, InvalidDid};
pub use handle::{Handle, InvalidHandle};
pub use language::{InvalidLanguage, Language};
pub use names::{InvalidName, NetworkId, NodeName};
pub use nsid::{InvalidNsid, Nsid};
pub(crate) use record_key::is_record_key_byte;
pub use record_key::{InvalidRecordKey, RecordKey};
pub use repo_path::{InvalidRepoPath, RepoPath};
pub use tid::{InvalidTid, Tid, TidClock, TidsExhausted};
pub use uri::{InvalidUri, Uri};

//! Private data: permissioned repositories in spaces, after AT Protocol proposal 0016 ("Permissioned Data").
//!
//! A space is a boundary of access under the DID of its authority. Whoever writes into it keeps the records in a
//! repository of their own for that space; nothing of them enters the public tree, its commits or the firehose. Readers
//! bring a credential that the authority issued and that is bound to a key of theirs. What is here decides and encodes;
//! it stores nothing, sends nothing and reads no clock.
//!
//! | module | what it answers |
//! |---|---|
//! | [`uri`] | is this string a space, or a record in one? |
//! | [`kinds`] | which kinds of space are there? |
//! | [`set_hash`] | which records does a repository hold, in 32 bytes? |
//! | [`repo`] | what does a write make of a repository, and is a copy still the same? |
//! | [`policy`] | who may read a space, whose writes count, with which app? |
//! | [`wire`] | what do commits, files, tokens, proofs and notifications look like in this draft? |

pub mod kinds;
pub mod policy;
pub mod repo;
pub mod set_hash;
pub mod uri;
pub mod wire;

#[cfg(test)]
mod tests;

pub use policy::{AppAccess, Member, Policy, SpaceConfig};
pub use repo::{Head, Op};
pub use set_hash::SetHash;
pub use uri::{SpaceRecordUri, SpaceUri};

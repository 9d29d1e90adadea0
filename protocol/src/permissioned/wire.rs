//! The wire format of the draft that is served, all of it in this module, because it moves.
//!
//! What it follows: the text of proposal 0016 as of 2026-08-19, together with the alpha of the reference implementation
//! as of **2026-10-01** where the two differ. The alpha of that day binds credentials to a P-256 key by HTTP message
//! signatures (RFC 9421) in the place of DPoP, names that key in `cnf.kid`, presents credentials under the scheme
//! `Atproto-Space` with their audience in a header, lets them last ten minutes, revokes them by `jti`, and numbers the
//! changes of a space by revisions of its own (`spaceRev`). Earlier forms are not served.
//!
//! | module | what it encodes |
//! |---|---|
//! | [`commit`] | the signed, deniable commit of a repository |
//! | [`car`] | a whole repository as a CAR file |
//! | [`token`] | delegation tokens, space credentials, client attestations |
//! | [`request`] | the signature over a request that brings a token |
//! | [`notice`] | what hosts tell each other |

pub mod car;
pub mod commit;
pub mod notice;
pub mod request;
pub mod token;

/// The day of the draft that is served, for whoever asks what this node speaks.
pub const DRAFT: &str = "2026-10-01";

/// The name of the service in an authority's DID document that answers for its spaces.
pub const SPACE_HOST_SERVICE: &str = "atproto_space_host";

/// The name of the key in an authority's DID document that signs the credentials of its spaces.
pub const SPACE_KEY: &str = "atproto_space";

/// The scheme of the `Authorization` header under which a credential is presented.
pub const CREDENTIAL_SCHEME: &str = "Atproto-Space";

/// The header that names whom a credential is presented to: the DID whose repository is read, or the authority.
pub const AUDIENCE_HEADER: &str = "atproto-space-audience";

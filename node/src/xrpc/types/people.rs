//! What the methods of `co.kendev.people.*` take. Written by `scripts/types` from their documents under `lexicons/`:
//! change those, and not this.

use angel_protocol::ids::Did;
use serde::Deserialize;

/// The parameters of `co.kendev.people.getKarma`.
#[derive(Deserialize)]
pub(crate) struct GetKarmaParameters {
    /// Whose; the caller's without it.
    pub(crate) person: Option<Did>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The parameters of `co.kendev.people.listRecognitions`.
#[derive(Deserialize)]
pub(crate) struct ListRecognitionsParameters {
    /// What the page before gave. At most 2048 bytes.
    pub(crate) cursor: Option<String>,
    /// Most things on the page. From 1 to 100. When absent, `50`.
    pub(crate) limit: u8,
    /// Only those that this person gave or received.
    pub(crate) person: Option<Did>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
}

/// The body of `co.kendev.people.recognise`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecogniseInput {
    /// Why, in words. At most 5000 bytes. At most 500 graphemes.
    pub(crate) reason: Option<String>,
    /// What it is about, named by its author's DID. One person is recognised by another once for one thing; what is
    /// about nothing in particular is one thing. An AT URI.
    pub(crate) related_content: Option<String>,
    /// The tenant: its DID, its handle or its short name. At most 2048 bytes.
    pub(crate) tenant: String,
    /// Who is thanked; never oneself, nor an agent of one's own.
    pub(crate) to_user: Did,
    /// What for. One of `helpful_response`, `quality_content`, `community_leadership`, `technical_excellence`,
    /// `guardian_angel_action`.
    pub(crate) r#type: String,
}

/// The body of `co.kendev.people.revokeRecognition`.
#[derive(Deserialize)]
pub(crate) struct RevokeRecognitionInput {
    /// The recognition. An AT URI.
    pub(crate) recognition: String,
}

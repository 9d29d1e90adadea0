//! The string formats of the lexicon language.
//!
//! A format is syntax only: a DID of an unknown method is a DID. Lexicon specification, "String Formats".

use std::str::FromStr;

use crate::ids::{AtIdentifier, AtUri, CidString, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, Uri};
use crate::permissioned::{SpaceRecordUri, SpaceUri};

/// The form a string must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A handle or a DID.
    AtIdentifier,
    /// An AT URI.
    AtUri,
    /// A content identifier as text.
    Cid,
    /// Date and time with a time zone.
    Datetime,
    /// A DID.
    Did,
    /// A handle.
    Handle,
    /// A language tag (BCP 47).
    Language,
    /// An NSID.
    Nsid,
    /// A record key.
    RecordKey,
    /// A space (proposal 0016).
    SpaceRef,
    /// A record in a space (proposal 0016).
    SpaceUri,
    /// A timestamp identifier.
    Tid,
    /// A URI of any scheme (RFC 3986).
    Uri,
}

impl Format {
    /// Every format, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::AtIdentifier,
        Self::AtUri,
        Self::Cid,
        Self::Datetime,
        Self::Did,
        Self::Handle,
        Self::Language,
        Self::Nsid,
        Self::RecordKey,
        Self::SpaceRef,
        Self::SpaceUri,
        Self::Tid,
        Self::Uri,
    ];

    /// The format's name in a lexicon document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtIdentifier => "at-identifier",
            Self::AtUri => "at-uri",
            Self::Cid => "cid",
            Self::Datetime => "datetime",
            Self::Did => "did",
            Self::Handle => "handle",
            Self::Language => "language",
            Self::Nsid => "nsid",
            Self::RecordKey => "record-key",
            Self::SpaceRef => "space-ref",
            Self::SpaceUri => "space-uri",
            Self::Tid => "tid",
            Self::Uri => "uri",
        }
    }

    /// The format with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The form in words, for a sentence that begins with "must be".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::AtIdentifier => "a handle or a DID",
            Self::AtUri => "an AT URI",
            Self::Cid => "a CID",
            Self::Datetime => "a date and time with seconds and a time zone, for example 2026-11-21T09:00:00.000Z",
            Self::Did => "a DID",
            Self::Handle => "a handle",
            Self::Language => "a language tag, for example pt-BR",
            Self::Nsid => "an NSID",
            Self::RecordKey => "a record key",
            Self::SpaceRef => "the URI of a space",
            Self::SpaceUri => "the URI of a record in a space",
            Self::Tid => "a timestamp identifier",
            Self::Uri => "a URI",
        }
    }

    /// Whether `text` has the form.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::AtIdentifier => parses::<AtIdentifier>(text),
            Self::AtUri => parses::<AtUri>(text),
            Self::Cid => parses::<CidString>(text),
            Self::Datetime => parses::<Datetime>(text),
            Self::Did => parses::<Did>(text),
            Self::Handle => parses::<Handle>(text),
            Self::Language => parses::<Language>(text),
            Self::Nsid => parses::<Nsid>(text),
            Self::RecordKey => parses::<RecordKey>(text),
            Self::SpaceRef => parses::<SpaceUri>(text),
            Self::SpaceUri => parses::<SpaceRecordUri>(text),
            Self::Tid => parses::<Tid>(text),
            Self::Uri => parses::<Uri>(text),
        }
    }
}

fn parses<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_of_its_own() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
        assert_eq!(Format::from_name("email"), None);
    }

    #[test]
    fn each_format_asks_its_own_parser() {
        let samples = [
            (Format::AtIdentifier, "a.example"),
            (Format::AtUri, "at://did:plc:x/co.kendev.spaces.message/3kznmn7xqxl22"),
            (Format::Cid, "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"),
            (Format::Datetime, "2026-11-21T09:00:00.000Z"),
            (Format::Did, "did:plc:x"),
            (Format::Handle, "a.example"),
            (Format::Language, "pt-BR"),
            (Format::Nsid, "co.kendev.spaces.message"),
            (Format::RecordKey, "self"),
            (Format::SpaceRef, "at://did:plc:x/space/co.kendev.spaces.space/self"),
            (Format::SpaceUri, "at://did:plc:x/space/co.kendev.spaces.space/self/did:plc:y/co.kendev.spaces.message/a"),
            (Format::Tid, "3kznmn7xqxl22"),
            (Format::Uri, "https://a.example/x"),
        ];
        for (format, text) in samples {
            assert!(format.accepts(text), "{} must accept {text}", format.name());
            assert!(!format.accepts("  "), "{} must refuse blanks", format.name());
        }
        assert!(Format::AtIdentifier.accepts("did:plc:x"));
        assert!(!Format::Handle.accepts("did:plc:x"));
        assert!(!Format::Did.accepts("a.example"));
    }
}

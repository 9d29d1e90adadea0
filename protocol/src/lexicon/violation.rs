//! Why a value is refused.

use super::format::Format;
use super::path::Path;
use super::text_check::TextCheck;
use super::value::Malformed;

/// The first thing found wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {rule}", Place(path))]
pub struct Violation {
    /// Where.
    pub path: Path,
    /// Why.
    pub rule: Rule,
}

/// A rule that a value breaks. Texts are for the person who sent the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The value is of another type.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// What the lexicon asks for.
        expected: &'static str,
        /// What was there.
        found: &'static str,
    },
    /// The value is none the data model knows.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// A required field is absent.
    #[error("is required")]
    Required,
    /// A boolean, integer or string is not the one value allowed.
    #[error("must be the one value that is allowed here")]
    Constant,
    /// A value is not in the closed list.
    #[error("is none of the values allowed here")]
    Enum,
    /// An integer is too small.
    #[error("must be at least {0}")]
    Minimum(i64),
    /// An integer is too large.
    #[error("must be at most {0}")]
    Maximum(i64),
    /// A text or a byte string is too short.
    #[error("must have at least {0} bytes")]
    MinBytes(usize),
    /// A text or a byte string is too long.
    #[error("must have at most {0} bytes")]
    MaxBytes(usize),
    /// A text has too few characters.
    #[error("must have at least {0} characters")]
    MinGraphemes(usize),
    /// A text has too many characters.
    #[error("must have at most {0} characters")]
    MaxGraphemes(usize),
    /// A list is too short.
    #[error("must have at least {0} elements")]
    MinItems(usize),
    /// A list is too long.
    #[error("must have at most {0} elements")]
    MaxItems(usize),
    /// A text lacks the form its format demands.
    #[error("must be {}", .0.describe())]
    Format(Format),
    /// A text lacks the form this network demands.
    #[error("must be {}", .0.describe())]
    Text(TextCheck),
    /// An AT URI points elsewhere.
    #[error("must refer to a record of {0}")]
    Collection(Box<str>),
    /// A file is larger than allowed.
    #[error("must be a file of at most {0} bytes")]
    BlobSize(u64),
    /// A file is of a media type that is not allowed.
    #[error("must be a file of another media type")]
    BlobType,
    /// `$type` is absent where it decides.
    #[error("must name its type in $type")]
    TypeRequired,
    /// `$type` names another type.
    #[error("must have the $type {0}")]
    TypeMismatch(Box<str>),
    /// `$type` is not among the types of a closed union.
    #[error("has a $type that is not allowed here")]
    Union,
    /// The lexicon refers to a definition that is not in the catalogue.
    #[error("cannot be checked: the definition {0} is not known here")]
    UnknownDefinition(Box<str>),
    /// Lists and maps are nested too deeply.
    #[error("is nested more than {0} levels deep")]
    Depth(usize),
    /// The record key has not the form of the collection's keys.
    #[error("the record key must be {0}")]
    RecordKey(Box<str>),
    /// A parameter that takes one value was given several times.
    #[error("was given more than once")]
    Repeated,
    /// More parameters than any method takes.
    #[error("too many parameters: at most {0} are read")]
    Parameters(usize),
    /// The bytes are no JSON or no DAG-CBOR.
    #[error("cannot be read: {0}")]
    Unreadable(Box<str>),
}

impl Rule {
    /// This rule, broken at the value itself.
    pub(super) fn here(self) -> Box<Violation> {
        Box::new(Violation { path: Path::default(), rule: self })
    }
}

impl Violation {
    /// The same refusal, seen from the map around the value.
    pub(super) fn under_key(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.path = std::mem::take(&mut self.path).under_key(key);
        self
    }

    /// The same refusal, seen from the list around the value.
    pub(super) fn under_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path = std::mem::take(&mut self.path).under_index(index);
        self
    }
}

/// A path for people: the empty one is "the value itself".
struct Place<'a>(&'a Path);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.segments().next().is_none() { f.write_str("the value") } else { self.0.fmt(f) }
    }
}

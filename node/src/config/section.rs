//! A section is a struct whose fields are settings. Its doc comments are also the words of `config/angel.toml`, so
//! that the two cannot part.

use super::ConfigError;
use super::layers::Layers;
use super::value::{HIDDEN, Value};

/// What is known of one setting without having its value.
#[derive(Clone, Copy)]
pub struct Field {
    /// The section it stands in; empty for the top of the file.
    pub table: &'static str,
    /// The key within the section.
    pub name: &'static str,
    /// Its documentation, line by line.
    pub doc: &'static [&'static str],
    /// Reads text from the environment or a flag.
    pub(super) text_to_toml: fn(&str) -> Result<toml::Value, String>,
}

impl Field {
    /// The key as it is named in messages: `http.listen`.
    #[must_use]
    pub fn key(&self) -> String {
        if self.table.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.table, self.name) }
    }

    /// The environment variable that sets it: `ANGEL_HTTP_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ANGEL_{}", self.key().replace('.', "_").to_uppercase())
    }
}

/// A struct made by [`section!`].
pub(super) trait Section: Sized {
    const DOC: &'static [&'static str];
    const FIELDS: &'static [Field];

    /// Every field from the highest layer that sets it, else from `defaults`.
    fn read(layers: &Layers, defaults: Self) -> Result<Self, ConfigError>;

    /// The values in the order of `FIELDS`; `None` is unset.
    fn values(&self) -> Vec<Option<toml::Value>>;
}

pub(super) fn read_field<T: Value>(layers: &Layers, field: &Field, default: T) -> Result<T, ConfigError> {
    let key = field.key();
    let Some((value, origin)) = layers.get(&key) else { return Ok(default) };
    T::from_toml(value).map_err(|why| ConfigError::Value {
        key,
        value: if T::SECRET { HIDDEN.to_owned() } else { value.to_string() },
        origin: origin.to_string(),
        why,
    })
}

macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        pub struct $name:ident in $table:literal {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[doc = $section_doc])+
        // The words are a plain text file's as well, where a URL needs no brackets.
        #[allow(rustdoc::bare_urls)]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::section::Section for $name {
            const DOC: &'static [&'static str] = &[$($section_doc),+];
            const FIELDS: &'static [$crate::config::section::Field] = &[$(
                $crate::config::section::Field {
                    table: $table,
                    name: stringify!($field),
                    doc: &[$($doc),+],
                    text_to_toml: <$type as $crate::config::value::Value>::text_to_toml,
                },
            )*];

            fn read(layers: &$crate::config::layers::Layers, defaults: Self) -> Result<Self, $crate::config::ConfigError> {
                let mut fields = Self::FIELDS.iter();
                Ok(Self {$(
                    $field: $crate::config::section::read_field(
                        layers,
                        fields.next().expect("FIELDS lists every field in order"),
                        defaults.$field,
                    )?,
                )*})
            }

            fn values(&self) -> Vec<Option<toml::Value>> {
                vec![$($crate::config::value::Value::to_toml(&self.$field),)*]
            }
        }
    };
}
pub(super) use section;

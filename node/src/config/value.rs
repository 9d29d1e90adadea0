//! What a setting may hold, and how it is written: in a file as TOML, in the environment and in flags as text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use angel_protocol::backup::Keep;
use angel_protocol::ids::{Did, Handle, NetworkId, NodeName};
use angel_protocol::membership::{Capability, Invite, NodeType, Region, ScalingModel};
use angel_storage::engine::EngineKind;
use zeroize::Zeroizing;

use crate::backup::Place;
use crate::network::Multiaddr;

/// A type a setting can have.
pub trait Value: Sized {
    /// What to write, for messages: `a duration such as "30s"`.
    fn expected() -> String;

    /// From a TOML value; the error says what is wrong with it.
    ///
    /// # Errors
    /// A sentence fragment that follows the key and the value.
    fn from_toml(value: &toml::Value) -> Result<Self, String>;

    /// The TOML value that text from the environment or a flag stands for.
    ///
    /// # Errors
    /// When the text has not the form of this kind of value.
    fn text_to_toml(text: &str) -> Result<toml::Value, String> {
        Ok(toml::Value::String(text.to_owned()))
    }

    /// The value as it would stand in a file, or `None` when it is unset. A secret is said to be set and not shown.
    fn to_toml(&self) -> Option<toml::Value>;

    /// Whether the value must not be shown, not even in an error.
    const SECRET: bool = false;
}

fn wrong_kind<T: Value>() -> String {
    format!("expected {}", T::expected())
}

/// Settings written as one string.
macro_rules! text_value {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Value for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn from_toml(value: &toml::Value) -> Result<Self, String> {
                let text = value.as_str().ok_or_else(wrong_kind::<Self>)?;
                text.parse().map_err(|error| format!("{error}; expected {}", $expected))
            }

            fn to_toml(&self) -> Option<toml::Value> {
                Some(toml::Value::String(self.to_string()))
            }
        }
    )*};
}

text_value! {
    String: "a string",
    SocketAddr: "an address and port such as \"127.0.0.1:2583\"",
    Did: "a DID such as \"did:key:z6Mk…\"",
    NodeName: "a name such as \"genesis-node-001\"",
    NetworkId: "a network id such as \"home-dev\"",
    Multiaddr: "a multiaddress such as \"/ip4/192.0.2.1/tcp/2584\"",
    ByteSize: "a size such as \"64MiB\"",
    Keep: "a rule such as \"last 3, daily 7, weekly 4, monthly 12\"",
    Place: "a directory, a file that ends in .tar, or \"s3://BUCKET/PREFIX\"",
    EngineKind: "\"sled\" or \"fjall\"",
    Invite: "the word that `angel peer invite` printed",
    PlcDirectory: "\"federation\" or a URL such as \"https://plc.directory\"",
    HandleDomain: "a handle domain such as \".example.org\"",
    IpAddr: "an IP address such as \"127.0.0.1\"",
    url::Url: "a URL such as \"https://angel.example.org\"",
}

/// Words of an open list: peers may send words of a later version, an operator may not write them.
macro_rules! known_value {
    ($($type:ident),* $(,)?) => {$(
        impl Value for $type {
            fn expected() -> String {
                let words: Vec<_> = Self::KNOWN.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }

            fn from_toml(value: &toml::Value) -> Result<Self, String> {
                match value.as_str().map(str::parse) {
                    Some(Ok(known)) if !matches!(known, Self::Other(_)) => Ok(known),
                    _ => Err(wrong_kind::<Self>()),
                }
            }

            fn to_toml(&self) -> Option<toml::Value> {
                Some(toml::Value::String(self.to_string()))
            }
        }
    )*};
}

known_value!(Region, NodeType, ScalingModel, Capability);

impl Value for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value.as_str() {
            None => Err(wrong_kind::<Self>()),
            Some("") => Err("a path cannot be empty".to_owned()),
            Some(text) => Ok(text.into()),
        }
    }

    fn to_toml(&self) -> Option<toml::Value> {
        Some(toml::Value::String(self.display().to_string()))
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(wrong_kind::<Self>)
    }

    fn text_to_toml(text: &str) -> Result<toml::Value, String> {
        // Files have one way to say it; in the environment there are several customs.
        match text {
            "true" | "1" | "on" | "yes" => Ok(toml::Value::Boolean(true)),
            "false" | "0" | "off" | "no" => Ok(toml::Value::Boolean(false)),
            _ => Err(wrong_kind::<Self>()),
        }
    }

    fn to_toml(&self) -> Option<toml::Value> {
        Some(toml::Value::Boolean(*self))
    }
}

impl Value for u32 {
    fn expected() -> String {
        format!("a whole number from 0 to {}", Self::MAX)
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        value.as_integer().and_then(|number| number.try_into().ok()).ok_or_else(wrong_kind::<Self>)
    }

    fn text_to_toml(text: &str) -> Result<toml::Value, String> {
        text.parse().map(toml::Value::Integer).map_err(|_| wrong_kind::<Self>())
    }

    fn to_toml(&self) -> Option<toml::Value> {
        Some(toml::Value::Integer((*self).into()))
    }
}

/// A number with a unit: `250ms`, `30s`, `5m`, `24h` or `90d`.
impl Value for Duration {
    fn expected() -> String {
        "a duration such as \"30s\" (ms, s, m, h or d)".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(wrong_kind::<Self>)?;
        let millis = with_unit(text, DURATION_UNITS).ok_or_else(wrong_kind::<Self>)?;
        Ok(Self::from_millis(millis))
    }

    fn to_toml(&self) -> Option<toml::Value> {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        Some(toml::Value::String(in_largest_unit(millis, DURATION_UNITS)))
    }
}

/// Written with commas in the environment.
impl<T: Value> Value for Vec<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        value.as_array().ok_or_else(wrong_kind::<Self>)?.iter().map(T::from_toml).collect()
    }

    fn text_to_toml(text: &str) -> Result<toml::Value, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(T::text_to_toml).collect::<Result<_, _>>().map(toml::Value::Array)
    }

    fn to_toml(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.iter().filter_map(T::to_toml).collect()))
    }
}

/// Unset unless given.
impl<T: Value> Value for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        T::from_toml(value).map(Some)
    }

    fn text_to_toml(text: &str) -> Result<toml::Value, String> {
        T::text_to_toml(text)
    }

    fn to_toml(&self) -> Option<toml::Value> {
        self.as_ref().and_then(T::to_toml)
    }

    const SECRET: bool = T::SECRET;
}

/// What stands for a secret wherever settings are shown.
pub(super) const HIDDEN: &str = "(hidden)";

/// A setting that is shown to nobody: a password, a key, a URL with a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text into custody.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The secret itself. Keep it out of logs, errors and exports.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Value for Secret {
    fn expected() -> String {
        "a text that is not empty".to_owned()
    }

    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value.as_str() {
            Some(text) if !text.is_empty() => Ok(Self::new(text.to_owned())),
            _ => Err(wrong_kind::<Self>()),
        }
    }

    fn to_toml(&self) -> Option<toml::Value> {
        Some(HIDDEN.into())
    }

    const SECRET: bool = true;
}

/// A number of bytes, written with a binary unit: `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// From mebibytes.
    #[must_use]
    pub const fn from_mib(mebibytes: u32) -> Self {
        Self((mebibytes as u64) << 20)
    }

    /// From kibibytes.
    #[must_use]
    pub const fn from_kib(kibibytes: u32) -> Self {
        Self((kibibytes as u64) << 10)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, for lengths in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size")]
pub struct InvalidByteSize;

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        with_unit(text, SIZE_UNITS).map(Self).ok_or(InvalidByteSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_largest_unit(self.0, SIZE_UNITS))
    }
}

/// Who keeps did:plc identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlcDirectory {
    /// This network itself.
    Federation,
    /// Another directory.
    Outside(url::Url),
}

impl FromStr for PlcDirectory {
    type Err = url::ParseError;

    fn from_str(text: &str) -> Result<Self, url::ParseError> {
        if text == "federation" { Ok(Self::Federation) } else { text.parse().map(Self::Outside) }
    }
}

impl fmt::Display for PlcDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Federation => f.write_str("federation"),
            Self::Outside(url) => url.fmt(f),
        }
    }
}

/// A domain under which accounts get their handles: `.example.org`. Lower case, with its leading dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandleDomain(String);

/// The text is no handle domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no handles can be made under this")]
pub struct InvalidHandleDomain;

impl HandleDomain {
    /// With the leading dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HandleDomain {
    type Err = InvalidHandleDomain;

    fn from_str(text: &str) -> Result<Self, InvalidHandleDomain> {
        let domain = format!(".{}", text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase());
        // The rules for a domain are those for the handles under it.
        let example: Handle = format!("a{domain}").parse().map_err(|_| InvalidHandleDomain)?;
        if example.as_str().matches('.').count() >= 1 { Ok(Self(domain)) } else { Err(InvalidHandleDomain) }
    }
}

impl fmt::Display for HandleDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Largest first, the base unit last.
const DURATION_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: &[(&str, u64)] = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn in_largest_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let base = units.len() - 1;
    let fitting = units.iter().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    let (unit, factor) = fitting.unwrap_or(if amount == 0 { &units[base - 1] } else { &units[base] });
    format!("{}{unit}", amount / factor)
}

/// Settings that are one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// The word that stands for it in a file and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::value::Value for $name {
            fn expected() -> String {
                format!("one of {}", [$(concat!("\"", $text, "\"")),*].join(", "))
            }

            fn from_toml(value: &toml::Value) -> Result<Self, String> {
                match value.as_str() {
                    $(Some($text) => Ok(Self::$variant),)*
                    _ => Err(format!("expected {}", Self::expected())),
                }
            }

            fn to_toml(&self) -> Option<toml::Value> {
                Some(toml::Value::String(self.as_str().to_owned()))
            }
        }
    };
}
pub(super) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Result<Duration, String> {
        Duration::from_toml(&toml::Value::String(text.to_owned()))
    }

    #[test]
    fn durations_and_sizes_survive_being_written() {
        for text in ["250ms", "30s", "90s", "5m", "24h", "90d", "0s"] {
            let written = duration(text).expect("valid").to_toml().expect("set");
            assert_eq!(duration(text), Duration::from_toml(&written), "{text}");
        }
        assert_eq!(duration("300s").expect("valid").to_toml(), Some("5m".into()));
        for text in ["64MiB", "1B", "3GiB", "1500B"] {
            let size: ByteSize = text.parse().expect("valid");
            assert_eq!(size.to_string(), text);
        }
    }

    #[test]
    fn numbers_without_a_unit_are_refused() {
        for text in ["30", "", "s", "-1s", "1.5s", "30 seconds", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert!(Duration::from_toml(&toml::Value::Integer(30)).is_err());
    }

    #[test]
    fn the_environment_switches_by_several_words() {
        for (text, expected) in [("true", true), ("on", true), ("1", true), ("no", false), ("off", false), ("0", false)]
        {
            let value = bool::text_to_toml(text).expect("a word for it");
            assert_eq!(bool::from_toml(&value), Ok(expected), "{text}");
        }
        assert!(["", "maybe", "2", "True "].into_iter().all(|text| bool::text_to_toml(text).is_err()));
        assert!(bool::from_toml(&toml::Value::String("on".to_owned())).is_err(), "a file says true or false");
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = Secret::from_toml(&"hunter2".into()).expect("a text");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!((format!("{secret:?}"), secret.to_toml()), (HIDDEN.to_owned(), Some(HIDDEN.into())));
        const { assert!(<Option<Secret> as Value>::SECRET) };
    }

    #[test]
    fn handle_domains_begin_with_a_dot() {
        for text in [".example.org", "Example.org"] {
            assert_eq!(text.parse::<HandleDomain>().expect("valid").as_str(), ".example.org");
        }
        for text in ["", ".", ".exa mple.org", ".org.", "..org"] {
            assert!(text.parse::<HandleDomain>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_split_at_commas_in_text() {
        let value = Vec::<Multiaddr>::text_to_toml("/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/tcp/2").expect("a list");
        assert_eq!(Vec::<Multiaddr>::from_toml(&value).expect("addresses").len(), 2);
        let empty = Vec::<Multiaddr>::text_to_toml("").expect("a list");
        assert_eq!(Vec::<Multiaddr>::from_toml(&empty), Ok(vec![]));
    }
}

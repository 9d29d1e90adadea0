//! A value of the data model.

use std::collections::BTreeMap;

use super::cid::Cid;

/// The fields of a map value, by name. Sorted by the bytes of the name; the encoder sorts as DAG-CBOR wants it.
pub type Map = BTreeMap<String, Value>;

/// Whatever a record can hold. There are no floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// Text in UTF-8.
    String(String),
    /// Bytes, `{"$bytes": …}` in JSON.
    Bytes(Vec<u8>),
    /// A link, `{"$link": …}` in JSON.
    Link(Cid),
    /// A list.
    List(Vec<Self>),
    /// A map with text for keys.
    Map(Map),
}

impl Value {
    /// The map inside, if it is one.
    #[must_use]
    pub const fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// The text inside, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The integer inside, if it is one.
    #[must_use]
    pub const fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(integer) = self { Some(*integer) } else { None }
    }

    /// The link inside, if it is one.
    #[must_use]
    pub const fn as_link(&self) -> Option<Cid> {
        if let Self::Link(cid) = self { Some(*cid) } else { None }
    }

    /// The field `name`, if this is a map that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.get(name)
    }

    /// The field `$type`, if it has one of text.
    #[must_use]
    pub fn type_name(&self) -> Option<&str> {
        self.get("$type")?.as_str()
    }
}

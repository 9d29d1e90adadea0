//! Stored values: one version byte, then the body. Old versions are read for ever; new ones are refused by name.
//!
//! A type that changes raises its `VERSION` and teaches [`StoredValue::decode_older`] the versions before. Rows are then
//! rewritten whenever they are written anyway. When a change touches keys, or when all rows must change, it is a
//! migration ([`crate::migrate`]).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value of a table.
pub trait StoredValue: Sized {
    /// The version that [`StoredValue::encode_body`] writes.
    const VERSION: u8;

    /// Appends the body in the current version.
    ///
    /// # Errors
    ///
    /// The value has no stored form, for example a map with keys that are no text.
    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a body of the current version.
    ///
    /// # Errors
    ///
    /// The body is not what [`StoredValue::encode_body`] writes.
    fn decode_body(body: &[u8]) -> Result<Self, CodecError>;

    /// Reads a body of an older version and brings it to the current one.
    ///
    /// # Errors
    ///
    /// There never was such a version, or the body is not one of it.
    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        let _ = body;
        Err(CodecError::UnknownVersion { version })
    }
}

/// A value whose body is DAG-CBOR. Implement this for row types; [`StoredValue`] follows.
pub trait Row: Serialize + DeserializeOwned {
    /// See [`StoredValue::VERSION`].
    const VERSION: u8;

    /// See [`StoredValue::decode_older`].
    ///
    /// # Errors
    ///
    /// There never was such a version, or the body is not one of it.
    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        let _ = body;
        Err(CodecError::UnknownVersion { version })
    }
}

impl<T: Row> StoredValue for T {
    const VERSION: u8 = T::VERSION;

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_ipld_dagcbor::to_writer(out, self).map_err(|error| CodecError::Encode { detail: error.to_string() })
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        from_cbor(body)
    }

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        T::decode_older(version, body)
    }
}

/// Reads DAG-CBOR, for implementations of `decode_older`.
///
/// # Errors
///
/// The bytes are no DAG-CBOR, or not of this shape.
pub fn from_cbor<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    serde_ipld_dagcbor::from_slice(body).map_err(|error| CodecError::Decode { detail: error.to_string() })
}

/// Version 1 of a type that lives elsewhere, stored as DAG-CBOR. Such a type must only grow by optional fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Cbor<T>(pub T);

impl<T: Serialize + DeserializeOwned> Row for Cbor<T> {
    const VERSION: u8 = 1;
}

/// Bytes stored as they are, for example a repository block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

impl StoredValue for Raw {
    const VERSION: u8 = 1;

    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(body.to_vec()))
    }
}

/// A row that says everything by being there, for example an entry of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present;

impl StoredValue for Present {
    const VERSION: u8 = 1;

    fn encode_body(&self, _out: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode_body(body: &[u8]) -> Result<Self, CodecError> {
        if body.is_empty() { Ok(Self) } else { Err(CodecError::Decode { detail: "expected no body".to_owned() }) }
    }
}

/// The stored form of `value`: version byte and body.
///
/// # Errors
///
/// The value has no stored form.
pub fn encode<V: StoredValue>(value: &V) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![V::VERSION];
    value.encode_body(&mut out)?;
    Ok(out)
}

/// Reads a stored value of this or an older version.
///
/// # Errors
///
/// The bytes are empty, of a newer version, or not of the expected shape.
pub fn decode<V: StoredValue>(stored: &[u8]) -> Result<V, CodecError> {
    let (version, body) = stored.split_first().ok_or(CodecError::Empty)?;
    match version.cmp(&V::VERSION) {
        std::cmp::Ordering::Equal => V::decode_body(body),
        std::cmp::Ordering::Less => V::decode_older(*version, body),
        std::cmp::Ordering::Greater => Err(CodecError::Newer { version: *version, known: V::VERSION }),
    }
}

/// Why a stored value cannot be read, or a value not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not even a version byte.
    #[error("the stored value is empty")]
    Empty,
    /// Written by newer software.
    #[error("the stored value has version {version}, this software reads up to {known}: start the newer version again")]
    Newer {
        /// The version found.
        version: u8,
        /// The newest version known here.
        known: u8,
    },
    /// A version that never was.
    #[error("the stored value has version {version}, which no release wrote")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// Not of the expected shape.
    #[error("the stored value cannot be read: {detail}")]
    Decode {
        /// What the decoder says.
        detail: String,
    },
    /// A value without a stored form.
    #[error("the value cannot be stored: {detail}")]
    Encode {
        /// What the encoder says.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The first release of a row …
    #[derive(Serialize, Deserialize)]
    struct First {
        name: String,
    }

    impl Row for First {
        const VERSION: u8 = 1;
    }

    /// … and its second, which counts as well.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        title: String,
        count: u64,
    }

    impl Row for Second {
        const VERSION: u8 = 2;

        fn decode_older(version: u8, body: &[u8]) -> Result<Self, CodecError> {
            match version {
                1 => from_cbor::<First>(body).map(|first| Self { title: first.name, count: 0 }),
                _ => Err(CodecError::UnknownVersion { version }),
            }
        }
    }

    #[test]
    fn old_versions_are_brought_forward_and_new_ones_refused() {
        let old = encode(&First { name: "a".to_owned() }).expect("encodes");
        assert_eq!(decode::<Second>(&old), Ok(Second { title: "a".to_owned(), count: 0 }));
        let new = encode(&Second { title: "a".to_owned(), count: 1 }).expect("encodes");
        assert_eq!(decode::<Second>(&new), Ok(Second { title: "a".to_owned(), count: 1 }));
        assert!(matches!(decode::<First>(&new), Err(CodecError::Newer { version: 2, known: 1 })));
        assert_eq!(decode::<Second>(&[0, 0xA0]), Err(CodecError::UnknownVersion { version: 0 }));
        assert_eq!(decode::<Second>(&[]), Err(CodecError::Empty));
        assert!(matches!(decode::<Second>(&[2, 0xFF]), Err(CodecError::Decode { .. })));
    }

    #[test]
    fn raw_bytes_stay_as_they_are() {
        assert_eq!(encode(&Raw(vec![9, 9])), Ok(vec![1, 9, 9]));
        assert_eq!(decode::<Raw>(&[1, 9, 9]), Ok(Raw(vec![9, 9])));
        assert!(decode::<Present>(&[1, 0]).is_err());
    }
}

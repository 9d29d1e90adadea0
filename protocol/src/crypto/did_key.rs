//! `did:key`: a DID that is its own public key (W3C CCG "did:key Method", multicodec table).

use multibase::Base;

use crate::ids::Did;

/// The curves AT Protocol and this network use, with their multicodec prefix as a varint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Ed25519, 32 bytes: nodes and wallets.
    Ed25519,
    /// secp256k1, 33 bytes compressed: repository commits and PLC rotation keys.
    Secp256k1,
    /// NIST P-256, 33 bytes compressed: keys of other hosts' accounts.
    P256,
}

/// Why a DID is no usable `did:key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidKeyError {
    /// Another DID method.
    #[error("not a did:key")]
    Method,
    /// Not base58btc.
    #[error("a did:key holds its key in base58btc, starting with z")]
    Encoding,
    /// A multicodec that is none of [`KeyKind`].
    #[error("the did:key names a curve that is not supported")]
    Curve,
    /// The number of bytes does not fit the curve.
    #[error("the did:key holds a key of the wrong length for its curve")]
    Length,
}

impl KeyKind {
    const ALL: [Self; 3] = [Self::Ed25519, Self::Secp256k1, Self::P256];

    const fn multicodec(self) -> [u8; 2] {
        match self {
            Self::Ed25519 => [0xed, 0x01],
            Self::Secp256k1 => [0xe7, 0x01],
            Self::P256 => [0x80, 0x24],
        }
    }

    /// Length of a public key of this kind, in bytes.
    #[must_use]
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::Secp256k1 | Self::P256 => 33,
        }
    }
}

/// The `did:key` of a public key.
///
/// # Panics
/// When `key` has not the length of `kind`; callers hold parsed keys.
#[must_use]
pub fn encode_did_key(kind: KeyKind, key: &[u8]) -> Did {
    assert_eq!(key.len(), kind.public_key_bytes(), "a parsed public key has its curve's length");
    let bytes = [&kind.multicodec(), key].concat();
    format!("did:key:{}", multibase::encode(Base::Base58Btc, bytes)).parse().expect("base58 is within the DID alphabet")
}

/// The public key inside a `did:key`. The bytes have the right length; whether they are a point on the curve is
/// checked by the key's own type.
///
/// # Errors
/// [`DidKeyError`], by what is wrong.
pub fn decode_did_key(did: &Did) -> Result<(KeyKind, Vec<u8>), DidKeyError> {
    if did.method() != "key" {
        return Err(DidKeyError::Method);
    }
    let (base, bytes) = multibase::decode(did.identifier()).map_err(|_| DidKeyError::Encoding)?;
    if base != Base::Base58Btc {
        return Err(DidKeyError::Encoding);
    }
    let kind = KeyKind::ALL.into_iter().find(|kind| bytes.starts_with(&kind.multicodec())).ok_or(DidKeyError::Curve)?;
    let key = &bytes[kind.multicodec().len()..];
    if key.len() != kind.public_key_bytes() {
        return Err(DidKeyError::Length);
    }
    Ok((kind, key.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_published_ed25519_example() {
        // The example of the did:key method text.
        let did: Did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".parse().expect("valid");
        let (kind, key) = decode_did_key(&did).expect("an Ed25519 key");
        assert_eq!((kind, key.len()), (KeyKind::Ed25519, 32));
        assert_eq!(encode_did_key(kind, &key), did);
    }

    #[test]
    fn every_kind_survives_a_round_trip() {
        for kind in KeyKind::ALL {
            let key = vec![7; kind.public_key_bytes()];
            assert_eq!(decode_did_key(&encode_did_key(kind, &key)), Ok((kind, key)));
        }
    }

    #[test]
    fn refuses_by_reason() {
        let error = |text: &str| decode_did_key(&text.parse().expect("a DID")).expect_err("not usable");
        assert_eq!(error("did:web:example.com"), DidKeyError::Method);
        assert_eq!(error("did:key:z0OIl"), DidKeyError::Encoding);
        assert_eq!(error(&format!("did:key:{}", multibase::encode(Base::Base64Url, [0xed, 1]))), DidKeyError::Encoding);
        assert_eq!(error(&format!("did:key:{}", multibase::encode(Base::Base58Btc, [1, 2, 3]))), DidKeyError::Curve);
        assert_eq!(
            error(&format!("did:key:{}", multibase::encode(Base::Base58Btc, [0xed, 1, 3]))),
            DidKeyError::Length
        );
    }
}

//! ECDSA as AT Protocol uses it ("Cryptography"): over SHA-256, 64 bytes `r ‖ s` with low `s`, on two curves.
//!
//! High `s` and DER are refused: both would give a second valid signature of the same message to anybody.

use std::fmt;

use super::curves::{P256Key, P256PublicKey, Secp256k1Key, Secp256k1PublicKey};
use super::did_key::{DidKeyError, KeyKind, decode_did_key, encode_did_key};
use super::ed25519::{BadSignature, Domain, Signature};
use crate::ids::Did;

/// A public key that may sign commits, PLC operations and service tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum VerifyingKey {
    /// On secp256k1.
    Secp256k1(Secp256k1PublicKey),
    /// On NIST P-256.
    P256(P256PublicKey),
}

/// A secret key for commits, PLC operations and service tokens. Wiped from memory when dropped; never printed.
pub enum SigningKey {
    /// On secp256k1, as every key made here is.
    Secp256k1(Secp256k1Key),
    /// On NIST P-256, for accounts that brought theirs.
    P256(P256Key),
}

impl VerifyingKey {
    /// From a `did:key` of either curve.
    ///
    /// # Errors
    /// [`DidKeyError`] when the DID holds no point of one of the two curves.
    pub fn from_did(did: &Did) -> Result<Self, DidKeyError> {
        let (kind, bytes) = decode_did_key(did)?;
        Self::from_sec1(kind, &bytes)
    }

    /// From a point in SEC 1 form, compressed or not, on the curve `kind`.
    ///
    /// # Errors
    /// [`DidKeyError::Curve`] when it is no point of one of the two curves.
    pub fn from_sec1(kind: KeyKind, bytes: &[u8]) -> Result<Self, DidKeyError> {
        let key = match kind {
            KeyKind::Secp256k1 => Secp256k1PublicKey::from_sec1(bytes).map(Self::Secp256k1),
            KeyKind::P256 => P256PublicKey::from_sec1(bytes).map(Self::P256),
            KeyKind::Ed25519 => None,
        };
        key.ok_or(DidKeyError::Curve)
    }

    /// The curve.
    #[must_use]
    pub const fn kind(self) -> KeyKind {
        match self {
            Self::Secp256k1(_) => KeyKind::Secp256k1,
            Self::P256(_) => KeyKind::P256,
        }
    }

    /// The point in compressed SEC 1 form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 33] {
        match self {
            Self::Secp256k1(key) => key.to_bytes(),
            Self::P256(key) => key.to_bytes(),
        }
    }

    /// The `did:key` of this key.
    #[must_use]
    pub fn did(self) -> Did {
        encode_did_key(self.kind(), &self.to_bytes())
    }

    /// The algorithm's name in a JWT (RFC 7518, RFC 8812).
    #[must_use]
    pub const fn jwt_algorithm(self) -> &'static str {
        match self {
            Self::Secp256k1(_) => "ES256K",
            Self::P256(_) => "ES256",
        }
    }

    /// Checks a signature of 64 bytes with low `s` over the SHA-256 of `message`.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not fit, is of another form, or has a high `s`.
    pub fn verify(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self {
            Self::Secp256k1(key) => key.verify(message, signature),
            Self::P256(key) => key.verify(message, signature),
        }
    }

    /// The same for a message that was signed for one purpose: see [`SigningKey::sign_for`].
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_for(self, domain: Domain, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.verify(&domain.frame(message), signature)
    }

    /// The same, but a high `s` will do as well: for tokens, which no name is made of, and whose makers often use a
    /// library that knows nothing of the lower half.
    ///
    /// # Errors
    /// [`BadSignature`] when it does not fit or is of another form.
    pub fn verify_either_s(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match self {
            Self::Secp256k1(key) => key.verify_either_s(message, signature),
            Self::P256(key) => key.verify_either_s(message, signature),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.did())
    }
}

impl SigningKey {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        match self {
            Self::Secp256k1(key) => VerifyingKey::Secp256k1(key.public()),
            Self::P256(key) => VerifyingKey::P256(key.public()),
        }
    }

    /// The `did:key` of the public half.
    #[must_use]
    pub fn did(&self) -> Did {
        self.public().did()
    }

    /// Signs the SHA-256 of `message`. The same message always gets the same signature (RFC 6979).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        match self {
            Self::Secp256k1(key) => key.sign(message),
            Self::P256(key) => key.sign(message),
        }
    }

    /// Signs a message for one purpose. No operation on an identity and no commit begins as the text of a purpose does, so
    /// the signature cannot be shown for either.
    #[must_use]
    pub fn sign_for(&self, domain: Domain, message: &[u8]) -> Signature {
        self.sign(&domain.frame(message))
    }
}

impl From<Secp256k1Key> for SigningKey {
    fn from(key: Secp256k1Key) -> Self {
        Self::Secp256k1(key)
    }
}

impl From<P256Key> for SigningKey {
    fn from(key: P256Key) -> Self {
        Self::P256(key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.did())
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64_NOPAD, HEXLOWER};
    use multibase::Base;
    use proptest::prelude::*;

    use super::*;
    use crate::interop;

    fn key_pairs() -> [SigningKey; 2] {
        [
            Secp256k1Key::from_bytes(&[1; 32]).expect("a scalar").into(),
            P256Key::from_bytes(&[1; 32]).expect("a scalar").into(),
        ]
    }

    #[test]
    fn follows_the_published_signatures() {
        for case in interop::json("crypto/signature-fixtures.json") {
            let text = |field: &str| case[field].as_str().expect("a string");
            let key = VerifyingKey::from_did(&text("publicKeyDid").parse().expect("a DID")).expect("a key");
            let message = BASE64_NOPAD.decode(text("messageBase64").as_bytes()).expect("base 64");
            let signature = BASE64_NOPAD.decode(text("signatureBase64").as_bytes()).expect("base 64");
            let verdict = key.verify(&message, &signature).is_ok();
            assert_eq!(verdict, case["validSignature"].as_bool().expect("a boolean"), "{}", case["comment"]);
            assert_eq!(key.jwt_algorithm(), text("algorithm"));
            let (_, point) = multibase::decode(text("publicKeyMultibase")).expect("multibase");
            assert_eq!(VerifyingKey::from_sec1(key.kind(), &point), Ok(key));
        }
    }

    #[test]
    fn follows_the_published_keys() {
        for case in interop::json("crypto/w3c_didkey_K256.json") {
            let secret = HEXLOWER.decode(case["privateKeyBytesHex"].as_str().expect("hex").as_bytes()).expect("hex");
            let key = Secp256k1Key::from_bytes(&secret.try_into().expect("32 bytes")).expect("a scalar");
            assert_eq!(SigningKey::from(key).did().as_str(), case["publicDidKey"]);
        }
        for case in interop::json("crypto/w3c_didkey_P256.json") {
            let text = case["privateKeyBytesBase58"].as_str().expect("base 58");
            let secret = Base::Base58Btc.decode(text).expect("base 58");
            let key = P256Key::from_bytes(&secret.try_into().expect("32 bytes")).expect("a scalar");
            assert_eq!(SigningKey::from(key).did().as_str(), case["publicDidKey"]);
        }
    }

    #[test]
    fn signatures_are_those_of_rfc_6979() {
        let secret =
            |hex: &str| -> [u8; 32] { HEXLOWER.decode(hex.as_bytes()).expect("hex").try_into().expect("32 bytes") };
        // RFC 6979, appendix A.2.5, SHA-256 of "sample", its s brought to the lower half.
        let p256 = P256Key::from_bytes(&secret("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"));
        assert_eq!(
            HEXLOWER.encode(&p256.expect("a scalar").sign(b"sample")),
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9"
        );
        // The vector that Bitcoin implementations share for the secret 1.
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(
            HEXLOWER.encode(&Secp256k1Key::from_bytes(&one).expect("a scalar").sign(b"Satoshi Nakamoto")),
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
             2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
        );
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone() {
        for key in key_pairs() {
            let signature = key.sign(b"message");
            assert_eq!(key.sign(b"message"), signature, "deterministic");
            assert_eq!(key.public().verify(b"message", &signature), Ok(()));
            assert_eq!(key.public().verify(b"Message", &signature), Err(BadSignature));
            assert_eq!(key.public().verify(b"message", &signature[..63]), Err(BadSignature));
            assert_eq!(key.public().verify(b"message", &[0; 64]), Err(BadSignature));
            assert_eq!(VerifyingKey::from_did(&key.did()), Ok(key.public()));
        }
        let [a, b] = key_pairs();
        assert_eq!(a.public().verify(b"message", &b.sign(b"message")), Err(BadSignature));
    }

    #[test]
    fn a_signature_for_one_purpose_is_none_for_another() {
        const CLAIM: Domain = Domain::new("angel/claim/1");
        for key in key_pairs() {
            let signature = key.sign_for(CLAIM, b"a message");
            assert_eq!(key.public().verify_for(CLAIM, b"a message", &signature), Ok(()));
            let other = Domain::new("angel/claim/2");
            assert_eq!(key.public().verify_for(other, b"a message", &signature), Err(BadSignature));
            assert_eq!(key.public().verify(b"a message", &signature), Err(BadSignature));
        }
    }

    #[test]
    fn the_other_s_is_refused() {
        // Group orders (SEC 2, section 2.4.1; FIPS 186-4, appendix D.1.2.3).
        let orders = [
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        ];
        for (key, order) in key_pairs().iter().zip(orders) {
            let order = HEXLOWER.decode(order.as_bytes()).expect("hex");
            let mut signature = key.sign(b"message");
            let mut borrow = 0;
            for i in (0..32).rev() {
                let difference = i16::from(order[i]) - i16::from(signature[32 + i]) - borrow;
                borrow = i16::from(difference < 0);
                signature[32 + i] = u8::try_from(difference.rem_euclid(256)).expect("below 256");
            }
            assert_eq!(key.public().verify(b"message", &signature), Err(BadSignature));
            assert_eq!(key.public().verify_either_s(b"message", &signature), Ok(()));
            assert_eq!(key.public().verify_either_s(b"Message", &signature), Err(BadSignature));
        }
    }

    #[test]
    fn a_secret_key_prints_no_secret() {
        for key in key_pairs() {
            assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.did()));
        }
    }

    #[test]
    fn an_ed25519_key_signs_no_commit() {
        let did = super::super::NodeKey::from_seed(&[1; 32]).did();
        assert_eq!(VerifyingKey::from_did(&did), Err(DidKeyError::Curve));
    }

    proptest! {
        #[test]
        fn every_signature_verifies(secret: [u8; 32], message: Vec<u8>) {
            let keys = [
                Secp256k1Key::from_bytes(&secret).map(SigningKey::from),
                P256Key::from_bytes(&secret).map(SigningKey::from),
            ];
            for key in keys.into_iter().flatten() {
                prop_assert_eq!(key.public().verify(&message, &key.sign(&message)), Ok(()));
            }
        }

        #[test]
        fn no_bytes_panic(kind in 0..3_u8, point: Vec<u8>, message: Vec<u8>, signature in prop::collection::vec(any::<u8>(), 60..70)) {
            let kind = [KeyKind::Ed25519, KeyKind::Secp256k1, KeyKind::P256][usize::from(kind)];
            let _ = VerifyingKey::from_sec1(kind, &point);
            for key in key_pairs() {
                prop_assert_eq!(key.public().verify(&message, &signature), Err(BadSignature));
            }
        }
    }
}

//! The keys of the two ECDSA curves of AT Protocol: secp256k1 ("K-256"), the curve of the keys made here, and NIST P-256,
//! for keys made elsewhere.
//!
//! One text for both: their libraries share an interface, but its bounds would have to be repeated on every generic
//! function here.

use std::fmt;

use zeroize::Zeroizing;

use super::ed25519::{BadSignature, Signature};

macro_rules! keys_on_curve {
    ($library:ident, $curve:literal, $refused:literal, $secret:ident, $public:ident) => {
        #[doc = concat!("A secret key on ", $curve, ". Wiped from memory when dropped; never printed.")]
        pub struct $secret($library::ecdsa::SigningKey);

        #[doc = concat!("A public key on ", $curve, ": a point of the curve, not the one at infinity.")]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $public($library::ecdsa::VerifyingKey);

        impl $secret {
            /// From 32 secret random bytes; `None` for zero and for numbers not below the curve's order, about one in
            #[doc = concat!($refused, ".")]
            #[must_use]
            pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
                $library::ecdsa::SigningKey::from_slice(bytes).ok().map(Self)
            }

            /// The secret bytes, for the key file alone.
            #[must_use]
            pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes().into())
            }

            /// The public half.
            #[must_use]
            pub fn public(&self) -> $public {
                $public(*self.0.verifying_key())
            }

            /// Signs the SHA-256 of `message`, deterministically, with low `s`.
            #[must_use]
            pub fn sign(&self, message: &[u8]) -> Signature {
                use $library::ecdsa::signature::Signer;
                let signature: $library::ecdsa::Signature = self.0.sign(message);
                signature.normalize_s().to_bytes().into()
            }
        }

        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($secret))
            }
        }

        impl $public {
            /// From SEC 1 bytes, compressed or not; `None` when they are no point of the curve.
            #[must_use]
            pub fn from_sec1(bytes: &[u8]) -> Option<Self> {
                $library::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok().map(Self)
            }

            /// The compressed SEC 1 form.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 33] {
                self.0.to_sec1_point(true).as_bytes().try_into().expect("a compressed point has 33 bytes")
            }

            /// Checks a signature of 64 bytes with low `s` over the SHA-256 of `message`.
            ///
            /// # Errors
            /// [`BadSignature`] when it does not fit, is of another form, or has a high `s`.
            pub fn verify(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
                let signature = $library::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                if signature.normalize_s() != signature {
                    return Err(BadSignature);
                }
                self.check(message, &signature)
            }

            /// The same, but a high `s` will do as well.
            ///
            /// # Errors
            /// [`BadSignature`] when it does not fit or is of another form.
            pub fn verify_either_s(self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
                let signature = $library::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                self.check(message, &signature.normalize_s())
            }

            fn check(self, message: &[u8], signature: &$library::ecdsa::Signature) -> Result<(), BadSignature> {
                use $library::ecdsa::signature::Verifier;
                self.0.verify(message, signature).map_err(|_| BadSignature)
            }
        }

        impl fmt::Debug for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($public))
            }
        }
    };
}

keys_on_curve!(k256, "secp256k1", "2^127", Secp256k1Key, Secp256k1PublicKey);
keys_on_curve!(p256, "NIST P-256", "2^32", P256Key, P256PublicKey);

//! Signing keys as they lie in the store: sealed with XChaCha20-Poly1305 under one key of the node, a file in
//! `secrets/`. Whoever gets hold of the store alone, or of a copy of it, can sign for nobody.
//!
//! A seal is bound to the account and the purpose, so that a row which was moved to another account does not open.

use angel_protocol::crypto::{KeyKind, P256Key, Secp256k1Key, SigningKey};
use angel_protocol::ids::Did;
use angel_storage::AccountId;
use angel_storage::accounts::{KeyPurpose, SealedKeyRow};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::data_dir::Layout;
use crate::secrets::{SecretError, create_secret, random_bytes, read_secret};

const HEADER: &str = "angel account seal 1";
pub(crate) const FILE: &str = "account-seal.key";
const NONCE_BYTES: usize = 24;

/// The node's sealing key.
pub(super) struct Seal(XChaCha20Poly1305);

/// A sealing key of its own, for an archive of one account: what is in the archive opens with nothing of this node's, and
/// nothing of this node's with what is in the archive.
pub(crate) struct ApartSeal {
    seal: Seal,
    text: Zeroizing<String>,
}

impl ApartSeal {
    /// A new one.
    pub(crate) fn new() -> Result<Self, SecretError> {
        let key = random_bytes::<32>()?;
        Ok(Self { seal: Seal(XChaCha20Poly1305::new((&*key).into())), text: format(&key) })
    }

    /// The file in `secrets/` in which a node would have it, and what is in that.
    pub(crate) fn file(&self) -> (&'static str, &[u8]) {
        (FILE, self.text.as_bytes())
    }
}

/// Why a key cannot be sealed or opened. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It was sealed under another key, for another purpose, or is damaged.
    #[error(
        "the key {public} does not open under secrets/account-seal.key; restore that file from the same backup as the store"
    )]
    Closed {
        /// The public half.
        public: String,
    },
    /// There is no randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// What an account's key is bound to.
pub(super) fn context(id: AccountId, purpose: KeyPurpose) -> Vec<u8> {
    format!("angel account {} key {}", id.0, purpose.number()).into_bytes()
}

impl Seal {
    /// Reads the key, or makes one as long as nothing can be sealed with another. Blocks.
    pub(super) fn load_or_create(layout: &Layout, nothing_sealed: bool) -> Result<Self, SecretError> {
        let path = layout.secrets().join(FILE);
        let text = match read_secret(&path)? {
            Some(text) => text,
            None if !nothing_sealed => {
                let without = "Without it nobody who lives here could write: their signing keys are sealed with it";
                return Err(SecretError::Lost { path, without });
            }
            None => {
                let text = format(&*random_bytes::<32>()?);
                create_secret(&path, &text)?;
                text
            }
        };
        let key = parse(&text).ok_or(SecretError::Corrupt { path, what: "it holds no sealing key" })?;
        Ok(Self(XChaCha20Poly1305::new((&*key).into())))
    }

    /// Seals a signing key.
    pub(super) fn seal(&self, context: &[u8], key: &SigningKey) -> Result<SealedKeyRow, SealError> {
        let secret = match key {
            SigningKey::Secp256k1(key) => key.to_bytes(),
            SigningKey::P256(key) => key.to_bytes(),
        };
        self.seal_secret(context, key.did(), &secret)
    }

    /// Seals 32 secret bytes whose public half is `public`.
    pub(super) fn seal_secret(
        &self,
        context: &[u8],
        public: Did,
        secret: &Zeroizing<[u8; 32]>,
    ) -> Result<SealedKeyRow, SealError> {
        let nonce = random_bytes::<NONCE_BYTES>()?;
        let sealed = self
            .0
            .encrypt(XNonce::from_slice(&*nonce), Payload { msg: &**secret, aad: context })
            .expect("32 bytes are never too long to seal");
        Ok(SealedKeyRow { public, nonce: nonce.to_vec(), sealed })
    }

    /// Opens 32 secret bytes. Whether they are what the row names is for the caller.
    pub(super) fn open_secret(&self, context: &[u8], row: &SealedKeyRow) -> Result<Zeroizing<[u8; 32]>, SealError> {
        self.try_open_secret(context, row).ok_or_else(|| SealError::Closed { public: row.public.to_string() })
    }

    fn try_open_secret(&self, context: &[u8], row: &SealedKeyRow) -> Option<Zeroizing<[u8; 32]>> {
        let nonce: &[u8; NONCE_BYTES] = row.nonce.as_slice().try_into().ok()?;
        let payload = Payload { msg: &row.sealed, aad: context };
        let secret = Zeroizing::new(self.0.decrypt(XNonce::from_slice(nonce), payload).ok()?);
        Some(Zeroizing::new(secret.as_slice().try_into().ok()?))
    }

    /// Seals anew, with another sealing key, what is sealed with this one.
    pub(super) fn reseal(
        &self,
        context: &[u8],
        row: &SealedKeyRow,
        with: &ApartSeal,
    ) -> Result<SealedKeyRow, SealError> {
        let secret = self.open_secret(context, row)?;
        with.seal.seal_secret(context, row.public.clone(), &secret)
    }

    /// Opens a sealed key and checks that it is the one that the row names.
    pub(super) fn open(&self, context: &[u8], row: &SealedKeyRow) -> Result<SigningKey, SealError> {
        self.try_open(context, row).ok_or_else(|| SealError::Closed { public: row.public.to_string() })
    }

    fn try_open(&self, context: &[u8], row: &SealedKeyRow) -> Option<SigningKey> {
        let secret = self.try_open_secret(context, row)?;
        let secret: &[u8; 32] = &secret;
        let (kind, _) = angel_protocol::crypto::decode_did_key(&row.public).ok()?;
        let key = match kind {
            KeyKind::Secp256k1 => Secp256k1Key::from_bytes(secret)?.into(),
            KeyKind::P256 => P256Key::from_bytes(secret)?.into(),
            KeyKind::Ed25519 => return None,
        };
        let key: SigningKey = key;
        (key.did() == row.public).then_some(key)
    }
}

/// A new signing key on secp256k1.
///
/// # Errors
/// The operating system gives no randomness.
pub fn new_signing_key() -> Result<SigningKey, SecretError> {
    loop {
        // One in 2^128 strings of 32 bytes is no scalar of the curve.
        if let Some(key) = Secp256k1Key::from_bytes(&*random_bytes::<32>()?) {
            return Ok(key.into());
        }
    }
}

fn format(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(HEADER);
    text.push_str("\nsecret: ");
    for byte in key {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("a nibble is a hexadecimal digit"));
        }
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.strip_prefix(HEADER)?.strip_prefix("\nsecret: ")?.trim_end().as_bytes();
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from((nibble(pair[0])? << 4) | nibble(pair[1])?).ok()?;
    }
    Some(key)
}

//! The owner's recovery key: the most powerful key of an identity, which no host keeps. It is made at sign-up, shown
//! once, and tested before it is needed.

use angel_protocol::crypto::{P256Key, Secp256k1Key, SigningKey};
use angel_protocol::ids::Did;
use angel_protocol::plc::{Counts, NotAdded, check_bounds};
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::{Lifecycle, LifecycleError};
use crate::accounts::Account;
use crate::directory::DirectoryError;
use crate::secrets::{SecretError, random_bytes};

/// What a recovery key begins with, so that a person who finds one knows what it is.
const PREFIX: &str = "angel-recovery-";

/// A recovery key to be shown once.
pub struct NewRecoveryKey {
    /// The public half, which goes into the identity.
    pub public: Did,
    /// The secret half, as its owner writes it down.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for NewRecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRecoveryKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl NewRecoveryKey {
    /// A key that nobody has had.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, SecretError> {
        loop {
            let bytes = random_bytes::<32>()?;
            // One in 2^128 strings of 32 bytes is no scalar of the curve.
            if let Some(key) = Secp256k1Key::from_bytes(&bytes) {
                let digits = Zeroizing::new(BASE32_NOPAD.encode(&*bytes).to_ascii_lowercase());
                return Ok(Self {
                    public: SigningKey::from(key).did(),
                    secret: Zeroizing::new(format!("{PREFIX}{}", *digits)),
                });
            }
        }
    }
}

/// The public half of a recovery key as its owner wrote it down; 64 hexadecimal digits, as other tools print keys, are
/// read as well. `None` when it is no key.
#[must_use]
pub(crate) fn public_half(written: &str) -> Option<Did> {
    Some(SigningKey::from(Secp256k1Key::from_bytes(&*secret_bytes(written)?)?).did())
}

/// A recovery key as its owner wrote it down, on either curve that an identity takes: the digits do not say on which it
/// is. Empty when it is no key.
pub(crate) fn written_keys(written: &str) -> Vec<SigningKey> {
    let Some(bytes) = secret_bytes(written) else { return Vec::new() };
    let first = Secp256k1Key::from_bytes(&bytes).map(SigningKey::from);
    first.into_iter().chain(P256Key::from_bytes(&bytes).map(SigningKey::from)).collect()
}

fn secret_bytes(written: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = Zeroizing::new(written.split_whitespace().collect::<String>().to_ascii_lowercase());
    let bytes = Zeroizing::new(match text.strip_prefix(PREFIX) {
        Some(digits) => BASE32_NOPAD.decode(Zeroizing::new(digits.to_ascii_uppercase()).as_bytes()).ok()?,
        None => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?,
    });
    Some(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?))
}

/// What a recovery key is worth to an account now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryTest {
    /// It comes before every other key.
    First,
    /// It is a rotation key, and others come before it: they could undo what it does.
    Later {
        /// How many.
        before: usize,
    },
    /// The identity does not know it.
    Unknown,
}

impl Lifecycle {
    /// Tests a recovery key against the identity as the directory has it now.
    ///
    /// # Errors
    /// The identity is none of did:plc, or cannot be had.
    pub async fn test_recovery_key(&self, account: &Account, public: &Did) -> Result<RecoveryTest, LifecycleError> {
        Self::check_recoverable(account)?;
        let log = self.identities.directory().log(account.did()).await?;
        let data = log.data().ok_or_else(|| DirectoryError::Tombstoned(account.did().clone()))?;
        Ok(match data.rotation_keys.iter().position(|key| key == public) {
            Some(0) => RecoveryTest::First,
            Some(before) => RecoveryTest::Later { before },
            None => RecoveryTest::Unknown,
        })
    }

    /// Puts an owner's key before the others of an identity that names none, signed by this node: accounts that were made
    /// without one could never be taken back. Whoever calls has leave to write for the account, so that no other node is
    /// about to move its identity. Followers are told with [`Self::tell_identity`].
    ///
    /// # Errors
    /// The identity is none of did:plc, does not lead here, or has an owner's key; the directory does not take it.
    pub async fn add_owners_key(&self, account: &Account, public: &Did) -> Result<Counts, LifecycleError> {
        Self::check_recoverable(account)?;
        self.check_identity(account).await?;
        let (host, operator) = (self.identities.rotation_key(), self.identities.operators_key());
        let mut put = Err(NotAdded::NoPower);
        let signed = self.identities.sign(account.did(), |data| put = data.put_owner_first(public, &host, operator));
        let operation = signed.await?;
        let counts = put?;
        check_bounds(&operation).map_err(|error| LifecycleError::Operation(error.to_string()))?;
        self.identities.directory().submit(account.did(), operation).await?;
        tracing::warn!(did = %account.did(), key = %public, "an owner's key comes first in the identity from now on");
        Ok(counts)
    }

    fn check_recoverable(account: &Account) -> Result<(), LifecycleError> {
        if account.did().method() == "plc" {
            return Ok(());
        }
        let text = format!("{} has no rotation keys: whoever holds the domain has the identity", account.did());
        Err(LifecycleError::Identity(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_written_down_is_the_key_that_was_made() {
        let key = NewRecoveryKey::generate().expect("randomness");
        assert_eq!(public_half(&key.secret), Some(key.public.clone()));
        let shouted = format!("  {} \n", key.secret.to_ascii_uppercase());
        assert_eq!(public_half(&shouted), Some(key.public.clone()), "spaces and capitals do not matter");
        assert!(!format!("{key:?}").contains(&*key.secret));
        let curves = written_keys(&key.secret);
        assert_eq!(curves.first().map(SigningKey::did), Some(key.public.clone()));
        assert!(curves.len() == 2 && written_keys("angel-recovery-").is_empty());
        let mut bent = key.secret.to_string();
        bent.pop();
        for text in ["", "angel-recovery-", "00", &"00".repeat(32), &bent] {
            assert_eq!(public_half(text), None, "{text:?}");
        }
        let one = format!("{}01", "00".repeat(31));
        assert!(public_half(&one).is_some(), "hexadecimal digits");
    }
}

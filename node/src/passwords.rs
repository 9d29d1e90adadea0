//! Passwords of accounts, hashed with Argon2id (RFC 9106) on threads that may block, a few at a time.
//!
//! A check costs the same whether the account exists or not, so that its time tells nothing. App passwords are random
//! and long; a plain digest keeps them.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_storage::accounts::AppPasswordRow;
use argon2::password_hash::{Output, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::blocking;
use crate::secrets::{SecretError, random_bytes};

/// Memory of one hash, in KiB, and passes over it: the first choice of the OWASP cheat sheet for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// Hashes made at the same time, at most: each takes its memory, and on a small machine one of them leaves other requests
/// a processor.
const RUNNING_MAX: usize = 4;

/// Requests that may wait for one. The last of them waits about two seconds.
const WAITING_MAX: usize = 64;

/// Longest new password, in bytes, as elsewhere on the network. Longer ones were never set and never match.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Longest password that is looked at when somebody logs in.
const OFFERED_BYTES_MAX: usize = 512;

/// A password as a request offers it: wiped from memory afterwards, and never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl std::ops::Deref for Password {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    running: Semaphore,
    waiting: Semaphore,
    /// Checked in the place of an account that is not there.
    nobody: String,
}

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Empty.
    #[error("a password is not empty")]
    Empty,
    /// Too many wait already.
    #[error("too many people are logging in; try again in a moment")]
    Busy,
    /// There is no randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Passwords {
    /// Ready to hash.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new() -> Result<Self, SecretError> {
        let nobody = nobodys_hash()?;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let running = Semaphore::new((processors / 2).clamp(1, RUNNING_MAX));
        let waiting = Semaphore::new(WAITING_MAX);
        Ok(Self(Arc::new(Shared { running, waiting, nobody })))
    }

    /// The hash of a new password, in PHC form.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        match password.len() {
            0 => return Err(PasswordError::Empty),
            length if length > PASSWORD_BYTES_MAX => return Err(PasswordError::TooLong),
            _ => {}
        }
        let password = Zeroizing::new(password.to_owned());
        Ok(self.run(move || hash(password.as_bytes())).await??)
    }

    /// Whether `password` is the one that was hashed. Without a hash the answer is no, after the same work.
    ///
    /// # Errors
    /// [`PasswordError::Busy`].
    pub async fn matches(&self, password: &str, hashed: Option<&str>) -> Result<bool, PasswordError> {
        let sensible = password.len() <= OFFERED_BYTES_MAX;
        let password = Zeroizing::new(if sensible { password.to_owned() } else { String::new() });
        let known = sensible && hashed.is_some();
        let hashed = hashed.unwrap_or(&self.0.nobody).to_owned();
        self.run(move || verify(password.as_bytes(), &hashed) && known).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _waiting = self.0.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let _running = self.0.running.acquire().await.expect("nobody closes the semaphore");
        Ok(blocking::run(work).await)
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("within the bounds of RFC 9106");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &[u8]) -> Result<String, SecretError> {
    let salt = SaltString::encode_b64(&*random_bytes::<16>()?).expect("16 bytes make a salt");
    Ok(argon2().hash_password(password, &salt).expect("a bounded password can be hashed").to_string())
}

/// What the hash of nobody's password could be: checking against it costs what any check costs, and making it costs no
/// hash, which would take memory and time at every start.
fn nobodys_hash() -> Result<String, SecretError> {
    let salt = SaltString::encode_b64(&*random_bytes::<16>()?).expect("16 bytes make a salt");
    let output = Output::new(&*random_bytes::<{ Params::DEFAULT_OUTPUT_LEN }>()?).expect("the length of a hash");
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: argon2().params().try_into().expect("valid parameters can be written"),
        salt: Some(salt.as_salt()),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

fn verify(password: &[u8], hashed: &str) -> bool {
    // The parameters of the hash itself count, so that old ones stay good when ours grow.
    PasswordHash::new(hashed).is_ok_and(|hashed| argon2().verify_password(password, &hashed).is_ok())
}

/// A new app password, in the form that clients expect: `xxxx-xxxx-xxxx-xxxx`, 80 random bits.
///
/// # Errors
/// There is no randomness.
pub(crate) fn new_app_password() -> Result<Zeroizing<String>, SecretError> {
    let text = Zeroizing::new(BASE32_NOPAD.encode(&*random_bytes::<10>()?).to_ascii_lowercase());
    let groups: Vec<_> = (0..4).map(|group| &text[4 * group..4 * group + 4]).collect();
    Ok(Zeroizing::new(groups.join("-")))
}

/// What is kept of an app password.
pub(crate) fn app_password_digest(did: &Did, password: &str) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(b"angel app password\0");
    digest.update(did.as_str());
    digest.update(b"\0");
    digest.update(password);
    digest.finalize().to_vec()
}

/// The app password among those of an account, if it is one. Looks at all of them in any case.
pub(crate) fn find_app_password<'a>(
    did: &Did,
    password: &str,
    known: &'a [(String, AppPasswordRow)],
) -> Option<&'a (String, AppPasswordRow)> {
    if password.len() > OFFERED_BYTES_MAX {
        return None;
    }
    let digest = app_password_digest(did, password);
    // To the end, wherever it is found: the time tells nothing.
    known.iter().fold(None, |found, entry| if bool::from(entry.1.digest.ct_eq(&digest)) { Some(entry) } else { found })
}

#[cfg(test)]
mod tests {
    use angel_protocol::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let passwords = Passwords::new().expect("randomness");
        let hashed = passwords.hash("correct horse").await.expect("hashed");
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(passwords.matches("correct horse", Some(&hashed)).await.expect("checked"));
        assert!(!passwords.matches("correct horsf", Some(&hashed)).await.expect("checked"));
        assert!(!passwords.matches("correct horse", None).await.expect("checked"));
        assert!(!passwords.matches("", Some("no hash at all")).await.expect("checked"));
        assert_ne!(passwords.hash("correct horse").await.expect("hashed"), hashed, "each hash has its own salt");
    }

    #[test]
    fn nobodys_password_is_checked_like_anybodys() {
        let nobody = nobodys_hash().expect("randomness");
        let somebody = hash(b"correct horse").expect("hashed");
        let shape = |text: &str| text.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&nobody), shape(&somebody), "{nobody} beside {somebody}");
        let [nobody, somebody] = [&nobody, &somebody].map(|text| PasswordHash::new(text).expect("a hash"));
        assert_eq!(nobody.params, somebody.params);
        assert_ne!(nobodys_hash().expect("randomness"), nobody.to_string());
    }

    #[tokio::test]
    async fn passwords_without_a_sensible_length_are_refused() {
        let passwords = Passwords::new().expect("randomness");
        assert!(matches!(passwords.hash("").await, Err(PasswordError::Empty)));
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert!(matches!(passwords.hash(&long).await, Err(PasswordError::TooLong)));
        let hashed = passwords.hash("").await.err().map(|_| hash(b"").expect("hashed")).expect("refused");
        let endless = "x".repeat(OFFERED_BYTES_MAX + 1);
        assert!(
            !passwords.matches(&endless, Some(&hashed)).await.expect("checked"),
            "cut to nothing, it must not match"
        );
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_instead_of_piling_up() {
        let passwords = Passwords::new().expect("randomness");
        let crowd: Vec<_> = (0..WAITING_MAX).map(|_| passwords.0.waiting.try_acquire().expect("room")).collect();
        assert!(matches!(passwords.matches("x", None).await, Err(PasswordError::Busy)));
        drop(crowd);
        assert!(!passwords.matches("x", None).await.expect("checked"));
    }

    #[test]
    fn app_passwords_belong_to_one_account() {
        let (alice, bob): (Did, Did) = ("did:plc:a".parse().expect("a DID"), "did:plc:b".parse().expect("a DID"));
        let password = new_app_password().expect("randomness");
        assert!(password.len() == 19 && password.split('-').all(|group| group.len() == 4), "{}", *password);
        let row = |did| AppPasswordRow {
            digest: app_password_digest(did, &password),
            created_at: Timestamp::EPOCH,
            privileged: false,
        };
        let known = [("reader".to_owned(), row(&alice)), ("other".to_owned(), row(&bob))];
        assert_eq!(find_app_password(&alice, &password, &known).map(|(name, _)| name.as_str()), Some("reader"));
        assert!(find_app_password(&alice, "xxxx-xxxx-xxxx-xxxx", &known).is_none());
    }
}

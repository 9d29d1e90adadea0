//! Who can open a backup: keys of `age` that the owner keeps away from the node, and the proof that somebody has them.
//!
//! A backup that nobody can open is the worst kind, for it looks like one. So a recipient counts only after whoever holds
//! its identity has opened something sealed to it (`angel backup key`): the challenge is made and checked by the daemon,
//! opened by the command line, and the identity never comes to the daemon.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::str::FromStr as _;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::{Recipient, scrypt, x25519};
use angel_protocol::backup::BackupKey;
use angel_protocol::limits::BACKUP_RECIPIENTS_MAX;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock;
use crate::data_dir::{Layout, write_atomically};
use crate::secrets::{SecretError, create_secret, random_bytes, read_secret};

const KEY_FILE: &str = "backup.key";
const RECIPIENTS_FILE: &str = "backup-recipients";

/// How a file that `age` has encrypted begins.
const AGE_MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// How a line of an identity file says which nodes it was proved with.
const NODE_LINE: &str = "# node: ";

/// Why nobody could open a backup, or this one cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// A file.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No recipient at all.
    #[error(
        "there is no recovery key yet, so nobody could open a backup: make one with `angel backup key FILE`, and keep \
         FILE away from this machine"
    )]
    NoRecipient,
    /// Too many.
    #[error("a backup is sealed to at most {BACKUP_RECIPIENTS_MAX} recovery keys")]
    TooManyRecipients,
    /// A recipient that nobody has shown to have.
    #[error(
        "nobody has shown to hold the recovery key of {0}: run `angel backup key FILE` with the file that holds it, once"
    )]
    Unproved(String),
    /// No recipient.
    #[error("{0:?} is no age recipient (age1…)")]
    NoSuchRecipient(String),
    /// The answer to a challenge is wrong.
    #[error("what was sealed to {0} was not opened: this is not its recovery key")]
    WrongAnswer(String),
    /// The identity does not open the backup.
    #[error("the recovery key does not open this backup, which is sealed to {recipients}")]
    DoesNotOpen {
        /// To whom it is sealed.
        recipients: String,
    },
    /// Sealing failed.
    #[error("cannot seal: {0}")]
    Seal(String),
}

/// The key of this node's backups, made at the first need. Blocks.
///
/// # Errors
/// [`RecoveryError::Secret`].
pub(crate) fn key(layout: &Layout) -> Result<BackupKey, RecoveryError> {
    let path = layout.secrets().join(KEY_FILE);
    let corrupt = || SecretError::Corrupt { path: path.clone(), what: "it holds no key of backups" };
    if let Some(text) = read_secret(&path)? {
        let bytes = HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new).map_err(|_| corrupt())?;
        return Ok(BackupKey::read(&bytes).ok_or_else(corrupt)?);
    }
    let bytes = random_bytes::<32>()?;
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(&*bytes)));
    create_secret(&path, &text)?;
    Ok(BackupKey::from_bytes(*bytes))
}

/// The recipients whose identity somebody has shown to hold, with when. Blocks.
pub(crate) fn proved(layout: &Layout) -> Result<BTreeMap<String, String>, RecoveryError> {
    let Some(text) = read_secret(&layout.secrets().join(RECIPIENTS_FILE))? else { return Ok(BTreeMap::new()) };
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.map(|(recipient, at)| (recipient.to_owned(), at.to_owned())).collect())
}

/// Those to seal to: the ones that are `wanted`, or all that were proved where none is named. Blocks.
///
/// # Errors
/// There is none, or one that was never proved.
pub(crate) fn recipients(layout: &Layout, wanted: &[String]) -> Result<Vec<String>, RecoveryError> {
    let proved = proved(layout)?;
    let chosen: Vec<String> = if wanted.is_empty() { proved.keys().cloned().collect() } else { wanted.to_vec() };
    if chosen.is_empty() {
        return Err(RecoveryError::NoRecipient);
    }
    if chosen.len() > BACKUP_RECIPIENTS_MAX {
        return Err(RecoveryError::TooManyRecipients);
    }
    match chosen.iter().find(|recipient| !proved.contains_key(*recipient)) {
        Some(unproved) => Err(RecoveryError::Unproved(unproved.clone())),
        None => Ok(chosen),
    }
}

fn parse(recipient: &str) -> Result<x25519::Recipient, RecoveryError> {
    x25519::Recipient::from_str(recipient).map_err(|_| RecoveryError::NoSuchRecipient(recipient.to_owned()))
}

/// Seals a secret to all recipients.
pub(crate) fn seal(recipients: &[String], secret: &[u8]) -> Result<Vec<u8>, RecoveryError> {
    let parsed = recipients.iter().map(|recipient| parse(recipient)).collect::<Result<Vec<_>, _>>()?;
    let parsed = parsed.iter().map(|recipient| recipient as &dyn Recipient);
    let failed = |error: &dyn std::fmt::Display| RecoveryError::Seal(error.to_string());
    let encryptor = age::Encryptor::with_recipients(parsed).map_err(|error| failed(&error))?;
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|error| failed(&error))?;
    writer.write_all(secret).map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(sealed)
}

/// What a holder of the identity has to find in the challenge.
fn answer(key: &BackupKey, recipient: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(&*key.to_bytes()).expect("a key of any length is taken");
    HEXLOWER.encode(&mac.chain_update(b"angel/backup/prove/").chain_update(recipient).finalize().into_bytes())
}

/// Something sealed to the recipient that only its holder can read. Blocks.
pub(crate) fn challenge(layout: &Layout, recipient: &str) -> Result<Vec<u8>, RecoveryError> {
    seal(&[recipient.to_owned()], answer(&key(layout)?, recipient).as_bytes())
}

/// Takes the recipient when the challenge was read. Blocks.
///
/// # Errors
/// [`RecoveryError::WrongAnswer`].
pub(crate) fn prove(layout: &Layout, recipient: &str, given: &str) -> Result<(), RecoveryError> {
    let right = answer(&key(layout)?, recipient);
    if !bool::from(subtle::ConstantTimeEq::ct_eq(right.as_bytes(), given.as_bytes())) {
        return Err(RecoveryError::WrongAnswer(recipient.to_owned()));
    }
    let mut proved = proved(layout)?;
    proved.insert(recipient.to_owned(), clock::now().to_string());
    let text: String = proved.iter().map(|(recipient, at)| format!("{recipient} {at}\n")).collect();
    let path = layout.secrets().join(RECIPIENTS_FILE);
    let written = write_atomically(&path, text.as_bytes(), 0o600);
    written.map_err(|error| SecretError::Access { path, source: std::io::Error::other(error.to_string()) })?;
    Ok(())
}

/// A recovery key, as its owner keeps it.
pub(crate) struct RecoveryKey {
    identities: Vec<x25519::Identity>,
    /// The nodes that it was proved with.
    pub(crate) nodes: Vec<String>,
}

impl RecoveryKey {
    /// A new one.
    pub(crate) fn generate() -> Self {
        Self { identities: vec![x25519::Identity::generate()], nodes: vec![] }
    }

    /// Whether the bytes of a file want a passphrase.
    pub(crate) fn wants_passphrase(bytes: &[u8]) -> bool {
        bytes.starts_with(AGE_MAGIC)
    }

    /// Reads the bytes of a file, with its passphrase if it wants one.
    pub(crate) fn read(bytes: &[u8], passphrase: Option<SecretString>) -> Result<Self, &'static str> {
        let opened;
        let bytes = if Self::wants_passphrase(bytes) {
            let passphrase = passphrase.ok_or("it wants a passphrase")?;
            opened = Zeroizing::new(
                age::decrypt(&scrypt::Identity::new(passphrase), bytes)
                    .map_err(|_| "the passphrase does not open it")?,
            );
            &opened
        } else {
            bytes
        };
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let mut key = Self { identities: vec![], nodes: vec![] };
        for line in text.lines().map(str::trim) {
            if let Some(node) = line.strip_prefix(NODE_LINE) {
                key.nodes.push(node.to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                key.identities.push(line.parse().map_err(|_| "a line of it is no AGE-SECRET-KEY-1…")?);
            }
        }
        if key.identities.is_empty() { Err("it holds no AGE-SECRET-KEY-1…") } else { Ok(key) }
    }

    /// The bytes of a file, under a passphrase if one is given.
    pub(crate) fn write(&self, passphrase: Option<SecretString>) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
        let mut text = Zeroizing::new(String::with_capacity(1024));
        text.push_str("# Opens the backups of an Angel OS node. Keep it away from the node's machine.\n");
        for node in &self.nodes {
            text.push_str(&format!("{NODE_LINE}{node}\n"));
        }
        for identity in &self.identities {
            text.push_str(&format!("# public key: {}\n", identity.to_public()));
            text.push_str(identity.to_string().expose_secret());
            text.push('\n');
        }
        match passphrase {
            None => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            Some(passphrase) => {
                let sealed = age::encrypt(&scrypt::Recipient::new(passphrase), text.as_bytes());
                sealed.map(Zeroizing::new).map_err(|error| RecoveryError::Seal(error.to_string()))
            }
        }
    }

    /// To whom backups are sealed.
    pub(crate) fn recipients(&self) -> Vec<String> {
        self.identities.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    /// Opens what was sealed to one of its identities.
    pub(crate) fn open(&self, sealed: &[u8], recipients: &[String]) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
        let opened = self.identities.iter().find_map(|identity| age::decrypt(identity, sealed).ok());
        let no = || RecoveryError::DoesNotOpen { recipients: recipients.join(", ") };
        opened.map(Zeroizing::new).ok_or_else(no)
    }
}

//! Secrets and signatures of calls (Standard Webhooks 1.0, "Signature scheme").

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::time::Timestamp;

/// The secret by which a receiver knows calls. Shows itself to nobody by accident.
pub struct Secret(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// As people hand it to a receiver.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", BASE64.encode(&*self.0)))
    }

    /// What `webhook-signature` says of a call.
    #[must_use]
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        sign(&*self.0, id, at, body)
    }
}

/// The secret of a hook: it follows from the `root` that a tenant has for all of them, so that no row holds a secret. Another
/// `salt`, drawn by chance, is another secret, and tells nothing of those before.
#[must_use]
pub fn secret(root: &[u8; 32], hook: &str, salt: &[u8; 16]) -> Secret {
    let mut mac = keyed(root);
    mac.update(b"angel webhook secret 1\0");
    mac.update(salt);
    mac.update(hook.as_bytes());
    Secret(Zeroizing::new(mac.finalize().into_bytes().into()))
}

/// The signature over id, time in seconds and body, with the name of its scheme.
#[must_use]
pub fn sign(key: &[u8], id: &str, at: Timestamp, body: &[u8]) -> String {
    let mut mac = keyed(key);
    mac.update(format!("{id}.{}.", at.as_millis() / 1000).as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

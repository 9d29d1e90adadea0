//! Key files of wallets: 64 hexadecimal digits, readable by their owner alone.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use angel_protocol::crypto::NodeKey;
use zeroize::Zeroizing;

use super::exit::{Code, Failure};

fn failure(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Secret, format!("the key file {}: {why}", path.display()))
}

/// Reads a key file.
pub(super) fn load(path: &Path) -> Result<NodeKey, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| failure(path, error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(failure(path, "others can read it; run chmod 600 on it"));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| failure(path, error))?);
    let digits = text.trim();
    let mut seed = Zeroizing::new([0; 32]);
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(failure(path, "it holds no key of 64 hexadecimal digits"));
    }
    for (byte, at) in seed.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|error| failure(path, error))?;
    }
    Ok(NodeKey::from_seed(&seed))
}

/// Reads a key file, or makes one.
pub(super) fn load_or_create(path: &Path) -> Result<NodeKey, Failure> {
    if path.exists() {
        return load(path);
    }
    let key = NodeKey::from_seed(&Zeroizing::new(rand::random()));
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in key.seed().iter() {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(|error| failure(path, error))?;
    Ok(key)
}

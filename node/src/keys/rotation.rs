//! Putting a new node key in the place of the old one.
//!
//! The order of the files is chosen so that a crash at any point leaves a node that starts: the old key gets its second
//! name before the new one takes `node.key`, and a second name that still holds the current key is no rotation.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use angel_protocol::crypto::NodeKey;
use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{format, generate, load_key};
use crate::data_dir::{Layout, sync_dir};
use crate::secrets::{SecretError, create_secret};

/// Most replaced keys that are valid at a time. More rotations have to wait: each valid key is one more way in.
const PREVIOUS_KEYS_MAX: usize = 4;

/// A replaced key that is still valid.
#[derive(Debug)]
pub struct Previous {
    /// The key.
    pub key: NodeKey,
    /// When it stops being valid.
    pub until: Timestamp,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The DID that was replaced.
    pub previous: Did,
    /// The DID from now on.
    pub current: Did,
    /// Until when the replaced key is valid.
    pub previous_until: Timestamp,
}

impl Rotation {
    /// For the admin API and the command line.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "previous": self.previous,
            "current": self.current,
            "previousUntil": self.previous_until.to_string(),
        })
    }
}

/// Why the key was not rotated. The old one is in force.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Too many rotations within the overlap.
    #[error("{PREVIOUS_KEYS_MAX} replaced keys are still valid; rotate again after {next}")]
    TooMany {
        /// When the oldest of them ends.
        next: Timestamp,
    },
}

/// Makes a new node key; the old one stays valid for `overlap`. The caller holds the lock of the data directory, and
/// starts the node's network anew.
///
/// # Errors
/// [`RotationError`]; the old key is then still in force.
pub fn rotate(layout: &Layout, now: Timestamp, overlap: Duration) -> Result<Rotation, RotationError> {
    let current_path = layout.secrets().join("node.key");
    let old = load_key(&current_path)?;
    let previous = load_previous(layout, &old.did(), now)?;
    if let (true, Some(oldest)) = (previous.len() >= PREVIOUS_KEYS_MAX, previous.last()) {
        return Err(RotationError::TooMany { next: oldest.until });
    }

    let new = generate()?;
    let next_path = layout.secrets().join("node.key.next");
    remove(&next_path)?;
    create_secret(&next_path, &format(&new))?;
    let previous_until = now + overlap;
    let previous_path = layout.secrets().join(format!("previous-{}.key", previous_until.as_millis()));
    let access = |path: &Path| {
        let path = path.to_owned();
        move |source| SecretError::Access { path, source }
    };
    fs::hard_link(&current_path, &previous_path).map_err(access(&previous_path))?;
    sync_dir(&layout.secrets()).map_err(access(&previous_path))?;
    fs::rename(&next_path, &current_path).map_err(access(&current_path))?;
    sync_dir(&layout.secrets()).map_err(access(&current_path))?;
    Ok(Rotation { previous: old.did(), current: new.did(), previous_until })
}

/// The replaced keys that are valid at `now`, newest first; those that no longer are get deleted.
pub(super) fn load_previous(layout: &Layout, current: &Did, now: Timestamp) -> Result<Vec<Previous>, SecretError> {
    let secrets = layout.secrets();
    let access = |source| SecretError::Access { path: secrets.clone(), source };
    let mut previous = vec![];
    for entry in fs::read_dir(&secrets).map_err(access)? {
        let path = entry.map_err(access)?.path();
        let Some(until) = valid_until(&path) else { continue };
        if until <= now {
            remove(&path)?;
            continue;
        }
        let key = load_key(&path)?;
        if key.did() == *current {
            // A rotation that was cut short before the new key took its place.
            remove(&path)?;
        } else {
            previous.push(Previous { key, until });
        }
    }
    previous.sort_by_key(|previous| std::cmp::Reverse(previous.until));
    Ok(previous)
}

fn valid_until(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("previous-")?.strip_suffix(".key")?.parse().ok().map(Timestamp::from_millis)
}

fn remove(path: &Path) -> Result<(), SecretError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SecretError::Access { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

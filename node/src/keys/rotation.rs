//! Putting a new node key in the place of the old one.
//!
//! The order of the files is chosen so that a crash at any point leaves a node that starts: the old key gets its second
//! name before the new one takes `node.key`, and a second name that still holds the current key is no rotation.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
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
    /// When it was replaced.
    pub since: Timestamp,
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
        /// When the first of them ends.
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
    let next = previous.iter().map(|previous| previous.until).min();
    if let (true, Some(next)) = (previous.len() >= PREVIOUS_KEYS_MAX, next) {
        return Err(RotationError::TooMany { next });
    }

    let new = generate()?;
    let next_path = layout.secrets().join("node.key.next");
    remove(&next_path)?;
    create_secret(&next_path, &format(&new))?;
    let previous_until = now + overlap;
    let previous_path =
        layout.secrets().join(format!("previous-{}-{}.key", now.as_millis(), previous_until.as_millis()));
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

/// The replaced keys that are valid at `now`, newest first.
pub(super) fn load_previous(layout: &Layout, current: &Did, now: Timestamp) -> Result<Vec<Previous>, SecretError> {
    let mut previous = vec![];
    for (path, since, until) in previous_files(layout)? {
        if until > now {
            let key = load_key(&path)?;
            // The current key under a second name is a rotation that was cut short.
            if key.did() != *current {
                previous.push(Previous { key, since, until });
            }
        }
    }
    previous.sort_by_key(|previous| Reverse(previous.since));
    Ok(previous)
}

/// Deletes replaced keys that are no longer valid, and what a rotation that was cut short left behind.
pub(super) fn remove_leftovers(layout: &Layout, current: &Did, now: Timestamp) -> Result<(), SecretError> {
    for (path, _, until) in previous_files(layout)? {
        if until <= now || load_key(&path)?.did() == *current {
            remove(&path)?;
        }
    }
    remove(&layout.secrets().join("node.key.next"))
}

fn previous_files(layout: &Layout) -> Result<Vec<(PathBuf, Timestamp, Timestamp)>, SecretError> {
    let secrets = layout.secrets();
    let access = |source| SecretError::Access { path: secrets.clone(), source };
    let mut files = vec![];
    for entry in fs::read_dir(&secrets).map_err(access)? {
        let path = entry.map_err(access)?.path();
        if let Some((since, until)) = validity(&path) {
            files.push((path, since, until));
        }
    }
    Ok(files)
}

/// When a replaced key was replaced and until when it is valid, from its name: `previous-SINCE-UNTIL.key`.
fn validity(path: &Path) -> Option<(Timestamp, Timestamp)> {
    let name = path.file_name()?.to_str()?;
    let (since, until) = name.strip_prefix("previous-")?.strip_suffix(".key")?.split_once('-')?;
    Some((Timestamp::from_millis(since.parse().ok()?), Timestamp::from_millis(until.parse().ok()?)))
}

fn remove(path: &Path) -> Result<(), SecretError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SecretError::Access { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

//! The manifest of a store's directory: which engine, which settings, which of its subdirectories is the live one.
//!
//! It is replaced as a whole, by rename, and every change of the directory's shape becomes true with one replacement:
//! creation, compaction and conversion can be interrupted anywhere and leave the old store or the new one. It is never
//! guessed: without it, or with a damaged one, nothing is opened.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{EngineKind, EngineSettings, sync_dir};

/// The layout of the directory that this software writes and reads.
pub(crate) const LAYOUT: u32 = 1;

const FILE: &str = "manifest.json";
const DRAFT: &str = "manifest.json.new";
const NO_CHECKSUM: &str = "00000000";

/// Largest manifest read, in bytes; a real one has a few hundred.
const BYTES_MAX: u64 = 64 * 1024;

/// What is known about a store's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout of the directory.
    pub layout: u32,
    /// The software that wrote the manifest, for example `angel 0.1.0`.
    pub software: String,
    /// The engine.
    pub engine: EngineKind,
    /// What the engine fixed at creation.
    pub settings: EngineSettings,
    /// The subdirectory that holds the engine's files.
    pub data: String,
    /// Where the store is in its life.
    pub state: State,
    /// How often it was closed cleanly.
    pub closed_times: u64,
    /// A subdirectory that compaction or conversion is filling; worthless unless it becomes `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<String>,
    /// A subdirectory that was `data` before and only waits for its removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<String>,
    /// CRC-32 of the file with zeros in this place, in hexadecimal.
    crc32: String,
}

/// Where a store is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being created; nothing was ever written to it.
    Creating,
    /// It is being filled from a backup: it holds rows, and is not whole.
    Restoring,
    /// It is open, or was not closed cleanly.
    Open,
    /// It was closed cleanly.
    Closed,
}

impl Manifest {
    /// The manifest of a store that is about to be created.
    pub(crate) fn creating(engine: EngineKind, settings: EngineSettings, software: &str) -> Self {
        Self {
            layout: LAYOUT,
            software: software.to_owned(),
            engine,
            settings,
            data: "data-1".to_owned(),
            state: State::Creating,
            closed_times: 0,
            building: None,
            retired: None,
            crc32: NO_CHECKSUM.to_owned(),
        }
    }

    /// Whether `dir` has a manifest.
    pub(crate) fn is_present(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Reads the manifest of `dir`; `None` when there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, ManifestError> {
        let path = dir.join(FILE);
        let io = |source| ManifestError::io("read", &path, source);
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > BYTES_MAX => return Err(ManifestError::damaged(&path, "it is far too large")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        }
        let bytes = fs::read(&path).map_err(io)?;
        let text = String::from_utf8(bytes).map_err(|_| ManifestError::damaged(&path, "it is no text"))?;
        verify_checksum(&text).map_err(|reason| ManifestError::damaged(&path, reason))?;
        let head: Head = serde_json::from_str(&text).map_err(|error| ManifestError::damaged(&path, error))?;
        if head.layout > LAYOUT {
            return Err(ManifestError::Newer { layout: head.layout, software: head.software });
        }
        serde_json::from_str(&text).map(Some).map_err(|error| ManifestError::damaged(&path, error))
    }

    /// Replaces the manifest of `dir`. On return the new one survives a power cut; on error the old one may still hold.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), ManifestError> {
        let mut plain = self.clone();
        plain.crc32 = NO_CHECKSUM.to_owned();
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(&plain).map_err(|error| ManifestError::damaged(&path, error))? + "\n";
        let checksum = format!("{:08x}", crc32fast::hash(text.as_bytes()));
        let text = text.replace(&field(NO_CHECKSUM), &field(&checksum));
        let draft = dir.join(DRAFT);
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| ManifestError::io("write", &path, source))?;
        sync_dir(dir).map_err(|error| ManifestError::io("sync", dir, io::Error::other(error.to_string())))
    }

    /// Whether `dir` holds anything that a store without a manifest would not.
    pub(crate) fn is_empty_dir(dir: &Path) -> io::Result<bool> {
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            if name != DRAFT && name != crate::store::LOCK_FILE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A name for the subdirectory that shall replace `data`.
    pub(crate) fn next_data(&self) -> String {
        let number = self.data.strip_prefix("data-").and_then(|number| number.parse::<u64>().ok());
        format!("data-{}", number.unwrap_or(0).saturating_add(1))
    }
}

#[derive(Deserialize)]
struct Head {
    layout: u32,
    software: String,
}

fn field(checksum: &str) -> String {
    format!("\"crc32\": \"{checksum}\"")
}

fn verify_checksum(text: &str) -> Result<(), &'static str> {
    const MARK: &str = "\"crc32\": \"";
    let start = text.rfind(MARK).ok_or("it has no checksum")? + MARK.len();
    let stored = text.get(start..start + NO_CHECKSUM.len()).ok_or("it ends too early")?;
    let plain = [&text[..start], NO_CHECKSUM, &text[start + NO_CHECKSUM.len()..]].concat();
    if format!("{:08x}", crc32fast::hash(plain.as_bytes())) == stored { Ok(()) } else { Err("its checksum is wrong") }
}

/// Why the manifest cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file system said no.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason given.
        source: Arc<io::Error>,
    },
    /// It is there and is not what was written.
    #[error(
        "the manifest {path} is damaged ({detail}): restore the store from a backup or from a peer",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Newer software laid the directory out.
    #[error(
        "the store was laid out by {software} (layout {layout}), this software knows layouts up to {LAYOUT}: \
         start {software} again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The layout found.
        layout: u32,
        /// Who wrote it.
        software: String,
    },
}

impl ManifestError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }

    fn damaged(path: &Path, detail: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let manifest = Manifest::creating(EngineKind::Fjall, EngineSettings::default(), "angel 0.1.0");
        manifest.write(dir.path()).expect("writes");
        (dir, manifest)
    }

    #[test]
    fn what_was_written_is_read() {
        let (dir, manifest) = written();
        let read = Manifest::read(dir.path()).expect("reads").expect("is there");
        assert_eq!(Manifest { crc32: manifest.crc32.clone(), ..read }, manifest);
        assert_eq!(manifest.next_data(), "data-2");
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let (dir, _) = written();
        let path = dir.path().join(FILE);
        let good = fs::read(&path).expect("reads");
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                fs::write(&path, &bad).expect("writes");
                assert!(matches!(Manifest::read(dir.path()), Err(ManifestError::Damaged { .. })), "{index} {bit}");
            }
            fs::write(&path, &good[..index]).expect("writes");
            assert!(matches!(Manifest::read(dir.path()), Err(ManifestError::Damaged { .. })), "cut at {index}");
        }
    }

    #[test]
    fn a_newer_layout_names_its_software() {
        let (dir, mut manifest) = written();
        manifest.layout = LAYOUT + 1;
        manifest.software = "angel 9.0.0".to_owned();
        manifest.write(dir.path()).expect("writes");
        let error = Manifest::read(dir.path()).expect_err("is newer").to_string();
        assert!(error.contains("start angel 9.0.0 again"), "{error}");
    }
}

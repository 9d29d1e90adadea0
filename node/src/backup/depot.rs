//! Where backups lie: a directory, one file, or a bucket. A place keeps objects by name and knows nothing of what is in
//! them.
//!
//! ```text
//! chunks/ab/ab12…        sealed chunks, by name
//! snapshots/00000001     signed manifests, by number
//! ```
//!
//! An object is there as a whole or not at all, and a manifest is put there last: a backup that was cut short is none.

mod archive;
mod bucket;
mod directory;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use angel_protocol::backup::ChunkName;
use angel_protocol::limits::BACKUP_SNAPSHOTS_MAX;

pub(crate) use bucket::BucketAccess;

const CHUNKS: &str = "chunks";
const SNAPSHOTS: &str = "snapshots";

/// Digits of a snapshot's number in its name.
const NUMBER_DIGITS: usize = 8;

/// Where backups go, as it is written in the configuration and on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// One file in the form of `tar`, with one snapshot.
    Archive(PathBuf),
    /// A bucket that speaks S3, and the beginning of the objects' names.
    Bucket {
        /// Its name.
        bucket: String,
        /// What all names begin with; may be empty.
        prefix: String,
    },
}

/// No place for backups.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place for backups: name a directory, a file that ends in .tar, or s3://BUCKET/PREFIX")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let not = || NoPlace(text.to_owned());
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            let fine = |text: &str| text.chars().all(|char| char.is_ascii_alphanumeric() || "-._/".contains(char));
            if bucket.is_empty() || !fine(bucket) || !fine(prefix) || prefix.contains("..") {
                return Err(not());
            }
            return Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        if text.is_empty() || text.contains("://") {
            return Err(not());
        }
        let path = PathBuf::from(text);
        Ok(if path.extension().is_some_and(|extension| extension == "tar") {
            Self::Archive(path)
        } else {
            Self::Directory(path)
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::Archive(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DepotError {
    /// The file system said no.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bucket said no.
    #[error("the bucket refused to {what} {name}: {why}")]
    Bucket {
        /// The verb.
        what: &'static str,
        /// The object.
        name: String,
        /// Why.
        why: String,
    },
    /// Somebody else makes a backup there.
    #[error("another backup into {} is under way", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds other things.
    #[error("{} is not empty and holds no backups; name an empty or a new directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing.
    #[error("{place} holds no backups")]
    Missing {
        /// The place.
        place: String,
    },
    /// The file is there already.
    #[error("{} exists already and is never overwritten; one file holds one snapshot, so name another", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is no archive of ours.
    #[error("{} is no backup, or one that was cut short: {why}", path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What is asked for is not there.
    #[error("{name} is missing from the backup: a part of it was lost")]
    Lost {
        /// The object.
        name: String,
    },
    /// An object is far too large.
    #[error("{name} has {bytes} bytes, which nothing in a backup has")]
    TooLarge {
        /// The object.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// More snapshots than are kept.
    #[error("the place holds more than {BACKUP_SNAPSHOTS_MAX} snapshots: let fewer be kept (backup.keep)")]
    TooMany,
    /// Nothing is removed from a file.
    #[error("a backup in one file is never changed")]
    Fixed,
}

impl DepotError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// What for a place is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To put a snapshot there; it is made if need be.
    Write,
    /// To read; nothing is changed.
    Read,
}

/// Objects by name. All calls block.
trait Objects: Send {
    /// Puts an object there, as a whole or not at all. It need not survive a power cut before [`Objects::sync`].
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), DepotError>;

    /// The object, `None` when there is none. At most `bytes_max` bytes.
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, DepotError>;

    /// Names of the objects whose names begin with `folder` and a slash.
    fn names(&self, folder: &str) -> Result<Vec<String>, DepotError>;

    /// Removes an object; one that is not there is fine.
    fn remove(&mut self, name: &str) -> Result<(), DepotError>;

    /// On return everything put so far survives a power cut.
    fn sync(&mut self) -> Result<(), DepotError>;
}

/// A place that is open.
pub(crate) struct Depot {
    objects: Box<dyn Objects>,
    place: Place,
}

impl Depot {
    /// Opens a place. Blocks.
    ///
    /// # Errors
    /// [`DepotError`].
    pub(crate) fn open(place: &Place, access: &BucketAccess, purpose: Purpose) -> Result<Self, DepotError> {
        let objects: Box<dyn Objects> = match place {
            Place::Directory(path) => Box::new(directory::Directory::open(path, purpose)?),
            Place::Archive(path) => match purpose {
                Purpose::Write => Box::new(archive::Writing::begin(path)?),
                Purpose::Read => Box::new(archive::Reading::open(path)?),
            },
            Place::Bucket { bucket, prefix } => Box::new(bucket::Bucket::open(bucket, prefix, access)?),
        };
        Ok(Self { objects, place: place.clone() })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The chunks that are there.
    pub(crate) fn chunks(&self) -> Result<HashSet<ChunkName>, DepotError> {
        let names = self.objects.names(CHUNKS)?;
        Ok(names.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect())
    }

    pub(crate) fn put_chunk(&mut self, name: ChunkName, sealed: Vec<u8>) -> Result<(), DepotError> {
        self.objects.put(&chunk_path(name), sealed)
    }

    pub(crate) fn chunk(&self, name: ChunkName) -> Result<Vec<u8>, DepotError> {
        let path = chunk_path(name);
        let chunk = self.objects.get(&path, angel_protocol::backup::cipher::SEALED_BYTES_MAX)?;
        chunk.ok_or(DepotError::Lost { name: path })
    }

    pub(crate) fn remove_chunk(&mut self, name: ChunkName) -> Result<(), DepotError> {
        self.objects.remove(&chunk_path(name))
    }

    /// The numbers of the snapshots, in order.
    pub(crate) fn snapshots(&self) -> Result<Vec<u64>, DepotError> {
        let names = self.objects.names(SNAPSHOTS)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect();
        numbers.sort_unstable();
        if numbers.len() > BACKUP_SNAPSHOTS_MAX { Err(DepotError::TooMany) } else { Ok(numbers) }
    }

    pub(crate) fn put_manifest(&mut self, number: u64, signed: Vec<u8>) -> Result<(), DepotError> {
        self.objects.sync()?;
        self.objects.put(&manifest_path(number), signed)?;
        self.objects.sync()
    }

    pub(crate) fn manifest(&self, number: u64) -> Result<Vec<u8>, DepotError> {
        let path = manifest_path(number);
        let manifest = self.objects.get(&path, angel_protocol::limits::BACKUP_MANIFEST_BYTES_MAX)?;
        manifest.ok_or(DepotError::Lost { name: path })
    }

    pub(crate) fn remove_manifest(&mut self, number: u64) -> Result<(), DepotError> {
        self.objects.remove(&manifest_path(number))
    }
}

fn chunk_path(name: ChunkName) -> String {
    let name = name.to_string();
    format!("{CHUNKS}/{}/{name}", &name[..2])
}

fn manifest_path(number: u64) -> String {
    format!("{SNAPSHOTS}/{number:0NUMBER_DIGITS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["/srv/backups", "relative/dir", "/srv/one.tar", "s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(text.parse::<Place>().expect("a place").to_string(), text);
        }
        assert!(matches!("/srv/one.tar".parse(), Ok(Place::Archive(_))));
        assert!(matches!("s3://b/x/".parse(), Ok(Place::Bucket { prefix, .. }) if prefix == "x"));
        for text in ["", "s3://", "s3:///x", "ftp://host/x", "s3://b/../x", "s3://b/x y"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}

//! What a primary keeps of an archive on disk: the file until every vault has it, the questions that were not asked yet, and
//! what it knows of the vaults.
//!
//! ```text
//! made/ACCOUNT.note              the newest archive, and what is known of each vault
//! made/ACCOUNT-DIGEST.tar        the archive
//! made/ACCOUNT-DIGEST.questions  questions with their answers
//! made/ACCOUNT-new.tar           one that is being made
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use angel_protocol::ids::Did;
use angel_protocol::time::Timestamp;
use angel_protocol::vault::{ArchiveDigest, Challenge, Question, Record, offsets};
use angel_storage::AccountId;
use data_encoding::HEXLOWER;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest as _, Sha256};

use crate::data_dir::write_atomically;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// An archive that was made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Archive {
    /// SHA-256 of the whole.
    pub(super) digest: ByteArray<32>,
    /// Its size.
    pub(super) bytes: u64,
    /// When the store was read for it.
    pub(super) made_at: Timestamp,
    /// The newest event that is in it.
    pub(super) sequence: u64,
    /// Whose recovery key opens it.
    pub(super) recipient: String,
    /// Questions about it that were not asked yet.
    pub(super) questions: usize,
}

/// What is written down of a tenant's vaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) archive: Option<Archive>,
    pub(super) vaults: BTreeMap<Did, Record>,
}

/// Where a tenant's things lie. All calls block.
#[derive(Clone, Debug)]
pub(super) struct MadeFiles {
    dir: PathBuf,
    account: AccountId,
}

/// The digest as it stands in names of files.
pub(super) fn hex(digest: &ArchiveDigest) -> String {
    HEXLOWER.encode(digest)
}

impl MadeFiles {
    pub(super) fn of(dir: &Path, account: AccountId) -> Self {
        Self { dir: dir.join("made"), account }
    }

    pub(super) fn prepare(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    fn note(&self) -> PathBuf {
        self.dir.join(format!("{}.note", self.account.0))
    }

    pub(super) fn archive(&self, digest: &ArchiveDigest) -> PathBuf {
        self.dir.join(format!("{}-{}.tar", self.account.0, hex(digest)))
    }

    fn questions(&self, digest: &ArchiveDigest) -> PathBuf {
        self.dir.join(format!("{}-{}.questions", self.account.0, hex(digest)))
    }

    /// The file of an archive that is being made, without what an earlier attempt left there.
    pub(super) fn begin(&self) -> io::Result<PathBuf> {
        let path = self.dir.join(format!("{}-new.tar", self.account.0));
        self.prepare()?;
        remove(&path)?;
        Ok(path)
    }

    /// What was written down; nothing where that cannot be read. Then everything is made anew.
    pub(super) fn read(&self) -> Note {
        let note = fs::read(self.note()).ok().and_then(|bytes| serde_ipld_dagcbor::from_slice::<Note>(&bytes).ok());
        let mut note = note.unwrap_or_default();
        if let Some(archive) = &mut note.archive {
            archive.questions = self.read_questions(&archive.digest).len();
        }
        note
    }

    pub(super) fn write(&self, note: &Note) -> io::Result<()> {
        self.prepare()?;
        write(&self.note(), note)
    }

    /// Whether the file of the archive is there as it was.
    pub(super) fn is_there(&self, archive: &Archive) -> bool {
        fs::metadata(self.archive(&archive.digest)).is_ok_and(|file| file.len() == archive.bytes)
    }

    /// Takes in an archive that was made under `path`, with `count` questions; its name says then what it is.
    pub(super) fn take_in(&self, path: &Path, count: usize) -> io::Result<(ArchiveDigest, u64)> {
        let file = File::open(path)?;
        let (digest, bytes) = digest_of(&file)?;
        let questions: VecDeque<_> = (0..count).map(|_| question(&file, digest, bytes)).collect::<io::Result<_>>()?;
        write(&self.questions(&digest), &questions)?;
        fs::rename(path, self.archive(&digest))?;
        crate::data_dir::sync_dir(&self.dir)?;
        Ok((digest, bytes))
    }

    fn read_questions(&self, digest: &ArchiveDigest) -> VecDeque<Question> {
        let read = fs::read(self.questions(digest)).ok();
        read.and_then(|bytes| serde_ipld_dagcbor::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// A question that was never asked, and how many are left. On return it is written down that it is none any more.
    pub(super) fn take_question(&self, digest: &ArchiveDigest) -> io::Result<(Option<Question>, usize)> {
        let mut questions = self.read_questions(digest);
        let question = questions.pop_front();
        if question.is_some() {
            write(&self.questions(digest), &questions)?;
        }
        Ok((question, questions.len()))
    }

    /// Removes the file of an archive that every vault has.
    pub(super) fn drop_archive(&self, digest: &ArchiveDigest) -> io::Result<()> {
        remove(&self.archive(digest))
    }

    /// Removes everything of the tenant but what belongs to the archive `but`.
    pub(super) fn clear(&self, but: Option<&ArchiveDigest>) -> io::Result<()> {
        let stays = but.map(|digest| [self.note(), self.archive(digest), self.questions(digest)]);
        for path in list(&self.dir)? {
            if account_of(&path) == Some(self.account) && !stays.iter().flatten().any(|stays| *stays == path) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The accounts of which something lies there.
pub(super) fn accounts(dir: &Path) -> io::Result<Vec<AccountId>> {
    let mut found: Vec<_> = list(&dir.join("made"))?.iter().filter_map(|path| account_of(path)).collect();
    found.dedup();
    Ok(found)
}

fn account_of(path: &Path) -> Option<AccountId> {
    let name = path.file_name()?.to_str()?;
    let number = name.split(['-', '.']).next()?;
    number.parse().ok().map(AccountId)
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|error| io::Error::other(error.to_string()))?;
    write_atomically(path, &bytes, 0o600).map_err(|error| io::Error::other(error.to_string()))
}

/// SHA-256 of a file, and its size. Blocks.
pub(super) fn digest_of(mut file: &File) -> io::Result<(ArchiveDigest, u64)> {
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; READ_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hash.finalize().into(), bytes)),
            read => {
                hash.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Bytes of a file from an offset on; fewer at its end. Blocks.
pub(super) fn range(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut found = vec![0; usize::try_from(bytes).unwrap_or(0).min(READ_BYTES)];
    let mut filled = 0;
    while filled < found.len() {
        match file.read_at(&mut found[filled..], offset.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    found.truncate(filled);
    Ok(found)
}

fn question(file: &File, archive: ArchiveDigest, bytes: u64) -> io::Result<Question> {
    let mut random = rand::rng();
    let offsets = offsets(bytes, |below| random.random_range(0..below));
    let challenge = Challenge { archive, nonce: random.random(), offsets };
    let answer = challenge.answer(bytes, |offset, wanted| range(file, offset, wanted))?;
    Ok(Question { challenge, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_kept_with_questions_that_are_asked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = MadeFiles::of(dir.path(), AccountId(7));
        let path = files.begin().expect("a place");
        let content: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        fs::write(&path, &content).expect("written");
        let (digest, bytes) = files.take_in(&path, 3).expect("taken in");
        assert_eq!((digest, bytes), (Sha256::digest(&content).into(), 300_000));
        assert!(!path.exists() && files.archive(&digest).exists());

        let archive = Archive {
            digest: ByteArray::new(digest),
            bytes,
            made_at: Timestamp::EPOCH,
            sequence: 4,
            recipient: "age1example".to_owned(),
            questions: 3,
        };
        let vault: Did = "did:web:vault.example".parse().expect("a DID");
        let note = Note { archive: Some(archive.clone()), vaults: [(vault, Record::default())].into() };
        files.write(&note).expect("written");
        let mut asked = std::collections::BTreeSet::new();
        for left in [2, 1, 0] {
            // As after a restart: what was asked is not asked again.
            let files = MadeFiles::of(dir.path(), AccountId(7));
            let (question, rest) = files.take_question(&digest).expect("read");
            let question = question.expect("one is left");
            assert_eq!((rest, files.read().archive.expect("noted").questions), (left, left));
            let file = File::open(files.archive(&digest)).expect("there");
            let answer = question.challenge.answer(bytes, |at, wanted| range(&file, at, wanted)).expect("read");
            assert_eq!(answer, question.answer);
            assert!(asked.insert(question.challenge.nonce), "each is another");
        }
        assert_eq!(files.take_question(&digest).expect("read"), (None, 0));
        assert!(files.is_there(&archive));

        // Another account's things stay.
        let other = MadeFiles::of(dir.path(), AccountId(71));
        other.write(&Note::default()).expect("written");
        fs::write(files.begin().expect("a place"), b"half an archive").expect("written");
        files.clear(Some(&digest)).expect("cleared");
        assert!(files.is_there(&archive) && !dir.path().join("made/7-new.tar").exists());
        files.drop_archive(&digest).expect("dropped");
        assert!(!files.is_there(&archive));
        files.clear(None).expect("cleared");
        assert_eq!(accounts(dir.path()).expect("listed"), [AccountId(71)]);
    }
}

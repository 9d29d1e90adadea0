//! What a vault has on disk: for each tenant a directory with one archive, which it cannot open, and maybe a part of the next.
//!
//! ```text
//! kept/NAME/about.json          whose it is, and which archive is whole
//! kept/NAME/archive-DIGEST.tar  the archive
//! kept/NAME/part-DIGEST         what has come of the next
//! ```
//!
//! Of a tenant that names this node as a vault no more, the archive stays for [`STAYS_FOR`]: whoever has got hold of a
//! tenant's primary shall not be able to have its last copy removed at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use angel_protocol::ids::Did;
use angel_protocol::placement::Holding;
use angel_protocol::time::Timestamp;
use angel_protocol::vault::{ArchiveDigest, Challenge};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::Replication;
use super::made::{digest_of, hex, list, range, remove};
use crate::clock;
use crate::data_dir::{sync_dir, write_atomically};

/// How long an archive stays after its tenant names this node no more.
pub(super) const STAYS_FOR: Duration = Duration::from_hours(30 * 24);

const ABOUT: &str = "about.json";
const ARCHIVE: &str = "archive-";
const PART: &str = "part-";

/// What is written down of an archive that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    tenant: Did,
    /// Whose archive it is.
    primary: Did,
    /// The archive that is here, in hexadecimal; none before the first has come.
    digest: Option<String>,
    bytes: u64,
    fetched_at: Option<Timestamp>,
    /// Since when the tenant names this node no more.
    left_at: Option<Timestamp>,
}

/// An archive that is kept here, for the operator of the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptReport {
    /// Whose.
    pub(crate) tenant: Did,
    /// The node that made it.
    pub(crate) primary: Did,
    /// Its digest, in hexadecimal; none before the first has come.
    pub(crate) digest: Option<String>,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// When it came.
    pub(crate) fetched_at: Option<String>,
    /// Until when it stays, where the tenant names this node no more.
    pub(crate) stays_until: Option<String>,
    /// Where it lies.
    pub(crate) file: Option<PathBuf>,
}

/// What was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Exported {
    /// The file that was written.
    pub(crate) file: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its digest, in hexadecimal.
    pub(crate) digest: String,
}

/// Why an archive is not taken out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotExported {
    /// There is none.
    #[error("this node keeps no archive of {0}; `angel tenant vault list` names those it keeps")]
    NotKept(Did),
    /// Restoring would take it for a directory.
    #[error("{} does not end in .tar, by which a restore knows an archive", .0.display())]
    Name(PathBuf),
    /// The disk has damaged it.
    #[error(
        "the archive of {0} is not what was fetched: it is damaged here; the tenant's primary gives a new one once it asks for a proof"
    )]
    Damaged(Did),
    /// A file.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is kept cannot be read.
    #[error("the archive cannot be read: {0}")]
    Read(io::Error),
}

/// What is here of a tenant. All calls block.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    dir: PathBuf,
}

impl Kept {
    pub(super) fn of(dir: &Path, tenant: &Did) -> Self {
        // A DID may be longer than a file's name, and hold what no name may.
        let name = HEXLOWER.encode(&Sha256::digest(tenant.as_str())[..16]);
        Self { dir: dir.join("kept").join(name) }
    }

    fn about(&self) -> Option<About> {
        serde_json::from_slice(&fs::read(self.dir.join(ABOUT)).ok()?).ok()
    }

    fn tell(&self, about: &About) -> io::Result<()> {
        let bytes = serde_json::to_vec(about)?;
        write_atomically(&self.dir.join(ABOUT), &bytes, 0o600).map_err(|error| io::Error::other(error.to_string()))
    }

    fn archive(&self, digest: &ArchiveDigest) -> PathBuf {
        self.dir.join(format!("{ARCHIVE}{}.tar", hex(digest)))
    }

    fn part(&self, digest: &ArchiveDigest) -> PathBuf {
        self.dir.join(format!("{PART}{}", hex(digest)))
    }

    /// The archive that is here, if its file is: what is in that is found out when it is to be proved.
    pub(super) fn has(&self) -> Option<ArchiveDigest> {
        let digest = digest_in(self.about()?.digest.as_deref()?)?;
        self.archive(&digest).exists().then_some(digest)
    }

    /// What has come of the next one: of which, and how much.
    pub(super) fn begun(&self) -> Option<(ArchiveDigest, u64)> {
        let parts = list(&self.dir).ok()?;
        parts.iter().find_map(|path| {
            let digest = digest_in(path.file_name()?.to_str()?.strip_prefix(PART)?)?;
            Some((digest, fs::metadata(path).ok()?.len()))
        })
    }

    /// Opens the part of an archive, to be gone on with behind `from`.
    pub(super) fn open(&self, tenant: &Did, primary: &Did, digest: &ArchiveDigest, from: u64) -> io::Result<File> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        if self.about().is_none() {
            let (tenant, primary) = (tenant.clone(), primary.clone());
            self.tell(&About { tenant, primary, digest: None, bytes: 0, fetched_at: None, left_at: None })?;
        }
        let path = self.part(digest);
        for other in list(&self.dir)?.iter().filter(|other| is_named(other, PART) && **other != path) {
            remove(other)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        file.set_len(from)?;
        drop(file);
        OpenOptions::new().append(true).open(&path)
    }

    /// Keeps what has come in the place of the archive before, if it is what was announced; drops it otherwise.
    pub(super) fn finish(&self, tenant: &Did, primary: &Did, digest: &ArchiveDigest) -> io::Result<bool> {
        let part = self.part(digest);
        let file = File::open(&part)?;
        let (found, bytes) = digest_of(&file)?;
        if found != *digest {
            remove(&part)?;
            return Ok(false);
        }
        file.sync_all()?;
        let archive = self.archive(digest);
        fs::rename(part, &archive)?;
        sync_dir(&self.dir)?;
        let (tenant, primary) = (tenant.clone(), primary.clone());
        let (digest, fetched_at) = (Some(hex(digest)), Some(clock::now()));
        self.tell(&About { tenant, primary, digest, bytes, fetched_at, left_at: None })?;
        for other in list(&self.dir)?.iter().filter(|other| is_named(other, ARCHIVE) && **other != archive) {
            remove(other)?;
        }
        Ok(true)
    }

    /// The answer to a challenge; nothing where the archive that is meant is not here, or cannot be read.
    pub(super) fn prove(&self, challenge: &Challenge) -> Option<[u8; 32]> {
        if self.has() != Some(challenge.archive) {
            return None;
        }
        let prove = || {
            let file = File::open(self.archive(&challenge.archive))?;
            let bytes = file.metadata()?.len();
            challenge.answer(bytes, |offset, wanted| range(&file, offset, wanted))
        };
        let proof: io::Result<_> = prove();
        proof.inspect_err(|error| tracing::error!(%error, "an archive that is kept here cannot be read")).ok()
    }

    fn export(&self, tenant: &Did, to: &Path) -> Result<Exported, NotExported> {
        let not_kept = || NotExported::NotKept(tenant.clone());
        if to.extension().is_none_or(|extension| extension != "tar") {
            return Err(NotExported::Name(to.to_owned()));
        }
        let digest = self.has().ok_or_else(not_kept)?;
        let mut from = File::open(self.archive(&digest)).map_err(NotExported::Read)?;
        let failed = |source| NotExported::File { path: to.to_owned(), source };
        let into = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
        let exported = copy(&mut from, &into).and_then(|copied| into.sync_all().map(|()| copied));
        match exported {
            Ok((found, bytes)) if found == digest => Ok(Exported { file: to.to_owned(), bytes, digest: hex(&digest) }),
            Ok(_) => {
                drop(fs::remove_file(to));
                Err(NotExported::Damaged(tenant.clone()))
            }
            Err(source) => {
                drop(fs::remove_file(to));
                Err(failed(source))
            }
        }
    }

    fn report(&self) -> Option<KeptReport> {
        let about = self.about()?;
        let file = self.has().map(|digest| self.archive(&digest));
        Some(KeptReport {
            tenant: about.tenant,
            primary: about.primary,
            digest: about.digest.filter(|_| file.is_some()),
            bytes: if file.is_some() { about.bytes } else { 0 },
            fetched_at: about.fetched_at.map(super::text),
            stays_until: about.left_at.map(|left| super::text(left + STAYS_FOR)),
            file,
        })
    }

    /// Bytes of all files here.
    fn bytes(&self) -> u64 {
        let files = list(&self.dir).unwrap_or_default();
        files.iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// Notes whether the tenant names this node as a vault at `now`, and lets go of what it has left long ago.
    fn keep_or_let_go(&self, is_named: bool, now: Timestamp) -> io::Result<()> {
        let Some(about) = self.about() else { return Ok(()) };
        match about.left_at {
            Some(_) if is_named => self.tell(&About { left_at: None, ..about }),
            None if !is_named => self.tell(&About { left_at: Some(now), ..about }),
            Some(left) if now.since(left) >= STAYS_FOR => {
                tracing::warn!(tenant = %about.tenant, "an archive that nobody has asked for any more is removed");
                fs::remove_dir_all(&self.dir)
            }
            _ => Ok(()),
        }
    }
}

/// Everything that is kept in `dir`. Blocks.
fn all(dir: &Path) -> io::Result<Vec<Kept>> {
    Ok(list(&dir.join("kept"))?.into_iter().map(|dir| Kept { dir }).collect())
}

fn is_named(path: &Path, prefix: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
}

fn digest_in(text: &str) -> Option<ArchiveDigest> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn copy(from: &mut File, mut into: &File) -> io::Result<(ArchiveDigest, u64)> {
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok((hash.finalize().into(), bytes)),
            read => {
                hash.update(&piece[..read]);
                into.write_all(&piece[..read])?;
                bytes += read as u64;
            }
        }
    }
}

impl Replication {
    /// What archives that are kept here take, without those of `except`. Blocks.
    pub(in super::super) fn archives_held_blocking(&self, except: Option<&Did>) -> io::Result<Holding> {
        let mut holding = Holding::default();
        for kept in all(&self.0.vaults.settings.dir)? {
            if kept.about().is_some_and(|about| Some(&about.tenant) == except) {
                continue;
            }
            holding.tenants += 1;
            holding.bytes = holding.bytes.saturating_add(kept.bytes());
        }
        Ok(holding)
    }

    /// The archives that are kept here. Blocks.
    pub(crate) fn kept_archives_blocking(&self) -> io::Result<Vec<KeptReport>> {
        Ok(all(&self.0.vaults.settings.dir)?.iter().filter_map(Kept::report).collect())
    }

    /// The archive of a tenant that is kept here. Blocks.
    pub(in super::super) fn kept_archive_blocking(&self, tenant: &Did) -> Option<KeptReport> {
        Kept::of(&self.0.vaults.settings.dir, tenant).report()
    }

    /// Writes the archive of a tenant that is kept here into a new file. Blocks.
    pub(crate) fn export_archive_blocking(&self, tenant: &Did, to: &Path) -> Result<Exported, NotExported> {
        Kept::of(&self.0.vaults.settings.dir, tenant).export(tenant, to)
    }

    /// Lets go of archives whose tenants have left long ago. Blocks.
    pub(super) fn sweep_kept_blocking(&self, now: Timestamp) -> io::Result<()> {
        for kept in all(&self.0.vaults.settings.dir)? {
            let Some(about) = kept.about() else { continue };
            let tenant = self.placement().tenant(&about.tenant);
            let is_named = tenant.is_some_and(|tenant| tenant.placed.vaults.contains(self.own()));
            kept.keep_or_let_go(is_named, now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().expect("a DID")
    }

    fn fetched(kept: &Kept, content: &[u8], announced: &[u8]) -> bool {
        let digest = Sha256::digest(announced).into();
        let mut file = kept.open(&did("shop"), &did("primary"), &digest, 0).expect("opens");
        file.write_all(content).expect("written");
        kept.finish(&did("shop"), &did("primary"), &digest).expect("finished")
    }

    #[test]
    fn an_archive_is_kept_whole_or_not_at_all_and_the_one_before_until_then() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept = Kept::of(dir.path(), &did("shop"));
        assert_eq!((kept.has(), kept.begun()), (None, None));
        assert!(fetched(&kept, b"the first", b"the first"));
        let first: ArchiveDigest = Sha256::digest(b"the first").into();
        assert_eq!(kept.has(), Some(first));

        // Another one that broke off is gone on with; what is not what was announced is dropped.
        let second: ArchiveDigest = Sha256::digest(b"the second").into();
        let (shop, primary) = (did("shop"), did("primary"));
        kept.open(&shop, &primary, &second, 0).expect("opens").write_all(b"the sec????").expect("written");
        assert_eq!((kept.has(), kept.begun()), (Some(first), Some((second, 11))));
        let mut file = kept.open(&shop, &primary, &second, 7).expect("opens");
        file.write_all(b"ond").expect("written");
        assert!(kept.finish(&shop, &primary, &second).expect("finished"));
        assert_eq!((kept.has(), kept.begun()), (Some(second), None));
        assert!(!kept.archive(&first).exists(), "one is kept, not two");
        assert!(!fetched(&kept, b"garbage", b"the third"));
        assert_eq!((kept.has(), kept.begun()), (Some(second), None));
    }

    #[test]
    fn it_is_taken_out_whole_and_never_damaged_or_over_something() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept = Kept::of(dir.path(), &did("shop"));
        let to = dir.path().join("out.tar");
        assert!(matches!(kept.export(&did("shop"), &to), Err(NotExported::NotKept(_))));
        assert!(fetched(&kept, b"an archive", b"an archive"));
        assert!(matches!(kept.export(&did("shop"), &dir.path().join("out")), Err(NotExported::Name(_))));
        assert_eq!(kept.export(&did("shop"), &to).expect("taken out").bytes, 10);
        assert_eq!(fs::read(&to).expect("read"), b"an archive");
        assert!(matches!(kept.export(&did("shop"), &to), Err(NotExported::File { .. })), "it is there already");
        let digest = kept.has().expect("kept");
        fs::write(kept.archive(&digest), b"an archivE").expect("written");
        let other = dir.path().join("other.tar");
        assert!(matches!(kept.export(&did("shop"), &other), Err(NotExported::Damaged(_))));
        assert!(!other.exists());
    }

    #[test]
    fn it_stays_for_a_while_after_the_tenant_has_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let kept = Kept::of(dir.path(), &did("shop"));
        assert!(fetched(&kept, b"an archive", b"an archive"));
        let at = |after: Duration| Timestamp::from_millis(1_000) + after;
        kept.keep_or_let_go(false, at(Duration::ZERO)).expect("noted");
        kept.keep_or_let_go(false, at(STAYS_FOR / 2)).expect("it stays");
        assert!(kept.report().expect("kept").stays_until.is_some());
        // It came back, and leaves again: it is counted anew.
        kept.keep_or_let_go(true, at(STAYS_FOR / 2)).expect("noted");
        kept.keep_or_let_go(false, at(STAYS_FOR)).expect("noted");
        kept.keep_or_let_go(false, at(STAYS_FOR * 2 - Duration::from_secs(1))).expect("it stays");
        assert!(kept.has().is_some());
        kept.keep_or_let_go(false, at(STAYS_FOR * 2)).expect("removed");
        assert_eq!((kept.has(), kept.bytes()), (None, 0));
    }
}

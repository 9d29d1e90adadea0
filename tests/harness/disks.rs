//! A disk of its own under a directory, which a test can fill to the last byte: a file system in memory. Where none may
//! be mounted, there is none.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What takes up the room of a disk that is full.
const FILLER: &str = "filler";

/// A mounted disk. It goes when this is dropped, whoever uses it.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// Puts a disk of `megabytes` under `dir`, with what lies there. Nothing where nothing can be mounted.
    ///
    /// # Errors
    /// What lies there cannot be moved.
    pub fn under(dir: &Path, megabytes: u32) -> Result<Option<Self>> {
        let before = dir.with_extension("before");
        fs::create_dir_all(dir)?;
        fs::rename(dir, &before)?;
        fs::create_dir(dir)?;
        let mounted = run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "none"], dir);
        let there = format!("{}/.", before.display());
        let copied = Command::new("cp").args(["-a", &there]).arg(dir).status().context("cp")?;
        ensure!(copied.success(), "what lay in {} is copied", dir.display());
        fs::remove_dir_all(before)?;
        if !mounted {
            fs::set_permissions(dir, Permissions::from_mode(0o700))?;
            return Ok(None);
        }
        Ok(Some(Self { dir: dir.to_owned() }))
    }

    /// Leaves no room.
    ///
    /// # Errors
    /// Anything but that there is no room any more.
    pub fn fill(&self) -> Result<()> {
        self.fill_but(0)
    }

    /// Leaves room for so many bytes alone.
    ///
    /// # Errors
    /// Anything but that there is no room any more.
    pub fn fill_but(&self, left: u64) -> Result<()> {
        let mut file = File::create(self.dir.join(FILLER))?;
        let mut piece = vec![7; 1 << 20];
        // The last byte too: smaller and smaller pieces.
        while !piece.is_empty() {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => return Err(error.into()),
            }
        }
        let filled = file.metadata()?.len();
        Ok(file.set_len(filled.saturating_sub(left))?)
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// It was not taken.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.dir.join(FILLER))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Processes that use it still have it until they end.
        run("umount", &["--lazy"], &self.dir);
    }
}

fn run(command: &str, words: &[&str], dir: &Path) -> bool {
    let ran = Command::new(command).args(words).arg(dir).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

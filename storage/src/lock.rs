//! A lock on a file, which one process at a time holds.

use std::fs::{File, TryLockError};

/// A file that is locked until this is dropped, or the process ends.
///
/// Closing the file would not do. A process that starts another one shares all its open files with it for a moment, until
/// the other's program begins; whoever closed a locked file in that moment would have left it locked, and could not take
/// it again at once. So the lock is given up by name, for whoever shares the file as well.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Takes the lock of an open file, if nobody has it. Does not wait.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if somebody has it; the file system's own otherwise.
    pub fn take(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Where that fails, closing the file is all there is.
        drop(self.0.unlock());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, TryLockError};
    use std::path::Path;

    use super::FileLock;

    fn file(dir: &Path) -> File {
        File::options().create(true).truncate(false).write(true).open(dir.join("lock")).expect("opens")
    }

    #[test]
    fn one_holds_it_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = FileLock::take(file(dir.path())).expect("free");
        assert!(matches!(FileLock::take(file(dir.path())), Err(TryLockError::WouldBlock)));
        drop(held);
        FileLock::take(file(dir.path())).expect("free again");
    }

    #[test]
    fn it_is_free_at_once_although_somebody_shares_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = FileLock::take(file(dir.path())).expect("free");
        // What a process that was started a moment ago has.
        let shared = held.file().try_clone().expect("a second descriptor");
        drop(held);
        FileLock::take(file(dir.path())).expect("free again");
        drop(shared);
    }
}

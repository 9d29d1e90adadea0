//! A file system that loses power: what was not flushed is kept or lost sector by sector, at random.
//!
//! It is a real one to the programs on it (FUSE), so that what reaches the disk, and what a flush covers, is what the
//! program really asked the kernel for. `sync_file_range` never reaches it, which is right: it is no barrier.

mod disk;
mod fuse;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use disk::{Cut, Disk};

/// A mounted disk. Unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    disk: Arc<Mutex<Disk>>,
    _session: fuser::BackgroundSession,
}

impl Mounted {
    /// Mounts an empty disk on the directory `at`.
    ///
    /// # Errors
    ///
    /// There is no FUSE here, or this process may not mount.
    pub fn new(at: &Path) -> io::Result<Self> {
        let disk = Arc::new(Mutex::new(Disk::new()));
        let session = fuse::mount(Arc::clone(&disk), at)?;
        Ok(Self { disk, _session: session })
    }

    /// Cuts the power: from this moment on every request fails. What survives is decided by `seed`.
    #[must_use]
    pub fn cut(&self, seed: u64) -> Cut {
        self.with(|disk| disk.cut(seed))
    }

    /// Switches the power on again; programs then find what survived.
    pub fn restore(&self) {
        self.with(Disk::restore);
    }

    fn with<T>(&self, action: impl FnOnce(&mut Disk) -> T) -> T {
        action(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

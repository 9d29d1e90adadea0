//! Writing a file past the page cache (`O_DIRECT`, ADR 033).
//!
//! A blob is written once and synced at once, and hardly ever read by the same machine within the minute. Through the page
//! cache each of its pages is found, filled and written back by the kernel, which costs several times what hashing it
//! does. Here the disk takes the bytes from where they are; what it takes is whole blocks in memory that begins at one.
//! Where a file system does not know this, the same bytes go the usual way.
//!
//! Nothing here knows what the bytes are.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl};

/// What addresses, places and lengths are multiples of. Disks ask for 512 or 4,096.
const BLOCK_BYTES: usize = 4096;

/// Bytes that are gathered for one write. More makes it no cheaper.
const BUFFER_BYTES: usize = 256 * 1024;

/// How much of a file that was cut off can be gone on with: its whole blocks.
pub(super) const fn resumable(bytes: u64) -> u64 {
    bytes - bytes % BLOCK_BYTES as u64
}

/// A file that is written from its beginning to its end.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    is_direct: bool,
    /// What is gathered lies from the first block in here. Begins empty: no file, no memory.
    buffer: Vec<u8>,
    gathered: usize,
    /// Bytes that were written.
    written: u64,
}

impl DirectFile {
    /// Makes a file that is not there yet.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let (file, is_direct) = match options.custom_flags(direct).open(path) {
            // A file system that knows it not may have made the file all the same.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                (options.custom_flags(0).create_new(false).create(true).truncate(true).open(path)?, false)
            }
            opened => (opened?, true),
        };
        Ok(Self { file, is_direct, buffer: Vec::new(), gathered: 0, written: 0 })
    }

    /// Goes on with a file that was cut off, behind the last whole block of it. What is there is read to `visit`, piece by
    /// piece; a file that is not there yet begins empty.
    pub(super) fn resume(path: &Path, mut visit: impl FnMut(&[u8])) -> io::Result<Self> {
        let reading = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::create(path),
            opened => opened?,
        };
        let whole = resumable(reading.metadata()?.len());
        let mut options = OpenOptions::new();
        options.write(true);
        let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let (file, is_direct) = match options.custom_flags(direct).open(path) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => (options.custom_flags(0).open(path)?, false),
            opened => (opened?, true),
        };
        file.set_len(whole)?;
        let mut piece = vec![0; BUFFER_BYTES];
        let mut read = 0;
        while read < whole {
            let now = piece.len().min(usize::try_from(whole - read).unwrap_or(usize::MAX));
            reading.read_exact_at(&mut piece[..now], read)?;
            visit(&piece[..now]);
            read += now as u64;
        }
        Ok(Self { file, is_direct, buffer: Vec::new(), gathered: 0, written: whole })
    }

    /// Appends.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let start = self.start();
            let room = &mut self.buffer[start + self.gathered..start + BUFFER_BYTES];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.gathered += now.len();
            bytes = later;
            if self.gathered == BUFFER_BYTES {
                self.flush(BUFFER_BYTES)?;
            }
        }
        Ok(())
    }

    /// Writes the rest, and makes the file safe from power cuts.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let size = self.written + self.gathered as u64;
        if self.gathered > 0 {
            let start = self.start();
            let padded = self.gathered.next_multiple_of(BLOCK_BYTES);
            self.buffer[start + self.gathered..start + padded].fill(0);
            self.flush(padded)?;
        }
        if self.written != size {
            self.file.set_len(size)?;
        }
        self.file.sync_all()
    }

    /// Writes the first bytes of what is gathered.
    fn flush(&mut self, length: usize) -> io::Result<()> {
        let start = self.start();
        let bytes = &self.buffer[start..start + length];
        match self.file.write_all_at(bytes, self.written) {
            Err(error) if self.is_direct && error.kind() == ErrorKind::InvalidInput => {
                fcntl_setfl(&self.file, OFlags::empty())?;
                self.is_direct = false;
                self.file.write_all_at(bytes, self.written)?;
            }
            outcome => outcome?,
        }
        self.written += length as u64;
        self.gathered = 0;
        Ok(())
    }

    /// Where the first block in the buffer begins.
    fn start(&mut self) -> usize {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES + BLOCK_BYTES];
        }
        // A vector that never grows stays where it is. Were no such place to be found, the write would be refused, and
        // made the usual way.
        self.buffer.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_as_long_as_what_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let all: Vec<u8> = (0..3 * BUFFER_BYTES).map(|at| (at % 251) as u8).collect();
        let around = |size: usize| [size.saturating_sub(1), size, size + 1];
        let sizes = [1, BLOCK_BYTES, BUFFER_BYTES, 2 * BUFFER_BYTES].into_iter().flat_map(around);
        for (number, size) in sizes.enumerate() {
            for chunk in [7_919, BUFFER_BYTES + 3] {
                let path = dir.path().join(format!("{number}-{chunk}"));
                let mut file = DirectFile::create(&path).expect("makes");
                for piece in all[..size].chunks(chunk) {
                    file.write(piece).expect("writes");
                }
                file.finish().expect("syncs");
                assert!(fs::read(&path).expect("reads") == all[..size], "{size} bytes in pieces of {chunk}");
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_off_goes_on_behind_its_last_whole_block() {
        let dir = tempfile::tempdir().expect("a directory");
        let all: Vec<u8> = (0..3 * BUFFER_BYTES + 5).map(|at| (at % 251) as u8).collect();
        for cut in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BUFFER_BYTES + 7, all.len()] {
            let path = dir.path().join(cut.to_string());
            fs::write(&path, &all[..cut]).expect("writes");
            let mut seen = Vec::new();
            let mut file = DirectFile::resume(&path, |piece| seen.extend_from_slice(piece)).expect("opens");
            let from = usize::try_from(resumable(cut as u64)).expect("small");
            assert!(seen == all[..from] && cut - from < BLOCK_BYTES, "cut at {cut}");
            file.write(&all[from..]).expect("writes");
            file.finish().expect("syncs");
            assert!(fs::read(&path).expect("reads") == all, "cut at {cut}");
        }
        let begun = dir.path().join("begun");
        let mut file = DirectFile::resume(&begun, |_| panic!("there is nothing")).expect("makes");
        file.write(b"new").expect("writes");
        file.finish().expect("syncs");
        assert_eq!(fs::read(&begun).expect("reads"), b"new");
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("there");
        fs::write(&path, b"mine").expect("writes");
        assert_eq!(DirectFile::create(&path).expect_err("refused").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("reads"), b"mine");
    }

    #[test]
    fn where_the_disk_refuses_the_bytes_go_the_usual_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("odd");
        let mut file = DirectFile::create(&path).expect("makes");
        // A place that is no multiple of a block, as a file system with larger blocks would see every one.
        file.written = 1;
        file.write(&[7; BUFFER_BYTES + 5]).expect("writes");
        file.finish().expect("syncs");
        assert!(!file.is_direct);
        assert_eq!(fs::read(&path).expect("reads")[1..], [7; BUFFER_BYTES + 5]);
    }
}

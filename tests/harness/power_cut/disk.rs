//! The disk itself: what programs see, what is safe, and what lies between.
//!
//! - A write is safe when the file was synced after it; until then each of its sectors is kept or lost on its own, and an
//!   older version of the sector may survive a newer one.
//! - A file's size is safe with its data; until then any size it had may be found.
//! - Creations, renames and removals are safe when their directory was synced. Until then either a prefix of all of them
//!   survives, as in journalling file systems, or each survives on its own, as POSIX allows.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use fuser::Errno;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The root directory.
pub(super) const ROOT: u64 = 1;

/// Files and directories in memory.
#[derive(Debug)]
pub struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes of directories that are not safe yet, in the order they were made.
    names: Vec<NameChange>,
    powered: bool,
}

#[derive(Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Debug, Default)]
pub(super) struct File {
    /// What programs see.
    pub(super) now: Vec<u8>,
    safe: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    /// What programs see.
    pub(super) now: BTreeMap<OsString, u64>,
    safe: BTreeMap<OsString, u64>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize { size: usize },
}

#[derive(Debug)]
enum NameChange {
    Add { dir: u64, name: OsString, node: u64 },
    Remove { dir: u64, name: OsString },
    Rename { from: u64, name: OsString, to: u64, new_name: OsString, node: u64 },
}

/// What a power cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Sectors that were written and not safe.
    pub sectors_unsafe: u64,
    /// How many of them were lost.
    pub sectors_lost: u64,
    /// Changes of directories that were not safe.
    pub names_unsafe: u64,
    /// How many of them were lost.
    pub names_lost: u64,
}

type Answer<T> = Result<T, Errno>;

impl Disk {
    /// An empty disk, switched on.
    pub(super) fn new() -> Self {
        let root = Node::Directory(Directory::default());
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, names: Vec::new(), powered: true }
    }

    pub(super) fn node(&self, node: u64) -> Answer<&Node> {
        self.check_power()?;
        self.nodes.get(&node).ok_or(Errno::ENOENT)
    }

    pub(super) fn lookup(&self, dir: u64, name: &OsStr) -> Answer<u64> {
        self.directory(dir)?.now.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn create_file(&mut self, dir: u64, name: &OsStr) -> Answer<u64> {
        self.add(dir, name, Node::File(File::default()))
    }

    pub(super) fn create_directory(&mut self, dir: u64, name: &OsStr) -> Answer<u64> {
        self.add(dir, name, Node::Directory(Directory::default()))
    }

    pub(super) fn remove(&mut self, dir: u64, name: &OsStr, directory: bool) -> Answer<()> {
        let node = self.lookup(dir, name)?;
        match (self.node(node)?, directory) {
            (Node::Directory(_), false) => return Err(Errno::EISDIR),
            (Node::File(_), true) => return Err(Errno::ENOTDIR),
            (Node::Directory(entries), true) if !entries.now.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.directory_mut(dir)?.now.remove(name);
        self.names.push(NameChange::Remove { dir, name: name.to_owned() });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: u64, name: &OsStr, to: u64, new_name: &OsStr) -> Answer<()> {
        let node = self.lookup(from, name)?;
        if let Ok(target) = self.lookup(to, new_name)
            && matches!(self.node(target)?, Node::Directory(entries) if !entries.now.is_empty())
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.directory_mut(from)?.now.remove(name);
        self.directory_mut(to)?.now.insert(new_name.to_owned(), node);
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.names.push(NameChange::Rename { from, name, to, new_name, node });
        Ok(())
    }

    pub(super) fn read(&self, node: u64, offset: u64, bytes: u32) -> Answer<&[u8]> {
        let Node::File(file) = self.node(node)? else { return Err(Errno::EISDIR) };
        let start = position(offset)?.min(file.now.len());
        let end = start.saturating_add(position(bytes.into())?).min(file.now.len());
        Ok(&file.now[start..end])
    }

    pub(super) fn write(&mut self, node: u64, offset: u64, data: &[u8]) -> Answer<()> {
        let offset = position(offset)?;
        self.change(node, Change::Write { offset, data: data.to_vec() })
    }

    pub(super) fn resize(&mut self, node: u64, size: u64) -> Answer<()> {
        let size = position(size)?;
        self.change(node, Change::Resize { size })
    }

    pub(super) fn sync_file(&mut self, node: u64) -> Answer<()> {
        let file = self.file_mut(node)?;
        for change in file.pending.drain(..) {
            apply(&mut file.safe, &change);
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, dir: u64) -> Answer<()> {
        self.directory(dir)?;
        for change in std::mem::take(&mut self.names) {
            if change.touches(dir) {
                self.make_safe(&change);
            } else {
                self.names.push(change);
            }
        }
        Ok(())
    }

    /// Keeps what is safe and, at random, parts of what is not; then every request fails until [`Disk::restore`].
    pub(super) fn cut(&mut self, seed: u64) -> Cut {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut cut = Cut::default();
        self.cut_names(&mut rng, &mut cut);
        let sector = if rng.random_bool(0.5) { 512 } else { 4096 };
        // Sometimes nearly all is lost, sometimes nearly nothing: both are dangerous in their own way.
        let keep = [0.02, 0.3, 0.5, 0.7, 0.98][rng.random_range(0..5)];
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.cut(&mut rng, sector, keep, &mut cut),
                Node::Directory(directory) => directory.now.clone_from(&directory.safe),
            }
        }
        self.forget_unreachable();
        self.powered = false;
        cut
    }

    /// Switches the power on, with new numbers for all files, so that nobody mistakes them for the old ones.
    pub(super) fn restore(&mut self) {
        let old = self.nodes.keys().copied().filter(|number| *number != ROOT);
        let numbers: BTreeMap<u64, u64> = old.zip(self.next..).chain([(ROOT, ROOT)]).collect();
        self.next += numbers.len() as u64;
        for (number, mut node) in std::mem::take(&mut self.nodes) {
            if let Node::Directory(directory) = &mut node {
                let entries = directory.now.values_mut().chain(directory.safe.values_mut());
                entries.for_each(|entry| *entry = numbers.get(entry).copied().unwrap_or(*entry));
            }
            self.nodes.insert(numbers[&number], node);
        }
        self.powered = true;
    }

    fn check_power(&self) -> Answer<()> {
        if self.powered { Ok(()) } else { Err(Errno::EIO) }
    }

    fn directory(&self, node: u64) -> Answer<&Directory> {
        match self.node(node)? {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn directory_mut(&mut self, node: u64) -> Answer<&mut Directory> {
        self.check_power()?;
        match self.nodes.get_mut(&node) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn file_mut(&mut self, node: u64) -> Answer<&mut File> {
        self.check_power()?;
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn add(&mut self, dir: u64, name: &OsStr, node: Node) -> Answer<u64> {
        let number = self.next;
        let directory = self.directory_mut(dir)?;
        if directory.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        directory.now.insert(name.to_owned(), number);
        self.nodes.insert(number, node);
        self.next += 1;
        self.names.push(NameChange::Add { dir, name: name.to_owned(), node: number });
        Ok(number)
    }

    fn change(&mut self, node: u64, change: Change) -> Answer<()> {
        let file = self.file_mut(node)?;
        apply(&mut file.now, &change);
        file.pending.push(change);
        Ok(())
    }

    fn cut_names(&mut self, rng: &mut ChaCha8Rng, cut: &mut Cut) {
        let changes = std::mem::take(&mut self.names);
        cut.names_unsafe += changes.len() as u64;
        let prefix = rng.random_bool(0.5).then(|| rng.random_range(0..=changes.len()));
        for (index, change) in changes.iter().enumerate() {
            let kept = prefix.map_or_else(|| rng.random_bool(0.5), |prefix| index < prefix);
            if kept {
                self.make_safe(change);
            } else {
                cut.names_lost += 1;
            }
        }
    }

    fn make_safe(&mut self, change: &NameChange) {
        match change {
            NameChange::Add { dir, name, node } => self.set_safe(*dir, name, Some(*node)),
            NameChange::Remove { dir, name } => self.set_safe(*dir, name, None),
            NameChange::Rename { from, name, to, new_name, node } => {
                self.set_safe(*from, name, None);
                self.set_safe(*to, new_name, Some(*node));
            }
        }
    }

    fn set_safe(&mut self, dir: u64, name: &OsStr, node: Option<u64>) {
        if let Some(Node::Directory(directory)) = self.nodes.get_mut(&dir) {
            match node {
                Some(node) => directory.safe.insert(name.to_owned(), node),
                None => directory.safe.remove(name),
            };
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeMap::new();
        let mut pending = vec![ROOT];
        while let Some(number) = pending.pop() {
            if let Some(node) = self.nodes.remove(&number) {
                if let Node::Directory(directory) = &node {
                    pending.extend(directory.safe.values());
                }
                reached.insert(number, node);
            }
        }
        self.nodes = reached;
    }
}

impl File {
    fn cut(&mut self, rng: &mut ChaCha8Rng, sector: usize, keep: f64, cut: &mut Cut) {
        let mut sizes = vec![self.safe.len()];
        let mut size = self.safe.len();
        for change in std::mem::take(&mut self.pending) {
            match &change {
                Change::Write { offset, data } => {
                    size = size.max(offset + data.len());
                    let mut done = 0;
                    while done < data.len() {
                        // Up to the next boundary of a sector of the disk.
                        let at = offset + done;
                        let part = (sector - at % sector).min(data.len() - done);
                        cut.sectors_unsafe += 1;
                        if rng.random_bool(keep) {
                            let data = data[done..done + part].to_vec();
                            apply(&mut self.safe, &Change::Write { offset: at, data });
                        } else {
                            cut.sectors_lost += 1;
                        }
                        done += part;
                    }
                }
                Change::Resize { size: new } => {
                    size = *new;
                    if rng.random_bool(0.5) {
                        apply(&mut self.safe, &change);
                    }
                }
            }
            sizes.push(size);
        }
        let size = sizes[rng.random_range(0..sizes.len())];
        self.safe.resize(size, 0);
        self.now.clone_from(&self.safe);
    }
}

impl NameChange {
    fn touches(&self, directory: u64) -> bool {
        match self {
            Self::Add { dir, .. } | Self::Remove { dir, .. } => *dir == directory,
            Self::Rename { from, to, .. } => *from == directory || *to == directory,
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            let end = offset + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(data);
        }
        Change::Resize { size } => content.resize(*size, 0),
    }
}

fn position(bytes: u64) -> Answer<usize> {
    // A file of ours never comes near this; a stray one must not eat the memory.
    const BYTES_MAX: u64 = 1 << 30;
    usize::try_from(bytes).ok().filter(|_| bytes <= BYTES_MAX).ok_or(Errno::EFBIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &Disk, name: &str) -> Option<Vec<u8>> {
        let node = disk.lookup(ROOT, OsStr::new(name)).ok()?;
        disk.read(node, 0, 1 << 20).map(<[u8]>::to_vec).ok()
    }

    #[test]
    fn what_was_synced_survives_every_cut() {
        for seed in 0..200 {
            let mut disk = Disk::new();
            let file = disk.create_file(ROOT, OsStr::new("a")).expect("creates");
            disk.write(file, 0, &[1; 10_000]).expect("writes");
            disk.sync_file(file).expect("syncs");
            disk.sync_directory(ROOT).expect("syncs");
            assert_eq!(disk.cut(seed), Cut::default());
            assert!(content(&disk, "a").is_none(), "without power nothing is read");
            disk.restore();
            assert_eq!(content(&disk, "a"), Some(vec![1; 10_000]), "seed {seed}");
        }
    }

    #[test]
    fn power_goes_as_often_as_it_likes() {
        let mut disk = Disk::new();
        let dir = disk.create_directory(ROOT, OsStr::new("dir")).expect("creates");
        let file = disk.create_file(dir, OsStr::new("a")).expect("creates");
        disk.write(file, 0, &[1; 10]).expect("writes");
        disk.sync_file(file).expect("syncs");
        disk.sync_directory(dir).expect("syncs");
        disk.sync_directory(ROOT).expect("syncs");
        let mut numbers = vec![file];
        for seed in 0..300 {
            assert_eq!(disk.cut(seed), Cut::default());
            disk.restore();
            let dir = disk.lookup(ROOT, OsStr::new("dir")).expect("was synced");
            let file = disk.lookup(dir, OsStr::new("a")).expect("was synced");
            assert_eq!(disk.read(file, 0, 100).expect("powered"), [1; 10]);
            assert!(!numbers.contains(&file), "nobody mistakes it for the old one");
            numbers.push(file);
        }
    }

    #[test]
    fn what_was_not_synced_is_sometimes_kept_lost_and_torn() {
        let (mut whole, mut lost, mut torn, mut absent) = (0, 0, 0, 0);
        for seed in 0..400 {
            let mut disk = Disk::new();
            let file = disk.create_file(ROOT, OsStr::new("a")).expect("creates");
            disk.write(file, 0, &[1; 10_000]).expect("writes");
            disk.sync_file(file).expect("syncs");
            if seed % 4 != 0 {
                disk.sync_directory(ROOT).expect("syncs");
            }
            disk.write(file, 1000, &[2; 8000]).expect("writes");
            let _ = disk.cut(seed);
            disk.restore();
            match content(&disk, "a") {
                None => absent += 1,
                Some(bytes) if bytes[1000..9000].iter().all(|byte| *byte == 1) => lost += 1,
                Some(bytes) if bytes[1000..9000].iter().all(|byte| *byte == 2) => whole += 1,
                Some(bytes) => {
                    assert_eq!((bytes[999], bytes[9000], bytes.len()), (1, 1, 10_000), "seed {seed}");
                    torn += 1;
                }
            }
        }
        assert!(whole > 0 && lost > 0 && torn > 0 && absent > 0, "{whole} {lost} {torn} {absent}");
    }
}

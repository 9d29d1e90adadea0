//! The last vote that this node signed, kept apart from the engine's log and from the store: beside the key, in
//! `secrets/last-vote`. Whoever has lost the log or the store still knows up to where it has spoken.
//!
//! A vote is written here, durably, before its signature leaves the signer; another vote for the same place is never
//! signed. At the start the engine's log has to reach as far as it did then. Where it does not, the locks that it held are
//! forgotten, and the node keeps silent until the others have decided that height.
//!
//! The file has two slots, written in turn, so that a write that was cut short leaves the vote before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use angel_protocol::ledger::certificate::{Step, Vote};
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_wal::Log;
use sha2::{Digest, Sha256};

/// Where the second slot begins: in another sector.
const SLOT_BYTES: u64 = 512;

/// A vote that was signed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Signed {
    genesis: [u8; 32],
    height: u64,
    round: u32,
    precommit: bool,
    value: Option<[u8; 32]>,
    /// Bytes of the engine's log at that moment.
    log: u64,
}

impl Signed {
    fn place(&self) -> (u64, u32, bool) {
        (self.height, self.round, self.precommit)
    }
}

/// Why a vote is not signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It was signed otherwise.
    #[error("height {height}, round {round} was voted on otherwise, or passed")]
    Spoken { height: u64, round: u32 },
    /// It cannot be kept.
    #[error("the last vote cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// The memory of one validator.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    log: PathBuf,
    genesis: [u8; 32],
    last: Option<Signed>,
    slot: u64,
}

/// That this node does not vote, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    /// The last height that others have to decide.
    pub(super) until: u64,
    /// Why.
    pub(super) why: String,
}

impl Memory {
    /// Reads the file at `path`, makes it when there is none. `log` is the engine's log. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or made.
    pub(super) fn open(path: &Path, log: PathBuf, genesis: [u8; 32]) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let slots = [0, 1].map(|slot| read(&file, slot * SLOT_BYTES).filter(|signed| signed.genesis == genesis));
        let place = |signed: &Option<Signed>| signed.as_ref().map(Signed::place);
        let newest = if place(&slots[0]) >= place(&slots[1]) { 0 } else { 1 };
        let last = slots[newest].clone();
        Ok(Self { file, log, genesis, last, slot: newest as u64 })
    }

    /// The height of the last vote, 0 if there is none.
    pub(super) fn height(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.height)
    }

    /// Keeps a vote that is about to be signed. Blocks until it is durable.
    ///
    /// # Errors
    /// [`Refused`]: then it must not be signed.
    pub(super) fn keep(&mut self, vote: &Vote) -> Result<(), Refused> {
        let signed = Signed {
            genesis: self.genesis,
            height: vote.height,
            round: vote.round,
            precommit: vote.step == Step::Precommit,
            value: vote.value.map(|value| value.0),
            log: std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len()),
        };
        if let Some(last) = &self.last {
            if last.place() == signed.place() && last.value == signed.value {
                return Ok(());
            }
            if last.place() >= signed.place() {
                return Err(Refused::Spoken { height: vote.height, round: vote.round });
            }
        }
        self.slot ^= 1;
        let mut bytes = borsh::to_vec(&signed).expect("memory takes every byte");
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        self.file.write_all_at(&bytes, self.slot * SLOT_BYTES)?;
        self.file.sync_data()?;
        self.last = Some(signed);
        Ok(())
    }

    /// Whether this node has to keep silent, where its ledger ends at `tip` and its store says that it took part up to
    /// `noted`. A log that is damaged is put aside. Blocks.
    ///
    /// # Errors
    /// The log cannot be put aside.
    pub(super) fn silence(&self, tip: u64, noted: u64) -> io::Result<Option<Silence>> {
        let until = self.height().max(noted);
        let (sequence, bytes) = match inspect(&self.log) {
            Ok(found) => found,
            Err(error) if !is_damage(&error) => return Err(error),
            Err(error) => {
                let aside = self.log.with_extension("damaged");
                tracing::warn!(%error, aside = %aside.display(), "the consensus log is damaged and put aside");
                std::fs::rename(&self.log, aside)?;
                (0, 0)
            }
        };
        if until <= tip {
            return Ok(None);
        }
        let needed = self.last.as_ref().filter(|last| last.height == until).map_or(1, |last| last.log);
        let why = if until > tip + 1 {
            format!("its store ends at height {tip}")
        } else if sequence != until || bytes < needed {
            "its consensus log has lost entries".to_owned()
        } else {
            return Ok(None);
        };
        let why = format!("this node has voted on height {until}, and {why}");
        Ok(Some(Silence { until, why }))
    }
}

fn read(file: &File, at: u64) -> Option<Signed> {
    let mut bytes = [0; SLOT_BYTES as usize];
    let mut filled = 0;
    while let Ok(more @ 1..) = file.read_at(&mut bytes[filled..], at + filled as u64) {
        filled += more;
    }
    let mut rest = &bytes[..filled];
    let signed = Signed::deserialize(&mut rest).ok()?;
    let length = filled - rest.len();
    let digest = Sha256::digest(&bytes[..length]);
    rest.starts_with(&digest).then_some(signed)
}

/// Whether the file is at fault, and not the way to it.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// The height of the engine's log, and its bytes without a last entry that was cut short.
fn inspect(path: &Path) -> io::Result<(u64, u64)> {
    if !path.exists() {
        return Ok((0, 0));
    }
    let mut log = Log::open(path)?;
    // One without entries cannot be walked.
    if !log.is_empty() {
        for entry in log.iter()? {
            entry?;
        }
    }
    Ok((log.sequence(), log.size_bytes()?))
}

#[cfg(test)]
mod tests {
    use angel_protocol::ledger::certificate::ValueHash;

    use super::*;

    const GENESIS: [u8; 32] = [3; 32];

    fn vote(height: u64, round: u32, step: Step, value: Option<u8>) -> Vote {
        let value = value.map(|byte| ValueHash([byte; 32]));
        Vote { network: "memory-dev".parse().expect("a network id"), height, round, step, value }
    }

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().expect("a directory") }
        }

        fn log(&self) -> PathBuf {
            self.dir.path().join("log")
        }

        fn open(&self, genesis: [u8; 32]) -> Memory {
            Memory::open(&self.dir.path().join("last-vote"), self.log(), genesis).expect("opened")
        }
    }

    #[test]
    fn nobody_speaks_twice_for_one_place_nor_back_in_time() {
        let bench = Bench::new();
        let mut memory = bench.open(GENESIS);
        memory.keep(&vote(5, 1, Step::Prevote, Some(1))).expect("the first");
        memory.keep(&vote(5, 1, Step::Prevote, Some(1))).expect("the same again");
        let mut memory = bench.open(GENESIS);
        assert_eq!(memory.height(), 5);
        for other in [
            vote(5, 1, Step::Prevote, None),
            vote(5, 1, Step::Prevote, Some(2)),
            vote(5, 0, Step::Precommit, Some(1)),
            vote(4, 9, Step::Precommit, None),
        ] {
            assert!(matches!(memory.keep(&other), Err(Refused::Spoken { .. })), "{other:?}");
        }
        memory.keep(&vote(5, 1, Step::Precommit, Some(1))).expect("the next step");
        memory.keep(&vote(6, 0, Step::Prevote, None)).expect("the next height");
        assert_eq!(bench.open([4; 32]).height(), 0, "another ledger is another story");
    }

    #[test]
    fn a_slot_that_is_cut_short_leaves_the_vote_before() {
        let bench = Bench::new();
        let mut memory = bench.open(GENESIS);
        memory.keep(&vote(5, 0, Step::Prevote, None)).expect("kept");
        memory.keep(&vote(6, 0, Step::Prevote, None)).expect("kept");
        let last = memory.slot * SLOT_BYTES;
        let file = OpenOptions::new().write(true).open(bench.dir.path().join("last-vote")).expect("there");
        file.write_all_at(&[0xff; 20], last + 40).expect("written");
        assert_eq!(bench.open(GENESIS).height(), 5);
    }

    #[test]
    fn whoever_has_lost_log_or_store_keeps_silent_until_the_others_are_past_it() {
        let bench = Bench::new();
        let mut memory = bench.open(GENESIS);
        let mut log = Log::open(bench.log()).expect("made");
        log.reset(8).expect("begun");
        drop(log);
        assert_eq!(memory.silence(7, 0).expect("looked"), None, "nothing was said yet");
        let mut log = Log::open(bench.log()).expect("made");
        log.append(b"a proposal").expect("written");
        memory.keep(&vote(8, 0, Step::Prevote, None)).expect("kept");
        let cut = std::fs::metadata(bench.log()).expect("there").len();
        log.append(b"my vote").expect("written");
        drop(log);
        assert_eq!(memory.silence(7, 8).expect("looked"), None, "all is there");
        assert_eq!(memory.silence(8, 8).expect("looked"), None, "decided meanwhile");
        let until = |memory: &Memory, tip| memory.silence(tip, 0).expect("looked").map(|silence| silence.until);
        assert_eq!(until(&memory, 3), Some(8), "the store is older than the vote");

        let whole = std::fs::read(bench.log()).expect("read");
        for length in 0..whole.len() {
            std::fs::write(bench.log(), &whole[..length]).expect("written");
            let expected = (length as u64) < cut;
            assert_eq!(until(&memory, 7).is_some(), expected, "cut at {length} of {}", whole.len());
        }
        for flipped in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[flipped] ^= 0x55;
            std::fs::write(bench.log(), bytes).expect("written");
            let silent = until(&memory, 7).is_some();
            // Where it costs the last entry alone, that is this node's own vote, which is remembered here.
            assert!(silent || flipped as u64 >= cut, "flipped at {flipped} of {}", whole.len());
        }
        std::fs::remove_file(bench.log()).ok();
        assert_eq!(until(&memory, 7), Some(8), "no log at all");
    }
}

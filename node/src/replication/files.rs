//! Fetching the files that a tenant's records name: several at once, so that the way to and fro, the hashing and the flushes of
//! one are no wait for the others (ADR 124).
//!
//! All that is in flight belongs to whoever follows the tenant, on one task, and ends with it. What has come of a larger file
//! stays, so that after a cut only the rest is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use angel_protocol::data::Cid;
use angel_protocol::replication::wire::{Answer, File, Of, Question, Refusal};
use angel_storage::AccountId;
use futures::StreamExt;
use futures::io::{AsyncRead, AsyncWrite};
use futures::stream::FuturesUnordered;

use super::coming::Room;
use super::copy::PIECE_LIMIT;
use super::partial::{Partial, Partials};
use super::progress::What;
use super::wanting::Wanting;
use super::{Replication, ReplicationError, stream as frames};
use crate::blobs::{BlobError, Blobs, Incoming};
use crate::blocking;
use crate::placement::Tenant;

/// Files fetched before it is looked whether there is something else to do.
const PASS: usize = 64;

/// Files fetched at once: while one waits for the line, others are hashed, written and flushed. A primary has as many turns for
/// all who copy from it (`pace`); more would only hold streams of it, and under a mebibyte of memory here, each.
const AT_ONCE: usize = 4;

/// A file of up to so many bytes is gathered in memory, and comes anew when it is cut off: it has no partial file, which
/// would have to be made, looked for and removed.
const SMALL_BYTES: u64 = 256 * 1024;

/// What is left of a copy's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All are here.
    Nothing,
    /// Some are still to be fetched.
    More,
    /// Those that the primary does not have as their names say.
    Wanting,
}

/// Fetching files of one account from one primary.
struct Fetching<'a, O, S> {
    blobs: &'a Blobs,
    partials: &'a Partials,
    account: AccountId,
    of: Of,
    /// Opens a stream to the primary.
    open: O,
    /// Streams that were opened and are asked nothing now.
    idle: Mutex<Vec<S>>,
    room: Room,
    /// What there was of files before.
    has: BTreeMap<Cid, u64>,
    /// Is told how much comes.
    came: &'a (dyn Fn(usize) + Sync),
}

/// Where a file goes as it comes.
enum Place {
    Memory(Vec<u8>),
    Disk(Box<Partial>),
}

/// A file that has come.
struct Came {
    place: Place,
    size: u64,
    media_type: Option<String>,
}

/// What there is to fetch now.
struct Due {
    files: VecDeque<Cid>,
    /// All that are not here, as far as was looked.
    missing: BTreeSet<Cid>,
    /// Whether it was not looked to the end.
    more: bool,
}

impl Replication {
    /// Fetches some of the files that records name and that are not here, into `room`; answers what is left. `taken` is
    /// bytes of files that were taken, and grows by theirs, whatever becomes of the others.
    pub(super) async fn fetch_files(
        &self,
        tenant: &Tenant,
        account: AccountId,
        room: Room,
        wanting: &mut Wanting,
        taken: &mut u64,
    ) -> Result<Left, ReplicationError> {
        let (blobs, partials) = (&self.0.parts.blobs, &self.0.partials);
        let due = due(blobs, account, wanting).await?;
        let came = AtomicU64::new(*taken);
        let note = |bytes: usize| {
            let bytes = came.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
            self.0.progress.note(&tenant.did, What::Files, bytes);
        };
        let of = Of { tenant: tenant.did.clone(), epoch: tenant.placed.epoch };
        let open = || self.open(&tenant.placed.primary);
        let fetching = Fetching::begin(blobs, partials, account, of, open, room, &due, &note).await?;
        fetching.run(due, wanting, taken).await
    }
}

async fn due(blobs: &Blobs, account: AccountId, wanting: &Wanting) -> Result<Due, ReplicationError> {
    let mut due = Due { files: VecDeque::new(), missing: BTreeSet::new(), more: false };
    let mut after = None;
    loop {
        let page = blobs.missing(account, after, PASS).await?;
        for (cid, _) in &page {
            due.missing.insert(*cid);
            if wanting.waits(cid, Instant::now()) {
                continue;
            }
            if due.files.len() == PASS {
                due.more = true;
                return Ok(due);
            }
            due.files.push_back(*cid);
        }
        after = page.last().map(|(cid, _)| *cid);
        if page.len() < PASS {
            return Ok(due);
        }
    }
}

impl<'a, O, S, F> Fetching<'a, O, S>
where
    O: Fn() -> F + Sync,
    F: Future<Output = Result<S, ReplicationError>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    #[expect(clippy::too_many_arguments, reason = "what it is made of, in one place")]
    async fn begin(
        blobs: &'a Blobs,
        partials: &'a Partials,
        account: AccountId,
        of: Of,
        open: O,
        room: Room,
        due: &Due,
        came: &'a (dyn Fn(usize) + Sync),
    ) -> Result<Self, ReplicationError> {
        let (finding, missing) = (partials.clone(), (!due.more).then(|| due.missing.clone()));
        let (has, parts) = blocking::run(move || {
            let mut has = finding.of_blocking(account)?;
            // What no record names any more takes no room.
            let is_gone = |cid: &Cid, _: &mut u64| missing.as_ref().is_some_and(|missing| !missing.contains(cid));
            for gone in has.extract_if(.., is_gone) {
                finding.remove_blocking(account, gone.0)?;
            }
            let parts = finding.all_blocking()?.remove(&account);
            Ok::<_, ReplicationError>((has, parts.unwrap_or(0)))
        })
        .await?;
        room.begin(parts);
        Ok(Self { blobs, partials, account, of, open, idle: Mutex::default(), room, has, came })
    }

    /// Fetches what is due, [`AT_ONCE`] at a time; as many that have come may be on their way to the disk.
    async fn run(&self, due: Due, wanting: &mut Wanting, taken: &mut u64) -> Result<Left, ReplicationError> {
        let Due { mut files, mut missing, more } = due;
        let (mut coming, mut landing) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut failed = None;
        loop {
            while coming.len() < AT_ONCE
                && landing.len() < AT_ONCE
                && let Some(cid) = files.pop_front()
            {
                coming.push(async move { (cid, self.fetch(cid).await) });
            }
            let (cid, outcome) = tokio::select! {
                Some((cid, came)) = coming.next() => match came {
                    Ok(came) => {
                        landing.push(async move { (cid, self.finish(cid, came).await) });
                        continue;
                    }
                    Err(error) => (cid, Err(error)),
                },
                Some((cid, landed)) = landing.next() => (cid, landed),
                else => break,
            };
            let error = match outcome {
                Ok(bytes) => {
                    *taken = taken.saturating_add(bytes);
                    missing.remove(&cid);
                    continue;
                }
                Err(ReplicationError::OtherFile(why)) => {
                    tracing::debug!(tenant = %self.of.tenant, %cid, why, "a file is not what its name says");
                    if wanting.failed(cid, why.clone(), Instant::now()) {
                        continue;
                    }
                    ReplicationError::OtherFile(why)
                }
                Err(error) => error,
            };
            // Those that have come are waited for, and counted: otherwise a primary that breaks off at the right moment would
            // get room for nothing.
            failed.get_or_insert(error);
            files.clear();
            coming.clear();
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if more {
            return Ok(Left::More);
        }
        wanting.keep(&missing);
        if !wanting.is_empty() {
            return Ok(Left::Wanting);
        }
        let is_whole = self.blobs.missing(self.account, None, 1).await?.is_empty();
        Ok(if is_whole { Left::Nothing } else { Left::More })
    }

    /// Has one file come.
    async fn fetch(&self, cid: Cid) -> Result<Came, ReplicationError> {
        let has = self.has.get(&cid).copied().unwrap_or(0);
        let idle = self.idle().pop();
        let mut io = match idle {
            Some(io) => io,
            None => (self.open)().await?,
        };
        let file = File { of: self.of.clone(), cid, from: Incoming::resumable(has) };
        frames::ask(&mut io, &Question::File(file)).await?;
        let (size, media_type) = match frames::answered(&mut io, PIECE_LIMIT).await? {
            Answer::Begins { bytes: Some(size), media_type, .. } => (size, media_type),
            Answer::Refused(Refusal::NotFound) => {
                self.idle().push(io);
                return Err(ReplicationError::OtherFile("it is gone there".to_owned()));
            }
            Answer::Refused(refusal) => return Err(ReplicationError::Refused(refusal)),
            _ => return Err(ReplicationError::Unexpected),
        };
        let max = self.blobs.size_max();
        if has > size || size > max {
            self.remove_partial(cid, has).await?;
            let too_large = BlobError::TooLarge { max }.to_string();
            return Err(ReplicationError::OtherFile(if size > max { too_large } else { other_size(has, size) }));
        }
        self.room.take(size - has)?;
        let place = self.receive(&mut io, cid, has, size).await?;
        self.idle().push(io);
        Ok(Came { place, size, media_type })
    }

    /// Takes the bytes of a file as they come, all of which are there in the end.
    async fn receive(&self, io: &mut S, cid: Cid, has: u64, size: u64) -> Result<Place, ReplicationError> {
        let mut place = if has == 0 && size <= SMALL_BYTES {
            Place::Memory(Vec::new())
        } else {
            let (partials, blobs, account) = (self.partials.clone(), self.blobs.clone(), self.account);
            Place::Disk(Box::new(blocking::run(move || partials.open_blocking(&blobs, account, cid)).await?))
        };
        loop {
            match frames::piece(io, PIECE_LIMIT).await? {
                Answer::Piece(piece) if !piece.is_empty() && place.bytes() + piece.len() as u64 <= size => {
                    (self.came)(piece.len());
                    place = place.add(piece.into_vec()).await?;
                }
                Answer::End if place.bytes() == size => return Ok(place),
                Answer::Piece(_) | Answer::End => {
                    // It is not what was announced, now or when the rest of it came; or nothing comes, without an end.
                    let came = place.bytes();
                    drop(place);
                    self.remove_partial(cid, size).await?;
                    return Err(ReplicationError::OtherFile(other_size(came, size)));
                }
                Answer::Refused(refusal) => return Err(ReplicationError::Refused(refusal)),
                _ => return Err(ReplicationError::Unexpected),
            }
        }
    }

    /// Makes a file that has come a blob: when this has returned it is on the disk, and so is its row. Answers how many bytes it
    /// has.
    async fn finish(&self, cid: Cid, came: Came) -> Result<u64, ReplicationError> {
        let (blobs, account, Came { place, size, media_type }) = (self.blobs.clone(), self.account, came);
        let taken = blocking::run(move || match place {
            Place::Memory(bytes) => {
                let mut incoming = blobs.incoming();
                incoming.add(&bytes)?;
                incoming.finish(account, media_type.as_deref(), cid).map(drop)
            }
            Place::Disk(partial) => partial.finish_blocking(media_type.as_deref()),
        })
        .await;
        match taken {
            Ok(()) => Ok(size),
            Err(error @ (BlobError::OtherContent(_) | BlobError::TooLarge { .. } | BlobError::TakenDown)) => {
                // Nothing is left of it.
                self.room.give_back(size);
                Err(ReplicationError::OtherFile(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Drops what has come of a file for which there was `room`.
    async fn remove_partial(&self, cid: Cid, room: u64) -> Result<(), ReplicationError> {
        let (partials, account) = (self.partials.clone(), self.account);
        blocking::run(move || partials.remove_blocking(account, cid)).await?;
        self.room.give_back(room);
        Ok(())
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<S>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn other_size(came: u64, size: u64) -> String {
    format!("{came} bytes or more came of {size}")
}

impl Place {
    fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk(partial) => partial.bytes(),
        }
    }

    async fn add(mut self, piece: Vec<u8>) -> Result<Self, ReplicationError> {
        match &mut self {
            Self::Memory(bytes) if bytes.is_empty() => *bytes = piece,
            Self::Memory(bytes) => bytes.extend_from_slice(&piece),
            Self::Disk(_) => {
                return Ok(blocking::run(move || {
                    if let Self::Disk(partial) = &mut self {
                        partial.add_blocking(&piece)?;
                    }
                    Ok::<_, BlobError>(self)
                })
                .await?);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;

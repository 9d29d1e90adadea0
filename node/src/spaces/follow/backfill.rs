//! An author's whole repository, read and verified when what was written could not be followed: before they joined, or
//! while their host was away.

use std::collections::BTreeSet;

use angel_protocol::crypto::VerifyingKey;
use angel_protocol::ids::Did;
use angel_protocol::repo::car::{self, CarError, CarLimits};
use angel_protocol::repo::{CommitError, Found, ImportError, MemoryBlocks, SignedCommit, verify_repository};
use angel_protocol::spaces::{MESSAGE, REACTION};
use angel_storage::roadmap;
use angel_storage::spaces::{AuthorRow, RECORDS};
use url::Url;

use super::Follower;
use super::take::{Written, profile_in};
use super::votes::vote_key;
use crate::blocking;
use crate::clock;
use crate::roadmap::VOTE;
use crate::spaces::agents::PROFILE;
use crate::spaces::{SpaceError, Spaces};

/// Largest repository that is read whole, in bytes, and most blocks of it: some 100,000 records.
const REPO_BYTES_MAX: usize = 64 << 20;
const BLOCKS_MAX: u64 = 400_000;

/// Most messages and reactions that are taken from one repository.
const TAKEN_MAX: usize = 20_000;

/// Most votes that are looked at in one repository.
const VOTES_MAX: usize = 2000;

impl Follower {
    /// Goes through the repository of an author. A failure is told and left: the stream goes on.
    pub(super) async fn backfill(&self, host: &str, did: &Did) {
        let _turn = self.0.backfills.acquire().await;
        if let Err(why) = self.read_whole(host, did).await {
            tracing::debug!(%host, %did, %why, "cannot go through the records of an author elsewhere");
        }
    }

    async fn read_whole(&self, host: &str, did: &Did) -> Result<(), String> {
        let mut url: Url = host.parse().map_err(|_| "its address makes no URL".to_owned())?;
        url.set_path("/xrpc/com.atproto.sync.getRepo");
        url.query_pairs_mut().append_pair("did", did.as_str());
        let file = self.0.fetcher.get(&url, REPO_BYTES_MAX).await.map_err(|error| error.to_string())?;
        let resolved = self.0.resolver.fresh_did(did).await.map_err(|error| error.to_string())?;
        let is_there = resolved.document.pds().map(|pds| pds.trim_end_matches('/')) == Some(host);
        let key = resolved.document.signing_key().filter(|_| is_there).ok_or("it is not the author's host")?;
        let (spaces, author) = (self.0.spaces.clone(), did.clone());
        let read = blocking::run(move || {
            let (head, mut written) = records_of(&file, &author, key).map_err(|error| error.to_string())?;
            let there: BTreeSet<String> = written.iter().map(|(path, _)| path.clone()).collect();
            let gone = spaces.known_of(&author).map_err(|error| error.to_string())?;
            written.extend(gone.into_iter().filter(|path| !there.contains(path)).map(|path| (path, None)));
            Ok::<_, String>((head, written))
        });
        let (head, written) = read.await?;
        if head.is_from_the_future(clock::now()) {
            return Err("its newest commit claims to be of a time to come".to_owned());
        }
        let row = AuthorRow {
            host: host.to_owned(),
            rev: Some(head.rev()),
            data: Some(head.data()),
            active: true,
            says_agent: Some(profile_in(&written).unwrap_or(false)),
        };
        let taken = self.take(did, row, written, false).await;
        taken.map_err(|error| error.to_string())
    }
}

/// Why a repository is not believed.
#[derive(Debug, thiserror::Error)]
enum NotBelieved {
    #[error(transparent)]
    Car(#[from] CarError),
    #[error("the file does not hold its root")]
    NoRoot,
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// The messages, reactions and votes of a repository, and what it says of whether it is an agent's; the oldest first as far as their keys say so.
fn records_of(file: &[u8], did: &Did, key: VerifyingKey) -> Result<(SignedCommit, Vec<Written>), NotBelieved> {
    let limits = CarLimits { bytes_max: REPO_BYTES_MAX as u64, blocks_max: BLOCKS_MAX };
    let (roots, blocks) = car::decode(file, limits)?;
    let blocks: MemoryBlocks = blocks.iter().collect();
    let root = roots.first().and_then(|root| blocks.block(root)).ok_or(NotBelieved::NoRoot)?;
    let head = SignedCommit::decode(root)?;
    let (mut written, mut said, mut votes): (Vec<Written>, _, _) = (vec![], 0, 0);
    verify_repository::<NotBelieved>(&blocks, &head, did, key, BLOCKS_MAX, |found| {
        if let Found::Record(path, block) = found {
            let path = path.as_str();
            let is_said = path.starts_with(MESSAGE) || path.starts_with(REACTION);
            let is_vote = vote_key(path).is_some();
            said += usize::from(is_said);
            votes += usize::from(is_vote);
            if path == PROFILE || (is_said && said <= TAKEN_MAX) || (is_vote && votes <= VOTES_MAX) {
                written.push((path.to_owned(), Some((block.cid(), block.bytes().to_vec()))));
            }
        }
        Ok(())
    })?;
    Ok((head, written))
}

impl Spaces {
    /// The paths of an author's records that the index has, and of the votes that were noted. Blocks.
    fn known_of(&self, did: &Did) -> Result<Vec<String>, SpaceError> {
        let votes = roadmap::of_voter(&self.0.reader, did)?;
        let mut known: Vec<_> = votes.into_iter().map(|rkey| format!("{VOTE}/{rkey}")).collect();
        let mut last = None;
        loop {
            let mut scan = self.0.reader.scan(&RECORDS).prefix(did);
            if let Some(last) = &last {
                scan = scan.after(last);
            }
            let page = scan.page(2000)?;
            known.extend(page.rows.iter().map(|((_, path), _)| path.clone()));
            last = page.rows.into_iter().next_back().map(|(key, _)| key);
            if !page.more || known.len() > TAKEN_MAX {
                return Ok(known);
            }
        }
    }
}

//! The votes for features of the roadmap (RMP-01, RMP-02). A vote is a record of whoever votes, so it is taken back by
//! taking the record away; here those of the accounts that live on this node are counted, when somebody asks, and of
//! others those of people who belong to a tenant here.
//!
//! Votes from elsewhere are noted as the repositories of their voters are followed (`crate::spaces::follow`). That somebody joined
//! an open space lets them be followed and gives them no vote (ADR 137). What a vote counts follows from the plans of
//! the tenants on this node that the voter belongs to, as they are at that moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angel_protocol::data::{Value, cbor};
use angel_protocol::ids::{Did, Nsid, RepoPath};
use angel_protocol::tenants::Plan;
use angel_storage::codec::Cbor;
use angel_storage::reader::ReadError;
use angel_storage::spaces::AUTHORS;
use angel_storage::{Reader, roadmap};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::http::XrpcError;
use crate::repos::{RepoError, Repos};
use crate::tenants::Tenants;

/// The collection of features.
pub(crate) const FEATURE: &str = "co.kendev.content.roadmapFeature";

/// The collection of votes.
pub(crate) const VOTE: &str = "co.kendev.content.roadmapVote";

/// Accounts with votes that are looked through. With more, nothing is counted: a part of the votes is not the votes.
const VOTERS_MAX: usize = 100_000;

/// Accounts that are read at a time.
const PAGE: usize = 500;

/// How long a count is as good as a new one: this is asked by anybody.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Features whose counts are remembered.
const REMEMBERED_MAX: usize = 1000;

/// The votes of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Votes {
    /// With their weights.
    pub(crate) votes: u64,
    /// Whose they are, each once.
    pub(crate) voters: HashSet<Did>,
}

/// Why the votes are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoadmapError {
    /// The accounts cannot be read.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repositories cannot be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<RoadmapError> for XrpcError {
    fn from(error: RoadmapError) -> Self {
        match error {
            RoadmapError::Account(error) => error.into(),
            RoadmapError::Repo(error) => error.into(),
            RoadmapError::Read(error) => Self::unexpected(&error),
        }
    }
}

/// Counts votes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Roadmap(Arc<Shared>);

struct Shared {
    reader: Reader,
    accounts: Accounts,
    repos: Repos,
    tenants: Tenants,
    /// One counts at a time: whoever waits finds what was counted.
    turn: Semaphore,
    counted: Cache<String, (Instant, Option<Arc<Votes>>)>,
}

impl Roadmap {
    pub(crate) fn new(reader: Reader, accounts: Accounts, repos: Repos, tenants: Tenants) -> Self {
        let (turn, counted) = (Semaphore::new(1), Cache::new(REMEMBERED_MAX));
        Self(Arc::new(Shared { reader, accounts, repos, tenants, turn, counted }))
    }

    /// The votes of the feature at `path` of `holder`; `None` when there are more voters than are looked through.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn votes(&self, holder: &Did, path: &RepoPath) -> Result<Option<Arc<Votes>>, RoadmapError> {
        let uri = format!("at://{holder}/{path}");
        // Nobody closes it, and who cannot have a turn counts all the same.
        let _turn = self.0.turn.acquire().await;
        if let Some((at, votes)) = self.0.counted.get(&uri)
            && at.elapsed() < FRESH_FOR
        {
            return Ok(votes);
        }
        let (this, feature, rkey) = (self.clone(), uri.clone(), path.rkey.to_string());
        let votes = blocking::run(move || this.count(&feature, &rkey)).await?.map(Arc::new);
        self.0.counted.insert(uri, (Instant::now(), votes.clone()));
        Ok(votes)
    }

    /// Goes through whoever has voted for anything. Everybody has one record under the key of a feature, and so one vote.
    /// Blocks.
    fn count(&self, feature: &str, rkey: &str) -> Result<Option<Votes>, RoadmapError> {
        let vote = &format!("{VOTE}/{rkey}");
        let collection: Nsid = VOTE.parse().expect("a collection of ours is an NSID");
        let (mut voters, mut after, mut looked_at) = (HashSet::new(), None, 0);
        loop {
            let ids = self.0.repos.accounts_with_blocking(&collection, after, PAGE)?;
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            looked_at += ids.len();
            if looked_at > VOTERS_MAX {
                return Ok(None);
            }
            for id in ids {
                let Some(record) = self.0.repos.record_blocking(id, vote)? else { continue };
                let is_it = cbor::decode(&record.bytes)
                    .is_ok_and(|vote| vote.get("feature").and_then(Value::as_str) == Some(feature));
                let account = if is_it { self.0.accounts.by_id_blocking(id)? } else { None };
                let Some(account) = account.filter(Account::is_active) else { continue };
                // Of a copy, the node that serves it may know better.
                if self.0.accounts.resident_blocking(account.did())?.is_some() {
                    voters.insert(account.did().clone());
                }
            }
        }
        let Some(elsewhere) = self.elsewhere(feature, rkey)? else { return Ok(None) };
        voters.extend(elsewhere.iter().cloned());
        let plans = self.0.tenants.best_plans(&voters);
        // Anybody makes as many accounts elsewhere as they like: those who were let into a tenant count.
        voters.retain(|voter| !elsewhere.contains(voter) || plans.contains_key(voter));
        let weight = |voter: &Did| plans.get(voter).copied().unwrap_or(Plan::Free).vote_weight();
        Ok(Some(Votes { votes: voters.iter().map(weight).sum(), voters }))
    }

    /// Who voted for a feature without living here, whoever they are; `None` when there are more than are looked through.
    fn elsewhere(&self, feature: &str, rkey: &str) -> Result<Option<HashSet<Did>>, RoadmapError> {
        let (mut found, mut after, mut looked_at) = (HashSet::new(), None, 0);
        loop {
            let page = roadmap::under(&self.0.reader, rkey, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(Some(found)) };
            after = Some(last.clone());
            looked_at += page.len();
            if looked_at > VOTERS_MAX {
                return Ok(None);
            }
            for (voter, noted) in page {
                // Who has come to live here votes here, and whom their host serves no more has gone.
                let is_served =
                    || Ok::<_, ReadError>(self.0.reader.get(&AUTHORS, &voter)?.is_some_and(|Cbor(row)| row.active));
                if noted == feature && self.0.accounts.resident_blocking(&voter)?.is_none() && is_served()? {
                    found.insert(voter);
                }
            }
        }
    }
}

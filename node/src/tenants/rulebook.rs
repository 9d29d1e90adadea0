//! The rules of collections, applied to what this node is about to write: what they have to know is found out here, what
//! they say is for `angel_protocol::rules`.
//!
//! Every way in which a record is written comes through here: the generic methods of `com.atproto.repo`, spaces and
//! messages, the permissioned store, provisioning.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use angel_protocol::data::{Value, cbor};
use angel_protocol::ids::{AtIdentifier, AtUri, Did, Nsid, RepoPath};
use angel_protocol::lexicon::flags::{Flags, Holder};
use angel_protocol::rules::{self, By, Facts, Place, Refused, Standing, Write};
use quick_cache::sync::Cache;

use super::{Tenants, workspace};
use crate::accounts::{Account, AccountError, Accounts};
use crate::permissioned::{Permissioned, PermissionedError};
use crate::repos::{RepoError, Repos};
use crate::resolver::Resolver;
use crate::{blocking, clock};

/// Records elsewhere of which it is known whether they are public: one for each space that somebody here writes to.
const KNOWN_MAX: usize = 10_000;

/// How long it counts that a record elsewhere is public or not.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How long it still counts when nobody answers: a space whose node is away for an hour is not closed.
const STALE_FOR: Duration = Duration::from_secs(3600);

/// The rules. Cheap to clone.
#[derive(Clone)]
pub struct Rulebook {
    accounts: Accounts,
    repos: Repos,
    permissioned: Permissioned,
    tenants: Tenants,
    resolver: Resolver,
    super_admins: Arc<[Did]>,
    node: Arc<OnceLock<Did>>,
    elsewhere: Arc<Cache<String, (bool, Instant)>>,
}

impl std::fmt::Debug for Rulebook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rulebook")
    }
}

/// Who writes into whose repository, and what has been found out for it: all that judging needs, so that it can be done
/// anywhere.
#[derive(Clone, Debug)]
pub struct Court {
    repo: Did,
    holder: Holder,
    author: Did,
    place: Place,
    by: By,
    facts: Facts,
}

/// Why what the rules have to know cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum RulebookError {
    /// The accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repositories.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The permissioned store.
    #[error(transparent)]
    Permissioned(#[from] PermissionedError),
}

impl Rulebook {
    /// The rules for the accounts of this node, whose super admins are these people.
    #[must_use]
    pub fn new(
        (accounts, repos): (Accounts, Repos),
        (permissioned, tenants): (Permissioned, Tenants),
        resolver: Resolver,
        super_admins: &[Did],
    ) -> Self {
        let elsewhere = Arc::new(Cache::new(KNOWN_MAX));
        let (super_admins, node) = (super_admins.into(), Arc::default());
        Self { accounts, repos, permissioned, tenants, resolver, super_admins, node, elsewhere }
    }

    /// Names the node's own service account, which holds what is the node's and its operator's.
    pub fn set_node(&self, did: Did) {
        // It never changes: whoever comes second says the same.
        drop(self.node.set(did));
    }

    /// Whether somebody is a super admin of the node (RBC-03).
    #[must_use]
    pub fn is_super_admin(&self, did: &Did) -> bool {
        self.super_admins.contains(did)
    }

    /// What an account is to the rules.
    #[must_use]
    pub fn holder(&self, account: &Did) -> Holder {
        if self.node.get() == Some(account) {
            Holder::Node
        } else if self.tenants.find(account).is_some() {
            Holder::Tenant
        } else {
            Holder::User
        }
    }

    /// Finds out what judging `records` has to know, which `author` is about to write into `account`'s repository
    /// together. Records of other networks need nothing, and cost nothing.
    ///
    /// # Errors
    /// The store fails.
    pub async fn court(
        &self,
        account: &Account,
        author: &Did,
        place: Place,
        by: By,
        records: &[(&Nsid, &Value)],
    ) -> Result<Court, RulebookError> {
        let repo = account.did().clone();
        let holder = self.holder(&repo);
        let standing = self.tenants.find(&repo);
        let standing = standing.map(|it| Standing { allowance: it.row().allowance.clone(), status: it.status() });
        let super_admin = self.is_super_admin(author);
        let facts = Facts { handle: account.handle().cloned(), standing, super_admin, ..Facts::default() };
        let mut court = Court { repo, holder, author: author.clone(), place, by, facts };
        let now = clock::now();
        for (collection, record) in records {
            if Flags::builtin().collection(collection.as_str()).is_none() {
                continue;
            }
            let write = court.write(collection, now);
            for uri in rules::asks(&write, record) {
                if !court.facts.public.contains_key(&uri)
                    && let Some(public) = self.is_public(&uri).await?
                {
                    court.facts.public.insert(uri, public);
                }
            }
            for uri in rules::looks_at(collection, record) {
                if !court.facts.others.contains_key(&uri)
                    && let Some(found) = self.public_record(&uri).await?
                {
                    court.facts.others.insert(uri, found);
                }
            }
            for path in rules::reads(collection, record) {
                let key = path.to_string();
                if !court.facts.records.contains_key(&key)
                    && let Some(found) = self.own_record(account, &path).await?
                {
                    court.facts.records.insert(key, found);
                }
            }
        }
        Ok(court)
    }

    /// Judges and completes one record by itself.
    ///
    /// # Errors
    /// The store fails; the refusal is in the answer.
    pub async fn judge(
        &self,
        account: &Account,
        author: &Did,
        (place, by): (Place, By),
        collection: &Nsid,
        mut record: Value,
        before: Option<&Value>,
    ) -> Result<Result<Value, Refused>, RulebookError> {
        let court = self.court(account, author, place, by, &[(collection, &record)]).await?;
        let judged = court.judge(collection, &mut record, before);
        Ok(judged.map(|()| record))
    }

    /// A record of an account, from its public repository or, of a tenant, from its workspace. One that cannot be read
    /// says nothing.
    async fn own_record(&self, account: &Account, path: &RepoPath) -> Result<Option<Value>, RulebookError> {
        let (repos, id, at) = (self.repos.clone(), account.id(), path.to_string());
        if let Some(found) = blocking::run(move || repos.record_blocking(id, &at)).await? {
            return Ok(cbor::decode(&found.bytes).ok());
        }
        if self.tenants.find(account.did()).is_none() {
            return Ok(None);
        }
        let found = self.permissioned.read(&workspace(account.did()), account.did(), path).await?;
        Ok(found.and_then(|record| cbor::decode(&record.bytes).ok()))
    }

    /// A record in a public repository, wherever that is, with whether there is one; `None` when that cannot be found out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn public_record(&self, uri: &str) -> Result<Option<Option<Value>>, RulebookError> {
        let parsed = uri.parse::<AtUri>().ok();
        let Some((AtIdentifier::Did(did), path)) = parsed.and_then(|uri| Some((uri.authority().clone(), uri.path()?)))
        else {
            return Ok(Some(None));
        };
        if let Some(account) = self.accounts.resident(&did).await? {
            let (repos, id, at) = (self.repos.clone(), account.id(), path.to_string());
            let found = blocking::run(move || repos.record_blocking(id, &at)).await?;
            return Ok(Some(found.and_then(|found| cbor::decode(&found.bytes).ok())));
        }
        match self.resolver.record(&did, &path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) => {
                tracing::debug!(uri, %error, "a record elsewhere cannot be looked at");
                Ok(None)
            }
        }
    }

    /// Whether a record is in a public repository; `None` when that cannot be found out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn is_public(&self, uri: &str) -> Result<Option<bool>, RulebookError> {
        let parsed = uri.parse::<AtUri>().ok();
        let Some((AtIdentifier::Did(did), path)) = parsed.and_then(|uri| Some((uri.authority().clone(), uri.path()?)))
        else {
            return Ok(Some(false));
        };
        if let Some(account) = self.accounts.by_did(&did).await? {
            let (repos, id, at) = (self.repos.clone(), account.id(), path.to_string());
            let found = blocking::run(move || repos.record_blocking(id, &at)).await?;
            // A copy may not have yet what was just written.
            if found.is_some() || self.accounts.resident(&did).await?.is_some() {
                return Ok(Some(found.is_some()));
            }
        }
        let known = self.elsewhere.get(uri);
        if let Some((public, at)) = known
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(Some(public));
        }
        match self.resolver.record(&did, &path).await {
            Ok(found) => {
                self.elsewhere.insert(uri.to_owned(), (found.is_some(), Instant::now()));
                Ok(Some(found.is_some()))
            }
            Err(error) => {
                tracing::debug!(uri, %error, "whether a record elsewhere is public is not known");
                Ok(known.filter(|(_, at)| at.elapsed() < STALE_FOR).map(|(public, _)| public))
            }
        }
    }
}

impl Court {
    fn write<'a>(&'a self, collection: &'a Nsid, now: angel_protocol::time::Timestamp) -> Write<'a> {
        Write {
            repo: &self.repo,
            holder: self.holder,
            author: &self.author,
            collection,
            place: self.place,
            by: self.by,
            now,
        }
    }

    /// One that has found out nothing.
    #[cfg(test)]
    pub(crate) fn for_test(repo: Did, holder: Holder) -> Self {
        let author = repo.clone();
        Self { repo, holder, author, place: Place::Public, by: By::Client, facts: Facts::default() }
    }

    /// Says that a record which is written together with the others is where it belongs: it is judged as well, and all
    /// are written or none.
    pub fn together_with(&mut self, uri: String) {
        self.facts.public.insert(uri, self.place == Place::Public);
    }

    /// Judges a record and completes it.
    ///
    /// # Errors
    /// [`Refused`], by the first rule that is broken.
    pub fn judge(&self, collection: &Nsid, record: &mut Value, before: Option<&Value>) -> Result<(), Refused> {
        rules::judge(&self.write(collection, clock::now()), record, before, &self.facts)
    }

    /// Whether records of the collection may be taken away.
    ///
    /// # Errors
    /// [`Refused::NotByClients`].
    pub fn judge_removal(&self, collection: &Nsid) -> Result<(), Refused> {
        rules::judge_removal(collection, self.by)
    }
}

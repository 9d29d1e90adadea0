//! Reading repositories of hosted accounts: without a lock, from what the store holds at that moment.

use std::sync::Arc;

use angel_protocol::crypto::SigningKey;
use angel_protocol::ids::{Did, Nsid, RepoPath, Tid};
use angel_protocol::permissioned::wire::commit::SignedCommit;
use angel_protocol::permissioned::{Head, Op, SpaceUri};
use angel_storage::permissioned::{self as rows, Order, Record, Repo};

use super::{Permissioned, PermissionedError, repo_key};
use crate::accounts::Account;
use crate::blocking;

/// A record with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub path: RepoPath,
    /// What.
    pub record: Record,
}

/// A page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// In the order asked for.
    pub records: Vec<Listed>,
    /// What to ask with for the page behind this one; `None` at the end.
    pub cursor: Option<String>,
}

/// Records that are read at once when they are only counted.
const COUNT_PAGE: usize = 256;

impl Permissioned {
    /// The record of `author` at `path`; `None` when there is none, or the author has no repository here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(
        &self,
        space: &SpaceUri,
        author: &Did,
        path: &RepoPath,
    ) -> Result<Option<Record>, PermissionedError> {
        let (this, space, author, path) = (self.clone(), space.clone(), author.clone(), path.to_string());
        blocking::run(move || {
            let Some(account) = this.shared.accounts.by_did_blocking(&author)? else { return Ok(None) };
            Ok(rows::record(&this.shared.reader, repo_key(account.id(), &space), &path)?)
        })
        .await
    }

    /// Up to `limit` records of `author`, of one collection or of all, from the greatest path down, or from the least
    /// up with `reverse`, behind `cursor`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(
        &self,
        space: &SpaceUri,
        author: &Did,
        collection: Option<&Nsid>,
        cursor: Option<String>,
        limit: usize,
        reverse: bool,
    ) -> Result<RecordPage, PermissionedError> {
        let (this, space, author, collection) = (self.clone(), space.clone(), author.clone(), collection.cloned());
        blocking::run(move || this.list_blocking(&space, &author, collection.as_ref(), cursor, limit, reverse)).await
    }

    /// How many records of a collection the author has, counting no further than `enough`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count(
        &self,
        space: &SpaceUri,
        author: &Did,
        collection: &Nsid,
        enough: usize,
    ) -> Result<usize, PermissionedError> {
        let (this, space, author, collection) = (self.clone(), space.clone(), author.clone(), collection.clone());
        blocking::run(move || {
            let Some(account) = this.shared.accounts.by_did_blocking(&author)? else { return Ok(0) };
            let (key, first, end) =
                (repo_key(account.id(), &space), format!("{collection}/"), format!("{collection}0"));
            let mut scan = rows::records(&this.shared.reader, key, &first, Some(&end), Order::Ascending);
            let mut count = 0;
            while count < enough && scan.next(COUNT_PAGE)?.is_some() {
                count += 1;
            }
            Ok(count)
        })
        .await
    }

    fn list_blocking(
        &self,
        space: &SpaceUri,
        author: &Did,
        collection: Option<&Nsid>,
        cursor: Option<String>,
        limit: usize,
        reverse: bool,
    ) -> Result<RecordPage, PermissionedError> {
        let Some(account) = self.shared.accounts.by_did_blocking(author)? else { return Ok(RecordPage::default()) };
        let key = repo_key(account.id(), space);
        // The characters behind those that a path of the collection, or any path, begins with.
        let (mut first, mut end) = match collection {
            Some(collection) => (format!("{collection}/"), format!("{collection}0")),
            None => (String::new(), "\u{7f}".to_owned()),
        };
        let order = if reverse { Order::Ascending } else { Order::Descending };
        match (cursor, order) {
            // No path lies between one and itself with the least character behind it.
            (Some(cursor), Order::Ascending) => first = first.max(format!("{cursor}-")),
            (Some(cursor), Order::Descending) => end = end.min(cursor),
            (None, _) => {}
        }
        let mut scan = rows::records(&self.shared.reader, key, &first, Some(&end), order);
        let mut page = RecordPage::default();
        while let Some((path, record)) = scan.next(limit + 1)? {
            if page.records.len() == limit {
                page.cursor = page.records.last().map(|listed: &Listed| listed.path.to_string());
                break;
            }
            if let Some(path) = super::write::path_of(&path) {
                page.records.push(Listed { path, record });
            }
        }
        Ok(page)
    }

    /// Where the author's repository stands; `None` when the author has none here.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn head(&self, space: &SpaceUri, author: &Did) -> Result<Option<Head>, PermissionedError> {
        Ok(self.repo(space, author).await?.map(|(_, repo)| repo.head))
    }

    /// The author's repository with its account; `None` when the author has none here.
    pub(crate) async fn repo(
        &self,
        space: &SpaceUri,
        author: &Did,
    ) -> Result<Option<(Account, Repo)>, PermissionedError> {
        let (this, space, author) = (self.clone(), space.clone(), author.clone());
        blocking::run(move || {
            let Some(account) = this.shared.accounts.by_did_blocking(&author)? else { return Ok(None) };
            let repo = rows::repo(&this.shared.reader, repo_key(account.id(), &space))?;
            Ok(repo.map(|repo| (account, repo)))
        })
        .await
    }

    /// A commit of a head for one reader: no two readers get the same.
    pub(crate) fn sign_for_reader(space: &SpaceUri, author: &Did, head: &Head, key: &SigningKey) -> SignedCommit {
        SignedCommit::sign(space, author, head.rev, head.hash.digest(), rand::random(), key)
    }

    /// The key that signs for an account.
    pub(crate) async fn key_of(&self, account: &Account) -> Result<Arc<SigningKey>, PermissionedError> {
        Ok(self.shared.accounts.signing_key(account.id()).await?)
    }

    /// Operations after the revision `since` in their order, up to `limit` and then to the end of their revision;
    /// `None` when the log does not reach back so far.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn ops(
        &self,
        account: &Account,
        repo: &Repo,
        since: Option<Tid>,
        limit: usize,
    ) -> Result<Option<Vec<(Tid, Op)>>, PermissionedError> {
        if since.unwrap_or(Tid::MIN) < repo.log_from {
            return Ok(None);
        }
        let (reader, key) = (self.shared.reader.clone(), repo_key(account.id(), &repo.space));
        blocking::run(move || Ok(Some(rows::ops(&reader, key, since, limit)?))).await
    }

    /// Up to `limit` repositories that an account has in spaces, behind the one in `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn repos_of(
        &self,
        account: &Account,
        after: Option<&SpaceUri>,
        limit: usize,
    ) -> Result<Vec<Repo>, PermissionedError> {
        let (reader, id, after) = (self.shared.reader.clone(), account.id(), after.map(SpaceUri::digest));
        blocking::run(move || Ok(rows::repos_of(&reader, id, after, limit)?)).await
    }
}

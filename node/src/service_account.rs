//! The node's own account: an ordinary one, whose repository holds what the node says in public, for example the lexicons
//! of this network. It is made when it is first needed, and nobody logs in with it.

pub(crate) mod publishing;

use angel_protocol::data::{Block, Codec, Value, cbor, record_from_json};
use angel_protocol::ids::{Did, Handle, InvalidHandle, RepoPath};
use angel_protocol::lexicon::Catalog;
use angel_protocol::time::Timestamp;
use angel_storage::codec::Cbor;
use angel_storage::reader::ReadError;
use angel_storage::{Reader, Table, TableId};
use serde_json::Value as Json;

use crate::accounts::{Account, AccountError, Accounts};
use crate::blocking;
use crate::lexicons::SCHEMA;
use crate::lifecycle::{Lifecycle, LifecycleError, SignUp};
use crate::repos::{Action, NewRecord, RepoError, RepoWrite, Repos};
use crate::tenants::Rulebook;

/// What this node remembers about itself.
const LOCAL: Table<String, Cbor<String>> = Table::new(TableId::Local);

/// The name under which it remembers its account.
const NAME: &str = "service_account";

/// The first label of its handle. It is reserved, so that nobody else has it.
const LABEL: &str = "node";

/// Documents that are written at a time: within what one commit may carry, whatever their length.
const DOCUMENTS_PER_COMMIT: usize = 20;

/// The node's own account. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ServiceAccount {
    pub(crate) reader: Reader,
    pub(crate) accounts: Accounts,
    pub(crate) repos: Repos,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) rulebook: Rulebook,
    /// The domains of hosted handles, each with its leading dot, the preferred one first.
    pub(crate) domains: Vec<String>,
}

/// What was published.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The account.
    pub(crate) did: Did,
    /// How many documents there are.
    pub(crate) documents: usize,
    /// How many of them are new or were changed.
    pub(crate) changed: usize,
}

/// Why the account is not there, or nothing is published.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// No handle can be made under this host's domain.
    #[error(transparent)]
    Handle(#[from] InvalidHandle),
    /// The account.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl ServiceAccount {
    /// The account, if there is one yet, made known to the rules. Blocks.
    pub(crate) fn find_blocking(&self) -> Result<Option<Account>, ServiceAccountError> {
        let did = self.reader.get(&LOCAL, &NAME.to_owned())?.and_then(|Cbor(did)| did.parse::<Did>().ok());
        let Some(did) = did else { return Ok(None) };
        let account = self.accounts.by_did_blocking(&did)?;
        if account.is_some() {
            self.rulebook.set_node(did);
        }
        Ok(account)
    }

    /// Whether there is one yet.
    pub(crate) async fn exists(&self) -> Result<bool, ServiceAccountError> {
        let this = self.clone();
        Ok(blocking::run(move || this.find_blocking()).await?.is_some())
    }

    /// The account, made if there is none.
    async fn ensure(&self, now: Timestamp) -> Result<Account, ServiceAccountError> {
        let this = self.clone();
        if let Some(account) = blocking::run(move || this.find_blocking()).await? {
            return Ok(account);
        }
        let domain = self.domains.first().map_or(".test", String::as_str);
        let handle: Handle = format!("{LABEL}{domain}").parse()?;
        let wish = SignUp { handle, email: None, password: None, invite_code: None, recovery_key: None, moved: None };
        let made = self
            .lifecycle
            .sign_up_with(wish, now, |_, did, batch| batch.put(&LOCAL, &NAME.to_owned(), &Cbor(did.to_string())));
        let account = made.await?.account;
        self.rulebook.set_node(account.did().clone());
        Ok(account)
    }

    /// Publishes the documents of this network that this release ships; what is there already stays as it is.
    pub(crate) async fn publish_lexicons(&self, now: Timestamp) -> Result<Published, ServiceAccountError> {
        self.publish(schema_records(), now).await
    }

    /// Publishes records; one that is there already, and the same, stays as it is.
    pub(crate) async fn publish(
        &self,
        records: Vec<(RepoPath, Value)>,
        now: Timestamp,
    ) -> Result<Published, ServiceAccountError> {
        let account = self.ensure(now).await?;
        let owner = self.lifecycle.owner(&account).await?;
        let (repos, id) = (self.repos.clone(), account.id());
        let (documents, changed) = blocking::run(move || {
            let mut changed = Vec::new();
            for (path, record) in &records {
                let there = repos.record_blocking(id, &path.to_string())?.map(|record| record.cid);
                if there != Some(Block::new(Codec::DagCbor, cbor::encode(record)).cid()) {
                    let action = Action::Put(NewRecord::new(record));
                    changed.push(RepoWrite { path: path.clone(), action, swap: None });
                }
            }
            Ok::<_, RepoError>((records.len(), changed))
        })
        .await?;
        let count = changed.len();
        for writes in changed.chunks(DOCUMENTS_PER_COMMIT) {
            self.repos.write(&owner, writes.to_vec(), None).await?;
        }
        Ok(Published { did: owner.did, documents, changed: count })
    }
}

/// The documents of this network as records.
fn schema_records() -> Vec<(RepoPath, Value)> {
    let ours = Catalog::builtin().iter().filter(|document| document.id.starts_with("co.kendev."));
    let records = ours.map(|document| {
        let text = Catalog::builtin_text(&document.id).expect("a document in the catalogue was read from its text");
        let mut json: Json = serde_json::from_str(text).expect("a document in the catalogue is JSON");
        json["$type"] = SCHEMA.into();
        let record = record_from_json(&json).expect("a document holds texts, whole numbers, lists and maps");
        let path = format!("{SCHEMA}/{}", document.id).parse().expect("an NSID is a record key");
        (path, record)
    });
    records.collect()
}

#[cfg(test)]
mod tests;

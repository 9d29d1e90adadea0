//! What one record alone of a business may be called: looked up in the public repository and in the workspace, where drafts
//! lie, before another one is written (ORD-08, LEA-06).

use std::collections::BTreeMap;

use angel_protocol::data::cbor;
use angel_protocol::ids::RepoPath;
use angel_protocol::rules::Refused;
use angel_protocol::rules::unique::{self, Claims};
use tokio::sync::MutexGuard;

use super::{Business, BusinessError, PAGE, nsid};
use crate::accounts::Account;
use crate::blocking;
use crate::repos::{NewRecord, RepoError};
use crate::tenants::{Tenant, workspace};

/// Records of a collection that are looked at in each of the two places, the newest first. Names of those behind are free.
const LOOKED_AT_MAX: usize = 20_000;

/// Public records that are read at once.
const READ_TOGETHER: usize = 500;

impl Business {
    /// Looks whether what is about to be written for a tenant is called as no other record is, and keeps others from writing
    /// such records until the answer is dropped. Of writes that claim no name it asks nothing.
    ///
    /// # Errors
    /// [`Refused::Taken`], or the store cannot be read.
    pub(crate) async fn hold_names<'w>(
        &self,
        account: &Account,
        writes: impl IntoIterator<Item = (&'w RepoPath, Option<&'w NewRecord>)>,
    ) -> Result<Option<MutexGuard<'_, ()>>, BusinessError> {
        let mut claimed: BTreeMap<&str, Claims> = BTreeMap::new();
        for (path, record) in writes {
            let collection = path.collection.as_str();
            if unique::COLLECTIONS.contains(&collection) {
                let record = record.and_then(|record| cbor::decode(record.block().bytes()).ok());
                claimed.entry(collection).or_default().claim(collection, path.rkey.as_str(), record.as_ref());
            }
        }
        claimed.retain(|_, claims| !claims.is_empty());
        if claimed.is_empty() {
            return Ok(None);
        }
        let Some(tenant) = self.0.tenants.find(account.did()) else { return Ok(None) };
        let turn = self.turn(&tenant).await;
        for (collection, claims) in claimed {
            self.check_names(account, &tenant, collection, claims).await?;
        }
        Ok(Some(turn))
    }

    async fn check_names(
        &self,
        account: &Account,
        tenant: &Tenant,
        collection: &str,
        mut claims: Claims,
    ) -> Result<(), BusinessError> {
        let (repos, id, of) = (self.0.repos.clone(), account.id(), nsid(collection));
        let mut claims = blocking::run(move || {
            let (mut last, mut looked_at) = (None::<String>, 0);
            loop {
                let before = looked_at;
                let cursor = last.take();
                repos.visit_blocking(id, &of, READ_TOGETHER, cursor.as_deref(), false, |rkey, record| {
                    if let Ok(record) = cbor::decode(&record.bytes) {
                        claims.look(of.as_str(), rkey, &record);
                    }
                    (last, looked_at) = (Some(rkey.to_owned()), looked_at + 1);
                    Ok::<_, RepoError>(())
                })?;
                if looked_at - before < READ_TOGETHER || looked_at >= LOOKED_AT_MAX {
                    return Ok::<_, RepoError>(claims);
                }
            }
        })
        .await?;
        let (space, of) = (workspace(tenant.did()), nsid(collection));
        let (mut at, mut looked_at) = (None, 0);
        loop {
            let page = self.0.permissioned.list(&space, tenant.did(), Some(&of), at, PAGE, false).await?;
            looked_at += page.records.len();
            for listed in page.records {
                if let Ok(record) = cbor::decode(&listed.record.bytes) {
                    claims.look(collection, listed.path.rkey.as_str(), &record);
                }
            }
            at = page.cursor;
            if at.is_none() || looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
        match claims.taken() {
            Some((path, rkey)) => Err(Refused::Taken { path, other: format!("{collection}/{rkey}") }.into()),
            None => Ok(()),
        }
    }
}

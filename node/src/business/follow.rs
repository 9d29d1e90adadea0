//! Records of the workspace whose computed fields follow from something that is written elsewhere: the rate of a product
//! from the product's type (REV-07), a tenant's settings from its plan. They are looked at again when that was written.

use angel_protocol::business::{ACTIVITY, FORM_SETTINGS, PRODUCT, PRODUCT_SETTINGS, TENANT_SETTINGS};
use angel_protocol::data::Value;
use angel_protocol::ids::{Did, RepoPath};
use angel_protocol::rules::{By, Place};

use super::stock::Counted;
use super::{Business, BusinessError, nsid};
use crate::accounts::Account;
use crate::permissioned::PermissionedWrite;
use crate::repos::{Action, NewRecord, Swap};
use crate::tenants::{Tenant, workspace};

impl Business {
    /// Brings up to date what follows from records of `account` that `author` has just written. Those are written
    /// whatever comes of this, so what fails is told in the log, and done with the next write of either.
    pub(crate) async fn follow(&self, account: &Account, author: &Did, written: &[RepoPath]) {
        let Some(tenant) = self.0.tenants.find(account.did()) else { return };
        self.0.hints.tell(account.did(), written.iter());
        if written.iter().any(|path| path.collection.as_str() == FORM_SETTINGS) {
            self.0.webhooks.ring(account.did());
        }
        for path in written.iter().filter(|path| path.collection.as_str() == PRODUCT_SETTINGS) {
            // What cannot be read is not shown; the next change of the stock is.
            if let Ok(Some(entry)) = self.entry(tenant.did(), path).await {
                let counted = Counted { rkey: path.rkey.clone(), before: None, after: Value::Map(entry.record) };
                self.show_stock(account, vec![counted]).await;
            }
        }
        for path in written.iter().filter(|path| path.collection.as_str() == ACTIVITY) {
            self.score_after(&tenant, path).await;
        }
        for path in written.iter().filter(|path| path.collection.as_str() == PRODUCT) {
            let settings = RepoPath::new(nsid(PRODUCT_SETTINGS), path.rkey.clone());
            if let Err(error) = self.refresh(&tenant, author, &settings).await {
                tracing::warn!(tenant = %tenant.did(), %path, %error, "the rate of a product was not brought up to date");
            }
        }
    }

    /// Brings a tenant's settings up to date with what it may use and how it stands.
    pub(crate) async fn settings_follow(&self, tenant: &Tenant) {
        let path = RepoPath::new(nsid(TENANT_SETTINGS), "self".parse().expect("a word is a record key"));
        if let Err(error) = self.refresh(tenant, tenant.did(), &path).await {
            tracing::warn!(tenant = %tenant.did(), %error, "the settings of a tenant were not brought up to date");
        }
    }

    /// Completes a record of the workspace anew, if there is one, and writes it if it is another then.
    async fn refresh(&self, tenant: &Tenant, author: &Did, path: &RepoPath) -> Result<(), BusinessError> {
        let _turn = self.turn(tenant).await;
        let Some(before) = self.entry(tenant.did(), path).await? else { return Ok(()) };
        let Some(account) = self.0.accounts.by_did(tenant.did()).await? else { return Ok(()) };
        let was = Value::Map(before.record);
        let how = (Place::Permissioned, By::Node);
        let judging = self.0.rulebook.judge(&account, author, how, &path.collection, was.clone(), Some(&was));
        let record = judging.await??;
        if record == was {
            return Ok(());
        }
        let (action, swap) = (Action::Put(NewRecord::new(&record)), Some(Swap::Record(before.cid)));
        let write = PermissionedWrite { path: path.clone(), action, swap };
        self.0.permissioned.write(&account, &workspace(tenant.did()), vec![write]).await?;
        Ok(())
    }
}

//! The rows of a tenant's webhooks, as its people change them: with an entry in the audit log, in one batch. What a hook is
//! for and how it is called, [`crate::webhooks`] says.

use angel_protocol::ids::Did;
use angel_protocol::limits::{WEBHOOK_FORMS_MAX, WEBHOOKS_MAX};
use angel_protocol::time::Timestamp;
use angel_storage::tenants::{WEBHOOKS, WebhookRow, webhooks};
use angel_storage::{AccountId, Batch, CommitError, TableId};

use super::{Actor, Tenant, TenantError, Tenants};
use crate::accounts::AccountError;

/// How often a change is tried when a call was taken note of at the same moment.
const TRIES: usize = 8;

impl Tenants {
    /// The webhooks of a tenant, by their names. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn webhooks_blocking(&self, tenant: &Tenant) -> Result<Vec<(String, WebhookRow)>, TenantError> {
        Ok(webhooks(&self.0.reader, tenant.id())?)
    }

    /// One of them. Blocks.
    ///
    /// # Errors
    /// There is none, or the store cannot be read.
    pub(crate) fn webhook_blocking(&self, tenant: &Tenant, name: &str) -> Result<WebhookRow, TenantError> {
        self.0.reader.get(&WEBHOOKS, &(tenant.id(), name.to_owned()))?.ok_or(TenantError::NoWebhook)
    }

    /// Adds a webhook for events. Blocks until it is durable.
    ///
    /// # Errors
    /// There are as many as there may be, or as any change of a tenant.
    pub(crate) fn add_webhook_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        name: &str,
        row: &WebhookRow,
        now: Timestamp,
    ) -> Result<(), TenantError> {
        let (_, ()) = self.change_blocking(tenant, now, |change| {
            let key = (change.id(), name.to_owned());
            let of_events = webhooks(&self.0.reader, change.id())?.into_iter().filter(|(_, row)| row.url.is_some());
            if of_events.count() >= WEBHOOKS_MAX {
                return Err(TenantError::TooManyWebhooks);
            }
            change.batch.expect_absent(&WEBHOOKS, &key)?;
            change.batch.put(&WEBHOOKS, &key, row)?;
            change.note(by, "add webhook", name);
            Ok(())
        })?;
        Ok(())
    }

    /// Changes a webhook; `what` goes into the audit log. Blocks until it is durable, and answers with the row.
    ///
    /// # Errors
    /// There is no such webhook, or as any change of a tenant.
    pub(crate) fn change_webhook_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        (name, what): (&str, &str),
        now: Timestamp,
        act: impl Fn(&mut WebhookRow),
    ) -> Result<WebhookRow, TenantError> {
        settle(|| {
            let (_, row) = self.change_blocking(tenant, now, |change| {
                let key = (change.id(), name.to_owned());
                let before = self.0.reader.get(&WEBHOOKS, &key)?.ok_or(TenantError::NoWebhook)?;
                let mut row = before.clone();
                act(&mut row);
                change.batch.expect_value(&WEBHOOKS, &key, &before)?;
                change.batch.put(&WEBHOOKS, &key, &row)?;
                change.note(by, what, name);
                Ok(row)
            })?;
            Ok(row)
        })
    }

    /// Takes a webhook away. Blocks until that is durable.
    ///
    /// # Errors
    /// There is no such webhook, or as any change of a tenant.
    pub(crate) fn delete_webhook_blocking(
        &self,
        tenant: &Did,
        by: &Actor,
        name: &str,
        now: Timestamp,
    ) -> Result<(), TenantError> {
        let (_, ()) = self.change_blocking(tenant, now, |change| {
            let key = (change.id(), name.to_owned());
            self.0.reader.get(&WEBHOOKS, &key)?.ok_or(TenantError::NoWebhook)?;
            change.batch.delete(&WEBHOOKS, &key)?;
            change.note(by, "delete webhook", name);
            Ok(())
        })?;
        Ok(())
    }

    /// Adds the webhook of a form, unless it is there or there are as many as there may be. Nobody in particular does that, so
    /// the audit log says nothing. Blocks until it is durable; says whether there is one.
    ///
    /// # Errors
    /// The tenant is not changed here now, or the store fails.
    pub(crate) fn add_form_webhook_blocking(
        &self,
        tenant: &Tenant,
        name: &str,
        row: &WebhookRow,
    ) -> Result<bool, TenantError> {
        let leave = self.0.fence.enter_blocking(tenant.id()).map_err(AccountError::from)?;
        let of_forms = webhooks(&self.0.reader, tenant.id())?.into_iter().filter(|(_, row)| row.url.is_none());
        if of_forms.count() >= WEBHOOK_FORMS_MAX {
            return Ok(false);
        }
        let (key, mut batch) = ((tenant.id(), name.to_owned()), Batch::new());
        batch.expect_absent(&WEBHOOKS, &key)?;
        batch.put(&WEBHOOKS, &key, row)?;
        match self.0.writer.commit(batch) {
            Ok(committed) => leave.replicated_blocking(committed).map_err(AccountError::from)?,
            // Somebody else sent answers at the same time.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Takes note of a call in a webhook's row, or deletes it where `change` gives none. Blocks until that is durable here, and
    /// answers with the row as it is then; `None` when there is none. Copies follow: what they do not know of is called again.
    ///
    /// # Errors
    /// The tenant is not changed here now, or the store fails.
    pub(crate) fn keep_webhook_blocking(
        &self,
        id: AccountId,
        name: &str,
        change: impl Fn(WebhookRow) -> Option<WebhookRow>,
    ) -> Result<Option<WebhookRow>, TenantError> {
        let _leave = self.0.fence.enter_blocking(id).map_err(AccountError::from)?;
        let key = (id, name.to_owned());
        settle(|| {
            let Some(before) = self.0.reader.get(&WEBHOOKS, &key)? else { return Ok(None) };
            let after = change(before.clone());
            let mut batch = Batch::new();
            batch.expect_value(&WEBHOOKS, &key, &before)?;
            match &after {
                Some(row) => batch.put(&WEBHOOKS, &key, row)?,
                None => batch.delete(&WEBHOOKS, &key)?,
            }
            self.0.writer.commit(batch)?;
            Ok(after)
        })
    }
}

/// Tries a change again when the row was changed meanwhile: by its people, or because of a call.
fn settle<T>(change: impl Fn() -> Result<T, TenantError>) -> Result<T, TenantError> {
    for _ in 1..TRIES {
        match change() {
            Err(TenantError::Account(AccountError::Commit(CommitError::Conflict {
                table: TableId::Webhooks, ..
            }))) => {}
            done => return done,
        }
    }
    change()
}

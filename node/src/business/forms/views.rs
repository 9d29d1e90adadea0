//! How often forms are seen (FRM-03), counted in memory and written down every few seconds, as calls are. After a crash the
//! counts of the last seconds are missing, views and answers alike.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angel_protocol::ids::{Did, RecordKey};
use angel_storage::codec::Cbor;
use angel_storage::tenants::{FORM_VIEWS, FormViews, form_views};
use angel_storage::{Batch, Reader, Writer};
use tokio_util::sync::CancellationToken;

use super::super::{Business, BusinessError};
use super::OpenForm;
use crate::accounts::AccountError;
use crate::blocking;
use crate::tasks::TaskResult;
use crate::tenants::Tenant;

/// How often counts are written down.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Forms that are counted between two times of writing down; more are not counted.
const FORMS_MAX: usize = 10_000;

/// What was counted since it was last written down.
pub(in crate::business) struct Views {
    reader: Reader,
    writer: Writer,
    since: Mutex<HashMap<(Did, String), FormViews>>,
    /// Held while counts go from memory to the store, so that nobody finds them in neither.
    flushing: Mutex<()>,
}

impl Views {
    pub(in crate::business) fn new(reader: Reader, writer: Writer) -> Self {
        Self { reader, writer, since: Mutex::default(), flushing: Mutex::default() }
    }

    fn since(&self) -> MutexGuard<'_, HashMap<(Did, String), FormViews>> {
        // Whoever panicked inside left at worst one count out.
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, tenant: &Did, form: &RecordKey, more: FormViews) {
        let key = (tenant.clone(), form.to_string());
        let mut since = self.since();
        if since.len() < FORMS_MAX || since.contains_key(&key) {
            add(since.entry(key).or_default(), more);
        }
    }

    pub(super) fn answered(&self, tenant: &Did, form: &RecordKey) {
        self.count(tenant, form, FormViews { answers: 1, ..FormViews::default() });
    }
}

fn add(to: &mut FormViews, more: FormViews) {
    to.views = to.views.saturating_add(more.views);
    to.answers = to.answers.saturating_add(more.answers);
}

impl Business {
    /// Counts that somebody saw a form who does not belong to the business.
    pub(crate) fn saw(&self, form: &OpenForm) {
        let more = FormViews { views: 1, ..FormViews::default() };
        self.0.views.count(form.tenant.did(), form.rkey(), more);
    }

    /// How often a form was seen, and answered since that is counted.
    pub(in crate::business) async fn form_views(
        &self,
        tenant: &Tenant,
        form: &str,
    ) -> Result<FormViews, BusinessError> {
        let (this, id, key) = (self.clone(), tenant.id(), (tenant.did().clone(), form.to_owned()));
        blocking::run(move || {
            let views = &this.0.views;
            let _flushing = views.flushing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut counted = form_views(&views.reader, id, &key.1).map_err(AccountError::from)?;
            add(&mut counted, views.since().get(&key).copied().unwrap_or_default());
            Ok(counted)
        })
        .await
    }

    /// Writes down what was counted, every few seconds and when the node stops.
    pub(crate) async fn run_views(self, stop: CancellationToken) -> TaskResult {
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(FLUSH_INTERVAL) => false,
            };
            let this = self.clone();
            if let Err(error) = blocking::run(move || this.flush_views_blocking()).await {
                tracing::warn!(%error, "how often forms were seen could not be written down; it will be tried again");
            }
            if stopping {
                return Ok(());
            }
        }
    }

    fn flush_views_blocking(&self) -> Result<(), BusinessError> {
        let views = &self.0.views;
        let _flushing = views.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = std::mem::take(&mut *views.since());
        if counted.is_empty() {
            return Ok(());
        }
        let write = || {
            let mut batch = Batch::new();
            for ((tenant, form), more) in &counted {
                // One that has gone or moved away takes its counts along as they were.
                let Some(tenant) = self.0.tenants.find(tenant) else { continue };
                let mut row = form_views(&views.reader, tenant.id(), form)?;
                add(&mut row, *more);
                batch.put(&FORM_VIEWS, &(tenant.id(), form.clone()), &Cbor(row))?;
            }
            views.writer.commit(batch)?;
            Ok(())
        };
        let written: Result<(), AccountError> = write();
        if written.is_err() {
            let mut since = views.since();
            for (key, more) in counted {
                add(since.entry(key).or_default(), more);
            }
        }
        Ok(written?)
    }
}

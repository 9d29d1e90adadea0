//! Delivers what this host has to tell others. Each service has its own lane, in which notices go one after the other, so
//! that a slow one holds up itself alone. What is not delivered is tried again later and later, for a day.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use angel_protocol::ids::Nsid;
use angel_protocol::permissioned::wire::notice::WriteNotice;
use angel_protocol::service_auth::ServiceId;
use angel_protocol::time::Timestamp;
use angel_storage::Batch;
use angel_storage::permissioned::{self as rows, Delivery, DeliveryKey, NoticeKey};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::services::{Asked, CallError, Services};
use super::{Permissioned, PermissionedError};
use crate::tasks::TaskResult;
use crate::{blocking, clock};

/// Services that are told something at once.
const LANES_MAX: usize = 32;

/// Deliveries that one look at the outbox takes in.
const OUTBOX_PAGE: usize = 2000;

/// Deliveries that a lane makes before others get their turn.
const LANE_DELIVERIES: usize = 64;

/// Longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_mins(15);

/// How often tokens that have expired are swept.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// Rows that one step of that looks at.
const SWEEP_ROWS: usize = 1000;

/// Delivers.
#[derive(Debug)]
pub(crate) struct Notifier {
    permissioned: Permissioned,
    services: Services,
}

type Due = Vec<(DeliveryKey, Delivery)>;

impl Notifier {
    pub(crate) const fn new(permissioned: Permissioned, services: Services) -> Self {
        Self { permissioned, services }
    }

    /// Delivers until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        let mut lanes: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
        let mut busy: HashSet<String> = HashSet::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            let (due, next) = self.due(&busy).await?;
            for (service, deliveries) in due.into_iter().take(LANES_MAX.saturating_sub(lanes.len())) {
                busy.insert(service.clone());
                lanes.push(Box::pin(self.deliver(service, deliveries)));
            }
            let wait = next.map_or(RETRY_MAX, |next| {
                Duration::from_millis(next.as_millis().saturating_sub(clock::now().as_millis()).max(10))
            });
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.permissioned.shared.outbox.notified() => {}
                Some(service) = lanes.next() => drop(busy.remove(&service)),
                () = tokio::time::sleep(wait) => {}
                _ = sweep.tick() => self.sweep().await?,
            }
        }
    }

    /// What is due, by service, without those that are being told something; and when the next is due.
    async fn due(
        &self,
        busy: &HashSet<String>,
    ) -> Result<(BTreeMap<String, Due>, Option<Timestamp>), PermissionedError> {
        let (reader, now) = (self.permissioned.shared.reader.clone(), clock::now());
        let page = blocking::run(move || rows::deliveries(&reader, None, OUTBOX_PAGE)).await?;
        let (mut due, mut next) = (BTreeMap::<String, Due>::new(), None::<Timestamp>);
        for (key, delivery) in page {
            if delivery.due > now {
                next = Some(next.map_or(delivery.due, |next| next.min(delivery.due)));
            } else if !busy.contains(&delivery.service) {
                due.entry(delivery.service.clone()).or_default().push((key, delivery));
            }
        }
        Ok((due, next))
    }

    /// Tells one service what is due, in the order in which it came about. Answers with the service.
    async fn deliver(&self, service: String, mut due: Due) -> String {
        due.sort_by_key(|(_, delivery)| (delivery.space_rev, delivery.due));
        for (key, delivery) in due.into_iter().take(LANE_DELIVERIES) {
            let outcome = self.tell(&delivery).await;
            let after = match &outcome {
                Ok(()) => None,
                Err(error) => {
                    // What it is about is nobody's business, and the log is read by many.
                    tracing::debug!(method = %delivery.method, attempts = delivery.attempts, reason = error.reason(), "a notice was not delivered");
                    error.may_pass().then(|| later(&delivery)).filter(|later| later.due < later.until)
                }
            };
            let failed = after.is_some();
            if let Err(error) = self.settle(key, delivery, after, outcome.is_ok()).await {
                tracing::warn!(%error, "the outbox of private data cannot be written");
            }
            if failed {
                break;
            }
        }
        service
    }

    async fn tell(&self, delivery: &Delivery) -> Result<(), Untold> {
        let service: ServiceId = delivery.service.parse().map_err(|_| Untold::Form)?;
        let at: ServiceId = delivery.at.parse().map_err(|_| Untold::Form)?;
        let method: Nsid = delivery.method.parse().map_err(|_| Untold::Form)?;
        let mut body = delivery.body.clone();
        if delivery.space_rev.is_some() {
            let mut notice: WriteNotice = serde_json::from_str(&body).map_err(|_| Untold::Form)?;
            let (reader, digest, name) =
                (self.permissioned.shared.reader.clone(), delivery.space.digest(), delivery.service.clone());
            let registration = blocking::run(move || rows::registration(&reader, digest, &name)).await;
            // Whoever has withdrawn meanwhile is told nothing more.
            let registration = registration.map_err(|_| Untold::Store)?.ok_or(Untold::Withdrawn)?;
            notice.prev_space_rev = registration.told;
            body = notice.to_json();
        }
        let told = self.services.call(&delivery.issuer, &service, &at, &method, Asked::Body(body)).await;
        told.map(drop).map_err(Untold::Call)
    }

    /// Takes note of what became of a delivery, unless a later one has taken its place.
    async fn settle(
        &self,
        key: DeliveryKey,
        delivery: Delivery,
        after: Option<Delivery>,
        is_told: bool,
    ) -> Result<(), PermissionedError> {
        let this = self.permissioned.clone();
        blocking::run(move || {
            let mut batch = Batch::new();
            rows::replace_delivery(&mut batch, key, &delivery, after.as_ref())?;
            match this.shared.writer.commit(batch) {
                Ok(_) | Err(angel_storage::CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let digest = delivery.space.digest();
            if is_told
                && let Some(rev) = delivery.space_rev
                && let Some(mut registration) = rows::registration(&this.shared.reader, digest, &delivery.service)?
                && registration.told.is_none_or(|told| told < rev)
            {
                registration.told = Some(rev);
                let mut batch = Batch::new();
                rows::put_registration(&mut batch, digest, &registration)?;
                this.shared.writer.commit(batch)?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets tokens that have expired.
    async fn sweep(&self) -> Result<(), PermissionedError> {
        let this = self.permissioned.clone();
        blocking::run(move || {
            let mut after: Option<NoticeKey> = None;
            loop {
                let mut batch = Batch::new();
                after = rows::sweep_tokens(&this.shared.reader, &mut batch, after, clock::now(), SWEEP_ROWS)?;
                this.shared.writer.commit(batch)?;
                if after.is_none() {
                    return Ok(());
                }
            }
        })
        .await
    }
}

/// Why a notice was not delivered.
enum Untold {
    /// It is not of its form.
    Form,
    /// Nobody waits for it any more.
    Withdrawn,
    /// The store cannot be read.
    Store,
    /// The call failed.
    Call(CallError),
}

impl Untold {
    fn may_pass(&self) -> bool {
        match self {
            Self::Form | Self::Withdrawn => false,
            Self::Store => true,
            Self::Call(error) => error.may_pass(),
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Withdrawn => "withdrawn",
            Self::Store => "store",
            Self::Call(CallError::Refused(_)) => "refused",
            Self::Call(CallError::Resolve(_) | CallError::NoEndpoint(_)) => "not resolved",
            Self::Call(CallError::NotHosted(_) | CallError::Account(_)) => "issuer",
            Self::Call(CallError::Fetch(_)) => "no answer",
        }
    }
}

/// The same delivery for its next try.
fn later(delivery: &Delivery) -> Delivery {
    let attempts = delivery.attempts.saturating_add(1);
    let step = Duration::from_secs(1 << attempts.min(10)).min(RETRY_MAX);
    // Between half the step and all of it, so that those who failed together do not come back together.
    let step = step / 2 + step.mul_f64(rand::random::<f64>() / 2.0);
    Delivery { attempts, due: clock::now() + step, ..delivery.clone() }
}

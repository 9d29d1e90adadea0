//! The store as part of the node: opened before anything needs it, watched while it is open, counted when somebody
//! asks, closed last.

use std::fmt;
use std::path::Path;

use angel_storage::engine::{EngineError, Tuning};
use angel_storage::stats::{FLUSH_MICROS_BUCKETS, WriterStats};
use angel_storage::store::OpenError;
use angel_storage::{Options, Store, Writer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::StorageConfig;
use crate::facts::VERSION;
use crate::health::{Service, ServiceState};
use crate::tasks::TaskResult;

/// Tells when the engine fails, once.
pub(crate) type Failure = oneshot::Receiver<EngineError>;

/// The memory setting in the engine's terms.
pub(crate) fn tuning(config: &StorageConfig) -> Tuning {
    Tuning::with_memory(config.memory.bytes())
}

/// Opens the store, or makes one at the first start. Blocks.
///
/// # Errors
/// [`OpenError`], which says what to do.
pub(crate) fn open(dir: &Path, config: &StorageConfig) -> Result<(Store, Failure), OpenError> {
    let (failed, failure) = oneshot::channel();
    let mut options = Options::new(config.engine, &format!("angel {VERSION}"));
    options.tuning = tuning(config);
    // The receiver is gone only when the node stops anyway.
    options.on_failure = Box::new(move |error| drop(failed.send(error.clone())));
    Ok((Store::open(dir, options)?, failure))
}

/// Waits for the engine to fail, which ends the node: nothing can be promised any more.
pub(crate) async fn watch(failure: Failure, health: Service, stop: CancellationToken) -> TaskResult {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        failed = failure => {
            let error = failed.map_err(|_| "its writer ended")?;
            health.set(ServiceState::Failing(error.to_string()));
            Err(error.into())
        }
    }
}

/// The writer's figures, read when somebody asks.
pub(crate) struct StorageCollector(pub(crate) Writer);

impl fmt::Debug for StorageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageCollector")
    }
}

impl Collector for StorageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.stats();
        let WriterStats { committed, refused, busy, bytes, events, waiting, flush_micros, .. } = stats;
        let counters = [
            ("angel_storage_batches", "Batches made durable", committed),
            ("angel_storage_refused", "Batches refused because a condition did not hold", refused),
            ("angel_storage_busy", "Batches turned away because the queue was full", busy),
            ("angel_storage_written_bytes", "Bytes of keys and values written", bytes),
            ("angel_storage_events", "Events appended to the log", events),
        ];
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let mut metric = encoder.encode_descriptor(
            "angel_storage_waiting",
            "Batches waiting to be written",
            None,
            MetricType::Gauge,
        )?;
        metric.encode_gauge(&waiting)?;

        let bounds = FLUSH_MICROS_BUCKETS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(flush_micros.buckets).collect();
        let help = "Time to make batches durable";
        let mut metric = encoder.encode_descriptor("angel_storage_flush_seconds", help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(flush_micros.sum as f64 / 1e6, flush_micros.count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use angel_protocol::time::Timestamp;
    use angel_storage::events::{EventKind, NewEvent};
    use angel_storage::{Batch, Store};
    use prometheus_client::registry::Registry;

    use super::StorageCollector;

    #[test]
    fn a_commit_is_counted_with_its_flush() {
        let store = Store::in_memory().expect("opened");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(StorageCollector(store.writer().clone())));
        let mut batch = Batch::new();
        batch.append_event(NewEvent::new(Timestamp::EPOCH, None, EventKind(1), b"x").expect("small")).expect("room");
        store.writer().commit(batch).expect("committed");
        let text = crate::events::render(&registry);
        for line in [
            "angel_storage_batches_total 1",
            "angel_storage_events_total 1",
            "angel_storage_flush_seconds_count 1",
            "angel_storage_flush_seconds_bucket{le=\"+Inf\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
    }
}

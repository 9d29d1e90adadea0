//! What the stream counts, read when somebody asks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Firehose;
use super::ring::Ring;

/// What happened to followers so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages handed to their connections.
    pub(super) sent: AtomicU64,
    /// Followers that were too slow.
    pub(super) too_slow: AtomicU64,
}

/// The figures of a stream.
#[derive(Debug)]
pub(crate) struct FirehoseCollector(pub(crate) Firehose);

impl Collector for FirehoseCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &self.0.0;
        let counters = [
            ("angel_firehose_sent", "Messages sent to followers of the event stream", &shared.counts.sent),
            ("angel_firehose_too_slow", "Followers sent away because they read too slowly", &shared.counts.too_slow),
        ];
        for (name, help, count) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&count.load(Ordering::Relaxed), None)?;
        }
        let head = shared.round.look(Ring::head);
        let gauges = [
            ("angel_firehose_followers", "Followers of the event stream", shared.places.taken() as u64),
            ("angel_firehose_sequence", "Sequence of the newest event that followers can have", head),
            ("angel_firehose_trimmed", "Sequence up to which events are gone", shared.trimmed.load(Ordering::Relaxed)),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

//! The network's counters for a metrics page.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::handle::Handle;

/// The counters for a metrics page, read when somebody asks.
#[derive(Debug)]
pub struct NetworkCollector(pub Handle);

impl Collector for NetworkCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (name, value) in self.0.stats().named() {
            let (full, help) = (format!("angel_network_{name}"), name.replace('_', " "));
            let mut metric = encoder.encode_descriptor(&full, &help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

//! Everything worth counting, one function each, in a registry per node: several nodes in one process keep
//! apart. Labels come from closed sets, never from what a stranger sent.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of [`render`]: OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a millisecond to the default request timeout.
const LATENCY_BUCKETS_S: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: Arc<str>,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabel {
    topic: &'static str,
}

/// How a heartbeat came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum HeartbeatWay {
    /// By gossip.
    Gossip,
    /// Over HTTP or XRPC.
    Http,
    /// In what a peer told of the nodes it knows.
    Registry,
}

/// What is sent in bulk to other hosting nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Bulk {
    /// Whole repositories.
    Repository,
    /// Files.
    Files,
    /// Archives for vaults.
    Archives,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BulkLabel {
    what: Bulk,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    way: HeartbeatWay,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug)]
struct LatencyHistogram;

impl MetricConstructor<Histogram> for LatencyHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BUCKETS_S)
    }
}

/// Counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    http_requests: Family<RequestLabels, Counter>,
    http_latency: Family<MethodLabel, Histogram, LatencyHistogram>,
    http_connections: Gauge,
    http_connections_refused: Counter,
    gossip_received: Family<TopicLabel, Counter>,
    gossip_sent: Family<TopicLabel, Counter>,
    heartbeats_refused: Family<RefusalLabels, Counter>,
    bulk_sent: Family<BulkLabel, Counter>,
    peers: Family<StatusLabel, Gauge>,
}

impl Events {
    /// Counters at zero, registered.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let events = Self {
            http_requests: Family::default(),
            http_latency: Family::new_with_constructor(LatencyHistogram),
            http_connections: Gauge::default(),
            http_connections_refused: Counter::default(),
            gossip_received: Family::default(),
            gossip_sent: Family::default(),
            heartbeats_refused: Family::default(),
            bulk_sent: Family::default(),
            peers: Family::default(),
        };
        let angel = registry.sub_registry_with_prefix("angel");
        angel.register("http_requests", "HTTP requests, by method and status", events.http_requests.clone());
        angel.register("http_request_seconds", "Time to answer, by method", events.http_latency.clone());
        angel.register("http_connections", "Open HTTP connections", events.http_connections.clone());
        angel.register(
            "http_accept_failures",
            "HTTP connections that could not be accepted",
            events.http_connections_refused.clone(),
        );
        angel.register("gossip_received", "Gossip messages accepted, by topic", events.gossip_received.clone());
        angel.register("gossip_sent", "Gossip messages published, by topic", events.gossip_sent.clone());
        angel.register(
            "heartbeats_refused",
            "Heartbeats refused, by the way they came and reason",
            events.heartbeats_refused.clone(),
        );
        angel.register(
            "copied_bytes",
            "Bytes sent to nodes that copy tenants from this one, by what they are of",
            events.bulk_sent.clone(),
        );
        angel.register("peers", "Known peers, by status", events.peers.clone());
        events
    }

    /// A request was answered. `method` is the route's name, not what the client wrote.
    pub fn http_answered(&self, method: &Arc<str>, status: u16, took: Duration) {
        self.http_requests.get_or_create(&RequestLabels { method: Arc::clone(method), status }).inc();
        self.http_latency.get_or_create(&MethodLabel { method: Arc::clone(method) }).observe(took.as_secs_f64());
    }

    /// A connection was accepted.
    pub fn http_connected(&self) {
        self.http_connections.inc();
    }

    /// A connection ended.
    pub fn http_disconnected(&self) {
        self.http_connections.dec();
    }

    /// A connection could not be accepted.
    pub fn http_accept_failed(&self) {
        self.http_connections_refused.inc();
    }

    /// A gossip message was verified and accepted.
    pub fn gossip_received(&self, topic: &'static str) {
        self.gossip_received.get_or_create(&TopicLabel { topic }).inc();
    }

    /// A gossip message was published.
    pub fn gossip_sent(&self, topic: &'static str) {
        self.gossip_sent.get_or_create(&TopicLabel { topic }).inc();
    }

    /// A heartbeat was refused; the reason comes from a closed set.
    pub fn heartbeat_refused(&self, way: HeartbeatWay, reason: &'static str) {
        self.heartbeats_refused.get_or_create(&RefusalLabels { way, reason }).inc();
    }

    /// So many bytes were sent in bulk to another hosting node.
    pub fn bulk_sent(&self, what: Bulk, bytes: u64) {
        self.bulk_sent.get_or_create(&BulkLabel { what }).inc_by(bytes);
    }

    /// So many peers now have this status.
    pub fn peers_counted(&self, status: &'static str, count: usize) {
        self.peers.get_or_create(&StatusLabel { status }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// The registry in OpenMetrics text.
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    if text::encode(&mut text, registry).is_err() {
        // Writing to a string does not fail; a collector that reports an error must not take the page with it.
        text.push_str("# EOF\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_under_their_names() {
        let mut registry = Registry::default();
        let events = Events::new(&mut registry);
        events.http_answered(&"com.example.get".into(), 200, Duration::from_millis(3));
        events.heartbeat_refused(HeartbeatWay::Http, "signature");
        events.bulk_sent(Bulk::Files, 7);
        events.bulk_sent(Bulk::Files, 8);
        events.peers_counted("online", 2);
        let text = render(&registry);
        for line in [
            "angel_http_requests_total{method=\"com.example.get\",status=\"200\"} 1",
            "angel_http_request_seconds_bucket{le=\"0.005\",method=\"com.example.get\"} 1",
            "angel_heartbeats_refused_total{way=\"Http\",reason=\"signature\"} 1",
            "angel_copied_bytes_total{what=\"Files\"} 15",
            "angel_peers{status=\"online\"} 2",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_nodes_do_not_share_counts() {
        let (mut first, mut second) = (Registry::default(), Registry::default());
        let (counted, _other) = (Events::new(&mut first), Events::new(&mut second));
        counted.gossip_sent("heartbeat");
        assert!(render(&first).contains("angel_gossip_sent_total{topic=\"heartbeat\"} 1"));
        assert!(!render(&second).contains("angel_gossip_sent_total{topic=\"heartbeat\"}"));
    }
}

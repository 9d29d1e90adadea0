//! What the network counts, for whoever exports it.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start, as they were at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters as the network task writes them.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Stats {
            /// Every counter with its name, for an exporter.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages we published.
    gossip_published,
    /// Messages that reached us, valid or not.
    gossip_received,
    /// Bytes of those messages.
    gossip_received_bytes,
    /// Messages that the application accepted.
    gossip_accepted,
    /// Messages that the application rejected, at their sender's cost.
    gossip_rejected,
    /// Messages that the application ignored.
    gossip_ignored,
    /// Messages dropped because their sender exceeded its rate.
    gossip_rate_limited,
    /// Messages dropped because the reader of events lagged.
    gossip_dropped,
    /// Other events dropped because their reader lagged.
    events_dropped,
    /// Connections that others opened over QUIC.
    connections_inbound_quic,
    /// Connections that others opened over TCP.
    connections_inbound_tcp,
    /// Connections that others opened through a relay.
    connections_inbound_relayed,
    /// Connections that we opened over QUIC.
    connections_outbound_quic,
    /// Connections that we opened over TCP.
    connections_outbound_tcp,
    /// Connections that we opened through a relay.
    connections_outbound_relayed,
    /// Connections that ended.
    connections_closed,
    /// Connections refused because of a limit, a list or a ban.
    connections_refused,
    /// Inbound handshakes that failed for another reason.
    inbound_failed,
    /// Dials that no transport could complete.
    dials_failed_transport,
    /// Dials that met another peer than expected.
    dials_failed_identity,
    /// Dials refused by our own limits, lists or bans.
    dials_refused,
    /// Dials that failed for another reason, such as no address.
    dials_failed_other,
    /// Peers of other networks that were turned away.
    peers_other_network,
    /// Peers cut off for their score.
    peers_score_too_low,
    /// Peers disconnected because they did not identify themselves.
    peers_silent,
    /// Connections closed to make room for newcomers.
    peers_trimmed,
    /// Questions of ours.
    requests_sent,
    /// Questions of ours that brought no answer.
    requests_failed,
    /// Questions of others.
    requests_received,
    /// Questions of others that were refused for their number.
    requests_refused,
    /// Reservations that relays gave us, renewals included.
    relay_reservations,
    /// Reservations that we gave as a relay, renewals included.
    relay_reservations_given,
    /// Circuits that we carried as a relay.
    relay_circuits_carried,
    /// Times the network was asked where one peer is.
    peers_looked_up,
    /// Direct connections made through two routers.
    holes_punched,
    /// Attempts at that which failed.
    holes_failed,
}

/// One counter. Readers may see it a moment late.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }
}

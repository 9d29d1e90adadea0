//! From heartbeats and silence to a verdict (NET-03). Pure: silence is a duration, handed in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::declared::DeclaredStatus;

/// What this observer thinks of a node, from what it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// Known from before this process started, and not heard since.
    Unheard,
    /// Heard in time.
    Online,
    /// Silent for three intervals.
    Degraded,
    /// Silent for ten.
    Offline,
}

/// What is shown of a node: the observer's verdict, or the node's own word while it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Heard, and well by its own word.
    Online,
    /// Silent for three intervals, or degraded by its own word.
    Degraded,
    /// Heard, and under maintenance by its own word.
    Maintenance,
    /// Silent for ten intervals, or not heard since this process started.
    Offline,
}

impl Status {
    /// The status in records, answers and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Degraded => "degraded",
            Self::Maintenance => "maintenance",
            Self::Offline => "offline",
        }
    }
}

impl Observed {
    /// Whether the verdict may change from `self` to `next` in one step.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Unheard, Self::Online | Self::Offline)
                | (Self::Online, Self::Degraded | Self::Offline)
                | (Self::Degraded, Self::Online | Self::Offline)
                | (Self::Offline, Self::Online)
        )
    }

    /// The verdict after so much silence.
    #[must_use]
    pub fn after_silence(self, silence: Duration, config: &Config) -> Self {
        if silence >= config.offline_after {
            Self::Offline
        } else if silence >= config.degraded_after && self == Self::Online {
            Self::Degraded
        } else {
            self
        }
    }

    /// The verdict after a heartbeat, the `streak`th in a row. A node not heard since this process started is back
    /// at once: its silence was never observed.
    #[must_use]
    pub const fn after_heartbeat(self, streak: u8, config: &Config) -> Self {
        match self {
            Self::Unheard | Self::Online => Self::Online,
            Self::Degraded | Self::Offline if streak >= config.online_after => Self::Online,
            Self::Degraded | Self::Offline => self,
        }
    }

    /// The silence after which this verdict has to be looked at again.
    #[must_use]
    pub const fn patience(self, config: &Config) -> Duration {
        match self {
            Self::Online => config.degraded_after,
            Self::Unheard | Self::Degraded => config.offline_after,
            Self::Offline => config.forget_after,
        }
    }

    /// What is shown, given the node's own word.
    #[must_use]
    pub const fn shown(self, declared: DeclaredStatus) -> Status {
        match (self, declared) {
            (Self::Online, DeclaredStatus::Online) => Status::Online,
            (Self::Online, DeclaredStatus::Degraded) | (Self::Degraded, _) => Status::Degraded,
            (Self::Online, DeclaredStatus::Maintenance) => Status::Maintenance,
            (Self::Unheard | Self::Offline, _) => Status::Offline,
        }
    }
}

impl Status {
    /// The word in records and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Degraded => "degraded",
            Self::Maintenance => "maintenance",
            Self::Offline => "offline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_degrades_and_then_ends() {
        let config = Config::default();
        let after = |seconds| Observed::Online.after_silence(Duration::from_secs(seconds), &config);
        assert_eq!(after(89), Observed::Online);
        assert_eq!(after(90), Observed::Degraded);
        assert_eq!(after(299), Observed::Degraded);
        assert_eq!(after(300), Observed::Offline);
        let unheard = |seconds| Observed::Unheard.after_silence(Duration::from_secs(seconds), &config);
        assert_eq!((unheard(90), unheard(300)), (Observed::Unheard, Observed::Offline));
    }

    #[test]
    fn two_heartbeats_in_a_row_bring_back() {
        let config = Config::default();
        for lost in [Observed::Degraded, Observed::Offline] {
            assert_eq!(lost.after_heartbeat(1, &config), lost);
            assert_eq!(lost.after_heartbeat(2, &config), Observed::Online);
        }
        assert_eq!(Observed::Unheard.after_heartbeat(1, &config), Observed::Online);
    }

    #[test]
    fn the_nodes_own_word_counts_while_it_is_heard() {
        assert_eq!(Observed::Online.shown(DeclaredStatus::Maintenance), Status::Maintenance);
        assert_eq!(Observed::Degraded.shown(DeclaredStatus::Maintenance), Status::Degraded);
        assert_eq!(Observed::Offline.shown(DeclaredStatus::Online), Status::Offline);
    }
}

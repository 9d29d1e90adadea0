//! The log of the process: on standard error, for people or as JSON, filtered by directives that can be changed while
//! it runs. Spans carry the identifiers; secrets and personal data are never logged.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

/// What libraries say at their usual levels is about themselves. Whoever wants to hear it names them.
const QUIET: &str = "libp2p_swarm=warn,libp2p_gossipsub=error,libp2p_kad=error,arc_malachitebft=error,ractor=warn";

/// Changes what is logged. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// The directives are none.
#[derive(Debug, thiserror::Error)]
#[error("\"{filter}\" is no log filter: {why}; write a level such as \"debug\", or \"info,angel_node::http=debug\"")]
pub struct InvalidFilter {
    filter: String,
    why: String,
}

impl LogControl {
    /// Starts the log of this process. A second call in one process changes nothing but its own handle.
    ///
    /// # Errors
    /// [`InvalidFilter`]; a validated configuration has none.
    pub fn init(config: &LogConfig) -> Result<Self, InvalidFilter> {
        let (filter, handle) = reload::Layer::new(parse(&config.filter)?);
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
            LogFormat::Json => Box::new(lines.json().flatten_event(true)),
            LogFormat::Pretty => Box::new(lines.with_ansi(std::io::stderr().is_terminal())),
        };
        // The process may have a log already, as under a test; that one stays.
        drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
        Ok(Self { filter: handle })
    }

    /// Logs by these directives from now on.
    ///
    /// # Errors
    /// [`InvalidFilter`]; the old ones stay in force.
    pub fn set_filter(&self, filter: &str) -> Result<(), InvalidFilter> {
        let directives = parse(filter)?;
        self.filter.reload(directives).map_err(|error| InvalidFilter { filter: filter.into(), why: error.to_string() })
    }
}

/// Of two directives for one target the later counts.
fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|error| InvalidFilter { filter: filter.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_stay_quiet_unless_they_are_named() {
        let filter = |text: &str| parse(text).expect("directives").to_string();
        assert!(filter("debug").contains("arc_malachitebft=error"), "{}", filter("debug"));
        let named = filter("debug,arc_malachitebft=trace");
        assert!(named.contains("arc_malachitebft=trace") && !named.contains("arc_malachitebft=error"), "{named}");
        let refused = parse("angel_node=loud").expect_err("no such level").to_string();
        assert!(refused.contains("\"angel_node=loud\""), "{refused}");
    }
}

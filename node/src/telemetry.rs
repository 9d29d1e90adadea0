//! The log of the process: on standard error, for people or as JSON, filtered by directives that can be changed while
//! it runs. Spans carry the identifiers; secrets and personal data are never logged.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

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

fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| InvalidFilter { filter: filter.to_owned(), why: error.to_string() })
}

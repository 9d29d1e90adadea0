//! Questions to the domain name system: texts and addresses, asked anew each time. Whoever wants to remember an answer
//! does so ([`crate::resolver`]).

pub(crate) mod moved;
mod update;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};

/// How long one server may take for one question.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a question is asked.
const ATTEMPTS: usize = 2;

/// Most records of one answer that are looked at.
const RECORDS_MAX: usize = 64;

/// A way to the domain name system. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dns(Option<TokioResolver>);

/// No answer to be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the domain name system does not answer: {0}")]
pub(crate) struct DnsError(String);

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

impl Dns {
    /// Asks `server`, or the system's servers when none is named.
    ///
    /// # Errors
    /// The system names no servers.
    pub(crate) fn new(server: Option<SocketAddr>) -> Result<Self, DnsError> {
        let mut builder = match server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let config = ResolverConfig::from_name_servers(vec![server]);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(|error| DnsError(error.to_string()))?,
        };
        set(builder.options_mut());
        builder.build().map(|resolver| Self(Some(resolver))).map_err(|error| DnsError(error.to_string()))
    }

    /// Nobody to ask: every question fails.
    pub(crate) const fn nowhere() -> Self {
        Self(None)
    }

    fn resolver(&self) -> Result<&TokioResolver, DnsError> {
        self.0.as_ref().ok_or_else(|| DnsError("no server is known".to_owned()))
    }

    /// The texts at `name`, each put together from its parts. Empty when there are none.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let found = match self.resolver()?.txt_lookup(absolute(name)).await {
            Ok(found) => found,
            Err(error) if is_nothing(&error) => return Ok(vec![]),
            Err(error) => return Err(DnsError(error.to_string())),
        };
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => String::from_utf8(text.txt_data.concat()).ok(),
            _ => None,
        });
        Ok(texts.take(RECORDS_MAX).collect())
    }

    /// The addresses of `host`. Empty when there are none.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.resolver()?.lookup_ip(absolute(host)).await {
            Ok(found) => Ok(found.iter().take(RECORDS_MAX).collect()),
            Err(error) if is_nothing(&error) => Ok(vec![]),
            Err(error) => Err(DnsError(error.to_string())),
        }
    }
}

fn set(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
}

/// With a dot behind, so that no search list of the system is tried.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn is_nothing(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}

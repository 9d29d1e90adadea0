//! The lexicons of this network are published by the node itself once it has a public name: at every start, whatever is
//! new or changed since the last one. What is there already, and the same, is left alone, so a restart writes nothing.
//!
//! Without a public name nobody could resolve what is published, and the account would bear a name that changes: then
//! nothing is made, and the log says so.

use std::time::Duration;

use angel_protocol::backoff::{Backoff, Policy};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ServiceAccount;
use crate::clock;
use crate::keys::did_web;
use crate::tasks::TaskResult;

/// How long to wait when it could not be done: the directory of identities is away, or the node does not write yet.
const RETRY: Policy =
    Policy { base: Duration::from_secs(5), ceiling: Duration::from_hours(1), reset_after: Duration::from_mins(1) };

/// Publishes the lexicons.
pub(crate) struct Publishing {
    account: ServiceAccount,
    is_named: bool,
}

impl Publishing {
    /// For a node under this URL.
    #[must_use]
    pub(crate) fn new(account: ServiceAccount, public_url: Option<&Url>) -> Self {
        Self { account, is_named: Self::is_public(public_url) }
    }

    /// Whether others can find a node under this URL: by a host name of its own.
    pub(super) fn is_public(public_url: Option<&Url>) -> bool {
        public_url.and_then(did_web).is_some()
    }

    /// Publishes what there is to publish, and waits to be told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> TaskResult {
        if self.is_named {
            stop.run_until_cancelled(self.publish()).await;
        } else {
            tracing::info!(
                "the lexicons are not published: nobody could find them. Set node.public_url to an address with a host \
                 name, or publish them nonetheless with `angel lexicon publish`"
            );
        }
        stop.cancelled().await;
        Ok(())
    }

    async fn publish(&self) {
        let mut backoff = Backoff::new(RETRY);
        loop {
            match self.account.publish_lexicons(clock::now()).await {
                Ok(published) => {
                    let (documents, changed) = (published.documents, published.changed);
                    tracing::info!(account = %published.did, documents, changed, "the lexicons are published");
                    return;
                }
                Err(error) => {
                    let wait = backoff.failed(clock::now(), rand::random());
                    tracing::warn!(%error, again_in_s = wait.as_secs(), "the lexicons are not published yet");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

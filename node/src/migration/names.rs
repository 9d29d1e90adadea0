//! The names of a tenant that was moved: set where this node may, told where others have to, and looked at until they lead
//! where they should. Nothing waits for them: where a tenant is, its identity says.

use std::time::Duration;

use url::Url;

use super::driver::Driver;
use crate::clock;
use crate::dns::moved::{Wanted, wanted};

/// How often names are looked at through the grace (`network.md` 5.4).
pub(super) const LOOK_EVERY: Duration = Duration::from_mins(5);

impl Driver {
    /// The records that the tenant's handle has to have; none for names that nobody can look up.
    async fn wanted(&self) -> Vec<Wanted> {
        let resolver = &self.migrations.0.parts.replication.0.parts.resolver;
        let Ok(account) = self.migrations.account(&self.did).await else { return Vec::new() };
        let (Some(handle), Ok(resolved)) = (account.handle(), resolver.fresh_did(&self.did).await) else {
            return Vec::new();
        };
        let reserved = [".test", ".localhost", ".local", ".invalid", ".internal"];
        if reserved.iter().any(|domain| handle.as_str().ends_with(domain)) {
            return Vec::new();
        }
        let host = resolved.document.pds().and_then(|url| Url::parse(url).ok());
        let host = host.and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_default();
        wanted(handle, &self.did, &host)
    }

    /// Sets what this node may set, and says what others have to.
    pub(super) async fn point_names(&mut self) {
        for wanted in self.wanted().await {
            let text = match self.migrations.0.parts.names.set(&wanted).await {
                Ok(true) => format!("set: {wanted}"),
                Ok(false) => format!("to be set: {wanted}"),
                Err(error) => format!("{error}; to be set: {wanted}"),
            };
            tracing::info!(tenant = %self.did, "{text}");
            self.row.note(clock::now(), text);
        }
        self.tell();
    }

    /// Looks whether names lead where they should; whether all of them do.
    pub(super) async fn look_at_names(&mut self) -> bool {
        let mut all = true;
        for wanted in self.wanted().await {
            if !self.migrations.0.parts.names.holds(&wanted).await {
                all = false;
                self.row.note(clock::now(), format!("not seen yet: {wanted}"));
            }
        }
        if all {
            self.row.note(clock::now(), "all names lead to the new node");
        }
        self.tell();
        all
    }
}

//! `GET /`: what this is and how to use it, for a person who opened the address; and a line for crawlers.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;

use crate::facts::NodeFacts;
use crate::xrpc::host::Service;

/// What the page tells of. Shared by all requests.
pub(crate) struct Home {
    pub(crate) facts: Arc<NodeFacts>,
    pub(crate) service: Service,
    /// Whether signing up needs an invite code.
    pub(crate) invites_required: bool,
}

pub(super) async fn page(State(home): State<Arc<Home>>) -> String {
    let mut page = String::new();
    home.write(&mut page).expect("a string takes everything");
    page
}

/// `GET /robots.txt`: what is public here may be read by programs; that is what it is for.
pub(super) async fn robots() -> &'static str {
    "User-agent: *\nAllow: /\n"
}

impl Home {
    fn write(&self, page: &mut String) -> std::fmt::Result {
        let Self { facts, service, invites_required } = self;
        let url = service.endpoint();
        writeln!(page, "This is an Angel OS node: a federated host for AT Protocol accounts.\n")?;
        let rows = [
            ("name", facts.name.clone()),
            ("node id", facts.node_id.to_string()),
            ("did", facts.did.to_string()),
            ("network", facts.network.to_string()),
            ("version", facts.version.to_owned()),
        ];
        let operator = facts.operator_contact.iter().map(|contact| ("operator", contact.clone()));
        for (name, value) in rows.into_iter().chain(operator) {
            writeln!(page, "{name:9} {value}")?;
        }
        writeln!(
            page,
            "\nTo sign up or log in, open any AT Protocol client, choose a custom hosting provider, and enter"
        )?;
        writeln!(page, "\n  {url}\n")?;
        writeln!(page, "Handles here end in {}.", service.handle_domains.join(" or "))?;
        if *invites_required {
            writeln!(page, "Signing up takes an invite code: ask the operator for one.")?;
        }
        if facts.public_url.is_none() {
            writeln!(page, "The node has no public URL yet, so its accounts are known on this machine alone.")?;
        }
        let stream = url.replacen("http", "ws", 1);
        writeln!(page, "\nFor programs:\n")?;
        let routes = [
            ("methods", format!("{url}/xrpc/")),
            ("events", format!("{stream}/xrpc/com.atproto.sync.subscribeRepos")),
            ("the same as JSON", format!("{stream}/subscribe")),
            ("identities", format!("{url}/plc/")),
            ("health", format!("{url}/api/health")),
        ];
        routes.into_iter().try_for_each(|(name, route)| writeln!(page, "  {name:16} {route}"))
    }
}

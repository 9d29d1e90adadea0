//! `GET /`: what this is, for a person who opened the address.

use std::sync::Arc;

use axum::extract::State;

use crate::facts::NodeFacts;

pub(super) async fn page(State(facts): State<Arc<NodeFacts>>) -> String {
    let mut text = format!(
        "This is an Angel OS node: a federated host for AT Protocol accounts.\n\n\
         name      {}\nnode id   {}\ndid       {}\nnetwork   {}\nversion   {}\n",
        facts.name, facts.node_id, facts.did, facts.network, facts.version
    );
    if let Some(contact) = &facts.operator_contact {
        text.push_str(&format!("operator  {contact}\n"));
    }
    text.push_str("\nMost API routes are under /xrpc/. Its health is at /api/health.\n");
    text
}

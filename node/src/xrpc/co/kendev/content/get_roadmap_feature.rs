//! `co.kendev.content.getRoadmapFeature`: a feature of this node's roadmap with its votes, for everybody.

use std::sync::Arc;

use angel_protocol::data::{cbor, to_json};
use angel_protocol::ids::Did;
use angel_protocol::limits::ROADMAP_VOTERS_MAX;
use angel_protocol::rules::figures::{Counts, figures};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::tenants::Asker;
use crate::accounts::Account;
use crate::blocking;
use crate::business::{BusinessError, address};
use crate::http::XrpcError;
use crate::roadmap::FEATURE;
use crate::xrpc::host::Host;
use crate::xrpc::params::Params;
use crate::xrpc::types::content::GetRoadmapFeatureParameters;

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    asker: Asker,
    Params(query): Params<GetRoadmapFeatureParameters>,
) -> Result<Json<Value>, XrpcError> {
    let (holder, path) = address(&query.uri, FEATURE).ok_or(BusinessError::RecordNotFound)?;
    let account = host.accounts.resident(&holder).await?.filter(Account::is_active);
    let account = account.ok_or(BusinessError::RecordNotFound)?;
    let (repos, at) = (host.repos.clone(), path.to_string());
    let found = blocking::run(move || repos.record_blocking(account.id(), &at)).await?;
    let found = found.ok_or(BusinessError::RecordNotFound)?;
    let record = cbor::decode(&found.bytes).map_err(|error| XrpcError::unexpected(&error))?;
    let votes = host.roadmap.votes(&holder, &path).await?;
    let counts = Counts { votes: votes.as_ref().map(|votes| votes.votes), ..Counts::default() };
    let mut answer = json!({
        "uri": format!("at://{holder}/{path}"),
        "cid": found.cid.to_string(),
        "value": to_json(&record),
        "indexedAt": found.rev.timestamp().to_string(),
    });
    for (name, figures) in figures(FEATURE, &record, &counts) {
        answer[name] = to_json(&figures);
    }
    if let Some(votes) = votes {
        // Who voted is for those who look after the roadmap; everybody else sees their own vote.
        let sees = |voter: &&Did| asker.did() == Some(*voter) || is_trusted(&host, &asker);
        let mut voters: Vec<_> = votes.voters.iter().filter(sees).collect();
        voters.sort_unstable();
        voters.truncate(ROADMAP_VOTERS_MAX);
        answer["voting"]["voters"] = json!(voters);
    }
    Ok(Json(answer))
}

fn is_trusted(host: &Host, asker: &Asker) -> bool {
    matches!(asker, Asker::Operator) || asker.did().is_some_and(|did| host.rulebook.is_super_admin(did))
}

//! `com.atproto.space.applyWrites`: several writes into the caller's repository in a space, all or none.

use angel_protocol::ids::{Did, Nsid, RecordKey, RepoPath};
use angel_protocol::limits::PERMISSIONED_WRITES_MAX;
use angel_protocol::permissioned::SpaceUri;
use angel_protocol::tenants::Bill;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prepare::{Target, check_delete, judges, prepare};
use super::{Shared, Written};
use crate::http::XrpcError;
use crate::permissioned::{Action, PermissionedError, PermissionedWrite};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;

#[derive(Deserialize)]
pub(crate) struct Request {
    space: SpaceUri,
    repo: Did,
    validate: Option<bool>,
    writes: Vec<Write>,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Write {
    #[serde(rename = "com.atproto.space.applyWrites#create")]
    Create { collection: Nsid, rkey: Option<RecordKey>, value: Value },
    #[serde(rename = "com.atproto.space.applyWrites#update")]
    Update { collection: Nsid, rkey: RecordKey, value: Value },
    #[serde(rename = "com.atproto.space.applyWrites#delete")]
    Delete { collection: Nsid, rkey: RecordKey },
}

impl Write {
    const fn record(&self) -> Option<(&Nsid, &Value)> {
        match self {
            Self::Create { collection, value, .. } | Self::Update { collection, value, .. } => {
                Some((collection, value))
            }
            Self::Delete { .. } => None,
        }
    }

    const fn collection(&self) -> &Nsid {
        match self {
            Self::Create { collection, .. } | Self::Update { collection, .. } | Self::Delete { collection, .. } => {
                collection
            }
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Answer {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(tag = "$type")]
enum Outcome {
    #[serde(rename = "com.atproto.space.applyWrites#createResult")]
    Create(Written),
    #[serde(rename = "com.atproto.space.applyWrites#updateResult")]
    Update(Written),
    #[serde(rename = "com.atproto.space.applyWrites#deleteResult")]
    Delete {},
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Answer>, XrpcError> {
    let Request { space, repo, validate, writes } = request;
    let account = super::writable(&host, &access, &repo, writes.iter().map(Write::collection)).await?;
    if writes.len() > PERMISSIONED_WRITES_MAX {
        return Err(PermissionedError::TooManyWrites.into());
    }
    let points = writes.iter().map(|write| match write {
        Write::Create { .. } => 3,
        Write::Update { .. } => 2,
        Write::Delete { .. } => 1,
    });
    host.limits.writes(account.did(), points.sum())?;
    let (mut asked, mut results) = (Vec::with_capacity(writes.len()), Vec::with_capacity(writes.len()));
    let target = Target { space: &space, account: &account, author: access.did() };
    let records: Vec<_> = writes.iter().filter_map(Write::record).collect();
    let judges = judges(&host, target, &records, validate).await?;
    let mut bill = Bill::default();
    for write in writes {
        let (collection, rkey, value, is_new) = match write {
            Write::Create { collection, rkey: Some(rkey), value } => (collection, rkey, Some(value), true),
            Write::Create { collection, rkey: None, value } => {
                (collection, host.repos.next_tid()?.into(), Some(value), true)
            }
            Write::Update { collection, rkey, value } => (collection, rkey, Some(value), false),
            Write::Delete { collection, rkey } => (collection, rkey, None, false),
        };
        let Some(value) = value else {
            check_delete(&collection)?;
            let path = RepoPath::new(collection, rkey);
            asked.push(PermissionedWrite { path, action: Action::Delete, swap: None });
            results.push(Outcome::Delete {});
            continue;
        };
        let path = RepoPath::new(collection, rkey);
        let prepared = prepare(&host, &judges, target, &path, &value, validate).await?;
        bill.merge(prepared.bill);
        let uri = space.record(repo.clone(), path.clone());
        let written = Written { uri, cid: prepared.record.cid(), validation_status: prepared.status };
        let (action, outcome) = if is_new {
            (Action::Create(prepared.record), Outcome::Create(written))
        } else {
            (Action::Update(prepared.record), Outcome::Update(written))
        };
        asked.push(PermissionedWrite { path, action, swap: None });
        results.push(outcome);
    }
    let written: Vec<_> = asked.iter().map(|write| write.path.clone()).collect();
    super::write(&host, &account, &space, asked, &bill).await?;
    host.business.follow(&account, access.did(), &written).await;
    Ok(Json(Answer { results }))
}

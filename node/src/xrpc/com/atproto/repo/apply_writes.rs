//! `com.atproto.repo.applyWrites`: several writes in one commit, all or none.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, AtUri, Did, Nsid, RecordKey, RepoPath};
use angel_protocol::limits::COMMIT_WRITES_MAX;
use angel_protocol::rules::Place;
use angel_protocol::tenants::Bill;
use angel_storage::AccountId;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prepare::{Judges, ValidationStatus, before_blocking, check_delete, has_rules, judges, prepare};
use super::{CommitView, Shared};
use crate::blocking;
use crate::http::XrpcError;
use crate::repos::{Action, RepoWrite, Repos};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;
use crate::xrpc::plans;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    repo: AtIdentifier,
    validate: Option<bool>,
    writes: Vec<Write>,
    swap_commit: Option<Cid>,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
enum Write {
    #[serde(rename = "com.atproto.repo.applyWrites#create")]
    Create { collection: Nsid, rkey: Option<RecordKey>, value: Value },
    #[serde(rename = "com.atproto.repo.applyWrites#update")]
    Update { collection: Nsid, rkey: RecordKey, value: Value },
    #[serde(rename = "com.atproto.repo.applyWrites#delete")]
    Delete { collection: Nsid, rkey: RecordKey },
}

#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitView>,
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(tag = "$type")]
enum Outcome {
    #[serde(rename = "com.atproto.repo.applyWrites#createResult")]
    Create(Written),
    #[serde(rename = "com.atproto.repo.applyWrites#updateResult")]
    Update(Written),
    #[serde(rename = "com.atproto.repo.applyWrites#deleteResult")]
    Delete {},
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    uri: AtUri,
    cid: Cid,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_status: Option<ValidationStatus>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(request): Input<Request>,
) -> Result<Json<Answer>, XrpcError> {
    let collections = request.writes.iter().map(Write::collection);
    let account = super::writable(&host, &access, &request.repo, collections).await?;
    let Request { validate, mut writes, swap_commit, .. } = request;
    if writes.len() > COMMIT_WRITES_MAX {
        return Err(XrpcError::invalid_request(format!("at most {COMMIT_WRITES_MAX} writes make one commit")));
    }
    host.limits.writes(account.did(), writes.iter().map(Write::points).sum())?;
    let owner = super::owner(&host, &account).await?;
    for write in &mut writes {
        if let Write::Create { rkey: rkey @ None, .. } = write {
            *rkey = Some(host.repos.next_tid()?.into());
        }
    }
    let records: Vec<_> = writes.iter().filter_map(Write::record).collect();
    let mut judges = judges(&host, &account, access.did(), Place::Public, &records, validate).await?;
    for path in writes.iter().filter_map(Write::written_path) {
        judges.court.together_with(AtUri::record(owner.did.clone(), path).to_string());
    }
    let (at, repos) = ((owner.id, owner.did.clone()), host.repos.clone());
    // Two hundred records take more time than a worker has for one request.
    let (writes, results, bill) = blocking::run(move || all(&repos, &judges, &at, writes, validate)).await?;
    let named = writes.iter().map(|write| (&write.path, write.action.record()));
    let names = host.business.hold_names(&account, named).await?;
    let admitted = plans::admit(&host, &account, &bill).await?;
    let written: Vec<_> = writes.iter().map(|write| write.path.clone()).collect();
    let made = host.repos.write(&owner, writes, swap_commit).await?;
    admitted.written();
    drop(names);
    host.business.follow(&account, access.did(), &written).await;
    Ok(Json(Answer { commit: made.map(CommitView::from), results }))
}

fn all(
    repos: &Repos,
    judges: &Judges,
    at: &(AccountId, Did),
    writes: Vec<Write>,
    validate: Option<bool>,
) -> Result<(Vec<RepoWrite>, Vec<Outcome>, Bill), XrpcError> {
    let mut bill = Bill::default();
    let mut all = (Vec::with_capacity(writes.len()), Vec::with_capacity(writes.len()));
    for write in writes {
        let (write, outcome) = write.prepare(repos, judges, at, validate, &mut bill)?;
        all.0.push(write);
        all.1.push(outcome);
    }
    Ok((all.0, all.1, bill))
}

impl Write {
    /// What it counts towards the limit of writes.
    const fn points(&self) -> u32 {
        match self {
            Self::Create { .. } => 3,
            Self::Update { .. } => 2,
            Self::Delete { .. } => 1,
        }
    }

    const fn collection(&self) -> &Nsid {
        match self {
            Self::Create { collection, .. } | Self::Update { collection, .. } | Self::Delete { collection, .. } => {
                collection
            }
        }
    }

    const fn record(&self) -> Option<(&Nsid, &Value)> {
        match self {
            Self::Create { collection, value, .. } | Self::Update { collection, value, .. } => {
                Some((collection, value))
            }
            Self::Delete { .. } => None,
        }
    }

    /// Where a record will be, of the collections that others may wait for.
    fn written_path(&self) -> Option<RepoPath> {
        match self {
            Self::Create { collection, rkey: Some(rkey), .. } | Self::Update { collection, rkey, .. }
                if has_rules(collection) =>
            {
                Some(RepoPath::new(collection.clone(), rkey.clone()))
            }
            _ => None,
        }
    }

    fn prepare(
        self,
        repos: &Repos,
        judges: &Judges,
        (account, did): &(AccountId, Did),
        validate: Option<bool>,
        bill: &mut Bill,
    ) -> Result<(RepoWrite, Outcome), XrpcError> {
        let (collection, rkey, value, is_new) = match self {
            Self::Create { collection, rkey: Some(rkey), value } => (collection, rkey, value, true),
            Self::Create { collection, rkey: None, value } => (collection, repos.next_tid()?.into(), value, true),
            Self::Update { collection, rkey, value } => (collection, rkey, value, false),
            Self::Delete { collection, rkey } => {
                check_delete(&collection)?;
                let path = RepoPath::new(collection, rkey);
                return Ok((RepoWrite { path, action: Action::Delete, swap: None }, Outcome::Delete {}));
            }
        };
        let before = if is_new { None } else { before_blocking(repos, *account, &collection, &rkey)? };
        let prepared = prepare(judges, &collection, &rkey, &value, before.as_ref(), validate)?;
        bill.merge(prepared.bill);
        let path = RepoPath::new(collection, rkey);
        let uri = AtUri::record(did.clone(), path.clone());
        let written = Written { uri, cid: prepared.record.cid(), validation_status: prepared.status };
        let (action, outcome) = if is_new {
            (Action::Create(prepared.record), Outcome::Create(written))
        } else {
            (Action::Update(prepared.record), Outcome::Update(written))
        };
        Ok((RepoWrite { path, action, swap: None }, outcome))
    }
}

//! `com.atproto.repo.putRecord`: a record at a chosen key, whether or not there is one.

use angel_protocol::data::Cid;
use angel_protocol::ids::{AtIdentifier, AtUri, Nsid, RecordKey, RepoPath};
use angel_protocol::rules::Place;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::create_record::Answer;
use super::prepare::{before_blocking, has_rules, judges, prepare};
use super::{CommitView, Shared, legacy};
use crate::blocking;
use crate::http::XrpcError;
use crate::repos::{Action, RepoWrite, Swap};
use crate::xrpc::auth::ActiveAccess;
use crate::xrpc::input::Input;
use crate::xrpc::plans;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    repo: AtIdentifier,
    collection: Nsid,
    rkey: RecordKey,
    validate: Option<bool>,
    record: Value,
    /// `null`: there must be none yet.
    #[serde(default, deserialize_with = "super::nullable")]
    swap_record: Option<Option<Cid>>,
    swap_commit: Option<Cid>,
}

pub(crate) async fn handler(
    State(host): State<Shared>,
    access: ActiveAccess,
    Input(mut request): Input<Request>,
) -> Result<Json<Answer>, XrpcError> {
    let account = super::writable(&host, &access, &request.repo, [&request.collection]).await?;
    host.limits.writes(account.did(), 2)?;
    legacy::bring_up_to_date(&host.blobs, account.id(), &request.collection, &mut request.record).await?;
    let records = [(&request.collection, &request.record)];
    let judges = judges(&host, &account, access.did(), Place::Public, &records, request.validate).await?;
    let before = match has_rules(&request.collection) {
        true => {
            let (repos, id) = (host.repos.clone(), account.id());
            let (collection, rkey) = (request.collection.clone(), request.rkey.clone());
            blocking::run(move || before_blocking(&repos, id, &collection, &rkey)).await?
        }
        false => None,
    };
    let (collection, rkey, validate) = (&request.collection, &request.rkey, request.validate);
    let prepared = prepare(&judges, collection, rkey, &request.record, before.as_ref(), validate)?;
    let (cid, path) = (prepared.record.cid(), RepoPath::new(request.collection, request.rkey));
    let names = host.business.hold_names(&account, [(&path, Some(&prepared.record))]).await?;
    let admitted = plans::admit(&host, &account, &prepared.bill).await?;
    let swap = request.swap_record.map(|cid| cid.map_or(Swap::Absent, Swap::Record));
    let write = RepoWrite { path: path.clone(), action: Action::Put(prepared.record), swap };
    let owner = super::owner(&host, &account).await?;
    let made = host.repos.write(&owner, vec![write], request.swap_commit).await?;
    admitted.written();
    drop(names);
    host.business.follow(&account, access.did(), std::slice::from_ref(&path)).await;
    let uri = AtUri::record(owner.did, path);
    Ok(Json(Answer::new(uri, cid, made.map(CommitView::from), prepared.status)))
}

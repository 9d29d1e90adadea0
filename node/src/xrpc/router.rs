//! Every method with its path, in the order of the specification. Reading goes by `GET`, acting by `POST`.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use axum::{Router, middleware};

use super::com::atproto::{identity, repo, server, sync};
use super::host::Host;
use super::jetstream;
use super::proxied;
use crate::rate_limits::count_requests;

/// The methods.
pub(crate) fn routes(host: Arc<Host>) -> Router {
    let limits = host.limits.clone();
    let write_body = DefaultBodyLimit::max(repo::WRITE_BYTES_MAX);
    Router::new()
        .route(
            "/xrpc/com.atproto.identity.getRecommendedDidCredentials",
            get(identity::get_recommended_did_credentials::handler),
        )
        .route("/xrpc/com.atproto.identity.refreshIdentity", post(identity::refresh_identity::handler))
        .route("/xrpc/com.atproto.identity.resolveDid", get(identity::resolve_did::handler))
        .route("/xrpc/com.atproto.identity.resolveHandle", get(identity::resolve_handle::handler))
        .route("/xrpc/com.atproto.identity.resolveIdentity", get(identity::resolve_identity::handler))
        .route("/xrpc/com.atproto.identity.submitPlcOperation", post(identity::submit_plc_operation::handler))
        .route("/xrpc/com.atproto.identity.updateHandle", post(identity::update_handle::handler))
        .route("/xrpc/com.atproto.repo.applyWrites", post(repo::apply_writes::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.createRecord", post(repo::create_record::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.deleteRecord", post(repo::delete_record::handler))
        .route("/xrpc/com.atproto.repo.describeRepo", get(repo::describe_repo::handler))
        .route("/xrpc/com.atproto.repo.getRecord", get(repo::get_record::handler))
        .route("/xrpc/com.atproto.repo.importRepo", post(repo::import_repo::handler))
        .route("/xrpc/com.atproto.repo.listMissingBlobs", get(repo::list_missing_blobs::handler))
        .route("/xrpc/com.atproto.repo.listRecords", get(repo::list_records::handler))
        .route("/xrpc/com.atproto.repo.putRecord", post(repo::put_record::handler).layer(write_body))
        .route("/xrpc/com.atproto.repo.uploadBlob", post(repo::upload_blob::handler))
        .route("/xrpc/com.atproto.server.createAppPassword", post(server::create_app_password::handler))
        .route("/xrpc/com.atproto.server.createSession", post(server::create_session::handler))
        .route("/xrpc/com.atproto.server.deleteSession", post(server::delete_session::handler))
        .route("/xrpc/com.atproto.server.describeServer", get(server::describe_server::handler))
        .route("/xrpc/com.atproto.server.getSession", get(server::get_session::handler))
        .route("/xrpc/com.atproto.server.listAppPasswords", get(server::list_app_passwords::handler))
        .route("/xrpc/com.atproto.server.refreshSession", post(server::refresh_session::handler))
        .route("/xrpc/com.atproto.server.revokeAppPassword", post(server::revoke_app_password::handler))
        .route("/xrpc/com.atproto.sync.getBlob", get(sync::get_blob::handler))
        .route("/xrpc/com.atproto.sync.getBlocks", get(sync::get_blocks::handler))
        .route("/xrpc/com.atproto.sync.getCheckout", get(sync::get_checkout::handler))
        .route("/xrpc/com.atproto.sync.getHead", get(sync::get_head::handler))
        .route("/xrpc/com.atproto.sync.getLatestCommit", get(sync::get_latest_commit::handler))
        .route("/xrpc/com.atproto.sync.getRecord", get(sync::get_record::handler))
        .route("/xrpc/com.atproto.sync.getRepo", get(sync::get_repo::handler))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(sync::get_repo_status::handler))
        .route("/xrpc/com.atproto.sync.listBlobs", get(sync::list_blobs::handler))
        .route("/xrpc/com.atproto.sync.listRepos", get(sync::list_repos::handler))
        .route("/xrpc/com.atproto.sync.listReposByCollection", get(sync::list_repos_by_collection::handler))
        .route("/xrpc/com.atproto.sync.subscribeRepos", get(sync::subscribe_repos::handler))
        .route("/subscribe", get(jetstream::handler))
        .route("/xrpc/{method}", any(proxied::handler))
        .route_layer(middleware::from_fn_with_state(limits, count_requests))
        .with_state(host)
}

//! Every route, in one list. A handler's state is no more than it needs: each line hands over its own.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, StatusCode, Version, header};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

use super::admin::{self, Admin};
use super::audit;
use super::federation::{self, Federation, HEARTBEAT_BYTES_MAX};
use super::health;
pub(crate) use super::home::Home;
use super::ledger::{self, LedgerRoutes, TRANSACTION_BODY_MAX};
use super::metrics;
pub(crate) use super::metrics::Metrics as MetricsPage;
use super::migrations;
use super::observe::{Observer, observe};
use super::validators::{self, Operations};
use super::{error, home, identity, ledger_stream, lexicons, plc, well_known};
use crate::config::HttpConfig;
use crate::directory::Directory;
use crate::events::Events;
use crate::facts::NodeFacts;
use crate::health::Health;
use crate::migration;
use crate::rate_limits;
use crate::room;
use crate::xrpc::com::atproto::sync::CAR;
use crate::xrpc::{self, host::Host};

/// From which size on an answer is compressed, in bytes: less does not pay.
const COMPRESSED_FROM: u16 = 1024;

/// What the routes are made of.
pub(crate) struct Parts {
    pub(crate) config: HttpConfig,
    pub(crate) facts: Arc<NodeFacts>,
    pub(crate) health: Health,
    pub(crate) federation: Federation,
    pub(crate) ledger: LedgerRoutes,
    pub(crate) events: Events,
    pub(crate) metrics: MetricsPage,
    pub(crate) admin: Arc<Admin>,
    pub(crate) operations: Operations,
    pub(crate) directory: Directory,
    pub(crate) host: Arc<Host>,
    pub(crate) home: Home,
}

/// The routes with everything around them.
pub(crate) fn build(parts: Parts) -> Router {
    let Parts { config, facts, health, federation, ledger, events, metrics, admin, operations, directory, host, home } =
        parts;
    let observer = Observer::new(events, &config);
    // What concerns an account that was moved away goes to where it is.
    let moved = middleware::from_fn_with_state(Arc::clone(&host), migration::or_where_it_moved);
    // Bodies come compressed, too; every limit counts what they unfold to. What cannot be unfolded here may be for another host.
    let unfolded = RequestDecompressionLayer::new().pass_through_unaccepted(true);
    let room = middleware::from_fn_with_state(admin.load.clone(), room::or_refuse);
    let methods = xrpc::router::routes(Arc::clone(&host)).layer(room).layer(unfolded).layer(moved).layer(compression());
    let public = Router::new()
        .route("/", get(home::page).with_state(Arc::new(home)))
        .route("/robots.txt", get(home::robots))
        .route("/xrpc/_health", get(health::version))
        .route("/api/health", get(health::services).with_state(health))
        .route("/lexicons", get(lexicons::list))
        .route("/lexicons/{nsid}", get(lexicons::document))
        .route("/.well-known/atproto-did", get(well_known::atproto_did).with_state(host.accounts.clone()))
        .route("/.well-known/did.json", get(identity::did_document).with_state(facts))
        .merge(federation_routes(federation))
        .merge(methods)
        .merge(migration_routes(Arc::clone(&host)))
        .merge(ledger_routes(ledger))
        .merge(plc::routes(directory))
        .layer(open_to_browsers());
    let private = Router::new()
        .route("/metrics", get(metrics::page).with_state(metrics))
        .route("/admin/status", get(admin::status))
        .route("/admin/config", get(admin::config))
        .route("/admin/log", post(admin::set_log_filter))
        .route("/admin/identity/rotate", post(admin::rotate_identity))
        .route("/admin/peers/invite", post(admin::invite))
        .route("/admin/peers/remove", post(admin::remove_peer))
        .route("/admin/peers/accept-absence", post(admin::accept_absence))
        .route("/admin/declare", post(admin::declare))
        .with_state(admin)
        .merge(validators::routes(operations))
        .merge(lexicons::admin_routes(Arc::clone(&host)))
        .merge(super::accounts::routes(Arc::clone(&host)))
        .merge(super::backups::routes(Arc::clone(&host)))
        .merge(super::claims::routes(Arc::clone(&host)))
        .merge(super::replicas::routes(host));
    around(public.merge(private), &config, observer)
}

/// Answers that shrink are shrunk for whoever asks for that: JSON and repositories. Files of accounts are mostly
/// compressed already, and streams pass as they are.
fn compression() -> CompressionLayer<impl Predicate> {
    let shrinks = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        kind.starts_with("application/json") || kind.starts_with(CAR)
    };
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_FROM).and(shrinks))
}

/// What happens around every route, and where there is none.
pub(super) fn around(routes: Router, config: &HttpConfig, observer: Observer) -> Router {
    routes
        .fallback(error::nowhere)
        .layer(DefaultBodyLimit::max(config.body_max.as_usize()))
        .layer(middleware::from_fn(error::shape))
        .layer(middleware::from_fn_with_state(observer, observe))
}

/// Each method under its path of the federation API and as XRPC.
fn federation_routes(federation: Federation) -> Router {
    let heartbeat = post(federation::heartbeat).layer(DefaultBodyLimit::max(HEARTBEAT_BYTES_MAX));
    Router::new()
        .route("/api/federation/heartbeat", heartbeat.clone())
        .route("/xrpc/co.kendev.network.sendHeartbeat", heartbeat)
        .route("/api/federation/nodes", get(federation::nodes))
        .route("/xrpc/co.kendev.network.listNodes", get(federation::nodes))
        .route("/api/federation/topology", get(federation::topology))
        .route("/xrpc/co.kendev.network.getTopology", get(federation::topology))
        .with_state(federation)
}

/// The ledger: the federation API's paths, XRPC, and what `angel ledger` reads.
fn ledger_routes(routes: LedgerRoutes) -> Router {
    let limit = DefaultBodyLimit::max(TRANSACTION_BODY_MAX);
    Router::new()
        .route("/api/federation/token-exchange", post(ledger::hand_in).layer(limit))
        .route("/api/federation/token-exchange/rate", get(ledger::get_rate))
        .route("/api/federation/token-exchange/{id}", get(ledger::token_exchange))
        .route("/api/federation/checkpoint/latest", get(ledger::get_latest_checkpoint))
        .route("/api/federation/ledger", get(ledger::status))
        .route("/api/federation/ledger/genesis", get(audit::genesis))
        .route("/api/federation/ledger/evidence", get(audit::evidence))
        .route("/api/federation/ledger/heights/{first}", get(audit::heights))
        .route("/api/federation/ledger/{height}", get(ledger::batch))
        .route("/xrpc/co.kendev.network.exchangeTokens", post(ledger::exchange_tokens).layer(limit))
        .route("/xrpc/co.kendev.network.getTransaction", get(ledger::get_transaction))
        .route("/xrpc/co.kendev.network.getRate", get(ledger::get_rate))
        .route("/xrpc/co.kendev.network.getBalance", get(ledger::get_balance))
        .route("/xrpc/co.kendev.network.listTransactions", get(ledger::list_transactions))
        .route("/xrpc/co.kendev.network.getProof", get(ledger::get_proof))
        .route("/xrpc/co.kendev.network.subscribeLedger", get(ledger_stream::subscribe))
        .route("/xrpc/co.kendev.network.getLatestCheckpoint", get(ledger::get_latest_checkpoint))
        .route("/xrpc/co.kendev.network.listValidators", get(ledger::list_validators))
        .with_state(Arc::new(routes))
}

/// Moving tenants: the federation API's paths, and XRPC.
fn migration_routes(host: Arc<Host>) -> Router {
    let one = get(migrations::get_by_path).delete(migrations::cancel_by_path);
    Router::new()
        .route("/api/federation/migrate-tenant", post(migrations::begin))
        .route("/api/federation/migrate-tenant/{id}", one)
        .route("/api/federation/migrate-tenant/{id}/rollback", post(migrations::roll_back_by_path))
        .route("/xrpc/co.kendev.network.migrateTenant", post(migrations::begin))
        .route("/xrpc/co.kendev.network.getMigration", get(migrations::get))
        .route("/xrpc/co.kendev.network.listMigrations", get(migrations::list))
        .route("/xrpc/co.kendev.network.cancelMigration", post(migrations::cancel))
        .route("/xrpc/co.kendev.network.rollBackMigration", post(migrations::roll_back))
        .with_state(host)
}

/// As AT Protocol services are: any page may call them, no cookie is involved.
fn open_to_browsers() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            std::iter::once(HeaderName::from_static("x-request-id")).chain(rate_limits::HEADERS).collect::<Vec<_>>(),
        )
        .max_age(std::time::Duration::from_secs(86_400))
}

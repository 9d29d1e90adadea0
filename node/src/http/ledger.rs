//! The ledger over HTTP: `token-exchange` of the federation API (`network.md` 6.3), and the XRPC methods with the same
//! bodies. A transaction carries its wallet's signature: no other authentication adds to that.

use std::path::PathBuf;
use std::sync::Arc;

use angel_protocol::crypto::NodeKey;
use angel_protocol::data;
use angel_protocol::ids::Did;
use angel_protocol::ledger::action::Quote;
use angel_protocol::ledger::checkpoint::CHECKPOINT;
use angel_protocol::ledger::parameters::Currency;
use angel_protocol::ledger::proof::Subject;
use angel_protocol::ledger::rows::Receipt;
use angel_protocol::ledger::{Balance, Outcome, Signed, TokenType, Transaction, TransactionId, statement};
use angel_protocol::limits::TRANSACTION_BYTES_MAX;
use angel_protocol::mempool::Refusal;
use angel_storage::ledger::Decision;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::XrpcError;
use crate::checkpoints::statement as statement_of;
use crate::clock;
use crate::firehose::Firehose;
use crate::ledger::{DecidedTransaction, Known, Ledger, LedgerError};
use crate::mempool::SubmitError;
use crate::xrpc::input::Input;
use crate::xrpc::params::Params;
use crate::xrpc::types::network::{
    ExchangeTokensInput, GetBalanceParameters, GetProofParameters, GetRateParameters, GetTransactionParameters,
    ListTransactionsParameters, ListValidatorsParameters,
};

/// Largest body that hands in a transaction: base64 adds a third, JSON a few bytes.
pub(super) const TRANSACTION_BODY_MAX: usize = TRANSACTION_BYTES_MAX * 3 / 2;

/// What the routes need.
pub(crate) struct LedgerRoutes {
    pub(crate) ledger: Ledger,
    pub(crate) key: Arc<NodeKey>,
    /// The file of the genesis.
    pub(crate) genesis: PathBuf,
    /// Whose places followers of the ledger take.
    pub(crate) firehose: Firehose,
}

type Routes = State<Arc<LedgerRoutes>>;

/// Takes a transaction; the federation API answers 202.
pub(super) async fn hand_in(
    routes: Routes,
    body: Input<ExchangeTokensInput>,
) -> Result<(StatusCode, Json<Value>), Response> {
    Ok((StatusCode::ACCEPTED, exchange_tokens(routes, body).await?))
}

/// Takes a transaction.
pub(super) async fn exchange_tokens(
    State(routes): Routes,
    Input(handed): Input<ExchangeTokensInput>,
) -> Result<Json<Value>, Response> {
    let bytes = handed
        .transaction
        .decode()
        .ok_or_else(|| XrpcError::invalid_request("transaction is no base64").into_response())?;
    let signed = Signed::decode(&bytes).map_err(|error| {
        XrpcError::new(StatusCode::BAD_REQUEST, "InvalidTransaction", error.to_string()).into_response()
    })?;
    let (id, wallet) = (signed.id(), signed.transaction().wallet.clone());
    match routes.ledger.submit(signed).await {
        Ok(id) => Ok(Json(json!({ "transactionId": id.to_string(), "status": "pending" }))),
        // Repeating gets the same answer and moves nothing twice.
        Err(SubmitError::Decided) => transaction_view(&routes.ledger, id).await.map_err(IntoResponse::into_response),
        Err(error) => Err(refused(&routes.ledger, wallet, &error).await),
    }
}

async fn refused(ledger: &Ledger, wallet: Did, error: &SubmitError) -> Response {
    let mut failure = XrpcError::from(error);
    // Which number is expected is said in words and as a field, for whoever signs anew (`network.md` 6.3).
    if is_out_of_order(error)
        && let Ok(Some(wallet)) = ledger.wallet(wallet).await
    {
        failure = out_of_order(error, wallet.sequence);
    }
    let mut response = failure.into_response();
    if let SubmitError::Refused(Refusal::Full { retry_after }) = error {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    }
    response
}

const fn is_out_of_order(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Outcome(Outcome::SequencePassed | Outcome::SequenceAhead)
            | SubmitError::Refused(
                Refusal::SequencePassed { .. } | Refusal::SequenceTaken | Refusal::TooFarAhead { .. }
            )
    )
}

fn out_of_order(error: &SubmitError, expected: u64) -> XrpcError {
    let said = matches!(error, SubmitError::Refused(Refusal::SequencePassed { .. } | Refusal::TooFarAhead { .. }));
    let text = if said { error.to_string() } else { format!("{error}; the ledger expects {expected}") };
    let details = serde_json::Map::from_iter([("expected".to_owned(), json!(expected))]);
    XrpcError::new(StatusCode::CONFLICT, "BadSequence", text).with_details(details)
}

impl From<&SubmitError> for XrpcError {
    fn from(error: &SubmitError) -> Self {
        let (status, name) = match error {
            SubmitError::Outcome(outcome) => outcome_status(*outcome),
            SubmitError::Decided => (StatusCode::CONFLICT, "AlreadyDecided"),
            SubmitError::Refused(refusal) => match refusal {
                Refusal::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "MempoolFull"),
                Refusal::Expired => (StatusCode::BAD_REQUEST, "Expired"),
                Refusal::IdTaken => (StatusCode::CONFLICT, "IdReused"),
                Refusal::SequencePassed { .. } | Refusal::SequenceTaken | Refusal::TooFarAhead { .. } => {
                    (StatusCode::CONFLICT, "BadSequence")
                }
                _ => (StatusCode::TOO_MANY_REQUESTS, "WalletBusy"),
            },
            SubmitError::Storage(error) => return Self::broken(error),
            SubmitError::Stopped => return Self::unavailable(error.to_string()),
        };
        Self::new(status, name, error.to_string())
    }
}

/// The name of the federation API for an outcome; the sentence says which it is.
const fn outcome_status(outcome: Outcome) -> (StatusCode, &'static str) {
    match outcome {
        Outcome::BadSignature => (StatusCode::UNAUTHORIZED, "BadSignature"),
        Outcome::InsufficientBalance => (StatusCode::PAYMENT_REQUIRED, "InsufficientBalance"),
        Outcome::Frozen => (StatusCode::FORBIDDEN, "Frozen"),
        Outcome::SequencePassed | Outcome::SequenceAhead => (StatusCode::CONFLICT, "BadSequence"),
        Outcome::IdReused | Outcome::AlreadyDecided => (StatusCode::CONFLICT, "IdReused"),
        Outcome::QuoteExpired => (StatusCode::CONFLICT, "QuoteExpired"),
        Outcome::RateUnavailable => (StatusCode::UNPROCESSABLE_ENTITY, "RateUnavailable"),
        Outcome::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
        _ => (StatusCode::BAD_REQUEST, "InvalidTransaction"),
    }
}

/// What is known of a transaction, by the id in the path.
pub(super) async fn token_exchange(State(routes): Routes, Path(id): Path<String>) -> Result<Json<Value>, XrpcError> {
    transaction_view(&routes.ledger, parse_id(&id)?).await
}

/// What is known of a transaction.
pub(super) async fn get_transaction(
    State(routes): Routes,
    Params(by): Params<GetTransactionParameters>,
) -> Result<Json<Value>, XrpcError> {
    transaction_view(&routes.ledger, parse_id(&by.id)?).await
}

fn parse_id(text: &str) -> Result<TransactionId, XrpcError> {
    text.parse().map_err(|error| XrpcError::invalid_request(format!("id: {error}")))
}

/// A transaction as answers show it.
pub(crate) async fn transaction_view(ledger: &Ledger, id: TransactionId) -> Result<Json<Value>, XrpcError> {
    let known = ledger.transaction(id).await?;
    let known = known.ok_or_else(|| {
        XrpcError::new(StatusCode::NOT_FOUND, "TransactionNotFound", "this node has not heard of the transaction")
    })?;
    Ok(Json(match known {
        Known::Pending(signed) => head(id, signed.transaction(), "pending"),
        Known::Decided(decided) => decided_view(id, &decided),
    }))
}

fn head(id: TransactionId, transaction: &Transaction, status: &str) -> Value {
    let action = data::json_of(&transaction.action);
    let kind = action.as_object().and_then(|map| map.keys().next().cloned());
    json!({
        "transactionId": id.to_string(),
        "status": status,
        "wallet": transaction.wallet,
        "sequence": transaction.sequence,
        "kind": kind.or_else(|| action.as_str().map(ToOwned::to_owned)).unwrap_or_default(),
    })
}

fn decided_view(id: TransactionId, decided: &DecidedTransaction) -> Value {
    let DecidedTransaction { transaction, receipt, decision } = decided;
    let Receipt { height, index, outcome, moved, reversed_by, .. } = receipt;
    let status = match (outcome.is_posted(), reversed_by) {
        (true, None) => "confirmed",
        (true, Some(_)) => "reversed",
        (false, _) => "failed",
    };
    let mut view = head(id, transaction, status);
    view["outcome"] = data::json_of(outcome);
    view["outcomeText"] = json!(outcome.text());
    view["height"] = json!(height);
    view["index"] = json!(index);
    view["decidedAt"] = json!(decision.header.time.to_string());
    view["certificate"] = certificate_view(decision);
    if let Some(moved) = moved {
        let mut movement = json!({
            "to": moved.to, "tokenType": data::json_of(&moved.token),
            "amount": moved.amount.micro(), "fee": moved.fee.micro(),
        });
        for (name, did) in [("from", &moved.from), ("fromTenant", &moved.from_tenant), ("toTenant", &moved.to_tenant)] {
            if let Some(did) = did {
                movement[name] = json!(did);
            }
        }
        view["moved"] = movement;
    }
    view
}

fn certificate_view(decision: &Decision) -> Value {
    let certificate = &decision.certificate;
    let signers: Vec<_> = certificate.signatures.iter().map(|entry| &entry.validator).collect();
    json!({
        "height": certificate.height,
        "round": certificate.round,
        "value": hex(&certificate.value.0),
        "validatorNodes": signers,
        "consensusReached": true,
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An account's balance with its parts.
pub(super) async fn get_balance(
    State(routes): Routes,
    Params(of): Params<GetBalanceParameters>,
) -> Result<Json<Value>, XrpcError> {
    let GetBalanceParameters { account, tenant } = of;
    let ledger = &routes.ledger;
    let wallet = ledger.wallet(account.clone()).await?;
    let wallet = wallet.ok_or_else(|| {
        XrpcError::new(StatusCode::NOT_FOUND, "WalletNotFound", "the account has no wallet on this ledger")
    })?;
    let height = ledger.shared.tip().height;
    let balance = match &tenant {
        None => wallet.balance,
        Some(tenant) => ledger.balance(account.clone(), Some(tenant.clone())).await?.unwrap_or_default(),
    };
    let mut view = balance_view(&balance);
    view["account"] = json!(account);
    if let Some(tenant) = tenant {
        view["tenant"] = json!(tenant);
    }
    view["staked"] = json!(wallet.staked.total().micro());
    view["sequence"] = json!(wallet.sequence);
    view["height"] = json!(height);
    Ok(Json(view))
}

fn balance_view(balance: &Balance) -> Value {
    let part = |token| balance.parts.get(token).micro();
    json!({
        "total": balance.total().micro(),
        "breakdown": {
            "karmaRewards": part(TokenType::KarmaReward),
            "peerRecognition": part(TokenType::PeerRecognition),
            "crossTenantEarnings": part(TokenType::CrossTenantExchange),
            "nodeRewards": part(TokenType::NodeReward),
            "justiceContributions": part(TokenType::JusticeFund),
            "systemGrants": part(TokenType::SystemGrant),
        },
        "earned": balance.earned,
        "spent": balance.spent,
        "transactions": balance.transactions,
    })
}

/// Movements of an account's balances, the newest first.
pub(super) async fn list_transactions(
    State(routes): Routes,
    Params(listing): Params<ListTransactionsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let limit = usize::from(listing.limit);
    let before = listing.cursor.as_deref().map(parse_cursor).transpose()?;
    let movements = routes.ledger.history(listing.account, before, limit).await?;
    let cursor =
        movements.last().filter(|_| movements.len() == limit).map(|((height, number), _)| format!("{height}.{number}"));
    let movements: Vec<_> = movements
        .into_iter()
        .map(|((height, _), movement)| {
            let mut view = json!({
                "transactionId": TransactionId(movement.id).to_string(),
                "height": height,
                "change": movement.change,
                "balance": movement.balance.micro(),
            });
            if let Some(tenant) = movement.tenant {
                view["tenant"] = json!(tenant);
            }
            view
        })
        .collect();
    let mut page = json!({ "movements": movements });
    if let Some(cursor) = cursor {
        page["cursor"] = json!(cursor);
    }
    Ok(Json(page))
}

fn parse_cursor(text: &str) -> Result<(u64, u32), XrpcError> {
    let place = text.split_once('.').and_then(|(height, number)| Some((height.parse().ok()?, number.parse().ok()?)));
    place.ok_or_else(|| XrpcError::invalid_request("cursor is what the page before gave"))
}

/// A proof for somebody who knows the validators and nothing else.
pub(super) async fn get_proof(
    State(routes): Routes,
    Params(wanted): Params<GetProofParameters>,
) -> Result<Json<Value>, XrpcError> {
    let subject = match wanted {
        GetProofParameters { transaction: Some(id), account: None, tenant: None } => Subject::Receipt(parse_id(&id)?),
        GetProofParameters { account: Some(account), tenant: Some(tenant), transaction: None } => {
            Subject::ScopedBalance(account, tenant)
        }
        GetProofParameters { account: Some(account), .. } => Subject::Wallet(account),
        GetProofParameters { tenant: Some(tenant), .. } => Subject::Placement(tenant),
        _ => return Err(XrpcError::invalid_request("name an account, a tenant, both, or a transaction")),
    };
    let proof = routes.ledger.proof(subject).await?;
    let height = proof.header.height;
    let bytes = proof.encode();
    let validators = routes.ledger.validators(height).await?.unwrap_or_default();
    Ok(Json(json!({
        "height": height,
        "root": hex(&proof.header.root),
        "network": proof.header.network,
        "proof": { "$bytes": STANDARD.encode(bytes).trim_end_matches('=') },
        "validators": validators.iter().collect::<Vec<_>>(),
    })))
}

/// The newest checkpoint: signed by this node, with the header and the certificate that prove its root to whoever knows
/// the validators.
pub(super) async fn get_latest_checkpoint(State(routes): Routes) -> Result<Json<Value>, XrpcError> {
    let latest = routes.ledger.latest_checkpoint().await?;
    let (checkpoint, decision) = latest.ok_or_else(|| {
        XrpcError::new(StatusCode::NOT_FOUND, "NoCheckpoint", "no checkpoint was due yet on this ledger")
    })?;
    let signature = routes.key.sign(CHECKPOINT, &statement_of(&checkpoint, &decision).sign_bytes());
    let proof = serde_ipld_dagcbor::to_vec(&(&decision.header, &decision.certificate))
        .expect("header and certificate have only integers, texts and hashes");
    let bytes = |bytes: &[u8]| json!({ "$bytes": STANDARD.encode(bytes).trim_end_matches('=') });
    Ok(Json(json!({
        "signature": { "validator": routes.ledger.own(), "signature": bytes(&signature) },
        "proof": bytes(&proof),
        "height": decision.header.height,
        "time": decision.header.time.to_string(),
        "root": hex(&checkpoint.root),
        "previousRoot": hex(&checkpoint.previous),
        "transactions": checkpoint.transactions,
        "certificate": certificate_view(&decision),
    })))
}

/// The validators of the height to be decided next, or of another.
pub(super) async fn list_validators(
    State(routes): Routes,
    Params(at): Params<ListValidatorsParameters>,
) -> Result<Json<Value>, XrpcError> {
    let height = at.height.unwrap_or(routes.ledger.shared.tip().height + 1);
    let validators = routes.ledger.validators(height).await?;
    let validators =
        validators.ok_or_else(|| XrpcError::invalid_request("height 0 is the genesis, which nobody decided"))?;
    let quorum = (1..=validators.len()).find(|votes| validators.is_quorum(*votes)).unwrap_or_default();
    Ok(Json(json!({
        "height": height,
        "validators": validators.iter().map(|did| json!({ "did": did })).collect::<Vec<_>>(),
        "quorum": quorum,
        "faultsTolerated": validators.len() - quorum,
    })))
}

/// A rate that holds for a while, signed by this node.
pub(super) async fn get_rate(
    State(routes): Routes,
    Params(rate): Params<GetRateParameters>,
) -> Result<Json<Value>, XrpcError> {
    if rate.target.is_some_and(|target| target != Currency::AngelTokens) {
        return Err(XrpcError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "RateUnavailable",
            "what moves is always tokens: the target is angel_tokens",
        ));
    }
    let (parameters, rates) = routes.ledger.parameters().await?;
    let now = clock::now();
    let micro = rates.at(rate.source, now).ok_or_else(|| {
        XrpcError::new(StatusCode::UNPROCESSABLE_ENTITY, "RateUnavailable", "nobody has set a rate for this currency")
    })?;
    let mut quote = Quote {
        node: routes.ledger.own().clone(),
        issued: now,
        expires: now + std::time::Duration::from_millis(parameters.quote_life),
        rate: micro,
        fee: parameters.exchange_fee,
        signature: [0; 64],
    };
    let (domain, message) = statement::quote(routes.ledger.network(), rate.source, &quote);
    quote.signature = routes.key.sign(domain, &message);
    Ok(Json(json!({
        "source": data::json_of(&rate.source),
        "target": data::json_of(&Currency::AngelTokens),
        "node": quote.node,
        "issued": quote.issued.to_string(),
        "expires": quote.expires.to_string(),
        "rate": quote.rate,
        "fee": quote.fee,
        "signature": { "$bytes": STANDARD.encode(quote.signature).trim_end_matches('=') },
    })))
}

/// How the ledger is, for the operator and his tools.
pub(super) async fn status(State(routes): Routes) -> Result<Json<Value>, XrpcError> {
    let status = routes.ledger.status().await?;
    Ok(Json(json!({
        "network": routes.ledger.network(),
        "genesis": hex(&status.genesis),
        "height": status.tip.height,
        "time": status.tip.time.to_string(),
        "root": hex(&status.tip.root),
        "validators": status.validators.iter().collect::<Vec<_>>(),
        "isValidator": status.is_validator,
        "waiting": status.waiting,
        "doubleVotes": status.evidence,
        "minted": status.supply.minted.micro(),
        "pool": status.supply.pool.micro(),
    })))
}

/// One decided height: header, certificate, and what is in its batch.
pub(super) async fn batch(State(routes): Routes, Path(height): Path<u64>) -> Result<Json<Value>, XrpcError> {
    let found = routes.ledger.height(height).await?;
    let (decision, batch) = found.ok_or_else(|| XrpcError::not_found("no such height was decided here"))?;
    let transactions: Vec<_> = batch.transactions.iter().map(|signed| signed.id().to_string()).collect();
    Ok(Json(json!({
        "height": height,
        "time": decision.header.time.to_string(),
        "batch": hex(&decision.header.batch),
        "root": hex(&decision.header.root),
        "previous": hex(&decision.header.previous),
        "proposer": decision.proposer,
        "certificate": certificate_view(&decision),
        "transactions": transactions,
    })))
}

impl From<LedgerError> for XrpcError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Moving => Self::unavailable(error.to_string()),
            LedgerError::Unproved => Self::new(StatusCode::NOT_FOUND, "NothingDecided", error.to_string()),
            error => Self::unexpected(&error),
        }
    }
}

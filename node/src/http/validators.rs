//! What the operator asks of the ledger in the node's name: changes of the validator set with the consent of the others,
//! rewards of nodes, payments, and wallets of accounts. For the operator alone: each is signed with a key that the node keeps.

use std::sync::Arc;

use angel_protocol::ids::Did;
use angel_protocol::ledger::action::{
    Approval, JoinValidators, LeaveValidators, NodeReward, RegisterNode, RemoveValidator,
};
use angel_protocol::ledger::{Action, Amount, Transaction, TransactionId, statement};
use angel_protocol::time::Timestamp;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::admin::Admin;
use super::error::XrpcError;
use super::ledger::transaction_view;
use crate::accounts::AccountError;
use crate::ledger::custody::{SubmitFailed, Submitter};
use crate::ledger::wallet::WalletError;
use crate::mempool::SubmitError;
use crate::xrpc::co::kendev::network::{open_wallet, send_tokens};
use crate::xrpc::types::network::SendTokensInput;

/// What the routes need.
pub(crate) struct Operations {
    pub(crate) admin: Arc<Admin>,
    pub(crate) submitter: Submitter,
    /// What the node says of itself.
    pub(crate) entry: RegisterNode,
}

type Routes = State<Arc<Operations>>;

/// The routes.
pub(super) fn routes(operations: Operations) -> Router {
    Router::new()
        .route("/admin/validators/draft", post(draft))
        .route("/admin/validators/approve", post(approve))
        .route("/admin/validators/submit", post(submit))
        .route("/admin/validators/leave", post(leave))
        .route("/admin/ledger/reward", post(reward))
        .route("/admin/ledger/send", post(send))
        .route("/admin/ledger/open", post(open))
        .with_state(Arc::new(operations))
}

/// Bytes as AT Protocol's JSON has them.
#[derive(Clone, Serialize, Deserialize)]
struct Bytes {
    #[serde(rename = "$bytes")]
    base64: String,
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        Self { base64: STANDARD_NO_PAD.encode(bytes) }
    }

    fn decode(&self) -> Result<Vec<u8>, XrpcError> {
        let text = self.base64.trim_end_matches('=');
        STANDARD_NO_PAD.decode(text).map_err(|_| XrpcError::invalid_request("$bytes is no base64"))
    }
}

/// A change of the set on its way around the validators: what is asked for, and who consents. The transaction is the one
/// that is handed in at the end, but for its number and its time.
#[derive(Serialize, Deserialize)]
struct Change {
    draft: Bytes,
    #[serde(default)]
    approvals: Vec<Consent>,
}

#[derive(Serialize, Deserialize)]
struct Consent {
    validator: Did,
    signature: Bytes,
}

impl Change {
    fn transaction(&self) -> Result<Transaction, XrpcError> {
        let unusable = |why: String| XrpcError::invalid_request(format!("draft: {why}"));
        let transaction = Transaction::decode(&self.draft.decode()?).map_err(|error| unusable(error.to_string()))?;
        match transaction.action {
            Action::JoinValidators(_) | Action::RemoveValidator(_) => Ok(transaction),
            _ => Err(unusable("it is no change of the validators".to_owned())),
        }
    }

    fn approvals(&self) -> Result<Vec<Approval>, XrpcError> {
        let approval = |consent: &Consent| {
            let signature = consent.signature.decode()?.try_into();
            let signature = signature.map_err(|_| XrpcError::invalid_request("a signature has 64 bytes"))?;
            Ok(Approval { validator: consent.validator.clone(), signature })
        };
        let mut approvals = self.approvals.iter().map(approval).collect::<Result<Vec<_>, XrpcError>>()?;
        approvals.sort_by(|a, b| a.validator.cmp(&b.validator));
        approvals.dedup_by(|a, b| a.validator == b.validator);
        Ok(approvals)
    }

    /// For people, and for the next who approves.
    fn view(&self, transaction: &Transaction) -> Value {
        let (kind, validator, at, reason) = match &transaction.action {
            Action::JoinValidators(it) => ("join", &transaction.wallet, it.at, None),
            Action::RemoveValidator(it) => ("remove", &it.validator, it.at, Some(&it.reason)),
            _ => return Value::Null,
        };
        json!({
            "kind": kind,
            "network": transaction.network,
            "validator": validator,
            "at": at,
            "reason": reason,
            "transactionId": TransactionId::new(&transaction.wallet, &transaction.nonce).to_string(),
            "draft": self.draft,
            "approvals": self.approvals,
        })
    }
}

/// Which change.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Wish {
    /// This node becomes a validator.
    Join { after: u64 },
    /// Another is removed.
    Remove { validator: Did, reason: String, after: u64 },
}

/// Drafts a change, for the validators to approve. A node that was not registered as a candidate is now.
async fn draft(
    State(operations): Routes,
    headers: HeaderMap,
    Json(wish): Json<Wish>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let wallet = &operations.submitter.wallet;
    let tip = wallet.ledger().shared.tip().height;
    let action = match wish {
        Wish::Join { after } => {
            let node = wallet.ledger().node(wallet.did()).await?;
            if node.is_none_or(|node| node.retired || !node.validates) {
                let entry = RegisterNode { validates: true, ..operations.entry.clone() };
                wallet.act(Action::RegisterNode(entry)).await.map_err(refused)?;
            }
            Action::JoinValidators(JoinValidators { at: tip + after, approvals: Vec::new() })
        }
        Wish::Remove { validator, reason, after } => {
            Action::RemoveValidator(RemoveValidator { validator, at: tip + after, reason, approvals: Vec::new() })
        }
    };
    let transaction = Transaction {
        network: wallet.ledger().network().clone(),
        wallet: wallet.did(),
        sequence: 0,
        nonce: rand::random(),
        expires: Timestamp::MAX,
        action,
    };
    let bytes = transaction.encode().map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    let change = Change { draft: Bytes::of(&bytes), approvals: Vec::new() };
    Ok(Json(change.view(&transaction)))
}

/// Adds this validator's consent to a change.
async fn approve(
    State(operations): Routes,
    headers: HeaderMap,
    Json(mut change): Json<Change>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let transaction = change.transaction()?;
    let wallet = &operations.submitter.wallet;
    let own = wallet.did();
    let ledger = wallet.ledger();
    if transaction.network != *ledger.network() {
        return Err(XrpcError::invalid_request(format!("the change is for the network {}", transaction.network)));
    }
    let validators = ledger.validators(ledger.shared.tip().height + 1).await?.unwrap_or_default();
    if !validators.contains(&own) {
        return Err(XrpcError::invalid_request("this node is no validator, so its consent does not count"));
    }
    let id = TransactionId::new(&transaction.wallet, &transaction.nonce);
    let (domain, message) = statement::approval(&transaction.network, id, &transaction.action);
    let signature = Bytes::of(&wallet.key().sign(domain, &message));
    change.approvals.retain(|consent| consent.validator != own);
    change.approvals.push(Consent { validator: own, signature });
    change.approvals.sort_by(|a, b| a.validator.cmp(&b.validator));
    let mut view = change.view(&transaction);
    view["needed"] = json!((1..=validators.len()).find(|votes| validators.is_quorum(*votes)));
    Ok(Json(view))
}

/// Hands a change in, when enough have consented.
async fn submit(
    State(operations): Routes,
    headers: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let mut transaction = change.transaction()?;
    let wallet = &operations.submitter.wallet;
    if transaction.wallet != wallet.did() {
        let text = format!("the change was drafted by {}: hand it in there", transaction.wallet);
        return Err(XrpcError::invalid_request(text));
    }
    let given = change.approvals()?;
    let ledger = wallet.ledger();
    let validators = ledger.validators(ledger.shared.tip().height + 1).await?.unwrap_or_default();
    let counted = given.iter().filter(|approval| validators.contains(&approval.validator)).count();
    if !validators.is_quorum(counted) {
        let needed = (1..=validators.len()).find(|votes| validators.is_quorum(*votes)).unwrap_or_default();
        let text = format!("{counted} of {} validators have approved, {needed} have to", validators.len());
        return Err(XrpcError::new(StatusCode::CONFLICT, "NoQuorum", text));
    }
    match &mut transaction.action {
        Action::JoinValidators(JoinValidators { approvals, .. })
        | Action::RemoveValidator(RemoveValidator { approvals, .. }) => *approvals = given,
        _ => {}
    }
    let mut view = change.view(&transaction);
    let id = wallet.act_as(transaction.nonce, transaction.action).await.map_err(refused)?;
    view["transactionId"] = json!(id.to_string());
    Ok(Json(view))
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

/// This node stops being a validator.
async fn leave(
    State(operations): Routes,
    headers: HeaderMap,
    Json(After { after }): Json<After>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let at = operations.submitter.wallet.ledger().shared.tip().height + after;
    let leave = Action::LeaveValidators(LeaveValidators { at });
    let id = operations.submitter.wallet.act(leave).await.map_err(refused)?;
    Ok(Json(json!({ "transactionId": id.to_string(), "at": at })))
}

#[derive(Deserialize)]
struct Reward {
    to: Did,
    micro: u64,
    day: u64,
}

/// This validator pays a node for a day's work.
async fn reward(
    State(operations): Routes,
    headers: HeaderMap,
    Json(Reward { to, micro, day }): Json<Reward>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let amount = Amount::new(micro).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
    let reward = Action::NodeReward(NodeReward { to, amount, day });
    let id = operations.submitter.wallet.act(reward).await.map_err(refused)?;
    Ok(Json(json!({ "transactionId": id.to_string(), "day": day })))
}

/// Whose wallet pays what to whom.
#[derive(Deserialize)]
struct Payment {
    /// This node's own wallet when absent.
    from: Option<Did>,
    #[serde(flatten)]
    what: SendTokensInput,
}

/// Pays from the node's wallet, or from that of an account whose wallet the node keeps.
async fn send(
    State(operations): Routes,
    headers: HeaderMap,
    Json(Payment { from, what }): Json<Payment>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    let submitter = &operations.submitter;
    let (exchange, sequence) = what.exchange()?;
    let from = from.unwrap_or_else(|| submitter.wallet.did());
    let id = submitter.pay(&from, exchange, sequence, send_tokens::DECISION_LIMIT).await?;
    transaction_view(submitter.wallet.ledger(), id).await
}

#[derive(Deserialize)]
struct Owner {
    account: Did,
}

/// Opens the wallet of an account of this node.
async fn open(
    State(operations): Routes,
    headers: HeaderMap,
    Json(Owner { account }): Json<Owner>,
) -> Result<Json<Value>, XrpcError> {
    operations.admin.authorize(&headers)?;
    open_wallet::open(&operations.submitter, &account).await
}

impl From<SubmitFailed> for XrpcError {
    fn from(error: SubmitFailed) -> Self {
        let text = error.to_string();
        match error {
            SubmitFailed::Outcome(outcome) => Self::from(&SubmitError::Outcome(outcome)),
            SubmitFailed::Submit(error) => (&error).into(),
            SubmitFailed::Wallet(error) => refused(error),
            SubmitFailed::Undecided(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Undecided", text),
            SubmitFailed::Outrun => Self::new(StatusCode::CONFLICT, "BadSequence", text),
            SubmitFailed::NoWallet(_) => Self::new(StatusCode::CONFLICT, "NoWallet", text),
            SubmitFailed::KeptElsewhere(_) => Self::new(StatusCode::CONFLICT, "KeptElsewhere", text),
            SubmitFailed::Account(AccountError::NotFound) => {
                Self::new(StatusCode::NOT_FOUND, "AccountNotFound", "there is no such account on this node")
            }
            SubmitFailed::Account(error) => Self::unexpected(&error),
            SubmitFailed::Ledger(error) => Self::unexpected(&error),
            SubmitFailed::Form(error) => Self::new(StatusCode::BAD_REQUEST, "InvalidTransaction", error.to_string()),
        }
    }
}

fn refused(error: WalletError) -> XrpcError {
    match &error {
        WalletError::Outcome(outcome) => {
            XrpcError::new(StatusCode::BAD_REQUEST, "InvalidTransaction", outcome.to_string())
        }
        WalletError::Submit(error) => error.into(),
        WalletError::Invalid(error) => XrpcError::invalid_request(error.to_string()),
        WalletError::Undecided(_) => XrpcError::new(StatusCode::SERVICE_UNAVAILABLE, "Undecided", error.to_string()),
        WalletError::Ledger(error) => XrpcError::unexpected(error),
    }
}

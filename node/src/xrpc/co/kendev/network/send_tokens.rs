//! `co.kendev.network.sendTokens`: the owner pays from the wallet that this node keeps for the account.

use std::sync::Arc;
use std::time::Duration;

use angel_protocol::ledger::Amount;
use angel_protocol::ledger::action::Exchange;
use angel_protocol::ledger::parameters::Currency;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::http::XrpcError;
use crate::http::ledger::transaction_view;
use crate::xrpc::auth::FullAccess;
use crate::xrpc::host::Host;
use crate::xrpc::input::Input;
use crate::xrpc::types::network::SendTokensInput;

/// How long the network may take to decide before the client is told to ask again.
pub(crate) const DECISION_LIMIT: Duration = Duration::from_secs(20);

impl SendTokensInput {
    /// What is asked of the ledger.
    pub(crate) fn exchange(self) -> Result<(Exchange, Option<u64>), XrpcError> {
        let Self { to, amount, reason, sequence } = self;
        let reason = reason.unwrap_or_default();
        let amount = Amount::new(amount).map_err(|error| XrpcError::invalid_request(error.to_string()))?;
        let (from_tenant, to_tenant) = (None, None);
        let currency = Currency::AngelTokens;
        Ok((Exchange { to, from_tenant, to_tenant, amount, currency, quote: None, reason }, sequence))
    }
}

pub(crate) async fn handler(
    State(host): State<Arc<Host>>,
    FullAccess(account): FullAccess,
    Input(request): Input<SendTokensInput>,
) -> Result<Json<Value>, XrpcError> {
    let (exchange, sequence) = request.exchange()?;
    let id = host.submitter.pay(account.did(), exchange, sequence, DECISION_LIMIT).await?;
    transaction_view(host.submitter.wallet.ledger(), id).await
}

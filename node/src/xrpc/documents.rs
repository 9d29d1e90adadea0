//! What lexicon documents say of requests: the parameters and the JSON body of a method that has a document are held
//! against it before the handler sees them (XRPC specification, "Lexicon HTTP Endpoints").
//!
//! This is the one place where that happens: [`super::params::Params`] and [`super::input::Input`] come by here, and a
//! handler has no other way to what was sent. They run in the order of the handler's arguments, after those that say
//! who asks, so a stranger's body is not even read. Bodies of another kind than JSON are not looked at.

use angel_protocol::lexicon::{MethodSchema, Schemas, SubscriptionSchema};
use angel_protocol::limits::XRPC_PARAMETERS_MAX;
use serde_json::Value;
use url::form_urlencoded;

use crate::http::XrpcError;

/// Paths under which a method is asked besides its own, with the same parameters and the same body.
const ALSO: [(&str, &str); 7] = [
    ("/api/federation/checkpoint/latest", "co.kendev.network.getLatestCheckpoint"),
    ("/api/federation/migrate-tenant", "co.kendev.network.migrateTenant"),
    ("/api/federation/nodes", "co.kendev.network.listNodes"),
    ("/api/federation/token-exchange", "co.kendev.network.exchangeTokens"),
    ("/api/federation/token-exchange/rate", "co.kendev.network.getRate"),
    ("/api/federation/topology", "co.kendev.network.getTopology"),
    ("/api/spaces/events", "co.kendev.spaces.subscribeSpace"),
];

/// What the document of a method says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Documented {
    /// Of a query or a procedure.
    Method(MethodSchema<'static>),
    /// Of an event stream.
    Stream(SubscriptionSchema<'static>),
}

/// The document of the method that is asked by `path`, if this node ships one.
pub(super) fn of(path: &str) -> Option<Documented> {
    let also = || ALSO.iter().find(|(other, _)| *other == path).map(|(_, nsid)| *nsid);
    let nsid = path.strip_prefix("/xrpc/").or_else(also)?;
    let schemas = Schemas::builtin();
    let stream = || schemas.subscription(nsid).map(Documented::Stream);
    schemas.method(nsid).map(Documented::Method).or_else(stream)
}

impl Documented {
    /// The parameters in a query, with their types and with the defaults of the document. What it does not name is left
    /// out.
    ///
    /// # Errors
    /// One breaks its rule, is missing, or is given twice.
    pub(super) fn parameters(&self, query: &str) -> Result<Value, XrpcError> {
        // One more than are read tells that there are too many.
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).take(XRPC_PARAMETERS_MAX + 1).collect();
        let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
        let parameters = match self {
            Self::Method(method) => method.parameters(pairs),
            Self::Stream(stream) => stream.parameters(pairs),
        };
        match parameters {
            Ok(parameters) => Ok(parameters.into_json()),
            Err(violation) => Err(XrpcError::invalid_request(format!("parameters: {violation}"))),
        }
    }

    /// Checks a body.
    ///
    /// # Errors
    /// It breaks a rule.
    pub(super) fn body(&self, body: &Value) -> Result<(), XrpcError> {
        let Self::Method(method) = self else { return Ok(()) };
        method.validate_input(body).map_err(|violation| XrpcError::invalid_request(format!("the body: {violation}")))
    }
}

//! From a request to a follower: the opening handshake of a WebSocket (RFC 6455, section 4.2), and the socket behind it.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::follower::{Opened, follow};
use super::{Begin, Format, Place, Stream};
use crate::http::socket::Socket;

/// A request to follow, which can be granted.
pub(crate) struct Upgrade {
    on_upgrade: OnUpgrade,
    accept: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let on_upgrade = parts.extensions.get::<OnUpgrade>().cloned();
        let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).cloned();
        // What a request must be is looked at there; the answer and the socket are ours.
        drop(WebSocketUpgrade::from_request_parts(parts, state).await?);
        let (on_upgrade, key) = on_upgrade.zip(key).expect("a request of HTTP/1.1 without either was refused");
        Ok(Self { on_upgrade, accept: derive_accept_key(key.as_bytes()) })
    }
}

impl Upgrade {
    /// Makes the connection a follower's, from whom no message longer than `message_max` bytes is taken.
    pub(crate) fn follow<S: Stream>(
        self,
        stream: S,
        begin: Begin,
        format: impl Format<S::Entry>,
        place: Place,
        message_max: usize,
    ) -> Response {
        let Self { on_upgrade, accept } = self;
        tokio::spawn(async move {
            // A client that goes before it has the answer is no follower.
            let Ok(upgraded) = on_upgrade.await else { return };
            let Some((socket, read_ahead)) = Socket::take(upgraded) else {
                return tracing::error!("a follower came over a connection that is not of this server");
            };
            follow(Opened { socket, read_ahead, message_max }, stream, begin, format, place).await;
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept)
            .body(Body::empty())
            .expect("an accepted key is a header's value")
    }
}

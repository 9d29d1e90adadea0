//! The socket under a connection that speaks HTTP no longer. Whoever has taken it reads and writes it directly: what kept
//! watch over requests and answers is out of the way.

use axum::body::Bytes;
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;

use super::server::Io;

/// A socket that was taken over. Closed when dropped.
pub(crate) struct Socket(Io);

impl Socket {
    /// Takes the socket of a connection of [`super::server`], and what was read of it ahead; `None` for any other.
    pub(crate) fn take(upgraded: Upgraded) -> Option<(Self, Bytes)> {
        let parts = upgraded.downcast::<Io>().ok()?;
        Some((Self(parts.io), parts.read_buf))
    }

    /// The stream, which needs nobody alone to be read or written.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.inner().stream().get_ref()
    }
}

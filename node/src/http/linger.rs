//! Closing without cutting off the last answer.
//!
//! A client whose body is refused may still be sending it. Closing then makes the kernel reset the connection, and the
//! answer that says why is lost on the way. So the sending half is closed first, and what still comes in is read and
//! thrown away for a while (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client is listened to after the answer.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much of a refused body is taken in after the answer, in bytes.
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Bytes thrown away at a time.
const SCRATCH_BYTES: usize = 16 << 10;

/// A stream that closes so.
pub(crate) struct Linger<S> {
    stream: S,
    closing: Option<Closing>,
}

struct Closing {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> Linger<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, closing: None }
    }

    /// The stream below.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linger<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let closing = this.closing.get_or_insert_with(|| Closing {
            deadline: Box::pin(sleep_until(Instant::now() + LINGER_TIME)),
            left: LINGER_BYTES_MAX,
        });
        let mut scratch = [0; SCRATCH_BYTES];
        while closing.left > 0 && closing.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            // A client that has closed, or broken off, needs nothing more.
            if ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
                break;
            }
            closing.left = closing.left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (client, listener.accept().await.expect("accepted").0)
    }

    #[tokio::test]
    async fn the_answer_arrives_although_the_question_was_not_read() {
        let (mut client, server) = pair().await;
        let serving = tokio::spawn(async move {
            let mut server = Linger::new(server);
            server.write_all(b"too large").await?;
            server.shutdown().await
        });
        client.write_all(&vec![7; 8 << 20]).await.expect("all of it is taken");
        client.shutdown().await.expect("closed");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("not reset");
        assert_eq!(answer, "too large");
        serving.await.expect("it ends").expect("closed in order");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_neither_sends_nor_closes_is_left() {
        let (mut client, server) = pair().await;
        let mut server = Linger::new(server);
        let began = Instant::now();
        server.shutdown().await.expect("closed");
        assert_eq!(began.elapsed(), LINGER_TIME);
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
    }
}

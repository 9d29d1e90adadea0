//! The way out to one follower. Two write there, one at a time: the [`super::round`], as long as the follower is up to date
//! and its socket takes all it is given, and the follower's own task else. What the socket did not take waits here, and
//! comes before anything else; it is never more than one of the two had in hand.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::round::{ASIDE_MAX, Listener};
use super::{Format, Numbered, Round};
use crate::http::socket::Socket;

/// Most messages that are written with one call.
const SLICES_MAX: usize = 64;

/// Messages on their way out, as they go over the wire.
pub(crate) type Frames = VecDeque<Bytes>;

/// The way out to one follower who gets things in the form `F`.
pub(super) struct Outlet<F> {
    socket: Socket,
    out: Mutex<Out<F>>,
    /// Rung when the round leaves the follower to its own task.
    left: Notify,
}

struct Out<F> {
    format: F,
    /// Everything up to here was handed over, as long as the round does it.
    position: u64,
    in_round: bool,
    waiting: Frames,
    /// What was told aside while the round did not serve the follower.
    asides: Frames,
}

impl<F> Outlet<F> {
    pub(super) fn new(socket: Socket, format: F) -> Self {
        let out = Out { format, position: 0, in_round: false, waiting: Frames::new(), asides: Frames::new() };
        Self { socket, out: Mutex::new(out), left: Notify::new() }
    }

    /// Has the round serve the follower, who has everything up to `position`, unless there is more in it already, or something
    /// waits for the socket.
    pub(super) fn enter<E: Numbered + Send + Sync + 'static>(&self, round: &Round<E>, position: u64) -> bool {
        let mut out = self.lock();
        let Out { waiting, asides, .. } = &mut *out;
        waiting.append(asides);
        // Looked at under the lock: what comes later is offered later, and finds the follower there.
        if !out.waiting.is_empty() || !round.is_current(position) {
            return false;
        }
        (out.position, out.in_round) = (position, true);
        true
    }

    /// Waits until the round leaves the follower to its own task. Cancel-safe.
    pub(super) async fn left(&self) {
        self.left.notified().await;
    }

    /// Where the round left the follower, unless it serves it now.
    pub(super) fn position(&self) -> Option<u64> {
        let out = self.lock();
        (!out.in_round).then_some(out.position)
    }

    /// The round has nothing to do with the follower any more.
    pub(super) fn quit(&self) {
        self.lock().in_round = false;
    }

    /// From now on the follower gets things in this form.
    pub(super) fn change(&self, format: F) {
        self.lock().format = format;
    }

    /// Hands over messages, behind what waits, and waits until the socket has taken them all.
    pub(super) async fn send(&self, mut frames: Frames) -> io::Result<()> {
        self.lock().waiting.append(&mut frames);
        std::future::poll_fn(|cx| self.poll_empty(cx)).await
    }

    fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut out = self.lock();
            write(self.socket.stream(), &mut out.waiting)?;
            if out.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
            drop(out);
            ready!(self.socket.stream().poll_write_ready(cx))?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Out<F>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Out<F> {
    /// Writes what is in `frames`; answers whether the follower can stay in the round.
    fn hand(&mut self, socket: &TcpStream, frames: &mut Frames) -> bool {
        // Whatever is wrong with the socket, the follower's task meets it too.
        self.in_round = write(socket, frames).is_ok() && frames.is_empty();
        self.waiting.append(frames);
        self.in_round
    }
}

impl<E: Numbered + Send + Sync, F: Format<E>> Listener<E> for Outlet<F> {
    fn offer(&self, entries: &[Arc<E>], head: u64, frames: &mut Frames) -> usize {
        let mut out = self.lock();
        if !out.in_round {
            return 0;
        }
        let new = entries.iter().filter(|entry| entry.sequence() > out.position);
        new.for_each(|entry| out.format.frames(entry, frames));
        out.position = out.position.max(head);
        let count = frames.len();
        if count > 0 && !out.hand(self.socket.stream(), frames) {
            self.left.notify_one();
        }
        count
    }

    fn offer_aside(&self, entry: &E, frames: &mut Frames) {
        let mut out = self.lock();
        out.format.frames(entry, frames);
        if !out.in_round {
            out.asides.append(frames);
            let missed = out.asides.len().saturating_sub(ASIDE_MAX);
            out.asides.drain(..missed);
        } else if !frames.is_empty() && !out.hand(self.socket.stream(), frames) {
            self.left.notify_one();
        }
    }

    fn leave(&self) {
        self.quit();
        self.left.notify_one();
    }
}

/// Writes as much as the socket takes; what it does not take stays.
fn write(socket: &TcpStream, frames: &mut Frames) -> io::Result<()> {
    while let Some(first) = frames.front() {
        let written = if frames.len() == 1 {
            socket.try_write(first)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = frames.len().min(SLICES_MAX);
            slices.iter_mut().zip(frames.iter()).for_each(|(slice, frame)| *slice = IoSlice::new(frame));
            socket.try_write_vectored(&slices[..count])
        };
        match written {
            Ok(0) if !first.is_empty() => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => advance(frames, count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes out what was written.
fn advance(frames: &mut Frames, mut written: usize) {
    while let Some(first) = frames.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        frames.pop_front();
    }
}

/// The socket as the follower's task has it for what is no entry: what it hears, pings and last words. Each frame that it
/// writes is taken whole, so that none of the round's comes between two halves of it.
pub(super) struct Wire<F>(pub(super) Arc<Outlet<F>>);

impl<F> AsyncRead for Wire<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.0.socket.stream();
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<F> AsyncWrite for Wire<F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_empty(cx))?;
        let mut out = self.0.lock();
        out.waiting.push_back(Bytes::copy_from_slice(bytes));
        write(self.0.socket.stream(), &mut out.waiting)?;
        if !out.waiting.is_empty() && std::mem::take(&mut out.in_round) {
            self.0.left.notify_one();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_empty(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_empty(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_out_and_no_more() {
        let frames = || Frames::from([Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"f")]);
        for (written, left) in [(0, "abcdef"), (2, "cdef"), (3, "def"), (4, "ef"), (5, "f"), (6, "")] {
            let mut frames = frames();
            advance(&mut frames, written);
            assert_eq!(frames.iter().flatten().copied().collect::<Vec<u8>>(), left.as_bytes());
        }
    }
}

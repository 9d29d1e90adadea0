//! Many followers of a WebSocket, read by one thread with as little work as reading allows: a measurement of who sends
//! must not be one of who reads. Every message's bounds are found in the bytes as they come (RFC 6455, section 5.2), pings
//! are answered, and what a message says is for whoever measures.
//!
//! It asks for no extension and takes no message in parts: the servers it is meant for send none.

use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Longest message taken, in bytes; more means that the bounds were lost.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// How long a follower may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The key of the opening handshake: any sixteen bytes will do.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// How long what comes is let gather before it is read. A thread that slept between any two messages would have whoever
/// sends, on the same machine, wake it for each of them, which costs more than the message. What is noted is later for it
/// by so much at most.
const GATHER: Duration = Duration::from_micros(250);

const STOP: Token = Token(usize::MAX);

/// What a crowd heard, noted on its reading thread and waited for elsewhere. Cheap to clone.
#[derive(Debug)]
pub struct Tally<T>(Arc<Noted<T>>);

#[derive(Debug)]
struct Noted<T> {
    /// What was noted, and how much of it somebody waits for.
    all: Mutex<(Vec<T>, usize)>,
    enough: Notify,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self(Arc::new(Noted { all: Mutex::new((vec![], usize::MAX)), enough: Notify::new() }))
    }
}

impl<T> Clone for Tally<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Tally<T> {
    /// Notes something.
    pub fn note(&self, what: T) {
        let mut all = self.lock();
        all.0.push(what);
        if all.0.len() == all.1 {
            self.0.enough.notify_one();
        }
    }

    /// Looks at everything that was noted.
    pub fn look<R>(&self, at: impl FnOnce(&[T]) -> R) -> R {
        at(&self.lock().0)
    }

    /// Waits until so much was noted, or the time is over.
    pub async fn until(&self, count: usize, limit: Duration) {
        {
            let mut all = self.lock();
            if all.0.len() >= count {
                return;
            }
            all.1 = count;
        }
        drop(tokio::time::timeout(limit, self.0.enough.notified()).await);
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<T>, usize)> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Followers that are connected, until this is dropped or [`Crowd::leave`] is called.
#[derive(Debug)]
pub struct Crowd {
    stop: Arc<Waker>,
    reading: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Connects `count` followers to `url` (`ws://…`) one after another, then reads them all. `heard` is called on the
    /// reading thread with the number of the follower, a message, and when its last byte had been read; an error of it
    /// ends the reading.
    ///
    /// # Errors
    /// One does not connect.
    pub fn connect(
        url: &str,
        count: usize,
        heard: impl FnMut(usize, &[u8], Instant) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let mut followers = (0..count)
            .map(|number| Follower::connect(url).with_context(|| format!("follower {number} does not connect")))
            .collect::<Result<Vec<_>>>()?;
        let poll = Poll::new()?;
        let stop = Arc::new(Waker::new(poll.registry(), STOP)?);
        for (number, follower) in followers.iter_mut().enumerate() {
            follower.stream.register(poll.registry(), Token(number), Interest::READABLE)?;
        }
        let reading = thread::Builder::new().name("crowd".to_owned()).spawn(move || read(poll, followers, heard))?;
        Ok(Self { stop, reading: Some(reading) })
    }

    /// Whether all are still there: an end of one ends the reading.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| !reading.is_finished())
    }

    /// Disconnects all.
    ///
    /// # Errors
    /// What ended the reading before.
    pub fn leave(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        // A thread that has ended needs no waking.
        drop(self.stop.wake());
        match self.reading.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => bail!("the reading thread panicked"),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn read(
    mut poll: Poll,
    mut followers: Vec<Follower>,
    mut heard: impl FnMut(usize, &[u8], Instant) -> Result<()>,
) -> Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    // What came with the answer to the handshake.
    for (number, follower) in followers.iter_mut().enumerate() {
        let early = std::mem::take(&mut follower.rest);
        follower.take(&early, number, &mut heard)?;
    }
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ready => ready?,
        }
        for event in &events {
            let Token(number) = event.token();
            if event.token() == STOP {
                return Ok(());
            }
            let follower = followers.get_mut(number).context("an event of nobody")?;
            follower.read(&mut buffer, number, &mut heard).with_context(|| format!("follower {number}"))?;
        }
        thread::sleep(GATHER);
    }
}

struct Follower {
    stream: TcpStream,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
}

/// The head of a frame.
struct Head {
    code: u8,
    begin: usize,
    end: usize,
}

impl Follower {
    fn connect(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("ws://").context("no ws:// URL")?;
        let (host, path) = rest.split_once('/').context("a URL without a path")?;
        let addr = host.to_socket_addrs()?.find(|addr| addr.is_ipv4()).context("a host without an address")?;
        let mut stream = std::net::TcpStream::connect_timeout(&addr, CONNECT_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_MAX))?;
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let (mut answer, mut buffer) = (vec![], [0; 4096]);
        let end = loop {
            if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                break end + 4;
            }
            let count = stream.read(&mut buffer)?;
            ensure!(count > 0 && answer.len() < 64 << 10, "no answer to the handshake");
            answer.extend_from_slice(&buffer[..count]);
        };
        let rest = answer.split_off(end);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 101"), "refused: {answer}");
        ensure!(answer.contains(&derive_accept_key(KEY.as_bytes())), "another's handshake: {answer}");
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), rest })
    }

    /// Reads what is there.
    fn read(
        &mut self,
        buffer: &mut [u8],
        number: usize,
        heard: &mut impl FnMut(usize, &[u8], Instant) -> Result<()>,
    ) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let new = &buffer[..count];
            if self.rest.is_empty() {
                self.take(new, number, heard)?;
            } else {
                let mut all = std::mem::take(&mut self.rest);
                all.extend_from_slice(new);
                self.take(&all, number, heard)?;
            }
            // Less than was asked for is all there is (epoll(7), "Questions and answers").
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes the whole messages of `bytes`, and keeps the rest.
    fn take(
        &mut self,
        mut bytes: &[u8],
        number: usize,
        heard: &mut impl FnMut(usize, &[u8], Instant) -> Result<()>,
    ) -> Result<()> {
        let at = Instant::now();
        while let Some(Head { code, begin, end }) = head(bytes)? {
            let Some(message) = bytes.get(begin..end) else { break };
            match code {
                0x1 | 0x2 => heard(number, message, at)?,
                0x8 => bail!("sent away: {}", String::from_utf8_lossy(message.get(2..).unwrap_or_default())),
                0x9 => self.pong(message)?,
                0xA => {}
                _ => bail!("a frame of kind {code}"),
            }
            bytes = &bytes[end..];
        }
        self.rest = bytes.to_vec();
        Ok(())
    }

    fn pong(&mut self, ping: &[u8]) -> io::Result<()> {
        // A mask of zeros leaves the bytes as they are; pings are shorter than 126 bytes.
        let mut frame = vec![0x8A, 0x80 | ping.len().min(125) as u8, 0, 0, 0, 0];
        frame.extend_from_slice(&ping[..ping.len().min(125)]);
        self.stream.write_all(&frame)
    }
}

/// The head at the beginning of `bytes`, if it is there in full.
fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & 0xF0 == 0x80, "a message in parts, or with an extension");
    ensure!(second & 0x80 == 0, "a server masks nothing");
    let (begin, length) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, u64::from(short)),
    };
    ensure!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
    Ok(Some(Head { code: first & 0x0F, begin, end: begin + usize::try_from(length)? }))
}

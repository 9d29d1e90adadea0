//! Frames on a stream between two hosting nodes, bounded in size and time.

use std::io;
use std::time::Duration;

use angel_protocol::replication::wire::{Answer, Question};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a frame that has begun may take to arrive, and one that is sent to be taken.
const FRAME_LIMIT: Duration = Duration::from_secs(30);

/// How long the other side may be silent between frames before the stream is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of a repository, file or archive in one frame.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// Largest frame of such a piece, with what is around it, and of what stands in its place.
const PIECE_FRAME_BYTES: usize = PIECE_BYTES + 1024;

/// Reads one frame of at most `max` bytes; `patience` is how long it may take to begin.
pub(crate) async fn read_frame(
    io: &mut (impl AsyncRead + Unpin + Send),
    max: usize,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    timed(patience, io.read_exact(&mut length)).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes; at most {max}")));
    }
    // Memory follows what really comes, not what is announced, but for little.
    let mut bytes = Vec::with_capacity(length.min(if max <= PIECE_FRAME_BYTES { max } else { 64 * 1024 }));
    timed(FRAME_LIMIT, io.take(length as u64).read_to_end(&mut bytes)).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Writes one frame.
pub(crate) async fn write_frame(io: &mut (impl AsyncWrite + Unpin + Send), bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    timed(FRAME_LIMIT, async {
        io.write_all(&length.to_be_bytes()).await?;
        io.write_all(bytes).await?;
        io.flush().await
    })
    .await
}

async fn timed<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

pub(super) async fn ask(io: &mut (impl AsyncWrite + Unpin + Send), question: &Question) -> io::Result<()> {
    write_frame(io, &question.encode()?).await
}

pub(super) async fn answer(io: &mut (impl AsyncWrite + Unpin + Send), answer: &Answer) -> io::Result<()> {
    write_frame(io, &answer.encode()?).await
}

/// The next question; `None` where the other side has ended.
pub(super) async fn question(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Option<Question>> {
    match read_frame(io, Question::BYTES_MAX, SILENCE_LIMIT).await {
        Ok(bytes) => Ok(Some(Question::decode(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn answered(io: &mut (impl AsyncRead + Unpin + Send), patience: Duration) -> io::Result<Answer> {
    Ok(Answer::decode(&read_frame(io, Answer::BYTES_MAX, patience).await?)?)
}

/// The next piece of what is sent in bulk, or what stands in its place.
pub(super) async fn piece(io: &mut (impl AsyncRead + Unpin + Send), patience: Duration) -> io::Result<Answer> {
    Ok(Answer::decode(&read_frame(io, PIECE_FRAME_BYTES, patience).await?)?)
}

//! Reading a spool's log in place, for a client, at the client's own pace.
//!
//! What is cold or much is read by a blocking thread, a bounded batch at a time, and only when the client has taken
//! what came before: a slow client holds neither a thread nor memory, and slows nobody but itself. What was just
//! written is in the page cache and is read at once, without a change of threads.

use std::io;

use bytes::Bytes;
use outlast_client::v1;
use outlast_helper::spool::{self, LogReader};
use tokio::sync::mpsc;
use tonic::Status;

use crate::rpc::convert;

/// Most bytes in one message, as the protocol promises.
const CHUNK_MAX: usize = 256 * 1024;

/// Most bytes that are read without a change of threads.
const HOT_MAX: usize = 32 * 1024;

/// Messages read ahead of the client in one go.
const BATCH: usize = 2;

/// Messages that may wait for the client: one batch on its way while the next is read.
pub const QUEUE: usize = 2 * BATCH;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At an offset in bytes.
    Offset(u64),
    /// So many lines before the present end.
    LastLines(u64),
    /// At the present end.
    Now,
}

/// Why reading stopped early.
#[derive(Debug)]
pub enum Stop {
    /// The client went away.
    ClientGone,
    /// The log cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where messages of the type `M` go.
#[derive(Debug, Clone)]
pub struct Sink<M> {
    tx: mpsc::Sender<Result<M, Status>>,
    wrap: fn(v1::LogChunk) -> M,
    only: Option<spool::Stream>,
}

impl<M> Sink<M> {
    /// Messages go to `tx`, pieces of the log wrapped by `wrap`; of the program's two streams only one, if said so.
    #[must_use]
    pub fn new(
        tx: mpsc::Sender<Result<M, Status>>,
        wrap: fn(v1::LogChunk) -> M,
        only: Option<spool::Stream>,
    ) -> Self {
        Self { tx, wrap, only }
    }

    /// Sends something that is no piece of the log.
    ///
    /// # Errors
    /// When the client went away.
    pub async fn send(&self, message: Result<M, Status>) -> Result<(), Stop> {
        self.tx.send(message).await.map_err(|_closed| Stop::ClientGone)
    }

    /// Waits until the client has gone.
    pub async fn closed(&self) {
        self.tx.closed().await;
    }

    fn message(&self, chunk: spool::Chunk) -> Option<M> {
        let wanted = match (self.only, chunk.stream) {
            (None, _) | (_, spool::Stream::Marker) => true,
            (Some(only), stream) => only == stream,
        };
        wanted.then(|| (self.wrap)(message(chunk)))
    }
}

fn message(chunk: spool::Chunk) -> v1::LogChunk {
    let stream = match chunk.stream {
        spool::Stream::Stdout => v1::LogStream::Stdout,
        spool::Stream::Stderr => v1::LogStream::Stderr,
        spool::Stream::Marker => v1::LogStream::Marker,
    };
    v1::LogChunk {
        offset: chunk.offset,
        stream: stream.into(),
        time: Some(convert::timestamp(chunk.time_ms)),
        data: chunk.data,
    }
}

/// Opens a log where a client wants to begin.
///
/// # Errors
/// When it cannot be read, or the process is ending.
pub async fn open(dir: spool::Dir, start: Start, only: Option<spool::Stream>) -> io::Result<LogReader> {
    blocking(move || {
        let from = match start {
            Start::Offset(offset) => offset,
            Start::LastLines(lines) => spool::last_lines_offset(&dir, lines, only)?,
            Start::Now => dir.log_len(),
        };
        LogReader::open(&dir, from)
    })
    .await
}

/// Sends what the log holds from where the reader stands, up to the offset `until` if there is one, and gives the
/// reader back when it has caught up. `hot` says that little is expected, and that it was written just now.
///
/// # Errors
/// When the client goes away or the log cannot be read.
pub async fn send_available<M>(
    mut reader: LogReader,
    until: Option<u64>,
    hot: bool,
    sink: &Sink<M>,
) -> Result<LogReader, Stop> {
    let mut little = hot;
    while little {
        let room = room(&reader, until, HOT_MAX);
        let Some(chunk) = next(&mut reader, room)? else {
            return Ok(reader);
        };
        little = chunk.data.len() < room;
        if let Some(message) = sink.message(chunk) {
            sink.send(Ok(message)).await?;
        }
    }
    loop {
        let permits = sink.tx.reserve_many(BATCH).await;
        let permits = permits.map_err(|_closed| Stop::ClientGone)?;
        let (back, chunks) = blocking(move || {
            let mut chunks = Vec::with_capacity(BATCH);
            while chunks.len() < BATCH {
                let room = room(&reader, until, CHUNK_MAX);
                match next(&mut reader, room)? {
                    Some(chunk) => chunks.push(chunk),
                    None => break,
                }
            }
            Ok((reader, chunks))
        })
        .await?;
        reader = back;
        let caught_up = chunks.len() < BATCH;
        let messages = chunks.into_iter().filter_map(|chunk| sink.message(chunk));
        for (permit, message) in permits.zip(messages) {
            permit.send(Ok(message));
        }
        if caught_up {
            return Ok(reader);
        }
    }
}

/// What was just written, without a change of threads; at most 32 KiB.
///
/// # Errors
/// When the log cannot be read.
pub fn read_hot(reader: &mut LogReader) -> io::Result<Option<Bytes>> {
    Ok(next(reader, HOT_MAX)?.map(|chunk| chunk.data))
}

fn next(reader: &mut LogReader, room: usize) -> io::Result<Option<spool::Chunk>> {
    if room == 0 { Ok(None) } else { reader.next(room) }
}

/// How many bytes may still be read, at most `max`.
fn room(reader: &LogReader, until: Option<u64>, max: usize) -> usize {
    let left = until.map_or(u64::MAX, |until| until.saturating_sub(reader.offset()));
    usize::try_from(left).unwrap_or(max).min(max)
}

/// Does what may wait for a disk where that harms nobody.
///
/// # Errors
/// Those of the work, or that the process is ending.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

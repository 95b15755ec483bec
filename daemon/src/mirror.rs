//! Copying logs from other machines to where they are read: same bytes, same offsets, same records.
//!
//! The length of the copy is the position to go on from; nothing else is kept about it, so whoever drives a job or a
//! session next goes on without a gap and without a repeat, whatever was cut off. Logs of this machine are read in place
//! and never copied.

use std::{future::Future, io, pin::Pin, sync::Arc};

use outlast_client::helper_v1::{self, ReadLogRequest, SpoolKind};
use outlast_helper::spool::{Chunk, Dir, LogCopy, Stream};
use outlast_transport::HelperClient;
use tonic::{Status, Streaming};

use crate::hosts::Host;

/// Bytes written without a change of threads: it only fills a page or two of the page cache.
const HOT_MAX: usize = 32 * 1024;

/// Bytes of one log after which its host gets a second connection for it, so that what is much does not delay what is
/// short.
const MUCH: u64 = 1 << 20;

/// The same for one that carries faster and takes longer to be made, where there is one.
const HUGE: u64 = 64 << 20;

/// A copy that is being added to.
#[derive(Debug)]
pub struct Mirror {
    dir: Dir,
    copy: Option<LogCopy>,
}

impl Mirror {
    /// Opens the copy in this directory, or begins one.
    ///
    /// # Errors
    /// When the directory or its files cannot be made.
    pub async fn open(dir: Dir) -> io::Result<Self> {
        let mut mirror = Self { dir, copy: None };
        mirror.opened().await?;
        Ok(mirror)
    }

    async fn opened(&mut self) -> io::Result<&mut LogCopy> {
        if self.copy.is_none() {
            let dir = self.dir.clone();
            self.copy = Some(blocking(move || LogCopy::open(&dir)).await?);
        }
        self.copy
            .as_mut()
            .ok_or_else(|| io::Error::other("no copy was opened"))
    }

    /// How much of the log is here, bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.copy
            .as_ref()
            .map_or_else(|| self.dir.log_len(), LogCopy::end)
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// When it does not follow what is here, or cannot be written. What is here stays whole.
    pub async fn add(&mut self, chunk: helper_v1::Chunk) -> io::Result<()> {
        let chunk = Chunk {
            offset: chunk.offset,
            stream: Stream::from_number(u8::try_from(chunk.stream).unwrap_or(u8::MAX)),
            time_ms: chunk.time_ms,
            data: chunk.data,
        };
        self.opened().await?;
        let Some(mut copy) = self.copy.take() else {
            return Ok(());
        };
        let added = if chunk.data.len() <= HOT_MAX {
            copy.append(&chunk)
        } else {
            let (back, added) = blocking(move || {
                let added = copy.append(&chunk);
                Ok((copy, added))
            })
            .await?;
            copy = back;
            added
        };
        self.copy = Some(copy);
        added
    }
}

fn status(error: &io::Error) -> Status {
    Status::resource_exhausted(error.to_string())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    crate::logs::blocking(work).await
}

/// When a stream of a log is to go on over a connection for what is much.
pub struct Tail {
    host: Arc<Host>,
    moved: u64,
    /// Bytes after which it moves next.
    next: Option<u64>,
    moving: Option<Pin<Box<dyn Future<Output = Option<HelperClient>> + Send>>>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("moved", &self.moved)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// A stream that begins on the first connection.
    #[must_use]
    pub fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            moved: 0,
            next: Some(MUCH),
            moving: None,
        }
    }

    /// So many bytes came.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
        if self.moving.is_some() || self.next.is_none_or(|next| self.moved <= next) {
            return;
        }
        let host = Arc::clone(&self.host);
        if self.moved > HUGE {
            self.next = None;
            self.moving = Some(Box::pin(async move { host.haul().await }));
        } else {
            self.next = Some(HUGE);
            self.moving = Some(Box::pin(async move { Some(host.bulk().await) }));
        }
    }

    /// Returns the client to go on with from where the copy ends, once there is a reason and a connection; else never.
    pub async fn switch(&mut self) -> HelperClient {
        if let Some(moving) = &mut self.moving {
            let client = moving.await;
            self.moving = None;
            if let Some(client) = client {
                return client;
            }
        }
        std::future::pending().await
    }
}

/// Opens the copy of a log for a stream.
///
/// # Errors
/// As [`Mirror::open`].
pub async fn open(dir: Dir) -> Result<Mirror, Status> {
    Mirror::open(dir).await.map_err(|error| status(&error))
}

/// Copies the log of a session until its program and what it wrote have ended.
///
/// # Errors
/// When the connection breaks or the copy cannot be written.
pub async fn copy_session(host: Arc<Host>, id: String, dir: Dir) -> Result<(), Status> {
    let mut mirror = open(dir).await?;
    let mut tail = Tail::new(Arc::clone(&host));
    let mut chunks = read(host.client(), &id, mirror.end()).await?;
    loop {
        tokio::select! {
            message = chunks.message() => match message? {
                Some(message) => if let Some(chunk) = message.chunk {
                    add(&mut mirror, &mut tail, chunk).await?;
                },
                None => return Ok(()),
            },
            client = tail.switch() => chunks = read(client, &id, mirror.end()).await?,
        }
    }
}

async fn read(
    mut client: HelperClient,
    id: &str,
    from: u64,
) -> Result<Streaming<helper_v1::ReadLogResponse>, Status> {
    let request = ReadLogRequest {
        kind: SpoolKind::Session.into(),
        id: id.to_owned(),
        from,
        follow: true,
    };
    Ok(client.read_log(request).await?.into_inner())
}

/// Adds a piece of a log that a stream brought.
///
/// # Errors
/// As [`Mirror::add`]; what cannot be written now can be later.
pub async fn add(mirror: &mut Mirror, tail: &mut Tail, chunk: helper_v1::Chunk) -> Result<(), Status> {
    tail.moved(chunk.data.len());
    mirror.add(chunk).await.map_err(|error| status(&error))
}

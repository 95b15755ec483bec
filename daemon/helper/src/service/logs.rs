//! Streams logs. Readers go at their own pace, from the file; nobody who writes ever waits for them.

use std::sync::Arc;

use outlast_client::helper_v1::{Chunk as Message, ReadLogRequest, ReadLogResponse, SpoolKind};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;

use super::{
    Answers, Core,
    error::{broken, check_id, failed, not_found, usage},
    report, settle,
};
use crate::spool::{Chunk, Dir, LogReader, State};

/// Largest chunk in bytes: large enough that messages cost nothing beside bytes.
const CHUNK: usize = 128 << 10;

/// Chunks read at one visit to a thread that may wait for the disk.
const AT_ONCE: usize = 4;

/// Messages under way to a reader that does not read.
pub(super) const QUEUE: usize = 2;

/// Reads one log from an offset on.
#[derive(Debug)]
pub(super) struct Tail {
    dir: Dir,
    from: u64,
    reader: Option<LogReader>,
}

impl Tail {
    pub(super) fn new(dir: Dir, from: u64) -> Self {
        Self {
            dir,
            from,
            reader: None,
        }
    }

    /// The next chunks. None: there are no more now.
    pub(super) async fn next(&mut self) -> Result<Vec<Chunk>, Status> {
        let (dir, from, reader) = (self.dir.clone(), self.from, self.reader.take());
        let read = spawn_blocking(move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => LogReader::open(&dir, from)?,
            };
            let mut chunks = Vec::new();
            while chunks.len() < AT_ONCE
                && let Some(chunk) = reader.next(CHUNK)?
            {
                chunks.push(chunk);
            }
            Ok((reader, chunks))
        });
        let (reader, chunks) = read
            .await
            .map_err(|error| broken(format!("reading a log: {error}")))?
            .map_err(|error: std::io::Error| failed(&error))?;
        self.reader = Some(reader);
        Ok(chunks)
    }
}

/// A chunk as a message.
pub(super) fn message(chunk: Chunk) -> Message {
    Message {
        offset: chunk.offset,
        stream: chunk.stream.number().into(),
        time_ms: chunk.time_ms,
        data: chunk.data,
    }
}

/// Streams a log to its end or, when following, to the end of the program and of what it wrote.
pub(super) fn read(core: Arc<Core>, request: &ReadLogRequest) -> Result<Answers<ReadLogResponse>, Status> {
    check_id(&request.id)?;
    let (noun, dir) = match request.kind() {
        SpoolKind::Job => ("job", core.root.job(&request.id)),
        SpoolKind::Session => ("session", core.root.session(&request.id)),
        SpoolKind::Unspecified => return Err(usage("the request does not say which kind of log is meant")),
    };
    if !dir.exists() {
        return Err(not_found(noun, &request.id));
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (id, from, follow, kind) = (request.id.clone(), request.from, request.follow, request.kind());
    tokio::spawn(async move {
        let mut tail = Tail::new(dir.clone(), from);
        let streamed = async {
            if !follow {
                return send_all(&mut tail, &sender).await.map(drop);
            }
            let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
            loop {
                // Asked before reading: what was written before an end is then read after it.
                let mut state = dir.state(None).map_err(|error| failed(&error))?;
                if kind == SpoolKind::Session && matches!(state, State::Ended(..)) {
                    state = settle::settle(&core, &id, &dir, state).await?;
                }
                if !send_all(&mut tail, &sender).await? || !runs(&state, &dir) {
                    return Ok(());
                }
                tokio::select! {
                    () = watch.changed() => {}
                    () = sender.closed() => return Ok(()),
                }
            }
        };
        if let Err(status) = streamed.await {
            // Who left does not hear it.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Answers::new(receiver))
}

/// Whether more can be expected.
fn runs(state: &State, dir: &Dir) -> bool {
    let over = report::spool_state(dir, state);
    over.ended.is_none() && over.lost.is_none() && dir.exists()
}

/// Sends what there is now. False: nobody listens.
async fn send_all(
    tail: &mut Tail,
    to: &mpsc::Sender<Result<ReadLogResponse, Status>>,
) -> Result<bool, Status> {
    loop {
        let chunks = tail.next().await?;
        if chunks.is_empty() {
            return Ok(true);
        }
        for chunk in chunks {
            let chunk = Some(message(chunk));
            if to.send(Ok(ReadLogResponse { chunk })).await.is_err() {
                return Ok(false);
            }
        }
    }
}

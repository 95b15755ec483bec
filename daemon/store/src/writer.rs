//! The one thread that writes.
//!
//! ```text
//!   callers ──► bounded queue ──► BEGIN IMMEDIATE
//!                                   SAVEPOINT · operation · RELEASE   (one each; a failed one undoes only itself)
//!                                 COMMIT ──► publish the newest event number ──► answers
//! ```
//!
//! Whatever waits when a commit begins goes into it, so that under load many operations share one flush. Nobody is
//! answered before the commit that holds their work. When the commit fails, everyone in it is told.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    database,
    error::{Fail, StoreError},
};

/// Operations that may wait. A driver has one in flight and handlers a few; this is far above what a healthy disk
/// lets pile up, and small in memory.
const QUEUE: usize = 512;
/// Operations that share a commit at most: bounds how long the first of them waits for the last.
const BATCH: usize = 128;
/// How long a caller waits for room in the queue before it is told that the disk cannot keep up.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);

/// Called with the error of the commit, if it failed.
type Answer = Box<dyn FnOnce(Option<&StoreError>) + Send>;

/// One operation: runs inside the transaction, or learns that there is none, and gives back its error, if any.
type Run = Box<dyn FnOnce(Result<&Connection, &StoreError>) -> (Option<StoreError>, Answer) + Send>;

struct Operation {
    durable: bool,
    run: Run,
}

enum Message {
    Operation(Operation),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    position: watch::Receiver<u64>,
    path: PathBuf,
}

impl Writer {
    /// Gives the connection to a new thread. `newest` is the newest event number in it.
    pub(crate) fn start(connection: Connection, path: &Path, newest: u64) -> Result<Self, StoreError> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let (publish, position) = watch::channel(newest);
        let thread = Thread {
            connection,
            path: path.to_owned(),
            publish,
            flushing: None,
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(messages))
            .map_err(|source| StoreError::io("starting the writer of", path, source))?;
        Ok(Self {
            queue,
            position,
            path: path.to_owned(),
        })
    }

    /// The newest committed event number.
    pub(crate) fn position(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    /// Runs an operation in a transaction and answers once it is committed. With `durable` the commit is flushed to
    /// the disk. A caller that goes away does not undo its operation.
    pub(crate) async fn write<T, F>(
        &self,
        action: &'static str,
        durable: bool,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fail> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let path = self.path.clone();
        let run: Run = Box::new(move |connection| {
            let result = match connection {
                Ok(connection) => run(connection).map_err(|fail| fail.into_error(action, &path)),
                Err(error) => Err(error.clone()),
            };
            let error = result.as_ref().err().cloned();
            let answer: Answer = Box::new(move |failed_commit| {
                let result = match failed_commit {
                    Some(error) => result.and_then(|_undone| Err(error.clone())),
                    None => result,
                };
                // The caller may have gone; the work stands all the same.
                drop(sender.send(result));
            });
            (error, answer)
        });
        self.enqueue(Message::Operation(Operation { durable, run }))
            .await?;
        // No deadline: it is in the queue and will be written, so any other answer would be a guess.
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }

    /// How many operations wait.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    async fn enqueue(&self, message: Message) -> Result<(), StoreError> {
        // Almost always there is room, and no timer needs to be made.
        let message = match self.queue.try_send(message) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(StoreError::Closed),
            Err(mpsc::error::TrySendError::Full(message)) => message,
        };
        match self.queue.send_timeout(message, QUEUE_PATIENCE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(StoreError::Closed),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(StoreError::Overloaded {
                waited_s: QUEUE_PATIENCE.as_secs(),
            }),
        }
    }

    /// Writes what is queued, marks the database as cleanly closed and ends the thread.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let (sender, receiver) = oneshot::channel();
        if self.queue.send(Message::Close(sender)).await.is_err() {
            return Ok(());
        }
        receiver.await.unwrap_or(Ok(()))
    }
}

/// What the thread owns.
struct Thread {
    connection: Connection,
    path: PathBuf,
    publish: watch::Sender<u64>,
    /// Whether commits are flushed as the connection is set now. Absent: not set yet.
    flushing: Option<bool>,
}

impl Thread {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = VecDeque::new();
        while let Some(first) = messages.blocking_recv() {
            let mut close = None;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Operation(operation) => batch.push_back(operation),
                    Message::Close(sender) => {
                        close = Some(sender);
                        break;
                    }
                }
                next = if batch.len() < BATCH {
                    messages.try_recv().ok()
                } else {
                    None
                };
            }
            while !batch.is_empty() {
                self.commit(&mut batch);
            }
            if let Some(sender) = close {
                // What was sent after the close finds its answer's sender dropped, which reads as "closed".
                drop(messages);
                drop(sender.send(database::close(self.connection, &self.path)));
                return;
            }
        }
        // Every handle is gone without a close: an abrupt end, as after a kill. The next open recovers.
    }

    /// Runs operations from the front of the batch in one transaction, commits, and answers them. It takes all of
    /// them, unless the transaction is lost half-way (disk full, I/O error): then the rest is left for another.
    fn commit(&mut self, batch: &mut VecDeque<Operation>) {
        let mut answers = Vec::with_capacity(batch.len());
        match self.transaction(batch, &mut answers) {
            Ok(newest) => {
                self.publish.send_if_modified(|position| {
                    let grown = newest > *position;
                    *position = newest.max(*position);
                    grown
                });
                answers.into_iter().for_each(|answer| answer(None));
            }
            Err(error) => {
                if !self.connection.is_autocommit()
                    && let Err(source) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(path = %self.path.display(), %source, "undoing a failed commit");
                }
                if answers.is_empty() {
                    // It could not even begin; nor could the next.
                    answers.extend(batch.drain(..).map(|operation| (operation.run)(Err(&error)).1));
                }
                answers.into_iter().for_each(|answer| answer(Some(&error)));
            }
        }
    }

    /// The newest event number, once everything is committed.
    fn transaction(
        &mut self,
        batch: &mut VecDeque<Operation>,
        answers: &mut Vec<Answer>,
    ) -> Result<u64, StoreError> {
        let connection = &self.connection;
        let failed = |source| StoreError::sqlite("writing", &self.path, source);
        let flush = batch.iter().any(|operation| operation.durable);
        if self.flushing != Some(flush) {
            let level = if flush { "FULL" } else { "NORMAL" };
            connection
                .pragma_update(None, "synchronous", level)
                .map_err(failed)?;
            self.flushing = Some(flush);
        }
        execute(connection, "BEGIN IMMEDIATE").map_err(failed)?;
        while !batch.is_empty() {
            execute(connection, "SAVEPOINT operation").map_err(failed)?;
            let Some(operation) = batch.pop_front() else { break };
            let (error, answer) = (operation.run)(Ok(connection));
            answers.push(answer);
            match error {
                // Some errors end the whole transaction inside SQLite, and with it the work of those before.
                Some(error) if connection.is_autocommit() => return Err(error),
                Some(_) => execute(connection, "ROLLBACK TO operation").map_err(failed)?,
                None => {}
            }
            execute(connection, "RELEASE operation").map_err(failed)?;
        }
        let newest = database::newest_event(connection).map_err(failed)?;
        execute(connection, "COMMIT").map_err(failed)?;
        Ok(newest)
    }
}

fn execute(connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

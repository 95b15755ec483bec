//! Output: answers at once, streams through a thread of their own.
//!
//! A stream goes through a bounded queue to one thread that writes both outputs in order. So a reader that does not
//! read stops the stream, not the handling of Ctrl-C. Bytes are written as they came, in whole chunks.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Failure, Result};

/// Chunks on their way to the outputs; at 256 KiB each, 4 MiB.
const QUEUE: usize = 16;

/// How long the last output may take to be on the screen of somebody who leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes an answer to stdout.
pub fn answer(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| out_failed(&error))
}

/// Writes bytes as an answer to stdout.
pub fn answer_bytes(bytes: &[u8]) -> Result<()> {
    write_all(io::stdout(), bytes).map_err(|error| out_failed(&error))
}

/// Writes a remark to stderr. When nobody reads that, nobody misses it.
pub fn remark(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// As [`remark`], by who is told to end: where it cannot be written at once it is left out.
pub fn last_remark(text: &str) {
    if takes(io::stderr()) {
        remark(text);
    }
}

/// Whether something can be written without waiting. A terminal that was stopped takes nothing.
pub fn takes(output: impl AsFd) -> bool {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&output, PollFlags::OUT)], Some(&at_once)) == Ok(1)
}

fn out_failed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Closed
    } else {
        Failure::io("writing to", "stdout", error)
    }
}

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

/// The way to the thread that writes.
#[derive(Debug)]
pub struct Pump {
    queue: mpsc::Sender<(Output, Bytes)>,
    /// What the thread is made from. It is started when there is something to write, which may never be.
    unstarted: Option<Ends>,
    end: Option<oneshot::Receiver<io::Result<()>>>,
}

/// What the thread that writes holds.
#[derive(Debug)]
struct Ends {
    chunks: mpsc::Receiver<(Output, Bytes)>,
    tell: oneshot::Sender<io::Result<()>>,
}

impl Pump {
    /// A way to the outputs.
    pub fn new() -> Self {
        Self::holding(QUEUE)
    }

    /// A way for what is better left out than late: one chunk waits while another is written. See [`Pump::room`].
    pub fn narrow() -> Self {
        Self::holding(1)
    }

    fn holding(chunks: usize) -> Self {
        let (queue, chunks) = mpsc::channel(chunks);
        let (tell, end) = oneshot::channel();
        Self {
            queue,
            unstarted: Some(Ends { chunks, tell }),
            end: Some(end),
        }
    }

    fn start(&mut self) {
        if let Some(Ends { chunks, tell }) = self.unstarted.take() {
            std::thread::spawn(move || {
                // When nobody waits for the end any more the process is about to leave.
                let _ = tell.send(write_chunks(chunks));
            });
        }
    }

    /// Hands over bytes, waiting while the queue is full.
    pub async fn write(&mut self, output: Output, bytes: Bytes) -> Result<()> {
        self.start();
        if self.queue.send((output, bytes)).await.is_ok() {
            return Ok(());
        }
        match self.verdict().await {
            Err(error) => Err(error),
            // The thread only leaves while the queue is open when writing failed.
            Ok(()) => Err(Failure::Closed),
        }
    }

    /// Waits until something can be handed over at once, or until writing has failed, which the next writing tells.
    pub async fn room(&self) {
        let _ = self.queue.reserve().await;
    }

    /// A way for remarks in between.
    pub fn aside(&mut self) -> Aside {
        self.start();
        Aside(self.queue.downgrade())
    }

    /// Waits until everything is written, but not for an output that has stopped.
    pub async fn last_words(&mut self) {
        let _ = tokio::time::timeout(LAST_WORDS, self.finish()).await;
    }

    /// Waits until everything is written. Nothing can be written after that.
    pub async fn finish(&mut self) -> Result<()> {
        let (closed, _) = mpsc::channel(1);
        self.queue = closed;
        self.unstarted = None;
        self.verdict().await
    }

    async fn verdict(&mut self) -> Result<()> {
        let Some(end) = &mut self.end else {
            return Ok(());
        };
        // Whoever gives up waiting may wait again.
        let outcome = end.await;
        self.end = None;
        match outcome {
            Ok(Err(error)) => Err(out_failed(&error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// A way to write something short to stdout, in order with the rest, from beside the stream.
#[derive(Debug, Clone)]
pub struct Aside(mpsc::WeakSender<(Output, Bytes)>);

impl Aside {
    /// Writes at once or not at all: when the output is stuck nobody would see it now.
    pub fn say(&self, bytes: &[u8]) {
        if let Some(queue) = self.0.upgrade() {
            let _ = queue.try_send((Output::Stdout, Bytes::copy_from_slice(bytes)));
        }
    }
}

fn write_chunks(mut chunks: mpsc::Receiver<(Output, Bytes)>) -> io::Result<()> {
    while let Some((output, bytes)) = chunks.blocking_recv() {
        match output {
            Output::Stdout => write_all(io::stdout(), &bytes)?,
            // A closed stderr loses remarks and the program's errors; that was the caller's choice.
            Output::Stderr => drop(write_all(io::stderr(), &bytes)),
        }
    }
    Ok(())
}

/// Writes everything, past any buffer, also to a descriptor that somebody made non-blocking.
fn write_all(output: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&output, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&output, PollFlags::OUT)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
impl Pump {
    /// One whose thread is the test: it writes when the test takes something from the queue.
    pub fn by_hand() -> (Self, ByHand) {
        let mut pump = Self::new();
        let ends = pump.unstarted.take().unwrap();
        (pump, ByHand(ends))
    }
}

/// Stands for the thread of a [`Pump`].
#[cfg(test)]
pub struct ByHand(Ends);

#[cfg(test)]
impl ByHand {
    /// What waits to be written next. None when nothing does.
    pub fn take(&mut self) -> Option<Bytes> {
        self.0.chunks.try_recv().ok().map(|(_, bytes)| bytes)
    }

    /// Everything is written.
    pub fn done(self) {
        self.0.tell.send(Ok(())).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    #[test]
    fn who_gave_up_waiting_for_the_end_can_wait_again() {
        let ctx = &mut Context::from_waker(Waker::noop());
        let (mut pump, thread) = Pump::by_hand();
        assert!(pin!(pump.finish()).poll(ctx).is_pending());
        assert!(pin!(pump.finish()).poll(ctx).is_pending(), "nothing is written");
        thread.done();
        assert!(matches!(pin!(pump.finish()).poll(ctx), Poll::Ready(Ok(()))));
    }
}

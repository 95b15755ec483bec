//! One control-mode client: commands in, their replies out, and a word when something about clients or sessions
//! changed.
//!
//! No stream of a program's output goes through it; a screen does, in a reply that is fenced. It ends when tmux does, when
//! a reply is overdue, or when its last handle is dropped.
//!
//! Its process is asked to end and never killed: a client says in several pieces who it is, and until tmux 3.7 the server
//! crashes, with all sessions in it, when a control client goes away in between. One that is asked says it all first.

use std::{
    collections::VecDeque,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, ChildStdout, Command},
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::sys;

use super::{
    Error,
    fence::Nonce,
    parse::{Parser, Reply, Said},
    quote::Commands,
};

/// How long tmux may take for an answer. It answers in microseconds unless the machine is in deep trouble.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Commands waiting to be written. More callers than this wait in line.
const QUEUE: usize = 64;

/// A handle on the client; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    requests: mpsc::Sender<Request>,
    ended: CancellationToken,
    changed: Arc<Notify>,
    _guard: Arc<DropGuard>,
}

#[derive(Debug)]
struct Request {
    commands: Commands,
    answer: oneshot::Sender<Result<Vec<Reply>, Error>>,
}

/// A request whose replies are not all in.
#[derive(Debug)]
struct Waiting {
    /// For each reply that is not in what fences it.
    left: VecDeque<Option<Nonce>>,
    replies: Vec<Reply>,
    answer: oneshot::Sender<Result<Vec<Reply>, Error>>,
}

type Queue = Arc<Mutex<VecDeque<Waiting>>>;

impl Client {
    /// Starts `command`, which is to be a tmux with `-C`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        // A control client whose process lives on and whose output nobody reads stays with the server for ever, and keeps
        // it from ending: the server waits until everything was read.
        sys::ends_with_us(command.as_std_mut());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Out of the way of whoever ends the group that the helper is in: it is to be asked, never killed.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        let missing = || io::Error::other("the child has no pipes");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let (requests, inbox) = mpsc::channel(QUEUE);
        let ended = CancellationToken::new();
        let changed = Arc::new(Notify::new());
        let queue = Queue::default();

        let writing = write(stdin, inbox, Arc::clone(&queue));
        let reading = read(stdout, Arc::clone(&queue), Arc::clone(&changed));
        let token = ended.clone();
        tokio::spawn(async move {
            // A guard, so that it is said also when this task is aborted.
            let said = token.clone().drop_guard();
            tokio::select! {
                () = reading => {}
                () = writing => {}
                () = token.cancelled() => {}
            }
            drop(said);
            lock(&queue).clear();
            // Nothing is lost by its end: it holds no state, and what was sent is with the server.
            if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                // Ours until it is collected, so the number is its own. It fails for one that has ended.
                let _ = kill_process(pid, Signal::TERM);
            }
            // Only collects it, so nobody waits for this; it ends as soon as it gets to run.
            let _ = child.wait().await;
        });
        Ok(Self {
            requests,
            changed,
            _guard: Arc::new(ended.clone().drop_guard()),
            ended,
        })
    }

    /// Runs commands and answers with what each printed.
    ///
    /// # Errors
    /// [`Error::Refused`] with tmux's words when one was refused (those after it did not run), [`Error::Gone`] when the
    /// client or the server ended.
    pub async fn run(&self, commands: Commands) -> Result<Vec<Reply>, Error> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let request = Request { commands, answer };
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Error::Gone),
            Err(_elapsed) => {
                // Whatever it answers later would be taken for the answer to something else.
                self.ended.cancel();
                Err(Error::Gone)
            }
        }
    }

    /// Runs one command and answers with its first line, lossily as text.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub async fn line(&self, commands: Commands) -> Result<String, Error> {
        let replies = self.run(commands).await?;
        let line = replies.first().and_then(|reply| reply.lines.first());
        Ok(line
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .unwrap_or_default())
    }

    /// Ends it; what is still asked of it is not answered.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// True when it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until it has ended, without keeping it alive.
    pub fn on_end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Told whenever clients came or went, or sessions did. One word for any number of changes.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

/// Writes requests. Ends when all handles are gone or tmux takes no more.
async fn write(mut to: ChildStdin, mut inbox: mpsc::Receiver<Request>, queue: Queue) {
    while let Some(Request { commands, answer }) = inbox.recv().await {
        let mut line = commands.line().to_owned();
        line.push('\n');
        lock(&queue).push_back(Waiting {
            left: commands.fences().iter().copied().collect(),
            replies: Vec::new(),
            answer,
        });
        if to.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads until the end, giving every reply to whom it belongs.
async fn read(mut from: ChildStdout, queue: Queue, changed: Arc<Notify>) {
    let mut parser = Parser::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        let mut rest = buffer.get(..count).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        loop {
            // Whoever a reply in these bytes belongs to is in the queue already: only then was the command written.
            let fence = next_fence(&lock(&queue));
            let Some(said) = parser.next(&mut rest, fence) else {
                break;
            };
            match said {
                Said::Reply(reply) if reply.ours => settle(&mut lock(&queue), reply),
                Said::Reply(_) => {}
                Said::Notification { name, .. } => match name.as_str() {
                    "exit" => return,
                    "sessions-changed" | "client-session-changed" | "client-detached" => changed.notify_one(),
                    _ => {}
                },
            }
        }
    }
}

/// What fences the next reply.
fn next_fence(queue: &VecDeque<Waiting>) -> Option<Nonce> {
    queue.front()?.left.front().copied().flatten()
}

/// Replies come in the order of the commands. One that was refused is the last of its line.
fn settle(queue: &mut VecDeque<Waiting>, reply: Reply) {
    let Some(waiting) = queue.front_mut() else { return };
    waiting.left.pop_front();
    let ok = reply.ok;
    waiting.replies.push(reply);
    if ok && !waiting.left.is_empty() {
        return;
    }
    let Some(mut done) = queue.pop_front() else { return };
    let result = match done.replies.pop() {
        Some(refused) if !refused.ok => {
            let text = refused.lines.join(&b' ');
            Err(Error::Refused(String::from_utf8_lossy(&text).into_owned()))
        }
        last => {
            done.replies.extend(last);
            Ok(done.replies)
        }
    };
    // Who asked may have given up.
    let _ = done.answer.send(result);
}

fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
    // A queue is whole after every single operation on it.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

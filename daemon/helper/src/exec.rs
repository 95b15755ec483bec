//! Runs a program for as long as somebody listens: its input and outputs are streams, and when they are gone so is it,
//! with its whole process group.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use outlast_client::{
    helper_v1::{ExecRequest, ExecResponse, ExecStart, ExecStarted, Outcome, exec_request, exec_response},
    v1::{Error, ErrorKind},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use crate::{facts, service::Answers, spool::now_ms};

/// Messages of output under way. With [`CHUNK`] each, a stalled reader holds a quarter of a megabyte.
const QUEUE: usize = 4;

/// Bytes read from a pipe at once: a whole pipe.
const CHUNK: usize = 64 << 10;

/// Chunks of input under way to a program that does not read.
const INPUT_QUEUE: usize = 4;

/// Time between TERM and KILL for a program whose listener is gone.
const GRACE: Duration = Duration::from_secs(2);

/// How long output may still come after the program itself ended, from children it left behind.
const LATE_OUTPUT: Duration = Duration::from_secs(1);

/// How long the first message may take.
const START_WITHIN: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<ExecResponse, Status>>;

/// Runs what the first message asks for.
pub(crate) async fn exec(
    tasks: &TaskTracker,
    mut input: Streaming<ExecRequest>,
) -> Result<Answers<ExecResponse>, Status> {
    let first = timeout(START_WITHIN, input.message())
        .await
        .map_err(|_elapsed| usage("nothing was asked for"))??;
    let Some(exec_request::Event::Start(start)) = first.and_then(|first| first.event) else {
        return Err(usage("the first message must say what to run"));
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    tasks.spawn(async move {
        let outcome = run(start, input, &sender).await;
        if let Some(outcome) = outcome {
            say(&sender, exec_response::Event::Ended(outcome)).await;
        }
    });
    Ok(Answers::new(receiver))
}

fn usage(message: &str) -> Status {
    Error::new(ErrorKind::Usage, message).into_status()
}

async fn say(to: &Sender, event: exec_response::Event) -> bool {
    to.send(Ok(ExecResponse { event: Some(event) })).await.is_ok()
}

/// Runs it to its end. None: nobody listens any more.
async fn run(start: ExecStart, input: Streaming<ExecRequest>, to: &Sender) -> Option<Outcome> {
    let mut child = match spawn(&start) {
        Ok(child) => child,
        Err(outcome) => return Some(outcome),
    };
    let pid = child.id().unwrap_or_default();
    let group = Group(i32::try_from(pid).ok().and_then(Pid::from_raw));
    let stdin = child.stdin.take();
    let outputs = (child.stdout.take()?, child.stderr.take()?);
    if !say(to, exec_response::Event::Started(ExecStarted { pid })).await {
        group.end(&mut child).await;
        return None;
    }
    let (stdout, stderr) = outputs;
    let outputs = async {
        tokio::join!(
            pump(stdout, to, exec_response::Event::Stdout),
            pump(stderr, to, exec_response::Event::Stderr)
        );
    };
    tokio::pin!(outputs);
    let inputs = feed(input, stdin, group);
    tokio::pin!(inputs);
    let (mut read_all, mut fed) = (false, false);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut outputs, if !read_all => read_all = true,
            // The listener can close its side and go on listening; a broken stream is one that is gone.
            whole = &mut inputs, if !fed => {
                fed = true;
                if !whole {
                    group.end(&mut child).await;
                    return None;
                }
            }
            () = to.closed() => {
                group.end(&mut child).await;
                return None;
            }
        }
    };
    if !read_all {
        // What is in the pipes is there already; only children that were left behind can write more.
        let _ = timeout(LATE_OUTPUT, outputs).await;
    }
    Some(outcome(status.ok()))
}

fn spawn(start: &ExecStart) -> Result<Child, Outcome> {
    let failed = |code: i32, reason: String| Outcome {
        exit_code: Some(code),
        ended_at_ms: now_ms(),
        reason: Some(reason),
        ..Outcome::default()
    };
    let Some((program, arguments)) = start.command.split_first() else {
        return Err(failed(127, "no program was named".to_owned()));
    };
    let cwd = if start.cwd.is_empty() {
        facts::home()
    } else {
        PathBuf::from(&start.cwd)
    };
    if !cwd.is_dir() {
        return Err(failed(
            126,
            format!("entering {}: no such directory", cwd.display()),
        ));
    }
    Command::new(program)
        .args(arguments)
        .envs(&start.env)
        .current_dir(cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let code = if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            failed(code, format!("starting {program}: {error}"))
        })
}

fn outcome(status: Option<ExitStatus>) -> Outcome {
    Outcome {
        exit_code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        ended_at_ms: now_ms(),
        ..Outcome::default()
    }
}

/// Sends everything that comes until the end.
async fn pump<R: AsyncRead + Unpin>(mut from: R, to: &Sender, event: fn(Bytes) -> exec_response::Event) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if !say(to, event(bytes)).await {
            return;
        }
    }
}

/// Handles what the listener sends, to its end. False: the stream broke. Some chunks of input wait for a program that
/// does not read; what comes after them, signals included, waits with them.
async fn feed(mut input: Streaming<ExecRequest>, stdin: Option<ChildStdin>, group: Group) -> bool {
    let (bytes, mut queue) = mpsc::channel::<Bytes>(INPUT_QUEUE);
    let write = async move {
        let mut stdin = stdin;
        while let Some(bytes) = queue.recv().await {
            // A program that closed its input gets no more of it, which is no error.
            if let Some(open) = &mut stdin
                && open.write_all(&bytes).await.is_err()
            {
                stdin = None;
            }
        }
    };
    let read = async move {
        let mut bytes = Some(bytes);
        loop {
            match input.message().await {
                Ok(Some(request)) => match request.event {
                    Some(exec_request::Event::Stdin(data)) => {
                        if let Some(open) = &bytes {
                            // The writer ends only with this sender.
                            let _ = open.send(data).await;
                        }
                    }
                    Some(exec_request::Event::StdinEof(true)) => bytes = None,
                    Some(exec_request::Event::Signal(number)) => group.signal(number),
                    _ => {}
                },
                Ok(None) => return true,
                Err(_broken) => return false,
            }
        }
    };
    let (whole, ()) = tokio::join!(read, write);
    whole
}

/// The process group of the program, which has the program's number.
#[derive(Debug, Clone, Copy)]
struct Group(Option<Pid>);

impl Group {
    fn signal(self, number: i32) {
        if let (Some(group), Some(signal)) = (self.0, Signal::from_named_raw(number)) {
            // It may be gone.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Ends it: TERM, then KILL, also for those of the group that outlive their leader.
    async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM.as_raw());
        let ended = timeout(GRACE, child.wait()).await.is_ok();
        self.signal(Signal::KILL.as_raw());
        if !ended {
            let _ = child.wait().await;
        }
    }
}

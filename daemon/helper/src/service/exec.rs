//! Runs a program for as long as somebody listens, on pipes or on a terminal of its own: its input and outputs are streams,
//! and when they are gone so is it.

mod hold;
mod start;

use std::{
    future::pending, os::fd::AsFd, os::unix::process::ExitStatusExt as _, process::ExitStatus, sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use outlast_client::helper_v1::{
    ExecRequest, ExecResponse, ExecStart, ExecStarted, Outcome, exec_request, exec_response,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

pub(super) use self::start::program;
use self::{
    hold::Hold,
    start::{Input, Output, Running},
};
use super::{Answers, Core, error::usage};
use crate::{program::Refusal, pty::Pty, spool::now_ms};

/// Messages of output under way. With [`CHUNK`] each, a stalled reader holds a quarter of a megabyte.
const QUEUE: usize = 4;

/// Bytes read at once: a whole pipe.
const CHUNK: usize = 64 << 10;

/// Chunks of input under way to a program that does not read.
const INPUT_QUEUE: usize = 4;

/// How long output is still waited for after the program itself ended, from children it left behind. How long a reader
/// takes for what came is another matter.
const LATE_OUTPUT: Duration = Duration::from_secs(1);

/// How long the first message may take.
const START_WITHIN: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<ExecResponse, Status>>;

/// Runs what the first message asks for.
pub(super) async fn exec(
    core: Arc<Core>,
    mut input: Streaming<ExecRequest>,
) -> Result<Answers<ExecResponse>, Status> {
    let first = timeout(START_WITHIN, input.message())
        .await
        .map_err(|_elapsed| usage("nothing was asked for"))??;
    let Some(exec_request::Event::Start(start)) = first.and_then(|first| first.event) else {
        return Err(usage("the first message must say what to run"));
    };
    if start
        .terminal
        .as_ref()
        .is_some_and(|terminal| start::size(terminal.size).is_none())
    {
        return Err(usage("the size is none that a terminal can have"));
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let tasks = core.tasks.clone();
    tasks.spawn(async move {
        let outcome = run(&core, start, input, &sender).await;
        if let Some(outcome) = outcome {
            say(&sender, exec_response::Event::Ended(outcome)).await;
        }
    });
    Ok(Answers::new(receiver))
}

async fn say(to: &Sender, event: exec_response::Event) -> bool {
    to.send(Ok(ExecResponse { event: Some(event) })).await.is_ok()
}

/// Runs it to its end. None: nobody listens any more.
async fn run(core: &Core, start: ExecStart, input: Streaming<ExecRequest>, to: &Sender) -> Option<Outcome> {
    let program = tokio::select! {
        program = program(core, &start) => program,
        () = to.closed() => return None,
    };
    let running = match &start.terminal {
        None => start::on_pipes(&program),
        Some(terminal) => start::on_terminal(&program, terminal),
    };
    let Running {
        mut child,
        input: stdin,
        output,
    } = match running {
        Ok(running) => running,
        Err(refusal) => return Some(refused(refusal)),
    };
    let pid = child.id().unwrap_or_default();
    let hold = Hold::new(pid, output.terminal().cloned(), core.leaving.clone());
    if !say(to, exec_response::Event::Started(ExecStarted { pid })).await {
        hold.end(&mut child).await;
        return None;
    }
    let late = CancellationToken::new();
    let outputs = pass_on(output, to, &late);
    tokio::pin!(outputs);
    let inputs = feed(input, stdin, &hold);
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
                    hold.end(&mut child).await;
                    return None;
                }
            }
            () = to.closed() => {
                hold.end(&mut child).await;
                return None;
            }
        }
    };
    hold.is_over();
    if !read_all {
        // What is in the pipes is there already; only children that were left behind can write more.
        let give_up = async {
            sleep(LATE_OUTPUT).await;
            late.cancel();
            pending::<()>().await;
        };
        tokio::select! {
            () = outputs => {}
            () = give_up => {}
            () = to.closed() => return None,
        }
    }
    Some(outcome(status.ok()))
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome {
        exit_code: Some(refusal.exit_code),
        ended_at_ms: now_ms(),
        reason: Some(refusal.reason),
        ..Outcome::default()
    }
}

fn outcome(status: Option<ExitStatus>) -> Outcome {
    Outcome {
        exit_code: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
        ended_at_ms: now_ms(),
        ..Outcome::default()
    }
}

/// Sends everything that comes until the end, or until nothing more is waited for.
async fn pass_on(output: Output, to: &Sender, late: &CancellationToken) {
    match output {
        Output::Pipes(stdout, stderr) => {
            tokio::join!(
                pump(stdout, to, exec_response::Event::Stdout, late),
                pump(stderr, to, exec_response::Event::Stderr, late)
            );
        }
        Output::Terminal(pty) => show(&pty, to, late).await,
    }
}

async fn pump<R: AsyncRead + AsFd + Unpin>(
    mut from: R,
    to: &Sender,
    event: fn(Bytes) -> exec_response::Event,
    late: &CancellationToken,
) {
    // The program may have made it wider.
    let holds = |from: &R| rustix::pipe::fcntl_getpipe_size(from).unwrap_or(CHUNK);
    let mut buffer = vec![0; CHUNK];
    let mut left = None;
    loop {
        if left.is_none() && late.is_cancelled() {
            left = Some(holds(&from));
        }
        let count = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = late.cancelled() => 0,
        };
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if count == 0 || !say(to, event(bytes)).await || is_enough(&mut left, count) {
            return;
        }
    }
}

async fn show(pty: &Pty, to: &Sender, late: &CancellationToken) {
    let mut buffer = BytesMut::zeroed(CHUNK);
    let mut left = None;
    loop {
        if left.is_none() && late.is_cancelled() {
            // More than a terminal holds.
            left = Some(CHUNK);
        }
        let count = tokio::select! {
            biased;
            read = pty.read(&mut buffer) => read.unwrap_or(0),
            () = late.cancelled() => 0,
        };
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        let event = exec_response::Event::Stdout(bytes);
        if count == 0 || !say(to, event).await || is_enough(&mut left, count) {
            return;
        }
    }
}

/// Counts what was read since nothing more is waited for. True: all that lay there then was read, and what comes now is
/// that of a child that goes on for ever.
fn is_enough(left: &mut Option<usize>, count: usize) -> bool {
    left.as_mut().is_some_and(|left| {
        *left = left.saturating_sub(count);
        *left == 0
    })
}

/// Handles what the listener sends, to its end. False: the stream broke. Some chunks of input wait for a program that
/// does not read; what comes after them, signals included, waits with them.
async fn feed(mut input: Streaming<ExecRequest>, mut stdin: Input, hold: &Hold) -> bool {
    let (bytes, mut queue) = mpsc::channel::<Bytes>(INPUT_QUEUE);
    let write = async move {
        while let Some(bytes) = queue.recv().await {
            stdin.write(&bytes).await;
        }
        stdin.end().await;
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
                    Some(exec_request::Event::Signal(number)) => hold.signal(number),
                    Some(exec_request::Event::Size(size)) => hold.resize(size),
                    _ => {}
                },
                Ok(None) => return true,
                Err(_broken) => return false,
            }
        }
    };
    tokio::pin!(write);
    tokio::pin!(read);
    tokio::select! {
        whole = &mut read => {
            if whole {
                write.await;
            }
            whole
        }
        () = &mut write => read.await,
    }
}

//! Runs a program for as long as somebody listens, on pipes or on a terminal of its own: its input and outputs are streams,
//! and when they are gone so is it.

mod hold;
mod start;

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use outlast_client::helper_v1::{
    ExecRequest, ExecResponse, ExecStart, ExecStarted, Outcome, exec_request, exec_response,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::timeout,
};
use tonic::{Status, Streaming};

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

/// How long output may still come after the program itself ended, from children it left behind.
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
        program = start::program(core, &start) => program,
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
    let outputs = pass_on(output, to);
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
        let _ = timeout(LATE_OUTPUT, outputs).await;
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

/// Sends everything that comes until the end.
async fn pass_on(output: Output, to: &Sender) {
    match output {
        Output::Pipes(stdout, stderr) => {
            tokio::join!(
                pump(stdout, to, exec_response::Event::Stdout),
                pump(stderr, to, exec_response::Event::Stderr)
            );
        }
        Output::Terminal(pty) => show(&pty, to).await,
    }
}

async fn pump<R: AsyncRead + Unpin>(mut from: R, to: &Sender, event: fn(Bytes) -> exec_response::Event) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if !say(to, event(bytes)).await {
            return;
        }
    }
}

async fn show(pty: &Pty, to: &Sender) {
    let mut buffer = BytesMut::zeroed(CHUNK);
    while let Ok(count @ 1..) = pty.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if !say(to, exec_response::Event::Stdout(bytes)).await {
            return;
        }
    }
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

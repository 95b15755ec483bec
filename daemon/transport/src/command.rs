//! A program of this machine as a carrier: whatever its standard input and output reach is the far end.
//!
//! It is the leader of a process group of its own, which is killed when nobody wants the stream any more. Knows nothing
//! of what the program is.

use std::{
    ffi::OsStr,
    os::fd::AsFd as _,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use outlast_helper::serve::BULK_NICE;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    connect::Purpose,
    error::{Cause, ConnectError},
    stream::{Said, Stream},
};

/// How long a program whose input has ended may take to end as well: a helper needs a second at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How long to wait for the rest of standard error once the program has ended: somebody it left behind may hold it open.
const STDERR_WITHIN: Duration = Duration::from_millis(500);

/// Bytes that a pipe holds for what is much: what any user may have on Linux.
#[cfg(target_os = "linux")]
const PIPE: usize = 1 << 20;

/// Why the program's end was the end: from its status and the end of what it said.
pub(crate) type Explain = Box<dyn FnOnce(ExitStatus, &str) -> ConnectError + Send>;

/// Starts a program and gives its bytes. It is killed when `given_up` is used, which is then explained like any end. One
/// that carries much stands back behind everybody else.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start_until(
    mut command: Command,
    given_up: oneshot::Receiver<()>,
    explain: Explain,
    purpose: Purpose,
) -> Result<Stream, ConnectError> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| {
        let text = format!("starting {name}: {error}");
        ConnectError::new(Cause::Misconfigured, text).with_hint(format!("is {name} installed and in PATH?"))
    };
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed(std::io::Error::other(
            "it has no standard input and outputs",
        )));
    };
    if purpose.is_much() {
        stand_back(&child, &stdin, &stdout);
    }
    let said = Arc::new(Said::default());
    let (closing, closed) = watch::channel(None);
    let (guard, unwanted) = oneshot::channel();
    tokio::spawn(look_after(
        child,
        drain(stderr, Arc::clone(&said), name),
        Arc::clone(&said),
        [unwanted, given_up],
        closing,
        explain,
    ));
    Ok(Stream {
        io: Box::new(tokio::io::join(stdout, stdin)),
        said,
        closed,
        guard: Box::new(Guard(Some(guard))),
    })
}

/// Lets everybody else go first, and fewer and larger pieces under way. Where that may not be, it goes on as before.
fn stand_back(child: &Child, stdin: &ChildStdin, stdout: &ChildStdout) {
    let program = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if program.is_some() {
        let _ = setpriority_process(program, BULK_NICE);
    }
    #[cfg(target_os = "linux")]
    for pipe in [stdin.as_fd(), stdout.as_fd()] {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
}

/// Tells by its drop that the program is not wanted any more.
struct Guard(#[allow(dead_code, reason = "its drop is what it is for")] Option<oneshot::Sender<()>>);

async fn look_after(
    mut child: Child,
    draining: impl Future<Output = ()> + Send,
    said: Arc<Said>,
    [unwanted, given_up]: [oneshot::Receiver<()>; 2],
    closing: watch::Sender<Option<ConnectError>>,
    explain: Explain,
) {
    tokio::pin!(draining);
    let mut drained = false;
    tokio::pin!(unwanted, given_up);
    let mut may_give_up = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut draining, if !drained => drained = true,
            told = &mut given_up, if may_give_up => {
                may_give_up = false;
                if told.is_ok() {
                    kill(&child);
                }
            }
            // Nobody holds the sender but the guard, so any answer means that it is gone.
            _ = &mut unwanted => {
                // Its input ends with the stream, so that whatever is at the far end can leave in good order.
                if timeout(LEAVE_WITHIN, child.wait()).await.is_err() {
                    kill(&child);
                    let _ = child.wait().await;
                }
                closing.send_replace(Some(ConnectError::new(Cause::Cut, "the connection was closed here")));
                return;
            }
        }
    };
    if !drained {
        let _ = timeout(STDERR_WITHIN, &mut draining).await;
    }
    let reason = match status {
        Ok(status) => explain(status, &said.text()),
        Err(error) => ConnectError::new(Cause::Cut, format!("waiting for the program: {error}")),
    };
    closing.send_replace(Some(reason));
}

/// Ends the program and whatever it started in its group. It was not waited for, so the number is still its own.
fn kill(child: &Child) {
    let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Reads standard error to its end, keeps the end of it, and logs it.
async fn drain(mut from: ChildStderr, keep: Arc<Said>, program: String) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        tracing::debug!(program, "{}", String::from_utf8_lossy(bytes).escape_debug());
        keep.push(bytes);
    }
}

/// Starts the user's command that reaches a shell.
///
/// # Errors
/// When there is none, or it cannot be started.
pub(crate) fn shell(argv: &[String], purpose: Purpose) -> Result<Stream, ConnectError> {
    let Some((program, args)) = argv.split_first() else {
        return Err(ConnectError::new(
            Cause::Misconfigured,
            "the command that reaches the host is empty",
        ));
    };
    let mut command = Command::new(program);
    command.args(args);
    let name = program.clone();
    let (_never, given_up) = oneshot::channel();
    let explain = move |status, _said: &str| ended(OsStr::new(&name), status);
    start_until(command, given_up, Box::new(explain), purpose)
}

/// The end of a program of which nothing more is known: something at the far end ended, or the program failed.
pub(crate) fn ended(program: &OsStr, status: ExitStatus) -> ConnectError {
    let text = format!("{} ended with {status}", program.to_string_lossy());
    ConnectError::new(Cause::HelperFailed, text)
}

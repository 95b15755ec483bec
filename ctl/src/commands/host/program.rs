//! A program that runs on a host for as long as somebody listens: how it is begun, and how its end is told.

use outlast_client::{
    client::ClientError,
    v1::{
        ErrorKind, ExecEnded, ExecHostRequest, ExecHostResponse, ExecOpen, exec_host_request::Event as Say,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::BEGUN_WITHIN;
use crate::{
    context::Context,
    error::{Failure, Result},
    follow::cut,
};

/// Messages on their way to the daemon. At the size of a chunk of stdin it is 1 MiB, as much as a pipe's worth or two.
const QUEUE: usize = 8;

/// Exit code of a program that is not there.
const NO_SUCH_PROGRAM: i32 = 127;

/// A program that begins.
#[derive(Debug)]
pub struct Program {
    pub say: mpsc::Sender<ExecHostRequest>,
    pub messages: Streaming<ExecHostResponse>,
    /// The first message, which came with the beginning.
    pub first: Option<ExecHostResponse>,
}

/// Asks for a program, and waits until it begins, or is known not to. `input` may say more from the start.
///
/// It is asked for once: a program must not run twice because a connection broke.
pub async fn begin(
    ctx: &Context,
    open: ExecOpen,
    input: impl FnOnce(mpsc::Sender<ExecHostRequest>),
) -> Result<Program> {
    let host = open.host.clone();
    let (say, receive) = mpsc::channel(QUEUE);
    // The queue is new and has room.
    let _ = say.try_send(message(Say::Open(open)));
    let daemon = ctx.daemon().await?;
    let mut hosts = daemon.hosts();
    let call = hosts.exec_host(ReceiverStream::new(receive));
    input(say.clone());
    let begun = async {
        let mut messages = daemon.answer_within(BEGUN_WITHIN, call).await?;
        let first = messages.message().await?;
        Ok((messages, first))
    };
    match tokio::time::timeout(BEGUN_WITHIN, begun).await {
        Ok(Ok((messages, first @ Some(_)))) => Ok(Program { say, messages, first }),
        Ok(Ok((_, None))) => Err(broken(cut(), &host)),
        Ok(Err(error)) => Err(unbegun(error, &host)),
        Err(_elapsed) => Err(broken(
            ClientError::NoAnswer {
                pid: daemon.pid(),
                after: BEGUN_WITHIN,
            },
            &host,
        )),
    }
}

/// The failure that a refusal stands for: the program never ran.
fn unbegun(error: ClientError, host: &str) -> Failure {
    match error {
        ClientError::Answered(answered)
            if matches!(answered.kind(), ErrorKind::Restarting | ErrorKind::Stopping) =>
        {
            Failure::from(answered).hint(survives(host))
        }
        error => broken(error, host),
    }
}

/// The failure that a connection stands for which ended before the program did.
pub fn broken(error: ClientError, host: &str) -> Failure {
    match error {
        ClientError::Answered(answered)
            if matches!(answered.kind(), ErrorKind::Restarting | ErrorKind::Stopping) =>
        {
            let does = match answered.kind() {
                ErrorKind::Restarting => "restarts",
                _ => "stops",
            };
            let message = format!("outlastd {does}; the program on host {host} was ended");
            Failure::from(answered).retold(message).hint(survives(host))
        }
        ClientError::Broken(_) => {
            let message = format!(
                "the connection to outlastd broke; how the program on host {host} ended is not known"
            );
            Failure::from(error).retold(message).hint(survives(host))
        }
        ClientError::Answered(ref answered) if answered.kind() == ErrorKind::Unreachable => {
            Failure::from(error).hint_else(survives(host))
        }
        error => error.into(),
    }
}

/// What goes on when a connection breaks.
fn survives(host: &str) -> String {
    format!(
        "work that survives a broken connection: outlast run --host {host} -- CMD, or outlast session create"
    )
}

/// The exit code that an end stands for: the program's own, or 128+n for signal n. Why it could not be started is told.
pub fn code(ctx: &Context, what: &str, ended: &ExecEnded) -> u8 {
    let code = match (ended.exit_code, ended.signal) {
        (_, Some(number)) => number.saturating_add(128),
        (Some(code), None) => code & 0xff,
        // A program without an end was none.
        (None, None) => NO_SUCH_PROGRAM,
    };
    if let Some(reason) = &ended.reason {
        ctx.tell(Failure::new(ErrorKind::Failed, format!("{what}: {reason}")));
    }
    u8::try_from(code).unwrap_or(u8::MAX)
}

pub fn message(event: Say) -> ExecHostRequest {
    ExecHostRequest { event: Some(event) }
}

//! `host exec`: a program on a host, in the foreground. The command stands for it: stdin, outputs, signals, exit code.

use std::{io, time::Duration};

use bytes::Bytes;
use outlast_client::v1::{
    ExecEnded, ExecHostRequest, ExecHostResponse, ExecOpen, LogStream, exec_host_request::Event as Say,
    exec_host_response::Event as Hear,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::Instant,
};
use tonic::Streaming;

use super::program::{self, Program, message};
use crate::{
    cli::HostExec,
    context::Context,
    environment,
    error::{Failure, Result},
    follow::{cut, left},
    pump::{Output, Pump, remark},
    render::json,
};

/// How much of stdin is sent at once: two pipes' worth.
const CHUNK: usize = 128 << 10;

/// A second Ctrl-C within this time leaves.
const TWICE_WITHIN: Duration = Duration::from_secs(1);

pub async fn exec(ctx: &Context, args: HostExec) -> Result<u8> {
    let baggage = environment::pack(ctx, Some(&args.name), args.cwd.as_deref(), &args.env)?;
    let host = args.name;
    let what = args.command.first().cloned().unwrap_or_default();
    let open = ExecOpen {
        host: host.clone(),
        command: args.command,
        cwd: baggage.cwd,
        env: baggage.set,
        terminal: None,
        base_env: baggage.base,
    };
    let mut signals = Signals::take_over()?;
    let begun = tokio::select! {
        biased;
        number = signals.next() => return Err(gone(ctx, number, &format!("left host {host}; {what} is ended there, if it had begun"))),
        begun = program::begin(ctx, open, pass_stdin) => begun?,
    };
    let Program {
        say,
        mut messages,
        first,
    } = begun;
    // Showing is not held up by signals, nor signals by an output that nobody reads.
    let ended = tokio::select! {
        ended = show(ctx, &host, &mut messages, first) => ended?,
        number = obey(&mut signals, &say) => {
            return Err(gone(ctx, number, &format!("left host {host}; {what} is ended there")));
        }
    };
    if ctx.global.json {
        crate::pump::answer(&json::line(&json::ExecEnd::from(&ended)))?;
    }
    Ok(program::code(ctx, &what, &ended))
}

/// A signal made this command leave.
fn gone(ctx: &Context, number: u8, line: &str) -> Failure {
    if number == SIGINT {
        return left(ctx, line);
    }
    remark(&format!("{line}\n"));
    Failure::Exit(128_u8.saturating_add(number))
}

const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGTERM: u8 = 15;

/// Signals that are the program's.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    fn take_over() -> Result<Self> {
        let take = |kind| signal(kind).map_err(|error| Failure::io("taking over", "signals", &error));
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            quit: take(SignalKind::quit())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.quit.recv() => SIGQUIT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}

/// Sends signals to the program. Returns the one that makes this command leave: the second of a kind within a moment,
/// or one that cannot be sent because the program takes no input.
async fn obey(signals: &mut Signals, say: &mpsc::Sender<ExecHostRequest>) -> u8 {
    let mut last: Option<(u8, Instant)> = None;
    loop {
        let number = signals.next().await;
        if last.is_some_and(|(before, at)| before == number && at.elapsed() < TWICE_WITHIN) {
            return number;
        }
        last = Some((number, Instant::now()));
        if say.try_send(message(Say::Signal(number.into()))).is_err() {
            return number;
        }
    }
}

/// Shows both outputs until the program has ended and all it wrote is written.
async fn show(
    ctx: &Context,
    host: &str,
    messages: &mut Streaming<ExecHostResponse>,
    mut first: Option<ExecHostResponse>,
) -> Result<ExecEnded> {
    let mut pump = Pump::new();
    let outcome = loop {
        let message = match first.take() {
            Some(first) => Ok(Some(first)),
            None => messages.message().await,
        };
        let event = match message {
            Ok(Some(message)) => message.event,
            Ok(None) => break Err(program::broken(cut(), host)),
            Err(status) => break Err(program::broken(status.into(), host)),
        };
        let (output, stream, bytes) = match event {
            Some(Hear::Stdout(bytes)) => (Output::Stdout, LogStream::Stdout, bytes),
            Some(Hear::Stderr(bytes)) => (Output::Stderr, LogStream::Stderr, bytes),
            Some(Hear::Ended(ended)) => break Ok(ended),
            Some(Hear::Begun(_)) | None => continue,
        };
        if ctx.global.json {
            let line = json::line(&json::ExecLine::new(stream, &bytes));
            pump.write(Output::Stdout, line.into()).await?;
        } else {
            pump.write(output, bytes).await?;
        }
    };
    pump.finish().await?;
    outcome
}

/// Passes stdin on, byte by byte as it is, with its end. From a thread: stdin may be anything, also what cannot be
/// waited for. It ends with the process. Where stdin has ended already, as that of most scripts, none is needed.
fn pass_stdin(say: mpsc::Sender<ExecHostRequest>) {
    let mut buffer = vec![0; CHUNK];
    let at_once = Some(&Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    });
    if let Ok(1..) = poll(&mut [PollFd::new(&io::stdin(), PollFlags::IN)], at_once)
        && let Ok(read) = read_stdin(&mut buffer)
    {
        let ended = read.is_none();
        // There is room: nothing but the opening was said before.
        let _ = say.try_send(message(read.map_or(Say::StdinEof(true), Say::Stdin)));
        if ended {
            return;
        }
    }
    std::thread::spawn(move || {
        loop {
            match read_stdin(&mut buffer) {
                Ok(Some(bytes)) => {
                    if say.blocking_send(message(Say::Stdin(bytes))).is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                // Somebody made it non-blocking.
                Err(NotYet) => {
                    let _ = poll(&mut [PollFd::new(&io::stdin(), PollFlags::IN)], None);
                }
            }
        }
        let _ = say.blocking_send(message(Say::StdinEof(true)));
    });
}

/// There is nothing to read yet.
struct NotYet;

/// Reads once. None: it has ended; what cannot be read has, too.
fn read_stdin(buffer: &mut [u8]) -> std::result::Result<Option<Bytes>, NotYet> {
    loop {
        match rustix::io::read(io::stdin(), &mut *buffer) {
            Ok(count @ 1..) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                return Ok(Some(Bytes::copy_from_slice(bytes)));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(NotYet),
            Ok(0) | Err(_) => return Ok(None),
        }
    }
}

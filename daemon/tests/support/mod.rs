//! The real daemon in a sealed sandbox, started as the control program starts it: with a pipe to say how it went.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod cli;

use std::{fs::File, io::Read as _, process::Command, time::Duration};

use outlast_client::v1::{
    Error, daemon_service_client::DaemonServiceClient, event_service_client::EventServiceClient,
};
use outlast_testkit::{DEADLINE, Process, Sandbox};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
};
use tonic::{Status, transport::Channel};

/// A daemon that was started, and what it said through its pipe.
pub struct Started {
    /// The process.
    pub process: Process,
    /// Everything it said before it closed the pipe.
    pub said: String,
}

/// Starts `outlastd` with arguments and waits for its word.
pub fn start(sandbox: &Sandbox, args: &[&str]) -> Started {
    start_with(sandbox, |command| {
        command.args(args);
    })
}

/// Starts `outlastd`, prepared by `prepare`, and waits for its word.
pub fn start_with(sandbox: &Sandbox, prepare: impl FnOnce(&mut Command)) -> Started {
    // Nobody inherits the pipe unasked: what another thread starts meanwhile would keep it open.
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let daemon = sandbox.command("outlastd");
    let mut command = sandbox.command("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 3>&0 </dev/null"]);
    command.arg(daemon.get_program()).args(["--ready-fd", "3"]);
    prepare(&mut command);
    let process = Process::start_with_stdin(command, theirs);
    let said = read_to_end(File::from(ours));
    Started { process, said }
}

/// Starts a daemon that has to become ready.
pub fn ready(sandbox: &Sandbox) -> Process {
    let started = start(sandbox, &[]);
    assert_eq!(started.said, "ready\n");
    started.process
}

fn read_to_end(mut pipe: File) -> String {
    let mut text = Vec::new();
    loop {
        let deadline = Timespec::try_from(DEADLINE).unwrap();
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&deadline)).unwrap();
        assert!(ready > 0, "the daemon neither spoke nor closed its pipe");
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer).unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What the daemon has written into its log.
pub fn log(sandbox: &Sandbox) -> String {
    let files = std::fs::read_dir(sandbox.state_dir().join("logs")).unwrap();
    files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

/// A client of the daemon's own service.
pub async fn daemon(sandbox: &Sandbox) -> DaemonServiceClient<Channel> {
    DaemonServiceClient::new(sandbox.connect().await.unwrap())
}

/// A client of the log of events.
pub async fn events(sandbox: &Sandbox) -> EventServiceClient<Channel> {
    EventServiceClient::new(sandbox.connect().await.unwrap())
}

/// The error that a status carries.
pub fn error(status: &Status) -> Error {
    Error::from_status(status).unwrap_or_else(|| panic!("no error of ours: {status:?}"))
}

/// Waits for something that has to come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_late) => panic!("{what} never came"),
    }
}

/// What the daemon promises for its end.
pub const END: Duration = Duration::from_secs(5);

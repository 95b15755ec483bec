//! Starting and replacing the daemon: one starter at a time, told by a pipe when the daemon is ready.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    fs::FlockOperation,
    pipe::{PipeFlags, pipe_with},
};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::unix::pipe, sync::oneshot, time::Instant};

use super::{
    ClientError, Daemon, GONE_WITHIN, READY_WITHIN,
    process::{DirWatch, Process},
    sys,
};
use crate::{
    paths::{LockNote, Places, find_program},
    socket::{self, SocketError},
    v1::ErrorKind,
};

/// Longest line a daemon may send through the readiness pipe.
const LINE_MAX: u64 = 64 << 10;

/// How long a daemon that holds the lock and has not said where it listens is waited for before another is tried.
const STARTING_AGAIN: Duration = Duration::from_millis(500);

/// How often a daemon is started again that ended without saying why. One that is killed at random comes up with one of
/// these; one that cannot live ends them within three seconds.
const DEATHS_MAX: u32 = 10;

/// Pause after the first such end; it grows by as much with each.
const DEATH_PAUSE: Duration = Duration::from_millis(50);

/// Where to look when the daemon did not say what is wrong.
const LOG_HINT: &str = "outlast daemon logs";

/// Starts the daemon unless somebody else just did.
pub(super) async fn under_lock(places: &Places, socket: Option<&Path>) -> Result<Daemon, ClientError> {
    let deadline = Instant::now() + READY_WITHIN;
    let _lock = StartLock::acquire(places, deadline).await?;
    // Whoever held the lock before may have started it.
    let path = super::locate(places, socket)?;
    match Daemon::open(&path).await {
        Err(ClientError::NotRunning { .. }) => launch(places, socket, deadline).await,
        other => other,
    }
}

/// Stops the daemon, if one runs, and starts another, without letting anybody in between.
pub(super) async fn replace(places: &Places, socket: Option<&Path>) -> Result<Daemon, ClientError> {
    let deadline = Instant::now() + READY_WITHIN;
    let _lock = StartLock::acquire(places, deadline).await?;
    let path = super::locate(places, socket)?;
    match Daemon::open(&path).await {
        Ok(old) => {
            let process = old.stop(true).await?;
            drop(old);
            if !process.gone(GONE_WITHIN).await {
                return Err(stays(process.pid()));
            }
        }
        Err(ClientError::NotRunning { .. }) => {}
        Err(error) => return Err(error),
    }
    launch(places, socket, Instant::now() + READY_WITHIN).await
}

/// The daemon ended before it said anything.
fn died() -> ClientError {
    ClientError::StartFailed {
        kind: ErrorKind::Failed,
        message: "outlastd ended before it was ready".to_owned(),
        hint: Some(LOG_HINT.to_owned()),
    }
}

/// The daemon was told to stop and is still there.
fn stays(pid: i32) -> ClientError {
    ClientError::StartFailed {
        kind: ErrorKind::Failed,
        message: format!(
            "outlastd (pid {pid}) was told to stop and is still there after {} s",
            GONE_WITHIN.as_secs()
        ),
        hint: Some(format!("kill {pid}")),
    }
}

/// Starts the daemon and connects to it. The caller holds the start lock.
async fn launch(places: &Places, socket: Option<&Path>, deadline: Instant) -> Result<Daemon, ClientError> {
    // Before the daemon is asked, so that no note is missed.
    let watch = DirWatch::new(&places.state_dir).map_err(io_error("watching", &places.state_dir))?;
    let mut deaths = 0;
    loop {
        match spawn(socket, deadline).await {
            Ok(ready) => {
                if ready {
                    match Daemon::open(&super::locate(places, socket)?).await {
                        // It was ready, and is gone already.
                        Err(ClientError::NotRunning { .. }) => {}
                        opened => return opened,
                    }
                }
                // What ends without a word was killed, most likely, and what was killed may be started again.
                deaths += 1;
                if deaths > DEATHS_MAX || Instant::now() >= deadline {
                    return Err(died());
                }
                tokio::time::sleep(DEATH_PAUSE * deaths).await;
            }
            Err(ClientError::StartFailed {
                kind: ErrorKind::Conflict,
                ..
            }) if Instant::now() < deadline => {
                if let Some(daemon) = join(places, socket, &watch, deadline).await? {
                    return Ok(daemon);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Another daemon holds the lock: waits until its note says where it listens, or until it is gone. None: it is worth
/// another try.
async fn join(
    places: &Places,
    socket: Option<&Path>,
    watch: &DirWatch,
    deadline: Instant,
) -> Result<Option<Daemon>, ClientError> {
    loop {
        let lock = places.daemon_lock();
        let note = places.read_daemon_lock().map_err(io_error("reading", &lock))?;
        let Some(note) = note else {
            // It is still starting, or was killed while it did, of which nothing tells.
            let until = deadline.min(Instant::now() + STARTING_AGAIN);
            match tokio::time::timeout_at(until, watch.changed()).await {
                Ok(Ok(())) => continue,
                Ok(Err(source)) => return Err(io_error("watching", &places.state_dir)(source).into()),
                Err(_elapsed) => return Ok(None),
            }
        };
        match Daemon::open(&note.socket).await {
            Ok(daemon) => return joined(daemon, &note, socket).map(Some),
            Err(ClientError::NotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
        // It has its lock and does not listen: it is ending, or was killed and is not quite gone.
        let holder = Process::open(note.pid.cast_signed())?;
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            changed = watch.changed() => {
                changed.map_err(io_error("watching", &places.state_dir))?;
            }
            _gone_or_late = holder.gone(left) => return Ok(None),
        }
    }
}

/// The daemon that runs, if it listens where it should.
fn joined(daemon: Daemon, note: &LockNote, wanted: Option<&Path>) -> Result<Daemon, ClientError> {
    match wanted {
        Some(wanted) if wanted != note.socket => Err(ClientError::StartFailed {
            kind: ErrorKind::Conflict,
            message: format!(
                "outlastd already runs (pid {}) and listens on {}, not on {}",
                note.pid,
                note.socket.display(),
                wanted.display()
            ),
            hint: Some("leave out --socket and OUTLAST_SOCKET".to_owned()),
        }),
        _ => Ok(daemon),
    }
}

/// Runs outlastd in a session of its own and waits for its word through the pipe. False when it ended without one.
async fn spawn(socket: Option<&Path>, deadline: Instant) -> Result<bool, ClientError> {
    let program = find_program("outlastd").ok_or_else(|| ClientError::StartFailed {
        kind: ErrorKind::MissingProgram,
        message: "outlastd is not found beside outlast, in ../lib/outlast or in $OUTLAST_LIBDIR".to_owned(),
        hint: Some("put outlastd and outlast-helper beside outlast".to_owned()),
    })?;
    let starting = io_error("starting", &program);
    let (ours, theirs) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(ends) => ends,
        Err(errno) => return Err(starting(errno.into()).into()),
    };
    let mut command = Command::new(&program);
    command
        .arg("--ready-fd")
        .arg(theirs.as_raw_fd().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    sys::detach_with(&mut command, theirs.as_raw_fd());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(source) => return Err(starting(source).into()),
    };
    drop(theirs);
    // Reaped whenever it ends; a client that follows for days must not keep a zombie.
    std::thread::spawn(move || child.wait());

    let pipe = match pipe::Receiver::from_owned_fd(ours) {
        Ok(pipe) => pipe,
        Err(source) => return Err(starting(source).into()),
    };
    let mut line = Vec::new();
    match tokio::time::timeout_at(deadline, pipe.take(LINE_MAX).read_to_end(&mut line)).await {
        Ok(Ok(_)) => verdict(&line),
        Ok(Err(source)) => Err(starting(source).into()),
        Err(_elapsed) => Err(ClientError::StartFailed {
            kind: ErrorKind::Timeout,
            message: format!("outlastd is still not ready after {} s", READY_WITHIN.as_secs()),
            hint: Some(LOG_HINT.to_owned()),
        }),
    }
}

/// Reads what the daemon said before it closed the pipe: true for ready, false for nothing.
fn verdict(said: &[u8]) -> Result<bool, ClientError> {
    if said.is_empty() {
        return Ok(false);
    }
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or_default();
    if line == "ready" {
        return Ok(true);
    }
    let error = line
        .strip_prefix("error ")
        .and_then(|json| serde_json::from_str::<Value>(json).ok());
    let Some(error) = error else {
        return Err(died());
    };
    let field = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    Err(ClientError::StartFailed {
        kind: field("kind")
            .and_then(|word| ErrorKind::from_word(&word))
            .unwrap_or(ErrorKind::Failed),
        message: field("message").unwrap_or_else(|| "outlastd could not start".to_owned()),
        hint: field("hint"),
    })
}

/// The lock that lets one client at a time start a daemon.
struct StartLock(#[allow(dead_code, reason = "held for the lock on it")] File);

impl StartLock {
    /// Waits for the lock, without polling: a thread sleeps in flock(2). It ends with the process at the latest.
    async fn acquire(places: &Places, deadline: Instant) -> Result<Self, ClientError> {
        socket::private_dir(&places.state_dir)?;
        let path = places.start_lock();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("opening", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(io_error("locking", &path)(errno.into()).into()),
        }
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || {
            let locked = loop {
                match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other,
                }
            };
            // When nobody waits any more the file is dropped here, and the lock with it.
            let _ = tell.send(locked.map(|()| file));
        });
        match tokio::time::timeout_at(deadline, told).await {
            Ok(Ok(Ok(file))) => Ok(Self(file)),
            Ok(Ok(Err(errno))) => Err(io_error("locking", &path)(errno.into()).into()),
            Ok(Err(_)) | Err(_) => Err(ClientError::StartFailed {
                kind: ErrorKind::Timeout,
                message: format!(
                    "another client has been starting outlastd for {} s",
                    Duration::as_secs(&READY_WITHIN)
                ),
                hint: Some(LOG_HINT.to_owned()),
            }),
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError + use<> {
    let path = path.to_owned();
    move |source| SocketError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(said: &[u8]) -> (ErrorKind, String, Option<String>) {
        match verdict(said) {
            Err(ClientError::StartFailed { kind, message, hint }) => (kind, message, hint),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ready_is_ready() {
        assert!(matches!(verdict(b"ready\n"), Ok(true)));
    }

    #[test]
    fn silence_is_no_error_but_worth_another_try() {
        assert!(matches!(verdict(b""), Ok(false)));
    }

    #[test]
    fn an_error_keeps_kind_message_and_hint() {
        let said = br#"error {"kind":"conflict","message":"it runs","hint":"outlast status"}
"#;
        assert_eq!(
            failure(said),
            (
                ErrorKind::Conflict,
                "it runs".to_owned(),
                Some("outlast status".to_owned())
            )
        );
    }

    #[test]
    fn noise_is_a_failure() {
        for said in [&b"\n"[..], b"error", b"error {", b"\xff\xfe", b"error []\n"] {
            let (kind, message, _hint) = failure(said);
            assert_eq!(kind, ErrorKind::Failed, "{said:?}");
            assert!(message.starts_with("outlastd "), "{message}");
        }
    }
}

//! Starts the runs of a session: a tmux session with one window whose pane runs `outlast-helper pane`, with
//! `outlast-helper log` beside it.

use std::{os::unix::ffi::OsStrExt as _, time::Duration};

use outlast_client::helper_v1::{StartSessionRequest, StartSessionResponse, Started};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{
    Core,
    error::{broken, check_id, failed, not_found, tmux, usage, wrong_state},
    jobs::{keep_spec, spec},
    report,
    settle::{drain, pane, tmux_name},
};
use crate::{
    pty::Size,
    spool::{Dir, Kind, State},
    tmux::{Client, Error, quote::Commands},
};

/// How long a pane may take to start its program.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How often it is tried on another server when one was just ending. Somebody who ends one after the other is in earnest.
const TRIES: u32 = 3;

/// Where windows are linked for the control client.
const KEEPER: &str = "=keeper:";

/// Starts a run, unless it was started.
pub(super) async fn start(core: &Core, request: StartSessionRequest) -> Result<StartSessionResponse, Status> {
    check_id(&request.id)?;
    let (id, run) = (&request.id, request.run);
    if run == 0 {
        return Err(usage("runs are counted from 1"));
    }
    let size = Size::new(request.columns, request.rows)
        .ok_or_else(|| usage("the size is none that a terminal can have"))?;
    let dir = core.root.session(id);
    let _alone = core.sessions.lock(id).await;
    let new = match request.spec_json.is_empty() {
        true if !dir.exists() => return Err(not_found("session", id)),
        true => None,
        false => Some(spec(&request.spec_json, Kind::Session, id)?),
    };
    let mut state = dir.state(Some(run)).map_err(|error| failed(&error))?;
    if matches!(state, State::Fresh) {
        let before = dir.state(None).map_err(|error| failed(&error))?;
        if matches!(before, State::Starting | State::Running(_)) {
            let message = format!("an earlier run of session {id} still runs");
            return Err(wrong_state(id, message, "stop it first: outlast session stop"));
        }
        // Before anything is written: without tmux there is to be no trace.
        let client = core.tmux.connect().await.map_err(tmux)?;
        report::reap(&dir, &before).await;
        if let Some(spec) = &new {
            keep_spec(&dir, spec)?;
            if run > 1 {
                // Nobody runs, so nobody reads it.
                dir.write_spec(spec).map_err(|error| failed(&error))?;
            }
        }
        begin(core, client, &dir, &request, size).await?;
        // So that nobody who is told of the start finds it not in tmux.
        core.tmux.refresh().await;
        state = dir.state(Some(run)).map_err(|error| failed(&error))?;
    }
    let started = wait(core, &dir, run, state).await?;
    Ok(StartSessionResponse {
        started: Some(started),
    })
}

/// Has tmux run the pane and the logger. A server that is just ending takes nothing in, and the next one is started.
async fn begin(
    core: &Core,
    mut client: Client,
    dir: &Dir,
    request: &StartSessionRequest,
    size: Size,
) -> Result<(), Status> {
    let mut tries = 1;
    loop {
        let refused = match commands(core, &client, dir, request, size).await {
            Ok(commands) => {
                dir.expect_log().map_err(|error| failed(&error))?;
                match client.run(commands).await {
                    Ok(_) => return Ok(()),
                    // It may have been done all the same; the next request finds out.
                    Err(Error::Gone) => return Err(tmux(Error::Gone)),
                    Err(other) => other,
                }
            }
            Err(other) => other,
        };
        if tries == TRIES || !core.tmux.is_ending(&client).await {
            return Err(tmux(refused));
        }
        tries += 1;
        client = core.tmux.connect().await.map_err(tmux)?;
    }
}

/// What makes tmux run the pane and the logger.
async fn commands(
    core: &Core,
    client: &Client,
    dir: &Dir,
    request: &StartSessionRequest,
    size: Size,
) -> Result<Commands, Error> {
    let id = &request.id;
    let (name, target) = (tmux_name(id), pane(id));
    let exists = Commands::one(["has-session", "-t", &format!("={name}")])?;
    // First of all, so that a server that is ending does nothing: a session that is made in one keeps it alive, and
    // nobody can reach it.
    let guard = Commands::one(["has-session", "-t", KEEPER])?;
    let commands = match client.run(exists).await {
        Ok(_) => {
            drain(core, id, dir).await;
            let again = ["respawn-pane", "-k", "-t", &target, "--"];
            guard.then(words(&again, core, dir, request))?
        }
        Err(Error::Refused(_)) => {
            let (columns, rows) = (size.columns.to_string(), size.rows.to_string());
            let new = [
                "new-session",
                "-d",
                "-s",
                &name,
                "-x",
                &columns,
                "-y",
                &rows,
                "--",
            ];
            guard
                .then(words(&new, core, dir, request))?
                .then(["set-option", "-t", &target, "@outlast-id", id])?
                .then(["set-option", "-t", &target, "@outlast-owner", &core.config.owner])?
                .then(["link-window", "-d", "-s", &target, "-t", KEEPER])?
        }
        Err(other) => return Err(other),
    };
    // In one go with the start: tmux reads nothing of what the program writes before it has done all of these.
    let logger = logger(core, dir);
    Ok(commands.then(["pipe-pane".as_bytes(), b"-t", target.as_bytes(), &logger])?)
}

/// A tmux command with the pane's program behind it.
fn words(command: &[&str], core: &Core, dir: &Dir, request: &StartSessionRequest) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
    words.push(core.config.helper_program.as_os_str().as_bytes().to_vec());
    words.push(b"pane".to_vec());
    words.push(dir.path().as_os_str().as_bytes().to_vec());
    words.push(b"--run".to_vec());
    words.push(request.run.to_string().into_bytes());
    if request.use_restart_command {
        words.push(b"--restart-command".to_vec());
    }
    words
}

/// The line by which tmux starts the logger: a format and a time format first, then the shell's. Nothing of a user's
/// stands in it but the names of their directories.
fn logger(core: &Core, dir: &Dir) -> Vec<u8> {
    let mut line = b"exec ".to_vec();
    for word in [
        core.config.helper_program.as_os_str().as_bytes(),
        b"log",
        dir.path().as_os_str().as_bytes(),
    ] {
        line.push(b'\'');
        for &byte in word {
            match byte {
                b'\'' => line.extend_from_slice(br"'\''"),
                b'#' => line.extend_from_slice(b"##"),
                b'%' => line.extend_from_slice(b"%%"),
                other => line.push(other),
            }
        }
        line.extend_from_slice(b"' ");
    }
    line
}

/// Waits until the run has begun, or ended before it began.
async fn wait(core: &Core, dir: &Dir, run: u32, mut state: State) -> Result<Started, Status> {
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let give_up = Instant::now() + START_WITHIN;
    loop {
        match &state {
            State::Fresh | State::Starting => {}
            State::Running(_) | State::Ended(..) | State::Lost { .. } => {
                let report = report::report(&state);
                // What could not be started has no process, and its end says why.
                let none = Started {
                    pid: 0,
                    started_at_ms: 0,
                    run,
                };
                return Ok(report.and_then(report::started).unwrap_or(none));
            }
        }
        state = dir.state(Some(run)).map_err(|error| failed(&error))?;
        if matches!(state, State::Fresh | State::Starting)
            && (Instant::now() >= give_up || timeout_at(give_up, watch.changed()).await.is_err())
        {
            return Err(broken("the session's program did not start within 30 s"));
        }
    }
}

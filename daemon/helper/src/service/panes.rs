//! The pane of a run: made by tmux once, whoever asks for it and however often.
//!
//! A pane takes a moment to claim its directory, and till then the directory is as if nobody had been told to start
//! anything. A helper that goes on with the start of another, which was killed or lost its daemon, must not take the
//! place of that pane then: its program would be hung up just as it begins. So the runs that tmux was told to start are
//! options of the tmux session, set in one go with the start. tmux does one thing after the other, and whoever comes
//! second is refused.

use std::os::unix::ffi::OsStrExt as _;

use outlast_client::helper_v1::StartSessionRequest;
use tonic::Status;

use super::{
    Core,
    error::{failed, tmux},
    settle::{drain, pane, tmux_name},
};
use crate::{
    pty::Size,
    spool::{Dir, State},
    tmux::{Client, Error, quote::Commands, quote::ZeroByte},
};

/// Where windows are linked for the control client.
const KEEPER: &str = "=keeper:";

/// How often it is looked again what there is in tmux, after another helper was faster or the session just went: more than
/// there are helpers that could be.
const LOOKS: u32 = 5;

/// What tmux has of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// No session.
    Nothing,
    /// A pane in which nothing runs any more.
    Dead,
    /// A pane that is about to run it, or does.
    Coming,
    /// A pane of something else.
    Other,
}

/// What tmux has of this run of a session.
pub(super) async fn look(client: &Client, id: &str, run: u32) -> Result<Seen, Error> {
    let format = format!("#{{pane_dead}} #{{{}}}", option(run));
    let commands = Commands::one(["has-session", "-t", &format!("={}", tmux_name(id))])?.then([
        "display-message",
        "-p",
        "-t",
        &pane(id),
        &format,
    ])?;
    let replies = match client.run(commands).await {
        Ok(replies) => replies,
        Err(Error::Refused(_)) => return Ok(Seen::Nothing),
        Err(other) => return Err(other),
    };
    let line = replies.last().and_then(|reply| reply.lines.first());
    Ok(match line.map(Vec::as_slice) {
        Some(b"0 1") => Seen::Coming,
        Some([b'0', ..]) => Seen::Other,
        Some([b'1', ..]) => Seen::Dead,
        // It went between the two commands.
        _ => Seen::Nothing,
    })
}

/// Has tmux start a run that nobody has claimed, in a new session or in the one there is, with a logger beside it.
/// Nothing is done when its pane is on its way or it was claimed meanwhile.
pub(super) async fn open(
    core: &Core,
    client: &Client,
    dir: &Dir,
    request: &StartSessionRequest,
    size: Size,
) -> Result<(), Status> {
    let (id, run) = (request.id.as_str(), request.run);
    let mut client = client.clone();
    let mut refused = Error::Gone;
    for _ in 0..LOOKS {
        let seen = match look(&client, id, run).await {
            // A server that has just ended; nothing was asked of it yet.
            Err(Error::Gone) => {
                client = core.tmux.connect().await.map_err(tmux)?;
                continue;
            }
            seen => seen.map_err(tmux)?,
        };
        if seen == Seen::Coming {
            return Ok(());
        }
        if seen != Seen::Nothing {
            drain(core, id, dir).await;
        }
        // A pane that is dead may be that of this very run, which was quick.
        if !matches!(dir.state(Some(run)), Ok(State::Fresh)) {
            return Ok(());
        }
        dir.expect_log().map_err(|error| failed(&error))?;
        let commands = commands(core, dir, request, size, seen).map_err(|error| tmux(error.into()))?;
        match client.run(commands).await {
            Ok(_) => return Ok(()),
            Err(Error::Refused(text)) => {
                refused = Error::Refused(text);
                // A server that is just ending takes nothing in, and the next one is started.
                if core.tmux.is_ending(&client).await {
                    client = core.tmux.connect().await.map_err(tmux)?;
                }
            }
            Err(other) => return Err(tmux(other)),
        }
    }
    Err(tmux(refused))
}

/// All in one go: tmux reads nothing of what the program writes before it has done all of these. Of several who send the
/// same, all but the first are refused before anything happens: the name is taken, the pane is no longer dead, or the
/// option is set.
fn commands(
    core: &Core,
    dir: &Dir,
    request: &StartSessionRequest,
    size: Size,
    seen: Seen,
) -> Result<Commands, ZeroByte> {
    let (id, option) = (request.id.as_str(), option(request.run));
    let (name, target) = (tmux_name(id), pane(id));
    let (columns, rows) = (size.columns.to_string(), size.rows.to_string());
    let words = |command: &[&str]| words(command, core, dir, request);
    let set = |name: &str, value: &str| ["set-option", "-t", &target, name, value].map(str::to_owned);
    // First of all, so that a server that is ending does nothing: a session that is made in one keeps it alive, and
    // nobody can reach it.
    let guard = Commands::one(["has-session", "-t", KEEPER])?;
    let started = match seen {
        Seen::Nothing => {
            let size = ["-x", &columns, "-y", &rows];
            let new = [&["new-session", "-d", "-s", &name], &size[..], &["--"]].concat();
            guard
                .then(words(&new))?
                .then(set(&option, "1"))?
                .then(set("@outlast-id", id))?
                .then(set("@outlast-owner", &core.config.owner))?
                .then(["link-window", "-d", "-s", &target, "-t", KEEPER])?
        }
        Seen::Dead => guard
            .then(words(&["respawn-pane", "-t", &target, "--"]))?
            .then(set(&option, "1"))?,
        Seen::Coming | Seen::Other => guard
            .then(["set-option", "-o", "-t", &target, &option, "1"])?
            .then(words(&["respawn-pane", "-k", "-t", &target, "--"]))?,
    };
    started.then([
        "pipe-pane".as_bytes(),
        b"-t",
        target.as_bytes(),
        &logger(core, dir, request.run),
    ])
}

/// The option that says that a run was started. It is never unset: a helper that comes too late with an older run is
/// refused as well.
fn option(run: u32) -> String {
    format!("@outlast-run-{run}")
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
fn logger(core: &Core, dir: &Dir, run: u32) -> Vec<u8> {
    let mut line = b"exec ".to_vec();
    for word in [
        core.config.helper_program.as_os_str().as_bytes(),
        b"log",
        dir.path().as_os_str().as_bytes(),
        b"--run",
        run.to_string().as_bytes(),
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

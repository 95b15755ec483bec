//! Machines reached by ssh: what the user's ssh configuration says of them, which carrier serves, whether the host is
//! the one it claims to be, and the library carrier itself, one thread a connection.
//!
//! Knows nothing of helpers: it runs one command on one channel and gives its bytes. The carrier that runs the user's
//! own `ssh` is not here.

mod agent;
mod ask;
mod auth;
mod choose;
mod cipher;
mod config;
mod host;
mod key;
mod known_hosts;
mod open;
mod pump;
mod reach;
mod wire;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use self::reach::With;
use crate::{
    ask::Secret,
    connect::{Attempt, THROUGH_OTHERS},
    error::ConnectError,
    route::SshRoute,
    stream::Stream,
};

/// How to have the user's own `ssh` carry the connection to a host.
const BY_PROGRAM: &str = "`outlast host remove NAME`, then add it with --transport ssh";

pub(crate) use agent::Found as AgentFound;
pub(crate) use choose::choose;
pub(crate) use cipher::fastest_first;
pub(crate) use config::{Settings, Strict, there};
pub(crate) use key::{fingerprint, parse};

/// What the user's ssh configuration says of a host.
///
/// # Errors
/// When the destination is no host name or the configuration is wrong.
pub(crate) async fn settings(route: &SshRoute) -> Result<Settings, ConnectError> {
    config::ask(program(route), route).await
}

/// The user's `ssh`.
fn program(route: &SshRoute) -> &Path {
    route.program.as_deref().unwrap_or(Path::new("ssh"))
}

/// What the agent has that counts for a host. There may be none.
pub(crate) async fn agent(attempt: &Attempt, settings: &Settings) -> AgentFound {
    agent::find(settings, attempt.agent.as_deref()).await
}

/// Connects with the library, runs `command` (one line for the login shell) and gives its bytes, together with the
/// passphrases that were asked for and fit. Cancelling (dropping the future) ends the attempt at once.
///
/// # Errors
/// Why there is no connection.
pub(crate) async fn open(
    attempt: &Attempt,
    route: &SshRoute,
    settings: &Settings,
    agent: AgentFound,
    command: &str,
) -> Result<(Stream, Vec<(PathBuf, Secret)>), ConnectError> {
    open::open(attempt, route, settings, agent, command).await
}

/// Trusts the key that the host shows now, provided it has this fingerprint (`SHA256:…`): other keys of its type that
/// the user's known_hosts files have for the host are replaced. Answers the files that changed. `agent` is the socket of
/// the ssh-agent by which machines on the way are logged in to; a way through them is given half a minute at least.
///
/// # Errors
/// When the host cannot be reached, shows another key, or a file cannot be written.
pub async fn trust(
    route: &SshRoute,
    agent: Option<&Path>,
    fingerprint: &str,
    within: Duration,
) -> Result<Vec<PathBuf>, ConnectError> {
    let settings = settings(route).await?;
    let within = if settings.is_direct() {
        within
    } else {
        within.max(THROUGH_OTHERS)
    };
    let with = With {
        ssh: program(route),
        agent,
    };
    open::trust(settings, with, fingerprint, within).await
}

#[cfg(test)]
mod tests;

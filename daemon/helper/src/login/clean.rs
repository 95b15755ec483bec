//! Which variables are no part of a login environment. Pure.
//!
//! What belongs to a connection must not be baked into what outlives it: a job would hold the address of a terminal that
//! is gone and the socket of an agent that answers no more.

use std::ffi::{OsStr, OsString};

use crate::program::Environment;

/// Where programs are looked for when nothing says so.
pub(super) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Of outlast itself, of a terminal and a tmux around us, of one shell, and of the unit we may run in.
const NEVER: &[&str] = &[
    "_",
    "COLUMNS",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LINES",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SSH_ORIGINAL_COMMAND",
    "STY",
    "SYSTEMD_EXEC_PID",
    "TERM",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// The same, by how they begin.
const NEVER_PREFIXES: &[&str] = &["OUTLAST_", "TMUX"];

/// Of this connection, whoever sets them.
const CONNECTION: &[&str] = &[
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "SSH_USER_AUTH",
    "XDG_SESSION_ID",
];

/// Of this connection where they are as we were given them; start files may have put something lasting in their place.
const CONNECTION_UNLESS_SET: &[&str] = &["SSH_AGENT_PID", "SSH_AUTH_SOCK"];

/// What says that we came here by ssh.
const BY_SSH: &str = "SSH_CONNECTION";

/// Forwarded by ssh as well, but anybody's where we did not come by it.
const DISPLAYS: &[&str] = &["DISPLAY", "XAUTHORITY"];

/// What a login begins with, of all that we were given.
pub(super) fn beginning(own: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    own.into_iter().filter(|(name, _)| !is_never(name)).collect()
}

/// A login environment without what belongs to the connection. `before` is what the login began with.
pub(super) fn lasting(env: Environment, before: &Environment) -> Environment {
    env.into_iter()
        .filter(|(name, value)| {
            let unchanged = before.get(name) == Some(value);
            !(is_never(name) || is(name, CONNECTION) || unchanged && is_of_connection(name, before))
        })
        .collect()
}

/// A lasting environment with what belongs to the connection.
pub(super) fn with_connection(mut env: Environment, before: &Environment) -> Environment {
    for (name, value) in before {
        if is(name, CONNECTION) || is_of_connection(name, before) {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    env
}

fn is_of_connection(name: &OsStr, before: &Environment) -> bool {
    is(name, CONNECTION_UNLESS_SET) || (is(name, DISPLAYS) && before.contains_key::<OsStr>(BY_SSH.as_ref()))
}

fn is(name: &OsStr, among: &[&str]) -> bool {
    among.iter().any(|one| *one == name)
}

fn is_never(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    NEVER.iter().any(|never| never.as_bytes() == name)
        || NEVER_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(n, v)| (n.into(), v.into())).collect()
    }

    #[test]
    fn what_outlives_a_connection_knows_nothing_of_it() {
        let own = env(&[
            ("PATH", "/bin"),
            ("SSH_CONNECTION", "a 1 b 22"),
            ("SSH_CLIENT", "a 1 22"),
            ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
            ("DISPLAY", "localhost:10.0"),
            ("TMUX", "/tmp/t,1,0"),
            ("OUTLAST_SOCKET", "/x"),
            ("SHLVL", "1"),
        ]);
        let before = beginning(own);
        assert!(before.contains_key(OsStr::new("SSH_CONNECTION")));
        assert!(!before.contains_key(OsStr::new("TMUX")));
        let mut after = before.clone();
        after.extend(env(&[
            ("PATH", "/bin:/opt/bin"),
            ("TMUX", "/t"),
            ("_", "/x"),
            ("OUTLAST_HELPER", "/h"),
        ]));
        let lasting = lasting(after, &before);
        assert_eq!(lasting, env(&[("PATH", "/bin:/opt/bin")]));
        let passing = with_connection(lasting, &before);
        assert_eq!(
            passing,
            env(&[
                ("PATH", "/bin:/opt/bin"),
                ("SSH_CONNECTION", "a 1 b 22"),
                ("SSH_CLIENT", "a 1 22"),
                ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
                ("DISPLAY", "localhost:10.0"),
            ])
        );
    }

    #[test]
    fn an_agent_of_the_start_files_stays() {
        let before = env(&[("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1")]);
        let after = env(&[("SSH_AUTH_SOCK", "/home/a/.ssh/agent"), ("SSH_AGENT_PID", "7")]);
        assert_eq!(lasting(after.clone(), &before), after);
    }

    #[test]
    fn a_display_that_nobody_forwarded_stays() {
        let own = env(&[("DISPLAY", ":0")]);
        assert_eq!(lasting(own.clone(), &own), own);
    }
}

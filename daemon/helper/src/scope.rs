//! systemd scopes: where this runs as part of a unit, what is to outlive it is started in a scope of its own, or
//! stopping the unit would end it.

use std::{env, ffi::OsStr, os::unix::net::UnixStream, path::PathBuf};

use tokio::process::Command;

/// Whether we run in a unit and a user manager can be asked for a scope.
#[must_use]
pub fn is_possible() -> bool {
    let manager = env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("systemd/private"));
    env::var_os("INVOCATION_ID").is_some()
        && manager.is_some_and(|socket| UnixStream::connect(socket).is_ok())
        && env::var_os("PATH")
            .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join("systemd-run").is_file()))
}

/// `program` in a scope of its own.
#[must_use]
pub fn command(program: &OsStr) -> Command {
    let mut command = Command::new("systemd-run");
    command
        .args(["--user", "--scope", "--collect", "--quiet", "--"])
        .arg(program);
    command
}

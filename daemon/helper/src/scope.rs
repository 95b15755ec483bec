//! systemd scopes: where this runs as part of a unit, what is to outlive it is started in a scope of its own, or
//! stopping the unit would end it. The session of a login is such a unit where logging out ends what was left
//! (`KillUserProcesses=yes`); there a scope helps only if the user's manager lingers.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use tokio::process::Command;

/// Where systemd keeps a file for each user whose manager runs without a login.
const LINGERING: &str = "/var/lib/systemd/linger";

/// Whether we run in a unit that can end before what we start, and a user manager can be asked for a scope.
#[must_use]
pub fn is_possible() -> bool {
    let manager = env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("systemd/private"));
    can_be_outlived(|name| env::var_os(name), Path::new(LINGERING))
        && manager.is_some_and(|socket| UnixStream::connect(socket).is_ok())
        && env::var_os("PATH")
            .is_some_and(|path| env::split_paths(&path).any(|dir| dir.join("systemd-run").is_file()))
}

/// Whether we run in a unit that what is in a scope outlives: a service, or the session of a login whose user's manager
/// stays.
fn can_be_outlived(variable: impl Fn(&str) -> Option<OsString>, lingering: &Path) -> bool {
    let is_login = || variable("XDG_SESSION_ID").is_some();
    let lingers = || variable("USER").is_some_and(|user| lingering.join(user).is_file());
    variable("INVOCATION_ID").is_some() || is_login() && lingers()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_for_a_service_or_a_login_of_whom_lingers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lena"), "").unwrap();
        let with = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            can_be_outlived(variable, dir.path())
        };
        assert!(with(&[("INVOCATION_ID", "1")]));
        assert!(with(&[("XDG_SESSION_ID", "1"), ("USER", "lena")]));
        assert!(!with(&[("XDG_SESSION_ID", "1"), ("USER", "karl")]));
        assert!(!with(&[("XDG_SESSION_ID", "1"), ("USER", "")]));
        assert!(!with(&[("USER", "lena")]));
        assert!(!with(&[]));
    }
}

//! Who and what this host is.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use outlast_client::{VERSION, helper_v1::GetFactsResponse};

use crate::{login::Login, proc, sys, tmux::Tmux};

/// The stable id of this machine: a name that is safe in a path.
#[must_use]
pub fn machine_id() -> String {
    let written = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // A container without one: its name tells it from others that see the same home.
    written.unwrap_or_else(|| format!("host-{}", host_name()))
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    name.nodename()
        .to_string_lossy()
        .chars()
        .take(64)
        .map(safe)
        .collect()
}

/// Home directory of this user.
#[must_use]
pub fn home() -> PathBuf {
    env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
        .or_else(|| sys::user().map(|user| user.home))
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// `$XDG_STATE_HOME/outlast` of this user.
#[must_use]
pub fn state_dir() -> PathBuf {
    env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .unwrap_or_else(|| home().join(".local/state"))
        .join("outlast")
}

/// Login shell of this user.
#[must_use]
pub fn shell() -> PathBuf {
    shell_of(
        sys::user().map(|user| user.shell),
        env::var_os("SHELL").map(PathBuf::from),
    )
}

/// The shell of the password database. A static program sees only `/etc/passwd` of it, and knows no user of LDAP or SSSD;
/// for these counts what whoever logged them in wrote into the environment.
fn shell_of(known: Option<PathBuf>, told: Option<PathBuf>) -> PathBuf {
    [known, told]
        .into_iter()
        .flatten()
        .find(|shell| shell.is_absolute())
        .unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

/// All facts.
///
/// # Errors
/// When the kernel does not say which boot this is.
pub(crate) async fn collect(spool: &Path, tmux: &Tmux, login: &Login) -> io::Result<GetFactsResponse> {
    let (tmux_version, usable) = tmux.version().await;
    let problem = usable.err();
    let entry = sys::user();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(GetFactsResponse {
        helper_version: VERSION.to_owned(),
        os: env::consts::OS.to_owned(),
        arch: env::consts::ARCH.to_owned(),
        boot_id: proc::boot_id()?,
        machine_id: machine_id(),
        user: entry
            .map(|user| user.name)
            .or_else(|| env::var("USER").ok())
            .unwrap_or_else(|| rustix::process::getuid().as_raw().to_string()),
        home: text(&home()),
        spool_dir: text(spool),
        tmux_version,
        tmux_hint: problem.as_ref().map(|problem| problem.hint.clone()),
        tmux_problem: problem.map(|problem| problem.message),
        login_problem: login.problem(),
        shell: text(login.shell()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_the_password_database_does_not_know_has_the_shell_they_came_with() {
        let of = |known: Option<&str>, told: Option<&str>| {
            let shell = shell_of(known.map(PathBuf::from), told.map(PathBuf::from));
            shell.to_str().unwrap().to_owned()
        };
        assert_eq!(of(Some("/bin/zsh"), Some("/bin/bash")), "/bin/zsh");
        assert_eq!(of(None, Some("/bin/bash")), "/bin/bash");
        assert_eq!(of(Some(""), Some("/bin/bash")), "/bin/bash");
        assert_eq!(of(None, Some("bash")), "/bin/sh");
        assert_eq!(of(None, None), "/bin/sh");
    }
}

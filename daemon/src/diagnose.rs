//! What `outlast doctor` asks of the daemon: each check finds one thing and names what mends it.
//!
//! Checks look and change nothing. One that cannot look says so as a finding; none may fail the others.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use outlast_client::{
    VERSION,
    paths::{SOCKET_PATH_MAX, find_program},
    v1::{Finding, FindingLevel},
};
use rustix::process::Resource;

use crate::{
    app::{App, now_ms, since_boot},
    hosts::{HELPER, HostView, LOCAL, Link},
};

/// Below this much free space the next large log may fill the disk.
const SPACE_WARN: u64 = 1 << 30;

/// Below this much the database itself is in danger.
const SPACE_FAIL: u64 = 16 << 20;

/// Fewer files than this hold few terminals and followers at once: the usual limit is 1024.
const FILES_WARN: u64 = 1024;

/// Fewer processes than this end a build.
const PROCESSES_WARN: u64 = 256;

/// The usual number of inotify instances; outlast needs two, but so does every editor.
const INOTIFY_INSTANCES_WARN: u64 = 128;

/// One watch is needed for each live job and session, and editors need thousands.
const INOTIFY_WATCHES_WARN: u64 = 8192;

/// 2024-01-01: outlast is younger, so a clock before it was never set.
const CLOCK_SET_MS: i64 = 1_704_067_200_000;

/// A clock that is set by the network moves by less than this.
const CLOCK_JUMP_MS: i64 = 60_000;

/// How long a program may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// All checks, always in this order.
pub async fn all(app: &App) -> Vec<Finding> {
    let view = match app.hosts.get(LOCAL) {
        Some(host) => host.refreshed().await,
        None => HostView::default(),
    };
    let mut findings = vec![program(), configuration(app), store(app).await];
    findings.extend(state_dir(app));
    findings.push(socket(app));
    findings.push(helper(&view).await);
    findings.push(tmux(&view));
    findings.push(lingering(&view));
    findings.push(clock(app));
    findings.extend(limits());
    findings
}

fn ok(check: &str, message: impl Into<String>) -> Finding {
    finding(check, FindingLevel::Ok, message, None)
}

fn info(check: &str, message: impl Into<String>) -> Finding {
    finding(check, FindingLevel::Info, message, None)
}

fn warn(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(check, FindingLevel::Warn, message, Some(fix.into()))
}

fn fail(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(check, FindingLevel::Fail, message, Some(fix.into()))
}

fn finding(check: &str, level: FindingLevel, message: impl Into<String>, fix: Option<String>) -> Finding {
    Finding {
        check: check.to_owned(),
        level: level.into(),
        message: message.into(),
        fix,
    }
}

/// Whether the running program is still the installed one.
fn program() -> Finding {
    let check = "daemon";
    match fs::read_link("/proc/self/exe") {
        Ok(path) if path.as_os_str().as_bytes().ends_with(b" (deleted)") => warn(
            check,
            format!("outlastd {VERSION} was replaced on disk while it ran"),
            "outlast daemon restart",
        ),
        _ => ok(check, format!("outlastd {VERSION}, pid {}", std::process::id())),
    }
}

/// Whether the daemon would start again with what is in the file now.
fn configuration(app: &App) -> Finding {
    let check = "configuration";
    let path = app.places.config_file();
    match crate::config() {
        Err(error) => fail(
            check,
            format!("the daemon would not start again: {}", error.message),
            match error.hint {
                Some(hint) => format!("{hint} (edit {})", path.display()),
                None => format!("edit {}", path.display()),
            },
        ),
        Ok((_, now)) if now != *app.config => warn(
            check,
            format!("{} was changed since the daemon started", path.display()),
            "outlast daemon restart",
        ),
        Ok(_) if path.exists() => ok(check, path.display().to_string()),
        Ok(_) => ok(check, "defaults (there is no file)"),
    }
}

async fn store(app: &App) -> Finding {
    let check = "store";
    match app.store.check().await {
        Ok(()) => ok(check, format!("{} is whole", app.store.path().display())),
        Err(error) => fail(
            check,
            error.to_string(),
            error
                .hint()
                .unwrap_or_else(|| "outlast daemon restart brings back what it can".to_owned()),
        ),
    }
}

fn state_dir(app: &App) -> Vec<Finding> {
    let path = &app.places.state_dir;
    vec![access(path), space(path), file_system(path)]
}

fn access(path: &Path) -> Finding {
    let check = "state directory";
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => {
            return fail(
                check,
                format!("{}: {error}", path.display()),
                "outlast daemon restart makes it again",
            );
        }
    };
    let me = rustix::process::geteuid().as_raw();
    let mode = meta.mode() & 0o777;
    if meta.uid() != me {
        fail(
            check,
            format!("{} belongs to user {}", path.display(), meta.uid()),
            format!("chown -R {me} {}", path.display()),
        )
    } else if mode & 0o077 != 0 {
        fail(
            check,
            format!("{} is open to other users (mode {mode:o})", path.display()),
            format!("chmod 700 {}", path.display()),
        )
    } else {
        ok(check, format!("{} is yours alone", path.display()))
    }
}

fn space(path: &Path) -> Finding {
    let check = "disk space";
    let fix = || {
        format!(
            "free some space on the disk of {}: outlast job prune",
            path.display()
        )
    };
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let message = format!("{} MiB are free for logs and the database", free >> 20);
            if free < SPACE_FAIL {
                fail(check, message, fix())
            } else if free < SPACE_WARN {
                warn(check, message, fix())
            } else {
                ok(check, message)
            }
        }
        Err(error) => info(check, format!("cannot be told: {error}")),
    }
}

/// File systems of other machines, by the number that statfs(2) gives, where locks and mmap do not work as SQLite
/// and the spool need them.
const NETWORK: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "Lustre"),
];

fn file_system(path: &Path) -> Finding {
    let check = "file system";
    let kind = match rustix::fs::statfs(path) {
        // Only the low 32 bits are the number; some architectures extend its sign.
        Ok(stat) => stat.f_type as u64 & 0xffff_ffff,
        Err(error) => return info(check, format!("cannot be told: {error}")),
    };
    match NETWORK.iter().find(|(number, _)| *number == kind) {
        Some((_, name)) => warn(
            check,
            format!(
                "{} is on a network file system ({name}), where locks are not to be relied on",
                path.display()
            ),
            "set XDG_STATE_HOME to a directory on a local disk",
        ),
        None => ok(check, "the state directory is on a local disk"),
    }
}

fn socket(app: &App) -> Finding {
    let check = "socket";
    let path = &app.socket;
    let length = path.as_os_str().len();
    let message = format!("{} ({length} of {SOCKET_PATH_MAX} bytes)", path.display());
    if fs::symlink_metadata(path).is_err() {
        fail(
            check,
            format!(
                "{} is gone; the daemon makes it again within a minute",
                path.display()
            ),
            "outlast daemon restart",
        )
    } else if app.places.runtime_in_tmp && path.starts_with(&app.places.runtime_dir) {
        finding(
            check,
            FindingLevel::Info,
            format!("{message}; there is no runtime directory, so it lies in /tmp"),
            Some("set XDG_RUNTIME_DIR, or log in through a session that has one".to_owned()),
        )
    } else {
        ok(check, message)
    }
}

async fn helper(view: &HostView) -> Finding {
    let check = "helper";
    let Some(path) = find_program(HELPER) else {
        return fail(
            check,
            format!("{HELPER} is not found, so no job or session can start"),
            "put it beside outlastd, or name its directory in OUTLAST_LIBDIR",
        );
    };
    if view.link != Link::Up {
        let trouble = view.trouble.as_ref();
        let error = trouble.map_or("it has not answered yet", |trouble| trouble.message.as_str());
        return fail(
            check,
            format!("the local helper does not answer: {error}"),
            "outlast daemon logs",
        );
    }
    match version_of(&path).await {
        Ok(version) if version == VERSION => ok(check, format!("{} {version}", path.display())),
        Ok(version) => fail(
            check,
            format!("{} is version {version}, the daemon is {VERSION}", path.display()),
            "install both from one build, then: outlast daemon restart",
        ),
        Err(error) => fail(
            check,
            format!("{} cannot be run: {error}", path.display()),
            "install it again",
        ),
    }
}

/// The last word of what a program prints for `--version`.
async fn version_of(path: &Path) -> Result<String, String> {
    let output = tokio::process::Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_DEADLINE, output)
        .await
        .map_err(|_late| format!("no answer within {} s", VERSION_DEADLINE.as_secs()))?
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace()
        .last()
        .map(str::to_owned)
        .ok_or_else(|| format!("it says nothing ({})", output.status))
}

fn tmux(view: &HostView) -> Finding {
    let check = "tmux";
    let Some(facts) = &view.facts else {
        return warn(
            check,
            "not known, because the helper has not answered",
            "outlast daemon logs",
        );
    };
    match (&facts.tmux_problem, &facts.tmux_version) {
        (Some(problem), _) => warn(
            check,
            format!("{problem}; jobs work, sessions do not"),
            facts
                .tmux_hint
                .clone()
                .unwrap_or_else(|| "install tmux 3.2 or newer".to_owned()),
        ),
        (None, Some(version)) => ok(check, format!("tmux {version}")),
        (None, None) => warn(
            check,
            "not found; jobs work, sessions do not",
            "install tmux 3.2 or newer",
        ),
    }
}

/// Whether a logout ends what runs.
fn lingering(view: &HostView) -> Finding {
    let check = "lingering";
    if !Path::new("/run/systemd/system").is_dir() {
        return info(check, "systemd does not run here, so a logout ends nothing");
    }
    let Some(user) = view.facts.as_ref().map(|facts| facts.user.as_str()) else {
        return info(check, "not known, because the helper has not answered");
    };
    // The name comes from the password database and becomes a file name.
    let plain = !user.is_empty() && !user.contains('/') && user != "." && user != "..";
    if plain && Path::new("/var/lib/systemd/linger").join(user).exists() {
        ok(check, format!("on for {user}: a logout ends nothing"))
    } else {
        warn(
            check,
            "off: the daemon and what it runs may be ended when you log out",
            "loginctl enable-linger",
        )
    }
}

fn clock(app: &App) -> Finding {
    let check = "clock";
    let now = now_ms();
    if now < CLOCK_SET_MS {
        return warn(
            check,
            "the clock was never set: times of jobs and logs are wrong",
            "timedatectl set-ntp true",
        );
    }
    let passed = since_boot().saturating_sub(app.started.since_boot);
    let expected = app.started.at + i64::try_from(passed.as_millis()).unwrap_or(0);
    let moved = now - expected;
    if moved.abs() > CLOCK_JUMP_MS {
        info(
            check,
            format!(
                "it was moved by {} s since the daemon started: times from before and after do not compare",
                moved / 1000
            ),
        )
    } else {
        ok(check, "set, and not moved since the daemon started")
    }
}

fn limits() -> Vec<Finding> {
    vec![
        limit(
            "open files",
            rustix::process::getrlimit(Resource::Nofile).current,
            FILES_WARN,
            "raise it where you log in: ulimit -n 4096",
        ),
        limit(
            "processes",
            rustix::process::getrlimit(Resource::Nproc).current,
            PROCESSES_WARN,
            "raise it where you log in: ulimit -u 4096",
        ),
        inotify("inotify instances", "max_user_instances", INOTIFY_INSTANCES_WARN),
        inotify("inotify watches", "max_user_watches", INOTIFY_WATCHES_WARN),
    ]
}

/// A limit of the process; absent is without limit.
fn limit(check: &str, current: Option<u64>, least: u64, fix: &str) -> Finding {
    match current {
        None => ok(check, "no limit"),
        Some(count) if count < least => warn(check, format!("only {count} are allowed at once"), fix),
        Some(count) => ok(check, format!("{count} are allowed at once")),
    }
}

/// A limit of the kernel for each user.
fn inotify(check: &str, name: &str, least: u64) -> Finding {
    let path = format!("/proc/sys/fs/inotify/{name}");
    let count = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match count {
        None => info(check, "the kernel does not say how many are allowed"),
        Some(count) => limit(
            check,
            Some(count),
            least,
            &format!("sudo sysctl fs.inotify.{name}={}", least * 4),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_not_well_names_what_mends_it() {
        let low = limit("open files", Some(10), 1024, "raise it");
        assert_eq!(low.level(), FindingLevel::Warn);
        assert_eq!(low.fix.as_deref(), Some("raise it"));
        assert_eq!(
            limit("open files", None, 1024, "raise it").level(),
            FindingLevel::Ok
        );
    }

    #[test]
    fn an_open_directory_fails_with_the_command_that_closes_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let finding = access(dir.path());
        assert_eq!(finding.level(), FindingLevel::Fail);
        assert_eq!(finding.fix, Some(format!("chmod 700 {}", dir.path().display())));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(access(dir.path()).level(), FindingLevel::Ok);
    }

    #[test]
    fn a_host_that_never_answered_is_no_panic() {
        let view = HostView::default();
        assert_eq!(tmux(&view).level(), FindingLevel::Warn);
        assert_ne!(lingering(&view).level(), FindingLevel::Fail);
    }
}

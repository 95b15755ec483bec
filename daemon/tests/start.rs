//! How the daemon starts, and what keeps it from starting.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
};

use outlast_client::v1::{DiagnoseRequest, GetDaemonRequest, GetOverviewRequest};
use outlast_testkit::{DEADLINE, Sandbox};
use serde_json::Value;
use support::{log, ready, soon, start, start_with};

/// The one error that a start ended with: what the pipe said, and the exit code.
fn refused(sandbox: &Sandbox, args: &[&str]) -> (Value, i32) {
    let started = start(sandbox, args);
    let json = started
        .said
        .strip_prefix("error ")
        .unwrap_or_else(|| panic!("no error but {:?}", started.said));
    let error: Value = serde_json::from_str(json).unwrap();
    let run = started.process.finish(DEADLINE);
    // Whoever looks at the terminal reads the same.
    let message = format!("error: {}\n", error["message"].as_str().unwrap());
    let stderr = String::from_utf8(run.stderr.clone()).unwrap();
    assert!(stderr.starts_with(&message), "{stderr}");
    (error, run.exit())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Ready means: the socket is there, private, and answers, and the lock file names it.
#[tokio::test]
async fn a_ready_daemon_answers_on_the_socket_its_lock_file_names() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);

    let note = sandbox.lock_note().unwrap();
    assert_eq!((note.pid, note.socket), (process.pid(), sandbox.socket()));
    assert!(
        fs::symlink_metadata(sandbox.socket())
            .unwrap()
            .file_type()
            .is_socket()
    );
    assert_eq!(mode(&sandbox.socket()), 0o600);
    assert_eq!(mode(sandbox.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&sandbox.state_dir()), 0o700);

    let mut client = support::daemon(&sandbox).await;
    let answer = soon("the daemon", client.get_daemon(GetDaemonRequest {}))
        .await
        .unwrap();
    let daemon = answer.into_inner().daemon.unwrap();
    assert_eq!(daemon.pid, process.pid());
    assert_eq!(daemon.socket, sandbox.socket().display().to_string());
    assert_eq!(daemon.protocol, outlast_client::PROTOCOL);
    assert!(daemon.uptime_s >= 0.0);
}

/// Nothing that the daemon writes can be read by another user, whatever the umask it was started with.
#[test]
fn every_file_is_private() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let mut dirs = vec![sandbox.state_dir()];
    let mut seen = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
            seen += 1;
            if path.is_dir() {
                dirs.push(path);
            }
        }
    }
    assert!(seen >= 4, "only {seen} files");
    drop(process);
}

#[test]
fn a_second_daemon_says_who_runs_and_exits_4() {
    let sandbox = Sandbox::new();
    let first = ready(&sandbox);
    let (error, exit) = refused(&sandbox, &[]);
    assert_eq!(exit, 4);
    assert_eq!(error["kind"], "conflict");
    assert_eq!(
        error["message"],
        format!("outlastd already runs (pid {})", first.pid())
    );
    // Another socket does not make another daemon on the same database.
    let elsewhere = sandbox.path().join("run/other.sock");
    let (_, exit) = refused(&sandbox, &["--socket", elsewhere.to_str().unwrap()]);
    assert_eq!(exit, 4);
    assert!(first.is_running());
    assert!(sandbox.socket().exists());
}

/// Two homes of one user can come to share a socket's place; the one who serves there keeps it.
#[test]
fn a_socket_that_another_daemon_serves_is_left_alone() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let first = ready(&sandbox);
    let before = fs::metadata(sandbox.socket()).unwrap().ino();
    let socket = sandbox.socket();
    let (error, exit) = refused(&other, &["--socket", socket.to_str().unwrap()]);
    assert_eq!(
        (exit, &error["kind"]),
        (4, &Value::from("wrong_state")),
        "{error}"
    );
    assert_eq!(fs::metadata(sandbox.socket()).unwrap().ino(), before);
    assert!(first.is_running());
}

/// After a kill the socket's file and the note stay; the next daemon is not held up by either.
#[test]
fn a_killed_daemons_leftovers_are_replaced() {
    let sandbox = Sandbox::new();
    let first = ready(&sandbox);
    first.signal(rustix::process::Signal::KILL);
    drop(first.finish(DEADLINE));
    assert!(sandbox.socket().exists());
    assert!(sandbox.lock_note().is_some());

    let second = ready(&sandbox);
    assert_eq!(sandbox.lock_note().unwrap().pid, second.pid());
}

#[test]
fn a_stale_socket_of_whatever_made_it_is_replaced() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.socket().parent().unwrap()).unwrap();
    fs::set_permissions(
        sandbox.socket().parent().unwrap(),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    drop(UnixListener::bind(sandbox.socket()).unwrap());
    drop(ready(&sandbox));
}

#[test]
fn a_symlink_in_place_of_the_runtime_directory_is_refused() {
    let sandbox = Sandbox::new();
    symlink(sandbox.home(), sandbox.socket().parent().unwrap()).unwrap();
    let (error, exit) = refused(&sandbox, &[]);
    assert_eq!((error["kind"].as_str(), exit), (Some("not_permitted"), 5));
    assert!(error["message"].as_str().unwrap().contains("symlink"), "{error}");
    // The state directory is let go of again.
    assert_eq!(sandbox.lock_note(), None);
}

#[test]
fn a_runtime_directory_of_another_user_is_refused() {
    let sandbox = Sandbox::new();
    let dir = sandbox.socket().parent().unwrap().to_owned();
    let socket = if rustix::process::geteuid().is_root() {
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65_534), None).unwrap();
        sandbox.socket()
    } else {
        // For everybody else the root directory is somebody else's.
        Path::new("/daemon.sock").to_owned()
    };
    let owner = fs::metadata(socket.parent().unwrap()).unwrap().uid();
    let (error, exit) = refused(&sandbox, &["--socket", socket.to_str().unwrap()]);
    assert_eq!((error["kind"].as_str(), exit), (Some("not_permitted"), 5));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("belongs to user {owner}")), "{message}");
}

#[test]
fn a_state_directory_that_is_open_to_others_is_refused_with_the_command_that_closes_it() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.state_dir()).unwrap();
    fs::set_permissions(sandbox.state_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let (error, exit) = refused(&sandbox, &[]);
    assert_eq!(exit, 5);
    assert_eq!(
        error["hint"],
        format!("chmod 700 {}", sandbox.state_dir().display())
    );
}

#[test]
fn a_socket_path_that_is_too_long_says_so() {
    let sandbox = Sandbox::new();
    let long = format!("/tmp/{}/daemon.sock", "x".repeat(100));
    let (error, exit) = refused(&sandbox, &["--socket", &long]);
    assert_eq!((error["kind"].as_str(), exit), (Some("usage"), 2));
    assert!(error["hint"].as_str().unwrap().contains("OUTLAST_SOCKET"));
}

/// One mistake in the configuration stops the start with its place and the right word.
#[test]
fn a_mistake_in_the_configuration_is_the_error_of_the_start() {
    let sandbox = Sandbox::new();
    sandbox.configure("# limits\n[jobs]\nmax_runing = 2\n");
    let file = sandbox.config_dir().join("config.toml");
    let (error, exit) = refused(&sandbox, &[]);
    assert_eq!((error["kind"].as_str(), exit), (Some("usage"), 2));
    let message = format!("{}:3:1: unknown key `jobs.max_runing`", file.display());
    assert_eq!(error["message"], message.as_str());
    assert_eq!(error["hint"], "did you mean `max_running`?");

    let (checked, exit) = refused(&sandbox, &["--check-config"]);
    assert_eq!((checked["message"].as_str(), exit), (Some(message.as_str()), 2));
}

#[test]
fn the_configuration_is_printed_as_it_holds() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_running = 2\n");
    let mut command = sandbox.command("outlastd");
    command.arg("--print-config").env("OUTLAST_JOBS_MAX_RUNNING", "3");
    let run = outlast_testkit::run(command, DEADLINE);
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("\nmax_running = 3\n"), "{text}");
    sandbox.configure(&text);
    drop(ready(&sandbox));
}

#[test]
fn an_unknown_argument_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let (error, exit) = refused(&sandbox, &["--sokcet", "/x"]);
    assert_eq!((error["kind"].as_str(), exit), (Some("usage"), 2));
    let closed = start_with(&sandbox, |command| {
        command.args(["--ready-fd", "77"]);
    });
    assert!(closed.said.starts_with("error {"), "{}", closed.said);
}

/// What systemd hands over is the daemon's; a job must not be able to speak in its name.
#[test]
fn systemd_hears_ready_and_children_cannot_speak_for_the_daemon() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("run/notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(DEADLINE)).unwrap();
    let started = start_with(&sandbox, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert_eq!(started.said, "ready\n");
    let mut buffer = [0; 256];
    let count = notify.recv(&mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"READY=1\n"));

    started.process.signal(rustix::process::Signal::TERM);
    let count = notify.recv(&mut buffer).unwrap();
    assert!(buffer[..count].starts_with(b"STOPPING=1\n"));
}

/// The checks of `outlast doctor` and the overview work on a fresh installation.
#[tokio::test]
async fn doctor_and_overview_answer_on_a_fresh_installation() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = support::daemon(&sandbox).await;
    let answer = soon("doctor", client.diagnose(DiagnoseRequest {})).await.unwrap();
    let findings = answer.into_inner().findings;
    for check in [
        "daemon",
        "configuration",
        "store",
        "state directory",
        "disk space",
        "socket",
        "helper",
        "tmux",
        "lingering",
        "clock",
        "open files",
        "inotify instances",
    ] {
        assert!(findings.iter().any(|finding| finding.check == check), "{check}");
    }
    for finding in &findings {
        use outlast_client::v1::FindingLevel::{Fail, Warn};
        let bad = matches!(finding.level(), Warn | Fail);
        assert!(!bad || finding.fix.is_some(), "{finding:?}");
    }
    let store = findings.iter().find(|finding| finding.check == "store").unwrap();
    assert_eq!(store.level(), outlast_client::v1::FindingLevel::Ok, "{store:?}");

    let overview = soon("the overview", client.get_overview(GetOverviewRequest::default())).await;
    let overview = overview.unwrap().into_inner();
    assert_eq!(overview.hosts.len(), 1);
    assert_eq!(overview.hosts[0].name, "local");
    assert_eq!(overview.live_job_count, 0);
}

/// The daemon waits for most of its life and must be cheap to have.
#[test]
fn an_idle_daemon_does_not_wake_up() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let switches = || -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
        tasks
            .map(|task| {
                let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary_ctxt_switches"));
                line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok())
                    .unwrap_or(0)
            })
            .sum()
    };
    // What the start left to do is done once two looks agree; a daemon that ticks never lets them.
    let mut before = switches();
    outlast_testkit::wait_until(DEADLINE, "a second without a wake-up", || {
        let start = std::time::Instant::now();
        let now = loop {
            let now = switches();
            if now != before || start.elapsed().as_secs() >= 1 {
                break now;
            }
            std::thread::yield_now();
        };
        let quiet = now == before;
        before = now;
        quiet.then_some(())
    });
    assert!(!log(&sandbox).contains("panicked"));
}

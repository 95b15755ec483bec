//! What outlives the daemon is started in systemd scopes of its own, where systemd runs the daemon.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::{
        fs::{DirBuilderExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::PathBuf,
};

use outlast_testkit::{Process, Sandbox, program};
use support::start_with;

/// A user manager that listens, and a `systemd-run` that notes what it is asked and then does what `act` says.
struct Manager {
    record: PathBuf,
    bin: PathBuf,
    _private: UnixListener,
}

impl Manager {
    fn new(sandbox: &Sandbox, act: &str) -> Self {
        let private = sandbox.path().join("run/systemd/private");
        DirBuilder::new()
            .mode(0o700)
            .create(private.parent().unwrap())
            .unwrap();
        let bin = sandbox.path().join("fake");
        fs::create_dir(&bin).unwrap();
        let record = sandbox.path().join("asked");
        let run = bin.join("systemd-run");
        // What stands behind the options is run as systemd-run would, in the same environment.
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}'\nwhile [ \"$1\" != -- ]; do shift; done; shift\n{act}\n",
            record.display()
        );
        fs::write(&run, script).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o755)).unwrap();
        Self {
            record,
            bin,
            _private: UnixListener::bind(private).unwrap(),
        }
    }

    /// A daemon that finds the manager, as part of a unit or not.
    fn daemon(&self, sandbox: &Sandbox, in_unit: bool) -> Process {
        let started = start_with(sandbox, |command| {
            let path = sandbox
                .environment()
                .into_iter()
                .find(|(name, _)| *name == "PATH");
            let path = path.expect("a sandbox has a PATH").1;
            command.env("PATH", format!("{}:{path}", self.bin.display()));
            if in_unit {
                command.env("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
            }
        });
        assert_eq!(started.said, "ready\n");
        started.process
    }

    /// What it was asked to run, one command line each.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Runs a job with a secret in its environment, and a session.
fn work(sandbox: &Sandbox) {
    let job = ["run", "-e", "TOKEN=sesame", "--", "sh", "-c", "echo $TOKEN"];
    assert_eq!(sandbox.outlast(&job).success().word(), "sesame");
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--", "cat"])
            .success(),
    );
    drop(sandbox.wait_session("web", |state| state == "running"));
}

#[test]
fn supervisors_and_tmux_have_scopes_of_their_own() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, "exec \"$@\"");
    let _daemon = manager.daemon(&sandbox, true);
    work(&sandbox);
    let asked = manager.asked();
    let [job, session] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    let spool = sandbox.spool().unwrap();
    let options = "--user --scope --collect --quiet --";
    let supervise = format!(
        "{options} {} supervise {}/",
        program("outlast-helper").display(),
        spool.join("jobs").display()
    );
    assert!(job.starts_with(&supervise), "{job}");
    let tmux = format!("{options} tmux -u -S {} ", spool.join("tmux").display());
    assert!(
        session.starts_with(&tmux) && session.ends_with(" start-server"),
        "{session}"
    );
    assert!(!job.contains("sesame"), "{job}");
}

#[test]
fn without_a_scope_everything_runs_all_the_same() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, "echo 'Failed to connect to bus' >&2; exit 1");
    let _daemon = manager.daemon(&sandbox, true);
    work(&sandbox);
    assert_eq!(manager.asked().len(), 2);
    assert!(support::log(&sandbox).contains("Failed to connect to bus"));
}

#[test]
fn outside_of_a_unit_nobody_is_asked() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, "exec \"$@\"");
    let _daemon = manager.daemon(&sandbox, false);
    work(&sandbox);
    assert_eq!(manager.asked(), Vec::<String>::new());
}

//! The programs we are compared with, each in the sandbox.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use outlast_testkit::{DEADLINE, Process, Sandbox, run, wait_until};

use crate::programs::find;

/// pueue with its daemon, both in the sandbox.
pub(crate) struct Pueue {
    client: PathBuf,
    _daemon: Process,
}

impl Pueue {
    /// Starts pueued. None when pueue is not installed.
    pub(crate) fn start(sandbox: &Sandbox) -> Option<Self> {
        let (client, daemon) = (find("pueue")?, find("pueued")?);
        let daemon = Process::start(sandbox.command(daemon.to_str()?));
        let pueue = Self {
            client,
            _daemon: daemon,
        };
        wait_until(DEADLINE, "pueued to answer", || {
            let mut command = pueue.command(sandbox, &["status"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
                .status()
                .is_ok_and(|status| status.success())
                .then_some(())
        });
        drop(run(pueue.command(sandbox, &["parallel", "4"]), DEADLINE).success());
        Some(pueue)
    }

    /// A command of its client.
    pub(crate) fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.command(self.client.to_str().expect("paths of peers are text"));
        command.args(args);
        command
    }
}

/// A tmux server in the sandbox with one session, as the plainest thing there is to list.
pub(crate) fn tmux(sandbox: &Sandbox) -> Option<impl Fn(&[&str]) -> Command> {
    find("tmux")?;
    let socket = sandbox.path().join("peer-tmux");
    let make = move |sandbox: &Sandbox, args: &[&str]| {
        let mut command = sandbox.command("tmux");
        command
            .arg("-S")
            .arg(&socket)
            .args(["-f", "/dev/null"])
            .args(args);
        command
    };
    drop(run(make(sandbox, &["new-session", "-d", "sleep 1000"]), DEADLINE).success());
    Some(move |args: &[&str]| make(sandbox, args))
}

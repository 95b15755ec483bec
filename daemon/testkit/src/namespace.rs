//! A view of the file system of its own: small disks that fill up, a machine that seems to have booted again.

use std::{process::Command, time::Duration};

use crate::{DEADLINE, Process, Run, Sandbox, run};

/// What happens before the set-up: nothing that is mounted from here on is seen outside. In a chroot the mount that it
/// lies in cannot be named and so not be made private, which is fine where nothing is shared at all.
const SEAL: &str = "mount --make-rprivate / 2>/dev/null || ! grep -q ' shared:' /proc/1/mountinfo || {
        echo 'nothing can be mounted for this alone: make the root of this chroot a mount (mount --bind DIR DIR)' >&2
        exit 1
    }";

/// A private mount namespace. Mounts in it are seen only by commands that are run in it, and go with it.
#[derive(Debug)]
pub struct Namespace {
    /// Holds the namespace open; it ends with its standard input.
    keeper: Process,
}

impl Namespace {
    /// A new namespace in which `setup` was run by `sh -e`, with the sandbox's path as `$1`.
    ///
    /// # Panics
    /// When namespaces cannot be had or the set-up fails. As another user than root that takes a kernel that lets
    /// users make namespaces.
    #[must_use]
    pub fn new(sandbox: &Sandbox, setup: &str) -> Self {
        let mut command = sandbox.command("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let script = format!("{SEAL}\n{setup}\necho ready\nexec cat");
        command.args(["--mount", "--propagation", "unchanged", "--"]);
        command.args(["sh", "-ec", &script, "setup"]);
        command.arg(sandbox.path());
        let keeper = Process::start_with_input(command);
        keeper.wait_line(|line| line == "ready");
        Self { keeper }
    }

    /// A command of the sandbox that runs in the namespace.
    #[must_use]
    pub fn command(&self, sandbox: &Sandbox, name: &str) -> Command {
        let inner = sandbox.command(name);
        let mut command = sandbox.command("nsenter");
        command.arg("--target").arg(self.keeper.pid().to_string());
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--mount");
        // Entering leaves the working directory on the outside.
        command.arg(format!("--wd={}", sandbox.home().display()));
        command.arg("--").arg(inner.get_program());
        command
    }

    /// Runs `outlast` in the namespace to its end.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    pub fn outlast(&self, sandbox: &Sandbox, args: &[&str]) -> Run {
        self.run(sandbox, DEADLINE, "outlast", args)
    }

    /// Runs a command of the sandbox in the namespace to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn run(&self, sandbox: &Sandbox, deadline: Duration, name: &str, args: &[&str]) -> Run {
        let mut command = self.command(sandbox, name);
        command.args(args);
        run(command, deadline)
    }
}

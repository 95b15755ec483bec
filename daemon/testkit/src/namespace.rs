//! A view of the file system of its own: small disks that fill up, a machine that seems to have booted again.

use std::{process::Command, time::Duration};

use crate::{DEADLINE, Process, Run, Sandbox, run};

/// Run by the shell that makes the namespace, with the sandbox's path, the set-up and the arguments of `unshare`. Nothing
/// that is mounted is to be seen outside. In a chroot the mount that all lies in has no name and so cannot be made
/// private; that is fine when it is not shared, which the first process knows, whose root is the true one.
const MAKE: &str = r#"
    export SANDBOX="$1" SETUP="$2" SHARED
    shift 2
    exec 9<"$SANDBOX"
    mount=$(sed -n 's/^mnt_id:[^0-9]*//p' /proc/self/fdinfo/9)
    exec 9<&-
    # Numbers of mounts are never used twice at a time: what bears this one is that mount.
    case $(grep "^$mount " /proc/1/mountinfo) in
        '' | *' shared:'*) SHARED=perhaps ;;
        *) SHARED=no ;;
    esac
    exec unshare "$@" --mount --propagation unchanged -- sh -ec '
        mount --make-rprivate / 2>/dev/null || [ "$SHARED" = no ] || {
            echo "mounts would be seen outside: make the root of this chroot a mount (mount --bind DIR DIR)" >&2
            exit 1
        }
        set -- "$SANDBOX"
        eval "$SETUP"
        echo ready
        exec cat'"#;

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
        let mut command = sandbox.command("sh");
        command.args(["-ec", MAKE, "make"]).arg(sandbox.path()).arg(setup);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
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
        // Entering leaves the root directory, which need not be that of the namespace, and the working directory outside.
        command.args(["--mount", "--root"]);
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

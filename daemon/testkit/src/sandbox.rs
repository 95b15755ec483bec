//! One sealed place for one test.

use std::{
    env, fs,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use outlast_client::paths::LockNote;
use rustix::process::Signal;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{DEADLINE, Gone, Process, Run, SshClient, Sshd, leftovers, programs, run, sweep, wait_until};

/// A home of its own with everything under one short directory. Whatever runs in it is ended when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    programs: PathBuf,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// A new one with the programs of this build.
    ///
    /// # Panics
    /// When the programs are not built or the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        for name in ["outlast", "outlastd", "outlast-helper"] {
            drop(programs::program(name));
        }
        Self::with_programs(programs::directory())
    }

    /// A new one with the programs that lie in a directory.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn with_programs(programs: PathBuf) -> Self {
        sweep::abandoned();
        // Short, because socket addresses hold 107 bytes, and in /tmp even where TMPDIR is elsewhere and long.
        let dir = tempfile::Builder::new()
            .prefix(sweep::PREFIX)
            .rand_bytes(6)
            .tempdir_in(sweep::PLACE)
            .expect("a directory in /tmp can be made");
        let sandbox = Self { dir, programs };
        sweep::claim(sandbox.path());
        for sub in ["home", "bin", "config", "state", "cache", "data", "run", "tmp"] {
            let made = DirBuilder::new().mode(0o700).create(sandbox.path().join(sub));
            made.expect("a directory in the sandbox can be made");
        }
        sandbox
    }

    /// Directory that everything is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Home directory of what runs inside.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// `$XDG_STATE_HOME/outlast`.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state/outlast")
    }

    /// `$XDG_CONFIG_HOME/outlast`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.path().join("config/outlast")
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path().join("run/outlast/daemon.sock")
    }

    /// The spool of this machine, `<state>/<owner>/<machine-id>`, once the daemon has made it.
    #[must_use]
    pub fn spool(&self) -> Option<PathBuf> {
        let owners = fs::read_dir(self.state_dir()).ok()?.flatten();
        owners
            .filter_map(|owner| fs::read_dir(owner.path()).ok())
            .flat_map(|machines| machines.flatten())
            .map(|machine| machine.path())
            .find(|path| path.join("jobs").is_dir() || path.join("sessions").is_dir())
    }

    /// A directory that goes first in `PATH`, for programs that a test puts in the way of others.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    /// The `ssh` of this sandbox; from the first call on everything in it finds that one.
    ///
    /// # Panics
    /// When OpenSSH's client is not installed.
    #[must_use]
    pub fn ssh(&self) -> SshClient {
        SshClient::new(&self.path().join("ssh"), &self.bin())
    }

    /// A host reached by ssh as `alias`: an sshd with a directory of its own in the sandbox.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sshd(&self, alias: &str) -> Sshd {
        Sshd::known(&self.path().join(alias), &self.ssh(), alias)
    }

    /// Writes the configuration file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, text: &str) {
        fs::create_dir_all(self.config_dir()).expect("the sandbox can be written");
        fs::write(self.config_dir().join("config.toml"), text).expect("the sandbox can be written");
    }

    /// Variables that programs inside are given; nothing else is.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let at = |sub: &str| self.path().join(sub).display().to_string();
        let path = format!(
            "{}:{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            at("bin"),
            self.programs.display()
        );
        vec![
            ("HOME", at("home")),
            ("XDG_CONFIG_HOME", at("config")),
            ("XDG_STATE_HOME", at("state")),
            ("XDG_CACHE_HOME", at("cache")),
            ("XDG_DATA_HOME", at("data")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("TMPDIR", at("tmp")),
            ("PATH", path),
            ("LANG", "C.UTF-8".to_owned()),
            ("SHELL", "/bin/sh".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]
    }

    /// A command with the sealed environment, standing in the home directory. The programs under test are found by
    /// name.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let own = self.programs.join(name);
        let mut command = Command::new(if own.is_file() { own } else { PathBuf::from(name) });
        command
            .env_clear()
            .envs(self.environment())
            .current_dir(self.home());
        // Coverage, backtraces and which helper is sent to hosts are the test runner's business, and harmless inside.
        for key in ["RUST_BACKTRACE", "LLVM_PROFILE_FILE", programs::LIBDIR] {
            if let Some(value) = env::var_os(key) {
                command.env(key, value);
            }
        }
        command
    }

    /// Runs `outlast` to its end.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    pub fn outlast(&self, args: &[&str]) -> Run {
        self.outlast_within(DEADLINE, args)
    }

    /// Runs `outlast` to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn outlast_within(&self, deadline: Duration, args: &[&str]) -> Run {
        let mut command = self.command("outlast");
        command.args(args);
        run(command, deadline)
    }

    /// Starts `outlast` and reads along.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Process {
        let mut command = self.command("outlast");
        command.args(args);
        Process::start(command)
    }

    /// What the daemon's lock file says. None when there is none or the daemon is not ready.
    #[must_use]
    pub fn lock_note(&self) -> Option<LockNote> {
        let text = fs::read_to_string(self.state_dir().join("daemon.lock")).ok()?;
        LockNote::parse(&text)
    }

    /// Process id of the living daemon of this sandbox.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        Some(self.daemon()?.pid())
    }

    fn daemon(&self) -> Option<Gone> {
        let note = self.lock_note()?;
        let hold = Gone::watch(note.pid)?;
        let ours = fs::canonicalize(self.programs.join("outlastd")).ok()?;
        let same = leftovers::executable(note.pid).is_some_and(|exe| exe == ours);
        (same && !hold.within(Duration::ZERO)).then_some(hold)
    }

    /// Kills the daemon as `kill -9` does and waits until it is gone. Gives back its process id, or None when no
    /// daemon ran.
    ///
    /// # Panics
    /// When it does not go.
    pub fn kill_daemon(&self) -> Option<u32> {
        let daemon = self.daemon()?;
        daemon.signal(Signal::KILL);
        assert!(daemon.within(DEADLINE), "the killed daemon does not go");
        Some(daemon.pid())
    }

    /// Kills whatever daemon of this sandbox there is, also one that is still starting, and waits until it is gone.
    /// Gives back its process id, or None when there was none.
    ///
    /// # Panics
    /// When it does not go.
    pub fn kill_any_daemon(&self) -> Option<u32> {
        let ours = fs::canonicalize(self.programs.join("outlastd")).ok()?;
        let found = leftovers::running(self.path(), &ours);
        for daemon in &found {
            daemon.signal(Signal::KILL);
        }
        for daemon in &found {
            assert!(daemon.within(DEADLINE), "the killed daemon does not go");
        }
        found.first().map(Gone::pid)
    }

    /// Starts the daemon, or finds it running, and gives back its process id.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_daemon(&self) -> u32 {
        let started = self.outlast(&["daemon", "start"]).success();
        self.daemon_pid()
            .unwrap_or_else(|| panic!("the daemon was started but is not there: {started}"))
    }

    /// Connects to the daemon, which must run.
    ///
    /// # Errors
    /// When nobody listens, as after a kill.
    pub async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let socket = self.socket();
        Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_uri: Uri| {
                let socket = socket.clone();
                async move {
                    let connection = outlast_client::socket::connect(&socket).await;
                    connection.map(TokioIo::new).map_err(io::Error::other)
                }
            }))
            .await
    }

    /// Socket of the tmux server that outlast runs in this sandbox, once it is there.
    #[must_use]
    pub fn tmux_socket(&self) -> Option<PathBuf> {
        let path = self.spool()?.join("tmux");
        path.exists().then_some(path)
    }

    /// Asks the tmux server of this sandbox something and gives back its answer.
    ///
    /// # Panics
    /// When there is no such server.
    pub fn tmux(&self, args: &[&str]) -> Run {
        let socket = self.tmux_socket().expect("the sandbox has a tmux server");
        let mut command = self.command("tmux");
        command.arg("-S").arg(socket).args(args);
        run(command, DEADLINE)
    }

    /// Process ids of everything that runs in the sandbox.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        leftovers::find(self.path()).iter().map(Gone::pid).collect()
    }

    /// Kills everything that runs in the sandbox, as a power cut would, and waits until it is gone.
    pub fn kill_everything(&self) {
        leftovers::end_all(self.path());
    }

    /// Waits until a job is in a state that fits, and gives back its JSON.
    ///
    /// # Panics
    /// When that does not come in time.
    pub fn wait_job(&self, job: &str, fits: impl Fn(&str) -> bool) -> serde_json::Value {
        self.wait_thing("job", job, fits)
    }

    /// Waits until a session is in a state that fits, and gives back its JSON.
    ///
    /// # Panics
    /// When that does not come in time.
    pub fn wait_session(&self, session: &str, fits: impl Fn(&str) -> bool) -> serde_json::Value {
        self.wait_thing("session", session, fits)
    }

    fn wait_thing(&self, noun: &str, name: &str, fits: impl Fn(&str) -> bool) -> serde_json::Value {
        wait_until(DEADLINE, &format!("state of {noun} {name}"), || {
            let shown = self.outlast(&[noun, "show", name, "--json"]);
            let thing = (shown.exit() == 0).then(|| shown.json())?;
            fits(thing["state"].as_str()?).then_some(thing)
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        leftovers::end_all(self.path());
    }
}

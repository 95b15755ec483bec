//! A helper of its own for every test: directories in a short temporary directory, and everything that was started ended
//! with it.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use outlast_client::{
    helper_v1::{
        RunJobRequest, SpoolState, StartSessionRequest, Started, WatchSessionRequest, WatchSessionResponse,
    },
    v1::{Error, ErrorKind},
};
use outlast_helper::{
    service::{Config, Helper, SessionConfig},
    spool::Root,
    tmux::Place,
};
use outlast_transport::{HelperClient, local, program};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Child, time::Instant};
use tonic::{Status, Streaming};
use uuid::Uuid;

/// The longest any fact is waited for. The machine may be busy with eight builds.
pub const DEADLINE: Duration = Duration::from_secs(30);

const OWNER: &str = "conformance";

pub struct Bed {
    pub client: HelperClient,
    pub root: Root,
    /// A directory for whatever the test writes.
    pub dir: PathBuf,
    child: Option<Child>,
    /// Of a helper in this process.
    config: Option<Config>,
    temp: TempDir,
}

impl Bed {
    pub fn local() -> Self {
        Self::local_in("s")
    }

    /// With a state directory of this name.
    pub fn local_in(name: &str) -> Self {
        let temp = temp();
        Self::local_with(config(temp.path().join(name), helper_program()), temp)
    }

    /// Whose panes do nothing before [`Bed::let_panes_go`]; each is a line in the file `panes` of `dir` by then.
    pub fn with_late_panes() -> Self {
        let temp = temp();
        let (wrapper, dir) = (temp.path().join("late"), temp.path().join("work"));
        let (dir, helper) = (dir.display(), helper_program());
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = pane ]; then\n\
             echo late >>{dir}/panes; while [ ! -e {dir}/go ]; do sleep 0.01; done\n\
             fi\nexec {} \"$@\"\n",
            helper.display()
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, Permissions::from_mode(0o700)).unwrap();
        Self::local_with(config(temp.path().join("s"), wrapper), temp)
    }

    fn local_with(config: Config, temp: TempDir) -> Self {
        let helper = Helper::new(config.clone()).unwrap();
        let root = helper.root().clone();
        let mut bed = Self::new(local(helper).unwrap(), root, None, temp);
        bed.config = Some(config);
        bed
    }

    /// Another helper on the same directories, in this process as well.
    pub fn another_local(&self) -> HelperClient {
        local(Helper::new(self.config.clone().unwrap()).unwrap()).unwrap()
    }

    /// How many panes there were.
    pub fn late_panes(&self) -> usize {
        let panes = std::fs::read_to_string(self.dir.join("panes"));
        panes.unwrap_or_default().lines().count()
    }

    pub fn let_panes_go(&self) {
        std::fs::write(self.dir.join("go"), "").unwrap();
    }

    pub async fn program() -> Self {
        Self::program_with(|_| {}).await
    }

    /// A helper as a program, started in an environment that `change` may change.
    pub async fn program_with(change: impl FnOnce(&mut tokio::process::Command)) -> Self {
        let temp = temp();
        let mut command = tokio::process::Command::new(helper_program());
        command
            .args([
                "serve",
                "--owner",
                OWNER,
                "--history-limit",
                "2000",
                "--state-dir",
            ])
            .arg(temp.path().join("s"))
            .env_remove("INVOCATION_ID")
            .env("HOME", temp.path());
        change(&mut command);
        let (client, child) = program(&mut command).await.unwrap();
        let machine = outlast_helper::facts::machine_id();
        let root = Root::new(temp.path().join("s").join(OWNER).join(machine));
        Self::new(client, root, Some(child), temp)
    }

    fn new(client: HelperClient, root: Root, child: Option<Child>, temp: TempDir) -> Self {
        let dir = temp.path().join("work");
        std::fs::create_dir(&dir).unwrap();
        Self {
            client,
            root,
            dir,
            child,
            config: None,
            temp,
        }
    }

    /// Starts another helper on the same directories in the place of this one's, which is killed or told by the end of
    /// its input.
    pub async fn replace_program(&mut self, kill: bool) {
        let (client, child) = program(&mut serve(self.temp.path())).await.unwrap();
        let mut old = self.child.replace(child).unwrap();
        if kill {
            old.kill().await.unwrap();
        }
        self.client = client;
        let left = tokio::time::timeout(DEADLINE, old.wait()).await;
        assert!(left.expect("the old helper stays").is_ok());
    }

    /// The tmux socket of this helper.
    pub fn socket(&self) -> PathBuf {
        Place::choose(self.root.path()).unwrap().socket
    }

    /// Runs tmux on this helper's server and answers with what it printed.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-N")
            .arg("-S")
            .arg(self.socket())
            .args(arguments)
            .env_remove("TMUX")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A spec whose program has this bed's directory as its working directory and a path and a secret in its
    /// environment.
    pub fn spec(&self, kind: &str, id: &str, command: &[&str]) -> Value {
        json!({
            "version": 1, "kind": kind, "id": id, "name": null, "host": "local", "command": command,
            "restart_command": null, "cwd": self.dir, "timeout_ms": null, "log_max_bytes": null,
            "created_at_ms": 1,
            "env": {"PATH": std::env::var("PATH").unwrap(), "SECRET": "canary", "LANG": "C.UTF-8"},
        })
    }

    pub fn run_request(&self, id: &str, script: &str, from: Option<u64>) -> RunJobRequest {
        let spec = self.spec("job", id, &["sh", "-c", script]);
        RunJobRequest {
            id: id.to_owned(),
            spec_json: spec.to_string().into_bytes().into(),
            from,
        }
    }

    pub fn start_request(&self, id: &str, run: u32, script: &str) -> StartSessionRequest {
        let spec = self.spec("session", id, &["sh", "-c", script]);
        StartSessionRequest {
            id: id.to_owned(),
            spec_json: spec.to_string().into_bytes().into(),
            run,
            columns: 100,
            rows: 30,
            use_restart_command: false,
        }
    }

    /// Starts a session with this script.
    pub async fn session(&mut self, script: &str) -> (String, Started) {
        let id = new_id();
        let request = self.start_request(&id, 1, script);
        let response = self.client.start_session(request).await.unwrap();
        (id, response.into_inner().started.unwrap())
    }

    pub async fn watch(&mut self, id: &str) -> Watching {
        let request = WatchSessionRequest { id: id.to_owned() };
        Watching(self.client.watch_session(request).await.unwrap().into_inner())
    }

    /// The log of a session when its program has ended.
    pub async fn ended(&mut self, id: &str) -> (WatchSessionResponse, Vec<u8>) {
        let over = |response: &WatchSessionResponse| {
            let state = response.state.as_ref().unwrap();
            state.ended.is_some() || state.lost.is_some()
        };
        let last = self.watch(id).await.until("the end of the program", over).await;
        (
            last,
            std::fs::read(self.root.session(id).path().join("log")).unwrap_or_default(),
        )
    }

    /// Waits until the screen of a session shows this text.
    pub async fn shows(&mut self, id: &str, text: &str) -> String {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let request = outlast_client::helper_v1::CaptureSessionRequest {
                id: id.to_owned(),
                ansi: false,
                history_lines: 0,
            };
            let screen = self
                .client
                .capture_session(request)
                .await
                .unwrap()
                .into_inner()
                .screen;
            let screen = String::from_utf8_lossy(&screen).into_owned();
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < give_up, "never {text:?} on {screen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Panes hang up and take their programs along.
        self.tmux(&["kill-server"]);
        for id in self.root.jobs().unwrap_or_default() {
            let _ = self.root.job(&id).signal_end(Duration::ZERO);
        }
    }
}

/// A stream of reports on a session.
pub struct Watching(pub Streaming<WatchSessionResponse>);

impl Watching {
    /// The next report that fits.
    pub async fn until(
        &mut self,
        what: &str,
        fits: impl Fn(&WatchSessionResponse) -> bool,
    ) -> WatchSessionResponse {
        let mut last = None;
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let response = self.0.message().await.unwrap().expect("the stream ended");
                if fits(&response) {
                    return response;
                }
                last = Some(response);
            }
        });
        match found.await {
            Ok(response) => response,
            Err(_) => panic!("waited in vain for {what}; the last report was {last:?}"),
        }
    }
}

pub fn state(response: &WatchSessionResponse) -> &SpoolState {
    response.state.as_ref().unwrap()
}

pub fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The kind and the text of an error.
pub fn error(status: &Status) -> (ErrorKind, String) {
    let error = Error::from_status(status).unwrap_or_else(|| panic!("no error of ours: {status:?}"));
    (error.kind(), error.message)
}

/// Fails what hangs.
pub async fn within<T>(test: impl Future<Output = T>) -> T {
    let boxed = Box::pin(test);
    tokio::time::timeout(4 * DEADLINE, boxed)
        .await
        .expect("the test hangs")
}

/// Waits until something is so.
pub async fn eventually(what: &str, so: impl Fn() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < give_up, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs; one that only waits to be collected does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// The helper as a program on the directories in `temp`.
fn serve(temp: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(helper_program());
    command
        .args([
            "serve",
            "--owner",
            OWNER,
            "--history-limit",
            "2000",
            "--state-dir",
        ])
        .arg(temp.join("s"))
        .env_remove("INVOCATION_ID")
        .env("HOME", temp);
    command
}

fn config(state_dir: PathBuf, helper_program: PathBuf) -> Config {
    Config {
        state_dir,
        owner: OWNER.to_owned(),
        helper_program,
        sessions: SessionConfig {
            history_limit: 2000,
            user_copy_mode_keys: false,
        },
        scope: false,
    }
}

/// The helper binary of this build, beside the directory of the test's own.
fn helper_program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("outlast-helper");
    assert!(
        path.is_file(),
        "{} is not there: run cargo build --workspace --bins first",
        path.display()
    );
    path
}

fn temp() -> TempDir {
    tempfile::Builder::new()
        .prefix("ol")
        .rand_bytes(5)
        .tempdir_in("/tmp")
        .unwrap()
}

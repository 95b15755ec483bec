//! A helper of its own for every test: directories in a short temporary directory, and everything that was started ended
//! with it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use outlast_client::{
    helper_v1::{
        RunJobRequest, Size, SpoolState, StartSessionRequest, Started, WatchSessionRequest,
        WatchSessionResponse,
    },
    v1::{Error, ErrorKind},
};
use outlast_helper::{
    installed,
    service::{Config, Helper, SessionConfig},
    spool::Root,
    tmux::Place,
};
use outlast_testkit::{Gone, SshClient, Sshd};
use outlast_transport::{
    HelperClient,
    connect::{Attempt, Connection, Purpose, Trust, WantedHelper, connect},
    local,
    route::{Carrier, Route, SshCarrier, SshRoute},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};
use tonic::{Status, Streaming};
use uuid::Uuid;

/// The longest any fact is waited for. The machine may be busy with eight builds.
pub const DEADLINE: Duration = Duration::from_secs(30);

const OWNER: &str = "conformance";

/// How a helper is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In this process.
    Local,
    /// A command that reaches a shell.
    Command,
    /// The user's `ssh`.
    Ssh,
    /// The ssh library.
    Ssh2,
}

pub struct Bed {
    pub client: HelperClient,
    pub root: Root,
    /// A directory for whatever the test writes.
    pub dir: PathBuf,
    far: Option<Far>,
    /// Of a helper in this process.
    config: Option<Config>,
    temp: TempDir,
}

/// What is beyond this process.
struct Far {
    connection: Option<Connection>,
    attempt: Attempt,
    _sshd: Option<Sshd>,
}

impl Bed {
    pub async fn new(way: Way) -> Self {
        match way {
            Way::Local => Self::local_in("s"),
            Way::Command => Self::command_with(|_| Vec::new()).await,
            Way::Ssh => Self::ssh(SshCarrier::Ssh).await,
            Way::Ssh2 => Self::ssh(SshCarrier::Ssh2).await,
        }
    }

    /// In this process, with a state directory of this name.
    pub fn local_in(name: &str) -> Self {
        let temp = temp();
        let shell = login_shell(temp.path(), "");
        Self::local_with(config(temp.path().join(name), helper_program(), shell), temp)
    }

    /// Another bed of this kind, whose user's login shell does this at its start; see [`login_shell`].
    pub async fn with_start_file(self, start: &str) -> Self {
        let temp = temp();
        let shell = login_shell(temp.path(), start);
        self.like_this(temp, &shell).await
    }

    /// Another bed of this kind, with this login shell.
    pub async fn with_login_shell(self, shell: &Path) -> Self {
        self.like_this(temp(), shell).await
    }

    /// In this process, or behind a command: however a helper is reached, it reads logins in the same way.
    async fn like_this(self, temp: TempDir, shell: &Path) -> Self {
        if self.far.is_none() {
            let config = config(temp.path().join("s"), helper_program(), shell.to_owned());
            return Self::local_with(config, temp);
        }
        Self::command_of(temp, shell, |argv| argv).await
    }

    /// Behind a command, for a user with this login shell and this file at home.
    pub async fn at_home(shell: &Path, file: &str, text: &str) -> Self {
        let temp = temp();
        fs::write(temp.path().join(file), text).unwrap();
        Self::command_of(temp, shell, |argv| argv).await
    }

    /// Behind a command and two programs that only pass on what goes in and comes out, so that the helper's input can end
    /// while everything else stays open.
    pub async fn behind_cat() -> Self {
        let temp = temp();
        let shell = login_shell(temp.path(), "");
        let pid = temp.path().join("pid").display().to_string();
        let script = "sh -c 'echo $$ >\"$0\"; exec cat' \"$0.cat\" | sh -c 'echo $$ >\"$0\"; exec \"$@\"' \"$0.helper\" \"$@\" | \
                      sh -c 'echo $$ >\"$0\"; exec cat' \"$0.out\"";
        let through = |argv: Vec<String>| {
            let mut through = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), pid];
            through.extend(argv);
            through
        };
        Self::command_of(temp, &shell, through).await
    }

    /// The processes of such a bed: the one the helper reads through, itself, and the one it writes through.
    pub fn cats(&self) -> [u32; 3] {
        ["pid.cat", "pid.helper", "pid.out"].map(|name| {
            let text = fs::read_to_string(self.temp.path().join(name)).unwrap();
            text.trim().parse().unwrap()
        })
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
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o700)).unwrap();
        let shell = login_shell(temp.path(), "");
        Self::local_with(config(temp.path().join("s"), wrapper, shell), temp)
    }

    fn local_with(config: Config, temp: TempDir) -> Self {
        let helper = Helper::new(config.clone()).unwrap();
        let root = helper.root().clone();
        let mut bed = Self::on(local(helper).unwrap(), root, None, temp);
        bed.config = Some(config);
        bed
    }

    /// Another helper on the same directories, in this process as well.
    pub fn another_local(&self) -> HelperClient {
        local(Helper::new(self.config.clone().unwrap()).unwrap()).unwrap()
    }

    /// How many panes there were.
    pub fn late_panes(&self) -> usize {
        let panes = fs::read_to_string(self.dir.join("panes"));
        panes.unwrap_or_default().lines().count()
    }

    pub fn let_panes_go(&self) {
        fs::write(self.dir.join("go"), "").unwrap();
    }

    /// Behind a command, in an environment to which `more` adds what it makes of the home directory.
    pub async fn command_with(more: impl FnOnce(&Path) -> Vec<(&'static str, String)>) -> Self {
        let temp = temp();
        let shell = login_shell(temp.path(), "");
        let more = more(temp.path());
        let with = |mut argv: Vec<String>| {
            let at = argv.len() - 1;
            let more = more.into_iter().map(|(name, value)| format!("{name}={value}"));
            argv.splice(at..at, more);
            argv
        };
        Self::command_of(temp, &shell, with).await
    }

    /// Behind a command that `change` may change; its last word is the shell.
    async fn command_of(
        temp: TempDir,
        shell: &Path,
        change: impl FnOnce(Vec<String>) -> Vec<String>,
    ) -> Self {
        let mut argv = ["env", "-u", "INVOCATION_ID"].map(str::to_owned).to_vec();
        for (name, value) in far_places(temp.path(), shell) {
            argv.push(format!("{name}={value}"));
        }
        argv.push("/bin/sh".to_owned());
        Self::reach(Route::Command(change(argv)), None, temp).await
    }

    async fn ssh(carrier: SshCarrier) -> Self {
        let temp = temp();
        let client = SshClient::new(&temp.path().join("client"), &temp.path().join("bin"));
        let mut options = Sshd::options(&temp.path().join("far")).authorize(&client);
        let shell = login_shell(temp.path(), "");
        for (name, value) in far_places(temp.path(), &shell) {
            options = options.env(name, &value);
        }
        let sshd = options.start();
        client.know(&sshd.known_line());
        client.add_config(&sshd.alias("far"));
        let route = SshRoute {
            destination: "far".to_owned(),
            program: Some(client.program().to_owned()),
            carrier: Some(carrier),
            ..SshRoute::default()
        };
        Self::reach(Route::Ssh(route), Some(sshd), temp).await
    }

    async fn reach(route: Route, sshd: Option<Sshd>, temp: TempDir) -> Self {
        install(temp.path());
        let attempt = attempt(route);
        let connection = connect(attempt.clone()).await.unwrap();
        let carrier = match &attempt.route {
            Route::Command(_) => Carrier::Command,
            Route::Ssh(route) if route.carrier == Some(SshCarrier::Ssh2) => Carrier::Ssh2,
            Route::Ssh(_) => Carrier::Ssh,
        };
        assert_eq!(connection.carrier, carrier);
        let machine = outlast_helper::facts::machine_id();
        let root = Root::new(temp.path().join("s/outlast").join(OWNER).join(machine));
        let client = connection.client.clone();
        let far = Far {
            connection: Some(connection),
            attempt,
            _sshd: sshd,
        };
        Self::on(client, root, Some(far), temp)
    }

    fn on(client: HelperClient, root: Root, far: Option<Far>, temp: TempDir) -> Self {
        let dir = temp.path().join("work");
        fs::create_dir(&dir).unwrap();
        Self {
            client,
            root,
            dir,
            far,
            config: None,
            temp,
        }
    }

    /// Process ids of the helpers that serve.
    fn serving(&self) -> Vec<u32> {
        let cache = self.temp.path().join("c");
        let serves = |pid: u32| {
            let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let ours = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&cache));
            ours && cmdline.split(|byte| *byte == 0).nth(1) == Some(b"serve")
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| serves(*pid))
            .collect()
    }

    /// Starts another helper on the same directories in the place of this one's, which is killed or told by the end of
    /// its connection.
    pub async fn replace_helper(&mut self, kill: bool) {
        let old: Vec<Gone> = self.serving().into_iter().filter_map(Gone::watch).collect();
        assert!(old.len() <= 1, "more than one helper serves");
        let far = self.far.as_mut().expect("it is not in this process");
        let new = connect(far.attempt.clone()).await.unwrap();
        if kill {
            old[0].signal(rustix::process::Signal::KILL);
        }
        self.client = new.client.clone();
        drop(far.connection.replace(new));
        let gone = || old.iter().all(|old| old.within(Duration::ZERO));
        eventually("the end of the old helper", gone).await;
    }

    /// Ends the helper this began with, by the end of its connection.
    pub async fn end_helper(&mut self) {
        let old: Vec<Gone> = self.serving().into_iter().filter_map(Gone::watch).collect();
        drop(self.far.as_mut().and_then(|far| far.connection.take()));
        eventually("the end of the old helper", || {
            old.iter().any(|old| old.within(Duration::ZERO))
        })
        .await;
    }

    /// Kills every helper there is.
    pub async fn kill_helpers(&self) {
        for helper in self.serving().into_iter().filter_map(Gone::watch) {
            helper.signal(rustix::process::Signal::KILL);
            eventually("the end of a killed helper", || helper.within(Duration::ZERO)).await;
        }
    }

    /// Another helper on the same directories.
    pub async fn another(&self) -> Connection {
        self.another_for(Purpose::Control).await
    }

    /// Another helper on the same directories, for this purpose.
    pub async fn another_for(&self, purpose: Purpose) -> Connection {
        let far = self.far.as_ref().expect("it is not in this process");
        let attempt = Attempt {
            purpose,
            ..far.attempt.clone()
        };
        connect(attempt).await.unwrap()
    }

    /// The file that the helper runs from.
    pub fn installed(&self) -> PathBuf {
        let name = installed::name(&installed::hash(&helper_program()).unwrap());
        self.temp.path().join("c/outlast/helper").join(name)
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
            size: Some(Size {
                columns: 100,
                rows: 30,
            }),
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
        let request = WatchSessionRequest {
            id: id.to_owned(),
            ..WatchSessionRequest::default()
        };
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
            fs::read(self.root.session(id).path().join("log")).unwrap_or_default(),
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
                blanks: false,
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
        // Who still writes there would keep the directory from being removed.
        drop(self.far.take());
        outlast_testkit::end_all(self.temp.path());
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
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn sessions() -> SessionConfig {
    SessionConfig {
        history_limit: 2000,
        user_copy_mode_keys: false,
    }
}

/// Where a far helper has its things.
fn far_places(temp: &Path, login_shell: &Path) -> Vec<(&'static str, String)> {
    let at = |sub: &str| temp.join(sub).display().to_string();
    vec![
        ("HOME", temp.display().to_string()),
        ("XDG_STATE_HOME", at("s")),
        ("XDG_CACHE_HOME", at("c")),
        ("OUTLAST_LOGIN_SHELL", login_shell.display().to_string()),
    ]
}

/// Puts the helper where a far one is looked for: getting it there is not what these tests are about.
fn install(temp: &Path) {
    let dir = temp.join("c/outlast/helper");
    fs::create_dir_all(&dir).unwrap();
    let program = helper_program();
    let name = installed::name(&installed::hash(&program).unwrap());
    fs::copy(&program, dir.join(name)).unwrap();
}

/// An attempt at which nobody is there to be asked.
fn attempt(route: Route) -> Attempt {
    Attempt {
        route,
        purpose: Purpose::Control,
        helper: WantedHelper {
            owner: OWNER.to_owned(),
            sessions: sessions(),
            libraries: vec![helper_program().parent().unwrap().to_owned()],
        },
        trust: Trust::Ask,
        agent: None,
        passphrases: Vec::new(),
        questions: mpsc::channel(1).0,
        on_step: Arc::new(|step| println!("{step:?}")),
        within: DEADLINE,
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

fn config(state_dir: PathBuf, helper_program: PathBuf, login_shell: PathBuf) -> Config {
    Config {
        state_dir,
        owner: OWNER.to_owned(),
        helper_program,
        login_shell: Some(login_shell),
        sessions: sessions(),
        scope: false,
    }
}

/// Makes a login shell that does as `start` says where a real one reads its start files. `$D` is the directory it lies in.
fn login_shell(dir: &Path, start: &str) -> PathBuf {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = dir.join("shell");
    let text = format!(
        "#!/bin/sh\nD=${{0%/*}}\n{start}\ncase $1 in\n-l) [ \"$2\" = -c ] && eval \"$3\" ;;\n-c) eval \"$2\" ;;\n*) exec /bin/sh \"$@\" ;;\nesac\n"
    );
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)
        .unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    path
}

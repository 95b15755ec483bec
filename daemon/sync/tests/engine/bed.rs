//! A source, a target, a helper in this process, and an engine between them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command as Program,
    sync::{Arc, Mutex},
    time::Duration,
};

use outlast_client::helper_v1::helper_service_client::HelperServiceClient;
use outlast_helper::service::{self, Helper, SessionConfig};
use outlast_sync::{
    engine::{self, Command, Config, Limits, Load, Mode, Refused, State, View, Way},
    rules::{Places, RulesConfig},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::line::Line;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes that do not repeat.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What connections were wanted for.
type Wanted = Arc<Mutex<Vec<Load>>>;

struct Local {
    client: HelperServiceClient<Channel>,
    wanted: Wanted,
}

#[tonic::async_trait]
impl Way for Local {
    async fn connect(&self) -> Option<HelperServiceClient<Channel>> {
        Some(self.client.clone())
    }

    async fn carrier(&self, load: Load) -> HelperServiceClient<Channel> {
        self.wanted.lock().unwrap().push(load);
        self.client.clone()
    }

    fn may_haul(&self) -> bool {
        true
    }

    fn is_far(&self) -> bool {
        true
    }

    async fn all(&self) -> Vec<String> {
        Vec::new()
    }

    fn is_cut_off(&self, _status: &Status) -> bool {
        false
    }

    async fn doubt(&self) {}
}

pub struct Bed {
    dir: TempDir,
    helper: Arc<Helper>,
    pub line: Arc<Line>,
    pub config: Config,
    wanted: Wanted,
    running: Option<Running>,
}

struct Running {
    inbox: mpsc::Sender<Command>,
    view: watch::Receiver<View>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Bed {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let helper = Helper::new(service::Config {
            state_dir: dir.path().join("state"),
            owner: "owner".to_owned(),
            helper_program: PathBuf::from("/nonexistent"),
            login_shell: None,
            sessions: SessionConfig {
                history_limit: 1000,
                user_copy_mode_keys: false,
            },
            scope: false,
        })
        .unwrap();
        let config = Config {
            id: "a7e1c2d4-0000-4000-8000-000000000001".to_owned(),
            source: dir.path().join("source").canonicalize().unwrap(),
            target: dir.path().join("target").to_str().unwrap().as_bytes().to_vec(),
            mode: Mode::Mirror,
            rules: RulesConfig::default(),
            places: Places {
                home: Some(home),
                config_home: None,
            },
            cache: dir.path().join("cache"),
            limits: Limits::default(),
            limit_bytes: None,
            occupied: false,
            halted: None,
        };
        Self {
            dir,
            helper,
            line: Line::new(),
            config,
            wanted: Wanted::default(),
            running: None,
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.dir.path().join("source").join(name)
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.dir.path().join("target").join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.source(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn start(&mut self) {
        assert!(self.running.is_none());
        let client = self.line.client(&self.helper);
        let (inbox, commands) = mpsc::channel(8);
        let (shown, view) = watch::channel(View::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(engine::run(
            self.config.clone(),
            Arc::new(Local {
                client,
                wanted: Arc::clone(&self.wanted),
            }),
            false,
            commands,
            shown,
            stop.clone(),
        ));
        self.running = Some(Running {
            inbox,
            view,
            stop,
            task,
        });
    }

    /// What connections were wanted for so far, beside the one for what is little.
    pub fn wanted(&self) -> Vec<Load> {
        self.wanted.lock().unwrap().clone()
    }

    /// Keeps others from opening the target while it is held.
    pub fn lock_target(&self) -> fs::File {
        let machine = outlast_helper::facts::machine_id();
        let syncs = self.path().join("state/owner").join(machine).join("syncs");
        let lock = fs::File::open(syncs.join(&self.config.id).join("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        lock
    }

    /// The same, once whoever had it open has let go of it.
    pub async fn lock_target_when_free(&self) -> fs::File {
        let machine = outlast_helper::facts::machine_id();
        let syncs = self.path().join("state/owner").join(machine).join("syncs");
        let lock = fs::File::open(syncs.join(&self.config.id).join("lock")).unwrap();
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        self.wait_disk("the target to be free", || {
            rustix::fs::flock(&lock, operation).is_ok()
        })
        .await;
        lock
    }

    /// Ends the engine in good order.
    pub async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.cancel();
        timeout(DEADLINE, running.task).await.unwrap().unwrap();
    }

    /// Ends it as a kill would.
    pub async fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.task.abort();
        let _ended = running.task.await;
    }

    pub async fn say(&self, command: Command) {
        self.running.as_ref().unwrap().inbox.send(command).await.unwrap();
    }

    pub async fn try_flush(&self) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.say(Command::Flush(reply)).await;
        match timeout(DEADLINE, answer).await {
            Ok(answer) => answer.unwrap(),
            Err(_elapsed) => panic!("a flush does not end: {:#?}", self.view()),
        }
    }

    /// Has it go on if what it is halted for is not so any more.
    pub async fn look_again(&self) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.say(Command::LookAgain(reply)).await;
        timeout(DEADLINE, answer).await.expect("it is answered").unwrap()
    }

    pub async fn flush(&self) {
        self.try_flush().await.unwrap();
    }

    pub fn view(&self) -> View {
        self.running.as_ref().unwrap().view.borrow().clone()
    }

    /// Waits until the view is so.
    pub async fn wait(&self, what: &str, is_so: impl Fn(&View) -> bool) -> View {
        let mut view = self.running.as_ref().unwrap().view.clone();
        match timeout(DEADLINE, view.wait_for(|view| is_so(view))).await {
            Ok(view) => view.unwrap().clone(),
            Err(_elapsed) => panic!("{what}: still not so: {:#?}", self.view()),
        }
    }

    pub async fn wait_state(&self, state: State) -> View {
        self.wait(&format!("{state:?}"), |view| view.state == state).await
    }

    /// Waits until something on the disk is so.
    pub async fn wait_disk(&self, what: &str, is_so: impl Fn() -> bool) {
        let waited = timeout(DEADLINE, async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        if waited.await.is_err() {
            panic!(
                "{what}: still not so: {:#?}",
                self.running.as_ref().map(|_| self.view())
            );
        }
    }

    /// What an independent program says is different.
    pub fn differences(&self) -> String {
        let output = Program::new("rsync")
            .args(["-rlptn", "--checksum", "--delete", "--itemize-changes"])
            .args(["--omit-dir-times", "--omit-link-times"])
            .arg(self.source(""))
            .arg(self.target(""))
            .output()
            .expect("rsync is not there: install rsync");
        // 24: files in the making went while it looked.
        assert!(matches!(output.status.code(), Some(0 | 24)), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn assert_equal(&self) {
        assert_eq!(self.differences(), "", "{:#?}", self.view());
    }
}

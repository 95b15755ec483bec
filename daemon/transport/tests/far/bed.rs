//! A host of its own for every test, with nothing on it yet.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use outlast_client::helper_v1::GetFactsRequest;
use outlast_helper::{installed, service::SessionConfig};
use outlast_testkit::{SshClient, Sshd, SshdOptions, far_helper};
use outlast_transport::{
    ask::{Asked, Question, Secret},
    connect::{Attempt, Connection, Purpose, Step, Trust, WantedHelper, connect},
    error::ConnectError,
    route::{Route, SshCarrier, SshRoute},
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};

/// The longest any fact is waited for.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Bed {
    pub temp: TempDir,
    /// Where helper programs are looked for.
    pub libraries: Vec<PathBuf>,
    /// Steps as they were told.
    pub steps: Arc<Mutex<Vec<Step>>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Who still writes there would keep the directory from being removed.
        outlast_testkit::end_all(self.temp.path());
    }
}

impl Bed {
    pub fn new() -> Self {
        let temp = tempfile::Builder::new()
            .prefix("ol")
            .rand_bytes(5)
            .tempdir_in("/tmp")
            .unwrap();
        for sub in ["home", "state", "cache", "tmp"] {
            fs::create_dir(temp.path().join(sub)).unwrap();
        }
        Self {
            temp,
            libraries: vec![far_helper().parent().unwrap().to_owned()],
            steps: Arc::default(),
        }
    }

    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Directory of the helpers of the host behind a command.
    pub fn helpers(&self) -> PathBuf {
        self.path().join("cache/outlast/helper")
    }

    /// Where the helper goes in such a directory.
    pub fn name(&self) -> String {
        installed::name(&installed::hash(&far_helper()).unwrap())
    }

    /// Puts the helper where it is looked for.
    pub fn install(&self, helpers: &Path) {
        fs::create_dir_all(helpers).unwrap();
        fs::copy(far_helper(), helpers.join(self.name())).unwrap();
    }

    /// A host behind a command: `sh` run by this script, as `$SH`.
    pub fn command(&self, script: &str) -> Route {
        let at = |sub: &str| self.path().join(sub).display().to_string();
        Route::Command(
            [
                "env",
                "-u",
                "INVOCATION_ID",
                &format!("HOME={}", at("home")),
                &format!("XDG_STATE_HOME={}", at("state")),
                &format!("XDG_CACHE_HOME={}", at("cache")),
                &format!("ROOT={}", self.path().display()),
                "sh",
                "-c",
                script,
            ]
            .map(str::to_owned)
            .to_vec(),
        )
    }

    pub fn client(&self) -> SshClient {
        SshClient::new(&self.path().join("client"), &self.path().join("bin"))
    }

    pub fn sshd(&self) -> SshdOptions {
        Sshd::options(&self.path().join("far")).authorize(&self.client())
    }

    /// The way to a host of this client's configuration by the user's own `ssh`.
    pub fn ssh(&self, host: &str) -> SshRoute {
        SshRoute {
            destination: host.to_owned(),
            program: Some(self.client().program().to_owned()),
            carrier: Some(SshCarrier::Ssh),
            ..SshRoute::default()
        }
    }

    /// An attempt at which nobody is there to be asked.
    pub fn attempt(&self, route: Route) -> Attempt {
        let steps = Arc::clone(&self.steps);
        Attempt {
            route,
            purpose: Purpose::Control,
            helper: WantedHelper {
                owner: "far".to_owned(),
                sessions: SessionConfig {
                    history_limit: 2000,
                    user_copy_mode_keys: false,
                },
                libraries: self.libraries.clone(),
            },
            trust: Trust::Ask,
            agent: None,
            passphrases: Vec::new(),
            questions: mpsc::channel(1).0,
            on_step: Arc::new(move |step| {
                println!("{step:?}");
                steps.lock().unwrap().push(step);
            }),
            within: Duration::from_secs(20),
        }
    }

    /// An attempt at which this answers. What was asked comes out of the receiver.
    pub fn asking(
        &self,
        route: Route,
        answer: impl Fn(&Question) -> Option<String> + Send + 'static,
    ) -> (Attempt, mpsc::Receiver<Question>) {
        let (questions, mut asked) = mpsc::channel::<Asked>(1);
        // More than any attempt may ask.
        let (told, all) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(Asked { question, answer: to }) = asked.recv().await {
                let _ = to.send(answer(&question).map(Secret::new));
                let _ = told.try_send(question);
            }
        });
        let attempt = Attempt {
            questions,
            ..self.attempt(route)
        };
        (attempt, all)
    }

    /// What the last step about the helper said.
    pub fn helper_step(&self) -> String {
        let steps = self.steps.lock().unwrap();
        let step = steps.iter().rfind(|step| step.name == "helper").unwrap();
        step.message.clone()
    }
}

pub async fn try_connect(attempt: Attempt) -> Result<Connection, ConnectError> {
    timeout(DEADLINE, connect(attempt)).await.expect("it hangs")
}

/// Connects and asks something.
pub async fn connected(attempt: Attempt) -> Connection {
    let connection = try_connect(attempt).await.unwrap();
    let facts = connection.client.clone().get_facts(GetFactsRequest {}).await;
    assert_eq!(facts.unwrap().into_inner().os, "linux");
    connection
}

/// Why it cannot be reached.
pub async fn refused(attempt: Attempt) -> ConnectError {
    let error = try_connect(attempt).await.unwrap_err();
    println!("{error:?}");
    error
}

/// Waits for the end of a connection.
pub async fn closed(connection: &mut Connection) -> ConnectError {
    let reason = timeout(DEADLINE, connection.closed.wait_for(Option::is_some)).await;
    let reason = reason.expect("it stays").unwrap().clone().unwrap();
    println!("{reason:?}");
    reason
}

//! A client and an sshd of a test's own, and one attempt after another between them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use outlast_helper::service::SessionConfig;
use outlast_testkit::{SshClient, Sshd, SshdOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::super::{agent, config, open};
use crate::{
    ask::{Asked, Question, Secret},
    connect::{Attempt, OnStep, Purpose, Step, Trust, WantedHelper},
    error::ConnectError,
    route::{Route, SshRoute},
    stream::Stream,
};

/// A place with a client in it.
pub(super) struct Bed {
    pub(super) client: SshClient,
    dir: TempDir,
}

impl Bed {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = SshClient::new(&dir.path().join("client"), &dir.path().join("bin"));
        Self { client, dir }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An sshd to be set up.
    pub(super) fn sshd(&self) -> SshdOptions {
        Sshd::options(&self.path().join("sshd"))
    }

    /// An sshd that lets the client in and is known to it.
    pub(super) fn known(&self) -> Sshd {
        let sshd = self.sshd().authorize(&self.client).start();
        self.client.know(&sshd.known_line());
        sshd
    }

    /// An attempt to connect to an sshd.
    pub(super) fn to(&self, sshd: &Sshd) -> Try<'_> {
        self.to_port(sshd.address().port())
    }

    pub(super) fn to_port(&self, port: u16) -> Try<'_> {
        Try {
            client: &self.client,
            route: SshRoute {
                destination: "127.0.0.1".to_owned(),
                port: Some(port),
                ..SshRoute::default()
            },
            trust: Trust::Ask,
            agent: None,
            passphrases: Vec::new(),
            answers: Vec::new(),
            within: Duration::from_secs(20),
            purpose: Purpose::Control,
        }
    }
}

/// What an attempt is made from.
pub(super) struct Try<'a> {
    client: &'a SshClient,
    pub(super) route: SshRoute,
    pub(super) trust: Trust,
    pub(super) agent: Option<PathBuf>,
    pub(super) passphrases: Vec<(PathBuf, Secret)>,
    /// What a person answers, one after another; then nothing any more.
    pub(super) answers: Vec<&'static str>,
    pub(super) within: Duration,
    pub(super) purpose: Purpose,
}

/// What came of an attempt.
pub(super) struct Made {
    pub(super) outcome: Result<Stream, ConnectError>,
    pub(super) fit: Vec<(PathBuf, Secret)>,
    pub(super) steps: Vec<Step>,
    pub(super) questions: Vec<Question>,
}

impl Made {
    pub(super) fn stream(self) -> Stream {
        self.outcome.unwrap()
    }

    pub(super) fn error(self) -> ConnectError {
        self.outcome.unwrap_err()
    }
}

impl Try<'_> {
    /// Connects and runs a command.
    pub(super) async fn run(self, command: &str) -> Made {
        let (questions, mut asked) = mpsc::channel::<Asked>(4);
        let mut answers = self.answers.clone().into_iter();
        let person = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(question) = asked.recv().await {
                heard.push(question.question);
                let answer = answers.next().map(|answer| Secret::new(answer.to_owned()));
                let _ = question.answer.send(answer);
            }
            heard
        });
        let steps = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&steps);
        let settings = config::ask(self.client.program(), &self.route).await.unwrap();
        let on_step: OnStep = Arc::new(move |step| told.lock().unwrap().push(step));
        let attempt = self.attempt(questions, on_step);
        let agent = agent::find(&settings, attempt.agent.as_deref()).await;
        let opened = open::open(&attempt, &self.route, &settings, agent, command).await;
        drop(attempt);
        let (outcome, fit) = match opened {
            Ok((stream, fit)) => (Ok(stream), fit),
            Err(error) => (Err(error), Vec::new()),
        };
        let questions = person.await.unwrap();
        let steps = steps.lock().unwrap().clone();
        Made {
            outcome,
            fit,
            steps,
            questions,
        }
    }

    /// The attempt.
    pub(super) fn attempt(&self, questions: mpsc::Sender<Asked>, on_step: OnStep) -> Attempt {
        Attempt {
            route: Route::Ssh(self.route.clone()),
            purpose: self.purpose,
            helper: WantedHelper {
                owner: "test".to_owned(),
                sessions: SessionConfig {
                    history_limit: 1000,
                    user_copy_mode_keys: false,
                },
                libraries: Vec::new(),
            },
            trust: self.trust.clone(),
            agent: self.agent.clone(),
            passphrases: self.passphrases.clone(),
            questions,
            on_step,
            within: self.within,
        }
    }

    /// Connects, and makes sure that what was reached is a shell on the host.
    pub(super) async fn gets_in(self) -> Made {
        let mut made = self.run("cat").await;
        let stream = made.outcome.as_mut().unwrap();
        assert_eq!(echo(stream, b"hello").await, b"hello");
        made
    }
}

/// Sends bytes to `cat` and reads as many back.
pub(super) async fn echo(stream: &mut Stream, bytes: &[u8]) -> Vec<u8> {
    stream.io.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    stream.io.read_exact(&mut back).await.unwrap();
    back
}

/// Reads to the end.
pub(super) async fn rest(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.io.read_to_end(&mut all).await.unwrap();
    all
}

/// Waits for the reason of the end.
pub(super) async fn reason(stream: &mut Stream) -> ConnectError {
    let ended = stream.closed.wait_for(Option::is_some);
    let ended = tokio::time::timeout(outlast_testkit::DEADLINE, ended).await;
    ended.unwrap().unwrap().clone().unwrap()
}

/// How many connections' threads this process has.
pub(super) fn threads() -> Vec<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let is_ours =
        |dir: &PathBuf| std::fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.trim() == "ssh");
    tasks.map(|task| task.path()).filter(is_ours).collect()
}

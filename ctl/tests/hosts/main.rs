//! Hosts and what is done with them, as somebody at a terminal and as a script does it. One program, because each takes
//! its time to link.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

#[path = "../fake/mod.rs"]
mod fake;

mod adding;
mod asking;
mod away;
mod checking;
mod exec;
mod forward;
mod removing;
mod shell;
mod trusting;

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use fake::{Fake, Heard, Script, host, outlast, talk};
use outlast_client::v1::{
    self, CheckHostRequest, CheckHostResponse, Link, QuestionKind, check_host_request::Event as Said,
    check_host_response::Event as Tell,
};
use outlast_testkit::Pty;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

type Answers = mpsc::Sender<Result<CheckHostResponse, Status>>;

/// What the daemon was asked to do.
#[derive(Clone, Default)]
pub struct Asked {
    pub added: Heard<v1::AddHostRequest>,
    pub removed: Heard<v1::RemoveHostRequest>,
    pub opened: Heard<v1::CheckOpen>,
    pub answered: Heard<Option<String>>,
}

pub fn step(step: &str, ok: bool, message: &str) -> Tell {
    Tell::Step(v1::CheckStep {
        step: step.to_owned(),
        took: Some(prost_types::Duration {
            seconds: 0,
            nanos: 12_345_000,
        }),
        ok,
        message: message.to_owned(),
    })
}

pub fn question(kind: QuestionKind, text: &str) -> Tell {
    Tell::Question(v1::Question {
        id: 7,
        kind: kind.into(),
        text: text.to_owned(),
        echo: kind == QuestionKind::HostKey,
        fingerprint: (kind == QuestionKind::HostKey).then(|| "SHA256:right".to_owned()),
    })
}

pub fn end(ok: bool, host: v1::Host) -> Tell {
    Tell::End(v1::CheckEnd { host: Some(host), ok })
}

pub fn up(name: &str) -> v1::Host {
    v1::Host {
        os: Some("linux".to_owned()),
        arch: Some("x86_64".to_owned()),
        transport: Some("ssh2".to_owned()),
        rtt_ms: Some(0.42),
        ..host(name, Link::Up)
    }
}

pub fn gone(name: &str, link: Link) -> v1::Host {
    v1::Host {
        error: Some("it is away".to_owned()),
        hint: Some("look at the cable".to_owned()),
        ..host(name, link)
    }
}

/// Tells one thing after the other; behind a question it waits for the answer.
async fn tell(asked: Asked, mut requests: Streaming<CheckHostRequest>, answers: Answers, script: Vec<Tell>) {
    let first = requests.message().await.unwrap().unwrap().event;
    let Some(Said::Open(open)) = first else {
        panic!("{first:?}")
    };
    asked.opened.lock().unwrap().push(open);
    for event in script {
        let asks = matches!(event, Tell::Question(_));
        let sent = answers.send(Ok(CheckHostResponse { event: Some(event) })).await;
        if sent.is_err() {
            return;
        }
        if asks {
            match requests.message().await {
                Ok(Some(CheckHostRequest {
                    event: Some(Said::Answer(answer)),
                })) => {
                    assert_eq!(answer.id, 7);
                    asked.answered.lock().unwrap().push(answer.text);
                }
                // It hung up.
                Ok(None) | Err(_) => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A daemon that adds and removes hosts, and tells what a script says when one is checked.
pub fn daemon(script: impl Fn(&str) -> Vec<Tell> + Send + 'static) -> (Fake, Asked) {
    let asked = Asked::default();
    let (added, removed, checked) = (asked.clone(), asked.clone(), asked.clone());
    let script = Arc::new(Mutex::new(script));
    let fake = Fake::start(Script {
        add_host: Some(Box::new(move |request| {
            let host = host(&request.name, Link::Connecting);
            added.added.lock().unwrap().push(request);
            Ok(v1::AddHostResponse { host: Some(host) })
        })),
        remove_host: Some(Box::new(move |request| {
            removed.removed.lock().unwrap().push(request);
            Ok(v1::RemoveHostResponse {
                live_jobs: 1,
                jobs: 3,
                live_sessions: 0,
                sessions: 1,
                syncs: 2,
            })
        })),
        check_host: talk(move |requests, answers| {
            let (asked, script) = (checked.clone(), Arc::clone(&script));
            async move {
                // Which host it is only comes with the opening, and scripts do not depend on it but by name.
                let script = script.lock().unwrap()("build1");
                tell(asked, requests, answers, script).await;
            }
        }),
        ..Script::default()
    });
    (fake, asked)
}

/// The program on a terminal.
pub fn pty(fake: &Fake, args: &[&str]) -> Pty {
    Pty::start(&terminal(fake, args))
}

fn terminal(fake: &Fake, args: &[&str]) -> Command {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).env("TERM", "xterm");
    command
}

//! Adding, checking, trusting and forgetting hosts, as somebody at a terminal and as a script does it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fake::{Fake, Ran, Script, finish, host, job, outlast, run, session, talk};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{
    self, CheckHostRequest, CheckHostResponse, Error, ErrorKind, JobState, Link, QuestionKind, SessionState,
    add_host_request::Address, check_host_request::Event as Said, check_host_response::Event as Tell,
};
use outlast_testkit::{DEADLINE, Pty};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

type Heard<T> = Arc<Mutex<Vec<T>>>;
type Answers = mpsc::Sender<Result<CheckHostResponse, Status>>;

/// What the daemon was asked to do.
#[derive(Clone, Default)]
struct Asked {
    added: Heard<v1::AddHostRequest>,
    removed: Heard<v1::RemoveHostRequest>,
    opened: Heard<v1::CheckOpen>,
    answered: Heard<Option<String>>,
}

fn step(step: &str, ok: bool, message: &str) -> Tell {
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

fn question(kind: QuestionKind, text: &str) -> Tell {
    Tell::Question(v1::Question {
        id: 7,
        kind: kind.into(),
        text: text.to_owned(),
        echo: kind == QuestionKind::HostKey,
        fingerprint: (kind == QuestionKind::HostKey).then(|| "SHA256:right".to_owned()),
    })
}

fn end(ok: bool, host: v1::Host) -> Tell {
    Tell::End(v1::CheckEnd { host: Some(host), ok })
}

fn up(name: &str) -> v1::Host {
    v1::Host {
        os: Some("linux".to_owned()),
        arch: Some("x86_64".to_owned()),
        transport: Some("ssh2".to_owned()),
        rtt_ms: Some(0.42),
        ..host(name, Link::Up)
    }
}

fn away(name: &str, link: Link) -> v1::Host {
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
fn daemon(script: impl Fn(&str) -> Vec<Tell> + Send + 'static) -> (Fake, Asked) {
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
fn pty(fake: &Fake, args: &[&str]) -> Pty {
    Pty::start(&terminal(fake, args))
}

fn terminal(fake: &Fake, args: &[&str]) -> Command {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).env("TERM", "xterm");
    command
}

fn seen(pty: &Pty) -> String {
    String::from_utf8_lossy(&pty.seen()).into_owned()
}

#[test]
fn a_host_is_added_connected_to_and_printed() {
    let (fake, asked) = daemon(|name| {
        vec![
            step("connect", true, "10.1.2.3:2222"),
            step("authenticate", true, "by key"),
            end(true, up(name)),
        ]
    });
    let key = fake.home().path().join("key");
    std::fs::write(&key, "").unwrap();
    let args = [
        "host",
        "add",
        "build1",
        "me@10.1.2.3:2222",
        "--identity",
        "key",
        "--jump",
        "gate",
        "--transport",
        "ssh2",
        "--accept-key",
        "SHA256:right",
    ];
    let ran = fake.outlast(&args);
    assert_eq!(
        (ran.code, ran.text().as_str()),
        (0, "build1\tssh\tup\t0\t0\tnone\tlinux x86_64\t\tme@10.1.2.3\t\n")
    );
    // Nobody looks: no steps, just what to do now.
    assert_eq!(
        ran.err,
        "host build1 is connected by ssh2; try: outlast run --host build1 -- uname -a\n"
    );
    let added = asked.added.lock().unwrap().remove(0);
    assert_eq!(added.request_id.map(|id| id.len()), Some(36));
    let Some(Address::Ssh(ssh)) = added.address else {
        panic!("{:?}", added.address)
    };
    assert_eq!(
        ssh,
        v1::SshAddress {
            destination: "10.1.2.3".to_owned(),
            user: Some("me".to_owned()),
            port: Some(2222),
            identities: vec![key.to_str().unwrap().to_owned()],
            jump: Some("gate".to_owned()),
            transport: v1::SshTransport::Ssh2.into(),
        }
    );
    assert_eq!(
        asked.opened.lock().unwrap().remove(0),
        v1::CheckOpen {
            host: "build1".to_owned(),
            anew: false,
            accept_new: false,
            accept_key: Some("SHA256:right".to_owned()),
            interactive: false,
        }
    );
    assert!(asked.removed.lock().unwrap().is_empty());

    let ran = fake.outlast(&["--json", "host", "add", "build1", "build1", "--accept-new"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.json()["name"], "build1");
    assert!(asked.opened.lock().unwrap().remove(0).accept_new);
}

#[test]
fn a_host_by_command_is_split_as_a_shell_does_and_without_check_nothing_connects() {
    let (fake, asked) = daemon(|_| panic!("it was checked"));
    let ran = fake.outlast(&[
        "host",
        "add",
        "web",
        "--no-check",
        "--command",
        "docker exec -i 'my web' sh",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.text().starts_with("web\t"), "{ran:?}");
    assert_eq!(
        ran.err,
        "host web was added; connect to it with: outlast host check web\n"
    );
    let added = asked.added.lock().unwrap().remove(0);
    let Some(Address::Command(address)) = added.address else {
        panic!("{:?}", added.address)
    };
    assert_eq!(address.command, ["docker", "exec", "-i", "my web", "sh"]);
    for args in [
        &["host", "add", "web"][..],
        &["host", "add", "web", "--command", "sh 'x"],
        &["host", "add", "web", "web:0"],
        &["host", "add", "web", "web", "--identity", "nosuch"],
        &["host", "add", "web", "web", "--command", "sh"],
        &["host", "add", "web", "web", "--no-check", "--accept-new"],
        &[
            "host",
            "add",
            "web",
            "web",
            "--accept-key",
            "SHA256:x",
            "--accept-new",
        ],
    ] {
        let ran = fake.outlast(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
    }
    assert!(asked.added.lock().unwrap().is_empty());
}

#[test]
fn a_host_that_cannot_be_connected_to_is_taken_back() {
    for (link, code, hint) in [
        (Link::Backoff, 6, "look at the cable; --no-check adds it anyway"),
        (
            Link::AuthFailed,
            5,
            "look at the cable; --no-check adds it anyway",
        ),
        (
            Link::HostkeyChanged,
            5,
            "look at the cable; for that, add it with --no-check first",
        ),
    ] {
        let (fake, asked) = daemon(move |name| {
            vec![
                step("resolve", true, "10.1.2.3"),
                step("connect", false, "10.1.2.3:22 refused the connection"),
                end(false, away(name, link)),
            ]
        });
        let ran = fake.outlast(&["host", "add", "build1", "10.1.2.3"]);
        assert_eq!((ran.code, ran.text().as_str()), (code, ""));
        assert_eq!(
            ran.err,
            format!("error: host build1 was not added: 10.1.2.3:22 refused the connection\nhint: {hint}\n")
        );
        let removed = asked.removed.lock().unwrap().remove(0);
        assert_eq!(
            (removed.host.as_str(), removed.force, removed.dry_run),
            ("build1", true, false)
        );
    }
}

#[test]
fn a_question_that_nobody_can_answer_takes_the_host_back_and_names_the_flag() {
    let removed = Heard::<String>::default();
    let kept = Arc::clone(&removed);
    let fake = Fake::start(Script {
        add_host: Some(Box::new(|request| {
            Ok(v1::AddHostResponse {
                host: Some(host(&request.name, Link::Connecting)),
            })
        })),
        remove_host: Some(Box::new(move |request| {
            removed.lock().unwrap().push(request.host);
            Ok(v1::RemoveHostResponse::default())
        })),
        check_host: talk(|_requests, answers| async move {
            let error = Error::new(
                ErrorKind::Unauthenticated,
                "the key SHA256:x of host build1 is not known",
            )
            .with_hint("--accept-key SHA256:x");
            let _ = answers.send(Err(error.into_status())).await;
        }),
        ..Script::default()
    });
    let ran = fake.outlast(&["host", "add", "build1", "10.1.2.3"]);
    assert_eq!(ran.code, 5);
    assert_eq!(
        ran.err,
        "error: host build1 was not added: the key SHA256:x of host build1 is not known\n\
         hint: --accept-key SHA256:x; --no-check adds it anyway\n"
    );
    assert_eq!(*kept.lock().unwrap(), ["build1"]);
}

/// Sends a running program a signal once the daemon was asked to connect.
fn interrupted(fake: &Fake, asked: &Asked, signal: rustix::process::Signal, args: &[&str]) -> Ran {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    outlast_testkit::wait_until(DEADLINE, "the check", || {
        (!asked.opened.lock().unwrap().is_empty()).then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, signal).unwrap();
    finish(child)
}

#[test]
fn ctrl_c_while_connecting_takes_everything_back() {
    let asked = Asked::default();
    let (checked, removed) = (asked.clone(), asked.clone());
    let fake = Fake::start(Script {
        add_host: Some(Box::new(|request| {
            Ok(v1::AddHostResponse {
                host: Some(host(&request.name, Link::Connecting)),
            })
        })),
        remove_host: Some(Box::new(move |request| {
            removed.removed.lock().unwrap().push(request);
            Ok(v1::RemoveHostResponse::default())
        })),
        check_host: talk(move |mut requests: Streaming<CheckHostRequest>, answers| {
            let asked = checked.clone();
            async move {
                let first = requests.message().await.unwrap().unwrap();
                let Some(Said::Open(open)) = first.event else {
                    panic!()
                };
                asked.opened.lock().unwrap().push(open);
                // It never gets further.
                answers.closed().await;
            }
        }),
        ..Script::default()
    });
    let ran = interrupted(
        &fake,
        &asked,
        rustix::process::Signal::INT,
        &["host", "add", "build1", "10.1.2.3"],
    );
    assert_eq!((ran.code, ran.text().as_str()), (130, ""));
    assert_eq!(ran.err, "host build1 was not added\n");
    assert_eq!(asked.removed.lock().unwrap().remove(0).host, "build1");

    asked.opened.lock().unwrap().clear();
    let ran = interrupted(
        &fake,
        &asked,
        rustix::process::Signal::INT,
        &["host", "check", "build1"],
    );
    assert_eq!(ran.code, 130);
    assert_eq!(
        ran.err,
        "the check was broken off; come back with: outlast host check build1\n"
    );
    assert!(
        asked.removed.lock().unwrap().is_empty(),
        "a check removes nothing"
    );

    asked.opened.lock().unwrap().clear();
    let signal = rustix::process::Signal::TERM;
    let ran = interrupted(&fake, &asked, signal, &["host", "add", "build1", "10.1.2.3"]);
    assert_eq!(ran.code, 143);
    assert_eq!(asked.removed.lock().unwrap().len(), 1);
}

#[test]
fn at_a_terminal_steps_are_shown_and_questions_asked_with_secrets_hidden() {
    let (fake, asked) = daemon(|name| {
        vec![
            step("key exchange", true, "curve25519"),
            question(
                QuestionKind::HostKey,
                "The host shows a key of type ssh-ed25519 \u{1b}[2J that is not known.",
            ),
            question(QuestionKind::Passphrase, "Passphrase of /home/me/.ssh/id:"),
            question(QuestionKind::Unspecified, "Code:"),
            step("authenticate", true, "by key"),
            end(true, up(name)),
        ]
    });
    let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
    let before = pty.modes();
    pty.wait_text("(yes, no, or the fingerprint) ");
    let shown = seen(&pty);
    assert!(
        shown.contains("key exchange") && shown.contains("12 ms"),
        "{shown}"
    );
    assert!(
        shown.contains("\\e[2J") && !shown.contains("\u{1b}[2J"),
        "{shown}"
    );
    assert!(shown.contains("its fingerprint is SHA256:right"), "{shown}");
    pty.write(b"y\n");
    pty.wait_text("type yes, no, or the fingerprint");
    pty.write(b"SHA256:wrong\n");
    pty.wait_text("that is not the fingerprint");
    pty.write(b"SHA256:right\n");
    pty.wait_text("Passphrase of /home/me/.ssh/id: ");
    pty.write(b" open sesame \n");
    pty.wait_text("Code: ");
    pty.write(b"123456\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    pty.wait_text("host build1 is connected");
    assert_eq!(
        *asked.answered.lock().unwrap(),
        [Some("SHA256:right"), Some(" open sesame "), Some("123456")].map(|text| text.map(str::to_owned))
    );
    assert!(asked.opened.lock().unwrap()[0].interactive);
    let shown = seen(&pty);
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(
        shown.contains("NAME") && shown.contains("authenticate"),
        "{shown}"
    );
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn a_declined_key_and_the_end_of_input_are_answers_too() {
    for typed in [&b"no\n"[..], b"\x04"] {
        let (fake, asked) = daemon(|name| {
            vec![
                question(QuestionKind::HostKey, "The key SHA256:right is not known."),
                step("host key", false, "the key was declined"),
                end(false, away(name, Link::AuthFailed)),
            ]
        });
        let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
        pty.wait_text("the fingerprint) ");
        pty.write(typed);
        assert_eq!(pty.wait_exit(DEADLINE).code(), Some(5));
        pty.wait_text("host build1 was not added: the key was declined");
        assert_eq!(*asked.answered.lock().unwrap(), [None]);
        assert_eq!(asked.removed.lock().unwrap().len(), 1);
    }
}

#[test]
fn ctrl_c_at_a_hidden_question_gives_the_terminal_back() {
    let (fake, asked) = daemon(|_| vec![question(QuestionKind::Password, "me@10.1.2.3's password:")]);
    let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
    let before = pty.modes();
    pty.wait_text("password: ");
    assert_ne!(
        pty.modes().local_modes,
        before.local_modes,
        "what is typed is shown"
    );
    pty.write(b"half a sec\x03");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    pty.wait_text("host build1 was not added");
    assert_eq!(pty.modes().local_modes, before.local_modes);
    assert!(!seen(&pty).contains("half"), "{}", seen(&pty));
    assert_eq!(asked.removed.lock().unwrap().len(), 1);
    // The same when the whole thing is told to end.
    let mut pty = self::pty(&fake, &["host", "check", "build1"]);
    let before = pty.modes();
    pty.wait_text("password: ");
    pty.signal(rustix::process::Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn a_question_that_the_daemon_gives_up_is_gone() {
    let fake = Fake::start(Script {
        check_host: talk(|_requests, answers| async move {
            let ask = question(QuestionKind::Password, "password:");
            for event in [
                ask,
                step("authenticate", false, "the host hung up"),
                end(false, away("build1", Link::Backoff)),
            ] {
                let _ = answers.send(Ok(CheckHostResponse { event: Some(event) })).await;
                // The prompt is there before it is taken away.
                tokio::task::yield_now().await;
            }
            answers.closed().await;
        }),
        ..Script::default()
    });
    let mut pty = pty(&fake, &["host", "check", "build1"]);
    let before = pty.modes();
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(6));
    pty.wait_text("error: host build1: the host hung up");
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn without_input_nobody_is_asked_even_at_a_terminal() {
    let (fake, asked) = daemon(|name| vec![end(true, up(name))]);
    let mut pty = pty(&fake, &["--no-input", "host", "check", "build1"]);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert!(!asked.opened.lock().unwrap()[0].interactive);
}

#[test]
fn a_check_tells_each_step_and_the_first_cause() {
    let (fake, asked) = daemon(|name| {
        vec![
            step("resolve", true, "10.1.2.3"),
            step("connect", false, "10.1.2.3:22 timed\tout"),
            step("helper", false, "not tried"),
            end(false, away(name, Link::Backoff)),
        ]
    });
    let ran = fake.outlast(&["host", "check", "build1"]);
    assert_eq!(ran.code, 6);
    assert_eq!(
        ran.text(),
        "build1\tresolve\tok\t12.345\t10.1.2.3\n\
         build1\tconnect\tfailed\t12.345\t10.1.2.3:22 timed\\tout\n\
         build1\thelper\tfailed\t12.345\tnot tried\n"
    );
    assert_eq!(
        ran.err,
        "error: host build1: 10.1.2.3:22 timed\\tout\nhint: look at the cable\n"
    );
    assert!(asked.opened.lock().unwrap()[0].anew);
    let ran = fake.outlast(&["--json", "host", "check", "build1"]);
    assert_eq!(ran.code, 6);
    let told = ran.json();
    assert_eq!((&told["name"], &told["ok"]), (&json!("build1"), &json!(false)));
    assert_eq!(
        told["steps"][1],
        json!({"step": "connect", "ok": false, "took_ms": 12.345, "message": "10.1.2.3:22 timed\tout"})
    );
    assert_eq!(told["host"]["link"], "backoff");
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(
        (&error["error"]["kind"], &error["error"]["subject"]),
        (&json!("unreachable"), &json!("build1"))
    );
}

#[test]
fn several_hosts_are_checked_each_on_its_own() {
    let fake = Fake::start(Script {
        check_host: talk(|mut requests: Streaming<CheckHostRequest>, answers| async move {
            let first = requests.message().await.unwrap().unwrap();
            let Some(Said::Open(open)) = first.event else {
                panic!()
            };
            let answer = match open.host.as_str() {
                "good" => Ok(end(true, up("good"))),
                "shut" => Ok(end(false, away("shut", Link::AuthFailed))),
                name => {
                    Err(Error::new(ErrorKind::NotFound, format!("no host is called {name:?}")).into_status())
                }
            };
            let _ = answers
                .send(answer.map(|event| CheckHostResponse { event: Some(event) }))
                .await;
        }),
        ..Script::default()
    });
    let ran = fake.outlast(&["host", "check", "shut", "good", "nosuch"]);
    assert_eq!(ran.code, 5);
    assert_eq!(
        ran.err,
        "error: host shut: it is away\nhint: look at the cable\n\
         host good is connected by ssh2, round trip 0.4 ms\n\
         error: no host is called \"nosuch\"\n"
    );
    assert_eq!(fake.outlast(&["host", "check", "nosuch"]).code, 3);
}

#[test]
fn a_check_goes_on_when_the_connection_to_the_daemon_breaks() {
    let calls = Arc::new(Mutex::new(0));
    let fake = Fake::start(Script {
        check_host: talk(move |_requests, answers| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            let again = *calls > 1;
            async move {
                let _ = answers
                    .send(Ok(CheckHostResponse {
                        event: Some(if again {
                            end(true, up("build1"))
                        } else {
                            step("resolve", true, "10.1.2.3")
                        }),
                    }))
                    .await;
            }
        }),
        ..Script::default()
    });
    let ran = fake.outlast(&["host", "check", "build1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn trusting() -> (Fake, Heard<String>) {
    let typed = Heard::default();
    let kept = Arc::clone(&typed);
    let changed = v1::Host {
        key_shown: Some("SHA256:new".to_owned()),
        keys_known: vec!["SHA256:old".to_owned()],
        ..away("build1", Link::HostkeyChanged)
    };
    let fake = Fake::start(Script {
        hosts: [("build1".to_owned(), changed)].into(),
        trust_host: Some(Box::new(move |request| {
            kept.lock().unwrap().push(request.fingerprint.clone());
            if request.fingerprint != "SHA256:new" {
                return Err(Error::new(ErrorKind::Conflict, "the host shows SHA256:new").into_status());
            }
            Ok(v1::TrustHostResponse {
                host: Some(up("build1")),
                changed_files: vec!["/home/me/.ssh/known_hosts".to_owned()],
            })
        })),
        ..Script::default()
    });
    (fake, typed)
}

#[test]
fn a_key_is_trusted_by_its_fingerprint_only() {
    let (fake, typed) = trusting();
    let ran = fake.outlast(&["host", "trust", "build1", "--fingerprint", "SHA256:new"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.text().starts_with("build1\tssh\tup"), "{ran:?}");
    assert_eq!(
        ran.err,
        "changed: /home/me/.ssh/known_hosts\nhost build1 is connected by ssh2, round trip 0.4 ms\n"
    );
    let ran = fake.outlast(&["host", "trust", "build1", "--fingerprint", "SHA256:other"]);
    assert_eq!(ran.code, 4);
    // Not even yes to everything is a fingerprint.
    let ran = fake.outlast(&["--yes", "host", "trust", "build1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--fingerprint SHA256:"), "{}", ran.err);
    assert_eq!(*typed.lock().unwrap(), ["SHA256:new", "SHA256:other"]);
}

#[test]
fn at_a_terminal_both_keys_are_shown_and_the_fingerprint_is_typed() {
    let (fake, typed) = trusting();
    let mut pty = pty(&fake, &["host", "trust", "build1"]);
    pty.wait_text("tells it: ");
    let shown = seen(&pty);
    assert!(
        shown.contains("known:  SHA256:old") && shown.contains("shown:  SHA256:new"),
        "{shown}"
    );
    pty.write(b"SHA256:new\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(*typed.lock().unwrap(), ["SHA256:new"]);
}

#[test]
fn forgetting_a_host_says_what_goes_and_asks() {
    let (fake, asked) = daemon(|_| Vec::new());
    // Something runs there: that the daemon refuses is not asked about. This one does not refuse.
    let ran = fake.outlast(&["host", "remove", "build1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.err,
        "host build1 was forgotten with 3 jobs (1 live) and 1 session; what runs there goes on\n"
    );
    let removed = std::mem::take(&mut *asked.removed.lock().unwrap());
    assert_eq!(
        removed.iter().map(|request| request.dry_run).collect::<Vec<_>>(),
        [true, false]
    );
    assert!(removed[0].request_id.is_none() && removed[1].request_id.is_some());

    let removed = Heard::<bool>::default();
    let kept = Arc::clone(&removed);
    let fake = Fake::start(Script {
        remove_host: Some(Box::new(move |request| {
            kept.lock().unwrap().push(request.dry_run);
            Ok(v1::RemoveHostResponse {
                jobs: 2,
                ..v1::RemoveHostResponse::default()
            })
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["host", "remove", "build1"]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.err,
        "error: forget host build1 with 2 jobs: there is nobody to ask\nhint: add --yes to agree\n"
    );
    assert_eq!(*removed.lock().unwrap(), [true]);
    let ran = fake.outlast(&["--yes", "--json", "host", "remove", "build1"]);
    assert_eq!(
        ran.json(),
        json!({"name": "build1", "live_jobs": 0, "jobs": 2, "live_sessions": 0, "sessions": 0})
    );
    let ran = fake.outlast(&["host", "remove", "--force", "build1"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "host build1 was forgotten with 2 jobs\n")
    );
}

fn ago(seconds: i64) -> Option<prost_types::Timestamp> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Some(prost_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap() - seconds,
        nanos: 0,
    })
}

#[test]
fn a_host_that_is_away_shows_why_since_when_and_what_helps() {
    let (fake, _) = trusting();
    let ran = fake.outlast(&["host", "show", "build1"]);
    for line in [
        "link        hostkey_changed\n",
        "error       it is away\n",
        "hint        look at the cable\n",
        "key shown   SHA256:new\n",
        "keys known  SHA256:old\n",
    ] {
        assert!(ran.text().contains(line), "{}", ran.text());
    }
    let gone = v1::Host {
        observed_at: ago(180),
        port: Some(2222),
        ..away("build1", Link::Backoff)
    };
    let fake = Fake::start(Script {
        hosts: [("build1".to_owned(), gone), ("up".to_owned(), up("up"))].into(),
        ..Script::default()
    });
    let mut pty = pty(&fake, &["host", "list"]);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    pty.wait_text("3 min ago");
    pty.wait_text("me@10.1.2.3:2222");
    let ran = fake.outlast(&["host", "list"]);
    assert!(ran.text().ends_with("\tme@10.1.2.3\t\n"), "{}", ran.text());
    assert!(
        ran.text().contains("\tme@10.1.2.3:2222\tit is away\n"),
        "{}",
        ran.text()
    );
}

#[test]
fn how_old_is_what_is_told_of_a_host_that_is_away_is_said_on_stderr() {
    const ID: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";
    let there = |job: v1::Job| v1::Job {
        host: "build1".to_owned(),
        ..job
    };
    let fake = Fake::start(Script {
        jobs: [(
            "build".to_owned(),
            there(job(ID, Some("build"), JobState::Running)),
        )]
        .into(),
        sessions: [(
            "web".to_owned(),
            v1::Session {
                host: "build1".to_owned(),
                ..session(ID, "web", SessionState::Running)
            },
        )]
        .into(),
        away: vec![v1::Away {
            host: "build1".to_owned(),
            link: Link::Backoff.into(),
            error: None,
            observed_at: ago(7200),
            next_try_at: ago(-7200),
        }],
        ..Script::default()
    });
    let line = "host build1 is away (backoff, next try in 2 h): what is told of it is 2 h old\n";
    for args in [
        &["job", "list"][..],
        &["job", "show", "build"],
        &["session", "list"],
        &["session", "show", "web"],
    ] {
        let ran = fake.outlast(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, line), "{args:?}");
        assert!(ran.text().contains("build1"), "{args:?}");
        let ran = fake.outlast(&[&["--json"], args].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn a_job_for_a_host_that_is_away_is_queued_and_says_so_and_when_the_host_is_back() {
    use v1::read_job_log_response::Event;
    const ID: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";
    let now = |state, link: Link| v1::Job {
        host: "build1".to_owned(),
        link: link.into(),
        ..job(ID, None, state)
    };
    let fake = Fake::start(Script {
        create_job: Some(Box::new(move |request| {
            assert_eq!(request.host.as_deref(), Some("build1"));
            assert!(request.cwd.is_none() && request.base_env.is_empty());
            Ok(v1::CreateJobResponse {
                job: Some(now(JobState::Queued, Link::Backoff)),
            })
        })),
        job_log: Some(Box::new(move |_| {
            let end = v1::Job {
                exit_code: Some(0),
                ..now(JobState::Succeeded, Link::Up)
            };
            let events = [
                Event::Job(now(JobState::Queued, Link::Backoff)),
                Event::Job(now(JobState::Running, Link::Up)),
                Event::Job(now(JobState::Running, Link::Down)),
                Event::Job(now(JobState::Running, Link::Up)),
                Event::End(v1::JobLogEnd {
                    next_offset: 0,
                    job: Some(end),
                }),
            ];
            stream::iter(events.map(|event| Ok(v1::ReadJobLogResponse { event: Some(event) }))).boxed()
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["run", "--host", "build1", "--", "make"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.err,
        "job 0d6af9a8, come back with: outlast logs -f 0d6af9a8\n\
         outlast: queued; host build1 is away (backoff), the job starts when it is back\n\
         outlast: host build1 is back\n\
         outlast: host build1 is away (down); the job goes on there\n\
         outlast: host build1 is back\n"
    );
    let ran = fake.outlast(&["run", "--host", "build1", "--cwd", "here", "--", "make"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn every_call_names_the_users_agent_while_it_lives() {
    let agents = Heard::default();
    let fake = Fake::start(Script {
        agents: Arc::clone(&agents),
        ..Script::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let (living, dead) = (dir.path().join("agent.1"), dir.path().join("agent.2"));
    let _listening = UnixListener::bind(&living).unwrap();
    drop(UnixListener::bind(&dead).unwrap());
    let [living, dead] = [&living, &dead].map(|path| path.to_str().unwrap());
    for agent in [Some(living), Some(dead), Some("relative"), None] {
        let mut command = outlast(fake.home(), &["--no-start", "host", "list"]);
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        assert_eq!(run(command).code, 0);
    }
    assert_eq!(
        *agents.lock().unwrap(),
        [Some(living.to_owned()), None, None, None]
    );
}

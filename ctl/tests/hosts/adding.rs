//! Adding a host: connected to at once, and taken back when that fails.

use std::{process::Stdio, sync::Arc};

use outlast_client::v1::{
    self, CheckHostRequest, Error, ErrorKind, Link, add_host_request::Address,
    check_host_request::Event as Said,
};
use outlast_testkit::DEADLINE;
use tonic::Streaming;

use crate::{
    Asked, daemon, end,
    fake::{Fake, Heard, Ran, Script, finish, host, outlast, talk},
    gone, step, up,
};

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
                end(false, gone(name, link)),
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

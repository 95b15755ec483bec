//! Checking a host: each step, the first cause, the exit code.

use std::sync::{Arc, Mutex};

use outlast_client::v1::{
    CheckHostRequest, CheckHostResponse, Error, ErrorKind, Link, check_host_request::Event as Said,
};
use serde_json::json;
use tonic::Streaming;

use crate::{
    daemon, end,
    fake::{Fake, Script, talk},
    gone, step, up,
};

#[test]
fn a_check_tells_each_step_and_the_first_cause() {
    let (fake, asked) = daemon(|name| {
        vec![
            step("resolve", true, "10.1.2.3"),
            step("connect", false, "10.1.2.3:22 timed\tout"),
            step("helper", false, "not tried"),
            end(false, gone(name, Link::Backoff)),
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
                "shut" => Ok(end(false, gone("shut", Link::AuthFailed))),
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

#[test]
fn a_check_whose_steps_failed_is_a_failure_though_the_host_is_connected() {
    let (fake, _) = daemon(|name| {
        vec![
            step("authenticate", false, "the key was refused"),
            end(true, up(name)),
        ]
    });
    let ran = fake.outlast(&["host", "check", "build1"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            6,
            "error: host build1: the key was refused\nhint: outlast host show build1\n"
        )
    );
    let ran = fake.outlast(&["--json", "host", "check", "build1"]);
    assert_eq!((ran.code, &ran.json()["ok"]), (6, &json!(false)));
    // Without tmux it is connected all the same.
    let (fake, _) = daemon(|name| {
        vec![
            step("helper", true, "the same"),
            step("tmux", false, "tmux is missing; jobs work, sessions do not"),
            end(true, up(name)),
        ]
    });
    let ran = fake.outlast(&["host", "check", "build1"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "host build1 is connected by ssh2, round trip 0.4 ms\n")
    );
    assert!(ran.text().contains("\ttmux\tfailed\t"), "{}", ran.text());
}

#[test]
fn what_an_attempt_that_broke_found_is_not_told_as_the_outcome() {
    let calls = Arc::new(Mutex::new(0));
    let fake = Fake::start(Script {
        check_host: talk(move |_requests, answers| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            let told = if *calls > 1 {
                vec![step("connect", true, "10.1.2.3:22"), end(true, up("build1"))]
            } else {
                vec![step("connect", false, "the network is down")]
            };
            async move {
                for event in told {
                    let _ = answers.send(Ok(CheckHostResponse { event: Some(event) })).await;
                }
            }
        }),
        ..Script::default()
    });
    let ran = fake.outlast(&["--json", "host", "check", "build1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = ran.json();
    assert_eq!(
        (&told["ok"], &told["steps"][0]["message"]),
        (&json!(true), &json!("10.1.2.3:22"))
    );
    assert_eq!(told["steps"].as_array().map(Vec::len), Some(1));
}

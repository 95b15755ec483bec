//! Verbs that end things return when they have ended, unless they are told not to or the host is away.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{process::Stdio, sync::Arc};

use fake::{Fake, Heard, Ran, Script, finish, job, session};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{self, JobState, Link, SessionState, wait_session_response::Event};
use outlast_testkit::{DEADLINE, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const JOB: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";

/// What the daemon was asked, in order.
type Asked = Heard<String>;

fn note(asked: &Asked, what: String) {
    asked.lock().unwrap().push(what);
}

/// A daemon whose sessions end when they are waited for, but `deaf`, which never does.
fn sessions(link: Link) -> (Fake, Asked) {
    let asked = Asked::default();
    let (stops, waits) = (Arc::clone(&asked), Arc::clone(&asked));
    let fake = Fake::start(Script {
        stop_session: Some(Box::new(move |request| {
            note(&stops, format!("stop {}", request.session));
            let mut session = session(&request.session, &request.session, SessionState::Running);
            session.link = link.into();
            Ok(v1::StopSessionResponse {
                session: Some(session),
                already_ended: false,
            })
        })),
        wait_session: Some(Box::new(move |request| {
            note(&waits, format!("wait {}", request.session));
            let armed = v1::WaitSessionResponse {
                event: Some(Event::ArmedOffset(0)),
            };
            let ended = v1::Session {
                signal: Some(15),
                ..session(&request.session, &request.session, SessionState::Stopped)
            };
            let done = v1::WaitSessionResponse {
                event: Some(Event::Done(v1::SessionWaitDone {
                    session: Some(ended),
                    met: true,
                    ..v1::SessionWaitDone::default()
                })),
            };
            let armed = stream::iter([Ok(armed)]);
            if request.session == "deaf" {
                armed.chain(stream::pending()).boxed()
            } else {
                armed.chain(stream::iter([Ok(done)])).boxed()
            }
        })),
        ..Script::default()
    });
    (fake, asked)
}

/// A daemon with a job that never ends.
fn deaf_job() -> Fake {
    Fake::start(Script {
        jobs: [(JOB.to_owned(), job(JOB, None, JobState::Running))].into(),
        cancel_job: Some(Box::new(|_| {
            Ok(v1::CancelJobResponse {
                job: Some(job(JOB, None, JobState::Running)),
                already_ended: false,
            })
        })),
        ..Script::default()
    })
}

#[test]
fn all_are_asked_to_stop_before_the_first_is_waited_for() {
    let (fake, asked) = sessions(Link::Up);
    let ran = fake.outlast(&["session", "stop", "a", "b"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            0,
            "session a was stopped by SIGTERM\nsession b was stopped by SIGTERM\n"
        )
    );
    assert_eq!(*asked.lock().unwrap(), ["stop a", "stop b", "wait a", "wait b"]);
}

#[test]
fn no_block_returns_at_once() {
    let (fake, asked) = sessions(Link::Up);
    let ran = fake.outlast(&["session", "stop", "--no-block", "deaf"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "session deaf is being stopped\n")
    );
    assert_eq!(*asked.lock().unwrap(), ["stop deaf"]);
    let ran = deaf_job().outlast(&["job", "cancel", "--no-block", "x"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "job 0d6af9a8 is being cancelled\n")
    );
}

#[test]
fn a_host_that_is_away_is_not_waited_for() {
    let (fake, asked) = sessions(Link::Down);
    let ran = fake.outlast(&["session", "stop", "deaf"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            0,
            "session deaf will be stopped when host local is back; it is away (down)\n"
        )
    );
    assert_eq!(*asked.lock().unwrap(), ["stop deaf"]);
}

#[test]
fn a_timeout_gives_up_with_124_and_the_stop_goes_on() {
    let (fake, _) = sessions(Link::Up);
    let ran = fake.outlast(&["session", "stop", "--timeout", "50ms", "deaf"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            124,
            "error: the time ran out; session deaf is still being stopped\nhint: outlast session wait deaf\n"
        )
    );
    let ran = deaf_job().outlast(&["job", "cancel", "--timeout", "50ms", "x"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            124,
            "error: the time ran out; job 0d6af9a8 is still being cancelled\nhint: outlast job wait 0d6af9a8\n"
        )
    );
}

/// Presses Ctrl-C when the daemon was asked for the last time.
fn interrupted(fake: &Fake, asked: &Asked, args: &[&str]) -> Ran {
    let child = fake
        .command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(DEADLINE, "the wait", || {
        let asked = asked.lock().unwrap();
        asked.last().filter(|what| *what == "wait deaf").map(|_| ())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child)
}

#[test]
fn ctrl_c_leaves_and_the_stop_goes_on() {
    let (fake, asked) = sessions(Link::Up);
    let ran = interrupted(&fake, &asked, &["session", "stop", "deaf"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            130,
            "session deaf is still being stopped; come back with: outlast session wait deaf\n"
        )
    );
}

#[test]
fn a_host_that_is_being_connected_to_is_waited_for() {
    let (fake, asked) = sessions(Link::Connecting);
    let ran = fake.outlast(&["session", "stop", "a"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "session a was stopped by SIGTERM\n")
    );
    assert_eq!(*asked.lock().unwrap(), ["stop a", "wait a"]);
}

#[test]
fn a_job_that_has_not_begun_ends_without_its_host() {
    let fake = Fake::start(Script {
        jobs: [(JOB.to_owned(), job(JOB, None, JobState::Cancelled))].into(),
        cancel_job: Some(Box::new(|_| {
            let mut job = job(JOB, None, JobState::Queued);
            job.link = Link::Backoff.into();
            Ok(v1::CancelJobResponse {
                job: Some(job),
                already_ended: false,
            })
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["job", "cancel", JOB]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "job 0d6af9a8 was cancelled before it ran\n")
    );
}

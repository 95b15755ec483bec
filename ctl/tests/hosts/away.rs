//! What is told of a host that is away, and how old that is.

use std::{os::unix::net::UnixListener, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use outlast_client::v1::{self, Error, ErrorKind, JobState, Link, SessionState};
use outlast_testkit::DEADLINE;

use crate::{
    fake::{Fake, Heard, Script, job, outlast, run, session},
    gone, pty,
    trusting::trusting,
    up,
};

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
        ..gone("build1", Link::Backoff)
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

/// A job and a session on a host that is away, with copies of their logs.
fn copied(refusal: ErrorKind) -> Fake {
    use v1::{read_job_log_response, read_session_log_response};
    const ID: &str = "0d6af9a8-5d30-480b-9343-05dfe31fdd1a";
    let chunk = || v1::LogChunk {
        data: "copied\n".into(),
        ..v1::LogChunk::default()
    };
    let build = v1::Job {
        host: "build1".to_owned(),
        exit_code: Some(0),
        ..job(ID, Some("build"), JobState::Succeeded)
    };
    let web = v1::Session {
        host: "build1".to_owned(),
        exit_code: Some(0),
        ..session(ID, "web", SessionState::Exited)
    };
    let (end, over) = (build.clone(), web.clone());
    Fake::start(Script {
        jobs: ["build", ID].map(|name| (name.to_owned(), build.clone())).into(),
        sessions: ["web", ID].map(|name| (name.to_owned(), web.clone())).into(),
        peek_session: Some(Box::new(move |_| {
            Err(Error::new(refusal, "host build1 is not connected").into_status())
        })),
        job_log: Some(Box::new(move |_| {
            use read_job_log_response::Event;
            let end = Event::End(v1::JobLogEnd {
                next_offset: 7,
                job: Some(end.clone()),
            });
            let told = [Event::Chunk(chunk()), end];
            stream::iter(told.map(|event| Ok(v1::ReadJobLogResponse { event: Some(event) }))).boxed()
        })),
        session_log: Some(Box::new(move |_| {
            use read_session_log_response::Event;
            let end = Event::End(v1::SessionLogEnd {
                next_offset: 7,
                session: Some(over.clone()),
            });
            let told = [Event::Chunk(chunk()), end];
            stream::iter(told.map(|event| Ok(v1::ReadSessionLogResponse { event: Some(event) }))).boxed()
        })),
        wait_session: Some(Box::new(move |_| {
            let done = v1::SessionWaitDone {
                session: Some(web.clone()),
                met: true,
                ..v1::SessionWaitDone::default()
            };
            let event = v1::wait_session_response::Event::Done(done);
            stream::iter([Ok(v1::WaitSessionResponse { event: Some(event) })]).boxed()
        })),
        away: vec![v1::Away {
            host: "build1".to_owned(),
            link: Link::Down.into(),
            observed_at: ago(7200),
            ..v1::Away::default()
        }],
        ..Script::default()
    })
}

const DOWN: &str = "host build1 is away (down): what is told of it is 2 h old\n";

#[test]
fn logs_are_shown_from_their_copies_while_the_host_is_away() {
    for refusal in [ErrorKind::Unreachable, ErrorKind::Unauthenticated] {
        let fake = copied(refusal);
        for args in [
            &["session", "logs", "web"][..],
            &["logs", "web"],
            &["job", "logs", "build"],
            &["logs", "build"],
        ] {
            let ran = fake.outlast(args);
            assert_eq!(
                (ran.code, ran.text().as_str(), ran.err.as_str()),
                (0, "copied\n", DOWN),
                "{args:?}"
            );
        }
        let ran = fake.outlast(&["session", "logs", "-f", "web"]);
        let end = format!("{DOWN}session web exited with exit code 0\n");
        assert_eq!((ran.code, ran.text().as_str(), ran.err), (0, "copied\n", end));
    }
    let fake = copied(ErrorKind::Failed);
    assert_eq!(fake.outlast(&["session", "logs", "web"]).code, 1);
}

#[test]
fn who_waits_for_something_on_a_host_that_is_away_hears_of_it() {
    let fake = copied(ErrorKind::Unreachable);
    for (args, end) in [
        (
            &["job", "wait", "build", "build"][..],
            "job 0d6af9a8 (build) succeeded\n",
        ),
        (&["wait", "build"], "job 0d6af9a8 (build) succeeded\n"),
        (
            &["session", "wait", "web"],
            "session web exited with exit code 0\n",
        ),
        (&["wait", "web"], "session web exited with exit code 0\n"),
    ] {
        let ran = fake.outlast(args);
        assert_eq!(ran.code, 0, "{args:?}");
        let ends = ran.err.strip_prefix(DOWN).unwrap_or_else(|| panic!("{ran:?}"));
        assert_eq!(ends.replace(end, ""), "", "{args:?}");
    }
}

//! How the daemon ends, and who is told.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::time::Instant;

use outlast_client::v1::{
    AttachOpen, AttachSessionRequest, CreateJobRequest, CreateSessionRequest, ErrorKind, GetDaemonRequest,
    LogStream, ReadEventsRequest, ReadJobLogRequest, ReadSessionLogRequest, SessionCondition,
    StopDaemonRequest, WaitJobRequest, WaitSessionRequest, attach_session_request,
    job_service_client::JobServiceClient, read_job_log_response,
    session_service_client::SessionServiceClient,
};
use outlast_testkit::{DEADLINE, Sandbox};
use rustix::process::Signal;
use support::{END, error, log, ready, soon};
use tonic::{Streaming, transport::Channel};

fn follow() -> ReadEventsRequest {
    ReadEventsRequest {
        follow: true,
        ..ReadEventsRequest::default()
    }
}

/// Reads a stream to its end, which has to be an error.
async fn how_it_ends<T>(mut stream: Streaming<T>) -> outlast_client::v1::Error {
    let status = soon("the end of the stream", async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a word"),
                Err(status) => return status,
            }
        }
    });
    error(&status.await)
}

#[tokio::test]
async fn sigterm_tells_every_stream_and_ends_within_five_seconds() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut client = support::events(&sandbox).await;
        let mut stream = client.read_events(follow()).await.unwrap().into_inner();
        soon("the first message", stream.message())
            .await
            .unwrap()
            .unwrap();
        streams.push(stream);
    }
    let start = Instant::now();
    process.signal(Signal::TERM);
    for stream in streams {
        let error = how_it_ends(stream).await;
        assert_eq!(error.kind(), ErrorKind::Stopping);
        assert!(error.hint().contains("outlast daemon start"), "{error:?}");
    }
    let run = process.finish(END);
    assert!(start.elapsed() < END);
    assert_eq!(run.exit(), 0);
    // Nothing is left that a client could take for a daemon.
    assert!(!sandbox.socket().exists());
    assert_eq!(sandbox.lock_note(), None);
    assert!(sandbox.state_dir().join("daemon.lock").exists());
}

/// A job that has written more than a connection takes unread, and a session, both of which go on.
async fn busy(sandbox: &Sandbox) -> (JobServiceClient<Channel>, SessionServiceClient<Channel>) {
    let mut jobs = JobServiceClient::new(sandbox.connect().await.unwrap());
    let mut sessions = SessionServiceClient::new(sandbox.connect().await.unwrap());
    let script = "head -c 4000000 /dev/zero; echo end >&2; exec sleep 600";
    let job = CreateJobRequest {
        name: Some("long".to_owned()),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..CreateJobRequest::default()
    };
    soon("the job", jobs.create_job(job)).await.unwrap();
    let written = ReadJobLogRequest {
        stream: LogStream::Stderr.into(),
        ..follow_job()
    };
    let mut written = jobs.read_job_log(written).await.unwrap().into_inner();
    soon("the end of the output", async {
        while !matches!(
            written.message().await.unwrap().unwrap().event,
            Some(read_job_log_response::Event::Chunk(_))
        ) {}
    })
    .await;
    let session = CreateSessionRequest {
        name: "web".to_owned(),
        command: vec!["cat".to_owned()],
        ..CreateSessionRequest::default()
    };
    soon("the session", sessions.create_session(session))
        .await
        .unwrap();
    (jobs, sessions)
}

fn follow_job() -> ReadJobLogRequest {
    ReadJobLogRequest {
        job: "long".to_owned(),
        follow: true,
        ..ReadJobLogRequest::default()
    }
}

#[tokio::test]
async fn sigterm_is_told_to_everybody_who_follows_waits_or_is_attached() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let (mut jobs, mut sessions) = busy(&sandbox).await;
    let log = jobs.read_job_log(follow_job()).await.unwrap().into_inner();
    let mut waiting = jobs.clone();
    let wait_job = tokio::spawn(async move {
        let request = WaitJobRequest {
            job: "long".to_owned(),
        };
        waiting.wait_job(request).await
    });
    let request = ReadSessionLogRequest {
        session: "web".to_owned(),
        follow: true,
        ..ReadSessionLogRequest::default()
    };
    let session_log = sessions.read_session_log(request).await.unwrap().into_inner();
    let request = WaitSessionRequest {
        session: "web".to_owned(),
        until: SessionCondition::Exited.into(),
        ..WaitSessionRequest::default()
    };
    let wait_session = sessions.wait_session(request).await.unwrap().into_inner();
    let open = AttachSessionRequest {
        event: Some(attach_session_request::Event::Open(AttachOpen {
            session: "web".to_owned(),
            utf8: true,
            ..AttachOpen::default()
        })),
    };
    let input = tokio_stream::StreamExt::chain(tokio_stream::once(open), tokio_stream::pending());
    let mut attached = sessions.attach_session(input).await.unwrap().into_inner();
    let opened = soon("the attachment", attached.message()).await.unwrap();
    assert!(opened.is_some());

    process.signal(Signal::TERM);
    for error in [
        how_it_ends(log).await,
        how_it_ends(session_log).await,
        how_it_ends(wait_session).await,
        how_it_ends(attached).await,
        error(&soon("the answer", wait_job).await.unwrap().unwrap_err()),
    ] {
        assert_eq!(error.kind(), ErrorKind::Stopping);
    }
    assert_eq!(process.finish(END).exit(), 0);
}

/// One who takes nothing holds the end up for its two seconds; who has no patience says so twice.
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let sandbox = Sandbox::new();
    for second in [Signal::TERM, Signal::INT] {
        let process = ready(&sandbox);
        let (mut jobs, _sessions) = busy(&sandbox).await;
        let _unread = jobs.read_job_log(follow_job()).await.unwrap();
        let mut client = support::events(&sandbox).await;
        let told = client.read_events(follow()).await.unwrap().into_inner();
        process.signal(Signal::TERM);
        assert_eq!(how_it_ends(told).await.kind(), ErrorKind::Stopping);
        process.signal(second);
        assert_eq!(process.finish(END).exit(), 143);
        // As after a kill: what runs goes on, and the next daemon finds it.
        drop(sandbox.wait_job("long", |state| state == "running"));
        drop(sandbox.wait_session("web", |state| state == "running"));
        drop(sandbox.outlast(&["job", "cancel", "long"]).success());
        drop(
            sandbox
                .outlast(&["session", "delete", "web", "--force"])
                .success(),
        );
        drop(sandbox.outlast(&["daemon", "stop"]).success());
    }
}

#[tokio::test]
async fn a_restart_is_announced_as_one() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let mut client = support::events(&sandbox).await;
    let stream = client.read_events(follow()).await.unwrap().into_inner();
    let mut daemon = support::daemon(&sandbox).await;
    let answer = soon(
        "the answer",
        daemon.stop_daemon(StopDaemonRequest { restart: true }),
    )
    .await;
    assert_eq!(answer.unwrap().into_inner().pid, process.pid());
    assert_eq!(how_it_ends(stream).await.kind(), ErrorKind::Restarting);
    assert_eq!(process.finish(END).exit(), 0);
    drop(ready(&sandbox));
}

/// A client that is connected but does nothing cannot hold the end up.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn idle_connections_do_not_hold_the_end_up() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    let mut client = support::daemon(&sandbox).await;
    client.get_daemon(GetDaemonRequest {}).await.unwrap();
    let _silent = std::os::unix::net::UnixStream::connect(sandbox.socket()).unwrap();
    process.signal(Signal::INT);
    let run = tokio::task::spawn_blocking(move || process.finish(END))
        .await
        .unwrap();
    assert_eq!(run.exit(), 0);
    assert!(!log(&sandbox).contains("did not end in time"));
    assert!(client.get_daemon(GetDaemonRequest {}).await.is_err());
}

#[test]
fn a_closing_terminal_means_nothing() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    process.signal(Signal::HUP);
    process.signal(Signal::TERM);
    assert_eq!(process.finish(END).exit(), 0, "ended by TERM, not killed by HUP");
}

/// The life of a daemon is in the log of events, which goes on where the one before ended.
#[tokio::test]
async fn the_log_of_events_goes_on_over_a_restart() {
    let sandbox = Sandbox::new();
    let process = ready(&sandbox);
    process.signal(Signal::TERM);
    drop(process.finish(DEADLINE));
    let _process = ready(&sandbox);

    let mut client = support::events(&sandbox).await;
    let request = ReadEventsRequest {
        kinds: vec!["daemon".to_owned()],
        ..ReadEventsRequest::default()
    };
    let mut stream = client.read_events(request).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    let mut last = 0;
    while let Some(message) = soon("an event", stream.message()).await.unwrap() {
        let event = message.event.unwrap();
        assert!(event.seq > last);
        last = event.seq;
        assert!(
            serde_json::from_str::<serde_json::Value>(&event.data_json)
                .unwrap()
                .is_object()
        );
        kinds.push(event.kind);
    }
    assert_eq!(kinds, ["daemon.started", "daemon.stopping", "daemon.started"]);
}

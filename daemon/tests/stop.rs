//! How the daemon ends, and who is told.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::time::Instant;

use outlast_client::v1::{ErrorKind, GetDaemonRequest, ReadEventsRequest, StopDaemonRequest};
use outlast_testkit::{DEADLINE, Sandbox};
use rustix::process::Signal;
use support::{END, error, log, ready, soon};
use tonic::Streaming;

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

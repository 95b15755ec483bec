//! The log of events over the wire: replay, follow, filters, gaps, slow readers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::path::Path;

use outlast_client::v1::{ErrorKind, Event, ReadEventsRequest, ReadEventsResponse};
use outlast_model::event::{Kind, NewEvent};
use outlast_store::Store;
use outlast_testkit::{DEADLINE, Sandbox};
use support::{error, ready, soon};
use tonic::Streaming;

/// Writes events into the database of a daemon that does not run yet, and gives back its epoch.
async fn write(state_dir: &Path, subjects: impl Iterator<Item = String>, pruned_to: u64) -> String {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(state_dir).unwrap();
    let store = Store::open(state_dir).unwrap().store;
    let mut count = 0;
    for subject in subjects {
        let event = NewEvent {
            kind: if count % 2 == 0 {
                Kind::JobState
            } else {
                Kind::SessionState
            },
            subject,
            data: "{}".to_owned(),
        };
        count = store.append_event(event).await.unwrap();
    }
    if pruned_to > 0 {
        store.prune_events(count - pruned_to, 0).await.unwrap();
    }
    let epoch = store.epoch().to_owned();
    store.close().await.unwrap();
    epoch
}

async fn read(sandbox: &Sandbox, request: ReadEventsRequest) -> Streaming<ReadEventsResponse> {
    let mut client = support::events(sandbox).await;
    soon("the stream", client.read_events(request))
        .await
        .unwrap()
        .into_inner()
}

/// What is left of a stream, less what the daemon says of itself and its hosts.
async fn rest(mut stream: Streaming<ReadEventsResponse>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(message) = soon("the next event", stream.message()).await.unwrap() {
        events.extend(message.event);
    }
    events.retain(|event| !event.kind.starts_with("daemon.") && !event.kind.starts_with("host."));
    events
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_replay_has_no_gap_and_no_repeat_over_many_pages() {
    let sandbox = Sandbox::new();
    write(&sandbox.state_dir(), (0..1500).map(|n| format!("thing-{n}")), 0).await;
    let _process = ready(&sandbox);
    let events = rest(read(&sandbox, ReadEventsRequest::default()).await).await;
    assert!(numbers(&events).into_iter().eq(1..=1500));
    let after = ReadEventsRequest {
        after: Some(1499),
        ..ReadEventsRequest::default()
    };
    assert_eq!(numbers(&rest(read(&sandbox, after).await).await), [1500]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pruned_range_is_one_gap() {
    let sandbox = Sandbox::new();
    let epoch = write(&sandbox.state_dir(), (0..10).map(|n| n.to_string()), 4).await;
    let _process = ready(&sandbox);
    let request = |after| ReadEventsRequest {
        after,
        epoch: Some(epoch.clone()),
        ..ReadEventsRequest::default()
    };
    let events = rest(read(&sandbox, request(Some(1))).await).await;
    assert_eq!(events[0].kind, "gap");
    assert_eq!(events[0].data_json, r#"{"from":2,"to":4}"#);
    assert_eq!(numbers(&events[1..]), (5..=10).collect::<Vec<_>>());
    // Whoever asks for what is stored misses nothing; nor does who was there until the cut.
    for after in [None, Some(4)] {
        let events = rest(read(&sandbox, request(after)).await).await;
        assert_eq!(numbers(&events), (5..=10).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_position_of_another_epoch_is_answered_with_a_gap() {
    let sandbox = Sandbox::new();
    write(&sandbox.state_dir(), (0..3).map(|n| n.to_string()), 0).await;
    let _process = ready(&sandbox);
    let request = ReadEventsRequest {
        after: Some(700),
        epoch: Some("another".to_owned()),
        kinds: vec!["job".to_owned()],
        ..ReadEventsRequest::default()
    };
    let events = rest(read(&sandbox, request).await).await;
    assert_eq!(
        (events[0].kind.as_str(), events[0].epoch.as_str()),
        ("gap", "another")
    );
    assert_eq!(events[0].data_json, r#"{"from":701,"to":null}"#);
    assert_eq!(
        numbers(&events[1..]),
        [1, 3],
        "a gap comes whatever the filter says"
    );
}

/// A follower that asks for what is new hears at once that its stream stands, and then of nothing old.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn following_begins_with_a_position_and_ends_with_the_daemon() {
    let sandbox = Sandbox::new();
    write(&sandbox.state_dir(), (0..3).map(|n| n.to_string()), 0).await;
    let process = ready(&sandbox);
    let request = ReadEventsRequest {
        follow: true,
        ..ReadEventsRequest::default()
    };
    let mut stream = read(&sandbox, request).await;
    let first = soon("the first message", stream.message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.event, None);
    assert!(first.position >= 4);
    process.signal(rustix::process::Signal::TERM);
    let status = soon("the end", async {
        loop {
            match stream.message().await {
                Ok(Some(message)) => assert!(message.position > first.position),
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(error(&status).kind(), ErrorKind::Stopping);
}

/// What a filter hides still moves the position on, so that a later resume is no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn filters_fit_kinds_and_nouns_and_positions_go_on() {
    let sandbox = Sandbox::new();
    write(&sandbox.state_dir(), (0..2500).map(|n| n.to_string()), 0).await;
    let _process = ready(&sandbox);
    let request = |kind: &str, follow| ReadEventsRequest {
        after: Some(0),
        follow,
        kinds: vec![kind.to_owned()],
        ..ReadEventsRequest::default()
    };
    for kind in ["session", "session.state"] {
        let events = rest(read(&sandbox, request(kind, false)).await).await;
        assert_eq!(events.len(), 1250);
        assert!(events.iter().all(|event| event.kind == "session.state"));
    }
    let mut quiet = read(&sandbox, request("host", true)).await;
    let mut position = 0;
    while position < 2000 {
        let message = soon("a position", quiet.message()).await.unwrap().unwrap();
        assert_eq!(message.event, None);
        position = message.position;
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_and_not_an_empty_stream() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = support::events(&sandbox).await;
    let wrong_kind = ReadEventsRequest {
        kinds: vec!["jobs".to_owned()],
        ..ReadEventsRequest::default()
    };
    let status = client.read_events(wrong_kind).await.unwrap_err();
    assert_eq!(error(&status).kind(), ErrorKind::Usage);
    let unknown = ReadEventsRequest {
        subjects: vec!["nobody".to_owned()],
        ..ReadEventsRequest::default()
    };
    let status = client.read_events(unknown).await.unwrap_err();
    assert_eq!(error(&status).kind(), ErrorKind::NotFound);
    let host = ReadEventsRequest {
        subjects: vec!["local".to_owned()],
        ..ReadEventsRequest::default()
    };
    rest(client.read_events(host).await.unwrap().into_inner()).await;
}

/// A reader that does not read costs nobody anything: the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stalled_reader_stalls_nobody() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(4000);
    write(&sandbox.state_dir(), (0..1000).map(|n| format!("{long}{n}")), 0).await;
    let process = ready(&sandbox);
    let mut client = support::events(&sandbox).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let request = ReadEventsRequest {
            after: Some(0),
            follow: true,
            ..ReadEventsRequest::default()
        };
        stalled.push(client.read_events(request).await.unwrap().into_inner());
    }
    let events = rest(read(&sandbox, ReadEventsRequest::default()).await).await;
    assert_eq!(events.len(), 1000);
    process.signal(rustix::process::Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || process.finish(DEADLINE));
    assert_eq!(ended.await.unwrap().exit(), 0);
}

use std::path::Path;

use outlast_model::event::{Kind, NewEvent};
use outlast_store::{Store, ToldTo, job_event, session_event};
use rusqlite::Connection;

use crate::fixture::{directory, ended, image, job, named_job, open, session};

fn note(number: u64) -> NewEvent {
    NewEvent {
        kind: Kind::HostLink,
        subject: "local".to_owned(),
        data: format!("{{\"n\":{number}}}"),
    }
}

async fn numbers(store: &Store, after: u64) -> Vec<u64> {
    store
        .events_after(after, 10_000)
        .await
        .unwrap()
        .events
        .iter()
        .map(|event| event.seq)
        .collect()
}

#[tokio::test]
async fn events_are_numbered_from_one_and_told_after_their_commit() {
    let dir = directory();
    let store = open(dir.path());
    let mut position = store.position();
    assert_eq!(*position.borrow_and_update(), 0);
    let empty = store.events_after(0, 10).await.unwrap();
    assert_eq!((empty.events.len(), empty.oldest_stored, empty.newest), (0, 1, 0));
    assert_eq!(store.append_event(note(1)).await.unwrap(), 1);
    position.changed().await.unwrap();
    assert_eq!(*position.borrow_and_update(), 1);
    let job = job();
    store.create_job(&job, None).await.unwrap();
    let page = store.events_after(0, 10).await.unwrap();
    assert_eq!((page.oldest_stored, page.newest), (1, 2));
    assert_eq!(page.events[0].data, "{\"n\":1}");
    assert_eq!(
        (page.events[1].kind.as_str(), &page.events[1].subject),
        ("job.state", &job.id.to_string())
    );
    assert_eq!(numbers(&store, 1).await, [2]);
    assert_eq!(numbers(&store, 2).await, [0_u64; 0]);
    assert_eq!(numbers(&store, u64::MAX).await, [0_u64; 0]);
    assert_eq!(store.events_after(0, 1).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn the_data_of_an_event_is_what_is_known() {
    let job = ended(&named_job("build"), 7);
    assert_eq!(
        job_event(&job).data,
        r#"{"ended_at":"2023-11-14T22:13:29.000Z","exit_code":7,"host":"local","log_bytes":77,"name":"build","started_at":"2023-11-14T22:13:21.000Z","state":"failed"}"#
    );
    let mut session = session("web");
    session.pid = Some(4);
    session.stop_grace_ms = Some(1);
    assert_eq!(
        session_event(&session).data,
        r#"{"host":"local","name":"web","pid":4,"run":1,"state":"creating","stopping":true}"#
    );
}

#[tokio::test]
async fn pruning_takes_the_old_end_only_and_numbers_are_never_given_again() {
    let dir = directory();
    let store = open(dir.path());
    for number in 1..=10 {
        store.append_event(note(number)).await.unwrap();
    }
    assert_eq!(store.prune_events(100, 0).await.unwrap(), 0);
    assert_eq!(store.prune_events(4, 0).await.unwrap(), 6);
    let page = store.events_after(2, 10).await.unwrap();
    assert_eq!((page.oldest_stored, page.newest), (7, 10));
    assert_eq!(numbers(&store, 2).await, [7, 8, 9, 10]);
    assert_eq!(store.prune_events(100, i64::MAX).await.unwrap(), 4);
    let page = store.events_after(2, 10).await.unwrap();
    assert_eq!((page.events.len(), page.oldest_stored, page.newest), (0, 11, 10));
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(*store.position().borrow(), 10);
    assert_eq!(store.append_event(note(11)).await.unwrap(), 11);
}

#[tokio::test]
async fn a_clock_that_went_back_makes_no_hole() {
    let dir = directory();
    let store = open(dir.path());
    for number in 1..=4 {
        store.append_event(note(number)).await.unwrap();
    }
    store.close().await.unwrap();
    let raw = Connection::open(dir.path().join("state.db")).unwrap();
    for (seq, time) in [(1, 10), (2, 500), (3, 20), (4, 30)] {
        raw.execute("UPDATE events SET time = ?2 WHERE seq = ?1", (seq, time))
            .unwrap();
    }
    drop(raw);
    let store = open(dir.path());
    assert_eq!(store.prune_events(100, 100).await.unwrap(), 1);
    assert_eq!(numbers(&store, 0).await, [2, 3, 4]);
}

#[tokio::test]
async fn a_long_log_is_pruned_in_steps() {
    let dir = directory();
    let store = open(dir.path());
    store.close().await.unwrap();
    let raw = Connection::open(dir.path().join("state.db")).unwrap();
    raw.execute_batch(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 5000) \
         INSERT INTO events (time, kind, subject, data) SELECT n, 'host.link', '', '{}' FROM number",
    )
    .unwrap();
    drop(raw);
    let store = open(dir.path());
    assert_eq!(store.prune_events(10, 0).await.unwrap(), 4_990);
    assert_eq!(numbers(&store, 0).await, (4_991..=5_000).collect::<Vec<_>>());
}

fn set_boot(dir: &Path, boot: &str) {
    let raw = Connection::open(dir.join("state.db")).unwrap();
    let changed = raw
        .execute("UPDATE meta SET value = ?1 WHERE key = 'open_in_boot'", [boot])
        .unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn an_epoch_lasts_through_stops_and_kills_but_not_through_a_power_failure() {
    let dir = directory();
    let store = open(dir.path());
    let epoch = store.epoch().to_owned();
    store.append_event(note(1)).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.epoch(), epoch, "a clean stop");
    let killed = image(dir.path());
    assert_eq!(open(killed.path()).epoch(), epoch, "a kill");
    let failed = image(dir.path());
    set_boot(failed.path(), "another");
    let other = open(failed.path());
    assert_ne!(other.epoch(), epoch, "events that were told may be missing");
    assert_eq!(other.append_event(note(2)).await.unwrap(), 2);
    let newer = other.epoch().to_owned();
    other.close().await.unwrap();
    assert_eq!(open(failed.path()).epoch(), newer);
}

#[tokio::test]
async fn up_to_where_it_was_told_is_kept_and_is_no_event() {
    let dir = directory();
    let store = open(dir.path());
    assert_eq!(store.told_to().await.unwrap(), None);
    let mut told = ToldTo {
        seq: 7,
        left: vec!["a".to_owned()],
    };
    store.set_told_to(&told).await.unwrap();
    told.seq = 9;
    store.set_told_to(&told).await.unwrap();
    assert_eq!(*store.position().borrow(), 0);
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.told_to().await.unwrap(), Some(told));
}

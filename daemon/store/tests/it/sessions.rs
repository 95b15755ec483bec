use outlast_model::{
    activity::{Activity, Doing},
    id::Id,
    session::{Session, SessionState},
};
use outlast_store::{Created, Resolved, SessionFilter, StoreError, session_event};

use crate::fixture::{directory, open, outcome, request, session};

#[tokio::test]
async fn a_session_reads_back_as_it_was_written_after_reopening() {
    let dir = directory();
    let store = open(dir.path());
    let first = session("web");
    assert_eq!(
        store.create_session(&first, None).await.unwrap(),
        Created::New(first.clone())
    );
    let later = Session {
        state: SessionState::Exited,
        started_at: Some(5),
        pid: Some(u32::MAX),
        outcome: Some(outcome(9)),
        reason: Some("why".to_owned()),
        size: (10_000, 1),
        stop_grace_ms: Some(0),
        deleting: true,
        ..first.clone()
    };
    store
        .update_session(&later, session_event(&later), false)
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.session(first.id).await.unwrap(), Some(later));
}

#[tokio::test]
async fn a_name_is_taken_by_any_session_until_it_is_removed() {
    let dir = directory();
    let store = open(dir.path());
    let first = Session {
        state: SessionState::Lost,
        ..session("web")
    };
    store.create_session(&first, None).await.unwrap();
    let second = session("web");
    match store.create_session(&second, None).await {
        Err(StoreError::NameTaken {
            holder,
            noun: "session",
            ..
        }) => assert_eq!(holder, first.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.delete_session(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(store.delete_session(first.id).await.unwrap(), None);
    store.create_session(&second, None).await.unwrap();
    let told: Vec<_> = store
        .events_after(0, 10)
        .await
        .unwrap()
        .events
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(told, ["session.state", "session.removed", "session.state"]);
}

#[tokio::test]
async fn within_a_run_nothing_goes_back_and_a_new_run_begins_over() {
    let dir = directory();
    let store = open(dir.path());
    let first = session("web");
    store.create_session(&first, None).await.unwrap();
    let running = Session {
        state: SessionState::Running,
        pid: Some(7),
        ..first.clone()
    };
    store
        .update_session(&running, session_event(&running), true)
        .await
        .unwrap();
    let exited = Session {
        state: SessionState::Exited,
        outcome: Some(outcome(0)),
        ..running.clone()
    };
    store
        .update_session(&exited, session_event(&exited), true)
        .await
        .unwrap();
    let late = store
        .update_session(&running, session_event(&running), true)
        .await;
    assert!(
        matches!(
            late,
            Err(StoreError::Stale {
                stored: "exited",
                wanted: "running",
                ..
            })
        ),
        "{late:?}"
    );
    let again = exited.next_run();
    store
        .update_session(&again, session_event(&again), true)
        .await
        .unwrap();
    assert_eq!(store.session(first.id).await.unwrap(), Some(again));
    let late = store.update_session(&exited, session_event(&exited), true).await;
    assert!(
        matches!(late, Err(StoreError::Stale { .. })),
        "of the run before: {late:?}"
    );
}

#[tokio::test]
async fn words_and_filters() {
    let dir = directory();
    let store = open(dir.path());
    let mut all = Vec::new();
    for (name, state) in [
        ("a", SessionState::Running),
        ("b", SessionState::Lost),
        ("c", SessionState::Running),
    ] {
        let session = Session {
            state,
            ..session(name)
        };
        store.create_session(&session, None).await.unwrap();
        all.push(session);
    }
    assert_eq!(
        store.list_sessions(SessionFilter::default()).await.unwrap(),
        all,
        "oldest first"
    );
    let filter = SessionFilter {
        states: vec![SessionState::Lost],
        hosts: vec!["local".to_owned()],
    };
    assert_eq!(store.list_sessions(filter).await.unwrap(), [all[1].clone()]);
    let filter = SessionFilter {
        hosts: vec!["far".to_owned()],
        ..SessionFilter::default()
    };
    assert_eq!(store.list_sessions(filter).await.unwrap(), []);
    assert_eq!(
        store.resolve_session("b").await.unwrap(),
        Resolved::One(all[1].clone())
    );
    assert_eq!(
        store.resolve_session(&all[2].id.to_string()).await.unwrap(),
        Resolved::One(all[2].clone())
    );
    assert_eq!(store.resolve_session("%").await.unwrap(), Resolved::None);
}

#[tokio::test]
async fn a_repeated_restart_begins_one_run_only() {
    let dir = directory();
    let store = open(dir.path());
    let exited = Session {
        state: SessionState::Exited,
        ..session("web")
    };
    store.create_session(&exited, None).await.unwrap();
    let wish = request("r", 1);
    let again = exited.next_run();
    let first = store
        .request_session(&again, session_event(&again), &wish)
        .await
        .unwrap();
    assert_eq!(first, Created::New(again.clone()));
    let running = Session {
        state: SessionState::Running,
        ..again
    };
    store
        .update_session(&running, session_event(&running), true)
        .await
        .unwrap();
    let third = running.next_run();
    let repeat = store
        .request_session(&third, session_event(&third), &wish)
        .await
        .unwrap();
    assert_eq!(repeat, Created::Repeat(running));
    store.delete_session(exited.id).await.unwrap();
    let gone = store.request_session(&third, session_event(&third), &wish).await;
    assert!(matches!(gone, Err(StoreError::Gone { subject, .. }) if subject == exited.id.to_string()));
    let missing = store
        .request_session(&session("x"), session_event(&third), &request("s", 1))
        .await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
    assert_eq!(
        store.find_request(&request("s", 1)).await.unwrap(),
        None,
        "what was refused is not recorded"
    );
    assert_eq!(store.session(Id::random()).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_session_does_is_told_and_ends_with_its_run() {
    let dir = directory();
    let store = open(dir.path());
    let first = Session {
        state: SessionState::Running,
        ..session("web")
    };
    store.create_session(&first, None).await.unwrap();
    let asks = Activity {
        doing: Doing::Waiting,
        source: "report".to_owned(),
        message: Some("Go on?".to_owned()),
        since: 1_700_000_000_000,
    };
    let seq = store
        .set_activity(first.id, 1, Some(asks.clone()), false)
        .await
        .unwrap();
    let told = store.events_after(seq - 1, 10).await.unwrap().events;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].seq, told[0].kind.as_str()), (seq, "session.activity"));
    let data: serde_json::Value = serde_json::from_str(&told[0].data).unwrap();
    let expected = serde_json::json!({
        "name": "web", "host": "local", "activity": "waiting", "source": "report", "message": "Go on?",
        "since": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(data, expected);
    let works = Activity {
        doing: Doing::Working,
        ..asks.clone()
    };
    let seq = store.set_activity(first.id, 1, Some(works), true).await.unwrap();
    let told = store.events_after(seq - 1, 10).await.unwrap().events;
    let data: serde_json::Value = serde_json::from_str(&told[0].data).unwrap();
    assert_eq!(data["answered"], true);
    let seq = store
        .set_activity(first.id, 1, Some(asks.clone()), false)
        .await
        .unwrap();
    // What else is written of the run does not touch it.
    store
        .update_session(&first, session_event(&first), false)
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    let stored = store.session(first.id).await.unwrap().unwrap();
    assert_eq!((stored.activity, stored.activity_seq), (Some(asks), seq));

    let again = first.next_run();
    store
        .update_session(&again, session_event(&again), false)
        .await
        .unwrap();
    let stored = store.session(first.id).await.unwrap().unwrap();
    assert_eq!((stored.activity, stored.activity_seq), (None, seq));
    let late = store.set_activity(first.id, 1, None, false).await;
    assert!(matches!(late, Err(StoreError::Stale { .. })), "{late:?}");
}

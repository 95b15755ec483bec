use outlast_model::{
    host::{Removal, RemovalKind},
    sync::{Reset, Seen, Sync, SyncState},
};
use outlast_store::{Created, Naming, Resolved, Store, StoreError};

use crate::fixture::{directory, image, open, request, sync};

async fn create(store: &Store, sync: &Sync) -> Sync {
    let created = store.create_sync(sync, Naming::Chosen, None).await;
    created.unwrap().into_inner()
}

/// The same sync after everything about it that can change has.
fn later(sync: &Sync) -> Sync {
    Sync {
        paused: true,
        occupied: true,
        resetting: Some(Reset::Adopt),
        seen: Seen {
            state: SyncState::Halted,
            reason: Some("mass_deletion".to_owned()),
            message: Some("half of it is gone".to_owned()),
            files: 1,
            bytes: 2,
            pending_files: 3,
            pending_bytes: u64::from(u32::MAX),
            problem_count: 5,
            synced_at: Some(6),
            target: Some("/home/me/web".to_owned()),
        },
        ..sync.clone()
    }
}

#[tokio::test]
async fn a_sync_reads_back_as_it_was_written_after_reopening() {
    let dir = directory();
    let store = open(dir.path());
    let first = sync("web", "far");
    assert_eq!(create(&store, &first).await, first);
    let later = later(&first);
    store.update_sync(&later, false).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.sync(first.id).await.unwrap(), Some(later.clone()));
    assert_eq!(store.list_syncs().await.unwrap(), [later]);
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let dir = directory();
    let store = open(dir.path());
    let (kept, gone) = (sync("kept", "far"), sync("gone", "far"));
    let wish = request("r", 1);
    let created = store.create_sync(&kept, Naming::Chosen, Some(&wish)).await;
    assert_eq!(created.unwrap(), Created::New(kept.clone()));
    create(&store, &gone).await;
    store.delete_sync(gone.id, None).await.unwrap();
    let paused = Sync {
        paused: true,
        ..kept.clone()
    };
    store.request_sync(&paused, &request("p", 1)).await.unwrap();
    // What lies on the disk now is what a kill leaves.
    let image = image(dir.path());
    let store = open(image.path());
    assert_eq!(store.list_syncs().await.unwrap(), std::slice::from_ref(&paused));
    let repeat = store
        .create_sync(&sync("other", "far"), Naming::Chosen, Some(&wish))
        .await;
    assert_eq!(repeat.unwrap(), Created::Repeat(paused));
    let removal = Removal {
        kind: RemovalKind::Sync,
        id: gone.id,
    };
    assert_eq!(store.removals("far").await.unwrap(), [removal]);
}

#[tokio::test]
async fn a_chosen_name_is_refused_when_it_is_taken_and_another_gets_a_number() {
    let dir = directory();
    let store = open(dir.path());
    let first = create(&store, &sync("web", "a")).await;
    match store.create_sync(&sync("web", "b"), Naming::Chosen, None).await {
        Err(StoreError::NameTaken {
            holder, noun: "sync", ..
        }) => assert_eq!(holder, first.id),
        other => panic!("{other:?}"),
    }
    for (host, name) in [("b", "web-2"), ("c", "web-3")] {
        let made = store
            .create_sync(&sync("web", host), Naming::Numbered, None)
            .await;
        assert_eq!(made.unwrap().into_inner().name.as_str(), name);
    }
    store.delete_sync(first.id, None).await.unwrap();
    let again = store.create_sync(&sync("web", "d"), Naming::Numbered, None).await;
    assert_eq!(again.unwrap().into_inner().name.as_str(), "web");
}

#[tokio::test]
async fn two_syncs_do_not_write_to_one_place() {
    let dir = directory();
    let store = open(dir.path());
    let first = create(&store, &sync("web", "far")).await;
    let found = Sync {
        seen: Seen {
            target: Some("/home/me/web".to_owned()),
            ..Seen::default()
        },
        ..first.clone()
    };
    store.update_sync(&found, false).await.unwrap();
    let to = |host: &str, target: &str| Sync {
        target: target.to_owned(),
        ..sync("new", host)
    };
    for target in ["web", "web/a", "/home/me/web", "/home/me/web/a", "/home"] {
        let refused = store.create_sync(&to("far", target), Naming::Chosen, None).await;
        match refused {
            Err(error @ StoreError::TargetTaken { .. }) => {
                assert!(error.to_string().contains("sync web (/home/me/web)"), "{error}");
                assert!(error.hint().unwrap().contains("outlast sync show web"), "{error}");
            }
            other => panic!("{target}: {other:?}"),
        }
    }
    for (host, target) in [("far", "web2"), ("other", "web")] {
        let made = create(&store, &to(host, target)).await;
        store.delete_sync(made.id, None).await.unwrap();
    }
    store.delete_sync(first.id, None).await.unwrap();
    create(&store, &to("far", "web")).await;
}

#[tokio::test]
async fn only_a_state_or_its_cause_is_told() {
    let dir = directory();
    let store = open(dir.path());
    let first = create(&store, &sync("web", "far")).await;
    let seen = |state, reason: Option<&str>, files| Sync {
        seen: Seen {
            state,
            reason: reason.map(str::to_owned),
            files,
            ..Seen::default()
        },
        ..first.clone()
    };
    for (state, reason, files) in [
        (SyncState::Scanning, None, 0),
        (SyncState::Scanning, None, 7),
        (SyncState::Halted, Some("source_missing"), 7),
        (SyncState::Halted, Some("source_replaced"), 7),
    ] {
        let sync = seen(state, reason, files);
        store.update_sync(&sync, false).await.unwrap();
        assert_eq!(store.sync(first.id).await.unwrap(), Some(sync));
    }
    store.delete_sync(first.id, None).await.unwrap();
    let events = store.events_after(0, 10).await.unwrap().events;
    let told: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        told,
        [
            "sync.state",
            "sync.state",
            "sync.state",
            "sync.state",
            "sync.removed"
        ]
    );
    assert!(events.iter().all(|event| event.subject == first.id.to_string()));
    let halted: serde_json::Value = serde_json::from_str(&events[2].data).unwrap();
    assert_eq!(
        halted,
        serde_json::json!({
            "name": "web", "host": "far", "state": "halted", "reason": "source_missing", "files": 7, "bytes": 0,
            "pending_files": 0, "pending_bytes": 0, "problem_count": 0
        })
    );
}

#[tokio::test]
async fn words_find_a_sync() {
    let dir = directory();
    let store = open(dir.path());
    let (b, a) = (sync("b", "far"), sync("a", "far"));
    create(&store, &b).await;
    create(&store, &a).await;
    assert_eq!(
        store.list_syncs().await.unwrap(),
        [a.clone(), b.clone()],
        "by name"
    );
    let id = b.id.to_string();
    for word in ["b", &id, &id[..20]] {
        assert_eq!(
            store.resolve_sync(word).await.unwrap(),
            Resolved::One(b.clone()),
            "{word}"
        );
    }
    for word in ["", "%", "c"] {
        let found = store.resolve_sync(word).await.unwrap();
        assert!(
            !matches!(found, Resolved::One(ref sync) if sync.name.as_str() == "b"),
            "{word:?}"
        );
    }
}

#[tokio::test]
async fn a_repeated_request_changes_nothing() {
    let dir = directory();
    let store = open(dir.path());
    let first = create(&store, &sync("web", "far")).await;
    let paused = Sync {
        paused: true,
        ..first.clone()
    };
    let wish = request("p", 1);
    assert_eq!(
        store.request_sync(&paused, &wish).await.unwrap(),
        Created::New(paused)
    );
    store.update_sync(&first, true).await.unwrap();
    let again = Sync {
        paused: true,
        ..first.clone()
    };
    assert_eq!(
        store.request_sync(&again, &wish).await.unwrap(),
        Created::Repeat(first.clone())
    );
    let other = store.request_sync(&again, &request("p", 2)).await;
    assert!(
        matches!(other, Err(StoreError::RequestConflict { .. })),
        "{other:?}"
    );

    let removal = request("d", 1);
    assert_eq!(
        store.delete_sync(first.id, Some(&removal)).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(store.delete_sync(first.id, Some(&removal)).await.unwrap(), None);
    let recorded = store.find_request(&removal).await.unwrap().unwrap();
    assert_eq!(recorded.subject, first.id.to_string());
    let gone = store.request_sync(&again, &wish).await;
    assert!(matches!(gone, Err(StoreError::Gone { .. })), "{gone:?}");
    let missing = store.update_sync(&again, false).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
}

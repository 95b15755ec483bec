//! Hosts, what goes with them, and what is to be removed on them.

use outlast_model::{
    event::Kind,
    host::{Carrier, Host, Removal, RemovalKind, Route, Seen, SshRoute},
};
use outlast_store::{Created, Forgotten, JobFilter, Naming, RemovedHost, StoreError};

use crate::fixture::{directory, ended, job, open, request, session, sync};

fn ssh(name: &str) -> Host {
    Host {
        name: name.parse().unwrap(),
        route: Route::Ssh(SshRoute {
            destination: "build1.example".to_owned(),
            user: Some("me".to_owned()),
            port: Some(2222),
            identities: vec!["/home/me/a \"key\"".to_owned()],
            jump: Some("gate".to_owned()),
            carrier: Some(Carrier::Ssh),
        }),
        created_at: 1_700_000_000_000,
        machine_id: None,
        seen: None,
    }
}

fn seen(at: i64) -> Seen {
    Seen {
        at,
        os: "Linux 6.1".to_owned(),
        arch: "x86_64".to_owned(),
        user: "me".to_owned(),
        helper_version: "1.2.3".to_owned(),
        tmux_version: None,
        boot_id: "b".to_owned(),
    }
}

fn command(name: &str) -> Host {
    Host {
        route: Route::Command(vec!["docker".to_owned(), "exec".to_owned(), "-i".to_owned()]),
        ..ssh(name)
    }
}

#[tokio::test]
async fn hosts_read_back_as_they_were_added() {
    let dir = directory();
    let store = open(dir.path());
    let bare = Host {
        route: Route::Ssh(SshRoute {
            destination: "::1".to_owned(),
            ..SshRoute::default()
        }),
        ..ssh("bare")
    };
    for host in [&ssh("b"), &command("a"), &bare] {
        let added = store.add_host(host, None).await.unwrap();
        assert_eq!(added, Created::New(host.clone()));
    }
    store.set_host_machine("b", "0123").await.unwrap();
    store.set_host_seen("b", &seen(4)).await.unwrap();
    store.set_host_seen("b", &seen(5)).await.unwrap();
    let known = Host {
        machine_id: Some("0123".to_owned()),
        seen: Some(seen(5)),
        ..ssh("b")
    };
    assert_eq!(store.hosts().await.unwrap(), [command("a"), known, bare]);
    store.close().await.unwrap();
    assert_eq!(open(dir.path()).hosts().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_name_is_given_once_and_a_repeat_adds_nothing() {
    let dir = directory();
    let store = open(dir.path());
    let first = store.add_host(&ssh("h"), Some(&request("r", 1))).await.unwrap();
    let repeat = store.add_host(&ssh("h"), Some(&request("r", 1))).await.unwrap();
    assert_eq!(repeat, Created::Repeat(first.into_inner()));
    let taken = store.add_host(&command("h"), None).await.unwrap_err();
    assert!(matches!(taken, StoreError::HostTaken { .. }), "{taken}");
    let removed = store.remove_host("h", false, None).await.unwrap();
    assert!(matches!(removed, RemovedHost::Now { .. }), "{removed:?}");
    let gone = store
        .add_host(&ssh("h"), Some(&request("r", 1)))
        .await
        .unwrap_err();
    assert!(matches!(gone, StoreError::Gone { .. }), "{gone}");
}

#[tokio::test]
async fn a_host_goes_with_all_that_is_known_of_it_and_of_nothing_else() {
    let dir = directory();
    let store = open(dir.path());
    store.add_host(&ssh("far"), None).await.unwrap();
    let far = |mut job: outlast_model::job::Job| {
        job.host = "far".to_owned();
        job
    };
    let (live, over, here) = (far(job()), far(job()), job());
    for job in [&live, &over, &here] {
        store.create_job(job, None).await.unwrap();
    }
    let over = ended(&over, 0);
    let event = outlast_store::job_event(&over);
    store.update_job(&over, event, true).await.unwrap();
    let mut there = session("there");
    there.host = "far".to_owned();
    store.create_session(&there, None).await.unwrap();
    store.create_session(&session("here"), None).await.unwrap();
    let removal = |kind, id| Removal { kind, id };
    let (old, synced) = (sync("old", "far"), sync("synced", "far"));
    for sync in [&old, &synced, &sync("here", "local")] {
        store.create_sync(sync, Naming::Chosen, None).await.unwrap();
    }
    store.delete_sync(old.id, None).await.unwrap();
    store
        .add_removals("far", &[removal(RemovalKind::Job, over.id)])
        .await
        .unwrap();

    let all = Forgotten {
        live_jobs: 1,
        jobs: 2,
        live_sessions: 1,
        sessions: 1,
        syncs: 1,
    };
    assert_eq!(store.count_on_host("far").await.unwrap(), all);
    let remove = async |force, id| {
        let request = request(id, 1);
        store.remove_host("far", force, Some(&request)).await.unwrap()
    };
    assert_eq!(remove(false, "q").await, RemovedHost::InUse(all));
    match remove(true, "r").await {
        RemovedHost::Now { forgotten, mut ids } => {
            let mut expected = [live.id, over.id, there.id];
            ids.sort_by_key(ToString::to_string);
            expected.sort_by_key(ToString::to_string);
            assert_eq!((forgotten, ids.as_slice()), (all, &expected[..]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(remove(true, "r").await, RemovedHost::Before(all));
    assert_eq!(remove(true, "s").await, RemovedHost::Absent);
    let jobs = store.list_jobs(JobFilter::default()).await.unwrap().items;
    assert_eq!(jobs, [here]);
    let mut left = store.removals("far").await.unwrap();
    left.sort_by_key(|removal| removal.id.to_string());
    let mut records = [old.id, synced.id].map(|id| removal(RemovalKind::Sync, id));
    records.sort_by_key(|removal| removal.id.to_string());
    assert_eq!(
        left, records,
        "a host that is added again must not find them in the way"
    );
    let syncs = store.list_syncs().await.unwrap();
    assert_eq!(
        syncs.iter().map(|sync| sync.name.as_str()).collect::<Vec<_>>(),
        ["here"]
    );
    let events = store.events_after(0, 100).await.unwrap().events;
    let told = |kind: Kind| events.iter().filter(|event| event.kind == kind.as_str()).count();
    assert_eq!((told(Kind::HostAdded), told(Kind::HostRemoved)), (1, 1));
}

#[tokio::test]
async fn removals_wait_until_they_are_done() {
    let dir = directory();
    let store = open(dir.path());
    let removal = |kind| Removal { kind, id: job().id };
    let (one, two) = (removal(RemovalKind::Job), removal(RemovalKind::Session));
    store.add_removals("far", &[one, two, one]).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.removals("far").await.unwrap().len(), 2);
    store.removal_done("far", one.id).await.unwrap();
    assert_eq!(store.removals("far").await.unwrap(), [two]);
    assert_eq!(store.removals("other").await.unwrap(), []);
}

#[tokio::test]
async fn a_repeat_leaves_the_host_alone_that_has_the_name_by_now() {
    let dir = directory();
    let store = open(dir.path());
    store.add_host(&ssh("far"), None).await.unwrap();
    let remove = async || {
        let request = request("r", 1);
        store.remove_host("far", true, Some(&request)).await.unwrap()
    };
    assert!(matches!(remove().await, RemovedHost::Now { .. }));
    store.add_host(&command("far"), None).await.unwrap();
    assert_eq!(remove().await, RemovedHost::Before(Forgotten::default()));
    assert_eq!(store.hosts().await.unwrap(), [command("far")]);
}

#[tokio::test]
async fn a_session_that_goes_while_its_host_is_away_leaves_its_name_and_a_removal() {
    let dir = directory();
    let store = open(dir.path());
    let mut there = session("web");
    there.host = "far".to_owned();
    store.create_session(&there, None).await.unwrap();
    let gone = store.delete_session_away(there.id).await.unwrap();
    assert_eq!(gone.map(|session| session.id), Some(there.id));
    let removal = Removal {
        kind: RemovalKind::Session,
        id: there.id,
    };
    assert_eq!(store.removals("far").await.unwrap(), [removal]);
    store.create_session(&session("web"), None).await.unwrap();
    assert_eq!(store.delete_session_away(there.id).await.unwrap(), None);
    assert_eq!(store.removals("far").await.unwrap(), [removal]);
}

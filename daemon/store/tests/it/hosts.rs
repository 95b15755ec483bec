//! Hosts, what goes with them, and what is to be removed on them.

use outlast_model::{
    event::Kind,
    host::{Carrier, Host, Route, SshRoute},
};
use outlast_store::{Created, Forgotten, JobFilter, StoreError};

use crate::fixture::{directory, ended, job, open, request, session};

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
    let known = Host {
        machine_id: Some("0123".to_owned()),
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
    assert!(store.remove_host("h", None).await.unwrap().is_some());
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
    store.add_removals("far", &[over.id]).await.unwrap();

    let all = Forgotten {
        live_jobs: 1,
        jobs: 2,
        live_sessions: 1,
        sessions: 1,
    };
    assert_eq!(store.count_on_host("far").await.unwrap(), all);
    let removed = store.remove_host("far", Some(&request("r", 1))).await.unwrap();
    assert_eq!(removed, Some(all));
    let again = store.remove_host("far", Some(&request("r", 1))).await.unwrap();
    assert!(again.is_some(), "a repeat is no error");
    assert_eq!(store.remove_host("far", None).await.unwrap(), None);
    let jobs = store.list_jobs(JobFilter::default()).await.unwrap().items;
    assert_eq!(jobs, [here]);
    assert_eq!(store.removals("far").await.unwrap(), []);
    let events = store.events_after(0, 100).await.unwrap().events;
    let told = |kind: Kind| events.iter().filter(|event| event.kind == kind.as_str()).count();
    assert_eq!((told(Kind::HostAdded), told(Kind::HostRemoved)), (1, 1));
}

#[tokio::test]
async fn removals_wait_until_they_are_done() {
    let dir = directory();
    let store = open(dir.path());
    let (one, two) = (job().id, job().id);
    store.add_removals("far", &[one, two, one]).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(store.removals("far").await.unwrap().len(), 2);
    store.removal_done("far", one).await.unwrap();
    assert_eq!(store.removals("far").await.unwrap(), [two]);
    assert_eq!(store.removals("other").await.unwrap(), []);
}

//! Syncs at the daemon's door: what is refused there, what is kept, and what outlives it. That they copy is tested where the
//! engine is, and with other machines.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use outlast_client::v1::{
    AddHostRequest, CommandAddress, CreateSyncRequest, DeleteSyncRequest, ErrorKind, Event, FlushSyncRequest,
    GetDaemonRequest, GetOverviewRequest, GetSyncRequest, Link, ListSyncsRequest, PauseSyncRequest,
    PreviewSyncRequest, ReadEventsRequest, RemoveHostRequest, RemoveHostResponse, ResetSyncRequest,
    ResumeSyncRequest, Sync, SyncMode, SyncPaths, SyncSpec, SyncState, add_host_request::Address,
    flush_sync_response::Event as Flushed, host_service_client::HostServiceClient,
    sync_service_client::SyncServiceClient,
};
use outlast_testkit::{DEADLINE, Process, Sandbox};
use rustix::process::Signal;
use support::{error, ready, soon};
use tonic::transport::Channel;

type Client = SyncServiceClient<Channel>;

async fn client(sandbox: &Sandbox) -> Client {
    SyncServiceClient::new(sandbox.connect().await.unwrap())
}

/// A directory of the sandbox with a file in it.
fn source(sandbox: &Sandbox, name: &str) -> PathBuf {
    let dir = sandbox.home().canonicalize().unwrap().join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), name).unwrap();
    dir
}

/// To a directory of this machine, whatever is there.
fn to(source: &Path, target: &str) -> CreateSyncRequest {
    CreateSyncRequest {
        spec: Some(SyncSpec {
            source: source.to_str().unwrap().to_owned(),
            host: "local".to_owned(),
            target: target.to_owned(),
            ..SyncSpec::default()
        }),
        adopt: true,
        ..CreateSyncRequest::default()
    }
}

fn named(name: &str, request: CreateSyncRequest) -> CreateSyncRequest {
    CreateSyncRequest {
        name: Some(name.to_owned()),
        ..request
    }
}

async fn create(client: &mut Client, request: CreateSyncRequest) -> Sync {
    let created = soon("the acceptance", client.create_sync(request)).await;
    created.unwrap().into_inner().sync.unwrap()
}

async fn get(client: &mut Client, sync: &str) -> Sync {
    let request = GetSyncRequest {
        sync: sync.to_owned(),
    };
    let got = client.get_sync(request).await.unwrap();
    got.into_inner().sync.unwrap()
}

async fn names(client: &mut Client) -> Vec<String> {
    let listed = client.list_syncs(ListSyncsRequest {}).await.unwrap();
    let syncs = listed.into_inner().syncs;
    syncs.into_iter().map(|sync| sync.name).collect()
}

fn pause(sync: &str) -> PauseSyncRequest {
    PauseSyncRequest {
        sync: sync.to_owned(),
        ..PauseSyncRequest::default()
    }
}

fn resume(sync: &str) -> ResumeSyncRequest {
    ResumeSyncRequest {
        sync: sync.to_owned(),
        ..ResumeSyncRequest::default()
    }
}

fn delete(sync: &str) -> DeleteSyncRequest {
    DeleteSyncRequest {
        sync: sync.to_owned(),
        ..DeleteSyncRequest::default()
    }
}

fn kill(process: Process) {
    process.signal(Signal::KILL);
    drop(process.finish(DEADLINE));
}

/// A host that is never there.
async fn add_away(sandbox: &Sandbox, name: &str) {
    let request = AddHostRequest {
        name: name.to_owned(),
        address: Some(Address::Command(CommandAddress {
            command: vec!["false".to_owned()],
        })),
        ..AddHostRequest::default()
    };
    hosts(sandbox).await.add_host(request).await.unwrap();
}

async fn hosts(sandbox: &Sandbox) -> HostServiceClient<Channel> {
    HostServiceClient::new(sandbox.connect().await.unwrap())
}

async fn remove_host(sandbox: &Sandbox, name: &str, dry_run: bool) -> RemoveHostResponse {
    let request = RemoveHostRequest {
        host: name.to_owned(),
        dry_run,
        ..RemoveHostRequest::default()
    };
    let removed = hosts(sandbox).await.remove_host(request).await;
    removed.unwrap().into_inner()
}

/// All that the log of events says of syncs.
async fn events(sandbox: &Sandbox) -> Vec<Event> {
    let request = ReadEventsRequest {
        after: Some(0),
        kinds: vec!["sync".to_owned()],
        ..ReadEventsRequest::default()
    };
    let read = support::events(sandbox).await.read_events(request).await;
    let mut stream = read.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(message) = soon("the events", stream.message()).await.unwrap() {
        events.extend(message.event);
    }
    events
}

#[tokio::test]
async fn what_cannot_be_a_sync_is_refused_at_the_door() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let dir = source(&sandbox, "app");
    let good = to(&dir, "copy");
    let change = |change: &dyn Fn(&mut SyncSpec)| {
        let mut request = good.clone();
        change(request.spec.as_mut().unwrap());
        request
    };
    let inside = dir.join("inside").to_str().unwrap().to_owned();
    let cases = [
        (
            CreateSyncRequest {
                spec: None,
                ..good.clone()
            },
            "does not say",
        ),
        (named("a b", good.clone()), "a name has 1 to 63"),
        (
            CreateSyncRequest {
                request_id: Some(String::new()),
                ..good.clone()
            },
            "request id",
        ),
        (change(&|spec| spec.source.clear()), "source is empty"),
        (change(&|spec| spec.source = "app".to_owned()), "not absolute"),
        (change(&|spec| spec.source.push('\0')), "NUL"),
        (change(&|spec| spec.source.push_str("/none")), "cannot be used"),
        (change(&|spec| spec.source.push_str("/file")), "not a directory"),
        (change(&|spec| spec.source = "/".to_owned()), "whole machine"),
        (change(&|spec| spec.target.clear()), "target is empty"),
        (change(&|spec| spec.target = "/".to_owned()), "whole machine"),
        (change(&|spec| spec.target = "~".to_owned()), "whole home"),
        (change(&|spec| spec.target = "~bob/x".to_owned()), "another user"),
        (change(&|spec| spec.target = "../x".to_owned()), "`..`"),
        (change(&|spec| spec.target.push('\0')), "NUL"),
        (change(&|spec| spec.target = "app".to_owned()), "overlap"),
        (change(&|spec| spec.target.clone_from(&inside)), "overlap"),
        (
            change(&|spec| spec.exclude = vec!["a\nb".to_owned()]),
            "--exclude",
        ),
        (change(&|spec| spec.limit_bytes = Some(0)), "send nothing"),
        (change(&|spec| spec.mode = 9), "no sync mode"),
    ];
    for (request, part) in cases {
        let refused = client.create_sync(request).await.unwrap_err();
        let refused = error(&refused);
        assert_eq!(refused.kind(), ErrorKind::Usage, "{part}: {refused:?}");
        assert!(refused.message.contains(part), "{part}: {refused:?}");
    }
    let unknown = change(&|spec| spec.host = "far".to_owned());
    let refused = client.create_sync(unknown).await.unwrap_err();
    assert_eq!(error(&refused).kind(), ErrorKind::NotFound);
    for refused in [
        client.get_sync(GetSyncRequest::default()).await.unwrap_err(),
        client.pause_sync(pause("x")).await.unwrap_err(),
        client.resume_sync(resume("x")).await.unwrap_err(),
        client.delete_sync(delete("x")).await.unwrap_err(),
        client.reset_sync(ResetSyncRequest::default()).await.unwrap_err(),
        client.flush_sync(FlushSyncRequest::default()).await.unwrap_err(),
    ] {
        let refused = error(&refused);
        assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused:?}");
        assert_eq!(refused.hint(), "outlast sync list");
    }
    assert_eq!(names(&mut client).await, Vec::<String>::new());
    assert!(events(&sandbox).await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn a_sync_is_found_by_name_and_id_and_is_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let dir = source(&sandbox, "web app");
    let link = sandbox.home().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let mut asked = to(&link, "~/copies//app/");
    let spec = asked.spec.as_mut().unwrap();
    spec.exclude = vec!["*.o".to_owned()];
    spec.git_dir = true;
    spec.limit_bytes = Some(1 << 20);
    spec.set_mode(SyncMode::Update);
    let made = create(&mut client, asked).await;
    assert_eq!(made.name, "web-app", "after the directory itself");
    assert_eq!(made.source, dir.to_str().unwrap());
    assert!(made.target.ends_with("copies/app"), "{made:?}");
    assert_eq!((made.mode(), made.link()), (SyncMode::Update, Link::Up));
    assert_eq!((made.git_dir, made.no_gitignore), (true, false));
    assert_eq!((made.limit_bytes, made.exclude.len()), (Some(1 << 20), 1));
    for word in ["web-app", &made.id, &made.id[..9]] {
        assert_eq!(get(&mut client, word).await.id, made.id, "{word}");
    }
    let again = create(&mut client, to(&dir, "elsewhere")).await;
    assert_eq!(again.name, "web-app-2");
    create(&mut client, named("a", to(&dir, "third"))).await;
    assert_eq!(names(&mut client).await, ["a", "web-app", "web-app-2"]);

    let taken = client.create_sync(named("a", to(&dir, "fourth"))).await;
    let taken = error(&taken.unwrap_err());
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    let taken = client.create_sync(named("b", to(&dir, "copies"))).await;
    let taken = error(&taken.unwrap_err());
    assert_eq!((taken.kind(), taken.subject()), (ErrorKind::Conflict, "web-app"));

    let mut daemon = support::daemon(&sandbox).await;
    let seen = daemon.get_overview(GetOverviewRequest::default()).await;
    assert_eq!(seen.unwrap().into_inner().syncs.len(), 3);
    let daemon = daemon.get_daemon(GetDaemonRequest {}).await.unwrap();
    let able = daemon.into_inner().daemon.unwrap().capabilities;
    assert!(able.contains(&"syncs".to_owned()), "{able:?}");
}

#[tokio::test]
async fn what_was_wanted_of_a_sync_outlives_the_daemon() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut before = client(&sandbox).await;
    let dir = source(&sandbox, "app");
    let request = CreateSyncRequest {
        request_id: Some("made once".to_owned()),
        ..to(&dir, "copy")
    };
    let made = create(&mut before, request.clone()).await;
    create(&mut before, named("other", to(&dir, "copy2"))).await;
    let paused = before.pause_sync(pause("app")).await.unwrap().into_inner();
    assert_eq!(paused.sync.unwrap().state(), SyncState::Paused);
    before.delete_sync(delete("other")).await.unwrap();
    kill(daemon);

    let daemon = ready(&sandbox);
    let mut after = client(&sandbox).await;
    assert_eq!(names(&mut after).await, ["app"]);
    let kept = get(&mut after, "app").await;
    assert_eq!((kept.state(), &kept.id), (SyncState::Paused, &made.id));
    assert_eq!(kept.created_at, made.created_at);
    let repeat = create(&mut after, request).await;
    assert_eq!(repeat.id, made.id, "a repeat makes no second one");
    let resumed = after.resume_sync(resume("app")).await.unwrap().into_inner();
    assert_ne!(resumed.sync.unwrap().state(), SyncState::Paused);
    kill(daemon);

    let _daemon = ready(&sandbox);
    let mut last = client(&sandbox).await;
    assert_ne!(get(&mut last, "app").await.state(), SyncState::Paused);
}

#[tokio::test]
async fn a_pause_is_made_once_and_keeps_a_flush_from_ending() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let dir = source(&sandbox, "app");
    create(&mut client, to(&dir, "copy")).await;
    let once = PauseSyncRequest {
        request_id: Some("p".to_owned()),
        ..pause("app")
    };
    client.pause_sync(once.clone()).await.unwrap();
    let flushed = client
        .flush_sync(FlushSyncRequest {
            sync: "app".to_owned(),
        })
        .await
        .unwrap();
    let refused = soon("the refusal", flushed.into_inner().message())
        .await
        .unwrap_err();
    let refused = error(&refused);
    assert_eq!(
        (refused.kind(), refused.hint()),
        (ErrorKind::WrongState, "outlast sync resume app")
    );
    client.resume_sync(resume("app")).await.unwrap();
    let repeat = client.pause_sync(once).await.unwrap().into_inner();
    assert_ne!(
        repeat.sync.unwrap().state(),
        SyncState::Paused,
        "it was done before"
    );
    let other = PauseSyncRequest {
        request_id: Some("p".to_owned()),
        ..pause("other")
    };
    assert!(client.pause_sync(other).await.is_err());
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_its_name_and_its_cache() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let dir = source(&sandbox, "app");
    let made = create(&mut client, to(&dir, "copy")).await;
    let request = DeleteSyncRequest {
        request_id: Some("d".to_owned()),
        ..delete("app")
    };
    let gone = client.delete_sync(request.clone()).await.unwrap().into_inner();
    assert_eq!(gone.sync.unwrap().id, made.id);
    assert_eq!(names(&mut client).await, Vec::<String>::new());
    let repeat = client.delete_sync(request).await.unwrap().into_inner();
    assert_eq!(repeat.sync.unwrap().id, made.id, "a repeat is no error");
    let again = create(&mut client, to(&dir, "copy")).await;
    assert_eq!(again.name, "app");
    assert_ne!(again.id, made.id);
    assert!(dir.join("file").exists(), "nothing of the source goes");

    let told = events(&sandbox).await;
    let of_it: Vec<_> = told.iter().filter(|event| event.subject == made.id).collect();
    let (first, last) = (of_it.first().unwrap(), of_it.last().unwrap());
    assert_eq!(
        (first.kind.as_str(), last.kind.as_str()),
        ("sync.state", "sync.removed")
    );
    let data: serde_json::Value = serde_json::from_str(&first.data_json).unwrap();
    assert_eq!(
        (&data["name"], &data["host"], &data["state"]),
        (&"app".into(), &"local".into(), &"starting".into())
    );
}

#[tokio::test]
async fn a_target_that_holds_something_is_shown_and_has_to_be_adopted() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let dir = source(&sandbox, "app");
    let target = source(&sandbox, "copy");
    fs::write(dir.join("new"), "12").unwrap();
    fs::write(target.join("theirs"), "").unwrap();
    let mut request = to(&dir, "copy");
    request.adopt = false;
    let preview = PreviewSyncRequest {
        spec: request.spec.clone(),
        ..PreviewSyncRequest::default()
    };
    let seen = client.preview_sync(preview).await.unwrap().into_inner();
    assert_eq!(seen.target, target.to_str().unwrap());
    assert_eq!((seen.target_exists, seen.files, seen.bytes), (true, 2, 5));
    let some = |paths: &Option<SyncPaths>| paths.as_ref().unwrap().some.clone();
    assert_eq!(
        (some(&seen.differ), some(&seen.extra)),
        (vec!["file".to_owned()], vec!["theirs".to_owned()])
    );
    assert_eq!(seen.same.unwrap().count, 0);
    assert_eq!(names(&mut client).await, Vec::<String>::new(), "nothing was made");

    let refused = client.create_sync(request.clone()).await.unwrap_err();
    let refused = error(&refused);
    assert_eq!(
        (refused.kind(), refused.subject()),
        (ErrorKind::WrongState, target.to_str().unwrap())
    );
    assert!(refused.hint().contains("--adopt"), "{refused:?}");
    request.request_id = Some("r".to_owned());
    request.adopt = true;
    let made = create(&mut client, request.clone()).await;
    let flushed = client
        .flush_sync(FlushSyncRequest {
            sync: made.id.clone(),
        })
        .await
        .unwrap();
    let mut flushed = flushed.into_inner();
    let end = soon("the end of the flush", async {
        loop {
            match flushed.message().await.unwrap().unwrap().event.unwrap() {
                Flushed::Progress(_) => {}
                Flushed::End(end) => return end,
            }
        }
    })
    .await;
    assert!(flushed.message().await.unwrap().is_none(), "that is the last");
    assert_eq!((end.files, end.pending_files), (2, 0));
    assert!(end.last_synced_at.is_some());
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "app");
    // What was sent since is no reason to refuse a repeat.
    let repeat = create(&mut client, request).await;
    assert_eq!(repeat.id, made.id);
}

#[tokio::test]
async fn caches_of_syncs_that_are_gone_are_cleared_away_at_the_start() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut before = client(&sandbox).await;
    let made = create(&mut before, to(&source(&sandbox, "app"), "copy")).await;
    kill(daemon);
    let cache = cache(&sandbox);
    let left = cache.join("6d0c0f5e-50b5-4d86-8a0e-0f6cf8f0a001");
    let (kept, foreign) = (cache.join(&made.id), cache.join("mine"));
    for dir in [&left, &kept, &foreign] {
        fs::create_dir_all(dir).unwrap();
    }
    let _daemon = ready(&sandbox);
    assert!(!left.exists());
    assert!(kept.exists() && foreign.exists());
    let mut after = client(&sandbox).await;
    after.delete_sync(delete("app")).await.unwrap();
    assert!(!kept.exists());
}

/// Where a sandbox's daemon keeps caches of syncs.
fn cache(sandbox: &Sandbox) -> PathBuf {
    let cache = sandbox
        .environment()
        .into_iter()
        .find(|(name, _)| *name == "XDG_CACHE_HOME");
    PathBuf::from(cache.unwrap().1).join("outlast/syncs")
}

#[tokio::test]
async fn a_sync_lives_on_while_its_host_is_away_and_goes_with_it() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let dir = source(&sandbox, "app");
    add_away(&sandbox, "far").await;
    let mut before = client(&sandbox).await;
    let mut request = to(&dir, "app");
    request.adopt = false;
    request.spec.as_mut().unwrap().host = "far".to_owned();
    // What is there is found when the host is.
    let made = create(&mut before, request).await;
    assert_ne!(made.link(), Link::Up);
    // Only on this machine would that be one directory.
    assert_eq!((made.name.as_str(), made.target.as_str()), ("app", "app"));
    let waiting = before
        .flush_sync(FlushSyncRequest {
            sync: "app".to_owned(),
        })
        .await
        .unwrap();
    let mut waiting = waiting.into_inner();
    let first = soon("how far it is", waiting.message()).await.unwrap().unwrap();
    match first.event {
        Some(Flushed::Progress(sync)) => assert_eq!(sync.id, made.id),
        other => panic!("{other:?}"),
    }
    kill(daemon);

    let _daemon = ready(&sandbox);
    let mut after = client(&sandbox).await;
    assert_eq!(get(&mut after, "app").await.host, "far");
    let waiting = after
        .flush_sync(FlushSyncRequest {
            sync: "app".to_owned(),
        })
        .await
        .unwrap();
    let mut waiting = waiting.into_inner();
    assert_eq!(remove_host(&sandbox, "far", true).await.syncs, 1);
    assert_eq!(names(&mut after).await, ["app"], "that was only asked");
    assert_eq!(remove_host(&sandbox, "far", false).await.syncs, 1);
    assert_eq!(names(&mut after).await, Vec::<String>::new());
    let end = soon("the end of the flush", async {
        loop {
            match waiting.message().await {
                Ok(Some(_progress)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(error(&end).kind(), ErrorKind::NotFound);
}

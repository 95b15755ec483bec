//! Waiting until everything is there, and how that ends.

use std::sync::Arc;

use outlast_client::v1::{Error, ErrorKind, FlushSyncRequest, Link, SyncState};

use crate::{
    Flushed, away, end, endless, error,
    fake::{Fake, Heard, Script, sync},
    interrupted, progress, pushing, refused, timeless, told, with_problems,
};

/// A daemon whose flushes go as a test says, by the name of the sync and the number of the call.
fn daemon(flush: impl Fn(&str, usize) -> Flushed + Send + 'static) -> (Fake, Heard<FlushSyncRequest>) {
    let asked = Heard::<FlushSyncRequest>::default();
    let kept = Arc::clone(&asked);
    let fake = Fake::start(Script {
        flush_sync: Some(Box::new(move |request| {
            let name = request.sync.clone();
            let mut asked = kept.lock().unwrap();
            asked.push(request);
            flush(&name, asked.len())
        })),
        ..Script::default()
    });
    (fake, asked)
}

#[test]
fn it_ends_with_one_line_when_everything_is_there() {
    let (fake, asked) =
        daemon(|name, _| told([progress(pushing(name)), end(sync(name, SyncState::Watching))]));
    let ran = fake.outlast(&["sync", "flush", "app"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, ""));
    assert_eq!(
        timeless(&ran.err),
        "app: 2000 files, 30.0 MiB on box:/srv/app in 0.0s\n"
    );
    let ran = fake.outlast(&["--quiet", "sync", "flush", "app"]);
    assert_eq!((ran.code, ran.text().as_str(), ran.err.as_str()), (0, "", ""));
    let ran = fake.outlast(&["--json", "sync", "flush", "app"]);
    assert_eq!(
        (ran.code, ran.json()["state"].as_str(), ran.err.as_str()),
        (0, Some("watching"), "")
    );
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn the_exit_code_tells_how_it_ended() {
    let (fake, _) = daemon(|name, _| match name {
        "special" => told([end(with_problems(name, &["special_file"]))]),
        "conflict" => told([end(with_problems(name, &["special_file", "conflict"]))]),
        "halted" => {
            let halted = Error::new(
                ErrorKind::WrongState,
                "sync halted is halted: the source is empty",
            );
            told([Err(halted
                .with_hint("outlast sync resume halted --confirm")
                .into_status())])
        }
        "paused" => told([refused(ErrorKind::WrongState, "sync paused is paused")]),
        "unreachable" => told([refused(ErrorKind::Unreachable, "host box is away")]),
        "locked" => endless([progress(away(name, Link::AuthFailed))]),
        "stopping" => told([refused(ErrorKind::Stopping, "outlastd is stopping")]),
        name => told([refused(ErrorKind::NotFound, &format!("no sync is called {name}"))]),
    });
    for (name, code, said) in [
        ("special", 0, "; 1 problem, see: outlast sync show special\n"),
        (
            "conflict",
            1,
            "; 1 path is not there as it is here (1 conflict)\nhint: outlast sync show conflict\n",
        ),
        (
            "halted",
            4,
            "error: sync halted is halted: the source is empty\nhint: outlast sync resume halted --confirm\n",
        ),
        (
            "paused",
            4,
            "error: sync paused is paused\nhint: outlast sync show paused\n",
        ),
        (
            "unreachable",
            6,
            "error: host box is away\nhint: outlast sync show unreachable\n",
        ),
        (
            "locked",
            5,
            "error: host box is away (auth_failed), and sync locked cannot go on\nhint: outlast host check box\n",
        ),
        (
            "stopping",
            7,
            "error: outlastd is stopping\nhint: outlast sync flush stopping\n",
        ),
        (
            "nosuch",
            3,
            "error: no sync is called nosuch\nhint: outlast sync list\n",
        ),
    ] {
        let ran = fake.outlast(&["sync", "flush", name]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.ends_with(said), "{ran:?}");
    }
    let ran = fake.outlast(&["--json", "sync", "flush", "halted"]);
    assert_eq!(error(&ran)["hint"], "outlast sync resume halted --confirm");
    // Each is told on its own, and the first failure's code is the answer.
    let ran = fake.outlast(&["sync", "flush", "special", "halted", "conflict"]);
    assert_eq!((ran.code, ran.err.lines().count()), (4, 5), "{ran:?}");
}

#[test]
fn leaving_it_ends_nothing_but_the_wait() {
    let (fake, asked) = daemon(|name, _| endless([progress(pushing(name))]));
    let ran = fake.outlast(&["sync", "flush", "app", "--timeout", "50ms"]);
    assert_eq!(ran.code, 124);
    assert_eq!(
        ran.err,
        "error: the time ran out; sync app goes on\nhint: outlast sync flush app\n"
    );
    asked.lock().unwrap().clear();
    let ran = interrupted(&fake, &["sync", "flush", "app", "web"], &asked);
    assert_eq!((ran.code, ran.text().as_str()), (130, ""));
    assert_eq!(
        ran.err,
        "the syncs go on; come back with: outlast sync flush app web\n"
    );
    asked.lock().unwrap().clear();
    let ran = interrupted(&fake, &["--json", "sync", "flush", "app"], &asked);
    assert_eq!(
        (ran.code, error(&ran)["kind"].as_str()),
        (130, Some("interrupted"))
    );
}

#[test]
fn a_host_that_is_away_is_waited_for_and_that_is_said_once() {
    let (fake, _) = daemon(|name, _| {
        told([
            progress(pushing(name)),
            progress(away(name, Link::Backoff)),
            progress(away(name, Link::Down)),
            progress(pushing(name)),
            end(sync(name, SyncState::Watching)),
        ])
    });
    let ran = fake.outlast(&["sync", "flush", "app"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        timeless(&ran.err),
        "outlast: host box is away (backoff); what is missing on box:/srv/app goes there when it is back\n\
         outlast: host box is back\n\
         app: 2000 files, 30.0 MiB on box:/srv/app in 0.0s\n"
    );
}

#[test]
fn a_connection_that_broke_is_made_again_and_flushed_again() {
    let (fake, asked) = daemon(|name, call| match call {
        // Cut off without an end, then told that the daemon comes back at once.
        1 => told([progress(pushing(name))]),
        2 => told([refused(ErrorKind::Restarting, "outlastd is restarting")]),
        _ => told([end(sync(name, SyncState::Watching))]),
    });
    let ran = fake.outlast(&["sync", "flush", "app"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(asked.lock().unwrap().len(), 3);
}

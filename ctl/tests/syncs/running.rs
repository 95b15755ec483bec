//! Work that runs in a sync: everything is there first, and it begins in the directory that mirrors this one.

use std::{fs, path::PathBuf, process::Stdio, sync::Arc};

use outlast_client::v1::{
    self, CreateJobResponse, CreateSessionResponse, ErrorKind, JobState, Link, SessionState, SyncState,
};
use outlast_testkit::{DEADLINE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    Flushed, away, end, endless, error,
    fake::{self, Fake, Heard, Ran, Script, finish, outlast, sync},
    progress, pushing, refused, told, with_problems,
};

/// What was asked for, in order: flushes by the id of the sync, then what was started, on which host and where.
type Asked = Heard<(String, Option<String>, Option<String>)>;

const APP: &str = "app-5d30-480b-9343-05dfe31fdd1a";

/// A daemon, and the directories that its syncs mirror.
struct There {
    fake: Fake,
    /// The real directory that they are in.
    root: PathBuf,
    _kept: TempDir,
}

/// A daemon with the syncs `app` of the directory `app` and `deep` of `app/deep`, both on `box`.
fn daemon(flush: impl Fn(v1::Sync) -> Flushed + Send + 'static) -> (There, Asked) {
    let asked = Asked::default();
    let [flushed, jobs, sessions] = [0; 3].map(|_| Arc::clone(&asked));
    // Known before the daemon is: where the sources are.
    let kept = fake::home();
    let root = kept.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("app/deep/er")).unwrap();
    fs::create_dir_all(root.join("app/src")).unwrap();
    let of = |name: &str, below: &str| v1::Sync {
        source: root.join(below).to_str().unwrap().to_owned(),
        ..sync(name, SyncState::Watching)
    };
    let syncs = [of("app", "app"), of("deep", "app/deep")];
    let known = syncs.clone();
    let fake = Fake::start(Script {
        syncs: syncs.map(|sync| (sync.name.clone(), sync)).into(),
        flush_sync: Some(Box::new(move |request| {
            let sync = known.iter().find(|sync| sync.id == request.sync).unwrap();
            flushed.lock().unwrap().push((request.sync, None, None));
            flush(sync.clone())
        })),
        create_job: Some(Box::new(move |request| {
            let what = request.command.join(" ");
            jobs.lock().unwrap().push((what, request.host, request.cwd));
            Ok(CreateJobResponse {
                job: Some(fake::job("0d6af9a8-5d30", None, JobState::Queued)),
            })
        })),
        create_session: Some(Box::new(move |request| {
            let what = request.name.clone();
            sessions.lock().unwrap().push((what, request.host, request.cwd));
            Ok(CreateSessionResponse {
                session: Some(fake::session(
                    "1d6af9a8-5d30",
                    &request.name,
                    SessionState::Running,
                )),
            })
        })),
        ..Script::default()
    });
    std::os::unix::fs::symlink(&root, fake.home().path().join("root")).unwrap();
    let there = There {
        fake,
        root,
        _kept: kept,
    };
    (there, asked)
}

/// Runs the program in a directory below the root, by the way of a link.
fn within(there: &There, below: &str, args: &[&str]) -> Ran {
    fake::run(command(there, below, args))
}

fn command(there: &There, below: &str, args: &[&str]) -> std::process::Command {
    let home = there.fake.home();
    let mut command = outlast(home, &["--no-start"]);
    command
        .args(args)
        .current_dir(home.path().join("root").join(below));
    command
}

fn well() -> (There, Asked) {
    daemon(|sync| told([end(sync)]))
}

fn started(what: &str, host: &str, cwd: &str) -> (String, Option<String>, Option<String>) {
    (what.to_owned(), Some(host.to_owned()), Some(cwd.to_owned()))
}

#[test]
fn it_runs_where_this_directory_is_mirrored_after_everything_is_there() {
    let (there, asked) = well();
    for (below, flags, cwd) in [
        ("app", &["--sync"][..], "/srv/app"),
        ("app/src", &["--sync"], "/srv/app/src"),
        ("app/src", &["--sync=app"], "/srv/app/src"),
        // Not below the source: the whole of it.
        (".", &["--sync=app"], "/srv/app"),
        ("app/src", &["--sync", "--cwd", "/tmp"], "/tmp"),
        ("app/src", &["--sync", "--host", "box"], "/srv/app/src"),
    ] {
        let mut args = vec!["run", "-d"];
        args.extend(flags);
        args.extend(["--", "make", "test"]);
        let ran = within(&there, below, &args);
        assert_eq!((ran.code, ran.text().as_str()), (0, "0d6af9a8-5d30\n"), "{ran:?}");
        assert!(
            ran.err
                .starts_with("app: 2000 files, 30.0 MiB on box:/srv/app in "),
            "{ran:?}"
        );
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(
            asked,
            [(APP.to_owned(), None, None), started("make test", "box", cwd)]
        );
    }
}

#[test]
fn the_deepest_sync_is_meant() {
    let (there, asked) = daemon(|sync| told([end(sync)]));
    let ran = within(&there, "app/deep", &["run", "-d", "--sync", "make"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(asked.lock().unwrap()[0].0, "deep-5d30-480b-9343-05dfe31fdd1a");
}

#[test]
fn where_there_is_no_sync_nothing_starts() {
    let (there, asked) = well();
    let message = format!("{} is in no sync", there.root.display());
    let ran = within(&there, ".", &["session", "create", "web", "--sync"]);
    assert_eq!(
        (ran.code, ran.err),
        (
            3,
            format!("error: {message}\nhint: outlast sync add . HOST:PATH\n")
        )
    );
    // A command that stands for a program has its own code for failures of its own.
    let ran = within(&there, ".", &["--json", "run", "--sync", "--", "make"]);
    assert_eq!((ran.code, error(&ran)["kind"].as_str()), (125, Some("not_found")));
    let ran = within(&there, ".", &["run", "--sync=nosuch", "--", "make"]);
    assert_eq!(ran.code, 125);
    let ran = within(&there, "app", &["run", "--sync", "--host", "other", "--", "make"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            2,
            "error: --host other: sync app goes to host box, and --sync runs there\n\
             hint: leave out --host, or name another sync with --sync=NAME\n"
        )
    );
    let ran = within(&there, "app", &["run", "--sync-failure", "warn", "--", "make"]);
    assert_eq!(ran.code, 2);
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn when_not_everything_is_there_a_job_does_not_start_unless_that_is_wanted() {
    let (there, asked) = daemon(|_| told([end(with_problems("app", &["conflict"]))]));
    let ran = within(&there, "app", &["run", "-d", "--sync", "--", "make"]);
    assert_eq!((ran.code, ran.text().as_str()), (125, ""));
    assert!(
        ran.err
            .starts_with("error: the job was not started: app: 2000 files")
            && ran.err.ends_with(
                "; 1 path is not there as it is here (1 conflict)\n\
                 hint: outlast sync show app; --sync-failure warn starts it all the same\n"
            ),
        "{ran:?}"
    );
    assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).len(), 1);
    let args = ["run", "-d", "--sync", "--sync-failure", "warn", "--", "make"];
    let ran = within(&there, "app", &args);
    assert_eq!((ran.code, ran.text().as_str()), (0, "0d6af9a8-5d30\n"));
    assert!(
        ran.err.starts_with("warning: sync app: ") && ran.err.ends_with("; the job starts all the same\n"),
        "{ran:?}"
    );
    assert_eq!(asked.lock().unwrap()[1], started("make", "box", "/srv/app"));
}

#[test]
fn a_session_starts_all_the_same_unless_that_is_not_wanted() {
    let (there, asked) = daemon(|_| told([refused(ErrorKind::WrongState, "sync app is halted")]));
    let ran = within(&there, "app/src", &["session", "create", "web", "--sync"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "1d6af9a8-5d30\n"));
    assert_eq!(
        ran.err,
        "warning: sync app: sync app is halted; the session starts all the same\n\
         session web, attach with: outlast attach web\n"
    );
    assert_eq!(asked.lock().unwrap()[1], started("web", "box", "/srv/app/src"));
    asked.lock().unwrap().clear();
    let args = ["session", "create", "web", "--sync", "--sync-failure", "fail"];
    let ran = within(&there, "app/src", &args);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            4,
            "error: the session was not started: sync app is halted\n\
             hint: outlast sync show app; --sync-failure warn starts it all the same\n"
        )
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_host_that_is_away_is_not_waited_for_by_what_starts_all_the_same() {
    let (there, asked) = daemon(|_| endless([progress(away("app", Link::Backoff))]));
    let ran = within(&there, "app", &["session", "create", "web", "--sync"]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.starts_with(
            "warning: sync app: host box is away (backoff), and sync app cannot go on; the session starts all the same\n"
        ),
        "{ran:?}"
    );
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[test]
fn who_does_not_stay_hears_at_once_that_the_host_is_away() {
    let (there, asked) = daemon(|_| endless([progress(away("app", Link::Backoff))]));
    let ran = within(&there, "app", &["run", "-d", "--sync", "--", "make"]);
    assert_eq!(
        (ran.code, ran.text().as_str(), ran.err.as_str()),
        (
            125,
            "",
            "error: the job was not started: host box is away (backoff), and sync app cannot go on\n\
             hint: outlast host check box; --sync-failure warn starts it all the same; without --detach it is waited for\n"
        )
    );
    let args = ["session", "create", "web", "--sync", "--sync-failure", "fail"];
    let ran = within(&there, "app", &args);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(
        ran.err
            .starts_with("error: the session was not started: host box is away (backoff)")
            && ran.err.ends_with("; with --attach it is waited for\n"),
        "{ran:?}"
    );
    let flushes = asked
        .lock()
        .unwrap()
        .iter()
        .filter(|(what, ..)| what == APP)
        .count();
    assert_eq!(
        (flushes, asked.lock().unwrap().len()),
        (2, 2),
        "something was started"
    );
    // One that is being connected to may be there in a moment.
    let (there, _) = daemon(|sync| told([progress(away("app", Link::Connecting)), end(sync)]));
    let ran = within(&there, "app", &["run", "-d", "--sync", "--", "make"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "0d6af9a8-5d30\n"), "{ran:?}");
}

#[test]
fn ctrl_c_while_it_is_brought_there_starts_nothing() {
    let (there, asked) = daemon(|_| endless([progress(pushing("app"))]));
    let child = command(&there, "app", &["run", "--sync", "--", "make"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(DEADLINE, "the flush is asked for", || {
        (!asked.lock().unwrap().is_empty()).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            130,
            "the job was not started; sync app goes on; come back with: outlast sync flush app\n"
        )
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

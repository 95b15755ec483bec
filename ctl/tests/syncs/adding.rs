//! Adding a sync: what is typed, what is there already, and the first copy.

use std::{fs, os::unix::fs::symlink};

use outlast_client::v1::{
    CreateSyncRequest, CreateSyncResponse, Error, ErrorKind, FlushSyncRequest, Link, PreviewSyncResponse,
    Sync, SyncMode, SyncPaths, SyncSpec, SyncState,
};
use outlast_testkit::DEADLINE;

use crate::{
    Flushed, away, end, endless, error,
    fake::{Fake, Heard, Script, sync},
    interrupted, progress, pty, pushing, timeless, told, with_problems,
};

const DONE: &str = "app: 2000 files, 30.0 MiB on box:/srv/app in 0.0s\n";

/// What the daemon was asked.
#[derive(Default, Clone)]
struct Asked {
    previewed: Heard<SyncSpec>,
    created: Heard<CreateSyncRequest>,
    flushed: Heard<FlushSyncRequest>,
}

/// A daemon that looks, makes and copies as a test says.
fn daemon(
    preview: Result<PreviewSyncResponse, ErrorKind>,
    created: Sync,
    mut flush: impl FnMut() -> Flushed + Send + 'static,
) -> (Fake, Asked) {
    let asked = Asked::default();
    let (previews, creates, flushes) = (asked.clone(), asked.clone(), asked.clone());
    let fake = Fake::start(Script {
        preview_sync: Some(Box::new(move |request| {
            previews.previewed.lock().unwrap().push(request.spec.unwrap());
            preview
                .clone()
                .map_err(|kind| Error::new(kind, "host box is away").into_status())
        })),
        create_sync: Some(Box::new(move |request| {
            creates.created.lock().unwrap().push(request);
            Ok(CreateSyncResponse {
                sync: Some(created.clone()),
            })
        })),
        flush_sync: Some(Box::new(move |request| {
            flushes.flushed.lock().unwrap().push(request);
            flush()
        })),
        ..Script::default()
    });
    fs::create_dir(fake.home().path().join("app")).unwrap();
    (fake, asked)
}

/// A daemon where all goes well, with a target that holds nothing.
fn well() -> (Fake, Asked) {
    daemon(
        Ok(PreviewSyncResponse::default()),
        sync("app", SyncState::Starting),
        || told([progress(pushing("app")), end(sync("app", SyncState::Watching))]),
    )
}

fn occupied() -> PreviewSyncResponse {
    let paths = |count, some: &[&str]| {
        Some(SyncPaths {
            count,
            some: some.iter().map(|path| (*path).to_owned()).collect(),
        })
    };
    PreviewSyncResponse {
        target: "/srv/app".to_owned(),
        target_exists: true,
        same: paths(5, &["same"]),
        differ: paths(3, &["src/a.rs", "\u{1b}[2J", "src/c.rs"]),
        extra: paths(4, &["theirs"]),
        ..PreviewSyncResponse::default()
    }
}

const SUMMARY: &str =
    "box:/srv/app has 12 things already: 5 are as here, 3 differ and would be replaced, 4 others stay";
const LISTS: &str = "would be replaced:\n  src/a.rs\n  \\e[2J\n  src/c.rs\nstay:\n  theirs\n  and 3 more\nas here:\n  same\n  \
                     and 4 more\n";

#[test]
fn what_is_typed_is_what_the_daemon_is_asked_for() {
    let (fake, asked) = well();
    let ran = fake.outlast(&["sync", "add", "app", "box:src/app"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "app\n"), "{ran:?}");
    // Nobody looks: only what came of it.
    assert_eq!(timeless(&ran.err), DONE);
    let source = fake.home().path().canonicalize().unwrap().join("app");
    let source = source.to_str().unwrap().to_owned();
    let spec = SyncSpec {
        source: source.clone(),
        host: "box".to_owned(),
        target: "src/app".to_owned(),
        mode: SyncMode::Mirror.into(),
        ..SyncSpec::default()
    };
    let created = asked.created.lock().unwrap().remove(0);
    assert_eq!(created.request_id.as_ref().map(String::len), Some(36));
    assert_eq!(
        (created.name, created.spec, created.adopt),
        (None, Some(spec.clone()), false)
    );
    assert_eq!(asked.previewed.lock().unwrap().remove(0), spec);
    assert_eq!(
        asked.flushed.lock().unwrap().remove(0).sync,
        "app-5d30-480b-9343-05dfe31fdd1a"
    );

    // By its real name, whatever way it is named by.
    symlink("app", fake.home().path().join("link")).unwrap();
    let args = [
        "sync",
        "add",
        "web",
        "./link",
        "box:~/a:b",
        "--exclude",
        "*.log",
        "--exclude",
        "!keep.log",
        "--no-gitignore",
        "--git",
        "--mode",
        "update",
        "--limit",
        "500K",
        "--adopt",
        "--no-wait",
    ];
    let ran = fake.outlast(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.err,
        "sync app goes on by itself; see: outlast sync show app\n"
    );
    let created = asked.created.lock().unwrap().remove(0);
    assert_eq!((created.name.as_deref(), created.adopt), (Some("web"), true));
    assert_eq!(
        created.spec.unwrap(),
        SyncSpec {
            source,
            host: "box".to_owned(),
            target: "~/a:b".to_owned(),
            mode: SyncMode::Update.into(),
            exclude: vec!["*.log".to_owned(), "!keep.log".to_owned()],
            no_gitignore: true,
            git_dir: true,
            limit_bytes: Some(512_000),
        }
    );
    // Who adopts need not look, and who does not wait does not follow.
    assert!(asked.previewed.lock().unwrap().is_empty());
    assert!(asked.flushed.lock().unwrap().is_empty());
}

#[test]
fn what_cannot_be_a_sync_is_refused_before_the_daemon_is_asked() {
    let (fake, asked) = well();
    fs::write(fake.home().path().join("file"), "").unwrap();
    for (args, said) in [
        (
            &["app", "/srv/app"][..],
            "error: /srv/app: a target is a host and a directory on it, and this names no host\nhint: local:/srv/app\n",
        ),
        (
            &["app", "box:"],
            "error: box:: the directory behind the colon is missing\n\
             hint: box:/absolute/path, or box:path below the home directory there\n",
        ),
        (
            &["app", ":/srv/app"],
            "error: :/srv/app: the host before the colon is missing\nhint: local:/srv/app\n",
        ),
        (
            &["app", "box:~you/app"],
            "error: box:~you/app: only one's own home directory can be meant by ~\nhint: box:/absolute/path\n",
        ),
        (
            &["nosuch", "box:app"],
            "error: nosuch: No such file or directory (os error 2)\n\
             hint: name a directory that is there: outlast sync add . HOST:PATH\n",
        ),
        (
            &["file", "box:app"],
            "error: file: it is no directory, and only directories are kept in sync\n\
             hint: name a directory that is there: outlast sync add . HOST:PATH\n",
        ),
        (
            &["box:app"],
            "error: box:app: the directory here is missing\nhint: outlast sync add . HOST:PATH\n",
        ),
        (
            &["app"],
            "error: app: where it goes is missing\nhint: outlast sync add . HOST:PATH\n",
        ),
        (
            &["a", "b", "c", "d"],
            "error: a sync has one directory here and one place it goes to\n\
             hint: outlast sync add NAME LOCAL HOST:PATH\n",
        ),
        (
            &["app", "box:app", "--limit", "fast"],
            "error: invalid value 'fast' for '--limit <RATE>': a rate looks like 500K, 2M or 65536 (bytes a second)\n\
             hint: outlast sync add --help\n",
        ),
    ] {
        let mut all = vec!["sync", "add"];
        all.extend(args);
        let ran = fake.outlast(&all);
        assert_eq!((ran.code, ran.err.as_str()), (2, said), "{ran:?}");
        assert_eq!(ran.out, b"");
    }
    assert!(asked.previewed.lock().unwrap().is_empty() && asked.created.lock().unwrap().is_empty());
}

fn holding() -> (Fake, Asked) {
    daemon(Ok(occupied()), sync("app", SyncState::Starting), || {
        told([end(sync("app", SyncState::Watching))])
    })
}

#[test]
fn without_a_terminal_a_target_that_holds_something_wants_a_flag() {
    let (fake, asked) = holding();
    let ran = fake.outlast(&["sync", "add", "app", "box:/srv/app"]);
    assert_eq!((ran.code, ran.text().as_str()), (4, ""));
    assert_eq!(
        ran.err,
        format!("{LISTS}error: {SUMMARY}\nhint: --adopt takes it as it is, and replaces what differs\n")
    );
    let ran = fake.outlast(&["--json", "sync", "add", "app", "box:/srv/app"]);
    let told = error(&ran);
    assert_eq!((ran.code, told["kind"].as_str()), (4, Some("wrong_state")));
    assert_eq!(told["subject"], "box:/srv/app");
    assert!(asked.created.lock().unwrap().is_empty());
    for flag in ["--adopt", "--yes"] {
        let ran = fake.outlast(&["sync", "add", "app", "box:/srv/app", flag]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let shown = if flag == "--yes" {
            format!("{LISTS}{SUMMARY}\n{DONE}")
        } else {
            DONE.to_owned()
        };
        assert_eq!(timeless(&ran.err), shown);
        assert!(asked.created.lock().unwrap().remove(0).adopt);
    }
}

#[test]
fn at_a_terminal_it_is_shown_and_asked() {
    let (fake, asked) = holding();
    for (typed, code) in [(&b"n\n"[..], 1), (b"\n", 1), (b"\x04", 1), (b"\x03", 130)] {
        let mut pty = pty(&fake, &["sync", "add", "app", "box:/srv/app"]);
        pty.wait_text("Go on? [y/N] ");
        pty.write(typed);
        assert_eq!(pty.wait_exit(DEADLINE).code(), Some(code), "{typed:?}");
        pty.wait_text("nothing was done");
        let shown = pty.text();
        assert!(
            shown.contains("5 are as here") && shown.contains("  \\e[2J") && !shown.contains("\u{1b}[2J"),
            "{shown}"
        );
    }
    assert!(asked.created.lock().unwrap().is_empty());
    let mut asking = pty(&fake, &["sync", "add", "app", "box:/srv/app"]);
    asking.wait_text("Go on? [y/N] ");
    asking.write(b"y\n");
    assert_eq!(asking.wait_exit(DEADLINE).code(), Some(0));
    assert!(asked.created.lock().unwrap().remove(0).adopt);
    let mut refusing = pty(&fake, &["--no-input", "sync", "add", "app", "box:/srv/app"]);
    assert_eq!(refusing.wait_exit(DEADLINE).code(), Some(4));
    refusing.wait_text("hint: --adopt");
    assert!(asked.created.lock().unwrap().is_empty());
}

#[test]
fn what_would_be_left_out_is_told_before() {
    let seen = PreviewSyncResponse {
        problems: with_problems("app", &["name_clash", "special_file"]).problems,
        problem_count: 3,
        ..PreviewSyncResponse::default()
    };
    let (fake, _) = daemon(Ok(seen), sync("app", SyncState::Starting), || {
        told([end(with_problems("app", &["special_file"]))])
    });
    let ran = fake.outlast(&["sync", "add", "app", "box:/srv/app"]);
    // A device alone leaves nothing missing.
    assert_eq!(ran.code, 0);
    assert_eq!(
        timeless(&ran.err),
        "3 paths would be left out: 1 name_clash, 1 special_file, 1 more\n\
         app: 2000 files, 30.0 MiB on box:/srv/app in 0.0s; 1 problem, see: outlast sync show app\n"
    );
}

#[test]
fn a_host_that_is_away_gets_its_sync_when_it_is_back() {
    let (fake, asked) = daemon(Err(ErrorKind::Unreachable), away("app", Link::Backoff), || {
        told([])
    });
    let ran = fake.outlast(&["sync", "add", "app", "box:app"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "app\n"), "{ran:?}");
    assert_eq!(
        ran.err,
        "host box is away, so what is in box:app already cannot be looked at; if it holds something the sync halts and asks\n\
         sync app was added and goes on by itself when host box is back; it is away (backoff); see: outlast sync show app\n"
    );
    assert!(!asked.created.lock().unwrap().remove(0).adopt);
    assert!(asked.flushed.lock().unwrap().is_empty());
    let ran = fake.outlast(&["--json", "sync", "add", "app", "box:app"]);
    assert_eq!(
        (ran.code, ran.json()["link"].as_str(), ran.err.as_str()),
        (0, Some("backoff"), "")
    );

    // It went away while it was copied.
    let (fake, _) = daemon(
        Ok(PreviewSyncResponse::default()),
        sync("app", SyncState::Starting),
        || endless([progress(pushing("app")), progress(away("app", Link::Down))]),
    );
    let ran = fake.outlast(&["sync", "add", "app", "box:app"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.err,
        "sync app was added and goes on by itself when host box is back; it is away (down); see: outlast sync show app\n"
    );
}

#[test]
fn who_did_not_look_hears_that_the_host_refuses() {
    let (fake, _) = daemon(
        Err(ErrorKind::Unauthenticated),
        away("app", Link::HostkeyChanged),
        || told([]),
    );
    let ran = fake.outlast(&["sync", "add", "app", "box:app", "--adopt"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            0,
            "sync app was added and goes on when host box can be logged in to (hostkey_changed); see: outlast host check box\n"
        )
    );
}

#[test]
fn a_host_that_refuses_gets_no_sync() {
    let (fake, asked) = daemon(
        Err(ErrorKind::Unauthenticated),
        sync("app", SyncState::Starting),
        || told([]),
    );
    let ran = fake.outlast(&["sync", "add", "app", "box:app"]);
    assert_eq!((ran.code, ran.text().as_str()), (5, ""));
    assert!(asked.created.lock().unwrap().is_empty());
}

#[test]
fn leaving_the_first_copy_says_that_it_goes_on() {
    let slow = || {
        daemon(
            Ok(PreviewSyncResponse::default()),
            sync("app", SyncState::Starting),
            || endless([progress(pushing("app"))]),
        )
    };
    let (fake, asked) = slow();
    let ran = interrupted(&fake, &["sync", "add", "app", "box:app"], &asked.flushed);
    assert_eq!((ran.code, ran.text().as_str()), (130, "app\n"));
    assert_eq!(
        ran.err,
        "sync app goes on; come back with: outlast sync show app\n"
    );
    let (fake, _) = slow();
    let ran = fake.outlast(&["sync", "add", "app", "box:app", "--timeout", "50ms"]);
    assert_eq!(ran.code, 124);
    assert_eq!(
        ran.err,
        "error: the time ran out; sync app goes on\nhint: outlast sync show app\n"
    );
}

#[test]
fn what_is_missing_after_the_first_copy_is_1_and_json_has_it_all() {
    let (fake, _) = daemon(
        Ok(PreviewSyncResponse::default()),
        sync("app", SyncState::Starting),
        || {
            told([end(with_problems(
                "app",
                &["conflict", "special_file", "unreadable"],
            ))])
        },
    );
    let ran = fake.outlast(&["sync", "add", "app", "box:app"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        timeless(&ran.err),
        "error: app: 2000 files, 30.0 MiB on box:/srv/app in 0.0s; 2 paths are not there as they are here (1 conflict, 1 \
         unreadable)\nhint: outlast sync show app\n"
    );
    let ran = fake.outlast(&["--json", "sync", "add", "app", "box:app"]);
    assert_eq!((ran.code, ran.json()["problem_count"].as_u64()), (1, Some(3)));
    assert_eq!(error(&ran)["kind"], "failed");
}

#[test]
fn at_a_terminal_one_line_is_drawn_anew_and_gone_at_the_end() {
    let (fake, _) = daemon(
        Ok(PreviewSyncResponse::default()),
        sync("app", SyncState::Starting),
        || {
            let mut messages = vec![progress(pushing("app"))];
            messages.extend((0..50).map(|_| progress(pushing("app"))));
            messages.push(end(sync("app", SyncState::Watching)));
            told(messages)
        },
    );
    let mut pty = pty(&fake, &["sync", "add", "app", "box:app"]);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    pty.wait_text("on box:/srv/app in ");
    let shown = pty.text();
    // As much as fits into 80 columns.
    assert!(
        shown.contains(
            "\r\u{1b}[Kapp: 120 of 2000 files, 1.0 MiB of 31.0 MiB, 3.0 MiB/s, 10 s left\r\u{1b}[K"
        ),
        "{shown:?}"
    );
    assert!(shown.contains("\r\u{1b}[Kapp: 2000 files"), "{shown:?}");
}

#[test]
fn ctrl_c_at_a_terminal_leaves_the_line_clean() {
    let (fake, _) = daemon(
        Ok(PreviewSyncResponse::default()),
        sync("app", SyncState::Starting),
        || endless([progress(pushing("app"))]),
    );
    let mut pty = pty(&fake, &["sync", "add", "app", "box:app"]);
    pty.wait_text("10 s left");
    pty.write(b"\x03");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    pty.wait_text("\r\nsync app goes on; come back with: outlast sync show app\r\n");
}

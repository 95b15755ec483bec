//! Pausing, resuming, resetting and removing.

use std::sync::Arc;

use outlast_client::v1::{
    DeleteSyncResponse, Error, ErrorKind, PauseSyncResponse, ResetSyncResponse, ResumeSyncRequest,
    ResumeSyncResponse, Sync, SyncState,
};
use outlast_testkit::DEADLINE;

use crate::{
    error,
    fake::{Fake, Heard, Script, sync},
    pty, refused, told,
};

/// What was done to which sync, with the flag of the verb.
type Done = Heard<(String, bool)>;

fn daemon(state: SyncState) -> (Fake, Done) {
    let done = Done::default();
    let note = |done: &Done, sync: &str, id: Option<&String>, flag: bool| {
        assert_eq!(id.map(String::len), Some(36));
        done.lock().unwrap().push((sync.to_owned(), flag));
    };
    let [paused, resumed, reset, removed] = [0; 4].map(|_| Arc::clone(&done));
    let halted = Sync {
        message: Some("300 of 400 files\u{1b}[2J would be deleted".to_owned()),
        ..sync("app", state)
    };
    let fake = Fake::start(Script {
        syncs: [("app".to_owned(), halted)].into(),
        pause_sync: Some(Box::new(move |request| {
            note(&paused, &request.sync, request.request_id.as_ref(), false);
            if request.sync == "nosuch" {
                return Err(Error::new(ErrorKind::NotFound, "no sync is called nosuch").into_status());
            }
            Ok(PauseSyncResponse {
                sync: Some(sync(&request.sync, SyncState::Paused)),
            })
        })),
        resume_sync: Some(Box::new(move |request: ResumeSyncRequest| {
            note(
                &resumed,
                &request.sync,
                request.request_id.as_ref(),
                request.confirm,
            );
            if state == SyncState::Halted && !request.confirm {
                let message = "sync app is halted: 300 of 400 files\u{1b}[2J would be deleted";
                return Err(Error::new(ErrorKind::WrongState, message).about(ID).into_status());
            }
            Ok(ResumeSyncResponse {
                sync: Some(sync("app", SyncState::Scanning)),
            })
        })),
        reset_sync: Some(Box::new(move |request| {
            note(&reset, &request.sync, request.request_id.as_ref(), request.adopt);
            Ok(ResetSyncResponse {
                sync: Some(sync("app", SyncState::Scanning)),
            })
        })),
        delete_sync: Some(Box::new(move |request| {
            note(&removed, &request.sync, request.request_id.as_ref(), false);
            Ok(DeleteSyncResponse {
                sync: Some(sync("app", SyncState::Watching)),
            })
        })),
        ..Script::default()
    });
    (fake, done)
}

const ID: &str = "app-5d30-480b-9343-05dfe31fdd1a";

#[test]
fn each_verb_says_what_it_did() {
    let (fake, done) = daemon(SyncState::Paused);
    for (args, said) in [
        (
            &["pause", "app"][..],
            "sync app is paused; go on with: outlast sync resume app\n",
        ),
        (&["resume", "app"], "sync app goes on\n"),
        (
            &["reset", "app"],
            "sync app begins anew: both sides are compared by content\n",
        ),
        (
            &["reset", "--adopt", "app"],
            "sync app begins anew, and what differs is replaced\n",
        ),
        // Nothing is asked: nothing goes.
        (
            &["remove", "app"],
            "sync app was removed; what it wrote stays on box:/srv/app\n",
        ),
    ] {
        let mut all = vec!["sync"];
        all.extend(args);
        let ran = fake.outlast(&all);
        assert_eq!((ran.code, ran.text().as_str(), ran.err.as_str()), (0, "", said));
        all.insert(0, "--json");
        let ran = fake.outlast(&all);
        assert_eq!((ran.json()["name"].as_str(), ran.err.as_str()), (Some("app"), ""));
    }
    let flags: Vec<_> = done.lock().unwrap().iter().map(|(_, flag)| *flag).collect();
    assert_eq!(
        flags,
        [false, false, false, false, false, false, true, true, false, false]
    );
    // Each of several on its own.
    let ran = fake.outlast(&["sync", "pause", "nosuch", "app"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            3,
            "error: no sync is called nosuch\nhint: outlast sync list\nsync app is paused; go on with: outlast sync resume app\n"
        )
    );
}

#[test]
fn what_is_halted_goes_on_when_that_is_confirmed() {
    let (fake, done) = daemon(SyncState::Halted);
    let ran = fake.outlast(&["sync", "resume", "app"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            4,
            "error: sync app is halted: 300 of 400 files\\e[2J would be deleted\n\
             hint: outlast sync resume app --confirm\n"
        )
    );
    let ran = fake.outlast(&["--json", "sync", "resume", "app"]);
    let told = error(&ran);
    assert_eq!(
        (told["kind"].as_str(), told["subject"].as_str()),
        (Some("wrong_state"), Some(ID))
    );
    // The daemon was asked to look again, and that is all.
    let looked = || (ID.to_owned(), false);
    assert_eq!(std::mem::take(&mut *done.lock().unwrap()), [looked(), looked()]);
    for (flag, before) in [("--confirm", vec![]), ("--yes", vec![looked()])] {
        let ran = fake.outlast(&["sync", "resume", "app", flag]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let done = std::mem::take(&mut *done.lock().unwrap());
        assert_eq!(done, [before, vec![(ID.to_owned(), true)]].concat(), "{flag}");
    }
}

#[test]
fn at_a_terminal_it_is_shown_why_and_asked() {
    let (fake, done) = daemon(SyncState::Halted);
    let mut pty = pty(&fake, &["sync", "resume", "app"]);
    pty.wait_text("go on all the same? [y/N] ");
    assert!(pty.text().contains("300 of 400 files\\e[2J would be deleted"));
    pty.write(b"n\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(1));
    assert_eq!(
        std::mem::take(&mut *done.lock().unwrap()),
        [(ID.to_owned(), false)]
    );
    let mut pty = crate::pty(&fake, &["sync", "resume", "app"]);
    pty.wait_text("[y/N] ");
    pty.write(b"y\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    let both = [false, true].map(|confirm| (ID.to_owned(), confirm));
    assert_eq!(*done.lock().unwrap(), both);
}

#[test]
fn whatever_goes_wrong_says_what_to_type() {
    let bare = || Error::new(ErrorKind::Failed, "it is so").into_status();
    let known = || Script {
        syncs: [("app".to_owned(), sync("app", SyncState::Watching))].into(),
        pause_sync: Some(Box::new(move |_| Err(bare()))),
        resume_sync: Some(Box::new(move |_| Err(bare()))),
        reset_sync: Some(Box::new(move |_| Err(bare()))),
        delete_sync: Some(Box::new(move |_| Err(bare()))),
        preview_sync: Some(Box::new(move |_| Err(bare()))),
        flush_sync: Some(Box::new(|_| told([refused(ErrorKind::Failed, "it is so")]))),
        ..Script::default()
    };
    let fake = Fake::start(known());
    std::fs::create_dir(fake.home().path().join("here")).unwrap();
    for (args, hint) in [
        (&["pause", "app"][..], "outlast sync show app"),
        (&["resume", "app"], "outlast sync show app"),
        (&["reset", "app"], "outlast sync show app"),
        (&["remove", "app"], "outlast sync show app"),
        (&["flush", "app"], "outlast sync show app"),
        (&["show", "app", "--preview"], "outlast sync show app"),
        (&["show", "nosuch"], "outlast sync list"),
        (&["resume", "nosuch"], "outlast sync list"),
        (&["add", "here", "box:app"], "outlast daemon logs"),
        (
            &["add", "here", "box:app", "--limit", "x"],
            "outlast sync add --help",
        ),
        (
            &["add", "here", "box:app", "--mode", "x"],
            "outlast sync add --help",
        ),
        (&["add"], "outlast sync add [OPTIONS] [NAME] LOCAL HOST:PATH"),
    ] {
        let ran = fake.outlast(&[&["sync"], args].concat());
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(
            ran.err.ends_with(&format!("\nhint: {hint}\n")),
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn conflicts_can_be_decided_one_by_one() {
    let asked = Heard::default();
    let heard = Arc::clone(&asked);
    let fake = Fake::start(Script {
        syncs: [("app".to_owned(), sync("app", SyncState::Watching))].into(),
        reset_sync: Some(Box::new(move |request: outlast_client::v1::ResetSyncRequest| {
            heard
                .lock()
                .unwrap()
                .push((request.sync, request.adopt, request.paths));
            Ok(ResetSyncResponse {
                sync: Some(sync("app", SyncState::Watching)),
            })
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&[
        "sync",
        "reset",
        "app",
        "--adopt=./a b",
        "--adopt=/home/me/app/src/",
    ]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "sync app replaces what is there at a b, src\n"),
        "{ran:?}"
    );
    let paths = vec!["a b".to_owned(), "src".to_owned()];
    assert_eq!(*asked.lock().unwrap(), [(ID.to_owned(), true, paths)]);
    asked.lock().unwrap().clear();
    for args in [
        &["app", "--adopt="][..],
        &["app", "--adopt=/elsewhere"],
        &["app", "--adopt=a", "--adopt"],
        &["app", "web", "--adopt=a"],
    ] {
        let ran = fake.outlast(&[&["sync", "reset"], args].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("\nhint: outlast sync "), "{ran:?}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

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
    pty,
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
            "error: no sync is called nosuch\nsync app is paused; go on with: outlast sync resume app\n"
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
    assert!(done.lock().unwrap().is_empty());
    for flag in ["--confirm", "--yes"] {
        let ran = fake.outlast(&["sync", "resume", "app", flag]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(done.lock().unwrap().remove(0), (ID.to_owned(), true));
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
    assert!(done.lock().unwrap().is_empty());
    let mut pty = crate::pty(&fake, &["sync", "resume", "app"]);
    pty.wait_text("[y/N] ");
    pty.write(b"y\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(*done.lock().unwrap(), [(ID.to_owned(), true)]);
}

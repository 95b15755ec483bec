use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use outlast_store::{Notice, Opened, Store, StoreError};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    child::Role,
    fixture::{directory, files, files_like, image, job, open},
};

/// A closed store with jobs, events and, if wanted, a backup from before the last job; its epoch.
async fn made(jobs: u32, backup: bool) -> (TempDir, String) {
    let dir = directory();
    let store = open(dir.path());
    for _ in 0..jobs {
        store.create_job(&job(), None).await.unwrap();
    }
    if backup {
        store.backup().await.unwrap();
        store.create_job(&job(), None).await.unwrap();
    }
    let epoch = store.epoch().to_owned();
    store.close().await.unwrap();
    (dir, epoch)
}

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join("state.db")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

type Change = fn(&mut Vec<u8>);

/// Ways a database can be spoilt.
const WAYS: [(&str, Change); 7] = [
    ("a flipped byte in the header", |bytes| bytes[3] ^= 0xff),
    ("a zeroed header", |bytes| bytes[..100].fill(0)),
    ("a page of garbage", |bytes| bytes[4096..8192].fill(0xa5)),
    ("the schema's page spoilt", |bytes| bytes[100..120].fill(0xff)),
    ("cut in the middle", |bytes| bytes.truncate(bytes.len() / 2)),
    ("cut to nothing", Vec::clear),
    ("another program's file", |bytes| {
        *bytes = b"#!/bin/sh\n".repeat(1000);
    }),
];

#[tokio::test]
async fn a_damaged_database_is_set_aside_whole_and_the_backup_takes_its_place() {
    for (way, spoil) in WAYS {
        let (dir, epoch) = made(40, true).await;
        let spoilt = change(&database(&dir), spoil);
        let Opened { store, notice } = Store::open(dir.path()).unwrap();
        let Some(Notice::Restored {
            from,
            set_aside: Some(set_aside),
            ..
        }) = &notice
        else {
            panic!("{way}: {notice:?}");
        };
        assert!(from.starts_with(dir.path().join("backups")), "{way}");
        assert!(
            set_aside
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("state.db.corrupt-"),
            "{way}"
        );
        assert_eq!(
            fs::read(set_aside).unwrap(),
            spoilt,
            "{way}: nothing of it is lost"
        );
        assert_eq!(
            store.live_jobs().await.unwrap().len(),
            40,
            "{way}: as at the backup"
        );
        assert_ne!(store.epoch(), epoch, "{way}: events since the backup are gone");
        store.check().await.unwrap();
        store.create_job(&job(), None).await.unwrap();
        store.close().await.unwrap();
        let epoch = store.epoch().to_owned();
        assert_eq!(open(dir.path()).epoch(), epoch, "{way}: told once");
    }
}

#[tokio::test]
async fn without_a_backup_a_damaged_database_is_set_aside_and_an_empty_one_begins() {
    for (way, spoil) in WAYS {
        let (dir, epoch) = made(40, false).await;
        let spoilt = change(&database(&dir), spoil);
        let Opened { store, notice } = Store::open(dir.path()).unwrap();
        let Some(Notice::Rebuilt {
            set_aside: Some(set_aside),
            ..
        }) = &notice
        else {
            panic!("{way}: {notice:?}");
        };
        assert_eq!(
            fs::read(set_aside).unwrap(),
            spoilt,
            "{way}: nothing of it is lost"
        );
        assert_eq!(store.live_jobs().await.unwrap(), [], "{way}");
        assert_ne!(store.epoch(), epoch, "{way}");
        assert_eq!(*store.position().borrow(), 0, "{way}");
        let event = notice.as_ref().unwrap().event().unwrap();
        assert!(
            event
                .data
                .starts_with(r#"{"how":"rebuilt","set_aside":"state.db.corrupt-"#),
            "{}",
            event.data
        );
    }
}

#[tokio::test]
async fn garbage_in_any_page_is_noticed() {
    const PAGE: usize = 4096;
    let (dir, _) = made(40, true).await;
    let sound = fs::read(database(&dir)).unwrap();
    assert!(
        sound.len() > 12 * PAGE,
        "tables and indices have pages of their own"
    );
    let backup = files_like(&dir.path().join("backups"), "state-").remove(0);
    for page in 0..sound.len() / PAGE {
        let dir = directory();
        fs::create_dir(dir.path().join("backups")).unwrap();
        fs::copy(
            &backup,
            dir.path().join("backups").join(backup.file_name().unwrap()),
        )
        .unwrap();
        let mut spoilt = sound.clone();
        // In the first page, behind the header of the file.
        spoilt[(page * PAGE).max(100)..(page + 1) * PAGE].fill(0xa5);
        fs::write(database(&dir), spoilt).unwrap();
        let notice = Store::open(dir.path()).unwrap().notice;
        assert!(
            matches!(notice, Some(Notice::Restored { .. })),
            "page {page}: {notice:?}"
        );
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_damage() {
    let (dir, _) = made(3, true).await;
    let raw = Connection::open(database(&dir)).unwrap();
    raw.execute("UPDATE jobs SET command = '[' WHERE row = 2", [])
        .unwrap();
    drop(raw);
    let notice = Store::open(dir.path()).unwrap().notice;
    assert!(matches!(notice, Some(Notice::Restored { .. })), "{notice:?}");
}

#[tokio::test]
async fn a_spoilt_backup_is_passed_over() {
    let (dir, _) = made(1, true).await;
    let store = open(dir.path());
    let newest = store.backup().await.unwrap();
    store.close().await.unwrap();
    change(&newest, |bytes| bytes[4096..8192].fill(1));
    change(&database(&dir), Vec::clear);
    let Opened { store, notice } = Store::open(dir.path()).unwrap();
    match notice {
        Some(Notice::Restored { from, .. }) => assert_ne!(from, newest),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.live_jobs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_database_that_is_gone_comes_back_from_its_backup() {
    let (dir, _) = made(2, true).await;
    fs::remove_file(database(&dir)).unwrap();
    let Opened { store, notice } = Store::open(dir.path()).unwrap();
    assert!(
        matches!(notice, Some(Notice::Restored { set_aside: None, .. })),
        "{notice:?}"
    );
    assert_eq!(store.live_jobs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_log_without_its_database_is_not_taken_for_that_of_a_new_one() {
    let dir = directory();
    let store = open(dir.path());
    store.create_job(&job(), None).await.unwrap();
    let orphan = image(dir.path());
    fs::remove_file(database(&orphan)).unwrap();
    let Opened { store, notice } = Store::open(orphan.path()).unwrap();
    assert!(
        matches!(
            notice,
            Some(Notice::Rebuilt {
                set_aside: Some(_),
                ..
            })
        ),
        "{notice:?}"
    );
    assert_eq!(store.live_jobs().await.unwrap(), []);
    assert_eq!(files_like(orphan.path(), "state.db.corrupt-").len(), 1);
}

const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

#[tokio::test]
async fn a_damaged_log_keeps_what_came_before_and_begins_a_new_epoch() {
    let dir = directory();
    let store = open(dir.path());
    for _ in 0..20 {
        store.create_job(&job(), None).await.unwrap();
    }
    let ways: [(&str, Change); 3] = [
        ("a frame in the middle", |bytes| {
            let middle = LOG_HEADER + (bytes.len() - LOG_HEADER) / FRAME / 2 * FRAME;
            bytes[middle + 1000] ^= 1;
        }),
        ("the header", |bytes| bytes[13] ^= 1),
        ("no log at all", |bytes| *bytes = b"garbage!".repeat(600)),
    ];
    for (way, spoil) in ways {
        let image = image(dir.path());
        let log = image.path().join("state.db-wal");
        let spoilt = change(&log, spoil);
        let Opened {
            store: salvaged,
            notice,
        } = Store::open(image.path()).unwrap();
        let Some(Notice::Salvaged { set_aside, .. }) = notice else {
            panic!("{way}: {notice:?}")
        };
        let copy = PathBuf::from(format!("{}-wal", set_aside.display()));
        assert_eq!(fs::read(copy).unwrap(), spoilt, "{way}: nothing of it is lost");
        assert_ne!(salvaged.epoch(), store.epoch(), "{way}");
        let left = salvaged.live_jobs().await.unwrap().len();
        assert_eq!(left > 0, way == "a frame in the middle", "{way}: {left}");
        assert!(left < 20, "{way}");
        salvaged.check().await.unwrap();
        salvaged.close().await.unwrap();
        open(image.path());
    }
}

#[tokio::test]
async fn a_log_cut_by_a_kill_is_no_damage() {
    let dir = directory();
    let store = open(dir.path());
    for _ in 0..20 {
        store.create_job(&job(), None).await.unwrap();
    }
    let ways: [(&str, Change); 3] = [
        ("cut within a frame", |bytes| bytes.truncate(bytes.len() - 100)),
        ("the last frame half written", |bytes| {
            let from = bytes.len() - 2000;
            bytes[from..].fill(0);
        }),
        ("frames of an older log behind", |bytes| {
            let frame = vec![7; FRAME];
            bytes.extend(frame);
        }),
    ];
    for (way, cut) in ways {
        let image = image(dir.path());
        change(&image.path().join("state.db-wal"), cut);
        let reopened = open(image.path());
        assert_eq!(reopened.epoch(), store.epoch(), "{way}");
        assert!(reopened.live_jobs().await.unwrap().len() >= 19, "{way}");
    }
}

fn hashes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let hash = |name: String| {
        let digest = Sha256::digest(fs::read(dir.join(&name)).unwrap()).to_vec();
        (name, digest)
    };
    files(dir).into_iter().map(hash).collect()
}

#[tokio::test]
async fn a_newer_database_is_refused_and_not_touched() {
    let (dir, _) = made(2, false).await;
    let raw = Connection::open(database(&dir)).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    // Newer in the log only, as a kill right after an upgrade leaves it.
    let in_log = image(dir.path());
    let bytes = fs::read(database(&in_log)).unwrap();
    assert_ne!(
        bytes[60..64],
        99_u32.to_be_bytes(),
        "the file itself still says the old schema"
    );
    raw.close().unwrap();
    for dir in [dir, in_log] {
        let before = hashes(dir.path());
        for _ in 0..2 {
            match Store::open(dir.path()) {
                Err(error @ StoreError::Newer { found: 99, .. }) => {
                    assert!(error.to_string().contains("schema 99"), "{error}");
                    assert!(error.hint().is_some());
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(hashes(dir.path()), before);
        }
    }
}

#[tokio::test]
async fn places_that_cannot_be_written_are_named_and_nothing_is_set_aside() {
    let (dir, _) = made(1, true).await;
    let place = directory();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for entry in ["", "state.db"] {
        // Everyone may look, nobody may write.
        let mode = if entry.is_empty() { 0o555 } else { 0o444 };
        fs::set_permissions(dir.path().join(entry), fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = Role::start_unprivileged("open", dir.path(), place.path())
        .next_line()
        .unwrap();
    assert!(said.starts_with("ReadOnly"), "a directory: {said}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let said = Role::start_unprivileged("open", dir.path(), place.path())
        .next_line()
        .unwrap();
    assert!(
        said.starts_with("ReadOnly") && said.contains("state.db"),
        "a file: {said}"
    );
    assert_eq!(files_like(dir.path(), "state.db"), [database(&dir)]);
}

#[tokio::test]
async fn a_directory_in_its_place_is_an_error_and_stays() {
    let dir = directory();
    fs::create_dir(dir.path().join("state.db")).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("state.db"), "{error}");
    assert!(dir.path().join("state.db").is_dir());
}

#[tokio::test]
async fn a_database_another_program_writes_is_busy_and_one_it_reads_opens() {
    let (dir, _) = made(1, true).await;
    let mut other = Role::start("hold for reading", dir.path());
    assert_eq!(other.next_line().unwrap(), "held");
    let store = open(dir.path());
    store.create_job(&job(), None).await.unwrap();
    store.close().await.unwrap();
    other.kill();
    let mut other = Role::start("hold for writing", dir.path());
    assert_eq!(other.next_line().unwrap(), "held");
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    assert_eq!(files_like(dir.path(), "state.db.corrupt").len(), 0);
}

#[tokio::test]
async fn every_file_is_private_and_stays_so() {
    let (dir, _) = made(1, true).await;
    fs::set_permissions(database(&dir), fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(dir.path());
    store.create_job(&job(), None).await.unwrap();
    store.backup().await.unwrap();
    let mut seen = 0;
    for file in ["", "backups"]
        .iter()
        .flat_map(|sub| files_like(&dir.path().join(sub), "state"))
    {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
        seen += 1;
    }
    assert!(seen >= 5, "database, log, index and two backups");
    let mode = fs::metadata(dir.path().join("backups"))
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o700);
}

#[tokio::test]
async fn the_last_three_backups_are_kept() {
    let dir = directory();
    let store = open(dir.path());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(store.backup().await.unwrap());
    }
    assert_eq!(files_like(&dir.path().join("backups"), "state-"), made[2..]);
    assert_eq!(
        files(&dir.path().join("backups")).len(),
        3,
        "and nothing half-written"
    );
}

#[tokio::test]
async fn a_closed_store_refuses() {
    let dir = directory();
    let store = open(dir.path());
    let clone = store.clone();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(
        clone.create_job(&job(), None).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(clone.live_jobs().await, Err(StoreError::Closed)));
}

//! Opening the database, whatever lies in its place.
//!
//! ```text
//!   absent ──► new                         sound ──► open       old ──► backup, migrate, open
//!   newer  ──► refused, untouched          log damaged ──► copy set aside, keep the rest, new epoch
//!   damaged, or absent with backups ──► set aside, newest good backup or new, new epoch
//! ```
//!
//! A database is put in place by a rename when it is complete, so that a kill at any moment leaves one of these cases
//! and never half of one.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::{
    backup,
    damage::{self, Found},
    database,
    error::StoreError,
    files, meta,
    notice::Notice,
};

/// File name of the database.
const FILE: &str = "state.db";
/// What a database has beside its file.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// The opened database.
pub(crate) struct OpenedFile {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) epoch: String,
    pub(crate) newest: u64,
    pub(crate) notice: Option<Notice>,
}

/// Opens the database in a directory.
pub(crate) fn open(dir: &Path, steps: &'static [&'static str]) -> Result<OpenedFile, StoreError> {
    files::private_directory(dir)?;
    let path = dir.join(FILE);
    let fresh = dir.join(format!("{FILE}.new"));
    must_be_writable(&fresh)?;
    let known = database::version(steps);
    let (version, mut notice) = match damage::inspect(&path, known)? {
        Found::Newer { version } => {
            return Err(StoreError::Newer {
                path,
                found: version,
                known,
            });
        }
        Found::Sound { version } => (version, None),
        Found::Torn { version, why } => {
            let set_aside = copy_aside(&path)?;
            (version, Some(Notice::Salvaged { set_aside, why }))
        }
        Found::Damaged { why } => {
            let set_aside = set_aside(&path)?;
            (known, Some(replace(&path, &fresh, steps, set_aside, why)?))
        }
        Found::Absent => {
            let leavings = set_aside(&path)?;
            if leavings.is_some() || !backup::all(&path)?.is_empty() {
                let why = "it is gone".to_owned();
                (known, Some(replace(&path, &fresh, steps, leavings, why)?))
            } else {
                build(&path, &fresh, steps)?;
                (known, None)
            }
        }
    };
    for file in std::iter::once("").chain(COMPANIONS) {
        files::make_private(&files::with_suffix(&path, file))?;
    }
    let mut connection =
        database::open_existing(&path).map_err(|source| StoreError::sqlite("opening", &path, source))?;
    if version < known {
        let backup = backup::before_migration(&path, version)?;
        migrate(&mut connection, &path, version, steps)?;
        notice = notice.or(Some(Notice::Migrated {
            from: version,
            to: known,
            backup,
        }));
    }
    let salvaged = matches!(notice, Some(Notice::Salvaged { .. }));
    let (epoch, newest) =
        take_over(&connection, salvaged).map_err(|source| StoreError::sqlite("opening", &path, source))?;
    Ok(OpenedFile {
        connection,
        path,
        epoch,
        newest,
        notice,
    })
}

/// Fails when nothing can be made in the directory; clears what a killed attempt left.
fn must_be_writable(fresh: &Path) -> Result<(), StoreError> {
    for companion in ["", "-wal", "-shm", "-journal"] {
        files::remove(&files::with_suffix(fresh, companion))?;
    }
    files::create_private(fresh)?;
    files::remove(fresh)
}

/// Makes a connection the writer; the epoch, and the newest event number.
fn take_over(connection: &Connection, lost_events: bool) -> rusqlite::Result<(String, u64)> {
    database::prepare_writer(connection)?;
    let may_lack_events = database::mark_open(connection)?;
    if lost_events || may_lack_events {
        meta::begin_epoch(connection)?;
    }
    // It was there when the database was looked at.
    let epoch = meta::epoch(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok((epoch, database::newest_event(connection)?))
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    from: u32,
    steps: &'static [&'static str],
) -> Result<(), StoreError> {
    database::migrate(connection, steps).map_err(|detail| StoreError::Migration {
        path: path.to_owned(),
        from,
        to: database::version(steps),
        detail,
    })
}

/// Moves a database that cannot be used out of the way, with what belongs to it; where it is now, if anything was
/// there.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let target = aside(path);
    let mut found = false;
    for companion in std::iter::once("").chain(COMPANIONS) {
        found |= files::rename(
            &files::with_suffix(path, companion),
            &files::with_suffix(&target, companion),
        )?;
    }
    if found {
        files::sync_directory(path)?;
    }
    Ok(found.then_some(target))
}

/// Copies a database and its log out of the way.
fn copy_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let target = aside(path);
    // The index file is only a cache of the log.
    for companion in ["", "-wal"] {
        files::copy_private(
            &files::with_suffix(path, companion),
            &files::with_suffix(&target, companion),
        )?;
    }
    Ok(target)
}

fn aside(path: &Path) -> PathBuf {
    let directory = path.parent().unwrap_or(Path::new("."));
    files::unused(directory, &format!("{FILE}.corrupt-{}", files::stamp()), "")
}

/// Puts the newest good backup in place, or else an empty database.
fn replace(
    path: &Path,
    fresh: &Path,
    steps: &'static [&'static str],
    set_aside: Option<PathBuf>,
    why: String,
) -> Result<Notice, StoreError> {
    for from in backup::all(path)? {
        files::copy_private(&from, fresh)?;
        if let Found::Sound { version } = damage::inspect(fresh, database::version(steps))? {
            finish(path, fresh, version, steps)?;
            return Ok(Notice::Restored { from, set_aside, why });
        }
        files::remove(fresh)?;
    }
    build(path, fresh, steps)?;
    Ok(Notice::Rebuilt { set_aside, why })
}

/// Puts an empty database in place.
fn build(path: &Path, fresh: &Path, steps: &'static [&'static str]) -> Result<(), StoreError> {
    files::create_private(fresh)?;
    finish(path, fresh, 0, steps)
}

/// Brings the fresh file to the present schema and a new epoch, and puts it in place.
fn finish(path: &Path, fresh: &Path, version: u32, steps: &'static [&'static str]) -> Result<(), StoreError> {
    let failed = |source| StoreError::sqlite("making", fresh, source);
    let mut connection = database::open_or_create(fresh).map_err(failed)?;
    database::prepare_writer(&connection).map_err(failed)?;
    migrate(&mut connection, fresh, version, steps)?;
    meta::begin_epoch(&connection).map_err(failed)?;
    database::close(connection, fresh)?;
    files::settle(fresh, path)
}

//! Telling a sound database from a newer, a damaged and an absent one, without changing a byte of it.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, config::DbConfig};

use crate::{database, error::StoreError, files, meta, rows, wal};

/// What lies in the place of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Absent,
    /// A usable database of this schema.
    Sound { version: u32 },
    /// A usable database whose write-ahead log is damaged: the newest commits are missing.
    Torn { version: u32, why: String },
    /// A database of a later schema.
    Newer { version: u32 },
    /// Something else.
    Damaged { why: String },
}

/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Length of the header of a SQLite file.
const HEADER: usize = 100;
/// Where the header has the schema number.
const VERSION_AT: usize = 60;

/// Looks at the place of the database. Errors mean that it cannot be told now (permissions, I/O, another program
/// holds it), never damage.
pub(crate) fn inspect(path: &Path, known: u32) -> Result<Found, StoreError> {
    let failed = |source| StoreError::io("opening", path, source);
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Absent),
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut header = [0; HEADER];
    if length < 512 {
        return Ok(Found::Damaged {
            why: format!("it is only {length} bytes long"),
        });
    }
    file.read_exact(&mut header).map_err(failed)?;
    drop(file);
    if !header.starts_with(MAGIC) {
        return Ok(Found::Damaged {
            why: "it does not begin like a SQLite database".to_owned(),
        });
    }
    // Before SQLite may touch it at all.
    if let Some(version) = header_version(&header).filter(|version| *version > known) {
        return Ok(Found::Newer { version });
    }
    let log = files::with_suffix(path, "-wal");
    let torn = wal::damage(&log).map_err(|source| StoreError::io("reading", &log, source))?;
    Ok(match (probe(path, known)?, torn) {
        (Found::Sound { version }, Some(why)) => Found::Torn { version, why },
        (found, _) => found,
    })
}

fn header_version(header: &[u8; HEADER]) -> Option<u32> {
    let bytes = header.get(VERSION_AT..VERSION_AT + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// Lets SQLite look, through the write-ahead log if there is one. Nothing is written: the connection is alone, so it
/// needs no shared index file, and it leaves the log as it is when it closes.
fn probe(path: &Path, known: u32) -> Result<Found, StoreError> {
    let looked = match look(path, known, true) {
        // Another program reads the database; share it with that.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => look(path, known, false),
        looked => looked,
    };
    match looked.map_err(|source| StoreError::sqlite("checking", path, source)) {
        Err(StoreError::Damaged { detail, .. }) => Ok(Found::Damaged { why: detail }),
        looked => looked,
    }
}

fn look(path: &Path, known: u32, alone: bool) -> rusqlite::Result<Found> {
    let connection = database::open_existing(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if alone {
        // Whoever is there stays longer than is worth waiting for.
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = u32::try_from(version).unwrap_or(u32::MAX);
    if version > known {
        return Ok(Found::Newer { version });
    }
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if version == 0 || application != database::APPLICATION_ID {
        return Ok(Found::Damaged {
            why: "it holds no state of outlast".to_owned(),
        });
    }
    if let Some(why) = quick_check(&connection)? {
        return Ok(Found::Damaged { why });
    }
    Ok(match unreadable(&connection, version == known)? {
        Some(why) => Found::Damaged { why },
        None => Found::Sound { version },
    })
}

/// What SQLite finds wrong with a database, if anything. Reads all of it.
pub(crate) fn quick_check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let finding: Option<String> = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .optional()?;
    Ok(finding.filter(|finding| finding != "ok"))
}

/// Whether what SQLite takes for sound makes no sense to us. Rows are read only when they are of the present schema.
fn unreadable(connection: &Connection, present: bool) -> rusqlite::Result<Option<String>> {
    let tables: u32 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
         AND name IN ('meta', 'jobs', 'sessions', 'events', 'requests')",
        [],
        |row| row.get(0),
    )?;
    if tables != 5 || meta::epoch(connection)?.is_none() {
        return Ok(Some("some of its tables are missing".to_owned()));
    }
    if !present {
        return Ok(None);
    }
    let jobs = format!("SELECT {} FROM jobs", rows::JOB);
    let mut jobs = connection.prepare(&jobs)?;
    let bad_job = jobs.query_map([], rows::job)?.find_map(Result::err);
    let sessions = format!("SELECT {} FROM sessions", rows::SESSION);
    let mut sessions = connection.prepare(&sessions)?;
    let bad_session = sessions.query_map([], rows::session)?.find_map(Result::err);
    match bad_job.or(bad_session).or(bad_sync(connection)?) {
        None => Ok(None),
        // The disk may fail here too; only what was read and makes no sense is damage.
        Some(error) if error.sqlite_error_code().is_some() => Err(error),
        Some(error) => Ok(Some(format!("a row cannot be read: {error}"))),
    }
}

/// The first sync that cannot be read. The table came later than the others.
fn bad_sync(connection: &Connection) -> rusqlite::Result<Option<rusqlite::Error>> {
    if !connection.table_exists(None, "syncs")? {
        return Ok(None);
    }
    let syncs = format!("SELECT {} FROM syncs", rows::SYNC);
    let mut syncs = connection.prepare(&syncs)?;
    Ok(syncs.query_map([], rows::sync)?.find_map(Result::err))
}

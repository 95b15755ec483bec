//! Connections and what they are set to; the schema and its migrations.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};
use rusqlite_migration::{M, Migrations};

use crate::{boot, error::StoreError, meta};

/// Marks a database as ours ("outl").
pub(crate) const APPLICATION_ID: i32 = 0x6f75_746c;

/// The steps of the schema, oldest first. A released one is never edited, only followed by another.
pub(crate) const STEPS: &[&str] = &[
    include_str!("../migrations/0001_spine.sql"),
    include_str!("../migrations/0002_hosts.sql"),
    include_str!("../migrations/0003_away.sql"),
    include_str!("../migrations/0004_syncs.sql"),
    include_str!("../migrations/0005_activity.sql"),
    include_str!("../migrations/0006_providers.sql"),
];

/// Pages a connection keeps, in KiB (negative: KiB, not pages). The whole daemon has 15 MB, and the hot part of the
/// database is small.
const CACHE_KIB: i64 = -512;
/// Pages in the write-ahead log after which a commit also moves it into the database: 2 MiB.
const CHECKPOINT_PAGES: i64 = 512;
/// What the write-ahead log is cut to after that, bytes.
const WAL_LIMIT: i64 = 4 << 20;
/// How long a connection waits for a foreign program (a shell, a backup tool) that holds the database.
const FOREIGN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a close waits for foreign readers before it leaves the log as it is; the whole daemon has 5 s to end.
const CLOSE_PATIENCE: Duration = Duration::from_millis(250);

/// How many steps there are.
pub(crate) fn version(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// Opens an existing database for writing, without setting anything in it.
pub(crate) fn open_existing(path: &Path) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens or makes a database for writing, without setting anything in it.
pub(crate) fn open_or_create(path: &Path) -> rusqlite::Result<Connection> {
    open(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(FOREIGN_PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// Makes a connection the writer.
pub(crate) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    connection.set_prepared_statement_cache_capacity(48);
    Ok(())
}

/// Opens a reading connection.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let open = || {
        let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.set_prepared_statement_cache_capacity(24);
        Ok(connection)
    };
    open().map_err(|source| StoreError::sqlite("opening for reading", path, source))
}

/// Brings a database to the newest step; each step is one transaction.
pub(crate) fn migrate(connection: &mut Connection, steps: &'static [&'static str]) -> Result<(), String> {
    let migrations = Migrations::new(steps.iter().map(|step| M::up(step)).collect());
    migrations
        .to_latest(connection)
        .map_err(|error| error.to_string())?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(|error| error.to_string())
}

/// The newest event number ever given, 0 before the first.
pub(crate) fn newest_event(connection: &Connection) -> rusqlite::Result<u64> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(newest.and_then(|newest| u64::try_from(newest).ok()).unwrap_or(0))
}

/// Notes that the database is in use during this boot of the machine. The result is whether what was published
/// before may be missing from it: it was in use when the machine went down, and only some commits are flushed.
pub(crate) fn mark_open(connection: &Connection) -> rusqlite::Result<bool> {
    let before = meta::get(connection, meta::OPEN_IN_BOOT)?;
    let now = boot::id();
    meta::set(connection, meta::OPEN_IN_BOOT, &now)?;
    Ok(before.is_some_and(|before| before != now))
}

/// Ends the use of a database: nothing is left in the write-ahead log, and the next open knows that nothing is
/// missing.
pub(crate) fn close(connection: Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::sqlite("closing", path, source);
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    meta::remove(&connection, meta::OPEN_IN_BOOT).map_err(failed)?;
    connection.busy_timeout(CLOSE_PATIENCE).map_err(failed)?;
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))
        .map_err(failed)?;
    connection.flush_prepared_statement_cache();
    connection.close().map_err(|(_connection, source)| failed(source))
}

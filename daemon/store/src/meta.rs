//! Facts about the database itself.

use outlast_model::id::Id;
use rusqlite::{Connection, OptionalExtension};

/// Which numbering the events belong to.
const EPOCH: &str = "epoch";
/// Present while the database is in use: the boot of the machine it is used in.
pub(crate) const OPEN_IN_BOOT: &str = "open_in_boot";

pub(crate) fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

pub(crate) fn set(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            [key, value],
        )
        .map(drop)
}

pub(crate) fn remove(connection: &Connection, key: &str) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM meta WHERE key = ?1", [key])
        .map(drop)
}

/// Begins a new epoch. Event numbers go on, so that none is given twice in the same file either.
pub(crate) fn begin_epoch(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, EPOCH, &Id::random().to_string())
}

/// The present epoch. A database without one is damaged.
pub(crate) fn epoch(connection: &Connection) -> rusqlite::Result<Option<String>> {
    get(connection, EPOCH)
}

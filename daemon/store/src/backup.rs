//! Checked copies of the database in `backups/`, private, the newest few of each kind.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{damage, database, error::StoreError, files};

/// Where the copies lie, beside the database.
const DIRECTORY: &str = "backups";
/// Copies kept of each kind.
const KEPT: usize = 3;
/// How the name of a routine copy begins; the time follows.
const ROUTINE: &str = "state-";
/// How the name of a copy from before a migration begins; schema and time follow.
const BEFORE: &str = "schema";
/// How the names of copies end. What is still being written ends otherwise.
const END: &str = ".db";

/// A copy now and then.
pub(crate) fn routine(database: &Path) -> Result<PathBuf, StoreError> {
    copy(database, ROUTINE)
}

/// A copy from before the database leaves schema `version`.
pub(crate) fn before_migration(database: &Path, version: u32) -> Result<PathBuf, StoreError> {
    copy(database, &format!("{BEFORE}{version}-"))
}

/// All copies, newest first.
pub(crate) fn all(database: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let directory = files::beside(database, DIRECTORY);
    let failed = |source| StoreError::io("listing", &directory, source);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if let Some((kind, time)) = name.to_str().and_then(parts) {
            found.push((time.to_owned(), kind.to_owned(), directory.join(&name)));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, _, path)| path).collect())
}

/// Kind and time of a copy, from its file name.
fn parts(name: &str) -> Option<(&str, &str)> {
    let (kind, time) = name.strip_suffix(END)?.split_once('-')?;
    (kind == ROUTINE.trim_end_matches('-') || kind.starts_with(BEFORE)).then_some((kind, time))
}

fn copy(database: &Path, kind: &str) -> Result<PathBuf, StoreError> {
    let directory = files::beside(database, DIRECTORY);
    files::private_directory(&directory)?;
    let target = files::unused(&directory, &format!("{kind}{}", files::stamp()), END);
    let partial = files::beside(&target, &format!("{kind}partial"));
    files::remove(&partial)?;
    // SQLite takes an empty file as the target of a copy, so that the mode is right from the first byte.
    files::create_private(&partial)?;
    let failed = |source| StoreError::sqlite("backing up", &partial, source);
    let source = database::open_existing(database)
        .map_err(|source| StoreError::sqlite("opening for a backup", database, source))?;
    let into = partial.to_str().ok_or_else(|| {
        let source = std::io::Error::new(ErrorKind::InvalidInput, "the path is not UTF-8");
        StoreError::io("backing up", &partial, source)
    })?;
    let written = source.execute("VACUUM INTO ?1", [into]).map_err(failed);
    // Closed in any case, before anything else touches the files.
    drop(source);
    if let Err(error) = written.and_then(|_rows| verify(&partial)) {
        files::remove(&partial)?;
        return Err(error);
    }
    files::settle(&partial, &target)?;
    forget_old(database)?;
    Ok(target)
}

fn verify(copy: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::sqlite("checking the backup", copy, source);
    let connection = database::open_existing(copy).map_err(failed)?;
    match damage::quick_check(&connection).map_err(failed)? {
        None => Ok(()),
        Some(detail) => Err(StoreError::Damaged {
            path: copy.to_owned(),
            action: "checking the backup",
            detail,
        }),
    }
}

/// Removes all but the newest few of each kind.
fn forget_old(database: &Path) -> Result<(), StoreError> {
    let is_routine = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(ROUTINE))
    };
    let (routine, before): (Vec<_>, Vec<_>) = all(database)?.into_iter().partition(is_routine);
    for old in routine.iter().skip(KEPT).chain(before.iter().skip(KEPT)) {
        files::remove(old)?;
    }
    Ok(())
}

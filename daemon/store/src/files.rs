//! Files of the store: private, and settled on the disk before they count.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::error::StoreError;

/// A path in the same directory.
pub(crate) fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent()
        .map_or_else(|| PathBuf::from(name), |directory| directory.join(name))
}

/// The same path with something added to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Now, for file names: sorts by time, has no dash.
pub(crate) fn stamp() -> String {
    Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// A path in a directory that nothing has yet.
pub(crate) fn unused(directory: &Path, name: &str, end: &str) -> PathBuf {
    let first = directory.join(format!("{name}{end}"));
    // In the same millisecond at most a few are made.
    let mut others = (2..1000).map(|number| directory.join(format!("{name}.{number}{end}")));
    if is_free(&first) {
        first
    } else {
        others.find(|path| is_free(path)).unwrap_or(first)
    }
}

fn is_free(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

/// Makes a directory only its owner can enter. An existing one is left as it is.
pub(crate) fn private_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StoreError::io("making the directory", path, source))
}

/// Makes an empty file only its owner can read.
pub(crate) fn create_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map(drop)
        .map_err(|source| StoreError::io("making", path, source))
}

/// Takes a file from everyone but its owner. It need not be there.
pub(crate) fn make_private(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("making private", path, source);
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o777 == 0o600 => Ok(()),
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Copies a file; the copy is new and private.
pub(crate) fn copy_private(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut input = File::open(from).map_err(|source| StoreError::io("reading", from, source))?;
    let failed = |source| StoreError::io("copying", to, source);
    let mut output = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(failed)?;
    std::io::copy(&mut input, &mut output).map_err(failed)?;
    output.sync_all().map_err(failed)
}

/// Removes a file. It need not be there.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io("removing", path, error)),
        _ => Ok(()),
    }
}

/// Renames a file. It need not be there; whether it was.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("setting aside", from, error)),
    }
}

/// Puts a finished file in its place: its content and its name are on the disk when this returns.
pub(crate) fn settle(finished: &Path, target: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("putting in place", target, source);
    File::open(finished)
        .and_then(|file| file.sync_all())
        .map_err(failed)?;
    fs::rename(finished, target).map_err(failed)?;
    sync_directory(target)
}

/// Puts the names in a file's directory on the disk.
pub(crate) fn sync_directory(of: &Path) -> Result<(), StoreError> {
    let Some(directory) = of.parent() else {
        return Ok(());
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StoreError::io("flushing", directory, source))
}

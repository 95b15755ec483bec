//! The helper as a file among others on a host: that it arrived whole, and that old ones do not stay for ever.
//!
//! Helpers lie in `outlast/helper/` of the user's cache directory, named by their hash, as the daemon's bootstrap puts
//! them there. Several daemons of several versions may use one directory, and several machines share it on a network.

use std::{
    collections::HashSet,
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

/// Exit code of `verify` when it is another program: unlike every code of a program that does not run at all.
pub const ANOTHER: u8 = 3;

/// How installed helpers are named, before the first 16 digits of their SHA-256.
pub const PREFIX: &str = "outlast-helper-";

/// How files are named that are still arriving.
pub const ARRIVING: &str = ".new-";

/// How long a helper is kept that nobody started: a daemon that is used once a month finds it still there.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a file may take to arrive; it is a leftover then.
const ARRIVES_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 64 << 10];
    let mut hasher = Sha256::new();
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(format!("{:x}", hasher.finalize()))
}

/// The name of an installed helper with this hash.
#[must_use]
pub fn name(hash: &str) -> String {
    format!("{PREFIX}{}", hash.get(..16).unwrap_or(hash))
}

/// `outlast-helper verify SHA256`: whether this very program is the one with that hash.
///
/// # Errors
/// When it cannot be read.
pub fn verify(wanted: &OsStr) -> io::Result<bool> {
    let found = hash(&env::current_exe()?)?;
    Ok(*wanted == *found)
}

/// Notes that this helper is used, and removes the ones beside it that were not for long. Does nothing where this is no
/// installed helper. What fails is left for the next time.
pub fn look_after() {
    let Ok(own) = env::current_exe() else { return };
    let Some(dir) = own.parent().filter(|_| is_installed(&own)) else {
        return;
    };
    touch(&own);
    // Another version that runs here may be one that another machine sees unused for long.
    let running = running();
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str().filter(|_| path != own) else {
            continue;
        };
        let Ok(file) = entry.metadata() else { continue };
        let unused = file
            .modified()
            .ok()
            .and_then(|used| SystemTime::now().duration_since(used).ok())
            .unwrap_or_default();
        if is_helper_name(name) && running.contains(&(file.dev(), file.ino())) {
            touch(&path);
        } else if is_helper_name(name) && unused > UNUSED
            || name.starts_with(ARRIVING) && unused > ARRIVES_WITHIN
        {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_installed(own: &Path) -> bool {
    let named = own
        .file_name()
        .and_then(OsStr::to_str)
        .is_some_and(is_helper_name);
    named && own.parent().is_some_and(|dir| dir.ends_with("outlast/helper"))
}

fn is_helper_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn touch(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// The files of all programs that run, as far as they can be seen, by device and number.
fn running() -> HashSet<(u64, u64)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashSet::new();
    };
    let exe = |entry: fs::DirEntry| -> Option<PathBuf> {
        let name = entry.file_name();
        name.to_str()?.parse::<u32>().ok()?;
        Some(entry.path().join("exe"))
    };
    entries
        .flatten()
        .filter_map(exe)
        .filter_map(|exe| fs::metadata(exe).ok())
        .map(|file| (file.dev(), file.ino()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_helpers_are_taken_for_helpers() {
        assert!(is_helper_name(&name(&"0123456789abcdef".repeat(4))));
        for other in [
            "outlast-helper",
            "outlast-helper-",
            "outlast-helper-x86_64-linux-musl",
            "a",
        ] {
            assert!(!is_helper_name(other), "{other}");
        }
        assert!(is_installed(Path::new(
            "/home/u/.cache/outlast/helper/outlast-helper-0123456789abcdef"
        )));
        assert!(!is_installed(Path::new(
            "/usr/lib/outlast/outlast-helper-0123456789abcdef"
        )));
    }

    #[test]
    fn a_hash_is_the_known_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(&file).unwrap(), known);
        assert_eq!(name(known), "outlast-helper-ba7816bf8f01cfea");
    }
}

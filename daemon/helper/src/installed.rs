//! The helper as a file among others on a host: that it arrived whole, that it is there while it is used, and that old
//! ones do not stay for ever.
//!
//! Helpers lie in `outlast/helper/` of the user's cache directory, named by their hash, as the daemon's bootstrap puts
//! them there. Several daemons of several versions may use one directory, and several machines share it on a network.

use std::{
    collections::HashSet,
    env,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use tokio::{task::spawn_blocking, time::sleep};
use uuid::Uuid;

/// Exit code of `verify` when it is another program: unlike every code of a program that does not run at all.
pub const ANOTHER: u8 = 3;

/// How installed helpers are named, before the first 16 digits of their SHA-256.
pub const PREFIX: &str = "outlast-helper-";

/// How files are named that are still arriving.
pub const ARRIVING: &str = ".new-";

/// How long a helper is kept that nobody started: a daemon that is used once a month finds it still there.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often a helper that serves says that it is used: a connection can live for longer than [`UNUSED`], and another
/// machine with the same home cannot see what runs here.
const USED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The program that runs, whatever became of its file.
const OWN_PROGRAM: &str = "/proc/self/exe";

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

/// Notes that this helper, a file of this name, is used, for as long as it is waited for, and removes at once the ones
/// beside it that were not used for long. Ends at once where this is no installed helper. What fails is left for the next
/// time.
pub async fn look_after(own: PathBuf) {
    if !is_installed(&own) {
        return;
    }
    let swept = own.clone();
    // It ends by itself, and nobody waits for it.
    drop(spawn_blocking(move || {
        touch(&swept);
        // Another version that runs here may be one that another machine sees unused for long.
        if let Some(running) = running(Path::new("/proc")) {
            sweep(&swept, &running);
        }
    }));
    loop {
        sleep(USED_EVERY).await;
        touch(&own);
    }
}

/// Puts the file of this helper back where somebody removed it, as those who clear caches do: what a connection starts
/// needs it, and a new one would bring it. Does nothing where this is no installed helper.
///
/// # Errors
/// When it cannot be written there.
pub async fn put_back(own: &Path) -> io::Result<()> {
    if !is_installed(own) || fs::exists(own)? {
        return Ok(());
    }
    let own = own.to_owned();
    let put = spawn_blocking(move || copy(Path::new(OWN_PROGRAM), &own));
    put.await.map_err(io::Error::other)?
}

/// Copies a program to where a helper is installed, if it is the one that the name there tells of.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let dir = to.parent().filter(|_| is_installed(to));
    let dir = dir.ok_or(io::ErrorKind::InvalidInput)?;
    if to.file_name() != Some(OsStr::new(&name(&hash(from)?))) {
        return Err(io::Error::other("the program that runs is another"));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let arriving = dir.join(format!("{ARRIVING}{}", Uuid::new_v4()));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(&arriving)?;
        io::copy(&mut File::open(from)?, &mut file)?;
        drop(file);
        fs::rename(&arriving, to)
    })();
    if written.is_err() {
        // What cannot be removed either is swept one day.
        let _ = fs::remove_file(&arriving);
    }
    written
}

/// Removes helpers beside this one that were not used for long and do not run.
fn sweep(own: &Path, running: &HashSet<(u64, u64)>) {
    let Some(Ok(entries)) = own.parent().map(fs::read_dir) else {
        return;
    };
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

/// The files of all programs that run, as far as they can be seen, by device and number. None: not even our own can be
/// seen there.
fn running(proc: &Path) -> Option<HashSet<(u64, u64)>> {
    let entries = fs::read_dir(proc).ok()?;
    let of = |file: fs::Metadata| (file.dev(), file.ino());
    let own = of(fs::metadata(OWN_PROGRAM).ok()?);
    let exe = |entry: fs::DirEntry| -> Option<PathBuf> {
        let name = entry.file_name();
        name.to_str()?.parse::<u32>().ok()?;
        Some(entry.path().join("exe"))
    };
    let running: HashSet<_> = entries
        .flatten()
        .filter_map(exe)
        .filter_map(|exe| fs::metadata(exe).ok())
        .map(of)
        .collect();
    running.contains(&own).then_some(running)
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

    #[test]
    fn where_processes_cannot_be_seen_none_is_taken_for_ended() {
        assert!(running(Path::new("/proc")).is_some());
        let empty = tempfile::tempdir().unwrap();
        assert!(running(empty.path()).is_none());
        assert!(running(&empty.path().join("none")).is_none());
    }

    #[test]
    fn a_helper_is_put_back_whole_and_only_under_its_own_name() {
        let temp = tempfile::tempdir().unwrap();
        let from = temp.path().join("program");
        fs::write(&from, "a program").unwrap();
        let dir = temp.path().join("outlast/helper");
        let to = dir.join(name(&hash(&from).unwrap()));
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"a program");
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        fs::write(&from, "another program").unwrap();
        fs::remove_file(&to).unwrap();
        drop(copy(&from, &to).unwrap_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}

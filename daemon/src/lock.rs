//! What makes a daemon *the* daemon of its user: the state directory, its lock, and its id.
//!
//! The lock is taken before anything else is looked at, is held for as long as the process lives, and is released by
//! the kernel whatever becomes of it. The file is never removed: two processes could then hold two locks of one name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use outlast_client::{
    paths::{LockNote, Places},
    socket::{SocketError, private_dir},
};
use outlast_model::id::Id;
use rustix::{
    fs::FlockOperation,
    process::{Pid, test_kill_process},
};

/// How long a lock may outlive its daemon: a program that was just being started when the daemon was killed has it until it
/// becomes that program.
const LET_GO_WITHIN: Duration = Duration::from_secs(2);

/// Why there is no lock, or no id.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The state directory cannot be had.
    #[error(transparent)]
    Directory(#[from] SocketError),
    /// Another daemon of this user runs.
    #[error("outlastd already runs{}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held {
        /// Its process id, once it serves.
        pid: Option<u32>,
    },
    /// The id of this installation is damaged.
    #[error("{} does not hold an id", .0.display())]
    BadId(PathBuf),
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, in the gerund.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Io { action, path, source }
}

/// Whether there is no such process any more.
fn is_dead(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// Waits a while for the lock. Whether we have it now.
fn is_let_go(file: &File) -> bool {
    // It is the same lock whoever has the file, and a thread can wait for it for ever.
    let Ok(file) = file.try_clone() else {
        return false;
    };
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive).is_ok();
        // Nobody may want to know any more, and then this process is about to end.
        let _ = tell.send(locked);
    });
    told.recv_timeout(LET_GO_WITHIN) == Ok(true)
}

/// The held lock. Dropping it lets the next daemon in, so it is dropped last.
#[derive(Debug)]
pub struct DaemonLock {
    file: File,
    path: PathBuf,
}

impl DaemonLock {
    /// Makes the state directory private and takes its lock, at once or not at all.
    ///
    /// # Errors
    /// When another daemon holds it, or the directory is not ours alone.
    pub fn take(places: &Places) -> Result<Self, LockError> {
        private_dir(&places.state_dir)?;
        let path = places.daemon_lock();
        // Opened with O_CLOEXEC, as all files are: nothing that the daemon starts inherits the lock.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed("opening", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = places.read_daemon_lock().ok().flatten().map(|note| note.pid);
                if !pid.is_some_and(is_dead) || !is_let_go(&file) {
                    return Err(LockError::Held { pid });
                }
            }
            Err(error) => return Err(failed("locking", &path)(error.into())),
        }
        let lock = Self { file, path };
        // A killed daemon leaves its note behind; nobody shall follow it while this one is not ready.
        lock.clear()?;
        Ok(lock)
    }

    /// Writes who serves, and where. Clients connect to what stands here.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn announce(&self, socket: &Path) -> Result<(), LockError> {
        let note = LockNote {
            pid: std::process::id(),
            socket: socket.to_owned(),
        };
        // One write: readers take anything but a whole note for none.
        self.file
            .write_all_at(note.to_text().as_bytes(), 0)
            .map_err(failed("writing", &self.path))
    }

    /// Empties the note: nobody serves.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn clear(&self) -> Result<(), LockError> {
        self.file.set_len(0).map_err(failed("emptying", &self.path))
    }
}

/// Reads the id of this installation, or makes it, once for ever. Called with the lock held.
///
/// # Errors
/// When it is damaged, or the disk refuses.
pub fn owner(state_dir: &Path, _lock: &DaemonLock) -> Result<Id, LockError> {
    let path = state_dir.join("device-id");
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => {
            // An id has 36 bytes; whatever is longer is none.
            file.take(64)
                .read_to_string(&mut text)
                .map_err(failed("reading", &path))?;
            text.trim_end()
                .parse()
                .map_err(|_not_an_id| LockError::BadId(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Id::random();
            write_private(&path, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(failed("opening", &path)(error)),
    }
}

/// Writes a file of mode 0600 whole or not at all, and durably.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), LockError> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("writing", &temporary))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("writing", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("writing", path))?;
    // The name lies in the directory: without this a power loss could take it back.
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        .map_err(failed("writing", path))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    pub(crate) fn places(dir: &Path) -> Places {
        Places {
            config_home: dir.to_owned(),
            data_home: dir.to_owned(),
            config_dir: dir.join("config"),
            state_dir: dir.join("state"),
            cache_dir: dir.join("cache"),
            runtime_dir: dir.join("run"),
            runtime_in_tmp: false,
        }
    }

    #[test]
    fn only_one_holds_the_lock_and_the_note_tells_who() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let first = DaemonLock::take(&places).unwrap();
        assert!(matches!(
            DaemonLock::take(&places),
            Err(LockError::Held { pid: None })
        ));
        first.announce(Path::new("/run/x.sock")).unwrap();
        let error = DaemonLock::take(&places).unwrap_err();
        let pid = std::process::id();
        assert_eq!(error.to_string(), format!("outlastd already runs (pid {pid})"));
        drop(first);
        // As after a kill: the note stayed, the lock did not.
        assert!(places.read_daemon_lock().unwrap().is_some());
        let _second = DaemonLock::take(&places).unwrap();
        assert_eq!(places.read_daemon_lock().unwrap(), None);
    }

    /// A child of a killed daemon has the lock until it becomes another program.
    #[test]
    fn a_lock_that_outlives_its_daemon_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let first = DaemonLock::take(&places).unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let note = LockNote {
            pid: dead.id(),
            socket: PathBuf::from("/run/x.sock"),
        };
        first.file.write_all_at(note.to_text().as_bytes(), 0).unwrap();
        let taking = thread::spawn(move || DaemonLock::take(&places));
        drop(first);
        taking.join().unwrap().unwrap();
    }

    #[test]
    fn the_id_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let lock = DaemonLock::take(&places).unwrap();
        let id = owner(&places.state_dir, &lock).unwrap();
        assert_eq!(owner(&places.state_dir, &lock).unwrap(), id);
        let path = places.state_dir.join("device-id");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "").unwrap();
        assert!(matches!(
            owner(&places.state_dir, &lock),
            Err(LockError::BadId(_))
        ));
    }

    #[test]
    fn a_state_directory_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        fs::create_dir(&places.state_dir).unwrap();
        fs::set_permissions(&places.state_dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            DaemonLock::take(&places),
            Err(LockError::Directory(SocketError::Open { .. }))
        ));
    }
}

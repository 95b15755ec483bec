//! One directory of the spool: its files, read and written whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Control, Report, Spec, State, Status, at,
    control::{CONTROL, LOG_CONTROL, Sent},
    index, state,
};

/// The longest JSON file that is read. A kernel takes no more than 6 MiB of arguments and environment by default,
/// which as JSON can be several times as much.
const JSON_MAX_BYTES: u64 = 64 << 20;

/// How often removing a directory is tried. Each further try takes a file that was made during the one before, and who
/// lives on after the end makes no more than a log, its index, a request's FIFO and a status with its draft.
const REMOVE_TRIES: u32 = 10;

/// A directory of the spool. Having one says nothing about whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// The directory at this place.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes it, and what lies above it, for this user alone. False: it was there, and is as it was.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_new(&self) -> io::Result<bool> {
        let failed = |error: io::Error| at("creating the directory", &self.path, &error);
        if let Some(parent) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes it with all it holds; a missing one is fine. Only for what has ended: nothing is asked.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        let mut tries = 1;
        loop {
            match fs::remove_dir_all(&self.path) {
                // Who reads the last output of what has ended made a file just now.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < REMOVE_TRIES => {
                    tries += 1;
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at("removing the directory", &self.path, &error));
                }
                _ => return Ok(()),
            }
        }
    }

    /// Writes `spec`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        self.write_json("spec", spec, false)
    }

    /// Reads `spec`.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_spec(&self) -> io::Result<Spec> {
        let path = self.file("spec");
        self.read_json("spec")?
            .ok_or_else(|| at("reading", &path, &io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Reads `report`. None: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_report(&self) -> io::Result<Option<Report>> {
        self.read_json("report")
    }

    /// Reads `status`. None: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else (`InvalidData`).
    pub fn read_status(&self) -> io::Result<Option<Status>> {
        self.read_json("status")
    }

    /// What the directory says of a run, or of the newest one when none is named.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self, run: Option<u32>) -> io::Result<State> {
        state::of(self, run)
    }

    /// Length of the log that can be read now, in bytes; 0 when there is none.
    #[must_use]
    pub fn log_len(&self) -> u64 {
        // Lists ask this for everything that runs, and much of that has printed nothing.
        let Ok(log) = File::open(self.file("log")) else {
            return 0;
        };
        let Ok(index) = File::open(self.file("index")) else {
            return 0;
        };
        index::covered(&log, &index).unwrap_or(0)
    }

    /// Asks who runs it to end it: TERM, and KILL after the grace. False: nobody is there to be asked. From the
    /// `report` of a run on until its status there always is, so a `false` while it is starting says: ask again then.
    ///
    /// # Errors
    /// When the request cannot be handed over.
    pub fn signal_end(&self, grace: Duration) -> io::Result<bool> {
        Ok(Control::send(self, CONTROL, grace)? == Sent::Told)
    }

    /// Says that a logger will be started beside a pane. From now on until it ended there is its FIFO.
    pub(crate) fn expect_log(&self) -> io::Result<()> {
        Control::make(self, LOG_CONTROL)
    }

    /// Asks the logger beside a pane to keep what it was given till now and to end. `NoReader`: it did not start yet, or
    /// was killed; `NoFifo`: it has ended.
    pub(crate) fn end_log(&self) -> io::Result<Sent> {
        Control::send(self, LOG_CONTROL, Duration::ZERO)
    }

    /// Says that the logger has ended.
    pub(crate) fn forget_log(&self) {
        // It is not there, or the directory is gone, or it stays and costs a later reader some patience.
        let _ = fs::remove_file(self.file(LOG_CONTROL));
    }

    /// Path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `report`.
    pub(crate) fn write_report(&self, report: &Report) -> io::Result<()> {
        self.write_json("report", report, false)
    }

    /// Writes `status`, which whoever waits for the end sees at once, and then brings it to the disk. Should the power
    /// fail before it is there, it cannot be read afterwards or is gone, and both count as none.
    pub(crate) fn write_status(&self, status: &Status) -> io::Result<()> {
        self.write_json("status", status, true)
    }

    /// Removes the status of an earlier run.
    pub(crate) fn remove_status(&self) -> io::Result<()> {
        let path = self.file("status");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("removing", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Reads a JSON file. None: there is none.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.file(name);
        let failed = |error: io::Error| at("reading", &path, &error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(JSON_MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Writes a JSON file beside its place and puts it there; `durable`: brings it to the disk after that.
    pub(crate) fn write_json<T: Serialize>(&self, name: &str, value: &T, durable: bool) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.file(name);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temp = self.file(&format!(".{name}.{}.{number}", std::process::id()));
        let written = (|| {
            let bytes = serde_json::to_vec(value)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temp)?;
            file.write_all(&bytes)?;
            fs::rename(&temp, &path)?;
            Ok(file)
        })();
        let file = written.map_err(|error: io::Error| {
            // What cannot be removed either is only in the way of nobody: its name is used once.
            let _ = fs::remove_file(&temp);
            at("writing", &path, &error)
        })?;
        if durable {
            // A disk that cannot keep its promise is no reason to take back what was said.
            let _ = file.sync_all();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What made a file while the directory was being emptied is no reason to fail.
    #[test]
    fn a_directory_in_which_somebody_still_writes_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("d"));
        for _round in 0..300 {
            dir.create_new().unwrap();
            let writing = dir.clone();
            let writer = thread::spawn(move || {
                for name in ["log", "index", "status", "control"] {
                    // It may be gone already.
                    let _ = File::create(writing.file(name));
                }
            });
            dir.remove().unwrap();
            writer.join().unwrap();
            assert!(!dir.exists());
        }
    }
}

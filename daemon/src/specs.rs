//! The spec files of accepted work: `specs/<id>`, what a job or a session is to run, with its whole environment.
//!
//! The environment may hold secrets, so these files have mode 0600 and are the only place of the daemon's that has it:
//! not the database, not an argv, not an event. A file is in its place before the row that names it, and stays until that
//! row goes: `retry`, `restart` and `recover` read it again.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use outlast_client::v1::{Error, ErrorKind};
use outlast_helper::spool::Base;
use outlast_model::{host::LOCAL, id::Id};

/// The spec files of one state directory.
#[derive(Debug, Clone)]
pub struct Specs {
    dir: PathBuf,
}

/// A spec file could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
pub struct SpecError {
    /// What was tried, in the gerund.
    action: &'static str,
    /// On which file.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

impl SpecError {
    fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }

    /// The work did not come about because the process is ending.
    pub(crate) fn ending(error: tokio::task::JoinError) -> Self {
        Self {
            action: "reaching",
            path: PathBuf::from("specs"),
            source: io::Error::other(error),
        }
    }

    /// True when there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True when the disk or the quota is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        let kind = if error.is_full() {
            ErrorKind::Exhausted
        } else {
            ErrorKind::Failed
        };
        Self::new(kind, error.to_string())
    }
}

impl Specs {
    /// The spec files in `dir`, which is made with mode 0700 when it is not there. Half-written files of a daemon that
    /// was killed are removed.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(dir: PathBuf) -> Result<Self, SpecError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(SpecError::new("creating directory", &dir))?;
        for entry in fs::read_dir(&dir).map_err(SpecError::new("reading directory", &dir))? {
            let path = entry.map_err(SpecError::new("reading directory", &dir))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(SpecError::new("removing", &path))?;
            }
        }
        Ok(Self { dir })
    }

    fn path(&self, id: Id) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Puts a spec in its place, whole: written beside and renamed. It survives the death of the daemon from now on,
    /// and the loss of power once [`Placed::sync`] has returned. Blocking, but not on the disk.
    ///
    /// # Errors
    /// When the system refuses; then nothing is there.
    pub fn place(&self, id: Id, spec_json: &[u8]) -> Result<Placed, SpecError> {
        let path = self.path(id);
        let beside = path.with_extension("new");
        let placed = write(&beside, spec_json).and_then(|file| fs::rename(&beside, &path).map(|()| file));
        match placed {
            Ok(file) => Ok(Placed {
                file,
                path,
                dir: self.dir.clone(),
            }),
            Err(source) => {
                // Half a file helps nobody; what cannot be removed now is removed by the next `open`.
                let _ = fs::remove_file(&beside);
                Err(SpecError::new("writing", &path)(source))
            }
        }
    }

    /// The spec of an accepted job or session. Blocking.
    ///
    /// # Errors
    /// When it is not there ([`SpecError::is_missing`]) or cannot be read.
    pub fn read(&self, id: Id) -> Result<Vec<u8>, SpecError> {
        let path = self.path(id);
        fs::read(&path).map_err(SpecError::new("reading", &path))
    }

    /// Removes a spec; one that is not there is removed already. Blocking.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&self, id: Id) -> Result<(), SpecError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpecError::new("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The ids that have a spec. Blocking.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn ids(&self) -> Result<Vec<Id>, SpecError> {
        let entries = fs::read_dir(&self.dir).map_err(SpecError::new("reading directory", &self.dir))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(SpecError::new("reading directory", &self.dir))?;
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

/// A spec in its place.
#[derive(Debug)]
pub struct Placed {
    file: fs::File,
    path: PathBuf,
    dir: PathBuf,
}

impl Placed {
    /// Brings it to the disk for good. Blocking.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), SpecError> {
        let synced = self.file.sync_all();
        let synced = synced.and_then(|()| fs::File::open(&self.dir)?.sync_all());
        synced.map_err(SpecError::new("writing", &self.path))
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<fs::File> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Does two things at once: brings a spec to the disk, and `commit`s the row that names it. The flushes share the
/// disk's work, so accepting takes the time of one. Should the power fail between them, nobody was told yet that the
/// work was accepted.
pub async fn together<T>(placed: Placed, commit: impl Future<Output = T>) -> T {
    let sync = tokio::task::spawn_blocking(move || placed.sync());
    let (synced, committed) = tokio::join!(sync, commit);
    match synced {
        // The spec is in its place all the same, and what runs has read it before the power fails.
        Ok(Err(error)) => tracing::error!(%error, "a spec may not survive the loss of power"),
        Err(error) => tracing::error!(%error, "a spec may not survive the loss of power"),
        Ok(Ok(())) => {}
    }
    committed
}

/// The whole environment of a program: what the client sent or, when that is empty, the daemon's own; without what
/// belongs to a surrounding tmux or to outlast itself; with `env` on top. Values that are not UTF-8 cannot be carried
/// and are left out.
#[must_use]
pub fn environment(base: HashMap<String, String>, env: HashMap<String, String>) -> BTreeMap<String, String> {
    let base = if base.is_empty() { own_environment() } else { base };
    let mut whole: BTreeMap<_, _> = base.into_iter().filter(|(name, _)| !is_ours(name)).collect();
    whole.extend(env);
    whole
}

/// What the environment in a spec is on top of: on another machine only its helper can know that.
#[must_use]
pub fn base(host: &str) -> Option<Base> {
    (host != LOCAL).then_some(Base::Login)
}

fn own_environment() -> HashMap<String, String> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Variables that speak of the place a program is started from, not of the program.
fn is_ours(name: &str) -> bool {
    name.starts_with("TMUX") || name.starts_with("OUTLAST_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn map(entries: &[(&str, &str)]) -> HashMap<String, String> {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_spec_is_private_and_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let specs = Specs::open(dir.path().join("specs")).unwrap();
        let id = Id::random();
        specs.place(id, b"{}").unwrap().sync().unwrap();
        assert_eq!(specs.read(id).unwrap(), b"{}");
        let mode = fs::metadata(specs.path(id)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(specs.ids().unwrap(), [id]);
        specs.remove(id).unwrap();
        specs.remove(id).unwrap();
        assert!(specs.read(id).unwrap_err().is_missing());
    }

    #[test]
    fn half_written_specs_go_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join(format!("{}.new", Id::random()));
        fs::write(&half, "{").unwrap();
        let specs = Specs::open(dir.path().to_owned()).unwrap();
        assert!(!half.exists());
        assert_eq!(specs.ids().unwrap(), []);
    }

    #[test]
    fn an_environment_leaves_out_the_surrounding_tmux_and_outlast() {
        let base = map(&[
            ("A", "1"),
            ("TMUX", "x"),
            ("TMUX_PANE", "%0"),
            ("OUTLAST_SOCKET", "s"),
        ]);
        let whole = environment(base, map(&[("A", "2"), ("OUTLAST_MARK", "asked for")]));
        let whole: Vec<_> = whole
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(whole, [("A", "2"), ("OUTLAST_MARK", "asked for")]);
    }

    #[test]
    fn without_a_base_the_daemons_own_environment_is_meant() {
        let whole = environment(HashMap::new(), HashMap::new());
        assert_eq!(whole.get("PATH").cloned(), env::var("PATH").ok());
    }
}

//! Where all directories of one owner on one machine lie.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Dir, at};

/// The spool of one owner on one machine: `jobs/`, `sessions/` and `syncs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    path: PathBuf,
}

/// Whether a text can name a directory of the spool: 1 to 64 ASCII letters, digits and hyphens.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Root {
    /// A spool at this place. Nothing is made or looked at.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a job. For a text that is no id ([`is_id`]) every operation fails with `InvalidInput`.
    #[must_use]
    pub fn job(&self, id: &str) -> Dir {
        self.dir("jobs", id)
    }

    /// The directory of a session. For a text that is no id ([`is_id`]) every operation fails with `InvalidInput`.
    #[must_use]
    pub fn session(&self, id: &str) -> Dir {
        self.dir("sessions", id)
    }

    /// The directory of a sync. For a text that is no id ([`is_id`]) every operation fails with `InvalidInput`.
    #[must_use]
    pub fn sync(&self, id: &str) -> Dir {
        self.dir("syncs", id)
    }

    /// Ids of all sync directories, in no order.
    ///
    /// # Errors
    /// When the directory cannot be read; a missing one is empty.
    pub fn syncs(&self) -> io::Result<Vec<String>> {
        self.ids("syncs")
    }

    /// Ids of all job directories, in no order.
    ///
    /// # Errors
    /// When the directory cannot be read; a missing one is empty.
    pub fn jobs(&self) -> io::Result<Vec<String>> {
        self.ids("jobs")
    }

    /// Ids of all session directories, in no order.
    ///
    /// # Errors
    /// When the directory cannot be read; a missing one is empty.
    pub fn sessions(&self) -> io::Result<Vec<String>> {
        self.ids("sessions")
    }

    fn dir(&self, noun: &str, id: &str) -> Dir {
        // No file can have a name with a NUL in it, so what is no id can reach nothing, least of all `..`.
        Dir::new(self.path.join(noun).join(if is_id(id) { id } else { "\0" }))
    }

    fn ids(&self, noun: &str) -> io::Result<Vec<String>> {
        let path = self.path.join(noun);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("reading the directory", &path, &error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| at("reading the directory", &path, &error))?;
            if let Ok(name) = entry.file_name().into_string()
                && is_id(&name)
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
            {
                ids.push(name);
            }
        }
        Ok(ids)
    }
}

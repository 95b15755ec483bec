//! Notices that something may have changed below a source.
//!
//! What is heard are hints: paths to be looked at. They say nothing of what happened, are told more than once, and may be
//! of things that do not count. Only directories that are asked for are watched, each by itself. Watches follow directories
//! rather than paths, so that of one which is moved or removed is dropped, with all below it, and has to be asked for anew:
//! whoever hears of a path looks at all that is below it and gives every directory found there to [`Watch::add`], known or
//! not.
//!
//! A change between a look at a directory and its watch is not heard. So a directory is watched before it is looked at, or
//! looked at again afterwards.

mod ears;

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use outlast_tree::{RelPath, Table};
use rustix::io::Errno;
use tracing::debug;

use self::ears::Ears;

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These paths below the source may have changed, with all that is below them. The empty one is the source itself: it
    /// was removed, moved or given other permissions. In order, none twice.
    Paths(Vec<Vec<u8>>),
    /// One of the files that were named with [`Watch::set_files`] may have changed, or may have since before it was watched.
    /// Where such a file is in a directory that is watched by itself, it is told as a path, too.
    Rules,
    /// Anything may have changed, rules too: look at everything. Why. [`Watch::set`] has to be called: watches may have been
    /// lost with what was not heard, and until then what happens meanwhile may not be heard either.
    Everything(String),
    /// Nothing will be heard any more. One sentence, with what helps.
    Failed(String),
}

/// Watches of directories of one source.
#[derive(Debug)]
pub struct Watch {
    root: PathBuf,
    watcher: RecommendedWatcher,
    ears: Arc<Ears>,
}

impl Watch {
    /// Watches nothing below the source yet, only these files that decide what counts, as [`Self::set_files`] does.
    ///
    /// # Errors
    /// One sentence on why nothing can be watched, with what helps.
    pub fn new(root: &Path, files: &[PathBuf]) -> Result<Self, String> {
        let root = root
            .canonicalize()
            .map_err(|error| format!("{root:?} cannot be watched: {error}"))?;
        let ears = Arc::new(Ears::new(&root, &places(files)));
        let watcher = watcher(&ears)?;
        let mut watch = Self { root, watcher, ears };
        watch.watch_git()?;
        Ok(watch)
    }

    /// Makes the directories that are watched equal to these, paths below the source; the empty one is the source itself.
    /// How many were not watched before; of those, changes before now were not heard. Directories that are gone are left
    /// out. Blocks for some microseconds a directory.
    ///
    /// # Errors
    /// One sentence on why not all can be watched, with what helps. What is watched then is not told.
    pub fn set<'a>(&mut self, dirs: impl Iterator<Item = &'a [u8]>) -> Result<usize, String> {
        if self.ears.are_unreliable() {
            self.begin_anew()?;
        }
        self.drop_stale();
        self.watch_git()?;
        let mut root = false;
        let mut wanted = Table::new();
        for dir in dirs {
            match RelPath::new(dir) {
                Ok(path) => {
                    wanted.insert(path, ());
                }
                Err(_) => root |= dir.is_empty(),
            }
        }
        wanted.merge();
        for path in self.ears.retain(root, &wanted) {
            self.unwatch(&path);
        }
        let mut added = 0;
        if root {
            added += usize::from(self.watch(b"")?);
        }
        for (path, ()) in &wanted {
            added += usize::from(self.watch(path)?);
        }
        self.ears.merge();
        Ok(added)
    }

    /// Watches a directory, too; the empty one is the source itself.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn add_one(&mut self, dir: &[u8]) -> Result<(), String> {
        self.drop_stale();
        self.watch(dir).map(|_added| ())
    }

    /// Watches these directories, too. Those that are watched already cost nothing, those that are gone are left out. How many
    /// were not watched before, as of [`Self::set`].
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn add(&mut self, dirs: &[RelPath]) -> Result<usize, String> {
        self.drop_stale();
        let mut added = 0;
        for dir in dirs {
            added += usize::from(self.watch(dir)?);
        }
        Ok(added)
    }

    /// Watches these files from now on, instead of those before: what decides what counts without being in a directory that
    /// counts, such as the index of a repository. One that is not there is heard when it comes, and a symlink is heard with
    /// what it leads to. Any that was not watched before is told as changed.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_files(&mut self, files: &[PathBuf]) -> Result<(), String> {
        self.drop_stale();
        for path in self.ears.set_files(&places(files)) {
            self.unwatch(&path);
        }
        self.watch_git()
    }

    /// How many directories are watched.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ears.watched()
    }

    /// Waits until something was heard. All that was heard since the last time comes together, nothing of it twice. It is
    /// cancel-safe.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.ears.take() {
                return heard;
            }
            self.ears.told().await;
        }
    }

    /// Whether it was added.
    fn watch(&mut self, dir: &[u8]) -> Result<bool, String> {
        // First, because what is heard of it has to be known as of a watched directory.
        if !self.ears.expect(dir) {
            return Ok(false);
        }
        let path = self.absolute(dir);
        let result = self.watch_path(&path);
        if !matches!(result, Ok(true)) {
            self.ears.unexpect(dir);
        }
        result
    }

    /// Watches those of the directories of such files that are not watched.
    fn watch_git(&mut self) -> Result<(), String> {
        let mut is_new = false;
        for path in self.ears.missing_git() {
            if self.watch_path(&path)? {
                is_new = true;
            } else {
                self.ears.missed_git(&path);
            }
        }
        if is_new {
            self.ears.doubt_rules();
        }
        Ok(())
    }

    /// Whether there is a directory that is watched now.
    fn watch_path(&mut self, path: &Path) -> Result<bool, String> {
        let Err(error) = self.watcher.watch(path, RecursiveMode::NonRecursive) else {
            return Ok(true);
        };
        match &error.kind {
            // Gone, or not to be listed: whoever looks at it is told the same.
            ErrorKind::PathNotFound => Ok(false),
            ErrorKind::Io(error)
                if matches!(
                    Errno::from_io_error(error),
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP)
                ) =>
            {
                Ok(false)
            }
            _ => Err(why(&error)),
        }
    }

    fn drop_stale(&mut self) {
        for path in self.ears.take_stale() {
            self.unwatch(&path);
        }
    }

    fn unwatch(&mut self, path: &Path) {
        // Mostly the watch went with the directory.
        if let Err(error) = self.watcher.unwatch(path)
            && !matches!(error.kind, ErrorKind::WatchNotFound)
        {
            debug!(?path, %error, "a watch stays");
        }
    }

    /// After events were lost nothing tells which watch is of what.
    fn begin_anew(&mut self) -> Result<(), String> {
        let ears = Arc::new(Ears::after(&self.ears));
        self.watcher = watcher(&ears)?;
        self.ears = ears;
        Ok(())
    }

    fn absolute(&self, dir: &[u8]) -> PathBuf {
        if dir.is_empty() {
            self.root.clone()
        } else {
            self.root.join(OsStr::from_bytes(dir))
        }
    }
}

/// In which directories names have to be watched to hear of these files. Events tell paths as they were given, so there is
/// one way to write each directory. Of a file whose directory is not there, what is missing first is watched.
fn places(files: &[PathBuf]) -> Vec<(PathBuf, OsString)> {
    let mut places = Vec::new();
    for file in files {
        let here = file.ancestors().find_map(|path| {
            let dir = path.parent()?.canonicalize().ok().filter(|dir| dir.is_dir())?;
            Some(dir.join(path.file_name()?))
        });
        // The same, unless there is a symlink.
        let there = file.canonicalize().ok();
        for path in [here, there].into_iter().flatten() {
            if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
                places.push((dir.to_owned(), name.to_owned()));
            }
        }
    }
    places
}

fn watcher(ears: &Arc<Ears>) -> Result<RecommendedWatcher, String> {
    let ears = Arc::clone(ears);
    let hear = move |event| ears.hear(event);
    RecommendedWatcher::new(hear, Config::default().with_follow_symlinks(false)).map_err(|error| why(&error))
}

/// Why watching is not possible, for people.
fn why(error: &notify::Error) -> String {
    let mut text = String::from("changes cannot be watched: ");
    let full = match &error.kind {
        ErrorKind::MaxFilesWatch => Some(("max_user_watches", "watches")),
        ErrorKind::Io(error) => match Errno::from_io_error(error) {
            Some(Errno::NOSPC) => Some(("max_user_watches", "watches")),
            Some(Errno::MFILE) => Some(("max_user_instances", "watchers or open files")),
            _ => None,
        },
        _ => None,
    };
    // Writing to a string does not fail.
    let _ = match full {
        Some((setting, what)) => {
            let limit = fs::read_to_string(format!("/proc/sys/fs/inotify/{setting}"));
            let limit = limit.as_deref().map_or("?", str::trim);
            write!(
                text,
                "there are too many {what}; raise fs.inotify.{setting} (now {limit}) with sysctl"
            )
        }
        None => write!(text, "{error}"),
    };
    text
}

#[cfg(test)]
mod tests;

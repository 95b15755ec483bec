//! Repositories: where one is, and what of it decides what counts.
//!
//! A working tree may be linked (`.git` is a file that names a directory) and share its excludes with others. What is
//! read here is remembered with its stamps, so that a change is seen without reading it again.

use std::{
    ffi::OsString,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use super::{
    config::{Places, Settings, small_file},
    index::{Index, IndexError},
    parse::List,
};

/// Files of patterns up to this length count, as with git.
pub(super) const LARGEST_PATTERNS: u64 = 100 << 20;
/// An index of some ten million paths. A larger file is not read.
const LARGEST_INDEX: u64 = 2 << 30;
/// `.git` files and `commondir` name one path.
const LARGEST_LINK: u64 = 64 << 10;

/// A repository's working tree, and what it says about its files.
#[derive(Debug)]
pub(super) struct Repository {
    pub top: PathBuf,
    pub index: Index,
    /// `info/exclude`.
    pub exclude: List,
    pub user: User,
    /// Why the index is not known. Nothing counts as tracked then.
    pub problem: Option<String>,
    dir: GitDir,
    files: Vec<(PathBuf, Stamp)>,
}

/// What the user's own settings say, within a repository or without one.
#[derive(Debug, Default)]
pub(super) struct User {
    /// Global patterns.
    pub exclude: List,
    /// Case does not count in patterns.
    pub fold: bool,
    /// The file of the global patterns.
    file: Option<(PathBuf, Stamp)>,
}

/// What a file was like when it was read. `None`: it was not there.
pub(super) type Stamp = Option<[i64; 6]>;

/// Where git keeps what belongs to a working tree.
#[derive(Debug, PartialEq, Eq)]
struct GitDir {
    /// What is this working tree's alone.
    own: PathBuf,
    /// What it shares with other working trees.
    common: PathBuf,
}

impl User {
    /// Reads what holds for the user where there is no repository.
    pub fn read(places: &Places, git_is_there: bool) -> Self {
        Self::of(&Settings::read(places, git_is_there, None))
    }

    fn of(settings: &Settings) -> Self {
        let file = settings.excludes_file.clone().map(|path| {
            let stamp = stamp(&path);
            (path, stamp)
        });
        let exclude = file.as_ref().map(|(path, _)| list(path, settings.ignore_case));
        Self {
            exclude: exclude.unwrap_or_default(),
            fold: settings.ignore_case,
            file,
        }
    }

    /// The file of the global patterns, whether it is there or not.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Whether the file is as it was.
    pub fn is_fresh(&self) -> bool {
        self.file.as_ref().is_none_or(|(path, was)| stamp(path) == *was)
    }
}

impl Repository {
    /// The repository whose working tree begins at this directory.
    pub fn at(top: &Path, places: &Places, git_is_there: bool) -> Option<Self> {
        let dir = GitDir::of(top)?;
        let settings = Settings::read(places, git_is_there, Some((top, &dir.common)));
        let index_path = dir.own.join("index");
        let exclude_path = dir.common.join("info/exclude");
        // Stamps come first: what changes while it is read is seen as changed.
        let files = [
            &index_path,
            &exclude_path,
            &dir.common.join("config"),
            &dir.own.join("config.worktree"),
        ]
        .map(|path| (path.clone(), stamp(path)))
        .to_vec();
        let (index, problem) = match read_index(&index_path, &settings, top, places) {
            Ok(index) => (index, None),
            Err(problem) => (Index::default(), Some(problem)),
        };
        Some(Self {
            top: top.to_owned(),
            index,
            exclude: list(&exclude_path, settings.ignore_case),
            user: User::of(&settings),
            problem,
            dir,
            files,
        })
    }

    /// The repository that holds this directory, found upwards as git does: not into another file system. And where there
    /// was none on the way to it.
    pub fn around(dir: &Path, places: &Places, git_is_there: bool) -> (Option<Self>, Vec<PathBuf>) {
        let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
        let start = device(dir);
        let mut without = Vec::new();
        for dir in dir.ancestors().take_while(|dir| device(dir) == start) {
            if let Some(found) = Self::at(dir, places, git_is_there) {
                return (Some(found), without);
            }
            without.push(dir.to_owned());
        }
        (None, without)
    }

    /// Whether a working tree begins at this directory. A few system calls, one when there is no `.git`.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(".git").symlink_metadata().is_ok() && GitDir::of(dir).is_some()
    }

    /// Whether everything it was read from is as it was, and where it was.
    pub fn is_fresh(&self) -> bool {
        GitDir::of(&self.top).as_ref() == Some(&self.dir)
            && self.user.is_fresh()
            && self.files.iter().all(|(path, was)| stamp(path) == *was)
    }

    /// Whether it decides as the other one does.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.top == other.top
            && self.index == other.index
            && self.exclude == other.exclude
            && self.user.exclude == other.user.exclude
            && self.user.fold == other.user.fold
    }

    /// Files whose change can change what counts, whether they are there or not.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .map(|(path, _)| path.as_path())
            .chain(self.user.file())
    }
}

impl GitDir {
    fn of(top: &Path) -> Option<Self> {
        let path = top.join(".git");
        let own = if path.is_dir() {
            path
        } else {
            let content = small_file(&path, LARGEST_LINK)?;
            top.join(path_in(content.strip_prefix(b"gitdir: ")?))
        };
        let common = match small_file(&own.join("commondir"), LARGEST_LINK) {
            Some(content) => own.join(path_in(&content)),
            None => own.clone(),
        };
        // What git itself looks for, so that an empty `.git` is nothing to either.
        let is_one = own.join("HEAD").symlink_metadata().is_ok()
            && common.join("objects").is_dir()
            && common.join("refs").is_dir();
        is_one.then_some(Self { own, common })
    }
}

/// The path a line holds.
fn path_in(content: &[u8]) -> PathBuf {
    let end = content
        .iter()
        .rposition(|byte| !b"\r\n".contains(byte))
        .map_or(0, |last| last + 1);
    PathBuf::from(OsString::from_vec(content[..end].to_vec()))
}

fn list(path: &Path, fold: bool) -> List {
    small_file(path, LARGEST_PATTERNS).map_or_else(List::default, |content| List::parse(&content, fold))
}

fn read_index(path: &Path, settings: &Settings, top: &Path, places: &Places) -> Result<Index, String> {
    if path.symlink_metadata().is_err() {
        // Nothing was ever added.
        return Ok(Index::default());
    }
    let file = small_file(path, LARGEST_INDEX).ok_or("the git index cannot be read")?;
    match Index::parse(&file, if settings.sha256 { 32 } else { 20 }) {
        Ok(index) => Ok(index),
        Err(error) => places
            .git(top, &["ls-files", "-z", "--cached", "--full-name"])
            .map(|listing| Index::of_names(&listing))
            .ok_or_else(|| match error {
                IndexError::NotWhole => {
                    "the git index is split or sparse, and git did not list it".to_owned()
                }
                IndexError::Unreadable(why) => format!("the git index cannot be read: {why}"),
            }),
    }
}

/// What a file is like now, seen through symlinks.
pub(super) fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    Some([
        signed(found.ino()),
        signed(found.len()),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ])
}

/// Components of a path below another one, as bytes.
pub(super) fn components_below(path: &Path, top: &Path) -> Vec<Vec<u8>> {
    path.strip_prefix(top)
        .map(|rest| {
            rest.components()
                .map(|part| part.as_os_str().as_bytes().to_vec())
                .collect()
        })
        .unwrap_or_default()
}

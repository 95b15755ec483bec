//! What counts: `--exclude`, `.outlastignore`, what git tracks, and what git ignores.
//!
//! Whoever asks first decides, strongest first:
//!
//! 1. `--exclude` patterns of the sync, relative to its source;
//! 2. `.outlastignore` files, deepest first, up to the source;
//! 3. what a repository tracks counts, whatever its patterns say;
//! 4. `.gitignore` files, deepest first, up to the repository's top, which may lie above the source;
//! 5. `info/exclude`, then the user's global patterns.
//!
//! What is below an ignored directory is ignored and cannot be brought back, unless it is tracked. A repository inside
//! begins anew with points 3 to 5, and its files count. Without any repository `.gitignore` files count all the same.
//! Where the source itself is ignored by the repository around it, that repository has no say: who syncs a build
//! directory means it.
//!
//! Nothing here lists a directory or follows a symlink inside the source. Matching is git's own to the byte, which
//! `tests/git.rs` compares with git.

mod config;
mod git;
mod index;
mod parse;
mod wild;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{Mode, OFlags};

use self::git::{LARGEST_PATTERNS, Repository, Stamp, User, components_below, stamp};
pub use self::{
    config::{Places, Settings},
    index::{Index, IndexError},
    parse::List,
    wild::Glob,
};

/// Git's file of patterns.
pub const GITIGNORE: &[u8] = b".gitignore";
/// Our own.
pub const OUTLASTIGNORE: &[u8] = b".outlastignore";
/// Where git keeps a repository.
const GIT: &[u8] = b".git";

/// What a sync was told about what counts.
#[derive(Debug, Clone, Default)]
pub struct RulesConfig {
    /// Patterns as in `.gitignore`, relative to the source. They outrank everything; the last one that matches decides.
    pub exclude: Vec<String>,
    /// Git's rules are not looked at.
    pub no_gitignore: bool,
    /// `.git` counts, with everything in it.
    pub git_dir: bool,
}

/// Why rules cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RulesError {
    /// A pattern would be more than one, or none.
    #[error("the pattern {0:?} of --exclude is empty, or has a line break or NUL in it")]
    BadExclude(String),
}

/// What the rules say about one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counts,
    /// It does not, nor does anything below it.
    Ignored,
    /// A directory that is ignored but holds something that is tracked: it counts if that is there.
    HoldsTracked,
}

/// Files among the names of a directory that say something about the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// `.gitignore`
    pub gitignore: bool,
    /// `.outlastignore`
    pub outlastignore: bool,
    /// `.git`
    pub git: bool,
}

impl Holds {
    /// Takes a name of the directory into account.
    pub fn note(&mut self, name: &[u8]) {
        match name {
            GITIGNORE => self.gitignore = true,
            OUTLASTIGNORE => self.outlastignore = true,
            GIT => self.git = true,
            _ => {}
        }
    }
}

/// The rules of one sync, as of when they were opened. Those in directories are read as these are entered.
#[derive(Debug)]
pub struct Rules {
    root: PathBuf,
    config: RulesConfig,
    exclude: List,
    places: Places,
    git_is_there: bool,
    above: Arc<Node>,
    /// The repository around the source, whether it has a say or not.
    around: Option<Arc<Repository>>,
    /// Directories from the source upwards where no repository begins, but one could.
    without: Vec<PathBuf>,
    /// The user's settings and the files of patterns above the source, as they were before they were read.
    outside: Vec<(PathBuf, Stamp)>,
    /// Repositories inside, by where they are. Kept, because their index is not read for every entry.
    inside: Mutex<HashMap<PathBuf, Option<Arc<Repository>>>>,
    /// There are more of them than when it was asked last.
    found: AtomicBool,
    problems: Mutex<Vec<RuleProblem>>,
}

/// Rules that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// The file or directory, below the source.
    pub path: Vec<u8>,
    /// One sentence.
    pub message: String,
}

/// What decides about the names of one directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DirRules(Arc<Node>);

#[derive(Debug)]
struct Node {
    parent: Option<Arc<Node>>,
    /// Path from where the outermost repository begins (or the source), with a slash at its end unless it is empty.
    path: Vec<u8>,
    around: Around,
    gitignore: List,
    outlastignore: List,
    /// It is ignored, and here for the sake of what is tracked below it.
    only_tracked: bool,
    /// It is a `.git`, or in one.
    in_git: bool,
}

/// The repository around a directory.
#[derive(Debug, Clone)]
enum Around {
    None(Arc<User>),
    /// The length of the path of its top in [`Node::path`].
    Repository(Arc<Repository>, usize),
}

impl Rules {
    /// Finds the repository around a source, which is an absolute path without symlinks, and reads what lies above the
    /// source. With git this takes some milliseconds; git is waited for at most a few seconds.
    ///
    /// # Errors
    /// When a pattern of the configuration is none.
    pub fn open(root: &Path, config: &RulesConfig, places: &Places) -> Result<Self, RulesError> {
        let bad = |pattern: &&String| pattern.is_empty() || pattern.contains(['\n', '\0']);
        if let Some(pattern) = config.exclude.iter().find(bad) {
            return Err(RulesError::BadExclude(pattern.clone()));
        }
        let git_is_there = !config.no_gitignore && places.git(Path::new("/"), &["version"]).is_some();
        let (around, without, outside) = if config.no_gitignore {
            (None, Vec::new(), Vec::new())
        } else {
            let settings = places.settings().into_iter().map(stamped).collect();
            let (around, without) = Repository::around(root, places, git_is_there);
            (around.map(Arc::new), without, settings)
        };
        let mut rules = Self {
            root: root.to_owned(),
            config: config.clone(),
            exclude: List::parse(config.exclude.join("\n").as_bytes(), false),
            places: places.clone(),
            git_is_there,
            above: Arc::new(Node::first(Around::None(Arc::default()))),
            around: around.clone(),
            without,
            outside,
            inside: Mutex::default(),
            found: AtomicBool::new(true),
            problems: Mutex::default(),
        };
        let above = around.and_then(|repository| rules.descend(repository));
        rules.above = match above {
            Some(node) => node,
            None if config.no_gitignore => return Ok(rules),
            None => Arc::new(Node::first(Around::None(Arc::new(User::read(
                places,
                git_is_there,
            ))))),
        };
        Ok(rules)
    }

    /// From the top of the repository around it to the directory above the source. `None` when the source is ignored.
    fn descend(&mut self, repository: Arc<Repository>) -> Option<Arc<Node>> {
        let names = components_below(&self.root, &repository.top);
        let mut path = repository.top.clone();
        if let Some(problem) = &repository.problem {
            self.report(Vec::new(), problem.clone());
        }
        let mut node = Node::first(Around::Repository(repository, 0));
        for name in names {
            // The stamp comes first: what changes while it is read is seen as changed.
            self.outside
                .push(stamped(path.join(OsStr::from_bytes(GITIGNORE))));
            node.gitignore = File::open(&path)
                .ok()
                .and_then(|dir| read_patterns(&dir, GITIGNORE).ok())
                .map_or_else(List::default, |content| List::parse(&content, node.around.fold()));
            let only_tracked = match node.git_verdict(&[&node.path[..], &name].concat(), &name, true) {
                Verdict::Ignored => return None,
                Verdict::HoldsTracked => true,
                Verdict::Counts => false,
            };
            path.push(OsStr::from_bytes(&name));
            node = Node::below(Arc::new(node), &name, only_tracked);
        }
        Some(Arc::new(node))
    }

    /// The rules of the source itself, an open directory.
    #[must_use]
    pub fn root(&self, dir: impl AsFd, holds: Holds) -> DirRules {
        let above = &self.above;
        let mut node = Node {
            parent: above.parent.clone(),
            path: above.path.clone(),
            around: above.around.clone(),
            gitignore: List::default(),
            outlastignore: List::default(),
            only_tracked: above.only_tracked,
            in_git: false,
        };
        self.read(&mut node, dir, holds);
        DirRules(Arc::new(node))
    }

    /// The rules of a directory in another one, when it was opened and what it holds is known.
    #[must_use]
    pub fn enter(
        &self,
        parent: &DirRules,
        name: &[u8],
        verdict: Verdict,
        dir: impl AsFd,
        holds: Holds,
    ) -> DirRules {
        let mut node = Node::below(Arc::clone(&parent.0), name, verdict == Verdict::HoldsTracked);
        let begins = holds.git && !node.in_git && !self.config.no_gitignore;
        if begins && let Some(repository) = self.repository_at(&node.path[self.start()..]) {
            node.around = Around::Repository(repository, node.path.len());
            node.only_tracked = false;
        }
        self.read(&mut node, dir, holds);
        DirRules(Arc::new(node))
    }

    /// What is to be done with a name in a directory.
    #[must_use]
    pub fn verdict(&self, dir: &DirRules, name: &[u8], is_dir: bool) -> Verdict {
        let node = &dir.0;
        if name == GIT && !self.config.git_dir {
            return Verdict::Ignored;
        }
        let path = [&node.path[..], name].concat();
        let said = |ignored| {
            if ignored {
                Verdict::Ignored
            } else {
                Verdict::Counts
            }
        };
        if let Some(ignored) = self.exclude.ignores(&path[self.start()..], name, is_dir, false) {
            return said(ignored);
        }
        if node.in_git || name == GIT {
            return Verdict::Counts;
        }
        let mut nodes = std::iter::successors(Some(node), |node| node.parent.as_ref());
        let own = nodes.find_map(|node| {
            node.outlastignore
                .ignores(&path[node.path.len()..], name, is_dir, false)
        });
        if let Some(ignored) = own {
            return said(ignored);
        }
        if self.config.no_gitignore {
            return Verdict::Counts;
        }
        node.git_verdict(&path, name, is_dir)
    }

    /// Whether a change of this path below the source can change what counts beside it: a file of patterns, or a repository
    /// that comes or goes. What is in a `.git` is among [`Self::files`].
    #[must_use]
    pub fn is_rule_file(path: &[u8]) -> bool {
        let mut parts = path.rsplit(|&byte| byte == b'/');
        matches!(parts.next(), Some(GITIGNORE | OUTLASTIGNORE | GIT)) && parts.all(|part| part != GIT)
    }

    /// Files that are not in directories that count and whose change can change what counts. Some are not there.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let begins = |dir: &PathBuf| dir.join(".git/HEAD");
        let inside = lock(&self.inside);
        let nowhere = inside.iter().filter(|(_, found)| found.is_none());
        let mut files: Vec<_> = nowhere.map(|(dir, _)| begins(dir)).collect();
        files.extend(self.without.iter().map(begins));
        files.extend(self.outside.iter().map(|(path, _)| path.clone()));
        for repository in inside.values().chain([&self.around]).flatten() {
            files.extend(repository.files().map(Path::to_owned));
        }
        drop(inside);
        files.extend(self.user().and_then(User::file).map(Path::to_owned));
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Whether there may be more [`Self::files`] than when this was asked last, because of a directory that was entered.
    #[must_use]
    pub fn found_more(&self) -> bool {
        self.found.swap(false, Ordering::Relaxed)
    }

    /// Whether what was read outside of directories is as it was: indexes, excludes and settings, and where repositories
    /// begin. It costs some system calls for each repository and each directory above the source.
    #[must_use]
    pub fn are_fresh(&self) -> bool {
        self.outside.iter().all(|(path, was)| stamp(path) == *was)
            && self.user().is_none_or(User::is_fresh)
            && self
                .around
                .as_ref()
                .is_none_or(|repository| repository.is_fresh())
            && !self.without.iter().any(|dir| Repository::is_at(dir))
            && lock(&self.inside).iter().all(|(dir, found)| match found {
                Some(repository) => repository.is_fresh(),
                None => !Repository::is_at(dir),
            })
    }

    /// Whether these, just opened, decide as those did wherever a directory's own files of patterns are the same. So an
    /// index that was only refreshed need not lead to a look at everything. Repositories inside are read again first, and
    /// are known to these, too, when it is so.
    #[must_use]
    pub fn say_the_same(&self, before: &Self) -> bool {
        let above = match (&self.above.around, &before.above.around) {
            (Around::None(user), Around::None(other)) => {
                user.exclude == other.exclude && user.fold == other.fold
            }
            (Around::Repository(one, at), Around::Repository(other, other_at)) => {
                at == other_at && one.says_the_same(other)
            }
            _ => false,
        };
        let lists = |rules: &Self| {
            std::iter::successors(rules.above.parent.as_ref(), |node| node.parent.as_ref())
                .map(|node| node.gitignore.clone())
                .collect::<Vec<_>>()
        };
        if !above || lists(self) != lists(before) {
            return false;
        }
        let known = lock(&before.inside).clone();
        for (dir, was) in known {
            let now = self.repository_in(&dir);
            let same = match (&now, &was) {
                (Some(now), Some(was)) => now.says_the_same(was),
                (now, was) => now.is_none() == was.is_none(),
            };
            if !same {
                return false;
            }
        }
        true
    }

    /// Rules that could not be read so far.
    #[must_use]
    pub fn problems(&self) -> Vec<RuleProblem> {
        lock(&self.problems).clone()
    }

    /// Where the path of the source ends in that of a node.
    fn start(&self) -> usize {
        self.above.path.len()
    }

    /// The user's settings where no repository has a say.
    fn user(&self) -> Option<&User> {
        match &self.above.around {
            Around::None(user) => Some(user),
            Around::Repository(..) => None,
        }
    }

    fn repository_at(&self, path: &[u8]) -> Option<Arc<Repository>> {
        let dir = self
            .root
            .join(OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)));
        self.repository_in(&dir)
    }

    /// The repository that begins at this directory below the source.
    fn repository_in(&self, dir: &Path) -> Option<Arc<Repository>> {
        if let Some(known) = lock(&self.inside).get(dir) {
            return known.clone();
        }
        let found = Repository::at(dir, &self.places, self.git_is_there).map(Arc::new);
        if let Some(problem) = found.as_ref().and_then(|repository| repository.problem.clone()) {
            let path = dir.strip_prefix(&self.root).unwrap_or(dir);
            self.report(path.as_os_str().as_bytes().to_vec(), problem);
        }
        lock(&self.inside).insert(dir.to_owned(), found.clone());
        self.found.store(true, Ordering::Relaxed);
        found
    }

    fn read(&self, node: &mut Node, dir: impl AsFd, holds: Holds) {
        if node.in_git {
            return;
        }
        let patterns = |name: &[u8], fold| match read_patterns(&dir, name) {
            Ok(content) => List::parse(&content, fold),
            Err(error) => {
                let mut path = node.path[self.start()..].to_vec();
                path.extend_from_slice(name);
                self.report(path, format!("its patterns do not count: {error}"));
                List::default()
            }
        };
        if holds.outlastignore {
            node.outlastignore = patterns(OUTLASTIGNORE, false);
        }
        if holds.gitignore && !self.config.no_gitignore {
            node.gitignore = patterns(GITIGNORE, node.around.fold());
        }
    }

    fn report(&self, path: Vec<u8>, message: String) {
        let problem = RuleProblem { path, message };
        let mut problems = lock(&self.problems);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

impl Node {
    fn first(around: Around) -> Self {
        Self {
            parent: None,
            path: Vec::new(),
            around,
            gitignore: List::default(),
            outlastignore: List::default(),
            only_tracked: false,
            in_git: false,
        }
    }

    fn below(parent: Arc<Self>, name: &[u8], only_tracked: bool) -> Self {
        Self {
            path: [&parent.path[..], name, b"/"].concat(),
            around: parent.around.clone(),
            gitignore: List::default(),
            outlastignore: List::default(),
            only_tracked,
            in_git: parent.in_git || name == GIT,
            parent: Some(parent),
        }
    }

    /// What git says. `path` is that of [`Self::path`] with the name.
    fn git_verdict(&self, path: &[u8], name: &[u8], is_dir: bool) -> Verdict {
        if !self.only_tracked && !self.git_ignores(path, name, is_dir) {
            return Verdict::Counts;
        }
        let Around::Repository(repository, top) = &self.around else {
            return Verdict::Ignored;
        };
        let path = &path[*top..];
        if is_dir {
            if repository.index.has_repository(path) {
                Verdict::Counts
            } else if repository.index.has_below(path) {
                Verdict::HoldsTracked
            } else {
                Verdict::Ignored
            }
        } else if repository.index.has(path) {
            Verdict::Counts
        } else {
            Verdict::Ignored
        }
    }

    fn git_ignores(&self, path: &[u8], name: &[u8], is_dir: bool) -> bool {
        let (user, exclude, top) = match &self.around {
            Around::None(user) => (&**user, None, 0),
            Around::Repository(repository, top) => (&repository.user, Some(&repository.exclude), *top),
        };
        std::iter::successors(Some(self), |node| node.parent.as_deref())
            // Nothing from above a repository counts in it.
            .take_while(|node| node.path.len() >= top)
            .filter(|node| !node.gitignore.is_empty())
            .find_map(|node| {
                node.gitignore
                    .ignores(&path[node.path.len()..], name, is_dir, user.fold)
            })
            .or_else(|| exclude?.ignores(&path[top..], name, is_dir, user.fold))
            .or_else(|| user.exclude.ignores(&path[top..], name, is_dir, user.fold))
            .unwrap_or(false)
    }
}

impl Around {
    fn fold(&self) -> bool {
        match self {
            Self::None(user) => user.fold,
            Self::Repository(repository, _) => repository.user.fold,
        }
    }
}

fn stamped(path: PathBuf) -> (PathBuf, Stamp) {
    let stamp = stamp(&path);
    (path, stamp)
}

/// Reads a file of patterns in a directory. Git does not follow a symlink there either. What is not there is empty.
fn read_patterns(dir: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    // Not to be held up by a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(rustix::io::Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if found.is_dir() {
        return Ok(Vec::new());
    }
    if !found.is_file() || found.len() > LARGEST_PATTERNS {
        return Err(io::Error::other("it is no file of a reasonable size"));
    }
    let mut content = Vec::new();
    file.take(LARGEST_PATTERNS).read_to_end(&mut content)?;
    Ok(content)
}

/// Nothing that holds these locks can leave what they guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

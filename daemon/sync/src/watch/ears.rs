//! What was heard and not yet asked for, and which directories are watched. Shared between the thread that hears and
//! whoever waits; nothing here blocks for longer than it takes to look something up.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use outlast_tree::{RelPath, Table, order};
use tokio::sync::Notify;

use super::{Heard, why};

/// Paths that are kept until somebody asks for them. Looking at everything is about as cheap as looking at more.
const MOST: usize = 10_000;

/// The watcher goes through all watches for each directory that is removed or moved, and hears nothing meanwhile. From this
/// many steps on (about half a second) a new watcher is sooner ready to hear.
const MOST_STEPS: usize = 5_000_000;

/// Directories that go with this much in between do not add up.
const APART: Duration = Duration::from_secs(1);

/// Shared by both sides.
#[derive(Debug)]
pub(super) struct Ears {
    root: PathBuf,
    state: Mutex<State>,
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    paths: HashSet<Vec<u8>>,
    rules: bool,
    everything: Option<String>,
    failed: Option<String>,
    /// The source is watched.
    root: bool,
    /// Directories below it that are.
    below: Table<()>,
    /// Directories with files that decide what counts.
    git: HashMap<PathBuf, Place>,
    /// Directories that were moved or removed and may be watched still, under the path they had.
    stale: Vec<PathBuf>,
    /// Events were lost, and with them what became of watches; or the watcher is not worth waiting for.
    unreliable: bool,
    /// Steps that the watcher has to do for directories that went one after the other, the last one then.
    steps: (usize, Option<Instant>),
}

/// A directory of a repository, for example, or its `info`.
#[derive(Debug, Default)]
struct Place {
    /// What in it matters.
    names: HashSet<OsString>,
    watched: bool,
}

impl Ears {
    pub(super) fn new(root: &Path, git: &[(PathBuf, OsString)]) -> Self {
        let state = State {
            git: by_dir(git),
            ..State::default()
        };
        Self {
            root: root.to_owned(),
            state: Mutex::new(state),
            told: Notify::new(),
        }
    }

    /// For a new watcher, with what the old ones heard last. Nothing is watched by it.
    pub(super) fn after(old: &Self) -> Self {
        let mut from = old.lock();
        let mut git = std::mem::take(&mut from.git);
        git.values_mut().for_each(|place| place.watched = false);
        let state = State {
            paths: std::mem::take(&mut from.paths),
            rules: from.rules,
            everything: from.everything.take(),
            failed: from.failed.take(),
            git,
            ..State::default()
        };
        Self {
            root: old.root.clone(),
            state: Mutex::new(state),
            told: Notify::new(),
        }
    }

    /// Takes what the watcher has to say. Called on its thread.
    pub(super) fn hear(&self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.lock().failed = Some(why(&error));
                self.told.notify_one();
                return;
            }
        };
        if event.need_rescan() {
            let mut state = self.lock();
            state.everything = Some("more happened than the system keeps in mind".to_owned());
            state.unreliable = true;
            drop(state);
            self.told.notify_one();
            return;
        }
        match event.kind {
            // Also of what was written through memory, of which nothing else is heard.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            // Reading is no change, and both ends of a rename were told before.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            _ => {}
        }
        // The path is of something else than before.
        let is_other = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        let mut state = self.lock();
        let mut is_new = false;
        for path in &event.paths {
            is_new |= state.hear_git(path, is_other);
            if let Ok(below) = path.strip_prefix(&self.root) {
                is_new |= state.hear(&self.root, below.as_os_str().as_bytes(), is_other);
            }
        }
        drop(state);
        if is_new {
            self.told.notify_one();
        }
    }

    /// All that was heard.
    pub(super) fn take(&self) -> Option<Heard> {
        let mut state = self.lock();
        if let Some(why) = state.failed.take() {
            return Some(Heard::Failed(why));
        }
        if let Some(why) = state.everything.take() {
            state.paths = HashSet::new();
            state.rules = false;
            return Some(Heard::Everything(why));
        }
        if std::mem::take(&mut state.rules) {
            return Some(Heard::Rules);
        }
        if state.paths.is_empty() {
            return None;
        }
        let mut paths: Vec<_> = std::mem::take(&mut state.paths).into_iter().collect();
        drop(state);
        paths.sort_unstable_by(|a, b| order(a, b));
        Some(Heard::Paths(paths))
    }

    /// Ends when there may be something to take.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    pub(super) fn are_unreliable(&self) -> bool {
        self.lock().unreliable
    }

    /// A directory is about to be watched. Whether it was not.
    pub(super) fn expect(&self, dir: &[u8]) -> bool {
        let mut state = self.lock();
        match RelPath::new(dir) {
            Ok(path) if state.below.get(dir).is_none() => {
                state.below.insert(path, ());
                true
            }
            Err(_) if dir.is_empty() => !std::mem::replace(&mut state.root, true),
            _ => false,
        }
    }

    /// It could not be watched.
    pub(super) fn unexpect(&self, dir: &[u8]) {
        let mut state = self.lock();
        if dir.is_empty() {
            state.root = false;
        } else {
            state.below.remove(dir);
        }
    }

    /// Forgets all that are not wanted: where they are.
    pub(super) fn retain(&self, root: bool, wanted: &Table<()>) -> Vec<PathBuf> {
        let mut state = self.lock();
        let unwanted: Vec<_> = state
            .below
            .iter()
            .filter(|(path, ())| wanted.get(path).is_none())
            .filter_map(|(path, ())| RelPath::new(path).ok())
            .collect();
        let mut dropped = Vec::new();
        if state.root && !root {
            state.root = false;
            dropped.push(self.root.clone());
        }
        for path in unwanted {
            state.below.remove(&path);
            dropped.push(absolute(&self.root, &path));
        }
        dropped.retain(|path| !state.is_git(path));
        dropped
    }

    /// Directories whose watches are to be dropped.
    pub(super) fn take_stale(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.lock().stale)
    }

    /// Gives back memory.
    pub(super) fn merge(&self) {
        self.lock().below.merge();
    }

    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        let state = self.lock();
        usize::from(state.root) + state.below.len()
    }

    /// Takes other files that decide what counts: which directories are not to be watched for their sake any more.
    pub(super) fn set_files(&self, git: &[(PathBuf, OsString)]) -> Vec<PathBuf> {
        let mut state = self.lock();
        let old = std::mem::replace(&mut state.git, by_dir(git));
        let mut is_new = false;
        for (path, place) in &mut state.git {
            if let Some(old) = old.get(path) {
                place.watched = old.watched;
                is_new |= !place.names.is_subset(&old.names);
            }
        }
        let is_watched = |path: &Path| {
            path.strip_prefix(&self.root)
                .is_ok_and(|below| state.is_watched(below.as_os_str().as_bytes()))
        };
        let dropped = old
            .into_iter()
            .filter(|(path, old)| old.watched && !state.git.contains_key(path) && !is_watched(path))
            .map(|(path, _)| path)
            .collect();
        drop(state);
        if is_new {
            self.doubt_rules();
        }
        dropped
    }

    /// Directories of such files that are not watched, and are about to be.
    pub(super) fn missing_git(&self) -> Vec<PathBuf> {
        let mut state = self.lock();
        let missing = state.git.iter_mut().filter(|(_, place)| !place.watched);
        missing
            .map(|(path, place)| {
                place.watched = true;
                path.clone()
            })
            .collect()
    }

    /// One of them could not be watched.
    pub(super) fn missed_git(&self, path: &Path) {
        if let Some(place) = self.lock().git.get_mut(path) {
            place.watched = false;
        }
    }

    /// What decides what counts may have changed without being heard.
    pub(super) fn doubt_rules(&self) {
        self.lock().rules = true;
        self.told.notify_one();
    }

    /// Nothing that holds the lock can leave what it guards half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of a path below the source. Whether there is something to be told.
    fn hear(&mut self, root: &Path, path: &[u8], is_other: bool) -> bool {
        let was_watched = self.is_watched(path);
        if was_watched && is_other {
            self.count_steps();
            self.forget(root, path);
        }
        // What is neither watched nor in something that is was moved along with a directory, or belongs to a repository.
        if !was_watched && (path.is_empty() || !self.is_watched(parent(path))) {
            return false;
        }
        if self.everything.is_none() && !self.paths.contains(path) {
            if self.paths.len() < MOST {
                self.paths.insert(path.to_vec());
            } else {
                self.everything = Some("many changes at once".to_owned());
                self.paths = HashSet::new();
            }
        }
        true
    }

    /// Of something that may decide what counts. Whether there is something to be told.
    fn hear_git(&mut self, path: &Path, is_other: bool) -> bool {
        let mut matters = false;
        if is_other && let Some(place) = self.git.get_mut(path) {
            if std::mem::take(&mut place.watched) {
                self.stale.push(path.to_owned());
            }
            matters = true;
        }
        if let (Some(dir), Some(name)) = (path.parent(), path.file_name()) {
            matters |= self.git.get(dir).is_some_and(|place| place.names.contains(name));
        }
        self.rules |= matters;
        matters
    }

    fn is_watched(&self, dir: &[u8]) -> bool {
        if dir.is_empty() {
            self.root
        } else {
            self.below.get(dir).is_some()
        }
    }

    /// A watched directory went.
    fn count_steps(&mut self) {
        let now = Instant::now();
        let (steps, last) = self.steps;
        let before = match last {
            Some(last) if now.duration_since(last) < APART => steps,
            _ => 0,
        };
        let steps = before.saturating_add(self.below.len());
        self.steps = (steps, Some(now));
        if steps > MOST_STEPS && !self.unreliable {
            self.unreliable = true;
            self.everything = Some("many directories went at once".to_owned());
            self.paths = HashSet::new();
        }
    }

    /// The watches are dropped the next time that watches are asked for: not here, on the thread that would have to do it.
    fn forget(&mut self, root: &Path, dir: &[u8]) {
        if dir.is_empty() && std::mem::take(&mut self.root) {
            self.stale.push(root.to_owned());
        }
        let gone: Vec<_> = self
            .below
            .range(dir)
            .filter_map(|(path, ())| RelPath::new(path).ok())
            .collect();
        for path in gone {
            self.below.remove(&path);
            let path = absolute(root, &path);
            if !self.is_git(&path) {
                self.stale.push(path);
            }
        }
    }

    fn is_git(&self, path: &Path) -> bool {
        self.git.get(path).is_some_and(|place| place.watched)
    }
}

fn by_dir(git: &[(PathBuf, OsString)]) -> HashMap<PathBuf, Place> {
    let mut places = HashMap::<_, Place>::new();
    for (dir, name) in git {
        places.entry(dir.clone()).or_default().names.insert(name.clone());
    }
    places
}

fn absolute(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(b"", |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use notify::event::RemoveKind;

    use super::{super::Watch, *};

    #[tokio::test]
    async fn what_the_system_could_not_keep_is_everything() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let mut watch = Watch::new(dir.path(), &[]).unwrap();
        let dirs = [&b""[..], b"a"];
        assert_eq!(watch.set(dirs.into_iter()), Ok(2));
        // Nobody hears for a while. A write is three events, and of several that are the same only one is kept.
        let deaf = watch.ears.lock();
        for at in 0..limit / 3 + 100 {
            fs::write(dir.path().join(["x", "y"][at % 2]), "").unwrap();
        }
        drop(deaf);
        let heard = loop {
            match watch.next().await {
                Heard::Paths(_) => {}
                heard => break heard,
            }
        };
        let right = "more happened than the system keeps in mind";
        assert_eq!(heard, Heard::Everything(right.to_owned()));
        // What was lost may have been about watches, so all of them are made anew.
        assert_eq!(watch.set(dirs.into_iter()), Ok(2));
        assert_eq!(watch.set(dirs.into_iter()), Ok(0));
        fs::write(dir.path().join("a/f"), "").unwrap();
        while !matches!(watch.next().await, Heard::Paths(paths) if paths.contains(&b"a/f".to_vec())) {}
    }

    #[test]
    fn no_more_paths_are_kept_than_can_be_looked_at_one_by_one() {
        let ears = Ears::new(Path::new("/source"), &[]);
        ears.expect(b"");
        let changed = |name: usize| {
            let event = Event::new(EventKind::Any).add_path(PathBuf::from(format!("/source/{name}")));
            ears.hear(Ok(event));
        };
        (0..MOST).chain(0..MOST).for_each(changed);
        assert!(matches!(ears.take(), Some(Heard::Paths(paths)) if paths.len() == MOST));
        (0..3 * MOST).for_each(changed);
        let everything = Heard::Everything("many changes at once".to_owned());
        assert_eq!(ears.take(), Some(everything));
        assert_eq!(ears.take(), None);
        assert!(!ears.are_unreliable(), "no watch was lost");
        changed(1);
        assert_eq!(ears.take(), Some(Heard::Paths(vec![b"1".to_vec()])));
    }

    #[test]
    fn when_many_watched_directories_go_a_new_watcher_is_asked_for() {
        let gone = |count: usize, of: usize| {
            let ears = Ears::new(Path::new("/source"), &[]);
            ears.expect(b"");
            for name in 0..of {
                ears.expect(format!("{name:05}").as_bytes());
            }
            for name in 0..count {
                let event = Event::new(EventKind::Remove(RemoveKind::Folder));
                ears.hear(Ok(event.add_path(format!("/source/{name:05}").into())));
            }
            ears
        };
        let few = gone(500, 5_000);
        assert!(!few.are_unreliable());
        assert!(matches!(few.take(), Some(Heard::Paths(paths)) if paths.len() == 500));
        let many = gone(2_000, 5_000);
        assert!(many.are_unreliable());
        let everything = Heard::Everything("many directories went at once".to_owned());
        assert_eq!(many.take(), Some(everything));
    }

    #[test]
    fn what_was_heard_before_is_kept_for_a_new_watcher() {
        let root = Path::new("/source");
        let files = ["/source/.git", "/source/.git/info"].map(|dir| (PathBuf::from(dir), "index".into()));
        let old = Ears::new(root, &files);
        assert_eq!(old.missing_git().len(), 2);
        assert_eq!(old.missing_git().len(), 0);
        let mut state = old.lock();
        state.root = true;
        assert!(state.hear_git(Path::new("/source/.git/index"), false));
        assert!(!state.hear_git(Path::new("/source/.git/HEAD"), false));
        assert!(state.hear(root, b".gitignore", false));
        drop(state);
        let new = Ears::after(&old);
        assert_eq!(new.missing_git().len(), 2, "none is watched by the new one");
        assert_eq!(new.take(), Some(Heard::Rules));
        assert_eq!(new.take(), Some(Heard::Paths(vec![b".gitignore".to_vec()])));
        assert_eq!(new.take(), None);
        assert_eq!(new.watched(), 0);
    }
}

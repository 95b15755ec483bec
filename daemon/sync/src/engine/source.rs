//! The near side of a sync: looks at the source, keeps watch over it, and plans.
//!
//! All of it may wait for a disk and belongs on a thread that may.

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use outlast_tree::{Entry, Kind, RelPath};

use super::{
    Config, Halt, Mode,
    copy::Copy,
    produce::{Index, Learnt, Pending},
    refused::Refused,
};
use crate::{
    cache::Cache,
    halt::{Deletions, Verdict},
    plan::{self, Ground, Plan, is_at_or_below},
    root::{Root, RootGone},
    rules::Rules,
    scan::{self, Scan, Scope},
    watch::Watch,
};

/// More changed paths than this, and than a tenth of all: looking at everything is less.
const MANY: usize = 1000;

/// How often it is looked again because directories were found that were not watched before.
const LOOKS: usize = 10;

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Everything,
    Paths(HashSet<Vec<u8>>),
}

impl From<RootGone> for Halt {
    fn from(gone: RootGone) -> Self {
        Self {
            reason: gone.word().to_owned(),
            message: gone.to_string(),
        }
    }
}

/// What came of looking.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) root: Root,
    pub(crate) plan: Plan,
    pub(crate) index: Index,
    /// What was looked at. None: everything.
    pub(crate) scope: Option<Scope>,
    /// Deletions of the plan, and those just before that belong together with them.
    pub(crate) going: u64,
    /// It was stopped before its end, and the plan is not whole.
    pub(crate) stopped: bool,
    /// Directories came faster than they could be watched: everything is to be looked at again.
    pub(crate) again: bool,
}

/// How changes are noticed.
#[derive(Debug, Default)]
pub(crate) enum Watching {
    /// Not yet.
    #[default]
    Not,
    Events(Watch),
    /// By looking at everything now and then; why.
    Polling(String),
}

/// The near side.
#[derive(Debug)]
pub(crate) struct Source {
    config: Arc<Config>,
    device: Option<u64>,
    rules: Option<Arc<Rules>>,
    pub(crate) cache: Cache,
    pub(crate) refused: Refused,
    pub(crate) deletions: Deletions,
    /// It was halted, and nobody confirmed that it should go on: whatever would go now waits for that.
    doubted: bool,
    pub(crate) watching: Watching,
    /// Others may change the source without this machine's kernel being told; the kind of file system.
    shared: Option<&'static str>,
}

/// What was judged of deletions.
pub(crate) struct Judgement {
    deletions: Deletions,
    doubted: bool,
}

impl Source {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            cache: Cache::load(&config.cache),
            config,
            device: None,
            rules: None,
            refused: Refused::default(),
            deletions: Deletions::new(),
            doubted: false,
            watching: Watching::default(),
            shared: None,
        }
    }

    /// What was judged of deletions until now.
    pub(crate) fn judgement(&self) -> Judgement {
        Judgement {
            deletions: self.deletions.clone(),
            doubted: self.doubted,
        }
    }

    /// What was judged since did not come to pass.
    pub(crate) fn judge_anew(&mut self, before: Judgement) {
        (self.deletions, self.doubted) = (before.deletions, before.doubted);
    }

    /// Forgets all that need not be so.
    pub(crate) fn forget(&mut self) {
        self.doubted = false;
        self.cache = Cache::new();
        self.rules = None;
        self.refused.forget();
    }

    /// What it halted for is looked at again.
    pub(crate) fn doubt(&mut self) {
        self.doubted = true;
        self.watch_again();
    }

    /// Somebody says that what it halted for is right.
    pub(crate) fn confirm(&mut self, reason: &str) {
        self.doubted = false;
        if reason == "source_replaced" {
            // It may lie on another file system now.
            self.device = None;
        } else {
            self.deletions.confirm(reason == "source_emptied");
        }
    }

    /// What kept us from watching may have been mended.
    pub(crate) fn watch_again(&mut self) {
        if matches!(self.watching, Watching::Polling(_)) {
            self.watching = Watching::Not;
        }
    }

    /// Why changes are not all noticed by events, so that everything is looked at now and then.
    pub(crate) fn watch_problem(&self) -> Option<String> {
        match (&self.watching, self.shared) {
            (Watching::Polling(why), _) => Some(why.clone()),
            (_, Some(kind)) => Some(format!(
                "the source is on {kind}, which does not tell of what other machines change"
            )),
            (Watching::Not | Watching::Events(_), None) => None,
        }
    }

    /// What decides what counts, outside of directories that do, may have changed. Gives whether it has.
    pub(crate) fn reread_rules(&mut self) -> bool {
        // A directory that came may hold one of the files now, or not yet: which of both is looked at once it is watched.
        if let Some(rules) = self.rules.clone() {
            self.watch_files(&rules);
        }
        self.rules().is_none_or(|(_, changed)| changed)
    }

    fn open_rules(&self) -> Option<Arc<Rules>> {
        let opened = Rules::open(&self.config.source, &self.config.rules, &self.config.places);
        // The patterns were looked at before the sync was accepted.
        opened.ok().map(Arc::new)
    }

    /// The rules as of now, and whether they decide otherwise than before.
    fn rules(&mut self) -> Option<(Arc<Rules>, bool)> {
        let before = self.rules.take();
        if let Some(fresh) = before.as_ref().filter(|rules| rules.are_fresh()) {
            self.rules = Some(Arc::clone(fresh));
            return Some((Arc::clone(fresh), false));
        }
        let now = self.open_rules()?;
        let changed = before.is_none_or(|before| !now.say_the_same(&before));
        self.rules = Some(Arc::clone(&now));
        self.watch_rules(&now);
        Some((now, changed))
    }

    /// Watches all files of the rules, if more of them are known by now. What changed before is heard.
    fn watch_rules(&mut self, rules: &Rules) {
        if rules.found_more() {
            self.watch_files(rules);
        }
    }

    fn watch_files(&mut self, rules: &Rules) {
        if let Watching::Events(watch) = &mut self.watching
            && let Err(why) = watch.set_files(&rules.files())
        {
            self.watching = Watching::Polling(why);
        }
    }

    /// Looks at what is wanted and plans what is to be done about it.
    ///
    /// # Errors
    /// When the source is not what it was, or too much of it is gone.
    pub(crate) fn survey(
        &mut self,
        copy: &Copy,
        wanted: &Wanted,
        stop: &AtomicBool,
    ) -> Result<Surveyed, Halt> {
        let root = Root::open(&self.config.source, self.device)?;
        self.device = Some(root.device());
        self.shared = root.shared();
        let Some((rules, changed)) = self.rules() else {
            return Err(Halt {
                reason: "error".to_owned(),
                message: "a pattern of --exclude is none".to_owned(),
            });
        };
        if let Wanted::Paths(paths) = wanted
            && (changed || paths.iter().any(|path| Rules::is_rule_file(path)))
        {
            // Everything has to be looked at, for which nothing may be under way.
            return Ok(Surveyed {
                root,
                plan: Plan::default(),
                index: Index::default(),
                scope: None,
                going: 0,
                stopped: true,
                again: false,
            });
        }
        let scope = match wanted {
            Wanted::Everything => None,
            Wanted::Paths(paths) => scope(paths, copy),
        };
        let (mut scan, again) = match &scope {
            None => self.look_at_all(&root, &rules, stop),
            Some(scope) => self.look_at_some(&root, &rules, scope, stop),
        };
        self.watch_rules(&rules);
        if !scan.stopped {
            // First, so that what is not as it was refused any more is planned.
            self.refused.looked(
                |path| has_seen(scope.as_ref(), path),
                |path| scan.tree.get(path).copied(),
                std::mem::take(&mut scan.problems),
            );
        }
        let plan = self.plan(copy, &scan, scope.as_ref());
        let going = match plan.deletions {
            0 => 0,
            deletions => deletions + self.deletions.gone(Instant::now(), copy.size().0),
        };
        if !scan.stopped {
            self.judge(copy, &plan, scope.is_none())?;
            if scope.is_none() && self.cache.len() > scan.tree.len() {
                self.cache.retain(|path| scan.tree.get(path).is_some());
            }
        }
        let index = Index::of(&plan, copy.entries().iter());
        Ok(Surveyed {
            root,
            plan,
            index,
            scope,
            going,
            stopped: scan.stopped,
            again,
        })
    }

    fn plan(&self, copy: &Copy, scan: &Scan, scope: Option<&Scope>) -> Plan {
        if scan.stopped {
            return Plan::default();
        }
        // Paths are asked for in their order.
        let hashes = RefCell::new(self.cache.cursor());
        plan::plan(&Ground {
            tree: &scan.tree,
            scope,
            unknown: &scan.unknown,
            far: copy.entries(),
            mode: self.config.mode,
            hash: &|path, key| (hashes.borrow_mut())(path, key),
            refused: &|path, seen| self.refused.is(path, seen),
        })
    }

    /// Whether so much may go.
    fn judge(&mut self, copy: &Copy, plan: &Plan, all: bool) -> Result<(), Halt> {
        if self.config.mode == Mode::Update || (plan.deletions == 0 && !all) {
            return Ok(());
        }
        let (there, _) = copy.size();
        let now = Instant::now();
        let empties = plan.deletions > 0 && empties(plan, there);
        let verdict = match self.deletions.emptied(now, u64::from(!empties), there) {
            Verdict::Fine => {
                let limits = &self.config.limits;
                self.deletions
                    .judge(now, plan.deletions, plan.new_files, there, limits)
            }
            verdict => verdict,
        };
        match verdict {
            // How much went before it halted is not known after a restart, so what is few by itself may be part of much.
            Verdict::Fine if self.doubted && plan.deletions > 0 => Err(too_many(plan.deletions, there)),
            Verdict::Fine => {
                self.doubted &= !all;
                Ok(())
            }
            Verdict::Emptied { of } => Err(Halt {
                reason: "source_emptied".to_owned(),
                message: format!(
                    "there is no file in {:?} any more, and {of} on the host would go",
                    self.config.source
                ),
            }),
            Verdict::TooMany { files, of } => Err(too_many(files, of)),
        }
    }

    /// Looks at everything. Each directory is watched before it is opened, so that nothing is missed that changes there; where
    /// that was not possible, it is looked at once more.
    fn look_at_all(&mut self, root: &Root, rules: &Rules, stop: &AtomicBool) -> (Scan, bool) {
        if matches!(self.watching, Watching::Not) {
            self.watching = match Watch::new(&self.config.source, &rules.files()) {
                Ok(watch) => Watching::Events(watch),
                Err(why) => Watching::Polling(why),
            };
        }
        for _ in 0..=LOOKS {
            let scan = self.watching(|opening| scan::scan(root, rules, stop, opening));
            if scan.stopped || !self.watch_all(rules, scan.dirs.iter().map(RelPath::as_bytes)) {
                return (scan, false);
            }
        }
        (scan::scan(root, rules, stop, &|_| {}), true)
    }

    fn look_at_some(&mut self, root: &Root, rules: &Rules, scope: &Scope, stop: &AtomicBool) -> (Scan, bool) {
        for _ in 0..=LOOKS {
            let scan = self.watching(|opening| scan::look(root, rules, scope, stop, opening));
            let Watching::Events(watch) = &mut self.watching else {
                return (scan, false);
            };
            match watch.add(&scan.dirs) {
                Ok(0) => return (scan, false),
                Ok(_) => {}
                Err(why) => {
                    self.watching = Watching::Polling(why);
                    return (scan, false);
                }
            }
        }
        (scan::look(root, rules, scope, stop, &|_| {}), true)
    }

    /// Looks, and watches each directory that is told it before it is opened, if directories are watched.
    fn watching(&mut self, look: impl FnOnce(&(dyn Fn(&[u8]) + Sync)) -> Scan) -> Scan {
        let Watching::Events(watch) = &mut self.watching else {
            return look(&|_| {});
        };
        let ears = Mutex::new((watch, None));
        let scan = look(&|dir| {
            let mut ears = ears.lock().unwrap_or_else(PoisonError::into_inner);
            if ears.1.is_none() {
                ears.1 = ears.0.add_one(dir).err();
            }
        });
        let (_, failed) = ears.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = failed {
            self.watching = Watching::Polling(why);
        }
        scan
    }

    /// Watches the source, these directories in it and no others. Gives whether something is watched that was not before.
    fn watch_all<'a>(&mut self, rules: &Rules, dirs: impl Iterator<Item = &'a [u8]>) -> bool {
        let Watching::Events(watch) = &mut self.watching else {
            return false;
        };
        let dirs = std::iter::once(&b""[..]).chain(dirs);
        let watched = watch.set_files(&rules.files());
        match watched.and_then(|()| watch.set(dirs)) {
            Ok(added) => added > 0,
            Err(why) => {
                self.watching = Watching::Polling(why);
                false
            }
        }
    }

    /// Notes what was learnt of a file.
    pub(crate) fn learn(&mut self, path: &RelPath, learnt: Learnt) {
        let Learnt {
            key,
            hash,
            began,
            signature,
        } = learnt;
        self.cache.note(path, key, hash, began);
        if let Some(signature) = signature {
            self.cache.note_blocks(path, hash, signature);
        }
    }

    /// A change was made on the host.
    pub(crate) fn made(&mut self, pending: Pending) {
        self.refused.is_there(&pending.path);
        if pending.new.is_none() {
            self.cache.remove(&pending.path);
        }
        if let Some(learnt) = pending.learnt {
            self.learn(&pending.path, learnt);
        }
    }
}

fn too_many(files: u64, of: u64) -> Halt {
    Halt {
        reason: "mass_deletion".to_owned(),
        message: format!("{files} of {of} files would go on the host"),
    }
}

/// Whether a path is in what was looked at.
pub(crate) fn has_seen(scope: Option<&Scope>, path: &[u8]) -> bool {
    scope.is_none_or(|scope| scope.trees.iter().any(|top| is_at_or_below(path, top)))
}

/// Whether no file is left of those that are there.
fn empties(plan: &Plan, there: u64) -> bool {
    plan.files == 0 && plan.deletions >= there
}

/// What to look at for these paths. None: everything.
fn scope(paths: &HashSet<Vec<u8>>, copy: &Copy) -> Option<Scope> {
    let known = copy.entries();
    if paths.contains(&Vec::new()) || (paths.len() > MANY && paths.len() > known.len() / 10) {
        return None;
    }
    let mut trees = HashSet::new();
    for path in paths {
        // What is no path of a tree is told by looking at its directory.
        let Ok(path) = RelPath::new(path) else {
            let at = path.iter().rposition(|&byte| byte == b'/')?;
            trees.insert(RelPath::new(&path[..at]).ok()?);
            continue;
        };
        trees.insert(topmost(path, |dir| {
            known.get(dir).map(|entry: &Entry| entry.kind) == Some(Kind::Dir)
        }));
    }
    Some(Scope {
        trees: trees.into_iter().collect(),
        entries: Vec::new(),
    })
}

/// The path, or the topmost directory above it that is not known yet: it has to be made first.
fn topmost(path: RelPath, is_known: impl Fn(&[u8]) -> bool) -> RelPath {
    let mut top = path;
    while let Some(dir) = top.parent() {
        if is_known(dir) {
            return top;
        }
        let Ok(dir) = RelPath::new(dir) else { return top };
        top = dir;
    }
    top
}

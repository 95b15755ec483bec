//! One look at the source with what comes of it: made on threads that may wait for a disk, handed over message by message.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1::SyncTargetRequest;
use outlast_tree::RelPath;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle, spawn_blocking},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Halt, State,
    copy::Copy,
    lane, large,
    outlet::Outlet,
    produce::{self, Index, Job, Produced},
    read,
    session::Session,
    source::{Judgement, Source, Surveyed, Wanted, has_seen},
    timers::Again,
    way::Load,
    work::Engine,
};
use crate::{
    plan::Plan,
    problem::{Problem, ProblemKind},
    root::Root,
};

/// More deletions than this, however few are seen at a time, are not done before they are over for a moment, so that they
/// are judged together and not when half of them is done.
const FEW_DELETIONS: u64 = 3;
/// Messages that wait between reading and sending.
const PRODUCED: usize = 4;
/// Bytes that are sent by the connection for what is short at most, where there is one for what is much. What is saved in
/// an editor is less.
const LITTLE: u64 = 256 << 10;
/// Bytes of new content that take longer than a connection that carries faster takes to be made.
const MUCH: u64 = 256 << 20;
/// Bytes of a change besides its content, about.
const A_CHANGE: u64 = 128;
/// When a file that kept changing is looked at again.
const CALM: Duration = Duration::from_secs(1);

/// A plan that is being sent.
pub(super) struct Pass {
    pub(super) produced: mpsc::Receiver<Produced>,
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    /// Somebody waits for what it sends.
    for_flush: bool,
    pub(super) began: Instant,
}

impl Pass {
    /// Ends it, wherever it is.
    pub(super) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.produced);
        // Nobody waits for what it was at.
        let _ended = self.thread.await;
    }
}

/// Why a look came to nothing.
pub(super) enum Ended {
    Halted(Halt),
    Broke(tonic::Status),
}

/// What came of a look.
pub(super) enum Looked {
    /// Nothing is to be sent.
    Nothing,
    /// Much is to be deleted, and there may be more of it.
    Held,
    /// It is being sent.
    Begun(Pass),
}

/// What a thread gives back that looked.
pub(super) type Back = (Box<Source>, Box<Copy>, Result<Surveyed, Halt>);

/// A look under way. The source and the copy are with it, so nothing that touches these can be done meanwhile.
pub(super) struct Looking {
    thread: JoinHandle<Back>,
    stop: Arc<AtomicBool>,
    began: Instant,
    /// Somebody waits for what comes of it.
    for_flush: bool,
    /// What changed, where only that is looked at.
    kept: Option<HashSet<Vec<u8>>>,
    /// What was judged before it.
    before: Judgement,
}

impl Looking {
    /// Waits until it is over, which is soon once the engine is to stop. Cancel-safe.
    pub(super) async fn over(&mut self, stop: &CancellationToken) -> Result<Back, JoinError> {
        tokio::select! {
            back = &mut self.thread => back,
            () = stop.cancelled() => {
                self.stop();
                (&mut self.thread).await
            }
        }
    }

    /// Nobody wants to know any more.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A look that is over.
pub(super) struct Found {
    surveyed: Result<Surveyed, Halt>,
    began: Instant,
    for_flush: bool,
    kept: Option<HashSet<Vec<u8>>>,
    /// What was judged before it.
    pub(super) before: Judgement,
}

impl Found {
    /// The time since it was made was not needed for it.
    pub(super) fn late(self) -> Self {
        let began = Instant::now();
        Self { began, ..self }
    }
}

impl Engine {
    /// Looks at what is to be looked at, on another thread, and begins to send what came of it.
    pub(super) async fn look(&mut self, session: &Session, held: bool) -> Result<Looked, Ended> {
        let Some(mut looking) = self.begin_look(held) else {
            return Ok(Looked::Nothing);
        };
        let back = looking.over(&self.stop).await;
        let found = self.end_look(looking, back).map_err(Ended::Broke)?;
        self.take_look(session, found)
    }

    /// Begins to look at what is to be looked at.
    pub(super) fn begin_look(&mut self, held: bool) -> Option<Looking> {
        let began = Instant::now();
        let for_flush = self.flushes.are_asked();
        let all = self.everything || self.rules_changed || for_flush;
        let only_rules = !self.everything && !for_flush && self.rules_changed;
        if all && self.view.state != State::Scanning {
            self.set(State::Scanning, None, None);
        }
        let mut source = self.source.take()?;
        let copy = self.copy.take().unwrap_or_default();
        let before = source.judgement();
        if for_flush {
            self.flushes.looking();
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let kept = (!all && !held).then(|| dirty.clone());
        (self.everything, self.rules_changed) = (false, false);
        let stop = Arc::new(AtomicBool::new(false));
        let stop_there = Arc::clone(&stop);
        let thread = spawn_blocking(move || {
            let all = all && (!only_rules || source.reread_rules());
            if for_flush {
                // Whatever was in the way may be gone.
                source.refused.forget();
                source.watch_again();
            }
            let wanted = if all {
                Wanted::Everything
            } else {
                Wanted::Paths(std::mem::take(&mut dirty))
            };
            let surveyed = source.survey(&copy, &wanted, &stop_there);
            (source, copy, surveyed)
        });
        Some(Looking {
            thread,
            stop,
            began,
            for_flush,
            kept,
            before,
        })
    }

    /// Takes back what was away with a look that is over.
    pub(super) fn end_look(
        &mut self,
        looking: Looking,
        back: Result<Back, JoinError>,
    ) -> Result<Found, tonic::Status> {
        let Ok((source, copy, surveyed)) = back else {
            // A panic of ours; what was known went with it.
            self.source = Some(Box::new(Source::new(Arc::clone(&self.config))));
            return Err(broke("looking at the source"));
        };
        (self.source, self.copy) = (Some(source), Some(copy));
        Ok(Found {
            surveyed,
            began: looking.began,
            for_flush: looking.for_flush,
            kept: looking.kept,
            before: looking.before,
        })
    }

    /// Lets go of what a look found, since it cannot be done: all is to be looked at again.
    pub(super) fn drop_look(&mut self, before: Judgement) {
        self.everything = true;
        self.flushes.not_looked();
        if let Some(source) = &mut self.source {
            // What it let pass, perhaps because that was confirmed, did not go.
            source.judge_anew(before);
        }
    }

    /// Begins to send what a look found.
    pub(super) fn take_look(&mut self, session: &Session, found: Found) -> Result<Looked, Ended> {
        let Found {
            surveyed,
            began,
            for_flush,
            kept,
            before,
        } = found;
        let mut surveyed = match surveyed {
            Ok(surveyed) => surveyed,
            Err(halt) => {
                self.everything = true;
                return Err(Ended::Halted(halt));
            }
        };
        if surveyed.stopped {
            self.drop_look(before);
            return Ok(Looked::Nothing);
        }
        self.cleared();
        if let Some(kept) = kept
            && surveyed.going > FEW_DELETIONS
        {
            self.dirty.extend(kept);
            return Ok(Looked::Held);
        }
        let load = load(&surveyed.plan, self.way.may_haul());
        if load > session.load {
            // By another connection, once all is answered that is under way.
            self.load = load;
            self.drop_look(before);
            return Ok(Looked::Nothing);
        }
        let large = surveyed
            .index
            .split(&mut surveyed.plan, |path| self.lane.has(path));
        let (root, index) = (Arc::new(surveyed.root), Arc::new(surveyed.index));
        let found = lane::Found {
            puts: large,
            root: Arc::clone(&root),
            index: Arc::clone(&index),
            for_flush,
        };
        let scope = surveyed.scope;
        self.lane
            .looked(found, |path| has_seen(scope.as_ref(), path), &mut self.counter);
        self.lane.let_go(|path| {
            has_seen(scope.as_ref(), path) && !surveyed.plan.puts.iter().any(|put| put.path == *path)
        });
        // What is not to be sent any more need not be sent again.
        self.forced
            .retain(|path, _| self.lane.has(path) || surveyed.plan.puts.iter().any(|put| put.path == *path));
        self.everything |= surveyed.again;
        if surveyed.plan.is_empty() {
            if for_flush {
                self.found_is_sent(session);
            }
            return Ok(Looked::Nothing);
        }
        Ok(Looked::Begun(self.begin(
            surveyed.plan,
            root,
            index,
            for_flush,
            began,
        )))
    }

    fn begin(
        &mut self,
        plan: Plan,
        root: Arc<Root>,
        index: Arc<Index>,
        for_flush: bool,
        began: Instant,
    ) -> Pass {
        self.counter.add(plan.files, plan.bytes);
        let (say, produced) = mpsc::channel(PRODUCED);
        let stop = Arc::new(AtomicBool::new(false));
        let stop_there = Arc::clone(&stop);
        let job = Job {
            root,
            plan,
            index,
            forced: self.forced.keys().cloned().collect(),
            replace: self.replace,
            adopted: self.adopted.clone(),
            outlet: Outlet {
                out: say,
                stop: stop_there,
                pack: self.way.is_far(),
            },
        };
        let thread = spawn_blocking(move || produce::produce(job));
        Pass {
            produced,
            thread,
            stop,
            for_flush: for_flush || !self.forced.is_empty(),
            began,
        }
    }

    /// Takes what a pass or a large file came to. Gives what is to be sent at once.
    pub(super) fn produced(
        &mut self,
        session: &mut Session,
        produced: Produced,
        again: &mut Again,
    ) -> Option<SyncTargetRequest> {
        match produced {
            Produced::Batch {
                request,
                pending,
                sent,
            } => {
                for pending in &pending {
                    self.lane.over(&pending.path);
                }
                let now = Instant::now();
                self.limit.sent(sent, now);
                self.lane.limit.sent(sent, now);
                let mut copy = self.copy.take().unwrap_or_default();
                session.send_off(&mut copy, pending);
                self.copy = Some(copy);
                Some(request)
            }
            Produced::Piece { request, bytes, sent } => {
                self.lane.limit.sent(sent, Instant::now());
                if large::stays(&request) {
                    self.counter.was_there(bytes);
                } else {
                    self.counter.sent(bytes);
                }
                self.lane.piece(request, bytes, sent);
                None
            }
            Produced::Large(put) => {
                self.lane.add(put);
                None
            }
            Produced::Changed => {
                self.lane.change(&mut self.counter);
                None
            }
            Produced::Same { path, bytes, learnt } => {
                self.counter.undo(self.lane.over(&path));
                self.counter.did(1, bytes);
                self.forced.remove(&path);
                if let Some(source) = &mut self.source
                    && let Some(learnt) = learnt
                {
                    source.learn(&path, learnt);
                    self.unsaved = true;
                }
                None
            }
            Produced::Left { path, bytes, problem } => {
                self.counter.undo(self.lane.over(&path));
                self.counter.did(1, bytes);
                self.leave(path, problem, again);
                None
            }
        }
    }

    /// A path is not sent.
    fn leave(&mut self, path: RelPath, problem: Option<Problem>, again: &mut Again) {
        self.forced.remove(&path);
        if let (Some(problem), Some(source)) = (problem, &mut self.source) {
            if problem.kind == ProblemKind::Changing {
                again.add(path.clone(), CALM);
            }
            source.refused.here(path, problem);
        }
    }

    /// Leaves large files that changed too often.
    pub(super) fn leave_changing(&mut self, again: &mut Again) {
        for path in self.lane.given_up() {
            let problem = read::changing(&path);
            self.leave(path, Some(problem), again);
        }
    }

    /// Nothing more comes of a large file.
    pub(super) fn large_sent(&mut self) -> Result<(), tonic::Status> {
        if self.lane.end_one() {
            Ok(())
        } else {
            // A panic of ours: nobody knows what was left out.
            Err(broke("reading a large file that is to be sent"))
        }
    }

    /// What was found for those who wait is sent, but for large files.
    fn found_is_sent(&mut self, session: &Session) {
        let large = self.lane.tickets().map(|(_, last)| last);
        self.flushes.sent(session.sent, large);
    }

    /// Everything of a pass was handed over.
    pub(super) async fn all_sent(&mut self, session: &Session, pass: Pass) -> Result<(), tonic::Status> {
        // A panic of ours: nobody knows what was left out.
        pass.thread
            .await
            .map_err(|_panic| broke("reading what is to be sent"))?;
        if pass.for_flush {
            self.found_is_sent(session);
        }
        Ok(())
    }
}

/// How much is to be sent.
fn load(plan: &Plan, may_haul: bool) -> Load {
    // Of what is there already only a part is sent.
    let new = plan.puts.iter().filter(|put| put.old.is_none());
    if may_haul && new.map(|put| put.seen.key.size).sum::<u64>() > MUCH {
        Load::Huge
    } else if plan.bytes + plan.puts.len() as u64 * A_CHANGE > LITTLE {
        Load::Much
    } else {
        Load::Little
    }
}

/// A part of ours broke. That is tried again like whatever fails.
fn broke(what: &str) -> tonic::Status {
    tonic::Status::internal(format!("{what} broke; outlast daemon logs tells more"))
}

//! One look at the source with what comes of it: made on threads that may wait for a disk, handed over message by message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1::SyncTargetRequest;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    Halt, State,
    copy::Copy,
    produce::{self, Job, Produced},
    session::Session,
    source::{Source, Surveyed, Wanted},
    timers::Again,
    work::Engine,
};
use crate::problem::ProblemKind;

/// More deletions than this are not done before they are over for a moment, so that they are judged together and not when
/// half of them is done.
const FEW_DELETIONS: u64 = 3;
/// Messages that wait between reading and sending.
const PRODUCED: usize = 4;
/// When a file that kept changing is looked at again.
const CALM: Duration = Duration::from_secs(1);

/// A plan that is being sent.
pub(super) struct Pass {
    pub(super) produced: mpsc::Receiver<Produced>,
    thread: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
    /// Somebody waits for what it sends.
    for_flush: bool,
    pub(super) began: Instant,
}

impl Pass {
    /// Ends it, wherever it is. Gives the number of the next large file.
    pub(super) async fn end(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.produced);
        self.thread.await.ok()
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

impl Engine {
    /// Looks at what is to be looked at, on another thread, and begins to send what came of it.
    pub(super) async fn look(&mut self, session: &Session, held: bool) -> Result<Looked, Ended> {
        let began = Instant::now();
        let for_flush = self.flushes.are_asked();
        let all = self.everything || self.rules_changed || for_flush;
        let only_rules = !self.everything && !for_flush && self.rules_changed;
        if all && self.view.state != State::Scanning {
            self.set(State::Scanning, None, None);
        }
        let (Some(mut source), Some(copy)) = (
            self.source.take(),
            self.copy.take().or_else(|| Some(Box::<Copy>::default())),
        ) else {
            return Ok(Looked::Nothing);
        };
        let mut dirty = std::mem::take(&mut self.dirty);
        let kept = (!all && !held).then(|| dirty.clone());
        (self.everything, self.rules_changed) = (false, false);
        let stop_looking = Arc::new(AtomicBool::new(false));
        let stop_there = Arc::clone(&stop_looking);
        let mut looking = spawn_blocking(move || {
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
        let stop = self.stop.clone();
        let looked = tokio::select! {
            looked = &mut looking => looked,
            () = stop.cancelled() => {
                stop_looking.store(true, Ordering::Relaxed);
                looking.await
            }
        };
        let Ok((source, copy, surveyed)) = looked else {
            // A panic of ours; what was known went with it.
            self.source = Some(Box::new(Source::new(Arc::clone(&self.config))));
            return Err(Ended::Broke(broke("looking at the source")));
        };
        (self.source, self.copy) = (Some(source), Some(copy));
        let surveyed = match surveyed {
            Ok(surveyed) => surveyed,
            Err(halt) => {
                self.everything = true;
                return Err(Ended::Halted(halt));
            }
        };
        if surveyed.stopped {
            self.everything = true;
            return Ok(Looked::Nothing);
        }
        if let Some(kept) = kept
            && surveyed.plan.deletions > FEW_DELETIONS
        {
            self.dirty.extend(kept);
            return Ok(Looked::Held);
        }
        // What is not to be sent any more need not be sent again.
        self.forced
            .retain(|path, _| surveyed.plan.puts.iter().any(|put| put.path == *path));
        self.everything |= surveyed.again;
        if for_flush {
            self.flushes.looking();
        }
        if surveyed.plan.is_empty() {
            if for_flush {
                self.flushes.sent(session.sent);
            }
            return Ok(Looked::Nothing);
        }
        Ok(Looked::Begun(self.begin(surveyed, for_flush, began)))
    }

    fn begin(&mut self, surveyed: Surveyed, for_flush: bool, began: Instant) -> Pass {
        self.counter.add(surveyed.plan.files, surveyed.plan.bytes);
        let (say, produced) = mpsc::channel(PRODUCED);
        let stop = Arc::new(AtomicBool::new(false));
        let stop_there = Arc::clone(&stop);
        let job = Job {
            root: surveyed.root,
            plan: surveyed.plan,
            index: surveyed.index,
            signatures: surveyed.signatures,
            forced: self.forced.keys().cloned().collect(),
            replace: self.replace,
            pack: self.way.is_far(),
            number: self.number,
        };
        let thread = spawn_blocking(move || produce::produce(job, say, &stop_there));
        Pass {
            produced,
            thread,
            stop,
            for_flush: for_flush || !self.forced.is_empty(),
            began,
        }
    }

    /// Takes what a pass came to. Gives what is to be sent.
    pub(super) fn produced(
        &mut self,
        session: &mut Session,
        produced: Produced,
        again: &mut Again,
    ) -> Option<SyncTargetRequest> {
        match produced {
            Produced::Batch { request, pending } => {
                let bytes = pending.iter().map(|pending| pending.bytes).sum();
                self.limit.sent(bytes, Instant::now());
                let mut copy = self.copy.take().unwrap_or_default();
                session.send_off(&mut copy, pending);
                self.copy = Some(copy);
                Some(request)
            }
            Produced::Piece { request, bytes } => {
                self.limit.sent(bytes, Instant::now());
                self.counter.sent(bytes);
                Some(request)
            }
            Produced::Same { path, bytes, learnt } => {
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
                self.counter.did(1, bytes);
                self.forced.remove(&path);
                if let (Some(problem), Some(source)) = (problem, &mut self.source) {
                    if problem.kind == ProblemKind::Changing {
                        again.add(path.clone(), CALM);
                    }
                    source.refused.here(path, problem);
                }
                None
            }
        }
    }

    /// Everything of a pass was handed over.
    pub(super) async fn all_sent(&mut self, session: &Session, pass: Pass) -> Result<(), tonic::Status> {
        // A panic of ours: nobody knows what was left out.
        let number = pass
            .thread
            .await
            .map_err(|_panic| broke("reading what is to be sent"))?;
        self.number = number;
        if pass.for_flush {
            self.flushes.sent(session.sent);
        }
        Ok(())
    }
}

/// A part of ours broke. That is tried again like whatever fails.
fn broke(what: &str) -> tonic::Status {
    tonic::Status::internal(format!("{what} broke; outlast daemon logs tells more"))
}

//! Serves an open target: looks at what changed, sends it, hears what became of it, and waits for the next change.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant as Clock, SystemTime},
};

use outlast_client::helper_v1::{SyncDone, SyncRefusal, SyncTargetRequest};
use outlast_tree::RelPath;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{
    Command, Halt, State,
    copy::Copy,
    produce::{self, Job, Produced},
    refused,
    session::{self, Said, Session},
    source::{Source, Surveyed, Wanted, Watching},
    work::{Engine, Next},
};
use crate::{
    problem::{Problem, ProblemKind},
    watch::Heard,
};

/// What changes within this time of the first change belongs together: an editor that saves by rename, a file that is
/// emptied and then written.
const GATHER: Duration = Duration::from_millis(1);
/// As long as more comes, it is waited for this long.
const GATHER_MOST: Duration = Duration::from_millis(20);
/// Changes that go on are gathered for longer each time, up to this.
const GATHER_WHILE_BUSY: Duration = Duration::from_millis(200);
/// Or for as many times as long as the last look with all that came of it took, so that a large file which is always written
/// to does not keep the machine busy with nothing else; at most for this long.
const REST: (u32, Duration) = (1, Duration::from_secs(3));
/// More deletions than this are not done before they are over for [`HOLD`] but at most after [`HOLD_MOST`], so that they are
/// judged together and not when half of them is done.
const FEW_DELETIONS: u64 = 3;
const HOLD: Duration = Duration::from_millis(100);
const HOLD_MOST: Duration = Duration::from_secs(2);
/// What comes after such a pause is a first change again.
const CALM_AFTER: Duration = Duration::from_secs(1);
/// Changed paths that are kept; where there are more, everything is looked at.
const DIRTY: usize = 10_000;
/// Messages that wait between reading and sending.
const PRODUCED: usize = 4;
/// Batches that may be unanswered before the next look.
const UNDERWAY: usize = 256;
/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
/// How long nothing must happen before what was written is brought to the disk there.
const QUIET: Duration = Duration::from_secs(2);
/// How often what is known is written down here, at most.
const SAVED_EVERY: Duration = Duration::from_secs(60);
/// How often everything is looked at where changes are not noticed.
const POLL: Duration = Duration::from_secs(5);
/// When what decides what counts is compared once more after it changed: a repository comes into being in many steps, and
/// where its files will be is known only after some of them.
const RULES_SETTLE: Duration = Duration::from_millis(500);
/// When a file that kept changing is looked at again.
const CALM: Duration = Duration::from_secs(1);
/// When what had no room is tried again: there may be some without anything happening here.
const ROOM: Duration = Duration::from_secs(15);
/// How often content is sent again that did not arrive as it was sent.
const SENT_AGAIN: u32 = 3;

/// A plan that is being sent.
struct Pass {
    produced: mpsc::Receiver<Produced>,
    thread: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
    /// Somebody waits for what it sends.
    for_flush: bool,
    began: Instant,
}

impl Pass {
    /// Ends it, wherever it is. Gives the number of the next large file.
    async fn end(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.produced);
        self.thread.await.ok()
    }
}

/// Why a look came to nothing.
enum Ended {
    Halted(Halt),
    Broke(tonic::Status),
}

/// What came of a look.
enum Looked {
    /// Nothing is to be sent.
    Nothing,
    /// Much is to be deleted, and there may be more of it.
    Held,
    /// It is being sent.
    Begun(Pass),
}

/// What happens.
enum Event {
    Stop,
    Command(Option<Command>),
    Said(Result<Said, tonic::Status>),
    Sent,
    Closed,
    Produced(Option<Produced>),
    Heard(Heard),
    Time,
}

/// When what is due.
#[derive(Default)]
struct Timers {
    gather: Option<(Instant, Instant)>,
    /// Until when deletions are waited for.
    hold: Option<Instant>,
    /// How long changes were gathered for last.
    pace: Duration,
    /// When the last look, with all that came of it, was over, and how long it took.
    over: Option<(Instant, Duration)>,
    show: Option<Instant>,
    quiet: Option<Instant>,
    save: Option<Instant>,
    saved: Option<Instant>,
    poll: Option<Instant>,
    again: Option<Instant>,
    rules: Option<Instant>,
}

impl Timers {
    /// Something was heard, and there may be more of it.
    fn gather(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.hold {
            self.gather = Some(((now + HOLD).min(last), last));
            return;
        }
        self.gather = Some(match self.gather {
            None => {
                self.pace = match self.over {
                    Some((at, took)) if now < at + CALM_AFTER.max(took) => {
                        let rest = (took * REST.0).min(REST.1);
                        (self.pace * 2).min(GATHER_WHILE_BUSY).max(rest)
                    }
                    _ => GATHER,
                };
                (now + self.pace, now + self.pace.max(GATHER_MOST))
            }
            Some((at, last)) => ((now + GATHER).clamp(at, last), last),
        });
    }

    /// There may be more deletions.
    fn hold(&mut self) {
        self.hold = Some(Instant::now() + HOLD_MOST);
        self.gather();
    }

    /// A look that began then is over, with all that came of it.
    fn over(&mut self, began: Instant) {
        let now = Instant::now();
        self.over = Some((now, now - began));
    }

    /// The next of those that are to come. What is due and cannot be done yet waits for something else, which wakes as well.
    fn next(&self, now: Instant) -> Option<Instant> {
        let gather = self.gather.map(|(at, _)| at);
        [
            gather, self.show, self.quiet, self.save, self.poll, self.again, self.rules,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }
}

/// What is tried again by itself.
#[derive(Default)]
struct Again(HashMap<RelPath, Instant>);

impl Again {
    fn add(&mut self, path: RelPath, after: Duration) {
        self.0.insert(path, Instant::now() + after);
    }

    fn first(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes those whose time has come.
    fn due(&mut self, now: Instant) -> Vec<RelPath> {
        let due = self.0.extract_if(|_, at| *at <= now);
        due.map(|(path, _)| path).collect()
    }
}

impl Engine {
    /// Serves a target until the stream ends, or something else is to be done.
    pub(super) async fn serve(&mut self, mut session: Session) -> Next {
        let mut pass = None;
        let next = self.attend(&mut session, &mut pass).await;
        if let Some(pass) = pass
            && let Some(number) = pass.end().await
        {
            self.number = number;
        }
        self.forced.clear();
        self.counter.clear();
        self.flushes.again();
        if session.is_even() {
            self.position = self.copy.as_ref().map(|_| session.position.clone());
        } else {
            // What of it was done is for the host to say.
            (self.copy, self.position) = (None, None);
        }
        match next {
            Ok(next) => next,
            Err(status) => self.broken(&status).await,
        }
    }

    async fn attend(
        &mut self,
        session: &mut Session,
        pass: &mut Option<Pass>,
    ) -> Result<Next, tonic::Status> {
        let mut next: Option<SyncTargetRequest> = None;
        let mut timers = Timers::default();
        let mut again = Again::default();
        let stop = self.stop.clone();
        loop {
            if self.paused || self.halted.is_some() || self.anew {
                return Ok(Next::GoOn);
            }
            let now = Instant::now();
            self.take_due(&mut timers, &mut again, now);
            if pass.is_none() && next.is_none() {
                let answered = session.answered();
                let can_settle = session.settling.is_none() && self.forced.is_empty();
                // First, because a source that never rests has always something to be looked at.
                if can_settle && self.flushes.are_to_settle(answered) {
                    let at = Clock::now();
                    session.settling = Some(at);
                    self.flushes.settling(answered, at);
                    next = Some(session::settle(false));
                } else if self.is_due(session, &timers, now) {
                    timers.gather = None;
                    let held = timers.hold.take().is_some();
                    match self.look(session, held).await {
                        // Nothing is to be sent, and somebody may wait for just that; no event tells them.
                        Ok(Looked::Held) => timers.hold(),
                        Ok(Looked::Nothing) if !stop.is_cancelled() => {
                            timers.over(now);
                            continue;
                        }
                        Ok(Looked::Nothing) => {}
                        Ok(Looked::Begun(begun)) => *pass = Some(begun),
                        Err(Ended::Halted(halt)) => {
                            self.halt(halt);
                            return Ok(Next::GoOn);
                        }
                        Err(Ended::Broke(status)) => return Err(status),
                    }
                } else if can_settle && timers.quiet.is_some_and(|at| at <= now) && session.is_even() {
                    timers.quiet = None;
                    session.settling = Some(Clock::now());
                    next = Some(session::settle(true));
                }
            }
            self.note_time(session, pass.is_some(), &mut timers, now);
            if timers.save.is_some_and(|at| at <= now) && pass.is_none() && session.is_even() {
                timers.save = None;
                timers.saved = Some(now);
                self.position = Some(session.position.clone());
                self.save().await;
            }
            let due = self.limit.due();
            let out = session.out.clone();
            let event = {
                let wake = timers.next(now);
                let watching = self.source.as_mut().map(|source| &mut source.watching);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Event::Stop,
                    command = self.inbox.recv() => Event::Command(command),
                    said = session.said() => Event::Said(said),
                    permit = async { sleep_until(due).await; out.reserve_owned().await }, if next.is_some() => {
                        match (permit, next.take()) {
                            (Ok(permit), Some(message)) => {
                                drop(permit.send(message));
                                Event::Sent
                            }
                            _ => Event::Closed,
                        }
                    }
                    produced = take(pass), if next.is_none() && pass.is_some() => Event::Produced(produced),
                    heard = hear(watching) => Event::Heard(heard),
                    () = until(wake) => Event::Time,
                }
            };
            match event {
                Event::Stop | Event::Command(None) => return Ok(Next::End),
                Event::Command(Some(command)) => {
                    self.command(command);
                }
                Event::Said(Ok(Said::Done(done))) => {
                    self.done(session, done, &mut again)?;
                    timers.quiet = Some(Instant::now() + QUIET);
                    self.unsaved = true;
                }
                Event::Said(Ok(Said::Settled(settled))) => {
                    session.position.generation = settled.generation;
                    let altered: Vec<RelPath> = session::paths(&settled.altered).collect();
                    if let Some(copy) = &mut self.copy {
                        for path in &altered {
                            session.correct(copy, path, None);
                        }
                    }
                    self.dirty.extend(altered.iter().map(|path| path.to_vec()));
                    // Whoever waited finds what is known of it.
                    self.publish();
                    if let Some(at) = session.settling.take() {
                        self.flushes.settled(at, !altered.is_empty());
                    }
                }
                Event::Said(Err(status)) => return Err(status),
                Event::Sent => {}
                // Why is what the other direction says.
                Event::Closed => {
                    return Err(match session.said().await {
                        Err(status) => status,
                        Ok(_) => tonic::Status::unavailable("the stream to the target ended"),
                    });
                }
                Event::Produced(Some(produced)) => next = self.produced(session, produced, &mut again),
                Event::Produced(None) => {
                    if let Some(pass) = pass.take() {
                        timers.over(pass.began);
                        self.all_sent(session, pass).await?;
                    }
                }
                Event::Heard(heard) => {
                    if matches!(heard, Heard::Rules) {
                        timers.rules = Some(Instant::now() + RULES_SETTLE);
                    }
                    self.heard(heard);
                    timers.gather();
                }
                // Whatever is due is done above.
                Event::Time => {}
            }
        }
    }

    /// What is to be looked at because its time has come.
    fn take_due(&mut self, timers: &mut Timers, again: &mut Again, now: Instant) {
        if timers.poll.is_some_and(|at| at <= now) {
            timers.poll = None;
            self.everything = true;
        }
        if timers.show.is_some_and(|at| at <= now) {
            timers.show = None;
        }
        if timers.rules.is_some_and(|at| at <= now) {
            timers.rules = None;
            self.rules_changed = true;
        }
        for path in again.due(now) {
            if let Some(source) = &mut self.source {
                source.refused.is_there(&path);
            }
            self.dirty.insert(path.to_vec());
        }
        timers.again = again.first();
    }

    /// Whether it is time to look again.
    fn is_due(&mut self, session: &Session, timers: &Timers, now: Instant) -> bool {
        if self.everything || self.rules_changed || self.flushes.are_asked() {
            return session.is_even();
        }
        if self.dirty.is_empty() || timers.gather.is_some_and(|(at, _)| at > now) {
            return false;
        }
        session.unanswered() < UNDERWAY && !session.has_underway(&self.dirty)
    }

    /// Looks at what is to be looked at, on another thread, and begins to send what came of it.
    async fn look(&mut self, session: &Session, held: bool) -> Result<Looked, Ended> {
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
    fn produced(
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
    async fn all_sent(&mut self, session: &Session, pass: Pass) -> Result<(), tonic::Status> {
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

    /// Takes what became of a batch.
    fn done(
        &mut self,
        session: &mut Session,
        done: SyncDone,
        again: &mut Again,
    ) -> Result<(), tonic::Status> {
        let strange = || tonic::Status::internal("the helper answers what it was not asked");
        let batch = session.answer().ok_or_else(strange)?;
        if batch.len() != done.outcomes.len() {
            return Err(strange());
        }
        session.position.generation = done.generation;
        let (Some(source), Some(copy)) = (&mut self.source, &mut self.copy) else {
            return Ok(());
        };
        for (underway, outcome) in batch.into_iter().zip(done.outcomes) {
            let (pending, old) = (underway.pending, underway.old);
            if pending
                .seen
                .is_some_and(|seen| seen.kind == outlast_tree::Kind::File)
            {
                self.counter.did(1, pending.bytes);
            }
            let refusal = outcome.refusal();
            if refusal == SyncRefusal::Unspecified {
                self.forced.remove(&pending.path);
                source.made(pending);
                continue;
            }
            // What is somebody else's is not in the record any more; all else is as it was.
            let is_let_go = matches!(
                refusal,
                SyncRefusal::Conflict | SyncRefusal::Clash | SyncRefusal::NotEmpty
            );
            session.correct(copy, &pending.path, old.filter(|_| !is_let_go));
            let problem = match refused::problem(&pending.path, &outcome) {
                Some(problem) => problem,
                None => {
                    let times = self.forced.entry(pending.path.clone()).or_insert(0);
                    *times += 1;
                    if *times <= SENT_AGAIN {
                        self.dirty.insert(pending.path.to_vec());
                        continue;
                    }
                    let text = "its content does not arrive on the host as it was sent";
                    Problem::new(&pending.path, ProblemKind::Failed, text)
                }
            };
            self.forced.remove(&pending.path);
            if problem.kind == ProblemKind::DiskFull {
                again.add(pending.path.clone(), ROOM);
            }
            source.refused.by_host(pending.path, pending.seen, problem);
        }
        Ok(())
    }

    /// Something changed here.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            // All of it is looked at anyway.
            Heard::Paths(_) if self.everything => {}
            Heard::Paths(paths) => {
                self.dirty.extend(paths);
                if self.dirty.len() > DIRTY {
                    self.dirty.clear();
                    self.everything = true;
                }
            }
            Heard::Rules => self.rules_changed = true,
            Heard::Everything(why) => {
                tracing::info!(sync = self.config.id, why, "looking at everything again");
                self.everything = true;
            }
            Heard::Failed(why) => {
                if let Some(source) = &mut self.source {
                    source.watching = Watching::Polling(why);
                }
                self.everything = true;
            }
        }
    }

    /// Says how it is, and when to look at the time again.
    fn note_time(&mut self, session: &Session, passing: bool, timers: &mut Timers, now: Instant) {
        let is_busy = passing
            || !session.is_even()
            || self.everything
            || session.settling.is_some() && !self.flushes.is_empty();
        let state = if is_busy { State::Pushing } else { State::Watching };
        if !is_busy {
            self.counter.clear();
            // All of it is there once, and no error came in between.
            (self.replace, self.occupied, self.errors) = (false, false, 0);
            if self.view.state != State::Watching {
                self.view.synced_at = Some(SystemTime::now());
            }
            let is_polling = self
                .source
                .as_ref()
                .is_some_and(|source| source.watch_problem().is_some());
            if is_polling && timers.poll.is_none() {
                timers.poll = Some(now + POLL);
            }
            if self.unsaved && timers.save.is_none() {
                let rested = timers.saved.map_or(now, |at| at + SAVED_EVERY);
                timers.save = Some(rested.max(now + QUIET));
            }
        }
        if self.view.state != state {
            self.set(state, None, None);
        } else if is_busy && timers.show.is_none() {
            self.publish();
            timers.show = Some(now + SHOWN_EVERY);
        } else if !is_busy {
            self.publish();
        }
    }
}

/// A part of ours broke. That is tried again like whatever fails.
fn broke(what: &str) -> tonic::Status {
    tonic::Status::internal(format!("{what} broke; outlast daemon logs tells more"))
}

/// The next thing a pass came to.
async fn take(pass: &mut Option<Pass>) -> Option<Produced> {
    match pass {
        Some(pass) => pass.produced.recv().await,
        None => std::future::pending().await,
    }
}

/// The next thing the watch heard.
pub(super) async fn hear(watching: Option<&mut Watching>) -> Heard {
    match watching {
        Some(Watching::Events(watch)) => watch.next().await,
        _ => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

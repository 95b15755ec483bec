//! Serves an open target: looks at what changed, sends it, hears what became of it, and waits for the next change.

use std::time::{Duration, Instant as Clock, SystemTime};

use outlast_client::helper_v1::{SyncDone, SyncRefusal, SyncTargetRequest};
use outlast_tree::{Kind, RelPath};
use tokio::time::{Instant, sleep_until};

use super::{
    Command, State, large,
    pass::{Ended, Found, Looked, Pass},
    produce::Produced,
    refused,
    session::{self, Said, Session},
    source::Watching,
    timers::{Again, Timers},
    work::{Engine, Next},
};
use crate::{
    problem::{Problem, ProblemKind},
    watch::Heard,
};

/// Changed paths that are kept; where there are more, everything is looked at.
const DIRTY: usize = 10_000;
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
/// When what had no room is tried again: there may be some without anything happening here.
const ROOM: Duration = Duration::from_secs(15);
/// How often content is sent again that did not arrive as it was sent.
const SENT_AGAIN: u32 = 3;

/// What happens.
enum Event {
    Stop,
    Command(Option<Command>),
    Said(Result<Said, tonic::Status>),
    Sent,
    Closed,
    Produced(Option<Produced>),
    Large(Option<Produced>),
    Heard(Heard),
    Time,
}

impl Engine {
    /// Serves a target until the stream ends, or something else is to be done.
    /// `found`: what was found here while it was opened.
    pub(super) async fn serve(&mut self, mut session: Session, found: Option<Found>) -> Next {
        let mut pass = None;
        let next = self.attend(&mut session, found, &mut pass).await;
        if let Some(pass) = pass {
            pass.end().await;
        }
        self.lane.end().await;
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
        mut found: Option<Found>,
        pass: &mut Option<Pass>,
    ) -> Result<Next, tonic::Status> {
        let mut next: Option<SyncTargetRequest> = None;
        let mut timers = Timers::default();
        let mut again = Again::default();
        let stop = self.stop.clone();
        loop {
            if self.is_held() || self.anew || (self.outgrew(session) && session.is_even()) {
                return Ok(Next::GoOn);
            }
            let now = Instant::now();
            self.take_due(&mut timers, &mut again, now);
            self.leave_changing(&mut again);
            let large = self.lane.tickets().map(|(first, _)| first);
            self.flushes.large_sent(large, session.sent);
            if pass.is_none() && next.is_none() {
                let answered = session.answered();
                let can_settle =
                    session.settling.is_none() && self.forced.is_empty() && !self.lane.is_to_take_back();
                // What is not wanted goes before anybody is told that all is there. Then this, because a source that never
                // rests has always something to be looked at.
                if let Some(path) = self.lane.unwanted() {
                    next = Some(large::ask(0, &path, true));
                } else if can_settle && self.flushes.are_to_settle(answered) {
                    let at = Clock::now();
                    session.settling = Some(at);
                    self.flushes.settling(answered, at);
                    next = Some(session::settle(false));
                } else if found.is_some() || self.is_due(session, &timers, now) {
                    timers.gather = None;
                    let held = timers.hold.take().is_some();
                    let looked = match found.take() {
                        Some(found) => self.take_look(session, found.late()),
                        None => self.look(session, held).await,
                    };
                    match looked {
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
            if pass.is_none() {
                // What it needs there was sent.
                self.begin_large();
            }
            let is_sending = pass.is_some() || !self.lane.is_idle();
            self.note_time(session, is_sending, &mut timers, now);
            self.flushes.nothing_to_do();
            if timers.save.is_some_and(|at| at <= now) && pass.is_none() && session.is_even() {
                timers.save = None;
                timers.saved = Some(now);
                self.position = Some(session.position.clone());
                self.save().await;
            }
            let (out, slowly) = (session.out.clone(), session.out.clone());
            let (due, slowly_due) = (self.limit.due(), self.lane.limit.due());
            let is_waited_for = self.waits_for_answers(session);
            let event = {
                let wake = [timers.next(now), self.lane.due().filter(|at| *at > now)];
                let wake = wake.into_iter().flatten().min();
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
                    // Large files go when there is nothing else.
                    permit = async { sleep_until(slowly_due).await; slowly.reserve_owned().await },
                        if next.is_none() && self.lane.has_piece() && self.lane.window.is_open() =>
                    {
                        match (permit, self.lane.take_piece()) {
                            (Ok(permit), Some(message)) => {
                                drop(permit.send(message));
                                Event::Sent
                            }
                            _ => Event::Closed,
                        }
                    }
                    large = self.lane.produced(),
                        if next.is_none() && !self.lane.has_piece() && !is_waited_for => Event::Large(large),
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
                Event::Said(Ok(Said::Held(held))) => {
                    if !self.lane.held(&held) {
                        return Err(tonic::Status::internal(
                            "the helper tells what is no value of a block",
                        ));
                    }
                }
                Event::Said(Ok(Said::Took)) => self.lane.window.answered(Instant::now()),
                Event::Said(Ok(Said::Settled(settled))) => {
                    session.position.generation = settled.generation;
                    let altered: Vec<RelPath> = session::paths(&settled.altered).collect();
                    if let Some(copy) = &mut self.copy {
                        for path in &altered {
                            session.correct(copy, path, None);
                        }
                    }
                    self.dirty.extend(altered.iter().map(|path| path.to_vec()));
                    if altered.is_empty() && session.is_even() && !self.flushes.is_empty() {
                        self.view.synced_at = Some(SystemTime::now());
                    }
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
                Event::Produced(Some(produced)) => {
                    next = self.produced(session, produced, &mut again);
                }
                Event::Large(Some(produced)) => {
                    next = self.produced(session, produced, &mut again);
                }
                Event::Large(None) => self.large_sent()?,
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

    /// Whether everything is to be looked at, for which all that was sent has to be answered.
    fn waits_for_answers(&mut self, session: &Session) -> bool {
        let wants_everything = self.everything || self.rules_changed || self.flushes.are_asked();
        wants_everything && !session.is_even()
    }

    /// Whether what is to be sent is for another connection.
    fn outgrew(&self, session: &Session) -> bool {
        self.load > session.load
    }

    /// Whether it is time to look again.
    fn is_due(&mut self, session: &Session, timers: &Timers, now: Instant) -> bool {
        if self.outgrew(session) {
            return false;
        }
        if self.everything || self.rules_changed || self.flushes.are_asked() {
            return session.is_even();
        }
        if self.dirty.is_empty() || timers.gather.is_some_and(|(at, _)| at > now) {
            return false;
        }
        session.unanswered() < UNDERWAY && !session.has_underway(&self.dirty)
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
            if pending.seen.is_some_and(|seen| seen.kind == Kind::File) {
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
            || !self.forced.is_empty()
            || self.everything
            || session.settling.is_some() && !self.flushes.is_empty();
        let state = if is_busy { State::Pushing } else { State::Watching };
        if !is_busy {
            self.counter.clear();
            // All of it is there once, and no error came in between.
            (self.replace, self.occupied, self.errors) = (false, false, 0);
            if self.dirty.is_empty() && timers.again.is_none() {
                self.adopted.clear();
            }
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

//! The one task that owns a sync's row, and the engine that does its work.
//!
//! ```text
//!   wish ──► row (with its event) ──► engine
//!   engine's view ──► published at once ──► row: when the state changes, else now and then
//! ```
//!
//! Intents (pause, reset, what may be replaced) are in the row before the engine hears of them, so that the engine of the
//! next daemon begins with them. An engine that ends by itself is made anew.

use std::{sync::Arc, time::SystemTime};

use outlast_client::v1::Error;
use outlast_model::{
    admission::{self, sync::Wanted},
    sync::{Reset, Sync, SyncState},
};
use outlast_store::Request;
use outlast_sync::engine::{self, Refused, State};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Syncs, View, judge, not_found, way::ByHost};
use crate::{
    hosts::Host,
    refusal,
    retry::{Backoff, is_hopeless},
    rpc::status::failure,
};

/// Commands that may wait for an engine.
const INBOX: usize = 16;

/// How often figures are written while nothing else changes, and how often that a sync turns from watching to pushing and
/// back, which a build can have it do many times a second. Whoever looks gets both from the engine; the row is for the
/// next daemon, and the log of events for those who read it.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// When figures are written again that could not be: a full disk is mended by people.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// How long after everything is there memory is given back, when what was known was written down as well; and how often, at
/// most.
const TRIM_AFTER: Duration = Duration::from_secs(5);
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// How long an engine may take to hear a command; it only has to put it aside.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// How long an engine may take to let go. It may be reading a large file where nothing can interrupt it.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// An engine that worked for so long did not fail at once, and is made anew without a pause.
const LASTED: Duration = Duration::from_secs(60);

/// The reason of a sync whose engine has ended by itself.
const BROKE: &str = "broke";

/// What somebody wants of a sync.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// To do nothing until it is resumed.
    Pause,
    /// To go on.
    Resume {
        /// Also when it is halted.
        confirm: bool,
    },
    /// To compare everything anew.
    Reset {
        /// What differs there is replaced.
        adopt: bool,
    },
    /// To end.
    Delete,
}

/// What a driver is told.
#[derive(Debug)]
pub(super) enum Command {
    /// A wish, where it comes from and where the answer goes.
    Want {
        wish: Wish,
        request: Option<Request>,
        reply: oneshot::Sender<Result<Sync, Error>>,
    },
    /// Somebody waits until everything is there. Dropped: to be asked again.
    Flush(oneshot::Sender<Result<(), Refused>>),
    /// Somebody waits until it goes on because what it is halted for is not so any more. Dropped as above.
    LookAgain(oneshot::Sender<Result<(), Refused>>),
    /// Somebody decides conflicts at and below some paths. Dropped: it came to nothing.
    Adopt {
        paths: Vec<Vec<u8>>,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
}

/// The state of the task.
pub(super) struct Driver {
    syncs: Syncs,
    host: Arc<Host>,
    sync: Sync,
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<View>>,
    engine: Engine,
    /// What the engine showed last.
    shown: engine::View,
    /// When figures are to be written. Absent: they are.
    write_at: Option<Instant>,
    /// When anything was written last.
    written_at: Option<Instant>,
    /// When memory is to be given back, and when it was last.
    trim_at: Option<Instant>,
    trimmed_at: Option<Instant>,
    backoff: Backoff,
    /// What somebody waits for and the engine is through with.
    flushed: mpsc::Receiver<Flushed>,
    /// Where they come from.
    through: mpsc::Sender<Flushed>,
}

/// What came of a flush or of looking again, and who waits for it.
type Flushed = (Result<(), Refused>, oneshot::Sender<Result<(), Refused>>);

/// The engine, or what is left of it.
struct Engine {
    inbox: mpsc::Sender<engine::Command>,
    view: watch::Receiver<engine::View>,
    /// Absent: it has ended.
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
    began: Instant,
    /// When it is to be made anew.
    again_at: Option<Instant>,
    /// When it was told to compare everything anew.
    reset_at: Option<SystemTime>,
}

impl Driver {
    pub(super) fn new(
        syncs: Syncs,
        host: Arc<Host>,
        sync: Sync,
        inbox: mpsc::Receiver<Command>,
        publish: watch::Sender<Arc<View>>,
    ) -> Self {
        let engine = Engine::start(&syncs, &host, &sync);
        let (through, flushed) = mpsc::channel(INBOX);
        Self {
            syncs,
            host,
            sync,
            inbox,
            publish,
            engine,
            shown: engine::View::default(),
            write_at: None,
            written_at: None,
            trim_at: None,
            trimmed_at: None,
            backoff: Backoff::default(),
            flushed,
            through,
        }
    }

    /// Drives the sync until it or its host is removed, or the daemon ends.
    pub(super) async fn run(mut self) {
        let end = self.syncs.app().shutdown.token();
        self.remind_of_reset().await;
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => return self.leave().await,
                () = self.host.removed() => {
                    // The row went with it.
                    self.engine.end().await;
                    self.syncs.remove_cache(self.sync.id).await;
                    return;
                }
                Some(command) = self.inbox.recv() => if self.obey(command).await {
                    return;
                },
                Ok(()) = self.engine.view.changed() => self.take().await,
                // After what the engine showed before it: whoever waited finds what came of it.
                Some((answer, reply)) = self.flushed.recv() => {
                    // Who does not wait any more does not mind.
                    let _gone = reply.send(answer);
                }
                () = at(self.write_at) => self.write().await,
                () = at(self.trim_at) => self.trim(),
                broke = over(&mut self.engine.task) => self.broke(broke),
                () = at(self.engine.again_at) => {
                    self.engine = Engine::start(&self.syncs, &self.host, &self.sync);
                    self.remind_of_reset().await;
                }
            }
        }
    }

    /// Has the engine do what somebody waits for. Its answer comes by way of the driver.
    async fn tell_and_wait(
        &mut self,
        command: impl FnOnce(oneshot::Sender<Result<(), Refused>>) -> engine::Command,
        mut reply: oneshot::Sender<Result<(), Refused>>,
    ) {
        let (answer, mut answered) = oneshot::channel();
        let through = self.through.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Dropped, so is the other one, and it is asked again.
                answer = &mut answered => if let Ok(answer) = answer {
                    let _ended = through.send((answer, reply)).await;
                },
                () = reply.closed() => {}
            }
        });
        self.tell(command(answer)).await;
    }

    /// The last figures, for the next daemon. Its engine hears of the end by itself.
    async fn leave(mut self) {
        if self.write_at.is_some() {
            self.write().await;
        }
    }

    /// Takes in what the engine shows.
    async fn take(&mut self) {
        self.shown = self.engine.view.borrow_and_update().clone();
        let was = self.sync.seen.state;
        let seen = judge::seen(&self.sync, &self.shown);
        let news = seen.is_news(&self.sync.seen);
        let routine = judge::is_routine(self.sync.seen.state) && judge::is_routine(seen.state);
        let changed = seen != self.sync.seen;
        self.sync.seen = seen;
        let reset = self.is_reset();
        if reset {
            self.sync.resetting = None;
        }
        // What was there was taken; what comes there now is somebody else's.
        let adopted = self.sync.occupied && self.shown.state == State::Watching;
        if adopted {
            self.sync.occupied = false;
        }
        self.show();
        if self.shown.state == State::Watching && was != SyncState::Watching {
            let rested = self.trimmed_at.map(|at| at + TRIM_EVERY);
            let soon = Instant::now() + TRIM_AFTER;
            self.trim_at = Some(rested.map_or(soon, |rested| rested.max(soon)));
        }
        // That an engine begins is nothing to keep: what was seen last still is.
        if self.shown.state == State::Starting {
            return;
        }
        let now = Instant::now();
        let rested = self.written_at.map_or(now, |at| at + WRITE_EVERY);
        if reset || adopted || news && (!routine || rested <= now) {
            self.write().await;
        } else if news {
            self.write_at = Some(rested);
        } else if changed && self.write_at.is_none() {
            self.write_at = Some(now + WRITE_EVERY);
        }
    }

    /// Gives memory back: looking at everything and sending it takes more than waiting does.
    fn trim(&mut self) {
        self.trim_at = None;
        self.trimmed_at = Some(Instant::now());
        // It takes some milliseconds, and nobody waits for it.
        drop(tokio::task::spawn_blocking(crate::sys::give_back_memory));
    }

    /// Whether everything was compared since that was asked for.
    fn is_reset(&self) -> bool {
        let told = self.sync.resetting.and(self.engine.reset_at);
        let done = told.zip(self.shown.synced_at);
        self.shown.state == State::Watching && done.is_some_and(|(told, synced)| synced >= told)
    }

    /// Writes what is known. What cannot be written now is written later.
    async fn write(&mut self) {
        self.write_at = None;
        self.written_at = Some(Instant::now());
        if let Err(error) = self.syncs.app().store.update_sync(&self.sync, false).await {
            tracing::warn!(sync = %self.sync.name, %error, "writing how a sync stands");
            if !is_hopeless(&error) {
                self.write_at = Some(Instant::now() + WRITE_AGAIN);
            }
        }
    }

    /// The engine has ended, though nobody told it to.
    fn broke(&mut self, why: String) {
        tracing::error!(sync = %self.sync.name, why, "the engine of a sync ended; it is made anew");
        if self.engine.began.elapsed() > LASTED {
            self.backoff = Backoff::default();
        }
        self.engine.again_at = Some(Instant::now() + self.backoff.pause());
        self.shown.state = State::Error;
        self.shown.reason = Some(BROKE.to_owned());
        self.shown.message = Some(why);
        self.shown.progress = None;
        self.sync.seen = judge::seen(&self.sync, &self.shown);
        self.show();
        self.write_at.get_or_insert(Instant::now());
    }

    /// Does what is wanted. True: the sync is removed.
    async fn obey(&mut self, command: Command) -> bool {
        let (wish, request, reply) = match command {
            Command::Want { wish, request, reply } => (wish, request, reply),
            Command::Flush(reply) => {
                self.tell_and_wait(engine::Command::Flush, reply).await;
                return false;
            }
            Command::LookAgain(reply) => {
                self.tell_and_wait(engine::Command::LookAgain, reply).await;
                return false;
            }
            Command::Adopt { paths, reply } => {
                let adopt = |reply| engine::Command::Adopt { paths, reply };
                self.tell_and_wait(adopt, reply).await;
                return false;
            }
        };
        let answer = match wish {
            Wish::Pause => {
                let wanted = admission::sync::pause(&self.sync);
                self.want(wanted, request, engine::Command::Pause).await
            }
            Wish::Resume { confirm } => match admission::sync::resume(&self.sync, confirm) {
                Ok(wanted) => {
                    let resume = engine::Command::Resume { confirm };
                    self.want(wanted, request, resume).await
                }
                Err(denied) => {
                    let denied = refusal::denied(&denied.into(), Some(self.sync.id));
                    self.repeat_or(request, denied).await
                }
            },
            Wish::Reset { adopt } => {
                let wanted = admission::sync::reset(&self.sync, adopt);
                let reset = engine::Command::Reset { adopt };
                self.want(wanted, request, reset).await
            }
            Wish::Delete => self.delete(request).await,
        };
        let removed = matches!(wish, Wish::Delete) && answer.is_ok();
        // Whoever asked may have gone; the wish stands all the same.
        let _gone = reply.send(answer.map(|()| self.sync.clone()));
        if removed {
            // Those who asked meanwhile hear that it is gone.
            self.inbox.close();
            while let Ok(command) = self.inbox.try_recv() {
                if let Command::Want { reply, .. } = command {
                    let _gone = reply.send(Err(not_found(self.sync.name.as_str())));
                }
            }
        }
        removed
    }

    /// Puts an intent on disk and tells the engine.
    async fn want(
        &mut self,
        wanted: Wanted,
        request: Option<Request>,
        command: engine::Command,
    ) -> Result<(), Error> {
        let store = &self.syncs.app().store;
        let repeat = match (&wanted, request) {
            (Wanted::Write(sync), Some(request)) => {
                let done = store.request_sync(sync, &request).await.map_err(failure)?;
                done.is_repeat()
            }
            (Wanted::Write(sync), None) => {
                store.update_sync(sync, true).await.map_err(failure)?;
                false
            }
            (Wanted::Tell, Some(request)) => {
                let id = self.sync.id.to_string();
                let noted = store.record_request(&request, &id, None).await;
                noted.map_err(failure)?.is_repeat()
            }
            (Wanted::Tell, None) => false,
        };
        if repeat {
            return Ok(());
        }
        if let Wanted::Write(sync) = wanted {
            self.sync = *sync;
            self.show();
        }
        self.tell(command).await;
        Ok(())
    }

    /// A repeat of a request that was done is no error, even where it would be denied by now.
    async fn repeat_or(&self, request: Option<Request>, error: Error) -> Result<(), Error> {
        let store = &self.syncs.app().store;
        match request {
            Some(request) if store.find_request(&request).await.map_err(failure)?.is_some() => Ok(()),
            _ => Err(error),
        }
    }

    /// Removes all of it but what it wrote: engine, row, cache, and the record there.
    async fn delete(&mut self, request: Option<Request>) -> Result<(), Error> {
        self.engine.end().await;
        let (id, store) = (self.sync.id, &self.syncs.app().store);
        if let Err(error) = store.delete_sync(id, request.as_ref()).await {
            self.engine.again_at = Some(Instant::now());
            return Err(failure(error));
        }
        self.syncs.inner.handles.remove(id);
        self.syncs.remove_cache(id).await;
        self.syncs.forget_record(&self.host, id).await;
        Ok(())
    }

    /// Tells the engine. The row says what is wanted, so one that does not listen is replaced by one that begins with it;
    /// who waits for a flush asks again.
    async fn tell(&mut self, command: engine::Command) {
        let reset = matches!(command, engine::Command::Reset { .. });
        let now = SystemTime::now();
        match timeout(HEARD_WITHIN, self.engine.inbox.send(command)).await {
            Ok(Ok(())) if reset => self.engine.reset_at = Some(now),
            Ok(Ok(())) => {}
            // It has ended, and is being made anew.
            Ok(Err(_ended)) => {}
            Err(_late) => {
                tracing::error!(sync = %self.sync.name, "the engine of a sync does not listen; it is made anew");
                self.engine.end().await;
                self.engine.again_at = Some(Instant::now());
            }
        }
    }

    /// Tells a new engine of a wish that the one before did not fulfil.
    async fn remind_of_reset(&mut self) {
        if let Some(reset) = self.sync.resetting {
            let adopt = reset == Reset::Adopt;
            self.tell(engine::Command::Reset { adopt }).await;
        }
    }

    /// Publishes what is known.
    fn show(&self) {
        let view = View {
            sync: self.sync.clone(),
            engine: self.shown.clone(),
        };
        self.publish.send_if_modified(|shown| {
            let news = **shown != view;
            if news {
                *shown = Arc::new(view);
            }
            news
        });
    }
}

impl Engine {
    fn start(syncs: &Syncs, host: &Arc<Host>, sync: &Sync) -> Self {
        let app = syncs.app();
        let (sender, inbox) = mpsc::channel(INBOX);
        let (publish, view) = watch::channel(engine::View::default());
        let stop = app.shutdown.token().child_token();
        let way = Arc::new(ByHost {
            host: Arc::clone(host),
            store: app.store.clone(),
        });
        let work = engine::run(syncs.config(sync), way, sync.paused, inbox, publish, stop.clone());
        Self {
            inbox: sender,
            view,
            // A task of its own: one that breaks does not take its driver along.
            task: Some(app.tasks.spawn(work)),
            stop,
            began: Instant::now(),
            again_at: None,
            reset_at: None,
        }
    }

    /// Ends it and waits until it has let go.
    async fn end(&mut self) {
        self.stop.cancel();
        let Some(mut task) = self.task.take() else { return };
        if timeout(ENDS_WITHIN, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Waits until an engine has ended, and says how; for ever where there is none.
async fn over(task: &mut Option<JoinHandle<()>>) -> String {
    let Some(running) = task else {
        return std::future::pending().await;
    };
    let ended = running.await;
    *task = None;
    match ended {
        Ok(()) => "it stopped by itself; outlast daemon logs may tell why".to_owned(),
        Err(error) => format!("it broke ({error}); outlast daemon logs tells more"),
    }
}

/// Waits until a moment; for ever when there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

//! The life of an engine: paused, halted, waiting for its host, or serving it.

use std::{
    collections::{HashMap, HashSet},
    io,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use outlast_client::{
    helper_v1::SyncPosition,
    v1::{Error, ErrorKind},
};
use outlast_tree::RelPath;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Command, Config, Halt, Refused, State, View, Way, copy::Copy, doubt::Doubt, flush::Flushes, lane::Lane,
    limit::Limit, progress::Counter, source::Source, view::PROBLEMS, way::Load,
};

/// The first pause after an error, and the longest: what is wrong is for people to mend, who can say when it is.
const RETRY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Whatever the state says.
    GoOn,
    /// Nothing any more.
    End,
}

/// One sync at work.
pub(super) struct Engine {
    pub(super) config: Arc<Config>,
    pub(super) way: Arc<dyn Way>,
    pub(super) inbox: mpsc::Receiver<Command>,
    shown: watch::Sender<View>,
    pub(super) stop: CancellationToken,
    pub(super) view: View,
    /// Away while a thread looks.
    pub(super) source: Option<Box<Source>>,
    /// What the record says, as far as it is known, and away likewise.
    pub(super) copy: Option<Box<Copy>>,
    /// Up to where the copy is known to be as the record.
    pub(super) position: Option<SyncPosition>,
    /// What is to be looked at.
    pub(super) everything: bool,
    pub(super) dirty: HashSet<Vec<u8>>,
    pub(super) rules_changed: bool,
    /// What the host turned out not to have, and how often.
    pub(super) forced: HashMap<RelPath, u32>,
    pub(super) flushes: Flushes,
    pub(super) counter: Counter,
    pub(super) limit: Limit,
    pub(super) lane: Lane,
    /// Number of the next large file.
    pub(super) number: u64,
    /// Something is not written down yet.
    pub(super) unsaved: bool,
    pub(super) paused: bool,
    pub(super) halted: Option<Halt>,
    /// It was, and whether it still is to be is being looked at.
    pub(super) doubted: Option<Doubt>,
    /// An open stream has to be opened anew.
    pub(super) anew: bool,
    /// For the next opening.
    pub(super) here: bool,
    pub(super) occupied: bool,
    pub(super) reread: bool,
    /// What is to be sent: the target is to be opened by a connection for that.
    pub(super) load: Load,
    /// What is there and not ours is replaced, until everything is there once.
    pub(super) replace: bool,
    /// The same of what is at and below these paths.
    pub(super) adopted: Vec<RelPath>,
    /// Errors one after the other.
    pub(super) errors: u32,
}

impl Engine {
    pub(super) async fn new(
        config: Config,
        way: Arc<dyn Way>,
        paused: bool,
        inbox: mpsc::Receiver<Command>,
        shown: watch::Sender<View>,
        stop: CancellationToken,
    ) -> Self {
        let config = Arc::new(config);
        let loading = Arc::clone(&config);
        let loaded = spawn_blocking(move || {
            if let Err(error) = make_dir(&loading.cache) {
                tracing::warn!(%error, dir = %loading.cache.display(), "the cache of a sync");
            }
            let kept = Copy::load(&loading.cache);
            (Source::new(Arc::clone(&loading)), kept)
        });
        let (source, kept) = match loaded.await {
            Ok(loaded) => loaded,
            Err(_panic) => (Source::new(Arc::clone(&config)), None),
        };
        let (copy, position) = kept.map_or((None, None), |(copy, position)| (Some(copy), Some(position)));
        Self {
            way,
            inbox,
            shown,
            stop,
            view: View::default(),
            source: Some(Box::new(source)),
            copy: copy.map(Box::new),
            position,
            everything: true,
            dirty: HashSet::new(),
            rules_changed: false,
            forced: HashMap::new(),
            flushes: Flushes::default(),
            counter: Counter::default(),
            limit: Limit::new(config.limit_bytes),
            lane: Lane::new(config.limit_bytes),
            number: 0,
            unsaved: false,
            paused,
            halted: config.halted.clone(),
            doubted: None,
            anew: false,
            here: false,
            occupied: config.occupied,
            reread: false,
            load: Load::Little,
            replace: config.occupied,
            adopted: Vec::new(),
            errors: 0,
            config,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = if self.paused {
                self.set(State::Paused, None, None);
                self.wait(std::future::pending()).await
            } else if let Some(halt) = self.halted.clone() {
                self.set(State::Halted, Some(&halt.reason), Some(halt.message));
                self.wait(std::future::pending()).await
            } else {
                self.connect().await
            };
            if matches!(next, Next::End) {
                break;
            }
        }
        self.save().await;
    }

    /// Does nothing until a command changes something, or this has come.
    async fn wait(&mut self, until: impl Future<Output = ()>) -> Next {
        let stop = self.stop.clone();
        let mut until = pin!(until);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Next::End,
                command = self.inbox.recv() => match command {
                    None => return Next::End,
                    Some(command) => if self.command(command) {
                        return Next::GoOn;
                    },
                },
                () = &mut until => return Next::GoOn,
            }
        }
    }

    /// Does what is asked. Gives whether that changes what is to be done next.
    pub(super) fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Flush(reply) => {
                let refused = if self.paused {
                    Some(("paused", "it is paused".to_owned()))
                } else {
                    let halt = self.halt_that_stands();
                    halt.map(|halt| (halt.reason.as_str(), halt.message.clone()))
                };
                match refused {
                    Some((reason, message)) => {
                        let refused = Refused {
                            reason: reason.to_owned(),
                            message,
                        };
                        let _gone = reply.send(Err(refused));
                        false
                    }
                    None => {
                        self.flushes.add(reply);
                        true
                    }
                }
            }
            Command::Pause => {
                self.unseen("it is paused");
                self.paused = true;
                true
            }
            Command::LookAgain(reply) => self.look_again(reply),
            Command::Resume { confirm } => {
                if let Some(source) = &mut self.source {
                    source.watch_again();
                }
                if confirm && let Some(halt) = self.take_halt() {
                    match halt.reason.as_str() {
                        "target_missing" | "target_replaced" => self.here = true,
                        "target_not_empty" => (self.occupied, self.replace) = (true, true),
                        reason => {
                            if let Some(source) = &mut self.source {
                                source.confirm(reason);
                            }
                        }
                    }
                }
                self.paused = false;
                true
            }
            Command::Adopt { paths, reply } => {
                let adopted = self.adopt(&paths);
                let is_new = adopted.is_ok();
                let _gone = reply.send(adopted);
                is_new
            }
            Command::Reset { adopt } => {
                if let Some(source) = &mut self.source {
                    source.forget();
                }
                self.copy = None;
                self.position = None;
                drop(self.take_halt());
                self.anew = true;
                self.reread = true;
                self.replace |= adopt;
                self.occupied |= adopt;
                true
            }
        }
    }

    /// Whether nothing is to be done before a command comes.
    pub(super) fn is_held(&self) -> bool {
        self.paused || self.halted.is_some()
    }

    /// A stream could not be opened, or ended.
    pub(super) async fn broken(&mut self, status: &Status) -> Next {
        self.flushes.again();
        if self.way.is_cut_off(status) {
            self.way.doubt().await;
            return Next::GoOn;
        }
        let error = Error::from_status(status);
        let message = error
            .as_ref()
            .map_or_else(|| status.message().to_owned(), |error| error.message.clone());
        let subject = error.as_ref().and_then(|error| error.subject.as_deref());
        let halts = ["target_missing", "target_replaced", "target_not_empty"];
        if let Some(reason) = halts.into_iter().find(|reason| subject == Some(*reason)) {
            self.halt(Halt {
                reason: reason.to_owned(),
                message,
            });
            return Next::GoOn;
        }
        if self.doubted.is_some() {
            self.unseen(&message);
            return Next::GoOn;
        }
        let kind = error.map_or(ErrorKind::Failed, |error| error.kind());
        self.fail(&kind.word(), message);
        let pause = RETRY[0].saturating_mul(1 << self.errors.min(16)).min(RETRY[1]);
        self.errors += 1;
        self.wait(sleep(pause)).await
    }

    /// Nothing goes on before somebody says so.
    pub(super) fn halt(&mut self, halt: Halt) {
        self.flushes.refuse(&Refused {
            reason: halt.reason.clone(),
            message: halt.message.clone(),
        });
        self.stands(&halt);
        self.halted = Some(halt);
    }

    fn fail(&mut self, reason: &str, message: String) {
        self.flushes.refuse(&Refused {
            reason: reason.to_owned(),
            message: message.clone(),
        });
        self.set(State::Error, Some(reason), Some(message));
    }

    /// Shows a state and its cause.
    pub(super) fn set(&mut self, state: State, reason: Option<&str>, message: Option<String>) {
        // It stands until it was looked at.
        if self.doubted.is_some() {
            return;
        }
        self.view.state = state;
        self.view.reason = reason.map(str::to_owned);
        self.view.message = message;
        self.publish();
    }

    /// Shows what is known.
    pub(super) fn publish(&mut self) {
        if let Some(copy) = &self.copy {
            (self.view.files, self.view.bytes) = copy.size();
        }
        self.view.progress = self.counter.read(std::time::Instant::now());
        (self.view.pending_files, self.view.pending_bytes) = self.counter.left();
        if self.view.pending_files == 0 {
            self.view.pending_files = self.dirty.len() as u64;
        }
        if let Some(source) = &mut self.source {
            self.view.watch_problem = source.watch_problem();
            if source.refused.have_changed() {
                self.view.problem_count = source.refused.problems().count() as u64;
                let some = source.refused.problems().take(PROBLEMS).cloned();
                self.view.problems = Arc::new(some.collect());
            }
        }
        self.shown.send_if_modified(|shown| {
            let is_new = *shown != self.view;
            if is_new {
                shown.clone_from(&self.view);
            }
            is_new
        });
    }

    /// Writes down what is known, so that the next start need not read everything.
    pub(super) async fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        self.unsaved = false;
        let (Some(mut source), mut copy) = (self.source.take(), self.copy.take()) else {
            return;
        };
        let (config, position) = (Arc::clone(&self.config), self.position.clone());
        let saved = spawn_blocking(move || {
            source.cache.compact();
            if let Some(copy) = &mut copy {
                copy.compact();
            }
            let kept = source
                .cache
                .save(&config.cache)
                .and_then(|()| match (&copy, &position) {
                    (Some(copy), Some(position)) => copy.save(&config.cache, position),
                    _ => Copy::forget(&config.cache),
                });
            if let Err(error) = kept {
                tracing::warn!(%error, dir = %config.cache.display(), "keeping the cache of a sync");
            }
            (source, copy)
        });
        let (source, copy) = match saved.await {
            Ok(kept) => kept,
            Err(_panic) => (Box::new(Source::new(Arc::clone(&self.config))), None),
        };
        (self.source, self.copy) = (Some(source), copy);
    }
}

fn make_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

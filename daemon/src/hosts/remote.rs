//! The one task that owns the connection to another machine.
//!
//! ```text
//!   attempt ──► up (held until it breaks) ──► down ──► attempt at once, or, where it did not last, after a pause
//!      │
//!      ├─ may heal by itself ──► backoff ──► attempt when due, or when somebody or the network says so
//!      └─ only a person can mend it ──► auth_failed | hostkey_changed, until somebody wants another attempt, or a command
//!                                       brings another ssh-agent
//! ```
//!
//! It publishes what it sees and writes each change of the link as an event. It knows nothing of what runs on the host.
//! Connections besides the first one ([`second`](super::second)) are made when they are first wanted and go with it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1::PingRequest;
use outlast_model::{
    host::{Host, Link},
    job::TimeMs,
};
use outlast_store::{Store, host_link_event};
use outlast_transport::{
    HelperClient,
    ask::Asked,
    connect::{Connection, Purpose, Step, Trust},
    error::{Cause, ConnectError},
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    agent_forward,
    attempt::{self, Audience, Manner, Means, Reached},
    pace::Pace,
    second::{Errand, Making, Seconds},
    view::{Facts, HostView, Trouble},
};
use crate::app::now_ms;

/// Wishes that may wait for one driver. It takes them at once; a full queue makes those who ask wait.
pub(super) const QUEUE: usize = 32;

/// Steps that may wait for their listener, who prints them. What does not fit is not told.
const STEPS: usize = 64;

/// How long one attempt may take a turn of the limiter where nothing says that authentication begins: as long as most take
/// until then. A login shell that hangs is no reason for others to wait.
const TURN: Duration = Duration::from_secs(10);

/// Those who watch one attempt. More find nobody to tell them, which they take for a driver that is busy.
const WATCHERS: usize = 32;

/// How long a connection that is in doubt may take to prove itself, where its round trip does not say that it needs more.
/// Twice what a slow line takes for a piece of what is under way; somebody who wants the host now waits no longer.
const PROOF: Duration = Duration::from_secs(4);

/// What somebody wants of the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody wants it: try now, without waiting for other hosts; prove the connection that is there.
    Try,
    /// The network says that it changed: as [`Command::Try`], in its turn.
    Wake,
    /// Prove the connection that is there. Without one, it is known already that there is none.
    Prove,
    /// Look again who is there, and answer when that is published.
    Refresh(oneshot::Sender<()>),
    /// Make a connection before the eyes of somebody, or prove the one that is there.
    Check(Check),
    /// A connection besides the first one. Dropped: there is none.
    Second(Errand, oneshot::Sender<HelperClient>),
}

/// An attempt that somebody watches.
#[derive(Debug)]
pub struct Check {
    /// Also when a connection is there; that one is kept until the new one is up.
    pub anew: bool,
    /// What to do about an unknown key.
    pub trust: Trust,
    /// Where questions go. Absent: nobody answers.
    pub questions: Option<mpsc::Sender<Asked>>,
    /// Where steps go.
    pub steps: mpsc::Sender<Step>,
    /// Told when it is over and published, and how it came out.
    pub done: oneshot::Sender<Outcome>,
}

/// How a check came out. An error says nothing of the link: an older connection may serve on.
pub type Outcome = Result<(), Trouble>;

impl Check {
    /// A queue for the steps of a check.
    #[must_use]
    pub fn steps() -> (mpsc::Sender<Step>, mpsc::Receiver<Step>) {
        mpsc::channel(STEPS)
    }

    fn audience(&self) -> Audience {
        let steps = self.steps.clone();
        Audience {
            trust: self.trust.clone(),
            questions: self.questions.clone(),
            on_step: Arc::new(move |step| {
                // A listener that does not listen misses some.
                let _told = steps.try_send(step);
            }),
        }
    }

    fn done(self, outcome: Outcome) {
        // Whoever asked may have gone.
        let _gone = self.done.send(outcome);
    }
}

/// What the driver is made from.
pub(super) struct Parts {
    pub(super) host: Host,
    pub(super) store: Store,
    pub(super) means: Arc<Means>,
    /// All hosts draw from it, so that a thousand do not connect at once.
    pub(super) limiter: Arc<Semaphore>,
    /// Who follows or attaches something there.
    pub(super) followers: Arc<AtomicUsize>,
    pub(super) publish: watch::Sender<HostView>,
    pub(super) client: watch::Sender<Option<HelperClient>>,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) end: CancellationToken,
}

/// The state of the task.
pub(super) struct Driver {
    parts: Parts,
    pace: Pace,
    /// Attempts that failed since it was last up.
    failures: u32,
    /// Word of every change of the ssh-agent; seen is the one that the last attempt used.
    agent: watch::Receiver<Option<PathBuf>>,
    /// The last event that was written, so that retries are not told again and again.
    told: Option<(Link, Option<&'static str>)>,
    /// Carries the ssh-agent, as long as the connection lasts. It is ended when it is dropped.
    forwarding: JoinSet<()>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let agent = parts.means.agent.changes();
        Self {
            parts,
            pace: Pace::new(Instant::now()),
            failures: 0,
            agent,
            told: None,
            forwarding: JoinSet::new(),
        }
    }

    /// Drives the link until the host is removed or the daemon ends.
    pub(super) async fn run(mut self) {
        let end = self.parts.end.clone();
        tokio::select! {
            () = end.cancelled() => {}
            () = self.drive() => {}
        }
    }

    async fn drive(&mut self) {
        let mut watchers = Vec::new();
        loop {
            let began = Instant::now();
            let tried = self.try_once(watchers, None).await;
            let next = match tried.outcome {
                Ok(reached) => {
                    let connection = self.arrived(reached).await;
                    tell_all(tried.watchers, &Ok(()));
                    self.hold(connection).await
                }
                Err(trouble) => Next::Failed {
                    began,
                    trouble,
                    watchers: tried.watchers,
                },
            };
            watchers = match next {
                Next::At(None) => Vec::new(),
                Next::At(due) => self.rest(due).await,
                Next::Watched(check) => vec![check],
                Next::Failed {
                    began,
                    trouble,
                    watchers,
                } => {
                    let watched = self.is_watched();
                    let due = (!trouble.link.is_stuck()).then(|| self.pace.next(began, watched, jitter()));
                    self.failed(trouble.clone(), due).await;
                    tell_all(watchers, &Err(trouble));
                    self.rest(due).await
                }
            };
        }
    }

    fn is_watched(&self) -> bool {
        self.parts.followers.load(Ordering::Relaxed) > 0
    }

    fn rtt(&self) -> Option<Duration> {
        self.parts.publish.borrow().rtt
    }

    /// One attempt. Somebody who wants to watch has it begin anew before their eyes. `held`: a connection that serves
    /// meanwhile; should it end, that is published and the attempt goes on.
    async fn try_once(&mut self, mut watchers: Vec<Check>, held: Option<&Connection>) -> Tried {
        let mut held = held.map(|connection| connection.closed.clone());
        let had_one = held.is_some();
        loop {
            self.agent.mark_unchanged();
            let hurry = Arc::new(Notify::new());
            let attempt = self.attempt(watchers.first(), Arc::clone(&hurry));
            tokio::pin!(attempt);
            let newcomer = loop {
                tokio::select! {
                    outcome = &mut attempt => return Tried {
                        outcome,
                        watchers,
                        lost: had_one && held.is_none(),
                    },
                    why = ended(&held) => {
                        held = None;
                        let why = why.map(|error| Trouble::connecting(self.parts.host.name.as_str(), error));
                        // When to try next is no question: it is being tried.
                        self.lost(why, true).await;
                    }
                    Some(command) = self.parts.inbox.recv() => match command {
                        Command::Try => hurry.notify_one(),
                        // It is being tried. Whoever wants fresh facts hears when that is over, by their deadline.
                        Command::Wake | Command::Prove | Command::Refresh(_) | Command::Second(..) => {}
                        Command::Check(newcomer) if watchers.is_empty() => break newcomer,
                        // Two watch at once: the second one sees how the first one's comes out.
                        Command::Check(newcomer) => if watchers.len() < WATCHERS {
                            watchers.push(newcomer);
                        },
                    },
                }
            };
            watchers.push(newcomer);
        }
    }

    /// The work of one attempt. It takes its turn among all hosts until authentication begins: from then on it costs
    /// neither this machine nor a gateway anything, and may wait for a login shell or a person. Whoever hurries it
    /// has it begin at once.
    fn attempt(
        &self,
        watcher: Option<&Check>,
        hurry: Arc<Notify>,
    ) -> impl Future<Output = Result<Reached, Trouble>> + use<> {
        let mut audience = watcher.map_or_else(Audience::nobody, Check::audience);
        let (host, means) = (self.parts.host.clone(), Arc::clone(&self.parts.means));
        // A person does not wait for other hosts.
        let limiter = watcher.is_none().then(|| Arc::clone(&self.parts.limiter));
        let manner = Manner {
            purpose: Purpose::Control,
            rtt: if watcher.is_some() { None } else { self.rtt() },
            failures: self.failures,
        };
        async move {
            let permit = match limiter {
                Some(limiter) => tokio::select! {
                    biased;
                    permit = limiter.acquire_owned() => permit.ok(),
                    () = hurry.notified() => None,
                },
                None => None,
            };
            let turn = Arc::new(Turn(Mutex::new(permit)));
            let (tell, until) = (Arc::clone(&audience.on_step), Arc::clone(&turn));
            audience.on_step = Arc::new(move |step| {
                if matches!(step.name, "host key" | "authenticate") {
                    until.end();
                }
                tell(step);
            });
            let reach = attempt::reach(&host, &means, &audience, manner);
            tokio::pin!(reach);
            tokio::select! {
                outcome = &mut reach => return outcome,
                () = sleep(TURN) => turn.end(),
            }
            reach.await
        }
    }

    /// Publishes a connection and remembers which machine it is.
    async fn arrived(&mut self, reached: Reached) -> Connection {
        let Reached {
            connection,
            facts,
            rtt,
        } = reached;
        let name = self.parts.host.name.as_str();
        if self.parts.host.machine_id.is_none() {
            self.parts.host.machine_id = Some(facts.machine_id.clone());
            if let Err(error) = self.parts.store.set_host_machine(name, &facts.machine_id).await {
                tracing::warn!(host = name, %error, "remembering which machine this is");
            }
        }
        self.pace.up(Instant::now());
        self.failures = 0;
        self.forwarding.abort_all();
        if connection.forward_agent {
            let (client, agent) = (connection.client.clone(), self.parts.means.agent.clone());
            self.forwarding
                .spawn(agent_forward::serve(name.to_owned(), client, agent));
        }
        self.parts.client.send_replace(Some(connection.client.clone()));
        let carrier = connection.carrier;
        self.parts.publish.send_modify(|view| {
            view.generation += 1;
            view.arrivals += 1;
            view.link = Link::Up;
            view.trouble = None;
            view.facts = Some(facts);
            view.rtt = Some(rtt);
            view.observed_at = Some(now_ms());
            view.next_try_at = None;
            view.carrier = Some(carrier);
        });
        tracing::info!(host = name, carrier = carrier.as_str(), "connected");
        self.tell().await;
        self.keep_seen().await;
        connection
    }

    /// Keeps what was seen for a later daemon.
    async fn keep_seen(&self) {
        let name = self.parts.host.name.as_str();
        let seen = self.parts.publish.borrow().seen();
        if let Some(seen) = seen
            && let Err(error) = self.parts.store.set_host_seen(name, &seen).await
        {
            tracing::warn!(host = name, %error, "remembering what was seen of a host");
        }
    }

    /// Publishes that there is no connection, and why.
    async fn failed(&mut self, trouble: Trouble, due: Option<Instant>) {
        self.failures = self.failures.saturating_add(1);
        let next_try_at = due.map(by_the_clock);
        self.parts.publish.send_modify(|view| {
            view.generation += 1;
            view.link = trouble.link;
            view.trouble = Some(trouble);
            view.next_try_at = next_try_at;
        });
        self.tell().await;
    }

    /// Holds a connection until it is gone, and says how it goes on.
    async fn hold(&mut self, mut connection: Connection) -> Next {
        let mut seconds = Seconds::default();
        let mut next = None;
        let trouble = loop {
            tokio::select! {
                why = gone(connection.closed.clone()) => {
                    break why.map(|error| Trouble::connecting(self.parts.host.name.as_str(), error));
                }
                () = seconds.made() => {}
                Some(command) = self.parts.inbox.recv() => match command {
                    Command::Try | Command::Wake | Command::Prove => if !self.proves(&connection).await {
                        break None;
                    },
                    Command::Refresh(reply) => {
                        self.look(&connection, &Audience::nobody()).await;
                        // Whoever asked may have gone.
                        let _gone = reply.send(());
                    }
                    Command::Second(errand, reply) => seconds.want(errand, reply, || self.make_second(errand)),
                    Command::Check(check) if check.anew => {
                        // The old connection serves on until the new one is up, or it ends.
                        let began = Instant::now();
                        let tried = self.try_once(vec![check], Some(&connection)).await;
                        match tried.outcome {
                            Ok(reached) => {
                                connection = self.arrived(reached).await;
                                seconds = Seconds::default();
                                tell_all(tried.watchers, &Ok(()));
                            }
                            Err(trouble) if tried.lost => return Next::Failed {
                                began,
                                trouble,
                                watchers: tried.watchers,
                            },
                            Err(trouble) => {
                                tracing::info!(
                                    host = self.parts.host.name.as_str(),
                                    error = %trouble.message.escape_debug(),
                                    "a second connection did not come about; the first one stays"
                                );
                                tell_all(tried.watchers, &Err(trouble));
                            }
                        }
                    }
                    Command::Check(check) => {
                        if self.look(&connection, &check.audience()).await {
                            check.done(Ok(()));
                        } else {
                            next = Some(check);
                            break None;
                        }
                    }
                },
            }
        };
        let due = self.lost(trouble, next.is_some()).await;
        next.map_or(Next::At(due), Next::Watched)
    }

    /// Publishes that the connection is lost. Gives back when the next attempt is due where it has to wait; `trying`: it
    /// is being made.
    async fn lost(&mut self, trouble: Option<Trouble>, trying: bool) -> Option<Instant> {
        self.parts.client.send_replace(None);
        self.forwarding.abort_all();
        let (now, watched) = (Instant::now(), self.is_watched());
        let due = self.pace.lost(now, watched, jitter());
        let due = Some(due).filter(|due| *due > now && !trying);
        let link = if due.is_some() { Link::Backoff } else { Link::Down };
        let trouble = trouble.unwrap_or_else(|| {
            let mut trouble = Trouble::helper("the connection does not answer any more".to_owned());
            trouble.reason = Cause::TimedOut.as_str();
            trouble
        });
        self.parts.publish.send_modify(|view| {
            view.generation += 1;
            view.link = link;
            view.observed_at = Some(now_ms());
            view.trouble = Some(Trouble { link, ..trouble });
            view.next_try_at = due.map(by_the_clock);
        });
        self.tell().await;
        self.keep_seen().await;
        due
    }

    /// Whether a connection that is in doubt still answers.
    async fn proves(&self, connection: &Connection) -> bool {
        let mut client = connection.client.clone();
        let within = PROOF.max(self.rtt().unwrap_or_default() * 5);
        let asked = Instant::now();
        match timeout(within, client.ping(PingRequest {})).await {
            Ok(answer) => answer.is_ok(),
            // On a slow line the answer stands behind what was under way before, which is a sign of life as well.
            Err(_elapsed) => connection.heard_since(asked),
        }
    }

    /// Looks again who is there, and publishes it. False: nobody answered.
    async fn look(&self, connection: &Connection, audience: &Audience) -> bool {
        match attempt::look(&connection.client, &audience.on_step).await {
            Ok((facts, rtt)) => {
                self.parts.publish.send_modify(|view| {
                    view.generation += 1;
                    view.facts = Some(facts);
                    view.rtt = Some(rtt);
                    view.observed_at = Some(now_ms());
                });
                true
            }
            Err(error) => {
                tracing::info!(host = self.parts.host.name.as_str(), error, "looking at a host");
                false
            }
        }
    }

    /// Begins to make a connection besides the first one.
    fn make_second(&self, errand: Errand) -> Making {
        let (host, means) = (self.parts.host.clone(), Arc::clone(&self.parts.means));
        let manner = Manner {
            purpose: errand.purpose(),
            rtt: self.rtt(),
            failures: 0,
        };
        let first = self.parts.publish.borrow().facts.clone();
        let end = self.parts.end.clone();
        tokio::spawn(async move {
            let audience = Audience::nobody();
            tokio::select! {
                () = end.cancelled() => Err(Trouble::helper("the daemon is ending".to_owned())),
                made = attempt::reach(&host, &means, &audience, manner) => same_machine(&host, first, made?),
            }
        })
    }

    /// Waits until the next attempt is due, or somebody wants one now; those want to watch it. Without a time, only
    /// somebody can want it, or another ssh-agent may let us in.
    async fn rest(&mut self, due: Option<Instant>) -> Vec<Check> {
        let refused = self
            .parts
            .publish
            .borrow()
            .trouble
            .as_ref()
            .is_some_and(Trouble::is_refusal);
        let over = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Vec::new(),
                Ok(()) = self.agent.changed(), if refused => {
                    tracing::info!(
                        host = self.parts.host.name.as_str(),
                        "a command brought another ssh-agent; trying again"
                    );
                    return Vec::new();
                }
                Some(command) = self.parts.inbox.recv() => match command {
                    Command::Try | Command::Wake if due.is_some() => {
                        self.pace.hurry();
                        return Vec::new();
                    }
                    Command::Check(check) => return vec![check],
                    // It is known that nobody is there.
                    Command::Try
                    | Command::Wake
                    | Command::Prove
                    | Command::Refresh(_)
                    | Command::Second(..) => {}
                },
            }
        }
    }

    /// Writes the change of the link into the log of events, unless it is the same as before.
    async fn tell(&mut self) {
        let view = self.parts.publish.borrow().clone();
        let reason = view.trouble.as_ref().map(|trouble| trouble.reason);
        let now = (view.link, reason);
        if self.told == Some(now) {
            return;
        }
        self.told = Some(now);
        let error = view.trouble.as_ref().map(|trouble| trouble.message.as_str());
        let name = self.parts.host.name.as_str();
        if let Some(error) = error {
            tracing::warn!(host = name, link = %view.link, error = %error.escape_debug(), "not connected");
        }
        let event = host_link_event(name, view.link, error, reason, view.next_try_at);
        // The view tells it anyway; the next change is a new chance for the log.
        if let Err(error) = self.parts.store.append_event(event).await {
            tracing::warn!(host = name, %error, "recording the change of a link");
        }
    }
}

/// What keeps many hosts from trying in step.
fn jitter() -> u8 {
    let [jitter, ..] = uuid::Uuid::new_v4().into_bytes();
    jitter
}

/// When that is, for people.
fn by_the_clock(due: Instant) -> TimeMs {
    let left = due.saturating_duration_since(Instant::now()).as_millis();
    now_ms().saturating_add(TimeMs::try_from(left).unwrap_or(TimeMs::MAX))
}

/// How the driver goes on once a connection is gone or an attempt has failed.
enum Next {
    /// With an attempt at this time; at once without one.
    At(Option<Instant>),
    /// With an attempt before the eyes of somebody.
    Watched(Check),
    /// As after an attempt that failed.
    Failed {
        /// When the attempt began.
        began: Instant,
        /// Why it failed.
        trouble: Trouble,
        /// Who watched it.
        watchers: Vec<Check>,
    },
}

/// How an attempt came out.
struct Tried {
    outcome: Result<Reached, Trouble>,
    /// Who watched it.
    watchers: Vec<Check>,
    /// The connection that was held meanwhile has ended, and that was published.
    lost: bool,
}

/// A turn of the limiter, until it is given back.
struct Turn(Mutex<Option<OwnedSemaphorePermit>>);

impl Turn {
    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Tells all who watched how it came out.
fn tell_all(watchers: Vec<Check>, outcome: &Outcome) {
    for watcher in watchers {
        watcher.done(outcome.clone());
    }
}

/// A second connection, if it leads to where the first one does. Behind one name there may be several machines, and what
/// runs on one is not to be looked for on another.
fn same_machine(host: &Host, first: Option<Facts>, second: Reached) -> Result<Connection, Trouble> {
    let of = |facts: &Facts| (facts.machine_id.clone(), facts.boot_id.clone());
    if first.is_some_and(|first| of(&first) != of(&second.facts)) {
        return Err(Trouble::other_machine(host.name.as_str()));
    }
    Ok(second.connection)
}

/// As [`gone`], for a connection that may not be there; then never.
async fn ended(closed: &Option<watch::Receiver<Option<ConnectError>>>) -> Option<ConnectError> {
    match closed {
        Some(closed) => gone(closed.clone()).await,
        None => std::future::pending().await,
    }
}

/// Waits until a connection is gone, and says why.
async fn gone(mut closed: watch::Receiver<Option<ConnectError>>) -> Option<ConnectError> {
    let why = closed.wait_for(Option::is_some).await;
    why.ok().and_then(|why| why.clone())
}

//! The one task that owns the connection to another machine.
//!
//! ```text
//!   attempt ──► up (held until it breaks) ──► down ──► attempt at once, or, where it did not last, after a pause
//!      │
//!      ├─ may heal by itself ──► backoff ──► attempt when due, or when somebody or the network says so
//!      └─ only a person can mend it ──► auth_failed | hostkey_changed, until somebody wants another attempt
//! ```
//!
//! It publishes what it sees and writes each change of the link as an event. It knows nothing of what runs on the host.
//! The second connection, for what is much, is made when it is first wanted and goes with the first one.

use std::{
    sync::{
        Arc,
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
    sync::{Semaphore, mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    agent_forward,
    attempt::{self, Audience, Means, Reached},
    pace::Pace,
    view::{HostView, Trouble},
};
use crate::app::now_ms;

/// Wishes that may wait for one driver. It takes them at once; a full queue makes those who ask wait.
pub(super) const QUEUE: usize = 32;

/// Steps that may wait for their listener, who prints them. What does not fit is not told.
const STEPS: usize = 64;

/// How long a connection that is in doubt may take to prove itself: at least, and in round trips.
const PROOF: Duration = Duration::from_secs(2);

/// What somebody wants of the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Try now; prove the connection that is there.
    Try,
    /// Prove the connection that is there. Without one, it is known already that there is none.
    Prove,
    /// Look again who is there, and answer when that is published.
    Refresh(oneshot::Sender<()>),
    /// Make a connection before the eyes of somebody, or prove the one that is there.
    Check(Check),
    /// The connection for what is much. Dropped: there is none.
    Bulk(oneshot::Sender<HelperClient>),
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
    /// Told when it is over and published.
    pub done: oneshot::Sender<()>,
}

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

    fn done(self) {
        // Whoever asked may have gone.
        let _gone = self.done.send(());
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
    /// The last event that was written, so that retries are not told again and again.
    told: Option<(Link, Option<&'static str>)>,
    /// Carries the ssh-agent, as long as the connection lasts. It is ended when it is dropped.
    forwarding: JoinSet<()>,
}

/// The connection for what is much.
enum Bulk {
    None,
    Making(
        JoinHandle<Result<Connection, Trouble>>,
        Vec<oneshot::Sender<HelperClient>>,
    ),
    Made(Connection),
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            pace: Pace::new(Instant::now()),
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
        let mut check: Option<Check> = None;
        loop {
            let began = Instant::now();
            let (outcome, watched_by) = self.try_once(check.take()).await;
            match outcome {
                Ok(reached) => {
                    let connection = self.arrived(reached).await;
                    if let Some(check) = watched_by {
                        check.done();
                    }
                    let (newcomer, due) = self.hold(connection).await;
                    check = newcomer;
                    if let (None, Some(due)) = (&check, due) {
                        check = self.rest(Some(due)).await;
                    }
                }
                Err(trouble) => {
                    let stuck = trouble.link.is_stuck();
                    let watched = self.is_watched();
                    let due = (!stuck).then(|| self.pace.next(began, watched, jitter()));
                    self.failed(trouble, due).await;
                    if let Some(check) = watched_by {
                        check.done();
                    }
                    check = self.rest(due).await;
                }
            }
        }
    }

    fn is_watched(&self) -> bool {
        self.parts.followers.load(Ordering::Relaxed) > 0
    }

    fn rtt(&self) -> Option<Duration> {
        self.parts.publish.borrow().rtt
    }

    /// One attempt. Somebody who wants to watch has it begin anew before their eyes.
    async fn try_once(&mut self, mut check: Option<Check>) -> (Result<Reached, Trouble>, Option<Check>) {
        loop {
            let audience = check.as_ref().map_or_else(Audience::nobody, Check::audience);
            let rtt = if check.is_some() { None } else { self.rtt() };
            let (host, means) = (self.parts.host.clone(), Arc::clone(&self.parts.means));
            // A person does not wait for other hosts.
            let limiter = check.is_none().then(|| Arc::clone(&self.parts.limiter));
            let attempt = async move {
                let _turn = match limiter {
                    Some(limiter) => limiter.acquire_owned().await.ok(),
                    None => None,
                };
                attempt::reach(&host, &means, &audience, rtt).await
            };
            tokio::pin!(attempt);
            let newcomer = loop {
                tokio::select! {
                    outcome = &mut attempt => return (outcome, check),
                    Some(command) = self.parts.inbox.recv() => match command {
                        // It is being tried. Whoever wants fresh facts hears when that is over, by their deadline.
                        Command::Try | Command::Prove | Command::Refresh(_) | Command::Bulk(_) => {}
                        Command::Check(newcomer) if check.is_none() => break newcomer,
                        // Two watch at once: the second one sees how the first one's came out.
                        Command::Check(newcomer) => newcomer.done(),
                    },
                }
            };
            check = Some(newcomer);
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
        connection
    }

    /// Publishes that there is no connection, and why.
    async fn failed(&mut self, trouble: Trouble, due: Option<Instant>) {
        let next_try_at = due.map(by_the_clock);
        self.parts.publish.send_modify(|view| {
            view.generation += 1;
            view.link = trouble.link;
            view.trouble = Some(trouble);
            view.next_try_at = next_try_at;
        });
        self.tell().await;
    }

    /// Holds a connection until it is gone. Gives back somebody who wants to watch the next attempt, and when that is due
    /// where it has to wait.
    async fn hold(&mut self, mut connection: Connection) -> (Option<Check>, Option<Instant>) {
        let mut bulk = Bulk::None;
        let mut next = None;
        let trouble = loop {
            let made = async {
                match &mut bulk {
                    Bulk::Making(making, _) => Some(making.await),
                    Bulk::None | Bulk::Made(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                why = gone(connection.closed.clone()) => {
                    break why.map(|error| Trouble::connecting(self.parts.host.name.as_str(), error));
                }
                outcome = made => bulk = settle(bulk, outcome),
                Some(command) = self.parts.inbox.recv() => match command {
                    Command::Try | Command::Prove => if !self.proves(&connection).await {
                        break None;
                    },
                    Command::Refresh(reply) => {
                        self.look(&connection, &Audience::nobody()).await;
                        // Whoever asked may have gone.
                        let _gone = reply.send(());
                    }
                    Command::Bulk(reply) => bulk = self.want_bulk(bulk, reply),
                    Command::Check(check) if check.anew => {
                        // The old connection serves on until the new one is up.
                        let (outcome, check) = self.try_once(Some(check)).await;
                        match outcome {
                            Ok(reached) => {
                                connection = self.arrived(reached).await;
                                bulk = Bulk::None;
                            }
                            Err(trouble) => tracing::info!(
                                host = self.parts.host.name.as_str(),
                                error = trouble.message,
                                "a second connection did not come about; the first one stays"
                            ),
                        }
                        if let Some(check) = check {
                            check.done();
                        }
                    }
                    Command::Check(check) => {
                        if self.look(&connection, &check.audience()).await {
                            check.done();
                        } else {
                            next = Some(check);
                            break None;
                        }
                    }
                },
            }
        };
        let due = self.lost(trouble).await;
        (next, due)
    }

    /// Publishes that the connection is lost. Gives back when the next attempt is due where it has to wait.
    async fn lost(&mut self, trouble: Option<Trouble>) -> Option<Instant> {
        self.parts.client.send_replace(None);
        self.forwarding.abort_all();
        let (now, watched) = (Instant::now(), self.is_watched());
        let due = Some(self.pace.lost(now, watched, jitter())).filter(|due| *due > now);
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
        due
    }

    /// Whether a connection that is in doubt still answers.
    async fn proves(&self, connection: &Connection) -> bool {
        let mut client = connection.client.clone();
        let within = PROOF.max(self.rtt().unwrap_or_default() * 5);
        matches!(timeout(within, client.ping(PingRequest {})).await, Ok(Ok(_)))
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

    fn want_bulk(&self, bulk: Bulk, reply: oneshot::Sender<HelperClient>) -> Bulk {
        match bulk {
            Bulk::Made(connection) if connection.closed.borrow().is_none() => {
                // Whoever asked may have gone.
                let _gone = reply.send(connection.client.clone());
                Bulk::Made(connection)
            }
            Bulk::Making(making, mut waiting) => {
                waiting.push(reply);
                Bulk::Making(making, waiting)
            }
            Bulk::None | Bulk::Made(_) => {
                let (host, means, rtt) = (self.parts.host.clone(), Arc::clone(&self.parts.means), self.rtt());
                let end = self.parts.end.clone();
                let making = tokio::spawn(async move {
                    let audience = Audience::nobody();
                    tokio::select! {
                        () = end.cancelled() => Err(Trouble::helper("the daemon is ending".to_owned())),
                        made = attempt::open(&host, &means, &audience, rtt, Purpose::Bulk) => made,
                    }
                });
                Bulk::Making(making, vec![reply])
            }
        }
    }

    /// Waits until the next attempt is due, or somebody wants one now. Without a time, only somebody can want it.
    async fn rest(&mut self, due: Option<Instant>) -> Option<Check> {
        let over = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return None,
                Some(command) = self.parts.inbox.recv() => match command {
                    Command::Try if due.is_some() => {
                        self.pace.hurry();
                        return None;
                    }
                    Command::Check(check) => return Some(check),
                    // It is known that nobody is there.
                    Command::Try | Command::Prove | Command::Refresh(_) | Command::Bulk(_) => {}
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

/// Waits until a connection is gone, and says why.
async fn gone(mut closed: watch::Receiver<Option<ConnectError>>) -> Option<ConnectError> {
    let why = closed.wait_for(Option::is_some).await;
    why.ok().and_then(|why| why.clone())
}

/// The end of an attempt at the connection for what is much. Those who wait for one that failed go on with the first.
fn settle(bulk: Bulk, outcome: Option<Result<Result<Connection, Trouble>, tokio::task::JoinError>>) -> Bulk {
    let Bulk::Making(_, waiting) = bulk else {
        return bulk;
    };
    match outcome {
        Some(Ok(Ok(connection))) => {
            for reply in waiting {
                // Whoever asked may have gone.
                let _gone = reply.send(connection.client.clone());
            }
            Bulk::Made(connection)
        }
        Some(Ok(Err(trouble))) => {
            tracing::info!(error = %trouble.message.escape_debug(), "no second connection; the first one carries all");
            Bulk::None
        }
        Some(Err(error)) => {
            tracing::error!(%error, "making a second connection");
            Bulk::None
        }
        None => Bulk::None,
    }
}

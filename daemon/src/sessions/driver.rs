//! The one task that owns a session's row.
//!
//! ```text
//!   creating ──► an older run ends ──► StartSession ──► WatchSession ──► exited | stopped | lost | broken
//!      ▲                                                                        │
//!      └────────────────────── restart, recover: the next run ──────────────────┘
//! ```
//!
//! On another machine the log is copied along to where it is read here; while that machine is away the session keeps its
//! state, and the driver waits for the link. A session that is removed meanwhile is forgotten at once, and goes there when
//! the machine is back.
//!
//! Intents (stop, the next run, deletion) are in the row before anything is done about them, so whoever drives the
//! session next goes on with them. Starting a run that was started before does nothing.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{
        DeleteSessionRequest, Size, StartSessionRequest, StopSessionRequest, WatchSessionRequest,
        WatchSessionResponse,
    },
    v1::{Error, ErrorKind},
};
use outlast_model::{
    admission::{self, Ending},
    host::{Removal, RemovalKind},
    job::TimeMs,
    session::{Session, SessionState},
};
use outlast_store::{Request, StoreError, session_event};
use outlast_transport::HelperClient;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tonic::{Code, Status, Streaming};

use super::{
    Answer, Heard, Sessions, View,
    activity::Watching,
    judge::{self, Before, NOT_IN_TMUX, Verdict},
};
use crate::{
    app::now_ms,
    arrival,
    hosts::Host,
    jobs::outcome,
    mirror, refusal,
    retry::{self, Backoff},
    rpc::{convert, status::failure},
};

/// Time between TERM and KILL for a run that has to make room for the next.
const MAKE_ROOM: Duration = Duration::from_secs(5);

/// How long the helper may take to pass a wish on; it only writes a line into a pipe.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// When a wish is passed on again that nobody took. The pane may be just about to open its pipe.
const STOP_AGAIN: Duration = Duration::from_millis(100);

/// How long a program may seem to run outside of tmux before the session counts as broken. When a tmux server ends,
/// its programs outlive it for a moment.
const OUTSIDE_PATIENCE: Duration = Duration::from_secs(3);

/// What somebody wants of a session.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// To end its program.
    Stop {
        /// Time between TERM and KILL.
        grace_ms: u64,
    },
    /// To begin its next run.
    Restart {
        /// Also when it runs.
        force: bool,
    },
    /// To bring it back.
    Recover,
    /// To remove it.
    Delete {
        /// Also when it runs.
        force: bool,
    },
}

/// What a driver is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody wants something.
    Wish {
        /// What.
        wish: Wish,
        /// Where the wish comes from.
        request: Option<Request>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer, Error>>,
    },
    /// Somebody answered through the terminal.
    Answered {
        /// When, by the clock of the host.
        at: TimeMs,
        /// Where it is said that no older sign counts any more, with the number of the last event about what was before.
        reply: oneshot::Sender<u64>,
    },
}

/// The state of the task.
pub(super) struct Driver {
    sessions: Sessions,
    session: Session,
    attached: u32,
    /// When the last terminal went that was attached.
    left_at: Option<Instant>,
    /// Whether its program or the holder of its pane lives, by the last report.
    alive: bool,
    last_output: Option<TimeMs>,
    /// Since when there are signs of this run, without a break.
    heard_since: Option<Instant>,
    /// Up to which length of the log the host looked at all that can be seen.
    looked_to: u64,
    inbox: mpsc::Receiver<Command>,
    watching: Watching,
    publish: watch::Sender<Arc<View>>,
    /// Who waits for the removal.
    removal: Vec<oneshot::Sender<Result<Answer, Error>>>,
    /// When the wish to stop is to be passed on. Absent: there is none, or it was passed on.
    stop_due: Option<Instant>,
    /// Since when its program seems to run outside of tmux; broken at this time.
    broken_at: Option<Instant>,
}

/// Why the driver stops what it does and looks at the row again.
struct Changed;

/// How long the rest of a log may take to arrive after the program has ended; then the copy begins anew where it ends.
pub(super) const COPY_WITHIN: Duration = Duration::from_secs(30);

/// A log that is being copied. Absent: it is read in place, or is all there.
type Copying = Option<Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>>;

impl Driver {
    pub(super) fn new(
        sessions: Sessions,
        session: Session,
        inbox: mpsc::Receiver<Command>,
        publish: watch::Sender<Arc<View>>,
    ) -> Self {
        let last_output = publish.borrow().last_output;
        Self {
            sessions,
            session,
            attached: 0,
            left_at: None,
            alive: false,
            last_output,
            heard_since: None,
            looked_to: 0,
            inbox,
            watching: Watching::new(),
            publish,
            removal: Vec::new(),
            stop_due: None,
            broken_at: None,
        }
    }

    /// Drives the session until it is removed or the daemon ends.
    pub(super) async fn run(mut self) {
        let end = self.sessions.app().shutdown.token();
        tokio::select! {
            // Nothing is lost: the row says where the next daemon goes on.
            () = end.cancelled() => {}
            () = self.drive() => {}
        }
    }

    async fn drive(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let Some(host) = self.host().filter(|_| !self.inbox.is_closed()) else {
                // Its host was removed, and the row with it; perhaps it was added again since.
                return;
            };
            if self.session.deleting && !host.is_up() {
                match self.remove_away(&host).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(session = %self.session.name, error = %error.message, "forgetting a session whose host is away; trying again");
                        self.pause(backoff.pause()).await;
                    }
                }
                continue;
            }
            if !self.session.state.is_ended() && !host.is_up() {
                self.wait_for_link(&host).await;
                backoff = Backoff::default();
                continue;
            }
            if self.session.deleting {
                match self.remove(&host).await {
                    Ok(()) => return,
                    // It is forgotten here then, and goes there later.
                    Err(_broken) if !host.is_up() => {}
                    Err(error) => {
                        tracing::warn!(session = %self.session.name, error = %error.message, "removing a session; trying again");
                        self.pause(backoff.pause()).await;
                    }
                }
                continue;
            }
            if self.session.state.is_ended() {
                self.quiet();
                let Some(command) = self.inbox.recv().await else {
                    return;
                };
                self.obey(command).await;
                continue;
            }
            let followed = self.follow().await;
            // Until something is heard again, nothing is known of what it does.
            self.heard_since = None;
            self.looked_to = 0;
            self.show();
            match followed {
                Ok(Changed) => backoff = Backoff::default(),
                // The link tells why; the session knows nothing of it.
                Err(status) if host.is_cut_off(&status) && backoff.is_fresh() => {
                    host.doubt().await;
                    backoff.pause();
                }
                Err(_broken) if !host.is_up() => {}
                Err(status) => {
                    tracing::warn!(session = %self.session.name, error = status.message(), "following a session broke off; trying again");
                    if self.session.state == SessionState::Creating {
                        self.say(status.message()).await;
                    }
                    self.pause(backoff.pause()).await;
                }
            }
        }
    }

    fn host(&self) -> Option<Arc<Host>> {
        self.sessions.app().hosts.get(&self.session.host)
    }

    /// Waits until the host is connected, while wishes are still heard. Nobody is attached meanwhile. A removal does not
    /// wait.
    async fn wait_for_link(&mut self, host: &Host) {
        self.quiet();
        // They say nothing of what comes to pass there meanwhile.
        self.watching.forget();
        while !self.session.deleting {
            tokio::select! {
                _up_or_removed = host.up() => return,
                Some(command) = self.inbox.recv() => self.obey(command).await,
            }
        }
    }

    /// Starts the session's run if that is still to be done, and follows it until the row calls for something else.
    async fn follow(&mut self) -> Result<Changed, Status> {
        let host = self
            .host()
            .ok_or_else(|| Status::unavailable("its host was removed"))?;
        let mut client = host.client();
        if self.session.state == SessionState::Creating && !self.begin(&mut client).await? {
            return Ok(Changed);
        }
        self.stop_due = self.session.stop_grace_ms.map(|_grace| Instant::now());
        self.broken_at = None;
        self.watching.forget();
        // A new watch: what an older one still has to say may be about the run before.
        let mut reports = match self.watch(&mut client).await {
            Err(status)
                if status.code() == Code::NotFound && self.session.state == SessionState::Creating =>
            {
                return Err(status);
            }
            Err(status) if status.code() == Code::NotFound => {
                self.take(&WatchSessionResponse::default()).await;
                self.wait_while_broken().await;
                return Ok(Changed);
            }
            reports => reports?,
        };
        let run = self.session.run;
        let mut copying = self.copy_of(&host);
        while !self.session.state.is_ended() && !self.session.deleting && self.session.run == run {
            let (stop_due, broken_at, reread_at) = (self.stop_due, self.broken_at, self.watching.due());
            tokio::select! {
                copied = copied(&mut copying) => {
                    copying = None;
                    copied?;
                }
                report = reports.message() => match report? {
                    Some(report) => {
                        if judge::is_over(&self.session, &report) && copying.is_some() {
                            // Who reads the log takes the end of the session for the end of the log.
                            if !self.copy_rest(&mut copying).await? {
                                return Ok(Changed);
                            }
                        }
                        self.take(&report).await;
                    }
                    None => return Err(Status::unavailable("the helper's reports ended")),
                },
                Some(command) = self.inbox.recv() => self.obey(command).await,
                () = at(stop_due) => self.tell(&mut client).await,
                () = at(broken_at) => self.count_as_broken().await,
                () = at(reread_at) => self.read_signs().await,
            }
        }
        Ok(Changed)
    }

    /// Waits for the rest of a log, while wishes are still heard. False: something else is wanted of the session meanwhile.
    async fn copy_rest(&mut self, copying: &mut Copying) -> Result<bool, Status> {
        let run = self.session.run;
        let late = sleep_until(Instant::now() + COPY_WITHIN);
        tokio::pin!(late);
        loop {
            tokio::select! {
                done = copied(copying) => {
                    *copying = None;
                    return done.map(|()| true);
                }
                () = &mut late => {
                    *copying = None;
                    return Err(Status::unavailable("the rest of the log is late"));
                }
                Some(command) = self.inbox.recv() => {
                    self.obey(command).await;
                    if self.session.deleting || self.session.run != run {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The copying of the log of a session on another machine.
    fn copy_of(&self, host: &Arc<Host>) -> Copying {
        if host.is_local() {
            return None;
        }
        let dir = self.sessions.spool_dir(&self.session).ok()?;
        let id = self.session.id.to_string();
        Some(Box::pin(mirror::copy_session(Arc::clone(host), id, dir)))
    }

    /// Does what is to be done before the run, and starts it. False when it does not come to that.
    async fn begin(&mut self, client: &mut HelperClient) -> Result<bool, Status> {
        let run = self.session.run;
        match self.first_report(client).await? {
            None => return Ok(false),
            Some(Before::Start) => {}
            Some(Before::NeverStart) => {
                self.session = judge::stopped_unstarted(&self.session, now_ms());
                self.save(true).await;
                return Ok(false);
            }
            Some(Before::EndOlder) => {
                if !self.end_older(client).await? {
                    return Ok(false);
                }
            }
        }
        let id = self.session.id;
        // Before anybody can see it run, so that whoever wants its log finds where that comes.
        let dir = self.sessions.spool_dir(&self.session);
        if let (Some(false), Ok(dir)) = (self.host().map(|host| host.is_local()), dir) {
            dir.create_new()
                .map_err(|error| Status::resource_exhausted(error.to_string()))?;
        }
        let spec_json = match self.sessions.spec_file(move |specs| specs.read(id)).await {
            Ok(spec) => spec,
            // A session that was found in the spool has its spec there.
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(Status::internal(error.to_string())),
        };
        let (columns, rows) = self.session.size;
        let request = StartSessionRequest {
            id: id.to_string(),
            spec_json: spec_json.into(),
            run,
            size: Some(Size {
                columns: columns.into(),
                rows: rows.into(),
            }),
            use_restart_command: run > 1 && self.session.restart_command.is_some(),
        };
        // Not selected with the inbox: the helper bounds this, and half a start is nothing to build on.
        match client.start_session(request).await {
            Ok(started) => {
                if let Some(started) = started.into_inner().started.filter(|started| started.pid != 0) {
                    self.session.state = SessionState::Running;
                    self.session.pid = Some(started.pid);
                    self.session.started_at = Some(started.started_at_ms);
                    self.session.reason = None;
                    self.save(true).await;
                }
                Ok(true)
            }
            Err(status) if outcome::is_final(status.code()) => {
                self.session.state = SessionState::Broken;
                self.session.reason = Some(said(&status));
                self.save(true).await;
                self.wait_while_broken().await;
                Ok(false)
            }
            Err(status) => Err(status),
        }
    }

    /// What the helper's first report asks for. Absent: somebody wants something else meanwhile.
    async fn first_report(&mut self, client: &mut HelperClient) -> Result<Option<Before>, Status> {
        let report = match self.watch(client).await {
            Ok(mut reports) => reports.message().await?.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => WatchSessionResponse::default(),
            Err(status) => return Err(status),
        };
        // What is wanted by now may change what has to be done.
        let run = self.session.run;
        while let Ok(command) = self.inbox.try_recv() {
            self.obey(command).await;
        }
        let same = self.session.run == run && !self.session.deleting;
        Ok(same.then(|| judge::before_start(&self.session, &report)))
    }

    /// Ends an older run. False when something else is wanted meanwhile.
    async fn end_older(&mut self, client: &mut HelperClient) -> Result<bool, Status> {
        let mut reports = self.watch(client).await?;
        let mut due = Some(Instant::now());
        let run = self.session.run;
        loop {
            tokio::select! {
                report = reports.message() => match report? {
                    Some(report) => {
                        if judge::before_start(&self.session, &report) != Before::EndOlder {
                            return Ok(true);
                        }
                    }
                    None => return Err(Status::unavailable("the helper's reports ended")),
                },
                Some(command) = self.inbox.recv() => {
                    self.obey(command).await;
                    if self.session.run != run || self.session.deleting {
                        return Ok(false);
                    }
                }
                () = at(due) => due = self.ask_to_stop(client, MAKE_ROOM).await,
            }
        }
    }

    async fn watch(&self, client: &mut HelperClient) -> Result<Streaming<WatchSessionResponse>, Status> {
        let providers = &self.sessions.app().providers;
        let (readings, own_reading) = providers.readings(self.session.provider.as_deref());
        let request = WatchSessionRequest {
            id: self.session.id.to_string(),
            readings,
            own_reading,
        };
        Ok(client.watch_session(request).await?.into_inner())
    }

    /// A session that cannot be started stays as it is until somebody wants something.
    async fn wait_while_broken(&mut self) {
        let run = self.session.run;
        while self.session.run == run && !self.session.deleting && self.session.state == SessionState::Broken
        {
            match self.inbox.recv().await {
                Some(command) => self.obey(command).await,
                // It was let go of together with its host.
                None => return,
            }
            if self.session.stop_grace_ms.is_some() && self.session.state == SessionState::Broken {
                self.session = judge::stopped_unstarted(&self.session, now_ms());
                self.save(true).await;
            }
        }
    }

    /// Takes a report in.
    async fn take(&mut self, report: &WatchSessionResponse) {
        self.count_attached(report.attached);
        self.alive = report.state.as_ref().is_some_and(|state| state.alive);
        if report.last_output_ms > 0 {
            self.last_output = Some(report.last_output_ms);
        }
        match judge::judge(&self.session, report) {
            Verdict::Now(now) => {
                self.session = *now;
                self.broken_at = None;
                if self.session.state.is_ended() {
                    self.session.activity = None;
                    self.watching.forget();
                }
                self.save(true).await;
            }
            Verdict::Same => {
                self.broken_at = None;
                self.show();
            }
            Verdict::Outside => {
                if self.session.state != SessionState::Broken && self.broken_at.is_none() {
                    self.broken_at = Some(Instant::now() + OUTSIDE_PATIENCE);
                }
                self.show();
            }
        }
        // Those of an older run say nothing of this one.
        let run = report.state.as_ref().and_then(|state| state.started.as_ref());
        if let Some(signs) = &report.signs
            && run.is_some_and(|started| started.run == self.session.run)
        {
            self.watching.report(signs, &self.session, report.last_output_ms);
            if signs.settled {
                self.looked_to = report.state.as_ref().map_or(0, |state| state.log_bytes);
            }
            self.read_signs().await;
            self.heard_since.get_or_insert_with(Instant::now);
            self.show();
        }
    }

    /// Writes down what the session does by what is known, if that is news.
    async fn read_signs(&mut self) {
        let Some(activity) = self.watching.news(&self.session) else {
            return;
        };
        let store = &self.sessions.app().store;
        let (id, run) = (self.session.id, self.session.run);
        let answered = self.watching.was_answered(&self.session);
        match store.set_activity(id, run, activity.clone(), answered).await {
            Ok(seq) => {
                self.session.activity = activity;
                self.session.activity_seq = seq;
                self.watching.wrote(seq);
                self.show();
            }
            Err(error) => {
                tracing::warn!(session = %self.session.name, %error, "writing what a session does");
                if !retry::is_hopeless(&error) {
                    self.watching.try_again();
                }
            }
        }
    }

    async fn count_as_broken(&mut self) {
        self.broken_at = None;
        self.session.state = SessionState::Broken;
        self.session.reason = Some(NOT_IN_TMUX.to_owned());
        self.save(true).await;
    }

    /// Passes the wish to stop on. Nobody there to hear it is no answer yet: the pane may be just starting, or its
    /// end is on the way.
    async fn tell(&mut self, client: &mut HelperClient) {
        let Some(grace_ms) = self.session.stop_grace_ms else {
            self.stop_due = None;
            return;
        };
        self.stop_due = self.ask_to_stop(client, Duration::from_millis(grace_ms)).await;
        if self.stop_due.is_some() && self.session.state == SessionState::Broken && !self.alive {
            // Nothing is left that could say how it ended.
            self.session = judge::stopped_unstarted(&self.session, now_ms());
            self.save(true).await;
        }
    }

    /// When to ask again; absent once somebody has heard it.
    async fn ask_to_stop(&mut self, client: &mut HelperClient, grace: Duration) -> Option<Instant> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let mut request = tonic::Request::new(StopSessionRequest {
            id: self.session.id.to_string(),
            grace: Some(convert::duration(grace_ms)),
        });
        request.set_timeout(STOP_DEADLINE);
        match client.stop_session(request).await {
            Ok(response) if response.get_ref().told => None,
            Ok(_nobody) => Some(Instant::now() + STOP_AGAIN),
            Err(error) => {
                tracing::warn!(session = %self.session.name, error = error.message(), "stopping a session; trying again");
                Some(Instant::now() + STOP_DEADLINE)
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let (wish, request, reply) = match command {
            Command::Wish { wish, request, reply } => (wish, request, reply),
            Command::Answered { at, reply } => {
                self.watching.answered(at);
                self.read_signs().await;
                let before = self.watching.last_before(at);
                // Whoever answered may have gone.
                let _ = reply.send(before.unwrap_or(self.session.activity_seq));
                return;
            }
        };
        let answer = match self.weigh(wish) {
            Ok(Weighed::Write(wanted)) => self.want(*wanted, request).await,
            Ok(Weighed::Nothing { already }) => self.note(request).await.map(|()| already),
            Err(error) => self.repeat_or(request, error).await,
        };
        let removing = matches!(wish, Wish::Delete { .. });
        match answer {
            // Answered when it is gone.
            Ok(_) if removing => self.removal.push(reply),
            answer => {
                let answer = answer.map(|already| Answer {
                    session: self.session.clone(),
                    already,
                });
                // Whoever asked may have gone; the wish stands all the same.
                let _ = reply.send(answer);
            }
        }
    }

    /// Decides what a wish means for the row. Pure, by the rules of admission.
    fn weigh(&self, wish: Wish) -> Result<Weighed, Error> {
        let session = &self.session;
        let denied = |denial| refusal::denied(&denial, Some(session.id));
        Ok(match wish {
            Wish::Stop { grace_ms } => match admission::stop(session, grace_ms) {
                Ending::Accept { grace_ms } => Weighed::Write(Box::new(Session {
                    stop_grace_ms: Some(grace_ms),
                    ..session.clone()
                })),
                Ending::AlreadyAsked => Weighed::Nothing { already: false },
                Ending::AlreadyEnded => Weighed::Nothing { already: true },
            },
            Wish::Restart { force } => {
                admission::restart(session, force).map_err(denied)?;
                Weighed::Write(Box::new(session.next_run()))
            }
            Wish::Recover => {
                admission::recover(session).map_err(denied)?;
                Weighed::Write(Box::new(session.next_run()))
            }
            Wish::Delete { force } => match admission::delete(session, force).map_err(denied)? {
                admission::Removal::Accept => Weighed::Write(Box::new(Session {
                    deleting: true,
                    ..session.clone()
                })),
                admission::Removal::AlreadyAsked => Weighed::Nothing { already: false },
            },
        })
    }

    /// Puts an intent on disk and takes it over.
    async fn want(&mut self, wanted: Session, request: Option<Request>) -> Result<bool, Error> {
        let store = &self.sessions.app().store;
        let event = session_event(&wanted);
        match request {
            Some(request) => {
                let done = store.request_session(&wanted, event, &request).await;
                if done.map_err(failure)?.is_repeat() {
                    return Ok(false);
                }
            }
            None => store
                .update_session(&wanted, event, true)
                .await
                .map_err(failure)?,
        }
        if wanted.stop_grace_ms != self.session.stop_grace_ms {
            self.stop_due = wanted.stop_grace_ms.map(|_grace| Instant::now());
        }
        if wanted.run != self.session.run {
            self.watching.forget();
        }
        self.session = wanted;
        self.show();
        Ok(false)
    }

    /// Remembers a request that had nothing to change.
    async fn note(&self, request: Option<Request>) -> Result<(), Error> {
        if let Some(request) = request {
            let store = &self.sessions.app().store;
            let id = self.session.id.to_string();
            store.record_request(&request, &id, None).await.map_err(failure)?;
        }
        Ok(())
    }

    /// A repeat of a request that was done is no error, even where it would be denied by now.
    async fn repeat_or(&self, request: Option<Request>, error: Error) -> Result<bool, Error> {
        let store = &self.sessions.app().store;
        match request {
            Some(request) if store.find_request(&request).await.map_err(failure)?.is_some() => Ok(false),
            _ => Err(error),
        }
    }

    /// Removes all of it: terminal and directory, spec, row.
    async fn remove(&mut self, host: &Host) -> Result<(), Error> {
        let id = self.session.id;
        let mut client = host.client();
        let request = DeleteSessionRequest { id: id.to_string() };
        match super::answered(host, client.delete_session(request)).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sessions.spec_file(move |specs| specs.remove(id)).await?;
        let store = &self.sessions.app().store;
        store.delete_session(id).await.map_err(failure)?;
        self.removed().await;
        Ok(())
    }

    /// Forgets a session whose host is away, and notes that it is to be removed there.
    async fn remove_away(&mut self, host: &Host) -> Result<(), Error> {
        let id = self.session.id;
        self.sessions.spec_file(move |specs| specs.remove(id)).await?;
        let store = self.sessions.app().store.clone();
        store.delete_session_away(id).await.map_err(failure)?;
        self.removed().await;
        let kind = RemovalKind::Session;
        // It may have come back before that was noted, and then nobody looks again.
        if host.is_up()
            && arrival::remove(&mut host.client(), Removal { kind, id })
                .await
                .is_ok()
        {
            let done = store.removal_done(host.name(), id).await;
            done.map_err(failure)?;
        }
        Ok(())
    }

    /// What is left to do once the row is gone.
    async fn removed(&mut self) {
        self.sessions.remove_copy(&self.session).await;
        self.sessions.inner.handles.remove(self.session.id);
        self.answer_removals();
        // Those who asked meanwhile hear that it is gone.
        self.inbox.close();
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Wish { reply, .. } = command {
                let gone = super::not_found(self.session.name.as_str());
                let _ = reply.send(Err(gone));
            }
        }
    }

    /// Answers those who wait for the removal.
    fn answer_removals(&mut self) {
        for reply in self.removal.drain(..) {
            let answer = Answer {
                session: self.session.clone(),
                already: false,
            };
            // Whoever asked may have gone.
            let _ = reply.send(Ok(answer));
        }
    }

    /// Waits before the next try, while wishes are still heard.
    async fn pause(&mut self, pause: Duration) {
        let over = sleep_until(Instant::now() + pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(command) = self.inbox.recv() => self.obey(command).await,
            }
        }
    }

    /// Shows why the session does not start yet.
    async fn say(&mut self, reason: &str) {
        if self.session.reason.as_deref() != Some(reason) {
            self.session.reason = Some(reason.to_owned());
            self.save(false).await;
        }
    }

    /// Nobody is attached to what does not run.
    fn quiet(&mut self) {
        if self.attached != 0 {
            self.count_attached(0);
            self.show();
        }
    }

    fn count_attached(&mut self, attached: u32) {
        if attached == 0 && self.attached > 0 {
            self.left_at = Some(Instant::now());
        }
        self.attached = attached;
    }

    /// Writes the row, however long the disk is full, and publishes it.
    async fn save(&mut self, durable: bool) {
        let mut backoff = Backoff::default();
        loop {
            let event = session_event(&self.session);
            match self
                .sessions
                .app()
                .store
                .update_session(&self.session, event, durable)
                .await
            {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(session = %self.session.name, %error, "writing a session's state");
                    if retry::is_hopeless(&error) {
                        self.reread(&error).await;
                        break;
                    }
                    // Whoever wants something meanwhile hears what is wrong.
                    self.pause(backoff.pause()).await;
                }
            }
        }
        self.show();
    }

    /// The stored row is the truth when ours cannot follow it.
    async fn reread(&mut self, error: &StoreError) {
        if let StoreError::Stale { .. } = error
            && let Ok(Some(stored)) = self.sessions.app().store.session(self.session.id).await
        {
            self.session = stored;
        }
    }

    /// Publishes what is known.
    fn show(&self) {
        let view = View {
            session: self.session.clone(),
            attached: self.attached,
            left_at: self.left_at,
            last_output: self.last_output,
            asked_by: self.watching.asked_by().map(str::to_owned),
            heard: self
                .heard_since
                .zip(self.watching.speaks())
                .map(|(since, speaks)| Heard {
                    since,
                    speaks,
                    looked_to: self.looked_to,
                }),
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

/// What a wish means for the row.
enum Weighed {
    /// This is to be written.
    Write(Box<Session>),
    /// There is nothing to write.
    Nothing {
        /// It had ended before.
        already: bool,
    },
}

/// Waits until a log is copied; for ever where none is.
async fn copied(copying: &mut Copying) -> Result<(), Status> {
    match copying {
        Some(copying) => copying.await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment; for ever when there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What the helper said, in its own words.
fn said(status: &Status) -> String {
    Error::from_status(status).map_or_else(|| status.message().to_owned(), |error| error.message)
}

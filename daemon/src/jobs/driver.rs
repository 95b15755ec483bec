//! The one task that drives a live job from `queued` to its end.
//!
//! ```text
//!   wait for a slot ──► RunJob ──► Started ──► Ended | Lost
//!         │                ▲          │
//!         └─ cancel: ends  └─ again ──┘ the connection broke; the job knows nothing of it
//! ```
//!
//! On another machine the log comes along, and is copied to where it is read here; while that machine is away the job
//! keeps its state, and the driver waits for the link.
//!
//! It alone changes the job's row. After a restart of the daemon the same task begins from the row; starting a job
//! twice is harmless, because its supervisor refuses to. A wish to cancel is in the row before the supervisor hears
//! of it, so it is told again by whoever drives the job next.

use std::{sync::Arc, time::Duration};

use outlast_client::{helper_v1, v1::Error};
use outlast_model::{
    admission::{self, Ending},
    job::{Job, JobState},
};
use outlast_store::{Request, StoreError, job_event};
use outlast_transport::HelperClient;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tonic::{Code, Status, Streaming};

use super::{Jobs, outcome, queue::Ticket};
use crate::{
    app::now_ms,
    hosts::Host,
    mirror::{self, Mirror, Tail},
    retry::{self, Backoff},
    rpc::{convert, status::failure},
};

/// Exit code of a job whose program could not be started for a reason that is not the program's.
const CANNOT_START: i32 = 126;

/// How long the helper may take to pass a wish on; it only writes a line into a pipe.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// When a wish is passed on again that nobody took. The supervisor may be just about to open its pipe.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// When the row of a job that runs is on the disk. It keeps a job from being run again after a loss of power; its
/// followers do not have to wait for that, and the disk does not have to do it for a job that has ended by then.
const FLUSH_WITHIN: Duration = Duration::from_millis(50);

/// What somebody wants of a live job.
#[derive(Debug)]
pub(super) enum Command {
    /// To end it: TERM, and KILL after the grace. Answered when that is on disk, with the job as it is then.
    Cancel {
        /// Time between TERM and KILL.
        grace_ms: u64,
        /// The request it comes from.
        request: Option<Request>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Arc<Job>, Error>>,
    },
}

/// The state of the task.
pub(super) struct Driver {
    jobs: Jobs,
    job: Job,
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<Job>>,
    ticket: Ticket,
    /// Whether the helper may have been asked to start it. Once it may, only a report can say how it ended.
    maybe_started: bool,
    /// Whether the wish to cancel came before anybody saw the program run: then it counts, however the program ends.
    cancelled_early: bool,
    /// When the wish to cancel is to be passed on. Absent: there is none, or it was passed on.
    cancel_due: Option<Instant>,
    /// When the row that says it runs is to be on the disk. Absent: it is.
    flush_due: Option<Instant>,
}

/// How a look at the helper's stream ended.
enum Seen {
    Ended(helper_v1::Outcome),
    Lost(helper_v1::Lost),
    /// The daemon lets go of the job because it ended in another way.
    Done,
}

/// What a stream of reports came to.
enum Heard {
    End(Seen),
    /// Its rest is to be had with this client.
    Switch(HelperClient),
}

impl Driver {
    pub(super) fn new(
        jobs: Jobs,
        job: Job,
        inbox: mpsc::Receiver<Command>,
        publish: watch::Sender<Arc<Job>>,
        ticket: Ticket,
        maybe_started: bool,
    ) -> Self {
        let cancel_due = job.cancel_grace_ms.map(|_grace| Instant::now());
        Self {
            jobs,
            job,
            inbox,
            publish,
            ticket,
            maybe_started,
            cancelled_early: false,
            cancel_due,
            flush_due: None,
        }
    }

    /// Drives the job until it has ended or the daemon ends.
    pub(super) async fn run(mut self) {
        let end = self.jobs.app().shutdown.token();
        tokio::select! {
            // Nothing is lost: the row says where the next daemon goes on.
            () = end.cancelled() => return,
            () = self.drive() => {}
        }
        // Of a job that was let go of, the registry may have another driver by now.
        if !self.is_let_go() {
            self.jobs.forget(self.job.id);
        }
    }

    async fn drive(&mut self) {
        if self.job.state == JobState::Queued && !self.maybe_started {
            if !self.wait_for_turn().await {
                self.finish(outcome::cancelled_unstarted(now_ms())).await;
                return;
            }
            self.maybe_started = true;
        }
        let mut backoff = Backoff::default();
        loop {
            if self.host().is_none() || self.is_let_go() {
                // Its host was removed, and the row with it.
                return;
            }
            let problem = match self.follow().await {
                Ok(Seen::Done) => return,
                Ok(Seen::Ended(report)) => {
                    let (state, ended) = outcome::ended(report, self.cancelled_early);
                    self.finish((state, Some(ended), None)).await;
                    return;
                }
                Ok(Seen::Lost(lost)) => {
                    self.finish((JobState::Lost, None, Some(lost.reason))).await;
                    return;
                }
                Err(status) => status,
            };
            if self.job.state == JobState::Running && problem.code() == Code::NotFound {
                self.finish((JobState::Lost, None, Some(outcome::DIRECTORY_GONE.to_owned())))
                    .await;
                return;
            }
            let began = self.job.state == JobState::Running;
            if !began && outcome::is_final(problem.code()) {
                let reason = problem.message().to_owned();
                self.finish(outcome::not_startable(CANNOT_START, reason, now_ms()))
                    .await;
                return;
            }
            if !began && self.job.cancel_grace_ms.is_some() && self.is_unstarted().await {
                self.finish(outcome::cancelled_unstarted(now_ms())).await;
                return;
            }
            if let Some(host) = self.host().filter(|host| host.is_cut_off(&problem)) {
                host.doubt().await;
            }
            if let Some(host) = self.host().filter(|host| !host.is_up()) {
                // The link tells why; the job knows nothing of it.
                self.wait_for_link(&host).await;
                backoff = Backoff::default();
                continue;
            }
            tracing::warn!(job = %self.job.id, error = problem.message(), "following a job broke off; trying again");
            if !began {
                self.say(problem.message()).await;
            }
            self.pause(backoff.pause()).await;
        }
    }

    /// Whether nobody can ask for it any more: its host was removed, and perhaps added again since.
    fn is_let_go(&self) -> bool {
        self.inbox.is_closed()
    }

    fn host(&self) -> Option<Arc<Host>> {
        self.jobs.app().hosts.get(&self.job.host)
    }

    /// Waits until the host is connected, while wishes are still heard.
    async fn wait_for_link(&mut self, host: &Host) {
        loop {
            tokio::select! {
                _up_or_removed = host.up() => return,
                Some(command) = self.inbox.recv() => self.obey(command).await,
            }
        }
    }

    /// Makes sure that a cancelled job whose start fails again and again never begins: true when nothing of it ever
    /// ran, and nothing can any more, because its directory is gone. A start that is late finds nothing to start.
    async fn is_unstarted(&self) -> bool {
        let Some(host) = self.host() else {
            return false;
        };
        let (mut client, id) = (host.client(), self.job.id.to_string());
        let mut request = tonic::Request::new(helper_v1::ListJobsRequest {});
        request.set_timeout(CANCEL_DEADLINE);
        let Ok(listed) = client.list_jobs(request).await else {
            return false;
        };
        let found = listed.into_inner().jobs.into_iter().find(|entry| entry.id == id);
        let unstarted = found.is_none_or(|entry| entry.state.is_some_and(|state| outcome::is_fresh(&state)));
        if !unstarted {
            return false;
        }
        let mut request = tonic::Request::new(helper_v1::DeleteJobRequest { id });
        request.set_timeout(CANCEL_DEADLINE);
        client.delete_job(request).await.is_ok()
    }

    /// True when the job may start and its host is there; false when it was cancelled first.
    async fn wait_for_turn(&mut self) -> bool {
        let host = self.host();
        loop {
            if self.job.cancel_grace_ms.is_some() {
                return false;
            }
            let ready = async {
                self.ticket.granted().await;
                if let Some(host) = &host {
                    host.up().await;
                }
            };
            let removed = async {
                match &host {
                    Some(host) => host.removed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(command) = self.inbox.recv() => self.obey(command).await,
                () = ready => return true,
                // Whoever goes on sees that it is gone.
                () = removed => return true,
            }
        }
    }

    /// Starts the job, unless it was started before, and follows it to its end.
    async fn follow(&mut self) -> Result<Seen, Status> {
        let Some(host) = self.host() else {
            return Err(Status::unavailable(format!("there is no host {}", self.job.host)));
        };
        if !host.is_up() {
            return Err(Status::unavailable(format!(
                "host {} is not connected",
                host.name()
            )));
        }
        // What was seen running is never started again, whatever became of its directory.
        let spec_json = if self.job.state == JobState::Queued {
            match self.jobs.read_spec(self.job.id).await {
                Ok(spec) => spec,
                Err(error) => {
                    let reason = error.to_string();
                    self.finish(outcome::not_startable(CANNOT_START, reason, now_ms()))
                        .await;
                    return Ok(Seen::Done);
                }
            }
        } else {
            Vec::new()
        };
        let mut copying = self.copy_of(&host).await?;
        let mut request = helper_v1::RunJobRequest {
            id: self.job.id.to_string(),
            spec_json: spec_json.into(),
            from: copying.as_ref().map(|(mirror, _tail)| mirror.end()),
        };
        let mut client = host.client();
        let mut carrier = client.clone();
        loop {
            let mut reports = {
                let open = carrier.run_job(request.clone());
                tokio::pin!(open);
                loop {
                    tokio::select! {
                        opened = &mut open => break opened?.into_inner(),
                        Some(command) = self.inbox.recv() => self.obey(command).await,
                    }
                }
            };
            match self.listen(&mut client, &mut reports, &mut copying).await? {
                Heard::End(seen) => return Ok(seen),
                Heard::Switch(bulk) => {
                    carrier = bulk;
                    // It was started; only the rest of its log is to come another way.
                    request.spec_json = bytes::Bytes::new();
                    request.from = copying.as_ref().map(|(mirror, _tail)| mirror.end());
                }
            }
        }
    }

    /// The copy of the log, for a job on another machine. It is made before the job is started for the first time: it
    /// says to whoever drives the job next that a start may have been tried.
    async fn copy_of(&self, host: &Arc<Host>) -> Result<Option<(Mirror, Tail)>, Status> {
        if host.is_local() {
            return Ok(None);
        }
        let dir = self
            .jobs
            .spool_dir(&self.job)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Some((mirror::open(dir).await?, Tail::new(Arc::clone(host)))))
    }

    async fn listen(
        &mut self,
        client: &mut HelperClient,
        reports: &mut Streaming<helper_v1::RunJobResponse>,
        copying: &mut Option<(Mirror, Tail)>,
    ) -> Result<Heard, Status> {
        use helper_v1::run_job_response::Event;
        loop {
            let (cancel, flush) = (at(self.cancel_due), at(self.flush_due));
            let switch = async {
                match copying {
                    Some((_mirror, tail)) => tail.switch().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = reports.message() => match report?.and_then(|report| report.event) {
                    Some(Event::Started(started)) => self.started(started).await,
                    // Where the log is read in place, none is asked for.
                    Some(Event::Chunk(chunk)) => if let Some((mirror, tail)) = copying {
                        mirror::add(mirror, tail, chunk).await?;
                    },
                    Some(Event::Ended(outcome)) => return Ok(Heard::End(Seen::Ended(outcome))),
                    Some(Event::Lost(lost)) => return Ok(Heard::End(Seen::Lost(lost))),
                    None => return Err(Status::unavailable("the helper's report ended without an outcome")),
                },
                Some(command) = self.inbox.recv() => self.obey(command).await,
                bulk = switch => return Ok(Heard::Switch(bulk)),
                () = cancel => self.tell(client).await,
                () = flush => self.flush().await,
            }
        }
    }

    async fn started(&mut self, started: helper_v1::Started) {
        if self.job.state == JobState::Queued {
            self.job.state = JobState::Running;
            self.job.started_at = Some(started.started_at_ms);
            self.job.reason = None;
            self.save(false).await;
            self.flush_due = Some(Instant::now() + FLUSH_WITHIN);
        }
        if self.job.cancel_grace_ms.is_some() {
            self.cancel_due = Some(Instant::now());
        }
    }

    async fn flush(&mut self) {
        self.flush_due = None;
        if let Err(error) = self.jobs.app().store.flush().await {
            tracing::warn!(job = %self.job.id, %error, "a loss of power may let this job run again");
        }
    }

    /// Passes the wish to cancel on. Nobody there to hear it is no answer yet: the program may be just starting, or
    /// its end is on the way.
    async fn tell(&mut self, client: &mut HelperClient) {
        let Some(grace_ms) = self.job.cancel_grace_ms else {
            self.cancel_due = None;
            return;
        };
        let mut request = tonic::Request::new(helper_v1::CancelJobRequest {
            id: self.job.id.to_string(),
            grace: Some(convert::duration(grace_ms)),
        });
        request.set_timeout(CANCEL_DEADLINE);
        self.cancel_due = match client.cancel_job(request).await {
            Ok(response) if response.get_ref().told => None,
            Ok(_nobody) => Some(Instant::now() + CANCEL_AGAIN),
            Err(error) => {
                tracing::warn!(job = %self.job.id, error = error.message(), "cancelling a job; trying again");
                Some(Instant::now() + CANCEL_DEADLINE)
            }
        };
    }

    async fn obey(&mut self, command: Command) {
        let Command::Cancel {
            grace_ms,
            request,
            reply,
        } = command;
        let done = self.want_end(grace_ms, request).await;
        // Whoever asked may have gone; the wish stands all the same.
        let _ = reply.send(done.map(|()| Arc::new(self.job.clone())).map_err(failure));
    }

    /// Puts the wish to end the job on disk. A second wish can only shorten the grace.
    async fn want_end(&mut self, grace_ms: u64, request: Option<Request>) -> Result<(), StoreError> {
        let store = &self.jobs.app().store;
        let Ending::Accept { grace_ms } = admission::cancel(&self.job, grace_ms) else {
            if let Some(request) = request {
                store
                    .record_request(&request, &self.job.id.to_string(), None)
                    .await?;
            }
            return Ok(());
        };
        let mut wanted = self.job.clone();
        wanted.cancel_grace_ms = Some(grace_ms);
        let event = job_event(&wanted);
        if let Some(request) = request {
            if store.request_job(&wanted, event, &request).await?.is_repeat() {
                return Ok(());
            }
        } else {
            store.update_job(&wanted, event, true).await?;
        }
        self.cancelled_early |= self.job.state == JobState::Queued;
        self.job = wanted;
        self.cancel_due = Some(Instant::now());
        self.publish.send_replace(Arc::new(self.job.clone()));
        Ok(())
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

    /// Shows why the job does not start yet.
    async fn say(&mut self, reason: &str) {
        if self.job.reason.as_deref() != Some(reason) {
            self.job.reason = Some(reason.to_owned());
            self.save(false).await;
        }
    }

    async fn finish(&mut self, end: outcome::End) {
        let (state, ended, reason) = end;
        self.job.state = state;
        self.job.reason = reason.or_else(|| ended.as_ref().and_then(outcome::reason_to_show));
        self.job.outcome = ended;
        self.save(true).await;
    }

    /// Writes the row, however long the disk is full, and publishes it.
    async fn save(&mut self, durable: bool) {
        let mut backoff = Backoff::default();
        loop {
            match self
                .jobs
                .app()
                .store
                .update_job(&self.job, job_event(&self.job), durable)
                .await
            {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(job = %self.job.id, %error, "writing a job's state; trying again");
                    if retry::is_hopeless(&error) {
                        break;
                    }
                    // Whoever wants something meanwhile hears what is wrong.
                    self.pause(backoff.pause()).await;
                }
            }
        }
        self.publish.send_replace(Arc::new(self.job.clone()));
    }
}

/// Returns at this time; never without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

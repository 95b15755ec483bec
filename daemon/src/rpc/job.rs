//! `JobService`: finite work.

use std::{mem::take, sync::Arc};

use outlast_client::v1::{
    CancelJobRequest, CancelJobResponse, CreateJobRequest, CreateJobResponse, Error, ErrorKind,
    GetJobRequest, GetJobResponse, ListJobsRequest, ListJobsResponse, LogStream, PruneJobsRequest,
    PruneJobsResponse, ReadJobLogRequest, ReadJobLogResponse, RetryJobRequest, RetryJobResponse,
    WaitJobRequest, WaitJobResponse, job_service_server::JobService, read_job_log_request,
};
use outlast_helper::spool::Stream;
use outlast_model::{
    admission,
    job::{Job, JobState},
};
use outlast_store::JobFilter;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    convert, host,
    request::{self, Program},
    status::Failure,
};
use crate::{
    app::App,
    hosts::LOCAL,
    jobs::{Jobs as Registry, NewJob, Selection, log},
    logs::{self, Sink, Start},
    refusal,
};

/// Time between TERM and KILL when a client names none, milliseconds.
const CANCEL_GRACE_MS: u64 = 10_000;

/// The handlers.
pub struct Jobs {
    app: Arc<App>,
    jobs: Registry,
}

impl Jobs {
    /// Over the daemon's parts and the registry of jobs.
    #[must_use]
    pub fn new(app: Arc<App>, jobs: Registry) -> Self {
        Self { app, jobs }
    }

    async fn create(&self, mut request: CreateJobRequest) -> Result<CreateJobResponse, Error> {
        let (base_env, env) = (take(&mut request.base_env), take(&mut request.env));
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "CreateJob", id, &request, &[&base_env, &env])?;
        let name = request
            .name
            .map(|name| request::name(&name, "outlast run --name", " -- COMMAND"))
            .transpose()?;
        let timeout_ms = request
            .timeout
            .map(|limit| request::millis("time limit", limit))
            .transpose()?;
        let host = request.host.unwrap_or_else(|| LOCAL.to_owned());
        let program = Program::new(request.command, request.cwd, &host, base_env, env);
        admission::create_job(&program.view(), timeout_ms)
            .map_err(|denial| refusal::denied(&denial, None))?;
        let log_max_bytes = match request.log_max_bytes {
            Some(0) => None,
            Some(limit) => Some(limit),
            None => self.app.config.jobs.log_max_bytes,
        };
        let new = NewJob {
            host,
            name,
            command: program.command,
            cwd: program.cwd,
            env: program.env,
            timeout_ms,
            log_max_bytes,
        };
        let job = self.jobs.create(new, once).await?;
        Ok(CreateJobResponse {
            job: Some(self.jobs.message(&job)),
        })
    }

    async fn list(&self, request: ListJobsRequest) -> Result<ListJobsResponse, Failure> {
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_not_a_token| {
                Error::new(ErrorKind::Usage, "this page token is none that was given")
            })?),
        };
        let states = states(&request.states)?;
        host::check_all(&self.app, &request.hosts)?;
        let page = self.app.store.list_jobs(JobFilter {
            states,
            hosts: request.hosts,
            limit: request.limit,
            before,
            ..JobFilter::default()
        });
        let page = page.await?;
        Ok(ListJobsResponse {
            jobs: page.items.iter().map(|job| self.jobs.message(job)).collect(),
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
            away: host::all_away(&self.app, live_hosts(&page.items)),
        })
    }

    async fn cancel(&self, mut request: CancelJobRequest) -> Result<CancelJobResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "CancelJob", id, &request, &[])?;
        let grace = request
            .grace
            .map(|grace| request::millis("grace", grace))
            .transpose()?;
        let job = self.jobs.resolve(&request.job).await?;
        let (job, already_ended) = self
            .jobs
            .cancel(job, grace.unwrap_or(CANCEL_GRACE_MS), once)
            .await?;
        Ok(CancelJobResponse {
            job: Some(self.jobs.message(&job)),
            already_ended,
        })
    }

    async fn retry(&self, mut request: RetryJobRequest) -> Result<RetryJobResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "RetryJob", id, &request, &[])?;
        let job = match self.jobs.first(once.as_ref()).await? {
            Some(first) => first,
            None => {
                let old = self.jobs.resolve(&request.job).await?;
                self.jobs.retry(&old, once).await?
            }
        };
        Ok(RetryJobResponse {
            job: Some(self.jobs.message(&job)),
        })
    }

    async fn prune(&self, mut request: PruneJobsRequest) -> Result<PruneJobsResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "PruneJobs", id, &request, &[])?;
        let older_than_ms = request
            .older_than
            .map(|age| request::millis("age", age))
            .transpose()?;
        let selection = Selection {
            states: states(&request.states)?,
            jobs: request.jobs,
            older_than_ms,
        };
        self.jobs.prune(selection, request.dry_run, once).await
    }
}

#[tonic::async_trait]
impl JobService for Jobs {
    async fn create_job(
        &self,
        request: Request<CreateJobRequest>,
    ) -> Result<Response<CreateJobResponse>, Status> {
        let created = self.create(request.into_inner()).await;
        created.map(Response::new).map_err(Error::into_status)
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let job = self.jobs.resolve(&request.into_inner().job).await;
        let job = job.map_err(Error::into_status)?;
        Ok(Response::new(GetJobResponse {
            job: Some(self.jobs.message(&job)),
            away: host::all_away(&self.app, live_hosts(std::slice::from_ref(&job))).pop(),
        }))
    }

    type ReadJobLogStream = ReceiverStream<Result<ReadJobLogResponse, Status>>;

    async fn read_job_log(
        &self,
        request: Request<ReadJobLogRequest>,
    ) -> Result<Response<Self::ReadJobLogStream>, Status> {
        let request = request.into_inner();
        let only = match request.stream() {
            LogStream::Unspecified => None,
            LogStream::Stdout => Some(Stream::Stdout),
            LogStream::Stderr => Some(Stream::Stderr),
            LogStream::Marker => Some(Stream::Marker),
        };
        let start = match request.start {
            None => Start::Offset(0),
            Some(read_job_log_request::Start::Offset(offset)) => Start::Offset(offset),
            Some(read_job_log_request::Start::LastLines(lines)) => Start::LastLines(lines),
            Some(read_job_log_request::Start::Now(_)) => Start::Now,
        };
        let reading = log::Reading {
            start,
            follow: request.follow,
            only,
        };
        let job = self
            .jobs
            .resolve(&request.job)
            .await
            .map_err(Error::into_status)?;
        let (answers, stream) = mpsc::channel(logs::QUEUE);
        let sink = Sink::new(answers, log::wrap, only);
        self.app
            .tasks
            .spawn(log::stream(self.jobs.clone(), job, reading, sink));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn wait_job(&self, request: Request<WaitJobRequest>) -> Result<Response<WaitJobResponse>, Status> {
        let job = self.jobs.resolve(&request.into_inner().job).await;
        let job = job.map_err(Error::into_status)?;
        let ended = tokio::select! {
            biased;
            status = self.app.shutdown.ended() => return Err(status),
            ended = self.jobs.wait(job) => ended.map_err(Error::into_status)?,
        };
        Ok(Response::new(WaitJobResponse {
            job: Some(self.jobs.message(&ended)),
        }))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let cancelled = self.cancel(request.into_inner()).await;
        cancelled.map(Response::new).map_err(Error::into_status)
    }

    async fn retry_job(
        &self,
        request: Request<RetryJobRequest>,
    ) -> Result<Response<RetryJobResponse>, Status> {
        let retried = self.retry(request.into_inner()).await;
        retried.map(Response::new).map_err(Error::into_status)
    }

    async fn prune_jobs(
        &self,
        request: Request<PruneJobsRequest>,
    ) -> Result<Response<PruneJobsResponse>, Status> {
        let pruned = self.prune(request.into_inner()).await;
        pruned.map(Response::new).map_err(Error::into_status)
    }
}

/// The hosts of those jobs that something can still happen to.
fn live_hosts(jobs: &[Job]) -> impl Iterator<Item = &str> {
    let live = jobs.iter().filter(|job| job.state.is_live());
    live.map(|job| job.host.as_str())
}

/// States of a filter. Unspecified among them means any.
fn states(numbers: &[i32]) -> Result<Vec<JobState>, Error> {
    let mut states = Vec::new();
    for number in numbers {
        let known = outlast_client::v1::JobState::try_from(*number).map_err(|unknown| {
            let message = format!("there is no job state with the number {}", unknown.0);
            Error::new(ErrorKind::Usage, message)
        })?;
        match convert::job_state_of(known) {
            Some(state) => states.push(state),
            None => return Ok(Vec::new()),
        }
    }
    Ok(states)
}

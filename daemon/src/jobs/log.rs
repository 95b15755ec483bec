//! Streaming a job's log to one client.

use std::sync::Arc;

use outlast_client::v1::{Error, ErrorKind, JobLogEnd, ReadJobLogResponse, read_job_log_response::Event};
use outlast_helper::spool::{self, LogReader};
use outlast_model::job::{Job, JobState};
use tokio::sync::watch;

use super::Jobs;
use crate::logs::{self, Sink, Start, Stop};

/// What a client wants of a log.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Where to begin.
    pub start: Start,
    /// Go on until the job has ended.
    pub follow: bool,
    /// Only this stream.
    pub only: Option<spool::Stream>,
}

/// Puts a piece of the log into its message.
#[must_use]
pub fn wrap(chunk: outlast_client::v1::LogChunk) -> ReadJobLogResponse {
    message(Event::Chunk(chunk))
}

fn message(event: Event) -> ReadJobLogResponse {
    ReadJobLogResponse { event: Some(event) }
}

/// Streams a job's log until the client has all it asked for, goes away, or the daemon ends.
pub async fn stream(jobs: Jobs, job: Job, reading: Reading, sink: Sink<ReadJobLogResponse>) {
    let host = job.host.clone();
    let shutdown = jobs.app().shutdown.clone();
    let work = async {
        if reading.follow {
            follow(&jobs, job, reading, &sink).await
        } else {
            read(&jobs, &job, reading, &sink).await
        }
    };
    let result = tokio::select! {
        () = sink.closed() => return,
        status = shutdown.ended() => {
            // The client may have gone in the same moment.
            let _ = sink.send(Err(status)).await;
            return;
        }
        result = work => result,
    };
    if let Err(Stop::Io(error)) = result {
        let error = Error::new(
            ErrorKind::Failed,
            format!("reading the log on host {host}: {error}"),
        );
        let _ = sink.send(Err(error.into_status())).await;
    }
}

/// Sends what is there now.
async fn read(jobs: &Jobs, job: &Job, reading: Reading, sink: &Sink<ReadJobLogResponse>) -> Result<(), Stop> {
    let dir = jobs.spool_dir(job)?;
    let until = dir.log_len();
    let reader = logs::open(dir, reading.start, reading.only).await?;
    let reader = logs::send_available(reader, Some(until), false, sink).await?;
    end(jobs, job, &reader, sink).await
}

/// Sends what is there and what comes, until the job has ended and all it wrote till then was sent.
async fn follow(
    jobs: &Jobs,
    mut job: Job,
    reading: Reading,
    sink: &Sink<ReadJobLogResponse>,
) -> Result<(), Stop> {
    let mut view = jobs.watch(job.id);
    if view.is_none() && job.state.is_live() {
        // It ended since its row was read.
        job = jobs.reread(job).await;
    }
    let mut link = jobs.app().hosts.get(&job.host).map(|host| host.view());
    let mut shown = None;
    let mut reader = None;
    let mut watch = None;
    let mut hot = false;
    loop {
        // The state is read before the log: what a job wrote until it ended is in the log by then.
        if let Some(view) = &mut view {
            job = Job::clone(&view.borrow_and_update());
        }
        let now = (
            job.state,
            job.reason.clone(),
            job.is_cancelling(),
            jobs.link_of(&job),
        );
        if shown.as_ref() != Some(&now) {
            sink.send(Ok(message(Event::Job(jobs.message(&job))))).await?;
            shown = Some(now);
        }
        if job.state != JobState::Queued {
            if watch.is_none() && job.state.is_live() {
                // Before the first look at the log, so that nothing is written unseen.
                watch = Some(jobs.watch_spool(&job)?);
            }
            let open = match reader.take() {
                Some(open) => open,
                None => logs::open(jobs.spool_dir(&job)?, reading.start, reading.only).await?,
            };
            let until = job.outcome.as_ref().map(|outcome| outcome.log_bytes);
            let open = logs::send_available(open, until, hot, sink).await?;
            if job.state.is_ended() {
                return end(jobs, &job, &open, sink).await;
            }
            reader = Some(open);
        }
        hot = true;
        tokio::select! {
            () = written(&mut watch) => {}
            () = changed(&mut view) => {}
            () = link_changed(&mut link) => {}
        }
    }
}

async fn end(
    jobs: &Jobs,
    job: &Job,
    reader: &LogReader,
    sink: &Sink<ReadJobLogResponse>,
) -> Result<(), Stop> {
    let end = JobLogEnd {
        next_offset: reader.offset(),
        job: Some(jobs.message(job)),
    };
    sink.send(Ok(message(Event::End(end)))).await
}

async fn written(watch: &mut Option<outlast_helper::watch::Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn changed(view: &mut Option<watch::Receiver<Arc<Job>>>) {
    if let Some(live) = view
        && live.changed().await.is_ok()
    {
        return;
    }
    // The driver is gone and has published the end, or the daemon is ending.
    *view = None;
    std::future::pending::<()>().await;
}

async fn link_changed(link: &mut Option<watch::Receiver<crate::hosts::HostView>>) {
    if let Some(live) = link
        && live.changed().await.is_ok()
    {
        return;
    }
    *link = None;
    std::future::pending::<()>().await;
}

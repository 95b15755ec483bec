//! Streaming a job's log to one client.

use std::sync::Arc;

use outlast_client::v1::{Error, ErrorKind, JobLogEnd, ReadJobLogResponse, read_job_log_response::Event};
use outlast_helper::spool::{self, LogReader};
use outlast_model::job::{Job, JobState};
use tokio::sync::watch;

use super::Jobs;
use crate::{
    logs::{self, Sink, Start, Stop},
    rpc::status::failure,
};

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
    let host = jobs.app().hosts.get(&job.host);
    // Somebody waits for what happens there.
    let _following = host.as_ref().map(|host| host.follow());
    let mut view = jobs.watch(job.id);
    if view.is_none() && job.state.is_live() {
        // It ended since its row was read.
        job = jobs.reread(job).await;
    }
    let mut link = host.as_ref().map(|host| host.view());
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
            known = changed(&mut view) => if !known && job.state.is_live() {
                // Its driver let go of it: it has ended, its host was removed, or the daemon ends.
                match jobs.app().store.job(job.id).await {
                    Ok(Some(now)) => job = now,
                    Ok(None) => return sink.send(Err(gone(jobs, &job).into_status())).await,
                    Err(error) => return sink.send(Err(failure(error).into_status())).await,
                }
            },
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

/// Why there is nothing to follow any more: the job is not known any more, most likely because its host was removed.
fn gone(jobs: &Jobs, job: &Job) -> Error {
    if jobs.app().hosts.get(&job.host).is_some() {
        return super::not_found(&job.id.to_string());
    }
    let name = &job.host;
    Error::new(
        ErrorKind::NotFound,
        format!("host {name} was removed; the job goes on there"),
    )
    .with_hint(format!("outlast host add {name} ADDRESS brings it back"))
    .about(name)
}

/// Waits for word of the job's driver. False, once: the driver is gone.
async fn changed(view: &mut Option<watch::Receiver<Arc<Job>>>) -> bool {
    let Some(live) = view else {
        return std::future::pending().await;
    };
    let known = live.changed().await.is_ok();
    if !known {
        *view = None;
    }
    known
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

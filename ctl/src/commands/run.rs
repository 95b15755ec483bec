//! `run`: a job, followed. The command stands for the program: its output, its exit code.

use outlast_client::v1::{self, CancelJobRequest, CreateJobRequest, JobState, LogStream};

use super::{
    job, sent,
    sync::ready::{Work, ready},
};
use crate::{
    cli::{Run, SyncFailure},
    context::{Context, request_id},
    environment,
    error::{Failure, Result},
    follow::{From, Interrupt, LogFollower, left},
    pump::{answer, remark},
    render::{
        json,
        people::{job_handle, job_title},
    },
};

pub async fn run(ctx: &Context, mut args: Run) -> Result<u8> {
    if args.timeout.is_some_and(|limit| limit.is_zero()) {
        return Err(Failure::usage("--timeout: a job needs some time").hint("leave it out for no limit"));
    }
    let work = Work {
        what: "the job",
        failure: SyncFailure::Fail,
        waits: !args.detach,
        waiting: "without --detach it is waited for",
        host: args.host.as_deref(),
        cwd: args.cwd.as_deref(),
    };
    // On the heap: it is large, and most runs do without.
    if let Some(ready) = Box::pin(ready(ctx, &args.sync, work)).await? {
        args.host = Some(ready.host);
        args.cwd = ready.cwd.or(args.cwd);
    }
    let baggage = environment::pack(ctx, args.host.as_deref(), args.cwd.as_deref(), &args.env)?;
    let request = CreateJobRequest {
        request_id: request_id(),
        host: args.host,
        name: args.name,
        command: args.command,
        cwd: baggage.cwd,
        base_env: baggage.base,
        env: baggage.set,
        timeout: args.timeout.and_then(job::wire),
        log_max_bytes: None,
    };
    let create = ctx.call(request, |daemon, request| async move {
        daemon.jobs().create_job(request).await
    });
    if args.detach {
        let job = sent(create.await?.job, "job")?;
        if ctx.global.json {
            answer(&json::line(&json::Job::from(&job)))?;
        } else {
            answer(&format!("{}\n", job.id))?;
        }
        return Ok(0);
    }

    let mut interrupt = Interrupt::take_over()?;
    let job = tokio::select! {
        biased;
        () = interrupt.pressed() => {
            return Err(left(ctx, "the job may have been accepted or not; see: outlast job list"));
        }
        created = create => sent(created?.job, "job")?,
    };
    let resume = format!("outlast logs -f {}", job_handle(&job));
    ctx.note(&format!("job {}, come back with: {resume}", job_title(&job)));

    let mut follower = LogFollower::new(ctx, From::Offset(0), true, resume.clone());
    let followed = tokio::select! {
        biased;
        () = interrupt.pressed() => None,
        end = to_the_end(&mut follower, &job.id) => Some(end?),
    };
    let end = match followed {
        Some(end) => end,
        None if args.cancel_on_interrupt => {
            if ctx.err.terminal {
                // The terminal has just shown ^C.
                remark("\n");
            }
            ctx.note(&format!("job {} is being cancelled", job_title(&job)));
            let cancelled = async {
                cancel(ctx, &job.id).await?;
                to_the_end(&mut follower, &job.id).await
            };
            tokio::select! {
                biased;
                () = interrupt.pressed() => {
                    let line = format!("job {} is still being cancelled; see: {resume}", job_title(&job));
                    return Err(left(ctx, &line));
                }
                end = cancelled => end?,
            }
        }
        None => {
            let line = format!("job {} still runs; come back with: {resume}", job_title(&job));
            return Err(left(ctx, &line));
        }
    };
    if ctx.global.json {
        answer(&json::line(&json::JobLine::from(&end)))?;
    }
    let code = job::exit_code(&end)?;
    // An exit code of the program's own needs no words, everything else does.
    if end.signal.is_some() || end.reason.is_some() || end.state() == JobState::Cancelled {
        ctx.note(&format!("job {} {}", job_title(&end), job::how_it_stands(&end)));
    }
    Ok(code)
}

/// Follows until the job has ended and all it wrote is written.
async fn to_the_end(follower: &mut LogFollower<'_>, id: &str) -> Result<v1::Job> {
    let end = follower.job(id, LogStream::Unspecified).await?;
    follower.finish().await?;
    Ok(end)
}

async fn cancel(ctx: &Context, id: &str) -> Result<()> {
    let request = CancelJobRequest {
        request_id: request_id(),
        job: id.to_owned(),
        grace: None,
    };
    ctx.call(request, |daemon, request| async move {
        daemon.jobs().cancel_job(request).await
    })
    .await?;
    Ok(())
}

//! `job logs`: a job's output, bytes as they were written.

use outlast_client::v1::{self, Away, LogStream};

use crate::{
    cli::{self, Logs, Stream},
    context::Context,
    error::Result,
    follow::{From, LogFollower, waiting},
    render::people::{has_ended, job_handle, job_title},
};

pub async fn logs(ctx: &Context, args: Logs) -> Result<u8> {
    let (job, away) = super::look(ctx, &args.name).await?;
    of(ctx, &job, away.as_ref(), &args).await
}

/// The log of a job that was looked up already, with its host when that is away.
pub async fn of(ctx: &Context, job: &v1::Job, away: Option<&Away>, args: &Logs) -> Result<u8> {
    let stream = match args.stream {
        None => LogStream::Unspecified,
        Some(Stream::Stdout) => LogStream::Stdout,
        Some(Stream::Stderr) => LogStream::Stderr,
    };
    let from = match (args.lines, args.from) {
        (Some(lines), _) => From::LastLines(lines),
        (None, Some(cli::From::Now)) => From::Now,
        (None, Some(cli::From::Offset(offset))) => From::Offset(offset),
        (None, Some(cli::From::Start) | None) => From::Offset(0),
    };
    let resume = format!("outlast logs -f {}", job_handle(job));
    let mut follower = LogFollower::new(ctx, from, args.follow, resume.clone());
    let what = if has_ended(job) {
        format!("job {} has ended", job_title(job))
    } else {
        format!("job {} goes on", job_title(job))
    };
    let read = async {
        let end = follower.job(&job.id, stream).await?;
        follower.finish().await?;
        Ok(end)
    };
    let end = waiting(ctx, args.timeout, &what, || resume.clone(), read).await?;
    if ctx.global.json {
        crate::pump::answer(&crate::render::json::line(&crate::render::json::JobLine::from(
            &end,
        )))?;
    }
    // A follower says so by itself, when it happens.
    if !args.follow {
        ctx.note_away(away);
    }
    Ok(0)
}

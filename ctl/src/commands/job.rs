//! Verbs on jobs.

pub mod cancel;
pub mod list;
pub mod logs;
pub mod prune;
pub mod retry;
pub mod show;
pub mod wait;

use outlast_client::v1::{self, ErrorKind, GetJobRequest, JobState};

use super::sent;
use crate::{
    cli,
    context::Context,
    error::{Failure, Result},
    render::people::{job_title, signal},
};

/// The job a text names, and its host when that is away.
pub async fn look(ctx: &Context, job: &str) -> Result<(v1::Job, Option<v1::Away>)> {
    let request = GetJobRequest { job: job.to_owned() };
    let answer = ctx
        .call(request, |daemon, request| async move {
            daemon.jobs().get_job(request).await
        })
        .await?;
    Ok((sent(answer.job, "job")?, answer.away))
}

/// How a job stands, in words: "failed with exit code 7", "was killed by SIGKILL", "was cancelled".
pub fn how_it_stands(job: &v1::Job) -> String {
    let killed = job.signal.map(|number| format!(" by {}", signal(number)));
    let killed = killed.as_deref().unwrap_or_default();
    let words = match (job.state(), job.exit_code) {
        (JobState::Queued, _) => "is queued".to_owned(),
        (JobState::Running, _) => "is running".to_owned(),
        (JobState::Succeeded, _) => "succeeded".to_owned(),
        (JobState::Failed, _) if job.signal.is_some() => format!("was killed{killed}"),
        (JobState::Failed, Some(code)) if job.reason.is_none() => format!("failed with exit code {code}"),
        (JobState::Failed, _) => "failed".to_owned(),
        (JobState::Cancelled, None) if job.signal.is_none() => "was cancelled before it ran".to_owned(),
        (JobState::Cancelled, _) => format!("was cancelled{killed}"),
        (JobState::Lost, _) => "was lost".to_owned(),
        (JobState::Unspecified, _) => "is in a state this version does not know".to_owned(),
    };
    match &job.reason {
        Some(reason) if *reason != "cancelled" => format!("{words}: {reason}"),
        _ => words,
    }
}

/// The exit code that stands for a job's end.
///
/// # Errors
/// When no program ended that could have had one: the job was lost, or never ran.
pub fn exit_code(job: &v1::Job) -> Result<u8> {
    match (job.exit_code, job.signal) {
        // An exit status has eight bits.
        (Some(code), _) => Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(number)) => Ok(u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX)),
        (None, None) if job.state() == JobState::Succeeded => Ok(0),
        (None, None) => {
            let message = format!("job {} {}", job_title(job), how_it_stands(job));
            Err(Failure::new(ErrorKind::Failed, message).about(&job.id))
        }
    }
}

/// States as the wire has them.
pub fn states(states: &[cli::JobState]) -> Vec<i32> {
    let one = |state: &cli::JobState| match state {
        cli::JobState::Queued => JobState::Queued,
        cli::JobState::Running => JobState::Running,
        cli::JobState::Succeeded => JobState::Succeeded,
        cli::JobState::Failed => JobState::Failed,
        cli::JobState::Cancelled => JobState::Cancelled,
        cli::JobState::Lost => JobState::Lost,
    };
    states.iter().map(|state| one(state).into()).collect()
}

/// A duration for the wire. The parser takes none that does not fit.
pub fn wire(duration: std::time::Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

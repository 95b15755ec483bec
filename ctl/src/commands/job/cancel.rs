//! `job cancel`: TERM, and KILL after the grace. Returns when the jobs have ended.

use std::time::Duration;

use outlast_client::v1::{self, CancelJobRequest, CancelJobResponse, JobState};

use super::wait::until_ended;
use crate::{
    cli::JobCancel,
    commands::ending::{Ending, Thing, Words},
    context::{Context, request_id},
    error::Result,
    pump::answer,
    render::{
        json,
        people::{job_handle, job_title},
    },
};

/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

const WORDS: Words = Words {
    noun: "job",
    done: "cancelled",
};

impl Thing for v1::Job {
    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> String {
        job_title(self)
    }

    fn handle(&self) -> &str {
        job_handle(self)
    }

    fn host(&self) -> Option<(&str, v1::Link)> {
        // What is queued has not begun anywhere; outlastd makes sure that it never does.
        (self.state() != JobState::Queued).then(|| (self.host.as_str(), self.link()))
    }
}

pub async fn cancel(ctx: &Context, args: JobCancel) -> Result<u8> {
    let grace = args.grace.unwrap_or(GRACE);
    let mut ending = Ending::new(WORDS, args.until, grace);
    let ask = async |name, ending: &mut Ending<v1::Job>| ask(ctx, name, grace, ending).await;
    ending.ask_all(ctx, args.names, ask).await?;
    ending
        .wait(ctx, |id, resume| async move {
            let job = until_ended(ctx, &id, &resume).await?;
            told(ctx, &job, &super::how_it_stands(&job))
        })
        .await
}

async fn ask(ctx: &Context, job: String, grace: Duration, ending: &mut Ending<v1::Job>) -> Result<()> {
    let request = CancelJobRequest {
        request_id: request_id(),
        job,
        grace: super::wire(grace),
    };
    let CancelJobResponse { job, already_ended } = ctx
        .call(request, |daemon, request| async move {
            daemon.jobs().cancel_job(request).await
        })
        .await?;
    let job = super::sent(job, "job")?;
    if already_ended {
        let what = format!("had ended before: it {}", super::how_it_stands(&job));
        return told(ctx, &job, &what);
    }
    match ending.asked(job) {
        Some((job, what)) => told(ctx, &job, &what),
        None => Ok(()),
    }
}

fn told(ctx: &Context, job: &v1::Job, what: &str) -> Result<()> {
    if ctx.global.json {
        return answer(&json::line(&json::Job::from(job)));
    }
    ctx.note(&format!("job {} {what}", job_title(job)));
    Ok(())
}

//! `job retry`: ended jobs again, as new jobs.

use outlast_client::v1::RetryJobRequest;

use crate::{
    cli::Names,
    context::{Context, each, request_id},
    error::Result,
    pump::answer,
    render::{
        json,
        people::{job_handle, job_title},
    },
};

pub async fn retry(ctx: &Context, names: Names) -> Result<u8> {
    each(ctx, &names.names, |name| async move {
        let request = RetryJobRequest {
            request_id: request_id(),
            job: name.clone(),
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.jobs().retry_job(request).await
            })
            .await?;
        let job = super::sent(done.job, "job")?;
        if ctx.global.json {
            return answer(&json::line(&json::Job::from(&job)));
        }
        ctx.note(&format!(
            "job {name} runs again as {}, follow it with: outlast logs -f {}",
            job_title(&job),
            job_handle(&job)
        ));
        answer(&format!("{}\n", job.id))
    })
    .await
}

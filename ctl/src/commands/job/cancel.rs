//! `job cancel`: TERM, and KILL after the grace.

use outlast_client::v1::CancelJobRequest;

use crate::{
    cli::JobCancel,
    context::{Context, each, request_id},
    error::Result,
    pump::answer,
    render::{json, people::job_title},
};

pub async fn cancel(ctx: &Context, args: JobCancel) -> Result<u8> {
    let grace = args.grace.and_then(super::wire);
    each(ctx, &args.names, |job| async move {
        let request = CancelJobRequest {
            request_id: request_id(),
            job,
            grace,
        };
        let done = ctx
            .call(request, |daemon, request| async move {
                daemon.jobs().cancel_job(request).await
            })
            .await?;
        let job = super::sent(done.job, "job")?;
        if ctx.global.json {
            answer(&json::line(&json::Job::from(&job)))
        } else {
            if done.already_ended {
                let how = super::how_it_stands(&job);
                ctx.note(&format!("job {} had ended before: it {how}", job_title(&job)));
            } else {
                ctx.note(&format!("job {} is being cancelled", job_title(&job)));
            }
            Ok(())
        }
    })
    .await
}

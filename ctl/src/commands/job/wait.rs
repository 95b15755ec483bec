//! `job wait`: until jobs have ended; the exit code is theirs.

use outlast_client::v1::{self, Away, LogStream, WaitJobRequest};

use crate::{
    cli::JobWait,
    context::{Context, FirstCode},
    error::{Failure, Result},
    follow::{From, LogFollower, PATIENCE, Patience, ended, waiting},
    pump::answer,
    render::{
        away, json,
        people::{job_handle, job_title},
    },
};

pub async fn wait(ctx: &Context, args: JobWait) -> Result<u8> {
    let first = FirstCode::default();
    // Looked up first, so that a wrong name is told at once and a name cannot come to mean another job meanwhile.
    let mut jobs = Vec::new();
    let mut gone: Vec<Away> = Vec::new();
    for name in &args.names {
        match super::look(ctx, name).await {
            Ok((job, away)) => {
                jobs.push(job);
                away::add(&mut gone, away);
            }
            Err(failure) => first.note(ctx.tell(failure.of_program())),
        }
    }
    // A follower says so by itself, when it happens.
    if !args.all_output {
        ctx.note_away(&gone);
    }
    let handles: Vec<&str> = jobs.iter().map(job_handle).collect();
    let resume = format!("outlast job wait {}", handles.join(" "));
    let what = match jobs.as_slice() {
        [job] => format!("job {} goes on", job_title(job)),
        _ => "the jobs go on".to_owned(),
    };
    let all = async {
        for job in &jobs {
            let outcome = one(ctx, job, args.all_output, &resume).await;
            match outcome.and_then(|job| told(ctx, &job)) {
                Ok(code) => first.note(code),
                Err(failure @ Failure::Closed) => return Err(failure),
                Err(failure) => first.note(ctx.tell(failure.of_program())),
            }
        }
        Ok(())
    };
    if !jobs.is_empty() {
        waiting(ctx, args.timeout, &what, || resume.clone(), all).await?;
    }
    Ok(first.get())
}

async fn one(ctx: &Context, job: &v1::Job, all_output: bool, resume: &str) -> Result<v1::Job> {
    let end = if all_output {
        let mut follower = LogFollower::new(ctx, From::Offset(0), true, resume.to_owned());
        let end = follower.job(&job.id, LogStream::Unspecified).await?;
        follower.finish().await?;
        end
    } else {
        until_ended(ctx, &job.id, resume).await?
    };
    Ok(end)
}

/// Tells how a job ended, and gives the exit code that stands for it.
fn told(ctx: &Context, job: &v1::Job) -> Result<u8> {
    if ctx.global.json {
        answer(&json::line(&json::Job::from(job)))?;
    }
    let code = super::exit_code(job)?;
    ctx.note(&format!("job {} {}", job_title(job), super::how_it_stands(job)));
    Ok(code)
}

/// Waits for a job's end across broken connections.
pub async fn until_ended(ctx: &Context, id: &str, resume: &str) -> Result<v1::Job> {
    let mut patience = Patience::new(PATIENCE);
    loop {
        let daemon = ctx.daemon().await?;
        let asked = tokio::time::Instant::now();
        let request = WaitJobRequest { job: id.to_owned() };
        match daemon.jobs().wait_job(request).await {
            Ok(answer) => return super::sent(answer.into_inner().job, "job"),
            Err(status) => {
                let error = status.into();
                if asked.elapsed() > PATIENCE {
                    // It held for long; the next break is another one.
                    patience.renew();
                }
                if !outlast_client::client::ClientError::can_go_on(&error) {
                    return Err(ended(error, resume));
                }
                patience
                    .reconnect(ctx, error)
                    .await
                    .map_err(|failure| failure.hint(resume))?;
            }
        }
    }
}

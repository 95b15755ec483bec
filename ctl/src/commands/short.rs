//! The short forms: `attach`, `logs` and `wait` of whatever a name fits, a job or a session.

use outlast_client::v1::{Away, ErrorKind, Job, Session};

use super::{job, session};
use crate::{
    cli::{Attach, JobWait, Logs, SessionLogs, Until, Wait},
    context::{Context, FirstCode},
    error::{Failure, Result},
    render::away,
};

/// What a name fits, with its host when that is away.
enum Thing {
    Job(Box<Job>, Option<Away>),
    Session(Box<Session>, Option<Away>),
}

/// How well a text names something: by exact name, by exact id, by the beginning of an id.
fn fit(text: &str, name: Option<&str>, id: &str) -> u8 {
    match () {
        () if name == Some(text) => 0,
        () if id == text => 1,
        () => 2,
    }
}

/// The one thing a name fits.
async fn resolve(ctx: &Context, name: &str) -> Result<Thing> {
    match (job::look(ctx, name).await, session::look(ctx, name).await) {
        (Ok((job, of_job)), Ok((session, of_session))) => {
            let by_job = fit(name, job.name.as_deref(), &job.id);
            let by_session = fit(name, Some(&session.name), &session.id);
            match by_job.cmp(&by_session) {
                std::cmp::Ordering::Less => Ok(Thing::Job(Box::new(job), of_job)),
                std::cmp::Ordering::Greater => Ok(Thing::Session(Box::new(session), of_session)),
                std::cmp::Ordering::Equal => Err(Failure::new(
                    ErrorKind::Conflict,
                    format!(
                        "{name} fits job {} and session {} ({})",
                        job.id, session.name, session.id
                    ),
                )
                .hint(format!("outlast job … {name}, or outlast session … {name}"))
                .about(name)),
            }
        }
        (Ok((job, away)), Err(failure)) if failure.is_not_found() => Ok(Thing::Job(Box::new(job), away)),
        (Err(failure), Ok((session, away))) if failure.is_not_found() => {
            Ok(Thing::Session(Box::new(session), away))
        }
        (Err(job), Err(session)) if job.is_not_found() && session.is_not_found() => Err(Failure::new(
            ErrorKind::NotFound,
            format!("no job and no session is called {name}"),
        )
        .hint("outlast shows what there is")
        .about(name)),
        (Err(failure), Err(other)) if failure.is_not_found() => Err(other),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}

pub async fn attach(ctx: &Context, args: Attach) -> Result<u8> {
    session::attach::check()?;
    match resolve(ctx, &args.name).await? {
        Thing::Session(session, _) => session::attach::of(ctx, *session, args.read_only).await,
        Thing::Job(..) => Err(Failure::new(
            ErrorKind::WrongState,
            format!("{} is a job, and a job has no terminal", args.name),
        )
        .hint(format!("outlast logs -f {}", args.name))
        .about(args.name)),
    }
}

pub async fn logs(ctx: &Context, args: Logs) -> Result<u8> {
    match resolve(ctx, &args.name).await? {
        Thing::Job(job, away) => job::logs::of(ctx, &job, away.as_ref(), &args).await,
        Thing::Session(..) if args.stream.is_some() => Err(Failure::usage(
            "--stream is for jobs: a session's terminal has one stream",
        )),
        Thing::Session(..) if args.from.is_some() && !args.follow => {
            Err(Failure::usage("--from needs --follow with a session"))
        }
        Thing::Session(found, away) => {
            let args = SessionLogs {
                name: args.name,
                lines: args.lines,
                from: args.from,
                follow: args.follow,
                timeout: args.timeout,
            };
            Box::pin(session::logs::of(ctx, &found, away.as_ref(), &args)).await
        }
    }
}

pub async fn wait(ctx: &Context, args: Wait) -> Result<u8> {
    let first = FirstCode::default();
    let mut jobs = Vec::new();
    let mut sessions = Vec::new();
    let mut gone = Vec::new();
    for name in &args.names {
        match resolve(ctx, name).await {
            // Its host is told of where it is waited for.
            Ok(Thing::Job(job, _)) => jobs.push(job.id),
            Ok(Thing::Session(session, away)) => {
                sessions.push(*session);
                away::add(&mut gone, away);
            }
            Err(failure) => first.note(ctx.tell(failure)),
        }
    }
    if sessions.is_empty() && (args.until.is_some() || args.pattern.is_some()) && !jobs.is_empty() {
        return Err(Failure::usage(
            "--until and --match are for sessions; a job is waited for to its end",
        ));
    }
    if jobs.is_empty() && args.all_output && !sessions.is_empty() {
        return Err(Failure::usage("--all-output is for jobs").hint("outlast logs -f NAME"));
    }
    let condition =
        session::wait::Condition::new(args.until.unwrap_or(Until::Exited), args.pattern, None, None)?;
    let started = tokio::time::Instant::now();
    if !jobs.is_empty() {
        let wait = JobWait {
            names: jobs,
            all_output: args.all_output,
            timeout: args.timeout,
        };
        first.note(job::wait::wait(ctx, wait).await.map_err(Failure::of_program)?);
    }
    ctx.note_away(&gone);
    let left = args.timeout.map(|limit| limit.saturating_sub(started.elapsed()));
    if let Some(code) = session::wait::of(ctx, &sessions, &condition, left).await? {
        first.note(code);
    }
    Ok(first.get())
}

//! Jobs: started under a supervisor that outlives us, followed by their directory.

use std::{process::Stdio, sync::Arc, time::Duration};

use outlast_client::helper_v1::{
    CancelJobRequest, CancelJobResponse, DeleteJobRequest, DeleteJobResponse, ListJobsResponse, Lost,
    RunJobRequest, RunJobResponse, run_job_response::Event,
};
use tokio::{
    process::Command,
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};
use tonic::Status;

use super::{
    Answers, Core,
    base::{put_back, resolve},
    error::{broken, check_id, failed, not_found, usage, wrong_state},
    logs::{self, Tail},
    pace::Pace,
    report,
};
use crate::{
    scope,
    spool::{Dir, Kind, SPOOL_VERSION, Spec, State},
    watch::Watch,
};

/// How long a supervisor may take to start its program. Forking and executing take milliseconds; a machine that swaps
/// takes seconds.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long systemd may take to give it a scope. That takes some hundredths of a second; a manager that hangs must not
/// keep jobs from running.
const SCOPE_WITHIN: Duration = Duration::from_secs(5);

/// Why a job is lost that was seen to run and has no report any more.
const REPORT_GONE: &str = "its report is gone";

type Sender = mpsc::Sender<Result<RunJobResponse, Status>>;

/// Starts a job, unless it was started, and follows it.
pub(super) async fn run(core: Arc<Core>, request: RunJobRequest) -> Result<Answers<RunJobResponse>, Status> {
    check_id(&request.id)?;
    let dir = core.root.job(&request.id);
    let may_start = !request.spec_json.is_empty();
    if may_start {
        let spec = spec(&request.spec_json, Kind::Job, &request.id)?;
        keep_spec(&core, &dir, spec).await?;
    } else if !dir.exists() {
        return Err(not_found("job", &request.id));
    }
    let watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let mut state = dir.state(None).map_err(|error| failed(&error))?;
    let (sender, receiver) = mpsc::channel(logs::QUEUE);
    if matches!(state, State::Fresh) && dir.exists() {
        if !may_start {
            // Whoever asks has seen it run, so the report was there: it did not survive the loss of power, and the job
            // did not either. Starting it now would run it a second time.
            let reason = REPORT_GONE.to_owned();
            // The queue is empty.
            let _ = say(&sender, Event::Lost(Lost { reason })).await;
            return Ok(Answers::new(receiver));
        }
        start(&core, &dir).await?;
        state = dir.state(None).map_err(|error| failed(&error))?;
    }
    let tail = request.from.map(|from| Tail::new(dir.clone(), from));
    tokio::spawn(async move {
        if let Err(status) = follow(dir, state, watch, tail, &sender).await {
            // Who left does not hear it.
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Answers::new(receiver))
}

/// Reads and checks what is to be run.
pub(super) fn spec(json: &[u8], kind: Kind, id: &str) -> Result<Spec, Status> {
    let spec: Spec =
        serde_json::from_slice(json).map_err(|error| usage(format!("the spec cannot be read: {error}")))?;
    if spec.version != SPOOL_VERSION {
        return Err(usage(format!(
            "the spec has version {}; this helper writes version {SPOOL_VERSION}",
            spec.version
        )));
    }
    if spec.kind != kind || spec.id != id {
        return Err(usage("the spec is that of something else"));
    }
    if kind == Kind::Job && spec.command.is_empty() {
        return Err(usage("the spec names no program"));
    }
    if spec.cwd.as_deref().is_some_and(|cwd| !cwd.starts_with('/')) {
        return Err(usage("the working directory in the spec is not absolute"));
    }
    Ok(spec)
}

/// Keeps what is to be run, unless it is there. A directory without a spec was left by a helper that was killed between
/// the two steps.
pub(super) async fn keep_spec(core: &Core, dir: &Dir, spec: Spec) -> Result<(), Status> {
    if dir.path().join("spec").exists() {
        return Ok(());
    }
    // Before the directory is made, so that nobody finds one for which the start files are still waited for.
    let spec = resolve(core, spec).await;
    let made = dir.create_new().map_err(|error| failed(&error))?;
    if made || !dir.path().join("spec").exists() {
        dir.write_spec(&spec).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Starts the supervisor, in a scope of its own where that is to be had. A second attempt is harmless: a supervisor that
/// finds another leaves.
async fn start(core: &Core, dir: &Dir) -> Result<(), Status> {
    put_back(core).await;
    if core.config.scope && scope::is_possible() {
        let command = scope::command(core.config.helper_program.as_os_str());
        match launch(command, dir, SCOPE_WITHIN).await {
            Ok(()) => return Ok(()),
            // Better in our own scope than not at all.
            Err(error) => tracing::warn!(error = error.message(), "systemd-run"),
        }
    }
    launch(Command::new(&core.config.helper_program), dir, START_WITHIN).await
}

/// Runs what starts the supervisor. It returns once that has detached itself, or says why it could not. It leaves our
/// working directory by itself: asked for here, that would cost a fork of the whole daemon instead of a quick spawn.
async fn launch(mut command: Command, dir: &Dir, within: Duration) -> Result<(), Status> {
    command
        .arg("supervise")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = timeout(within, command.output())
        .await
        .map_err(|_elapsed| {
            broken(format!(
                "the supervisor did not start within {} s",
                within.as_secs()
            ))
        })?
        .map_err(|error| broken(format!("starting {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(broken(format!("starting the supervisor: {}", said.trim())))
}

/// Reports what happens until the job is over.
async fn follow(
    dir: Dir,
    mut state: State,
    mut watch: Watch,
    mut tail: Option<Tail>,
    to: &Sender,
) -> Result<(), Status> {
    let start_by = Instant::now() + START_WITHIN;
    let mut said_started = false;
    let mut pace = Pace::new();
    loop {
        let mut news = false;
        if !said_started && let Some(started) = report::report(&state).and_then(report::started) {
            (said_started, news) = (true, true);
            if !say(to, Event::Started(started)).await {
                return Ok(());
            }
        }
        // The state was read before, so this reads all that was written before an end.
        if let Some(tail) = &mut tail {
            loop {
                let chunks = tail.next().await?;
                if chunks.is_empty() {
                    break;
                }
                news = true;
                for chunk in chunks {
                    if !say(to, Event::Chunk(logs::message(chunk))).await {
                        return Ok(());
                    }
                }
            }
        }
        match &state {
            State::Ended(_, status) => {
                say(to, Event::Ended(report::outcome(status))).await;
                return Ok(());
            }
            State::Lost { reason, .. } => {
                report::reap(&dir, &state).await;
                let reason = reason.clone();
                say(to, Event::Lost(Lost { reason })).await;
                return Ok(());
            }
            State::Fresh if !dir.exists() => return Err(broken("the job's directory was removed")),
            State::Fresh | State::Starting if Instant::now() >= start_by => {
                return Err(broken("the supervisor did not start the job within 30 s"));
            }
            State::Fresh | State::Starting | State::Running(_) => {}
        }
        if !news {
            pace.fruitless().await;
        }
        let waiting = async {
            if said_started {
                watch.changed().await;
            } else {
                // Late is looked at above.
                let _ = timeout_at(start_by, watch.changed()).await;
            }
        };
        tokio::select! {
            () = waiting => {}
            () = to.closed() => return Ok(()),
        }
        state = dir.state(None).map_err(|error| failed(&error))?;
    }
}

async fn say(to: &Sender, event: Event) -> bool {
    to.send(Ok(RunJobResponse { event: Some(event) })).await.is_ok()
}

/// Asks a job to end.
pub(super) async fn cancel(core: &Core, request: &CancelJobRequest) -> Result<CancelJobResponse, Status> {
    check_id(&request.id)?;
    let dir = core.root.job(&request.id);
    if !dir.exists() {
        return Err(not_found("job", &request.id));
    }
    let told = end(core, &dir, grace(request.grace)?).await?;
    Ok(CancelJobResponse { told })
}

/// The time between TERM and KILL; none given is none granted.
pub(super) fn grace(given: Option<prost_types::Duration>) -> Result<Duration, Status> {
    given
        .unwrap_or_default()
        .try_into()
        .map_err(|_negative| usage("the grace is negative"))
}

/// Hands over a request to end. False: there is nobody to end. One who is just starting cannot hear yet and is waited for.
pub(super) async fn end(core: &Core, dir: &Dir, grace: Duration) -> Result<bool, Status> {
    let mut watch = core.watcher.watch(dir.path()).map_err(|error| failed(&error))?;
    let give_up = Instant::now() + START_WITHIN;
    loop {
        let state = dir.state(None).map_err(|error| failed(&error))?;
        if !matches!(state, State::Starting | State::Running(_)) {
            return Ok(false);
        }
        if dir.signal_end(grace).map_err(|error| failed(&error))? {
            return Ok(true);
        }
        // Looked at by the clock as well: output that never pauses would wake this for ever.
        if Instant::now() >= give_up || timeout_at(give_up, watch.changed()).await.is_err() {
            return Err(broken("it does not hear the request to end"));
        }
    }
}

/// All jobs.
pub(super) async fn list(core: Arc<Core>) -> Result<ListJobsResponse, Status> {
    let jobs = spawn_blocking(move || {
        let ids = core.root.jobs()?;
        Ok(ids
            .into_iter()
            .map(|id| report::entry(&core.root.job(&id), id))
            .collect())
    });
    let jobs = jobs
        .await
        .map_err(|error| broken(format!("listing jobs: {error}")))?
        .map_err(|error: std::io::Error| failed(&error))?;
    Ok(ListJobsResponse { jobs })
}

/// Removes what is left of a job that is over.
pub(super) async fn delete(core: Arc<Core>, request: DeleteJobRequest) -> Result<DeleteJobResponse, Status> {
    check_id(&request.id)?;
    let dir = core.root.job(&request.id);
    let state = dir.state(None).map_err(|error| failed(&error))?;
    if matches!(state, State::Starting | State::Running(_)) {
        let message = format!("job {} still runs", request.id);
        return Err(wrong_state(
            &request.id,
            message,
            "cancel it first: outlast job cancel",
        ));
    }
    report::reap(&dir, &state).await;
    let removed = spawn_blocking(move || {
        let freed = dir.log_len();
        dir.remove().map(|()| freed)
    });
    let freed_bytes = removed
        .await
        .map_err(|error| broken(format!("removing a job: {error}")))?
        .map_err(|error| failed(&error))?;
    Ok(DeleteJobResponse { freed_bytes })
}

//! Jobs through the real daemon: how they run, end, wait, and outlive it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{collections::HashMap, fs, path::Path};

use outlast_client::v1::{
    CancelJobRequest, CreateJobRequest, ErrorKind, GetJobRequest, Job, JobState, ListJobsRequest, LogStream,
    PruneJobsRequest, ReadJobLogRequest, RetryJobRequest, WaitJobRequest,
    job_service_client::JobServiceClient, read_job_log_request::Start, read_job_log_response::Event,
};
use outlast_testkit::{DEADLINE, Process, Sandbox, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use support::{error, ready, soon};
use tokio::{runtime::Handle, task::spawn_blocking};
use tonic::{Status, transport::Channel};

type Client = JobServiceClient<Channel>;

async fn client(sandbox: &Sandbox) -> Client {
    JobServiceClient::new(sandbox.connect().await.unwrap()).max_decoding_message_size(8 << 20)
}

fn shell(script: &str) -> CreateJobRequest {
    CreateJobRequest {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..CreateJobRequest::default()
    }
}

fn named(name: &str, script: &str) -> CreateJobRequest {
    CreateJobRequest {
        name: Some(name.to_owned()),
        ..shell(script)
    }
}

async fn create(client: &mut Client, request: CreateJobRequest) -> Job {
    let created = soon("the acceptance", client.create_job(request)).await;
    created.unwrap().into_inner().job.unwrap()
}

async fn wait(client: &mut Client, job: &str) -> Job {
    let request = WaitJobRequest { job: job.to_owned() };
    let waited = soon("the end of the job", client.wait_job(request)).await;
    waited.unwrap().into_inner().job.unwrap()
}

async fn get(client: &mut Client, job: &str) -> Job {
    let request = GetJobRequest { job: job.to_owned() };
    client.get_job(request).await.unwrap().into_inner().job.unwrap()
}

async fn until(client: &mut Client, job: &str, fits: impl Fn(&Job) -> bool + Send + 'static) -> Job {
    let (mut client, job, runtime) = (client.clone(), job.to_owned(), Handle::current());
    // On a thread of its own: this one has the calls to make.
    let look = spawn_blocking(move || {
        wait_until(DEADLINE, "the state of the job", || {
            let now = runtime.block_on(get(&mut client, &job));
            fits(&now).then_some(now)
        })
    });
    look.await.unwrap()
}

async fn cancel(client: &mut Client, job: &str, grace_ms: u64) -> (Job, bool) {
    let request = CancelJobRequest {
        job: job.to_owned(),
        grace: Some(prost_types::Duration {
            seconds: 0,
            nanos: i32::try_from(grace_ms).unwrap() * 1_000_000,
        }),
        ..CancelJobRequest::default()
    };
    let answer = soon("the cancellation", client.cancel_job(request)).await;
    let answer = answer.unwrap().into_inner();
    (answer.job.unwrap(), answer.already_ended)
}

/// What came of a log.
#[derive(Debug, Default)]
struct Log {
    pieces: Vec<(LogStream, u64, Vec<u8>)>,
    states: Vec<JobState>,
    next_offset: u64,
    last: Option<Job>,
}

impl Log {
    fn bytes(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|(_, _, bytes)| bytes.clone())
            .collect()
    }

    fn of(&self, wanted: LogStream) -> String {
        let pieces = self.pieces.iter().filter(|(stream, _, _)| *stream == wanted);
        let bytes: Vec<u8> = pieces.flat_map(|(_, _, bytes)| bytes.clone()).collect();
        String::from_utf8(bytes).unwrap()
    }
}

async fn read(client: &mut Client, request: ReadJobLogRequest) -> Result<Log, Status> {
    let mut stream = soon("the log", client.read_job_log(request)).await?.into_inner();
    let mut log = Log::default();
    while let Some(message) = soon("the next of the log", stream.message()).await? {
        assert!(log.last.is_none(), "something came behind the end");
        match message.event.unwrap() {
            Event::Chunk(chunk) => {
                assert!(chunk.data.len() <= 256 * 1024);
                log.pieces
                    .push((chunk.stream(), chunk.offset, chunk.data.to_vec()));
            }
            Event::Job(job) => log.states.push(job.state()),
            Event::End(end) => {
                log.next_offset = end.next_offset;
                log.last = end.job;
            }
        }
    }
    assert!(log.last.is_some(), "the log ended without an end");
    Ok(log)
}

fn follow(job: &str) -> ReadJobLogRequest {
    ReadJobLogRequest {
        job: job.to_owned(),
        follow: true,
        ..ReadJobLogRequest::default()
    }
}

fn from(job: &str, start: Start) -> ReadJobLogRequest {
    ReadJobLogRequest {
        job: job.to_owned(),
        start: Some(start),
        ..ReadJobLogRequest::default()
    }
}

/// Lets a job that reads from this FIFO go on.
fn release(fifo: &Path) {
    fs::write(fifo, "go\n").unwrap();
}

fn fifo(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let path = sandbox.home().join(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    path
}

fn kill(process: Process) {
    process.signal(Signal::KILL);
    drop(process.finish(DEADLINE));
}

#[tokio::test]
async fn a_job_ends_with_the_exit_code_and_the_output_of_its_program() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let job = create(&mut client, shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!(job.state(), JobState::Queued);
    let ended = wait(&mut client, &job.id).await;
    assert_eq!((ended.state(), ended.exit_code), (JobState::Failed, Some(7)));
    assert!(ended.started_at.is_some() && ended.ended_at.is_some() && ended.duration_s.is_some());
    assert_eq!(ended.log_bytes, Some(8));
    assert_eq!(ended.link(), outlast_client::v1::Link::Up);

    let log = read(&mut client, follow(&job.id)).await.unwrap();
    assert_eq!(log.of(LogStream::Stdout), "out\n");
    assert_eq!(log.of(LogStream::Stderr), "err\n");
    assert_eq!(log.next_offset, 8);
    let only_err = ReadJobLogRequest {
        stream: LogStream::Stderr.into(),
        ..follow(&job.id)
    };
    assert_eq!(read(&mut client, only_err).await.unwrap().bytes(), b"err\n");
}

#[tokio::test]
async fn signals_limits_and_missing_programs_are_told_apart() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let killed = create(&mut client, shell("kill -9 $$")).await;
    let limited = create(
        &mut client,
        CreateJobRequest {
            timeout: Some(prost_types::Duration {
                seconds: 0,
                nanos: 50_000_000,
            }),
            ..shell("exec sleep 600")
        },
    )
    .await;
    let missing = CreateJobRequest {
        command: vec!["no-such-program".to_owned()],
        ..CreateJobRequest::default()
    };
    let missing = create(&mut client, missing).await;

    let killed = wait(&mut client, &killed.id).await;
    assert_eq!(
        (killed.state(), killed.signal, killed.exit_code),
        (JobState::Failed, Some(9), None)
    );
    let limited = wait(&mut client, &limited.id).await;
    assert_eq!(
        (limited.state(), limited.exit_code),
        (JobState::Failed, Some(124))
    );
    assert_eq!(limited.reason(), "timeout");
    let missing = wait(&mut client, &missing.id).await;
    assert_eq!(
        (missing.state(), missing.exit_code),
        (JobState::Failed, Some(127))
    );
    assert!(missing.reason.is_some());
}

#[tokio::test]
async fn a_job_gets_the_environment_and_directory_that_were_asked_for() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let map = |entries: &[(&str, &str)]| -> HashMap<String, String> {
        let entries = entries.iter();
        entries
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let dir = sandbox.home().join("a dir");
    fs::create_dir(&dir).unwrap();
    let job = CreateJobRequest {
        base_env: map(&[
            ("PATH", "/usr/bin:/bin"),
            ("A", "base"),
            ("TMUX", "x"),
            ("OUTLAST_SOCKET", "y"),
        ]),
        env: map(&[("A", "set"), ("B", "b c")]),
        cwd: Some(dir.display().to_string()),
        ..shell("echo \"$A|$B|${TMUX-none}|${OUTLAST_SOCKET-none}|${HOME-none}\"; pwd")
    };
    let job = create(&mut client, job).await;
    wait(&mut client, &job.id).await;
    let log = read(&mut client, follow(&job.id)).await.unwrap();
    let text = log.of(LogStream::Stdout);
    assert_eq!(text, format!("set|b c|none|none|none\n{}\n", dir.display()));

    let nowhere = CreateJobRequest {
        cwd: Some("/no/such/dir".to_owned()),
        ..shell("true")
    };
    let refused = error(&client.create_job(nowhere).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::Usage);
    assert!(refused.message.contains("/no/such/dir"), "{}", refused.message);
    let specs = fs::read_dir(sandbox.state_dir().join("specs")).unwrap();
    assert_eq!(specs.count(), 1, "a refused job leaves no spec");
}

#[tokio::test]
async fn a_log_is_read_from_any_place_and_followed_without_gap_or_repeat() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let gate = fifo(&sandbox, "gate");
    let script = format!("seq 1 1000; read x < {}; seq 1001 2000", gate.display());
    let job = create(&mut client, shell(&script)).await;
    until(&mut client, &job.id, |job| job.log_bytes == Some(3893)).await;

    let lines = read(&mut client, from(&job.id, Start::LastLines(2)))
        .await
        .unwrap();
    assert_eq!(lines.bytes(), b"999\n1000\n");
    let middle = read(&mut client, from(&job.id, Start::Offset(3884)))
        .await
        .unwrap();
    assert_eq!(middle.bytes(), b"999\n1000\n");
    assert_eq!(middle.next_offset, 3893);
    let now = read(&mut client, from(&job.id, Start::Now(true))).await.unwrap();
    assert_eq!(now.bytes(), b"");

    let mut early = client.clone();
    let id = job.id.clone();
    let following = tokio::spawn(async move { read(&mut early, follow(&id)).await.unwrap() });
    let mut late = client.clone();
    let resumed = ReadJobLogRequest {
        start: Some(Start::Offset(3889)),
        ..follow(&job.id)
    };
    let resuming = tokio::spawn(async move { read(&mut late, resumed).await.unwrap() });
    release(&gate);
    let whole: String = (1..=2000).map(|n| format!("{n}\n")).collect();
    let log = following.await.unwrap();
    assert_eq!(log.bytes(), whole.as_bytes());
    assert_eq!(log.next_offset, whole.len() as u64);
    assert_eq!(log.last.unwrap().state(), JobState::Succeeded);
    assert_eq!(log.states.first(), Some(&JobState::Running));
    assert_eq!(log.states.last(), Some(&JobState::Succeeded));
    assert_eq!(resuming.await.unwrap().bytes(), &whole.as_bytes()[3889..]);
}

#[tokio::test]
async fn binary_output_is_not_mangled() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let file = sandbox.home().join("data");
    fs::write(&file, &data).unwrap();
    let job = create(&mut client, shell(&format!("cat {}", file.display()))).await;
    let log = read(&mut client, follow(&job.id)).await.unwrap();
    assert!(log.bytes() == data, "the log differs from what was written");
}

#[tokio::test]
async fn cancelling_ends_what_runs_and_what_waits() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_running = 1\n");
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let running = create(
        &mut client,
        shell("trap '' TERM; echo up; while :; do sleep 1; done"),
    )
    .await;
    let waiting = create(&mut client, named("waiting", "touch started")).await;
    until(&mut client, &running.id, |job| job.log_bytes == Some(3)).await;
    assert_eq!(get(&mut client, "waiting").await.state(), JobState::Queued);

    let (now, already) = cancel(&mut client, "waiting", 10).await;
    assert!(!already && (now.cancelling || now.state() == JobState::Cancelled));
    let waiting = wait(&mut client, &waiting.id).await;
    assert_eq!(waiting.state(), JobState::Cancelled);
    assert!(waiting.started_at.is_none() && waiting.ended_at.is_some() && !waiting.cancelling);

    let (now, already) = cancel(&mut client, &running.id, 20).await;
    assert!(!already && now.cancelling);
    let running = wait(&mut client, &running.id).await;
    assert_eq!((running.state(), running.signal), (JobState::Cancelled, Some(9)));
    let (_, already) = cancel(&mut client, &running.id, 20).await;
    assert!(already);
    assert!(!sandbox.home().join("started").exists());
}

#[tokio::test]
async fn the_queue_is_kept_in_order_across_a_kill() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_running = 1\n");
    let daemon = ready(&sandbox);
    let gate = fifo(&sandbox, "gate");
    let order = sandbox.home().join("order");
    let mut client = client(&sandbox).await;
    let first = create(&mut client, shell(&format!("read x < {}", gate.display()))).await;
    let mut queued = Vec::new();
    for number in 0..6 {
        queued.push(
            create(
                &mut client,
                shell(&format!("echo {number} >> {}", order.display())),
            )
            .await
            .id,
        );
    }
    until(&mut client, &first.id, |job| job.state() == JobState::Running).await;
    kill(daemon);

    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    assert_eq!(get(&mut client, &first.id).await.state(), JobState::Running);
    for id in &queued {
        assert_eq!(get(&mut client, id).await.state(), JobState::Queued);
    }
    release(&gate);
    for id in &queued {
        assert_eq!(wait(&mut client, id).await.state(), JobState::Succeeded);
    }
    assert_eq!(fs::read_to_string(order).unwrap(), "0\n1\n2\n3\n4\n5\n");
}

#[tokio::test]
async fn a_killed_daemon_finds_its_jobs_again() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let gate = fifo(&sandbox, "gate");
    let script = format!("echo before; read x < {}; echo after", gate.display());
    let staying = create(&mut client, shell(&script)).await;
    let ending = create(&mut client, named("ending", "read x; exit 3")).await;
    let cancelled = create(
        &mut client,
        shell("trap '' TERM; echo up; while :; do sleep 1; done"),
    )
    .await;
    until(&mut client, &staying.id, |job| job.log_bytes == Some(7)).await;
    until(&mut client, &cancelled.id, |job| job.log_bytes == Some(3)).await;
    cancel(&mut client, &cancelled.id, 100).await;
    kill(daemon);

    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    let now = get(&mut client, &staying.id).await;
    assert_eq!(now.state(), JobState::Running);
    release(&gate);
    let log = read(&mut client, follow(&staying.id)).await.unwrap();
    assert_eq!(log.bytes(), b"before\nafter\n");
    assert_eq!(log.last.unwrap().state(), JobState::Succeeded);
    assert_eq!(wait(&mut client, &ending.id).await.exit_code, Some(3));
    assert_eq!(
        wait(&mut client, &cancelled.id).await.state(),
        JobState::Cancelled
    );
}

#[tokio::test]
async fn a_killed_supervisor_means_lost() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let job = create(&mut client, shell("echo up; exec sleep 600")).await;
    until(&mut client, &job.id, |job| job.log_bytes == Some(3)).await;
    let report = sandbox.spool().unwrap().join("jobs").join(&job.id).join("report");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let pid = i32::try_from(report["supervisor_pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let lost = wait(&mut client, &job.id).await;
    assert_eq!(
        (lost.state(), lost.reason()),
        (JobState::Lost, "supervisor killed")
    );
    assert_eq!(lost.log_bytes, Some(3));
    let log = read(&mut client, follow(&job.id)).await.unwrap();
    assert_eq!(log.bytes(), b"up\n");
}

#[tokio::test]
async fn a_request_that_is_repeated_is_done_once() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let env: HashMap<String, String> = (0..40).map(|n| (format!("V{n}"), n.to_string())).collect();
    let request = CreateJobRequest {
        request_id: Some("one".to_owned()),
        env,
        ..named("n", "echo x >> ran; exec sleep 600")
    };
    let first = create(&mut client, request.clone()).await;
    assert_eq!(create(&mut client, request.clone()).await.id, first.id);
    kill(daemon);
    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    assert_eq!(create(&mut client, request.clone()).await.id, first.id);

    let other = CreateJobRequest {
        command: vec!["true".to_owned()],
        ..request.clone()
    };
    let conflict = error(&client.create_job(other).await.unwrap_err());
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    let taken = error(&client.create_job(named("n", "true")).await.unwrap_err());
    assert_eq!(taken.kind(), ErrorKind::Conflict);

    let cancel = CancelJobRequest {
        request_id: Some("two".to_owned()),
        job: "n".to_owned(),
        ..CancelJobRequest::default()
    };
    client.cancel_job(cancel.clone()).await.unwrap();
    let ended = wait(&mut client, &first.id).await;
    assert_eq!(ended.state(), JobState::Cancelled);
    assert_eq!(
        client
            .cancel_job(cancel)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap()
            .id,
        first.id
    );
    assert_eq!(create(&mut client, request).await.state(), JobState::Cancelled);
    assert_eq!(fs::read_to_string(sandbox.home().join("ran")).unwrap(), "x\n");
    let list = client
        .list_jobs(ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.jobs.len(), 1);
    let specs = fs::read_dir(sandbox.state_dir().join("specs")).unwrap();
    assert_eq!(specs.count(), 1, "repeats leave no specs");
}

#[tokio::test]
async fn retry_runs_the_same_again_and_prune_removes_what_ended() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let env = HashMap::from([("WORD".to_owned(), "kept".to_owned())]);
    let request = CreateJobRequest {
        env,
        ..named("n", "echo $WORD; exit 2")
    };
    let first = create(&mut client, request).await;
    wait(&mut client, &first.id).await;
    let retry = RetryJobRequest {
        job: "n".to_owned(),
        ..RetryJobRequest::default()
    };
    let second = client.retry_job(retry).await.unwrap().into_inner().job.unwrap();
    assert_ne!(second.id, first.id);
    let second = wait(&mut client, &second.id).await;
    assert_eq!(second.exit_code, Some(2));
    assert_eq!(read(&mut client, follow("n")).await.unwrap().bytes(), b"kept\n");

    let live = create(&mut client, named("live", "exec sleep 600")).await;
    let retry = RetryJobRequest {
        job: "live".to_owned(),
        ..RetryJobRequest::default()
    };
    assert_eq!(
        error(&client.retry_job(retry).await.unwrap_err()).kind(),
        ErrorKind::WrongState
    );
    let prune_live = PruneJobsRequest {
        jobs: vec!["live".to_owned()],
        ..PruneJobsRequest::default()
    };
    let refused = error(&client.prune_jobs(prune_live).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    assert!(refused.message.contains("live"), "{}", refused.message);

    let dry = PruneJobsRequest {
        dry_run: true,
        ..PruneJobsRequest::default()
    };
    let would = client.prune_jobs(dry).await.unwrap().into_inner();
    assert_eq!((would.jobs.len(), would.freed_bytes), (2, 10));
    let gone = client
        .prune_jobs(PruneJobsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((gone.jobs.len(), gone.freed_bytes), (2, 10));
    let left = client
        .list_jobs(ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        left.jobs.iter().map(|job| &job.id).collect::<Vec<_>>(),
        [&live.id]
    );
    let dirs = |path: std::path::PathBuf| fs::read_dir(path).unwrap().count();
    assert_eq!(dirs(sandbox.spool().unwrap().join("jobs")), 1);
    assert_eq!(dirs(sandbox.state_dir().join("specs")), 1);
    let missing = error(
        &client
            .get_job(GetJobRequest { job: "n".to_owned() })
            .await
            .unwrap_err(),
    );
    assert_eq!(
        (missing.kind(), missing.hint()),
        (ErrorKind::NotFound, "outlast job list")
    );
}

#[tokio::test]
async fn a_repeated_prune_ends_what_the_first_began_and_answers_the_same() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let first = create(&mut client, named("n", "echo one")).await;
    wait(&mut client, &first.id).await;
    let prune = PruneJobsRequest {
        request_id: Some("prune".to_owned()),
        ..PruneJobsRequest::default()
    };
    let gone = client.prune_jobs(prune.clone()).await.unwrap().into_inner();
    assert_eq!((gone.jobs.len(), gone.freed_bytes), (1, 4));
    let other = create(&mut client, named("n", "echo two")).await;
    wait(&mut client, &other.id).await;
    drop(daemon);

    // As if it had been killed before it got to that.
    let dir = sandbox.spool().unwrap().join("jobs").join(&first.id);
    fs::create_dir(&dir).unwrap();
    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    let again = client.prune_jobs(prune).await.unwrap().into_inner();
    assert_eq!(again, gone);
    assert!(!dir.exists(), "what the first request chose is still there");
    let get = GetJobRequest { job: other.id };
    assert!(client.get_job(get).await.is_ok(), "the repeat removed more");
}

#[tokio::test]
async fn a_repeated_retry_gives_the_first_one_though_the_old_job_is_gone() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let old = create(&mut client, shell("true")).await;
    wait(&mut client, &old.id).await;
    let retry = RetryJobRequest {
        request_id: Some("retry".to_owned()),
        job: old.id.clone(),
    };
    let first = client.retry_job(retry.clone()).await.unwrap().into_inner().job;
    let prune = PruneJobsRequest {
        jobs: vec![old.id],
        ..PruneJobsRequest::default()
    };
    client.prune_jobs(prune).await.unwrap();
    let again = client.retry_job(retry).await.unwrap().into_inner().job;
    assert_eq!(again.unwrap().id, first.unwrap().id);
}

#[tokio::test]
async fn streams_and_waits_are_told_when_the_daemon_stops() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let job = create(&mut client, shell("echo up; exec sleep 600")).await;
    until(&mut client, &job.id, |job| job.log_bytes == Some(3)).await;
    let mut stream = client.read_job_log(follow(&job.id)).await.unwrap().into_inner();
    let mut waiting = client.clone();
    let id = job.id.clone();
    let waiting = tokio::spawn(async move { waiting.wait_job(WaitJobRequest { job: id }).await });
    let mut seen = Vec::new();
    let ended = loop {
        match soon("the stream", stream.message()).await {
            Ok(Some(message)) => {
                if let Some(Event::Chunk(chunk)) = message.event {
                    seen.extend_from_slice(&chunk.data);
                    daemon.signal(Signal::TERM);
                }
            }
            Ok(None) => panic!("the stream ended in silence"),
            Err(status) => break status,
        }
    };
    assert_eq!(seen, b"up\n");
    assert_eq!(error(&ended).kind(), ErrorKind::Stopping);
    let waited = soon("the wait", waiting).await.unwrap().unwrap_err();
    assert_eq!(error(&waited).kind(), ErrorKind::Stopping);
    let ended = daemon.finish(support::END);
    assert_eq!(ended.exit(), 0);
}

#[tokio::test]
async fn jobs_of_a_lost_database_are_taken_up_again() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let gate = fifo(&sandbox, "gate");
    let script = format!("echo up; read x < {}; exit 4", gate.display());
    let running = create(&mut client, named("n", &script)).await;
    let ended = create(&mut client, named("done", "echo bye; exit 5")).await;
    wait(&mut client, &ended.id).await;
    until(&mut client, &running.id, |job| job.log_bytes == Some(3)).await;
    kill(daemon);
    for entry in fs::read_dir(sandbox.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("state.db") {
            fs::remove_file(&path).unwrap();
        } else if name == "backups" {
            fs::remove_dir_all(&path).unwrap();
        }
    }

    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    let again = get(&mut client, "n").await;
    assert_eq!(
        (again.id.as_str(), again.state()),
        (running.id.as_str(), JobState::Running)
    );
    let done = get(&mut client, "done").await;
    assert_eq!((done.state(), done.exit_code), (JobState::Failed, Some(5)));
    release(&gate);
    assert_eq!(wait(&mut client, "n").await.exit_code, Some(4));
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let mut ids = Vec::new();
    for code in 0..5 {
        let job = create(&mut client, shell(&format!("exit {code}"))).await;
        wait(&mut client, &job.id).await;
        ids.push(job.id);
    }
    ids.reverse();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListJobsRequest {
            limit: 2,
            page_token,
            ..ListJobsRequest::default()
        };
        let page = client.list_jobs(request).await.unwrap().into_inner();
        listed.extend(page.jobs.into_iter().map(|job| job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
    let failed = ListJobsRequest {
        states: vec![JobState::Failed.into()],
        ..ListJobsRequest::default()
    };
    assert_eq!(client.list_jobs(failed).await.unwrap().into_inner().jobs.len(), 4);
    let elsewhere = ListJobsRequest {
        hosts: vec!["nowhere".to_owned()],
        ..ListJobsRequest::default()
    };
    assert_eq!(
        error(&client.list_jobs(elsewhere).await.unwrap_err()).kind(),
        ErrorKind::NotFound
    );
    let junk = ListJobsRequest {
        page_token: "x".to_owned(),
        ..ListJobsRequest::default()
    };
    assert_eq!(
        error(&client.list_jobs(junk).await.unwrap_err()).kind(),
        ErrorKind::Usage
    );
}

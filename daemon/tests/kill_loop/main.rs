//! The daemon is killed at random moments, again and again, while clients use it. Afterwards nothing is missing,
//! doubled, or wrong.
//!
//! `OUTLAST_SEED` repeats a run's choices, `OUTLAST_KILLS` says how often to kill (200). Every client works through
//! things one after the other and proves each: a job appends one line to a file of its own when it starts, so that a
//! second start would show; its output is known to the byte. What a client is told is believed: once a request was
//! answered, its thing must be there, once, to the end.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod output;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    AttachOpen, AttachSessionRequest, CancelJobRequest, CreateJobRequest, CreateSessionRequest,
    DeleteSessionRequest, JobState, LogStream, ReadEventsRequest, ReadJobLogRequest, RestartSessionRequest,
    SessionState, StopSessionRequest, TerminalSize, attach_session_request,
    event_service_client::EventServiceClient, job_service_client::JobServiceClient, read_job_log_request,
    read_job_log_response, session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, DEADLINE, Process, Pty, Random, Sandbox, lines_in, run, wait_until};
use output::{Output, program_of};

/// How long one thing may take while the daemon is being killed all the time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all clients share.
struct World {
    sandbox: Sandbox,
    /// Set when the killing is over; clients finish what they are at.
    over: AtomicBool,
    /// Every job that was accepted: id, what is known of it.
    jobs: Mutex<Vec<Accepted>>,
    /// Requests by ctl that failed, so that nobody was told an id; each may have made at most one job.
    unanswered: AtomicU64,
}

/// A job that was accepted, and what must have become of it.
struct Accepted {
    id: String,
    key: String,
    output: Output,
    end: End,
}

/// One way to use the daemon, until the killing is over.
type Use = fn(&World, Random);

/// How a job must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Exit(i32),
    Cancelled,
}

impl World {
    fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The file in which a thing counts its starts.
    fn count_file(&self, key: &str) -> PathBuf {
        self.sandbox.home().join(format!("ran-{key}"))
    }

    fn accepted(&self, job: Accepted) {
        self.jobs.lock().unwrap().push(job);
    }
}

#[test]
fn nothing_is_lost_however_often_the_daemon_is_killed() {
    let mut random = Random::from_env();
    let kills: u64 =
        env::var("OUTLAST_KILLS").map_or(200, |text| text.parse().expect("OUTLAST_KILLS is a number"));
    let world = Arc::new(World {
        sandbox: Sandbox::new(),
        over: AtomicBool::new(false),
        jobs: Mutex::default(),
        unanswered: AtomicU64::new(0),
    });
    world.sandbox.start_daemon();
    let steady = Steady::start(&world);

    let clients: [(&str, Use); 7] = [
        ("jobs by gRPC", jobs_by_grpc),
        ("jobs by ctl", jobs_by_ctl),
        ("jobs in the foreground", jobs_in_the_foreground),
        ("cancels", cancels),
        ("sessions", sessions),
        ("attachments", attachments),
        ("events", events),
    ];
    let threads: Vec<_> = clients
        .into_iter()
        .map(|(name, client)| {
            let (world, random) = (Arc::clone(&world), random.fork());
            let thread = thread::Builder::new().name(name.to_owned());
            thread
                .spawn(move || client(&world, random))
                .expect("a thread can be started")
        })
        .collect();

    let start = Instant::now();
    let (mut killed, mut start_ms) = (0, 0);
    while killed < kills && threads.iter().all(|thread| !thread.is_finished()) {
        // Short gaps hit a daemon that is starting or adopting, long ones a daemon at work. On a busy machine a start
        // takes longer than that, and one that is never let through is given up by whoever waits for it.
        let gap = Duration::from_millis(random.between(20, 300 + start_ms));
        thread::park_timeout(gap);
        killed += u64::from(world.sandbox.kill_any_daemon().is_some());
        if random.one_in(4) {
            let begun = Instant::now();
            drop(world.sandbox.outlast(&["daemon", "start"]));
            start_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
    }
    println!("{killed} kills in {:?}", start.elapsed());
    world.over.store(true, Ordering::Release);
    // All of them first: what a client that failed leaves behind is cleaned up when nobody uses the sandbox any more.
    let failed: Vec<String> = threads
        .into_iter()
        .filter_map(|thread| {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            thread.join().is_err().then_some(name)
        })
        .collect();
    assert!(
        failed.is_empty(),
        "clients failed: {failed:?}; their messages are above"
    );
    assert_eq!(killed, kills);

    world.sandbox.start_daemon();
    steady.check(&world);
    check_jobs(&world);
    check_store(&world);
}

/// Waits for all jobs and looks at each: state, exit code, log, and how often it ran.
fn check_jobs(world: &World) {
    let jobs = world.jobs.lock().unwrap();
    for job in jobs.iter() {
        let shown = world
            .sandbox
            .wait_job(&job.id, |state| state != "queued" && state != "running");
        let (state, code) = match job.end {
            End::Exit(0) => ("succeeded", Some(0)),
            End::Exit(code) => ("failed", Some(code)),
            End::Cancelled => ("cancelled", None),
        };
        assert_eq!(shown["state"], state, "{}: {shown}", job.key);
        if let Some(code) = code {
            assert_eq!(shown["exit_code"], code, "{}: {shown}", job.key);
            let logs = world.sandbox.outlast(&["job", "logs", &job.id]).success();
            assert_eq!(logs.stdout, job.output.stdout(), "stdout of {}", job.key);
            assert_eq!(logs.stderr, job.output.stderr(), "stderr of {}", job.key);
        }
        // A job that was cancelled while it was queued never ran.
        let ran = lines_in(&world.count_file(&job.key));
        let fits = ran == 1 || (ran == 0 && job.end == End::Cancelled);
        assert!(fits, "{} ran {ran} times", job.key);
    }
    let listed = world
        .sandbox
        .outlast(&["job", "list", "--limit", "100000", "--json"])
        .success()
        .json();
    let listed = listed.as_array().expect("a list is an array").len() as u64;
    let known = jobs.len() as u64 + 1; // and the steady one
    let most = known + world.unanswered.load(Ordering::Acquire);
    assert!(
        (known..=most).contains(&listed),
        "{listed} jobs are listed, {known} to {most} were asked for"
    );
    println!("{} jobs, each ran once", jobs.len());
}

/// The database is whole, by the daemon's own check of it.
fn check_store(world: &World) {
    let findings = world.sandbox.outlast(&["doctor", "--json"]).json();
    let findings = findings.as_array().cloned().unwrap_or_default();
    let about_store = |finding: &&serde_json::Value| {
        let check = finding["check"].as_str().unwrap_or_default();
        check.contains("store") || check.contains("database")
    };
    let store: Vec<_> = findings.iter().filter(about_store).collect();
    assert!(
        !store.is_empty(),
        "doctor says nothing about the database: {findings:?}"
    );
    for finding in store {
        assert_eq!(finding["level"], "ok", "{finding}");
    }
    let aside: Vec<_> = fs::read_dir(world.sandbox.state_dir())
        .expect("the state directory is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("corrupt"))
        .collect();
    assert!(aside.is_empty(), "a damaged database was set aside: {aside:?}");
    let mode = fs::metadata(world.sandbox.state_dir().join("state.db"))
        .expect("the database is there")
        .permissions();
    assert_eq!(mode.mode() & 0o077, 0);
}

/// One job and one session that live through all of it, with followers that never let go.
struct Steady {
    job: String,
    job_pid: String,
    session_pid: u64,
    follower: Process,
    attached: Pty,
}

impl Steady {
    fn start(world: &World) -> Self {
        let sandbox = &world.sandbox;
        let script = "echo ran >>\"$1\"; echo $$ >\"$1.pid\"; i=0; \
                      while [ ! -e \"$1.stop\" ]; do echo \"steady $i\"; i=$((i+1)); sleep 0.05; done; echo done";
        let file = world.count_file("steady");
        let file = file.to_str().expect("sandbox paths are text");
        let job = sandbox
            .outlast(&[
                "run", "-d", "--name", "steady", "--", "sh", "-c", script, "steady", file,
            ])
            .success()
            .word();
        let follower = sandbox.spawn(&["job", "logs", &job, "-f"]);
        follower.wait_line(|line| line == "steady 0");
        let job_pid = fs::read_to_string(format!("{file}.pid")).expect("the job runs");
        drop(
            sandbox
                .outlast(&["session", "create", "steady", "--", "cat"])
                .success(),
        );
        let session = sandbox.wait_session("steady", |state| state == "running");
        let session_pid = session["pid"].as_u64().expect("a running session has a pid");
        let mut attach = sandbox.command("outlast");
        attach
            .args(["session", "attach", "steady"])
            .env("TERM", "xterm-256color");
        let mut attached = Pty::start(&attach);
        type_until_it_arrives(sandbox, &mut attached, "before");
        Self {
            job,
            job_pid,
            session_pid,
            follower,
            attached,
        }
    }

    fn check(mut self, world: &World) {
        let sandbox = &world.sandbox;
        let session = sandbox.wait_session("steady", |state| state == "running");
        assert_eq!(
            session["pid"].as_u64(),
            Some(self.session_pid),
            "the session was doubled"
        );
        type_until_it_arrives(sandbox, &mut self.attached, "after");
        self.attached.wait_text("after");
        drop(
            sandbox
                .outlast(&["session", "delete", "steady", "--force", "--yes"])
                .success(),
        );
        self.attached.wait_exit(DEADLINE);

        let file = world.count_file("steady");
        let pid = fs::read_to_string(file.with_extension("pid")).expect("the job ran");
        assert_eq!(pid, self.job_pid, "the job was doubled");
        fs::write(file.with_extension("stop"), "").expect("the sandbox can be written");
        let shown = sandbox.wait_job(&self.job, |state| state != "running");
        assert_eq!(shown["state"], "succeeded", "{shown}");
        assert_eq!(lines_in(&file), 1);
        let followed = self.follower.finish(PATIENCE).success();
        let lines = followed.out();
        let count = lines.lines().count() - 1;
        let expected: String = (0..count).map(|line| format!("steady {line}\n")).collect();
        assert_eq!(lines, expected + "done\n", "the follower saw a gap or a repeat");
        println!("followed {count} lines without a gap");
    }
}

/// Types a word into the attached terminal until the session has it. The terminal comes back by itself after a kill;
/// what is typed before it has is not promised to arrive.
fn type_until_it_arrives(sandbox: &Sandbox, attached: &mut Pty, word: &str) {
    wait_until(PATIENCE, "what is typed to arrive", || {
        let seen = attached.seen();
        assert!(
            attached.is_running(),
            "the attachment ended: {}",
            String::from_utf8_lossy(&seen)
        );
        attached.write(format!("{word}\n").as_bytes());
        let screen = sandbox.outlast(&["session", "peek", "steady"]);
        screen.out().contains(word).then_some(())
    });
}

/// Creates jobs with request ids, repeats some of the requests, and follows each log by offset.
fn jobs_by_grpc(world: &World, mut random: Random) {
    let client = Client::new(&world.sandbox, PATIENCE);
    let mut number = 0;
    while !world.over() {
        number += 1;
        let key = format!("grpc-{number}");
        let output = Output::random(&key, &mut random);
        let code = i32::from(random.one_in(3)) * 7;
        let request = CreateJobRequest {
            request_id: Some(random.uuid()),
            command: program_of(&output, &world.count_file(&key), code),
            ..CreateJobRequest::default()
        };
        let create =
            || client.call(async |channel| JobServiceClient::new(channel).create_job(request.clone()).await);
        let id = create().job.expect("a job is answered").id;
        if random.one_in(2) {
            assert_eq!(
                create().job.expect("a job is answered").id,
                id,
                "a repeat made another job"
            );
        }
        let (stdout, stderr) = follow(&client, &id);
        assert_eq!(stdout, output.stdout(), "stdout of {key} as followed");
        assert_eq!(stderr, output.stderr(), "stderr of {key} as followed");
        world.accepted(Accepted {
            id,
            key,
            output,
            end: End::Exit(code),
        });
    }
}

/// Follows a job's log to its end, resuming by offset; a gap or a repeat fails.
fn follow(client: &Client<'_>, id: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr, mut offset) = (Vec::new(), Vec::new(), 0);
    client.until(async |channel| {
        let request = ReadJobLogRequest {
            job: id.to_owned(),
            follow: true,
            start: Some(read_job_log_request::Start::Offset(offset)),
            ..ReadJobLogRequest::default()
        };
        let mut stream = JobServiceClient::new(channel)
            .read_job_log(request)
            .await?
            .into_inner();
        while let Some(message) = stream.message().await? {
            match message.event {
                Some(read_job_log_response::Event::Chunk(chunk)) => {
                    assert_eq!(chunk.offset, offset, "the log has a gap or a repeat");
                    offset += chunk.data.len() as u64;
                    match chunk.stream() {
                        LogStream::Stdout => stdout.extend_from_slice(&chunk.data),
                        LogStream::Stderr => stderr.extend_from_slice(&chunk.data),
                        other => panic!("nothing was cut, but {other:?} came"),
                    }
                }
                Some(read_job_log_response::Event::End(end)) => {
                    assert_eq!(end.next_offset, offset);
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    });
    (stdout, stderr)
}

/// Creates jobs with `run -d`, follows them with `logs -f`, and asks `job wait` for the exit code.
fn jobs_by_ctl(world: &World, mut random: Random) {
    let mut number = 0;
    while !world.over() {
        number += 1;
        let key = format!("ctl-{number}");
        let output = Output::random(&key, &mut random);
        let code = i32::from(random.one_in(3)) * 9;
        let mut command = world.sandbox.command("outlast");
        command
            .args(["run", "-d", "--"])
            .args(program_of(&output, &world.count_file(&key), code));
        let created = run(command, PATIENCE);
        if created.exit() != 0 {
            assert_eq!(created.exit(), 125, "{created}");
            world.unanswered.fetch_add(1, Ordering::AcqRel);
            continue;
        }
        let id = created.word();
        let followed = world
            .sandbox
            .outlast_within(PATIENCE, &["--quiet", "job", "logs", &id, "-f"])
            .success();
        assert_eq!(followed.stdout, output.stdout(), "{followed}");
        assert_eq!(followed.stderr, output.stderr(), "{followed}");
        drop(
            world
                .sandbox
                .outlast_within(PATIENCE, &["job", "wait", &id])
                .code(code),
        );
        world.accepted(Accepted {
            id,
            key,
            output,
            end: End::Exit(code),
        });
    }
}

/// Runs jobs in the foreground, as a person does, and expects the command itself: streams, exit code and all.
fn jobs_in_the_foreground(world: &World, mut random: Random) {
    let mut number = 0;
    while !world.over() {
        number += 1;
        let key = format!("fore-{number}");
        let output = Output::random(&key, &mut random);
        let code = i32::from(random.one_in(2)) * 3;
        let mut command = world.sandbox.command("outlast");
        command.args(["--quiet", "run", "--name", &key, "--"]);
        command.args(program_of(&output, &world.count_file(&key), code));
        let ran = run(command, PATIENCE);
        if ran.exit() == 125 {
            world.unanswered.fetch_add(1, Ordering::AcqRel);
            continue;
        }
        let ran = ran.code(code);
        assert_eq!(ran.stdout, output.stdout(), "{ran}");
        let shown = world
            .sandbox
            .wait_job(&key, |state| state != "queued" && state != "running");
        let id = shown["id"].as_str().expect("a job has an id").to_owned();
        world.accepted(Accepted {
            id,
            key,
            output,
            end: End::Exit(code),
        });
    }
}

/// Creates endless jobs and cancels them, some before they run; every request is made twice.
fn cancels(world: &World, mut random: Random) {
    let client = Client::new(&world.sandbox, PATIENCE);
    let mut number = 0;
    while !world.over() {
        number += 1;
        let key = format!("cancel-{number}");
        let output = Output::endless(&key);
        let request = CreateJobRequest {
            request_id: Some(random.uuid()),
            command: program_of(&output, &world.count_file(&key), 0),
            ..CreateJobRequest::default()
        };
        let created =
            client.call(async |channel| JobServiceClient::new(channel).create_job(request.clone()).await);
        let id = created.job.expect("a job is answered").id;
        if random.one_in(2) {
            wait_until(PATIENCE, "the job to run", || {
                (lines_in(&world.count_file(&key)) > 0).then_some(())
            });
        }
        let request = CancelJobRequest {
            request_id: Some(random.uuid()),
            job: id.clone(),
            grace: None,
        };
        for _repeat in 0..2 {
            client.call(async |channel| JobServiceClient::new(channel).cancel_job(request.clone()).await);
        }
        let ended = client.job(&id, |state| {
            !matches!(state, JobState::Queued | JobState::Running)
        });
        assert_eq!(ended.state(), JobState::Cancelled, "{ended:?}");
        world.accepted(Accepted {
            id,
            key,
            output,
            end: End::Cancelled,
        });
    }
}

/// Takes sessions through their lives: create, stop, restart, delete; every request is made twice, and the program
/// counts its starts.
fn sessions(world: &World, mut random: Random) {
    let client = Client::new(&world.sandbox, PATIENCE);
    let mut number = 0;
    while !world.over() {
        number += 1;
        let key = format!("session-{number}");
        let file = world.count_file(&key);
        let script = "echo $$ >>\"$1\"; exec cat";
        let command = [
            "sh",
            "-c",
            script,
            "session",
            file.to_str().expect("sandbox paths are text"),
        ];
        let create = CreateSessionRequest {
            request_id: Some(random.uuid()),
            name: key.clone(),
            command: command.map(str::to_owned).to_vec(),
            ..CreateSessionRequest::default()
        };
        client.twice(async |channel| {
            SessionServiceClient::new(channel)
                .create_session(create.clone())
                .await
        });
        client.session(&key, |session| session.state() == SessionState::Running);
        let mut starts = 1;
        for _round in 0..random.between(0, 3) {
            let stop = StopSessionRequest {
                request_id: Some(random.uuid()),
                session: key.clone(),
                grace: None,
            };
            client.twice(async |channel| {
                SessionServiceClient::new(channel)
                    .stop_session(stop.clone())
                    .await
            });
            client.session(&key, |session| session.state() == SessionState::Stopped);
            let restart = RestartSessionRequest {
                request_id: Some(random.uuid()),
                session: key.clone(),
                force: false,
            };
            client.twice(async |channel| {
                SessionServiceClient::new(channel)
                    .restart_session(restart.clone())
                    .await
            });
            starts += 1;
            client.session(&key, |session| {
                session.state() == SessionState::Running && session.runs == starts
            });
        }
        let last = client.session(&key, |session| session.pid.is_some());
        let pid = last.pid.map(|pid| pid.to_string());
        wait_until(PATIENCE, "the session's program to start", || {
            let started = fs::read_to_string(&file).unwrap_or_default();
            (started.lines().last() == pid.as_deref()).then_some(())
        });
        // One that was stopped at once may not have come to count.
        assert!(
            lines_in(&file) <= u64::from(starts),
            "{key} was started too often"
        );
        let delete = DeleteSessionRequest {
            request_id: Some(random.uuid()),
            session: key.clone(),
            force: true,
        };
        client.twice(async |channel| {
            SessionServiceClient::new(channel)
                .delete_session(delete.clone())
                .await
        });
        let gone = world.sandbox.outlast_within(PATIENCE, &["session", "show", &key]);
        assert!(matches!(gone.exit(), 3 | 7), "a deleted session is gone: {gone}");
    }
}

/// Attaches to the steady session and leaves again, so that kills hit open attachments.
fn attachments(world: &World, mut random: Random) {
    let client = Client::new(&world.sandbox, PATIENCE);
    while !world.over() {
        let open = AttachSessionRequest {
            event: Some(attach_session_request::Event::Open(AttachOpen {
                session: "steady".to_owned(),
                size: Some(TerminalSize {
                    columns: 80,
                    rows: 24,
                }),
                read_only: true,
                ..AttachOpen::default()
            })),
        };
        let messages = random.between(1, 6);
        client.until(async |channel| {
            let open = open.clone();
            let input = tokio_stream::StreamExt::chain(tokio_stream::once(open), tokio_stream::pending());
            let mut output = SessionServiceClient::new(channel)
                .attach_session(input)
                .await?
                .into_inner();
            for _message in 0..messages {
                // Nothing more may come of a quiet session; leaving then is as good.
                match tokio::time::timeout(Duration::from_millis(200), output.message()).await {
                    Ok(message) => drop(message?),
                    Err(_quiet) => break,
                }
            }
            Ok(true)
        });
    }
}

/// Follows the event log: every number once, in order, in one epoch.
fn events(world: &World, _random: Random) {
    let client = Client::new(&world.sandbox, PATIENCE);
    let (mut position, mut epoch) = (0_u64, None::<String>);
    while !world.over() {
        // One connection at a time: how long a followed stream lasts is up to the killing.
        client.once(async |channel| {
            let request = ReadEventsRequest {
                after: Some(position),
                epoch: epoch.clone(),
                follow: true,
                ..ReadEventsRequest::default()
            };
            let answer = EventServiceClient::new(channel).read_events(request).await?;
            let mut stream = answer.into_inner();
            while !world.over() {
                let next = tokio::time::timeout(Duration::from_millis(200), stream.message());
                let Ok(message) = next.await else { continue };
                let Some(message) = message? else { break };
                let known = epoch.get_or_insert_with(|| message.epoch.clone());
                assert_eq!(*known, message.epoch, "the database was rebuilt");
                if let Some(event) = message.event {
                    assert_eq!(
                        event.seq,
                        position + 1,
                        "events have a gap or a repeat: {event:?}"
                    );
                    position = event.seq;
                }
            }
            Ok(())
        });
    }
    println!("followed {position} events without a gap");
}

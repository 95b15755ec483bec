//! The figures, each with what was promised.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    CreateJobRequest, CreateSessionRequest, JobState, ListJobsRequest, ListSessionsRequest, SessionState,
    job_service_client::JobServiceClient, session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, Sandbox, wait_until};
use rustix::event::{Timespec, poll};

use crate::{
    latency,
    measure::{compare, median, rounds, time},
    peers::{self, Pueue},
    table::{Promise, Table},
};

/// Measures and adds lines to the table.
type Figure = fn(&mut Table);

/// Every figure by the name that asks for it alone.
pub(crate) const ALL: &[(&str, Figure)] = &[
    ("idle", idle),
    ("status", status),
    ("submit", submit),
    ("latency", line_latency),
    ("throughput", throughput),
    ("jobs", jobs),
    ("sessions", sessions),
];

/// How long the building of a crowd may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn ours(sandbox: &Sandbox, args: &[&str]) -> std::process::Command {
    let mut command = sandbox.command("outlast");
    command.args(args);
    command
}

/// Memory and wake-ups of a daemon that has nothing to do.
fn idle(table: &mut Table) {
    const SECONDS: u64 = 20;
    let sandbox = Sandbox::new();
    let pid = sandbox.start_daemon();
    drop(sandbox.outlast(&["run", "--", "true"]).success());
    // Threads that the job's end has woken go to rest within ten seconds.
    rest(Duration::from_secs(12));
    let before = wake_ups(pid);
    rest(Duration::from_secs(SECONDS));
    let woken = wake_ups(pid)
        .into_iter()
        .map(|(task, count)| count - before.get(&task).unwrap_or(&0));
    let per_second = woken.sum::<u64>() as f64 / SECONDS as f64;
    let memory = figure(&format!("/proc/{pid}/status"), "VmRSS:") as f64 / 1024.0;
    table.add("idle memory", "MB", memory, None, &Promise::AtMost(15.0));
    table.add("idle wake-ups", "/s", per_second, None, &Promise::AtMost(1.0));
}

/// Time has to pass here: what is measured is what happens in it.
fn rest(time: Duration) {
    let time = Timespec::try_from(time).expect("a short time");
    let _ = poll(&mut [], Some(&time));
}

/// How often each thread of a process went to sleep so far.
fn wake_ups(pid: u32) -> BTreeMap<PathBuf, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon runs");
    let count = |task: PathBuf| {
        let file = task.join("status");
        let count = figure(file.to_str()?, "voluntary_ctxt_switches:");
        Some((task, count))
    };
    tasks.flatten().filter_map(|task| count(task.path())).collect()
}

/// A number from a file of the kernel's; 0 when its thread is gone.
fn figure(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(key))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// A question to the daemon, as a command.
fn status(table: &mut Table) {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let pueue = Pueue::start(&sandbox);
    let tmux = peers::tmux(&sandbox);
    let [own, theirs, plain] = compare([
        Some(ours(&sandbox, &["status"])),
        pueue.as_ref().map(|pueue| pueue.command(&sandbox, &["status"])),
        tmux.as_ref().map(|tmux| tmux(&["ls"])),
    ]);
    let own = own.unwrap();
    table.add(
        "status",
        "ms",
        own,
        theirs.map(|time| ("pueue status", time)),
        &Promise::Ratio(0.8),
    );
    table.add(
        "status",
        "ms",
        own,
        plain.map(|time| ("tmux ls", time)),
        &Promise::Ratio(1.0),
    );
}

/// A job handed over, as a command (ours is on disk when it answers), and one followed to its end.
fn submit(table: &mut Table) {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let pueue = Pueue::start(&sandbox);
    let (mut own, mut theirs, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds() + 5 {
        let took = time(&mut ours(&sandbox, &["run", "-d", "--", "true"]));
        let other = pueue
            .as_ref()
            .map(|pueue| time(&mut pueue.command(&sandbox, &["add", "--", "true"])));
        let to_the_end = time(&mut ours(&sandbox, &["run", "--", "true"]));
        if round >= 5 {
            own.push(took);
            theirs.extend(other);
            whole.push(to_the_end);
        }
        // pueue writes all its tasks at each one; a list that grows for ever would be unfair to it.
        if round % 20 == 19
            && let Some(pueue) = &pueue
        {
            time(&mut pueue.command(&sandbox, &["clean"]));
        }
    }
    let peer = pueue.map(|_| ("pueue add", median(theirs)));
    table.add("run -d -- true", "ms", median(own), peer, &Promise::Ratio(1.2));
    table.add("run -- true", "ms", median(whole), None, &Promise::Nothing);
}

/// A line from the job to who follows.
fn line_latency(table: &mut Table) {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let stream = latency::of_stream(&sandbox);
    let tail = latency::of_tail(&sandbox);
    table.add(
        "line to a stream",
        "ms",
        stream,
        tail.map(|time| ("tail -f", time)),
        &Promise::AtMost(1.0),
    );
    let ctl = latency::of_ctl(&sandbox);
    let pueue = Pueue::start(&sandbox).map(|pueue| latency::of_pueue(&sandbox, &pueue));
    table.add(
        "line to logs -f",
        "ms",
        ctl,
        pueue.map(|time| ("pueue follow", time)),
        &Promise::Nothing,
    );
}

/// A big file through a job to standard output.
fn throughput(table: &mut Table) {
    const MEGABYTES: u64 = 512;
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let big = sandbox.path().join("big");
    fs::write(&big, vec![b'x'; (MEGABYTES as usize) << 20]).expect("/tmp holds half a gigabyte");
    let big = big.to_str().unwrap();
    let through = |mut command: std::process::Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 18], 0);
        while let Ok(count @ 1..) = out.read(&mut buffer) {
            total += count as u64;
        }
        assert!(child.wait().unwrap().success());
        assert_eq!(total, MEGABYTES << 20);
        MEGABYTES as f64 / start.elapsed().as_secs_f64()
    };
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for _round in 0..5 {
        own.push(through(ours(&sandbox, &["--quiet", "run", "--", "cat", big])));
        let mut cat = sandbox.command("cat");
        cat.arg(big);
        plain.push(through(cat));
        drop(sandbox.outlast(&["job", "prune", "--yes"]));
    }
    let peer = Some(("cat", median(plain)));
    table.add(
        "run -- cat BIGFILE",
        "MB/s",
        median(own),
        peer,
        &Promise::AtLeast(300.0),
    );
}

/// A crowd of jobs, listed.
fn jobs(table: &mut Table) {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let client = Client::new(&sandbox, PATIENCE);
    let submit = |command: &[&str], count: usize| {
        for _ in 0..count {
            client.call(async |channel| {
                let command = command.iter().map(|&word| word.to_owned()).collect();
                let request = CreateJobRequest {
                    command,
                    ..CreateJobRequest::default()
                };
                JobServiceClient::new(channel).create_job(request).await
            });
        }
    };
    submit(&["true"], 1000);
    submit(&["sleep", "10000"], 200);
    wait_until(PATIENCE, "1,000 jobs to end and 200 to run", || {
        let counted = client.call(async |channel| {
            let request = ListJobsRequest {
                limit: 5000,
                ..ListJobsRequest::default()
            };
            JobServiceClient::new(channel).list_jobs(request).await
        });
        let count = |state| counted.jobs.iter().filter(|job| job.state() == state).count();
        (count(JobState::Succeeded) == 1000 && count(JobState::Running) == 200).then_some(())
    });
    let [own] = compare([Some(ours(&sandbox, &["job", "list", "--limit", "2000"]))]);
    table.add(
        "1,000 + 200 jobs listed",
        "ms",
        own.unwrap(),
        None,
        &Promise::AtMost(10.0),
    );
}

/// A crowd of sessions, listed; tmux lists the very same.
fn sessions(table: &mut Table) {
    let sandbox = Sandbox::new();
    sandbox.start_daemon();
    let client = Client::new(&sandbox, PATIENCE);
    for number in 0..500 {
        client.call(async |channel| {
            let request = CreateSessionRequest {
                name: format!("crowd-{number}"),
                command: vec!["sleep".to_owned(), "10000".to_owned()],
                ..CreateSessionRequest::default()
            };
            SessionServiceClient::new(channel).create_session(request).await
        });
    }
    wait_until(PATIENCE, "500 sessions to run", || {
        let answer = client.call(async |channel| {
            let request = ListSessionsRequest {
                states: vec![SessionState::Running.into()],
                ..ListSessionsRequest::default()
            };
            SessionServiceClient::new(channel).list_sessions(request).await
        });
        (answer.sessions.len() == 500).then_some(())
    });
    let socket = sandbox.tmux_socket().expect("outlast runs a tmux server");
    let mut tmux = sandbox.command("tmux");
    tmux.arg("-S").arg(socket).args(["list-panes", "-a"]);
    let [own, theirs] = compare([Some(ours(&sandbox, &["session", "list"])), Some(tmux)]);
    let peer = theirs.map(|time| ("tmux list-panes -a", time));
    table.add(
        "500 sessions listed",
        "ms",
        own.unwrap(),
        peer,
        &Promise::Ratio(0.5),
    );
}

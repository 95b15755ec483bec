//! How long a line takes from the program that prints it to whoever follows.
//!
//! The program prints the monotonic clock, the follower reads the same clock when the line is there: the difference
//! is all there is between them.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use outlast_client::v1::{
    ReadJobLogRequest, job_service_client::JobServiceClient, read_job_log_request, read_job_log_response,
};
use outlast_testkit::{DEADLINE, Sandbox, run, wait_until};
use rustix::{
    event::{Timespec, poll},
    time::{ClockId, clock_gettime},
};

use crate::{measure::median, peers::Pueue, programs};

/// First argument that makes this program the one that prints.
pub(crate) const TICKER: &str = "--tick";

/// How many lines are timed.
const LINES: usize = 100;

/// Nanoseconds of the monotonic clock.
fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Prints the clock so many times, 20 ms apart, as a program does that has something to say now and then. It begins
/// with a rest, so that the follower is there.
pub(crate) fn tick(count: usize) {
    let rest = |millis| {
        let rest = Timespec::try_from(Duration::from_millis(millis)).expect("a short time");
        let _ = poll(&mut [], Some(&rest));
    };
    rest(1500);
    let mut out = std::io::stdout().lock();
    for _ in 0..count {
        rest(20);
        drop(writeln!(out, "{}", now()));
        drop(out.flush());
    }
}

/// The command of the program that prints.
fn ticker() -> [String; 3] {
    let own = env::current_exe().expect("a program knows itself");
    [own.display().to_string(), TICKER.to_owned(), LINES.to_string()]
}

/// Milliseconds since a line was printed. None for a line that is not the ticker's.
fn age(line: &str) -> Option<f64> {
    let printed: i64 = line.trim().parse().ok()?;
    Some((now() - printed) as f64 / 1e6)
}

/// Median in milliseconds over a stream of the protocol.
pub(crate) fn of_stream(sandbox: &Sandbox) -> f64 {
    let job = submit(sandbox);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = sandbox.connect().await.unwrap();
        let request = ReadJobLogRequest {
            job,
            follow: true,
            start: Some(read_job_log_request::Start::Offset(0)),
            ..ReadJobLogRequest::default()
        };
        let mut stream = JobServiceClient::new(channel)
            .read_job_log(request)
            .await
            .unwrap()
            .into_inner();
        let mut ages = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            if let Some(read_job_log_response::Event::Chunk(chunk)) = message.event {
                ages.extend(String::from_utf8_lossy(&chunk.data).lines().filter_map(age));
            }
        }
        assert_eq!(ages.len(), LINES);
        median(ages)
    })
}

/// Median in milliseconds through `outlast logs -f` and a pipe.
pub(crate) fn of_ctl(sandbox: &Sandbox) -> f64 {
    let job = submit(sandbox);
    let mut command = sandbox.command("outlast");
    command.args(["--quiet", "job", "logs", "-f", &job]);
    of_pipe(command)
}

fn submit(sandbox: &Sandbox) -> String {
    let mut command = sandbox.command("outlast");
    command.args(["run", "-d", "--"]).args(ticker());
    run(command, DEADLINE).success().word()
}

/// Median in milliseconds through `pueue follow`.
pub(crate) fn of_pueue(sandbox: &Sandbox, pueue: &Pueue) -> f64 {
    let mut command = pueue.command(sandbox, &["add", "--print-task-id", "--"]);
    command.args(ticker());
    let id = run(command, DEADLINE).success().word();
    wait_until(DEADLINE, "pueue to start the task", || {
        let status = run(pueue.command(sandbox, &["status", "--json"]), DEADLINE).json();
        status["tasks"][&id]["status"]["Running"]
            .is_object()
            .then_some(())
    });
    of_pipe(pueue.command(sandbox, &["follow", &id]))
}

/// Median in milliseconds through `tail -f` of a file.
pub(crate) fn of_tail(sandbox: &Sandbox) -> Option<f64> {
    programs::find("tail")?;
    let path = sandbox.path().join("ticks");
    let file = fs::File::create(&path).expect("the sandbox can be written");
    let [program, args @ ..] = ticker();
    let mut writer = Command::new(program);
    let mut writer = writer
        .args(args)
        .stdout(file)
        .spawn()
        .expect("this program can be started");
    let mut tail = sandbox.command("tail");
    tail.args(["-f", "-n", "+1", &format!("--pid={}", writer.id())])
        .arg(path);
    // A zombie keeps tail waiting; somebody has to look after the writer.
    let reaper = std::thread::spawn(move || drop(writer.wait()));
    let middle = of_pipe(tail);
    drop(reaper.join());
    Some(middle)
}

/// Median in milliseconds over the lines that a command prints.
fn of_pipe(mut command: Command) -> f64 {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the follower can be started");
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let ages: Vec<f64> = lines
        .map_while(Result::ok)
        .filter_map(|line| age(&line))
        .take(LINES)
        .collect();
    drop(child.kill());
    drop(child.wait());
    assert_eq!(ages.len(), LINES, "{command:?} lost lines");
    median(ages)
}

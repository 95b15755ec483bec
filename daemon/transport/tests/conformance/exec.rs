//! Facts and programs.

use std::{cell::Cell, fs};

use outlast_client::helper_v1::{
    ExecRequest, ExecResponse, ExecStart, GetFactsRequest, Outcome, PingRequest, exec_request, exec_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    bed::{Bed, eventually, is_alive, kill},
    over_all,
};

over_all!(
    facts_are_told,
    input_and_outputs_are_bytes,
    exit_codes_and_signals_come_back,
    what_cannot_be_started_says_why,
    much_data_goes_both_ways,
    a_hang_up_ends_the_whole_group,
    a_signal_reaches_the_group,
    what_was_written_before_the_end_waits_for_a_slow_reader,
    a_child_that_writes_for_ever_is_no_reason_to_stay,
);

pub fn message(event: exec_request::Event) -> ExecRequest {
    ExecRequest { event: Some(event) }
}

fn start(command: &[&str]) -> ExecRequest {
    message(exec_request::Event::Start(ExecStart {
        command: command.iter().map(ToString::to_string).collect(),
        cwd: "/".to_owned(),
        env: [("GIVEN".to_owned(), "a b".to_owned())].into(),
        ..ExecStart::default()
    }))
}

async fn open(bed: &mut Bed, command: &[&str]) -> (mpsc::Sender<ExecRequest>, Streaming<ExecResponse>) {
    open_with(bed, start(command)).await
}

pub async fn open_with(
    bed: &mut Bed,
    start: ExecRequest,
) -> (mpsc::Sender<ExecRequest>, Streaming<ExecResponse>) {
    let (sender, receiver) = mpsc::channel(4);
    sender.send(start).await.unwrap();
    let stream = bed.client.exec(ReceiverStream::new(receiver)).await.unwrap();
    (sender, stream.into_inner())
}

pub struct Done {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub outcome: Outcome,
}

pub async fn finish(mut stream: Streaming<ExecResponse>) -> Done {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            exec_response::Event::Started(started) => assert!(started.pid > 0),
            exec_response::Event::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            exec_response::Event::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            exec_response::Event::Ended(outcome) => {
                assert!(stream.message().await.unwrap().is_none());
                return Done {
                    stdout,
                    stderr,
                    outcome,
                };
            }
        }
    }
}

async fn facts_are_told(mut bed: Bed) {
    let facts = bed
        .client
        .get_facts(GetFactsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(facts.os, "linux");
    assert_eq!(facts.helper_version, outlast_client::VERSION);
    assert_eq!(facts.spool_dir, bed.root.path().to_str().unwrap());
    assert!(facts.home.starts_with('/') && facts.shell.starts_with('/') && !facts.user.is_empty());
    assert!(facts.boot_id.len() == 36 && !facts.machine_id.is_empty());
    assert!(facts.tmux_version.is_some_and(|version| version.contains('.')));
    assert_eq!((facts.tmux_problem, facts.tmux_hint), (None, None));
    let shell = bed.dir.with_file_name("shell");
    assert_eq!(
        (facts.shell.as_str(), facts.login_problem),
        (shell.to_str().unwrap(), None)
    );
    bed.client.ping(PingRequest {}).await.unwrap();
}

async fn input_and_outputs_are_bytes(mut bed: Bed) {
    let (sender, stream) = open(&mut bed, &["sh", "-c", "echo \"$GIVEN\" >&2; pwd >&2; exec cat"]).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let input = bytes.clone().into();
    sender
        .send(message(exec_request::Event::Stdin(input)))
        .await
        .unwrap();
    sender
        .send(message(exec_request::Event::StdinEof(true)))
        .await
        .unwrap();
    let done = finish(stream).await;
    assert_eq!(done.stdout, bytes);
    assert_eq!(done.stderr, b"a b\n/\n");
    assert_eq!(done.outcome.exit_code, Some(0));
}

async fn exit_codes_and_signals_come_back(mut bed: Bed) {
    let (_sender, stream) = open(&mut bed, &["sh", "-c", "exit 7"]).await;
    let outcome = finish(stream).await.outcome;
    assert_eq!((outcome.exit_code, outcome.signal), (Some(7), None));
    let (_sender, stream) = open(&mut bed, &["sh", "-c", "kill -KILL $$"]).await;
    let outcome = finish(stream).await.outcome;
    assert_eq!((outcome.exit_code, outcome.signal), (None, Some(9)));
}

async fn what_cannot_be_started_says_why(mut bed: Bed) {
    for (command, code) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
        let (_sender, stream) = open(&mut bed, &[command]).await;
        let outcome = finish(stream).await.outcome;
        assert_eq!(outcome.exit_code, Some(code), "{command}");
        assert!(outcome.reason.unwrap().contains(command));
    }
}

async fn much_data_goes_both_ways(mut bed: Bed) {
    const PIECES: usize = 512;
    let (sender, stream) = open(&mut bed, &["cat"]).await;
    let piece: Vec<u8> = (0..64 << 10).map(|n| (n % 251) as u8).collect();
    let sent = piece.clone();
    tokio::spawn(async move {
        for _ in 0..PIECES {
            let event = exec_request::Event::Stdin(sent.clone().into());
            sender.send(message(event)).await.unwrap();
        }
        sender
            .send(message(exec_request::Event::StdinEof(true)))
            .await
            .unwrap();
    });
    let done = finish(stream).await;
    assert!(
        done.stdout == piece.repeat(PIECES),
        "{} bytes came back",
        done.stdout.len()
    );
}

async fn a_hang_up_ends_the_whole_group(mut bed: Bed) {
    let script = "trap '' TERM; sleep 600 & echo $$ $!; wait; wait; sleep 600";
    let (sender, mut stream) = open(&mut bed, &["sh", "-c", script]).await;
    let pids = loop {
        let event = stream.message().await.unwrap().unwrap().event.unwrap();
        if let exec_response::Event::Stdout(bytes) = event {
            break String::from_utf8(bytes.to_vec()).unwrap();
        }
    };
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(*pid)));
    drop((sender, stream));
    eventually("the group to end", || !pids.iter().any(|pid| is_alive(*pid))).await;
}

async fn a_signal_reaches_the_group(mut bed: Bed) {
    let script = "trap 'echo got; exit 3' USR1; echo up; while :; do sleep 600 & wait; done";
    let (sender, mut stream) = open(&mut bed, &["sh", "-c", script]).await;
    while !matches!(
        stream.message().await.unwrap().unwrap().event,
        Some(exec_response::Event::Stdout(_))
    ) {}
    // USR1
    sender
        .send(message(exec_request::Event::Signal(10)))
        .await
        .unwrap();
    let done = finish(stream).await;
    assert_eq!(
        (done.stdout.as_slice(), done.outcome.exit_code),
        (b"got\n".as_slice(), Some(3))
    );
}

/// Bytes this process has written.
fn written(pid: u32) -> usize {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let wchar = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    wchar.unwrap().parse().unwrap()
}

fn is(pid: u32, state: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with(state)
}

async fn started(stream: &mut Streaming<ExecResponse>) -> u32 {
    match stream.message().await.unwrap().unwrap().event {
        Some(exec_response::Event::Started(started)) => started.pid,
        other => panic!("{other:?}"),
    }
}

/// Runs a program that leaves something behind that writes nothing and holds its outputs, which takes as long as late
/// output is waited for.
async fn wait_for_late_output(bed: &mut Bed) {
    let (_sender, stream) = open(bed, &["sh", "-c", "sleep 600 & echo $!"]).await;
    let done = finish(stream).await;
    assert_eq!(done.outcome.exit_code, Some(0));
    kill(String::from_utf8(done.stdout).unwrap().trim().parse().unwrap());
}

async fn what_was_written_before_the_end_waits_for_a_slow_reader(mut bed: Bed) {
    // Pieces that a pipe takes wholly or not at all, so that what is counted is what was written.
    let (sender, mut stream) = open(&mut bed, &["dd", "if=/dev/zero", "bs=4096"]).await;
    let pid = started(&mut stream).await;
    // Not looked at for long enough, everything on the way is full.
    let (seen, looks) = (Cell::new(0), Cell::new(0));
    eventually("the program to be held up", || {
        let now = written(pid);
        looks.set(if now == seen.replace(now) {
            looks.get() + 1
        } else {
            0
        });
        now > 0 && looks.get() > 20 && is(pid, "S")
    })
    .await;
    let signal = async |number| {
        sender
            .send(message(exec_request::Event::Signal(number)))
            .await
            .unwrap();
    };
    // STOP, so that it is known what it wrote, and KILL.
    signal(19).await;
    eventually("the program to stop", || is(pid, "T")).await;
    let wrote = written(pid);
    signal(9).await;
    eventually("the end of the program", || !is_alive(pid)).await;
    wait_for_late_output(&mut bed).await;
    let done = finish(stream).await;
    assert_eq!((done.stdout.len(), done.outcome.signal), (wrote, Some(9)));
}

async fn a_child_that_writes_for_ever_is_no_reason_to_stay(mut bed: Bed) {
    let (_sender, stream) = open(&mut bed, &["sh", "-c", "yes & echo $! >&2"]).await;
    let done = finish(stream).await;
    assert_eq!(done.outcome.exit_code, Some(0));
    let pid = String::from_utf8(done.stderr).unwrap().trim().parse().unwrap();
    eventually("the end of what is not heard any more", || !is_alive(pid)).await;
}

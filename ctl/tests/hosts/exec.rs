//! Programs on hosts, in the foreground, for as long as somebody is there.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

use outlast_client::v1::{
    self, Error, ErrorKind, ExecHostRequest, ExecHostResponse, exec_host_request::Event as Said,
    exec_host_response::Event as Tell,
};
use outlast_testkit::{DEADLINE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::fake::{Fake, Heard, Script, finish, outlast, talk};

pub type Answers = mpsc::Sender<Result<ExecHostResponse, Status>>;

pub async fn tell(answers: &Answers, event: Tell) {
    let _ = answers.send(Ok(ExecHostResponse { event: Some(event) })).await;
}

pub fn ended(exit_code: Option<i32>, signal: Option<i32>, reason: Option<&str>) -> Tell {
    Tell::Ended(v1::ExecEnded {
        exit_code,
        signal,
        reason: reason.map(str::to_owned),
    })
}

/// The next thing the client says. None when it hung up.
pub async fn hear(requests: &mut Streaming<ExecHostRequest>) -> Option<Said> {
    requests.message().await.ok().flatten()?.event
}

/// A daemon whose programs do what `program` does, with what was asked for first.
pub fn daemon<F>(
    program: impl Fn(Streaming<ExecHostRequest>, Answers) -> F + Send + 'static,
) -> (Fake, Heard<v1::ExecOpen>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let opened = Heard::default();
    let kept = Arc::clone(&opened);
    let program = Arc::new(Mutex::new(program));
    let fake = Fake::start(Script {
        exec_host: talk(move |mut requests, answers| {
            let (kept, program) = (Arc::clone(&kept), Arc::clone(&program));
            async move {
                let Some(Said::Open(open)) = hear(&mut requests).await else {
                    panic!("it does not begin with what to run")
                };
                kept.lock().unwrap().push(open);
                tell(&answers, Tell::Begun(v1::ExecBegun { pid: 42 })).await;
                let running = program.lock().unwrap()(requests, answers);
                running.await;
            }
        }),
        ..Script::default()
    });
    (fake, opened)
}

fn start(fake: &Fake, args: &[&str]) -> Child {
    let mut command = outlast(fake.home(), &["--no-start", "host", "exec"]);
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn stdin_goes_there_and_both_outputs_and_the_exit_code_come_back_to_the_byte() {
    let (fake, opened) = daemon(|mut requests, answers| async move {
        let mut size = 0;
        loop {
            match hear(&mut requests).await {
                Some(Said::Stdin(bytes)) => {
                    size += bytes.len();
                    assert!(bytes.len() <= 1 << 20);
                    tell(&answers, Tell::Stdout(bytes)).await;
                }
                Some(Said::StdinEof(true)) => break,
                other => panic!("{other:?}"),
            }
        }
        tell(&answers, Tell::Stderr(format!("{size} bytes\n").into())).await;
        tell(&answers, ended(Some(7), None, None)).await;
    });
    let sent: Vec<u8> = (0..1_000_003_u32)
        .map(|n| u8::try_from((n.wrapping_mul(7919) >> 3) & 0xff).unwrap())
        .collect();
    let mut child = start(
        &fake,
        &[
            "build1",
            "-e",
            "A=b c",
            "--cwd",
            "/tmp",
            "--",
            "sh",
            "-c",
            "cat; exit 7",
            "--json",
            "",
        ],
    );
    let mut stdin = child.stdin.take().unwrap();
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let ran = finish(child);
    writer.join().unwrap();
    assert_eq!((ran.code, ran.err.as_str()), (7, "1000003 bytes\n"));
    assert!(ran.out == sent, "stdout differs");
    let open = opened.lock().unwrap().remove(0);
    assert_eq!(open.host, "build1");
    assert_eq!(open.command, ["sh", "-c", "cat; exit 7", "--json", ""]);
    assert_eq!(open.cwd.as_deref(), Some("/tmp"));
    assert_eq!(open.env, [("A".to_owned(), "b c".to_owned())].into());
    assert!(open.base_env.is_empty(), "what is here means nothing there");
    assert_eq!(open.terminal, None);
}

#[test]
fn on_this_machine_it_runs_here_with_what_is_set_here() {
    let (fake, opened) = daemon(|_requests, answers| async move {
        tell(&answers, ended(Some(0), None, None)).await;
    });
    let ran = fake.outlast(&["host", "exec", "local", "true"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = fake.outlast(&["host", "exec", "build1", "true"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let opened = opened.lock().unwrap();
    assert_eq!(opened[0].cwd.as_deref(), fake.home().path().to_str());
    assert!(opened[0].base_env.contains_key("PATH"));
    assert_eq!(opened[1].cwd, None);
    let ran = fake.outlast(&["host", "exec", "build1", "--cwd", "here", "true"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn the_exit_code_is_the_programs_or_that_of_a_shell_that_cannot_start_it() {
    for (exit_code, signal, reason, code, err) in [
        (Some(0), None, None, 0, ""),
        (Some(255), None, None, 255, ""),
        (None, Some(9), None, 137, ""),
        (
            Some(127),
            None,
            Some("no such program"),
            127,
            "error: nosuch: no such program\n",
        ),
        (
            Some(126),
            None,
            Some("permission denied"),
            126,
            "error: nosuch: permission denied\n",
        ),
    ] {
        let (fake, _) = daemon(move |_requests, answers| async move {
            tell(&answers, ended(exit_code, signal, reason)).await;
        });
        let ran = fake.outlast(&["host", "exec", "build1", "--", "nosuch"]);
        assert_eq!((ran.code, ran.err.as_str()), (code, err));
    }
}

#[test]
fn failures_of_its_own_are_125_and_say_what_survives() {
    for (error, code, err) in [
        (
            Error::new(ErrorKind::NotFound, "no host is called \"x\"").with_hint("outlast host list"),
            125,
            "error: no host is called \"x\"\nhint: outlast host list\n",
        ),
        (
            Error::new(ErrorKind::Unreachable, "host x is away: timed out"),
            125,
            "error: host x is away: timed out\nhint: work that survives a broken connection: \
             outlast run --host x -- CMD, or outlast session create\n",
        ),
        (
            Error::new(ErrorKind::Usage, "bad"),
            2,
            "error: bad\nhint: outlast host exec --help\n",
        ),
    ] {
        for begun in [false, true] {
            let error = error.clone();
            let fake = Fake::start(Script {
                exec_host: talk(move |_requests, answers: Answers| {
                    let error = error.clone();
                    async move {
                        if begun {
                            tell(&answers, Tell::Begun(v1::ExecBegun { pid: 42 })).await;
                            tell(&answers, Tell::Stdout("half".into())).await;
                        }
                        let _ = answers.send(Err(error.into_status())).await;
                    }
                }),
                ..Script::default()
            });
            let ran = fake.outlast(&["host", "exec", "x", "true"]);
            assert_eq!((ran.code, ran.err.as_str()), (code, err));
            assert_eq!(ran.text(), if begun { "half" } else { "" });
        }
    }
    // It is not asked for again: a program must not run twice.
    let (fake, opened) = daemon(|_requests, _answers| async {});
    let ran = fake.outlast(&["host", "exec", "x", "true"]);
    assert_eq!(ran.code, 125);
    assert!(
        ran.err.starts_with(
            "error: the connection to outlastd broke; how the program on host x ended is not known\n"
        ),
        "{}",
        ran.err
    );
    assert_eq!(opened.lock().unwrap().len(), 1);
}

pub fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A program that says that it runs and notes each signal; it ends by the one that is named.
fn trapped(last: i32, end: fn() -> Tell) -> (Fake, Heard<i32>, Arc<Mutex<bool>>) {
    let signals = Heard::default();
    let hung_up = Arc::new(Mutex::new(false));
    let (kept, gone) = (Arc::clone(&signals), Arc::clone(&hung_up));
    let (fake, _) = daemon(move |mut requests, answers| {
        let (signals, hung_up) = (Arc::clone(&kept), Arc::clone(&gone));
        async move {
            tell(&answers, Tell::Stdout("ready\n".into())).await;
            loop {
                match hear(&mut requests).await {
                    Some(Said::Signal(number)) => {
                        signals.lock().unwrap().push(number);
                        tell(&answers, Tell::Stdout("signal\n".into())).await;
                        if number == last {
                            tell(&answers, end()).await;
                        }
                    }
                    Some(_) => {}
                    None => {
                        *hung_up.lock().unwrap() = true;
                        return;
                    }
                }
            }
        }
    });
    (fake, signals, hung_up)
}

pub fn wait_line(child: &mut Child, line: &str) {
    assert_eq!(read_line(child), line);
}

pub fn read_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn the_first_ctrl_c_is_the_programs() {
    let (fake, signals, _) = trapped(2, || ended(Some(3), None, None));
    let mut child = start(&fake, &["build1", "x"]);
    wait_line(&mut child, "ready\n");
    send(&child, Signal::INT);
    let ran = finish(child);
    assert_eq!((ran.code, ran.err.as_str()), (3, ""), "it handled it");
    assert_eq!(*signals.lock().unwrap(), [2]);

    let (fake, signals, _) = trapped(15, || ended(None, Some(15), None));
    let mut child = start(&fake, &["build1", "x"]);
    wait_line(&mut child, "ready\n");
    send(&child, Signal::QUIT);
    wait_line(&mut child, "signal\n");
    send(&child, Signal::TERM);
    assert_eq!(finish(child).code, 143);
    assert_eq!(*signals.lock().unwrap(), [3, 15]);
}

#[test]
fn the_second_ctrl_c_within_a_second_leaves_and_the_daemon_hears_of_it() {
    let (fake, signals, hung_up) = trapped(0, || ended(Some(0), None, None));
    let mut child = start(&fake, &["build1", "x"]);
    wait_line(&mut child, "ready\n");
    send(&child, Signal::INT);
    wait_line(&mut child, "signal\n");
    // Again and again, because the machine may be too busy for two within a second.
    let stdout = child.stdout.take().unwrap();
    wait_until(DEADLINE, "the second Ctrl-C", || {
        send(&child, Signal::INT);
        child.try_wait().unwrap()
    });
    drop(stdout);
    let ran = finish(child);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (130, "left host build1; x is ended there\n")
    );
    assert!(signals.lock().unwrap().iter().all(|number| *number == 2));
    wait_until(DEADLINE, "the client to hang up", || {
        hung_up.lock().unwrap().then_some(())
    });
}

#[test]
fn a_program_that_reads_nothing_ends_while_stdin_goes_on() {
    let (fake, _) = daemon(|_requests, answers| async move {
        tell(&answers, ended(Some(4), None, None)).await;
    });
    let mut child = start(&fake, &["build1", "x"]);
    let stdin = child.stdin.take();
    assert_eq!(finish(child).code, 4);
    drop(stdin);
}

#[test]
fn nobody_reading_stdout_ends_it_quietly() {
    let (fake, _) = daemon(|_requests, answers| async move {
        while answers
            .send(Ok(ExecHostResponse {
                event: Some(Tell::Stdout(vec![b'y'; 100_000].into())),
            }))
            .await
            .is_ok()
        {}
    });
    let mut child = start(&fake, &["build1", "yes"]);
    drop(child.stdout.take());
    let ran = finish(child);
    assert_eq!((ran.code, ran.err.as_str()), (141, ""));
}

#[test]
fn for_programs_output_and_end_are_one_object_a_line() {
    let (fake, _) = daemon(|_requests, answers| async move {
        tell(&answers, Tell::Stdout("a\n".into())).await;
        tell(&answers, Tell::Stderr(vec![0xff].into())).await;
        tell(&answers, ended(None, Some(9), None)).await;
    });
    let ran = fake.outlast(&["--json", "host", "exec", "build1", "x"]);
    assert_eq!(ran.code, 137);
    let lines: Vec<serde_json::Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            json!({"kind": "output", "stream": "stdout", "data": "a\n", "data_base64": null}),
            json!({"kind": "output", "stream": "stderr", "data": null, "data_base64": "/w=="}),
            json!({"kind": "end", "exit_code": null, "signal": 9, "reason": null}),
        ]
    );
}

#[test]
fn a_daemon_that_goes_says_that_the_program_was_ended() {
    for (kind, begun, code, err) in [
        (
            ErrorKind::Restarting,
            true,
            125,
            "outlastd restarts; the program on host x was ended",
        ),
        (
            ErrorKind::Stopping,
            true,
            7,
            "outlastd stops; the program on host x was ended",
        ),
        (ErrorKind::Restarting, false, 125, "not now"),
    ] {
        let fake = Fake::start(Script {
            exec_host: talk(move |_requests, answers: Answers| async move {
                if begun {
                    tell(&answers, Tell::Begun(v1::ExecBegun { pid: 42 })).await;
                }
                let _ = answers.send(Err(Error::new(kind, "not now").into_status())).await;
            }),
            ..Script::default()
        });
        let ran = fake.outlast(&["host", "exec", "x", "true"]);
        let hint =
            "work that survives a broken connection: outlast run --host x -- CMD, or outlast session create";
        assert_eq!(
            (ran.code, ran.err),
            (code, format!("error: {err}\nhint: {hint}\n"))
        );
    }
}

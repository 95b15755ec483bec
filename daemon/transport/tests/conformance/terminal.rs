//! Programs on a terminal of their own.

use outlast_client::{
    helper_v1::{
        ExecRequest, ExecResponse, ExecStart, ExecTerminal, Size,
        exec_request::Event,
        exec_response::{self, Event as Said},
    },
    v1::ErrorKind,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::Streaming;

use crate::{
    bed::{Bed, DEADLINE, error, eventually, is_alive, kill},
    exec::{Done, finish, message, open_with},
    over_both,
};

over_both!(
    a_program_has_a_terminal_of_its_size,
    how_a_program_on_a_terminal_ended_is_told,
    a_flood_on_a_terminal_arrives_whole,
    keys_and_signals_reach_what_has_the_terminal,
    the_end_of_input_is_the_key_for_it,
    nothing_named_is_the_login_shell,
    a_hang_up_ends_what_had_the_terminal_and_spares_what_was_put_aside,
    what_has_no_size_is_refused,
    an_unknown_terminal_type_becomes_a_known_one,
);

fn start(command: &[&str]) -> ExecStart {
    ExecStart {
        command: command.iter().map(ToString::to_string).collect(),
        cwd: "/".to_owned(),
        terminal: Some(ExecTerminal {
            size: Some(Size {
                columns: 90,
                rows: 20,
            }),
            term: "vt100".to_owned(),
        }),
        ..ExecStart::default()
    }
}

struct Terminal {
    to: mpsc::Sender<ExecRequest>,
    from: Streaming<ExecResponse>,
    seen: String,
}

async fn open(bed: &mut Bed, start: ExecStart) -> Terminal {
    let (to, from) = open_with(bed, message(Event::Start(start))).await;
    Terminal {
        to,
        from,
        seen: String::new(),
    }
}

async fn run(bed: &mut Bed, script: &str) -> Terminal {
    open(bed, start(&["sh", "-c", script])).await
}

impl Terminal {
    async fn say(&self, event: Event) {
        self.to.send(message(event)).await.unwrap();
    }

    async fn types(&self, text: &str) {
        self.say(Event::Stdin(text.as_bytes().to_vec().into())).await;
    }

    /// Reads until this text was shown.
    async fn sees(&mut self, text: &str) {
        let found = timeout(DEADLINE, async {
            while !self.seen.contains(text) {
                let response = self.from.message().await.unwrap().expect("the stream ended");
                match response.event.unwrap() {
                    Said::Stdout(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                    Said::Started(_) => {}
                    other => panic!("{other:?} before {text:?}: {:?}", self.seen),
                }
            }
        });
        assert!(found.await.is_ok(), "never {text:?} in {:?}", self.seen);
    }

    async fn ends(self) -> Done {
        let mut done = timeout(DEADLINE, finish(self.from))
            .await
            .expect("it does not end");
        assert_eq!(done.stderr, b"");
        done.stdout.splice(0..0, self.seen.into_bytes());
        done
    }
}

fn text(done: &Done) -> String {
    String::from_utf8(done.stdout.clone()).unwrap()
}

async fn a_program_has_a_terminal_of_its_size(mut bed: Bed) {
    let script = "trap 'stty size; exit 5' WINCH; stty size </dev/tty; echo $TERM; tty; \
        ps -o pgid=,tpgid=,sid= -p $$ | tr -s ' '; echo ready; while :; do sleep 0.01; done";
    let mut terminal = run(&mut bed, script).await;
    terminal.sees("ready").await;
    terminal
        .say(Event::Size(Size {
            columns: 70,
            rows: 15,
        }))
        .await;
    let done = terminal.ends().await;
    let text = text(&done);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["20 90", "vt100"]);
    assert!(lines[2].starts_with("/dev/"), "{text}");
    let ids: Vec<&str> = lines[3].split_whitespace().collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{text}");
    assert_eq!(lines[4..], ["ready", "15 70"]);
    assert_eq!(done.outcome.exit_code, Some(5));
}

async fn how_a_program_on_a_terminal_ended_is_told(mut bed: Bed) {
    let done = run(&mut bed, "echo out; echo err >&2; exit 7").await.ends().await;
    assert_eq!(done.stdout, b"out\r\nerr\r\n");
    assert_eq!((done.outcome.exit_code, done.outcome.signal), (Some(7), None));
    let done = run(&mut bed, "kill -KILL $$").await.ends().await;
    assert_eq!((done.outcome.exit_code, done.outcome.signal), (None, Some(9)));
    let done = open(&mut bed, start(&["/no/such/program"])).await.ends().await;
    assert_eq!(done.outcome.exit_code, Some(127));
    let nowhere = ExecStart {
        cwd: "/no/such/directory".to_owned(),
        ..start(&["true"])
    };
    let done = open(&mut bed, nowhere).await.ends().await;
    assert_eq!(done.outcome.exit_code, Some(126));
    assert!(done.outcome.reason.unwrap().contains("/no/such/directory"));
}

async fn a_flood_on_a_terminal_arrives_whole(mut bed: Bed) {
    use std::fmt::Write as _;
    for _ in 0..3 {
        let done = run(&mut bed, "seq 1 100000; exit 3").await.ends().await;
        let mut wanted = String::new();
        (1..=100_000).for_each(|n| write!(wanted, "{n}\r\n").unwrap());
        assert!(
            text(&done) == wanted,
            "{} bytes instead of {}",
            done.stdout.len(),
            wanted.len()
        );
        assert_eq!(done.outcome.exit_code, Some(3));
    }
}

async fn keys_and_signals_reach_what_has_the_terminal(mut bed: Bed) {
    // With job control the second program has a process group of its own.
    let script = "set -m; trap 'echo no' USR1; echo ready; sh -c 'trap \"echo told; exit 3\" USR1 INT; echo in; \
        while :; do sleep 0.01; done'; echo code $?";
    for by_key in [true, false] {
        let mut terminal = run(&mut bed, script).await;
        terminal.sees("in\r\n").await;
        if by_key {
            terminal.types("\x03").await;
        } else {
            // USR1
            terminal.say(Event::Signal(10)).await;
        }
        let text = text(&terminal.ends().await);
        assert!(
            text.ends_with("told\r\ncode 3\r\n") && !text.contains("no\r\n"),
            "{text:?}"
        );
    }
}

async fn the_end_of_input_is_the_key_for_it(mut bed: Bed) {
    for (input, copied) in [("one\n", "one\r\n"), ("one\ntw", "one\r\ntw"), ("", "")] {
        let mut terminal = run(&mut bed, "stty -echo; echo ready; cat; echo; echo over").await;
        terminal.sees("ready\r\n").await;
        terminal.types(input).await;
        terminal.say(Event::StdinEof(true)).await;
        let text = text(&terminal.ends().await);
        assert_eq!(text, format!("ready\r\n{copied}\r\nover\r\n"), "{input:?}");
    }
}

async fn nothing_named_is_the_login_shell(bed: Bed) {
    let mut bed = bed.with_login_shell("/bin/sh".as_ref()).await;
    for login in [true, false] {
        let start = ExecStart {
            login,
            cwd: String::new(),
            ..start(&[])
        };
        let mut terminal = open(&mut bed, start.clone()).await;
        terminal.types("echo it is $0; pwd; exit 4\n").await;
        terminal.sees("it is -sh\r\n").await;
        let home = outlast_helper::facts::home();
        let done = terminal.ends().await;
        assert_eq!(done.outcome.exit_code, Some(4));
        let pipes = ExecStart {
            terminal: None,
            ..start
        };
        let (to, from) = open_with(&mut bed, message(Event::Start(pipes))).await;
        let input = b"echo it is $0; pwd; exit 4\n".to_vec().into();
        to.send(message(Event::Stdin(input))).await.unwrap();
        let done = finish(from).await;
        let text = text(&done);
        assert!(text.contains("it is -sh\n/"), "{text:?} {}", home.display());
        assert_eq!(done.outcome.exit_code, Some(4));
    }
}

async fn a_hang_up_ends_what_had_the_terminal_and_spares_what_was_put_aside(mut bed: Bed) {
    // All in process groups of their own: one put aside for good, one that leaves when told, one in front that never does.
    let script = "set -m; nohup sleep 600 >/dev/null 2>&1 & echo $!; sleep 600 & echo $!; \
        sh -c \"trap '' HUP TERM; echo \\$\\$ $$ ready; while :; do sleep 600; done\"; while :; do sleep 600; done";
    let mut terminal = run(&mut bed, script).await;
    terminal.sees("ready").await;
    let numbers = terminal
        .seen
        .split_whitespace()
        .filter_map(|word| word.parse().ok());
    let pids: Vec<u32> = numbers.collect();
    assert!(
        pids.len() == 4 && pids.iter().all(|pid| is_alive(*pid)),
        "{:?}",
        terminal.seen
    );
    // Before nohup has become it, a hang-up would end it.
    let name = format!("/proc/{}/comm", pids[0]);
    eventually("one is put aside", || {
        std::fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n")
    })
    .await;
    drop(terminal);
    eventually("the terminal is empty", || {
        !pids[1..].iter().any(|pid| is_alive(*pid))
    })
    .await;
    assert!(is_alive(pids[0]));
    kill(pids[0]);
}

async fn what_has_no_size_is_refused(mut bed: Bed) {
    for size in [None, Some(Size { columns: 0, rows: 20 })] {
        let mut start = start(&["true"]);
        start.terminal = Some(ExecTerminal {
            size,
            term: String::new(),
        });
        let (to, requests) = mpsc::channel(1);
        to.send(message(Event::Start(start))).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let refused = bed.client.exec(requests).await.err().unwrap();
        assert_eq!(error(&refused).0, ErrorKind::Usage);
    }
}

async fn an_unknown_terminal_type_becomes_a_known_one(mut bed: Bed) {
    let mut start = start(&["sh", "-c", "tput cols >/dev/null && echo $TERM"]);
    start.terminal.as_mut().unwrap().term = "xterm-nobody-has-this".to_owned();
    let (_to, mut from) = open_with(&mut bed, message(Event::Start(start))).await;
    let mut seen = String::new();
    let outcome = loop {
        match from.message().await.unwrap().unwrap().event.unwrap() {
            exec_response::Event::Stdout(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            exec_response::Event::Ended(outcome) => break outcome,
            _ => {}
        }
    };
    assert_eq!(
        (outcome.exit_code, seen.as_str()),
        (Some(0), "xterm-256color\r\n")
    );
}

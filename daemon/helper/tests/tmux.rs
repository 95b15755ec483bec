//! Our words through a real tmux.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use outlast_helper::{
    service::SessionConfig,
    tmux::{Client, Error, Place, Tmux, quote::Commands},
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use tempfile::TempDir;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

struct Server {
    tmux: Arc<Tmux>,
    client: Client,
    place: Place,
    temp: TempDir,
}

impl Server {
    async fn start() -> Self {
        let temp = tempfile::Builder::new()
            .prefix("ol")
            .rand_bytes(5)
            .tempdir_in("/tmp")
            .unwrap();
        let place = Place::choose(temp.path()).unwrap();
        let config = SessionConfig {
            history_limit: 1234,
            user_copy_mode_keys: false,
        };
        let tmux = Tmux::new(place.clone(), config, false);
        let client = tmux.connect().await.expect("these tests need tmux 3.2 or newer");
        Self {
            tmux,
            client,
            place,
            temp,
        }
    }

    fn file(&self, name: &str) -> String {
        self.temp.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let socket: &Path = &self.place.socket;
        let _ = std::process::Command::new("tmux")
            .arg("-S")
            .arg(socket)
            .arg("kill-server")
            .status();
    }
}

/// Bytes as people and attackers would write them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(1_u8..=255, 1..80),
        r#"[-;$~#%{}"'\\ \n\t=@:.()a-z]{1,40}"#.prop_map(String::into_bytes),
        Just(b"#(touch pwned)#{pid}%H%%begin 1 1 1\n%end 1 1 1\n; kill-server \\; $HOME ~root -x".to_vec()),
        Just(b";".to_vec()),
        Just(b"x\\;".to_vec()),
        "\\PC{1,20}".prop_map(String::into_bytes),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_argument_arrives_as_it_is() {
    let server = Server::start().await;
    let file = server.file("buffer");
    let client = server.client.clone();
    let runtime = tokio::runtime::Handle::current();
    let property = move || {
        let mut runner = TestRunner::default();
        runner
            .run(&bytes(), |bytes| {
                let commands = Commands::one([b"set-buffer".as_slice(), b"-b", b"x", b"--", &bytes])
                    .unwrap()
                    .then(["save-buffer", "-b", "x", &file])
                    .unwrap();
                let replies = runtime.block_on(client.run(commands)).unwrap();
                prop_assert_eq!(replies.len(), 2);
                prop_assert_eq!(std::fs::read(&file).unwrap(), bytes);
                Ok(())
            })
            .unwrap();
    };
    tokio::task::spawn_blocking(property).await.unwrap();
    // No reply was taken for another's.
    let answer = server
        .client
        .line(Commands::one(["display-message", "-p", "still here"]).unwrap())
        .await;
    assert_eq!(answer.unwrap(), "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_to_those_who_asked() {
    let server = Server::start().await;
    let asked: Vec<_> = (0..200)
        .map(|number| {
            let client = server.client.clone();
            tokio::spawn(async move {
                let text = format!("answer {number}");
                let say = Commands::one(["display-message", "-p", &text]).unwrap();
                if number % 3 == 0 {
                    let fail = say.then(["has-session", "-t", "=nobody"]).unwrap();
                    let after = fail.then(["display-message", "-p", "never"]).unwrap();
                    let refused = client.run(after).await.unwrap_err();
                    assert!(matches!(refused, Error::Refused(text) if text.contains("nobody")));
                } else {
                    assert_eq!(client.line(say).await.unwrap(), text);
                }
            })
        })
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_is_noticed_and_started_when_needed() {
    let server = Server::start().await;
    let mut view = server.tmux.view();
    view.wait_for(|view| view.up).await.unwrap();
    let new = [
        "new-session",
        "-d",
        "-s",
        "o-1",
        "--",
        "/bin/sh",
        "-c",
        "exec sleep 600",
    ];
    server.client.run(Commands::one(new).unwrap()).await.unwrap();
    view.wait_for(|view| view.sessions.get("o-1") == Some(&0))
        .await
        .unwrap();
    let kill = Commands::one(["kill-server"]).unwrap();
    // It may end before it has answered.
    let _ = server.client.run(kill).await;
    view.wait_for(|view| !view.up && view.sessions.is_empty())
        .await
        .unwrap();
    assert!(server.client.has_ended());
    let question = Commands::one(["list-sessions"]).unwrap();
    assert!(matches!(
        server.client.run(question.clone()).await,
        Err(Error::Gone)
    ));
    let client = server.tmux.connect().await.unwrap();
    client.run(question).await.unwrap();
    view.wait_for(|view| view.up).await.unwrap();
    let limit = client
        .line(Commands::one(["show-options", "-gv", "history-limit"]).unwrap())
        .await;
    assert_eq!(limit.unwrap(), "1234");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_client_that_ends_is_replaced() {
    let server = Server::start().await;
    let mut view = server.tmux.view();
    let new = [
        "new-session",
        "-d",
        "-s",
        "o-1",
        "--",
        "/bin/sh",
        "-c",
        "exec sleep 600",
    ];
    server.client.run(Commands::one(new).unwrap()).await.unwrap();
    view.wait_for(|view| view.sessions.len() == 1).await.unwrap();
    let pid = server
        .client
        .line(Commands::one(["list-clients", "-F", "#{client_pid}"]).unwrap())
        .await
        .unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    server.client.on_end().await;
    let client = server.tmux.connect().await.unwrap();
    let list = client
        .run(Commands::one(["list-clients"]).unwrap())
        .await
        .unwrap();
    assert_eq!(list.first().unwrap().lines.len(), 1);
    assert!(view.borrow_and_update().up && view.borrow().sessions.len() == 1);
}

/// A session in whose window a program showed `text`, all of which tmux has drawn: it has answered where the cursor is
/// after that.
async fn shown(server: &Server, name: &str, rows: &str, text: &[u8]) {
    const SCRIPT: &str =
        r#"stty -icanon -echo; cat "$0"; printf '\033[6n'; head -c 1 >"$0.drawn"; exec sleep 600"#;
    let file = server.file(name);
    std::fs::write(&file, text).unwrap();
    let new = ["new-session", "-d", "-s", name, "-x", "60", "-y", rows, "--"];
    let commands = Commands::one([&new[..], &["sh", "-c", SCRIPT, &file]].concat()).unwrap();
    server.client.run(commands).await.unwrap();
    let drawn = async {
        while !std::fs::read(format!("{file}.drawn")).is_ok_and(|read| !read.is_empty()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, drawn)
        .await
        .expect("the screen to be drawn");
}

/// What a process prints of the screen, and what the control client says, as one would print it.
async fn both(server: &Server, name: &str, flags: &[&str]) -> (String, String) {
    let target = format!("={name}:");
    let words = [&["capture-pane", "-p", "-t", &target], flags].concat();
    let capture = Commands::one(&words).unwrap().fenced();
    let replies = server.client.run(capture).await.unwrap();
    let [reply] = replies.as_slice() else {
        panic!("{replies:?}");
    };
    assert!(!reply.cut);
    let said: Vec<u8> = reply
        .lines
        .iter()
        .flat_map(|line| [line, b"\n".as_slice()].concat())
        .collect();
    let printed = server.tmux.process(words).await.unwrap();
    (
        String::from_utf8(printed).unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_is_the_same_over_the_control_client() {
    let server = Server::start().await;
    let text = "héllo 漢字 🎉 e\u{301} \u{a0}|\n\n   \tindented\n\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3m漢\x1b[48;5;9m \x1b[0m\n\
        \x1b(0lqqk\x1b(B\n\x1b]8;;http://localhost/\x1b\\link\x1b]8;;\x1b\\\n%end 1 1 1\n#{pid} %H \\033 \"$HOME\"\n\x1b[12;50Hover the edge of it";
    for (name, text, rows) in [
        ("main", text.to_owned(), "14"),
        ("alternate", format!("before\n\x1b[?1049h\x1b[H{text}"), "14"),
        ("scrolled", format!("{text}\n").repeat(9), "14"),
        ("empty", String::new(), "1"),
    ] {
        shown(&server, name, rows, text.as_bytes()).await;
        for flags in [&[][..], &["-e"]] {
            let (printed, said) = both(&server, name, flags).await;
            assert_eq!(said, printed, "{name} {flags:?}");
            assert!(
                text.is_empty() || said.contains("héllo 漢字 🎉 e\u{301}"),
                "{said}"
            );
        }
    }
}

/// The stamp that tmux gives to a command now: a time and a number.
fn stamp(server: &Server) -> (u64, u64) {
    let mut client = std::process::Command::new("tmux")
        .arg("-S")
        .arg(&server.place.socket)
        .args([
            "-C",
            "attach-session",
            "-t",
            "=keeper",
            "-f",
            "no-output,ignore-size",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"display-message -p now\n").unwrap();
    let stamp = BufReader::new(client.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let (time, number) = line
                .strip_prefix("%begin ")?
                .strip_suffix(" 1")?
                .split_once(' ')?;
            Some((time.parse().unwrap(), number.parse().unwrap()))
        });
    drop(stdin);
    client.wait().unwrap();
    stamp.expect("a reply of tmux")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_cannot_end_the_reply_that_shows_it() {
    const SECONDS: u64 = 60;
    const NUMBERS: u64 = 40;
    let server = Server::start().await;
    let (time, number) = stamp(&server);
    let mut text = format!("%begin {time} {number} 1\n");
    for time in time..time + SECONDS {
        for number in number..number + NUMBERS {
            text += &format!("%end {time} {number} 1\n");
        }
    }
    text += "the end";
    let rows = (SECONDS * NUMBERS + 2).to_string();
    shown(&server, "forger", &rows, text.as_bytes()).await;
    let (printed, said) = both(&server, "forger", &[]).await;
    let (last_time, last_number) = stamp(&server);
    assert!(
        last_time < time + SECONDS && last_number < number + NUMBERS,
        "the reply's own stamp was not on the screen"
    );
    assert!(
        said == format!("{text}\n"),
        "{} of {} bytes",
        said.len(),
        text.len()
    );
    assert!(said == printed);
    let answer = server
        .client
        .line(Commands::one(["display-message", "-p", "still here"]).unwrap())
        .await;
    assert_eq!(answer.unwrap(), "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fenced_answers_come_to_those_who_asked() {
    let server = Server::start().await;
    shown(&server, "shown", "3", b"on the screen").await;
    let asked: Vec<_> = (0..200)
        .map(|number| {
            let client = server.client.clone();
            tokio::spawn(async move {
                let text = format!("answer {number}");
                let target = if number % 3 == 0 { "=nobody" } else { "=shown" };
                let commands = Commands::one(["has-session", "-t", target])
                    .unwrap()
                    .then(["capture-pane", "-p", "-t", "=shown:"])
                    .unwrap()
                    .fenced()
                    .then(["display-message", "-p", &text])
                    .unwrap();
                let answer = client.run(commands).await;
                if number % 3 == 0 {
                    assert!(matches!(answer, Err(Error::Refused(text)) if text.contains("nobody")));
                } else {
                    let lines: Vec<_> = answer.unwrap().into_iter().map(|reply| reply.lines).collect();
                    let screen = vec![b"on the screen".to_vec(), Vec::new(), Vec::new()];
                    assert_eq!(lines, [vec![], screen, vec![text.into_bytes()]]);
                }
            })
        })
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
}

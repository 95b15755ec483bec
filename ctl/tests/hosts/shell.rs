//! Shells on hosts, which end with the terminal.

use std::sync::Arc;

use outlast_client::v1::{
    self, Error, ErrorKind, exec_host_request::Event as Said, exec_host_response::Event as Tell,
};
use outlast_testkit::{DEADLINE, Pty, wait_until};
use rustix::process::Signal;
use tokio::sync::Notify;

use crate::{
    exec::{daemon, ended, hear, tell},
    fake::{Fake, Heard, Script, outlast, talk},
};

/// What was said, as text: input as it is, sizes in brackets.
fn shell() -> (Fake, Heard<v1::ExecOpen>, Heard<String>) {
    let said = Heard::default();
    let kept = Arc::clone(&said);
    let (fake, opened) = daemon(move |mut requests, answers| {
        let said = Arc::clone(&kept);
        async move {
            tell(&answers, Tell::Stdout("there$ ".into())).await;
            while let Some(event) = hear(&mut requests).await {
                let text = match event {
                    Said::Stdin(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Said::Resize(size) => format!("[{}x{}]", size.columns, size.rows),
                    other => panic!("{other:?}"),
                };
                said.lock().unwrap().push(text.clone());
                match text.as_str() {
                    "\u{4}" => return tell(&answers, ended(Some(3), None, None)).await,
                    "!" => {
                        let error = Error::new(ErrorKind::Unreachable, "host build1 is away: timed out");
                        let _ = answers.send(Err(error.into_status())).await;
                        return;
                    }
                    _ => {
                        let shown = format!("<{}>", text.escape_debug());
                        tell(&answers, Tell::Stdout(shown.into())).await;
                    }
                }
            }
        }
    });
    (fake, opened, said)
}

fn at_terminal(fake: &Fake, args: &[&str]) -> Pty {
    let mut command = outlast(fake.home(), &["--no-start"]);
    command.args(args).env("TERM", "xterm-mine");
    Pty::start(&command)
}

#[test]
fn a_shell_has_the_terminal_until_it_ends() {
    let (fake, opened, said) = shell();
    let mut pty = at_terminal(&fake, &["host", "shell", "build1", "--cwd", "/srv"]);
    pty.wait_text("there$ ");
    let raw = pty.modes();
    pty.write(b"\x03");
    pty.wait_text("<\\u{3}>");
    pty.resize(100, 40);
    pty.wait_text("<[100x40]>");
    pty.write(b"\x04");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(3));
    assert_ne!(pty.modes().local_modes, raw.local_modes);
    assert_eq!(*said.lock().unwrap(), ["\u{3}", "[100x40]", "\u{4}"]);
    let open = opened.lock().unwrap().remove(0);
    assert!(open.command.is_empty() && open.base_env.is_empty());
    assert_eq!(open.cwd.as_deref(), Some("/srv"));
    let terminal = open.terminal.unwrap();
    let size = terminal.size.unwrap();
    assert_eq!(
        (size.columns, size.rows, terminal.term.as_str()),
        (80, 24, "xterm-mine")
    );
    // It ended by itself: nothing is drawn over what it left.
    assert!(!pty.text().contains("\u{1b}["), "{}", pty.text().escape_debug());
}

#[test]
fn escapes_of_a_shell_are_those_of_ssh() {
    let (fake, _, said) = shell();
    let mut pty = at_terminal(&fake, &["host", "shell", "build1"]);
    let before = pty.modes();
    pty.wait_text("there$ ");
    pty.write(b"~?");
    pty.wait_text("~.  leave");
    pty.write(b"~~x\r");
    pty.wait_text("<~x\\r>");
    pty.write(b"~.");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    pty.wait_text("left host build1; the shell is ended");
    assert_eq!(pty.modes().local_modes, before.local_modes);
    assert_eq!(said.lock().unwrap().concat(), "~x\r");
}

#[test]
fn a_shell_whose_connection_breaks_says_so_and_gives_the_terminal_back() {
    let (fake, _, _) = shell();
    let mut pty = at_terminal(&fake, &["host", "shell", "build1"]);
    let before = pty.modes();
    pty.wait_text("there$ ");
    pty.write(b"!");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(125));
    pty.wait_text("error: host build1 is away: timed out");
    pty.wait_text("outlast session create");
    assert_eq!(pty.modes().local_modes, before.local_modes);
    // It was on the main screen, where leaving the other one would move the cursor.
    assert!(
        !pty.text().contains("\u{1b}[?1049l"),
        "{}",
        pty.text().escape_debug()
    );

    let mut pty = at_terminal(&fake, &["host", "shell", "build1"]);
    let before = pty.modes();
    pty.wait_text("there$ ");
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn a_shell_without_a_terminal_names_what_does_without() {
    let (fake, opened, _) = shell();
    let ran = fake.outlast(&["host", "shell", "build1"]);
    assert_eq!((ran.code, ran.text().as_str()), (2, ""));
    assert!(
        ran.err.contains("hint: outlast host exec build1 -- CMD"),
        "{}",
        ran.err
    );
    assert!(opened.lock().unwrap().is_empty());
}

#[test]
fn a_shell_is_told_the_size_that_the_terminal_has_when_it_begins() {
    let (opened, begins, said) = (
        Heard::default(),
        Arc::new(Notify::new()),
        Heard::<(u32, u32)>::default(),
    );
    let (kept, begin, noted) = (Arc::clone(&opened), Arc::clone(&begins), Arc::clone(&said));
    let fake = Fake::start(Script {
        exec_host: talk(move |mut requests, answers| {
            let (opened, begin, said) = (Arc::clone(&kept), Arc::clone(&begin), Arc::clone(&noted));
            async move {
                let open = hear(&mut requests).await;
                opened.lock().unwrap().push(open);
                begin.notified().await;
                tell(&answers, Tell::Begun(v1::ExecBegun { pid: 42 })).await;
                let Some(Said::Resize(size)) = hear(&mut requests).await else {
                    panic!("no size comes")
                };
                said.lock().unwrap().push((size.columns, size.rows));
                tell(&answers, ended(Some(0), None, None)).await;
            }
        }),
        ..Script::default()
    });
    let mut pty = at_terminal(&fake, &["host", "shell", "build1"]);
    wait_until(DEADLINE, "the opening", || {
        (!opened.lock().unwrap().is_empty()).then_some(())
    });
    pty.resize(100, 40);
    begins.notify_one();
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(*said.lock().unwrap(), [(100, 40)]);
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_a_signal() {
    let (fake, _, said) = shell();
    let mut pty = at_terminal(&fake, &["host", "shell", "build1"]);
    pty.wait_text("there$ ");
    pty.stop();
    pty.write(b"a");
    wait_until(DEADLINE, "the input", || {
        (!said.lock().unwrap().is_empty()).then_some(())
    });
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
}

//! The live dashboard in a real terminal, over a real daemon.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use outlast_testkit::{Sandbox, Terminal, wait_until};

/// Answers each line with what it got, in colour. It reads keys, so nothing is known of whether it waits.
const ECHO: &str =
    "stty -icanon; echo ready; while read x; do printf '\\033[31mgot <%s>\\033[0m\\n' \"$x\"; done";

fn create(sandbox: &Sandbox, name: &str) {
    drop(
        sandbox
            .outlast(&["session", "create", name, "--", "sh", "-c", ECHO])
            .success(),
    );
    sandbox.wait_session(name, |state| state == "running");
}

/// Where the screen of the selected session begins: its heading.
fn pane<'a>(screen: &'a str, name: &str) -> Option<&'a str> {
    screen
        .split_once(&format!("\n{name} on local "))
        .map(|(_, pane)| pane)
}

#[test]
fn what_runs_is_seen_answered_attached_to_and_come_back_to() {
    let sandbox = Sandbox::new();
    create(&sandbox, "alpha");
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["top"]);
    let shown = |what: &str, fits: &dyn Fn(&str) -> bool| terminal.wait_screen(what, fits);
    shown("the first session and its screen", &|screen| {
        screen.contains("1 Sessions  1 ") && pane(screen, "alpha").is_some_and(|pane| pane.contains("ready"))
    });

    // What begins while it is looked at appears by itself, and what was selected stays so.
    create(&sandbox, "beta");
    shown("the second session", &|screen| {
        screen.contains("1 Sessions  2 ") && screen.contains("\nbeta ")
    });
    terminal.press(&["j"]);
    shown("the screen of beta", &|screen| pane(screen, "beta").is_some());

    // A line is sent, and what it comes to is seen without a key.
    terminal.type_text("shello");
    terminal.wait_text("to beta: hello");
    terminal.press(&["Enter"]);
    shown("the answer", &|screen| {
        screen.contains("sent to session beta")
            && pane(screen, "beta").is_some_and(|pane| pane.contains("got <hello>"))
    });

    // What is typed behind Enter is for the session. Leaving it comes back to the same place.
    terminal.press(&["Enter", "w", "o", "w", "Enter"]);
    shown("the session itself", &|screen| {
        screen.contains("got <wow>") && !screen.contains("1 Sessions")
    });
    terminal.press(&["C-b", "d"]);
    shown("the dashboard", &|screen| {
        screen.contains("detached from session beta")
            && pane(screen, "beta").is_some_and(|pane| pane.contains("got <wow>"))
    });

    terminal.type_text("/alp");
    shown("the filter at work", &|screen| {
        screen.contains("\nalpha ") && !screen.contains("\nbeta  ")
    });
    terminal.press(&["Escape"]);
    shown("everything again", &|screen| {
        screen.contains("\nbeta ") && !screen.contains("only with")
    });

    // Too small a terminal is no reason to die.
    terminal.resize(40, 10);
    shown("the small picture", &|screen| {
        screen.contains("5 Events") && screen.lines().count() <= 10
    });
    terminal.resize(12, 3);
    terminal.resize(80, 24);
    shown("the large picture", &|screen| {
        pane(screen, "beta").is_some() || pane(screen, "alpha").is_some()
    });

    // Without the daemon it goes on by itself.
    let killed = sandbox.kill_daemon().unwrap();
    wait_until(outlast_testkit::DEADLINE, "another daemon", || {
        sandbox.daemon_pid().filter(|pid| *pid != killed)
    });
    terminal.press(&["g", "c"]);
    terminal.wait_text("stop session alpha? y/n");
    terminal.press(&["y"]);
    shown("the end of alpha", &|screen| screen.contains("alpha  stopped"));

    terminal.press(&["q"]);
    assert_eq!(terminal.wait_exit(), 0);
    shown("the screen of before", &|screen| !screen.contains("Sessions"));
}

#[test]
fn what_a_program_asks_stands_beside_it() {
    let sandbox = Sandbox::new();
    let asks = r#"read -p "Deploy to production? [y/N] " a; sleep 600"#;
    let create = ["session", "create", "web", "--", "bash", "-c", asks];
    drop(sandbox.outlast(&create).success());
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["top"]);
    terminal.wait_screen("the question", |screen| {
        screen.contains("1 waits for you")
            && screen
                .lines()
                .any(|line| line.starts_with("web  waiting") && line.contains("Deploy to production? [y/N]"))
    });
    terminal.type_text("sy");
    terminal.wait_text("to web: y");
    terminal.press(&["Enter"]);
    terminal.wait_screen("that it was answered", |screen| !screen.contains("web  waiting"));
}

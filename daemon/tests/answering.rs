//! Answering a session from elsewhere: what is sent, what comes of it, what stands there, what was run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::fs;

use outlast_testkit::{DEADLINE, Sandbox, wait_until};
use serde_json::Value;
use support::cli::{create, json, outlast};

/// Asks twice, the second time when it is let, and ends with the second answer.
const AGENT: &str = r#"
    say() { echo "$*" >> "$OUTLAST_REPORTS"; }
    say waiting First?
    read -r answer
    say working "on $answer"
    while [ ! -e go ]; do sleep 0.05; done
    say waiting Second?
    read -r code
    exit "$code"
"#;

fn shows(sandbox: &Sandbox, name: &str, text: &str) {
    wait_until(DEADLINE, &format!("{text:?} on the screen"), || {
        let screen = outlast(sandbox, &["session", "peek", name]);
        screen.contains(text).then_some(())
    });
}

/// Copies so many raw bytes into the file `typed`.
fn reader(sandbox: &Sandbox, name: &str, asks: &str, count: usize) {
    let script =
        format!("stty raw -echo; printf '{asks}ready'; head -c {count} > typed; echo copied; sleep 600");
    create(sandbox, name, &["sh", "-c", &script]);
    shows(sandbox, name, "ready");
}

fn typed(sandbox: &Sandbox, name: &str) -> String {
    shows(sandbox, name, "copied");
    fs::read_to_string(sandbox.home().join("typed")).unwrap()
}

#[test]
fn what_a_program_says_after_an_answer_is_waited_for_across_a_killed_daemon() {
    let sandbox = Sandbox::new();
    create(&sandbox, "agent", &["sh", "-c", AGENT]);
    outlast(
        &sandbox,
        &[
            "session",
            "wait",
            "agent",
            "--until",
            "waiting",
            "--timeout",
            "20s",
        ],
    );
    let late = sandbox
        .outlast(&["session", "send", "agent", "yes", "--wait", "--timeout", "300ms"])
        .code(124);
    let resume = late
        .err()
        .lines()
        .find_map(|line| line.strip_prefix("hint: "))
        .unwrap()
        .to_owned();
    assert!(
        resume.starts_with("outlast session wait agent --until reacted --from "),
        "{resume}"
    );
    let words: Vec<&str> = resume.split(' ').skip(1).collect();
    let waiting = sandbox.spawn(&words);
    sandbox.kill_daemon().expect("one runs");
    fs::write(sandbox.home().join("go"), "").unwrap();
    assert_eq!(waiting.finish(DEADLINE).success().out(), "waiting: Second?\n");
    // It was so since, however often that is asked.
    assert_eq!(outlast(&sandbox, &words), "waiting: Second?\n");
    let ended = sandbox
        .outlast(&["session", "send", "agent", "3", "--wait", "--json"])
        .code(1);
    let told: Value = serde_json::from_str(&ended.out()).unwrap();
    assert_eq!(
        (&told["met"], &told["session"]["exit_code"]),
        (&false.into(), &3.into()),
        "{told}"
    );
    assert!(
        ended.err().contains("exited with exit code 3 before it rested"),
        "{ended:?}"
    );
}

#[test]
fn a_quick_answer_is_not_missed() {
    let sandbox = Sandbox::new();
    let script = r#"while read -r x; do echo "waiting got $x" >> "$OUTLAST_REPORTS"; done"#;
    create(&sandbox, "agent", &["sh", "-c", script]);
    for number in 0..10 {
        let text = number.to_string();
        let told = json(
            &sandbox,
            &[
                "session",
                "send",
                "agent",
                &text,
                "--wait",
                "--timeout",
                "20s",
                "--json",
            ],
        );
        assert_eq!(told["activity"], "waiting", "{told}");
        assert_eq!(told["message"], format!("got {number}"), "{told}");
        assert!(
            told["log_offset"].is_u64() && told["after_seq"].is_u64(),
            "{told}"
        );
    }
}

#[test]
fn what_rests_is_known_of_programs_that_say_nothing() {
    let sandbox = Sandbox::new();
    // Its own program, of which nothing is known but what it writes: it reads keys.
    create(
        &sandbox,
        "echo",
        &[
            "sh",
            "-c",
            "stty -icanon; while read -r x; do echo a; sleep 0.2; echo \"got $x\"; done",
        ],
    );
    let told = outlast(
        &sandbox,
        &["session", "send", "echo", "hi", "--wait", "--timeout", "20s"],
    );
    assert_eq!(told, "unknown\n");
    assert!(outlast(&sandbox, &["session", "peek", "echo"]).contains("got hi"));
    let waits = sandbox.spawn(&["session", "wait", "echo", "--until", "idle"]);
    waits.wait_error_line(|line| line.starts_with("nothing is known of what session echo does"));
    drop(waits);
    // A shell, which runs something for longer than anything is quiet, and says nothing meanwhile.
    create(&sandbox, "sh", &["bash", "--norc", "-i"]);
    outlast(
        &sandbox,
        &["session", "wait", "sh", "--until", "idle", "--timeout", "20s"],
    );
    let told = outlast(
        &sandbox,
        &[
            "session",
            "send",
            "sh",
            "sleep 1.5; echo do''ne",
            "--wait",
            "--timeout",
            "30s",
        ],
    );
    assert_eq!(told, "idle\n");
    assert!(outlast(&sandbox, &["session", "peek", "sh"]).contains("\ndone"));
}

#[test]
fn what_works_in_silence_after_the_echo_is_not_taken_for_resting() {
    let sandbox = Sandbox::new();
    let sent = |name: &str| {
        outlast(
            &sandbox,
            &["session", "send", name, "hi", "--wait", "--timeout", "60s"],
        )
    };
    // It says what it does, only not at once.
    let script = r#"
        say() { echo "$*" >> "$OUTLAST_REPORTS"; }
        say waiting First?
        read -r answer
        sleep 3
        say waiting Second?
        sleep 600
    "#;
    create(&sandbox, "agent", &["sh", "-c", script]);
    outlast(&sandbox, &["session", "wait", "agent", "--until", "waiting"]);
    assert_eq!(sent("agent"), "waiting: Second?\n");
    // It says nothing, and writes late: one that reads keys, and one that reads lines.
    for (name, mode, rests) in [("keys", "-icanon", "unknown\n"), ("lines", "icanon", "waiting\n")] {
        let script = format!("stty {mode}; while read -r x; do sleep 1; echo \"got $x\"; done");
        create(&sandbox, name, &["sh", "-c", &script]);
        assert_eq!(sent(name), rests);
        assert!(outlast(&sandbox, &["session", "peek", name]).contains("got hi"));
    }
}

#[test]
fn lines_are_pasted_and_a_line_is_typed() {
    let sandbox = Sandbox::new();
    let bracketed = "\x1b[200~one\rtwo\t3\x1b[201~\r";
    reader(&sandbox, "asks", "\\033[?2004h", bracketed.len() + 4);
    outlast(&sandbox, &["session", "send", "asks", "one\ntwo\t3"]);
    outlast(&sandbox, &["session", "send", "asks", "é4"]);
    assert_eq!(typed(&sandbox, "asks"), format!("{bracketed}é4\r"));
    reader(&sandbox, "raw", "\\033[?2004h", 8);
    outlast(
        &sandbox,
        &["session", "send", "raw", "--raw", "one\n\ttwo", "--no-enter"],
    );
    assert_eq!(typed(&sandbox, "raw"), "one\n\ttwo");
    reader(&sandbox, "plain", "", 8);
    let file = sandbox.home().join("text");
    fs::write(&file, "one\ntwo\n").unwrap();
    let file = file.display().to_string();
    outlast(&sandbox, &["session", "send", "plain", "--file", &file]);
    assert_eq!(typed(&sandbox, "plain"), "one\rtwo\r");
    fs::write(&file, b"\xff").unwrap();
    let refused = sandbox
        .outlast(&["session", "send", "plain", "--file", &file])
        .code(2);
    assert!(refused.err().contains("holds no UTF-8 text"), "{refused:?}");
}

#[test]
fn a_hyphen_that_was_meant_as_text_is_asked_back() {
    let sandbox = Sandbox::new();
    create(&sandbox, "ct", &["cat"]);
    let refused = sandbox
        .outlast(&["session", "send", "ct", "--no-enter", "-y"])
        .code(2);
    assert!(
        refused
            .err()
            .ends_with("hint: outlast session send ct --no-enter -- -y\n"),
        "{refused:?}"
    );
    outlast(&sandbox, &["session", "send", "ct", "--", "-y"]);
    shows(&sandbox, "ct", "-y\n-y");
    // Beside a text it is the flag that every command takes.
    outlast(&sandbox, &["session", "send", "ct", "hi", "-y"]);
    shows(&sandbox, "ct", "hi\nhi");
}

#[test]
fn cells_have_the_text_of_the_screen() {
    let sandbox = Sandbox::new();
    let script = "printf '\\033]0;my title\\007\\033[1;31mred\\033[0m 漢字 \\033[44mblue   \\033[0m\\r\\n\\r\\n\\033[7mlast\\033[0m >\\033[?25l'; sleep 600";
    create(&sandbox, "screen", &["sh", "-c", script]);
    shows(&sandbox, "screen", "last");
    let plain = outlast(&sandbox, &["session", "peek", "screen"]);
    let screen = wait_until(DEADLINE, "the title", || {
        let screen = json(&sandbox, &["session", "peek", "screen", "--cells"]);
        (screen["title"] == "my title").then_some(screen)
    });
    let lines = screen["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 24);
    let text = |line: &Value| -> String {
        let runs = line.as_array().unwrap().iter();
        runs.map(|run| run["text"].as_str().unwrap())
            .collect::<String>()
            .trim_end()
            .to_owned()
    };
    let all: Vec<String> = lines.iter().take(3).map(text).collect();
    let wanted: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(all, wanted);
    let red = &lines[0][0];
    assert_eq!(
        (&red["text"], &red["fg"], &red["bold"]),
        (&"red".into(), &serde_json::json!({"indexed": 1}), &true.into())
    );
    let blue = &lines[0][2];
    assert_eq!((&blue["text"], &blue["width"]), (&"blue   ".into(), &7.into()));
    assert_eq!(lines[0][1]["width"], 6);
    assert_eq!(lines[2][0]["reverse"], true);
    assert_eq!(
        screen["cursor"],
        serde_json::json!({"x": 6, "y": 2, "visible": false})
    );
    assert_eq!((&screen["columns"], &screen["rows"]), (&80.into(), &24.into()));
    let both = ["session", "peek", "screen", "--cells", "--ansi"];
    assert_eq!(sandbox.outlast(&both).exit(), 2);
}

#[test]
fn a_menu_is_answered_by_a_key_and_no_text_accepts_what_is_highlighted() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        r"
        [providers.mine]
        binary = 'sh'
        [[providers.mine.screen]]
        name = 'choice'
        doing = 'waiting'
        menu = true
        last_lines = 2
        pattern = '\A(?P<message>Go on\?)\n> 1\. Yes\z'
        ",
    );
    let script =
        "stty raw -echo; printf 'Go on?\\r\\n> 1. Yes'; head -c 4 > typed; printf '\\r\\ncopied'; sleep 600";
    let home = sandbox.home().display().to_string();
    let new = [
        "session",
        "create",
        "mine",
        "--provider",
        "mine",
        "--cwd",
        &home,
        "--",
    ];
    outlast(&sandbox, &[&new[..], &["sh", "-c", script]].concat());
    let wait = [
        "session",
        "wait",
        "mine",
        "--until",
        "waiting",
        "--timeout",
        "20s",
    ];
    assert_eq!(outlast(&sandbox, &wait), "Go on?\n");
    for text in ["no", "yes, do"] {
        let refused = sandbox.outlast(&["session", "send", "mine", text]).code(4);
        assert!(refused.err().contains("shows a menu"), "{refused:?}");
        assert!(refused.err().contains("session send mine --keys"), "{refused:?}");
    }
    // Neither of them brought anything to the program; of these, what is no menu any more gets its Enter.
    outlast(&sandbox, &["session", "send", "mine", "2"]);
    outlast(&sandbox, &["session", "send", "mine", "--raw", "no"]);
    assert_eq!(typed(&sandbox, "mine"), "2no\r");
    let shown = json(&sandbox, &["provider", "show", "mine", "--json"]);
    assert_eq!(shown["screen"][0]["menu"], true, "{shown}");
}

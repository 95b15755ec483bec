//! What was run in a session and what that printed, in the shells that there are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Sandbox, wait_until};
use serde_json::Value;
use support::cli::{create, json, outlast};

/// Marks as users make them: the shell says nothing of its commands but where they are.
const MARKS: &str = "PROMPT_COMMAND='printf \"\\e]133;D;%s\\a\" $?'\nPS1='\\[\\e]133;A\\a\\]$ \\[\\e]133;B\\a\\]'\nPS0='\\e]133;C\\a'\n";

/// Starts a shell that is at its prompt.
fn shell(sandbox: &Sandbox, name: &str, command: &[&str]) {
    create(sandbox, name, command);
    outlast(
        sandbox,
        &["session", "wait", name, "--until", "idle", "--timeout", "20s"],
    );
}

fn send(sandbox: &Sandbox, name: &str, text: &str) {
    outlast(
        sandbox,
        &["session", "send", name, text, "--wait", "--timeout", "20s"],
    );
}

/// A shell with marks.
fn marked(sandbox: &Sandbox, marks: &str) {
    let rc = sandbox.home().join("rc");
    fs::write(&rc, marks).unwrap();
    shell(
        sandbox,
        "sh",
        &["bash", "--rcfile", &rc.display().to_string(), "-i"],
    );
}

/// Waits until the history is that.
fn comes_to(sandbox: &Sandbox, name: &str, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(kind, text)| (kind.to_string(), text.to_string()))
        .collect();
    let mut last = Vec::new();
    let told = || {
        let (entries, _) = history(sandbox, &[name]);
        last = entries.into_iter().map(|(kind, text, _)| (kind, text)).collect();
        (last == wanted).then_some(())
    };
    wait_until(DEADLINE, &format!("{wanted:#?}"), told);
}

/// Of each entry kind, text and exit code.
fn history(sandbox: &Sandbox, args: &[&str]) -> (Vec<(String, String, Value)>, Value) {
    let told = json(sandbox, &[&["session", "history", "--json"], args].concat());
    let entries = told.as_array().unwrap().iter();
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let entries = entries.map(|entry| {
        (
            word(entry, "kind"),
            word(entry, "text"),
            entry["exit_code"].clone(),
        )
    });
    (entries.collect(), told)
}

#[test]
fn a_shell_with_marks_has_a_history_with_codes() {
    let sandbox = Sandbox::new();
    marked(&sandbox, MARKS);
    for line in ["echo hello", "printf 'a\\nb\\n'; (exit 3)"] {
        send(&sandbox, "sh", line);
    }
    let (entries, told) = history(&sandbox, &["sh"]);
    // As text, it says the same to a file as to a terminal.
    assert_eq!(
        outlast(&sandbox, &["session", "history", "sh"]),
        "$ echo hello  [exit 0]\nhello\n$ printf 'a\\nb\\n'; (exit 3)  [exit 3]\na\nb\n"
    );
    let entry = |kind: &str, text: &str, code: Value| (kind.to_owned(), text.to_owned(), code);
    let wanted = [
        entry("command", "echo hello", 0.into()),
        entry("output", "hello\n", Value::Null),
        entry("command", "printf 'a\\nb\\n'; (exit 3)", 3.into()),
        entry("output", "a\nb\n", Value::Null),
    ];
    assert_eq!(entries, wanted);
    assert!(
        told[0]["duration_s"].is_number() && told[0]["at"].is_string(),
        "{told}"
    );
    // Page by page, until one is empty.
    let mut pages = Vec::new();
    let mut before = Vec::new();
    loop {
        let args = [
            &["sh", "--limit", "2"][..],
            &before.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat();
        let (page, told) = history(&sandbox, &args);
        let Some(first) = told.get(0) else { break };
        before = vec!["--before".to_owned(), first["id"].as_str().unwrap().to_owned()];
        pages.push(page);
    }
    assert_eq!(pages, [&wanted[2..], &wanted[..2]]);
    let (late, _) = history(&sandbox, &["sh", "--after", told[1]["id"].as_str().unwrap()]);
    assert_eq!(late, wanted[2..]);
    // An answer to what runs does not end that.
    let running = |told: &Value| told[0]["running"].clone();
    let asks = "read -r answer; echo \"got $answer\"; (exit 4)";
    outlast(&sandbox, &["session", "send", "sh", asks]);
    wait_until(DEADLINE, "the command that runs", || {
        let (last, told) = history(&sandbox, &["sh", "--limit", "2"]);
        (last[0].1 == asks && running(&told) == true).then_some(())
    });
    outlast(
        &sandbox,
        &["session", "send", "sh", "yes", "--wait", "--timeout", "20s"],
    );
    let (last, told) = history(&sandbox, &["sh", "--limit", "4"]);
    assert_eq!(running(&told), false);
    assert!(told[0]["duration_s"].is_number(), "{told}");
    let wanted = [
        entry(
            "command",
            "read -r answer; echo \"got $answer\"; (exit 4)",
            4.into(),
        ),
        entry("output", "yes\ngot yes\n", Value::Null),
        entry("command", "yes", Value::Null),
        entry("output", "got yes\n", Value::Null),
    ];
    assert_eq!(last, wanted);
    // It outlives the program.
    outlast(&sandbox, &["session", "send", "sh", "exit"]);
    outlast(&sandbox, &["session", "wait", "sh", "--timeout", "20s"]);
    let (_, told) = history(&sandbox, &["sh", "--limit", "2"]);
    assert_eq!((&told[0]["text"], running(&told)), (&"exit".into(), false.into()));
    assert_eq!(
        outlast(
            &sandbox,
            &["session", "history", "sh", "--commands", "--limit", "3"]
        ),
        "read -r answer; echo \"got $answer\"; (exit 4)  [exit 4]\nyes\nexit\n"
    );
    let refused = sandbox
        .outlast(&["session", "history", "sh", "--before", "x"])
        .code(2);
    assert!(refused.err().contains("no id"), "{refused:?}");
    assert!(
        refused
            .err()
            .contains("hint: outlast session history NAME --json has the ids"),
        "{refused:?}"
    );
}

#[test]
fn a_shell_that_does_not_mark_what_runs_has_a_history_with_codes() {
    let sandbox = Sandbox::new();
    // As many are configured.
    let marks: Vec<&str> = MARKS.lines().take(2).collect();
    marked(&sandbox, &marks.join("\n"));
    let lines = "printf 'a\\n'\necho b; (exit 3)";
    for text in ["echo hello; false", "", lines, "sleep 1; echo late"] {
        send(&sandbox, "sh", text);
    }
    let (entries, told) = history(&sandbox, &["sh"]);
    let entry = |kind: &str, text: &str, code: Value| (kind.to_owned(), text.to_owned(), code);
    let wanted = [
        entry("command", "echo hello; false", 1.into()),
        entry("output", "hello\n", Value::Null),
        entry("command", lines, 3.into()),
        entry("output", "a\nb\n", Value::Null),
        entry("command", "sleep 1; echo late", 0.into()),
        entry("output", "late\n", Value::Null),
    ];
    assert_eq!(entries, wanted);
    let took = told[4]["duration_s"].as_f64().unwrap();
    assert!((0.9..10.0).contains(&took), "{told}");
    // It is known while it runs, with what is answered.
    let asks = "read -r answer; echo \"got $answer\"";
    outlast(&sandbox, &["session", "send", "sh", asks]);
    wait_until(DEADLINE, "the command that runs", || {
        let (last, told) = history(&sandbox, &["sh", "--limit", "2"]);
        (last[0].1 == asks && told[0]["running"] == true).then_some(())
    });
    send(&sandbox, "sh", "yes");
    let (last, _) = history(&sandbox, &["sh", "--limit", "4"]);
    let wanted = [
        entry("command", asks, 0.into()),
        entry("output", "yes\ngot yes\n", Value::Null),
        entry("command", "yes", Value::Null),
        entry("output", "got yes\n", Value::Null),
    ];
    assert_eq!(last, wanted);
}

#[test]
fn a_command_that_prints_nothing_takes_its_time() {
    let sandbox = Sandbox::new();
    marked(&sandbox, MARKS);
    for line in ["sleep 1", "sleep 1; echo late"] {
        send(&sandbox, "sh", line);
    }
    let (_, told) = history(&sandbox, &["sh", "--commands"]);
    for entry in told.as_array().unwrap() {
        let took = entry["duration_s"].as_f64().unwrap();
        assert!((0.9..10.0).contains(&took), "{told}");
    }
}

#[test]
fn without_marks_what_was_sent_and_echoed_is_the_history() {
    let sandbox = Sandbox::new();
    shell(&sandbox, "sh", &["bash", "--norc", "-i"]);
    let sends = [
        "echo hello",
        "printf '\\033[?1049hmenu\\033[?1049lback\\n'",
        "read -rs secret; echo ok",
        "hunter2",
        "echo after",
    ];
    for line in sends {
        outlast(
            &sandbox,
            &["session", "send", "sh", line, "--wait", "--timeout", "20s"],
        );
    }
    let shown = outlast(&sandbox, &["session", "history", "sh"]);
    let wanted = "$ echo hello\nhello\n$ printf '\\033[?1049hmenu\\033[?1049lback\\n'\nback\n\
        [a full screen is left out]\n$ read -rs secret; echo ok\n\
        $ [what was sent was not shown]\nok\n$ echo after\nafter\n";
    assert_eq!(shown, wanted);
    // It stands nowhere: not in what was kept of the sending either.
    let found = std::process::Command::new("grep")
        .args(["-rl", "hunter2"])
        .arg(sandbox.state_dir())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

/// Sends several lines, a secret, a line that stays open and a long line.
const SENT: [&str; 5] = [
    "echo one\nprintf two\n{\n false; }",
    "read -rs secret; echo ok",
    "hunter2",
    "for x in 1 2\ndo echo $x\ndone\n(exit 4)",
    "echo after",
];

#[test]
fn many_line_ends_behind_a_secret_hold_nothing_up() {
    let sandbox = Sandbox::new();
    let script = "stty -echo; echo ready; read secret; yes '' | head -n 40000; echo over; read rest";
    let home = sandbox.home().display().to_string();
    let create = [
        "session", "create", "it", "--cwd", &home, "--", "sh", "-c", script,
    ];
    outlast(&sandbox, &create);
    let printed = |text| {
        let wait = [
            "session",
            "wait",
            "it",
            "--until",
            "output",
            "--from",
            "start",
            "--timeout",
            "20s",
        ];
        outlast(&sandbox, &[&wait[..], &["--match", text]].concat());
    };
    printed("ready");
    outlast(&sandbox, &["session", "send", "it", "hunter2"]);
    printed("over");
    // What is not shown is looked for meanwhile.
    for _ in 0..5 {
        let began = Instant::now();
        let (entries, _) = history(&sandbox, &["it"]);
        assert!(entries.iter().all(|(_, text, _)| !text.contains("hunter2")));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

fn send_all(sandbox: &Sandbox, name: &str) {
    for text in SENT {
        send(sandbox, name, text);
    }
}

#[test]
fn lines_that_are_pasted_into_a_shell_with_marks_are_commands_with_codes() {
    let sandbox = Sandbox::new();
    // As the manual says.
    let marks = MARKS.replace("133;C", "133;D;$?\\a\\e]133;C");
    marked(&sandbox, &marks);
    for text in [SENT[0], SENT[3], SENT[4]] {
        send(&sandbox, "sh", text);
    }
    let (entries, _) = history(&sandbox, &["sh", "--commands"]);
    let entries: Vec<_> = entries
        .iter()
        .map(|(_, text, code)| (text.as_str(), code.as_i64()))
        .collect();
    let wanted = [
        ("echo one", Some(0)),
        ("printf two", Some(0)),
        ("{\n false; }", Some(1)),
        ("for x in 1 2\ndo echo $x\ndone", Some(0)),
        ("(exit 4)", Some(4)),
        ("echo after", Some(0)),
    ];
    assert_eq!(entries, wanted);
}

#[test]
fn lines_that_are_pasted_into_other_shells_are_told_without_their_prompts() {
    let sandbox = Sandbox::new();
    for (name, program) in [("bash", &["bash", "--norc", "-i"][..]), ("zsh", &["zsh", "-f"])] {
        shell(&sandbox, name, program);
        send_all(&sandbox, name);
        // One marks it that it begins a line of its own, the other one does not.
        let printed = if name == "zsh" { "one\ntwo\n" } else { "one\ntwo" };
        comes_to(
            &sandbox,
            name,
            &[
                ("command", SENT[0]),
                ("output", printed),
                ("command", SENT[1]),
                ("output", ""),
                ("command", ""),
                ("output", "ok\n"),
                ("command", SENT[3]),
                ("output", "1\n2\n"),
                ("command", SENT[4]),
                ("output", "after\n"),
            ],
        );
    }
}

#[test]
fn a_long_command_is_told_whole() {
    let sandbox = Sandbox::new();
    let words: Vec<String> = (0..4300).map(|number| format!("word{number}")).collect();
    let long = format!("echo {} | wc -w", words.join(" "));
    assert!(long.len() > 35_000);
    fs::write(sandbox.home().join("long"), &long).unwrap();
    let file = sandbox.home().join("long").display().to_string();
    marked(&sandbox, MARKS);
    shell(&sandbox, "plain", &["bash", "--norc", "-i"]);
    for name in ["sh", "plain"] {
        outlast(
            &sandbox,
            &[
                "session",
                "send",
                name,
                "--file",
                &file,
                "--wait",
                "--timeout",
                "60s",
            ],
        );
        send(&sandbox, name, "echo after");
        comes_to(
            &sandbox,
            name,
            &[
                ("command", &long),
                ("output", "4300\n"),
                ("command", "echo after"),
                ("output", "after\n"),
            ],
        );
    }
}

//! What was typed wrong is told in one line, with what helps in another and the code of the contract.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use outlast_testkit::Sandbox;
use support::cli::{create, outlast};

/// Runs what is refused, with an exit code and in two lines. The hint, or what is wrong with the refusal.
fn refused(sandbox: &Sandbox, args: &[&str], code: i32) -> Result<String, String> {
    let ran = sandbox.outlast(args);
    let text = ran.err();
    let lines: Vec<&str> = text.lines().collect();
    let hint = match lines[..] {
        [error, hint] if error.starts_with("error: ") => hint.strip_prefix("hint: "),
        _ => None,
    };
    match hint {
        Some(hint) if !hint.is_empty() && ran.exit() == code && ran.stdout.is_empty() => Ok(hint.to_owned()),
        _ => Err(format!("{args:?} is to be refused with {code} and a hint: {ran}")),
    }
}

fn hint(sandbox: &Sandbox, args: &[&str], code: i32) -> String {
    refused(sandbox, args, code).unwrap()
}

#[test]
fn whatever_is_typed_wrong_is_told_with_what_helps() {
    let sandbox = Sandbox::new();
    create(&sandbox, "sh", &["cat"]);
    create(&sandbox, "over", &["true"]);
    outlast(&sandbox, &["session", "wait", "over", "--timeout", "20s"]);
    let long = "x".repeat(5000);
    let wrong: &[(&[&str], i32)] = &[
        (&["session", "create", "sh"], 4),
        (&["session", "create", &long], 2),
        (&["session", "create"], 2),
        (&["session", "create", "x", "--template", "nope"], 3),
        (&["session", "create", "x", "--provider", "nope"], 3),
        (&["session", "create", "x", "--cwd", "/no/such"], 2),
        (&["session", "create", "x", "-e", "=v"], 2),
        (&["session", "create", "x", "-e", "NOT_SET_ANYWHERE"], 2),
        (&["session", "create", "x", "--restart-command", ""], 2),
        (&["session", "create", "x", "--sync=nope"], 3),
        (&["session", "create", "x", "--", ""], 2),
        (&["session", "list", "--state", "nope"], 2),
        (&["session", "list", "extra"], 2),
        (&["session", "show", "nope"], 3),
        (&["session", "show", ""], 3),
        (&["session", "peek", "nope"], 3),
        (&["session", "peek", "sh", "--ansi", "--cells"], 2),
        (&["session", "send", "nope", "x"], 3),
        (&["session", "send", "sh"], 2),
        (&["session", "send", "sh", "--no-enter", ""], 2),
        (&["session", "send", "sh", "--keys", "Nope"], 2),
        (&["session", "send", "sh", "--file", "/no/such"], 1),
        (&["session", "send", "sh", "x", "--timeout", "1s"], 2),
        (&["session", "send", "over", "x"], 4),
        (&["session", "interrupt", "nope"], 3),
        (&["session", "interrupt", "over"], 4),
        (&["session", "logs", "nope"], 3),
        (&["session", "logs", "sh", "--from", "x", "-f"], 2),
        (&["session", "logs", "sh", "--from", "start"], 2),
        (&["session", "logs", "sh", "-n", "x"], 2),
        (&["session", "history", "nope"], 3),
        (&["session", "history", "sh", "--before", "x"], 2),
        (&["session", "history", "sh", "--after", ""], 2),
        (&["session", "history", "sh", "--limit", "0"], 2),
        (&["session", "history", "sh", "--commands", "--output"], 2),
        (&["session", "wait", "nope"], 3),
        (&["session", "wait", "sh", "--match", "x"], 2),
        (&["session", "wait", "sh", "--until", "nope"], 2),
        (&["session", "wait", "sh", "--until", "idle", "--from", "now"], 2),
        (&["session", "wait", "sh", "--until", "output", "--after", "1"], 2),
        (
            &["session", "wait", "sh", "--until", "output", "--match", &long],
            2,
        ),
        (&["session", "wait", "sh", "--timeout", "soon"], 2),
        (&["session", "wait", "sh", "--timeout", "10ms"], 124),
        (&["session", "wait", "over", "--until", "idle"], 1),
        (&["session", "stop", "nope"], 3),
        (&["session", "stop", "sh", "--grace", "x"], 2),
        (&["session", "restart", "nope"], 3),
        (&["session", "restart", "sh"], 4),
        (&["session", "restart"], 2),
        (&["session", "restart", "--all", "--state", "nope"], 2),
        (&["session", "recover", "nope"], 3),
        (&["session", "recover", "sh"], 4),
        (&["session", "recover", "over"], 4),
        (&["session", "delete", "nope"], 3),
        (&["session", "delete", "sh"], 4),
        (&["session", "attach", "sh"], 2),
        (&["attach", "nope"], 2),
        (&["session", "nope"], 2),
        (&["template", "show", "nope"], 3),
        (&["template", "show"], 2),
        (&["template", "check", "nope"], 3),
        (&["provider", "show", "nope"], 3),
        (&["provider", "check", "nope"], 3),
        (&["provider", "install", "nope"], 3),
        (&["provider", "install", "bash", "--yes"], 2),
        (&["provider", "uninstall", "nope"], 3),
        (&["notify", "test", "--to", "pager"], 2),
        (&["notify", "test", "--to", ""], 2),
        (&["top"], 2),
        (&["top", "nope"], 2),
        (&["job", "list", "--state", "nope"], 2),
        (&["job", "list", "--limit", "x"], 2),
        (&["events", "--kind", "nope"], 2),
        (&["run", "--timeout", "0s", "--", "true"], 2),
    ];
    let json = sandbox.outlast(&["session", "create", "a b", "--json"]).code(2);
    assert!(
        json.err().contains("\"hint\":\"outlast session create a-b\""),
        "{json}"
    );
    let bad = wrong
        .iter()
        .filter_map(|(args, code)| refused(&sandbox, args, *code).err());
    let bad: Vec<_> = bad.collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn hints_can_be_typed() {
    let sandbox = Sandbox::new();
    create(&sandbox, "sh", &["cat"]);
    for (args, wanted) in [
        (&["session", "create", "a b"][..], "outlast session create a-b"),
        (&["session", "create", ""], "outlast session create NAME"),
        (&["session", "create", "é"], "outlast session create NAME"),
        (
            &["run", "--name", "a/b", "--", "true"],
            "outlast run --name a-b -- COMMAND",
        ),
        (&["host", "add", "a b", "x"], "outlast host add a-b ADDRESS"),
        (
            &["session", "wait", "sh", "--until", "output", "--match", "("],
            r"to find it as it stands: outlast session wait NAME --until output --match '\('",
        ),
    ] {
        assert_eq!(hint(&sandbox, args, 2), wanted, "{args:?}");
    }
}

#[test]
fn a_host_that_there_is_not_is_no_filter() {
    let sandbox = Sandbox::new();
    create(&sandbox, "sh", &["cat"]);
    for args in [
        &["session", "list", "--host", "nope"][..],
        &["session", "list", "--host", "local,nope"],
        &["session", "create", "x", "--host", "nope"],
        &["job", "list", "--host", "nope"],
        &["run", "--host", "nope", "--", "true"],
        &["provider", "check", "claude", "--host", "nope"],
        &["provider", "install", "claude", "--host", "nope", "--yes"],
        &["host", "show", "nope"],
    ] {
        let code = if args[0] == "run" { 125 } else { 3 };
        assert_eq!(hint(&sandbox, args, code), "outlast host list", "{args:?}");
    }
    let subjects = hint(&sandbox, &["events", "--subject", "nope"], 3);
    assert!(subjects.contains("outlast host list"), "{subjects}");
    let listed = outlast(&sandbox, &["session", "list", "--host", "local", "--json"]);
    assert!(listed.contains("\"sh\""), "{listed}");
    assert_eq!(
        outlast(&sandbox, &["job", "list", "--host", "local", "--json"]),
        "[]\n"
    );
}

//! Providers: whether they can be used, and the hooks by which they report.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use outlast_client::v1::Activity;
use outlast_testkit::{Client, DEADLINE, Sandbox, run, write_program};
use serde_json::Value;

/// A program that has hooks as Claude Code has them: it runs the commands of events that are typed, `A+B`, with what is
/// typed behind them as their message.
const TOOL: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys
if sys.argv[1:] == ["--version"]:
    print("9.8.7 (Tool)"); sys.exit(0)
print("ready", flush=True)
for line in sys.stdin:
    events, _, message = line.strip().partition(" ")
    with open(os.path.expanduser("~/.claude/settings.json")) as file:
        hooks = json.load(file)["hooks"]
    input = {"command": message} if message else {}
    for event in events.split("+"):
        document = json.dumps({"hook_event_name": event, "message": message, "tool_name": "Bash", "tool_input": input})
        for hook in [hook for group in hooks.get(event, []) for hook in group["hooks"]]:
            subprocess.run(hook["command"], shell=True, input=document.encode(), check=True)
"#;

const CONFIG: &str = r#"
[providers.tool]
display_name = "Tool"
binary = "tool"
version_command = ["tool", "--version"]
environment = [["TOOL_KEY", "TOOL_TOKEN"]]
test_command = ["tool", "--version"]
hooks = "claude"
"#;

fn check(sandbox: &Sandbox, env: &[(&str, &str)], name: &str) -> (Value, i32) {
    let mut command = sandbox.command("outlast");
    command
        .args(["provider", "check", name, "--json"])
        .envs(env.iter().copied());
    let checked = run(command, DEADLINE);
    (checked.json(), checked.exit())
}

fn steps(checked: &Value) -> Vec<(String, bool)> {
    let steps = checked["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            (
                step["step"].as_str().unwrap().to_owned(),
                step["ok"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_check_says_what_is_there_and_what_is_not() {
    let sandbox = Sandbox::new();
    sandbox.configure(CONFIG);
    let (missing, code) = check(&sandbox, &[], "tool");
    assert_eq!((code, missing["ok"].as_bool()), (1, Some(false)), "{missing}");
    assert_eq!(steps(&missing)[0], ("binary".to_owned(), false), "{missing}");
    assert_eq!(missing["path"], Value::Null);
    let told = sandbox.outlast(&["provider", "check", "tool"]).code(1);
    assert!(
        told.err().contains("no such program in PATH") && told.err().contains("[providers.tool] binary"),
        "{told}"
    );

    let program = sandbox.bin().join("tool");
    write_program(&program, TOOL);
    let (unset, code) = check(&sandbox, &[], "tool");
    assert_eq!(
        (code, unset["version"].as_str()),
        (1, Some("9.8.7 (Tool)")),
        "{unset}"
    );
    assert_eq!(unset["problem"], "not set: TOOL_KEY or TOOL_TOKEN");

    let secret = "a-secret-that-nobody-sees";
    let (well, code) = check(&sandbox, &[("TOOL_TOKEN", secret)], "tool");
    assert_eq!((code, well["ok"].as_bool()), (0, Some(true)), "{well}");
    let all = ["binary", "executable", "version", "environment", "test"].map(|step| (step.to_owned(), true));
    assert_eq!(steps(&well), all, "{well}");
    assert_eq!(well["path"], program.display().to_string());
    assert!(
        well["took_ms"].is_number() && well["mean_ms"].is_number(),
        "{well}"
    );

    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    // Everything else is executable for the superuser, too.
    let (denied, code) = check(&sandbox, &[("TOOL_KEY", "x")], "tool");
    assert_eq!(code, 1, "{denied}");
    assert_eq!(steps(&denied)[1], ("executable".to_owned(), false), "{denied}");
    assert_eq!(denied["last_ok_at"], well["last_ok_at"], "it was well then");

    drop(sandbox.outlast(&["daemon", "restart"]).success());
    let shown = sandbox
        .outlast(&["provider", "show", "tool", "--json"])
        .success()
        .json();
    let kept = &shown["checks"][0];
    assert_eq!(
        (&kept["host"], &kept["ok"]),
        (&"local".into(), &false.into()),
        "{shown}"
    );
    assert_eq!(
        kept["mean_ms"], well["mean_ms"],
        "only tests that went well count"
    );
    assert!(!shown.to_string().contains(secret) && !well.to_string().contains(secret));
    let log = sandbox.outlast(&["daemon", "logs", "-n", "1000"]).success();
    assert!(!log.out().contains(secret), "{log}");
}

#[test]
fn providers_are_listed_with_those_of_the_user() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.config_dir().join("providers")).unwrap();
    fs::write(
        sandbox.config_dir().join("providers/mine.toml"),
        "display_name = 'Mine'\n",
    )
    .unwrap();
    sandbox.configure("[providers.claude]\nbinary = '/opt/claude'\n");
    let listed = sandbox.outlast(&["provider", "list", "--json"]).success().json();
    let listed = listed.as_array().unwrap();
    let names: Vec<&str> = listed.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "aider", "bash", "claude", "codex", "cursor", "gemini", "mine", "opencode"
        ]
    );
    let claude = &listed[2];
    assert_eq!(claude["binary"], "/opt/claude");
    assert_eq!(
        (&claude["built_in"], &claude["configured"]),
        (&true.into(), &true.into())
    );
    assert_eq!(listed[6]["display_name"], "Mine");
    let hooks = || {
        let listed = sandbox.outlast(&["provider", "list"]).success();
        let rows: Vec<Vec<String>> = listed
            .out()
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect();
        let of = |name: &str| rows.iter().find(|row| row[0] == name).unwrap()[3].clone();
        ["claude", "bash", "opencode"].map(of)
    };
    assert_eq!(hooks(), ["not installed", "", "not installed"]);
    drop(
        sandbox
            .outlast(&["provider", "install", "claude", "opencode", "--yes"])
            .success(),
    );
    assert_eq!(hooks(), ["installed", "", "installed"]);
    let settings = sandbox.home().join(".claude/settings.json");
    let newer = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, newer.replace(" --unless waiting", "")).unwrap();
    assert_eq!(hooks()[0], "outdated");
    fs::write(&settings, "{").unwrap();
    assert_eq!(hooks()[0], "unknown");
    let unknown = sandbox.outlast(&["provider", "show", "cluade"]).code(3);
    assert!(unknown.err().contains("claude"), "{unknown}");
}

#[test]
fn installed_hooks_report_and_are_taken_back_to_the_byte() {
    let sandbox = Sandbox::new();
    sandbox.configure(CONFIG);
    write_program(&sandbox.bin().join("tool"), TOOL);
    let settings = sandbox.home().join(".claude/settings.json");
    let before = "{\n    \"model\":\"opus\",  \"hooks\": {\"Stop\": []}\n}";
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, before).unwrap();

    let asked = sandbox.outlast(&["provider", "install", "tool"]).code(2);
    assert!(
        asked.err().contains("--yes") && asked.err().contains("+ "),
        "{asked}"
    );
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
    let done = sandbox
        .outlast(&["provider", "install", "tool", "--yes", "--json"])
        .success()
        .json();
    assert_eq!(
        (&done["changed"], done["path"].as_str().unwrap()),
        (&true.into(), settings.to_str().unwrap())
    );
    assert_eq!(
        fs::read_to_string(done["backup"].as_str().unwrap()).unwrap(),
        before
    );
    let again = sandbox
        .outlast(&["provider", "install", "tool", "--json"])
        .success()
        .json();
    assert_eq!(again["changed"], false);

    drop(
        sandbox
            .outlast(&["session", "create", "web", "--provider", "tool"])
            .success(),
    );
    let does = |activity| Client::new(&sandbox, DEADLINE).session("web", |web| web.activity() == activity);
    for (event, activity, message) in [
        ("UserPromptSubmit", Activity::Working, None),
        ("Notification May I?", Activity::Waiting, Some("May I?")),
        ("PostToolUse", Activity::Working, None),
        // What was asked stands, also when it is told once more and in other words.
        (
            "PermissionRequest+Notification make test",
            Activity::Waiting,
            Some("Bash: make test"),
        ),
        ("PostToolUse", Activity::Working, None),
        ("PermissionRequest", Activity::Waiting, Some("Bash")),
        ("Stop", Activity::Idle, None),
    ] {
        drop(sandbox.outlast(&["session", "send", "web", event]).success());
        let web = does(activity);
        assert_eq!(web.activity_source.as_deref(), Some("report"), "{event}");
        assert_eq!(web.activity_message.as_deref(), message, "{event}");
    }
    let told = sandbox
        .outlast(&["events", "--json", "--kind", "session.activity"])
        .success();
    assert!(
        told.out().contains("Bash: make test") && !told.out().contains("\"make test\""),
        "{told}"
    );

    drop(
        sandbox
            .outlast(&["provider", "uninstall", "tool", "--yes"])
            .success(),
    );
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
    assert_eq!(
        fs::read_dir(settings.parent().unwrap()).unwrap().count(),
        1,
        "the copy is gone"
    );
    let again = sandbox
        .outlast(&["provider", "uninstall", "tool", "--json"])
        .success()
        .json();
    assert_eq!(again["changed"], false);
}

#[test]
fn the_oldest_original_is_kept_and_said_where() {
    let sandbox = Sandbox::new();
    let settings = sandbox.home().join(".claude/settings.json");
    let backup = sandbox.home().join(".claude/settings.json.outlast-backup");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let change = |verb: &str| sandbox.outlast(&["provider", verb, "claude", "--yes"]).success();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let older = |path: &Path| fs::write(path, read(path).replace(" --unless waiting", "")).unwrap();

    let original = "{\"model\":\"opus\"}";
    fs::write(&settings, original).unwrap();
    drop(change("install"));
    older(&settings);
    let renewed = change("install");
    assert!(
        read(&settings).contains("--unless") && renewed.err().contains(".outlast-backup"),
        "{renewed}"
    );
    assert_eq!(read(&backup), original);

    fs::write(&settings, read(&settings).replace("opus", "sonnet")).unwrap();
    let gone = change("uninstall");
    assert!(gone.err().contains(&backup.display().to_string()), "{gone}");
    assert_eq!(read(&backup), original);
    drop(change("install"));
    assert_eq!(read(&backup), original, "the oldest");

    // Where nothing was before, what an older version wrote is no original.
    fs::remove_file(&backup).unwrap();
    fs::remove_file(&settings).unwrap();
    drop(change("install"));
    older(&settings);
    drop(change("install"));
    assert!(!backup.exists());
    drop(change("uninstall"));
    assert!(!settings.exists());
    // One of that kind was kept before.
    drop(change("install"));
    fs::copy(&settings, &backup).unwrap();
    older(&backup);
    drop(change("uninstall"));
    assert!(!settings.exists() && !backup.exists());
}

#[test]
fn a_configuration_that_cannot_be_understood_is_left_alone() {
    let sandbox = Sandbox::new();
    let settings = sandbox.home().join(".claude/settings.json");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    for broken in ["{", "[]", "{\"hooks\": 1}", "\u{0}"] {
        fs::write(&settings, broken).unwrap();
        let refused = sandbox
            .outlast(&["provider", "install", "claude", "--yes"])
            .code(4);
        assert!(
            refused.err().contains("settings.json") && refused.err().contains("hint: "),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&settings).unwrap(), broken);
    }
    fs::write(&settings, [0xff, 0xfe]).unwrap();
    drop(
        sandbox
            .outlast(&["provider", "install", "claude", "--yes"])
            .code(4),
    );
    let none = sandbox.outlast(&["provider", "install", "bash", "--yes"]).code(2);
    assert!(none.err().contains("no hooks for bash"), "{none}");
}

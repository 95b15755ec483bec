//! What is secret stays in the files that are for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use outlast_testkit::{DEADLINE, Sandbox, run, wait_until};

const GIVEN: &str = "canary-given-5b1f";
const INHERITED: &str = "canary-inherited-77aa";

fn holds_a_canary(bytes: &[u8]) -> bool {
    [GIVEN, INHERITED].iter().any(|canary| {
        let canary = canary.as_bytes();
        bytes.windows(canary.len()).any(|window| window == canary)
    })
}

fn files_beneath(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_beneath(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn variables_of_jobs_and_sessions_are_nowhere_but_in_their_specs() {
    let sandbox = Sandbox::new();
    sandbox.configure("[daemon]\nlog_level = \"trace\"\n");
    // The daemon is there before the secret is, as it is for most jobs.
    sandbox.start_daemon();
    let variable = format!("TOKEN={GIVEN}");
    let script = "test -n \"$TOKEN\" && test -n \"$INHERITED\" && echo both; exec sleep 1000";
    let ask = |args: &[&str]| {
        let mut command = sandbox.command("outlast");
        command.env("INHERITED", INHERITED).args(args);
        run(command, DEADLINE).success().word()
    };
    let job = ask(&["run", "-d", "-e", &variable, "--", "sh", "-c", script]);
    ask(&[
        "session", "create", "web", "-e", &variable, "--", "sh", "-c", script,
    ]);
    sandbox.wait_session("web", |state| state == "running");
    for noun in ["job", "session"] {
        let name = if noun == "job" { job.as_str() } else { "web" };
        wait_until(DEADLINE, "both variables to arrive", || {
            sandbox
                .outlast(&[noun, "logs", name])
                .out()
                .contains("both")
                .then_some(())
        });
    }

    for pid in sandbox.processes() {
        let argv = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(
            !holds_a_canary(&argv),
            "an argv of process {pid}: {}",
            String::from_utf8_lossy(&argv)
        );
    }
    for args in [
        &["events", "--json"][..],
        &["job", "show", &job, "--json"],
        &["session", "show", "web", "--json"],
        &["daemon", "logs"],
    ] {
        let answer = sandbox.outlast(args);
        assert!(
            !holds_a_canary(&answer.stdout) && !holds_a_canary(&answer.stderr),
            "{answer}"
        );
    }
    let tmux = sandbox.tmux(&["show-environment", "-g"]).success();
    assert!(!holds_a_canary(&tmux.stdout), "{tmux}");

    // Neither can it be tried out from what the database knows a repeated request by.
    let key = fs::metadata(sandbox.state_dir().join("request-key")).unwrap();
    assert_eq!((key.permissions().mode() & 0o777, key.len()), (0o600, 32));

    let mut files = Vec::new();
    files_beneath(sandbox.path(), &mut files);
    let mut specs = 0;
    for file in files {
        if !holds_a_canary(&fs::read(&file).unwrap_or_default()) {
            continue;
        }
        let is_spec = file.ends_with("spec") || file.parent().is_some_and(|dir| dir.ends_with("specs"));
        assert!(is_spec, "{} holds a secret", file.display());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        specs += 1;
    }
    assert!(
        specs >= 2,
        "the secrets are kept somewhere, else this test sees nothing"
    );
}

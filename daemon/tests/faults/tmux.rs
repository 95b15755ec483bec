//! tmux missing, too old, hostile, or killed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use outlast_testkit::{DEADLINE, Run, Sandbox, lines_in, run, wait_until};

/// A directory with the few programs that a daemon needs, and no tmux.
fn bare_path(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.path().join("bare");
    fs::create_dir(&dir).unwrap();
    for name in ["sh", "echo", "true", "cat"] {
        std::os::unix::fs::symlink(PathBuf::from("/bin").join(name), dir.join(name)).unwrap();
    }
    dir
}

fn outlast_with_path(sandbox: &Sandbox, path: &PathBuf, args: &[&str]) -> Run {
    let mut command = sandbox.command("outlast");
    command.env("PATH", path).args(args);
    run(command, DEADLINE)
}

#[test]
fn without_tmux_sessions_say_what_to_install_and_jobs_work() {
    let sandbox = Sandbox::new();
    let path = bare_path(&sandbox);
    let refused = outlast_with_path(&sandbox, &path, &["session", "create", "web"]).code(1);
    assert!(refused.err().contains("tmux"), "{refused}");
    assert!(refused.err().contains("install"), "{refused}");
    let ran = outlast_with_path(&sandbox, &path, &["run", "--", "echo", "hi"]).success();
    assert_eq!(ran.out(), "hi\n");
}

#[test]
fn a_tmux_that_is_too_old_is_named_with_its_version() {
    let sandbox = Sandbox::new();
    let path = bare_path(&sandbox);
    fs::write(path.join("tmux"), "#!/bin/sh\necho tmux 3.0\n").unwrap();
    fs::set_permissions(path.join("tmux"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = outlast_with_path(&sandbox, &path, &["session", "create", "web"]).code(1);
    for part in ["tmux", "3.0", "3.2"] {
        assert!(refused.err().contains(part), "{part:?} is missing: {refused}");
    }
    drop(outlast_with_path(&sandbox, &path, &["run", "--", "true"]).success());
}

#[test]
fn a_hostile_configuration_of_the_user_changes_nothing() {
    let sandbox = Sandbox::new();
    let pwned = sandbox.home().join("pwned");
    let hostile = format!(
        "run-shell 'touch {0}'\nset -g default-shell /bin/false\nset -g default-command 'touch {0}'\n\
         set -g remain-on-exit off\nset -s exit-empty on\nset -g history-limit 1\n\
         set-hook -g after-new-session 'kill-server'\nset-hook -g session-created 'run-shell \"touch {0}\"'\n\
         kill-server\n",
        pwned.display()
    );
    fs::write(sandbox.home().join(".tmux.conf"), &hostile).unwrap();
    fs::create_dir(sandbox.path().join("config/tmux")).unwrap();
    fs::write(sandbox.path().join("config/tmux/tmux.conf"), &hostile).unwrap();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--", "sh", "-c", "exit 6"])
            .success(),
    );
    let shown = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(shown["exit_code"], 6, "{shown}");
    drop(
        sandbox
            .outlast(&["session", "create", "other", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("other", |state| state == "running");
    assert!(!pwned.exists(), "the configuration was read");
}

#[test]
fn sessions_of_a_killed_tmux_server_are_lost_and_can_be_recovered() {
    let sandbox = Sandbox::new();
    let file = sandbox.home().join("ran");
    let script = "echo ran >>\"$1\"; exec cat";
    let create = [
        "session",
        "create",
        "web",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        file.to_str().unwrap(),
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    drop(sandbox.tmux(&["kill-server"]).success());
    let lost = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(lost["state"], "lost", "{lost}");
    assert_eq!(lost["reason"], "tmux server ended", "{lost}");

    let dry = sandbox
        .outlast(&["session", "recover", "web", "--dry-run"])
        .success();
    assert_eq!(lines_in(&file), 1, "a dry run started something: {dry}");
    drop(sandbox.outlast(&["session", "recover", "web"]).success());
    sandbox.wait_session("web", |state| state == "running");
    wait_until(DEADLINE, "the recovered program", || {
        (lines_in(&file) == 2).then_some(())
    });
    drop(
        sandbox
            .outlast(&["session", "send", "web", "still here"])
            .success(),
    );
    wait_until(DEADLINE, "the echo", || {
        sandbox
            .outlast(&["session", "peek", "web"])
            .success()
            .out()
            .contains("still here")
            .then_some(())
    });
}

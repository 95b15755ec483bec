//! A machine that boots again: everything is gone but the disk, and the kernel has another boot id.

use outlast_testkit::{Namespace, Sandbox, lines_in};

#[test]
fn after_a_reboot_what_was_lost_comes_back_when_asked() {
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
    let job = sandbox.outlast(&crate::SLEEPER).success().word();
    sandbox.wait_job(&job, |state| state == "running");
    let ended = sandbox
        .outlast(&["run", "-d", "--", "sh", "-c", "exit 4"])
        .success()
        .word();
    sandbox.wait_job(&ended, |state| state == "failed");

    sandbox.kill_everything();
    let boot = "echo 01234567-89ab-4def-8123-456789abcdef >\"$1/boot_id\"
        mount --bind \"$1/boot_id\" /proc/sys/kernel/random/boot_id";
    let namespace = Namespace::new(&sandbox, boot);
    let outlast = |args: &[&str]| namespace.outlast(&sandbox, args);
    drop(outlast(&["daemon", "start"]).success());

    let shown = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(shown["state"], "lost", "{shown}");
    assert_eq!(shown["reason"], "host rebooted", "{shown}");
    assert_eq!(
        outlast(&["job", "show", &ended, "--json"]).success().json()["exit_code"],
        4
    );
    let shown = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(shown["state"], "lost", "{shown}");
    assert_eq!(shown["reason"], "host rebooted", "{shown}");
    assert_eq!(lines_in(&file), 1, "it was brought back unasked");

    let dry = outlast(&["session", "recover", "--all", "--dry-run"]).success();
    assert!(format!("{dry}").contains("web"), "{dry}");
    assert_eq!(lines_in(&file), 1, "a dry run started something");
    drop(outlast(&["session", "recover", "--all", "--yes"]).success());
    sandbox.wait_session("web", |state| state == "running");
    outlast_testkit::wait_until(crate::PATIENCE, "the recovered program", || {
        (lines_in(&file) == 2).then_some(())
    });
}

//! Killed supervisors and missing programs: never a wrong state, never a hang.

use std::{fs, path::Path};

use outlast_testkit::{DEADLINE, Gone, Sandbox, program, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use crate::PATIENCE;

fn report(sandbox: &Sandbox, noun: &str, id: &str) -> Value {
    let path = sandbox.spool().unwrap().join(noun).join(id).join("report");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn hold(report: &Value, key: &str) -> Gone {
    let pid = u32::try_from(report[key].as_u64().unwrap()).unwrap();
    Gone::watch(pid).expect("it runs")
}

#[test]
fn a_job_whose_supervisor_is_killed_is_lost_and_gone() {
    let sandbox = Sandbox::new();
    let script = "echo started; trap '' TERM; while :; do sleep 1; done";
    let job = sandbox
        .outlast(&["run", "-d", "--", "sh", "-c", script])
        .success()
        .word();
    let waiter = sandbox.spawn(&["job", "wait", &job]);
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    follower.wait_line(|line| line == "started");
    let report = report(&sandbox, "jobs", &job);
    let program = hold(&report, "pid");
    hold(&report, "supervisor_pid").signal(Signal::KILL);
    let lost = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(lost["state"], "lost", "{lost}");
    assert_eq!(lost["reason"], "supervisor killed", "{lost}");
    assert!(program.within(DEADLINE), "the program outlives its supervisor");
    assert_ne!(waiter.finish(PATIENCE).exit(), 0);
    drop(follower.finish(PATIENCE));
}

#[test]
fn a_supervisor_killed_while_no_daemon_runs_is_found_out_later() {
    let sandbox = Sandbox::new();
    let job = sandbox.outlast(&crate::SLEEPER).success().word();
    sandbox.wait_job(&job, |state| state == "running");
    let report = wait_until(PATIENCE, "the report of the started program", || {
        Some(report(&sandbox, "jobs", &job)).filter(|report| report["pid"].is_u64())
    });
    let (supervisor, program) = (hold(&report, "supervisor_pid"), hold(&report, "pid"));
    sandbox.kill_daemon().unwrap();
    supervisor.signal(Signal::KILL);
    assert!(supervisor.within(DEADLINE));
    sandbox.start_daemon();
    let lost = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(lost["state"], "lost", "{lost}");
    assert!(program.within(DEADLINE), "the program outlives its supervisor");
}

#[test]
fn a_job_that_ended_while_no_daemon_ran_has_its_true_end() {
    let sandbox = Sandbox::new();
    let script = "while [ ! -e go-on ]; do sleep 0.05; done; echo last words; exit 5";
    let job = sandbox
        .outlast(&["run", "-d", "--", "sh", "-c", script])
        .success()
        .word();
    sandbox.wait_job(&job, |state| state == "running");
    let program = wait_until(PATIENCE, "the supervisor", || {
        Some(report(&sandbox, "jobs", &job)).filter(|report| report["pid"].is_u64())
    });
    let supervisor = hold(&program, "supervisor_pid");
    sandbox.kill_daemon().unwrap();
    fs::write(sandbox.home().join("go-on"), "").unwrap();
    assert!(supervisor.within(DEADLINE));
    drop(sandbox.outlast(&["job", "wait", &job]).code(5));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        "last words\n"
    );
}

#[test]
fn a_missing_helper_is_one_clear_error_and_no_hang() {
    let install = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["outlast", "outlastd"] {
        link(&program(name), &install.path().join(name));
    }
    let sandbox = Sandbox::with_programs(install.path().to_owned());
    let failed = sandbox.outlast(&["run", "--", "true"]).code(125);
    assert!(failed.err().contains("outlast-helper"), "{failed}");
    // With the helper in its place everything works, with no step in between.
    link(&program("outlast-helper"), &install.path().join("outlast-helper"));
    drop(sandbox.outlast(&["run", "--", "true"]).success());
}

/// Its supervisor has files of the directory open, and the kernel does not tell that such a directory is gone.
#[test]
fn a_running_job_whose_directory_is_removed_is_lost() {
    let sandbox = Sandbox::new();
    let job = sandbox.outlast(&crate::SLEEPER).success().word();
    sandbox.wait_job(&job, |state| state == "running");
    let waiter = sandbox.spawn(&["job", "wait", &job]);
    let dir = sandbox.spool().unwrap().join("jobs").join(&job);
    // Found lost while half of it is there, the job is ended, and its supervisor may write how into what is left.
    wait_until(DEADLINE, "the removal of the directory", || {
        (fs::remove_dir_all(&dir).is_ok() || !dir.exists()).then_some(())
    });
    let lost = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(lost["state"], "lost", "{lost}");
    assert_eq!(lost["reason"], "its directory is gone", "{lost}");
    assert_ne!(waiter.finish(PATIENCE).exit(), 0);
}

/// A lock that is gone says nothing about who has it.
#[test]
fn work_whose_lock_is_removed_goes_on_to_its_true_end() {
    let sandbox = Sandbox::new();
    let script = "while [ ! -e go-on ]; do sleep 0.05; done; exit 5";
    let job = sandbox
        .outlast(&["run", "-d", "--", "sh", "-c", script])
        .success()
        .word();
    let create = ["session", "create", "web", "--", "sh", "-c", script];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_job(&job, |state| state == "running");
    let session = sandbox.wait_session("web", |state| state == "running");
    let spool = sandbox.spool().unwrap();
    sandbox.kill_daemon().unwrap();
    fs::remove_file(spool.join("jobs").join(&job).join("lock")).unwrap();
    let id = session["id"].as_str().unwrap();
    fs::remove_file(spool.join("sessions").join(id).join("lock")).unwrap();
    // The next daemon judges both anew; it was started when that was done.
    sandbox.start_daemon();
    let shown = sandbox.outlast(&["session", "show", "web", "--json"]).success();
    assert_eq!(shown.json()["pid"], session["pid"], "{shown}");
    fs::write(sandbox.home().join("go-on"), "").unwrap();
    let ended = sandbox.wait_job(&job, |state| state != "running");
    assert_eq!(
        (&ended["state"], &ended["exit_code"]),
        (&"failed".into(), &5.into()),
        "{ended}"
    );
    let ended = sandbox.wait_session("web", |state| state != "running");
    assert_eq!(
        (&ended["state"], &ended["exit_code"]),
        (&"exited".into(), &5.into()),
        "{ended}"
    );
}

#[test]
fn a_job_that_cannot_be_started_can_be_cancelled() {
    let install = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["outlast", "outlastd", "outlast-helper"] {
        link(&program(name), &install.path().join(name));
    }
    let sandbox = Sandbox::with_programs(install.path().to_owned());
    sandbox.start_daemon();
    fs::remove_file(install.path().join("outlast-helper")).unwrap();
    let job = sandbox
        .outlast(&["run", "-d", "--", "touch", "ran"])
        .success()
        .word();
    let waiting = sandbox.wait_job(&job, |state| state == "queued");
    assert_eq!(waiting["id"], job.as_str());
    drop(sandbox.outlast(&["job", "cancel", &job]).success());
    sandbox.wait_job(&job, |state| state == "cancelled");
    link(&program("outlast-helper"), &install.path().join("outlast-helper"));
    drop(sandbox.outlast(&["run", "--", "true"]).success());
    assert!(!sandbox.home().join("ran").exists(), "it was started after all");
}

#[test]
fn a_missing_daemon_program_is_one_clear_error() {
    let install = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    link(&program("outlast"), &install.path().join("outlast"));
    let sandbox = Sandbox::with_programs(install.path().to_owned());
    let mut command = sandbox.command("outlast");
    command.args(["job", "list"]);
    let failed = run(command, DEADLINE).code(7);
    assert!(failed.err().contains("outlastd"), "{failed}");
}

fn link(from: &Path, to: &Path) {
    fs::hard_link(from, to).unwrap();
}

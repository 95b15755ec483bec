//! A configuration that is wrong keeps the daemon from starting, and says where.

use outlast_testkit::{DEADLINE, Sandbox, run};

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_what_was_meant() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_runing = 3\n");
    let failed = sandbox.outlast(&["daemon", "start"]);
    assert_ne!(failed.exit(), 0, "{failed}");
    for part in ["config.toml", "2", "max_runing", "max_running"] {
        assert!(failed.err().contains(part), "{part:?} is missing: {failed}");
    }
    assert_eq!(sandbox.daemon_pid(), None);
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_too() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_running = \"many\"\n");
    let mut command = sandbox.command("outlastd");
    command.arg("--check-config");
    let failed = run(command, DEADLINE);
    assert_ne!(failed.exit(), 0, "{failed}");
    assert!(failed.err().contains("max_running"), "{failed}");
}

#[test]
fn the_limit_of_running_jobs_queues_the_rest_in_order() {
    let sandbox = Sandbox::new();
    sandbox.configure("[jobs]\nmax_running = 1\n");
    let submit = |name| {
        sandbox
            .outlast(&["run", "-d", "--name", name, "--", "sleep", "1000"])
            .success()
            .word()
    };
    let (first, second, third) = (submit("first"), submit("second"), submit("third"));
    sandbox.wait_job(&first, |state| state == "running");
    for waiting in [&second, &third] {
        sandbox.wait_job(waiting, |state| state == "queued");
    }
    drop(sandbox.outlast(&["job", "cancel", &first]).success());
    sandbox.wait_job(&second, |state| state == "running");
    sandbox.wait_job(&third, |state| state == "queued");
}

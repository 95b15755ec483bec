//! Adding, forgetting and finding again; other ways than ssh; several daemons on one account.

use std::fs;

use outlast_testkit::{DEADLINE, Gone, Sandbox, wait_until};

use crate::bed::{add, far, names, seen};

/// A job that says who it is, and lives until it is told to end.
const LIVE: [&str; 3] = [
    "sh",
    "-c",
    "echo $$; while [ ! -e go-on ]; do sleep 0.05; done; echo end; exit 6",
];

fn detached(sandbox: &Sandbox, host: &str, name: &str) -> (String, Gone) {
    let run = [&["run", "-d", "--host", host, "--name", name, "--"], &LIVE[..]].concat();
    let job = sandbox.outlast(&run).success().word();
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    let pid = follower.wait_line(|line| !line.is_empty()).parse().unwrap();
    (job, Gone::watch(pid).expect("it runs"))
}

#[test]
fn a_host_with_work_is_forgotten_only_by_force_and_its_work_is_found_again() {
    let (sandbox, sshd) = far();
    let (job, program) = detached(&sandbox, "far", "long");
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    let refused = sandbox.outlast(&["host", "remove", "far", "--yes"]).code(4);
    assert!(refused.err().contains("--force"), "{refused}");
    drop(sandbox.outlast(&["host", "remove", "far", "--force"]).success());
    for noun in ["job", "session"] {
        let list = sandbox.outlast(&[noun, "list", "--json"]).success().json();
        assert_eq!(list.as_array().unwrap().len(), 0, "{list}");
    }
    assert!(!program.within(std::time::Duration::ZERO), "it was ended");
    drop(sandbox.outlast(&["host", "show", "far"]).code(3));
    let specs = names(&sandbox.state_dir().join("specs"));
    assert!(
        specs.is_empty(),
        "environments of what was forgotten stay: {specs:?}"
    );

    add(&sandbox);
    let found = wait_until(DEADLINE, "the job to be found again", || {
        let shown = sandbox.outlast(&["job", "show", "long", "--json"]);
        (shown.exit() == 0).then(|| shown.json())
    });
    assert_eq!(
        (&found["id"], &found["state"]),
        (&job.as_str().into(), &"running".into()),
        "{found}"
    );
    sandbox.wait_session("web", |state| state == "running");
    drop(
        sandbox
            .outlast(&["session", "send", "web", "hello again"])
            .success(),
    );
    wait_until(DEADLINE, "the echo", || {
        let peeked = sandbox.outlast(&["session", "peek", "web"]).success();
        peeked.out().contains("hello again").then_some(())
    });
    fs::write(sshd.home().join("go-on"), "").unwrap();
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));
    let log = sandbox.outlast(&["job", "logs", &job]).success().out();
    assert_eq!(log, format!("{}\nend\n", program.pid()));
    let again = sandbox.outlast(&["job", "retry", &job]).success().word();
    drop(sandbox.outlast(&["job", "wait", &again]).code(6));
}

#[test]
fn a_host_with_no_live_work_goes_with_its_word() {
    let (sandbox, _sshd) = far();
    drop(
        sandbox
            .outlast(&["run", "--host", "far", "--name", "short", "--", "true"])
            .success(),
    );
    let gone = sandbox.outlast(&["host", "remove", "far", "--yes"]).success();
    assert!(gone.err().contains("1 job"), "{gone}");
    drop(sandbox.outlast(&["job", "show", "short"]).code(3));
    drop(sandbox.outlast(&["run", "--host", "far", "--", "true"]).code(125));
}

#[test]
fn two_daemons_on_one_account_see_nothing_of_each_other() {
    let (one, sshd) = far();
    let two = Sandbox::new();
    let client = two.ssh();
    client.know(&sshd.known_line());
    client.add_config(&sshd.alias("far"));
    let keys = format!("{}{}", one.ssh().public_key(), client.public_key());
    fs::write(sshd.dir().join("authorized_keys"), keys).unwrap();
    add(&two);
    let (job, program) = detached(&one, "far", "same");
    let (other, _other_program) = detached(&two, "far", "same");
    for sandbox in [&one, &two] {
        drop(
            sandbox
                .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
                .success(),
        );
        sandbox.wait_session("web", |state| state == "running");
        for noun in ["job", "session"] {
            let list = sandbox.outlast(&[noun, "list", "--json"]).success().json();
            assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
        }
    }
    assert_ne!(job, other);
    drop(
        two.outlast(&["session", "delete", "web", "--force", "--yes"])
            .success(),
    );
    drop(two.outlast(&["job", "cancel", "same", "--grace", "0s"]).success());
    two.wait_job(&other, |state| state == "cancelled");
    drop(two.outlast(&["job", "prune", "--yes"]).success());
    drop(
        two.outlast(&["host", "remove", "far", "--yes", "--force"])
            .success(),
    );
    // Connected anew, nobody finds what is another's.
    drop(one.outlast(&["host", "check", "far"]).success());
    assert!(!program.within(std::time::Duration::ZERO));
    one.wait_session("web", |state| state == "running");
    one.wait_job(&job, |state| state == "running");
    let list = one.outlast(&["job", "list", "--json"]).success().json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
}

#[test]
fn a_command_that_leads_to_a_shell_makes_a_host() {
    let sandbox = Sandbox::new();
    let far = sandbox.path().join("box");
    for sub in ["home", "state", "cache"] {
        fs::create_dir_all(far.join(sub)).unwrap();
    }
    let at = |sub: &str| far.join(sub).display().to_string();
    let command = format!(
        "env HOME={} XDG_STATE_HOME={} XDG_CACHE_HOME={} sh",
        at("home"),
        at("state"),
        at("cache")
    );
    drop(
        sandbox
            .outlast(&["host", "add", "box", "--command", &command])
            .success(),
    );
    let shown = sandbox
        .outlast(&["host", "show", "box", "--json"])
        .success()
        .json();
    assert_eq!(
        (&shown["kind"], &shown["transport"]),
        (&"command".into(), &"command".into()),
        "{shown}"
    );
    let ran = sandbox.outlast(&["run", "--host", "box", "--", "pwd"]).success();
    assert_eq!(ran.word(), at("home"));
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "box", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    let (job, _program) = detached(&sandbox, "box", "long");
    // The command ends, and is run again.
    let serving = sandbox.processes().into_iter().filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"serve")
    });
    for process in serving.filter_map(Gone::watch) {
        process.signal(rustix::process::Signal::KILL);
        assert!(process.within(DEADLINE));
    }
    wait_until(DEADLINE, "the host to be back", || {
        (sandbox.outlast(&["host", "exec", "box", "--", "true"]).exit() == 0).then_some(())
    });
    sandbox.wait_job(&job, |state| state == "running");
    fs::write(far.join("home/go-on"), "").unwrap();
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));

    let wrong = sandbox
        .outlast(&["host", "add", "other", "--command", "sh -c 'echo no shell here'"])
        .code(6);
    println!("{wrong}");
    assert!(wrong.err().contains("no shell here"), "{wrong}");
    let missing = sandbox
        .outlast(&["host", "add", "other", "--command", "no-such-program"])
        .code(6);
    assert!(missing.err().contains("no-such-program"), "{missing}");
}

#[test]
fn what_carries_the_connection_is_chosen_by_need_and_shown() {
    let sandbox = Sandbox::new();
    let sshd = sandbox.sshd("far");
    sandbox.ssh().add_config(&sshd.alias("hop"));
    sandbox
        .ssh()
        .add_config(&format!("Host jumped\n  ProxyJump hop\n{}", sshd.alias("jumped")));
    let host = |name: &str, args: &[&str]| {
        drop(
            sandbox
                .outlast(&[&["host", "add", name], args].concat())
                .success(),
        );
        drop(sandbox.outlast(&["host", "exec", name, "--", "true"]).success());
        seen(&sandbox, name)["transport"].clone()
    };
    assert_eq!(host("plain", &["far"]), "ssh2");
    assert_eq!(host("wanted", &["far", "--transport", "ssh"]), "ssh");
    assert_eq!(host("jumped", &["jumped"]), "ssh");
    assert_eq!(host("over", &["far", "--jump", "hop"]), "ssh");
    let people = sandbox.outlast(&["host", "show", "jumped"]).success();
    assert!(people.out().contains("ssh"), "{people}");
}

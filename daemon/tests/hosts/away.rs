//! What people want of a host that is away: it is answered at once and done when the host is back, and what happened
//! there meanwhile is found.

use std::{
    fs,
    time::{Duration, Instant},
};

use outlast_client::v1::{
    Error, ErrorKind, SendSessionRequest, send_session_request::Input,
    session_service_client::SessionServiceClient,
};
use outlast_testkit::{Client, DEADLINE, Gone, Proxy, Sandbox, Sshd, Terminal, wait_until};
use rustix::process::Signal;

use crate::{
    bed::{far_by_proxy, names, seen},
    watch::wait_link,
};

/// What answers of a host that is away may take on a busy machine; 50 ms are promised.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Prints its process id, and waits for a file of its name.
const LIVE: &str = "echo $$; while [ ! -e \"$1\" ]; do sleep 0.05; done; echo end; exit 6";

fn go_away(sandbox: &Sandbox, proxy: &mut Proxy) {
    proxy.refuse();
    proxy.cut();
    wait_link(sandbox, &["backoff"]);
}

/// A job that runs there, and its program.
fn live(sandbox: &Sandbox, name: &str) -> (String, Gone) {
    let run = [
        "run", "-d", "--host", "far", "--name", name, "--", "sh", "-c", LIVE, "sh", name,
    ];
    let job = sandbox.outlast(&run).success().word();
    let follower = sandbox.spawn(&["job", "logs", "-f", &job]);
    let pid = follower.wait_line(|line| !line.is_empty()).parse().unwrap();
    (job, Gone::watch(pid).expect("it runs"))
}

fn session(sandbox: &Sandbox, name: &str) {
    let create = [
        "session", "create", name, "--host", "far", "--", "sh", "-c", LIVE, "sh", name,
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session(name, |state| state == "running");
}

/// The program of such a session, which has printed who it is.
fn program_of(sandbox: &Sandbox, name: &str) -> Gone {
    let pid = wait_until(DEADLINE, "the program's first words", || {
        let log = sandbox.outlast(&["session", "logs", name]).success();
        log.out().trim().parse().ok()
    });
    Gone::watch(pid).expect("it runs")
}

/// Names of what the far end keeps of a kind.
fn kept(sshd: &Sshd, kind: &str) -> Vec<String> {
    let owner = fs::read_dir(sshd.state().join("outlast"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    let machine = fs::read_dir(owner.path()).unwrap().flatten().next().unwrap();
    names(&machine.path().join(kind))
}

#[test]
fn what_is_wanted_while_a_host_is_away_is_done_when_it_is_back() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let outlast = |args: &[&str]| {
        let began = Instant::now();
        let ran = sandbox.outlast(args);
        println!("{:?} {args:?} {}", began.elapsed(), ran.exit());
        assert!(began.elapsed() < AT_ONCE, "{args:?} took {:?}", began.elapsed());
        ran
    };
    let (cancelled, cancelled_program) = live(&sandbox, "cancelled");
    let (pruned, _) = live(&sandbox, "pruned");
    fs::write(sshd.home().join("pruned"), "").unwrap();
    sandbox.wait_job(&pruned, |state| state == "failed");
    session(&sandbox, "stopped");
    program_of(&sandbox, "stopped");
    session(&sandbox, "deleted");
    let deleted_program = program_of(&sandbox, "deleted");
    go_away(&sandbox, &mut proxy);

    let shown = outlast(&["job", "show", &cancelled, "--json"]).success().json();
    assert_eq!(
        (&shown["state"], &shown["link"]),
        (&"running".into(), &"backoff".into()),
        "{shown}"
    );
    let told = outlast(&["job", "list"]).success();
    assert!(told.err().contains("host far is away"), "{told}");
    let log = outlast(&["job", "logs", &cancelled]).success();
    assert_eq!(log.out(), format!("{}\n", cancelled_program.pid()));
    drop(outlast(&["job", "cancel", &cancelled]).success());
    drop(outlast(&["job", "prune", &pruned, "--yes"]).success());
    drop(outlast(&["session", "stop", "stopped"]));
    let refused = outlast(&["session", "delete", "deleted"]).code(4);
    assert!(refused.err().contains("--force"), "{refused}");
    let deleted = outlast(&["session", "delete", "deleted", "--force"]).success();
    assert!(deleted.err().contains("host far is away"), "{deleted}");
    drop(outlast(&["session", "show", "deleted"]).code(3));
    // Its name is free.
    drop(outlast(&["session", "create", "deleted", "--", "cat"]).success());
    assert!(
        !deleted_program.within(Duration::ZERO),
        "nobody could have ended it"
    );
    let peeked = outlast(&["session", "peek", "stopped"]).code(6);
    for part in ["outlast session logs stopped", "it was seen last"] {
        assert!(peeked.err().contains(part), "{part:?} is missing: {peeked}");
    }
    let log = outlast(&["session", "logs", "stopped"]).success();
    assert!(log.out().trim().parse::<u32>().is_ok(), "{log}");
    assert!(log.err().contains("host far is away"), "{log}");
    let sent = outlast(&["session", "send", "stopped", "x"]);
    assert_eq!(sent.exit(), 6, "{sent}");
    let queued = outlast(&["run", "-d", "--host", "far", "--", "echo", "at last"])
        .success()
        .word();
    let never = outlast(&["run", "-d", "--host", "far", "--", "touch", "never"])
        .success()
        .word();
    drop(outlast(&["job", "cancel", &never]).success());
    sandbox.wait_job(&never, |state| state == "cancelled");
    let late = outlast(&["session", "create", "late", "--host", "far", "--", "cat"]);
    assert_eq!(late.exit(), 0, "{late}");
    let followed = sandbox.spawn(&["run", "--host", "far", "--", "echo", "followed"]);
    followed.wait_error_line(|line| line.contains("host far is away"));
    assert!(!cancelled_program.within(Duration::ZERO));
    assert_eq!(
        sandbox
            .outlast(&["job", "show", &queued, "--json"])
            .success()
            .json()["state"],
        "queued"
    );

    proxy.heal();
    sandbox.wait_job(&cancelled, |state| state == "cancelled");
    assert!(cancelled_program.within(DEADLINE));
    sandbox.wait_session("stopped", |state| state == "stopped");
    sandbox.wait_session("late", |state| state == "running");
    drop(sandbox.outlast(&["job", "wait", &queued]).success());
    assert_eq!(followed.finish(DEADLINE).success().out(), "followed\n");
    wait_until(DEADLINE, "the removals there", || {
        let (jobs, sessions) = (kept(&sshd, "jobs"), kept(&sshd, "sessions"));
        (!jobs.contains(&pruned) && sessions.len() == 2).then_some(())
    });
    assert!(deleted_program.within(DEADLINE), "its program runs on there");
    let listed = sandbox.outlast(&["session", "list", "--json"]).success().json();
    let hosts = |name: &str| {
        let fits = |session: &&serde_json::Value| session["name"] == name;
        let found: Vec<_> = listed.as_array().unwrap().iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{listed}");
        found[0]["host"].clone()
    };
    assert_eq!(hosts("deleted"), "local", "it was taken up again");
    assert!(!sshd.home().join("never").exists());
}

#[test]
fn what_ends_while_its_host_is_away_has_its_true_end() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let (job, program) = live(&sandbox, "job");
    session(&sandbox, "web");
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_screen("the session", |screen| !screen.trim().is_empty());
    go_away(&sandbox, &mut proxy);
    for name in ["job", "web"] {
        fs::write(sshd.home().join(name), "").unwrap();
    }
    assert!(program.within(DEADLINE));
    let state = |noun: &str, name: &str| {
        sandbox.outlast(&[noun, "show", name, "--json"]).success().json()["state"].clone()
    };
    assert_eq!(
        (state("job", &job), state("session", "web")),
        ("running".into(), "running".into())
    );
    proxy.heal();
    assert_eq!(terminal.wait_exit(), 6);
    terminal.wait_text("session web exited");
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        format!("{}\nend\n", program.pid())
    );
    let ended = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(ended["exit_code"], 6, "{ended}");
    assert!(
        sandbox
            .outlast(&["session", "logs", "web"])
            .success()
            .out()
            .contains("end")
    );
}

#[test]
fn what_ends_while_no_daemon_runs_has_its_true_end() {
    let (sandbox, sshd, _proxy) = far_by_proxy();
    let (job, program) = live(&sandbox, "job");
    session(&sandbox, "web");
    sandbox.kill_daemon().unwrap();
    for name in ["job", "web"] {
        fs::write(sshd.home().join(name), "").unwrap();
    }
    assert!(program.within(DEADLINE));
    drop(sandbox.outlast(&["job", "wait", &job]).code(6));
    assert_eq!(
        sandbox.outlast(&["job", "logs", &job]).success().out(),
        format!("{}\nend\n", program.pid())
    );
    let ended = sandbox.wait_session("web", |state| state == "exited");
    assert_eq!(ended["exit_code"], 6, "{ended}");
}

#[test]
fn attaching_to_a_session_whose_host_is_away_waits_for_it() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    go_away(&sandbox, &mut proxy);
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("outlast: host far is away");
    terminal.enter("lost");
    let other = Terminal::open(&sandbox, "u", "outlast", &["attach", "web"]);
    other.wait_text("outlast: host far is away");
    other.type_text("~.");
    assert_eq!(other.wait_exit(), 130);
    proxy.heal();
    terminal.wait_screen("the screen of the session", |screen| !screen.contains("outlast:"));
    terminal.enter("typed");
    let screen = terminal.wait_text("typed");
    assert!(!screen.contains("lost"), "{screen}");
    terminal.press(&["C-b", "d"]);
    assert_eq!(terminal.wait_exit(), 0);
}

#[test]
fn ctrl_c_leaves_a_job_whose_host_is_away_alone() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let script = "echo begun; while [ ! -e go-on ]; do sleep 0.05; done; echo end";
    let run = sandbox.spawn(&["run", "--host", "far", "--name", "long", "--", "sh", "-c", script]);
    run.wait_line(|line| line == "begun");
    go_away(&sandbox, &mut proxy);
    run.wait_error_line(|line| line.contains("host far is away"));
    run.signal(Signal::INT);
    let left = run.finish(DEADLINE).code(130);
    assert!(left.err().contains("still runs"), "{left}");
    proxy.heal();
    wait_link(&sandbox, &["up"]);
    fs::write(sshd.home().join("go-on"), "").unwrap();
    drop(sandbox.outlast(&["job", "wait", "long"]).success());
    assert_eq!(
        sandbox.outlast(&["job", "logs", "long"]).success().out(),
        "begun\nend\n"
    );
}

#[test]
fn what_is_typed_into_a_session_whose_host_is_away_can_be_sent_again_by_the_same_request() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    go_away(&sandbox, &mut proxy);
    let client = Client::new(&sandbox, DEADLINE);
    let send = || SendSessionRequest {
        request_id: Some("once".to_owned()),
        session: "web".to_owned(),
        input: Some(Input::Text("only once".to_owned())),
        enter: true,
        raw: false,
    };
    client.call(async |channel| {
        let refused = SessionServiceClient::new(channel).send_session(send()).await;
        let kind = Error::from_status(&refused.unwrap_err()).map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::Unreachable));
        Ok(tonic::Response::new(()))
    });
    proxy.heal();
    wait_link(&sandbox, &["up"]);
    client.twice(async |channel| SessionServiceClient::new(channel).send_session(send()).await);
    wait_until(DEADLINE, "the echo", || {
        let screen = sandbox.outlast(&["session", "peek", "web"]).success().out();
        // Once as it is typed, once as `cat` says it.
        (screen.matches("only once").count() == 2).then_some(())
    });
}

#[test]
fn a_repeat_of_what_a_killed_daemon_sent_tells_where_that_was() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let script = "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo more; sleep 600";
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", script,
    ];
    drop(sandbox.outlast(&create).success());
    let log = |word: &str| {
        wait_until(DEADLINE, word, || {
            let log = sandbox.outlast(&["session", "logs", "web"]).success().out();
            log.contains(word).then_some(())
        });
    };
    log("begun");
    // It is on the way for as long as that is silent.
    proxy.stall();
    let client = Client::new(&sandbox, DEADLINE);
    let send = || SendSessionRequest {
        request_id: Some("once".to_owned()),
        session: "web".to_owned(),
        input: Some(Input::Text("hi".to_owned())),
        enter: true,
        raw: false,
    };
    client.call(async |channel| {
        let mut sessions = SessionServiceClient::new(channel);
        let late = tokio::time::timeout(Duration::from_secs(1), sessions.send_session(send())).await;
        assert!(late.is_err(), "{late:?}");
        Ok(tonic::Response::new(()))
    });
    sandbox.kill_daemon().expect("one runs");
    fs::write(sshd.home().join("go"), "").unwrap();
    proxy.heal();
    log("more");
    let client = Client::new(&sandbox, DEADLINE);
    let sent = client.call(async |channel| SessionServiceClient::new(channel).send_session(send()).await);
    assert_eq!(sent.log_offset, "begun\r\n".len() as u64);
}

#[test]
fn a_daemon_that_never_met_a_host_tells_what_an_earlier_one_saw() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    let before = seen(&sandbox, "far");
    assert!(before["boot_id"].is_string(), "{before}");
    proxy.refuse();
    proxy.cut();
    wait_link(&sandbox, &["backoff"]);
    sandbox.kill_daemon().unwrap();
    sandbox.start_daemon();
    let after = wait_link(&sandbox, &["backoff"]);
    for key in ["os", "arch", "user", "helper_version", "tmux_version", "boot_id"] {
        assert_eq!(after[key], before[key], "{key}: {after}");
    }
    let times = [&before, &after].map(|host| host["observed_at"].as_str().unwrap().to_owned());
    assert!(times[0] <= times[1], "{times:?}");
}

#[test]
fn whoever_waits_for_a_host_hears_that_it_was_removed() {
    for is_away in [false, true] {
        let (sandbox, _sshd, mut proxy) = far_by_proxy();
        drop(
            sandbox
                .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
                .success(),
        );
        sandbox.wait_session("web", |state| state == "running");
        let (job, program) = live(&sandbox, "job");
        let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
        terminal.enter("here");
        terminal.wait_text("here");
        let running = sandbox.spawn(&["run", "--host", "far", "--", "sh", "-c", "echo begun; sleep 1000"]);
        running.wait_line(|line| line == "begun");
        let logs = sandbox.spawn(&["job", "logs", "-f", &job]);
        logs.wait_line(|line| !line.is_empty());
        let mut waiting = vec![running, logs, sandbox.spawn(&["job", "wait", &job])];
        if is_away {
            go_away(&sandbox, &mut proxy);
            terminal.wait_text("outlast: host far is away");
            let queued = sandbox.spawn(&["run", "--host", "far", "--", "true"]);
            queued.wait_error_line(|line| line.contains("host far is away"));
            waiting.push(queued);
        }
        drop(sandbox.outlast(&["host", "remove", "far", "--force"]).success());
        assert_ne!(terminal.wait_exit(), 0);
        let screen: String = terminal.wait_text("removed").lines().collect();
        assert!(screen.contains("host far was removed"), "{screen}");
        for process in waiting {
            let ended = process.finish(DEADLINE);
            println!("{ended}");
            assert_ne!(ended.exit(), 0, "{ended}");
        }
        assert!(!program.within(Duration::ZERO), "what runs there goes on");
    }
}

#[test]
fn an_attached_terminal_hears_that_its_host_needs_a_person() {
    let (sandbox, mut sshd, _proxy) = far_by_proxy();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--host", "far", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.enter("here");
    terminal.wait_text("here");
    sshd.authorize_only("");
    sshd.signal_connections(Signal::KILL);
    assert_ne!(terminal.wait_exit(), 0);
    terminal.wait_text("auth_failed");
}

/// How much the program of a slow line prints last, and how much of it comes in a second: enough for a connection of its
/// own, beside which everything short is quick, and so slow that the log is here seconds after its end.
const LAST_WORDS: usize = 1_200_000;
const SLOW: u64 = 400_000;

#[test]
fn a_program_that_ends_on_a_slow_line_is_not_taken_for_one_that_was_left() {
    let (sandbox, sshd, proxy) = far_by_proxy();
    let script =
        format!("echo here; while [ ! -e go-on ]; do sleep 0.05; done; yes | head -c {LAST_WORDS}; exit 9");
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", &script,
    ];
    drop(sandbox.outlast(&create).success());
    let terminal = Terminal::open(&sandbox, "t", "outlast", &["attach", "web"]);
    terminal.wait_text("here");
    proxy.throttle(Some(SLOW));
    fs::write(sshd.home().join("go-on"), "").unwrap();
    assert_eq!(terminal.wait_exit(), 9);
    let log = ["session", "logs", "web", "-f", "--from", "start"];
    let log = sandbox.outlast(&log).success().out();
    assert_eq!(log.matches('y').count(), LAST_WORDS / 2, "its log is not whole");
}

#[test]
fn a_session_whose_host_is_away_does_not_rest() {
    let (sandbox, sshd, mut proxy) = far_by_proxy();
    let script = "while read -r x; do while [ ! -e go ]; do echo on; sleep 0.1; done; echo done; done";
    let create = [
        "session", "create", "web", "--host", "far", "--", "sh", "-c", script,
    ];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("web", |state| state == "running");
    let log = || sandbox.outlast(&["session", "logs", "web"]).success().out();
    let waiting = sandbox.spawn(&["session", "send", "web", "hi", "--wait"]);
    wait_until(DEADLINE, "that it works", || log().contains("on").then_some(()));
    go_away(&sandbox, &mut proxy);
    waiting.wait_error_line(|line| line.contains("the host of the session is away"));
    // Longer than what counts as rest of anything that is not away.
    let since = Instant::now();
    wait_until(DEADLINE, "that it is away for long", || {
        (since.elapsed() > Duration::from_secs(3)).then_some(())
    });
    // Nor does it for a daemon that begins anew meanwhile.
    sandbox.kill_daemon().expect("one runs");
    wait_link(&sandbox, &["backoff"]);
    waiting.wait_error_line(|line| line.contains("the host of the session is away"));
    fs::write(sshd.home().join("go"), "").unwrap();
    proxy.heal();
    assert_eq!(waiting.finish(DEADLINE).success().out(), "waiting\n");
    assert!(log().contains("done"), "{}", log());
}

#[test]
fn what_was_run_in_a_session_whose_host_is_away_is_still_known_and_an_answer_says_so_at_once() {
    let (sandbox, _sshd, mut proxy) = far_by_proxy();
    let create = ["session", "create", "sh", "--host", "far", "--", "sh"];
    drop(sandbox.outlast(&create).success());
    sandbox.wait_session("sh", |state| state == "running");
    let answered = [
        "session",
        "send",
        "sh",
        "echo f''ar",
        "--wait",
        "--timeout",
        "30s",
    ];
    drop(sandbox.outlast(&answered).success());
    wait_until(DEADLINE, "the log here", || {
        let history = sandbox.outlast(&["session", "history", "sh"]).success();
        history.out().contains("\nfar\n").then_some(())
    });
    go_away(&sandbox, &mut proxy);
    let begun = Instant::now();
    let history = sandbox.outlast(&["session", "history", "sh"]).success();
    assert!(history.out().starts_with("$ echo f''ar\nfar\n"), "{history:?}");
    assert!(history.err().contains("host far is away"), "{history:?}");
    let refused = sandbox.outlast(&answered).code(6);
    assert!(refused.err().contains("hint: "), "{refused:?}");
    assert!(begun.elapsed() < 2 * AT_ONCE, "{:?}", begun.elapsed());
    proxy.heal();
}

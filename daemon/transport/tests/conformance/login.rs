//! The login environment.

use std::collections::BTreeMap;

use outlast_client::helper_v1::{
    ExecStart, GetFactsRequest, Outcome, RunJobRequest, Size, StartSessionRequest, exec_request::Event,
    run_job_response,
};
use outlast_transport::connect::Purpose;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, Way, eventually, is_alive, kill, new_id, state, within},
    exec::{Done, finish, message, open_with},
    over_both,
};

over_both!(
    a_login_environment_is_put_under_the_own_one,
    what_has_no_base_gets_nothing_of_a_login,
    start_files_run_once,
    noise_and_what_start_files_leave_behind_are_in_nobodys_way,
    a_login_shell_that_refuses_is_told_of_and_no_obstacle,
    a_directory_that_is_not_there_is_told_of,
);

/// Runs a program with the login environment.
async fn exec(bed: &mut Bed, script: &str) -> Done {
    let start = ExecStart {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        login: true,
        env: [("GIVEN".to_owned(), "yes".to_owned())].into(),
        ..ExecStart::default()
    };
    let (_input, stream) = open_with(bed, message(Event::Start(start))).await;
    finish(stream).await
}

/// Runs a job and answers with its output.
async fn job(bed: &mut Bed, spec: &Value) -> (String, Outcome) {
    let request = RunJobRequest {
        id: spec["id"].as_str().unwrap().to_owned(),
        spec_json: spec.to_string().into_bytes().into(),
        from: Some(0),
    };
    let mut stream = bed.client.run_job(request).await.unwrap().into_inner();
    let mut log = Vec::new();
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            run_job_response::Event::Chunk(chunk) => log.extend_from_slice(&chunk.data),
            run_job_response::Event::Ended(outcome) => return (String::from_utf8(log).unwrap(), outcome),
            run_job_response::Event::Started(_) => {}
            run_job_response::Event::Lost(lost) => panic!("{lost:?}"),
        }
    }
}

/// Runs a job or a session and answers with what it said.
pub async fn said(bed: &mut Bed, spec: &Value) -> String {
    if spec["kind"] == "job" {
        return job(bed, spec).await.0;
    }
    let request = StartSessionRequest {
        id: spec["id"].as_str().unwrap().to_owned(),
        spec_json: spec.to_string().into_bytes().into(),
        run: 1,
        size: Some(Size {
            columns: 200,
            rows: 50,
        }),
        use_restart_command: false,
    };
    bed.client.start_session(request.clone()).await.unwrap();
    let (over, log) = bed.ended(&request.id).await;
    assert_eq!(state(&over).ended.as_ref().unwrap().exit_code, Some(0));
    String::from_utf8(log).unwrap()
}

pub fn spec(kind: &str, script: &str) -> Value {
    json!({
        "version": 1, "kind": kind, "id": new_id(), "command": ["sh", "-c", script], "cwd": null,
        "base": "login", "env": {"GIVEN": "yes", "OVER": "spec"}, "created_at_ms": 1,
    })
}

fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.trim_end().split_once('='))
        .collect()
}

async fn login_problem(bed: &mut Bed) -> Option<String> {
    let facts = bed.client.get_facts(GetFactsRequest {}).await.unwrap();
    facts.into_inner().login_problem
}

/// What a login environment must be, whoever gets it.
fn check(text: &str) {
    let vars = variables(text);
    for (name, value) in [("FROM_START", "a  b"), ("GIVEN", "yes"), ("LATE", "yes")] {
        assert_eq!(vars.get(name), Some(&value), "{name} in {text}");
    }
    assert!(vars["PATH"].ends_with(":/opt/of-start/bin"), "{text}");
    let home = std::path::Path::new(vars["HOME"]).canonicalize().unwrap();
    let cwd = std::path::Path::new(vars["PWD"]).canonicalize().unwrap();
    assert_eq!(cwd, home, "{text}");
    for name in ["USER", "LOGNAME"] {
        assert!(!vars[name].is_empty(), "{text}");
    }
    for name in ["SSH_CONNECTION", "SSH_TTY", "OUTLAST_SOCKET", "TMUX_TMPDIR"] {
        assert_eq!(vars.get(name), None, "{text}");
    }
}

const START: &str = "export FROM_START='a  b' PATH=\"$PATH:/opt/of-start/bin\" OVER=start SSH_CONNECTION=x SSH_TTY=/dev/x \
    TMUX_TMPDIR=/x OUTLAST_SOCKET=/x; sleep 0.1; export LATE=yes";

async fn a_login_environment_is_put_under_the_own_one(bed: Bed) {
    let mut bed = bed.with_start_file(START).await;
    let done = exec(&mut bed, "env; pwd").await;
    let text = String::from_utf8(done.stdout).unwrap();
    check(&text);
    // What only sessions have.
    assert_eq!(variables(&text).get("OUTLAST_HELPER"), None);
    let spec_of_job = spec("job", "env");
    let (log, outcome) = job(&mut bed, &spec_of_job).await;
    assert_eq!(outcome.exit_code, Some(0));
    check(&log);
    assert_eq!(variables(&log).get("OUTLAST_HELPER"), None);
    assert_eq!(variables(&log)["OVER"], "spec");
    assert!(!log.contains("TMUX"), "{log}");

    let dir = bed.root.job(spec_of_job["id"].as_str().unwrap());
    let kept: Value = serde_json::from_slice(&std::fs::read(dir.path().join("spec")).unwrap()).unwrap();
    assert_eq!(kept.get("base"), None);
    assert_eq!(kept["env"]["FROM_START"], "a  b");
    assert_eq!(kept["env"]["GIVEN"], "yes");
    assert!(kept["cwd"].as_str().unwrap().starts_with('/'));

    let spec_of_session = spec("session", "env; stty size; echo $TMUX");
    check(&said(&mut bed, &spec_of_session).await);
    let id = spec_of_session["id"].as_str().unwrap();
    let dir = bed.root.session(id);
    // A later run may bring a spec again.
    for run in [2, 3] {
        let again = StartSessionRequest {
            id: id.to_owned(),
            spec_json: spec_of_session.to_string().into_bytes().into(),
            run,
            size: Some(Size {
                columns: 200,
                rows: 50,
            }),
            use_restart_command: false,
        };
        bed.client.start_session(again).await.unwrap();
        bed.ended(id).await;
        let kept: Value = serde_json::from_slice(&std::fs::read(dir.path().join("spec")).unwrap()).unwrap();
        assert_eq!((kept.get("base"), &kept["env"]["LATE"]), (None, &json!("yes")));
        assert_eq!(kept["env"].get("OUTLAST_HELPER"), None);
    }
    assert_eq!(login_problem(&mut bed).await, None);
}

async fn what_has_no_base_gets_nothing_of_a_login(bed: Bed) {
    let mut bed = bed.with_start_file("export FROM_START=yes").await;
    let mut spec = spec("job", "env; pwd");
    spec.as_object_mut().unwrap().remove("base");
    spec["env"] = json!({"PATH": std::env::var("PATH").unwrap(), "A": "b"});
    spec["cwd"] = json!("/");
    let (log, _) = job(&mut bed, &spec).await;
    assert!(
        !log.contains("FROM_START") && log.contains("A=b\n") && log.ends_with("/\n"),
        "{log}"
    );
}

async fn start_files_run_once(bed: Bed) {
    let mut bed = bed
        .with_start_file("echo once >>$D/count; sleep 0.3; export FROM_START=yes")
        .await;
    let mut second = bed.client.clone();
    let both = spec("job", "echo $FROM_START");
    let request = RunJobRequest {
        id: both["id"].as_str().unwrap().to_owned(),
        spec_json: both.to_string().into_bytes().into(),
        from: None,
    };
    let (first, second) = tokio::join!(exec(&mut bed, "echo $FROM_START"), second.run_job(request));
    assert_eq!(first.stdout, b"yes\n");
    drop(second.unwrap());
    assert_eq!(job(&mut bed, &spec("job", "echo $FROM_START")).await.0, "yes\n");
    let count = std::fs::read_to_string(bed.dir.with_file_name("count")).unwrap();
    assert_eq!(count, "once\n");
}

async fn noise_and_what_start_files_leave_behind_are_in_nobodys_way(bed: Bed) {
    let start = "seq 1 200000; printf '\\0\\036READY x\\n\\036'; seq 1 100000 >&2; sleep 600 & echo $! >$D/left; \
        export FROM_START=yes; exec 7</dev/null";
    let mut bed = bed.with_start_file(start).await;
    assert_eq!(exec(&mut bed, "echo $FROM_START").await.stdout, b"yes\n");
    let left = std::fs::read_to_string(bed.dir.with_file_name("left")).unwrap();
    let left = left.trim().parse().unwrap();
    // An agent that start files start is to stay, as after any login.
    assert!(is_alive(left));
    kill(left);
}

async fn a_login_shell_that_refuses_is_told_of_and_no_obstacle(bed: Bed) {
    let mut bed = bed
        .with_start_file("echo 'this account is closed'; echo once >>$D/count; exit 3")
        .await;
    for _ in 0..2 {
        let (log, outcome) = job(&mut bed, &spec("job", "echo $GIVEN; echo $SHELL; pwd")).await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!((lines[0], outcome.exit_code), ("yes", Some(0)), "{log}");
        assert_eq!(lines[1], bed.dir.with_file_name("shell").to_str().unwrap());
    }
    let problem = login_problem(&mut bed).await.unwrap();
    assert!(
        problem.ends_with("with exit code 3 before it told its environment; it said: this account is closed"),
        "{problem}"
    );
    // With -l and without, and no third time.
    let count = std::fs::read_to_string(bed.dir.with_file_name("count")).unwrap();
    assert_eq!(count, "once\nonce\n");

    let mut none = bed.with_login_shell("/no/such/shell".as_ref()).await;
    assert_eq!(job(&mut none, &spec("job", "echo $GIVEN")).await.0, "yes\n");
    let problem = login_problem(&mut none).await.unwrap();
    assert!(problem.contains("/no/such/shell cannot be started"), "{problem}");
}

async fn a_directory_that_is_not_there_is_told_of(mut bed: Bed) {
    let mut spec = spec("job", "pwd");
    spec["cwd"] = json!("/no/such/directory");
    let (log, outcome) = job(&mut bed, &spec).await;
    assert_eq!((log.as_str(), outcome.exit_code), ("", Some(126)));
    let reason = outcome.reason.unwrap();
    assert!(
        reason.contains("cannot enter the directory /no/such/directory"),
        "{reason}"
    );
}

/// Start files that never end cost the first program some seconds, and nothing of them stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_files_that_hang_are_ended() {
    within(async {
        let bed = Bed::new(Way::Command).await;
        let start = "trap '' TERM HUP; sleep 600 & echo $$ $! >$D/pids.new; mv $D/pids.new $D/pids; set -m; sleep 600";
        let mut bed = bed.with_start_file(start).await;
        let (log, _) = job(&mut bed, &spec("job", "echo $GIVEN")).await;
        assert_eq!(log, "yes\n");
        let problem = login_problem(&mut bed).await.unwrap();
        assert!(problem.ends_with("did not come to an end within 10 s"), "{problem}");
        let pids = std::fs::read_to_string(bed.dir.with_file_name("pids")).unwrap();
        assert!(!pids.split_whitespace().any(|pid| is_alive(pid.parse().unwrap())));
    })
    .await;
}

/// What carries bytes has no use for a login, and so runs no start files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_for_bulk_runs_no_start_files() {
    within(async {
        let bed = Bed::new(Way::Command).await;
        let mut bed = bed.with_start_file("echo once >>$D/count").await;
        let file = bed.dir.with_file_name("count");
        eventually("the start files", || file.exists()).await;
        let second = bed.another_for(Purpose::Bulk).await;
        bed.client = second.client.clone();
        // As long as they would take, which are begun before anything is served.
        for _ in 0..3 {
            let start = ExecStart {
                command: vec!["true".to_owned()],
                ..ExecStart::default()
            };
            let (_input, stream) = open_with(&mut bed, message(Event::Start(start))).await;
            assert_eq!(finish(stream).await.outcome.exit_code, Some(0));
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "once\n");
    })
    .await;
}

/// Nor do they keep a helper that has nothing to do any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_leaves_also_while_start_files_hang() {
    within(async {
        let start = "trap '' TERM HUP; echo $$ >$D/pids.new; mv $D/pids.new $D/pids; exec sleep 600";
        let mut bed = Bed::new(Way::Command).await.with_start_file(start).await;
        let file = bed.dir.with_file_name("pids");
        eventually("the start files", || file.exists()).await;
        let read = || std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let pid = read();
        assert!(is_alive(pid));
        std::fs::remove_file(&file).unwrap();
        bed.replace_helper(false).await;
        eventually("the end of the start files", || !is_alive(pid)).await;
        // Those of the second helper, which is killed and so cannot end them: the kernel does.
        eventually("the start files", || file.exists()).await;
        let pid = read();
        bed.kill_helpers().await;
        eventually("the end of the start files", || !is_alive(pid)).await;
    })
    .await;
}

/// The shells that are everywhere, with the start files they read at a login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_login_shells_tell_their_environment() {
    within(async {
        for (shell, file) in [
            ("/bin/sh", ".profile"),
            ("/bin/bash", ".profile"),
            ("/bin/bash", ".bash_profile"),
        ] {
            let mut bed = Bed::at_home(shell.as_ref(), file, "export FROM_START=yes; echo noise").await;
            let done = exec(&mut bed, "echo $FROM_START $SHELL $HOME $SHLVL").await;
            let home = bed.dir.parent().unwrap().display().to_string();
            assert_eq!(
                String::from_utf8(done.stdout).unwrap(),
                format!("yes {shell} {home}\n"),
                "{shell} {file}"
            );
        }
    })
    .await;
}

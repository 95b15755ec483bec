//! Sessions: started, watched, stopped, started again, lost and removed.

use outlast_client::{
    helper_v1::{
        CaptureSessionRequest, DeleteSessionRequest, GetFactsRequest, ListSessionsRequest, ReadLogRequest,
        Size, SpoolKind, StartSessionRequest, StopSessionRequest, WatchSessionRequest,
    },
    v1::{Error, ErrorKind},
};
use serde_json::Value;

use crate::{
    bed::{Bed, error, eventually, is_alive, kill, new_id, state},
    over_all,
};

over_all!(
    a_session_is_started_once_and_watched,
    programs_that_end_at_once_lose_nothing,
    a_session_is_stopped_and_keeps_its_screen,
    a_second_run_is_in_the_same_tmux_session,
    what_cannot_be_started_says_why,
    a_deleted_session_leaves_nothing,
    a_killed_tmux_server_is_a_lost_session_and_the_next_run_works,
    a_server_that_is_ending_holds_no_start_up,
    a_killed_pane_is_a_lost_session,
    sessions_are_listed_without_their_secrets,
    bad_requests_are_refused,
    a_followed_log_is_whole_and_ends,
    the_server_is_bare_and_locked_down,
);

async fn a_session_is_started_once_and_watched(mut bed: Bed) {
    let id = new_id();
    let request = bed.start_request(
        &id,
        1,
        "echo x >> count; echo $OUTLAST_SESSION_ID; stty size; read x; exit 5",
    );
    let started = bed
        .client
        .start_session(request.clone())
        .await
        .unwrap()
        .into_inner()
        .started
        .unwrap();
    assert!(is_alive(started.pid) && started.run == 1);
    let again = bed
        .client
        .start_session(request)
        .await
        .unwrap()
        .into_inner()
        .started
        .unwrap();
    assert_eq!(again, started);
    let screen = bed.shows(&id, "30 100").await;
    assert!(screen.contains(&id), "{screen}");
    assert_eq!(std::fs::read_to_string(bed.dir.join("count")).unwrap(), "x\n");

    let mut watching = bed.watch(&id).await;
    let now = watching
        .until("output", |now| now.last_output_ms > 0 && now.in_tmux)
        .await;
    assert!(state(&now).alive && now.attached == 0 && state(&now).log_bytes > 0);
    assert_eq!(state(&now).started, Some(started));
    let send = outlast_client::helper_v1::SendSessionRequest {
        id: id.clone(),
        text: b"go".to_vec().into(),
        keys: vec!["Enter".to_owned()],
        paste: false,
    };
    bed.client.send_session(send).await.unwrap();
    let over = watching.until("the end", |now| state(now).ended.is_some()).await;
    let outcome = state(&over).ended.as_ref().unwrap();
    assert_eq!((outcome.exit_code, outcome.signal), (Some(5), None));
    assert!(!state(&over).alive && over.in_tmux);
    assert_eq!(outcome.log_bytes, bed.root.session(&id).log_len());
}

async fn programs_that_end_at_once_lose_nothing(mut bed: Bed) {
    let ids: Vec<_> = (0..30).map(|_| new_id()).collect();
    let starts: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let request = bed.start_request(id, 1, &format!("echo last words {number}; exit {number}"));
            let mut client = bed.client.clone();
            tokio::spawn(async move { client.start_session(request).await.unwrap() })
        })
        .collect();
    for start in starts {
        start.await.unwrap();
    }
    for (number, id) in ids.iter().enumerate() {
        let (over, log) = bed.ended(id).await;
        let outcome = state(&over).ended.as_ref().unwrap();
        assert_eq!(outcome.exit_code, Some(i32::try_from(number).unwrap()));
        assert_eq!(String::from_utf8_lossy(&log), format!("last words {number}\r\n"));
        assert_eq!(outcome.log_bytes, log.len() as u64);
        bed.shows(id, &format!("last words {number}")).await;
    }
    // Nobody keeps a process for what is over: neither a pane nor a logger.
    let dir = bed.root.path().to_str().unwrap().to_owned();
    eventually("no process but tmux and helpers", || {
        processes(&dir, &[" log ", " pane "]) == 0
    })
    .await;
}

/// How many processes have this directory and one of these words in their command line.
fn processes(dir: &str, words: &[&str]) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir) && words.iter().any(|word| line.contains(word)))
        .count()
}

async fn a_session_is_stopped_and_keeps_its_screen(mut bed: Bed) {
    let (id, started) = bed
        .session("trap 'echo bye; exit 3' TERM HUP; echo up; while :; do sleep 600 & wait; done")
        .await;
    bed.shows(&id, "up").await;
    let stop = StopSessionRequest {
        id: id.clone(),
        grace: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
    };
    assert!(
        bed.client
            .stop_session(stop.clone())
            .await
            .unwrap()
            .into_inner()
            .told
    );
    let (over, _) = bed.ended(&id).await;
    let outcome = state(&over).ended.as_ref().unwrap();
    assert_eq!(
        (outcome.exit_code, outcome.reason.as_deref()),
        (Some(3), Some("stopped"))
    );
    assert!(!is_alive(started.pid) && over.in_tmux);
    bed.shows(&id, "bye").await;
    assert!(!bed.client.stop_session(stop).await.unwrap().into_inner().told);
}

async fn a_second_run_is_in_the_same_tmux_session(mut bed: Bed) {
    let id = new_id();
    let mut request = bed.start_request(&id, 1, "echo first; sleep 600");
    let mut spec: Value = serde_json::from_slice(&request.spec_json).unwrap();
    spec["restart_command"] = "echo again $HOME; exec sleep 600".into();
    request.spec_json = spec.to_string().into_bytes().into();
    bed.client.start_session(request).await.unwrap();
    bed.shows(&id, "first").await;
    let second = StartSessionRequest {
        id: id.clone(),
        spec_json: Vec::new().into(),
        run: 2,
        size: Some(Size {
            columns: 100,
            rows: 30,
        }),
        use_restart_command: true,
    };
    let refused = bed.client.start_session(second.clone()).await.unwrap_err();
    assert_eq!(
        error(&refused).0,
        ErrorKind::WrongState,
        "the first run still runs"
    );
    let stop = StopSessionRequest {
        id: id.clone(),
        grace: None,
    };
    bed.client.stop_session(stop).await.unwrap();
    let (_, log) = bed.ended(&id).await;
    assert_eq!(String::from_utf8_lossy(&log), "first\r\n");

    let mut watching = bed.watch(&id).await;
    let started = bed
        .client
        .start_session(second.clone())
        .await
        .unwrap()
        .into_inner()
        .started
        .unwrap();
    assert!(started.run == 2 && is_alive(started.pid));
    bed.shows(&id, "again").await;
    let now = watching
        .until("the second run", |now| state(now).started == Some(started))
        .await;
    assert!(state(&now).ended.is_none() && now.in_tmux);
    assert_eq!(
        bed.client
            .start_session(second)
            .await
            .unwrap()
            .into_inner()
            .started,
        Some(started)
    );
    // The log goes on where it was.
    eventually("the log of both runs", || {
        let log = std::fs::read(bed.root.session(&id).path().join("log")).unwrap();
        String::from_utf8_lossy(&log).starts_with("first\r\nagain")
    })
    .await;
    assert_eq!(bed.tmux(&["list-sessions"]).matches("o-").count(), 1);
}

async fn what_cannot_be_started_says_why(mut bed: Bed) {
    let id = new_id();
    let mut request = bed.start_request(&id, 1, "");
    request.spec_json = bed
        .spec("session", &id, &["/no/such/program"])
        .to_string()
        .into_bytes()
        .into();
    let started = bed
        .client
        .start_session(request)
        .await
        .unwrap()
        .into_inner()
        .started
        .unwrap();
    let (over, log) = bed.ended(&id).await;
    let outcome = state(&over).ended.as_ref().unwrap();
    assert_eq!(outcome.exit_code, Some(127), "{started:?}");
    assert!(outcome.reason.as_ref().unwrap().contains("/no/such/program"));
    assert!(String::from_utf8_lossy(&log).contains("/no/such/program"));
}

async fn a_deleted_session_leaves_nothing(mut bed: Bed) {
    let (id, started) = bed
        .session("trap '' TERM HUP; echo up; while :; do sleep 600; done")
        .await;
    bed.shows(&id, "up").await;
    let mut watching = bed.watch(&id).await;
    let delete = DeleteSessionRequest { id: id.clone() };
    bed.client.delete_session(delete.clone()).await.unwrap();
    assert!(!is_alive(started.pid) && !bed.root.session(&id).exists());
    assert_eq!(
        bed.tmux(&["list-windows", "-a", "-F", "#{session_name}"]),
        "keeper\n"
    );
    // The stream ends with the session.
    while watching.0.message().await.unwrap().is_some() {}
    bed.client.delete_session(delete).await.unwrap();
    let watch = WatchSessionRequest {
        id: id.clone(),
        ..WatchSessionRequest::default()
    };
    assert_eq!(
        error(&bed.client.watch_session(watch).await.unwrap_err()).0,
        ErrorKind::NotFound
    );
}

async fn a_killed_tmux_server_is_a_lost_session_and_the_next_run_works(mut bed: Bed) {
    let (id, started) = bed.session("echo up; sleep 600").await;
    bed.shows(&id, "up").await;
    let mut watching = bed.watch(&id).await;
    watching.until("tmux", |now| now.in_tmux).await;
    let server = bed
        .tmux(&["display-message", "-p", "#{pid}"])
        .trim()
        .parse()
        .unwrap();
    kill(server);
    let over = watching
        .until("the loss", |now| state(now).lost.is_some() && !now.in_tmux)
        .await;
    assert_eq!(state(&over).lost.as_ref().unwrap().reason, "tmux server ended");
    assert!(state(&over).ended.is_none() && !state(&over).alive && !is_alive(started.pid));
    let capture = CaptureSessionRequest {
        id: id.clone(),
        ansi: false,
        history_lines: 0,
        blanks: false,
    };
    let gone = bed.client.capture_session(capture).await.unwrap_err();
    assert_eq!(error(&gone).0, ErrorKind::NotFound);

    let request = bed.start_request(&id, 2, "echo back; sleep 600");
    let started = bed
        .client
        .start_session(request)
        .await
        .unwrap()
        .into_inner()
        .started
        .unwrap();
    let now = watching
        .until("the next run", |now| {
            state(now).started == Some(started) && now.in_tmux
        })
        .await;
    assert!(state(&now).alive && state(&now).lost.is_none());
    bed.shows(&id, "back").await;
}

/// It answers for a moment when its sessions are gone already.
async fn a_server_that_is_ending_holds_no_start_up(mut bed: Bed) {
    for round in 0..12 {
        let end: &[&str] = match round % 3 {
            0 => &["kill-server"],
            1 => &["kill-session", "-t", "=keeper"],
            _ => &["kill-session", "-t", "=keeper", ";", "kill-server"],
        };
        let (id, _) = bed.session("echo up; sleep 600").await;
        bed.shows(&id, "up").await;
        bed.tmux(end);
    }
}

async fn a_killed_pane_is_a_lost_session(mut bed: Bed) {
    let (id, started) = bed
        .session("trap '' TERM HUP; echo up; while :; do sleep 600; done")
        .await;
    bed.shows(&id, "up").await;
    let report = bed.root.session(&id).read_report().unwrap().unwrap();
    kill(report.supervisor_pid);
    let (over, _) = bed.ended(&id).await;
    assert_eq!(state(&over).lost.as_ref().unwrap().reason, "supervisor killed");
    assert!(!is_alive(started.pid), "lost must mean that nothing runs");
}

async fn sessions_are_listed_without_their_secrets(mut bed: Bed) {
    let (id, started) = bed.session("sleep 600").await;
    let sessions = bed
        .client
        .list_sessions(ListSessionsRequest {})
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(sessions.len(), 1);
    let spec: Value = serde_json::from_slice(&sessions[0].spec_json).unwrap();
    assert_eq!(
        (spec["id"].as_str(), &spec["env"]),
        (Some(id.as_str()), &Value::Null)
    );
    assert!(sessions[0].state.as_ref().unwrap().alive);
    assert_eq!(sessions[0].state.as_ref().unwrap().started, Some(started));
    // Nor does the secret stand in anybody's command line, or in the environment of tmux.
    let server = bed.tmux(&["display-message", "-p", "#{pid}"]);
    let environment = std::fs::read(format!("/proc/{}/environ", server.trim())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("canary"));
    assert_eq!(processes("canary", &[""]), 0);
}

async fn bad_requests_are_refused(mut bed: Bed) {
    for id in ["", "..", "a/b", "#(touch x)", "x;kill-server"] {
        let request = bed.start_request(id, 1, "true");
        let refused = bed.client.start_session(request).await.unwrap_err();
        assert_eq!(error(&refused).0, ErrorKind::Usage, "{id:?}");
        let delete = DeleteSessionRequest { id: id.to_owned() };
        assert_eq!(
            error(&bed.client.delete_session(delete).await.unwrap_err()).0,
            ErrorKind::Usage
        );
    }
    let id = new_id();
    for (columns, rows, run) in [(0, 24, 1), (80, 0, 1), (20_000, 24, 1), (80, 24, 0)] {
        let mut request = bed.start_request(&id, run, "true");
        request.size = Some(Size { columns, rows });
        let refused = bed.client.start_session(request).await.unwrap_err();
        assert_eq!(error(&refused).0, ErrorKind::Usage, "{columns}x{rows} run {run}");
    }
    let stop = StopSessionRequest { id, grace: None };
    assert_eq!(
        error(&bed.client.stop_session(stop).await.unwrap_err()).0,
        ErrorKind::NotFound
    );
    assert!(
        bed.root.sessions().unwrap().is_empty() && !bed.socket().exists(),
        "something was made"
    );
}

async fn a_followed_log_is_whole_and_ends(mut bed: Bed) {
    let script =
        "stty -opost; i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; printf '\\377end'";
    let (id, _) = bed.session(script).await;
    let read = ReadLogRequest {
        kind: SpoolKind::Session.into(),
        id,
        from: 0,
        follow: true,
    };
    let mut stream = bed.client.read_log(read).await.unwrap().into_inner();
    let mut log = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        let chunk = response.chunk.unwrap();
        assert_eq!((chunk.offset, chunk.stream), (log.len() as u64, 1));
        log.extend_from_slice(&chunk.data);
    }
    let mut expected = (0..5000)
        .map(|n| format!("line {n}\n"))
        .collect::<String>()
        .into_bytes();
    expected.extend_from_slice(b"\xffend");
    assert!(
        log == expected,
        "{}",
        String::from_utf8_lossy(&log[log.len().saturating_sub(200)..])
    );
}

async fn the_server_is_bare_and_locked_down(mut bed: Bed) {
    bed.session("sleep 600").await;
    let server = bed.tmux(&["display-message", "-p", "#{pid}"]);
    let line = std::fs::read(format!("/proc/{}/cmdline", server.trim())).unwrap();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    assert!(line.trim_end().ends_with("start-server"), "{line}");
    let keys = bed.tmux(&["list-keys"]);
    let open: Vec<_> = keys.lines().filter(|key| !key.contains("-T copy-mode")).collect();
    assert_eq!(open.len(), 5, "{open:#?}");
    for (scope, option, value) in [
        ("-gv", "status", "off"),
        ("-gv", "history-limit", "2000"),
        ("-gv", "prefix", "C-b"),
        ("-gv", "set-titles", "off"),
        ("-gv", "update-environment", ""),
        ("-gv", "default-shell", "/bin/sh"),
        ("-gv", "destroy-unattached", "off"),
        ("-sv", "set-clipboard", "off"),
        ("-sv", "exit-empty", "off"),
        ("-gwv", "remain-on-exit", "on"),
        ("-gwv", "window-size", "latest"),
        ("-gwv", "mode-keys", "emacs"),
    ] {
        assert_eq!(
            bed.tmux(&["show-options", scope, option]).trim(),
            value,
            "{option}"
        );
    }
}

/// The user's own configuration and an outer tmux are nothing to us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_environment_changes_nothing() {
    let bed = Bed::command_with(|home| {
        let hostile = "set -g status on\nset -g prefix C-a\nset -s exit-empty on\nset -g remain-on-exit off\n\
            bind x kill-server\nset -g default-command 'touch pwned'\nrun-shell 'touch pwned'\n";
        std::fs::write(home.join(".tmux.conf"), hostile).unwrap();
        std::fs::create_dir_all(home.join(".config/tmux")).unwrap();
        std::fs::write(home.join(".config/tmux/tmux.conf"), hostile).unwrap();
        vec![
            ("TMUX", "/tmp/somebody-elses,1,0".to_owned()),
            ("TMUX_PANE", "%7".to_owned()),
            ("TMUX_TMPDIR", "/nowhere".to_owned()),
            ("XDG_CONFIG_HOME", home.join(".config").display().to_string()),
        ]
    })
    .await;
    the_server_is_bare_and_locked_down(bed).await;
}

/// Without a tmux that will do sessions are refused with what mends it, and jobs run as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_tmux_there_are_jobs() {
    for (script, said) in [
        (None, "not installed"),
        (Some("echo tmux 2.6"), "2.6"),
        (Some("echo tmux 3.1c"), "3.1c"),
        (Some("echo what"), "what"),
    ] {
        let mut bed = Bed::command_with(|home| {
            let path = home.join("path");
            std::fs::create_dir(&path).unwrap();
            // What it takes to start the helper.
            std::os::unix::fs::symlink("/bin/uname", path.join("uname")).unwrap();
            if let Some(script) = script {
                outlast_testkit::write_program(&path.join("tmux"), &format!("#!/bin/sh\n{script}\n"));
            }
            vec![("PATH", path.display().to_string())]
        })
        .await;
        let request = bed.start_request(&new_id(), 1, "true");
        let refused = Error::from_status(&bed.client.start_session(request).await.unwrap_err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::MissingProgram);
        assert!(refused.message.contains(said), "{refused:?}");
        assert!(refused.hint.unwrap().contains("tmux"));
        assert!(bed.root.sessions().unwrap().is_empty());
        let facts = bed
            .client
            .get_facts(GetFactsRequest {})
            .await
            .unwrap()
            .into_inner();
        assert_eq!(facts.tmux_problem, Some(refused.message));
        assert_eq!(facts.tmux_version.is_some(), script.is_some());
        let request = bed.run_request(&new_id(), "echo done > done", Some(0));
        let mut job = bed.client.run_job(request).await.unwrap().into_inner();
        while job.message().await.unwrap().is_some() {}
        assert_eq!(std::fs::read_to_string(bed.dir.join("done")).unwrap(), "done\n");
    }
}

/// A state directory too deep for a socket address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_directory_has_its_socket_elsewhere() {
    let mut bed = Bed::local_in(&"deep/".repeat(30));
    let (id, _) = bed.session("echo inside; exit 4").await;
    assert!(!bed.socket().starts_with(bed.root.path()) && bed.socket().exists());
    let (over, log) = bed.ended(&id).await;
    assert_eq!(state(&over).ended.as_ref().unwrap().exit_code, Some(4));
    assert_eq!(String::from_utf8_lossy(&log), "inside\r\n");
    bed.tmux(&["kill-server"]);
    let _ = std::fs::remove_file(bed.socket());
}

/// What tmux, its formats, its clock and a shell would make something of, in the name of a directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_any_name_will_do() {
    let mut bed = Bed::local_in("a b'c\"#(touch pwned)#{pid}%H$HOME;`x`\\~é");
    let (id, _) = bed.session("echo inside; exit 4").await;
    let (over, log) = bed.ended(&id).await;
    assert_eq!(state(&over).ended.as_ref().unwrap().exit_code, Some(4));
    assert_eq!(String::from_utf8_lossy(&log), "inside\r\n");
}

//! What outlives a helper, and what does not.

use std::os::unix::fs::PermissionsExt as _;

use outlast_client::helper_v1::{
    ExecRequest, ExecStart, RunJobRequest, exec_request, exec_response, run_job_response::Event,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::bed::{Bed, Way, eventually, is_alive, new_id, state, within};

/// Jobs and sessions go on and are found again; programs of `exec` and attachments end.
async fn outlives(kill: bool) {
    let mut bed = Bed::new(Way::Command).await;
    let job = new_id();
    let request = bed.run_request(
        &job,
        "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exit 6",
        Some(0),
    );
    let mut first = bed.client.run_job(request).await.unwrap().into_inner();
    while !matches!(
        first.message().await.unwrap().unwrap().event,
        Some(Event::Chunk(_))
    ) {}
    let (session, started) = bed.session("echo ready; read x; echo got $x; exit 7").await;
    bed.shows(&session, "ready").await;
    let exec = exec_request::Event::Start(ExecStart {
        command: ["sh", "-c", "trap '' HUP; sleep 600 & echo $$ $!; wait"]
            .map(str::to_owned)
            .to_vec(),
        cwd: "/".to_owned(),
        ..ExecStart::default()
    });
    let (input, requests) = mpsc::channel(1);
    input.send(ExecRequest { event: Some(exec) }).await.unwrap();
    let mut exec = bed
        .client
        .exec(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let pids: Vec<u32> = loop {
        if let Some(exec_response::Event::Stdout(bytes)) = exec.message().await.unwrap().unwrap().event {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            break text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        }
    };
    // Also the input: a call whose input goes on is not over for HTTP/2.
    drop((first, exec, input));

    bed.replace_helper(kill).await;
    if !kill {
        // One that is killed cannot end them; that is the business of whoever kills it.
        eventually("the end of the program", || {
            !pids.iter().any(|pid| is_alive(*pid))
        })
        .await;
    }
    for pid in pids.into_iter().filter(|pid| is_alive(*pid)) {
        crate::bed::kill(pid);
    }
    assert!(is_alive(started.pid));
    let mut watching = bed.watch(&session).await;
    let now = watching.until("the session", |now| now.in_tmux).await;
    assert_eq!(state(&now).started, Some(started));
    std::fs::write(bed.dir.join("go"), "").unwrap();
    let again = RunJobRequest {
        id: job,
        spec_json: Vec::new().into(),
        from: Some(4),
    };
    let mut again = bed.client.run_job(again).await.unwrap().into_inner();
    let (mut log, mut code) = (Vec::new(), None);
    while let Some(response) = again.message().await.unwrap() {
        match response.event.unwrap() {
            Event::Chunk(chunk) => log.extend_from_slice(&chunk.data),
            Event::Ended(outcome) => code = outcome.exit_code,
            Event::Started(_) => {}
            Event::Lost(lost) => panic!("{lost:?}"),
        }
    }
    assert_eq!((log.as_slice(), code), (b"two\n".as_slice(), Some(6)));
    let send = outlast_client::helper_v1::SendSessionRequest {
        id: session.clone(),
        text: b"it".to_vec().into(),
        keys: vec!["Enter".to_owned()],
        paste: false,
    };
    bed.client.send_session(send).await.unwrap();
    let (over, log) = bed.ended(&session).await;
    assert_eq!(state(&over).ended.as_ref().unwrap().exit_code, Some(7));
    assert!(String::from_utf8_lossy(&log).ends_with("got it\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_outlives_a_helper_that_leaves() {
    within(outlives(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_outlives_a_helper_that_is_killed() {
    within(outlives(true)).await;
}

/// tmux keeps a control client whose process lives but whose output nobody reads for ever, and does not end before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_helper_leaves_no_control_client() {
    let mut bed = Bed::new(Way::Command).await;
    bed.session("sleep 600").await;
    for round in 1..=5 {
        bed.replace_helper(true).await;
        bed.session("sleep 600").await;
        let clients = || bed.tmux(&["list-clients", "-F", "#{client_pid}"]).lines().count();
        eventually("one control client", || clients() == 1).await;
        assert_eq!(bed.tmux(&["list-sessions"]).matches("o-").count(), round + 1);
    }
}

/// A control client that is killed before it has said who it is takes the tmux server with it, and all sessions.
async fn control_client_is_asked_to_leave(kill: bool) {
    let bin = tempfile::tempdir().unwrap();
    let left = bin.path().join("left");
    let real = std::env::var("PATH").unwrap();
    // Stands between the helper and tmux where it is a control client, and says when that has ended in good order: asked to,
    // or at the end of its input. Killed, it says nothing.
    let script = format!(
        "#!/bin/sh\nPATH='{real}'; export PATH\ncase \" $* \" in *' -C '*) ;; *) exec tmux \"$@\" ;; esac\n\
         exec 3<&0\ntmux \"$@\" <&3 & tmux=$!\ntrap 'kill $tmux' TERM\nwait $tmux; wait $tmux; : >{}\n",
        left.display()
    );
    let wrapper = bin.path().join("tmux");
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{real}", bin.path().display());
    let mut bed = Bed::command_with(|_home| vec![("PATH", path)]).await;
    let (_, started) = bed.session("sleep 600").await;
    bed.replace_helper(kill).await;
    eventually("the control client to end in good order", || left.exists()).await;
    assert!(is_alive(started.pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_helper_does_not_have_its_control_client_killed() {
    within(control_client_is_asked_to_leave(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_that_leaves_does_not_kill_its_control_client() {
    within(control_client_is_asked_to_leave(false)).await;
}

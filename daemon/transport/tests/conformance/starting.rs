//! Runs of sessions that are started by several helpers, as when a daemon is killed in the midst of a start and the next
//! one goes on with it, while the pane is slow to come up.

use outlast_client::helper_v1::{StartSessionRequest, StartSessionResponse, StopSessionRequest};
use outlast_transport::HelperClient;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::bed::{Bed, eventually, is_alive, new_id, state, within};

type Starting = JoinHandle<Result<StartSessionResponse, Status>>;

fn start(client: &HelperClient, request: &StartSessionRequest) -> Starting {
    let (mut client, request) = (client.clone(), request.clone());
    tokio::spawn(async move { Ok(client.start_session(request).await?.into_inner()) })
}

/// Starts a run by two helpers, the second while the pane of the first has not said yet that it is there.
async fn started_twice(bed: &mut Bed, request: StartSessionRequest) {
    let panes = bed.late_panes();
    let first = start(&bed.client, &request);
    eventually("the first pane", || bed.late_panes() > panes).await;
    let clients = || bed.tmux(&["list-clients", "-F", "#{client_pid}"]).lines().count();
    eventually("one control client", || clients() == 1).await;
    let second = start(&bed.another_local(), &request);
    // It asks tmux only after it has found that nobody runs this.
    eventually("the second helper to come to tmux", || clients() == 2).await;
    bed.let_panes_go();
    let [first, second] =
        [first, second].map(|started| async { started.await.unwrap().unwrap().started.unwrap() });
    let (first, second) = (first.await, second.await);
    assert_eq!(first, second);
    assert_eq!(first.run, request.run);
    let mut watching = bed.watch(&request.id).await;
    let now = watching.until("the session", |now| now.in_tmux).await;
    assert!(state(&now).alive && state(&now).lost.is_none(), "{now:?}");
    assert_eq!(state(&now).started, Some(first));
    bed.shows(&request.id, &format!("run {}", request.run)).await;
    assert!(is_alive(first.pid));
    assert_eq!(
        bed.late_panes(),
        panes + 1,
        "a pane was replaced by another of its run"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_taken_up_by_another_helper_does_not_lose_the_session() {
    within(async {
        let mut bed = Bed::with_late_panes();
        let id = new_id();
        let script = "echo x >>count; echo run $(wc -l <count); exec cat";
        let request = bed.start_request(&id, 1, script);
        started_twice(&mut bed, request).await;

        let stop = StopSessionRequest {
            id: id.clone(),
            grace: None,
        };
        bed.client.stop_session(stop).await.unwrap();
        bed.ended(&id).await;
        std::fs::remove_file(bed.dir.join("go")).unwrap();
        // The pane of the first run is in tmux still.
        let request = bed.start_request(&id, 2, script);
        started_twice(&mut bed, request).await;
    })
    .await;
}

/// Somebody removed its directory while it ran: tmux has its pane still, and that must not pass for the new run's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_directory_was_removed_is_started_anew_and_once() {
    within(async {
        let mut bed = Bed::with_late_panes();
        bed.let_panes_go();
        let (id, old) = bed.session("echo old; exec cat").await;
        bed.shows(&id, "old").await;
        let directory = bed.root.session(&id).path().to_owned();
        eventually("the directory to be gone", || {
            // What is written there meanwhile keeps it for another time.
            let _ = std::fs::remove_dir_all(&directory);
            !directory.exists()
        })
        .await;
        std::fs::remove_file(bed.dir.join("go")).unwrap();
        let request = bed.start_request(&id, 2, "echo x >>count; echo run 2; exec cat");
        started_twice(&mut bed, request).await;
        eventually("the end of the old program", || !is_alive(old.pid)).await;
        assert_eq!(std::fs::read_to_string(bed.dir.join("count")).unwrap(), "x\n");
    })
    .await;
}

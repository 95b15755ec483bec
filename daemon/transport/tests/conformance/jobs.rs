//! Jobs.

use std::fs;

use outlast_client::{
    helper_v1::{
        CancelJobRequest, DeleteJobRequest, ListJobsRequest, Outcome, ReadLogRequest, RunJobRequest,
        RunJobResponse, SpoolKind, Started, run_job_response::Event,
    },
    v1::ErrorKind,
};
use serde_json::Value;
use tonic::Streaming;

use crate::{
    bed::{Bed, Way, error, eventually, is_alive, kill, new_id, within},
    over_all,
};

over_all!(
    a_job_is_run_and_reported,
    a_log_is_resumed_from_any_offset,
    a_repeat_starts_nothing,
    what_was_seen_running_is_never_started_again,
    a_job_is_cancelled,
    jobs_are_listed_without_their_secrets_and_deleted,
    a_killed_supervisor_is_a_lost_job,
    bad_requests_are_refused,
    many_streams_at_once,
    a_followed_log_is_whole,
);

#[derive(Debug, Default)]
struct Ran {
    started: Option<Started>,
    /// Bytes by stream: nothing, standard output, standard error.
    streams: [Vec<u8>; 3],
    next: Option<u64>,
    outcome: Option<Outcome>,
    lost: Option<String>,
}

async fn follow(mut stream: Streaming<RunJobResponse>) -> Ran {
    let mut ran = Ran::default();
    while let Some(response) = stream.message().await.unwrap() {
        assert!(
            ran.outcome.is_none() && ran.lost.is_none(),
            "something came after the end"
        );
        match response.event.unwrap() {
            Event::Started(started) => {
                assert!(ran.started.replace(started).is_none(), "started twice");
            }
            Event::Chunk(chunk) => {
                if let Some(next) = ran.next {
                    assert_eq!(chunk.offset, next, "a gap or a repeat");
                }
                ran.next = Some(chunk.offset + chunk.data.len() as u64);
                ran.streams[chunk.stream as usize].extend_from_slice(&chunk.data);
            }
            Event::Ended(outcome) => ran.outcome = Some(outcome),
            Event::Lost(lost) => ran.lost = Some(lost.reason),
        }
    }
    ran
}

async fn run(bed: &mut Bed, request: RunJobRequest) -> Streaming<RunJobResponse> {
    bed.client.run_job(request).await.unwrap().into_inner()
}

/// Reports on a job that was started.
async fn again(bed: &mut Bed, id: &str, from: Option<u64>) -> Ran {
    let request = RunJobRequest {
        id: id.to_owned(),
        spec_json: Vec::new().into(),
        from,
    };
    follow(run(bed, request).await).await
}

async fn a_job_is_run_and_reported(mut bed: Bed) {
    let id = new_id();
    let request = bed.run_request(&id, "printf 'out\\377'; echo err >&2; exit 7", Some(0));
    let ran = follow(run(&mut bed, request).await).await;
    let started = ran.started.unwrap();
    assert!(started.pid > 0 && started.started_at_ms > 0 && started.run == 1);
    assert_eq!(ran.streams[1], b"out\xff");
    assert_eq!(ran.streams[2], b"err\n");
    let outcome = ran.outcome.unwrap();
    assert_eq!((outcome.exit_code, outcome.signal), (Some(7), None));
    assert_eq!((outcome.log_bytes, outcome.dropped_bytes), (8, 0));
    assert!(outcome.ended_at_ms >= started.started_at_ms && outcome.max_rss_bytes.unwrap() > 0);

    let ran = again(&mut bed, &id, None).await;
    assert_eq!(ran.started, Some(started));
    assert_eq!(
        (ran.streams, ran.outcome),
        (<[Vec<u8>; 3]>::default(), Some(outcome))
    );
}

async fn a_log_is_resumed_from_any_offset(mut bed: Bed) {
    let id = new_id();
    let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; kill -TERM $$";
    let request = bed.run_request(&id, script, Some(0));
    let mut first = run(&mut bed, request).await;
    loop {
        if let Some(Event::Chunk(chunk)) = first.message().await.unwrap().unwrap().event {
            assert_eq!(chunk.data.as_ref(), b"one\n");
            break;
        }
    }
    drop(first);
    let request = bed.run_request(&id, script, Some(2));
    let second = run(&mut bed, request).await;
    fs::write(bed.dir.join("go"), "").unwrap();
    let ran = follow(second).await;
    assert_eq!(ran.streams[1], b"e\ntwo\n");
    assert_eq!(ran.outcome.unwrap().signal, Some(15));
    assert_eq!(again(&mut bed, &id, Some(7)).await.streams[1], b"\n");
}

async fn a_repeat_starts_nothing(mut bed: Bed) {
    let id = new_id();
    let request = bed.run_request(&id, "echo x >> count; sleep 0.2", None);
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, request) = (bed.client.clone(), request.clone());
            tokio::spawn(async move { follow(client.run_job(request).await.unwrap().into_inner()).await })
        })
        .collect();
    for ran in runs {
        assert_eq!(ran.await.unwrap().outcome.unwrap().exit_code, Some(0));
    }
    follow(run(&mut bed, request).await).await;
    assert_eq!(fs::read_to_string(bed.dir.join("count")).unwrap(), "x\n");
}

/// As after a loss of power that took the report along, which is not flushed before the program runs.
async fn what_was_seen_running_is_never_started_again(mut bed: Bed) {
    let id = new_id();
    let request = bed.run_request(&id, "echo ran >> runs", None);
    let ran = follow(run(&mut bed, request).await).await;
    assert!(ran.outcome.is_some());
    let dir = bed.root.job(&id);
    for name in ["report", "status", "lock", "control"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let ran = again(&mut bed, &id, None).await;
    assert_eq!((ran.started, ran.outcome), (None, None));
    assert_eq!(ran.lost.as_deref(), Some("its report is gone"));
    assert_eq!(fs::read_to_string(bed.dir.join("runs")).unwrap(), "ran\n");
}

async fn a_job_is_cancelled(mut bed: Bed) {
    let id = new_id();
    let cancel = |grace| CancelJobRequest {
        id: id.clone(),
        grace: Some(prost_types::Duration {
            seconds: grace,
            nanos: 0,
        }),
    };
    let request = bed.run_request(&id, "trap '' TERM; echo up; sleep 600 & wait; sleep 600", Some(0));
    let mut stream = run(&mut bed, request).await;
    while !matches!(
        stream.message().await.unwrap().unwrap().event,
        Some(Event::Chunk(_))
    ) {}
    let refused = bed
        .client
        .delete_job(DeleteJobRequest { id: id.clone() })
        .await
        .unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::WrongState);
    assert!(
        bed.client
            .cancel_job(cancel(600))
            .await
            .unwrap()
            .into_inner()
            .told
    );
    // A second request shortens the grace of the first.
    assert!(bed.client.cancel_job(cancel(0)).await.unwrap().into_inner().told);
    let outcome = follow(stream).await.outcome.unwrap();
    assert_eq!(
        (outcome.signal, outcome.reason.as_deref()),
        (Some(9), Some("cancelled"))
    );
    assert!(!bed.client.cancel_job(cancel(0)).await.unwrap().into_inner().told);
}

async fn jobs_are_listed_without_their_secrets_and_deleted(mut bed: Bed) {
    let (id, other) = (new_id(), new_id());
    for id in [&id, &other] {
        let request = bed.run_request(id, "echo $SECRET", Some(0));
        assert_eq!(follow(run(&mut bed, request).await).await.streams[1], b"canary\n");
    }
    let jobs = bed
        .client
        .list_jobs(ListJobsRequest {})
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        let spec: Value = serde_json::from_slice(&job.spec_json).unwrap();
        assert_eq!(
            (spec["id"].as_str().unwrap(), &spec["env"]),
            (job.id.as_str(), &Value::Null)
        );
        let state = job.state.as_ref().unwrap();
        assert!(!state.alive && state.log_bytes == 7);
        assert_eq!(state.ended.as_ref().unwrap().exit_code, Some(0));
    }
    let delete = DeleteJobRequest { id: id.clone() };
    let freed = bed
        .client
        .delete_job(delete.clone())
        .await
        .unwrap()
        .into_inner()
        .freed_bytes;
    assert_eq!(freed, 7);
    assert_eq!(
        bed.client
            .delete_job(delete)
            .await
            .unwrap()
            .into_inner()
            .freed_bytes,
        0
    );
    let jobs = bed
        .client
        .list_jobs(ListJobsRequest {})
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), [other]);
}

async fn a_killed_supervisor_is_a_lost_job(mut bed: Bed) {
    let id = new_id();
    let request = bed.run_request(&id, "trap '' TERM; echo up; sleep 600 & wait; sleep 600", Some(0));
    let mut stream = run(&mut bed, request).await;
    let Some(Event::Started(started)) = stream.message().await.unwrap().unwrap().event else {
        panic!("no word of the start");
    };
    let report = bed.root.job(&id).read_report().unwrap().unwrap();
    kill(report.supervisor_pid);
    let ran = follow(stream).await;
    assert_eq!(ran.lost.as_deref(), Some("supervisor killed"));
    assert!(!is_alive(started.pid), "lost must mean that nothing runs");
    assert_eq!(
        again(&mut bed, &id, None).await.lost.as_deref(),
        Some("supervisor killed")
    );
}

async fn bad_requests_are_refused(mut bed: Bed) {
    for id in [
        "",
        "..",
        "../../x",
        "a/b",
        "A7E1C2D4-0000-4000-8000-000000000001",
        "#(touch x)",
    ] {
        let request = bed.run_request(id, "true", None);
        let refused = bed.client.run_job(request).await.unwrap_err();
        assert_eq!(error(&refused).0, ErrorKind::Usage, "{id:?}");
        let refused = bed
            .client
            .delete_job(DeleteJobRequest { id: id.to_owned() })
            .await
            .unwrap_err();
        assert_eq!(error(&refused).0, ErrorKind::Usage, "{id:?}");
    }
    let id = new_id();
    let mut request = bed.run_request(&new_id(), "true", None);
    request.id = id.clone();
    let refused = bed.client.run_job(request).await.unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::Usage, "the spec of another job");
    let absent = RunJobRequest {
        id,
        ..RunJobRequest::default()
    };
    let refused = bed.client.run_job(absent).await.unwrap_err();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
    assert!(bed.root.jobs().unwrap().is_empty());
}

/// Readers who do not read hold up nobody, whoever they are.
async fn many_streams_at_once(mut bed: Bed) {
    let id = new_id();
    let request = bed.run_request(&id, "head -c 20000000 /dev/zero; echo; sleep 600", None);
    let mut own = run(&mut bed, request).await;
    own.message().await.unwrap().unwrap();
    let read = ReadLogRequest {
        kind: SpoolKind::Job.into(),
        id: id.clone(),
        from: 0,
        follow: true,
    };
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(bed.client.read_log(read.clone()).await.unwrap().into_inner());
    }
    eventually("20 MB of log", || bed.root.job(&id).log_len() == 20_000_001).await;
    // Twenty others come and go meanwhile.
    let others: Vec<_> = (0..20)
        .map(|number| {
            let request = bed.run_request(&new_id(), &format!("echo {number}"), Some(0));
            let mut client = bed.client.clone();
            tokio::spawn(async move {
                let ran = follow(client.run_job(request).await.unwrap().into_inner()).await;
                assert_eq!(ran.streams[1], format!("{number}\n").as_bytes());
            })
        })
        .collect();
    for other in others {
        other.await.unwrap();
    }
    bed.root.job(&id).signal_end(std::time::Duration::ZERO).unwrap();
    for mut stream in stalled {
        let mut count = 0;
        while let Some(response) = stream.message().await.unwrap() {
            let chunk = response.chunk.unwrap();
            assert_eq!(chunk.offset, count);
            count += chunk.data.len() as u64;
        }
        assert_eq!(count, 20_000_001);
    }
}

async fn a_followed_log_is_whole(mut bed: Bed) {
    let id = new_id();
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; echo err $i >&2; i=$((i+1)); done";
    let request = bed.run_request(&id, script, Some(0));
    let ran = follow(run(&mut bed, request).await).await;
    let lines = |word: &str| (0..2000).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert_eq!(String::from_utf8_lossy(&ran.streams[1]), lines("line"));
    assert_eq!(String::from_utf8_lossy(&ran.streams[2]), lines("err"));
    assert_eq!(ran.next, Some(ran.outcome.unwrap().log_bytes));
}

/// Who clears caches takes the helper's file from under a connection that lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_whose_file_was_removed_is_put_back() {
    within(async {
        let mut bed = Bed::new(Way::Command).await;
        let file = bed.installed();
        let program = fs::read(&file).unwrap();
        let cache = bed.dir.with_file_name("c");
        fs::remove_dir_all(&cache).unwrap();
        let request = bed.run_request(&new_id(), "echo done", Some(0));
        let ran = follow(run(&mut bed, request).await).await;
        assert_eq!(ran.streams[1], b"done\n");
        assert!(fs::read(&file).unwrap() == program);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        fs::remove_file(&file).unwrap();
        let (id, _) = bed.session("echo done").await;
        let (_, log) = bed.ended(&id).await;
        assert_eq!(log, b"done\r\n");
    })
    .await;
}

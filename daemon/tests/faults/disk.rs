//! A disk that is full while a job writes.

use std::fs;

use outlast_client::v1::{
    GetJobRequest, LogStream, ReadJobLogRequest, job_service_client::JobServiceClient, read_job_log_response,
};
use outlast_testkit::{Client, Namespace, Sandbox, wait_until};

use crate::PATIENCE;

#[test]
fn a_full_disk_costs_output_but_neither_the_job_nor_the_daemon() {
    let sandbox = Sandbox::new();
    // Ten megabytes hold all state of outlast; half of them is taken by something that can be removed again.
    let disk = "mkdir -p \"$1/state/outlast\"
        mount -t tmpfs -o size=10m,mode=0700 outlast-test \"$1/state/outlast\"
        head -c 5000000 /dev/zero >\"$1/state/outlast/ballast\"";
    let namespace = Namespace::new(&sandbox, disk);
    let home = sandbox.home();
    let script = "head -c 20000000 /dev/zero; touch written; \
                  while [ ! -e go-on ]; do sleep 0.05; done; echo after; exit 3";
    let job = namespace
        .outlast(&sandbox, &["run", "-d", "--", "sh", "-c", script])
        .success()
        .word();
    wait_until(
        PATIENCE,
        "the job to have written more than the disk holds",
        || home.join("written").exists().then_some(()),
    );
    // The daemon still answers, whatever it can no longer write.
    drop(namespace.outlast(&sandbox, &["status"]).success());
    drop(
        namespace
            .run(
                &sandbox,
                PATIENCE,
                "rm",
                &[sandbox.state_dir().join("ballast").to_str().unwrap()],
            )
            .success(),
    );
    fs::write(home.join("go-on"), "").unwrap();
    drop(namespace.outlast(&sandbox, &["job", "wait", &job]).code(3));

    let client = Client::new(&sandbox, PATIENCE);
    let shown = client.call(async |channel| {
        let request = GetJobRequest { job: job.clone() };
        JobServiceClient::new(channel).get_job(request).await
    });
    let shown = shown.job.unwrap();
    assert!(shown.dropped_bytes > 0, "{shown:?}");
    let (mut marked, mut last, mut kept) = (false, Vec::new(), 0);
    client.until(async |channel| {
        let request = ReadJobLogRequest {
            job: job.clone(),
            ..ReadJobLogRequest::default()
        };
        let mut stream = JobServiceClient::new(channel)
            .read_job_log(request)
            .await?
            .into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(read_job_log_response::Event::Chunk(chunk)) = message.event {
                marked |= chunk.stream() == LogStream::Marker;
                if chunk.stream() == LogStream::Stdout {
                    kept += chunk.data.len() as u64;
                    last = chunk.data.to_vec();
                }
            }
        }
        Ok(true)
    });
    assert!(marked, "nothing marks the loss");
    assert!(
        last.ends_with(b"after\n"),
        "what came after the disk was full is missing"
    );
    assert_eq!(kept + shown.dropped_bytes, 20_000_000 + "after\n".len() as u64);

    drop(namespace.outlast(&sandbox, &["run", "--", "true"]).success());
}

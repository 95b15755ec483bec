//! Killed at any moment, the store keeps every answer it gave.

use std::path::Path;

use outlast_model::{id::Id, job::JobState};
use outlast_store::{Created, Store, job_event};

use crate::{
    child::Role,
    fixture::{directory, ended, job, request},
};

const ROUNDS: u64 = 12;

/// What the killed process does: several writers at once, each telling what was acknowledged.
pub fn write(directory: &Path, say: fn(&str)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(directory).unwrap().store;
        let writers: Vec<_> = (0..4)
            .map(|writer| tokio::spawn(work(store.clone(), writer, say)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn work(store: Store, writer: u32, say: fn(&str)) {
    for round in 0_u32.. {
        let first = job();
        let wish = request(&format!("for-{}", first.id), 1);
        store.create_job(&first, Some(&wish)).await.unwrap();
        say(&format!("created {}", first.id));
        let done = ended(&first, 0);
        store.update_job(&done, job_event(&done), true).await.unwrap();
        say(&format!("ended {}", first.id));
        if round % 40 == 39 {
            store.delete_jobs(&[first.id]).await.unwrap();
            say(&format!("removed {}", first.id));
        }
        if writer == 0 && round % 60 == 59 {
            store.backup().await.unwrap();
        }
    }
}

#[test]
fn a_store_killed_at_any_moment_keeps_what_it_answered() {
    let dir = directory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut chance = seed;
    let mut acknowledged = Vec::new();
    for _ in 0..ROUNDS {
        // Knuth's MMIX generator; any scatter will do.
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let lines = (chance >> 33) % 150;
        let mut writer = Role::start("write", dir.path());
        for _ in 0..lines {
            acknowledged.push(writer.next_line().expect("it writes until it is killed"));
        }
        writer.kill();
        // What it had said but was not read yet counts too.
        acknowledged.extend(std::iter::from_fn(|| writer.next_line()));
        runtime.block_on(verify(dir.path(), &acknowledged));
    }
    assert!(acknowledged.len() > 100, "it wrote too little to show anything");
}

async fn verify(dir: &Path, acknowledged: &[String]) {
    let opened = Store::open(dir).unwrap();
    assert_eq!(opened.notice, None, "a kill is no damage");
    let store = opened.store;
    store.check().await.unwrap();
    let mut wanted = std::collections::HashMap::new();
    for line in acknowledged {
        let (what, id) = line.split_once(' ').unwrap();
        wanted.insert(id.parse::<Id>().unwrap(), what);
    }
    for (id, what) in wanted {
        let stored = store.job(id).await.unwrap();
        match (what, &stored) {
            ("removed", None) => {}
            // One step more may have been written than was told.
            ("created", Some(_)) => {}
            ("ended", Some(job)) => assert_eq!(job.state, JobState::Succeeded),
            ("ended", None) => {
                // Only as the removal of one that ended.
                let removed = store.events_after(0, 10_000).await.unwrap().events;
                assert!(
                    removed
                        .iter()
                        .any(|event| event.kind == "job.removed" && event.subject == id.to_string())
                );
            }
            other => panic!("{id}: {other:?}"),
        }
        if let Some(job) = stored {
            let repeat = store
                .create_job(&crate::fixture::job(), Some(&request(&format!("for-{id}"), 1)))
                .await;
            assert_eq!(repeat.unwrap(), Created::Repeat(job));
        }
    }
    let page = store.events_after(0, 10_000).await.unwrap();
    let numbers: Vec<_> = page.events.iter().map(|event| event.seq).collect();
    assert_eq!(
        numbers,
        (1..=u64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>(),
        "no hole, no repeat"
    );
    store.close().await.unwrap();
}

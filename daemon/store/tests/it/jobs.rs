use std::collections::BTreeSet;

use outlast_model::{id::Id, job::JobState};
use outlast_store::{Created, JobFilter, Resolved, StoreError, job_event};
use proptest::prelude::*;

use crate::fixture::{directory, ended, job, named_job, open};

#[tokio::test]
async fn a_job_reads_back_as_it_was_written_after_reopening() {
    let dir = directory();
    let store = open(dir.path());
    let queued = named_job("build");
    assert_eq!(
        store.create_job(&queued, None).await.unwrap(),
        Created::New(queued.clone())
    );
    assert_eq!(store.job(queued.id).await.unwrap(), Some(queued.clone()));
    let mut done = ended(&queued, 7);
    done.cancel_grace_ms = Some(10_000);
    done.reason = Some("because".to_owned());
    store.update_job(&done, job_event(&done), true).await.unwrap();
    store.close().await.unwrap();
    assert!(
        !dir.path().join("state.db-wal").exists(),
        "a clean close leaves no log behind"
    );

    let store = open(dir.path());
    assert_eq!(store.job(queued.id).await.unwrap(), Some(done));
    assert_eq!(store.job(Id::random()).await.unwrap(), None);
}

#[tokio::test]
async fn a_flush_finds_the_log_whether_or_not_there_is_one() {
    let dir = directory();
    let store = open(dir.path());
    let queued = job();
    store.create_job(&queued, None).await.unwrap();
    let done = ended(&queued, 0);
    store.update_job(&done, job_event(&done), false).await.unwrap();
    assert!(dir.path().join("state.db-wal").exists());
    store.flush().await.unwrap();
    store.close().await.unwrap();
    // All of it is in the database now.
    store.flush().await.unwrap();
}

#[tokio::test]
async fn numbers_too_large_for_the_database_are_kept_as_the_largest() {
    let dir = directory();
    let store = open(dir.path());
    let mut job = ended(&job(), 0);
    job.timeout_ms = Some(u64::MAX);
    job.outcome.as_mut().unwrap().log_bytes = u64::MAX;
    store.create_job(&job, None).await.unwrap();
    let read = store.job(job.id).await.unwrap().unwrap();
    assert_eq!(read.timeout_ms, Some(i64::MAX as u64));
    assert_eq!(read.outcome.unwrap().log_bytes, i64::MAX as u64);
}

#[tokio::test]
async fn a_name_is_taken_only_while_its_job_lives() {
    let dir = directory();
    let store = open(dir.path());
    let first = named_job("build");
    store.create_job(&first, None).await.unwrap();
    let second = named_job("build");
    match store.create_job(&second, None).await {
        Err(StoreError::NameTaken {
            holder, noun: "job", ..
        }) => assert_eq!(holder, first.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.job(second.id).await.unwrap(), None);
    let first = ended(&first, 0);
    store.update_job(&first, job_event(&first), true).await.unwrap();
    store.create_job(&second, None).await.unwrap();
    assert_eq!(
        store.resolve_job("build").await.unwrap(),
        Resolved::One(second.clone()),
        "the live one is meant"
    );

    let second = ended(&second, 0);
    store.update_job(&second, job_event(&second), true).await.unwrap();
    let third = named_job("build");
    store.create_job(&third, None).await.unwrap();
    let third = ended(&third, 1);
    store.update_job(&third, job_event(&third), true).await.unwrap();
    assert_eq!(
        store.resolve_job("build").await.unwrap(),
        Resolved::One(third),
        "else the newest ended one"
    );
}

#[tokio::test]
async fn a_state_does_not_go_back_whoever_writes_late() {
    let dir = directory();
    let store = open(dir.path());
    let queued = job();
    store.create_job(&queued, None).await.unwrap();
    let done = ended(&queued, 0);
    store.update_job(&done, job_event(&done), true).await.unwrap();
    let before = *store.position().borrow();
    let mut late = queued.clone();
    late.state = JobState::Running;
    match store.update_job(&late, job_event(&late), true).await {
        Err(StoreError::Stale {
            stored: "succeeded",
            wanted: "running",
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.job(queued.id).await.unwrap(), Some(done));
    assert_eq!(
        *store.position().borrow(),
        before,
        "a refused update tells nobody anything"
    );
    let unknown = job();
    let missing = store.update_job(&unknown, job_event(&unknown), true).await;
    assert!(matches!(missing, Err(StoreError::Missing { .. })), "{missing:?}");
}

#[tokio::test]
async fn an_id_is_given_once() {
    let dir = directory();
    let store = open(dir.path());
    let job = job();
    store.create_job(&job, None).await.unwrap();
    let again = store.create_job(&job, None).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
}

#[tokio::test]
async fn only_ended_jobs_are_removed_and_each_removal_is_told() {
    let dir = directory();
    let store = open(dir.path());
    let (live, over) = (job(), ended(&named_job("old"), 3));
    store.create_job(&live, None).await.unwrap();
    store.create_job(&over, None).await.unwrap();
    let removed = store
        .delete_jobs(&[live.id, over.id, Id::random()])
        .await
        .unwrap();
    assert_eq!(removed, vec![over.clone()]);
    assert_eq!(store.job(over.id).await.unwrap(), None);
    assert!(store.job(live.id).await.unwrap().is_some());
    let events = store.events_after(2, 10).await.unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].kind.as_str(), events[0].subject.as_str()),
        ("job.removed", &*over.id.to_string())
    );
    assert_eq!(
        events[0].data,
        r#"{"host":"local","name":"old","state":"failed"}"#
    );
}

#[tokio::test]
async fn pages_hold_every_job_once_newest_first() {
    let dir = directory();
    let store = open(dir.path());
    let mut all = Vec::new();
    for _ in 0..25 {
        let job = job();
        store.create_job(&job, None).await.unwrap();
        all.insert(0, job.id);
    }
    let (mut seen, mut before) = (Vec::new(), None);
    for round in 0.. {
        let page = store
            .list_jobs(JobFilter {
                limit: 10,
                before,
                ..JobFilter::default()
            })
            .await
            .unwrap();
        seen.extend(page.items.iter().map(|job| job.id));
        if round == 0 {
            // What comes in between does not shift the pages.
            store.create_job(&job(), None).await.unwrap();
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
    let exact = store
        .list_jobs(JobFilter {
            limit: 26,
            ..JobFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(
        (exact.items.len(), exact.next),
        (26, None),
        "a full last page says that it is the last"
    );
}

#[tokio::test]
async fn filters_narrow_and_orders_hold() {
    let dir = directory();
    let store = open(dir.path());
    let mut jobs = Vec::new();
    for host in ["local", "far", "local", "100%"] {
        let job = outlast_model::job::Job {
            host: host.to_owned(),
            ..job()
        };
        store.create_job(&job, None).await.unwrap();
        jobs.push(job);
    }
    // They end in another order than they began.
    for at in [2, 0] {
        jobs[at] = ended(&jobs[at], i32::try_from(at).unwrap());
        jobs[at].outcome.as_mut().unwrap().ended_at = 1_000 + i64::try_from(at).unwrap();
        store
            .update_job(&jobs[at], job_event(&jobs[at]), false)
            .await
            .unwrap();
    }
    let list = async |filter: JobFilter| -> Vec<Id> {
        store
            .list_jobs(filter)
            .await
            .unwrap()
            .items
            .iter()
            .map(|job| job.id)
            .collect()
    };
    let filter = JobFilter::default;
    assert_eq!(
        list(JobFilter {
            hosts: vec!["100%".into()],
            ..filter()
        })
        .await,
        [jobs[3].id]
    );
    assert_eq!(
        list(JobFilter {
            hosts: vec!["%".into()],
            ..filter()
        })
        .await,
        []
    );
    assert_eq!(
        list(JobFilter {
            hosts: vec!["far".into(), "local".into()],
            states: vec![JobState::Queued],
            ..filter()
        })
        .await,
        [jobs[1].id]
    );
    let states = vec![JobState::Succeeded, JobState::Failed];
    assert_eq!(
        list(JobFilter { states, ..filter() }).await,
        [jobs[2].id, jobs[0].id]
    );
    assert_eq!(
        list(JobFilter {
            ended_before: Some(1_001),
            ..filter()
        })
        .await,
        [jobs[0].id]
    );
    let live: Vec<_> = store
        .live_jobs()
        .await
        .unwrap()
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(live, [jobs[1].id, jobs[3].id], "oldest first");
    assert_eq!(store.count_live_jobs().await.unwrap(), 2);
    let over: Vec<_> = store
        .ended_jobs(5)
        .await
        .unwrap()
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(over, [jobs[0].id, jobs[2].id], "what ended last comes first");
    assert_eq!(store.ended_jobs(1).await.unwrap().len(), 1);
}

#[test]
fn a_word_means_what_the_rule_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let dir = directory();
    let (store, jobs) = runtime.block_on(async {
        let store = open(dir.path());
        let mut jobs = Vec::new();
        // Names that look like ids, prefixes and patterns, some of jobs that ended.
        let names = ["a", "0", "f.", "deadbeef", "x_y", "build"];
        for number in 0..60 {
            let mut job = match names.get(number) {
                Some(name) => named_job(name),
                None => job(),
            };
            if number % 2 == 0 {
                job = ended(&job, 0);
            }
            store.create_job(&job, None).await.unwrap();
            jobs.push(job);
        }
        (store, jobs)
    });
    let ids: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let beginnings = (any::<prop::sample::Index>(), 0_usize..37)
        .prop_map(move |(which, length)| which.get(&ids).chars().take(length).collect::<String>());
    let words = prop_oneof![
        4 => beginnings,
        2 => prop::sample::select(vec!["a", "0", "f.", "deadbeef", "x_y", "x%y", "build", "%", "_", "", "a%", "A"])
            .prop_map(str::to_owned),
        1 => "[0-9a-g%_*?-]{0,4}",
        1 => any::<String>(),
    ];
    proptest!(ProptestConfig::with_cases(400), |(word in words)| {
        let wanted = match jobs.iter().find(|job| job.name.as_ref().is_some_and(|name| name.as_str() == word)) {
            Some(job) => Resolved::One(job.clone()),
            None => {
                let mut fitting: Vec<_> = jobs
                    .iter()
                    .filter(|job| !word.is_empty() && job.id.to_string().starts_with(&word))
                    .collect();
                fitting.sort_by_key(|job| job.id.to_string());
                match fitting.as_slice() {
                    [] => Resolved::None,
                    [job] => Resolved::One((*job).clone()),
                    several => Resolved::Many(several.iter().take(5).map(|job| job.id).collect()),
                }
            }
        };
        prop_assert_eq!(runtime.block_on(store.resolve_job(&word)).unwrap(), wanted);
    });
}

#[tokio::test]
async fn a_page_ends_early_where_command_lines_are_huge() {
    let dir = directory();
    let store = open(dir.path());
    let mut made = Vec::new();
    for _ in 0..12 {
        let mut job = job();
        job.command.push("x".repeat(1 << 20));
        store.create_job(&job, None).await.unwrap();
        made.push(job.id);
    }
    made.reverse();
    let (mut filter, mut found, mut pages) = (JobFilter::default(), Vec::new(), 0);
    loop {
        let page = store.list_jobs(filter.clone()).await.unwrap();
        assert!(page.items.len() < 12, "a page of {} MiB", page.items.len());
        pages += 1;
        found.extend(page.items.iter().map(|job| job.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    assert_eq!((found, pages), (made, 2));
}

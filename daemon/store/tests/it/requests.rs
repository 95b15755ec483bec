use outlast_model::job::JobState;
use outlast_store::{Created, StoreError, job_event};

use crate::fixture::{directory, ended, job, open, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_sent_sixteen_times_at_once_makes_one_job() {
    let dir = directory();
    let store = open(dir.path());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.create_job(&job(), Some(&request("same", 1))).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.is_repeat()).count(), 1);
    let id = answers[0].clone().into_inner().id;
    assert!(answers.into_iter().all(|answer| answer.into_inner().id == id));
    assert_eq!(store.live_jobs().await.unwrap().len(), 1);
    assert_eq!(*store.position().borrow(), 1, "and one event");
}

#[tokio::test]
async fn a_repeat_after_reopening_gets_the_first_job_as_it_is_now() {
    let dir = directory();
    let store = open(dir.path());
    let first = job();
    let wish = request("r", 1);
    store.create_job(&first, Some(&wish)).await.unwrap();
    let done = ended(&first, 0);
    store.update_job(&done, job_event(&done), true).await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert_eq!(
        store.create_job(&job(), Some(&wish)).await.unwrap(),
        Created::Repeat(done.clone())
    );
    let other = store.create_job(&job(), Some(&request("r", 2))).await;
    assert!(
        matches!(other, Err(StoreError::RequestConflict { .. })),
        "{other:?}"
    );
    store.delete_jobs(&[done.id]).await.unwrap();
    let gone = store.create_job(&job(), Some(&wish)).await;
    assert!(matches!(gone, Err(StoreError::Gone { .. })), "{gone:?}");
    assert!(store.live_jobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_intent_and_its_request_are_one() {
    let dir = directory();
    let store = open(dir.path());
    let first = job();
    store.create_job(&first, None).await.unwrap();
    let mut cancelling = first.clone();
    cancelling.cancel_grace_ms = Some(1);
    let wish = request("c", 1);
    let answer = store
        .request_job(&cancelling, job_event(&cancelling), &wish)
        .await
        .unwrap();
    assert_eq!(answer, Created::New(cancelling.clone()));
    let event = store.events_after(1, 1).await.unwrap().events.remove(0);
    assert_eq!(
        event.data,
        r#"{"cancelling":true,"host":"local","state":"queued"}"#
    );
    let mut other = first;
    other.state = JobState::Running;
    let repeat = store.request_job(&other, job_event(&other), &wish).await.unwrap();
    assert_eq!(repeat, Created::Repeat(cancelling));
}

#[tokio::test]
async fn a_request_without_a_row_is_recorded_once_with_what_was_answered() {
    let dir = directory();
    let store = open(dir.path());
    let wish = request("send", 1);
    assert_eq!(store.find_request(&wish).await.unwrap(), None);
    assert!(
        !store
            .record_request(&wish, "subject", None)
            .await
            .unwrap()
            .is_repeat()
    );
    store
        .set_request_outcome("send", "{\"log_offset\":7}")
        .await
        .unwrap();
    let again = store.record_request(&wish, "another", None).await.unwrap();
    assert!(again.is_repeat());
    let recorded = again.into_inner();
    assert_eq!(recorded.subject, "subject");
    assert_eq!(recorded.outcome.as_deref(), Some("{\"log_offset\":7}"));
    assert_eq!(store.find_request(&wish).await.unwrap(), Some(recorded.clone()));
    let other = store.find_request(&request("send", 2)).await;
    assert!(
        matches!(other, Err(StoreError::RequestConflict { .. })),
        "{other:?}"
    );
    assert_eq!(
        store.prune_requests(recorded.created_at).await.unwrap(),
        0,
        "not older than itself"
    );
    assert_eq!(store.prune_requests(recorded.created_at + 1).await.unwrap(), 1);
    assert_eq!(store.find_request(&wish).await.unwrap(), None);
}

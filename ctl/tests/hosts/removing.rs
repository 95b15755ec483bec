//! Forgetting a host: what goes along is said, and asked about.

use std::sync::Arc;

use outlast_client::v1;
use serde_json::json;

use crate::{
    daemon,
    fake::{Fake, Heard, Script},
};

#[test]
fn forgetting_a_host_says_what_goes_and_asks() {
    let (fake, asked) = daemon(|_| Vec::new());
    // Something runs there: that the daemon refuses is not asked about. This one does not refuse.
    let ran = fake.outlast(&["host", "remove", "build1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.err,
        "host build1 was forgotten with 3 jobs (1 live), 1 session and 2 syncs; what runs there goes on\n"
    );
    let removed = std::mem::take(&mut *asked.removed.lock().unwrap());
    assert_eq!(
        removed.iter().map(|request| request.dry_run).collect::<Vec<_>>(),
        [true, false]
    );
    assert!(removed[0].request_id.is_none() && removed[1].request_id.is_some());

    let removed = Heard::<bool>::default();
    let kept = Arc::clone(&removed);
    let fake = Fake::start(Script {
        remove_host: Some(Box::new(move |request| {
            kept.lock().unwrap().push(request.dry_run);
            Ok(v1::RemoveHostResponse {
                jobs: 2,
                ..v1::RemoveHostResponse::default()
            })
        })),
        ..Script::default()
    });
    let ran = fake.outlast(&["host", "remove", "build1"]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.err,
        "error: forget host build1 with 2 jobs: there is nobody to ask\nhint: add --yes to agree\n"
    );
    assert_eq!(*removed.lock().unwrap(), [true]);
    let ran = fake.outlast(&["--yes", "--json", "host", "remove", "build1"]);
    assert_eq!(
        ran.json(),
        json!({"name": "build1", "live_jobs": 0, "jobs": 2, "live_sessions": 0, "sessions": 0, "syncs": 0})
    );
    let ran = fake.outlast(&["host", "remove", "--force", "build1"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (0, "host build1 was forgotten with 2 jobs\n")
    );
}

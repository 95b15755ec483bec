//! A history is asked for in bounded parts.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use fake::{Fake, Script};
use outlast_client::v1;

/// Tells of nothing so often, and then of one command.
fn mostly_nothing(count: u32) -> (Fake, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let daemon = Fake::start(Script {
        session_history: Some(Box::new(move |_request| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            assert!(number < 100, "it goes on for ever");
            let found = v1::HistoryEntry {
                id: "7".to_owned(),
                kind: v1::HistoryKind::Command.into(),
                text: "make".to_owned(),
                exit_code: Some(2),
                ..v1::HistoryEntry::default()
            };
            let is_last = number == count;
            Ok(v1::ListSessionHistoryResponse {
                entries: is_last.then_some(found).into_iter().collect(),
                has_more: !is_last,
                next: (!is_last).then(|| (1000 - number).to_string()),
                ..v1::ListSessionHistoryResponse::default()
            })
        })),
        ..Script::default()
    });
    (daemon, asked)
}

#[test]
fn an_empty_array_is_the_end() {
    let (daemon, asked) = mostly_nothing(40);
    let ran = daemon.outlast(&["session", "history", "sh", "--json"]);
    assert_eq!(asked.load(Ordering::SeqCst), 41);
    let told: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
    assert_eq!(
        (&told[0]["id"], &told[0]["exit_code"], &told[1]),
        (&"7".into(), &2.into(), &serde_json::Value::Null),
        "{told}"
    );
}

#[test]
fn a_log_in_which_nothing_is_found_is_not_read_to_its_beginning() {
    let (daemon, asked) = mostly_nothing(u32::MAX);
    let ran = daemon.outlast(&["session", "history", "sh"]);
    assert_eq!(asked.load(Ordering::SeqCst), 16);
    assert!(ran.err.contains("nothing was found in this part"), "{}", ran.err);
    assert!(
        ran.err
            .contains("there is more: outlast session history sh --before 985"),
        "{}",
        ran.err
    );
}

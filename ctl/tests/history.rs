//! A history is asked for in bounded parts.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use fake::{Fake, Script};
use outlast_client::v1;

#[test]
fn a_log_in_which_nothing_is_found_is_not_read_to_its_beginning() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let daemon = Fake::start(Script {
        session_history: Some(Box::new(move |_request| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            assert!(number < 100, "it goes on for ever");
            Ok(v1::ListSessionHistoryResponse {
                has_more: true,
                next: Some((1000 - number).to_string()),
                ..v1::ListSessionHistoryResponse::default()
            })
        })),
        ..Script::default()
    });
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

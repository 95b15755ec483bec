//! Trusting a key, which takes its fingerprint.

use std::sync::Arc;

use outlast_client::v1::{self, Error, ErrorKind, Link};
use outlast_testkit::DEADLINE;

use crate::{
    fake::{Fake, Heard, Script},
    gone, pty, up,
};

/// A daemon with a host that shows another key, and the fingerprints it is told.
pub fn trusting() -> (Fake, Heard<String>) {
    let typed = Heard::default();
    let kept = Arc::clone(&typed);
    let changed = v1::Host {
        key_shown: Some("SHA256:new".to_owned()),
        keys_known: vec!["SHA256:old".to_owned()],
        ..gone("build1", Link::HostkeyChanged)
    };
    let fake = Fake::start(Script {
        hosts: [("build1".to_owned(), changed)].into(),
        trust_host: Some(Box::new(move |request| {
            kept.lock().unwrap().push(request.fingerprint.clone());
            if request.fingerprint != "SHA256:new" {
                return Err(Error::new(ErrorKind::Conflict, "the host shows SHA256:new").into_status());
            }
            Ok(v1::TrustHostResponse {
                host: Some(up("build1")),
                changed_files: vec!["/home/me/.ssh/known_hosts".to_owned()],
            })
        })),
        ..Script::default()
    });
    (fake, typed)
}

#[test]
fn a_key_is_trusted_by_its_fingerprint_only() {
    let (fake, typed) = trusting();
    let ran = fake.outlast(&["host", "trust", "build1", "--fingerprint", "SHA256:new"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.text().starts_with("build1\tssh\tup"), "{ran:?}");
    assert_eq!(
        ran.err,
        "changed: /home/me/.ssh/known_hosts\nhost build1 is connected by ssh2, round trip 0.4 ms\n"
    );
    let ran = fake.outlast(&["host", "trust", "build1", "--fingerprint", "SHA256:other"]);
    assert_eq!(ran.code, 4);
    // Not even yes to everything is a fingerprint.
    let ran = fake.outlast(&["--yes", "host", "trust", "build1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--fingerprint SHA256:"), "{}", ran.err);
    assert_eq!(*typed.lock().unwrap(), ["SHA256:new", "SHA256:other"]);
}

#[test]
fn at_a_terminal_both_keys_are_shown_and_the_fingerprint_is_typed() {
    let (fake, typed) = trusting();
    let mut pty = pty(&fake, &["host", "trust", "build1"]);
    pty.wait_text("tells it: ");
    let shown = pty.text();
    assert!(
        shown.contains("known:  SHA256:old") && shown.contains("shown:  SHA256:new"),
        "{shown}"
    );
    pty.write(b"SHA256:new\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(*typed.lock().unwrap(), ["SHA256:new"]);
}

//! Work that is to start when everything is there, while the host is away.

use std::fs;

use outlast_testkit::{DEADLINE, wait_until};

use crate::bed::{Bed, NAME};

#[test]
fn what_nobody_stays_for_is_refused_at_once_while_the_host_is_away() {
    let mut bed = Bed::new();
    fs::write(bed.source.join("f"), "here\n").unwrap();
    drop(bed.add(&[]).success());
    bed.unplug();
    fs::write(bed.source.join("f"), "changed\n").unwrap();
    let sync = format!("--sync={NAME}");
    let job = ["run", "-d", &sync, "--", "cat", "f"];
    let refused = bed.sandbox.outlast(&job).code(125);
    for part in [
        "the job was not started",
        "host far is away",
        "\nhint: outlast host check far",
    ] {
        assert!(refused.err().contains(part), "{part}: {refused}");
    }
    let session = ["session", "create", "web", &sync, "--sync-failure", "fail"];
    let refused = bed.sandbox.outlast(&session).code(6);
    assert!(refused.err().contains("the session was not started"), "{refused}");
    for noun in ["job", "session"] {
        let listed = bed.sandbox.outlast(&[noun, "list", "--json"]).success();
        assert_eq!(listed.json().as_array().map(Vec::len), Some(0), "{listed}");
    }
    // When it is there it is as before: what was saved is there first.
    bed.plug_in();
    let id = bed.sandbox.outlast(&job).success().word();
    wait_until(DEADLINE, "the end of the job", || {
        let shown = bed.sandbox.outlast(&["job", "show", &id, "--json"]).success();
        (shown.json()["state"] == "succeeded").then_some(())
    });
    assert_eq!(
        bed.sandbox.outlast(&["job", "logs", &id]).success().out(),
        "changed\n"
    );
}

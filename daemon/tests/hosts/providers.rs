//! Providers of another machine: found in the environment a login has there, and made to report there.

use std::fs;

use outlast_testkit::write_program;
use serde_json::Value;

use crate::bed::far;

#[test]
fn a_provider_is_checked_and_made_to_report_on_its_host() {
    let (sandbox, sshd) = far();
    let home = sshd.home();
    let bin = home.join("tools");
    fs::create_dir_all(&bin).unwrap();
    fs::write(
        home.join(".profile"),
        "PATH=$HOME/tools:$PATH CLAUDE_CONFIG_DIR=$HOME/conf; export PATH CLAUDE_CONFIG_DIR\n",
    )
    .unwrap();
    write_program(&bin.join("claude"), "#!/bin/sh\necho '1.2.3 (far)'\n");
    // What was known of the host is from before.
    drop(sandbox.outlast(&["host", "check", "far"]).success());
    let checked = sandbox
        .outlast(&["provider", "check", "claude", "--host", "far", "--json"])
        .success()
        .json();
    assert_eq!(checked["version"], "1.2.3 (far)", "{checked}");
    assert_eq!(checked["path"], bin.join("claude").display().to_string());
    let shown = sandbox
        .outlast(&["provider", "show", "claude", "--json"])
        .success()
        .json();
    assert_eq!(shown["checks"][0]["host"], "far");

    let change = |verb: &str| -> Value {
        let change = ["provider", verb, "claude", "--host", "far", "--yes", "--json"];
        sandbox.outlast(&change).success().json()
    };
    let installed = change("install");
    let settings = home.join("conf/settings.json");
    assert_eq!(installed["path"], settings.display().to_string(), "{installed}");
    assert!(fs::read_to_string(&settings).unwrap().contains("OUTLAST_HELPER"));
    assert_eq!(change("install")["changed"], false);
    assert_eq!(change("uninstall")["changed"], true);
    assert!(!settings.exists(), "it was not there before");

    drop(sandbox.outlast(&["host", "remove", "far", "--yes"]).success());
    let shown = sandbox
        .outlast(&["provider", "show", "claude", "--json"])
        .success()
        .json();
    assert_eq!(shown["checks"], serde_json::json!([]), "it went with its host");
}

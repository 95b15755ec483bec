//! Who may know whom. What is written in ARCHITECTURE.md about the direction of knowledge holds, because this fails
//! when it does not.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Every package of the workspace with the packages of the workspace it may depend on. `outlastd` is known to nobody.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("outlast-client", &[]),
    ("outlast-model", &[]),
    ("outlast-store", &["outlast-model"]),
    ("outlast-tree", &[]),
    ("outlast-helper", &["outlast-client", "outlast-tree"]),
    ("outlast-sync", &["outlast-client", "outlast-tree"]),
    ("outlast-transport", &["outlast-client", "outlast-helper"]),
    ("outlast-testkit", &["outlast-client"]),
    ("outlast", &["outlast-client"]),
    (
        "outlastd",
        &[
            "outlast-client",
            "outlast-helper",
            "outlast-model",
            "outlast-store",
            "outlast-sync",
            "outlast-transport",
        ],
    ),
];

/// Crates from outside that a package must not come to know directly, each with the reason.
const MUST_NOT_KNOW: &[(&str, &[&str], &str)] = &[
    (
        "outlast-model",
        &["tokio", "rusqlite", "tonic", "prost"],
        "it is pure",
    ),
    (
        "outlast-tree",
        &["tokio", "tonic", "prost", "rusqlite"],
        "it is pure but for the files it is told to read",
    ),
    ("outlast-store", &["tonic", "prost"], "it never calls out"),
    (
        "outlast-helper",
        &["rusqlite", "clap"],
        "it is small and keeps no state of its own",
    ),
    ("outlast-transport", &["rusqlite"], "it knows no table"),
    (
        "outlast-sync",
        &["rusqlite", "ssh2"],
        "it knows no table and no way to a host",
    ),
    (
        "outlast-client",
        &["rusqlite", "clap"],
        "it is the protocol and nothing else",
    ),
    (
        "outlast",
        &["rusqlite", "ssh2", "reqwest"],
        "it starts in a millisecond",
    ),
    (
        "outlastd",
        &["rusqlite", "clap_complete"],
        "all SQL is the store's",
    ),
];

/// Package name to the names of what it depends on at run or build time.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let names = |package: &Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    packages
        .iter()
        .map(|package| {
            (
                package["name"].as_str().unwrap_or_default().to_owned(),
                names(package),
            )
        })
        .collect()
}

#[test]
fn packages_know_only_whom_they_may() {
    let found = dependencies();
    let listed: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    let there: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(listed, there, "every package says in MAY_KNOW whom it may know");
    for (name, allowed) in MAY_KNOW {
        for known in &found[*name] {
            if there.contains(known.as_str()) {
                assert!(allowed.contains(&known.as_str()), "{name} must not know {known}");
            }
        }
    }
}

#[test]
fn packages_stay_free_of_what_is_not_theirs() {
    let found = dependencies();
    for (name, forbidden, reason) in MUST_NOT_KNOW {
        for known in *forbidden {
            assert!(
                !found[*name].contains(*known),
                "{name} must not use {known}: {reason}"
            );
        }
    }
}

//! What the README shows is true: its program is taken from the text and run.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use std::{env, fs, path::PathBuf};

use outlast_testkit::{DEADLINE, Sandbox, program, run};

/// The first block of code of a language in the README.
fn block(language: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = fs::read_to_string(path).expect("there is a README");
    let (_, rest) = text
        .split_once(&format!("```{language}\n"))
        .expect("the README has such a block");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// A Python that has the stock gRPC library.
fn python() -> PathBuf {
    let path = env::var_os("OUTLAST_TEST_PYTHON").map_or_else(
        || {
            let target = program("outlast").parent().unwrap().parent().unwrap().to_owned();
            target.join("test-venv/bin/python")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is not there: run packaging/test.sh, which installs Python's gRPC library, or set OUTLAST_TEST_PYTHON",
        path.display()
    );
    path
}

#[test]
fn the_python_program_lists_sessions() {
    let sandbox = Sandbox::new();
    drop(
        sandbox
            .outlast(&["session", "create", "web", "--", "cat"])
            .success(),
    );
    sandbox.wait_session("web", |state| state == "running");
    let source = block("python");
    let lines = source.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 10, "it is longer than ten lines: {lines}");
    let mut command = sandbox.command(python().to_str().unwrap());
    command.args(["-c", &source]);
    let ran = run(command, DEADLINE).success();
    assert_eq!(ran.out(), "web ['cat']\n", "{ran}");
}

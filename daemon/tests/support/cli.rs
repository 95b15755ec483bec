//! What tests type: commands that have to succeed, and sessions.

use outlast_testkit::Sandbox;
use serde_json::Value;

/// Runs `outlast`, and gives what it prints.
pub fn outlast(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.outlast(args).success().out()
}

/// Runs `outlast`, and gives the JSON that it prints.
pub fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.outlast(args).success().json()
}

/// Starts a session of a command in the home directory.
pub fn create(sandbox: &Sandbox, name: &str, command: &[&str]) {
    let home = sandbox.home().display().to_string();
    let create = ["session", "create", name, "--cwd", &home, "--"];
    outlast(sandbox, &[&create[..], command].concat());
}

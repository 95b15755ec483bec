//! Programs that run to their end.

use std::{
    fmt,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
    time::Duration,
};

use serde_json::Value;

use crate::Process;

/// What a program did.
#[derive(Debug, Clone)]
#[must_use = "look at the output, or assert the exit code with .success() or .code(n)"]
pub struct Run {
    /// What was run, for messages.
    pub command: String,
    /// Bytes of its standard output.
    pub stdout: Vec<u8>,
    /// Bytes of its standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
}

impl Run {
    /// Its exit code as a shell would tell it: 128+n for signal n.
    #[must_use]
    pub fn exit(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.exit(), code, "{self}");
        self
    }

    /// Standard output as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output without white space around it, as for ids.
    #[must_use]
    pub fn word(&self) -> String {
        self.out().trim().to_owned()
    }

    /// Standard output as one JSON value.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The error object on standard error, as `--json` prints it.
    #[must_use]
    #[track_caller]
    pub fn json_error(&self) -> Value {
        let err = self.err();
        let line = err.lines().rfind(|line| line.starts_with('{'));
        let value: Option<Value> = line.and_then(|line| serde_json::from_str(line).ok());
        value.unwrap_or_else(|| panic!("no error object: {self}"))["error"].clone()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "exit: {}", self.exit())?;
        writeln!(f, "--- stdout ---\n{}", self.out())?;
        writeln!(f, "--- stderr ---\n{}", self.err())
    }
}

/// Runs a command to its end, with nothing on its standard input.
///
/// # Panics
/// When it cannot be started or does not end in time; it is killed then.
pub fn run(command: Command, deadline: Duration) -> Run {
    Process::start(command).finish(deadline)
}

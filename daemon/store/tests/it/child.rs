//! Other processes for the tests: this same test program again, in a role.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use outlast_store::Store;
use rusqlite::Connection;

const ROLE: &str = "STORE_TEST_ROLE";
const DIRECTORY: &str = "STORE_TEST_DIRECTORY";
/// Before each line a role says; the test harness writes to the same place.
const SAYS: &str = "child: ";
/// A user who owns nothing.
const NOBODY: u32 = 65_534;

/// A process in a role. It is killed when this goes.
pub struct Role {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Role {
    /// Starts a role on a directory.
    pub fn start(role: &str, directory: &Path) -> Self {
        Self::spawn(&mut Command::new(env::current_exe().unwrap()), role, directory)
    }

    /// Starts a role as a user who may not write everywhere, which root may.
    pub fn start_unprivileged(role: &str, directory: &Path, place: &Path) -> Self {
        // Any user must be able to run it there.
        let program = place.join("program");
        fs::copy(env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(program);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Self::spawn(&mut command, role, directory)
    }

    fn spawn(command: &mut Command, role: &str, directory: &Path) -> Self {
        let mut child = command
            .args([
                "--exact",
                "child::role",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, role)
            .env(DIRECTORY, directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line it says, until it ends.
    pub fn next_line(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.unwrap();
            // The harness may have begun the line.
            if let Some((_, said)) = line.split_once(SAYS) {
                return Some(said.to_owned());
            }
        }
    }

    /// Kills it at once and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether this user may write everywhere.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Says a line to the test, whole and at once: a kill may come with the next instruction.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{SAYS}{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Waits until the test goes away.
fn stay() {
    std::io::stdin().lines().for_each(drop);
}

#[test]
#[ignore = "a process that other tests start"]
fn role() {
    let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap());
    let database = directory.join("state.db");
    match env::var(ROLE).unwrap().as_str() {
        "open" => say(&match Store::open(&directory) {
            Ok(_) => "opened".to_owned(),
            Err(error) => format!("{error:?}"),
        }),
        "write" => crate::crash::write(&directory, say),
        "hold for writing" => {
            let raw = Connection::open(database).unwrap();
            raw.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
                .unwrap();
            say("held");
            stay();
        }
        "hold for reading" => {
            let raw = Connection::open(database).unwrap();
            raw.execute_batch("BEGIN; SELECT * FROM jobs").unwrap();
            say("held");
            stay();
        }
        other => panic!("no role {other}"),
    }
}

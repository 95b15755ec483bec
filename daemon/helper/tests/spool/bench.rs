//! What every test here stands on: a directory of the spool in a sealed place, and waiting for facts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use outlast_helper::spool::{Dir, Kind, LogReader, Report, SPOOL_VERSION, Spec, State, Status, Stream};
use rustix::{
    event::{Timespec, poll},
    fs::{CWD, FlockOperation, Mode, flock, mkfifoat},
    process::{Pid, Signal, kill_process},
};

pub const HELPER: &str = env!("CARGO_BIN_EXE_outlast-helper");

/// Far longer than anything here takes, even on a machine that is busy with something else.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        poll(
            &mut [],
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            }),
        )
        .unwrap();
    }
}

/// A process that runs, and is not just waiting to be collected.
pub fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

pub fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).unwrap()
}

/// One directory of the spool.
pub struct Bench {
    temp: tempfile::TempDir,
    pub dir: Dir,
    pub spec: Spec,
}

impl Bench {
    /// A job that runs this.
    pub fn job(command: &[&str]) -> Self {
        Self::new(Kind::Job, command)
    }

    /// A job that runs this line in a shell, started in the bench's own directory.
    pub fn shell(line: &str) -> Self {
        Self::job(&["/bin/sh", "-c", line])
    }

    /// A session that runs this.
    pub fn session(command: &[&str]) -> Self {
        Self::new(Kind::Session, command)
    }

    fn new(kind: Kind, command: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().to_str().unwrap().to_owned();
        let dir = Dir::new(temp.path().join("spool/one"));
        assert!(dir.create_new().unwrap());
        let env = [
            ("PATH", "/usr/bin:/bin"),
            ("HOME", &home),
            ("SHELL", "/bin/sh"),
            ("TERM", "spec"),
        ];
        let spec = Spec {
            version: SPOOL_VERSION,
            kind,
            id: "one".to_owned(),
            name: Some("web".to_owned()),
            host: "local".to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            restart_command: None,
            cwd: None,
            base: None,
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>(),
            timeout_ms: None,
            log_max_bytes: None,
            created_at_ms: 0,
            template: None,
            provider: None,
        };
        Self { temp, dir, spec }
    }

    /// A place beside the spool, in which the program starts.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A FIFO there, for a program to wait at.
    pub fn gate(&self, name: &str) {
        mkfifoat(CWD, self.path(name), Mode::from_raw_mode(0o600)).unwrap();
    }

    /// Lets a program go on that waits at a gate; returns when it does.
    pub fn open_gate(&self, name: &str) {
        fs::OpenOptions::new()
            .write(true)
            .open(self.path(name))
            .unwrap()
            .write_all(b"\n")
            .unwrap();
    }

    /// The command that starts the supervisor.
    pub fn supervise(&self) -> Command {
        self.dir.write_spec(&self.spec).unwrap();
        let mut command = Command::new(HELPER);
        command
            .arg("supervise")
            .arg(self.dir.path())
            .env_clear()
            .current_dir(self.temp.path());
        command
    }

    /// Starts the supervisor, which must work.
    pub fn start(self) -> Self {
        let Output { status, stderr, .. } = self.supervise().output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        self
    }

    pub fn state(&self) -> State {
        self.dir.state(None).unwrap()
    }

    /// Waits for the end of the main process.
    pub fn ended(&self) -> Status {
        until("the end of the main process", || match self.state() {
            State::Ended(_, status) => Some(status),
            State::Lost { .. } => panic!("lost"),
            _ => None,
        })
    }

    /// Waits until it runs.
    pub fn running(&self) -> Report {
        until("the start of the program", || match self.state() {
            State::Running(report) => Some(report),
            State::Ended(_, status) => panic!("ended: {status:?}"),
            _ => None,
        })
    }

    /// Waits for the supervisor or pane to go.
    pub fn gone(&self) {
        until("the end of the supervisor", || (!self.is_held()).then_some(()));
    }

    pub fn is_held(&self) -> bool {
        File::open(self.dir.path().join("lock"))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// The log, by stream.
    pub fn log(&self) -> Vec<(Stream, String)> {
        let mut reader = LogReader::open(&self.dir, 0).unwrap();
        let mut all: Vec<(Stream, Vec<u8>)> = Vec::new();
        while let Some(chunk) = reader.next(1 << 20).unwrap() {
            match all.last_mut() {
                Some((stream, bytes)) if *stream == chunk.stream => bytes.extend_from_slice(&chunk.data),
                _ => all.push((chunk.stream, chunk.data.to_vec())),
            }
        }
        all.into_iter()
            .map(|(stream, bytes)| (stream, String::from_utf8_lossy(&bytes).into_owned()))
            .collect()
    }

    /// Waits until that much is in the log.
    pub fn logged(&self, bytes: u64) {
        until("the log", || (self.dir.log_len() >= bytes).then_some(()));
    }

    /// Waits for a number that the program writes to a file beside the spool.
    pub fn number(&self, name: &str) -> u32 {
        until("a process number", || {
            let text = fs::read_to_string(self.path(name)).ok()?;
            text.ends_with('\n').then(|| text.trim().parse().unwrap())
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Only what a failed test left behind, by the numbers it reported itself.
        if !self.is_held() {
            return;
        }
        let Ok(Some(report)) = self.dir.read_report() else {
            return;
        };
        for number in [report.pid, Some(report.supervisor_pid)].into_iter().flatten() {
            let _ = kill_process(pid(number), Signal::KILL);
        }
    }
}

/// A shell line that waits until the log holds that many bytes, so that what it writes next comes after.
pub fn after(dir: &Path, bytes: u64) -> String {
    format!(
        "until [ $(stat -c %s {}/log 2>/dev/null || echo 0) -ge {bytes} ]; do :; done",
        dir.display()
    )
}

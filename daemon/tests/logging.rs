//! Where the daemon's log goes: into daily files of which old ones go, and into the journal when systemd looks on.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{
    fs::{self, DirBuilder},
    os::unix::{fs::DirBuilderExt as _, net::UnixDatagram},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use outlast_testkit::{DEADLINE, Namespace, Process, Sandbox};
use rustix::process::Signal;
use support::{END, log, ready};

/// A journal that reads what it is sent: `/run/systemd/journal/socket` of a namespace of its own.
struct Journal {
    namespace: Namespace,
    entries: mpsc::Receiver<Vec<u8>>,
}

/// A field of an entry, in either way it may be written: `NAME=value`, or `NAME`, eight bytes of length and the value.
fn field(entry: &[u8], name: &str) -> Option<String> {
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => {
                let (length, more) = rest.split_first_chunk().unwrap();
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
                rest = &more[length + 1..];
                (
                    line.as_str(),
                    String::from_utf8_lossy(&more[..length]).into_owned(),
                )
            }
        };
        if key == name {
            return Some(value);
        }
    }
    None
}

impl Journal {
    fn new(sandbox: &Sandbox) -> Self {
        let socket = UnixDatagram::bind(sandbox.path().join("journal")).unwrap();
        let (sender, entries) = mpsc::channel();
        // Reads on to the end of the test, so that nobody who writes has to wait.
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count) = socket.recv(&mut buffer) {
                let _ended = sender.send(buffer[..count].to_vec());
            }
        });
        let setup = "mount -t tmpfs -o mode=755 none /run\n\
                     mkdir -p /run/systemd/journal\n\
                     touch /run/systemd/journal/socket\n\
                     mount --bind \"$1/journal\" /run/systemd/journal/socket";
        Self {
            namespace: Namespace::new(sandbox, setup),
            entries,
        }
    }

    /// A daemon whose `JOURNAL_STREAM` is what a line of shell says.
    fn daemon(&self, sandbox: &Sandbox, stream: &str) -> Process {
        let mut command: Command = self.namespace.command(sandbox, "sh");
        command.args(["-c", &format!("export JOURNAL_STREAM={stream}; exec outlastd")]);
        Process::start(command)
    }

    /// Waits for an entry with a message.
    fn wait(&self, message: &str) -> Vec<u8> {
        loop {
            let entry = self.entries.recv_timeout(DEADLINE);
            let entry = entry.unwrap_or_else(|_late| panic!("{message:?} never came to the journal"));
            if field(&entry, "MESSAGE").as_deref() == Some(message) {
                return entry;
            }
        }
    }
}

#[test]
fn what_systemd_started_logs_to_the_journal_too() {
    let sandbox = Sandbox::new();
    let journal = Journal::new(&sandbox);
    let daemon = journal.daemon(&sandbox, "$(stat -Lc %d:%i /proc/self/fd/2)");
    let entry = journal.wait("serving");
    let told = |name| field(&entry, name).unwrap_or_default();
    assert_eq!(
        (told("SYSLOG_IDENTIFIER").as_str(), told("PRIORITY").as_str()),
        ("outlastd", "6")
    );
    assert_eq!(told("F_SOCKET"), sandbox.socket().display().to_string());
    daemon.signal(Signal::TERM);
    drop(journal.wait("ended"));
    assert_eq!(daemon.finish(END).exit(), 0);
    assert!(log(&sandbox).contains("serving"), "the file tells the same");
}

#[test]
fn another_s_journal_is_left_alone() {
    let sandbox = Sandbox::new();
    let journal = Journal::new(&sandbox);
    // As in a terminal that systemd started: the variable is inherited, stderr goes elsewhere.
    let daemon = journal.daemon(&sandbox, "1:2");
    outlast_testkit::wait_until(DEADLINE, "the daemon's note", || sandbox.lock_note());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.finish(END).exit(), 0);
    assert!(log(&sandbox).contains("serving"));
    assert_eq!(journal.entries.recv_timeout(Duration::ZERO).ok(), None);
}

#[test]
fn old_log_files_go_and_today_s_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.configure("[daemon]\nlog_files_kept = 3\n");
    let dir = sandbox.state_dir().join("logs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .unwrap();
    for day in 1..=9 {
        fs::write(dir.join(format!("outlastd.2001-01-0{day}.log")), "old\n").unwrap();
    }
    fs::write(dir.join("mine.txt"), "not ours\n").unwrap();
    for _ in 0..2 {
        let daemon = ready(&sandbox);
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.finish(END).exit(), 0);
    }
    let names = fs::read_dir(&dir).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    // A file that is not ours, and no more than three that are: the newest.
    assert!(names.len() <= 4 && names[0] == "mine.txt", "{names:?}");
    assert!(
        !names.contains(&"outlastd.2001-01-07.log".to_owned()),
        "{names:?}"
    );
    let today = fs::read_to_string(dir.join(names.last().unwrap())).unwrap();
    assert_eq!(today.matches("serving").count(), 2, "{today}");
}

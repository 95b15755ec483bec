use std::cell::Cell;

use outlast_helper::spool::{Chunk, LogCopy, Stream};

use super::{paging::all_pages_are_the_whole, *};

/// A log, each piece of which came a second after the one before.
pub(super) struct Log {
    pub(super) dir: Dir,
    pub(super) copy: LogCopy,
    /// When something was sent last.
    last: Cell<i64>,
    _temp: tempfile::TempDir,
}

impl Log {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        let copy = LogCopy::open(&dir).unwrap();
        Self {
            dir,
            copy,
            last: Cell::new(77_000),
            _temp: temp,
        }
    }

    pub(super) fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    pub(super) fn write_bytes(&mut self, bytes: &[u8]) {
        let offset = self.copy.end();
        self.copy
            .append(&Chunk {
                offset,
                stream: Stream::Stdout,
                time_ms: 1000 * (offset.cast_signed() + 1),
                data: bytes.to_vec().into(),
            })
            .unwrap();
    }

    /// Sends text that is shown from here on.
    pub(super) fn send(&mut self, text: &str) {
        let sent = self.sent();
        self.write(&text.replace('\n', "\r\n"));
        self.write("\r\n");
        self.show(sent, text);
    }

    /// Finds where something that was sent is shown by now, and where that ends.
    pub(super) fn show(&self, sent: sends::Send, text: &str) -> Option<u64> {
        let log = bytes(&self.dir, 0, u64::MAX).unwrap();
        let at = usize::try_from(sent.at).unwrap();
        let line = memchr::memrchr(b'\n', &log[..at]).map_or(0, |line| line + 1);
        let shown = echo::find(80, &log[line..], line as u64, sent.at, text);
        let end = shown.echoes.last().map(|echo| echo.to);
        for (echo, more) in shown.echoes.into_iter().zip(0..) {
            let at_ms = if more == 0 { sent.at_ms } else { self.time() };
            let echo = Some(echo);
            sends::add(&self.dir, &[sends::Send { echo, at_ms, ..sent }]).unwrap();
        }
        end
    }

    /// Sends text that is not shown.
    pub(super) fn sent(&self) -> sends::Send {
        self.sent_at(self.copy.end())
    }

    pub(super) fn sent_at(&self, at: u64) -> sends::Send {
        let sent = sends::Send {
            at,
            at_ms: self.time(),
            echo: None,
        };
        sends::add(&self.dir, &[sent]).unwrap();
        sent
    }

    fn time(&self) -> i64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    pub(super) fn read(&self, kind: HistoryKind, limit: usize, page: Page) -> Found {
        self.read_within(LIMITS, kind, limit, page)
    }

    pub(super) fn read_within(&self, limits: Limits, kind: HistoryKind, limit: usize, page: Page) -> Found {
        let log = super::Log::open(&self.dir, 80, limits).unwrap();
        log.read(Wanted { kind, limit, page }).unwrap()
    }

    pub(super) fn all(&self) -> Vec<(HistoryKind, String)> {
        let found = self.read(HistoryKind::Unspecified, 1000, Page::Before(u64::MAX));
        assert_eq!(found.next, None);
        texts(&found.entries)
    }
}

pub(super) fn texts(entries: &[HistoryEntry]) -> Vec<(HistoryKind, String)> {
    entries
        .iter()
        .map(|entry| (entry.kind(), entry.text.clone()))
        .collect()
}

pub(super) fn command(text: &str) -> (HistoryKind, String) {
    (HistoryKind::Command, text.to_owned())
}

pub(super) fn output(text: &str) -> (HistoryKind, String) {
    (HistoryKind::Output, text.to_owned())
}

pub(super) fn marked(log: &mut Log, text: &str, printed: &str, code: i32) {
    log.write("\x1b]133;A\x07\x1b[32m$ \x1b]133;B\x07");
    log.write(text);
    log.write("\r\n\x1b[?2004l\x1b]133;C\x07");
    log.write(printed);
    log.write(&format!("\x1b]133;D;{code}\x1b\\"));
}

#[test]
fn a_shell_that_marks_tells_all() {
    let mut log = Log::new();
    log.write("Welcome\r\n");
    marked(&mut log, "ls -x\x08 \x08l", "\x1b[31ma\x1b[0m\r\nb\r\n", 0);
    log.sent();
    marked(&mut log, "false", "", 1);
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07");
    assert_eq!(
        log.all(),
        [command("ls -l"), output("a\nb\n"), command("false"), output("")]
    );
    let found = log.read(HistoryKind::Command, 10, Page::Before(u64::MAX));
    let [ls, failed] = &found.entries[..] else {
        panic!("{found:?}")
    };
    assert!(ls.marked && ls.exit_code == Some(0) && failed.exit_code == Some(1));
    // Output came one second a byte after its mark.
    assert!(ls.duration.unwrap().seconds >= 10, "{ls:?}");
    assert_eq!(
        log.read(HistoryKind::Output, 10, Page::Before(u64::MAX))
            .entries
            .len(),
        2
    );
}

#[test]
fn what_the_shell_says_of_its_command_counts_more_than_the_echo() {
    let mut log = Log::new();
    log.write(
        "\x1b]133;A\x07> \x1b]133;B\x07l\rls\r\n\x1b]133;C;cmdline_url=ls%20-la\x1b\\a\r\n\x1b]133;D;0\x07",
    );
    log.write(
        "\x1b]633;A\x07> \x1b]633;B\x07pw\r\n\x1b]633;E;pwd\\x3bid;n\x07\x1b]633;C\x07b\r\n\x1b]633;D;2\x07",
    );
    assert_eq!(
        log.all(),
        [command("ls -la"), output("a\n"), command("pwd;id"), output("b\n")]
    );
}

#[test]
fn without_marks_it_is_what_was_shown_of_what_was_sent() {
    let mut log = Log::new();
    log.write("motd\r\nme@here$ ");
    log.send("echo hi");
    log.write("hi\r\n\x1b]0;t\x07me@here$ ");
    // A password: nothing is shown, not even the end of the line.
    log.send("su");
    log.write("Password: ");
    log.sent();
    log.write("welcome\r\nroot# ");
    log.send("id");
    log.write("0\r\nroot# ");
    assert_eq!(
        log.all(),
        [
            command("echo hi"),
            output("hi\n"),
            command("su"),
            output("Password:"),
            command(""),
            output("welcome\n"),
            command("id"),
            output("0\n"),
        ]
    );
    let entry = &log.read(HistoryKind::Command, 1, Page::Before(u64::MAX)).entries[0];
    assert_eq!((entry.marked, entry.exit_code), (false, None));
    assert_eq!(entry.at.unwrap().seconds, 77);
}

#[test]
fn what_is_sent_before_what_was_sent_before_is_shown_has_a_place_of_its_own() {
    let mut log = Log::new();
    log.write("$ ");
    let (one, two) = (log.sent(), log.sent());
    log.write("ec");
    let three = log.sent();
    log.write("ho a\r\na\r\n$ echo b\r\nb\r\n$ ");
    log.show(one, "echo a");
    log.show(two, "echo b");
    log.sent();
    log.write("\r\nPassword: ");
    assert_eq!(
        log.all()[..4],
        [command("echo a"), output("a\n"), command("echo b"), output("b\n")]
    );
    // It was not shown, and is within what was.
    assert!(three.echo.is_none());
    for number in 0..5 {
        log.sent();
        log.sent();
        log.write(&format!("{number}\r\n"));
        log.sent();
        marked(&mut log, &format!("command {number}"), "", 0);
        log.write("\x1b]133;A\x07$ \x1b]133;B\x07cat\r\n\x1b]133;C\x07");
        log.send(&format!("said {number}"));
        log.write("answered\r\n");
        log.sent();
        log.write("\x1b]133;D;1\x07");
    }
    let found = log.read(HistoryKind::Unspecified, 1000, Page::Before(u64::MAX));
    let ids: Vec<u64> = found
        .entries
        .iter()
        .map(|entry| entry.id.parse().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    all_pages_are_the_whole(&log);
}

#[test]
fn what_still_runs_says_so() {
    let mut log = Log::new();
    marked(&mut log, "first", "1\r\n", 0);
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07cat\r\n\x1b]133;C\x07");
    log.send("a");
    let running = |log: &Log| {
        let found = log.read(HistoryKind::Unspecified, 10, Page::Before(u64::MAX));
        let entries = found.entries.iter();
        entries.map(|entry| entry.running).collect::<Vec<_>>()
    };
    assert_eq!(running(&log), [false, false, true, true, false, false]);
    log.write("\x1b]133;D;0\x07");
    assert_eq!(running(&log), [false; 6]);
    // Its end is further behind the page than was searched.
    let mut log = Log::new();
    log.write("\x1b]133;C;cmdline=seq\x07");
    log.write(&"x".repeat(3 << 20));
    log.write("\x1b]133;D;0\x07");
    let found = log.read(HistoryKind::Command, 10, Page::Before(10));
    assert!(found.entries.len() == 1 && !found.entries[0].running, "{found:?}");
}

#[test]
fn what_is_answered_while_a_marked_command_runs_does_not_end_it() {
    let mut log = Log::new();
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07install\r\n\x1b]133;C\x07Sure? ");
    log.send("y");
    log.write("done\r\n\x1b]133;D;3\x07");
    assert_eq!(
        log.all(),
        [
            command("install"),
            output("Sure? y\ndone\n"),
            command("y"),
            output("done\n")
        ]
    );
    let found = log.read(HistoryKind::Command, 10, Page::Before(u64::MAX));
    let [install, answer] = &found.entries[..] else {
        panic!("{found:?}")
    };
    assert!(install.exit_code == Some(3) && install.duration.unwrap().seconds >= 10);
    assert!(answer.exit_code.is_none() && answer.duration.is_none() && !answer.marked);
}

#[test]
fn what_prints_late_has_run_from_its_mark_on() {
    let mut log = Log::new();
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07sleep 9\r\n\x1b]133;C\x07");
    let began = log.copy.end().cast_signed();
    log.write(&"late\r\n".repeat(10));
    log.write("\x1b]133;D;0\x07");
    let found = log.read(HistoryKind::Command, 10, Page::Before(u64::MAX));
    let took = found.entries[0].duration.unwrap().seconds;
    // The mark came with what was typed, all that is one piece.
    assert_eq!(took, began + 60);
}

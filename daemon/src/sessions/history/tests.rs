use std::fs;

use outlast_helper::spool::{Chunk, LogCopy, Stream};

use super::*;

/// A log, each piece of which came a second after the one before.
struct Log {
    dir: Dir,
    copy: LogCopy,
    _temp: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        let copy = LogCopy::open(&dir).unwrap();
        Self {
            dir,
            copy,
            _temp: temp,
        }
    }

    fn write(&mut self, text: &str) {
        let offset = self.copy.end();
        self.copy
            .append(&Chunk {
                offset,
                stream: Stream::Stdout,
                time_ms: 1000 * (offset.cast_signed() + 1),
                data: text.to_owned().into(),
            })
            .unwrap();
    }

    fn send(&self) {
        sends::add(&self.dir, self.copy.end(), 77_000).unwrap();
    }

    fn read(&self, kind: HistoryKind, limit: usize, page: Page) -> Found {
        read(&self.dir, Wanted { kind, limit, page }).unwrap()
    }

    fn all(&self) -> Vec<(HistoryKind, String)> {
        let found = self.read(HistoryKind::Unspecified, 1000, Page::Before(u64::MAX));
        assert_eq!(found.next, None);
        texts(&found.entries)
    }
}

fn texts(entries: &[HistoryEntry]) -> Vec<(HistoryKind, String)> {
    entries
        .iter()
        .map(|entry| (entry.kind(), entry.text.clone()))
        .collect()
}

fn command(text: &str) -> (HistoryKind, String) {
    (HistoryKind::Command, text.to_owned())
}

fn output(text: &str) -> (HistoryKind, String) {
    (HistoryKind::Output, text.to_owned())
}

fn marked(log: &mut Log, text: &str, printed: &str, code: i32) {
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
    log.send();
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
fn without_marks_it_is_what_was_echoed_of_what_was_sent() {
    let mut log = Log::new();
    log.write("motd\r\nme@here$ ");
    log.send();
    log.write("echo hi\r\nhi\r\n\x1b]0;t\x07me@here$ ");
    log.send();
    // A password: nothing is echoed but the end of the line.
    log.write("su\r\nPassword: ");
    log.send();
    log.write("\r\nroot# ");
    assert_eq!(
        log.all(),
        [
            command("echo hi"),
            output("hi\n"),
            command("su"),
            output("Password:"),
            command(""),
            output("root#"),
        ]
    );
    let entry = &log.read(HistoryKind::Command, 1, Page::Before(u64::MAX)).entries[0];
    assert_eq!(
        (entry.marked, entry.exit_code, entry.at.unwrap().seconds),
        (false, None, 77)
    );
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let mut log = Log::new();
    for number in 0..23 {
        marked(
            &mut log,
            &format!("command {number}"),
            &format!("printed {number}\r\n"),
            0,
        );
    }
    assert_eq!(log.all().len(), 46);
    all_pages_are_the_whole(&log);
}

#[test]
fn what_is_sent_before_the_echo_of_what_was_sent_before_is_told_with_it() {
    let mut log = Log::new();
    log.write("$ ");
    log.send();
    log.send();
    log.write("ec");
    log.send();
    log.write("ho a\r\na\r\n$ echo b\r\nb\r\n$ ");
    log.send();
    log.write("\n");
    log.send();
    log.write("\r\nPassword: ");
    for number in 0..5 {
        log.send();
        log.send();
        log.write(&format!("{number}\r\n"));
        log.send();
        marked(&mut log, &format!("command {number}"), "", 0);
        log.write("\x1b]133;A\x07$ \x1b]133;B\x07cat\r\n\x1b]133;C\x07");
        log.send();
        log.write(&format!("said {number}\r\nanswered\r\n"));
        log.send();
        log.write("\x1b]133;D;1\x07");
    }
    assert_eq!(log.all()[..2], [command("echo a"), output("a\n$ echo b\nb\n")]);
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
    log.send();
    log.write("a\r\n");
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
fn where_a_search_begins_does_not_tell_what_is_sent_together() {
    let mut log = Log::new();
    log.write("$ ");
    log.send();
    log.write("ab");
    let at = log.copy.end();
    log.send();
    log.write("cd\r\n");
    let sends = sends::read(&log.dir).unwrap();
    let joined = |from| {
        let found = marks::find(&log.dir, from, log.copy.end(), &sends).unwrap();
        found.last().unwrap().what.clone()
    };
    for from in [0, 3, at] {
        assert!(
            matches!(joined(from), blocks::What::Sent { joined: true, .. }),
            "{from}"
        );
    }
}

#[test]
fn what_is_answered_while_a_marked_command_runs_does_not_end_it() {
    let mut log = Log::new();
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07install\r\n\x1b]133;C\x07Sure? ");
    log.send();
    log.write("y\r\ndone\r\n\x1b]133;D;3\x07");
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

/// Whatever their size, pages in both directions have every entry once.
fn all_pages_are_the_whole(log: &Log) {
    let all = log.all();
    for limit in [1, 2, 5, 7, 46, 100] {
        for kind in [
            HistoryKind::Unspecified,
            HistoryKind::Command,
            HistoryKind::Output,
        ] {
            let wanted: Vec<_> = all
                .iter()
                .filter(|(is, _)| kind == HistoryKind::Unspecified || kind == *is)
                .cloned()
                .collect();
            let mut before = Page::Before(u64::MAX);
            let mut back = Vec::new();
            loop {
                let found = log.read(kind, limit, before);
                assert!(found.entries.len() <= limit);
                back.splice(0..0, texts(&found.entries));
                let Some(next) = found.next else { break };
                before = Page::Before(next.parse().unwrap());
            }
            assert_eq!(back, wanted, "{kind:?} {limit}");
            let mut after = Page::After(0);
            let mut on = Vec::new();
            loop {
                let found = log.read(kind, limit, after);
                on.extend(texts(&found.entries));
                let Some(next) = found.next else { break };
                after = Page::After(next.parse().unwrap());
            }
            assert_eq!(on, wanted, "{kind:?} {limit}");
        }
    }
}

#[test]
fn the_same_entry_has_the_same_id_on_every_page() {
    let mut log = Log::new();
    for number in 0..5 {
        marked(&mut log, &format!("command {number}"), "printed\r\n", number);
    }
    let all = log
        .read(HistoryKind::Unspecified, 100, Page::Before(u64::MAX))
        .entries;
    for (number, entry) in all.iter().enumerate().skip(1) {
        let before = Page::Before(entry.id.parse().unwrap());
        let found = log.read(HistoryKind::Unspecified, 1, before).entries;
        assert_eq!(found, all[number - 1..number]);
    }
}

#[test]
fn what_is_long_is_cut_and_what_is_far_is_found() {
    let mut log = Log::new();
    marked(&mut log, "first", "1\r\n", 0);
    log.write("\x1b]133;A\x07\x1b]133;B\x07seq\r\n\x1b]133;C\x07");
    for _ in 0..30 {
        log.write(&"all the same lines\r\n".repeat(5000));
    }
    log.write("the last\r\n\x1b]133;D;0\x07");
    let found = log.read(HistoryKind::Unspecified, 4, Page::Before(u64::MAX));
    assert_eq!(found.next, None);
    let texts = texts(&found.entries);
    assert_eq!(
        (&texts[..2], &texts[2]),
        (&[command("first"), output("1\n")][..], &command("seq"))
    );
    let last = &found.entries[3];
    assert!(last.cut && last.text.len() <= TEXT_MAX && last.text.len() > TEXT_MAX / 2);
    assert!(last.text.starts_with("all the same lines\n") && last.text.ends_with("\nthe last\n"));
}

#[test]
fn a_page_that_is_much_work_has_fewer_entries() {
    let mut log = Log::new();
    let long = "x".repeat(100 << 10);
    let edits = "\r\x1b[1@".repeat(1000);
    for number in 0..10 {
        marked(
            &mut log,
            &format!("command {number}"),
            &format!("{long}{edits}"),
            0,
        );
    }
    let mut before = Page::Before(u64::MAX);
    let mut sizes = Vec::new();
    loop {
        let found = log.read(HistoryKind::Output, 100, before);
        sizes.push(found.entries.len());
        let Some(next) = found.next else { break };
        before = Page::Before(next.parse().unwrap());
    }
    assert!(sizes.iter().sum::<usize>() == 10 && sizes.len() >= 2, "{sizes:?}");
}

#[test]
fn commands_that_marks_carry_end_the_search_for_a_page() {
    let mut log = Log::new();
    let given = "x".repeat(60 << 10);
    for _ in 0..200 {
        log.write(&format!(
            "\x1b]133;C;cmdline_url={given}\x07a\r\n\x1b]133;D;0\x07"
        ));
    }
    let mut before = Page::Before(u64::MAX);
    let mut sizes = Vec::new();
    loop {
        let found = log.read(HistoryKind::Output, 1000, before);
        sizes.push(found.entries.len());
        let Some(next) = found.next else { break };
        before = Page::Before(next.parse().unwrap());
    }
    assert!(
        sizes.iter().sum::<usize>() == 200 && sizes.len() >= 2,
        "{sizes:?}"
    );
}

#[test]
fn a_log_without_end_is_searched_in_parts() {
    let mut log = Log::new();
    marked(&mut log, "first", "1\r\n", 0);
    let mebibyte = "x".repeat(1 << 20);
    for _ in 0..(SEARCH_MAX >> 20) + 2 {
        log.write(&mebibyte);
    }
    let found = log.read(HistoryKind::Command, 10, Page::Before(u64::MAX));
    assert!(found.entries.is_empty());
    let next = Page::Before(found.next.unwrap().parse().unwrap());
    let found = log.read(HistoryKind::Command, 10, next);
    assert_eq!(
        (texts(&found.entries), found.next),
        (vec![command("first")], None)
    );
}

#[test]
fn a_command_whose_beginning_was_not_found_is_told_once() {
    let mut log = Log::new();
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07");
    let id = log.copy.end();
    let mebibyte = " ".repeat(1 << 20);
    for _ in 0..50 {
        log.write(&mebibyte);
    }
    log.write("\r\x1b[Kls\r\n\x1b]133;C;cmdline=ls\x07a\r\n\x1b]133;D;0\x07");
    for _ in 0..20 {
        log.write(&mebibyte);
    }
    let mut entries = Vec::new();
    let mut before = Page::Before(u64::MAX);
    loop {
        let found = log.read(HistoryKind::Unspecified, 10, before);
        entries.splice(0..0, found.entries);
        let Some(next) = found.next else { break };
        before = Page::Before(next.parse().unwrap());
    }
    assert_eq!(texts(&entries), [command("ls"), output("a\n")]);
    assert_eq!(entries[0].id, id.to_string());
}

#[test]
fn there_may_be_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::new(temp.path().join("none"));
    let wanted = Wanted::new(HistoryKind::Unspecified, 0, None, None).unwrap();
    let found = read(&dir, wanted).unwrap();
    assert!(found.entries.is_empty() && found.next.is_none());
    fs::create_dir(dir.path()).unwrap();
    assert!(read(&dir, wanted).unwrap().entries.is_empty());
}

#[test]
fn what_is_no_id_is_refused() {
    for id in ["", "x", "-1", "+1", "99999999999999999999999"] {
        let error = Wanted::new(HistoryKind::Unspecified, 1, Some(id), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{id}");
    }
    assert!(Wanted::new(HistoryKind::Unspecified, LIMIT_MAX + 1, None, None).is_err());
}

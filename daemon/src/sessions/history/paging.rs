//! Pages of a history, and how far is searched for them.

use std::fs;

use super::{
    tests::{Log, command, marked, output, texts},
    *,
};

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

/// Whatever their size, pages in both directions have every entry once.
pub(super) fn all_pages_are_the_whole(log: &Log) {
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
    assert!(last.cut && last.text.len() <= entry::TEXT_MAX && last.text.len() > entry::TEXT_MAX / 2);
    assert!(last.text.starts_with("all the same lines\n") && last.text.ends_with("\nthe last\n"));
}

#[test]
fn a_page_that_is_much_work_has_fewer_entries() {
    let mut log = Log::new();
    widths::add(&log.dir, 80, 0, 4000).unwrap();
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
    for _ in 0..6 {
        log.write(&mebibyte);
    }
    let limits = Limits {
        search: 4 << 20,
        ..LIMITS
    };
    let kind = HistoryKind::Command;
    let found = log.read_within(limits, kind, 10, Page::Before(u64::MAX));
    assert!(found.entries.is_empty());
    let next = Page::Before(found.next.unwrap().parse().unwrap());
    let found = log.read_within(limits, kind, 10, next);
    assert_eq!(
        (texts(&found.entries), found.next),
        (vec![command("first")], None)
    );
}

#[test]
fn what_is_known_to_have_no_marks_is_jumped_over() {
    let mut log = Log::new();
    log.write("$ ");
    log.send("first");
    let mebibyte = "x".repeat(1 << 20);
    for _ in 0..20 {
        log.write(&mebibyte);
    }
    let limits = Limits {
        search: 4 << 20,
        ..LIMITS
    };
    let page = |page, limits| {
        let found = log.read_within(limits, HistoryKind::Command, 10, page);
        let next = found.next.map(|next| next.parse::<u64>().unwrap());
        (texts(&found.entries), next)
    };
    let mut next = Some(u64::MAX);
    let mut pages = 0;
    while let Some(before) = next {
        next = page(Page::Before(before), limits).1;
        pages += 1;
    }
    assert!(pages > 4, "{pages}");
    // Little is read but the end of it.
    let limits = Limits {
        search: 3 << 20,
        ..LIMITS
    };
    let wanted = (vec![command("first")], None);
    assert_eq!(page(Page::Before(u64::MAX), limits), wanted);
    assert_eq!(page(Page::After(0), limits), wanted);
    // What is written later is searched, marks and all.
    marked(&mut log, "second", "", 0);
    let found = log.read(HistoryKind::Command, 10, Page::Before(u64::MAX));
    assert_eq!(
        (texts(&found.entries), found.next),
        (vec![command("first"), command("second")], None)
    );
}

#[test]
fn a_command_whose_beginning_was_not_found_is_told_once() {
    let mut log = Log::new();
    log.write("\x1b]133;A\x07$ \x1b]133;B\x07");
    let id = log.copy.end();
    let mebibyte = " ".repeat(1 << 20);
    for _ in 0..5 {
        log.write(&mebibyte);
    }
    log.write("\r\x1b[Kls\r\n\x1b]133;C;cmdline=ls\x07a\r\n\x1b]133;D;0\x07");
    for _ in 0..2 {
        log.write(&mebibyte);
    }
    let limits = Limits {
        search: 4 << 20,
        ..LIMITS
    };
    let mut entries = Vec::new();
    let mut before = Page::Before(u64::MAX);
    loop {
        let found = log.read_within(limits, HistoryKind::Unspecified, 10, before);
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
    let found = read(&dir, 80, wanted).unwrap();
    assert!(found.entries.is_empty() && found.next.is_none());
    fs::create_dir(dir.path()).unwrap();
    assert!(read(&dir, 80, wanted).unwrap().entries.is_empty());
}

#[test]
fn what_is_no_id_is_refused() {
    for id in ["", "x", "-1", "+1", "99999999999999999999999"] {
        let error = Wanted::new(HistoryKind::Unspecified, 1, Some(id), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{id}");
    }
    assert!(Wanted::new(HistoryKind::Unspecified, LIMIT_MAX + 1, None, None).is_err());
}

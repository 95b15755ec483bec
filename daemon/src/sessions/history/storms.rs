//! Whatever a log holds and wherever something was sent: a history never fails, and its pages join each other.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{tests::Log as Copy, *};

/// What happens to a log.
#[derive(Debug, Clone)]
enum Step {
    /// This is written.
    Write(Vec<u8>),
    /// This is sent, and shown now.
    Send(&'static str),
    /// Something is sent that is not shown.
    Secret,
    /// A record that says anything, of something that was sent so far back.
    Damage([u16; 5]),
}

fn pieces() -> Vec<&'static str> {
    vec![
        "\x1b]133;A\x07",
        "\x1b]133;B\x07",
        "\x1b]133;C\x07",
        "\x1b]133;C;cmdline=given\x07",
        "\x1b]133;D;3\x07",
        "\x1b]133;D\x1b\\",
        "\x1b]633;E;said\x07",
        "\x1b]133;A;k=s\x07",
        "\x1b]133;",
        "$ ",
        "echo a",
        "echo b\r\necho c",
        "out\r\n",
        "\r\n",
        "\r",
        "\x1b[K",
        "\x1bM",
        "\x1b[2A",
        "\x1b[?2004h",
        "\x1b[?2004l",
        "ls\r\n\x1b[?2004l\r",
        "^C",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "%         \r \r",
        "\x1b[9C",
        "漢",
        "a long line of it ",
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => select(pieces()).prop_map(|piece| Step::Write(piece.as_bytes().to_vec())),
        1 => vec(any::<u8>(), 1..30).prop_map(Step::Write),
        2 => select(vec!["echo a", "b", "echo b\necho c", "for x in 1\ndo echo a\ndone\nb"]).prop_map(Step::Send),
        1 => Just(Step::Secret),
        1 => any::<[u16; 5]>().prop_map(Step::Damage),
    ];
    vec(step, 0..60)
}

fn log(steps: &[Step], damaged: bool) -> Copy {
    let mut log = Copy::new();
    for step in steps {
        match step {
            Step::Write(bytes) => log.write_bytes(bytes),
            Step::Send(text) => log.send(text),
            Step::Secret => drop(log.sent()),
            Step::Damage([at, from, shown, to, length]) if damaged => {
                let echo = sends::Echo {
                    from: u64::from(from % 500),
                    shown: u64::from(shown % 500),
                    to: u64::from(to % 500),
                    length: u32::from(length % 50),
                    behind: length % 3,
                    is_part: length % 2 == 0,
                };
                let sent = log.sent_at(log.copy.end().saturating_sub(u64::from(at % 50)));
                sends::add(
                    &log.dir,
                    &[sends::Send {
                        echo: Some(echo),
                        ..sent
                    }],
                )
                .unwrap();
            }
            Step::Damage(_) => {}
        }
    }
    log
}

/// All entries, page by page.
fn pages(dir: &Dir, limits: Limits, limit: usize, kind: HistoryKind, forward: bool) -> Vec<HistoryEntry> {
    let mut all = Vec::new();
    let mut page = if forward {
        Page::After(0)
    } else {
        Page::Before(u64::MAX)
    };
    loop {
        let log = Log::open(dir, 20, limits).unwrap();
        let found = log.read(Wanted { kind, limit, page }).unwrap();
        assert!(found.entries.len() <= limit);
        if forward {
            all.extend(found.entries);
        } else {
            all.splice(0..0, found.entries);
        }
        let Some(next) = found.next else { return all };
        let next = next.parse().unwrap();
        page = match page {
            Page::After(after) => {
                assert!(next > after, "{next} {after}");
                Page::After(next)
            }
            Page::Before(before) => {
                assert!(next < before, "{next} {before}");
                Page::Before(next)
            }
        };
    }
}

fn ids(entries: &[HistoryEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id.parse().unwrap()).collect()
}

/// Everything, in pieces of this size.
fn in_pieces(piece: u64) -> Limits {
    Limits {
        piece,
        more: u32::MAX,
        ..LIMITS
    }
}

proptest! {
    #[test]
    fn pages_join(steps in steps(), piece in 1..200_u64, limit in 1..9_usize, kind in 0..3_i32) {
        let log = log(&steps, false);
        let kind = HistoryKind::try_from(kind).unwrap();
        let all = pages(&log.dir, LIMITS, 1000, kind, false);
        let before = ids(&all);
        prop_assert!(before.is_sorted_by(|one, next| one < next), "{before:?}");
        let back = pages(&log.dir, in_pieces(piece), limit, kind, false);
        for (one, other) in back.iter().zip(&all) {
            prop_assert_eq!(one, other);
        }
        prop_assert_eq!(ids(&back), ids(&all));
        let on = pages(&log.dir, in_pieces(1 << 20), limit, kind, true);
        let skipped = usize::from(before.first() == Some(&0));
        prop_assert_eq!(&on, &all[skipped..]);
    }

    #[test]
    fn nothing_fails(steps in steps(), piece in 1..200_u64, limit in 1..9_usize, search in 1..300_u64) {
        let log = log(&steps, true);
        let limits = Limits { piece, search, ahead: piece, events: 600, more: 2 };
        for forward in [false, true] {
            let all = ids(&pages(&log.dir, limits, limit, HistoryKind::Unspecified, forward));
            prop_assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
        }
    }
}

use proptest::prelude::*;

use super::{
    screen::{KEPT_MAX, WORK_MAX},
    *,
};

fn output(bytes: &str) -> String {
    Plain::of(20, bytes.as_bytes()).into_text().text
}

#[test]
fn output_is_what_stood_there_in_the_end() {
    for (bytes, text) in [
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[1;31mred\x1b[0m é漢\r\n\r\n\r\n", "red é漢\n"),
        ("10%\r50%\r100%\r\ndone\r\n", "100%\ndone\n"),
        ("long text\r\x1b[Kx\r\n", "x\n"),
        // Two lines of progress, drawn again.
        ("a 1\r\nb 1\r\n\x1b[2Aa 2\r\nb 2\r\n", "a 2\nb 2\n"),
        ("a\tb\x1b]0;title\x07\x1b[?2004h", "a\tb"),
        ("x\x1b[3Cy\x1b[2Gz", "xz  y"),
        ("", ""),
    ] {
        assert_eq!(output(bytes), text, "{bytes:?}");
    }
}

#[test]
fn what_an_editor_draws_again_stands_where_it_stood() {
    for (bytes, text) in [
        ("ls -x\x08 \x08l\r\n", "ls -l\n"),
        ("ls\x08\x08\x1b[1@xls", "xls"),
        ("abc\x1b[D\x1b[D\x1b[1Px", "ax"),
        ("\x1b[7mone\x1b[27m\r\n", "one\n"),
        // At the edge of the screen, as two shells do it.
        ("$ echo aaaaaaaaaaaaa \rbbb", "$ echo aaaaaaaaaaaaabbb"),
        ("$ echo aaaaaaaaaaaaa \r\x1b[Kb\rbbb", "$ echo aaaaaaaaaaaaabbb"),
        // Several lines, without their colours, from the first one on: with an index in reverse, and with arrows.
        (
            "$ \x1b[3ma\x1b[23m\r\n\r\x1b[3mbc\x1b[23m\x1bM\r\x1b[2Ca\r\n\rbc\r\n",
            "$ a\nbc\n",
        ),
        ("$ a\r\r\nbc\x1b[1Aab\x1b[1B\rbd\r\r\n", "$ ab\nbd\n"),
        ("\x1b7a\x1b8b\x1b[sc\x1b[ud", "bd"),
        ("漢\x08\x08字a\u{301}b\r\x1b[2Cx", "字xb"),
        ("a\tb\r\x1b[8Cc", "a\tc"),
    ] {
        assert_eq!(output(bytes), text, "{bytes:?}");
    }
}

#[test]
fn a_row_that_is_filled_up_ends_where_what_was_printed_ends() {
    let blanks = " ".repeat(19);
    for (bytes, text) in [
        // As zsh and as fish do it.
        (
            format!("abc\x1b[7m%\x1b[27m{blanks}\r \r\r\x1b[Jhost% "),
            "abc\nhost%",
        ),
        (
            format!("abc\u{23ce}{blanks}\r\u{23ce} \r\x1b[Khost> "),
            "abc\nhost>",
        ),
        (format!("abc\r\n%{blanks}\r \rhost% "), "abc\nhost%"),
        // These are the program's.
        (format!("abc%{}\r \rx", " ".repeat(18)), "abc%                x"),
    ] {
        let got = output(&bytes);
        assert_eq!(got.trim_end(), text, "{bytes:?}");
    }
}

#[test]
fn full_screens_are_left_out() {
    let text = Plain::of(4096, b"a\r\n\x1b[?1049hmenu\r\n\x1b[5;5Hx\x1b[?1049lb\r\n").into_text();
    assert_eq!((text.text.as_str(), text.full_screen), ("a\nb\n", true));
    let text = Plain::of(4096, b"rest of it\x1b[?1049lb").into_text();
    assert_eq!((text.text.as_str(), text.full_screen), ("b", true));
}

#[test]
fn a_few_bytes_do_not_touch_a_long_line_for_ever() {
    let long = "x".repeat(64 << 10);
    for (edit, again) in [
        ("\x1b[1K", 20_000),
        ("\r\x1b[1@", 20_000),
        ("\r\x1b[4096X", 20_000),
        // A cell far to the right, and the row is gone again.
        ("\x1b[4095Cz\x1b[2K", 5000),
    ] {
        let bytes = format!("{long}{}\r\nend", edit.repeat(again));
        let text = Plain::of(4096, bytes.as_bytes()).into_text();
        assert!(
            text.work <= WORK_MAX && text.work > WORK_MAX / 2,
            "{edit:?} {}",
            text.work
        );
        assert!(text.cut && text.text.ends_with("\nend"), "{edit:?}");
    }
    // What an editor does costs little.
    let text = Plain::of(
        4096,
        "ls -x\x08\x1b[Pl \x1b[2D\x1b[@\x1b[K".repeat(100).as_bytes(),
    )
    .into_text();
    assert!(!text.cut && text.work < 100_000, "{}", text.work);
}

#[test]
fn a_mark_far_from_its_letter_costs_little() {
    let marks = 100_000;
    let plain = Plain::of(4096, format!("a\x1b[4095C{}", "\u{301}".repeat(marks)).as_bytes());
    assert_eq!(plain.screen.work, marks);
    assert_eq!(plain.into_text().text.chars().next(), Some('a'));
}

#[test]
fn texts_are_cut_where_characters_end() {
    let text = || Text {
        text: "ééé\nxéé".to_owned(),
        ..Text::default()
    };
    assert_eq!(text().cut_to_begin(3).text, "é");
    assert_eq!(text().cut_to_end(7).text, "xéé");
    assert_eq!(text().cut_to_end(3).text, "é");
    assert!(text().cut_to_end(3).cut && !text().cut_to_end(100).cut);
}

fn cells(plain: &Plain) -> usize {
    plain.screen.rows.iter().map(|row| row.cells.len() + 1).sum()
}

/// Pieces of what terminals are sent, all of which move or change something.
fn storm() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "b",
        "xyz",
        " ",
        "       ",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\x08",
        "漢",
        "\u{301}",
        "\x1bM",
        "\x1bD",
        "\x1bE",
        "\x1b7",
        "\x1b8",
        "\x1b[A",
        "\x1b[3B",
        "\x1b[C",
        "\x1b[2D",
        "\x1b[9G",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2K",
        "\x1b[J",
        "\x1b[2P",
        "\x1b[3X",
        "\x1b[2@",
        "\x1b[s",
        "\x1b[u",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "%         \r \r",
        "\x1b[?2004h",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..80)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_storm_is_counted_right(bytes in storm(), columns in 0..12_u16) {
        let plain = Plain::of(columns, bytes.as_bytes());
        let marks = plain.screen.marks.iter().map(String::len).sum::<usize>();
        prop_assert!(plain.screen.rows.iter().all(|row| row.cells.len() <= usize::from(columns.max(2))), "{bytes:?}");
        prop_assert!(plain.screen.kept + 1 + marks >= cells(&plain), "{} {} {bytes:?}", plain.screen.kept, cells(&plain));
        let unseen = plain.screen.rows.iter().skip(plain.screen.seen);
        prop_assert!(unseen.flat_map(|row| &row.cells).all(|cell| cell.is_blank()), "{bytes:?}");
        let length = cells(&plain);
        for row in 0..plain.screen.rows.len() + 1 {
            plain.count_back(row, 1, length / 2);
            plain.right_of_gap(row);
            plain.text_from(Place { row, column: 3 });
        }
    }

    #[test]
    fn any_bytes_are_bounded_and_plain(bytes in proptest::collection::vec(any::<u8>(), 0..2000), columns in 0..200_u16) {
        let plain = Plain::of(columns, &bytes);
        prop_assert!(cells(&plain) <= KEPT_MAX);
        let text = plain.into_text().text;
        prop_assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
    }

    #[test]
    fn sequences_are_bounded(numbers in proptest::collection::vec((0..9999_u16, 0..14_usize), 0..200)) {
        let mut bytes = String::new();
        for (number, at) in numbers {
            bytes.push_str(&format!("\x1b[{number}{}", ["A", "B", "C", "D", "G", "K", "J", "P", "X", "@", "E", "F", "my", "m\n"][at]));
        }
        let plain = Plain::of(4096, bytes.as_bytes());
        prop_assert!(cells(&plain) <= KEPT_MAX && plain.screen.rows.len() <= 300);
    }
}

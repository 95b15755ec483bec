//! What operating system commands say: titles (0, 2), notifications (9, 99, 777), progress (9;4) and prompt marks (133).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::plain;

/// Of programs that leave out the padding, too.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Subcommands of OSC 9 that are `ConEmu`'s, and no text to be shown.
const CONEMU: std::ops::RangeInclusive<u32> = 1..=12;

/// Most progress there is.
const PROGRESS_MAX: u8 = 4;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A mark around a prompt or a command: `A`, `B`, `C` or `D`.
    Prompt(char),
    /// Progress: 0 none, 1 normal, 2 error, 3 indeterminate, 4 paused.
    Progress(u8),
    /// A notification.
    Notice(String),
    /// A piece of a notification.
    Piece(Piece),
    /// The title.
    Title(String),
}

/// A piece of a notification of OSC 99.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Of which notification it is; empty for one without an id.
    pub(super) id: Vec<u8>,
    /// It is of the body, not of the title.
    pub(super) body: bool,
    /// Its text. Absent: it brings something that is no text.
    pub(super) text: Option<Vec<u8>>,
    /// It is the last one.
    pub(super) last: bool,
}

/// Reads a command.
pub(super) fn read(payload: &[u8]) -> Option<Said> {
    let (number, rest) = cut(payload, b';');
    match number {
        b"0" | b"2" => Some(Said::Title(plain::line(rest?))),
        b"9" => nine(rest?),
        b"99" => piece(rest?).map(Said::Piece),
        b"133" => mark(rest?).map(Said::Prompt),
        b"777" => {
            let (what, rest) = cut(rest?, b';');
            let (title, body) = cut(rest?, b';');
            (what == b"notify").then(|| Said::Notice(notice(title, body.unwrap_or_default())))
        }
        _ => None,
    }
}

/// A notification of a title and a body, of which one may be empty.
pub(super) fn notice(title: &[u8], body: &[u8]) -> String {
    let (title, body) = (plain::line(title), plain::line(body));
    if title.is_empty() || body.is_empty() {
        return title + &body;
    }
    plain::line(format!("{title}: {body}").as_bytes())
}

fn nine(text: &[u8]) -> Option<Said> {
    let (word, rest) = cut(text, b';');
    let command = std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse::<u32>().ok());
    match command {
        Some(4) => {
            let (state, _) = cut(rest?, b';');
            let state = std::str::from_utf8(state).ok()?.parse().ok()?;
            (state <= PROGRESS_MAX).then_some(Said::Progress(state))
        }
        Some(command) if CONEMU.contains(&command) => None,
        _ => Some(Said::Notice(plain::line(text))),
    }
}

fn mark(text: &[u8]) -> Option<char> {
    match cut(text, b';').0 {
        [mark @ b'A'..=b'D'] => Some(char::from(*mark)),
        _ => None,
    }
}

fn piece(text: &[u8]) -> Option<Piece> {
    let (metadata, payload) = cut(text, b';');
    let mut piece = Piece {
        id: Vec::new(),
        body: false,
        text: None,
        last: true,
    };
    let (mut is_text, mut encoded) = (true, false);
    for pair in metadata.split(|&byte| byte == b':') {
        match cut(pair, b'=') {
            (b"i", Some(id)) => piece.id = id.to_vec(),
            (b"d", Some(done)) => piece.last = done != b"0",
            (b"e", Some(how)) => encoded = how == b"1",
            (b"p", Some(b"title")) => {}
            (b"p", Some(b"body")) => piece.body = true,
            // A question of what the terminal can do, or which notifications it shows; and the end of one.
            (b"p", Some(b"?" | b"alive" | b"close")) => return None,
            (b"p", _) => is_text = false,
            _ => {}
        }
    }
    let payload = payload.unwrap_or_default();
    if is_text {
        piece.text = if encoded {
            BASE64.decode(payload).ok()
        } else {
            Some(payload.to_vec())
        };
    }
    Some(piece)
}

/// What stands before the first of these bytes, and behind it.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(found) => (&text[..found], Some(&text[found + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice_of(text: &str) -> Option<Said> {
        Some(Said::Notice(text.to_owned()))
    }

    #[test]
    fn titles_marks_and_progress_are_read() {
        assert_eq!(read(b"0;a;b"), Some(Said::Title("a;b".to_owned())));
        assert_eq!(read(b"2;"), Some(Said::Title(String::new())));
        for (payload, mark) in [
            ("133;A", 'A'),
            ("133;A;k=s;x", 'A'),
            ("133;C", 'C'),
            ("133;D;130", 'D'),
        ] {
            assert_eq!(read(payload.as_bytes()), Some(Said::Prompt(mark)), "{payload}");
        }
        for (payload, progress) in [("9;4;1;50", 1), ("9;4;3", 3), ("9;4;0;", 0), ("9;4;2;10", 2)] {
            assert_eq!(
                read(payload.as_bytes()),
                Some(Said::Progress(progress)),
                "{payload}"
            );
        }
        for none in [
            "",
            "0",
            "1;icon",
            "9",
            "9;4",
            "9;4;",
            "9;4;5;1",
            "9;4;-1",
            "133",
            "133;",
            "133;L",
            "133;AB",
            "52;c;x",
            "8;;http://x",
            "4;1;rgb:0/0/0",
        ] {
            assert_eq!(read(none.as_bytes()), None, "{none:?}");
        }
    }

    #[test]
    fn notifications_are_read() {
        assert_eq!(read(b"9;Build\x01done"), notice_of("Build done"));
        assert_eq!(read(b"9;"), notice_of(""));
        assert_eq!(read(b"9;13;x"), notice_of("13;x"));
        for conemu in ["9;1;100", "9;2;box", "9;3;tab", "9;5", "9;9;/home", "9;12"] {
            assert_eq!(read(conemu.as_bytes()), None, "{conemu}");
        }
        assert_eq!(read(b"777;notify;Title;Body;more"), notice_of("Title: Body;more"));
        assert_eq!(read(b"777;notify;Title"), notice_of("Title"));
        assert_eq!(read(b"777;notify;;Body"), notice_of("Body"));
        assert_eq!(read(b"777;precmd"), None);
        assert_eq!(read(b"777;preexec;x"), None);
    }

    #[test]
    fn pieces_of_notifications_are_read() {
        let piece = |payload: &str| match read(payload.as_bytes()) {
            Some(Said::Piece(piece)) => Some((
                String::from_utf8(piece.id).unwrap(),
                piece.body,
                piece.text.map(|text| String::from_utf8(text).unwrap()),
                piece.last,
            )),
            None => None,
            other => panic!("{other:?}"),
        };
        let is = |id: &str, body, text: Option<&str>, last| {
            Some((id.to_owned(), body, text.map(str::to_owned), last))
        };
        assert_eq!(piece("99;;Hello"), is("", false, Some("Hello"), true));
        assert_eq!(
            piece("99;i=1:d=0:p=body;He;llo"),
            is("1", true, Some("He;llo"), false)
        );
        assert_eq!(piece("99;e=1:i=x;SGVsbG8"), is("x", false, Some("Hello"), true));
        assert_eq!(piece("99;e=1;SGVsbG8="), is("", false, Some("Hello"), true));
        assert_eq!(piece("99;e=1;%"), is("", false, None, true));
        assert_eq!(piece("99;i=1:p=icon:d=1;AAAA"), is("1", false, None, true));
        assert_eq!(piece("99;u=2:a=focus"), is("", false, Some(""), true));
        for none in ["99", "99;i=1:p=?;", "99;p=close:i=1;", "99;i=1:p=alive;x"] {
            assert_eq!(piece(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            start in proptest::sample::select(vec!["", "0;", "9;", "9;4;", "99;", "99;e=1;", "133;", "777;notify;"]),
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            read(&[start.as_bytes(), &rest].concat());
        }
    }
}

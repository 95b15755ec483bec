//! Finds the marks that shells make around prompts and commands (OSC 133, and 633 as editors have it) in a log.
//!
//! It looks for nothing else, and knows nothing of the terminal's state: what looks like a mark within another sequence is
//! taken for one.

mod line;

use std::{io, ops::Range};

use memchr::memmem;
use outlast_helper::spool::Dir;

use super::{
    blocks::{Event, What},
    bytes,
};

/// Bytes of a mark that are looked at. The end of a longer one is not looked for.
pub(super) const MARK_MAX: usize = 64 << 10;

const INTRODUCERS: [&[u8]; 2] = [b"\x1b]133;", b"\x1b]633;"];

/// How far before them a mark may begin that ends within bounds. Few are longer.
pub(super) const BEFORE: u64 = 4 << 10;

/// The marks that begin within these bounds, and what of `sends` stands there, in order.
pub(super) fn find(dir: &Dir, from: u64, to: u64, sends: &[Event]) -> io::Result<Vec<Event>> {
    if from >= to {
        return Ok(Vec::new());
    }
    let begin = from.saturating_sub(BEFORE);
    let text = bytes(dir, begin, to.saturating_add(MARK_MAX as u64))?;
    let within = usize::try_from(to - begin).unwrap_or(usize::MAX).min(text.len());
    let mut events = Vec::new();
    for Mark {
        begin: found,
        end,
        mut what,
    } in marks(&text)
    {
        if found >= within {
            break;
        }
        if let What::Command { line } = &mut what {
            *line = ran(dir, &text, end, begin)?;
        }
        events.push(Event {
            at: begin + found as u64,
            end: begin + end as u64,
            what,
        });
    }
    let first = sends.partition_point(|send| send.at < from);
    let last = sends.partition_point(|send| send.at < to);
    let marks = events.len();
    for send in &sends[first..last] {
        let before = events[..marks].partition_point(|mark| mark.at <= send.at);
        let behind = before.checked_sub(1).map_or(0, |mark| events[mark].end);
        // The log ended within a mark then.
        events.push(Event {
            at: send.at.max(behind),
            end: send.end.max(behind),
            what: send.what.clone(),
        });
    }
    events.retain(|event| event.at >= from);
    // What was sent where a mark begins was sent before it.
    events.sort_by_key(|event| (event.at, !matches!(event.what, What::Sent { .. })));
    Ok(events)
}

/// Where what was typed at a prompt that ends there in a text that begins at `begin` in the log runs, if only that tells it.
fn ran(dir: &Dir, text: &[u8], end: usize, begin: u64) -> io::Result<Option<Range<u64>>> {
    let (before, behind) = text.split_at(end);
    let at = begin + end as u64;
    let ran = if line::is_told(behind) {
        line::find(before, behind)
    } else {
        line::find(before, &bytes(dir, at, at + line::WHOLE as u64)?)
    };
    Ok(ran.map(|ran| at + ran.start as u64..at + ran.end as u64))
}

/// A mark in a text.
struct Mark {
    begin: usize,
    end: usize,
    what: What,
}

/// All marks in a text, in order.
fn marks(text: &[u8]) -> impl Iterator<Item = Mark> {
    // All that begin with an introducer begin alike.
    memmem::find_iter(text, b"\x1b]").filter_map(|begin| {
        let rest = &text[begin..];
        let introducer = INTRODUCERS
            .iter()
            .find(|introducer| rest.starts_with(introducer))?;
        let rest = &rest[introducer.len()..];
        let (payload, length) = payload(&rest[..rest.len().min(MARK_MAX)])?;
        Some(Mark {
            begin,
            end: begin + introducer.len() + length,
            what: read(payload)?,
        })
    })
}

/// What stands before the end of the sequence, and how long it is with its end. One that is interrupted is none.
fn payload(rest: &[u8]) -> Option<(&[u8], usize)> {
    let end = rest
        .iter()
        .position(|byte| matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b))?;
    let ending = match rest[end..] {
        [0x07, ..] => 1,
        [0x1b, b'\\', ..] => 2,
        _ => return None,
    };
    Some((&rest[..end], end + ending))
}

fn read(payload: &[u8]) -> Option<What> {
    let mut words = payload.split(|&byte| byte == b';');
    let word = words.next()?;
    match word {
        // Of a line that goes on, or at the right.
        b"A" | b"P" if words.clone().any(|word| matches!(word, b"k=s" | b"k=c" | b"k=r")) => None,
        b"A" => Some(What::Prompt),
        b"B" => Some(What::Command { line: None }),
        b"C" => {
            let mut given = words.filter_map(|word| {
                let encoded = word.strip_prefix(b"cmdline_url=");
                let plain = || word.strip_prefix(b"cmdline=").map(<[u8]>::to_vec);
                encoded.map(|text| decode(text, b'%', b"")).or_else(plain)
            });
            Some(What::Output {
                given: given.next().map(|text| line(&text).into()),
            })
        }
        b"D" => {
            let code = words.next().and_then(|code| std::str::from_utf8(code).ok());
            Some(What::End {
                exit_code: code.and_then(|code| code.parse().ok()),
            })
        }
        b"E" => words.next().map(|text| What::Line {
            text: line(&decode(text, b'\\', b"x")).into(),
        }),
        _ => None,
    }
}

/// Puts in the bytes that are written as two hexadecimal digits behind `escape` and `letter`. With a letter, two escapes are
/// one.
fn decode(text: &[u8], escape: u8, letter: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != escape {
            decoded.push(first);
            continue;
        }
        if !letter.is_empty() && behind.first() == Some(&escape) {
            rest = &behind[1..];
            decoded.push(escape);
            continue;
        }
        let digits = behind
            .strip_prefix(letter)
            .and_then(|digits| digits.first_chunk::<2>());
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &behind[letter.len() + 2..];
            }
            None => decoded.push(first),
        }
    }
    decoded
}

/// What a shell says of its command, without control characters but tabs and line ends.
fn line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text: String = text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\t' | '\n'))
        .collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_read() {
        assert_eq!(read(b"A"), Some(What::Prompt));
        assert_eq!(read(b"A;aid=1"), Some(What::Prompt));
        assert_eq!(read(b"A;k=s"), None);
        assert_eq!(read(b"B"), Some(What::Command { line: None }));
        assert_eq!(read(b"C"), Some(What::Output { given: None }));
        let given = |text: &str| Some(text.into());
        assert_eq!(
            read(b"C;cmdline_url=ls%20-l%3b%0a%C3%A9%zz%"),
            Some(What::Output {
                given: given("ls -l;\n\u{e9}%zz%")
            })
        );
        assert_eq!(
            read(b"E;echo a\\x3bb \\\\x3b\\x1b[m;nonce"),
            Some(What::Line {
                text: "echo a;b \\x3b[m".into()
            })
        );
        assert_eq!(read(b"D;130;x"), Some(What::End { exit_code: Some(130) }));
        assert_eq!(read(b"D"), Some(What::End { exit_code: None }));
        for none in ["", "L", "AB", "P;Cwd=/x"] {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_mark_has_an_end() {
        assert_eq!(payload(b"A\x07x"), Some((&b"A"[..], 2)));
        assert_eq!(payload(b"A\x1b\\x"), Some((&b"A"[..], 3)));
        // A byte of a letter is no end, though it could be one alone.
        assert_eq!(
            payload("E;\u{dc}\x07".as_bytes()),
            Some(("E;\u{dc}".as_bytes(), 5))
        );
        for none in [&b"A"[..], b"A\x1b[m", b"A\x18\x07"] {
            assert_eq!(payload(none), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_may_stand_in_a_mark(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            payload(&text);
            read(&text);
            read(&[b"C;cmdline_url=", &text[..]].concat());
            read(&[b"E;", &text[..]].concat());
        }
    }
}

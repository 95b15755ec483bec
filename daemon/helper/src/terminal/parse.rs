//! Finds the sequences with a meaning in what a terminal gets. It looks at nothing else: between them it searches for two
//! bytes, so that a flood of output costs next to nothing.
//!
//! Strings (OSC, DCS, APC, PM, SOS and the title of tmux) end with ST, an OSC with BEL as well; what rings or begins
//! within one counts for nothing. One that another sequence interrupts is none. C1 controls are known in the form that
//! they have in UTF-8; their single bytes are parts of ordinary letters there, and tmux does not know them either.

use memchr::{memchr2, memchr3};

/// Bytes that are kept of a string. What is longer is none of ours, an image or a clipboard, and passed over.
const PAYLOAD_MAX: usize = 4096;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
/// First byte of C1 controls in UTF-8; the second is the control.
const C1: u8 = 0xc2;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence<'a> {
    /// The bell.
    Bell,
    /// An operating system command, without what introduces and ends it.
    Osc(&'a [u8]),
    /// The same, wrapped by a program that believes tmux has to pass it on.
    Passed(&'a [u8]),
}

/// Finds sequences in a stream that comes in any pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    state: State,
    /// What was read of the string we are in, unless it is `Skipped`.
    payload: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After an ESC.
    Escape,
    /// After the first byte of what may be a C1 control.
    MayBeC1,
    In(Kind),
    /// In a string, after an ESC.
    EscapeIn(Kind),
    /// In a string, after the first byte of what may be ST.
    MayBeStIn(Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Osc,
    Dcs,
    /// Any string that is of no interest, and one that is too long.
    Skipped {
        /// BEL ends it.
        bell: bool,
    },
}

impl Parser {
    /// Reads a piece and tells of every sequence that ends in it.
    pub(super) fn read(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Sequence<'_>)) {
        while let Some(&first) = bytes.first() {
            let used = match self.state {
                State::Ground => self.ground(bytes, found),
                State::In(kind) => self.string(kind, bytes, found),
                State::Escape => {
                    self.escape(first, found);
                    1
                }
                State::MayBeC1 => {
                    let opened = opened(first.wrapping_sub(0x40)).filter(|_| (0x80..0xa0).contains(&first));
                    self.enter(opened);
                    // It may be one of those that are searched for.
                    usize::from(opened.is_some())
                }
                State::EscapeIn(kind) => self.escape_in(kind, first, found),
                State::MayBeStIn(kind) => {
                    if first == 0x9c {
                        self.end(kind, found);
                        1
                    } else {
                        self.state = State::In(kind);
                        self.keep(kind, &[C1]);
                        0
                    }
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn ground(&mut self, bytes: &[u8], found: &mut dyn FnMut(Sequence<'_>)) -> usize {
        let Some(at) = memchr3(ESC, BEL, C1, bytes) else {
            return bytes.len();
        };
        match bytes[at] {
            BEL => found(Sequence::Bell),
            ESC => self.state = State::Escape,
            _ => self.state = State::MayBeC1,
        }
        at + 1
    }

    fn escape(&mut self, byte: u8, found: &mut dyn FnMut(Sequence<'_>)) {
        match byte {
            // Controls within a sequence do what they do.
            BEL => found(Sequence::Bell),
            ESC => {}
            byte => self.enter(opened(byte)),
        }
    }

    fn enter(&mut self, opened: Option<Kind>) {
        self.payload.clear();
        self.state = opened.map_or(State::Ground, State::In);
    }

    fn string(&mut self, kind: Kind, bytes: &[u8], found: &mut dyn FnMut(Sequence<'_>)) -> usize {
        let bell = matches!(kind, Kind::Osc | Kind::Skipped { bell: true });
        let end = if bell {
            memchr3(ESC, C1, BEL, bytes)
        } else {
            memchr2(ESC, C1, bytes)
        };
        let end = end.unwrap_or(bytes.len());
        if let Some(cancelled) = memchr2(CAN, SUB, &bytes[..end]) {
            self.enter(None);
            return cancelled + 1;
        }
        self.keep(kind, &bytes[..end]);
        match (bytes.get(end), self.state) {
            (Some(&BEL), State::In(kind)) => self.end(kind, found),
            (Some(&ESC), State::In(kind)) => self.state = State::EscapeIn(kind),
            (Some(_), State::In(kind)) => self.state = State::MayBeStIn(kind),
            _ => {}
        }
        end + 1
    }

    fn escape_in(&mut self, kind: Kind, byte: u8, found: &mut dyn FnMut(Sequence<'_>)) -> usize {
        match (byte, kind) {
            (b'\\', kind) => self.end(kind, found),
            // As whoever wraps sequences for tmux writes an ESC.
            (ESC, Kind::Dcs | Kind::Skipped { bell: false }) => {
                self.state = State::In(kind);
                self.keep(kind, &[ESC]);
            }
            _ => {
                self.state = State::Escape;
                return 0;
            }
        }
        1
    }

    /// Keeps a part of a string, unless that becomes too long.
    fn keep(&mut self, kind: Kind, part: &[u8]) {
        let bell = match kind {
            Kind::Osc => true,
            Kind::Dcs => false,
            Kind::Skipped { .. } => return,
        };
        if self.payload.len() + part.len() > PAYLOAD_MAX {
            self.payload.clear();
            self.state = State::In(Kind::Skipped { bell });
        } else {
            self.payload.extend_from_slice(part);
        }
    }

    fn end(&mut self, kind: Kind, found: &mut dyn FnMut(Sequence<'_>)) {
        self.state = State::Ground;
        match kind {
            Kind::Osc => found(Sequence::Osc(&self.payload)),
            Kind::Dcs => {
                if let Some(wrapped) = self.payload.strip_prefix(b"tmux;") {
                    // Nothing is wrapped twice here: a Parser of its own, whose own finds are not looked into.
                    Self::default().read(wrapped, &mut |inner| {
                        if let Sequence::Osc(payload) = inner {
                            found(Sequence::Passed(payload));
                        }
                    });
                }
            }
            Kind::Skipped { .. } => {}
        }
    }
}

/// The string that ESC and this byte begin.
fn opened(byte: u8) -> Option<Kind> {
    match byte {
        b']' => Some(Kind::Osc),
        b'P' => Some(Kind::Dcs),
        // SOS, PM, APC, and tmux's own for the name of a window.
        b'X' | b'^' | b'_' | b'k' => Some(Kind::Skipped { bell: false }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for piece in pieces {
            parser.read(piece, &mut |sequence| {
                all.push(match sequence {
                    Sequence::Bell => "bell".to_owned(),
                    Sequence::Osc(text) => format!("osc {}", String::from_utf8_lossy(text)),
                    Sequence::Passed(text) => format!("passed {}", String::from_utf8_lossy(text)),
                });
            });
            assert!(parser.payload.len() <= PAYLOAD_MAX);
        }
        all
    }

    fn found(text: &[u8]) -> Vec<String> {
        found_in([text])
    }

    #[test]
    fn sequences_are_found_in_all_their_forms() {
        assert_eq!(
            found(b"a\x07b\x1b]0;one\x07c\x1b]9;two\x1b\\d\xc2\x9d2;three\xc2\x9ce\x07"),
            ["bell", "osc 0;one", "osc 9;two", "osc 2;three", "bell"]
        );
        assert_eq!(
            found("\x1b]2;✝ «é» \u{9d}x\u{9c}".as_bytes()),
            ["osc 2;✝ «é» \u{9d}x"]
        );
        // A bell within a sequence rings, and an ESC begins it anew.
        assert_eq!(found(b"\x1b\x07[1\x07m\x1b\x1b]a\x07"), ["bell", "bell", "osc a"]);
    }

    #[test]
    fn what_stands_in_other_strings_does_not_count() {
        for open in [
            "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1bk", "\u{90}", "\u{9f}", "\u{9e}", "\u{98}",
        ] {
            let text = format!("{open}q\x07]9;x\u{9d}\x07 é\x1b\\\x07");
            assert_eq!(found(text.as_bytes()), ["bell"], "{open:?}");
        }
        // Letters whose UTF-8 has the bytes of controls.
        assert_eq!(found("✝…Ý❝\u{a7}Â".as_bytes()), Vec::<String>::new());
    }

    #[test]
    fn a_string_that_is_interrupted_is_none() {
        assert_eq!(found(b"\x1b]9;x\x1b[31m\x07"), ["bell"]);
        assert_eq!(found(b"\x1b]9;x\x18\x07"), ["bell"]);
        assert_eq!(found(b"\x1bPq\x1a\x07"), ["bell"]);
        assert_eq!(found(b"\x1b]9;x\x1b]9;y\x07"), ["osc 9;y"]);
        assert_eq!(found(b"\x1b]9;x\x1b\x1b]9;y\x07"), ["osc 9;y"]);
    }

    #[test]
    fn what_is_wrapped_for_tmux_is_unwrapped() {
        assert_eq!(
            found(b"\x1bPtmux;\x1b\x1b]9;a\x07\x07\x1b\x1b]777;notify;b;c\x1b\x1b\\\x1b\\\x07"),
            ["passed 9;a", "passed 777;notify;b;c", "bell"]
        );
        assert_eq!(found(b"\x1bPscreen;\x1b\x1b]9;a\x07\x1b\\"), Vec::<String>::new());
    }

    #[test]
    fn what_is_too_long_is_passed_over_to_its_end() {
        let long = |max: usize| [b"\x1b]52;", "x".repeat(max).as_bytes(), b"\x07\x07"].concat();
        assert_eq!(found(&long(PAYLOAD_MAX)), ["bell"]);
        assert_eq!(found(&long(PAYLOAD_MAX - 3)).len(), 2);
        let sixel = [
            b"\x1bPq",
            "\x07".repeat(9000).as_bytes(),
            b"\x1b\x1b\x07\x1b\\\x07",
        ]
        .concat();
        assert_eq!(found(&sixel), ["bell"]);
    }

    /// Bytes of which much is found in.
    fn interesting() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => proptest::sample::select(vec![
                &b"\x1b]"[..], b"\x1bP", b"\x1bPtmux;", b"\x1b\x1b]", b"\x1b\\", b"\x1b\x1b\\", b"\x07", b"\x1b", b"\xc2",
                b"\xc2\x9d", b"\xc2\x9c", b"\x9c", b"\x18", b"\x1a", b"9;4;1;2", b"9;text", b"133;A", b"0;title", b"\xe2\x9c\x9d",
                b"\x1b_", b"\x1bk", b"\\", b"]",
            ]).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
            1 => (0..5000_usize).prop_map(|count| vec![b'x'; count]),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in interesting(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let whole = found(&text);
            let cut = found_in(cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]));
            prop_assert_eq!(&cut, &whole);
            prop_assert_eq!(found_in(text.chunks(1)), whole);
        }
    }
}

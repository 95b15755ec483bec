//! Finds in a log where a terminal showed text that was sent. Pure.
//!
//! Only where it stands on the terminal, one character after the other, it was shown: of a password nothing does. Blanks do not
//! count, for line ends and the edges of a terminal are shown in more ways than one.

use super::{
    plain::{Place, Plain},
    sends::Echo,
};

/// Characters of the end of a long text that are enough to know it by.
const PART_MIN: usize = 200;

/// Cells that are gone through to look for a text, and so many more for each byte of it. What shells and editors do needs one or
/// two for each byte they write; a program that means harm could have a few bytes looked for in a long row over and over.
const WORK_MAX: usize = 4 << 20;
const WORK_PER_BYTE: usize = 16;

/// What was found of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sessions) struct Shown {
    /// Where it, or its lines one by one, were shown.
    pub(in crate::sessions) echoes: Vec<Echo>,
    /// All of it was.
    pub(in crate::sessions) whole: bool,
    /// The search was given up: it took too long.
    pub(in crate::sessions) given_up: bool,
}

/// Looks for `text` in what the log holds from offset `from` on, where a line begins. It was sent at `sent`, and no echo of it ends
/// before that.
pub(in crate::sessions) fn find(columns: u16, log: &[u8], from: u64, sent: u64, text: &str) -> Shown {
    let budget = WORK_MAX + WORK_PER_BYTE * text.len();
    find_within(columns, log, from, sent, text, budget).0
}

/// The same, going through so many cells at most, and how many of them are left.
fn find_within(columns: u16, log: &[u8], from: u64, sent: u64, text: &str, budget: usize) -> (Shown, usize) {
    let before = usize::try_from(sent.saturating_sub(from)).unwrap_or(usize::MAX);
    let (before, log) = log.split_at(before.min(log.len()));
    let mut finder = Finder::new(columns, before, from, sent, budget);
    let shown = finder.find(log, text);
    (shown, finder.budget)
}

/// Whether a sequence moves the cursor up: an editor is about to draw again what stands there.
fn goes_up(sequence: &[u8]) -> bool {
    match sequence {
        [_, b'M', ..] => true,
        [_, b'[', rest @ ..] => rest.iter().find(|byte| !byte.is_ascii_digit()) == Some(&b'A'),
        _ => false,
    }
}

/// The echo of all lines where the last one, which has no end of its own, is followed by what the first ones print: a terminal shows
/// what it is sent at once, whatever reads it. All but that were shown one right after the other; `log` stands behind them.
fn last_line(shown: &[Echo], log: &[u8], text: &str, lines: &[Vec<char>]) -> Option<Echo> {
    if shown.len() + 1 != lines.len() {
        return None;
    }
    let last = text.lines().next_back().filter(|last| !last.trim().is_empty())?;
    let (first, end) = (shown.first()?, shown.last()?);
    let is_one = shown.windows(2).all(|pair| pair[0].to == pair[1].from);
    if !is_one || !log.starts_with(last.as_bytes()) {
        return None;
    }
    let shown = end.to + last.len() as u64;
    Some(Echo {
        shown,
        to: shown,
        length: u32::try_from(lines.iter().map(Vec::len).sum::<usize>()).ok()?,
        ..*first
    })
}

/// A terminal on which something may be shown.
struct Finder {
    plain: Plain,
    /// Where something was sent.
    origin: Place,
    /// Offset behind what was read.
    offset: u64,
    /// Where rows begin in the log.
    begins: Vec<u64>,
    /// State of what is seen when it was looked at last.
    looked_at: Option<u64>,
    /// Cells that may still be gone through.
    budget: usize,
}

impl Finder {
    fn new(columns: u16, before: &[u8], from: u64, sent: u64, budget: usize) -> Self {
        let plain = Plain::of(columns, before);
        Self {
            origin: plain.at(),
            begins: vec![from; plain.at().row + 1],
            plain,
            offset: sent,
            looked_at: None,
            budget,
        }
    }

    /// Looks for `text` in what the log holds from here on.
    fn find(&mut self, log: &[u8], text: &str) -> Shown {
        let whole: Vec<char> = visible(text).collect();
        let lines = text
            .split(['\n', '\r'])
            .map(|line| visible(line).collect::<Vec<char>>());
        let lines: Vec<Vec<char>> = lines.filter(|line| !line.is_empty()).collect();
        let (mut found, mut found_line) = (None, None);
        let mut shown = Shown {
            echoes: Vec::new(),
            whole: false,
            given_up: false,
        };
        if whole.is_empty() {
            return shown;
        }
        let mut read = 0;
        for end in memchr::memchr3_iter(b'\r', b'\n', 0x1b, log) {
            if log[end] == 0x1b && !goes_up(&log[end..]) {
                continue;
            }
            self.read(&log[read..end]);
            // Where nothing came since it was looked there last, there is nothing to be found.
            if self.has_changed() {
                found = found.or_else(|| self.look(&whole));
                // A program that reads line by line shows them so.
                if lines.len() > 1
                    && let Some(line) = lines.get(shown.echoes.len())
                {
                    found_line = found_line.or_else(|| self.look(line));
                }
                if self.budget == 0 {
                    shown.given_up = true;
                    return shown;
                }
            }
            let is_over = self.read(&log[end..=end]);
            read = end + 1;
            if !is_over {
                continue;
            }
            let to = self.offset;
            if let Some(echo) = found {
                return Shown {
                    echoes: vec![Echo { to, ..echo }],
                    whole: true,
                    given_up: false,
                };
            }
            let Some(line) = found_line.take() else { continue };
            shown.echoes.push(Echo { to, ..line });
            if let Some(echo) = last_line(&shown.echoes, &log[read..], text, &lines) {
                return Shown {
                    echoes: vec![echo],
                    whole: true,
                    given_up: false,
                };
            }
        }
        shown.whole = lines.len() > 1 && shown.echoes.len() == lines.len();
        shown
    }

    /// True: a line ended behind which there was nothing yet.
    fn read(&mut self, bytes: &[u8]) -> bool {
        let begin = self.offset;
        let bottom = self.plain.bottom();
        self.plain.read(bytes);
        self.offset += bytes.len() as u64;
        let row = self.plain.at().row;
        let is_end = bytes == b"\n" && row > bottom;
        self.begins
            .resize(self.begins.len().max(self.plain.bottom() + 1), begin);
        if is_end && let Some(begin) = self.begins.get_mut(row) {
            *begin = self.offset;
        }
        is_end
    }

    /// Whether what is seen is no more what it was when this was asked last.
    fn has_changed(&mut self) -> bool {
        let now = Some(self.plain.changes());
        std::mem::replace(&mut self.looked_at, now) != now
    }

    /// Whether these characters stand at the end of what stands there, or left of a gap in its last row.
    fn look(&mut self, wanted: &[char]) -> Option<Echo> {
        self.look_behind(0, wanted).or_else(|| {
            let row = self.plain.bottom();
            self.budget = self.budget.saturating_sub(self.plain.length_of(row));
            self.look_behind(self.plain.right_of_gap(row)?, wanted)
        })
    }

    /// The same where so many more stand behind them.
    fn look_behind(&mut self, behind: usize, wanted: &[char]) -> Option<Echo> {
        let row = self.plain.bottom();
        let (place, length) = self.plain.find_back(row, behind, wanted, &mut self.budget)?;
        let is_part = length < wanted.len();
        let begins = place == self.origin || self.plain.begins_word(place);
        if place < self.origin || !(begins || is_part) || is_part && length < PART_MIN {
            return None;
        }
        Some(Echo {
            from: *self.begins.get(place.row)?,
            shown: self.offset,
            to: self.offset,
            length: u32::try_from(length).ok()?,
            behind: u16::try_from(behind).ok()?,
            is_part,
        })
    }
}

/// The characters that are seen of a text, without blanks: controls are shown with a caret.
fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(|c| {
        let caret = c.is_ascii_control().then_some('^');
        let shown = if caret.is_some() {
            char::from(c as u8 ^ 0x40)
        } else {
            c
        };
        caret.into_iter().chain([shown])
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// What is found of a text in a log, and how many cells that took.
    fn looked(columns: u16, log: &str, text: &str) -> (Shown, usize) {
        let budget = WORK_MAX + WORK_PER_BYTE * text.len();
        let (shown, left) = find_within(columns, log.as_bytes(), 0, 0, text, budget);
        (shown, budget - left)
    }

    #[test]
    fn empty_lines_are_no_work() {
        for log in ["\r\n".repeat(30_000), "x".to_owned() + &" \r\n".repeat(20_000)] {
            let (shown, work) = looked(80, &log, "hunter2");
            assert!(shown.echoes.is_empty() && !shown.given_up);
            assert!(work < 200_000, "{work}");
        }
        // Nor are they between what was sent and where it is shown.
        let (shown, _) = looked(80, &("\n".repeat(20_000) + "$ hunter2\r\n"), "hunter2");
        assert!(shown.whole);
    }

    #[test]
    fn what_would_take_too_long_is_given_up() {
        // What stands there is gone through over and over, and so are rows that were cleared.
        let over = "x".repeat(4000) + &"y\x08\r".repeat(60_000);
        let cleared = "x\r\x1b[K\n".repeat(40_000);
        for log in [over, cleared] {
            let (shown, work) = looked(4096, &log, "hunter2");
            assert!(shown.given_up && !shown.whole);
            assert!(work >= WORK_MAX, "{work}");
        }
    }

    #[test]
    fn a_line_is_not_found_twice_in_one_place() {
        let (shown, _) = looked(80, "$ a\r\n\r\n\r\nb\r\n", "a\na");
        assert_eq!(shown.echoes.len(), 1);
        assert!(!shown.whole);
    }

    #[test]
    fn a_large_text_is_found_line_by_line() {
        let lines: Vec<String> = (0..20_000).map(|number| format!("l{number}")).collect();
        let log: String = lines.iter().map(|line| format!("{line}\r\n> ")).collect();
        let (shown, work) = looked(80, &log, &lines.join("\n"));
        assert!(shown.whole && !shown.given_up, "{work}");
    }

    proptest! {
        #[test]
        fn a_storm_ends(
            pieces in vec(select(vec!["\n", "\r", "a", " ", "   b", "\x1b[A", "\x1b[K", "\x1b[400C", "\x1bM", "漢", "e\u{301}"]), 1..40),
            again in 1..40_usize,
        ) {
            let (shown, work) = looked(500, &pieces.concat().repeat(again), "ab\na");
            prop_assert!(work <= WORK_MAX + 4 * WORK_PER_BYTE);
            prop_assert!(!shown.given_up || work > WORK_MAX);
        }
    }
}

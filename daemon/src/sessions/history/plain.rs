//! Plain text of what a terminal was sent: as it stood there in the end, line by line.
//!
//! It is no screen: it knows no size and no top. It follows what writes over the same lines again, as progress and the editing of
//! a command do, and leaves out what stood on an alternate screen. Whatever the bytes are, memory is bounded.

use vte::{Params, Parser, Perform};

/// Characters that are kept, those that were written over not counted.
const KEPT_MAX: usize = 512 << 10;

/// How far sequences move the cursor at once: terminals are not larger.
const STEP_MAX: usize = 4096;

/// Cells that are gone through to edit what stands there, beyond one for each character. Editors and progress need a fraction; a
/// program that means harm could make a few bytes touch a long line over and over. Nothing is edited behind it, only appended.
const WORK_MAX: usize = 8 << 20;

/// Plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// Lines, without control characters but tabs.
    pub(super) text: String,
    /// There was more.
    pub(super) cut: bool,
    /// Something stood on an alternate screen, and is left out.
    pub(super) full_screen: bool,
    /// Cells that were gone through for it.
    pub(super) work: usize,
}

impl Text {
    /// The beginning of a text that is plain already.
    pub(super) fn cut_behind(text: String, max: usize) -> Self {
        Self {
            text,
            ..Self::default()
        }
        .cut_to_begin(max)
    }

    /// At most so many bytes, from the beginning.
    pub(super) fn cut_to_begin(mut self, max: usize) -> Self {
        if self.text.len() > max {
            let end = (0..=max).rev().find(|at| self.text.is_char_boundary(*at));
            self.text.truncate(end.unwrap_or_default());
            self.cut = true;
        }
        self
    }

    /// At most so many bytes, from the end, and of what was cut off whole lines where there are any.
    pub(super) fn cut_to_end(mut self, max: usize) -> Self {
        let over = self.text.len().saturating_sub(max);
        self.cut |= over > 0;
        if self.cut {
            let begin = (over..self.text.len()).find(|at| self.text.is_char_boundary(*at));
            let begin = begin.unwrap_or(self.text.len());
            let line = self.text[begin..].find('\n').map(|line| begin + line + 1);
            let begin = line.filter(|line| *line < self.text.len()).unwrap_or(begin);
            self.text.drain(..begin);
        }
        self
    }

    /// Takes away a last line that only asks for the next command.
    pub(super) fn take_away_prompt(&mut self, prompt: &str) {
        let line = self.text.rfind('\n').map_or(0, |line| line + 1);
        if !prompt.trim().is_empty() && self.text[line..].trim_end() == prompt.trim_end() {
            self.text.truncate(line);
        }
    }
}

/// Makes plain text.
#[derive(Debug, Default)]
pub(super) struct Plain {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Characters in `lines`.
    kept: usize,
    /// On an alternate screen.
    away: bool,
    /// It is a line that somebody types.
    typing: bool,
    full_screen: bool,
    cut: bool,
    /// Cells that were gone through for edits.
    work: usize,
}

impl Plain {
    /// Of what a program printed.
    pub(super) fn of_output(bytes: &[u8]) -> Self {
        Self::default().read(bytes)
    }

    /// Of what a terminal showed while a line was typed. A line editor that comes to the edge of the screen goes on by a
    /// blank and a return.
    pub(super) fn of_typing(bytes: &[u8]) -> Self {
        Self {
            typing: true,
            ..Self::default()
        }
        .read(bytes)
    }

    fn read(mut self, bytes: &[u8]) -> Self {
        Parser::new().advance(&mut self, bytes);
        self
    }

    /// What stands there. Without blanks at the ends of lines, and without empty lines at the end.
    pub(super) fn into_text(self) -> Text {
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.extend(line);
            text.truncate(text.trim_end_matches(' ').len());
        }
        // One end of a line says that the last line is whole.
        let whole = text.trim_end_matches('\n').len();
        text.truncate(text.len().min(whole + 1));
        Text {
            text,
            cut: self.cut,
            full_screen: self.full_screen,
            work: self.work,
        }
    }

    /// Whether so many cells may be gone through.
    fn may(&mut self, work: usize) -> bool {
        let sum = self.work.saturating_add(work);
        let may = sum <= WORK_MAX;
        if may {
            self.work = sum;
        }
        self.cut |= !may;
        may
    }

    fn line(&mut self) -> &mut Vec<char> {
        if self.row >= self.lines.len() {
            self.lines.resize_with(self.row + 1, Vec::new);
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, c: char) {
        let before = self.line().len();
        let gap = self.column.saturating_sub(before);
        if gap > 0 && !self.may(gap) {
            self.column = before;
        }
        let column = self.column;
        let kept = self.kept;
        let line = self.line();
        if let Some(cell) = line.get_mut(column) {
            *cell = c;
        } else if kept + column - before < KEPT_MAX {
            line.resize(column, ' ');
            line.push(c);
        } else {
            self.cut = true;
            return;
        }
        let after = line.len();
        self.kept += after - before;
        self.column += 1;
    }

    fn new_line(&mut self) {
        // An empty line costs as well.
        if self.kept >= KEPT_MAX {
            self.cut = true;
            return;
        }
        self.kept += 1;
        self.row += 1;
        self.column = 0;
        self.line();
    }

    fn go_back(&mut self) {
        let column = self.column;
        let typing = self.typing;
        let line = self.line();
        if typing && column == line.len() && line.last() == Some(&' ') {
            line.pop();
            self.kept -= 1;
            self.column -= 1;
        } else {
            self.column = 0;
        }
    }

    /// Takes characters of this line away.
    fn remove(&mut self, from: usize, to: usize) {
        let length = self.line().len();
        let (from, to) = (from.min(length), to.min(length));
        // What stands behind it moves.
        if from < to && self.may(length - to) {
            self.line().drain(from..to);
            self.kept -= to - from;
        }
    }

    /// Writes blanks over characters of this line that stand there.
    fn blank(&mut self, from: usize, to: usize) {
        if from < to
            && self.may(to - from)
            && let Some(cells) = self.line().get_mut(from..to)
        {
            cells.fill(' ');
        }
    }

    fn clear_below(&mut self) {
        let gone: usize = self
            .lines
            .drain((self.row + 1).min(self.lines.len())..)
            .map(|line| line.len() + 1)
            .sum();
        self.kept = self.kept.saturating_sub(gone);
    }

    fn alternate(&mut self, away: bool) {
        self.full_screen = true;
        if !away && !self.away {
            // The beginning of what was there is not known; all of it stood there.
            let full_screen = true;
            *self = Self {
                typing: self.typing,
                full_screen,
                work: self.work,
                ..Self::default()
            };
        }
        self.away = away;
    }
}

impl Perform for Plain {
    fn print(&mut self, c: char) {
        if !self.away && !c.is_control() {
            self.put(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if self.away {
            return;
        }
        match byte {
            b'\n' => self.new_line(),
            b'\r' => self.go_back(),
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.put('\t'),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        let number = params
            .iter()
            .next()
            .and_then(|param| param.first().copied())
            .unwrap_or(0);
        if intermediates == b"?" {
            let screen = params.iter().any(|param| matches!(param, [47 | 1047 | 1049, ..]));
            if screen && matches!(action, 'h' | 'l') {
                self.alternate(action == 'h');
            }
            return;
        }
        if self.away || !intermediates.is_empty() {
            return;
        }
        let count = usize::from(number.max(1)).min(STEP_MAX);
        let (row, column) = (self.row, self.column);
        match action {
            'A' | 'F' => self.row = row.saturating_sub(count),
            'B' | 'E' => self.row = (row + count).min(self.lines.len().saturating_sub(1)).max(row),
            'C' => self.column = column + count,
            'D' => self.column = column.saturating_sub(count),
            'G' | '`' => self.column = count - 1,
            'K' => match number {
                0 => self.remove(column, usize::MAX),
                1 => {
                    let end = column.saturating_add(1).min(self.line().len());
                    self.blank(0, end);
                }
                _ => self.remove(0, usize::MAX),
            },
            'J' if number == 0 => {
                self.remove(column, usize::MAX);
                self.clear_below();
            }
            'P' => self.remove(column, column.saturating_add(count)),
            'X' => {
                let end = column.saturating_add(count).min(self.line().len());
                self.blank(column, end);
            }
            '@' if column < self.line().len() && self.kept + count < KEPT_MAX => {
                let moved = self.line().len() - column;
                if self.may(moved + count) {
                    self.line()
                        .splice(column..column, std::iter::repeat_n(' ', count));
                    self.kept += count;
                }
            }
            _ => {}
        }
        if matches!(action, 'E' | 'F') {
            self.column = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output(bytes: &str) -> String {
        Plain::of_output(bytes.as_bytes()).into_text().text
    }

    fn typed(bytes: &str) -> String {
        Plain::of_typing(bytes.as_bytes()).into_text().text
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
    fn what_is_typed_is_what_was_typed_in_the_end() {
        for (bytes, text) in [
            ("ls -x\x08 \x08l\r\n", "ls -l\n"),
            ("ls\x08\x08\x1b[1@xls", "xls"),
            ("abc\x1b[D\x1b[D\x1b[1Px", "ax"),
            // At the edge of the screen.
            ("echo aaaa \rbbb", "echo aaaabbb"),
            ("\x1b[7mone\x1b[27m\r\n", "one\n"),
        ] {
            assert_eq!(typed(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn full_screens_are_left_out() {
        let text = Plain::of_output(b"a\r\n\x1b[?1049hmenu\r\n\x1b[5;5Hx\x1b[?1049lb\r\n").into_text();
        assert_eq!((text.text.as_str(), text.full_screen), ("a\nb\n", true));
        let text = Plain::of_output(b"rest of it\x1b[?1049lb").into_text();
        assert_eq!((text.text.as_str(), text.full_screen), ("b", true));
    }

    #[test]
    fn a_few_bytes_do_not_touch_a_long_line_for_ever() {
        let long = "x".repeat(64 << 10);
        for (edit, again) in [
            ("\x1b[1K", 20_000),
            ("\r\x1b[1@", 20_000),
            ("\r\x1b[1P", 20_000),
            ("\r\x1b[4096X", 20_000),
            // A cell far to the right, and the line is gone again.
            (&*format!("{}z\x1b[2K", "\x1b[4096C".repeat(15)), 2000),
        ] {
            let bytes = format!("{long}{}\r\nend", edit.repeat(again));
            let text = Plain::of_output(bytes.as_bytes()).into_text();
            assert!(
                text.work <= WORK_MAX && text.work > WORK_MAX / 2,
                "{edit:?} {}",
                text.work
            );
            assert!(text.cut && text.text.ends_with("\nend"), "{edit:?}");
        }
        // What an editor does costs little.
        let text =
            Plain::of_typing("ls -x\x08\x1b[Pl \x1b[2D\x1b[@\x1b[K".repeat(100).as_bytes()).into_text();
        assert!(!text.cut && text.work < 100_000, "{}", text.work);
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
        let mut text = text();
        text.take_away_prompt("$ ");
        text.text.push_str("\n$ ");
        text.take_away_prompt("$");
        assert_eq!(text.text, "ééé\nxéé\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_bounded_and_plain(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            for plain in [Plain::of_output(&bytes), Plain::of_typing(&bytes)] {
                let counted: usize = plain.lines.iter().map(Vec::len).sum();
                prop_assert!(counted <= KEPT_MAX);
                let text = plain.into_text().text;
                prop_assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
            }
        }

        #[test]
        fn sequences_are_bounded(numbers in proptest::collection::vec((0..9999_u16, 0..14_usize), 0..200)) {
            let mut bytes = String::new();
            for (number, at) in numbers {
                bytes.push_str(&format!("\x1b[{number}{}", ["A", "B", "C", "D", "G", "K", "J", "P", "X", "@", "E", "F", "my", "m\n"][at]));
            }
            let plain = Plain::of_output(bytes.as_bytes());
            let counted: usize = plain.lines.iter().map(Vec::len).sum();
            prop_assert!(counted <= KEPT_MAX && plain.lines.len() <= 300);
        }
    }
}

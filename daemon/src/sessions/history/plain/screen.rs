//! What stands on a terminal, and how it gets there.

use unicode_width::UnicodeWidthChar as _;
use vte::{Params, Perform};

/// Characters that are kept, those that were written over not counted.
pub(super) const KEPT_MAX: usize = 512 << 10;

/// Most columns: what is wider is taken for that wide.
pub(super) const COLUMNS_MAX: usize = 4096;

/// Cells that are gone through to edit what stands there, beyond one for each character. Editors and progress need a fraction; a
/// program that means harm could make a few bytes touch a long row over and over. Nothing is edited behind it, only appended.
pub(super) const WORK_MAX: usize = 8 << 20;

/// Right of a wide character, and where a tab goes on.
const COVERED: char = '\0';

/// Marks that are kept above one letter, and such, bytes.
const MARKS_MAX: usize = 64;

/// A place on the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    pub(in super::super) row: usize,
    pub(in super::super) column: usize,
}

#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) rows: Vec<Row>,
    pub(super) at: Place,
    columns: usize,
    /// Characters in `rows`, and one for each.
    pub(super) kept: usize,
    /// On an alternate screen.
    away: bool,
    pub(super) full_screen: bool,
    pub(super) cut: bool,
    /// Where the cursor is to return to.
    kept_at: Place,
    /// Cells that were gone through for edits.
    pub(super) work: usize,
    /// How often something that is seen came or went.
    pub(super) changes: u64,
    /// Behind the last row in which something that is seen was ever written.
    pub(super) seen: usize,
    /// Marks above letters.
    pub(super) marks: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// The next one goes on with its line.
    pub(super) goes_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) c: char,
    /// Number of its marks, from 1 on.
    marks: u32,
}

impl From<char> for Cell {
    fn from(c: char) -> Self {
        Self { c, marks: 0 }
    }
}

impl Cell {
    pub(super) fn is_blank(self) -> bool {
        self.is_covered() || self.c.is_whitespace()
    }

    /// A part of the character to its left.
    pub(super) fn is_covered(self) -> bool {
        self.c == COVERED
    }
}

impl Screen {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// The marks above a letter.
    pub(super) fn marks_of(&self, cell: Cell) -> &str {
        let number = (cell.marks as usize).checked_sub(1);
        number
            .and_then(|number| self.marks.get(number))
            .map_or("", String::as_str)
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

    fn row(&mut self) -> &mut Row {
        if self.at.row >= self.rows.len() {
            self.rows.resize_with(self.at.row + 1, Row::default);
        }
        &mut self.rows[self.at.row]
    }

    fn cells(&mut self) -> &mut Vec<Cell> {
        &mut self.row().cells
    }

    /// Writes these cells, one beside the other.
    fn put(&mut self, c: char, width: usize) {
        if self.at.column + width > self.columns {
            self.row().goes_on = true;
            let before = self.at;
            self.go_down();
            if self.at == before {
                return;
            }
        }
        let before = self.cells().len();
        let gap = self.at.column.saturating_sub(before);
        if gap > 0 && !self.may(gap) {
            self.at.column = before;
        }
        let column = self.at.column;
        let after = before.max(column + width);
        if after > before && self.kept + after - before > KEPT_MAX {
            self.cut = true;
            return;
        }
        self.kept += after - before;
        let cells = self.cells();
        cells.resize(after, ' '.into());
        cells[column..column + width].fill(COVERED.into());
        cells[column] = c.into();
        self.at.column += width;
        self.changes += 1;
        if !c.is_whitespace() {
            self.seen = self.seen.max(self.at.row + 1);
        }
    }

    /// Something that stands above the letter before it.
    fn put_mark(&mut self, c: char) {
        let Some(column) = self.at.column.checked_sub(1) else {
            return;
        };
        if self.kept >= KEPT_MAX {
            self.cut = true;
            return;
        }
        let next = u32::try_from(self.marks.len() + 1).unwrap_or(0);
        let before = &self.cells()[..];
        let before = &before[..before.len().min(column + 1)];
        let letter = before.iter().rposition(|cell| cell.c != COVERED);
        let steps = before.len() - letter.unwrap_or_default();
        if !self.may(steps) {
            return;
        }
        let Some(cell) = letter.and_then(|column| self.cells().get_mut(column)) else {
            return;
        };
        let number = cell.marks.max(u32::from(cell.marks == 0) * next);
        cell.marks = number;
        self.kept += 1;
        self.changes += 1;
        if number == next {
            self.marks.push(String::new());
        }
        let marks = (number as usize)
            .checked_sub(1)
            .and_then(|number| self.marks.get_mut(number));
        if let Some(marks) = marks.filter(|marks| marks.len() < MARKS_MAX) {
            marks.push(c);
        }
    }

    fn tab(&mut self) {
        let stop = ((self.at.column / 8 + 1) * 8).min(self.columns - 1);
        if let Some(width @ 1..) = stop.checked_sub(self.at.column) {
            self.put('\t', width);
        }
    }

    fn go_down(&mut self) {
        // An empty row costs as well.
        let is_new = self.at.row + 1 >= self.rows.len();
        if is_new && self.kept >= KEPT_MAX {
            self.cut = true;
            return;
        }
        self.kept += usize::from(is_new);
        self.at.row += 1;
        self.at.column = 0;
        self.row();
    }

    /// To where it is to return to, or to the last row that is left.
    fn go_back(&mut self) {
        let Place { row, column } = self.kept_at;
        let row = row.min(self.rows.len().saturating_sub(1));
        self.at = Place { row, column };
    }

    /// A shell fills a row up behind what was printed, with a mark and blanks one less than there are columns: so its prompt
    /// begins a row of its own, whatever was printed. The mark and they are not of what was printed.
    fn end_fill(&mut self) {
        let Some(before) = self.at.row.checked_sub(1) else {
            return;
        };
        let columns = self.columns;
        let [.., first, last] = &self.rows[..=self.at.row.min(self.rows.len() - 1)] else {
            return;
        };
        let is_full = first.goes_on && first.cells.len() >= columns;
        if !is_full || last.cells.first().is_some_and(|cell| cell.c != ' ') || !self.may(2 * columns) {
            return;
        }
        let [.., last] = &self.rows[..=self.at.row] else {
            return;
        };
        if last.cells.iter().any(|cell| cell.c != ' ') {
            return;
        }
        let Some(row) = self.rows.get_mut(before) else {
            return;
        };
        let mark = row.cells.iter().rposition(|cell| cell.c != ' ');
        let Some(mark) = mark.filter(|mark| mark + columns == row.cells.len() + self.at.column) else {
            return;
        };
        self.kept -= row.cells.len() - mark;
        row.cells.truncate(mark);
        row.goes_on = false;
        self.changes += 1;
    }

    /// Takes cells of this row away.
    fn remove(&mut self, from: usize, to: usize) {
        let length = self.cells().len();
        let (from, to) = (from.min(length), to.min(length));
        // What stands behind it moves.
        if from < to && self.may(length - to) {
            self.cells().drain(from..to);
            self.kept -= to - from;
            self.changes += 1;
        }
    }

    /// Takes away what stands from there on, so that the line ends in this row.
    fn end_line(&mut self, from: usize) {
        self.remove(from, usize::MAX);
        self.row().goes_on = false;
    }

    /// Writes blanks over cells of this row that are there.
    fn blank(&mut self, from: usize, to: usize) {
        let to = to.min(self.cells().len());
        if from < to
            && self.may(to - from)
            && let Some(cells) = self.cells().get_mut(from..to)
        {
            cells.fill(' '.into());
            self.changes += 1;
        }
    }

    fn clear_below(&mut self) {
        let gone: usize = self
            .rows
            .drain((self.at.row + 1).min(self.rows.len())..)
            .map(|row| row.cells.len() + 1)
            .sum();
        self.kept = self.kept.saturating_sub(gone);
        self.seen = self.seen.min(self.rows.len());
        self.changes += u64::from(gone > 0);
    }

    fn insert_blanks(&mut self, count: usize) {
        let column = self.at.column;
        let length = self.cells().len();
        let count = count.min(self.columns);
        if column < length && self.kept + count < KEPT_MAX && self.may(length - column + count) {
            let columns = self.columns;
            let cells = self.cells();
            cells.splice(column..column, std::iter::repeat_n(Cell::from(' '), count));
            // What moves over the edge is gone.
            cells.truncate(columns);
            self.kept += self.cells().len() - length;
            self.changes += 1;
        }
    }

    fn alternate(&mut self, away: bool) {
        self.full_screen = true;
        if !away && !self.away {
            // The beginning of what was there is not known; all of it stood there.
            *self = Self {
                columns: self.columns,
                full_screen: true,
                work: self.work,
                changes: self.changes + 1,
                ..Self::default()
            };
        }
        self.away = away;
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        if self.away || c.is_control() {
            return;
        }
        match c.width().unwrap_or_default() {
            0 => self.put_mark(c),
            width => self.put(c, width),
        }
    }

    fn execute(&mut self, byte: u8) {
        if self.away {
            return;
        }
        match byte {
            b'\n' => self.go_down(),
            b'\r' => {
                self.end_fill();
                self.at.column = 0;
            }
            0x08 => self.at.column = self.at.column.min(self.columns - 1).saturating_sub(1),
            b'\t' => self.tab(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        if self.away || !intermediates.is_empty() {
            return;
        }
        let Place { row, column } = self.at;
        match byte {
            b'M' => self.at.row = row.saturating_sub(1),
            b'D' | b'E' => {
                self.go_down();
                self.at.column = if byte == b'D' { column } else { 0 };
            }
            b'7' => self.kept_at = self.at,
            b'8' => self.go_back(),
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
        let count = usize::from(number.max(1));
        let last = self.columns - 1;
        // Behind the last column is where it waits for what it writes next.
        let Place { row, column } = self.at;
        let on = column.min(last);
        match action {
            'A' | 'F' => self.at.row = row.saturating_sub(count),
            'B' | 'E' => {
                self.at.row = row
                    .saturating_add(count)
                    .min(self.rows.len().saturating_sub(1))
                    .max(row);
            }
            'C' => self.at.column = on.saturating_add(count).min(last),
            'D' => self.at.column = on.saturating_sub(count),
            'G' | '`' => self.at.column = (count - 1).min(last),
            'K' => match number {
                0 => self.end_line(column),
                1 => self.blank(0, on + 1),
                _ => self.end_line(0),
            },
            'J' if number == 0 => {
                self.end_line(column);
                self.clear_below();
            }
            'P' => self.remove(on, on.saturating_add(count)),
            'X' => self.blank(on, on.saturating_add(count)),
            '@' => self.insert_blanks(count),
            's' => self.kept_at = self.at,
            'u' => self.go_back(),
            _ => {}
        }
        if matches!(action, 'E' | 'F') {
            self.at.column = 0;
        }
    }
}

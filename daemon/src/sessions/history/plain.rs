//! Plain text of what a terminal was sent: as it stood there in the end, line by line.
//!
//! It has the columns of a terminal but no top and no bottom: nothing scrolls away. Line editors reckon like that, so that what they
//! write over again, as long as it may be, stands where it stood. What stood on an alternate screen is left out. Whatever the bytes
//! are, memory is bounded.

mod screen;

use std::iter;

use vte::Parser;

pub(super) use self::screen::Place;
use self::screen::{COLUMNS_MAX, Cell, Screen};
use super::text::Text;

/// A terminal that makes plain text of what it is sent.
pub(super) struct Plain {
    parser: Parser,
    screen: Screen,
}

impl Plain {
    /// An empty terminal with so many columns.
    pub(super) fn new(columns: u16) -> Self {
        Self {
            parser: Parser::new(),
            screen: Screen::new(usize::from(columns).clamp(2, COLUMNS_MAX)),
        }
    }

    /// What a program printed.
    pub(super) fn of(columns: u16, bytes: &[u8]) -> Self {
        let mut plain = Self::new(columns);
        plain.read(bytes);
        plain
    }

    /// Takes what the terminal is sent.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.screen, bytes);
    }

    /// Where it goes on.
    pub(super) fn at(&self) -> Place {
        self.screen.at
    }

    /// What stands there. Without blanks at the ends of lines, and without empty lines at the end.
    pub(super) fn into_text(self) -> Text {
        self.text_from(Place::default())
    }

    /// The same from there on.
    pub(super) fn text_from(&self, from: Place) -> Text {
        self.text_between(
            from,
            Place {
                row: self.screen.rows.len(),
                column: 0,
            },
        )
    }

    /// The text from one place to another.
    pub(super) fn text_between(&self, from: Place, to: Place) -> Text {
        let screen = &self.screen;
        let mut text = String::new();
        for (number, row) in screen.rows.iter().enumerate().take(to.row + 1).skip(from.row) {
            let begin = if number == from.row { from.column } else { 0 };
            let end = if number == to.row { to.column } else { usize::MAX };
            let end = end.min(row.cells.len());
            for cell in row.cells.get(begin.min(end)..end).unwrap_or_default() {
                if !cell.is_covered() {
                    text.push(cell.c);
                    text.push_str(screen.marks_of(*cell));
                }
            }
            if number < to.row && row.goes_on {
                continue;
            }
            text.truncate(text.trim_end_matches(' ').len());
            if number < to.row && number + 1 < screen.rows.len() {
                text.push('\n');
            }
        }
        // One end of a line says that the last line is whole.
        let whole = text.trim_end_matches('\n').len();
        text.truncate(text.len().min(whole + 1));
        Text {
            text,
            cut: screen.cut,
            full_screen: screen.full_screen,
            work: screen.work,
        }
    }

    /// Where these characters begin, the last of which stands at the end of this row, `behind` more to its right. Blanks do not
    /// count. How many there are, from the last one on; absent: none. Each cell that is gone through is taken off `budget`; where
    /// that is spent, there are none.
    pub(super) fn find_back(
        &self,
        row: usize,
        behind: usize,
        wanted: &[char],
        budget: &mut usize,
    ) -> Option<(Place, usize)> {
        let mut found = None;
        let mut wanted = wanted.iter().rev();
        let (mut behind, mut count) = (behind, 0);
        for (place, cell) in self.every_back(row) {
            *budget = budget.checked_sub(1)?;
            let Some(cell) = cell.filter(|cell| !cell.is_blank()) else {
                continue;
            };
            if behind > 0 {
                behind -= 1;
                continue;
            }
            for c in self.screen.marks_of(*cell).chars().rev().chain([cell.c]) {
                *budget = budget.checked_sub(1)?;
                if wanted.next() != Some(&c) {
                    return found;
                }
                count += 1;
            }
            found = Some((place, count));
        }
        found
    }

    /// The same for so many characters, whatever they are, and the place behind them.
    pub(super) fn count_back(&self, row: usize, behind: usize, length: usize) -> Option<(Place, Place)> {
        let mut count = 0;
        let mut end = None;
        for (place, cell) in self.back(row).skip(behind) {
            let cells = &self.screen.rows[place.row].cells[place.column + 1..];
            let width = 1 + cells.iter().take_while(|cell| cell.is_covered()).count();
            let end = *end.get_or_insert(Place {
                column: place.column + width,
                ..place
            });
            count += 1 + self.screen.marks_of(*cell).chars().count();
            if count >= length {
                return Some((place, end));
            }
        }
        None
    }

    /// The cells from the end of this row back that are not blank.
    fn back(&self, row: usize) -> impl Iterator<Item = (Place, &Cell)> {
        let cells = self.every_back(row);
        cells.filter_map(|(place, cell)| Some((place, cell.filter(|cell| !cell.is_blank())?)))
    }

    /// The cells from the end of this row back, from the last on that may be seen, and one that is absent behind each row.
    fn every_back(&self, row: usize) -> impl Iterator<Item = (Place, Option<&Cell>)> {
        let rows = self.screen.rows.iter().enumerate();
        let rows = rows.take(self.screen.seen.min(row + 1)).rev();
        rows.flat_map(|(row, cells)| {
            let cells = cells.cells.iter().enumerate().rev();
            let cells = cells.map(move |(column, cell)| (Place { row, column }, Some(cell)));
            iter::once((Place { row, column: 0 }, None)).chain(cells)
        })
    }

    /// Changes with what is seen; blanks that are written count as well.
    pub(super) fn changes(&self) -> u64 {
        self.screen.changes
    }

    /// How many cells this row has.
    pub(super) fn length_of(&self, row: usize) -> usize {
        self.screen.rows.get(row).map_or(0, |row| row.cells.len())
    }

    /// The last row.
    pub(super) fn bottom(&self) -> usize {
        self.screen.rows.len().saturating_sub(1)
    }

    /// How many characters stand in this row to the right of its last gap of two blanks or more. Absent: it has none.
    pub(super) fn right_of_gap(&self, row: usize) -> Option<usize> {
        let cells = &self.screen.rows.get(row)?.cells;
        let (mut count, mut blanks) = (0, 0);
        for cell in cells.iter().rev() {
            if !cell.is_blank() {
                if blanks >= 2 && count > 0 {
                    return Some(count);
                }
                (count, blanks) = (count + 1, 0);
            } else {
                blanks += 1;
            }
        }
        None
    }

    /// What stands before this place in its row.
    pub(super) fn line_before(&self, place: Place) -> String {
        let begin = Place { column: 0, ..place };
        self.text_between(begin, place).text
    }

    /// Whether what stands before this place in its line is nothing or a blank.
    pub(super) fn begins_word(&self, place: Place) -> bool {
        let rows = &self.screen.rows;
        let before = match place.column.checked_sub(1) {
            Some(column) => rows.get(place.row).and_then(|row| row.cells.get(column)),
            None => place
                .row
                .checked_sub(1)
                .and_then(|row| rows.get(row))
                .filter(|row| row.goes_on)
                .and_then(|row| row.cells.last()),
        };
        before.is_none_or(|cell| cell.is_blank())
    }
}

#[cfg(test)]
mod tests;

//! Tables: columns for a terminal; tabs, whole ids and whole times for everything else.

use super::{
    escape::escape,
    style::{Style, Tone},
};

/// Columns between two cells.
const GAP: usize = 2;

/// The narrowest that the last column is cut to.
const LAST_MIN: usize = 20;

/// One cell.
#[derive(Debug, Default)]
pub struct Cell {
    /// For people; escaped when it is shown.
    text: String,
    /// For programs, where that differs.
    exact: Option<String>,
    tone: Tone,
}

impl Cell {
    /// Text that is the same for people and programs.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            exact: None,
            tone: Tone::Plain,
        }
    }

    /// Short for people, exact for programs.
    pub fn short(text: impl Into<String>, exact: impl Into<String>) -> Self {
        Self {
            exact: Some(exact.into()),
            ..Self::new(text)
        }
    }

    /// Gives it a tone.
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A table.
#[derive(Debug)]
pub struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(head: &'static [&'static str]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row with as many cells as there are columns. More than that are for programs only.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Shows the table. `width` is that of the terminal, if it is one; the last column is cut to fit.
    pub fn show(&self, style: Style, width: Option<usize>, indent: &str) -> String {
        if style.terminal {
            self.columns(style, width, indent)
        } else {
            self.tabs()
        }
    }

    fn columns(&self, style: Style, width: Option<usize>, indent: &str) -> String {
        let rows: Vec<Vec<(String, Tone)>> = self
            .rows
            .iter()
            .map(|row| {
                row.iter()
                    .take(self.head.len())
                    .map(|cell| (escape(&cell.text).into_owned(), cell.tone))
                    .collect()
            })
            .collect();
        let widths: Vec<usize> = self
            .head
            .iter()
            .enumerate()
            .map(|(column, head)| {
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(|(text, _tone)| text.chars().count())
                    .chain([head.len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let last = self.head.len().saturating_sub(1);
        let before: usize = indent.len() + widths.iter().take(last).map(|width| width + GAP).sum::<usize>();
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(before).max(LAST_MIN));

        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = (&str, Tone)>| {
            let mut padding = 0;
            out.push_str(indent);
            for (column, (text, tone)) in cells.enumerate() {
                if text.is_empty() && column == last {
                    break;
                }
                out.extend(std::iter::repeat_n(' ', padding));
                let text = cut(text, if column == last { room } else { usize::MAX });
                style.push(&mut out, tone, &text);
                padding = widths.get(column).copied().unwrap_or(0) + GAP - text.chars().count();
            }
            out.push('\n');
        };
        line(&mut self.head.iter().map(|head| (*head, Tone::Dim)));
        for row in &rows {
            line(&mut row.iter().map(|(text, tone)| (text.as_str(), *tone)));
        }
        out
    }

    fn tabs(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                if column > 0 {
                    out.push('\t');
                }
                out.push_str(&escape(cell.exact.as_ref().unwrap_or(&cell.text)));
            }
            out.push('\n');
        }
        out
    }
}

/// Cuts text to a width, with an ellipsis.
fn cut(text: &str, room: usize) -> std::borrow::Cow<'_, str> {
    if text.chars().count() <= room {
        return text.into();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short.into()
}

/// Columns of the terminal on stdout.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Style = Style {
        terminal: true,
        color: false,
    };
    const PROGRAM: Style = Style {
        terminal: false,
        color: false,
    };

    fn table() -> Table {
        let mut table = Table::new(&["ID", "NAME", "COMMAND"]);
        table.row(vec![
            Cell::short("01234567", "01234567-89ab"),
            Cell::new("a\tb"),
            Cell::new("sleep 1000000000000000000000"),
        ]);
        table.row(vec![Cell::new("x"), Cell::new("\u{1b}[31m"), Cell::new("")]);
        table
    }

    #[test]
    fn people_see_columns_that_fit() {
        assert_eq!(
            table().show(PERSON, Some(40), "  "),
            "  ID        NAME    COMMAND\n  01234567  a\\tb    sleep 1000000000000…\n  x         \\e[31m\n"
        );
    }

    #[test]
    fn programs_see_tabs_and_whole_ids() {
        assert_eq!(
            table().show(PROGRAM, None, "  "),
            "01234567-89ab\ta\\tb\tsleep 1000000000000000000000\nx\t\\e[31m\t\n"
        );
    }
}

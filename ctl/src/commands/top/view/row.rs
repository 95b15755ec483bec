//! Rows of text in columns, cut to what there is room for.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::{
    commands::top::look::Look,
    render::{escape::escape, style::Tone},
};

/// Columns between two cells.
const GAP: usize = 2;

/// The most that a column before the last is given, in the order of the columns.
const MOST: [usize; 4] = [18, 22, 8, 18];

/// Terminals narrower than this show no place: what something says matters more.
const WITH_PLACE: u16 = 60;

/// A row of a list: what it is called, how it is, a figure, where it is, and the rest.
#[derive(Debug, Default)]
pub struct Row {
    pub cells: [(String, Tone); 4],
    pub rest: Vec<(String, Tone)>,
}

impl Row {
    /// Draws it. Everything in it is made safe here.
    pub fn draw(&self, widths: &[usize; 4], look: Look, buffer: &mut Buffer, area: Rect) {
        let mut painted = Painted::new(look);
        for ((text, tone), width) in self.cells.iter().zip(widths) {
            if *width > 0 {
                let text = cut(&escape(text), *width, look);
                let padding = " ".repeat(width - text.width() + GAP);
                painted.add(text, *tone);
                painted.add(padding, Tone::Plain);
            }
        }
        for (text, tone) in &self.rest {
            painted.add(escape(text), *tone);
        }
        put(buffer, area, &painted.line(), look);
    }
}

/// How wide the columns of a list are.
pub fn widths(rows: &[Row], width: u16) -> [usize; 4] {
    let mut widths = [0, 1, 2, 3].map(|at| {
        let of = |row: &Row| row.cells.get(at).map_or(0, |(text, _)| escape(text).width());
        let widest = rows.iter().map(of).max().unwrap_or(0);
        widest.min(MOST.get(at).copied().unwrap_or(0))
    });
    if width < WITH_PLACE {
        widths[3] = 0;
        widths[0] = widths[0].min(12);
    }
    widths
}

/// A line that is being put together.
pub struct Painted {
    look: Look,
    spans: Vec<Span<'static>>,
}

impl Painted {
    pub fn new(look: Look) -> Self {
        Self {
            look,
            spans: Vec::new(),
        }
    }

    pub fn add(&mut self, text: impl Into<String>, tone: Tone) {
        self.spans.push(Span::styled(text.into(), self.look.tone(tone)));
    }

    /// Fills it with a rule up to a width.
    pub fn rule(&mut self, width: u16, strong: bool) {
        let used: usize = self.spans.iter().map(Span::width).sum();
        let left = usize::from(width).saturating_sub(used + 1);
        let rule = self.look.rule().repeat(left);
        self.add(format!(" {rule}"), if strong { Tone::Plain } else { Tone::Dim });
    }

    pub fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }
}

/// Puts a line into an area. Where it has no room its last column says so.
pub fn put(buffer: &mut Buffer, area: Rect, line: &Line<'_>, look: Look) {
    if area.is_empty() {
        return;
    }
    buffer.set_line(area.x, area.y, line, area.width);
    if line.width() > usize::from(area.width) {
        buffer.set_string(area.right() - 1, area.y, look.more(), line.style);
    }
}

/// Cuts text to so many columns, with a mark.
pub fn cut(text: &str, room: usize, look: Look) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = room.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(c);
    }
    if room > 0 {
        short.push_str(look.more());
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Look = Look {
        color: false,
        colors: 8,
        utf8: true,
    };

    #[test]
    fn text_is_cut_by_its_width() {
        assert_eq!(cut("session", 7, LOOK), "session");
        assert_eq!(cut("session", 5, LOOK), "sess…");
        assert_eq!(cut("コマンド", 4, LOOK), "コ…");
        assert_eq!(cut("x", 0, LOOK), "");
    }

    proptest! {
        #[test]
        fn it_fits(text in any::<String>(), room in 0_usize..30) {
            prop_assert!(cut(&escape(&text), room, LOOK).width() <= room);
        }
    }
}

//! What is on the screen, and the bytes that make it something else: only what changed is drawn.

use std::io;

use ratatui::{
    backend::{Backend as _, CrosstermBackend},
    buffer::Buffer,
    layout::Position,
};

/// Takes the screen: the alternate one, without a cursor, with pastes marked. [`crate::terminal::Raw`] gives it back.
pub const TAKE: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";

/// The screen as it was drawn last.
#[derive(Debug, Default)]
pub struct Canvas {
    shown: Buffer,
    cursor: Option<Position>,
}

impl Canvas {
    /// The bytes that show this instead; none when nothing changed.
    ///
    /// # Errors
    /// Never in practice: the bytes go to memory.
    pub fn show(&mut self, next: Buffer, cursor: Option<Position>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut backend = CrosstermBackend::new(&mut bytes);
        let fresh = self.shown.area != next.area;
        if fresh {
            self.shown = Buffer::empty(next.area);
            backend.clear()?;
        }
        let changes = self.shown.diff(&next);
        if !fresh && changes.is_empty() && cursor == self.cursor {
            return Ok(Vec::new());
        }
        if !changes.is_empty() {
            backend.draw(changes.into_iter())?;
        }
        match cursor {
            Some(position) => {
                backend.set_cursor_position(position)?;
                backend.show_cursor()?;
            }
            None if self.cursor.is_some() => backend.hide_cursor()?,
            None => {}
        }
        (self.shown, self.cursor) = (next, cursor);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    fn buffer(width: u16, text: &str) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        buffer.set_string(0, 0, text, Style::new());
        buffer
    }

    #[test]
    fn only_what_changed_is_sent_and_nothing_when_nothing_did() {
        let mut canvas = Canvas::default();
        let text = |bytes: io::Result<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
        assert!(text(canvas.show(buffer(20, "waits 2 min"), None)).contains("waits"));
        assert_eq!(text(canvas.show(buffer(20, "waits 2 min"), None)), "");
        let changed = text(canvas.show(buffer(20, "waits 3 min"), None));
        assert!(
            changed.starts_with("\u{1b}[1;7H") && changed.contains('3'),
            "{changed:?}"
        );
        assert!(
            !changed.contains("waits") && !changed.contains("min"),
            "{changed:?}"
        );
        let cursor = Some(Position::new(3, 0));
        assert_eq!(
            text(canvas.show(buffer(20, "waits 3 min"), cursor)),
            "\u{1b}[1;4H\u{1b}[?25h"
        );
        assert_eq!(text(canvas.show(buffer(20, "waits 3 min"), None)), "\u{1b}[?25l");
        let resized = text(canvas.show(buffer(21, "waits 3 min"), None));
        assert!(
            resized.starts_with("\u{1b}[2J") && resized.contains("waits"),
            "{resized:?}"
        );
    }
}

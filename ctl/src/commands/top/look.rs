//! What the terminal can show, and how meaning becomes colour on it.

use anstyle::{Ansi256Color, RgbColor};
use anstyle_lossy::{palette, rgb_to_ansi, rgb_to_xterm, xterm_to_ansi};
use ratatui::{
    crossterm::style::available_color_count,
    style::{Color, Modifier, Style},
};

use crate::{render::style::Tone, terminal};

/// Colours that every terminal with colours has.
const COMMON: u8 = 16;

/// What a terminal can show.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Colours are wanted.
    pub color: bool,
    /// How many there are.
    pub colors: u16,
    /// Lines can be drawn by characters beyond ASCII.
    pub utf8: bool,
}

impl Look {
    /// Of this terminal.
    pub fn of_terminal(color: bool) -> Self {
        Self {
            color,
            colors: available_color_count(),
            utf8: terminal::is_utf8(),
        }
    }

    /// How text of this tone looks.
    pub fn tone(self, tone: Tone) -> Style {
        let (color, modifier) = match tone {
            Tone::Plain => (None, Modifier::empty()),
            Tone::Bold => (None, Modifier::BOLD),
            Tone::Dim => (None, Modifier::DIM),
            Tone::Good => (Some(Color::Green), Modifier::empty()),
            Tone::Bad => (Some(Color::Red), Modifier::empty()),
            Tone::Busy => (Some(Color::Cyan), Modifier::empty()),
            // Seen without colours too.
            Tone::Warn => (Some(Color::Yellow), Modifier::BOLD),
        };
        let style = Style::new().add_modifier(modifier);
        match color.filter(|_| self.color) {
            Some(color) => style.fg(color),
            None => style,
        }
    }

    /// A style of a program's, with colours that this terminal has.
    pub fn adapt(self, style: Style) -> Style {
        let adapt = |color: Option<Color>| color.filter(|_| self.color).map(|color| self.color(color));
        Style {
            fg: adapt(style.fg),
            bg: adapt(style.bg),
            ..style
        }
    }

    fn color(self, color: Color) -> Color {
        let common = |color: anstyle::AnsiColor| Color::Indexed(Ansi256Color::from_ansi(color).index());
        match color {
            Color::Rgb(r, g, b) if self.colors < 256 => common(rgb_to_ansi(RgbColor(r, g, b), palette::VGA)),
            Color::Rgb(r, g, b) if self.colors < u16::MAX => {
                Color::Indexed(rgb_to_xterm(RgbColor(r, g, b)).index())
            }
            Color::Indexed(index) if index >= COMMON && self.colors < 256 => {
                common(xterm_to_ansi(Ansi256Color(index), palette::VGA))
            }
            color => color,
        }
    }

    /// What rules are drawn of.
    pub fn rule(self) -> &'static str {
        if self.utf8 { "─" } else { "-" }
    }

    /// What stands for text that has no room.
    pub fn more(self) -> &'static str {
        if self.utf8 { "…" } else { "~" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_those_that_the_terminal_has_or_none() {
        let look = |color, colors| Look {
            color,
            colors,
            utf8: true,
        };
        let orange = Style::new()
            .fg(Color::Rgb(255, 0, 0))
            .bg(Color::Indexed(196))
            .add_modifier(Modifier::BOLD);
        assert_eq!(look(true, u16::MAX).adapt(orange), orange);
        let fewer = look(true, 256).adapt(orange);
        assert_eq!(
            (fewer.fg, fewer.bg),
            (Some(Color::Indexed(196)), Some(Color::Indexed(196)))
        );
        let few = look(true, 8).adapt(orange);
        assert_eq!(
            (few.fg, few.bg),
            (Some(Color::Indexed(1)), Some(Color::Indexed(1)))
        );
        let none = look(false, 8).adapt(orange);
        assert_eq!(none, Style::new().add_modifier(Modifier::BOLD));
        assert_eq!(look(false, 256).tone(Tone::Bad), Style::new());
    }
}

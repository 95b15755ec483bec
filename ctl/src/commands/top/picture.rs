//! The screen of a session as text with styles. Colours and attributes are taken; of whatever else a program might have
//! sent nothing reaches the terminal.

use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use vte::ansi::{Attr, CharsetIndex, Color as Wire, Handler, Processor, StandardCharset};

use outlast_client::text::is_unsafe;

/// A screen as it was at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// Down to the last that has something on it.
    pub lines: Vec<Line<'static>>,
}

impl Picture {
    /// Reads what tmux prints of a screen: text, SGR sequences, and shifts to the characters that draw lines.
    pub fn read(screen: &[u8]) -> Self {
        let mut painter = Painter::default();
        Processor::<vte::ansi::StdSyncHandler>::new().advance(&mut painter, screen);
        painter.linefeed();
        let mut lines = painter.lines;
        while lines.last().is_some_and(is_blank) {
            lines.pop();
        }
        Self { lines }
    }
}

fn is_blank(line: &Line<'_>) -> bool {
    let plain = |span: &Span<'_>| {
        span.content.trim().is_empty()
            && span.style.bg.is_none()
            && !span.style.add_modifier.contains(Modifier::REVERSED)
    };
    line.spans.iter().all(plain)
}

/// Puts text together as it comes.
#[derive(Default)]
struct Painter {
    lines: Vec<Line<'static>>,
    line: Vec<Span<'static>>,
    text: String,
    style: Style,
    drawing: bool,
}

impl Painter {
    /// What comes next looks different.
    fn cut(&mut self) {
        if !self.text.is_empty() {
            self.line
                .push(Span::styled(std::mem::take(&mut self.text), self.style));
        }
    }
}

impl Handler for Painter {
    fn input(&mut self, c: char) {
        let c = if self.drawing {
            StandardCharset::SpecialCharacterAndLineDrawing.map(c)
        } else {
            c
        };
        if !is_unsafe(c) {
            self.text.push(c);
        }
    }

    fn linefeed(&mut self) {
        self.cut();
        self.lines.push(Line::from(std::mem::take(&mut self.line)));
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.drawing = index == CharsetIndex::G1;
    }

    fn terminal_attribute(&mut self, attribute: Attr) {
        self.cut();
        let style = &mut self.style;
        let underline = Modifier::UNDERLINED;
        *style = match attribute {
            Attr::Reset => Style::new(),
            Attr::Bold => style.add_modifier(Modifier::BOLD),
            Attr::Dim => style.add_modifier(Modifier::DIM),
            Attr::Italic => style.add_modifier(Modifier::ITALIC),
            Attr::Underline
            | Attr::DoubleUnderline
            | Attr::Undercurl
            | Attr::DottedUnderline
            | Attr::DashedUnderline => style.add_modifier(underline),
            Attr::Reverse => style.add_modifier(Modifier::REVERSED),
            Attr::Hidden => style.add_modifier(Modifier::HIDDEN),
            Attr::Strike => style.add_modifier(Modifier::CROSSED_OUT),
            Attr::CancelBold => without(*style, Modifier::BOLD),
            Attr::CancelBoldDim => without(*style, Modifier::BOLD | Modifier::DIM),
            Attr::CancelItalic => without(*style, Modifier::ITALIC),
            Attr::CancelUnderline => without(*style, underline),
            Attr::CancelReverse => without(*style, Modifier::REVERSED),
            Attr::CancelHidden => without(*style, Modifier::HIDDEN),
            Attr::CancelStrike => without(*style, Modifier::CROSSED_OUT),
            Attr::Foreground(color) => Style {
                fg: self::color(color),
                ..*style
            },
            Attr::Background(color) => Style {
                bg: self::color(color),
                ..*style
            },
            // Blinking in the corner of an eye helps nobody.
            Attr::BlinkSlow | Attr::BlinkFast | Attr::CancelBlink | Attr::UnderlineColor(_) => *style,
        };
    }
}

fn without(style: Style, modifier: Modifier) -> Style {
    Style {
        add_modifier: style.add_modifier - modifier,
        ..style
    }
}

/// None: as the terminal has it.
fn color(color: Wire) -> Option<Color> {
    match color {
        Wire::Indexed(index) => Some(Color::Indexed(index)),
        Wire::Spec(rgb) => Some(Color::Rgb(rgb.r, rgb.g, rgb.b)),
        // Those that have a number in the protocol have it here; the rest are the terminal's own.
        Wire::Named(name) => u8::try_from(name as usize)
            .ok()
            .filter(|index| *index < 16)
            .map(Color::Indexed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_colours_and_line_drawing_are_read() {
        let red = Style::new().fg(Color::Indexed(1));
        let picture =
            Picture::read(b"a\x1b[31mb\x1b[1;48;5;200mc\x1b[0m\n\x0eqx\x0fq\n\x1b[38;2;1;2;3mz\x1b[39m \n\n");
        assert_eq!(
            picture.lines,
            [
                Line::from(vec![
                    Span::raw("a"),
                    Span::styled("b", red),
                    Span::styled("c", red.bg(Color::Indexed(200)).add_modifier(Modifier::BOLD)),
                ]),
                Line::from("─│q"),
                Line::from(vec![
                    Span::styled("z", Style::new().fg(Color::Rgb(1, 2, 3))),
                    Span::raw(" ")
                ]),
            ]
        );
    }

    #[test]
    fn nothing_but_text_and_styles_comes_through() {
        let screen =
            "a\x1b]0;title\x07\x1b]8;;http://x\x1b\\b\x1b[2J\x1b[5;5H\x07\x08\r\u{202e}c\u{9b}31md\u{200b}\n";
        let picture = Picture::read(screen.as_bytes());
        assert_eq!(picture.lines, [Line::from("abc31md")], "{picture:?}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for line in Picture::read(&bytes).lines {
                for span in line.spans {
                    prop_assert!(!span.content.chars().any(is_unsafe));
                }
            }
        }
    }
}

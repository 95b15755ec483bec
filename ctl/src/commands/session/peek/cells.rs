//! A screen as runs of cells that look alike, from the text with sequences that tmux writes of it.
//!
//! tmux says how a cell looks only where that changes, over the ends of lines too. What else could stand there is passed over.

use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthChar as _;
use vte::{Params, ParamsIter, Parser, Perform};

/// Cells beside each other that look alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// What stands in them.
    pub text: String,
    /// How many columns they take. Some characters take two.
    pub width: usize,
    #[serde(flatten)]
    pub look: Look,
}

/// How a cell looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Look {
    pub fg: Colour,
    pub bg: Colour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub blink: bool,
    pub reverse: bool,
    pub hidden: bool,
    pub strikethrough: bool,
    /// The letters stand for pieces of lines, as in the character set of DEC.
    pub line_drawing: bool,
}

/// The colour of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colour {
    /// That of the terminal.
    #[default]
    Default,
    /// Of the palette: 0 to 7, 8 to 15 the bright ones, 16 to 255.
    Indexed(u8),
    /// By its parts.
    Rgb(u8, u8, u8),
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => to.serialize_str("default"),
            Self::Indexed(number) => to.collect_map([("indexed", number)]),
            Self::Rgb(red, green, blue) => {
                let number = format!("#{red:02x}{green:02x}{blue:02x}");
                to.collect_map([("rgb", number)])
            }
        }
    }
}

/// Reads a screen: for each of its lines the runs in it, without plain blanks at its end.
pub fn read(screen: &[u8]) -> Vec<Vec<Run>> {
    let mut reader = Reader::default();
    Parser::new().advance(&mut reader, screen);
    if !reader.line.is_empty() {
        reader.end_line();
    }
    reader.lines
}

#[derive(Default)]
struct Reader {
    lines: Vec<Vec<Run>>,
    line: Vec<Run>,
    look: Look,
}

impl Reader {
    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        while let Some(last) = line.last_mut().filter(|last| last.look == Look::default()) {
            let kept = last.text.trim_end_matches(' ').len();
            last.width = last.width.saturating_sub(last.text.len() - kept);
            last.text.truncate(kept);
            if kept > 0 {
                break;
            }
            line.pop();
        }
        self.lines.push(line);
    }

    fn attributes(&mut self, params: &Params) {
        let mut params = params.iter();
        let look = &mut self.look;
        while let Some(param) = params.next() {
            match param {
                [] | [0, ..] => {
                    *look = Look {
                        line_drawing: look.line_drawing,
                        ..Look::default()
                    };
                }
                [1, ..] => look.bold = true,
                [2, ..] => look.dim = true,
                [3, ..] => look.italic = true,
                [4, 0, ..] | [24, ..] => look.underline = false,
                [4 | 21, ..] => look.underline = true,
                [5 | 6, ..] => look.blink = true,
                [7, ..] => look.reverse = true,
                [8, ..] => look.hidden = true,
                [9, ..] => look.strikethrough = true,
                [22, ..] => (look.bold, look.dim) = (false, false),
                [23, ..] => look.italic = false,
                [25, ..] => look.blink = false,
                [27, ..] => look.reverse = false,
                [28, ..] => look.hidden = false,
                [29, ..] => look.strikethrough = false,
                [38, rest @ ..] => look.fg = colour(rest, &mut params).unwrap_or(look.fg),
                [48, rest @ ..] => look.bg = colour(rest, &mut params).unwrap_or(look.bg),
                // Of the line below, which is none of ours, but what follows is part of it.
                [58, rest @ ..] => {
                    colour(rest, &mut params);
                }
                [39, ..] => look.fg = Colour::Default,
                [49, ..] => look.bg = Colour::Default,
                [number, ..] => {
                    if let Some(fg) = indexed(*number, 30, 90) {
                        look.fg = fg;
                    } else if let Some(bg) = indexed(*number, 40, 100) {
                        look.bg = bg;
                    }
                }
            }
        }
    }
}

/// The colour that a single number stands for.
fn indexed(number: u16, dark: u16, bright: u16) -> Option<Colour> {
    let dark = number.checked_sub(dark).filter(|at| *at < 8);
    let bright = number.checked_sub(bright).filter(|at| *at < 8).map(|at| at + 8);
    let at = dark.or(bright)?;
    u8::try_from(at).ok().map(Colour::Indexed)
}

/// The colour that several numbers stand for, which are parts of one parameter or parameters of their own.
fn colour(parts: &[u16], params: &mut ParamsIter<'_>) -> Option<Colour> {
    if parts.is_empty() {
        let mut next = || params.next().and_then(|param| param.first().copied());
        return match next()? {
            5 => of_palette(next()?),
            2 => rgb(next()?, next()?, next()?),
            _ => None,
        };
    }
    match parts {
        [5, number, ..] => of_palette(*number),
        // With a colour space before the parts, or without.
        [2, _, red, green, blue, ..] | [2, red, green, blue] => rgb(*red, *green, *blue),
        _ => None,
    }
}

fn of_palette(number: u16) -> Option<Colour> {
    u8::try_from(number).ok().map(Colour::Indexed)
}

fn rgb(red: u16, green: u16, blue: u16) -> Option<Colour> {
    let part = |part| u8::try_from(part).ok();
    Some(Colour::Rgb(part(red)?, part(green)?, part(blue)?))
}

impl Perform for Reader {
    fn print(&mut self, c: char) {
        let width = c.width().unwrap_or(0);
        match self.line.last_mut() {
            // What takes no column belongs to what stands before it.
            Some(run) if width == 0 || run.look == self.look => {
                run.text.push(c);
                run.width += width;
            }
            _ => self.line.push(Run {
                text: c.to_string(),
                width,
                look: self.look.clone(),
            }),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            0x0e => self.look.line_drawing = true,
            0x0f => self.look.line_drawing = false,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        if action == 'm' && intermediates.is_empty() {
            self.attributes(params);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(lines: &[Vec<Run>]) -> Vec<String> {
        let text = |line: &Vec<Run>| line.iter().map(|run| run.text.as_str()).collect();
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_screen_is_read_by_its_looks() {
        let screen = "\x1b[1;31mred\x1b[0m 漢\u{301}x   \n\x1b[48;5;200m  \n\x1b[38;2;1;2;3;4;7mon\x1b[39m\x1b[49m\x1b[24m!\x1b[27m\n\n";
        let lines = read(screen.as_bytes());
        assert_eq!(plain(&lines), ["red 漢\u{301}x", "  ", "on!", ""]);
        let red = &lines[0][0];
        assert_eq!(
            (red.width, red.look.fg, red.look.bold),
            (3, Colour::Indexed(1), true)
        );
        assert_eq!((lines[0][1].width, &lines[0][1].look), (4, &Look::default()));
        // A coloured end of a line is kept, and the colour goes on in the next.
        assert_eq!(lines[1][0].look.bg, Colour::Indexed(200));
        let on = &lines[2][0].look;
        assert_eq!((on.fg, on.bg), (Colour::Rgb(1, 2, 3), Colour::Indexed(200)));
        assert!(on.underline && on.reverse && !lines[2][1].look.underline);
    }

    #[test]
    fn colours_are_read_in_all_their_forms() {
        let fg = |codes: &str| {
            let screen = format!("\x1b[{codes}mx");
            read(screen.as_bytes())[0][0].look.fg
        };
        for (codes, colour) in [
            ("37", Colour::Indexed(7)),
            ("90", Colour::Indexed(8)),
            ("97", Colour::Indexed(15)),
            ("38;5;0", Colour::Indexed(0)),
            ("38:5:255", Colour::Indexed(255)),
            ("38:2::1:2:3", Colour::Rgb(1, 2, 3)),
            ("38:2:1:2:3", Colour::Rgb(1, 2, 3)),
            ("38;5;256", Colour::Default),
            ("38;9", Colour::Default),
            ("38", Colour::Default),
            ("58;2;1;2;3", Colour::Default),
            ("58:5:1;31", Colour::Indexed(1)),
            ("31;39", Colour::Default),
            ("", Colour::Default),
        ] {
            assert_eq!(fg(codes), colour, "{codes}");
        }
    }

    #[test]
    fn what_is_told_of_a_run_has_these_names() {
        let line = &read(b"\x1b[31;48;2;0;10;255mx")[0];
        assert_eq!(
            serde_json::to_string(line).unwrap(),
            r##"[{"text":"x","width":1,"fg":{"indexed":1},"bg":{"rgb":"#000aff"},"bold":false,"dim":false,"italic":false,"underline":false,"blink":false,"reverse":false,"hidden":false,"strikethrough":false,"line_drawing":false}]"##
        );
    }

    #[test]
    fn links_and_pieces_of_lines_are_no_text() {
        let lines = read(b"\x1b]8;id=1;http://x\x1b\\link\x1b]8;;\x1b\\ \x0eqq\x0f");
        assert_eq!(plain(&lines), ["link qq"]);
        assert!(lines[0][1].look.line_drawing && !lines[0][0].look.line_drawing);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_screen(screen in proptest::collection::vec(any::<u8>(), 0..2000)) {
            read(&screen);
        }

        #[test]
        fn any_numbers_are_read(numbers in proptest::collection::vec("[0-9]{0,6}", 0..40), at in 0..2_usize) {
            let screen = format!("\x1b[{}mx", numbers.join([";", ":"][at]));
            prop_assert_eq!(plain(&read(screen.as_bytes())), ["x"]);
        }

        #[test]
        fn the_text_is_that_of_the_screen(
            pieces in proptest::collection::vec(("[a-z ä漢\u{301}👩]{0,6}", "[0-9]{1,2}(;[0-9]{1,2}){0,3}", any::<bool>()), 0..30),
        ) {
            let mut styled = String::new();
            let mut text = String::new();
            for (piece, codes, ends) in pieces {
                styled.push_str(&format!("\x1b[{codes}m{piece}"));
                text.push_str(&piece);
                if ends {
                    styled.push('\n');
                    text.push('\n');
                }
            }
            let trimmed = |lines: Vec<String>| lines.iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
            let lines = read(styled.as_bytes());
            let widths = lines.iter().flatten().all(|run| run.width == run.text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>());
            prop_assert!(widths);
            let wanted = text.lines().map(str::to_owned).collect();
            let mut read = trimmed(plain(&lines));
            // The last line may be there or not, when nothing stands in it.
            read.resize(text.lines().count(), String::new());
            prop_assert_eq!(read, trimmed(wanted));
        }
    }
}

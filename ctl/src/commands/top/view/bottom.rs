//! The last line: what keys there are, what is typed, what is asked, or what came of the last key.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::row::{Painted, put};
use crate::{
    commands::top::{
        look::Look,
        state::{Mode, Said, State},
    },
    render::{escape::escape, style::Tone},
};

/// Keys and what they do, the most wanted first.
const KEYS: [(&str, &str); 10] = [
    ("Enter", "attach"),
    ("s", "send"),
    ("i", "interrupt"),
    ("c", "stop"),
    ("w", "waiting"),
    ("/", "filter"),
    ("p", "peek"),
    ("Tab", "next"),
    ("?", "help"),
    ("q", "quit"),
];

/// What stands between an error and its hint.
const GAP: &str = "  ";

/// How many lines it takes in a terminal of this width.
pub fn height(state: &State, width: u16) -> u16 {
    let lines = failed(state, width).len() + usize::from(state.mode != Mode::Look);
    u16::try_from(lines.max(1)).unwrap_or(1)
}

/// The error that is to be shown, with its hint behind it, or below it where there is no room.
fn failed(state: &State, width: u16) -> Vec<(String, Tone)> {
    let Some(Said::Failed(why, hint)) = &state.said else {
        return Vec::new();
    };
    let why = format!("error: {}", escape(why));
    match hint.as_ref().map(|hint| format!("hint: {}", escape(hint))) {
        None => vec![(why, Tone::Bad)],
        Some(hint) if why.width() + GAP.len() + hint.width() <= usize::from(width) => {
            vec![(format!("{why}{GAP}{hint}"), Tone::Bad)]
        }
        Some(hint) => vec![(why, Tone::Bad), (hint, Tone::Plain)],
    }
}

/// Draws it. Where the cursor is to be, when something is typed.
pub fn draw(state: &State, look: Look, buffer: &mut Buffer, area: Rect) -> Option<Position> {
    let failed = failed(state, area.width);
    for (y, (text, tone)) in (area.top()..area.bottom()).zip(&failed) {
        let mut painted = Painted::new(look);
        painted.add(text, *tone);
        put(buffer, Rect { y, height: 1, ..area }, &painted.line(), look);
    }
    if state.mode == Mode::Look && !failed.is_empty() {
        return None;
    }
    let area = Rect {
        y: area.bottom().saturating_sub(1),
        height: area.height.min(1),
        ..area
    };
    let mut painted = Painted::new(look);
    match (&state.mode, &state.said) {
        (Mode::Filter, _) => return typed("/", &state.filter, look, buffer, area),
        (Mode::Line { name, text, .. }, _) => {
            return typed(&format!("to {}: ", escape(name)), text, look, buffer, area);
        }
        (Mode::Ask { question, .. }, _) => painted.add(format!("{} y/n", escape(question)), Tone::Warn),
        (Mode::Help, _) => painted.add("any key goes back", Tone::Dim),
        (Mode::Look, Some(Said::Done(text))) => painted.add(escape(text), Tone::Good),
        (Mode::Look, _) => {
            let mut left = usize::from(area.width);
            for (key, does) in KEYS {
                let width = key.len() + does.len() + 3;
                // The way to the rest is always there.
                let kept = if key == "?" || key == "q" {
                    0
                } else {
                    "? help  q quit".len()
                };
                if left < width + kept {
                    continue;
                }
                left -= width;
                painted.add(key, Tone::Bold);
                painted.add(format!(" {does}  "), Tone::Dim);
            }
        }
    }
    put(buffer, area, &painted.line(), look);
    None
}

/// A line that is being typed: its end, where it is too long.
fn typed(prompt: &str, text: &str, look: Look, buffer: &mut Buffer, area: Rect) -> Option<Position> {
    let text = escape(text);
    let room = usize::from(area.width).saturating_sub(prompt.width() + 1);
    let mut used = 0;
    let end = text.char_indices().rev().take_while(|(_, c)| {
        used += c.width().unwrap_or(0);
        used <= room
    });
    let shown = end
        .last()
        .map_or("", |(at, _)| text.get(at..).unwrap_or_default());
    let mut painted = Painted::new(look);
    painted.add(prompt, Tone::Bold);
    painted.add(shown, Tone::Plain);
    let line = painted.line();
    put(buffer, area, &line, look);
    let column = u16::try_from(line.width())
        .unwrap_or(u16::MAX)
        .min(area.width.saturating_sub(1));
    Some(Position::new(area.x + column, area.y))
}

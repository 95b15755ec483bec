//! What all the keys do.

use ratatui::{buffer::Buffer, layout::Rect};

use super::row::{Painted, put};
use crate::{commands::top::look::Look, render::style::Tone};

const HELP: [(&str, &str); 14] = [
    ("Up Down, j k", "move; g and G go to the ends"),
    ("Tab, 1 to 5", "another list"),
    ("Enter", "attach to the session; Ctrl-B d comes back here"),
    ("s", "send the session a line; empty is Enter"),
    ("i", "press Ctrl-C in the session"),
    ("c", "stop the session, or cancel the job; asks first"),
    ("p", "show the screen of the session, or not"),
    ("/", "only what has a text in it"),
    ("w", "only what waits for somebody"),
    ("Esc", "everything again"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("waits", "a program asks something; how that is known is in ( )"),
    ("not well", "an error, a host that is away, a sync with problems"),
];

pub fn draw(look: Look, buffer: &mut Buffer, area: Rect) {
    for (y, (key, does)) in (area.top()..area.bottom()).zip(HELP) {
        let mut painted = Painted::new(look);
        painted.add(format!("  {key:14}"), Tone::Bold);
        painted.add(does, Tone::Plain);
        put(buffer, Rect { y, height: 1, ..area }, &painted.line(), look);
    }
}

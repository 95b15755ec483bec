//! What a command printed in a shell that makes no marks: what was printed behind the command, without the prompts that are in it.
//! Pure.

use memchr::memmem;

use super::{plain::Plain, text::Text};

/// A line editor begins and ends: it wants what is pasted in brackets, and no more.
const EDITS: &[u8] = b"\x1b[?2004h";
const EDITED: &[u8] = b"\x1b[?2004l";

/// What prompts of shells and interpreters end with.
const SIGNS: [char; 11] = [
    '$', '#', '%', '>', '\u{276f}', '\u{203a}', '\u{bb}', '\u{3bb}', '\u{279c}', '\u{25b6}', '\u{2771}',
];

/// What shells ask with for the rest of a command.
const GOES_ON: &str = ">";

/// Most bytes of a prompt.
const PROMPT_MAX: usize = 4 << 10;

/// What a shell asks for commands with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// What stands before the command in its row.
    pub(super) text: String,
    /// Lines that were sent.
    pub(super) lines: usize,
}

/// The text of what was printed by a command that was asked for so.
pub(super) fn unmarked(columns: u16, raw: &[u8], prompt: &Prompt) -> Text {
    let edits = memmem::rfind(raw, EDITS).filter(|at| {
        let behind = &raw[*at..];
        behind.len() < PROMPT_MAX && memmem::find(behind, EDITED).is_none()
    });
    let Some(at) = edits else {
        let mut text = Plain::of(columns, raw).into_text();
        take_prompts(&mut text.text, prompt);
        return text;
    };
    let mut text = Plain::of(columns, &raw[..at]).into_text();
    let behind = Plain::of(columns, &raw[at..]).into_text();
    // The prompt stands before or behind it.
    if behind.text.trim().is_empty() {
        take_last_line(&mut text.text);
    }
    text
}

/// Takes away the prompts for the lines that were sent, and the one for what comes.
fn take_prompts(text: &mut String, prompt: &Prompt) {
    let sign = prompt.text.trim();
    let last = text.rfind('\n').map_or(0, |line| line + 1);
    let asks = text[last..].trim_end();
    // What was printed before it may have no line end.
    let printed = Some(sign)
        .filter(|sign| !sign.is_empty())
        .and_then(|sign| asks.strip_suffix(sign));
    match printed {
        Some(printed) => text.truncate(last + printed.len()),
        None if asks.ends_with(SIGNS) => text.truncate(last),
        None => {}
    }
    if prompt.lines < 2 || sign.is_empty() {
        return;
    }
    // A program that reads one line after the other asks for each, and all are answered already.
    let mut left = prompt.lines;
    let lines = text.split_inclusive('\n').map(|line| {
        let mut line = line;
        while left > 0
            && let Some(rest) = [sign, GOES_ON].iter().find_map(|sign| line.strip_prefix(sign))
        {
            (line, left) = (rest.strip_prefix(' ').unwrap_or(rest), left - 1);
        }
        line
    });
    *text = lines.collect();
}

fn take_last_line(text: &mut String) {
    let line = text.rfind('\n').map_or(0, |line| line + 1);
    text.truncate(line);
}

//! Entries of a history: commands and what they printed, as they are told.

use std::{io, ops::Range, rc::Rc};

use outlast_client::v1::{HistoryEntry, HistoryKind};

use super::{
    Log, Wanted,
    blocks::{self, Block, Typed},
    output,
    plain::Plain,
    search::Search,
    sends::Echo,
    statements,
    text::Text,
};
use crate::rpc::convert;

/// Most text of an entry, bytes.
pub(super) const TEXT_MAX: usize = 64 << 10;

/// Bytes of the log that the text of an entry is made of.
const RAW_MAX: u64 = 256 << 10;

/// How far the beginning of a line in which something was typed is looked for, bytes.
const PROMPT_MAX: u64 = 4 << 10;

/// An entry to be.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it begins, which is its id.
    pub(super) at: u64,
    kind: HistoryKind,
    /// It may begin earlier.
    pub(super) guessed: bool,
    /// The command whose it is.
    block: Block,
}

/// The entries in what was searched, in order.
pub(super) fn parts(search: &Search<'_>, wanted: Wanted) -> Vec<Part> {
    let blocks = blocks::of(&search.events, search.is_whole(), search.end);
    let mut parts = Vec::new();
    for block in blocks {
        if wanted.wants(HistoryKind::Command) {
            parts.push(Part {
                at: block.id(),
                kind: HistoryKind::Command,
                guessed: block.guessed,
                block: block.clone(),
            });
        }
        if wanted.wants(HistoryKind::Output) {
            parts.push(Part {
                at: block.output_id(),
                kind: HistoryKind::Output,
                guessed: false,
                block,
            });
        }
    }
    parts
}

impl Part {
    /// What it is depends on what stands further back.
    pub(super) fn needs_more(&self) -> bool {
        let block = &self.block;
        block.unsure || block.marked && block.given.is_none() && block.typed.is_none()
    }

    /// The entry, and how many cells were gone through for its text. `to_end`: what is here of the log was searched to its end.
    pub(super) fn entry(&self, log: &Log, to_end: bool) -> io::Result<(HistoryEntry, usize)> {
        let block = &self.block;
        let mut entry = HistoryEntry {
            id: self.at.to_string(),
            kind: self.kind.into(),
            marked: block.marked,
            running: block.marked && !block.is_over && to_end,
            ..HistoryEntry::default()
        };
        let at = match self.kind {
            HistoryKind::Output => log.time_of(block.output.start)?,
            _ => match block.sent_ms {
                Some(sent) => Some(sent),
                None => log.time_of(block.command.end)?,
            },
        };
        entry.at = at.map(convert::timestamp);
        if block.marked && self.kind == HistoryKind::Command {
            entry.exit_code = block.exit_code;
            if block.is_over {
                // What it printed first may have come late: the mark before that tells.
                let (began, ended) = (log.time_of(block.output_id())?, log.time_of(block.output.end)?);
                let took = began
                    .zip(ended)
                    .map(|(began, ended)| ended.saturating_sub(began).max(0));
                entry.duration = took.map(|took| convert::duration(took.cast_unsigned()));
            }
        }
        let text = match self.kind {
            HistoryKind::Output => self.output(log)?,
            _ => self.command(log)?.cut_to_begin(TEXT_MAX),
        };
        entry.full_screen = text.full_screen;
        entry.cut = text.cut;
        entry.text = text.text;
        Ok((entry, text.work))
    }

    fn command(&self, log: &Log) -> io::Result<Text> {
        if let Some(given) = &self.block.given {
            return Ok(Text::from(given.to_string()));
        }
        if let Some(echo) = &self.block.echo {
            return log.echo(echo);
        }
        match &self.block.typed {
            Some(typed) => log.command(typed),
            None => Ok(Text::default()),
        }
    }

    fn output(&self, log: &Log) -> io::Result<Text> {
        let range = &self.block.output;
        let from = range.start.max(range.end.saturating_sub(RAW_MAX));
        let raw = log.bytes(from..range.end)?;
        let columns = log.widths.at(range.end);
        let mut text = if self.block.marked {
            Plain::of(columns, &raw).into_text()
        } else {
            output::unmarked(columns, &raw, &self.prompt(log)?)
        };
        text.cut |= from > range.start;
        Ok(text.cut_to_end(TEXT_MAX))
    }

    /// What the command was asked for with, of which there is one for each of its lines.
    fn prompt(&self, log: &Log) -> io::Result<output::Prompt> {
        let Some(echo) = &self.block.echo else {
            return Ok(output::Prompt::default());
        };
        let (plain, begin, end) = log.see(echo)?;
        let line = plain.line_before(begin);
        Ok(output::Prompt {
            text: line,
            lines: end.row + 1 - begin.row,
        })
    }
}

impl Log {
    /// The terminal as it showed what was sent, and where that stands.
    fn see(&self, echo: &Echo) -> io::Result<(Plain, super::plain::Place, super::plain::Place)> {
        let from = echo.from.max(echo.shown.saturating_sub(RAW_MAX));
        let raw = self.bytes(from..echo.shown)?;
        let plain = Plain::of(self.widths.at(echo.from), &raw);
        let length = usize::try_from(echo.length).unwrap_or(usize::MAX);
        let stands = plain.count_back(plain.bottom(), echo.behind.into(), length);
        let bottom = plain.at();
        let (begin, end) = stands.unwrap_or((Default::default(), bottom));
        Ok((plain, begin, end))
    }

    /// What was sent, as it was shown.
    fn echo(&self, echo: &Echo) -> io::Result<Text> {
        let (plain, begin, end) = self.see(echo)?;
        let mut text = plain.text_between(begin, end);
        text.cut |= echo.is_part;
        Ok(text)
    }

    /// One of the commands that were typed at a prompt.
    fn command(&self, typed: &Typed) -> io::Result<Text> {
        let all = self.typed(typed)?;
        if typed.number == 0 && typed.is_last {
            return Ok(Text::clone(&all));
        }
        let mut statements = statements::split(&all.text);
        let text = if typed.is_last {
            // Whatever is left of it.
            statements
                .split_off(typed.number.min(statements.len()))
                .join("\n")
        } else {
            statements.into_iter().nth(typed.number).unwrap_or_default()
        };
        Ok(Text {
            text,
            ..Text::clone(&all)
        })
    }

    /// What was typed at a prompt.
    fn typed(&self, typed: &Typed) -> io::Result<Rc<Text>> {
        if let Some((range, text)) = &*self.typed.borrow()
            && *range == typed.shown
        {
            return Ok(Rc::clone(text));
        }
        let text = Rc::new(self.read_typed(typed)?);
        *self.typed.borrow_mut() = Some((typed.shown.clone(), Rc::clone(&text)));
        Ok(text)
    }

    fn read_typed(&self, typed: &Typed) -> io::Result<Text> {
        let Range { start, end } = typed.shown;
        let columns = self.widths.at(start);
        let mut plain = Plain::of(columns, &self.line_before(start)?);
        let origin = plain.at();
        let echo = typed.echo.filter(|echo| (start..=end).contains(&echo.shown));
        let shown = echo.map_or(end, |echo| echo.shown);
        plain.read(&self.bytes(start..shown.min(start.saturating_add(RAW_MAX)))?);
        let length = echo.map_or(0, |echo| usize::try_from(echo.length).unwrap_or(usize::MAX));
        let stands = echo.and_then(|echo| plain.count_back(plain.bottom(), echo.behind.into(), length));
        let mut text = match stands {
            Some((_, behind)) => plain.text_between(origin, behind),
            None => plain.text_from(origin),
        };
        text.text = text.text.trim().to_owned();
        text.cut |= shown - start > RAW_MAX || echo.is_some_and(|echo| echo.is_part);
        Ok(text)
    }

    /// What stands before this offset in its line.
    fn line_before(&self, at: u64) -> io::Result<Vec<u8>> {
        let mut raw = self.bytes(at.saturating_sub(PROMPT_MAX)..at)?;
        let line = memchr::memrchr(b'\n', &raw).map_or(0, |line| line + 1);
        raw.drain(..line);
        Ok(raw)
    }
}

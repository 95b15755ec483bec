//! What was run in a session and what that printed, read from its log.
//!
//! Nothing is kept for it but where text was sent ([`sends`]). A shell that makes marks around its commands tells the rest;
//! where it makes none, a command is what the terminal echoed of what was sent. What was not echoed, as passwords are not,
//! stands nowhere.
//!
//! The log is searched from its end in pieces, and only as far as a page needs: neither time nor memory grow with it.

mod blocks;
mod marks;
mod plain;
pub(super) mod sends;

use std::io;

use outlast_client::v1::{Error, ErrorKind, HistoryEntry, HistoryKind};
use outlast_helper::spool::{Dir, LogReader};
use outlast_model::session::{Session, SessionState};

use self::{
    blocks::{Block, Event},
    plain::Plain,
};
use super::Sessions;
use crate::{logs, rpc::convert};

/// Entries of a page when nothing is said.
const LIMIT: u32 = 100;

/// Most entries of a page.
const LIMIT_MAX: u32 = 1000;

/// Bytes searched in one piece.
const PIECE: u64 = 1 << 20;

/// Bytes searched for one page. Whoever wants more goes on from there.
const SEARCH_MAX: u64 = 64 << 20;

/// What marks and sends that are kept for one page take of memory before no more are looked for, bytes. A piece adds at most
/// a few times its size: marks may carry commands of 64 KiB.
const EVENTS_MAX: usize = 6 << 20;

/// How far behind the page the end of its last command is looked for, bytes.
const AHEAD: u64 = 1 << 20;

/// Most text of an entry, bytes.
const TEXT_MAX: usize = 64 << 10;

/// Bytes of the log that the text of an entry is made of.
const RAW_MAX: u64 = 256 << 10;

/// Most text of a page, bytes: a message has its limits.
const PAGE_MAX: usize = 2 << 20;

/// Cells gone through for the text of a page ([`plain`]).
const WORK_MAX: usize = 32 << 20;

/// Which entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Of this kind only.
    pub kind: HistoryKind,
    /// At most so many.
    pub limit: usize,
    /// Which page.
    pub page: Page,
}

/// Which page of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest entries before this offset of the log.
    Before(u64),
    /// The oldest ones behind it.
    After(u64),
}

/// A page.
#[derive(Debug, Default)]
pub struct Found {
    /// Oldest first.
    pub entries: Vec<HistoryEntry>,
    /// Where there is more.
    pub next: Option<String>,
}

impl Wanted {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// When the limit is too high or an id is none.
    pub fn new(
        kind: HistoryKind,
        limit: u32,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<Self, Error> {
        let usage = |message: String| Error::new(ErrorKind::Usage, message);
        if limit > LIMIT_MAX {
            return Err(usage(format!(
                "at most {LIMIT_MAX} entries of a history can be had at once"
            )));
        }
        let offset = |id: &str| {
            let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
            let offset = id.parse().ok().filter(|_| digits);
            let shown: String = id.chars().take(40).collect();
            offset.ok_or_else(|| {
                usage(format!(
                    "{shown:?} is no id of an entry of a history, which is a number"
                ))
            })
        };
        let page = match (before, after) {
            (_, Some(after)) => Page::After(offset(after)?),
            (Some(before), None) => Page::Before(offset(before)?),
            (None, None) => Page::Before(u64::MAX),
        };
        let limit = if limit == 0 { LIMIT } else { limit };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Self { kind, limit, page })
    }

    fn wants(&self, kind: HistoryKind) -> bool {
        self.kind == HistoryKind::Unspecified || self.kind == kind
    }
}

impl Sessions {
    /// A page of what was run in a session and of what that printed, from what is here of its log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn history(&self, session: &Session, wanted: Wanted) -> Result<Found, Error> {
        let found = async {
            let dir = self.spool_dir(session)?;
            logs::blocking(move || read(&dir, wanted)).await
        };
        let found = found.await;
        // A shell that has ended says so no more of what it ran.
        let found = found.map(|mut found| {
            let is_running = session.state == SessionState::Running;
            for entry in &mut found.entries {
                entry.running &= is_running;
            }
            found
        });
        found.map_err(|error: io::Error| {
            let message = format!("reading the history of session {}: {error}", session.name);
            Error::new(ErrorKind::Failed, message)
        })
    }
}

/// Reads a page. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn read(dir: &Dir, wanted: Wanted) -> io::Result<Found> {
    match wanted.page {
        Page::Before(before) => read_before(dir, wanted, before),
        Page::After(after) => read_after(dir, wanted, after),
    }
}

fn read_before(dir: &Dir, wanted: Wanted, before: u64) -> io::Result<Found> {
    let length = dir.log_len();
    let before = before.min(length);
    let end = before.saturating_add(AHEAD).min(length);
    let sends = sends::read(dir)?;
    let mut events = marks::find(dir, before, end, &sends)?;
    let mut start = before;
    let (parts, guess) = loop {
        let from = start.saturating_sub(PIECE);
        let mut earlier = marks::find(dir, from, start, &sends)?;
        earlier.append(&mut events);
        events = earlier;
        start = from;
        let parts = parts(&events, (start, end), wanted);
        let mut parts: Vec<Part> = parts.into_iter().filter(|part| part.at < before).collect();
        // It has another id where more is known, and the next page tells it. If that began no earlier it would never be told.
        let first = parts.first().filter(|part| part.guessed).map(|part| part.at + 1);
        let guess = first.filter(|behind| *behind < before);
        if guess.is_some() {
            parts.remove(0);
        }
        let searched = before - start;
        if start == 0 || parts.len() > wanted.limit || searched >= SEARCH_MAX || sizes(&events) >= EVENTS_MAX
        {
            break (parts, guess);
        }
    };
    let mut entries = Vec::new();
    let (mut bytes, mut work) = (0, 0);
    let mut oldest = None;
    let mut left = parts.len();
    for part in parts.iter().rev() {
        if entries.len() >= wanted.limit || bytes >= PAGE_MAX || work >= WORK_MAX {
            break;
        }
        let (entry, cells) = part.entry(dir, end == length)?;
        bytes += entry.text.len();
        work += cells;
        oldest = Some(part.at);
        entries.push(entry);
        left -= 1;
    }
    entries.reverse();
    // A page begins with a command, not with what came of one that is on the page before.
    if (left > 0 || start > 0) && entries.len() > 1 && wanted.kind == HistoryKind::Unspecified {
        let first = entries.first().map(HistoryEntry::kind);
        if first == Some(HistoryKind::Output) {
            entries.remove(0);
            oldest = parts.get(left + 1).map(|part| part.at);
        }
    }
    let next = match oldest {
        Some(oldest) if left > 0 => Some(oldest),
        // Where the search ended there may be the middle of a command.
        _ if start > 0 => Some(oldest.or(guess).unwrap_or(start)),
        _ => None,
    };
    Ok(Found {
        entries,
        next: next.map(|next| next.to_string()),
    })
}

fn read_after(dir: &Dir, wanted: Wanted, after: u64) -> io::Result<Found> {
    let length = dir.log_len();
    let after = after.min(length);
    let sends = sends::read(dir)?;
    // What stands before it tells what it is in.
    let start = after.saturating_sub(PIECE);
    let mut events = marks::find(dir, start, after, &sends)?;
    let mut end = after;
    let parts = loop {
        let to = end.saturating_add(PIECE).min(length);
        events.append(&mut marks::find(dir, end, to, &sends)?);
        end = to;
        let parts = parts(&events, (start, end), wanted);
        // What begins at nobody knows where began before.
        let is_new = |part: &Part| part.at > after && !part.guessed;
        let parts: Vec<Part> = parts.into_iter().filter(is_new).collect();
        let searched = end - after;
        // One more, so that the last of the page has its end.
        let enough = parts.len() > wanted.limit + 1;
        if end == length || enough || searched >= SEARCH_MAX || sizes(&events) >= EVENTS_MAX {
            break parts;
        }
    };
    let mut entries = Vec::new();
    let (mut bytes, mut work) = (0, 0);
    let mut newest = after;
    for part in &parts {
        if entries.len() >= wanted.limit || bytes >= PAGE_MAX || work >= WORK_MAX {
            break;
        }
        let (entry, cells) = part.entry(dir, end == length)?;
        bytes += entry.text.len();
        work += cells;
        newest = part.at;
        entries.push(entry);
    }
    let next = if entries.len() < parts.len() {
        Some(newest)
    } else if end < length {
        // What was searched holds no more; the last that begins in it is not asked for again.
        Some(newest.max(end.saturating_sub(1)))
    } else {
        None
    };
    Ok(Found {
        entries,
        next: next.map(|next| next.to_string()),
    })
}

/// Memory that these take, bytes.
fn sizes(events: &[Event]) -> usize {
    events.iter().map(Event::size).sum()
}

/// An entry to be.
#[derive(Debug)]
struct Part {
    /// Where it begins, which is its id.
    at: u64,
    kind: HistoryKind,
    /// It may begin earlier.
    guessed: bool,
    /// The command whose it is.
    block: Block,
}

/// The entries within these bounds, in order.
fn parts(events: &[Event], (start, end): (u64, u64), wanted: Wanted) -> Vec<Part> {
    let blocks = blocks::of(events, start == 0, end);
    let mut parts = Vec::new();
    for block in blocks {
        if wanted.wants(HistoryKind::Command) {
            let kind = HistoryKind::Command;
            parts.push(Part {
                at: block.id(),
                kind,
                guessed: block.guessed,
                block: block.clone(),
            });
        }
        if block.output.is_some() && wanted.wants(HistoryKind::Output) {
            let kind = HistoryKind::Output;
            parts.push(Part {
                at: block.output_id(),
                kind,
                guessed: false,
                block,
            });
        }
    }
    parts
}

impl Part {
    /// The entry, and how many cells were gone through for its text. `to_end`: what is here of the log was searched to its end.
    fn entry(&self, dir: &Dir, to_end: bool) -> io::Result<(HistoryEntry, usize)> {
        let block = &self.block;
        let mut entry = HistoryEntry {
            id: self.at.to_string(),
            kind: self.kind.into(),
            marked: block.marked,
            running: block.marked && !block.is_over && to_end,
            ..HistoryEntry::default()
        };
        let at = match self.kind {
            HistoryKind::Output => self.began(dir)?,
            _ => match block.sent_ms {
                Some(sent) => Some(sent),
                None => time_of(dir, block.command.end)?,
            },
        };
        entry.at = at.map(convert::timestamp);
        if block.marked && self.kind == HistoryKind::Command {
            entry.exit_code = block.exit_code;
            if let (Some(output), true) = (&block.output, block.is_over) {
                let (began, ended) = (time_of(dir, output.start)?, time_of(dir, output.end)?);
                let took = began
                    .zip(ended)
                    .map(|(began, ended)| ended.saturating_sub(began).max(0));
                entry.duration = took.map(|took| convert::duration(took.cast_unsigned()));
            }
        }
        let text = match self.kind {
            HistoryKind::Output => self.output(dir)?,
            _ => self.command(dir)?,
        };
        entry.full_screen = text.full_screen;
        entry.cut = text.cut;
        entry.text = text.text;
        Ok((entry, text.work))
    }

    /// When what it printed began.
    fn began(&self, dir: &Dir) -> io::Result<Option<i64>> {
        match &self.block.output {
            Some(output) => time_of(dir, output.start),
            None => Ok(None),
        }
    }

    fn command(&self, dir: &Dir) -> io::Result<plain::Text> {
        if let Some(given) = &self.block.given {
            return Ok(plain::Text::cut_behind(given.to_string(), TEXT_MAX));
        }
        let range = &self.block.command;
        let raw = bytes(
            dir,
            range.start,
            range.end.min(range.start.saturating_add(RAW_MAX)),
        )?;
        // What was sent is one line, however much of the log is its.
        let raw = match memchr::memchr(b'\n', &raw) {
            Some(line) if !self.block.marked => &raw[..line],
            _ => &raw,
        };
        let mut text = Plain::of_typing(raw).into_text();
        text.text = text.text.trim().to_owned();
        text.cut |= range.end - range.start > RAW_MAX && self.block.marked;
        Ok(text.cut_to_begin(TEXT_MAX))
    }

    fn output(&self, dir: &Dir) -> io::Result<plain::Text> {
        let Some(range) = &self.block.output else {
            return Ok(plain::Text::default());
        };
        let from = range.start.max(range.end.saturating_sub(RAW_MAX));
        let mut raw = bytes(dir, from, range.end)?;
        if !self.block.marked {
            // The command that was sent stands before it.
            if from == range.start {
                let line = memchr::memchr(b'\n', &raw);
                raw.drain(..line.map_or(raw.len(), |line| line + 1));
            }
            let prompt = self.prompt(dir)?;
            let mut text = Plain::of_output(&raw).into_text();
            text.cut |= from > range.start;
            text.take_away_prompt(&prompt);
            return Ok(text.cut_to_end(TEXT_MAX));
        }
        let mut text = Plain::of_output(&raw).into_text();
        text.cut |= from > range.start;
        Ok(text.cut_to_end(TEXT_MAX))
    }

    /// What stood on the line where the command was sent: mostly what the next command is asked for with.
    fn prompt(&self, dir: &Dir) -> io::Result<String> {
        let at = self.block.command.start;
        let raw = bytes(dir, at.saturating_sub(4096), at)?;
        let line = memchr::memrchr(b'\n', &raw).map_or(0, |line| line + 1);
        Ok(Plain::of_output(&raw[line..]).into_text().text)
    }
}

/// When the byte at this offset was written. Absent: there is none.
fn time_of(dir: &Dir, at: u64) -> io::Result<Option<i64>> {
    let mut reader = LogReader::open(dir, at)?;
    if reader.offset() != at {
        return Ok(None);
    }
    let next = match reader.next(1)? {
        Some(next) => Some(next),
        None if at > 0 => LogReader::open(dir, at - 1)?.next(1)?,
        None => None,
    };
    Ok(next.map(|next| next.time_ms))
}

/// The bytes from one offset to another, or to the end.
fn bytes(dir: &Dir, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = LogReader::open(dir, from)?;
    while reader.offset() >= from && reader.offset() < to {
        let room = usize::try_from(to - reader.offset()).unwrap_or(usize::MAX);
        match reader.next(room)? {
            Some(chunk) => bytes.extend_from_slice(&chunk.data),
            None => break,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

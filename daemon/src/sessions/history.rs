//! What was run in a session and what that printed, read from its log.
//!
//! Nothing is kept for it but where text was sent and shown ([`sends`]), and how wide the terminal was ([`widths`]). A shell that
//! makes marks around its commands tells the rest; where it makes none, a command is what the terminal showed of what was sent. What
//! was not shown, as passwords are not, stands nowhere.
//!
//! The log is searched from its end in pieces, and only as far as a page needs: neither time nor memory grow with it.

mod blocks;
pub(super) mod echo;
mod entry;
mod marks;
mod output;
mod plain;
mod records;
mod search;
pub(super) mod sends;
mod statements;
mod text;
pub(super) mod widths;

use std::{cell::RefCell, io, ops::Range, rc::Rc};

use outlast_client::v1::{Error, ErrorKind, HistoryEntry, HistoryKind};
use outlast_helper::spool::{Dir, LogReader};
use outlast_model::session::{Session, SessionState};

use self::{
    blocks::Event,
    entry::Part,
    search::{Limits, Search},
    text::Text,
    widths::Widths,
};
use super::Sessions;
use crate::logs;

/// Entries of a page when nothing is said.
const LIMIT: u32 = 100;

/// Most entries of a page.
const LIMIT_MAX: u32 = 1000;

/// Bounds of the search for a page.
const LIMITS: Limits = Limits {
    piece: 1 << 20,
    search: 256 << 20,
    ahead: 1 << 20,
    events: 6 << 20,
    more: 4,
};

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
        let usage = |message: String, hint: &str| Error::new(ErrorKind::Usage, message).with_hint(hint);
        if limit > LIMIT_MAX {
            let message = format!("at most {LIMIT_MAX} entries of a history can be had at once");
            return Err(usage(message, "ask for the rest before the first of them"));
        }
        let offset = |id: &str| {
            let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
            let offset = id.parse().ok().filter(|_| digits);
            let shown: String = id.chars().take(40).collect();
            offset.ok_or_else(|| {
                let message = format!("{shown:?} is no id of an entry of a history, which is a number");
                usage(message, "outlast session history NAME --json has the ids")
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
        self.settle_echoes(session).await;
        let columns = session.size.0;
        let found = async {
            let dir = self.spool_dir(session)?;
            logs::blocking(move || read(&dir, columns, wanted)).await
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

/// The log of a session and what is known of it.
struct Log {
    dir: Dir,
    widths: Widths,
    sends: Vec<Event>,
    limits: Limits,
    /// What was typed at a prompt that was looked at last: many commands may come of it.
    typed: RefCell<Option<(Range<u64>, Rc<Text>)>>,
}

/// Reads a page of a terminal that had so many columns at the beginning. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn read(dir: &Dir, columns: u16, wanted: Wanted) -> io::Result<Found> {
    Log::open(dir, columns, LIMITS)?.read(wanted)
}

impl Log {
    fn open(dir: &Dir, columns: u16, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            dir: dir.clone(),
            widths: Widths::read(dir, columns)?,
            sends: sends::read(dir)?,
            limits,
            typed: RefCell::default(),
        })
    }

    fn read(&self, wanted: Wanted) -> io::Result<Found> {
        match wanted.page {
            Page::Before(before) => self.read_before(wanted, before),
            Page::After(after) => self.read_after(wanted, after),
        }
    }

    fn read_before(&self, wanted: Wanted, before: u64) -> io::Result<Found> {
        let length = self.dir.log_len();
        let end = before.saturating_add(self.limits.ahead).min(length);
        let mut search = Search::new(self, before.min(length), end)?;
        let mut more = self.limits.more;
        let (parts, guess) = loop {
            search.go_back(wanted.limit + 2)?;
            let (start, parts) = (search.start, entry::parts(&search, wanted));
            let mut parts: Vec<Part> = parts.into_iter().filter(|part| part.at < before).collect();
            // It has another id where more is known, and the next page tells it. If that began no earlier it would never be told.
            let first = parts.first().filter(|part| part.guessed).map(|part| part.at + 1);
            let guess = first.filter(|behind| *behind < before);
            if guess.is_some() {
                parts.remove(0);
            }
            if start == 0 {
                break (parts, guess);
            }
            if parts.len() > wanted.limit || search.is_spent() {
                if more == 0 || !parts.iter().any(Part::needs_more) {
                    break (parts, guess);
                }
                more -= 1;
            }
        };
        search.remember();
        let start = search.start;
        let mut page = Filling::new();
        let mut oldest = None;
        let mut left = parts.len();
        for part in parts.iter().rev() {
            if page.is_full(wanted) {
                break;
            }
            page.add(part.entry(self, end == length)?);
            oldest = Some(part.at);
            left -= 1;
        }
        let mut entries = page.entries;
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

    fn read_after(&self, wanted: Wanted, after: u64) -> io::Result<Found> {
        let length = self.dir.log_len();
        // What stands before it tells what it is in.
        let from = after.min(length);
        let mut search = Search::new(self, from.saturating_sub(self.limits.piece), from)?;
        let parts = loop {
            search.go_on(wanted.limit + 2, length)?;
            let parts = entry::parts(&search, wanted);
            // What begins at nobody knows where began before.
            let is_new = |part: &Part| part.at > after && !part.guessed;
            let parts: Vec<Part> = parts.into_iter().filter(is_new).collect();
            // One more, so that the last of the page has its end.
            let enough = parts.len() > wanted.limit + 1;
            // Where it goes on is behind where it began.
            let moves = search.end > after.saturating_add(1);
            if search.end == length || enough || search.is_spent() && moves {
                break parts;
            }
        };
        search.remember();
        let end = search.end;
        let mut page = Filling::new();
        let mut newest = after;
        for part in &parts {
            if page.is_full(wanted) {
                break;
            }
            page.add(part.entry(self, end == length)?);
            newest = part.at;
        }
        let entries = page.entries;
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

    /// The bytes between these offsets, or to the end.
    fn bytes(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        bytes(&self.dir, range.start, range.end)
    }

    /// When the byte at this offset was written.
    fn time_of(&self, at: u64) -> io::Result<Option<i64>> {
        time_of(&self.dir, at)
    }
}

/// A page that is being made.
struct Filling {
    entries: Vec<HistoryEntry>,
    bytes: usize,
    work: usize,
}

impl Filling {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
            work: 0,
        }
    }

    fn is_full(&self, wanted: Wanted) -> bool {
        self.entries.len() >= wanted.limit || self.bytes >= PAGE_MAX || self.work >= WORK_MAX
    }

    /// Takes an entry, for which so many cells were gone through.
    fn add(&mut self, (entry, work): (HistoryEntry, usize)) {
        self.bytes += entry.text.len();
        self.work += work;
        self.entries.push(entry);
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
pub(super) fn bytes(dir: &Dir, from: u64, to: u64) -> io::Result<Vec<u8>> {
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
mod paging;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod tests;

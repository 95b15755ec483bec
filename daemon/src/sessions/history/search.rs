//! A part of a log that is searched for marks and for what was sent, and grows in one direction.
//!
//! What was searched and has no marks is written down in the file `unmarked` beside the log, of 16 bytes, little-endian: u64 from, u64
//! to. There nothing stands but what was sent, and the next search goes from one of that to the next.

use std::{fs, io, ops::Range};

use super::{Log, blocks::Event, blocks::What, marks};

/// Name of the file.
const NAME: &str = "unmarked";

/// So much more has to be known to be unmarked to be worth a file, bytes.
const WORTH: u64 = 8 << 20;

/// Bounds of a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes searched in one piece.
    pub(super) piece: u64,
    /// Bytes searched for one page. Whoever wants more goes on from there.
    pub(super) search: u64,
    /// How far behind the page the end of its last command is looked for, bytes.
    pub(super) ahead: u64,
    /// What marks and sends that are kept for one page take of memory before no more are looked for, bytes. A piece adds at
    /// most a few times its size: marks may carry commands of 64 KiB.
    pub(super) events: usize,
    /// Pieces more in which is looked for what was typed at the prompt that the first command comes from.
    pub(super) more: u32,
}

/// What was searched.
pub(super) struct Search<'a> {
    log: &'a Log,
    /// What was found, in order.
    pub(super) events: Vec<Event>,
    /// Where it begins.
    pub(super) start: u64,
    /// Where it ends.
    pub(super) end: u64,
    unmarked: Range<u64>,
    /// Bytes that were looked at.
    searched: u64,
}

impl<'a> Search<'a> {
    /// Begins with what stands between these offsets.
    pub(super) fn new(log: &'a Log, start: u64, end: u64) -> io::Result<Self> {
        Ok(Self {
            events: marks::find(&log.dir, start, end, &log.sends)?,
            start,
            end,
            unmarked: read(log),
            searched: 0,
            log,
        })
    }

    /// No mark stands before it.
    pub(super) fn is_whole(&self) -> bool {
        self.start == 0 || (self.unmarked.start == 0 && self.start <= self.unmarked.end)
    }

    /// No more is to be looked for for one page.
    pub(super) fn is_spent(&self) -> bool {
        self.searched >= self.log.limits.search
            || self.events.iter().map(Event::size).sum::<usize>() >= self.log.limits.events
    }

    /// Takes in what stands before it: a piece, or so many that were sent.
    pub(super) fn go_back(&mut self, sends: usize) -> io::Result<()> {
        let start = self.start;
        let from = if self.unmarked.start < start && start <= self.unmarked.end {
            let before = self.log.sends.partition_point(|send| send.at < start);
            let first = before
                .checked_sub(sends.max(1))
                .map(|first| self.log.sends[first].at);
            let from = first.unwrap_or(0).max(self.unmarked.start);
            self.prepend(self.sends(from, start));
            from
        } else {
            let from = start.saturating_sub(self.log.limits.piece);
            // What is known to have none is not looked at again.
            let from = if start > self.unmarked.end {
                from.max(self.unmarked.end)
            } else {
                from
            };
            self.searched += start - from;
            self.prepend(marks::find(&self.log.dir, from, start, &self.log.sends)?);
            from
        };
        self.start = from;
        Ok(())
    }

    /// Takes in what comes behind it, up to `length`: a piece, or so many that were sent.
    pub(super) fn go_on(&mut self, sends: usize, length: u64) -> io::Result<()> {
        let end = self.end;
        let to = if self.unmarked.start <= end && end < self.unmarked.end {
            let next = self.log.sends.partition_point(|send| send.at < end);
            let last = self.log.sends.get(next.saturating_add(sends.max(1)));
            let to = last
                .map_or(u64::MAX, |last| last.at)
                .min(self.unmarked.end)
                .min(length);
            self.events.extend(self.sends(end, to));
            to
        } else {
            let to = end.saturating_add(self.log.limits.piece).min(length);
            let to = if end < self.unmarked.start {
                to.min(self.unmarked.start)
            } else {
                to
            };
            self.searched += to - end;
            self.events
                .append(&mut marks::find(&self.log.dir, end, to, &self.log.sends)?);
            to
        };
        self.end = to;
        Ok(())
    }

    fn prepend(&mut self, mut earlier: Vec<Event>) {
        earlier.append(&mut self.events);
        self.events = earlier;
    }

    fn sends(&self, from: u64, to: u64) -> Vec<Event> {
        let sends = &self.log.sends;
        let first = sends.partition_point(|send| send.at < from);
        let last = sends.partition_point(|send| send.at < to);
        sends.get(first..last).unwrap_or_default().to_vec()
    }

    /// Writes down what has become known to have no marks. That it cannot be written costs only time.
    pub(super) fn remember(&self) {
        let mark = self
            .events
            .iter()
            .find(|event| !matches!(event.what, What::Sent { .. }));
        // A mark may have begun that has no end yet.
        let end = mark.map_or(self.end.saturating_sub(marks::MARK_MAX as u64), |mark| mark.at);
        // One that began before it may end in it.
        let start = if self.start == 0 {
            0
        } else {
            self.start + marks::BEFORE
        };
        let known = &self.unmarked;
        let found = if start <= known.end && known.start <= end {
            start.min(known.start)..end.max(known.end)
        } else {
            start..end
        };
        let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
        if length(&found) < length(known).saturating_add(self.log.limits.worth()) {
            return;
        }
        let dir = self.log.dir.path();
        let draft = dir.join(".unmarked");
        let record = [found.start.to_le_bytes(), found.end.to_le_bytes()].concat();
        if fs::write(&draft, record)
            .and_then(|()| fs::rename(&draft, dir.join(NAME)))
            .is_err()
        {
            // The directory may be gone; a draft that is left is written over.
            tracing::debug!(dir = %dir.display(), "what is unmarked of a log is not written down");
        }
    }
}

impl Limits {
    /// The smallest of which something is written down.
    fn worth(&self) -> u64 {
        WORTH.min(self.search / 4)
    }
}

fn read(log: &Log) -> Range<u64> {
    let record = fs::read(log.dir.path().join(NAME)).unwrap_or_default();
    let (longs, _) = record.as_chunks::<8>();
    match longs {
        [from, to] => u64::from_le_bytes(*from)..u64::from_le_bytes(*to),
        _ => 0..0,
    }
}

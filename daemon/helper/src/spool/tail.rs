//! Finding the last lines of a log without reading all of it.

use std::{fs::File, io};

use super::{Dir, Stream, index};

/// Bytes read at once, backwards.
const BLOCK: u64 = 64 << 10;

/// Offset in the log from which the last `lines` lines can be read, of one stream or of the whole log. A line at the
/// end that is not finished counts; lines of one stream are counted as if the log held nothing else. 0 when there are
/// no more lines than that.
///
/// # Errors
/// When the files cannot be read; missing ones are an empty log.
pub fn last_lines_offset(dir: &Dir, lines: u64, stream: Option<Stream>) -> io::Result<u64> {
    let open = |name: &str| match File::open(dir.file(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let (Some(log), Some(index)) = (open("log")?, open("index")?) else {
        return Ok(0);
    };
    let end = index::covered(&log, &index)?;
    if lines == 0 {
        return Ok(end);
    }
    let mut search = Search {
        log,
        lines,
        seen_any: false,
        after: end,
    };
    let found = match stream {
        None => search.through(0, end)?,
        Some(stream) => backwards(&index, end, stream, &mut search)?,
    };
    Ok(if found { search.after } else { 0 })
}

/// Gives the search every part of the log that came from the stream, last one first.
fn backwards(index: &File, end: u64, stream: Stream, search: &mut Search) -> io::Result<bool> {
    let mut high = index::count(index)?;
    while high > 0 {
        // One record more than is handled tells where the first of them begins.
        let low = high.saturating_sub(256);
        let before = low.saturating_sub(1);
        let records = index::read(index, before, (high - before) as usize)?;
        for number in (low..high).rev() {
            let at = (number - before) as usize;
            let Some(record) = records.get(at) else { continue };
            let start = at
                .checked_sub(1)
                .and_then(|at| records.get(at))
                .map_or(0, |record| record.end);
            if record.stream == stream && search.through(start.min(end), record.end.min(end))? {
                return Ok(true);
            }
        }
        high = low;
    }
    Ok(false)
}

struct Search {
    log: File,
    /// Lines still to be found.
    lines: u64,
    /// Whether a byte of the stream was seen: the end of the very last line begins no line.
    seen_any: bool,
    /// Offset of the byte of the stream that was looked at last; the result once the search is over.
    after: u64,
}

impl Search {
    /// Looks at these bytes, last one first. True: enough lines were found, they begin at `self.after`.
    fn through(&mut self, start: u64, end: u64) -> io::Result<bool> {
        let mut block = Vec::new();
        let mut high = end;
        while high > start {
            let low = high.saturating_sub(BLOCK).max(start);
            block.resize((high - low) as usize, 0);
            let got = index::read_full_at(&self.log, &mut block, low)?;
            for at in (0..got).rev() {
                if block[at] == b'\n' && self.seen_any {
                    self.lines -= 1;
                    if self.lines == 0 {
                        return Ok(true);
                    }
                }
                self.seen_any = true;
                self.after = low + at as u64;
            }
            high = low;
        }
        Ok(false)
    }
}

//! Reading a log from any offset on, at the reader's own pace.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{Dir, Record, Stream, at, index};

/// How many records of the index are read at once.
const RECORDS_AT_ONCE: usize = 256;

/// A part of a log that came from one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of its first byte in the log.
    pub offset: u64,
    /// Where it came from.
    pub stream: Stream,
    /// Milliseconds since 1970 when its first bytes arrived.
    pub time_ms: i64,
    /// The bytes; never none.
    pub data: Bytes,
}

/// Reads a log, whether or not somebody writes it. It serves what the index covers and the log really holds, in order,
/// without gap or repeat.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    files: Option<Files>,
    offset: u64,
}

#[derive(Debug)]
struct Files {
    log: File,
    index: File,
    /// Records from the one that holds `offset` on; may have run out.
    records: VecDeque<Record>,
    /// Number of the record to read next.
    next: u64,
}

impl LogReader {
    /// Reads from this offset on, or from the end where the log is shorter. Missing files are an empty log.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn open(dir: &Dir, from: u64) -> io::Result<Self> {
        let mut reader = Self {
            path: dir.path().to_owned(),
            files: None,
            offset: 0,
        };
        reader.files = Files::open(&reader.path, from, &mut reader.offset)?;
        Ok(reader)
    }

    /// Offset of the next byte to be read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, at most `max` of them. None: there are no more now; call again after a wake
    /// ([`crate::watch::Watch`]).
    ///
    /// # Errors
    /// When the files cannot be read, or `max` is 0.
    pub fn next(&mut self, max: usize) -> io::Result<Option<Chunk>> {
        if max == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a chunk of at most 0 bytes was asked for",
            ));
        }
        if self.files.is_none() {
            self.files = Files::open(&self.path, 0, &mut self.offset)?;
        }
        let Some(files) = &mut self.files else {
            return Ok(None);
        };
        files
            .next(self.offset, max)
            .map_err(|error| at("reading the log in", &self.path, &error))
            .inspect(|chunk| self.offset += chunk.as_ref().map_or(0, |chunk| chunk.data.len() as u64))
    }
}

impl Files {
    fn open(path: &Path, from: u64, offset: &mut u64) -> io::Result<Option<Self>> {
        let open = |name: &str| {
            let path = path.join(name);
            match File::open(&path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(at("opening", &path, &error)),
            }
        };
        let (Some(log), Some(index)) = (open("log")?, open("index")?) else {
            return Ok(None);
        };
        let failed = |error: io::Error| at("reading the log in", path, &error);
        *offset = from.min(index::covered(&log, &index).map_err(failed)?);
        let next = index::search(&index, *offset).map_err(failed)?;
        Ok(Some(Self {
            log,
            index,
            records: VecDeque::new(),
            next,
        }))
    }

    fn next(&mut self, offset: u64, max: usize) -> io::Result<Option<Chunk>> {
        let first = loop {
            match self.record(0)? {
                // Also what damage put there: an end that lies behind the one before it.
                Some(record) if record.end <= offset => self.records.pop_front(),
                Some(record) => break record,
                None => return Ok(None),
            };
        };
        let mut end = first.end;
        let mut following = 1;
        while end - offset < max as u64
            && let Some(record) = self.record(following)?
            && record.stream == first.stream
        {
            end = end.max(record.end);
            following += 1;
        }
        // What the log lacks (the index can be ahead of it after a loss of power) is not asked for: an end from a
        // damaged index must not make us take memory for it.
        let held = self.log.metadata()?.len();
        let Some(want @ 1..) = end.min(held).checked_sub(offset) else {
            return Ok(None);
        };
        let mut data = vec![0; usize::try_from(want).unwrap_or(max).min(max)];
        let got = index::read_full_at(&self.log, &mut data, offset)?;
        data.truncate(got);
        if got == 0 {
            return Ok(None);
        }
        Ok(Some(Chunk {
            offset,
            stream: first.stream,
            time_ms: first.time_ms,
            data: Bytes::from(data),
        }))
    }

    /// The record that many after the first one kept.
    fn record(&mut self, number: usize) -> io::Result<Option<Record>> {
        if number >= self.records.len() {
            let more = index::read(&self.index, self.next, RECORDS_AT_ONCE)?;
            self.next += more.len() as u64;
            self.records.extend(more);
        }
        Ok(self.records.get(number).copied())
    }
}

//! Writing a log: the one place that decides what is kept and what is dropped.
//!
//! Whoever writes is never stopped by the log: what cannot be written is dropped, counted and, when writing works
//! again, marked in the log. A file that was left half written by a crash is mended before it is continued.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use rustix::fs::{FlockOperation, flock};

use super::{Dir, RECORD_BYTES, Record, Stream, index, now_ms};

/// Appends to the log of a directory. One at a time does: the second waits until the first is gone.
#[derive(Debug)]
pub struct LogWriter {
    dir: Dir,
    files: Option<Files>,
    max: Option<u64>,
    /// The limit was reached and that is marked in the log.
    capped: bool,
    /// Bytes that could not be written since the last marker, and why.
    lost: Option<(u64, io::ErrorKind)>,
    dropped: u64,
}

/// The two files of a log, opened to be appended to.
#[derive(Debug)]
pub(super) struct Files {
    log: File,
    index: File,
    /// Length of the log, all of it covered by the index.
    pub(super) end: u64,
    /// Records in the index.
    records: u64,
}

impl LogWriter {
    /// Writes to this directory, keeping at most `max` bytes of output. The files are made when there is something to
    /// write.
    #[must_use]
    pub fn new(dir: &Dir, max: Option<u64>) -> Self {
        Self {
            dir: dir.clone(),
            files: None,
            max,
            capped: false,
            lost: None,
            dropped: 0,
        }
    }

    /// Appends what came from a stream. What cannot be kept is counted.
    pub fn write(&mut self, stream: Stream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if let Err(error) = self.open() {
            return self.lose(data.len(), Some(error.kind()));
        }
        if !self.settle() {
            return self.lose(data.len(), None);
        }
        if self.capped {
            self.dropped += data.len() as u64;
            return;
        }
        let room = self
            .max
            .map_or(u64::MAX, |max| max.saturating_sub(self.log_bytes()));
        let keep = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
        if keep > 0 && !self.append(stream, &data[..keep]) {
            return self.dropped_after_limit(data.len() - keep);
        }
        if keep < data.len() {
            self.dropped_after_limit(data.len() - keep);
            self.cap();
        }
    }

    /// Tries to bring to the log what is still owed to it: the marker for bytes that were lost. True: nothing is owed.
    pub fn settle(&mut self) -> bool {
        let Some((bytes, kind)) = self.lost else {
            return true;
        };
        if let Err(error) = self.open() {
            self.lose(0, Some(error.kind()));
            return false;
        }
        if bytes > 0 {
            let text = format!("\n[outlast: {bytes} bytes of output were lost here: {kind}]\n");
            if let Err(error) = self.try_append(Stream::Marker, text.as_bytes()) {
                self.lost = Some((bytes, error.kind()));
                return false;
            }
        }
        self.lost = None;
        true
    }

    /// Length of the log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.files
            .as_ref()
            .map_or_else(|| self.dir.log_len(), |files| files.end)
    }

    /// Bytes of output that were not kept.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }

    /// Brings what was written to the disk, so that it survives a loss of power.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        if let Some(files) = &self.files {
            files.log.sync_data()?;
            files.index.sync_data()?;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.files.is_none() {
            let files = Files::open(&self.dir, Uncovered::Keep)?;
            let last = files
                .records
                .checked_sub(1)
                .map(|last| index::read(&files.index, last, 1));
            let marked = match last.transpose()?.as_deref() {
                Some([record]) => record.stream == Stream::Marker,
                _ => false,
            };
            self.capped = marked && self.max.is_some_and(|max| files.end >= max);
            self.files = Some(files);
        }
        Ok(())
    }

    /// Marks that the limit was reached.
    fn cap(&mut self) {
        let Some(max) = self.max else { return };
        let text =
            format!("\n[outlast: the log limit of {max} bytes was reached; what follows was not kept]\n");
        // Without the marker it is not done, and tried again with the next output.
        self.capped = self.try_append(Stream::Marker, text.as_bytes()).is_ok();
    }

    fn dropped_after_limit(&mut self, bytes: usize) {
        self.dropped += bytes as u64;
    }

    /// Appends; what is lost on the way is counted. False: something was.
    fn append(&mut self, stream: Stream, data: &[u8]) -> bool {
        match self.try_append(stream, data) {
            Ok(()) => true,
            Err(error) => {
                self.lose(error.missing, Some(error.cause.kind()));
                false
            }
        }
    }

    fn try_append(&mut self, stream: Stream, data: &[u8]) -> Result<(), Partial> {
        match &mut self.files {
            Some(files) => files.append(stream, now_ms(), data),
            None => Err(Partial {
                missing: data.len(),
                cause: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    fn lose(&mut self, bytes: usize, kind: Option<io::ErrorKind>) {
        let bytes = bytes as u64;
        self.dropped += bytes;
        let (before, known) = self.lost.unwrap_or((0, io::ErrorKind::Other));
        self.lost = Some((before + bytes, kind.unwrap_or(known)));
    }
}

/// Not all of what was to be appended is there.
pub(super) struct Partial {
    /// Bytes at its end which are not.
    missing: usize,
    pub(super) cause: io::Error,
}

/// What to do with bytes at the end of a log that no record covers: a crash came between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uncovered {
    /// They are output all the same; which stream they came from is not known any more.
    Keep,
    /// They can be had again.
    Drop,
}

impl Partial {
    fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }
}

impl Files {
    pub(super) fn open(dir: &Dir, uncovered: Uncovered) -> io::Result<Self> {
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(dir.file(name))
        };
        let (log, index) = (open("log")?, open("index")?);
        // The logger of a pane can still be busy with the last output of the run before. It ends with its input, and
        // the kernel unlocks when it dies, so this comes to an end without a deadline of its own.
        flock(&log, FlockOperation::LockExclusive)?;
        let mut files = Self {
            end: log.metadata()?.len(),
            records: index::count(&index)?,
            log,
            index,
        };
        files.mend(uncovered)?;
        Ok(files)
    }

    /// Makes the index cover the log, no more and no less, after a crash between writing one and the other.
    fn mend(&mut self, uncovered: Uncovered) -> io::Result<()> {
        let mut covered = 0;
        while let Some(last) = self.records.checked_sub(1) {
            covered = index::read(&self.index, last, 1)?
                .first()
                .map_or(0, |record| record.end);
            if covered <= self.end {
                break;
            }
            (covered, self.records) = (0, last);
        }
        let length = self.records * RECORD_BYTES;
        if self.index.metadata()?.len() != length {
            self.index.set_len(length)?;
        }
        if covered < self.end {
            match uncovered {
                Uncovered::Keep => self.record(Stream::Stdout, now_ms(), self.end)?,
                Uncovered::Drop => {
                    self.log.set_len(covered)?;
                    self.end = covered;
                }
            }
        }
        Ok(())
    }

    /// Appends to the log, then to the index.
    pub(super) fn append(&mut self, stream: Stream, time_ms: i64, data: &[u8]) -> Result<(), Partial> {
        let mut cause = None;
        let mut written = 0;
        while written < data.len() {
            match self.log.write_at(&data[written..], self.end + written as u64) {
                Ok(0) => cause = Some(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => cause = Some(error),
            }
            if cause.is_some() {
                break;
            }
        }
        if cause.is_some() && stream == Stream::Marker {
            // Half a remark is worse than none: it is made again as a whole.
            let _ = self.log.set_len(self.end);
            written = 0;
        }
        let end = self.end + written as u64;
        if written > 0
            && let Err(error) = self.record(stream, time_ms, end)
        {
            // Bytes that the index does not cover are none. Should cutting them off fail as well, the next ones are
            // written over them.
            let _ = self.log.set_len(self.end);
            (cause, written) = (Some(error), 0);
        } else {
            self.end = end;
        }
        match cause {
            None => Ok(()),
            Some(cause) => Err(Partial {
                missing: data.len() - written,
                cause,
            }),
        }
    }

    fn record(&mut self, stream: Stream, time_ms: i64, end: u64) -> io::Result<()> {
        let record = Record { end, time_ms, stream }.encode();
        // A part of a record that a full disk left there is written over by the next one.
        self.index.write_all_at(&record, self.records * RECORD_BYTES)?;
        self.records += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;
    use crate::spool::LogReader;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("d"));
        dir.create_new().unwrap();
        (temp, dir)
    }

    fn read(dir: &Dir) -> Vec<(Stream, Vec<u8>)> {
        let mut reader = LogReader::open(dir, 0).unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = reader.next(1 << 20).unwrap() {
            all.push((chunk.stream, chunk.data.to_vec()));
        }
        all
    }

    #[test]
    fn a_log_is_cut_at_its_limit_once_and_says_so() {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, Some(10));
        writer.write(Stream::Stdout, b"123456");
        writer.write(Stream::Stderr, b"7890ab");
        writer.write(Stream::Stdout, b"more");
        assert_eq!(writer.dropped_bytes(), 6);
        drop(writer);
        let mut again = LogWriter::new(&dir, Some(10));
        again.write(Stream::Stdout, b"and more");
        assert_eq!(again.dropped_bytes(), 8);
        let marker = b"\n[outlast: the log limit of 10 bytes was reached; what follows was not kept]\n";
        assert_eq!(
            read(&dir),
            [
                (Stream::Stdout, b"123456".to_vec()),
                (Stream::Stderr, b"7890".to_vec()),
                (Stream::Marker, marker.to_vec()),
            ]
        );
    }

    #[test]
    fn exactly_the_limit_is_no_cut() {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, Some(4));
        writer.write(Stream::Stdout, b"1234");
        assert_eq!((writer.log_bytes(), writer.dropped_bytes()), (4, 0));
    }

    #[test]
    fn what_a_crash_left_is_mended() {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, None);
        writer.write(Stream::Stdout, b"one\n");
        writer.write(Stream::Stderr, b"two\n");
        drop(writer);
        // Killed after the log and in the midst of the index.
        let append = |name: &str, bytes: &[u8]| {
            OpenOptions::new()
                .append(true)
                .open(dir.file(name))
                .unwrap()
                .write_all(bytes)
                .unwrap();
        };
        append("log", b"three\n");
        append("index", &[9, 9, 9]);
        assert_eq!(dir.log_len(), 8, "what the index does not cover is not there yet");
        let mut writer = LogWriter::new(&dir, None);
        writer.write(Stream::Stderr, b"four\n");
        drop(writer);
        assert_eq!(
            read(&dir),
            [
                (Stream::Stdout, b"one\n".to_vec()),
                (Stream::Stderr, b"two\n".to_vec()),
                (Stream::Stdout, b"three\n".to_vec()),
                (Stream::Stderr, b"four\n".to_vec()),
            ]
        );
        // The power failed: the index is on disk, the end of the log is not.
        OpenOptions::new()
            .write(true)
            .open(dir.file("log"))
            .unwrap()
            .set_len(6)
            .unwrap();
        assert_eq!(
            read(&dir),
            [
                (Stream::Stdout, b"one\n".to_vec()),
                (Stream::Stderr, b"tw".to_vec())
            ]
        );
        let mut writer = LogWriter::new(&dir, None);
        writer.write(Stream::Stderr, b"!\n");
        assert_eq!(fs::read(dir.file("log")).unwrap(), b"one\ntw!\n");
        assert_eq!(writer.log_bytes(), 8);
        assert_eq!(dir.log_len(), 8);
    }

    #[test]
    fn a_directory_that_is_gone_drops_and_counts() {
        let (_temp, dir) = dir();
        let mut writer = LogWriter::new(&dir, None);
        dir.remove().unwrap();
        writer.write(Stream::Stdout, b"lost");
        assert_eq!((writer.dropped_bytes(), writer.settle()), (4, false));
        dir.create_new().unwrap();
        writer.write(Stream::Stdout, b"kept");
        assert_eq!(read(&dir)[1], (Stream::Stdout, b"kept".to_vec()));
        assert_eq!(read(&dir)[0].0, Stream::Marker);
    }
}

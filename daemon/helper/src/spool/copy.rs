//! A copy of a log that lies on another machine: the same bytes at the same offsets, with the same records.
//!
//! Its length says how much of the log is here, and nothing else is kept about that: whoever goes on copying begins
//! there. Where a copy was cut short by a crash, what no record covers is dropped and had again.

use std::io;

use super::{
    Chunk, Dir, at,
    writer::{Files, Uncovered},
};

/// A copy that can be added to. One at a time is: the second waits until the first is gone.
#[derive(Debug)]
pub struct LogCopy {
    dir: Dir,
    files: Files,
}

impl LogCopy {
    /// Opens the copy in a directory, which is made when it is not there. Blocking.
    ///
    /// # Errors
    /// When the directory or the files cannot be made.
    pub fn open(dir: &Dir) -> io::Result<Self> {
        dir.create_new()?;
        let files = Files::open(dir, Uncovered::Drop)
            .map_err(|error| at("opening the log in", dir.path(), &error))?;
        Ok(Self {
            dir: dir.clone(),
            files,
        })
    }

    /// How much of the log is here, bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.files.end
    }

    /// Adds a piece. What of it is here already is passed over. Blocking.
    ///
    /// # Errors
    /// With `InvalidData` when bytes before it are missing; when it cannot be written, and then all that is here is
    /// still whole.
    pub fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        let end = self.files.end;
        let Some(known) = end.checked_sub(chunk.offset) else {
            let text = format!("a piece at {} does not follow {end}", chunk.offset);
            return Err(at(
                "copying the log to",
                self.dir.path(),
                &io::Error::new(io::ErrorKind::InvalidData, text),
            ));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(news) = chunk.data.get(known..).filter(|news| !news.is_empty()) else {
            return Ok(());
        };
        self.files
            .append(chunk.stream, chunk.time_ms, news)
            .map_err(|partial| at("copying the log to", self.dir.path(), &partial.cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{LogReader, Stream};
    use bytes::Bytes;

    fn chunk(offset: u64, stream: Stream, data: &'static [u8]) -> Chunk {
        Chunk {
            offset,
            stream,
            time_ms: 5,
            data: Bytes::from_static(data),
        }
    }

    fn read(dir: &Dir) -> Vec<(u64, Stream, i64, Vec<u8>)> {
        let mut reader = LogReader::open(dir, 0).unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = reader.next(1 << 20).unwrap() {
            all.push((chunk.offset, chunk.stream, chunk.time_ms, chunk.data.to_vec()));
        }
        all
    }

    #[test]
    fn pieces_may_overlap_but_not_leave_a_gap() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("copy"));
        let mut copy = LogCopy::open(&dir).unwrap();
        copy.append(&chunk(0, Stream::Stdout, b"abc")).unwrap();
        copy.append(&chunk(1, Stream::Stdout, b"bc")).unwrap();
        copy.append(&chunk(2, Stream::Stderr, b"cde")).unwrap();
        let gap = copy.append(&chunk(9, Stream::Stdout, b"x")).unwrap_err();
        assert_eq!(gap.kind(), io::ErrorKind::InvalidData);
        assert_eq!(copy.end(), 5);
        assert_eq!(
            read(&dir),
            [
                (0, Stream::Stdout, 5, b"abc".to_vec()),
                (3, Stream::Stderr, 5, b"de".to_vec())
            ]
        );
    }

    #[test]
    fn what_no_record_covers_is_had_again() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("copy"));
        let mut copy = LogCopy::open(&dir).unwrap();
        copy.append(&chunk(0, Stream::Stderr, b"abc")).unwrap();
        drop(copy);
        std::fs::write(dir.path().join("log"), b"abcdef").unwrap();
        let mut copy = LogCopy::open(&dir).unwrap();
        assert_eq!(copy.end(), 3);
        copy.append(&chunk(3, Stream::Stderr, b"xyz")).unwrap();
        let bytes: Vec<u8> = read(&dir).into_iter().flat_map(|(.., data)| data).collect();
        assert_eq!(bytes, b"abcxyz");
    }
}

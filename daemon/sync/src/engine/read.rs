//! Reads one file, as it is at one moment.

use std::{fs::File, io, time::SystemTime};

use outlast_tree::{Hash, Kind, RelPath};
use rustix::{
    buffer::spare_capacity,
    fs::fstat,
    io::{Errno, pread},
};

use crate::{
    problem::{Problem, ProblemKind},
    root::{Root, Seen},
};

/// How often a file is read again that changes meanwhile.
pub(crate) const ATTEMPTS: usize = 3;

/// What came of reading.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it, and what the file was before and after.
    Read {
        seen: Seen,
        bytes: Vec<u8>,
        hash: Hash,
        began: SystemTime,
    },
    /// It is longer now than what is read in one go.
    Long,
    /// It is not there any more, or is something else. Whoever looks again will see.
    Gone,
    /// It cannot be had.
    Problem(Problem),
}

/// Reads a file of at most `most` bytes.
pub(crate) fn small(root: &Root, path: &RelPath, most: u64) -> Content {
    for _ in 0..ATTEMPTS {
        let (file, seen) = match open(root, path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Content::Gone,
            Err(problem) => return Content::Problem(problem),
        };
        if seen.key.size > most {
            return Content::Long;
        }
        let began = SystemTime::now();
        let read = whole(&file, seen.key.size).and_then(|bytes| Ok((is_same(&file, &seen)?, bytes)));
        match read {
            Ok((true, bytes)) => {
                let hash = blake3::hash(&bytes).into();
                return Content::Read {
                    seen,
                    bytes,
                    hash,
                    began,
                };
            }
            Ok(_) => {}
            // It has another length by now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Content::Problem(unreadable(path, &error)),
        }
    }
    Content::Problem(changing(path))
}

/// Reads all of a file that is so long.
fn whole(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(|_too_long| io::ErrorKind::FileTooLarge)?;
    let bytes = piece(file, 0, size)?;
    // There are file systems that know of no length: what says it is empty and is not cannot be had as a whole.
    if size == 0 && matches!(pread(file, &mut [0][..], 0), Ok(1..)) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Reads a part of a file.
///
/// # Errors
/// When it cannot be read, or is shorter (`UnexpectedEof`).
pub(crate) fn piece(file: &File, at: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let left = count - bytes.len();
        let from = at + bytes.len() as u64;
        // No more than was asked for, whatever room there is.
        match pread(file, spare_capacity(&mut bytes), from) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) if read >= left => bytes.truncate(count),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes)
}

/// Opens a regular file. None: there is none.
pub(crate) fn open(root: &Root, path: &RelPath) -> Result<Option<(File, Seen)>, Problem> {
    let file = match root.open_file(path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(unreadable(path, &errno.into())),
    };
    let stat = fstat(&file).map_err(|errno| unreadable(path, &errno.into()))?;
    let seen = Seen::of(&stat);
    Ok((seen.kind == Kind::File).then_some((file, seen)))
}

/// Whether an open file is as it was.
pub(crate) fn is_same(file: &File, seen: &Seen) -> io::Result<bool> {
    Ok(Seen::of(&fstat(file)?) == *seen)
}

pub(crate) fn unreadable(path: &RelPath, error: &io::Error) -> Problem {
    Problem::new(
        path,
        ProblemKind::Unreadable,
        format!("it cannot be read: {error}"),
    )
}

pub(crate) fn changing(path: &RelPath) -> Problem {
    let text = "it changes faster than it can be read";
    Problem::new(path, ProblemKind::Changing, text)
}

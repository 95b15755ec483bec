//! The FIFOs over which a supervisor or pane is asked to end what it runs, and the logger of a pane to end itself.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    time::Duration,
};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::{Dir, at};

/// The longest grace that is taken from a request: ten years, far from overflow in any arithmetic on times.
const GRACE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Name of the FIFO of a supervisor or pane.
pub(crate) const CONTROL: &str = "control";

/// Name of the FIFO of the logger beside a pane. tmux keeps the logger's input open for as long as it keeps the screen,
/// so that the logger has to be told when all has been said.
pub(crate) const LOG_CONTROL: &str = "log-control";

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Somebody has it or will read it.
    Told,
    /// There is a FIFO, and nobody who reads it.
    NoReader,
    /// There is no FIFO.
    NoFifo,
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Control {
    fifo: File,
    /// The beginning of a line whose end was not read yet.
    line: Vec<u8>,
}

impl Control {
    /// Makes the FIFO, or takes the one of an earlier run. Whoever holds the lock does this, before its report.
    pub(crate) fn open(dir: &Dir, name: &str) -> io::Result<Self> {
        Ok(Self {
            fifo: open_fifo(dir, name)?,
            line: Vec::new(),
        })
    }

    /// Makes the FIFO, if it is not there.
    pub(super) fn make(dir: &Dir, name: &str) -> io::Result<()> {
        let path = dir.file(name);
        match mkfifoat(CWD, &path, Mode::from_raw_mode(0o600)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(at("creating the FIFO", &path, &error.into())),
        }
    }

    /// Reads what there is and returns the shortest grace that was asked for. What cannot be understood is ignored.
    pub(crate) fn receive(&mut self) -> Option<Duration> {
        let mut shortest = None;
        let mut buffer = [0; 512];
        // At most a FIFO full, so that a sender who never stops cannot keep us here.
        for _ in 0..128 {
            let Ok(got @ 1..) = self.fifo.read(&mut buffer) else {
                break;
            };
            for &byte in &buffer[..got] {
                if byte != b'\n' {
                    // Longer than any request, and so none: kept too long to be understood.
                    if self.line.len() < 64 {
                        self.line.push(byte);
                    }
                    continue;
                }
                if let Some(grace) = parse(&self.line) {
                    shortest = Some(shortest.map_or(grace, |other: Duration| other.min(grace)));
                }
                self.line.clear();
            }
        }
        shortest
    }

    /// The sending end; see [`Dir::signal_end`].
    pub(super) fn send(dir: &Dir, name: &str, grace: Duration) -> io::Result<Sent> {
        let path = dir.file(name);
        let failed = |error: io::Error| at("asking to end through", &path, &error);
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
            .open(&path);
        let mut fifo = match opened {
            Ok(fifo) => fifo,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sent::NoFifo),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(Sent::NoReader),
            Err(error) => return Err(failed(error)),
        };
        if !fifo.metadata().map_err(failed)?.file_type().is_fifo() {
            return Err(failed(io::Error::other("this is no FIFO")));
        }
        // One short line is written whole or not at all.
        match fifo.write(format!("end {}\n", grace.min(GRACE_MAX).as_millis()).as_bytes()) {
            Ok(_) => Ok(Sent::Told),
            // Full of such requests: one more says nothing new.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Told),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Sent::NoReader),
            Err(error) => Err(failed(error)),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

/// Opens a FIFO to be read from, which is made when it is not there.
pub(crate) fn open_fifo(dir: &Dir, name: &str) -> io::Result<File> {
    Control::make(dir, name)?;
    let path = dir.file(name);
    let failed = |error: io::Error| at("opening the FIFO", &path, &error);
    // Open for writing as well, so that it never reads as ended when a sender closes.
    let fifo = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
        .open(&path)
        .map_err(failed)?;
    if !fifo.metadata().map_err(failed)?.file_type().is_fifo() {
        return Err(failed(io::Error::other("there is something else of that name")));
    }
    Ok(fifo)
}

fn parse(line: &[u8]) -> Option<Duration> {
    let grace = std::str::from_utf8(line)
        .ok()?
        .strip_prefix("end ")?
        .parse()
        .ok()?;
    Some(Duration::from_millis(grace).min(GRACE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("d"));
        dir.create_new().unwrap();
        (temp, dir)
    }

    #[test]
    fn nobody_is_told_when_nobody_is_there() {
        let (_temp, dir) = dir();
        assert!(!dir.signal_end(Duration::ZERO).unwrap());
        drop(Control::open(&dir, CONTROL).unwrap());
        assert!(!dir.signal_end(Duration::ZERO).unwrap());
    }

    #[test]
    fn the_shortest_grace_of_several_counts() {
        let (_temp, dir) = dir();
        let mut control = Control::open(&dir, CONTROL).unwrap();
        assert_eq!(control.receive(), None);
        for ms in [700, 300, 500] {
            assert!(dir.signal_end(Duration::from_millis(ms)).unwrap());
        }
        assert_eq!(control.receive(), Some(Duration::from_millis(300)));
        assert_eq!(control.receive(), None);
    }

    #[test]
    fn garbage_is_ignored_and_does_not_hide_what_follows() {
        let (_temp, dir) = dir();
        let mut control = Control::open(&dir, CONTROL).unwrap();
        let mut other = OpenOptions::new().write(true).open(dir.file("control")).unwrap();
        other.write_all(&[b'x'; 5000]).unwrap();
        other
            .write_all(b"\nend -1\nend 99999999999999999999999\n\xff\nend 5\nen")
            .unwrap();
        assert_eq!(control.receive(), Some(Duration::from_millis(5)));
        other.write_all(b"d 2\n").unwrap();
        assert_eq!(control.receive(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn a_full_fifo_blocks_nobody() {
        let (_temp, dir) = dir();
        let _control = Control::open(&dir, CONTROL).unwrap();
        for _ in 0..20_000 {
            assert!(dir.signal_end(Duration::from_secs(10)).unwrap());
        }
    }
}

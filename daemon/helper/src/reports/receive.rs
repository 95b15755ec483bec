//! The pane's end: reads reports and keeps the last one.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::Instant,
};

use rustix::{process::getpgrp, termios::tcgetpgrp};

use serde::Serialize;

use super::{REPORTS, Said, parse};
use crate::{
    plain::{self, MESSAGE_MAX},
    proc,
    spool::{ACTIVITY, Activity, Dir, Holder, Kept, SPOOL_VERSION, now_ms, open_fifo},
};

/// Bytes kept of a line: a state, and more than what is kept of a message.
const LINE_MAX: usize = 2 * MESSAGE_MAX;

/// Name of the file that counts what was no report.
const IGNORED: &str = "ignored";

/// Reads in a row, as many as take a FIFO full: one who never stops to report must not keep the pane from all else.
const READS: usize = 16;

/// The reports of one run.
#[derive(Debug)]
pub(crate) struct Reports {
    dir: Dir,
    run: u32,
    fifo: File,
    /// The beginning of a line whose end was not read yet.
    line: Vec<u8>,
    last: Option<Activity>,
    kept: Kept,
    ignored: Ignored,
    kept_ignored: Kept,
}

/// The file `ignored`: lines that were no reports, for whoever writes a hook and wonders.
#[derive(Debug, Default, Serialize)]
struct Ignored {
    /// Version of the spool, [`SPOOL_VERSION`].
    version: u32,
    /// The run they came from.
    run: u32,
    /// How many.
    lines: u64,
    /// The last of them, plain and bounded.
    last: String,
}

impl Reports {
    /// Makes a FIFO of its own for this run, and forgets what an earlier one reported.
    pub(crate) fn open(dir: &Dir, run: u32) -> io::Result<Self> {
        for before in [ACTIVITY, REPORTS, IGNORED] {
            match fs::remove_file(dir.file(before)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Self {
            fifo: open_fifo(dir, REPORTS)?,
            dir: dir.clone(),
            run,
            line: Vec::new(),
            last: None,
            kept: Kept::new(ACTIVITY),
            ignored: Ignored {
                version: SPOOL_VERSION,
                run,
                ..Ignored::default()
            },
            kept_ignored: Kept::new(IGNORED),
        })
    }

    /// Where programs find it.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.file(REPORTS)
    }

    /// Reads what there is. The terminal is the one that who reports is in.
    pub(crate) fn hear(&mut self, terminal: impl AsFd) {
        let mut buffer = [0; 4096];
        let mut heard = false;
        for _ in 0..READS {
            let Ok(got @ 1..) = self.fifo.read(&mut buffer) else {
                break;
            };
            for piece in buffer[..got].split_inclusive(|&byte| byte == b'\n') {
                let room = LINE_MAX.saturating_sub(self.line.len());
                self.line.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.line);
                    heard |= self.take(&line);
                }
            }
        }
        if heard {
            let holder = holder(terminal);
            if let Some(last) = &mut self.last {
                last.holder = holder;
            }
            self.kept.change();
        }
        self.write_due();
    }

    /// When there is something to write.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.kept.due(), self.kept_ignored.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Writes what is due.
    pub(crate) fn write_due(&mut self) {
        if let Some(last) = &self.last {
            self.kept.write_due(&self.dir, last);
        }
        self.kept_ignored.write_due(&self.dir, &self.ignored);
    }

    /// Takes a line. True: it was a report that counts.
    fn take(&mut self, line: &[u8]) -> bool {
        let Some(Said {
            doing: state,
            unless,
            message,
        }) = parse(line)
        else {
            self.ignored.lines = self.ignored.lines.saturating_add(1);
            self.ignored.last = plain::line(line);
            self.kept_ignored.change();
            return false;
        };
        if unless.is_some_and(|unless| self.last.as_ref().is_some_and(|last| last.state == unless)) {
            return false;
        }
        let now = now_ms();
        let same = |last: &&Activity| last.state == state && last.message == message;
        let since_ms = self.last.as_ref().filter(same).map_or(now, |last| last.since_ms);
        self.last = Some(Activity {
            version: SPOOL_VERSION,
            run: self.run,
            state,
            message,
            since_ms,
            at_ms: now,
            holder: None,
        });
        true
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // Nobody reads it any more, and whoever opened it would wait for that.
        let _ = fs::remove_file(self.path());
    }
}

/// Who has the terminal. None: it is not known, or it is the group that we and the session's program are in.
fn holder(terminal: impl AsFd) -> Option<Holder> {
    let ours = getpgrp();
    let group = tcgetpgrp(terminal).ok().filter(|group| *group != ours)?;
    let (mut leader, name) = proc::leader(group.as_raw_nonzero().get().cast_unsigned(), None)?;
    // A command that was typed only to report is called as we are: it is gone in a moment, and speaks for the shell.
    if proc::named(std::process::id()).is_some_and(|(_, ours)| ours == name) {
        leader = proc::stat(proc::stat(leader.parent)?.group)?;
    }
    let is_ours = leader.pid == ours.as_raw_nonzero().get().cast_unsigned();
    (!leader.zombie && !is_ours).then_some(Holder {
        pid: leader.pid,
        start_time: leader.start_time,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::spool::Doing;

    fn open() -> (tempfile::TempDir, Dir, Reports, File) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().join("d"));
        dir.create_new().unwrap();
        fs::write(dir.file(REPORTS), "something else").unwrap();
        let reports = Reports::open(&dir, 3).unwrap();
        let writer = File::options().append(true).open(reports.path()).unwrap();
        (temp, dir, reports, writer)
    }

    fn hear(reports: &mut Reports) -> Option<Activity> {
        let (input, _output) = rustix::pipe::pipe().unwrap();
        reports.hear(&input);
        reports.last.clone()
    }

    #[test]
    fn the_last_report_is_kept_and_what_is_none_is_ignored() {
        let (_temp, dir, mut reports, mut writer) = open();
        assert_eq!(hear(&mut reports), None);
        writer
            .write_all(b"working one\nrubbish\nwaiting Sure?\nwork")
            .unwrap();
        let waiting = hear(&mut reports).unwrap();
        assert_eq!(
            (
                waiting.run,
                waiting.state,
                waiting.message.as_str(),
                waiting.holder
            ),
            (3, Doing::Waiting, "Sure?", None)
        );
        assert_eq!(dir.read_activity().unwrap(), Some(waiting));
        let ignored = fs::read_to_string(dir.file(IGNORED)).unwrap();
        assert_eq!(ignored, r#"{"version":1,"run":3,"lines":1,"last":"rubbish"}"#);
        writer.write_all(b"ing\n").unwrap();
        assert_eq!(hear(&mut reports).unwrap().state, Doing::Working);
        let path = reports.path();
        drop(reports);
        assert!(!path.exists());
        drop(Reports::open(&dir, 4).unwrap());
        assert_eq!(dir.read_activity().unwrap(), None);
    }

    #[test]
    fn what_is_said_again_stands_since_it_was_said_first() {
        let (_temp, _dir, mut reports, mut writer) = open();
        writer.write_all(b"waiting a\n").unwrap();
        let first = hear(&mut reports).unwrap();
        reports.last.as_mut().unwrap().since_ms -= 5000;
        writer.write_all(b"waiting a\n").unwrap();
        let again = hear(&mut reports).unwrap();
        assert!(again.since_ms == first.since_ms - 5000 && again.at_ms >= first.at_ms);
        writer.write_all(b"waiting b\n").unwrap();
        let other = hear(&mut reports).unwrap();
        assert_eq!(other.since_ms, other.at_ms);
    }

    #[test]
    fn what_stands_already_is_not_said_in_other_words() {
        let (_temp, _dir, mut reports, mut writer) = open();
        for (lines, state, message) in [
            ("waiting/waiting a\n", Doing::Waiting, "a"),
            ("waiting/waiting b\n", Doing::Waiting, "a"),
            ("waiting c\nwaiting/waiting d\n", Doing::Waiting, "c"),
            ("idle/working e\n", Doing::Idle, "e"),
            ("waiting/waiting f\n", Doing::Waiting, "f"),
        ] {
            writer.write_all(lines.as_bytes()).unwrap();
            let last = hear(&mut reports).unwrap();
            assert_eq!((last.state, last.message.as_str()), (state, message), "{lines}");
        }
        assert_eq!(reports.ignored.lines, 0);
    }

    #[test]
    fn a_flood_and_an_endless_line_take_no_memory() {
        let (_temp, _dir, mut reports, mut writer) = open();
        for _ in 0..100 {
            writer.write_all(&[b'x'; 50_000]).unwrap();
            hear(&mut reports);
            assert!(reports.line.len() <= LINE_MAX);
        }
        writer.write_all(b"\nidle ").unwrap();
        writer.write_all(&[b'y'; 10_000]).unwrap();
        writer.write_all(b"\n").unwrap();
        assert_eq!(hear(&mut reports).unwrap().message, "y".repeat(MESSAGE_MAX));
    }
}

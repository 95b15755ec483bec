//! Where text was sent to a session, and where its terminal showed it then: offsets of its log and times, never the text.
//!
//! The file `sent` stands beside the log here, also where that is a copy: who sends is this daemon. It has records of 48 bytes,
//! little-endian: u64 offset, i64 time in ms by which they are told apart, and an [`Echo`]: u64 `from`, u64 `shown`, u64 `to`,
//! u32 `length`, u16 `behind`, u16 `is_part`; all of them zero where there is none. The last record of a time counts. Half a
//! record is none.

use std::{collections::BTreeMap, fs, io};

use outlast_helper::spool::Dir;

use super::{
    blocks::{Event, What},
    records::Records,
};

/// Name of the file.
const NAME: &str = "sent";

const OLD_NAME: &str = "sends";

const RECORD: usize = 48;

/// Records that are kept when there are twice as many.
const KEPT: usize = 10_000;

/// Something that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sessions) struct Send {
    /// Length of the log just before, or where it stands when it is a part of what was sent.
    pub(in crate::sessions) at: u64,
    /// When, and which one it is.
    pub(in crate::sessions) at_ms: i64,
    /// Where the terminal showed it. Absent: it did not, or not yet.
    pub(in crate::sessions) echo: Option<Echo>,
}

/// Where something that was sent was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sessions) struct Echo {
    /// Where its first row begins in the log.
    pub(in crate::sessions) from: u64,
    /// Where all of it stands on the terminal.
    pub(in crate::sessions) shown: u64,
    /// Behind the end of its last row.
    pub(in crate::sessions) to: u64,
    /// How many characters it has that are not blank.
    pub(in crate::sessions) length: u32,
    /// How many stand behind it in its last row: a prompt at the right.
    pub(in crate::sessions) behind: u16,
    /// More was sent, of which only the end was shown: an editor shows no more than fits on the screen.
    pub(in crate::sessions) is_part: bool,
}

impl Send {
    fn encode(&self) -> [u8; RECORD] {
        let echo = self.echo.unwrap_or_default();
        let mut record = [0; RECORD];
        let longs = [
            self.at,
            self.at_ms.cast_unsigned(),
            echo.from,
            echo.shown,
            echo.to,
        ];
        for (place, long) in record.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&long.to_le_bytes());
        }
        record[40..44].copy_from_slice(&echo.length.to_le_bytes());
        record[44..46].copy_from_slice(&echo.behind.to_le_bytes());
        record[46] = echo.is_part.into();
        record
    }

    fn decode(record: &[u8; RECORD]) -> Self {
        let (longs, _) = record.as_chunks::<8>();
        let long = |number: usize| u64::from_le_bytes(longs[number]);
        let counts = long(5);
        let echo = Echo {
            from: long(2),
            shown: long(3),
            to: long(4),
            length: counts as u32,
            behind: (counts >> 32) as u16,
            is_part: counts >> 48 != 0,
        };
        Self {
            at: long(0),
            at_ms: long(1).cast_signed(),
            echo: (echo.from < echo.shown && echo.shown <= echo.to).then_some(echo),
        }
    }

    /// Where it stands among marks.
    fn event(&self) -> Event {
        // What stands before it in its row was there before. What stands before a part is other parts.
        let from = self.echo.filter(|echo| !echo.is_part).map_or(0, |echo| echo.from);
        let at = self.at.max(from);
        Event {
            at,
            end: self.echo.map_or(at, |echo| echo.to.max(at)),
            what: What::Sent {
                at_ms: self.at_ms,
                echo: self.echo,
            },
        }
    }
}

/// Writes down that something was sent, or what has become known of it. Blocks.
///
/// # Errors
/// When it cannot be written.
pub(in crate::sessions) fn add(dir: &Dir, all: &[Send]) -> io::Result<()> {
    let mut records = Records::<RECORD>::open(dir, NAME)?;
    let more: Vec<_> = all.iter().map(Send::encode).collect();
    records.add(&more)?;
    // What was here before it, under another name and with less to tell.
    match fs::remove_file(dir.path().join(OLD_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if records.count() < 2 * KEPT as u64 {
        return Ok(());
    }
    let all = sends(&records.all()?);
    let oldest = all.len().saturating_sub(KEPT);
    let newest: Vec<_> = all.values().skip(oldest).map(Send::encode).collect();
    records.replace(&newest)
}

/// By their times.
fn sends(records: &[u8]) -> BTreeMap<i64, Send> {
    let (records, _) = records.as_chunks::<RECORD>();
    let sends = records.iter().map(Send::decode);
    sends.map(|send| (send.at_ms, send)).collect()
}

/// All that are known, in the order of the log, none within another.
pub(super) fn read(dir: &Dir) -> io::Result<Vec<Event>> {
    let all = match fs::read(dir.path().join(NAME)) {
        Ok(all) => sends(&all),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut events: Vec<Event> = all.values().map(Send::event).collect();
    events.sort_by_key(|event| event.at);
    // What was sent before the log had what was sent before belongs to that. What the first printed has an id as well, for
    // which there is to be a place.
    let mut taken = 0;
    events.retain(|event| {
        let is_own = event.at >= taken;
        if is_own {
            taken = event.end.max(event.at.saturating_add(2));
        }
        is_own
    });
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u64) -> Send {
        Send {
            at: number,
            at_ms: number.cast_signed(),
            echo: None,
        }
    }

    #[test]
    fn what_was_sent_last_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        assert!(read(&dir).unwrap().is_empty());
        for number in 0..2 * KEPT as u64 + 5 {
            add(&dir, &[sent(2 * number)]).unwrap();
        }
        let sends = read(&dir).unwrap();
        assert_eq!(sends.len(), KEPT + 5);
        assert_eq!(sends.last().unwrap().at, 4 * KEPT as u64 + 8);
        // A power cut.
        fs::write(dir.path().join(NAME), [1; RECORD + 4]).unwrap();
        assert_eq!(read(&dir).unwrap().len(), 1);
        add(&dir, &[sent(7)]).unwrap();
        assert!(read(&dir).unwrap().iter().any(|event| event.at == 7));
    }

    #[test]
    fn none_is_lost_while_old_ones_are_thrown_away() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        let old: Vec<_> = (0..2 * KEPT as u64 - 100).map(sent).collect();
        add(&dir, &old).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dir = &dir;
                scope.spawn(move || {
                    for number in 0..100 {
                        add(dir, &[sent(1_000_000 + 1000 * thread + 2 * number)]).unwrap();
                    }
                });
            }
        });
        let sends = read(&dir).unwrap();
        assert_eq!(sends.iter().filter(|send| send.at >= 1_000_000).count(), 400);
    }

    #[test]
    fn what_was_here_before_goes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        fs::write(dir.path().join(OLD_NAME), "old").unwrap();
        add(&dir, &[sent(7)]).unwrap();
        assert!(!dir.path().join(OLD_NAME).exists());
    }

    #[test]
    fn where_it_was_shown_becomes_known_later() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::new(temp.path().to_owned());
        add(&dir, &[sent(7)]).unwrap();
        add(&dir, &[sent(9)]).unwrap();
        let echo = Echo {
            from: 20,
            shown: 30,
            to: 31,
            length: 5,
            behind: 2,
            is_part: false,
        };
        let shown = Send {
            echo: Some(echo),
            ..sent(7)
        };
        add(&dir, &[shown]).unwrap();
        let events = read(&dir).unwrap();
        let places: Vec<_> = events.iter().map(|event| (event.at, event.end)).collect();
        assert_eq!(places, [(9, 9), (20, 31)]);
        assert_eq!(
            events[1].what,
            What::Sent {
                at_ms: 7,
                echo: Some(echo)
            }
        );
    }
}

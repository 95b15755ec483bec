//! What `/proc` says of processes and of this boot.

use std::{fs, io};

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process.
    pub(crate) pid: u32,
    /// It ended and only waits to be collected.
    pub(crate) zombie: bool,
    /// Its process group.
    pub(crate) group: u32,
    /// Its process session.
    pub(crate) session: u32,
    /// When it was started, in clock ticks since boot.
    pub(crate) start_time: u64,
}

/// Id of this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// A process. None: there is none of this number.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes, as far as they can be seen.
pub(crate) fn all() -> io::Result<Vec<Stat>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect())
}

fn parse(pid: u32, text: &[u8]) -> Option<Stat> {
    // The second field is the program's name in parentheses, in which anything may stand.
    let after = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&text[after + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_confuse() {
        let text = b"7 (a) Z 1 2 (3) R 1 70 71 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let stat = parse(7, text).unwrap();
        assert_eq!(
            (stat.zombie, stat.group, stat.session, stat.start_time),
            (false, 70, 71, 4242)
        );
    }

    #[test]
    fn we_are_among_all() {
        let me = std::process::id();
        assert!(all().unwrap().iter().any(|stat| stat.pid == me && !stat.zombie));
        assert_eq!(parse(1, b"junk"), None);
        assert_eq!(parse(1, b"1 (x) R 1"), None);
    }
}

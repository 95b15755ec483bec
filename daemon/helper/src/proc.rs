//! What `/proc` says of processes and of this boot.

pub(crate) mod threads;

use std::{
    fs,
    io::{self, Read as _},
};

use crate::{spool::now_ms, sys};

/// Bytes of arguments that are looked at.
const ARGUMENTS_MAX: u64 = 4096;

/// Bytes that most files of `/proc` which are read here fit into.
const USUAL: usize = 2048;

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process.
    pub(crate) pid: u32,
    /// It ended and only waits to be collected.
    pub(crate) zombie: bool,
    /// Its first thread uses the CPU or a disk.
    pub(crate) busy: bool,
    /// Its parent.
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// Its process session.
    pub(crate) session: u32,
    /// The process group that has its terminal. None: it has no terminal, or nobody has that.
    pub(crate) foreground: Option<u32>,
    /// CPU time that all its threads have used, in clock ticks.
    pub(crate) cpu_ticks: u64,
    /// How many threads it has.
    pub(crate) threads: u64,
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
    parse(pid, &read(&format!("/proc/{pid}/stat"), u64::MAX).ok()?)
}

/// A process and its name: the one it gave itself, else that of its file, 15 bytes at most. None: there is none of this
/// number.
pub(crate) fn named(pid: u32) -> Option<(Stat, String)> {
    let text = read(&format!("/proc/{pid}/stat"), u64::MAX).ok()?;
    let stat = parse(pid, &text)?;
    let begin = text.iter().position(|&byte| byte == b'(')? + 1;
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let name = String::from_utf8_lossy(text.get(begin..end)?).into_owned();
    Some((stat, name))
}

/// Arguments of a process, as far as they fit into a few KiB. They are what it says that they are. None while it is
/// becoming another program.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    // One that is gone has none.
    let text = read(&format!("/proc/{pid}/cmdline"), ARGUMENTS_MAX).unwrap_or_default();
    if text.is_empty() {
        return Vec::new();
    }
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    let words = text.split(|&byte| byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Milliseconds since 1970 when a process was started that was at this time after boot. As exact as clock ticks are.
pub(crate) fn started_ms(start_time: u64) -> i64 {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = up
        .tv_sec
        .saturating_mul(1000)
        .saturating_add(up.tv_nsec / 1_000_000);
    let after = start_time.saturating_mul(1000) / sys::clock_ticks();
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    now_ms().saturating_sub(up.saturating_sub(after).max(0))
}

/// All processes, as far as they can be seen.
pub(crate) fn all() -> io::Result<Vec<Stat>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect())
}

/// Reads a file of `/proc`, or so many bytes of it. They say no size, and what asks for it and then feels its way takes four
/// times as many calls, a second for each of hundreds of sessions.
fn read(path: &str, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(USUAL);
    fs::File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// The same of one that is text.
fn read_text(path: &str) -> io::Result<String> {
    String::from_utf8(read(path, u64::MAX)?).map_err(io::Error::other)
}

fn parse(pid: u32, text: &[u8]) -> Option<Stat> {
    // The second field is the program's name in parentheses, in which anything may stand.
    let after = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&text[after + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        busy: matches!(*fields.first()?, "R" | "D"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        // -1 stands for none, and 0 for one of another namespace.
        foreground: fields.get(5)?.parse().ok().filter(|&group| group > 0),
        cpu_ticks: number(11)?.saturating_add(number(12)?),
        threads: number(17)?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// The processes of a group without this one and those that have ended: those that stand beside its leader or descend from
/// it, where a kernel says that, which is all but those that were left by their parents. Else all of them, which is much to
/// read. None: more than so many.
pub(crate) fn group(leader: &Stat, without: u32, most: usize) -> Option<Vec<Stat>> {
    let is_of_it = |stat: &Stat| stat.group == leader.group && stat.pid != without && !stat.zombie;
    let found = family(leader, is_of_it, most).or_else(|| {
        let all = all().ok()?;
        Some(all.into_iter().filter(is_of_it).collect())
    })?;
    (found.len() <= most).then_some(found)
}

/// None: the kernel does not tell who is whose child.
fn family(leader: &Stat, is_of_it: impl Fn(&Stat) -> bool, most: usize) -> Option<Vec<Stat>> {
    let mut found: Vec<Stat> = Vec::new();
    let mut left = vec![leader.pid];
    // Whoever was left to init has strangers beside it.
    if leader.parent > 1
        && let Some(parent) = stat(leader.parent)
    {
        left.extend(threads::children(&parent)?);
    }
    while let Some(pid) = left.pop() {
        if found.iter().any(|known| known.pid == pid) {
            continue;
        }
        let Some(stat) = stat(pid).filter(&is_of_it) else {
            continue;
        };
        left.extend(threads::children(&stat)?);
        found.push(stat);
        if found.len() > most {
            break;
        }
    }
    Some(found)
}

/// The process a group is known by, and its name: this one of it while it lives (none: the one it is named after), else the
/// oldest that is left of a pipeline whose first program has ended.
pub(crate) fn leader(group: u32, known: Option<u32>) -> Option<(Stat, String)> {
    let lives = |found: &(Stat, String)| found.0.group == group && !found.0.zombie;
    named(known.unwrap_or(group)).filter(lives).or_else(|| {
        let all = all().ok()?;
        let of_it = all.iter().filter(|stat| stat.group == group && !stat.zombie);
        let oldest = of_it.min_by_key(|stat| (stat.start_time, stat.pid))?;
        named(oldest.pid).filter(lives)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_confuse() {
        let text = b"7 (a) Z 1 2 (3) R 1 70 71 0 -1 4194304 0 0 0 0 12 30 0 0 20 0 1 0 4242 0 0";
        let stat = parse(7, text).unwrap();
        assert_eq!(
            (
                stat.zombie,
                stat.busy,
                stat.parent,
                stat.group,
                stat.session,
                stat.cpu_ticks,
                stat.start_time
            ),
            (false, true, 1, 70, 71, 42, 4242)
        );
        assert_eq!(stat.foreground, None);
    }

    #[test]
    fn what_has_ended_or_is_not_yet_begun_has_no_arguments() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        while !stat(ended.id()).unwrap().zombie {
            std::thread::yield_now();
        }
        assert_eq!(arguments(ended.id()), Vec::<String>::new());
        ended.wait().unwrap();
    }

    #[test]
    fn we_are_among_all() {
        let me = std::process::id();
        assert!(all().unwrap().iter().any(|stat| stat.pid == me && !stat.zombie));
        let (stat, name) = named(me).unwrap();
        assert!(stat.pid == me && !name.is_empty());
        assert!(!arguments(me).is_empty() && arguments(0).is_empty());
        let age = now_ms() - started_ms(stat.start_time);
        assert!((-50..3_600_000).contains(&age), "{age}");
        assert_eq!(parse(1, b"junk"), None);
        assert_eq!(parse(1, b"1 (x) R 1"), None);
    }
}

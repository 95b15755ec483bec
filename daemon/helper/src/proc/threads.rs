//! What the threads of a process are blocked in, as far as `/proc` lets that be seen without privileges.
//!
//! Which system call a thread is in may be read by whoever could debug it: of processes of the same user, and where Yama
//! restricts debugging, as Debian and Ubuntu do, of none. Where in the kernel it sleeps may be read of processes of the same
//! user also there. Of those of another user, as `sudo` is, nothing can be read of this but that they sleep.

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use super::{Stat, read_text};

/// What opens the terminal of whoever opens it.
const OWN_TERMINAL: &str = "/dev/tty";

/// Most open files of a process that are looked at. What has more of them serves others.
const FILES_MAX: usize = 4096;

/// System calls that read from their first argument.
const READS: [i64; 2] = [libc::SYS_read, libc::SYS_readv];

/// System calls that wait for a child to end.
const WAITS: [i64; 2] = [libc::SYS_wait4, libc::SYS_waitid];

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// It runs.
    Runs,
    /// It is blocked reading from the terminal.
    ReadsTerminal,
    /// It is blocked reading from another program.
    ReadsPipe,
    /// It waits for a child to end.
    WaitsForChild,
    /// It sleeps for something else.
    Sleeps,
    /// Who we are may not see it.
    Hidden,
}

/// The system call that a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Runs,
    /// Its number and first argument.
    Is(i64, u64),
    /// It sleeps outside of any.
    None,
}

/// A terminal as it is known from outside of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// What a descriptor of it points to.
    pub(crate) link: PathBuf,
    /// It shows what is typed.
    pub(crate) echo: bool,
}

/// Threads of a process. Empty: it is gone.
pub(crate) fn of(process: &Stat) -> Vec<u32> {
    let pid = process.pid;
    if process.threads == 1 {
        // The common case, in which its list need not be asked for.
        return vec![pid];
    }
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Children of a process. None: this kernel does not tell.
pub(crate) fn children(process: &Stat) -> Option<Vec<u32>> {
    let pid = process.pid;
    let mut children = Vec::new();
    for thread in of(process) {
        let dir = format!("/proc/{pid}/task/{thread}");
        match read_text(&format!("{dir}/children")) {
            Ok(text) => children.extend(numbers(&text)),
            Err(_) if Path::new(&dir).exists() => return None,
            // It has just ended.
            Err(_) => {}
        }
    }
    Some(children)
}

/// How often a thread went to sleep or was put aside; it has not run in between while that stays the same. None: not known.
pub(crate) fn switches(pid: u32, thread: u32) -> Option<u64> {
    counted(&read_text(&format!("/proc/{pid}/task/{thread}/status")).ok()?)
}

/// A process whose threads are looked at, at one terminal.
#[derive(Debug)]
pub(crate) struct Looking<'a> {
    pid: u32,
    terminal: &'a Terminal,
    files: OnceCell<Files>,
}

/// The open files of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    /// What they are.
    Are(Vec<PathBuf>),
    /// More than are looked at.
    TooMany,
    /// They may not be seen.
    Hidden,
}

impl<'a> Looking<'a> {
    pub(crate) const fn new(pid: u32, terminal: &'a Terminal) -> Self {
        Self {
            pid,
            terminal,
            files: OnceCell::new(),
        }
    }

    /// What a thread of it does.
    pub(crate) fn does(&self, thread: u32) -> Does {
        let pid = self.pid;
        let read = |name: &str| read_text(&format!("/proc/{pid}/task/{thread}/{name}"));
        match read("syscall").ok().and_then(|text| call(&text)) {
            Some(Call::Runs) => Does::Runs,
            Some(Call::Is(number, file)) if READS.contains(&number) => {
                fs::read_link(format!("/proc/{pid}/fd/{file}"))
                    .map_or(Does::Hidden, |link| reads(&link, self.terminal))
            }
            Some(Call::Is(number, _)) if WAITS.contains(&number) => Does::WaitsForChild,
            Some(Call::Is(..) | Call::None) => Does::Sleeps,
            None => {
                let place = read("wchan").unwrap_or_default();
                sleeps_in(place.trim(), || self.files(), self.terminal)
            }
        }
    }

    /// Its open files, which are read once for all threads.
    fn files(&self) -> &Files {
        self.files.get_or_init(|| files(self.pid, FILES_MAX))
    }
}

/// What a thread does that reads from this file.
fn reads(link: &Path, terminal: &Terminal) -> Does {
    if link == terminal.link || link == Path::new(OWN_TERMINAL) {
        Does::ReadsTerminal
    } else if link.to_string_lossy().starts_with("pipe:") {
        Does::ReadsPipe
    } else {
        Does::Sleeps
    }
}

/// What a thread does that sleeps at this place of the kernel, in a process that has these files open.
fn sleeps_in<'a>(place: &str, files: impl FnOnce() -> &'a Files, terminal: &Terminal) -> Does {
    match place {
        // It is what is said when nothing may be said, and of what runs.
        "" | "0" => Does::Hidden,
        "do_wait" => Does::WaitsForChild,
        _ if place.contains("pipe_read") => Does::ReadsPipe,
        "n_tty_read" | "wait_woken" => {
            let files = match files() {
                Files::Are(files) => files,
                Files::TooMany => return Does::Sleeps,
                Files::Hidden => return Does::Hidden,
            };
            let has = |wanted: &Path| files.iter().any(|link| link == wanted);
            let has_terminal = has(&terminal.link) || has(Path::new(OWN_TERMINAL));
            // Connections are waited for in the same place. Whoever hides what is typed or opened the terminal for itself
            // asks.
            let has_connection = files
                .iter()
                .any(|link| link.to_string_lossy().starts_with("socket:"));
            let asks =
                place == "n_tty_read" || !has_connection || !terminal.echo || has(Path::new(OWN_TERMINAL));
            if has_terminal && asks {
                Does::ReadsTerminal
            } else {
                Does::Sleeps
            }
        }
        _ => Does::Sleeps,
    }
}

fn files(pid: u32, most: usize) -> Files {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Files::Hidden;
    };
    let mut files = Vec::new();
    for (count, entry) in entries.flatten().enumerate() {
        if count == most {
            return Files::TooMany;
        }
        // What has just been closed is none.
        files.extend(fs::read_link(entry.path()));
    }
    Files::Are(files)
}

/// Reads the file `syscall`.
fn call(text: &str) -> Option<Call> {
    let mut words = text.split_ascii_whitespace();
    match words.next()? {
        "running" => Some(Call::Runs),
        number => {
            let number: i64 = number.parse().ok()?;
            if number < 0 {
                return Some(Call::None);
            }
            let first = words.next()?.strip_prefix("0x")?;
            Some(Call::Is(number, u64::from_str_radix(first, 16).ok()?))
        }
    }
}

/// Reads the file `status`, as far as it counts.
fn counted(text: &str) -> Option<u64> {
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    count("voluntary_ctxt_switches:")?.checked_add(count("nonvoluntary_ctxt_switches:")?)
}

fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terminal(echo: bool) -> Terminal {
        Terminal {
            link: "/dev/pts/3".into(),
            echo,
        }
    }

    #[test]
    fn a_system_call_is_read() {
        let text = "0 0x3 0x55f009f59cf0 0x2000 0x0 0x0 0x0 0x7ffd0c267028 0x7f19ed7162ad\n";
        assert_eq!(call(text), Some(Call::Is(0, 3)));
        assert_eq!(
            call("61 0xffffffff 0x7fffa04c595c\n"),
            Some(Call::Is(61, 0xffff_ffff))
        );
        assert_eq!(call("running\n"), Some(Call::Runs));
        assert_eq!(call("-1 0x7ffd0c267028 0x7f19ed7162ad\n"), Some(Call::None));
        for text in ["", "\n", "0", "0 3", "x 0x1", "99999999999999999999 0x1", "0 0x"] {
            assert_eq!(call(text), None, "{text:?}");
        }
    }

    #[test]
    fn switches_are_counted() {
        let text = "Name:\tvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t30\n";
        assert_eq!(counted(text), Some(42));
        assert_eq!(counted("voluntary_ctxt_switches:\t12\n"), None);
        assert_eq!(
            counted("voluntary_ctxt_switches:\tx\nnonvoluntary_ctxt_switches:\t1"),
            None
        );
    }

    #[test]
    fn what_is_read_from_is_told_apart() {
        for (link, does) in [
            ("/dev/pts/3", Does::ReadsTerminal),
            ("/dev/tty", Does::ReadsTerminal),
            ("/dev/pts/4", Does::Sleeps),
            ("pipe:[42]", Does::ReadsPipe),
            ("socket:[42]", Does::Sleeps),
            ("/home/me/pipe:x", Does::Sleeps),
        ] {
            assert_eq!(reads(Path::new(link), &terminal(true)), does, "{link}");
        }
    }

    #[test]
    fn where_it_sleeps_says_it_when_the_call_is_hidden() {
        let at = |place: &str, files: &[&str], echo: bool| {
            let files = Files::Are(files.iter().map(PathBuf::from).collect());
            sleeps_in(place, || &files, &terminal(echo))
        };
        let plain = ["/dev/pts/3", "/dev/pts/3", "/tmp/x"];
        assert_eq!(at("wait_woken", &plain, true), Does::ReadsTerminal);
        assert_eq!(at("n_tty_read", &plain, true), Does::ReadsTerminal);
        // It may wait for what comes over the connection.
        let connected = ["/dev/pts/3", "socket:[1]"];
        assert_eq!(at("wait_woken", &connected, true), Does::Sleeps);
        assert_eq!(at("wait_woken", &connected, false), Does::ReadsTerminal);
        assert_eq!(at("n_tty_read", &connected, true), Does::ReadsTerminal);
        let opened = ["/dev/pts/3", "socket:[1]", "/dev/tty"];
        assert_eq!(at("wait_woken", &opened, true), Does::ReadsTerminal);
        assert_eq!(at("wait_woken", &["/dev/null", "pipe:[1]"], true), Does::Sleeps);
        assert_eq!(at("do_wait", &plain, true), Does::WaitsForChild);
        assert_eq!(at("anon_pipe_read", &plain, true), Does::ReadsPipe);
        assert_eq!(at("pipe_read", &plain, true), Does::ReadsPipe);
        assert_eq!(at("hrtimer_nanosleep", &plain, true), Does::Sleeps);
        assert_eq!(at("0", &plain, true), Does::Hidden);
        assert_eq!(at("", &plain, true), Does::Hidden);
        let at = |files: &Files| sleeps_in("wait_woken", || files, &terminal(true));
        assert_eq!(at(&Files::Hidden), Does::Hidden);
        assert_eq!(at(&Files::TooMany), Does::Sleeps);
    }

    #[test]
    fn open_files_are_read_once_and_not_without_end() {
        let terminal = terminal(true);
        let myself = Looking::new(std::process::id(), &terminal);
        assert_eq!(myself.files.get(), None, "not before they are needed");
        let path = std::env::current_exe().unwrap();
        let has = |files: &Files| matches!(files, Files::Are(files) if files.contains(&path));
        assert!(!has(myself.files()));
        let opened = fs::File::open(&path).unwrap();
        assert!(!has(myself.files()), "they were read already");
        assert!(has(&files(myself.pid, FILES_MAX)));
        assert_eq!(files(myself.pid, 1), Files::TooMany);
        drop(opened);
        assert_eq!(files(u32::MAX, FILES_MAX), Files::Hidden);
    }

    #[test]
    fn what_runs_and_what_is_blocked_is_seen() {
        let me = std::process::id();
        let myself = crate::proc::stat(me).unwrap();
        let threads = of(&myself);
        assert!(threads.contains(&me), "{threads:?}");
        let mut busy = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let terminal = terminal(true);
        let does = |pid| Looking::new(pid, &terminal).does(pid);
        while does(busy.id()) != Does::Runs {
            std::thread::yield_now();
        }
        busy.kill().unwrap();
        busy.wait().unwrap();
        let (mut child, feed) = {
            let mut cat = std::process::Command::new("cat");
            cat.stdin(std::process::Stdio::piped());
            let mut child = cat.spawn().unwrap();
            let feed = child.stdin.take().unwrap();
            (child, feed)
        };
        let pid = child.id();
        let of_mine = children(&crate::proc::stat(me).unwrap());
        assert!(of_mine.is_none_or(|children| children.contains(&pid)));
        while does(pid) != Does::ReadsPipe {
            std::thread::yield_now();
        }
        let asleep = switches(pid, pid);
        assert_eq!(switches(pid, pid), asleep);
        drop(feed);
        child.wait().unwrap();
        assert!(switches(pid, pid).is_none());
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in any::<String>(), place in any::<String>(), echo in any::<bool>()) {
            let _call = call(&text);
            let _count = counted(&text);
            let files = Files::Are(vec![PathBuf::from(&text)]);
            let _does = sleeps_in(&place, || &files, &terminal(echo));
        }

        #[test]
        fn what_the_kernel_writes_reads_back(number in 0..600_i64, arguments in proptest::collection::vec(any::<u64>(), 8)) {
            let words: Vec<String> = arguments.iter().map(|word| format!("{word:#x}")).collect();
            prop_assert_eq!(call(&format!("{number} {}\n", words.join(" "))), Some(Call::Is(number, arguments[0])));
        }
    }
}

//! Finding what a sandbox left behind, and nothing else.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use rustix::process::Signal;

use crate::Gone;

/// Ends every process that belongs to the sandbox at `root`, and waits until they are gone. A process may start
/// another while it is being ended, so this looks until nothing is found.
pub fn end_all(root: &Path) {
    for _round in 0..20 {
        let found = find(root);
        if found.is_empty() {
            return;
        }
        for process in &found {
            process.signal(Signal::KILL);
        }
        for process in &found {
            let gone = process.within(Duration::from_secs(10));
            if !gone {
                eprintln!("process {} of the sandbox does not end", process.pid());
            }
        }
    }
}

/// Every living process of the sandbox.
pub(crate) fn find(root: &Path) -> Vec<Gone> {
    search(root, |_pid| true)
}

/// Every living process of the sandbox that runs a program.
pub(crate) fn running(root: &Path, program: &Path) -> Vec<Gone> {
    search(root, |pid| executable(pid).is_some_and(|exe| exe == program))
}

fn search(root: &Path, fits: impl Fn(u32) -> bool) -> Vec<Gone> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != process::id() && *pid != 1)
        .filter(|pid| fits(*pid) && belongs(*pid, root))
        .filter_map(|pid| {
            // The number may have come to mean another process between the two looks: look again through the hold.
            let hold = Gone::watch(pid)?;
            (fits(pid) && belongs(pid, root) && !hold.within(Duration::ZERO)).then_some(hold)
        })
        .collect()
}

/// A process belongs to the sandbox when it stands in it, or was given an environment that names it; our own programs
/// tmux and sshd, which clean their environment, also when they were told a path in it.
fn belongs(pid: u32, root: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let stands_in = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
    let file = |name| fs::read(proc.join(name)).unwrap_or_default();
    let ours = || {
        let comm = file("comm");
        comm.starts_with(b"outlast") || comm.starts_with(b"tmux") || comm.starts_with(b"sshd")
    };
    stands_in || mentions(&file("environ"), root) || (ours() && mentions(&file("cmdline"), root))
}

/// True when one of the NUL-separated texts holds the path itself or something beneath it.
fn mentions(texts: &[u8], root: &Path) -> bool {
    let root = root.as_os_str().as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    texts.split(|byte| *byte == 0).any(|text| {
        text.windows(root.len())
            .enumerate()
            .any(|(at, window)| window == root && is_end(text.get(at + root.len())))
    })
}

/// The executable of a process, also when its file was replaced meanwhile.
pub(crate) fn executable(pid: u32) -> Option<PathBuf> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let bytes = link.as_os_str().as_bytes();
    let plain = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    Some(PathBuf::from(OsStr::from_bytes(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_itself_counts() {
        let root = Path::new("/tmp/ol-a1");
        assert!(mentions(b"A=1\0HOME=/tmp/ol-a1/home\0", root));
        assert!(mentions(b"X=/bin:/tmp/ol-a1\0", root));
        assert!(!mentions(b"HOME=/tmp/ol-a12/home\0", root));
        assert!(!mentions(b"", root));
    }
}

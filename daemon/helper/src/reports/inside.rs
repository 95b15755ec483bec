//! Whether this process belongs to the session that its environment names.
//!
//! Some programs let a server of theirs do the work, which the first of them starts and all others share. It has the
//! environment of whoever started it, and its hooks would report for the wrong session, or for one that is long gone.

use std::{fs, path::Path};

use crate::{proc, spool::Dir};

/// Most ancestors that are looked at; where there are more, something is wrong with `/proc`.
const ANCESTORS: usize = 1000;

/// Whether this process descends from the pane of the session, or is in the process session of its terminal. True where
/// that cannot be told.
pub(super) fn is_inside(session: &Path) -> bool {
    includes(session, std::process::id())
}

fn includes(session: &Path, process: u32) -> bool {
    let Ok(Some(report)) = Dir::new(session.to_owned()).read_report() else {
        return true;
    };
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let pane = report.supervisor_pid;
    // In a container of its own it sees other numbers.
    if namespace(&process.to_string()) != namespace(&pane.to_string()) {
        return true;
    }
    let mut pid = process;
    for ancestor in 0..ANCESTORS {
        if pid == pane {
            return true;
        }
        let Some(stat) = proc::stat(pid) else {
            // It ended while this looked.
            return ancestor > 0;
        };
        // 0 is a process session of outside of this container.
        if stat.session != 0 && Some(stat.session) == report.session_id {
            return true;
        }
        pid = stat.parent;
        if pid <= 1 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(report: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("report"), report).unwrap();
        dir
    }

    fn of(pane: u32, session_id: u32) -> String {
        format!(r#"{{"version":1,"run":1,"supervisor_pid":{pane},"boot_id":"b","session_id":{session_id}}}"#)
    }

    #[test]
    fn descendants_and_the_terminals_own_are_inside_and_others_are_not() {
        let sleep = || {
            let mut sleep = std::process::Command::new("setsid");
            sleep.args(["sleep", "1000"]).spawn().unwrap()
        };
        // Neither is above the other, and each leads a session of its own.
        let (mut one, mut other) = (sleep(), sleep());
        let leads = || proc::stat(one.id()).is_some_and(|stat| stat.session == one.id());
        while !leads() {
            std::thread::yield_now();
        }
        let inside = |pane: u32, session_id: u32| includes(session(&of(pane, session_id)).path(), one.id());
        let (below, outside) = (inside(std::process::id(), 0), inside(other.id(), 0));
        let terminal = inside(other.id(), one.id());
        for sleep in [&mut one, &mut other] {
            sleep.kill().unwrap();
            sleep.wait().unwrap();
        }
        assert_eq!((below, outside, terminal), (true, false, true));
    }

    #[test]
    fn where_it_cannot_be_told_a_report_counts() {
        assert!(is_inside(Path::new("/nowhere")));
        assert!(is_inside(session("{").path()));
        // There is no such process.
        assert!(is_inside(session(&of(u32::MAX, 0)).path()));
    }
}

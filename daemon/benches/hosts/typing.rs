//! How long a typed character takes to be seen, in a session attached by outlast and by bare `ssh -t`, on one tmux
//! server.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use outlast_testkit::{DEADLINE, Pty, wait_until};
use rustix::event::{Timespec, poll};

use crate::{
    bed::{Bed, Machine},
    measure::{rounds, turns},
    table::{Promise, Table},
};

/// Characters that no escape sequence ends with.
const TYPED: &[u8] = b"#%&*+";

/// Rest between two characters: nobody types faster.
const REST: Duration = Duration::from_millis(30);

/// Echo of one character.
pub(crate) fn typing(table: &mut Table) {
    let bed = Bed::new();
    for (machine, what) in [(&bed.near, "typing echo"), (&bed.far, "typing echo, 40 ms")] {
        let mut ours = {
            let id = session(&bed, machine, "ours");
            drop(id);
            let name = format!("ours-{}", machine.name);
            Line::open(&terminal(bed.ours(&["attach", &name])))
        };
        let mut theirs = {
            let (id, socket) = session(&bed, machine, "theirs");
            let target = format!("=o-{id}");
            let attach = ["tmux", "-S", &socket, "attach", "-t", &target];
            Line::open(&terminal(bed.theirs_anew(machine, &["-t"], &attach)))
        };
        let [own, peer] = turns(rounds().div_ceil(2), [&mut || ours.echo(), &mut || theirs.echo()]);
        table.add(
            what,
            "ms",
            own,
            Some(("ssh -t tmux attach", peer)),
            &Promise::Above(1.0),
        );
    }
}

fn terminal(mut command: Command) -> Command {
    command.env("TERM", "xterm-256color");
    command
}

/// A session that says its tmux socket and then echoes. Gives back its id and that socket.
fn session(bed: &Bed, machine: &Machine, label: &str) -> (String, String) {
    let name = format!("{label}-{}", machine.name);
    let script = "echo \"socket ${TMUX%%,*} end\"; echo ready; exec cat";
    let create = [
        "session",
        "create",
        &name,
        "--host",
        machine.name,
        "--",
        "sh",
        "-c",
        script,
    ];
    drop(bed.sandbox.outlast(&create).success());
    let shown = bed.sandbox.wait_session(&name, |state| state == "running");
    let id = shown["id"].as_str().expect("a session has an id").to_owned();
    let socket = wait_until(DEADLINE, "the socket of tmux", || {
        let seen = bed.sandbox.outlast(&["session", "peek", &name]).out();
        // A long line is folded by the terminal.
        let seen: String = seen.lines().map(str::trim_end).collect();
        let (_, rest) = seen.split_once("socket ")?;
        Some(rest.split_once(" end")?.0.to_owned())
    });
    (id, socket)
}

/// An attached terminal.
struct Line {
    pty: Pty,
    typed: usize,
}

impl Line {
    fn open(command: &Command) -> Self {
        let pty = Pty::start(command);
        pty.wait_text("ready");
        Self { pty, typed: 0 }
    }

    /// Milliseconds from a typed character to its echo.
    fn echo(&mut self) -> f64 {
        let rest = Timespec::try_from(REST).expect("a short time");
        let _ = poll(&mut [], Some(&rest));
        let character = TYPED[self.typed % TYPED.len()];
        self.typed += 1;
        let before = self.pty.seen().len();
        let start = Instant::now();
        self.pty.write(&[character]);
        self.pty
            .wait_for("the echo", |seen| seen[before..].contains(&character));
        start.elapsed().as_secs_f64() * 1e3
    }
}

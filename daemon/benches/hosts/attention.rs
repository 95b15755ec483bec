//! How long it takes from the moment a program begins to wait until somebody who waits for that hears of it.

use std::{fs, path::Path, process::Command, time::Instant};

use outlast_testkit::{DEADLINE, wait_until};
use serde_json::Value;

use crate::{
    bed::Bed,
    measure::{Turns, rounds, time},
    table::{Promise, Table},
};

/// Does what it is told by a pipe of its own: says in each way there is that it waits, and that it works again.
const PROGRAM: &str = r#"
    while read -r what <"$1"; do
        case $what in
            report) echo "waiting Go on?" >>"$OUTLAST_REPORTS" ;;
            terminal) printf '\033]133;A\007$ ' ;;
            works) echo working >>"$OUTLAST_REPORTS" ;;
            runs) printf '\033]133;C\007' ;;
        esac
    done
"#;

/// The ways: how it is told, what it does then, and how that ends.
const WAYS: &[(&str, &str, &str, &str)] = &[
    ("waiting by a report", "report", "waiting", "works"),
    ("idle by a sequence", "terminal", "idle", "runs"),
];

/// From a change of what a session does to the end of `session wait`.
pub(crate) fn attention(table: &mut Table) {
    let bed = Bed::new();
    let here = bed.sandbox.path().join("home");
    let places = [
        ("local", "", here),
        (bed.near.name, ", host", bed.near.sshd.home()),
        (bed.far.name, ", 40 ms", bed.far.sshd.home()),
    ];
    for (host, place, home) in places {
        for (what, word, state, again) in WAYS {
            let session = Told::create(&bed, host, word, &home);
            session.does(again, "working");
            let mut turns = Turns::default();
            turns.add("outlast", || session.heard(word, state, again));
            let medians = turns.medians(3, rounds().div_ceil(2));
            let (ours, _) = medians.split();
            table.add(
                &format!("{what}{place}"),
                "ms",
                ours,
                None,
                &Promise::AtMost(300.0),
            );
            drop(bed.sandbox.outlast(&["session", "stop", &session.name]).success());
        }
    }
}

/// A session that does what it is told.
struct Told<'a> {
    bed: &'a Bed,
    name: String,
    pipe: std::path::PathBuf,
}

impl<'a> Told<'a> {
    fn create(bed: &'a Bed, host: &str, word: &str, home: &Path) -> Self {
        let name = format!("{word}-{host}");
        fs::create_dir_all(home).expect("the sandbox can be written");
        let pipe = home.join(&name);
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo is there").success(), "{}", pipe.display());
        let at = pipe.to_str().expect("paths of the sandbox are text");
        let program = ["--", "sh", "-c", PROGRAM, "sh", at];
        let create = ["session", "create", &name, "--host", host];
        drop(bed.sandbox.outlast(&[&create[..], &program].concat()).success());
        Self { bed, name, pipe }
    }

    fn tell(&self, word: &str) {
        fs::write(&self.pipe, format!("{word}\n")).expect("the program listens");
    }

    fn seen(&self) -> Value {
        let shown = self
            .bed
            .sandbox
            .outlast(&["session", "show", &self.name, "--json"]);
        shown.success().json()
    }

    /// Has it do something, and waits until that is seen.
    fn does(&self, word: &str, state: &str) {
        self.tell(word);
        wait_until(DEADLINE, "what the session does", || {
            (self.seen()["activity"] == state).then_some(())
        });
    }

    /// Milliseconds from the word to the end of somebody's wait; afterwards it works again.
    fn heard(&self, word: &str, state: &str, again: &str) -> f64 {
        let start = Instant::now();
        self.tell(word);
        time(&mut self.bed.ours(&["session", "wait", &self.name, "--until", state]));
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.does(again, "working");
        took
    }
}

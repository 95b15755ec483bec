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
    exec 3<>"$1"
    while read -r what <&3; do
        case $what in
            report) echo "waiting Go on?" >>"$OUTLAST_REPORTS" ;;
            terminal) printf '\033]133;A\007$ ' ;;
            works) echo working >>"$OUTLAST_REPORTS" ;;
            runs) printf '\033]133;C\007' ;;
            asks) printf 'Go on? '; read -r answer </dev/tty ;;
        esac
    done
"#;

/// Rounds of one session: of more than ten changes within as many seconds, those after the tenth are told one a second.
const AT_ONCE: usize = 4;

/// A way of being told of.
struct Way {
    what: &'static str,
    /// What the program is told.
    word: &'static str,
    /// What is seen then.
    state: &'static str,
    /// How that ends.
    again: Again,
}

/// What has a program go on.
#[derive(Clone, Copy)]
enum Again {
    /// It is told to.
    Word(&'static str),
    /// It is answered.
    Answer,
}

const WAYS: &[Way] = &[
    Way {
        what: "waiting by a report",
        word: "report",
        state: "waiting",
        again: Again::Word("works"),
    },
    Way {
        what: "idle by a sequence",
        word: "terminal",
        state: "idle",
        again: Again::Word("runs"),
    },
    Way {
        what: "waiting, as it reads a line",
        word: "asks",
        state: "waiting",
        again: Again::Answer,
    },
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
        for way in WAYS {
            let mut session = Told::create(&bed, host, way, &home, 0);
            let mut turns = Turns::default();
            let mut round = 0;
            turns.add("outlast", || {
                if round > 0 && round % AT_ONCE == 0 {
                    session.end();
                    session = Told::create(&bed, host, way, &home, round);
                }
                round += 1;
                session.heard(way)
            });
            let medians = turns.medians(3, rounds().div_ceil(2));
            let (ours, _) = medians.split();
            table.add(
                &format!("{}{place}", way.what),
                "ms",
                ours,
                None,
                &Promise::AtMost(300.0),
            );
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
    fn create(bed: &'a Bed, host: &str, way: &Way, home: &Path, round: usize) -> Self {
        let name = format!("{}-{host}-{round}", way.word);
        fs::create_dir_all(home).expect("the sandbox can be written");
        let pipe = home.join(&name);
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo is there").success(), "{}", pipe.display());
        let at = pipe.to_str().expect("paths of the sandbox are text");
        let program = ["--", "sh", "-c", PROGRAM, "sh", at];
        let create = ["session", "create", &name, "--host", host];
        drop(bed.sandbox.outlast(&[&create[..], &program].concat()).success());
        let session = Self { bed, name, pipe };
        if let Again::Word(_) = way.again {
            session.goes_on(way);
        }
        session
    }

    fn end(&self) {
        drop(
            self.bed
                .sandbox
                .outlast(&["session", "stop", &self.name])
                .success(),
        );
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

    /// Has it go on, and waits until that is seen.
    fn goes_on(&self, way: &Way) {
        match way.again {
            Again::Word(word) => self.tell(word),
            Again::Answer => {
                let sent = self.bed.sandbox.outlast(&["session", "send", &self.name, "yes"]);
                drop(sent.success());
            }
        }
        wait_until(DEADLINE, "that the session goes on", || {
            let seen = self.seen()["activity"].clone();
            let goes_on = match way.again {
                Again::Word(_) => seen == "working",
                // Of a program that tells nothing no more is known.
                Again::Answer => seen != way.state,
            };
            goes_on.then_some(())
        });
    }

    /// Milliseconds from the word to the end of somebody's wait; afterwards it goes on.
    fn heard(&self, way: &Way) -> f64 {
        let start = Instant::now();
        self.tell(way.word);
        time(
            &mut self
                .bed
                .ours(&["session", "wait", &self.name, "--until", way.state]),
        );
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.goes_on(way);
        took
    }
}

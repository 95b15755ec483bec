//! Recorded screens: what the normal tests of the rules read.

use std::{env, fs, path::PathBuf};

use outlast_client::v1::{Activity, Session};

use crate::lab::Lab;

/// Set: what is seen is written down. Else it is compared with what was written before.
const RECORD: &str = "OUTLAST_RECORD";

/// Stands for the directory of the test, and is as long, so that what is aligned stays so.
const STANDS_FOR: &str = "/home/username";

/// A screen and the title of its terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    pub title: String,
    pub text: String,
}

/// What a screen says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Says {
    doing: String,
    rule: String,
    message: String,
}

impl Says {
    /// What is known of a session by its screen.
    pub fn of(session: &Session) -> Self {
        let source = session.activity_source.clone().unwrap_or_default();
        let rule = source.rsplit_once('/').map_or("", |(_, rule)| rule).to_owned();
        let doing = match session.activity() {
            Activity::Working => "working",
            Activity::Waiting => "waiting",
            Activity::Idle => "idle",
            other => panic!("no screen says {other:?}"),
        };
        Self {
            doing: doing.to_owned(),
            rule,
            message: session.activity_message.clone().unwrap_or_default(),
        }
    }

    fn line(&self) -> String {
        let Self { doing, rule, message } = self;
        let message = if message.is_empty() {
            String::new()
        } else {
            format!(": {message}")
        };
        format!("# says: {doing}, by {rule}{message}")
    }
}

/// A screen that is on record, or is to be.
pub struct State {
    /// End of the file's name.
    pub name: &'static str,
    /// What is seen there.
    pub what: &'static str,
    /// What it means.
    pub doing: Activity,
}

pub const IDLE: State = State {
    name: "idle",
    what: "just started",
    doing: Activity::Idle,
};
pub const WORKING: State = State {
    name: "working",
    what: "the model thinks",
    doing: Activity::Working,
};
pub const ANSWERING: State = State {
    name: "answering",
    what: "the model answers",
    doing: Activity::Working,
};
pub const ANSWERED: State = State {
    name: "answered",
    what: "an answer was given",
    doing: Activity::Idle,
};
pub const PERMISSION: State = State {
    name: "permission",
    what: "it asks whether it may run a command",
    doing: Activity::Waiting,
};
pub const RAN: State = State {
    name: "ran",
    what: "a command was run",
    doing: Activity::Idle,
};
pub const EDIT: State = State {
    name: "edit",
    what: "it asks whether it may make a file",
    doing: Activity::Waiting,
};
pub const REFUSED: State = State {
    name: "refused",
    what: "no was said to a question",
    doing: Activity::Idle,
};
pub const INTERRUPTED: State = State {
    name: "interrupted",
    what: "an answer was interrupted",
    doing: Activity::Idle,
};
pub const TRUST: State = State {
    name: "trust",
    what: "a directory that is new to it",
    doing: Activity::Waiting,
};
pub const OFFER: State = State {
    name: "offer",
    what: "it offers something by itself",
    doing: Activity::Waiting,
};
pub const HOOKS: State = State {
    name: "hooks",
    what: "it asks whether to trust hooks",
    doing: Activity::Waiting,
};

impl State {
    /// Writes down what is on the screen, or compares what it says with what is on record.
    pub fn record(&self, lab: &Lab) {
        // What works moves for ever.
        let screen = if self.doing == Activity::Working {
            lab.look()
        } else {
            lab.settled()
        };
        let says = lab.says(self.doing);
        let sandbox = lab.sandbox.path().to_str().unwrap();
        assert_eq!(sandbox.len(), STANDS_FOR.len(), "{sandbox}");
        let shown = |text: &str| text.replace(sandbox, STANDS_FOR);
        let (name, version) = (lab.program.name, &lab.version);
        if env::var_os(RECORD).is_some() {
            let text = format!(
                "# {name} {version} in tmux, 100x40, with a scripted model server, no network: {}\n# title: {}\n{}\n{}\n",
                self.what,
                shown(&screen.title),
                shown(&says.line()),
                shown(&screen.text)
            );
            let file = directory().join(format!("{name}-{version}-{}.txt", self.name));
            fs::write(&file, text).unwrap();
            println!("recorded: {}", file.display());
            return;
        }
        let (file, recorded) = self.recorded(name, version);
        assert_eq!(
            shown(&says.line()),
            recorded,
            "{} says something else than this screen:\n{}",
            file.display(),
            screen.text
        );
    }

    /// The recording of this version, or else of another one: its file, and what it says.
    fn recorded(&self, name: &str, version: &str) -> (PathBuf, String) {
        let own = directory().join(format!("{name}-{version}-{}.txt", self.name));
        let others = fs::read_dir(directory())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let fits = |path: &PathBuf| {
            let file = path.file_name().unwrap().to_str().unwrap();
            let version = file
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(&format!("-{}.txt", self.name)));
            version.is_some_and(|version| !version.contains('-'))
        };
        let file = if own.is_file() {
            Some(own)
        } else {
            others.filter(fits).max()
        };
        let file = file.unwrap_or_else(|| {
            panic!(
                "{name} is not on record when {}: packaging/record.sh --update {name}",
                self.what
            )
        });
        let text = fs::read_to_string(&file).unwrap();
        let line = text.lines().find(|line| line.starts_with("# says: "));
        let line = line.unwrap_or_default().to_owned();
        (file, line)
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("providers/screens")
}

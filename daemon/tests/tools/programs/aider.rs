//! aider. Its models call no tools: what they want is in what they say.

use super::{COMMAND, FILE, KEY, Program, write};
use crate::model::{Deed, Deeds};

pub const AIDER: Program = Program {
    name: "aider",
    binary: "aider/bin/aider",
    options: &[],
    environment: |place| {
        vec![
            ("OPENAI_API_BASE", format!("{}/v1", place.url)),
            ("OPENAI_API_KEY", KEY.to_owned()),
        ]
    },
    configure: |place| {
        write(
            &place.home.join(".aider.conf.yml"),
            "model: openai/mock\nedit-format: diff\nmap-tokens: 0\ngitignore: false\ncheck-update: false\nanalytics-disable: true\n\
             show-model-warnings: false\nshow-release-notes: false\n",
        );
    },
    deeds: |_| Deeds {
        run: Deed::Text(format!("```bash\n{COMMAND}\n```\n")),
        edit: Deed::Text(format!(
            "{FILE}\n```\n<<<<<<< SEARCH\n=======\none\ntwo\n>>>>>>> REPLACE\n```\n"
        )),
    },
    ready: "\ndiff>",
    asks_to_run: "Run shell command?",
    asks_to_edit: "Create new file?",
    no: &["n", "Enter"],
    interrupt: &["C-c"],
    shows_answering: false,
    asks_for_trust: None,
    hooks: None,
};

//! Claude Code.

use std::fs;

use serde_json::json;

use super::{COMMAND, FILE, Hooks, KEY, Program, Trust, write};
use crate::{
    lab::Place,
    model::{Call, Deed, Deeds},
};

pub const CLAUDE: Program = Program {
    name: "claude",
    binary: "claude/node_modules/.bin/claude",
    options: &[],
    environment: |place| {
        vec![
            ("ANTHROPIC_BASE_URL", place.url.clone()),
            ("ANTHROPIC_API_KEY", KEY.to_owned()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ]
    },
    configure,
    deeds: |place| Deeds {
        run: Deed::Call(Call {
            tool: "Bash",
            arguments: json!({"command": COMMAND, "description": "Make a file"}),
        }),
        edit: Deed::Call(Call {
            tool: "Write",
            arguments: json!({"file_path": place.work.join(FILE), "content": "one\ntwo\n"}),
        }),
    },
    ready: "❯",
    asks_to_run: "Do you want to proceed?",
    asks_to_edit: "Do you want to create new.txt?",
    no: &["Escape"],
    interrupt: &["Escape"],
    shows_answering: true,
    asks_for_trust: Some(Trust {
        ask: |place| {
            settle(place, false);
            set(place, "\"defaultMode\": \"default\"");
        },
        asks: "Quick safety check: Is this a project you created or one you trust?",
        yes: "Yes, I trust this folder",
        offer: Some(("Make auto mode your default permission mode?", "No, keep")),
    }),
    hooks: Some(Hooks {
        options: &[],
        trust: &[],
        asks_to_run: "Bash: touch made-by-tool",
        shows: "Do you want to proceed?",
    }),
};

fn configure(place: &Place) {
    settle(place, true);
    // By itself it asks little any more, and offers that at first.
    set(place, "\"disableAutoMode\": \"disable\"");
}

/// Somebody has settings, and they are there again in the end.
fn set(place: &Place, permissions: &str) {
    let settings =
        format!("{{\n  \"includeCoAuthoredBy\": false,\n  \"permissions\": {{{permissions}}}\n}}\n");
    write(&place.home.join(".claude/settings.json"), &settings);
}

fn settle(place: &Place, trusted: bool) {
    let project = json!({"hasTrustDialogAccepted": trusted, "hasCompletedProjectOnboarding": true});
    let state = json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [KEY], "rejected": []},
        "projects": {(place.work.to_str().unwrap()): project},
    });
    fs::write(place.home.join(".claude.json"), state.to_string()).unwrap();
}

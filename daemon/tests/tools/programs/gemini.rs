//! Gemini CLI.

use serde_json::json;

use super::{COMMAND, FILE, Hooks, KEY, Program, Trust, write};
use crate::{
    lab::Place,
    model::{Call, Deed, Deeds},
};

pub const GEMINI: Program = Program {
    name: "gemini",
    binary: "gemini/node_modules/.bin/gemini",
    options: &[],
    environment: |place| {
        vec![
            ("GOOGLE_GEMINI_BASE_URL", place.url.clone()),
            ("GEMINI_API_KEY", KEY.to_owned()),
        ]
    },
    configure: |place| settle(place, false),
    deeds: |place| Deeds {
        run: Deed::Call(Call {
            tool: "run_shell_command",
            arguments: json!({"command": COMMAND, "description": "Make a file"}),
        }),
        edit: Deed::Call(Call {
            tool: "write_file",
            arguments: json!({"file_path": place.work.join(FILE), "content": "one\ntwo\n"}),
        }),
    },
    ready: "Type your message",
    asks_to_run: "Allow execution of [Shell]?",
    asks_to_edit: "Apply this change?",
    no: &["Escape"],
    interrupt: &["Escape"],
    shows_answering: true,
    asks_for_trust: Some(Trust {
        ask: |place| settle(place, true),
        asks: "Do you trust the files in this folder?",
        yes: "Trust folder",
        offer: None,
    }),
    hooks: Some(Hooks {
        options: &[],
        trust: &[],
        asks_to_run: "Tool Confirm Shell Command requires execution",
        shows: "Allow execution of",
    }),
};

fn settle(place: &Place, asks_for_trust: bool) {
    let settings = json!({
        "security": {
            "auth": {"selectedType": "gemini-api-key"},
            "folderTrust": {"enabled": asks_for_trust},
        },
        "general": {"enableAutoUpdate": false, "enableAutoUpdateNotification": false},
        "privacy": {"usageStatisticsEnabled": false},
        // Else another model is asked which one is to be asked.
        "model": {"name": "gemini-2.5-flash"},
    });
    write(
        &place.home.join(".gemini/settings.json"),
        &format!("{settings:#}\n"),
    );
}

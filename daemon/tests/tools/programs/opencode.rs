//! opencode.

use serde_json::json;

use super::{COMMAND, FILE, Hooks, KEY, Program, write};
use crate::{
    lab::Place,
    model::{Call, Deed, Deeds},
};

pub const OPENCODE: Program = Program {
    name: "opencode",
    binary: "opencode/node_modules/.bin/opencode",
    options: &[],
    environment: |_| {
        let on = [
            "OPENCODE_DISABLE_AUTOUPDATE",
            "OPENCODE_DISABLE_MODELS_FETCH",
            "OPENCODE_DISABLE_LSP_DOWNLOAD",
            // A package that plugins may use is looked for before the first of them is loaded; else for a minute.
            "npm_config_offline",
        ];
        on.map(|variable| (variable, "1".to_owned())).to_vec()
    },
    configure,
    deeds: |place| Deeds {
        run: Deed::Call(Call {
            tool: "bash",
            arguments: json!({"command": COMMAND, "description": "Make a file"}),
        }),
        edit: Deed::Call(Call {
            tool: "write",
            arguments: json!({"filePath": place.work.join(FILE), "content": "one\ntwo\n"}),
        }),
    },
    ready: "tab agents",
    asks_to_run: COMMAND,
    asks_to_edit: "→ Edit new.txt",
    no: &["Escape"],
    interrupt: &["Escape", "Escape"],
    shows_answering: true,
    asks_for_trust: None,
    hooks: Some(Hooks {
        options: &[],
        trust: &[],
        asks_to_run: "bash",
        shows: "Allow once",
    }),
};

fn configure(place: &Place) {
    let model = json!({
        // It comes with this one, so that nothing has to be fetched.
        "npm": "@ai-sdk/openai-compatible",
        "name": "Mock",
        "options": {"baseURL": format!("{}/v1", place.url), "apiKey": KEY},
        "models": {"mock": {"name": "Mock"}},
    });
    let settings = json!({
        "autoupdate": false,
        "share": "disabled",
        "model": "mock/mock",
        "small_model": "mock/mock",
        "permission": {"bash": "ask", "edit": "ask"},
        "provider": {"mock": model},
    });
    write(
        &place.config.join("opencode/opencode.json"),
        &settings.to_string(),
    );
}

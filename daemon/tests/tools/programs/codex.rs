//! Codex.

use serde_json::json;

use super::{COMMAND, FILE, Hooks, KEY, Program, Trust, write};
use crate::{
    lab::Place,
    model::{Call, Deed, Deeds},
};

pub const CODEX: Program = Program {
    name: "codex",
    binary: "codex/node_modules/.bin/codex",
    options: &[],
    environment: |_| vec![("MOCK_KEY", KEY.to_owned())],
    configure: |place| settle(place, true),
    deeds: |_| Deeds {
        run: Deed::Call(Call {
            tool: "exec_command",
            arguments: json!({
                "cmd": COMMAND,
                "sandbox_permissions": "require_escalated",
                "justification": "May I make a file?",
            }),
        }),
        // A command of this name is taken for what it says.
        edit: Deed::Call(Call {
            tool: "exec_command",
            arguments: json!({
                "cmd": format!(
                    "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: {FILE}\n+one\n+two\n*** End Patch\nEOF"
                ),
            }),
        }),
    },
    ready: "› Ask Codex",
    asks_to_run: COMMAND,
    asks_to_edit: "Would you like to make the following edits?",
    no: &["Escape"],
    interrupt: &["Escape"],
    shows_answering: true,
    asks_for_trust: Some(Trust {
        ask: |place| settle(place, false),
        asks: "Trust this folder?",
        yes: "Trust and continue",
        offer: None,
    }),
    hooks: Some(Hooks {
        options: &[],
        trust: &["Down", "Enter"],
        asks_to_run: "Bash: touch made-by-tool",
        shows: "Would you like to run",
    }),
};

fn settle(place: &Place, trusted: bool) {
    let trust = if trusted {
        format!("[projects.{:?}]\ntrust_level = 'trusted'\n", place.work)
    } else {
        String::new()
    };
    let settings = format!(
        "model = 'mock'\nmodel_provider = 'mock'\napproval_policy = 'on-request'\nsandbox_mode = 'read-only'\n\
         check_for_update_on_startup = false\n\
         [model_providers.mock]\nname = 'Mock'\nbase_url = '{}/v1'\nenv_key = 'MOCK_KEY'\nwire_api = 'responses'\n\
         {trust}",
        place.url
    );
    write(&place.home.join(".codex/config.toml"), &settings);
}

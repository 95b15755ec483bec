use super::*;

/// Settings of somebody's, with their own hooks.
const SETTINGS: &str = r#"{
  "model": "opus",

  "permissions": { "allow": ["Bash(ls:*)"],"deny":[] },
  "hooks": {
    "Stop": [
      { "hooks": [ { "type": "command", "command": "notify-send done" } ] }
    ],
    "PreToolUse": []
  },
  "odd":   1e3
}
"#;

fn install(recipe: Recipe, current: Option<&str>) -> String {
    recipe.install(current).unwrap()
}

/// A report without a message.
fn plain(state: &str) -> String {
    report(state, None, &[])
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_written_does_nothing_outside_of_a_session() {
    for hook in [
        plain("working"),
        report("waiting", Some("waiting"), &[&["/a", "/b/0"], &["/c_d"]]),
    ] {
        let ran = std::process::Command::new("/bin/sh")
            .args(["-c", &hook])
            .env_clear()
            .output()
            .unwrap();
        assert!(
            ran.status.success() && ran.stdout.is_empty() && ran.stderr.is_empty(),
            "{ran:?}"
        );
        assert!(is_ours(&hook));
    }
    for theirs in [
        "notify-send done",
        "\"$OUTLAST_HELPER\" report idle",
        "[ -n \"$OUTLAST_HELPER\" ] && \"$OUTLAST_HELPER\" report idle; mine || true",
    ] {
        assert!(!is_ours(theirs), "{theirs}");
    }
}

/// A helper that cannot be run is no error of the program's either.
#[test]
fn what_is_written_never_fails() {
    for helper in ["/nowhere/helper", "/bin/false"] {
        let ran = std::process::Command::new("/bin/sh")
            .args(["-c", &plain("idle")])
            .env("OUTLAST_HELPER", helper)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

#[test]
fn installing_twice_changes_nothing_more() {
    for recipe in Recipe::ALL {
        let current = (recipe == Recipe::Claude).then_some(SETTINGS);
        let once = install(recipe, current);
        assert_eq!(install(recipe, Some(&once)), once, "{recipe:?}");
    }
}

#[test]
fn uninstalling_brings_back_what_was_there_to_the_byte() {
    let odd = "{\"a\":1,\n\n\"hooks\":{}   }";
    for (recipe, before) in [
        (Recipe::Claude, SETTINGS),
        (Recipe::Claude, odd),
        (Recipe::Gemini, SETTINGS),
        (Recipe::Codex, "{}"),
    ] {
        let installed = install(recipe, Some(before));
        assert_ne!(installed, before);
        let after = recipe.uninstall(&installed, Some(before)).unwrap();
        assert_eq!(after.as_deref(), Some(before), "{recipe:?}");
    }
    for recipe in Recipe::ALL {
        let installed = install(recipe, None);
        assert_eq!(recipe.uninstall(&installed, None).unwrap(), None, "{recipe:?}");
    }
}

#[test]
fn what_the_user_has_stays_when_the_file_was_changed_since() {
    let installed = install(Recipe::Claude, Some(SETTINGS));
    assert!(
        installed.starts_with(
            "{\n  \"model\": \"opus\",\n\n  \"permissions\": { \"allow\": [\"Bash(ls:*)\"],\"deny\":[] },\n"
        ),
        "{installed}"
    );
    assert!(installed.ends_with("  \"odd\":   1e3\n}\n"), "{installed}");
    let changed = installed.replace("opus", "sonnet");
    let after = Recipe::Claude
        .uninstall(&changed, Some(SETTINGS))
        .unwrap()
        .unwrap();
    assert!(!after.contains("OUTLAST_HELPER"), "{after}");
    assert!(
        after.contains("notify-send done") && after.contains("sonnet"),
        "{after}"
    );
    let mut wanted = json(SETTINGS);
    wanted["model"] = "sonnet".into();
    // An empty list that ours had moved into cannot be told from one of ours.
    wanted["hooks"].as_object_mut().unwrap().remove("PreToolUse");
    assert_eq!(json(&after), wanted);
}

#[test]
fn hooks_of_an_older_version_are_replaced() {
    let new = install(Recipe::Claude, Some(SETTINGS));
    let begin = r#"\"$OUTLAST_HELPER\" report waiting "#;
    let older: Vec<String> = new
        .replace("report idle", "report sleeping")
        .lines()
        .map(|line| match line.split_once(begin) {
            // As it was before the question was told.
            Some((before, _)) => format!("{before}{begin}--message-json /tool_name || true\""),
            None => line.to_owned(),
        })
        .collect();
    let older = older.join("\n") + "\n";
    assert!(
        older.contains("sleeping") && !older.contains("--unless"),
        "{older}"
    );
    assert_eq!(json(&install(Recipe::Claude, Some(&older))), json(&new));
}

#[test]
fn the_hooks_of_claude_and_gemini_say_what_happens() {
    let claude = json(&install(Recipe::Claude, None));
    let hook = |event: &str| claude["hooks"][event][0]["hooks"][0]["command"].clone();
    assert_eq!(hook("UserPromptSubmit"), plain("working").as_str());
    assert_eq!(
        hook("Notification"),
        r#"[ -n "$OUTLAST_HELPER" ] && "$OUTLAST_HELPER" report waiting --unless waiting --message-json /message || true"#
    );
    let asks = hook("PermissionRequest");
    for place in [
        " report waiting --message-json /tool_input/questions/0/question --message-json",
        " --message-json /tool_name /tool_input/command --message-json",
        " --message-json /tool_name || true",
    ] {
        assert!(asks.as_str().unwrap().contains(place), "{asks}");
    }
    let codex = json(&install(Recipe::Codex, None));
    assert_eq!(
        codex["hooks"]["PermissionRequest"][0]["hooks"][0]["command"],
        asks
    );
    assert_eq!(hook("Stop"), plain("idle").as_str());
    assert_eq!(
        claude["hooks"]["Notification"][0]["matcher"],
        "permission_prompt|elicitation_dialog"
    );
    let gemini = json(&install(Recipe::Gemini, None));
    let hook = |event: &str| gemini["hooks"][event][0]["hooks"][0]["command"].clone();
    assert_eq!(hook("BeforeAgent"), plain("working").as_str());
    assert_eq!(hook("AfterAgent"), plain("idle").as_str());
}

#[test]
fn comments_stay_where_a_program_allows_them() {
    let settings = "{\n  // mine\n  \"ui\": {}, /* and */\n}\n";
    let installed = install(Recipe::Gemini, Some(settings));
    assert!(
        installed.contains("// mine") && installed.contains("/* and */"),
        "{installed}"
    );
    let refused = Recipe::Claude.install(Some(settings)).unwrap_err();
    assert!(refused.message.starts_with("it is no JSON"), "{refused}");
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    for (recipe, current) in [
        (Recipe::Claude, "{"),
        (Recipe::Claude, "[]"),
        (Recipe::Claude, "{\"hooks\": 3}"),
        (Recipe::Claude, "{\"hooks\": {\"Stop\": {}}}"),
        (Recipe::Claude, "{'single': 1}"),
        (Recipe::Opencode, "export const Mine = 1\n"),
    ] {
        let refused = recipe.install(Some(current)).unwrap_err();
        assert!(
            !refused.message.is_empty() && !refused.hint.is_empty(),
            "{recipe:?} {current}"
        );
    }
    for (recipe, current) in [
        (Recipe::Claude, "{"),
        (Recipe::Opencode, "export const Mine = 1\n"),
    ] {
        assert!(recipe.uninstall(current, None).is_err(), "{recipe:?} {current}");
    }
}

#[test]
fn uninstalling_where_nothing_was_installed_changes_nothing() {
    for (recipe, current) in [(Recipe::Claude, SETTINGS), (Recipe::Claude, "  \n")] {
        assert_eq!(
            recipe.uninstall(current, None).unwrap().as_deref(),
            Some(current),
            "{recipe:?}"
        );
    }
}

#[test]
fn the_place_follows_the_variable_of_the_program() {
    let path = |recipe: Recipe, variable| recipe.place().path("/home/me", variable);
    assert_eq!(path(Recipe::Claude, None), "/home/me/.claude/settings.json");
    assert_eq!(path(Recipe::Claude, Some("/etc/c/")), "/etc/c/settings.json");
    assert_eq!(path(Recipe::Gemini, Some("/g")), "/g/.gemini/settings.json");
    assert_eq!(
        path(Recipe::Opencode, Some("/x")),
        "/x/opencode/plugin/outlast.js"
    );
    assert_eq!(
        path(Recipe::Opencode, None),
        "/home/me/.config/opencode/plugin/outlast.js"
    );
    assert_eq!(
        path(Recipe::Codex, Some("relative")),
        "/home/me/.codex/hooks.json"
    );
}

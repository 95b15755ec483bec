//! How providers look to people.

use std::collections::BTreeMap;

use outlast_client::v1;

use super::{
    away,
    escape::{command, escape},
    json::{self, millis},
    people::{Facts, fact, took},
    style::{Style, Tone},
    table::{Cell, Table},
    time::{rfc3339, seconds_since},
};

/// The host whose findings a list shows.
const LOCAL: &str = "local";

fn health(check: Option<&v1::ProviderCheck>) -> Cell {
    match check {
        Some(check) if check.ok => Cell::new("ok").tone(Tone::Good),
        Some(_) => Cell::new("not ok").tone(Tone::Bad),
        None => Cell::short("not checked", "").tone(Tone::Dim),
    }
}

/// Providers, one a row, with what was found of them on this machine, and whether those that can have hooks have them there.
pub fn providers(providers: &[v1::Provider], hooks: &BTreeMap<&str, &'static str>) -> Table {
    let mut table = Table::new(&["NAME", "HEALTH", "VERSION", "HOOKS", "PROGRAM", "TITLE"]);
    for provider in providers {
        let check = provider.checks.iter().find(|check| check.host == LOCAL);
        let path = check.and_then(|check| check.path.as_deref());
        let version = check.and_then(|check| check.version.as_deref());
        table.row(vec![
            Cell::new(&provider.name).tone(Tone::Bold),
            health(check),
            Cell::new(version.unwrap_or_default()),
            hooks
                .get(&provider.name[..])
                .map_or_else(|| Cell::short("none", ""), |state| Cell::new(*state)),
            Cell::new(path.unwrap_or(&provider.binary)),
            Cell::new(&provider.display_name),
        ]);
    }
    table
}

/// What was found, one host a row.
pub fn checks(checks: &[v1::ProviderCheck]) -> Table {
    let mut table = Table::new(&[
        "HOST", "HEALTH", "CHECKED", "TEST", "MEAN", "VERSION", "PROGRAM", "PROBLEM",
    ]);
    for check in checks {
        let time =
            |time: Option<f64>| time.map_or_else(Cell::default, |ms| Cell::short(took(ms), format!("{ms}")));
        let checked = check.checked_at.as_ref().map_or_else(Cell::default, |at| {
            Cell::short(
                format!("{} ago", away::amount(seconds_since(at))),
                rfc3339(at).unwrap_or_default(),
            )
        });
        table.row(vec![
            Cell::new(&check.host).tone(Tone::Bold),
            health(Some(check)),
            checked,
            time(millis(check.took)),
            time(millis(check.mean)),
            Cell::new(check.version.as_deref().unwrap_or_default()),
            Cell::new(check.path.as_deref().unwrap_or_default()),
            Cell::new(check.problem.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// Everything known about a provider but what was found of it.
pub fn facts(provider: &v1::Provider) -> Facts {
    let mut facts = Facts::new();
    let some = |words: &[String]| (!words.is_empty()).then(|| command(words));
    fact(&mut facts, "name", Some(provider.name.clone()));
    fact(&mut facts, "title", Some(provider.display_name.clone()));
    let origin = match (provider.built_in, provider.configured) {
        (true, false) => "built in",
        (true, true) => "built in, changed by the configuration",
        (false, _) => "the configuration",
    };
    fact(&mut facts, "from", Some(origin.to_owned()));
    fact(&mut facts, "program", Some(provider.binary.clone()));
    fact(&mut facts, "started with", some(&provider.arguments));
    fact(&mut facts, "seen as", Some(provider.programs.join(", ")));
    fact(&mut facts, "version by", some(&provider.version_command));
    fact(&mut facts, "test by", some(&provider.test_command));
    for group in &provider.environment {
        fact(&mut facts, "needs", Some(group.any_of.join(" or ")));
    }
    fact(&mut facts, "resumed by", provider.resume_command.clone());
    fact(&mut facts, "hooks", provider.hooks.clone());
    fact(
        &mut facts,
        "bell",
        provider.bell_waits.then(|| "means that it waits".to_owned()),
    );
    for rule in &provider.screen {
        let doing = json::activity(rule.doing()).unwrap_or_default();
        let place = match (rule.title, rule.menu) {
            (true, _) => " (title)",
            (false, true) => " (menu)",
            (false, false) => "",
        };
        fact(
            &mut facts,
            "screen rule",
            Some(format!("{}: {doing}{place}", rule.name)),
        );
    }
    facts
}

/// A thing that was looked at as a line of the answer: columns for people, tabs for programs.
pub fn step_line(style: Style, provider: &str, step: &v1::ProviderCheckStep) -> String {
    let time = millis(step.took);
    let mut line = String::new();
    if style.terminal {
        let tone = if step.ok { Tone::Plain } else { Tone::Bad };
        let failed = if step.ok { "" } else { "failed: " };
        let time = time.map(took).unwrap_or_default();
        let text = format!("  {:<11} {time:>8}  {failed}{}", step.step, step.message);
        style.push(&mut line, tone, &escape(&text));
    } else {
        let outcome = if step.ok { "ok" } else { "failed" };
        let time = time.map(|ms| ms.to_string()).unwrap_or_default();
        let cells = [provider, &step.step, outcome, &time, &step.message];
        line.push_str(&cells.map(|cell| escape(cell).into_owned()).join("\t"));
    }
    line.push('\n');
    line
}

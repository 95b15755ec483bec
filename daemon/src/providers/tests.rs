//! What comes with outlast, against screens that were recorded, and against everything that only looks like them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use outlast_client::helper_v1::{Doing, ScreenRule};
use regex::{Regex, RegexBuilder};

use super::*;

/// A recorded screen: its file's name, the title of the terminal, what it says, what it shows.
struct Recording {
    name: String,
    title: String,
    says: Says,
    screen: String,
}

/// What a recording says: the first rule that fits, what it means, and what is asked.
#[derive(Debug, PartialEq, Eq)]
struct Says {
    doing: Doing,
    rule: String,
    message: String,
}

impl Says {
    /// From `DOING, by RULE`, with `: MESSAGE` where something is asked.
    fn parse(line: &str) -> Option<Self> {
        let (doing, rest) = line.split_once(", by ")?;
        let (rule, message) = rest.split_once(": ").unwrap_or((rest, ""));
        let doing = match doing {
            "working" => Doing::Working,
            "waiting" => Doing::Waiting,
            "idle" => Doing::Idle,
            _ => return None,
        };
        Some(Self {
            doing,
            rule: rule.to_owned(),
            message: message.to_owned(),
        })
    }
}

fn recordings() -> Vec<Recording> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("providers/screens");
    let mut all: Vec<Recording> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines();
            let source = lines.next().unwrap();
            assert!(source.starts_with("# "), "{} names no source", path.display());
            let title = lines.next().unwrap().strip_prefix("# title:").unwrap().trim();
            let says = lines.next().unwrap().strip_prefix("# says: ");
            let says = says.and_then(Says::parse);
            Recording {
                name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                title: title.to_owned(),
                says: says.unwrap_or_else(|| panic!("{} does not say what it says", path.display())),
                screen: lines.collect::<Vec<_>>().join("\n"),
            }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!all.is_empty());
    all
}

fn built_in() -> Providers {
    Providers::new(&Config::default()).unwrap()
}

/// A rule and its pattern.
struct Rule {
    rule: ScreenRule,
    pattern: Regex,
}

fn rules(provider: &Provider) -> Vec<Rule> {
    let rules = provider.reading().rules.into_iter();
    rules
        .map(|rule| Rule {
            pattern: RegexBuilder::new(&rule.pattern).multi_line(true).build().unwrap(),
            rule,
        })
        .collect()
}

impl Rule {
    /// What it takes for its message when it fits, as the protocol says it: lines without blanks at their ends, of those
    /// that are not blank so many of the last.
    fn fits(&self, screen: &str, title: &str) -> Option<String> {
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        let full: Vec<&str> = lines.iter().copied().filter(|line| !line.is_empty()).collect();
        let text = if self.rule.title {
            title.to_owned()
        } else if self.rule.last_lines == 0 {
            lines.join("\n")
        } else {
            full[full.len().saturating_sub(self.rule.last_lines as usize)..].join("\n")
        };
        let found = self.pattern.captures(&text)?;
        Some(
            found
                .name("message")
                .map_or("", |message| message.as_str())
                .to_owned(),
        )
    }
}

/// Whose screen a recording is.
fn owner(recording: &Recording) -> &str {
    recording.name.split('-').next().unwrap()
}

#[test]
fn every_recorded_screen_is_read_right() {
    let providers = built_in();
    let recordings = recordings();
    for recording in &recordings {
        let rules = rules(providers.get(owner(recording)).unwrap());
        let found = rules
            .iter()
            .find_map(|rule| Some((rule, rule.fits(&recording.screen, &recording.title)?)));
        let found = found.map(|(rule, message)| Says {
            doing: rule.rule.doing(),
            rule: rule.rule.name.clone(),
            message,
        });
        assert_eq!(found.as_ref(), Some(&recording.says), "{}", recording.name);
    }
}

/// Also without what stronger rules say, as where a terminal has no title.
#[test]
fn every_rule_fits_a_recorded_screen_of_its_state() {
    let recordings = recordings();
    for provider in built_in().iter() {
        for rule in rules(provider) {
            let hits = recordings.iter().filter(|recording| {
                owner(recording) == provider.name && rule.fits(&recording.screen, &recording.title).is_some()
            });
            let doings: BTreeSet<i32> = hits.map(|recording| recording.says.doing.into()).collect();
            assert!(
                doings.contains(&rule.rule.doing),
                "{}/{} fits nothing of its kind",
                provider.name,
                rule.rule.name
            );
        }
    }
}

#[test]
fn no_rule_fits_the_screen_of_another_program() {
    let recordings = recordings();
    for provider in built_in().iter() {
        for rule in rules(provider) {
            for recording in recordings
                .iter()
                .filter(|recording| owner(recording) != provider.name)
            {
                let found = rule.fits(&recording.screen, &recording.title);
                assert_eq!(
                    found, None,
                    "{}/{}: {}",
                    provider.name, rule.rule.name, recording.name
                );
            }
        }
    }
}

/// The screens as they come in other things: listings, searches, logs, differences, quotations.
fn lookalikes(recording: &Recording) -> Vec<(&'static str, String)> {
    let screen = &recording.screen;
    let prefixed = |prefix: &str| {
        let lines = screen.lines().map(|line| format!("{prefix}{line}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let prompt = "\nuser@build1:~/src$ ";
    vec![
        ("a listing", prefixed("-rw-r--r-- 1 user user  812 Nov 30 13:00 ")),
        ("a search", prefixed("docs/screens.md:112:")),
        ("numbered lines", prefixed("    12\t")),
        ("a log", prefixed("2026-11-30T13:00:01.123Z INFO agent: ")),
        ("a syslog", prefixed("Nov 30 13:00:01 build1 agent[812]: ")),
        ("added lines", prefixed("+")),
        ("removed lines", prefixed("-")),
        ("lines around a change", prefixed(" ")),
        ("a quotation", prefixed("> ")),
        ("a comment", prefixed("// ")),
        ("a string", prefixed("    \"")),
        ("output of a tool", prefixed("  ⎿  ")),
        ("output in a box", prefixed("│ │ ")),
        ("a file that was printed", format!("{screen}{prompt}")),
        (
            "a difference",
            format!(
                "diff --git a/screen b/screen\n@@ -1,40 +1,40 @@\n{}{prompt}",
                prefixed(" ")
            ),
        ),
        ("a pager", format!("{screen}\n(END)")),
        ("an editor", format!("{screen}\n~\n~\n\"screen.txt\" 40L, 1200B")),
    ]
}

#[test]
fn no_rule_fits_a_listing_a_log_or_a_difference_with_its_words() {
    let mut fitting = Vec::new();
    let recordings = recordings();
    let like: Vec<_> = recordings
        .iter()
        .flat_map(|recording| {
            lookalikes(recording)
                .into_iter()
                .map(move |like| (recording, like))
        })
        .collect();
    for provider in built_in().iter() {
        for rule in rules(provider).iter().filter(|rule| !rule.rule.title) {
            for (recording, (what, screen)) in &like {
                if rule.fits(screen, "").is_some() {
                    let (provider, rule) = (&provider.name, &rule.rule.name);
                    fitting.push(format!("{provider}/{rule}: {what} of {}", recording.name));
                }
            }
        }
    }
    assert_eq!(fitting, [""; 0]);
}

/// What was asked once stands further up on the screen, above what is there now.
#[test]
fn what_was_asked_before_is_not_asked_now() {
    let recordings = recordings();
    let providers = built_in();
    for now in &recordings {
        for before in recordings.iter().filter(|before| owner(before) == owner(now)) {
            let end: Vec<&str> = now.screen.lines().collect();
            let kept = end
                .iter()
                .rposition(|line| line.trim().is_empty())
                .map_or(end.len(), |_| 24);
            let shown = end.iter().filter(|line| !line.trim().is_empty());
            let tail: Vec<&str> = shown.copied().collect();
            let tail = tail[tail.len().saturating_sub(kept)..].join("\n");
            let screen = format!("{}\n{tail}", before.screen);
            let rules = rules(providers.get(owner(now)).unwrap());
            let found = rules.iter().find(|rule| rule.fits(&screen, &now.title).is_some());
            let found = found.map(|rule| rule.rule.doing());
            assert_eq!(found, Some(now.says.doing), "{} below {}", now.name, before.name);
        }
    }
}

/// Ends of screens that a rule could take for a question, and what they are of.
const NEARLY: &[(&str, &str)] = &[
    (
        "key",
        "  Do you want to use this API key?\n    Yes\n  ❯ No (recommended)\n  Enter to confirm · Esc to cancel\n❯ ",
    ),
    (
        "key",
        "● Do you want to use this API key?\n    Yes\n  ❯ No\n  Enter to confirm · Esc to cancel",
    ),
    (
        "question",
        "- ☐ Colour\nWhich colour?\n❯ 1. Red\n  2. Blue\nEnter to select · Esc to cancel",
    ),
    ("question", " ☐ Colour\nWhich colour?\n❯ 1. Red\n  2. Blue"),
    (
        "question",
        " ☐ Colour\nWhich colour?\n  1. Red\n  2. Blue\nEnter to select · Esc to cancel",
    ),
    ("answers", "Review your answers\n❯ 1. Submit answers\n  2. Cancel"),
    (
        "answers",
        "←  ☒ Colour  ✔ Submit  →\nReview your answers\n  1. Submit answers\n  2. Cancel",
    ),
    (
        "answers",
        "←  ☒ Colour  ✔ Submit  →\nReview your answers\n❯ 1. Submit answers\n  2. Cancel\n● Done",
    ),
];

#[test]
fn what_only_nearly_asks_does_not() {
    let rules = rules(built_in().get("claude").unwrap());
    for (name, screen) in NEARLY {
        assert!(rules.iter().any(|rule| rule.rule.name == *name), "{name}");
        let waits = rules
            .iter()
            .filter(|rule| rule.rule.doing() == Doing::Waiting && !rule.rule.title);
        let found = waits.filter_map(|rule| rule.fits(screen, ""));
        assert_eq!(found.collect::<Vec<_>>(), [""; 0], "{name}: {screen}");
    }
}

const TITLES: &[&str] = &[
    "",
    "user@build1: ~/src/claude",
    "claude",
    "OpenCode.md - vim",
    "vim Action Required.md",
    "less ✋ Action Required",
    "tail -f Working… (work)",
    "~/opencode",
    "Ready (work)",
];

#[test]
fn no_rule_fits_the_title_of_another_program() {
    for provider in built_in().iter() {
        for rule in rules(provider).iter().filter(|rule| rule.rule.title) {
            for title in TITLES {
                assert_eq!(
                    rule.fits("", title),
                    None,
                    "{}/{}: {title}",
                    provider.name,
                    rule.rule.name
                );
            }
        }
    }
}

/// Else a server of its own that outlives a session would report for it.
#[test]
fn codex_runs_without_a_server_that_all_share() {
    let providers = built_in();
    let codex = providers.get("codex").unwrap();
    assert_eq!(codex.arguments, ["--no-daemon"]);
    assert!(codex.resume_command.as_ref().unwrap().contains(" --no-daemon "));
    assert!(Recipe::Codex.remark().unwrap().contains("codex --no-daemon"));
}

fn with(text: &str) -> Providers {
    Providers::new(&Config::parse(text, Path::new("config.toml")).unwrap()).unwrap()
}

#[test]
fn the_user_changes_whole_keys_and_adds_providers() {
    let providers = with(
        "[providers.claude]\nbinary = '/opt/claude'\nscreen = []\n\
         [providers.mine]\ndisplay_name = 'Mine'\nenvironment = ['A', ['B', 'C']]\nhooks = 'claude'\n\
         [[providers.mine.screen]]\nname = 'asks'\ndoing = 'waiting'\npattern = '^\\? (?P<message>.*)$'\n",
    );
    let claude = providers.get("claude").unwrap();
    assert_eq!((claude.binary.as_str(), claude.screen.len()), ("/opt/claude", 0));
    assert_eq!(claude.display_name, "Claude Code", "what was not said stays");
    assert!(claude.built_in && claude.configured);
    let mine = providers.get("mine").unwrap();
    assert_eq!((mine.binary.as_str(), mine.built_in), ("mine", false));
    assert_eq!(mine.programs, ["mine"]);
    assert_eq!(mine.environment, [vec!["A"], vec!["B", "C"]]);
    assert_eq!(mine.hooks, Some(Recipe::Claude));
    assert_eq!(mine.reading().rules[0].doing(), Doing::Waiting);
    assert_eq!(providers.iter().count(), BUILT_IN.len() + 1);
}

#[test]
fn a_session_is_read_as_its_provider_says_if_there_is_one() {
    let providers = built_in();
    let (readings, own) = providers.readings(Some("claude"));
    assert_eq!(own, "claude");
    let names: Vec<&str> = readings.iter().map(|reading| reading.name.as_str()).collect();
    assert_eq!(
        names,
        ["aider", "claude", "codex", "cursor", "gemini", "opencode"]
    );
    assert_eq!(
        providers.readings(Some("bash")).1,
        "",
        "a shell is known by being there"
    );
    assert_eq!(providers.readings(Some("gone")).1, "");
    assert_eq!(providers.readings(None).1, "");
}

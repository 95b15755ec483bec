//! `[providers.NAME]`, and the files of providers, which hold the same keys at their top.

use std::{collections::BTreeMap, fs, io, path::Path};

use outlast_model::{activity::Doing, name::Name, near::nearest};
use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use toml::{Spanned, de::DeValue};

use super::{
    errors::{ConfigError, Source},
    tables::{self, KnownKey, Words},
};
use crate::providers::{BUILT_IN, hooks::Recipe};

/// Name of the tables.
pub(super) const GROUP: &str = "providers";

/// Name of the directory of files, beside `config.toml`.
pub(super) const DIRECTORY: &str = "providers";

/// Longest pattern of a rule, bytes; that of a helper.
const PATTERN_MAX: usize = 4096;

/// Most memory a compiled pattern may take, bytes; that of a helper.
const REGEX_MAX: usize = 1 << 20;

const KEYS: &[KnownKey] = &[
    ("display_name", "what people call it"),
    ("binary", "its program, as it is found in PATH"),
    (
        "arguments",
        "what its program is given where a session names no command",
    ),
    ("programs", "what the program is called while it has the terminal"),
    ("version_command", "words that print its version"),
    (
        "environment",
        "variables it needs; any one of those in an inner list will do",
    ),
    (
        "resume_command",
        "what restart and recover run for sessions of it, through /bin/sh -c",
    ),
    ("test_command", "words that run it without doing any harm"),
    (
        "hooks",
        "how `outlast provider install` makes it report: claude, codex, gemini or opencode",
    ),
    ("bell_waits", "whether its bell means that it waits"),
    (
        "screen",
        "rules for its screen, [[providers.NAME.screen]]: name, doing, pattern, last_lines, title, menu",
    ),
];

const RULE_KEYS: &[KnownKey] = &[
    ("name", "what the rule is called"),
    ("doing", "working, waiting, idle or error"),
    (
        "pattern",
        "regular expression on the screen; what a group named `message` matches is what it asks",
    ),
    (
        "last_lines",
        "look at so many of the last lines that are not blank; 0: all",
    ),
    ("title", "look at the title of the terminal instead"),
    (
        "menu",
        "what asks there takes keys: more than one character of text is refused, and no Enter follows it",
    ),
];

/// What stands above the tables when they are shown.
const ABOUT: &str = "\
# Providers: programs whose doings outlast knows, see `outlast provider list`. What is said here, or in a file
# providers/NAME.toml beside this one, adds one or replaces whole keys of one. Keys of [providers.NAME]:
";

/// What stands in one table or file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ProviderTable {
    /// What people call it.
    pub display_name: Option<String>,
    /// Its program.
    pub binary: Option<String>,
    /// What the program is given where a session names no command.
    pub arguments: Option<Vec<String>>,
    /// What the program is called while it has the terminal.
    pub programs: Option<Vec<String>>,
    /// What prints its version.
    pub version_command: Option<Vec<String>>,
    /// Variables it needs: one of each.
    pub environment: Option<Vec<Words>>,
    /// What restart and recover run.
    pub resume_command: Option<String>,
    /// What runs it without doing any harm.
    pub test_command: Option<Vec<String>>,
    /// How it is made to report.
    pub hooks: Option<Spanned<String>>,
    /// Its bell means that it waits.
    pub bell_waits: Option<bool>,
    /// How its screen is read.
    pub screen: Option<Vec<RuleTable>>,
}

/// A rule for a screen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RuleTable {
    /// What it is called.
    pub name: String,
    /// What the program does then.
    pub doing: Spanned<String>,
    /// Regular expression.
    pub pattern: Spanned<String>,
    /// How many lines at the end count. 0: all.
    #[serde(default)]
    pub last_lines: u32,
    /// Look at the title instead.
    #[serde(default)]
    pub title: bool,
    /// What asks there takes keys and no text.
    #[serde(default)]
    pub menu: bool,
}

impl RuleTable {
    /// What the program does then. Absent: it was refused when it was read.
    #[must_use]
    pub fn doing(&self) -> Option<Doing> {
        self.doing
            .get_ref()
            .parse()
            .ok()
            .filter(|doing| *doing != Doing::Starting)
    }
}

impl ProviderTable {
    /// Puts another one on top: its keys replace those here.
    pub fn overlay(&mut self, top: Self) {
        fn take<T>(under: &mut Option<T>, top: Option<T>) {
            if top.is_some() {
                *under = top;
            }
        }
        take(&mut self.display_name, top.display_name);
        take(&mut self.binary, top.binary);
        take(&mut self.arguments, top.arguments);
        take(&mut self.programs, top.programs);
        take(&mut self.version_command, top.version_command);
        take(&mut self.environment, top.environment);
        take(&mut self.resume_command, top.resume_command);
        take(&mut self.test_command, top.test_command);
        take(&mut self.hooks, top.hooks);
        take(&mut self.bell_waits, top.bell_waits);
        take(&mut self.screen, top.screen);
    }

    /// The recipe by which it is made to report.
    #[must_use]
    pub fn recipe(&self) -> Option<Recipe> {
        self.hooks.as_ref().and_then(|hooks| hooks.get_ref().parse().ok())
    }
}

/// Reads all tables.
pub(super) fn read(
    source: &Source<'_>,
    content: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, ProviderTable>, ConfigError> {
    if let Some(named) = content.get_ref().as_table() {
        for (name, table) in named {
            check_rule_keys(source, &format!("{GROUP}.{}", name.get_ref()), table)?;
        }
    }
    let tables: BTreeMap<String, ProviderTable> = tables::read(source, GROUP, KEYS, content)?;
    for table in tables.values() {
        check(source, table)?;
    }
    Ok(tables)
}

/// Reads the text of a file that is one provider; `path` is for messages only.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub fn parse(text: &str, path: &Path, name: &str) -> Result<ProviderTable, ConfigError> {
    let source = Source::new(text, path);
    let document = source.document()?;
    let span = document.span();
    let content = Spanned::new(span, DeValue::Table(document.into_inner()));
    check_rule_keys(&source, name, &content)?;
    let table = tables::one(&source, name, KEYS, &content)?;
    check(&source, &table)?;
    Ok(table)
}

/// The keys of rules, which serde would tell of in other words.
fn check_rule_keys(
    source: &Source<'_>,
    title: &str,
    table: &Spanned<DeValue<'_>>,
) -> Result<(), ConfigError> {
    let rules = table.get_ref().as_table().and_then(|table| table.get("screen"));
    let Some(rules) = rules.and_then(|rules| rules.get_ref().as_array()) else {
        return Ok(());
    };
    for rule in rules {
        if let Some(rule) = rule.get_ref().as_table() {
            tables::check_keys(source, &format!("{title}.screen"), RULE_KEYS, rule)?;
        }
    }
    Ok(())
}

fn check(source: &Source<'_>, table: &ProviderTable) -> Result<(), ConfigError> {
    if let Some(hooks) = &table.hooks
        && hooks.get_ref().parse::<Recipe>().is_err()
    {
        let known = Recipe::ALL.map(Recipe::as_str);
        let hint = match nearest(hooks.get_ref(), known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are {}", known.join(", ")),
        };
        let message = format!("there are no hooks {:?}", hooks.get_ref());
        return Err(source.error(Some(hooks.span()), message, Some(hint)));
    }
    for rule in table.screen.iter().flatten() {
        if rule.doing().is_none() {
            let message = format!("{:?} is nothing that a screen can say", rule.doing.get_ref());
            let hint = "it is working, waiting, idle or error".to_owned();
            return Err(source.error(Some(rule.doing.span()), message, Some(hint)));
        }
        if let Err(why) = compile(rule.pattern.get_ref()) {
            let message = format!("the pattern of the rule {:?}: {why}", rule.name);
            return Err(source.error(Some(rule.pattern.span()), message, None));
        }
    }
    Ok(())
}

/// The pattern as a helper compiles it.
fn compile(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_MAX {
        return Err(format!("it is longer than {PATTERN_MAX} bytes"));
    }
    RegexBuilder::new(pattern)
        .multi_line(true)
        .size_limit(REGEX_MAX)
        .dfa_size_limit(REGEX_MAX)
        .build()
        // The first line is a drawing of the pattern, which may be long.
        .map_err(|error| {
            error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .map(drop)
}

/// What the files in a directory say, each of the provider it is named for.
pub(super) fn files(dir: &Path) -> Result<BTreeMap<String, ProviderTable>, ConfigError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(|error| ConfigError::reading(dir, &error))?,
    };
    let mut tables = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| ConfigError::reading(dir, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if let Err(rule) = name.parse::<Name>() {
            let message = format!("the file is not called NAME.toml: {rule}");
            return Err(ConfigError::new(path.display().to_string(), message));
        }
        let text = fs::read_to_string(&path).map_err(|error| ConfigError::reading(&path, &error))?;
        tables.insert(name.to_owned(), parse(&text, &path, name)?);
    }
    Ok(tables)
}

/// Whether there is a provider of this name.
pub(super) fn must_be_known(
    source: &Source<'_>,
    wanted: &Spanned<String>,
    own: &BTreeMap<String, ProviderTable>,
) -> Result<(), ConfigError> {
    let known = || {
        BUILT_IN
            .iter()
            .map(|(name, _)| *name)
            .chain(own.keys().map(String::as_str))
    };
    if known().any(|known| known == wanted.get_ref()) {
        return Ok(());
    }
    let message = format!("no provider is called {:?}", wanted.get_ref());
    let hint = match nearest(wanted.get_ref(), known()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "outlast provider list".to_owned(),
    };
    Err(source.error(Some(wanted.span()), message, Some(hint)))
}

/// What they may say, and what they say.
pub(super) fn to_text(tables: &BTreeMap<String, ProviderTable>) -> String {
    let keys = tables::describe(KEYS);
    format!("{ABOUT}{keys}{}", tables::print(GROUP, tables))
}

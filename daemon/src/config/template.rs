//! `[session_templates.NAME]`.

use std::{collections::BTreeMap, ops::Range};

use outlast_model::template::{self, BadInheritance, Command, Template};
use serde::{Deserialize, Serialize};
use toml::{Spanned, de::DeValue};

use super::{
    errors::{ConfigError, Source},
    provider::{self, ProviderTable},
    tables::{self, KnownKey, Words},
};

/// Name of the tables.
pub(super) const GROUP: &str = "session_templates";

const KEYS: &[KnownKey] = &[
    ("command", "what runs: a text for /bin/sh -c, or a list of words"),
    (
        "restart_command",
        "what restart and recover run instead, through /bin/sh -c",
    ),
    ("description", "what it is for"),
    ("env", "a table of variables that are set"),
    ("cwd", "absolute directory to run in"),
    (
        "provider",
        "whose program it is, as `outlast provider list` shows them",
    ),
    (
        "inherits",
        "templates it builds on; what is said here wins over them, and later ones over earlier ones",
    ),
];

/// What stands above the tables when they are shown.
const ABOUT: &str = "\
# Templates: what `outlast session create NAME --template T` starts. {{session_name}}, {{workspace_name}} and
# {{host_name}} stand for what they say; {{{{ for two braces. Keys of [session_templates.NAME]:
";

/// What stands in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TemplateTable {
    command: Option<Spanned<Words>>,
    restart_command: Option<Spanned<String>>,
    description: Option<String>,
    cwd: Option<Spanned<String>>,
    provider: Option<Spanned<String>>,
    inherits: Option<Spanned<Words>>,
    #[serde(default, skip_serializing_if = "no_variables")]
    env: Option<Spanned<BTreeMap<String, String>>>,
}

fn no_variables(env: &Option<Spanned<BTreeMap<String, String>>>) -> bool {
    env.as_ref().is_none_or(|env| env.get_ref().is_empty())
}

impl TemplateTable {
    /// As the model knows it.
    #[must_use]
    pub fn template(&self) -> Template {
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        Template {
            command: self.command.as_ref().map(|command| match command.get_ref() {
                Words::One(line) => Command::Line(line.clone()),
                Words::List(words) => Command::Words(words.clone()),
            }),
            restart_command: text(&self.restart_command),
            description: self.description.clone(),
            env: self
                .env
                .as_ref()
                .map(|env| env.get_ref().clone())
                .unwrap_or_default(),
            cwd: text(&self.cwd),
            provider: text(&self.provider),
            inherits: self
                .inherits
                .as_ref()
                .map(|names| names.get_ref().to_list())
                .unwrap_or_default(),
        }
    }

    /// The texts with variables, each with the place of its value.
    fn texts(&self) -> Vec<(Range<usize>, &str)> {
        let mut texts = Vec::new();
        if let Some(command) = &self.command {
            match command.get_ref() {
                Words::One(line) => texts.push((command.span(), line.as_str())),
                Words::List(words) => {
                    texts.extend(words.iter().map(|word| (command.span(), word.as_str())));
                }
            }
        }
        let single = [&self.restart_command, &self.cwd];
        texts.extend(
            single
                .into_iter()
                .flatten()
                .map(|text| (text.span(), text.get_ref().as_str())),
        );
        if let Some(env) = &self.env {
            texts.extend(env.get_ref().values().map(|value| (env.span(), value.as_str())));
        }
        texts
    }
}

/// Reads all of them.
pub(super) fn read(
    source: &Source<'_>,
    content: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, TemplateTable>, ConfigError> {
    tables::read(source, GROUP, KEYS, content)
}

/// Whether what they name is there, and their texts can be filled in.
pub(super) fn check(
    source: &Source<'_>,
    tables: &BTreeMap<String, TemplateTable>,
    providers: &BTreeMap<String, ProviderTable>,
) -> Result<(), ConfigError> {
    let models = models(tables);
    for (name, table) in tables {
        if let Some(command) = &table.command
            && matches!(command.get_ref(), Words::List(words) if words.is_empty())
        {
            let message = format!("`{GROUP}.{name}.command` is an empty list");
            let hint = "leave it out for the login shell".to_owned();
            return Err(source.error(Some(command.span()), message, Some(hint)));
        }
        for (span, text) in table.texts() {
            if let Err(error) = template::check(text) {
                let span = source.within(span, error.written().unwrap_or_default());
                return Err(source.error(Some(span), error.to_string(), Some(error.hint())));
            }
        }
        if let Some(cwd) = &table.cwd
            && !cwd.get_ref().starts_with('/')
        {
            let message = format!("`{GROUP}.{name}.cwd` must be an absolute path");
            return Err(source.error(Some(cwd.span()), message, None));
        }
        if let Some(wanted) = &table.provider {
            provider::must_be_known(source, wanted, providers)?;
        }
        if let Err(error) = template::flatten(&models, name) {
            let near = match &error {
                BadInheritance::Unknown { near: Some(near), .. } => Some(format!("did you mean {near:?}?")),
                _ => None,
            };
            // Where the name stands that is wrong, which may be in a parent.
            let culprit = match &error {
                BadInheritance::Unknown {
                    child: Some(child), ..
                } => child,
                BadInheritance::Cycle(names) => names.first().unwrap_or(name),
                _ => name,
            };
            let inherits = tables.get(culprit).and_then(|table| table.inherits.as_ref());
            let span = inherits.map(Spanned::span);
            return Err(source.error(span, error.to_string(), near));
        }
    }
    Ok(())
}

/// All of them as the model knows them.
pub(super) fn models(tables: &BTreeMap<String, TemplateTable>) -> BTreeMap<String, Template> {
    let models = tables
        .iter()
        .map(|(name, table)| (name.clone(), table.template()));
    models.collect()
}

/// What they may say, and what they say.
pub(super) fn to_text(tables: &BTreeMap<String, TemplateTable>) -> String {
    let keys = tables::describe(KEYS);
    format!("{ABOUT}{keys}{}", tables::print(GROUP, tables))
}

//! Providers: programs whose doings outlast knows. What comes with outlast, with what the user says of it on top.
//!
//! A provider is data: nothing here knows any of them by name, but the recipes of [`hooks`], which know the
//! configuration that some of them have.

pub mod check;
pub mod hooks;
mod install;

use std::{collections::BTreeMap, path::Path};

use outlast_client::{
    helper_v1::{self, ScreenReading, ScreenRule},
    v1::Error,
};
use outlast_model::activity::Doing;

use self::hooks::Recipe;
pub use self::install::{Change, Wanted, change};
use crate::{
    config::{Config, ConfigError, ProviderTable, RuleTable, parse_provider},
    refusal,
};

/// Those that come with outlast, by name, as their files.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("aider", include_str!("../../providers/aider.toml")),
    ("bash", include_str!("../../providers/bash.toml")),
    ("claude", include_str!("../../providers/claude.toml")),
    ("codex", include_str!("../../providers/codex.toml")),
    ("cursor", include_str!("../../providers/cursor.toml")),
    ("gemini", include_str!("../../providers/gemini.toml")),
    ("opencode", include_str!("../../providers/opencode.toml")),
];

/// All providers, by name.
#[derive(Debug, Clone)]
pub struct Providers(BTreeMap<String, Provider>);

/// One provider; nothing is left out any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// It comes with outlast.
    pub built_in: bool,
    /// The user says something of it.
    pub configured: bool,
    /// Its program, as it is found in `PATH`.
    pub binary: String,
    /// What the program is given where a session names no command.
    pub arguments: Vec<String>,
    /// What the program is called while it has the terminal.
    pub programs: Vec<String>,
    /// What prints its version. Empty: not known.
    pub version_command: Vec<String>,
    /// Variables it needs: one of each group.
    pub environment: Vec<Vec<String>>,
    /// What restart and recover run, through /bin/sh -c.
    pub resume_command: Option<String>,
    /// What runs it without doing any harm. Empty: what prints its version.
    pub test_command: Vec<String>,
    /// How it is made to report.
    pub hooks: Option<Recipe>,
    /// Its bell means that it waits.
    pub bell_waits: bool,
    /// How its screen is read; the first that fits counts.
    pub screen: Vec<RuleTable>,
}

impl Providers {
    /// All there are with this configuration.
    ///
    /// # Errors
    /// When one that comes with outlast cannot be read, which tests see to.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut all = BTreeMap::new();
        for (name, text) in BUILT_IN {
            let table = parse_provider(text, Path::new("the built-in provider"), name)?;
            all.insert(name.to_owned(), (table, true, false));
        }
        for (name, own) in &config.providers {
            let (table, _, configured) = all.entry(name.clone()).or_default();
            table.overlay(own.clone());
            *configured = true;
        }
        let whole = all.into_iter().map(|(name, (table, built_in, configured))| {
            (name.clone(), whole(name, table, built_in, configured))
        });
        Ok(Self(whole.collect()))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.values()
    }

    /// The provider of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str) -> Result<&Provider, Error> {
        self.0
            .get(name)
            .ok_or_else(|| refusal::no_setting("provider", name, self.0.keys()))
    }

    /// Whether what asks by this rule, `provider/rule`, is a menu.
    #[must_use]
    pub fn is_menu(&self, rule: &str) -> bool {
        let Some((provider, rule)) = rule.split_once('/') else {
            return false;
        };
        let provider = self.0.get(provider);
        provider.is_some_and(|provider| provider.screen.iter().any(|one| one.name == rule && one.menu))
    }

    /// How a helper is to read screens, and the reading that is for a session of this provider, if there is one.
    #[must_use]
    pub fn readings(&self, own: Option<&str>) -> (Vec<ScreenReading>, String) {
        // A reading stands for more than that a program is there; one that says nothing would hide that.
        let speaks = |provider: &&Provider| !provider.screen.is_empty() || provider.bell_waits;
        let own = own.and_then(|own| self.0.get(own)).filter(speaks);
        let name = own.map(|own| own.name.clone()).unwrap_or_default();
        (self.iter().filter(speaks).map(Provider::reading).collect(), name)
    }
}

fn whole(name: String, table: ProviderTable, built_in: bool, configured: bool) -> Provider {
    let binary = table.binary.clone().unwrap_or_else(|| name.clone());
    let own_name = || vec![binary.rsplit('/').next().unwrap_or(&binary).to_owned()];
    Provider {
        hooks: table.recipe(),
        display_name: table.display_name.unwrap_or_else(|| name.clone()),
        built_in,
        configured,
        programs: table.programs.unwrap_or_else(own_name),
        arguments: table.arguments.unwrap_or_default(),
        version_command: table.version_command.unwrap_or_default(),
        environment: table
            .environment
            .unwrap_or_default()
            .iter()
            .map(|any| any.to_list())
            .collect(),
        resume_command: table.resume_command,
        test_command: table.test_command.unwrap_or_default(),
        bell_waits: table.bell_waits.unwrap_or_default(),
        screen: table.screen.unwrap_or_default(),
        binary,
        name,
    }
}

impl Provider {
    /// How a helper is to read its screen.
    #[must_use]
    pub fn reading(&self) -> ScreenReading {
        ScreenReading {
            name: self.name.clone(),
            programs: self.programs.clone(),
            rules: self.screen.iter().filter_map(rule).collect(),
            bell_waits: self.bell_waits,
        }
    }
}

fn rule(rule: &RuleTable) -> Option<ScreenRule> {
    let doing = match rule.doing()? {
        Doing::Starting => return None,
        Doing::Working => helper_v1::Doing::Working,
        Doing::Waiting => helper_v1::Doing::Waiting,
        Doing::Idle => helper_v1::Doing::Idle,
        Doing::Error => helper_v1::Doing::Error,
    };
    Some(ScreenRule {
        name: rule.name.clone(),
        doing: doing.into(),
        pattern: rule.pattern.get_ref().clone(),
        last_lines: rule.last_lines,
        title: rule.title,
    })
}

#[cfg(test)]
mod tests;

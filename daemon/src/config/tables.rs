//! Tables that the user names: `[GROUP.NAME]`. What stands in one is read by serde; that its keys are known is checked
//! before, so that a wrong one is told as everywhere.

use std::{collections::BTreeMap, fmt};

use outlast_model::{name::Name, near::nearest};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IntoDeserializer as _, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::errors::{ConfigError, Source};

/// A key of such a table, and what it means.
pub(super) type KnownKey = (&'static str, &'static str);

/// All tables of a group, by name.
pub(super) fn read<T: DeserializeOwned>(
    source: &Source<'_>,
    group: &str,
    keys: &[KnownKey],
    content: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, T>, ConfigError> {
    let mut tables = BTreeMap::new();
    let named = content.get_ref().as_table().ok_or_else(|| {
        let message = format!("`{group}` must be a table of tables");
        let hint = format!("write `[{group}.NAME]` on a line of its own, with its keys below");
        source.error(Some(content.span()), message, Some(hint))
    })?;
    for (name, table) in named {
        let (name, span) = (name.get_ref().as_ref(), name.span());
        if let Err(rule) = name.parse::<Name>() {
            let message = format!("`{}` is no name", name.escape_debug());
            return Err(source.error(Some(span), message, Some(rule.to_string())));
        }
        tables.insert(
            name.to_owned(),
            one(source, &format!("{group}.{name}"), keys, table)?,
        );
    }
    Ok(tables)
}

/// One table.
pub(super) fn one<T: DeserializeOwned>(
    source: &Source<'_>,
    title: &str,
    keys: &[KnownKey],
    content: &Spanned<DeValue<'_>>,
) -> Result<T, ConfigError> {
    let table = source.table(title, content)?;
    check_keys(source, title, keys, table)?;
    T::deserialize(content.clone().into_deserializer()).map_err(|error| source.toml(&error))
}

/// Whether all keys of a table are known.
pub(super) fn check_keys(
    source: &Source<'_>,
    title: &str,
    keys: &[KnownKey],
    table: &DeTable<'_>,
) -> Result<(), ConfigError> {
    let known = || keys.iter().map(|(key, _)| *key);
    for (key, _) in table {
        let (name, span) = (key.get_ref().as_ref(), key.span());
        if known().any(|known| known == name) {
            continue;
        }
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("[{title}] knows {}", known().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("unknown key `{title}.{}`", name.escape_debug());
        return Err(source.error(Some(span), message, Some(hint)));
    }
    Ok(())
}

/// The keys and their meanings, as comments.
pub(super) fn describe(keys: &[KnownKey]) -> String {
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, about): &KnownKey| format!("#   {key:width$}  {about}\n");
    keys.iter().map(line).collect()
}

/// The tables of a group as a file that says the same.
pub(super) fn print<T: Serialize>(group: &str, tables: &BTreeMap<String, T>) -> String {
    if tables.is_empty() {
        return String::new();
    }
    // All of it is texts, numbers, lists and tables with texts for keys, which TOML has a form for.
    toml::to_string(&BTreeMap::from([(group, tables)])).unwrap_or_default()
}

/// One text, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Words {
    /// One text.
    One(String),
    /// A list.
    List(Vec<String>),
}

impl Words {
    /// All of them.
    #[must_use]
    pub fn to_list(&self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text.clone()],
            Self::List(texts) => texts.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Words, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Words::List)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

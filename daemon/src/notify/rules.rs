//! `[notify.rules.NAME]`: exceptions by state, host and name, in the order in which they stand in the file.

use std::ops::Range;

use outlast_model::{
    name::Name,
    near::nearest,
    notice::{Globs, Rule, listed},
};
use toml::de::{DeTable, DeValue};

use super::settings;
use crate::config::{ConfigError, Source, Value};

/// What a rule may say.
const KEYS: [&str; 4] = ["on", "hosts", "names", "to"];

/// The value of a key, and where both stand.
struct Entry<'a> {
    key: &'a str,
    key_span: Range<usize>,
    value: &'a DeValue<'a>,
    value_span: Range<usize>,
}

/// Reads all rules.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub(crate) fn read(
    source: &Source<'_>,
    rules: &toml::Spanned<DeValue<'_>>,
) -> Result<Vec<Rule>, ConfigError> {
    let tables = table(source, "rules", rules)?;
    let mut found = Vec::new();
    for (name, content) in tables {
        if let Err(rule) = name.get_ref().parse::<Name>() {
            return Err(source.error(Some(name.span()), rule.to_string(), None));
        }
        let rule = one(
            source,
            name.get_ref(),
            table(source, &format!("rules.{}", name.get_ref()), content)?,
        )?;
        // The parser sorts by name; where they stand is what counts.
        found.push((name.span().start, rule));
    }
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, rule)| rule).collect())
}

fn table<'a, 'i>(
    source: &Source<'_>,
    name: &str,
    value: &'a toml::Spanned<DeValue<'i>>,
) -> Result<&'a DeTable<'i>, ConfigError> {
    value.get_ref().as_table().ok_or_else(|| {
        let message = format!("`notify.{}` must be a table", name.escape_debug());
        let hint = "write `[notify.rules.NAME]` on a line of its own, with its keys below";
        source.error(Some(value.span()), message, Some(hint.to_owned()))
    })
}

fn one(source: &Source<'_>, name: &str, table: &DeTable<'_>) -> Result<Rule, ConfigError> {
    let mut rule = Rule {
        name: name.to_owned(),
        on: None,
        hosts: None,
        names: None,
        to: None,
    };
    for (key, value) in table {
        let entry = Entry {
            key: key.get_ref(),
            key_span: key.span(),
            value: value.get_ref(),
            value_span: value.span(),
        };
        set(&mut rule, &entry).map_err(|wrong| explain(source, name, &entry, &wrong))?;
    }
    Ok(rule)
}

/// What is wrong with an entry.
enum Wrong {
    /// There is no such key.
    Key,
    /// It must be this.
    Value(&'static str),
}

fn set(rule: &mut Rule, entry: &Entry<'_>) -> Result<(), Wrong> {
    let value = match entry.value {
        DeValue::String(text) => Value::Text(text),
        other => Value::Other(other.type_str()),
    };
    match entry.key {
        "on" => rule.on = Some(settings::states(&value).map_err(Wrong::Value)?),
        "hosts" => rule.hosts = Some(globs(&value).map_err(Wrong::Value)?),
        "names" => rule.names = Some(globs(&value).map_err(Wrong::Value)?),
        "to" => rule.to = Some(settings::channels(&value).map_err(Wrong::Value)?),
        _ => return Err(Wrong::Key),
    }
    Ok(())
}

fn globs(value: &Value<'_>) -> Result<Globs, &'static str> {
    let globs = match value {
        Value::Text(text) => Globs::new(text),
        _ => Globs::new(""),
    };
    if globs.is_empty() {
        return Err("a list of patterns such as \"build*, web-?\"");
    }
    Ok(globs)
}

fn explain(source: &Source<'_>, rule: &str, entry: &Entry<'_>, wrong: &Wrong) -> ConfigError {
    let path = format!("notify.rules.{rule}.{}", entry.key);
    let path = path.escape_debug();
    match wrong {
        Wrong::Key => {
            let hint = match nearest(entry.key, KEYS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a rule knows {}", KEYS.join(", ")),
            };
            source.error(
                Some(entry.key_span.clone()),
                format!("unknown key `{path}`"),
                Some(hint),
            )
        }
        Wrong::Value(wanted) => {
            let value = match entry.value {
                DeValue::String(text) => format!("{text:?}"),
                other => other.type_str().to_owned(),
            };
            let message = format!("`{path}` must be {wanted}, not {value}");
            source.error(Some(entry.value_span.clone()), message, None)
        }
    }
}

/// Writes rules as a file that says the same.
pub(crate) fn write(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        // Quoted, because a name may have a dot in it.
        text.push_str(&format!("\n[notify.rules.\"{}\"]\n", rule.name));
        let entries = [
            ("on", rule.on.as_ref().map(listed)),
            ("hosts", rule.hosts.as_ref().map(Globs::text)),
            ("names", rule.names.as_ref().map(Globs::text)),
            ("to", rule.to.as_ref().map(listed)),
        ];
        for (key, value) in entries {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {}\n", toml::Value::String(value)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use outlast_client::v1::Error;

    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(text, Path::new("config.toml")).map_err(Error::from)
    }

    fn refused(text: &str) -> String {
        let error = parse(text).unwrap_err();
        format!("{} | {}", error.message, error.hint())
    }

    #[test]
    fn rules_come_in_the_order_of_the_file() {
        let text = "[notify.rules.z]\nhosts = 'ci*'\nto = 'none'\n[jobs]\n[notify.rules.a]\non = 'idle'\n\
                    names = 'x, y?'\n[notify]\nto = 'command'\n";
        let config = parse(text).unwrap();
        let names = |config: &Config| -> Vec<String> {
            let rules = &config.notify.rules.rules;
            rules.iter().map(|rule| rule.name.clone()).collect()
        };
        assert_eq!(names(&config), ["z", "a"]);
        let again = parse(&config.to_text()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_the_right_one() {
        assert_eq!(
            refused("[notify.rules.ci]\n host = 'x'\n"),
            "config.toml:2:2: unknown key `notify.rules.ci.host` | did you mean `hosts`?"
        );
        assert_eq!(
            refused("[notify.rules.ci]\nxyzzy = 'x'\n"),
            "config.toml:2:1: unknown key `notify.rules.ci.xyzzy` | a rule knows on, hosts, names, to"
        );
        assert!(refused("[notify.rules.ci]\nto = 'pager'\n").starts_with(
            "config.toml:2:6: `notify.rules.ci.to` must be text that is all, none, or a list of desktop, "
        ));
        assert_eq!(
            refused("[notify]\nrules = 3\n"),
            "config.toml:2:9: `notify.rules` must be a table | write `[notify.rules.NAME]` on a line of its own, with its keys below"
        );
        for text in [
            "[notify.rules]\nci = 'x'\n",
            "\n[notify.rules.'a b']\n",
            "[notify.rules.ci]\nhosts = ''\n",
            "[notify.rules.ci]\nhosts = ['a']\n",
            "[notify]\non = 'waitng'\n",
            "[notify]\ncommand = 3\n",
        ] {
            assert!(
                refused(text).starts_with("config.toml:2:"),
                "{text}: {}",
                refused(text)
            );
        }
    }

    #[test]
    fn a_webhook_is_in_no_message_and_no_print() {
        let told = refused("[notify]\nwebhook = 'hooks.example.com/s3cret'\n");
        assert!(!told.contains("s3cret"), "{told}");
        let config = parse("[notify]\nwebhook = 'https://hooks.example.com/s3cret'\n").unwrap();
        let printed = config.to_text();
        assert!(printed.contains("webhook = \"(set; not shown)\""), "{printed}");
        assert!(!format!("{printed} {config:?}").contains("s3cret"));
    }
}

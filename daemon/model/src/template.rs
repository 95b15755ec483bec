//! Templates of sessions: what a session is started with, under a name. Pure.
//!
//! A template may inherit from others. What it says itself counts first, then what the last of its parents says, and so on
//! to the first of them; variables of the environment are put together one by one. [`Template::fill`] puts what is known
//! of the session into its texts.

mod text;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

pub use self::text::{BadVariable, Values, check, fill};
use crate::near::nearest;

/// What runs a command that is one text.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Most templates that build one on the other: more than anybody can follow, and few enough for any stack.
const DEEPEST: usize = 64;

/// What a session is started with. What is absent is left to the parents, to the provider, or to the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Program and arguments.
    pub command: Option<Command>,
    /// What restart and recover run instead, through /bin/sh -c.
    pub restart_command: Option<String>,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Variables that are set.
    pub env: BTreeMap<String, String>,
    /// Absolute working directory.
    pub cwd: Option<String>,
    /// Name of the provider whose program it runs.
    pub provider: Option<String>,
    /// Names of the templates it builds on, the weakest first.
    pub inherits: Vec<String>,
}

/// A command as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For /bin/sh -c.
    Line(String),
    /// Program and arguments.
    Words(Vec<String>),
}

impl Command {
    /// The texts it is made of.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Line(line) => vec![line],
            Self::Words(words) => words.iter().map(String::as_str).collect(),
        }
    }

    /// Program and arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Line(line) => SHELL
                .into_iter()
                .chain([line.as_str()])
                .map(str::to_owned)
                .collect(),
            Self::Words(words) => words.clone(),
        }
    }
}

/// Why what a template inherits cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadInheritance {
    /// There is no template of this name.
    Unknown {
        /// The name.
        name: String,
        /// The template that names it. Absent: it was asked for.
        child: Option<String>,
        /// What may have been meant.
        near: Option<String>,
    },
    /// A template inherits from itself. The names in order; the first one comes again at the end.
    Cycle(Vec<String>),
    /// It builds on more than [`DEEPEST`] templates, one on the other.
    Deep,
}

impl fmt::Display for BadInheritance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, child, .. } => {
                write!(f, "no template is called {name:?}")?;
                match child {
                    Some(child) => write!(f, ", which {child} inherits from"),
                    None => Ok(()),
                }
            }
            Self::Deep => write!(f, "more than {DEEPEST} templates build one on the other"),
            Self::Cycle(names) => write!(f, "templates inherit in a circle: {}", names.join(" -> ")),
        }
    }
}

impl std::error::Error for BadInheritance {}

/// The template of a name with all that it inherits.
///
/// # Errors
/// When it, or one of those it builds on, is not there, or it builds on itself.
pub fn flatten(all: &BTreeMap<String, Template>, name: &str) -> Result<Template, BadInheritance> {
    let mut whole = Template::default();
    gather(all, name, &mut Vec::new(), &mut HashSet::new(), &mut whole)?;
    whole.inherits = all.get(name).map(|own| own.inherits.clone()).unwrap_or_default();
    Ok(whole)
}

/// Puts a template under what was gathered before: itself first, then its parents from the last to the first. Of one
/// that comes by several ways only the strongest counts, so that the work does not grow with the number of ways.
fn gather(
    all: &BTreeMap<String, Template>,
    name: &str,
    path: &mut Vec<String>,
    done: &mut HashSet<String>,
    whole: &mut Template,
) -> Result<(), BadInheritance> {
    if let Some(first) = path.iter().position(|before| before == name) {
        let mut circle = path.get(first..).unwrap_or_default().to_vec();
        circle.push(name.to_owned());
        return Err(BadInheritance::Cycle(circle));
    }
    if !done.insert(name.to_owned()) {
        return Ok(());
    }
    let own = all.get(name).ok_or_else(|| BadInheritance::Unknown {
        name: name.to_owned(),
        child: path.last().cloned(),
        near: nearest(name, all.keys().map(String::as_str)).map(str::to_owned),
    })?;
    underlay(whole, own);
    if path.len() >= DEEPEST {
        return Err(BadInheritance::Deep);
    }
    path.push(name.to_owned());
    for parent in own.inherits.iter().rev() {
        gather(all, parent, path, done, whole)?;
    }
    path.pop();
    Ok(())
}

fn underlay(whole: &mut Template, weaker: &Template) {
    whole.command = whole.command.take().or_else(|| weaker.command.clone());
    whole.restart_command = whole
        .restart_command
        .take()
        .or_else(|| weaker.restart_command.clone());
    whole.description = whole.description.take().or_else(|| weaker.description.clone());
    whole.cwd = whole.cwd.take().or_else(|| weaker.cwd.clone());
    whole.provider = whole.provider.take().or_else(|| weaker.provider.clone());
    for (variable, value) in &weaker.env {
        whole.env.entry(variable.clone()).or_insert_with(|| value.clone());
    }
}

impl Template {
    /// The same with the variables in its texts filled in. What it is for is no such text.
    ///
    /// # Errors
    /// When a text has a variable that is none, or that this session has no value for.
    pub fn fill(&self, values: &Values<'_>) -> Result<Self, BadVariable> {
        let one = |text: &Option<String>| text.as_ref().map(|text| fill(text, values)).transpose();
        let command = match &self.command {
            Some(Command::Line(line)) => Some(Command::Line(fill(line, values)?)),
            Some(Command::Words(words)) => {
                let words = words.iter().map(|word| fill(word, values));
                Some(Command::Words(words.collect::<Result<_, _>>()?))
            }
            None => None,
        };
        let env = self
            .env
            .iter()
            .map(|(variable, value)| Ok((variable.clone(), fill(value, values)?)));
        Ok(Self {
            command,
            restart_command: one(&self.restart_command)?,
            env: env.collect::<Result<_, _>>()?,
            cwd: one(&self.cwd)?,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Template {
        Template {
            command: Some(Command::Line(text.to_owned())),
            ..Template::default()
        }
    }

    fn child(parents: &[&str]) -> Template {
        Template {
            inherits: parents.iter().map(|&parent| parent.to_owned()).collect(),
            ..Template::default()
        }
    }

    fn set(mut template: Template, variable: &str, value: &str) -> Template {
        template.env.insert(variable.to_owned(), value.to_owned());
        template
    }

    fn all<'a>(templates: impl IntoIterator<Item = (&'a str, Template)>) -> BTreeMap<String, Template> {
        let named = templates.into_iter();
        named
            .map(|(name, template)| (name.to_owned(), template))
            .collect()
    }

    fn command(all: &BTreeMap<String, Template>, name: &str) -> Option<Command> {
        flatten(all, name).unwrap().command
    }

    #[test]
    fn a_child_wins_and_later_parents_win_over_earlier_ones() {
        let all = all([
            ("base", set(set(line("base"), "A", "base"), "B", "base")),
            ("other", set(line("other"), "B", "other")),
            ("child", set(child(&["base", "other"]), "C", "child")),
            (
                "own",
                Template {
                    command: Some(Command::Words(vec!["own".to_owned()])),
                    ..child(&["child"])
                },
            ),
        ]);
        assert_eq!(command(&all, "child"), Some(Command::Line("other".to_owned())));
        assert_eq!(command(&all, "own"), Some(Command::Words(vec!["own".to_owned()])));
        let env: Vec<_> = flatten(&all, "own").unwrap().env.into_iter().collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(env, [pair("A", "base"), pair("B", "other"), pair("C", "child")]);
        assert_eq!(flatten(&all, "own").unwrap().inherits, ["child"]);
    }

    #[test]
    fn a_circle_is_refused_by_name() {
        let all = all([
            ("a", child(&["b"])),
            ("b", child(&["c"])),
            ("c", child(&["b"])),
            ("self", child(&["self"])),
        ]);
        let said = |name| flatten(&all, name).unwrap_err().to_string();
        assert_eq!(said("a"), "templates inherit in a circle: b -> c -> b");
        assert_eq!(said("self"), "templates inherit in a circle: self -> self");
    }

    #[test]
    fn a_parent_that_is_not_there_is_named_with_what_was_meant() {
        let all = all([("base", line("x")), ("child", child(&["bsae"]))]);
        let error = flatten(&all, "child").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no template is called \"bsae\", which child inherits from"
        );
        let BadInheritance::Unknown { near, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(near.as_deref(), Some("base"));
    }

    #[test]
    fn one_ancestor_by_two_ways_is_no_circle() {
        let all = all([
            ("root", line("root")),
            ("left", child(&["root"])),
            ("right", set(child(&["root"]), "SIDE", "right")),
            ("both", child(&["left", "right"])),
        ]);
        assert_eq!(command(&all, "both"), Some(Command::Line("root".to_owned())));
    }

    #[test]
    fn variables_are_filled_in_everywhere_but_in_the_description() {
        let template = Template {
            command: Some(Command::Words(vec![
                "run".to_owned(),
                "{{session_name}}".to_owned(),
            ])),
            restart_command: Some("again {{ session_name }}".to_owned()),
            description: Some("{{session_name}}".to_owned()),
            cwd: Some("/srv/{{host_name}}".to_owned()),
            ..set(Template::default(), "NAME", "{{session_name}}")
        };
        let values = Values {
            session_name: "web",
            workspace_name: None,
            host_name: "build1",
        };
        let filled = template.fill(&values).unwrap();
        assert_eq!(filled.command.unwrap().argv(), ["run", "web"]);
        assert_eq!(filled.restart_command.as_deref(), Some("again web"));
        assert_eq!(filled.description.as_deref(), Some("{{session_name}}"));
        assert_eq!(filled.cwd.as_deref(), Some("/srv/build1"));
        assert_eq!(filled.env["NAME"], "web");
    }

    #[test]
    fn a_line_is_for_the_shell_and_words_are_not() {
        assert_eq!(Command::Line("a b".to_owned()).argv(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(Command::Words(vec!["a b".to_owned()]).argv(), ["a b"]);
    }

    proptest! {
        /// However they are woven: an answer or a refusal, in time.
        #[test]
        fn any_web_of_templates_ends(edges in proptest::collection::vec((0..12_u8, 0..14_u8), 0..60)) {
            let mut all: BTreeMap<String, Template> = (0..12_u8).map(|n| (n.to_string(), line(&n.to_string()))).collect();
            for (from, to) in edges {
                all.entry(from.to_string()).or_default().inherits.push(to.to_string());
            }
            for name in 0..12_u8 {
                if let Ok(whole) = flatten(&all, &name.to_string()) {
                    prop_assert_eq!(whole.command, Some(Command::Line(name.to_string())));
                }
            }
        }
    }
}

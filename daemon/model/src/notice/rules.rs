//! Who is told of what, by which way: by state, host and name.

use std::collections::BTreeSet;

use super::{Channel, State, Thing};

/// Patterns of names, of which any may fit. `*` stands for anything and `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globs(Vec<String>);

impl Globs {
    /// Patterns with commas between.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let patterns = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        Self(patterns.map(str::to_owned).collect())
    }

    /// The patterns as they were written.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.join(", ")
    }

    /// Whether there are none; then none fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn fit(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, text))
    }
}

/// Whether a text fits a pattern. Takes at most as many steps as both lengths multiplied.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut done) = (0, 0);
    // Where the last star stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(done) {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, done));
                at += 1;
            }
            (Some(p), _) if *p == '?' || p == c => {
                at += 1;
                done += 1;
            }
            (_, Some((place, taken))) => {
                star = Some((place, taken + 1));
                at = place + 1;
                done = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|p| *p == '*')
}

/// A rule with a name. What it leaves open fits everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The states it is about. Absent: those that are told anyway.
    pub on: Option<BTreeSet<State>>,
    /// The hosts it is about.
    pub hosts: Option<Globs>,
    /// The sessions and jobs it is about.
    pub names: Option<Globs>,
    /// How to tell. Absent: as everything else.
    pub to: Option<BTreeSet<Channel>>,
}

/// What is told, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The states that are told where no rule says otherwise.
    pub on: BTreeSet<State>,
    /// How they are told.
    pub to: BTreeSet<Channel>,
    /// Exceptions. The first one that fits decides.
    pub rules: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            on: [State::Waiting, State::Error, State::Lost].into(),
            to: [Channel::Desktop, Channel::Terminal].into(),
            rules: Vec::new(),
        }
    }
}

impl Rules {
    /// How it is told that a thing has come to a state. Nothing: not at all.
    #[must_use]
    pub fn channels(&self, state: State, thing: &Thing) -> &BTreeSet<Channel> {
        const NONE: &BTreeSet<Channel> = &BTreeSet::new();
        let rule = self.rules.iter().find(|rule| {
            let fits = |globs: &Option<Globs>, text: &str| globs.as_ref().is_none_or(|globs| globs.fit(text));
            rule.on.as_ref().unwrap_or(&self.on).contains(&state)
                && fits(&rule.hosts, &thing.host)
                && fits(&rule.names, &thing.name)
        });
        match rule {
            Some(rule) => rule.to.as_ref().unwrap_or(&self.to),
            None if self.on.contains(&state) => &self.to,
            None => NONE,
        }
    }

    /// Every way that something may be told by.
    #[must_use]
    pub fn every_channel(&self) -> BTreeSet<Channel> {
        let of_rules = self.rules.iter().filter_map(|rule| rule.to.as_ref());
        of_rules.chain([&self.to]).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Noun, list},
        *,
    };

    fn thing(name: &str, host: &str) -> Thing {
        Thing {
            noun: Noun::Session,
            id: name.to_owned(),
            name: name.to_owned(),
            host: host.to_owned(),
        }
    }

    fn rule(on: Option<&str>, hosts: Option<&str>, names: Option<&str>, to: Option<&str>) -> Rule {
        Rule {
            name: "r".to_owned(),
            on: on.map(|on| list(on, State::ALL).unwrap()),
            hosts: hosts.map(Globs::new),
            names: names.map(Globs::new),
            to: to.map(|to| list(to, Channel::ALL).unwrap()),
        }
    }

    fn told(rules: &Rules, state: State, name: &str, host: &str) -> String {
        super::super::listed(rules.channels(state, &thing(name, host)))
    }

    #[test]
    fn without_rules_the_default_states_are_told() {
        let rules = Rules::default();
        assert_eq!(told(&rules, State::Waiting, "a", "local"), "desktop, terminal");
        assert_eq!(told(&rules, State::Idle, "a", "local"), "none");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = Rules {
            rules: vec![
                rule(None, Some("ci*, box?"), Some("noisy-*"), Some("none")),
                rule(Some("failed, lost"), Some("ci*"), None, Some("webhook")),
                rule(Some("idle"), None, Some("deploy"), None),
            ],
            ..Rules::default()
        };
        assert_eq!(told(&rules, State::Waiting, "noisy-1", "ci1"), "none");
        assert_eq!(
            told(&rules, State::Waiting, "noisy-1", "other"),
            "desktop, terminal"
        );
        assert_eq!(told(&rules, State::Waiting, "noisy-1", "box7"), "none");
        assert_eq!(
            told(&rules, State::Waiting, "noisy-1", "box17"),
            "desktop, terminal"
        );
        // A rule without states is about those that are told anyway.
        assert_eq!(told(&rules, State::Failed, "noisy-1", "ci1"), "webhook");
        assert_eq!(told(&rules, State::Idle, "deploy", "local"), "desktop, terminal");
        assert_eq!(told(&rules, State::Idle, "deploy2", "local"), "none");
        assert_eq!(
            super::super::listed(&rules.every_channel()),
            "desktop, terminal, webhook"
        );
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, text, fit) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*b", "abab", true),
            ("?", "", false),
            ("??", "ab", true),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_made_of_a_text_fits_it(text in "[a-c]{0,12}", stars in proptest::collection::vec((0_usize..12, 0_usize..4), 0..4)) {
            let mut pattern: Vec<char> = text.chars().collect();
            for (at, taken) in stars {
                let at = at.min(pattern.len());
                let end = (at + taken).min(pattern.len());
                pattern.splice(at..end, ['*']);
            }
            let pattern: String = pattern.into_iter().collect();
            prop_assert!(fits(&pattern, &text), "{}", pattern);
        }

        #[test]
        fn hostile_patterns_are_no_trouble(pattern in "[*?a]{0,60}", text in "a{0,200}") {
            let _whatever = fits(&pattern, &text);
        }
    }
}

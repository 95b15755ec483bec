//! Notices in words: one line, and some more below it.

use super::{Noun, State, Thing, Told};

/// The host that needs no mention.
const LOCAL: &str = crate::host::LOCAL;

/// Names in a title; of more it is said how many.
const NAMES: usize = 4;

/// Lines of a body, when several things have something to say.
const LINES: usize = 5;

/// Characters of one line of those.
const LINE: usize = 120;

/// Characters of what one of several says within a line.
const ASIDE: usize = 60;

/// What happened, in one line: `agent waits on build1`, or `3 sessions wait: a, b, c`.
pub(super) fn title(told: &[Told]) -> String {
    groups(
        told,
        |told, alone| if alone { last_of(told) } else { String::new() },
    )
}

/// What happened and what they say, in one line: `agent waits: Go on?`, or `2 sessions wait: a (Go on?), b (Sure?)`.
pub(super) fn sentence(told: &[Told]) -> String {
    match told {
        [one] if one.said.text.is_empty() => title(told),
        [one] => format!("{}: {}", title(told), one.said.text),
        several => groups(several, |told, _alone| match cut(&told.said.text, ASIDE) {
            text if text.is_empty() => last_of(told),
            text => format!("{} ({text})", last_of(told)),
        }),
    }
}

/// All of them by what happened. `aside` is what is said of each, which may be alone in its group.
fn groups(told: &[Told], aside: impl Fn(&Told, bool) -> String) -> String {
    let mut groups: Vec<(State, Noun)> = told
        .iter()
        .map(|told| (told.said.state, told.thing.noun))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let parts: Vec<String> = groups
        .into_iter()
        .map(|(state, noun)| {
            let of_group = told
                .iter()
                .filter(|told| (told.said.state, told.thing.noun) == (state, noun));
            group(state, noun, &of_group.collect::<Vec<_>>(), &aside)
        })
        .collect();
    parts.join("; ")
}

fn group(state: State, noun: Noun, told: &[&Told], aside: impl Fn(&Told, bool) -> String) -> String {
    let (one, several) = match state {
        State::Waiting => ("waits", "wait"),
        State::Error => ("reports an error", "report errors"),
        State::Broken => ("is broken", "are broken"),
        State::Lost => ("was lost", "were lost"),
        State::Failed => ("failed", "failed"),
        State::Exited => ("has ended", "have ended"),
        State::Idle => ("has nothing to do", "have nothing to do"),
        State::Succeeded => ("succeeded", "succeeded"),
    };
    let place = match common_host(told.iter().map(|told| &told.thing)) {
        Some(host) if host != LOCAL => format!(" on {host}"),
        _ => String::new(),
    };
    match (told, noun) {
        ([told], Noun::Session) => format!("{} {one}{place}{}", told.thing.name, aside(told, true)),
        ([told], Noun::Job) => format!("job {} {one}{place}{}", told.thing.name, aside(told, true)),
        (group, noun) => {
            let nouns = match noun {
                Noun::Session => "sessions",
                Noun::Job => "jobs",
            };
            let count = group.len();
            let shown = group.iter().take(NAMES);
            let shown: Vec<String> = shown
                .map(|told| format!("{}{}", told.thing.name, aside(told, false)))
                .collect();
            let more = match count - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{count} {nouns} {several}{place}: {}{more}", shown.join(", "))
        }
    }
}

/// For how many it stands, if it is not only itself.
fn last_of(told: &Told) -> String {
    match told.count {
        0 | 1 => String::new(),
        count => format!(" (the last of {count})"),
    }
}

/// What they say: of one thing all of it, of several a line each, and how many lines are left out.
pub(super) fn body(told: &[Told]) -> String {
    if let [told] = told {
        return told.said.text.clone();
    }
    let say = told.iter().filter(|told| !told.said.text.is_empty());
    let mut lines: Vec<String> = say
        .map(|told| {
            let line = format!("{}{}: {}", told.thing.name, last_of(told), told.said.text);
            cut(&line, LINE)
        })
        .collect();
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// So many characters of a line.
fn cut(line: &str, most: usize) -> String {
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The host that all of these are on.
pub(super) fn common_host<'a>(mut things: impl Iterator<Item = &'a Thing>) -> Option<&'a str> {
    let host = things.next()?.host.as_str();
    things.all(|thing| thing.host == host).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::{super::Said, *};

    fn of(noun: Noun, name: &str, host: &str, state: State, text: &str) -> Told {
        let thing = Thing {
            noun,
            id: name.to_owned(),
            name: name.to_owned(),
            host: host.to_owned(),
        };
        let text = text.to_owned();
        Told {
            thing,
            said: Said { state, text },
            count: 1,
        }
    }

    #[test]
    fn one_thing_is_told_with_all_it_says() {
        let asks = [of(Noun::Session, "agent", "build1", State::Waiting, "Go on?")];
        assert_eq!(
            (title(&asks).as_str(), body(&asks).as_str()),
            ("agent waits on build1", "Go on?")
        );
        let here = [of(Noun::Job, "nightly", LOCAL, State::Failed, "exit code 2")];
        assert_eq!(title(&here), "job nightly failed");
    }

    #[test]
    fn several_are_counted_and_named() {
        let mut told: Vec<_> = ["a", "b", "c"]
            .map(|name| of(Noun::Session, name, LOCAL, State::Waiting, ""))
            .into();
        assert_eq!(title(&told), "3 sessions wait: a, b, c");
        assert_eq!(body(&told), "");
        for name in ["d", "e", "f"] {
            told.push(of(Noun::Session, name, LOCAL, State::Waiting, "Really?"));
        }
        assert_eq!(title(&told), "6 sessions wait: a, b, c, d and 2 more");
        assert_eq!(body(&told), "d: Really?\ne: Really?\nf: Really?");
        for name in ["g", "h", "i", "j"] {
            told.push(of(Noun::Session, name, LOCAL, State::Waiting, "Sure?"));
        }
        let body = body(&told);
        assert_eq!(body.lines().count(), LINES + 1);
        assert!(body.ends_with("h: Sure?\nand 2 more"), "{body}");
    }

    #[test]
    fn what_stands_for_others_says_so() {
        let last = |name, count| Told {
            count,
            ..of(Noun::Session, name, LOCAL, State::Waiting, "Go on?")
        };
        assert_eq!(title(&[last("a", 7)]), "a waits (the last of 7)");
        let both = [last("a", 7), last("b", 1)];
        assert_eq!(title(&both), "2 sessions wait: a, b");
        assert_eq!(body(&both), "a (the last of 7): Go on?\nb: Go on?");
    }

    #[test]
    fn what_differs_is_told_apart() {
        let told = [
            of(Noun::Job, "x", "h", State::Failed, "exit code 1"),
            of(Noun::Session, "b", "h", State::Lost, ""),
            of(Noun::Session, "a", "h", State::Waiting, "Go on?"),
            of(Noun::Session, "c", "i", State::Lost, ""),
        ];
        assert_eq!(
            title(&told),
            "a waits on h; 2 sessions were lost: b, c; job x failed on h"
        );
        assert_eq!(body(&told), "x: exit code 1\na: Go on?");
    }

    #[test]
    fn one_line_says_each_name_and_what_it_says_once() {
        let of = |name, state, text| of(Noun::Session, name, "h", state, text);
        let one = [of("cx", State::Waiting, "Bash")];
        assert_eq!(sentence(&one), "cx waits on h: Bash");
        assert_eq!(sentence(&[of("cx", State::Lost, "")]), "cx was lost on h");
        let mut told = vec![
            of("cx", State::Waiting, "apply_patch"),
            of("fix", State::Waiting, "Write"),
        ];
        assert_eq!(
            sentence(&told),
            "2 sessions wait on h: cx (apply_patch), fix (Write)"
        );
        told[0].count = 3;
        told[1].said.text.clear();
        told.push(of("b", State::Lost, "host rebooted"));
        told.push(of("c", State::Exited, ""));
        assert_eq!(
            sentence(&told),
            "2 sessions wait on h: cx (the last of 3) (apply_patch), fix; b was lost on h (host rebooted); c has ended on h"
        );
        let words = "é".repeat(1000);
        let long: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| of(name, State::Waiting, &words))
            .into();
        assert!(sentence(&long).ends_with("é…) and 1 more"));
        assert!(sentence(&long).chars().count() < 5 * ASIDE);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "é".repeat(1000);
        let told = [
            of(Noun::Session, "a", "h", State::Waiting, &long),
            of(Noun::Session, "b", "h", State::Waiting, &long),
        ];
        assert!(body(&told).lines().all(|line| line.chars().count() == LINE));
    }
}

//! Random trees, patterns and tracked files.

use std::fs;

use outlast_sync::rules::RulesConfig;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::bed::Bed;

/// Few names, so that patterns meet them; odd ones, so that quoting matters.
const NAMES: &[&str] = &[
    "a", "b", "ab", "A", "aB", "foo", "foobar", "bar", "a b", "x.o", "x.O", "#c", "!d", "[e]", "f*", "g\\",
    "h ", "é", "a-b", "]", "1", "_", "-", "^",
];

const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "A",
    "foo",
    "bar",
    "foobar",
    "x",
    ".o",
    "o",
    "*",
    "*",
    "**",
    "?",
    "/",
    "/",
    "/",
    "**/",
    "/**",
    "/**/",
    "[ab]",
    "[!a]",
    "[^a-e]",
    "[[:alpha:]]",
    "[[:upper:]]",
    "[[:digit:]_-]",
    "[]a]",
    "[a-",
    "[A-F]",
    "[\\]]",
    "[[:x:]]",
    "[[:a]",
    "\\",
    "\\a",
    "\\A",
    "\\*",
    "\\[",
    "\\/",
    " ",
    "\\ ",
    "!",
    "#",
    "\r",
    "\t",
    "é",
    "-",
    "]",
    "e",
    "f",
    "***",
    "[!-a]",
    "[a-\\c]",
    "[/]",
    "1",
    "^",
    "_",
    "c",
    "d",
];

fn pattern() -> impl Strategy<Value = String> {
    let free = vec(select(PIECES), 1..6).prop_map(|pieces| pieces.concat());
    let usual = (
        select(&["", "!", "/", "!/"][..]),
        vec(select(NAMES), 1..4),
        select(&["", "/", "/*", "*"][..]),
    )
        .prop_map(|(start, names, end)| format!("{start}{}{end}", names.join("/")));
    prop_oneof![3 => free, 1 => usual]
}

fn patterns() -> impl Strategy<Value = String> {
    (
        select(&["", "", "", "\u{feff}"][..]),
        vec(pattern(), 0..4),
        select(&["\n", "\n", "\r\n"][..]),
        any::<bool>(),
    )
        .prop_map(|(start, lines, end, ended)| {
            format!("{start}{}{}", lines.join(end), if ended { end } else { "" })
        })
}

fn path() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(NAMES), 1..5)
}

#[derive(Debug)]
struct Case {
    files: Vec<Vec<&'static str>>,
    /// Which of the files are tracked.
    tracked: Vec<prop::sample::Index>,
    /// Files of patterns, beside some of the files or at the top.
    ignores: Vec<(Option<prop::sample::Index>, String)>,
    exclude: String,
    global: String,
    fold: bool,
    /// Look from a directory inside.
    inside: Option<prop::sample::Index>,
}

fn case() -> impl Strategy<Value = Case> {
    let ignores = vec(
        (
            proptest::option::weighted(0.6, any::<prop::sample::Index>()),
            patterns(),
        ),
        1..4,
    );
    let rare = proptest::option::weighted(0.3, patterns()).prop_map(Option::unwrap_or_default);
    (
        vec(path(), 1..30),
        vec(any::<prop::sample::Index>(), 0..4),
        ignores,
        rare,
        proptest::option::weighted(0.3, patterns()).prop_map(Option::unwrap_or_default),
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    )
        .prop_map(|(files, tracked, ignores, exclude, global, fold, inside)| Case {
            files,
            tracked,
            ignores,
            exclude,
            global,
            fold,
            inside,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_counts_is_what_git_says(case in case()) {
        let bed = Bed::repository();
        let mut made = Vec::new();
        for parts in &case.files {
            // A file may be in the way of a directory, and the reverse.
            let path = bed.top.join(parts.join("/"));
            if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() && fs::write(&path, "").is_ok() {
                made.push(path);
            }
        }
        prop_assume!(!made.is_empty());
        for (place, patterns) in &case.ignores {
            let dir = place.as_ref().map_or(bed.top.as_path(), |place| place.get(&made).parent().unwrap());
            fs::write(dir.join(".gitignore"), patterns).unwrap();
        }
        if !case.exclude.is_empty() {
            fs::write(bed.top.join(".git/info/exclude"), &case.exclude).unwrap();
        }
        bed.write_home(".config/git/ignore", &case.global);
        if case.fold {
            bed.git(&["config", "core.ignorecase", "true"]);
        }
        // Where case does not count but is kept, git takes two files for one. That cannot be meant: both count for us.
        if !case.tracked.is_empty() && !case.fold {
            let mut args = vec!["--literal-pathspecs", "add", "-f", "--"];
            let tracked = case.tracked.iter().map(|index| index.get(&made).to_str().unwrap());
            args.extend(tracked);
            bed.git(&args);
        }
        let dir = case.inside.as_ref().map_or(bed.top.as_path(), |place| place.get(&made).parent().unwrap());
        let ours = bed.by_us(dir, &RulesConfig::default());
        let gits = bed.by_git(dir);
        // A source that is ignored as a whole is synced as if there were no repository; git lists nothing of it.
        if dir != bed.top && gits.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(ours, gits);
    }
}

//! Files of patterns as git reads them, and what such a list says about one path.
//!
//! A line is cut at its first NUL, loses a carriage return and unescaped spaces at its end, and begins with `#` when it
//! is none. Nothing is an error: what cannot match never does.

use super::wild::Glob;

/// Patterns of one file, all relative to one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// It began with `!`: what it matches is not ignored.
    counts: bool,
    /// It ended with a slash.
    dirs_only: bool,
    how: How,
}

/// What a pattern is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// The name is this.
    Name(Box<[u8]>),
    /// The name ends like this.
    NameEnds(Box<[u8]>),
    /// The name matches.
    NameGlob(Glob),
    /// The path is this.
    Path(Box<[u8]>),
    /// The path begins like this, and what follows matches. Git cuts off what has no wildcards before it looks for
    /// double stars, so that in `foo**/bar` they stand at the beginning.
    PathGlob(Box<[u8]>, Glob),
}

impl List {
    /// Reads the content of a file. With `fold`, case is ignored as `core.ignorecase` has it.
    #[must_use]
    pub fn parse(content: &[u8], fold: bool) -> Self {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let mut patterns = Vec::new();
        for line in content.split(|&byte| byte == b'\n') {
            if line.first() == Some(&b'#') {
                continue;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
            patterns.extend(Pattern::parse(without_end(line), fold));
        }
        Self { patterns }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What it says about a path below its directory: ignored, not ignored, or nothing. The last pattern that matches
    /// decides. `name` is the last component of `path`.
    #[must_use]
    pub fn ignores(&self, path: &[u8], name: &[u8], is_dir: bool, fold: bool) -> Option<bool> {
        self.patterns
            .iter()
            .rev()
            .find(|pattern| (is_dir || !pattern.dirs_only) && pattern.how.matches(path, name, fold))
            .map(|pattern| !pattern.counts)
    }
}

impl Pattern {
    /// `None` for what can never match.
    fn parse(line: &[u8], fold: bool) -> Option<Self> {
        let (counts, line) = match line.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (dirs_only, pattern) = match line.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let plain = |bytes: &[u8]| bytes.iter().position(|byte| b"*?[\\".contains(byte));
        let how = if pattern.contains(&b'/') {
            let pattern = pattern.strip_prefix(b"/").unwrap_or(pattern);
            match plain(pattern) {
                None => How::Path(pattern.into()),
                Some(at) => How::PathGlob(pattern[..at].into(), Glob::new(&pattern[at..], fold)),
            }
        } else {
            match (plain(pattern), pattern.split_first()) {
                (_, None) => return None,
                (None, _) => How::Name(pattern.into()),
                (Some(_), Some((b'*', rest))) if plain(rest).is_none() => How::NameEnds(rest.into()),
                (Some(_), _) => How::NameGlob(Glob::new(pattern, fold)),
            }
        };
        Some(Self {
            counts,
            dirs_only,
            how,
        })
    }
}

impl How {
    fn matches(&self, path: &[u8], name: &[u8], fold: bool) -> bool {
        match self {
            Self::Name(wanted) => same(wanted, name, fold),
            Self::NameEnds(wanted) => {
                name.len() >= wanted.len() && same(wanted, &name[name.len() - wanted.len()..], fold)
            }
            Self::NameGlob(glob) => glob.matches(name),
            Self::Path(wanted) => same(wanted, path, fold),
            Self::PathGlob(start, glob) => {
                path.len() >= start.len()
                    && same(start, &path[..start.len()], fold)
                    && glob.matches(&path[start.len()..])
            }
        }
    }
}

fn same(a: &[u8], b: &[u8], fold: bool) -> bool {
    if fold { a.eq_ignore_ascii_case(b) } else { a == b }
}

/// A line without the spaces at its end that no backslash protects.
fn without_end(line: &[u8]) -> &[u8] {
    let mut end = 0;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b' ' => at += 1,
            b'\\' => {
                at += 2;
                end = at;
            }
            _ => {
                at += 1;
                end = at;
            }
        }
    }
    &line[..end.min(line.len())]
}

#[cfg(test)]
mod tests {
    use super::{List, without_end};

    #[test]
    fn spaces_at_the_end_go_unless_they_are_escaped() {
        assert_eq!(without_end(b"a b  "), b"a b");
        assert_eq!(without_end(b"a\\  "), b"a\\ ");
        assert_eq!(without_end(b"a \\"), b"a \\");
        assert_eq!(without_end(b"a\t"), b"a\t");
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let list = List::parse(b"*.log\n!keep.log\n/top\ndir/\nsub/*.o\n", false);
        let says = |path: &str, is_dir| {
            let name = path.rsplit('/').next().unwrap_or(path);
            list.ignores(path.as_bytes(), name.as_bytes(), is_dir, false)
        };
        assert_eq!(says("a/b.log", false), Some(true));
        assert_eq!(says("a/keep.log", false), Some(false));
        assert_eq!(says("top", false), Some(true));
        assert_eq!(says("a/top", false), None);
        assert_eq!(says("a/dir", true), Some(true));
        assert_eq!(says("a/dir", false), None);
        assert_eq!(says("sub/x.o", false), Some(true));
        assert_eq!(says("a/sub/x.o", false), None);
    }
}

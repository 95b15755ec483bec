//! The wildcards of `.gitignore`, byte by byte, as git matches them.
//!
//! A pattern is compiled once. Matching keeps the set of places in the text that the pattern can have come to, so its
//! cost is at most the product of both lengths, whatever the pattern is: nobody's pattern can make a scan hang.
//! Nothing is refused here: a pattern that makes no sense matches nothing, as with git.

/// Texts shorter than this are matched without an allocation. Longer paths are rare.
const SHORT: usize = 256;

/// A compiled pattern, in which `*`, `?` and sets never match a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    fold: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    AnyByte,
    /// `[…]`
    Set(Box<ByteSet>),
    /// `*`
    Star,
    /// `**` at the end, or before an escaped slash.
    Everything,
    /// `**/`: nothing, or anything that ends with a slash.
    Directories,
    /// What cannot match.
    Never,
}

/// Which bytes a set matches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ByteSet([bool; 256]);

impl Glob {
    /// Compiles a pattern. With `fold`, upper and lower case of ASCII letters are the same, to the extent that they are
    /// for git: not after a backslash, and in sets only in ranges and classes.
    #[must_use]
    pub fn new(pattern: &[u8], fold: bool) -> Self {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&byte) = pattern.get(at) {
            match byte {
                b'?' => {
                    tokens.push(Token::AnyByte);
                    at += 1;
                }
                b'*' => {
                    let after = at + pattern[at..].iter().take_while(|&&byte| byte == b'*').count();
                    let rest = &pattern[after..];
                    let begins = at == 0 || pattern[at - 1] == b'/';
                    let ends = rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b"\\/");
                    if after - at < 2 || !begins || !ends {
                        tokens.push(Token::Star);
                        at = after;
                    } else if rest.starts_with(b"/") {
                        tokens.push(Token::Directories);
                        at = after + 1;
                    } else {
                        tokens.push(Token::Everything);
                        at = after;
                    }
                }
                b'[' => match set(&pattern[at + 1..], fold) {
                    Some((set, length)) => {
                        tokens.push(Token::Set(Box::new(set)));
                        at += 1 + length;
                    }
                    None => {
                        tokens.push(Token::Never);
                        break;
                    }
                },
                b'\\' => {
                    tokens.push(
                        pattern
                            .get(at + 1)
                            .map_or(Token::Never, |&byte| Token::Byte(byte)),
                    );
                    at += 2;
                }
                byte => {
                    tokens.push(Token::Byte(if fold { byte.to_ascii_lowercase() } else { byte }));
                    at += 1;
                }
            }
        }
        Self { tokens, fold }
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        if text.len() < SHORT {
            self.run(text, &mut [false; SHORT])
        } else {
            self.run(text, &mut vec![false; text.len() + 1])
        }
    }

    /// `places[i]` says that the tokens so far match `text[..i]`; all of them lie in `low..=high`.
    fn run(&self, text: &[u8], places: &mut [bool]) -> bool {
        let (mut low, mut high) = (0, 0);
        places[0] = true;
        for token in &self.tokens {
            match token {
                Token::Star => {
                    let mut reach = false;
                    let mut at = low;
                    loop {
                        reach |= places[at];
                        places[at] = reach;
                        if at == text.len() || (at >= high && !(reach && text[at] != b'/')) {
                            break;
                        }
                        reach &= text[at] != b'/';
                        at += 1;
                    }
                    high = at;
                }
                Token::Everything => {
                    places[low..=text.len()].fill(true);
                    high = text.len();
                }
                Token::Directories => {
                    for at in low + 1..=text.len() {
                        if text[at - 1] == b'/' {
                            places[at] = true;
                            high = high.max(at);
                        }
                    }
                }
                Token::Never => return false,
                Token::Byte(_) | Token::AnyByte | Token::Set(_) => {
                    let mut next = None;
                    for at in (low..=high).rev() {
                        let here = std::mem::take(&mut places[at]);
                        if here && text.get(at).is_some_and(|&byte| self.takes(token, byte)) {
                            places[at + 1] = true;
                            let (_, top) = next.unwrap_or((at + 1, at + 1));
                            next = Some((at + 1, top));
                        }
                    }
                    match next {
                        Some(range) => (low, high) = range,
                        None => return false,
                    }
                }
            }
        }
        places[text.len()]
    }

    fn takes(&self, token: &Token, byte: u8) -> bool {
        let byte = if self.fold {
            byte.to_ascii_lowercase()
        } else {
            byte
        };
        match token {
            Token::Byte(wanted) => byte == *wanted,
            Token::AnyByte => byte != b'/',
            Token::Set(set) => set.0[usize::from(byte)] && byte != b'/',
            Token::Star | Token::Everything | Token::Directories | Token::Never => false,
        }
    }
}

/// Reads a set from behind its `[`, and says how long it is with its `]`. `None` when it does not end or names a class
/// that there is not.
fn set(pattern: &[u8], fold: bool) -> Option<(ByteSet, usize)> {
    let mut set = ByteSet([false; 256]);
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    // What a `-` would be a range from. A `]` that comes first stands for itself.
    let mut from = None;
    let mut first = true;
    loop {
        let byte = *pattern.get(at)?;
        if byte == b']' && !first {
            break;
        }
        first = false;
        match (byte, from, pattern.get(at + 1)) {
            (b'\\', _, escaped) => {
                let escaped = *escaped?;
                set.0[usize::from(escaped)] = true;
                from = Some(escaped);
                at += 2;
            }
            (b'-', Some(start), Some(&end)) if end != b']' => {
                at += 2;
                let end = if end == b'\\' {
                    at += 1;
                    *pattern.get(at - 1)?
                } else {
                    end
                };
                set.range(start, end, fold);
                from = None;
            }
            (b'[', _, Some(b':')) => {
                let inside = &pattern[at + 2..];
                let length = inside.iter().position(|&byte| byte == b']')?;
                match inside[..length].strip_suffix(b":") {
                    Some(class) => {
                        set.class(class, fold)?;
                        from = None;
                        at += 2 + length + 1;
                    }
                    None => {
                        set.0[usize::from(b'[')] = true;
                        from = Some(b'[');
                        at += 1;
                    }
                }
            }
            _ => {
                set.0[usize::from(byte)] = true;
                from = Some(byte);
                at += 1;
            }
        }
    }
    if negated {
        set.0.iter_mut().for_each(|matched| *matched = !*matched);
    }
    Some((set, at + 1))
}

impl ByteSet {
    fn range(&mut self, start: u8, end: u8, fold: bool) {
        for byte in 0..=u8::MAX {
            let other = if fold { byte.to_ascii_uppercase() } else { byte };
            if (start..=end).contains(&byte) || (start..=end).contains(&other) {
                self.0[usize::from(byte)] = true;
            }
        }
    }

    fn class(&mut self, name: &[u8], fold: bool) -> Option<()> {
        // White space is what it is for git, which leaves out vertical tab and form feed.
        let space = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' ');
        let matched: &dyn Fn(u8) -> bool = match name {
            b"alnum" => &|byte| byte.is_ascii_alphanumeric(),
            b"alpha" => &|byte| byte.is_ascii_alphabetic(),
            b"blank" => &|byte| matches!(byte, b'\t' | b' '),
            b"cntrl" => &|byte| byte.is_ascii_control(),
            b"digit" => &|byte| byte.is_ascii_digit(),
            b"graph" => &|byte| byte.is_ascii_graphic(),
            b"lower" => &|byte| byte.is_ascii_lowercase(),
            b"print" => &|byte| byte.is_ascii_graphic() || byte == b' ',
            b"punct" => &|byte| byte.is_ascii_punctuation(),
            b"space" => &space,
            b"upper" => &|byte| byte.is_ascii_uppercase() || (fold && byte.is_ascii_lowercase()),
            b"xdigit" => &|byte| byte.is_ascii_hexdigit(),
            _ => return None,
        };
        for byte in 0..=u8::MAX {
            self.0[usize::from(byte)] |= matched(byte);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern.as_bytes(), false).matches(text.as_bytes())
    }

    #[test]
    fn wildcards_stay_within_a_directory_and_double_stars_do_not() {
        for (pattern, text, right) in [
            ("a*c", "abbbc", true),
            ("a*c", "ab/c", false),
            ("a?c", "a/c", false),
            ("*", "", true),
            ("*/b", "a/b", true),
            ("*/b", "a/c/b", false),
            ("**/b", "b", true),
            ("**/b", "a/c/b", true),
            ("**/b", "ab", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "axb", false),
            ("a**b", "axxb", true),
            ("a**b", "ax/xb", false),
            ("**", "a/b", true),
            ("a/**/*.c", "a/b/c/d.c", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
        ] {
            assert_eq!(matches(pattern, text), right, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn sets_have_ranges_classes_negation_and_oddities() {
        for (pattern, text, right) in [
            ("[a-c]", "b", true),
            ("[!a-c]", "b", false),
            ("[^a-c]", "d", true),
            ("[]]", "]", true),
            ("[!]]", "a", true),
            ("[]-a]", "^", true),
            ("[a-]", "-", true),
            ("[\\]]", "]", true),
            ("[[:digit:]x]", "7", true),
            ("[[:digit:]x]", "y", false),
            ("[[:nothing:]]", "n", false),
            ("[[:x]", ":", true),
            ("[a", "[a", false),
            ("a[/]b", "a/b", false),
            ("[!a]b", "/b", false),
            ("\\*", "*", true),
            ("\\", "\\", false),
        ] {
            assert_eq!(matches(pattern, text), right, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn a_malicious_pattern_costs_no_more_than_the_product_of_the_lengths() {
        let pattern = "*a".repeat(200) + "b";
        let text = "a".repeat(4000);
        assert!(!matches(&pattern, &text));
    }
}

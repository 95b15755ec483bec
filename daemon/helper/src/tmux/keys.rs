//! The names that tmux has for keys. `send-keys` types what is not one of them letter by letter, so names are checked
//! before anything is sent.

/// Names with a meaning of their own, in any case. Mouse events, `Any`, `None` and user keys are left out: nobody can
/// press them.
const NAMED: &[&str] = &[
    "IC", "Insert", "DC", "Delete", "Home", "End", "NPage", "PageDown", "PgDn", "PPage", "PageUp", "PgUp",
    "BTab", "Tab", "Space", "BSpace", "Enter", "Escape", "Up", "Down", "Left", "Right", "KP/", "KP*", "KP-",
    "KP7", "KP8", "KP9", "KP+", "KP4", "KP5", "KP6", "KP1", "KP2", "KP3", "KPEnter", "KP0", "KP.",
];

/// True when `name` is a key: a character, `^` and one, or a named key, with any of the prefixes `C-`, `M-`, `S-`.
#[must_use]
pub fn is_key(name: &str) -> bool {
    let mut rest = name;
    let mut control = false;
    while let Some((modifier, after)) = rest.split_once('-') {
        // `-` alone and `C--` are keys as well.
        if after.is_empty() || modifier.is_empty() {
            break;
        }
        match modifier {
            "C" | "c" => control = true,
            "M" | "m" | "S" | "s" => {}
            _ => return false,
        }
        rest = after;
    }
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some(only), None, _) => !only.is_control() && (only.is_ascii() || !control),
        (Some('^'), Some(letter), None) => letter.is_ascii_graphic(),
        _ => is_function_key(rest) || NAMED.iter().any(|named| named.eq_ignore_ascii_case(rest)),
    }
}

fn is_function_key(name: &str) -> bool {
    name.strip_prefix(['F', 'f'])
        .filter(|number| number.starts_with(|c: char| matches!(c, '1'..='9')))
        .and_then(|number| number.parse::<u8>().ok())
        .is_some_and(|number| (1..=12).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn keys_are_known_and_words_are_not() {
        for key in [
            "Enter", "enter", "C-c", "c-C", "M-x", "C-M-Left", "S-F12", "F1", "^C", "a", "é", "M-é", ";",
            "-", "C--", "\"", "Space", "PgUp", "KPEnter", "C-[", "C-Space", "~", "^",
        ] {
            assert!(is_key(key), "{key:?}");
        }
        for word in [
            "",
            "Entr",
            "hello",
            "F0",
            "F13",
            "F01",
            "F+1",
            "X-a",
            "C-",
            "C-ab",
            "\u{1b}",
            "\n",
            "Any",
            "None",
            "MouseDown1Pane",
            "User0",
            "0x41",
            "C-é",
            "-l",
            "#(x)",
            "ab-c",
            "KP",
        ] {
            assert!(!is_key(word), "{word:?}");
        }
    }
}

//! Which terminal types this host knows.

use std::{env, path::PathBuf};

/// Longest name of a terminal type that is looked up.
const NAME_MAX: usize = 64;

/// True when this host has a description of the terminal type `name`.
#[must_use]
pub fn known(name: &str) -> bool {
    let Some(first) = name.bytes().next().filter(|_| valid(name)) else {
        return false;
    };
    let file_systems = [
        format!("{}/{name}", char::from(first)),
        format!("{first:x}/{name}"),
    ];
    dirs()
        .iter()
        .any(|dir| file_systems.iter().any(|file| dir.join(file).is_file()))
}

/// The first of `names` that this host knows; the last one when it knows none.
#[must_use]
pub fn first_known<'a>(names: &[&'a str]) -> &'a str {
    let known = names.iter().find(|name| known(name));
    known.or(names.last()).copied().unwrap_or("dumb")
}

fn valid(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

/// Where descriptions lie, on every kind of system.
fn dirs() -> Vec<PathBuf> {
    let own = env::var_os("HOME").map(|home| PathBuf::from(home).join(".terminfo"));
    let fixed = [
        "/etc/terminfo",
        "/lib/terminfo",
        "/usr/share/terminfo",
        "/usr/lib/terminfo",
    ];
    own.into_iter().chain(fixed.map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_looked_up() {
        for bad in [
            "",
            ".",
            "../x/xterm",
            "x/../xterm",
            "xterm\0",
            "-x",
            &"x".repeat(65),
        ] {
            assert!(!known(bad), "{bad:?}");
        }
        assert!(known("xterm") || known("screen") || known("dumb") || known("linux"));
        assert_eq!(first_known(&["no-such-terminal", "nor-this"]), "nor-this");
    }
}

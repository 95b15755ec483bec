//! Which tmux there is, and whether it will do.

use std::path::Path;

/// The oldest tmux that has what sessions need: client flags at attach, `-N`, and control mode without output.
pub const OLDEST: Version = Version { major: 3, minor: 2 };

/// A tmux version as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// After the point; patch letters are ignored.
    pub minor: u32,
}

/// Why sessions cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, one sentence.
    pub message: String,
    /// What mends it.
    pub hint: String,
}

/// Reads a version (what follows `tmux ` in the output of `tmux -V`). Builds from the development branch are taken for
/// new enough, because they do not say.
#[must_use]
pub fn parse(text: &str) -> Option<Version> {
    let text = text.trim();
    if text == "master" {
        return Some(Version {
            major: u32::MAX,
            minor: 0,
        });
    }
    if text.starts_with("openbsd-") {
        // The base system's build carries the system's version; every release since 7.0 has at least 3.2.
        let version = parse(text.strip_prefix("openbsd-")?)?;
        return Some(if version.major >= 7 {
            OLDEST
        } else {
            Version { major: 3, minor: 0 }
        });
    }
    let text = text.strip_prefix("next-").unwrap_or(text);
    let (major, rest) = text.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(Version {
        major: major.parse().ok()?,
        minor: rest.get(..digits)?.parse().ok()?,
    })
}

/// tmux is not there.
#[must_use]
pub fn missing() -> Problem {
    Problem {
        message: "sessions need tmux, which is not installed on this host".to_owned(),
        hint: hint("install"),
    }
}

/// tmux is there and says that it is `version`.
///
/// # Errors
/// When it is too old or says something that is no version.
pub fn check(version: &str) -> Result<Version, Problem> {
    match parse(version) {
        Some(parsed) if parsed >= OLDEST => Ok(parsed),
        Some(_) => Err(Problem {
            message: format!(
                "sessions need tmux {}.{} or newer, and this host has {version}",
                OLDEST.major, OLDEST.minor
            ),
            hint: hint("upgrade"),
        }),
        None => Err(Problem {
            message: format!("tmux says it is version {:?}, which is no version", crop(version)),
            hint: hint("install"),
        }),
    }
}

fn crop(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The command that installs or upgrades tmux here.
fn hint(verb: &str) -> String {
    const MANAGERS: &[(&str, &str, &str)] = &[
        (
            "apt-get",
            "sudo apt-get install tmux",
            "sudo apt-get install --only-upgrade tmux",
        ),
        ("dnf", "sudo dnf install tmux", "sudo dnf upgrade tmux"),
        ("yum", "sudo yum install tmux", "sudo yum update tmux"),
        ("pacman", "sudo pacman -S tmux", "sudo pacman -Syu tmux"),
        ("zypper", "sudo zypper install tmux", "sudo zypper update tmux"),
        ("apk", "sudo apk add tmux", "sudo apk add --upgrade tmux"),
        ("brew", "brew install tmux", "brew upgrade tmux"),
    ];
    let has = |program: &&(&str, &str, &str)| {
        ["/usr/bin", "/bin", "/sbin", "/usr/local/bin", "/opt/homebrew/bin"]
            .iter()
            .any(|dir| Path::new(dir).join(program.0).exists())
    };
    match MANAGERS.iter().find(has) {
        Some((_, _, upgrade)) if verb == "upgrade" => (*upgrade).to_owned(),
        Some((_, install, _)) => (*install).to_owned(),
        None => format!("{verb} tmux with this system's package manager"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_gated() {
        for good in [
            "3.2",
            "3.2a",
            "3.3a",
            "3.10",
            "4.0",
            "next-3.4",
            "3.4-rc2",
            "master",
            "openbsd-7.3",
            "3.2\n",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "1.8",
            "2.6",
            "3.1c",
            "3.0a",
            "next-3.1",
            "openbsd-6.9",
            "",
            "x",
            "3",
            "3.",
            ".2",
            "-1.9",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_problem_says_what_and_how() {
        let problem = check("2.6").unwrap_err();
        assert!(problem.message.contains("3.2") && problem.message.contains("2.6"));
        assert!(problem.hint.contains("tmux") && missing().hint.contains("tmux"));
    }
}

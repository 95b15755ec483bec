//! What a process is called, for people and for rules: by its script, where an interpreter runs one, and whether it is a
//! shell somebody types at. Pure.

/// Shells.
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "fish", "ksh", "ksh93", "mksh", "oksh", "yash", "tcsh", "csh",
    "rbash", "nu", "elvish", "xonsh", "pwsh",
];

/// Those of them that read keys at their prompt, so that where one reads a line it asks for it.
const EDITING: &[&str] = &["bash", "rbash", "zsh", "fish", "tcsh"];

/// Other programs that run scripts, without the version behind their names.
const INTERPRETERS: &[&str] = &[
    "node", "nodejs", "bun", "deno", "python", "pypy", "ruby", "perl", "php", "lua", "luajit", "tclsh",
];

/// Options of interpreters whose value is the next word.
const WITH_VALUE: &[&str] = &[
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "-W",
    "-X",
    "-I",
];

/// Options behind which a program itself stands, in place of a script.
const WITH_PROGRAM: &[&str] = &["-c", "-e", "-p", "-pe", "--eval", "--print", "-"];

/// Longest name that the kernel keeps.
const COMM_MAX: usize = 15;

/// A process's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// What it is called.
    pub(super) program: String,
    /// It is a shell that takes commands.
    pub(super) shell: bool,
    /// It is one that reads keys at its prompt, as a rule.
    pub(super) edits: bool,
}

/// Scripts whose names say nothing: they are what a package begins with.
const NAMELESS: &[&str] = &["index.js", "main.js", "cli.js", "__main__.py"];

/// Names a process by what the kernel calls it and by its arguments.
pub(super) fn name(comm: &str, arguments: &[String]) -> Name {
    let (first, rest) = match arguments.split_first() {
        Some((first, rest)) => (base(first).trim_start_matches('-'), rest),
        None => (comm, &[][..]),
    };
    // What did not fit is in the first argument.
    let own = if comm.len() >= COMM_MAX && first.starts_with(comm) {
        first
    } else {
        comm
    };
    if SHELLS.contains(&own) {
        return shell(own, rest);
    }
    // One program that is many, by its first argument.
    if own == "busybox"
        && let Some((applet, rest)) = rest.split_first()
        && SHELLS.contains(&applet.as_str())
    {
        return shell(applet, rest);
    }
    let unversioned = own.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let script = INTERPRETERS
        .contains(&unversioned)
        .then(|| script(rest))
        .flatten();
    // Cursor's starter calls its interpreter by the name that it was started by.
    let script = script.map(|script| {
        let has_name = !NAMELESS.contains(&script) || first.is_empty() || first.starts_with(own);
        if has_name { script } else { first }
    });
    Name {
        program: script.unwrap_or(own).to_owned(),
        shell: false,
        edits: false,
    }
}

/// The script that an interpreter runs.
fn script(arguments: &[String]) -> Option<&str> {
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-m" => return words.next(),
            "run" | "x" => {}
            _ if WITH_PROGRAM.contains(&word) => return None,
            _ if WITH_VALUE.contains(&word) => {
                words.next();
            }
            _ if word.starts_with('-') => {}
            _ => return Some(base(word)),
        }
    }
    None
}

fn shell(own: &str, arguments: &[String]) -> Name {
    let edits = EDITING.contains(&own) && !arguments.iter().any(|word| word == "--noediting");
    let named = |program: &str, shell| Name {
        program: program.to_owned(),
        shell,
        edits: shell && edits,
    };
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--rcfile" | "--init-file" | "--init-command" | "-C" | "-o" | "+o" | "-O" | "+O" => {
                words.next();
            }
            "--command" => return named(own, false),
            _ if word.starts_with("--") => {}
            _ if word.starts_with('-') && word.contains('c') => return named(own, false),
            _ if word.starts_with(['-', '+']) => {}
            _ => return named(base(word), false),
        }
    }
    named(own, true)
}

fn base(path: &str) -> &str {
    path.rsplit('/')
        .next()
        .filter(|base| !base.is_empty())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(comm: &str, line: &str) -> (String, bool) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let name = name(comm, &arguments);
        (name.program, name.shell)
    }

    #[test]
    fn shells_that_read_keys_are_known_by_their_names() {
        let edits = |comm: &str, line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            name(comm, &words).edits
        };
        for line in ["-bash", "bash --norc -i", "zsh -l", "/usr/bin/fish"] {
            let comm = base(line.split(' ').next().unwrap()).trim_start_matches('-');
            assert!(edits(comm, line), "{line}");
        }
        for (comm, line) in [
            ("bash", "bash --noediting"),
            ("bash", "bash -c make"),
            ("dash", "dash -i"),
            ("sh", "sh"),
            ("busybox", "busybox ash"),
            ("python3", "python3"),
        ] {
            assert!(!edits(comm, line), "{line}");
        }
    }

    #[test]
    fn shells_are_those_somebody_types_at() {
        for (comm, line) in [
            ("bash", "-bash"),
            ("bash", "/bin/bash --norc --noprofile -i"),
            ("bash", "bash --rcfile /x/rc -l"),
            ("bash", "bash -O extglob"),
            ("zsh", "zsh -l"),
            ("fish", "/usr/bin/fish -C true"),
            ("sh", "sh"),
            ("sh", ""),
        ] {
            assert_eq!(is(comm, line), (comm.to_owned(), true), "{line}");
        }
        assert_eq!(is("sh", "sh -c make"), ("sh".to_owned(), false));
        assert_eq!(is("busybox", "busybox ash"), ("ash".to_owned(), true));
        assert_eq!(is("busybox", "busybox sh -c make"), ("sh".to_owned(), false));
        assert_eq!(is("busybox", "busybox vi"), ("busybox".to_owned(), false));
        assert_eq!(is("bash", "bash -lc make"), ("bash".to_owned(), false));
        assert_eq!(
            is("bash", "bash -e ./deploy.sh now"),
            ("deploy.sh".to_owned(), false)
        );
        assert_eq!(
            is("deploy.sh", "/bin/sh ./deploy.sh"),
            ("deploy.sh".to_owned(), false)
        );
    }

    #[test]
    fn scripts_are_called_by_their_own_name() {
        for (comm, line, name) in [
            ("node", "node /usr/bin/claude --resume", "claude"),
            (
                "node",
                "/usr/bin/node --no-warnings -r ./hook.js /opt/bin/gemini",
                "gemini",
            ),
            ("node", "node -e 1", "node"),
            ("node", "node", "node"),
            ("claude", "claude", "claude"),
            (
                "node",
                "/home/me/.local/bin/cursor-agent --use-system-ca /x/versions/1/index.js --resume",
                "cursor-agent",
            ),
            ("node", "/usr/bin/node /srv/app/index.js", "index.js"),
            ("python3.11", "python3.11 -X dev -m http.server 80", "http.server"),
            ("python3", "/usr/bin/python3 /usr/bin/aider", "aider"),
            ("deno", "deno run -A main.ts", "main.ts"),
            ("make", "make -j4", "make"),
            (
                "a-very-long-pro",
                "/x/a-very-long-program-name",
                "a-very-long-program-name",
            ),
            ("a-very-long-pro", "other", "a-very-long-pro"),
            ("vim", "", "vim"),
        ] {
            assert_eq!(is(comm, line), (name.to_owned(), false), "{line}");
        }
    }
}

//! The few settings of git that decide what counts: `core.excludesFile`, `core.ignoreCase`, the kind of its hashes.
//!
//! Git is asked when it is there, so that includes and conditions hold as the user wrote them. Without git the usual
//! files are read, without includes. Nothing is ever written, and no program of the repository's choice is run.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long git may take. It answers in milliseconds; a home directory on a network that hangs must not stop a scan.
const DEADLINE: Duration = Duration::from_secs(10);
/// A configuration file that is longer is none.
const LARGEST: u64 = 4 << 20;

/// Where the user's own git settings are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, when it is set to an absolute path.
    pub config_home: Option<PathBuf>,
}

/// What git was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// File of the global patterns.
    pub excludes_file: Option<PathBuf>,
    /// Case does not count in patterns.
    pub ignore_case: bool,
    /// Hashes are those of SHA-256.
    pub sha256: bool,
}

impl Places {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Self {
            home: absolute("HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
        }
    }

    /// `$XDG_CONFIG_HOME/git/NAME`.
    fn in_config(&self, name: &str) -> Option<PathBuf> {
        let config = self
            .config_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".config")))?;
        Some(config.join("git").join(name))
    }

    /// Files of settings that hold in every repository, whether they are there or not. The last one that sets something
    /// decides.
    pub(super) fn settings(&self) -> Vec<PathBuf> {
        let files = [
            Some(PathBuf::from("/etc/gitconfig")),
            self.in_config("config"),
            self.home.as_ref().map(|home| home.join(".gitconfig")),
        ];
        files.into_iter().flatten().collect()
    }

    /// Runs git in a directory, without anything in the environment that turns it elsewhere, and gives what it printed.
    /// `None` when it is not there, fails, or does not answer in time.
    pub(super) fn git(&self, dir: &Path, args: &[&str]) -> Option<Vec<u8>> {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.as_bytes().starts_with(b"GIT_") {
                command.env_remove(name);
            }
        }
        // It must not wait for a lock to refresh something by the way.
        command.env("GIT_OPTIONAL_LOCKS", "0");
        set(&mut command, "HOME", self.home.as_deref());
        set(&mut command, "XDG_CONFIG_HOME", self.config_home.as_deref());
        output(command.spawn().ok()?)
    }
}

impl Settings {
    /// What holds in a repository whose working tree and common directory are these, or for the user alone.
    /// `git_is_there` says whether git can be asked.
    #[must_use]
    pub fn read(places: &Places, git_is_there: bool, repository: Option<(&Path, &Path)>) -> Self {
        let dir = repository.map_or(Path::new("/"), |(top, _)| top);
        let wanted = r"^(core\.(excludesfile|ignorecase)|extensions\.objectformat)$";
        let mut settings = Self::default();
        let mut file = None;
        let mut take = |name: &str, value: Option<&[u8]>| match name {
            "core.excludesfile" => file = value.map(<[u8]>::to_vec),
            "core.ignorecase" => settings.ignore_case = value.is_none_or(is_true),
            "extensions.objectformat" => settings.sha256 = value == Some(b"sha256"),
            _ => {}
        };
        if git_is_there {
            // Nothing set at all is a failure for git.
            let listing = places
                .git(dir, &["config", "-z", "--get-regexp", wanted])
                .unwrap_or_default();
            for setting in listing
                .split(|&byte| byte == 0)
                .filter(|setting| !setting.is_empty())
            {
                let mut parts = setting.splitn(2, |&byte| byte == b'\n');
                let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
                take(&name, parts.next());
            }
        } else {
            let own = repository.map(|(_, common)| common.join("config"));
            for path in places.settings().into_iter().chain(own) {
                if let Some(content) = small_file(&path, LARGEST) {
                    parse(&content, &mut take);
                }
            }
        }
        settings.excludes_file = match file {
            Some(path) => expand(&path, dir, places),
            None => places.in_config("ignore"),
        };
        settings
    }
}

/// Reads a file that is not longer than that.
pub(super) fn small_file(path: &Path, largest: u64) -> Option<Vec<u8>> {
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(largest + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= largest).then_some(content)
}

fn set(command: &mut Command, name: &str, value: Option<&Path>) {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
}

/// What a program prints until it ends well, at most until the deadline.
fn output(mut child: Child) -> Option<Vec<u8>> {
    let mut stdout = child.stdout.take()?;
    let (printed, print) = mpsc::sync_channel(1);
    let reader = thread::spawn(move || {
        let mut content = Vec::new();
        let read = stdout.read_to_end(&mut content);
        // Nobody may wait any more.
        let _ = printed.send(read.map(|_| content));
    });
    let content = print.recv_timeout(DEADLINE);
    if content.is_err() {
        let _ = child.kill();
    }
    let status = child.wait();
    if content.is_ok() {
        // It has sent, so it is at its end.
        let _ = reader.join();
    }
    let content = content.ok()?.ok()?;
    status.ok()?.success().then_some(content)
}

fn is_true(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    matches!(value.as_str(), "true" | "yes" | "on") || value.parse::<i64>().is_ok_and(|number| number != 0)
}

/// A path as git takes it: `~/` is the home directory, a relative one is below the working tree. Empty: none.
fn expand(path: &[u8], dir: &Path, places: &Places) -> Option<PathBuf> {
    if path.is_empty() {
        return None;
    }
    if let Some(rest) = path.strip_prefix(b"~/") {
        return Some(places.home.as_ref()?.join(OsStr::from_bytes(rest)));
    }
    Some(dir.join(OsString::from_vec(path.to_vec())))
}

/// Goes through a configuration file. A value that is not there is `None`, as for git.
fn parse(content: &[u8], take: &mut impl FnMut(&str, Option<&[u8]>)) {
    let mut section = String::new();
    for line in content.split(|&byte| byte == b'\n') {
        let mut line = line.trim_ascii();
        if let Some(rest) = line.strip_prefix(b"[") {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                continue;
            };
            section = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            line = rest[end + 1..].trim_ascii_start();
        }
        if line.is_empty() || matches!(line[0], b'#' | b';') {
            continue;
        }
        let mut parts = line.splitn(2, |&byte| byte == b'=');
        let name =
            String::from_utf8_lossy(parts.next().unwrap_or_default().trim_ascii()).to_ascii_lowercase();
        take(&format!("{section}.{name}"), parts.next().map(value).as_deref());
    }
}

/// A value without its comment, quotes and escapes.
fn value(raw: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut solid = 0;
    let mut quoted = false;
    let mut bytes = raw.trim_ascii_start().iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => value.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(&byte) => byte,
                None => break,
            }),
            b'#' | b';' if !quoted => break,
            byte => value.push(byte),
        }
        if quoted || !byte.is_ascii_whitespace() {
            solid = value.len();
        }
    }
    value.truncate(solid);
    value
}

#[cfg(test)]
mod tests {
    use super::{is_true, parse};

    #[test]
    fn a_configuration_file_is_read_without_git() {
        let content = b"# c\n[core]\n\texcludesFile = \"~/my ignore\" ; why\n ignorecase\n[extensions] objectFormat=sha256\n\
            [remote \"x\"]\n url = a\\\\b\n";
        let mut seen = Vec::new();
        parse(content, &mut |name, value| {
            seen.push((
                name.to_owned(),
                value.map(|value| String::from_utf8_lossy(value).into_owned()),
            ));
        });
        let right = [
            ("core.excludesfile", Some("~/my ignore")),
            ("core.ignorecase", None),
            ("extensions.objectformat", Some("sha256")),
            ("remote \"x\".url", Some("a\\b")),
        ];
        assert_eq!(
            seen,
            right.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
        );
    }

    #[test]
    fn truth_has_many_words() {
        assert!(
            ["true", "YES", "on", "1"]
                .iter()
                .all(|word| is_true(word.as_bytes()))
        );
        assert!(
            ["false", "no", "off", "0", ""]
                .iter()
                .all(|word| !is_true(word.as_bytes()))
        );
    }
}

//! A repository in a directory of its own, what git says counts in it, and what we say.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use outlast_sync::rules::{DirRules, Holds, Places, Rules, RulesConfig, Verdict};
use tempfile::TempDir;

/// Paths, lossy: they are printed when they differ.
pub type Paths = BTreeSet<String>;

pub struct Bed {
    _keep: TempDir,
    /// Top of the repository, or of a tree without one.
    pub top: PathBuf,
    pub places: Places,
}

impl Bed {
    /// An empty tree and a home directory, without a repository.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Rules take paths without symlinks.
        let base = dir.path().canonicalize().unwrap();
        let bed = Self {
            _keep: dir,
            top: base.join("top"),
            places: Places {
                home: Some(base.join("home")),
                config_home: None,
            },
        };
        fs::create_dir_all(base.join("home/.config/git")).unwrap();
        fs::create_dir(&bed.top).unwrap();
        bed
    }

    /// An empty repository, made by hand since git takes longer.
    pub fn repository() -> Self {
        let bed = Self::bare();
        repository_at(&bed.top);
        bed
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A file in the home directory.
    pub fn write_home(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.places.home.as_ref().unwrap().join(path), content).unwrap();
    }

    pub fn git(&self, args: &[&str]) -> Vec<u8> {
        self.git_in(&self.top, args)
    }

    pub fn git_in(&self, dir: &Path, args: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.places.home.as_ref().unwrap())
            .stdin(Stdio::null())
            .output()
            .expect("git must be installed for these tests: apt install git");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {message}");
        output.stdout
    }

    /// What git says counts below a directory: those of its files that are there. Repositories inside are left out, as
    /// git lists them as one entry.
    pub fn by_git(&self, dir: &Path) -> Paths {
        let listing = self.git_in(dir, &["ls-files", "-co", "--exclude-standard", "-z"]);
        listing
            .split(|&byte| byte == 0)
            .filter(|path| !path.is_empty() && !path.ends_with(b"/"))
            .filter(|path| {
                let found = dir.join(OsStr::from_bytes(path)).symlink_metadata();
                found.is_ok_and(|found| !found.is_dir())
            })
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect()
    }

    /// What we say counts below a directory.
    pub fn by_us(&self, dir: &Path, config: &RulesConfig) -> Paths {
        let rules = Rules::open(dir, config, &self.places).unwrap();
        let mut found = Paths::new();
        let at = File::open(dir).unwrap();
        let root = rules.root(&at, holds(dir));
        walk(&rules, &root, dir, "", &mut found);
        assert_eq!(rules.problems(), []);
        found
    }
}

/// Makes a directory a repository that git accepts.
pub fn repository_at(top: &Path) {
    let git = top.join(".git");
    fs::create_dir_all(git.join("objects")).unwrap();
    fs::create_dir_all(git.join("refs")).unwrap();
    fs::create_dir_all(git.join("info")).unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(
        git.join("config"),
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
    )
    .unwrap();
}

fn holds(dir: &Path) -> Holds {
    let mut holds = Holds::default();
    for entry in fs::read_dir(dir).unwrap() {
        holds.note(entry.unwrap().file_name().as_bytes());
    }
    holds
}

fn walk(rules: &Rules, here: &DirRules, dir: &Path, prefix: &str, found: &mut Paths) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let is_dir = entry.file_type().unwrap().is_dir();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let verdict = rules.verdict(here, name.as_bytes(), is_dir);
        if verdict == Verdict::Ignored {
            continue;
        }
        if is_dir {
            let below = entry.path();
            let inside = rules.enter(
                here,
                name.as_bytes(),
                verdict,
                File::open(&below).unwrap(),
                holds(&below),
            );
            walk(rules, &inside, &below, &format!("{path}/"), found);
        } else {
            found.insert(path);
        }
    }
}

//! A source in a directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use outlast_sync::{
    Root,
    rules::{Places, Rules, RulesConfig},
    scan::{Scan, Scope, look, scan},
};
use outlast_tree::RelPath;
use tempfile::TempDir;

pub struct Bed {
    _keep: TempDir,
    pub top: PathBuf,
}

impl Bed {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        fs::create_dir(&top).unwrap();
        Self { _keep: dir, top }
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn root(&self) -> Root {
        Root::open(&self.top, None).unwrap()
    }

    pub fn rules(&self) -> Rules {
        let places = Places {
            home: Some(self.top.parent().unwrap().join("home")),
            config_home: None,
        };
        Rules::open(&self.top, &RulesConfig::default(), &places).unwrap()
    }

    pub fn scan(&self) -> Scan {
        scan(&self.root(), &self.rules(), &AtomicBool::new(false), &|_| {})
    }

    pub fn look(&self, trees: &[&str], entries: &[&str]) -> Scan {
        let paths = |paths: &[&str]| paths.iter().map(|path| rel(path)).collect();
        let scope = Scope {
            trees: paths(trees),
            entries: paths(entries),
        };
        look(
            &self.root(),
            &self.rules(),
            &scope,
            &AtomicBool::new(false),
            &|_| {},
        )
    }
}

pub fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

/// Paths that were found, in the order they are in.
pub fn paths(scan: &Scan) -> Vec<String> {
    scan.tree
        .iter()
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect()
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0)
}

/// Makes a device, FIFO or the like, which std cannot.
pub fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

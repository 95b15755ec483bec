//! What somebody else has at the far side: it must stay as it is to the byte.

use std::{collections::BTreeMap, fs, path::Path};

use outlast_testkit::Random;

use crate::{
    content,
    edits::any_name,
    tree::{Kind, Node, above, at, join, look, name, walk},
};

/// Everything of somebody else's.
#[derive(Default)]
pub struct Foreign {
    /// In the target, by path.
    inside: BTreeMap<Vec<u8>, Thing>,
    /// Beside it, by name.
    outside: BTreeMap<Vec<u8>, Thing>,
    number: u64,
}

/// A file of somebody else's.
struct Thing {
    node: Node,
    content: Vec<u8>,
}

impl Foreign {
    /// Puts something there, changes what a sync wrote, or takes something of its own away. Nothing else must be written
    /// there at the moment.
    pub fn meddle(&mut self, random: &mut Random, target: &Path) {
        self.number += 1;
        let there = walk(target);
        let dirs: Vec<&[u8]> = there
            .iter()
            .filter(|(_, node)| node.kind == Kind::Dir)
            .map(|(path, _)| path.as_slice())
            .chain([&b""[..]])
            .collect();
        let dir = dirs[usize::try_from(random.between(0, dirs.len() as u64)).unwrap()];
        match random.between(0, 10) {
            0..2 => {
                let name = format!("neighbour {}", self.number).into_bytes();
                let thing = write(&at(target.parent().unwrap(), &name), self.number, random);
                self.outside.insert(name, thing);
            }
            2..5 => {
                let path = join(dir, format!("foreign {}", self.number).as_bytes());
                let thing = write(&at(target, &path), self.number, random);
                self.inside.insert(path, thing);
            }
            // Where the source may have something later.
            5..7 => {
                let path = join(dir, &any_name(random));
                if !there.contains_key(&path) {
                    let thing = write(&at(target, &path), self.number, random);
                    self.inside.insert(path, thing);
                }
            }
            7..8 => {
                let mut files = there
                    .iter()
                    .filter(|(path, node)| node.kind == Kind::File && !self.inside.contains_key(*path));
                let count = files.clone().count() as u64;
                let pick = usize::try_from(random.between(0, count)).unwrap();
                if let Some((path, _)) = files.nth(pick) {
                    println!("changed there: {}", path.escape_ascii());
                    let thing = write(&at(target, path), self.number, random);
                    self.inside.insert(path.clone(), thing);
                }
            }
            _ => {
                let count = self.inside.len() as u64;
                let pick = usize::try_from(random.between(0, count)).unwrap();
                let path = self.inside.keys().nth(pick).cloned();
                if let Some(path) = path {
                    self.inside.remove(&path);
                    take_away(target, &path);
                }
            }
        }
    }

    /// Takes all of it away.
    pub fn leave(&mut self, target: &Path) {
        for path in std::mem::take(&mut self.inside).into_keys() {
            take_away(target, &path);
        }
    }

    /// Asserts that all of it is as it was.
    pub fn assert_untouched(&self, target: &Path) {
        let inside = self.inside.iter().map(|(path, thing)| (at(target, path), thing));
        let outside = self
            .outside
            .iter()
            .map(|(name, thing)| (at(target.parent().unwrap(), name), thing));
        for (path, thing) in inside.chain(outside) {
            let found = look(&path).unwrap_or_else(|error| panic!("{path:?} of somebody else's: {error}"));
            assert_eq!(found, thing.node, "{path:?} of somebody else's was touched");
            assert!(
                fs::read(&path).unwrap() == thing.content,
                "{path:?} of somebody else's was changed"
            );
        }
    }

    /// Whether it is somebody else's.
    pub fn has(&self, path: &[u8]) -> bool {
        self.inside.contains_key(path)
    }

    /// Whether it is a directory that something of somebody else's is in.
    pub fn is_below(&self, path: &[u8]) -> bool {
        let first = join(path, b"");
        let mut after = self.inside.range(first.clone()..);
        after.next().is_some_and(|(found, _)| found.starts_with(&first))
    }

    /// Whether an entry cannot be there because of what is.
    pub fn is_in_the_way(&self, path: &[u8], kind: Kind) -> bool {
        self.has(path) || above(path).any(|dir| self.has(dir)) || (kind != Kind::Dir && self.is_below(path))
    }
}

/// Removes a file, and the directories that stayed because of it and are nobody's any more. What is needed of them is made
/// again.
fn take_away(target: &Path, path: &[u8]) {
    fs::remove_file(at(target, path)).unwrap();
    for dir in above(path) {
        let _ = fs::remove_dir(at(target, dir));
    }
}

fn write(path: &Path, number: u64, random: &mut Random) -> Thing {
    // Like nothing that a source ever has.
    let mut content = format!("foreign {number} {}", random.number()).into_bytes();
    content.extend(content::noise(random, 100));
    fs::write(path, &content).unwrap();
    assert!(!name(path.as_os_str().as_encoded_bytes()).is_empty());
    Thing {
        node: look(path).unwrap(),
        content,
    }
}

//! Trees of files to copy, with content that cannot be packed.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use outlast_testkit::Random;

/// A mebibyte.
pub(crate) const MEBIBYTE: usize = 1 << 20;

/// A directory with files.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// Directories below it.
    pub(crate) dirs: Vec<PathBuf>,
    /// Files below it.
    pub(crate) files: Vec<PathBuf>,
}

impl Tree {
    /// So many directories with so many files each.
    pub(crate) fn new(root: PathBuf, dirs: usize, files: usize, size: usize) -> Self {
        let mut random = Random::new(1);
        let mut tree = Self {
            root,
            dirs: (0..dirs)
                .map(|dir| PathBuf::from(format!("dir{dir:03}")))
                .collect(),
            files: Vec::new(),
        };
        for dir in &tree.dirs {
            fs::create_dir_all(tree.root.join(dir)).expect("the sandbox can be written");
            for file in 0..files {
                let file = dir.join(format!("file{file:03}"));
                fs::write(tree.root.join(&file), bytes(&mut random, size)).expect("/tmp holds a tree");
                tree.files.push(file);
            }
        }
        tree
    }
}

/// Random bytes.
pub(crate) fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(count + 7);
    while all.len() < count {
        all.extend(random.number().to_le_bytes());
    }
    all.truncate(count);
    all
}

/// Writes a file of so many mebibytes.
pub(crate) fn large(path: &Path, mebibytes: usize) {
    let mut random = Random::new(2);
    let mut file = File::create(path).expect("the sandbox can be written");
    for _ in 0..mebibytes {
        file.write_all(&bytes(&mut random, MEBIBYTE))
            .expect("/tmp holds a large file");
    }
}

/// Writes a mebibyte somewhere in a file of so many.
pub(crate) fn change(path: &Path, mebibytes: usize, random: &mut Random) {
    let end = ((mebibytes - 1) * MEBIBYTE) as u64;
    let (at, new) = (random.between(0, end), bytes(random, MEBIBYTE));
    let file = File::options().write(true).open(path).expect("the file is there");
    file.write_all_at(&new, at).expect("/tmp can be written");
}

/// Everything that was written before is on the disk, so that nobody pays for what another wrote.
pub(crate) fn settle() {
    rustix::fs::sync();
}

/// Removes a directory or a file with all there is in it.
pub(crate) fn remove(path: &Path) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

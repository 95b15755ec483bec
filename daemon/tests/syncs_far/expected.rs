//! What of a source counts, found by asking git: `git ls-files -co --exclude-standard` for git's rules, and
//! `git check-ignore` for `.outlastignore` (in a shadow of the directories, where these files are called `.gitignore`) and
//! for directories, which git does not list.
//!
//! Holds for sources whose `.outlastignore` files bring back no directories, and without repositories inside.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use outlast_testkit::{Process, Sandbox};

use crate::{
    PATIENCE,
    tree::{Kind, Tree, above, at, join, name, walk},
};

/// What `--exclude` is given, in words that this file knows too: what ends so, and a directory at the top.
pub const EXCLUDE: [&str; 4] = ["--exclude", "*.drop", "--exclude", "/skip/"];

/// Everything that counts, and all there is.
pub fn expected(sandbox: &Sandbox, source: &Path) -> (Tree, Tree) {
    let all = walk(source);
    let listed: BTreeSet<Vec<u8>> = records(&git(
        sandbox,
        source,
        &["ls-files", "-co", "--exclude-standard", "-z"],
        b"",
    ));
    let tracked: BTreeSet<Vec<u8>> = records(&git(sandbox, source, &["ls-files", "-c", "-z"], b""));
    let dirs: Vec<&[u8]> = of_kind(&all, Kind::Dir);
    let ignored_dirs = matches(sandbox, source, &dirs, false);
    let own = own(sandbox, source, &all, &dirs);

    let mut counting = Tree::new();
    let mut only_tracked: BTreeSet<&[u8]> = BTreeSet::new();
    // In the order of paths a directory comes before what is in it.
    for (path, node) in &all {
        let parent = above(path).next();
        let parent_counts = parent.is_none_or(|dir| counting.contains_key(dir) || only_tracked.contains(dir));
        if !parent_counts || node.kind == Kind::Other || is_excluded(path, node.kind) {
            continue;
        }
        let below_ignored = parent.is_some_and(|dir| ignored_dirs.contains_key(dir));
        let counts = match own.get(path.as_slice()) {
            Some(true) => false,
            Some(false) if !below_ignored => true,
            _ if node.kind == Kind::Dir => {
                if ignored_dirs.contains_key(path.as_slice()) {
                    only_tracked.insert(path);
                    false
                } else {
                    true
                }
            }
            _ => listed.contains(path),
        };
        if counts {
            counting.insert(path.clone(), node.clone());
        }
    }
    // An ignored directory is there for the sake of what git tracks below it.
    let holding: BTreeSet<Vec<u8>> = counting
        .iter()
        .filter(|(path, node)| node.kind != Kind::Dir && tracked.contains(*path))
        .flat_map(|(path, _)| above(path).map(<[u8]>::to_vec))
        .collect();
    for dir in only_tracked {
        if holding.contains(dir) {
            counting.insert(dir.to_vec(), all[dir].clone());
        }
    }
    (counting, all)
}

fn of_kind(all: &Tree, kind: Kind) -> Vec<&[u8]> {
    all.iter()
        .filter(|(_, node)| node.kind == kind)
        .map(|(path, _)| path.as_slice())
        .collect()
}

/// What [`EXCLUDE`] says.
fn is_excluded(path: &[u8], kind: Kind) -> bool {
    name(path).ends_with(b".drop") || (path == b"skip" && kind == Kind::Dir)
}

/// What the `.outlastignore` files say of paths: whether they are ignored. Not in it: nothing.
fn own(sandbox: &Sandbox, source: &Path, all: &Tree, dirs: &[&[u8]]) -> BTreeMap<Vec<u8>, bool> {
    let shadow = tempfile::tempdir_in(sandbox.path()).unwrap();
    let root = shadow.path();
    drop(git(sandbox, root, &["init", "-q"], b""));
    for dir in dirs {
        fs::create_dir(at(root, dir)).unwrap();
    }
    for dir in dirs.iter().copied().chain([&b""[..]]) {
        let list = join(dir, b".outlastignore");
        if all.get(&list).is_some_and(|node| node.kind == Kind::File) {
            fs::copy(at(source, &list), at(root, &join(dir, b".gitignore"))).unwrap();
        }
    }
    let paths: Vec<&[u8]> = all.keys().map(Vec::as_slice).collect();
    matches(sandbox, root, &paths, true)
}

/// What git's patterns say of paths: whether they are ignored. Not in it: nothing, or that they are not unless `both` is
/// asked for.
fn matches(sandbox: &Sandbox, root: &Path, paths: &[&[u8]], both: bool) -> BTreeMap<Vec<u8>, bool> {
    let input = paths
        .iter()
        .flat_map(|path| [path, &b"\0"[..]])
        .collect::<Vec<_>>()
        .concat();
    // In the shadow git's own files of patterns have no say.
    let excludes = if both {
        "core.excludesFile=/dev/null"
    } else {
        "core.quotePath=true"
    };
    let args = [
        "-c",
        excludes,
        "check-ignore",
        "--no-index",
        "-v",
        "-n",
        "-z",
        "--stdin",
    ];
    let told = git(sandbox, root, &args, &input);
    let mut fields = told.split(|byte| *byte == 0);
    let mut found = BTreeMap::new();
    while let (Some(_file), Some(_line), Some(pattern), Some(path)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    {
        let is_ignored = !pattern.starts_with(b"!");
        if !pattern.is_empty() && (both || is_ignored) {
            found.insert(path.to_vec(), is_ignored);
        }
    }
    found
}

fn records(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn git(sandbox: &Sandbox, dir: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    // From a file: git answers while it reads, and who writes to it would wait for who reads.
    let mut stdin = tempfile::tempfile_in(sandbox.path()).unwrap();
    std::io::Write::write_all(&mut stdin, input).unwrap();
    std::io::Seek::rewind(&mut stdin).unwrap();
    let mut command = sandbox.command("git");
    command.current_dir(dir).args(args);
    let ran = Process::start_with_stdin(command, stdin).finish(PATIENCE);
    // Told by `check-ignore` when nothing matches.
    assert!(
        ran.exit() == 0 || (ran.exit() == 1 && args.contains(&"check-ignore")),
        "{ran}"
    );
    ran.stdout
}

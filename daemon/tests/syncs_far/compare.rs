//! Whether a target is as it should be: by a walk of the test's own and by rsync.

use std::{fs, path::Path};

use outlast_testkit::{Sandbox, run};
use serde_json::Value;

use crate::{
    PATIENCE,
    bed::{Bed, problems, text},
    expected::expected,
    foreign::Foreign,
    tree::{Kind, Tree, above, at, name, shown, walk},
};

/// Most differences that are told.
const TOLD: usize = 12;

/// Asserts that the far side has what counts of the source and nothing else but what is somebody else's, and that the
/// sync tells of the conflicts there have to be and of no others.
pub fn assert_equal(bed: &Bed, foreign: &Foreign, sync: &Value) {
    let (counting, all) = expected(&bed.sandbox, &bed.source);
    let there = walk(&bed.target);
    let blocked: Tree = counting
        .iter()
        .filter(|(path, node)| foreign.is_in_the_way(path, node.kind))
        .map(|(path, node)| (path.clone(), node.clone()))
        .collect();
    let mut wrong = differences(bed, foreign, &counting, &blocked, &there);
    wrong.extend(untold(foreign, &blocked, sync));
    wrong.extend(told_wrong(foreign, &blocked, &all, sync));
    foreign.assert_untouched(&bed.target);
    if wrong.is_empty() {
        wrong = rsync(&bed.sandbox, &bed.source, &bed.target, |path| {
            let has_foreign = foreign.has(path) || foreign.is_below(path) && !counting.contains_key(path);
            has_foreign
                || blocked.contains_key(path)
                || (all.contains_key(path) && !counting.contains_key(path))
        });
    }
    let count = wrong.len();
    wrong.truncate(TOLD);
    assert!(count == 0, "{count} differences:\n{}\n{sync:#}", wrong.join("\n"));
    println!(
        "{} entries equal, {} of {} left out, {} in conflict",
        counting.len(),
        all.len() - counting.len(),
        all.len(),
        blocked.len()
    );
}

fn differences(bed: &Bed, foreign: &Foreign, counting: &Tree, blocked: &Tree, there: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, node) in counting {
        if blocked.contains_key(path) {
            continue;
        }
        match there.get(path) {
            None => wrong.push(format!("missing: {} {node:?}", shown(path))),
            Some(found) if found != node => {
                wrong.push(format!(
                    "differs: {}\n  here  {node:?}\n  there {found:?}",
                    shown(path)
                ));
            }
            Some(_) if node.kind == Kind::File => {
                let read = |root: &Path| fs::read(at(root, path)).unwrap();
                if read(&bed.source) != read(&bed.target) {
                    wrong.push(format!("other content: {}", shown(path)));
                }
            }
            Some(_) => {}
        }
    }
    for (path, node) in there {
        let staged = name(path).starts_with(b".outlast-");
        let is_known = counting.contains_key(path) || foreign.has(path) || foreign.is_below(path);
        if staged || !is_known {
            wrong.push(format!("too much: {} {node:?}", shown(path)));
        }
    }
    wrong
}

/// Conflicts that there are and that the sync does not tell of.
fn untold(foreign: &Foreign, blocked: &Tree, sync: &Value) -> Vec<String> {
    let told = problems(sync);
    let tops = blocked
        .keys()
        .filter(|path| !above(path).any(|dir| blocked.contains_key(dir)));
    tops.filter(|path| {
        let text = String::from_utf8_lossy(path);
        !told.iter().any(|(_, at)| *at == text)
    })
    .map(|path| {
        format!(
            "a conflict that nobody is told of: {} ({})",
            shown(path),
            foreign.has(path)
        )
    })
    .collect()
}

/// Problems for which there is no reason.
fn told_wrong(foreign: &Foreign, blocked: &Tree, all: &Tree, sync: &Value) -> Vec<String> {
    let lossy = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    problems(sync)
        .into_iter()
        .filter(|(kind, at)| match kind.as_str() {
            "conflict" => {
                let is_blocked = blocked.keys().any(|path| lossy(path) == *at);
                !is_blocked && !foreign.has(at.as_bytes()) && !foreign.is_below(at.as_bytes())
            }
            "not_empty" => !foreign.is_below(at.as_bytes()),
            "special_file" => !all
                .iter()
                .any(|(path, node)| node.kind == Kind::Other && lossy(path) == *at),
            _ => true,
        })
        // A name that is no text cannot be told from others.
        .filter(|(_, at)| !at.contains('\u{fffd}'))
        .map(|(kind, at)| format!("a problem without a reason: {kind} {at:?}"))
        .collect()
}

/// What rsync would do to make the target equal, paths aside that it is not to look at.
pub fn rsync(sandbox: &Sandbox, source: &Path, target: &Path, skip: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let mut excludes = Vec::new();
    let both = [walk(source), walk(target)];
    let paths = both.iter().flat_map(Tree::keys).filter(|path| skip(path));
    for path in paths {
        excludes.push(b'/');
        excludes.extend(pattern(path));
        excludes.push(0);
    }
    if source.join(".git").exists() {
        excludes.extend(b"/.git\0");
    }
    let list = sandbox.path().join("excludes");
    fs::write(&list, excludes).unwrap();
    let mut command = sandbox.command("rsync");
    command
        .args(["--checksum", "--dry-run", "--itemize-changes", "--delete"])
        .args([
            "-rlpt",
            "--omit-dir-times",
            "--omit-link-times",
            "--from0",
            "--exclude-from",
        ])
        .arg(&list)
        .arg(format!("{}/", text(source)))
        .arg(format!("{}/", text(target)));
    let ran = run(command, PATIENCE).success();
    // The target itself is whose it is.
    ran.out()
        .lines()
        .filter(|line| !line.ends_with(" ./"))
        .map(str::to_owned)
        .collect()
}

/// A pattern of rsync's that means just this path: a backslash is one unless there is something to be quoted.
fn pattern(path: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| b"*?[".contains(byte);
    if !path.iter().any(special) {
        return path.to_vec();
    }
    let quoted = path.iter().flat_map(|byte| {
        let quote = (special(byte) || *byte == b'\\').then_some(b'\\');
        quote.into_iter().chain([*byte])
    });
    quoted.collect()
}

//! Indexes of every kind that git writes, read by us.

use std::{fs, path::Path};

use outlast_sync::rules::{Index, RulesConfig};

use crate::bed::Bed;

/// Files that are tracked and ignored, with names that share much and little, and one longer than flags can say.
fn tracked(bed: &Bed) {
    bed.write(".gitignore", "*\n");
    for number in 0..300 {
        bed.write(
            &format!("dir{}/deep/file-{number}", number % 7),
            number.to_string(),
        );
    }
    let long = (0..25)
        .map(|number| format!("{number:0200}"))
        .collect::<Vec<_>>()
        .join("/");
    // The whole path must fit what the kernel takes: it is made of 4,000 bytes below a short top.
    let long = &long[..long.len().min(3900 - bed.top.as_os_str().len())];
    bed.write(long.trim_end_matches('/'), "long");
    bed.write("untracked/file", "");
    bed.git(&["add", "-f", "."]);
    bed.git(&["rm", "-q", "--cached", "-r", "untracked"]);
}

fn agrees(bed: &Bed, hash: usize) {
    let file = fs::read(bed.top.join(".git/index")).unwrap();
    let index = Index::parse(&file, hash).unwrap();
    let listing = bed.git(&["ls-files", "-z"]);
    assert_eq!(index, Index::of_names(&listing));
    assert_eq!(bed.by_us(&bed.top, &RulesConfig::default()), bed.by_git(&bed.top));
}

#[test]
fn versions_2_3_and_4_are_read() {
    let bed = Bed::repository();
    tracked(&bed);
    let version = |bed: &Bed| fs::read(bed.top.join(".git/index")).unwrap()[7];
    for wanted in [2, 4] {
        bed.git(&["update-index", "--index-version", &wanted.to_string()]);
        assert_eq!(version(&bed), wanted);
        agrees(&bed, 20);
    }
    // What is meant to be added later has flags that only version 3 and later have.
    bed.git(&["update-index", "--index-version", "2"]);
    bed.git(&["add", "-f", "--intent-to-add", "untracked/file"]);
    assert_eq!(version(&bed), 3);
    agrees(&bed, 20);
    bed.git(&["update-index", "--index-version", "4"]);
    agrees(&bed, 20);
}

#[test]
fn hashes_of_sha256_are_longer() {
    let bed = Bed::bare();
    bed.git(&["init", "-q", "--object-format=sha256"]);
    tracked(&bed);
    agrees(&bed, 32);
    bed.git(&["update-index", "--index-version", "4"]);
    agrees(&bed, 32);
}

#[test]
fn a_split_or_sparse_index_is_listed_by_git() {
    let bed = Bed::repository();
    tracked(&bed);
    bed.git(&["commit", "-q", "-m", "one"]);
    bed.git(&["update-index", "--split-index"]);
    let file = fs::read(bed.top.join(".git/index")).unwrap();
    assert!(
        Index::parse(&file, 20).is_err(),
        "it must be split for this test to say something"
    );
    assert_eq!(bed.by_us(&bed.top, &RulesConfig::default()), bed.by_git(&bed.top));

    bed.git(&["update-index", "--no-split-index"]);
    bed.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "dir1"]);
    let file = fs::read(bed.top.join(".git/index")).unwrap();
    assert!(
        Index::parse(&file, 20).is_err(),
        "it must be sparse for this test to say something"
    );
    assert_eq!(bed.by_us(&bed.top, &RulesConfig::default()), bed.by_git(&bed.top));
}

#[test]
fn stages_of_a_conflict_count_once_each() {
    let bed = Bed::repository();
    bed.write("a", "0\n");
    bed.write(".gitignore", "a\n");
    bed.git(&["add", "-f", "."]);
    bed.git(&["commit", "-q", "-m", "base"]);
    bed.git(&["branch", "other"]);
    bed.write("a", "1\n");
    bed.git(&["commit", "-q", "-a", "-m", "one"]);
    bed.git(&["checkout", "-q", "other"]);
    bed.write("a", "2\n");
    bed.git(&["commit", "-q", "-a", "-m", "two"]);
    let merge = std::process::Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "merge", "-q", "main"])
        .current_dir(&bed.top)
        .output()
        .unwrap();
    assert!(!merge.status.success());
    let file = fs::read(bed.top.join(".git/index")).unwrap();
    let index = Index::parse(&file, 20).unwrap();
    assert_eq!(index.len(), 4, "three stages and .gitignore");
    assert!(index.has(b"a"));
    assert_eq!(bed.by_us(&bed.top, &RulesConfig::default()), bed.by_git(&bed.top));
}

#[test]
fn a_linked_working_tree_has_its_own_index_and_the_shared_excludes() {
    let bed = Bed::repository();
    bed.write("kept", "");
    bed.git(&["add", "."]);
    bed.git(&["commit", "-q", "-m", "one"]);
    bed.write(".git/info/exclude", "*.log\n");
    let linked = bed.top.parent().unwrap().join("linked");
    bed.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    fs::write(linked.join("x.log"), "").unwrap();
    fs::write(linked.join("y.log"), "").unwrap();
    bed.git_in(&linked, &["add", "-f", "y.log"]);
    let ours = bed.by_us(&linked, &RulesConfig::default());
    assert_eq!(ours, bed.by_git(&linked));
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), ["kept", "y.log"]);
}

#[test]
fn a_submodule_counts_file_by_file_with_its_own_rules() {
    let bed = Bed::repository();
    let other = bed.top.parent().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    crate::bed::repository_at(&other);
    fs::write(other.join("code"), "").unwrap();
    fs::write(other.join(".gitignore"), "*.o\n").unwrap();
    bed.git_in(&other, &["add", "."]);
    bed.git_in(&other, &["commit", "-q", "-m", "one"]);
    bed.write(".gitignore", "code\n");
    bed.git(&["submodule", "--quiet", "add", other.to_str().unwrap(), "module"]);
    bed.write("module/x.o", "");
    bed.write("module/new", "");
    let below = |paths: &crate::bed::Paths| {
        paths
            .iter()
            .filter_map(|path| path.strip_prefix("module/").map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let ours = bed.by_us(&bed.top, &RulesConfig::default());
    assert_eq!(below(&ours), [".gitignore", "code", "new"]);
    let inside = bed.by_git(Path::new(&bed.top.join("module")));
    assert_eq!(below(&ours), inside.into_iter().collect::<Vec<_>>());
}

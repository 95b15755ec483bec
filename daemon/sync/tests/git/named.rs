//! Cases with a name: what other programs got wrong, and what is ours alone.

use std::{fs, os::unix::fs::symlink};

use outlast_sync::rules::{Rules, RulesConfig};

use crate::bed::{Bed, repository_at};

/// Files that count, after they were found to be those that git names.
fn agreed(bed: &Bed) -> Vec<String> {
    let ours = bed.by_us(&bed.top, &RulesConfig::default());
    assert_eq!(ours, bed.by_git(&bed.top));
    ours.into_iter()
        .filter(|path| !path.ends_with(".gitignore"))
        .collect()
}

#[test]
fn double_stars_behind_a_name_stand_at_a_beginning() {
    let bed = Bed::repository();
    bed.write(".gitignore", "foo**/bar\n");
    for path in ["foobar", "foo/bar", "foox/bar", "foo/x/bar", "fooxbar", "barfoo"] {
        bed.write(&format!("{path}-dir/kept"), "");
        bed.write(path, "");
    }
    agreed(&bed);
}

#[test]
fn a_bare_exclamation_mark_and_a_bare_slash_say_nothing() {
    let bed = Bed::repository();
    bed.write(".gitignore", "*.o\n!\n/\n\n   \n//\n");
    bed.write("a.o", "");
    bed.write("b", "");
    assert_eq!(agreed(&bed), ["b"]);
}

#[test]
fn what_is_below_an_ignored_directory_cannot_be_brought_back() {
    let bed = Bed::repository();
    bed.write(".gitignore", "a/**\n!a/b\ndist\n!dist/keep\nnode/*\n!node/keep\n");
    for path in ["a/b", "a/c", "a/d/b", "dist/keep", "node/keep", "node/x/y"] {
        bed.write(path, "");
    }
    assert_eq!(agreed(&bed), ["a/b", "node/keep"]);
}

#[test]
fn tracked_files_count_below_ignored_directories_and_others_there_do_not() {
    let bed = Bed::repository();
    bed.write(".gitignore", "out/\n*.log\n");
    bed.write("out/a/kept", "");
    bed.write("out/a/other", "");
    bed.write("out/.gitignore", "!*\n");
    bed.write("x.log", "");
    bed.write("y.log", "");
    bed.git(&["add", "-f", "out/a/kept", "x.log"]);
    assert_eq!(agreed(&bed), ["out/a/kept", "x.log"]);
}

#[test]
fn a_symlink_to_a_directory_is_no_directory_and_one_to_patterns_has_none() {
    let bed = Bed::repository();
    bed.write(".gitignore", "dir/\n");
    bed.write("real/x", "");
    symlink("real", bed.top.join("dir")).unwrap();
    bed.write("sub/patterns", "y\n");
    bed.write("sub/y", "");
    assert_eq!(agreed(&bed), ["dir", "real/x", "sub/patterns", "sub/y"]);
    symlink("patterns", bed.top.join("sub/.gitignore")).unwrap();
    let rules = Rules::open(&bed.top, &RulesConfig::default(), &bed.places).unwrap();
    assert_eq!(rules.problems(), [], "nothing was read below the top yet");
    assert!(bed.by_git(&bed.top).contains("sub/y"));
}

#[test]
fn the_users_own_excludes_file_is_found_as_git_finds_it() {
    let bed = Bed::repository();
    bed.write_home(".gitconfig", "[core]\n\texcludesFile = ~/mine\n");
    bed.write_home("mine", "*.mine\n");
    bed.write_home(".config/git/ignore", "*.unused\n");
    for path in ["a.mine", "b.unused"] {
        bed.write(path, "");
    }
    assert_eq!(agreed(&bed), ["b.unused"]);
}

#[test]
fn rules_above_the_source_hold_in_it() {
    let bed = Bed::repository();
    bed.write(".gitignore", "*.o\n/sub/x\n/x\n");
    bed.write("sub/.gitignore", "!b.o\n");
    for path in ["sub/a.o", "sub/b.o", "sub/x", "sub/deep/x"] {
        bed.write(path, "");
    }
    let sub = bed.top.join("sub");
    let ours = bed.by_us(&sub, &RulesConfig::default());
    assert_eq!(ours, bed.by_git(&sub));
    assert_eq!(
        ours.into_iter().collect::<Vec<_>>(),
        [".gitignore", "b.o", "deep/x"]
    );
}

#[test]
fn a_source_that_its_repository_ignores_is_meant_all_the_same() {
    let bed = Bed::repository();
    bed.write(".gitignore", "build/\n*.log\n");
    bed.write("build/a.log", "");
    let ours = bed.by_us(&bed.top.join("build"), &RulesConfig::default());
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), ["a.log"]);
}

#[test]
fn patterns_hold_without_a_repository() {
    let bed = Bed::bare();
    bed.write_home(".config/git/ignore", "*.global\n");
    bed.write(".gitignore", "*.o\n");
    bed.write("sub/.gitignore", "/x\n");
    for path in ["a.o", "b.global", "sub/x", "sub/y/x"] {
        bed.write(path, "");
    }
    let ours = bed.by_us(&bed.top, &RulesConfig::default());
    assert_eq!(
        ours.into_iter().collect::<Vec<_>>(),
        [".gitignore", "sub/.gitignore", "sub/y/x"]
    );
}

#[test]
fn a_repository_inside_begins_anew() {
    let bed = Bed::repository();
    bed.write(".gitignore", "*.o\n");
    bed.write("inner/a.o", "");
    bed.write("inner/b.log", "");
    bed.write("inner/.git/info/exclude", "*.log\n");
    repository_at(&bed.top.join("inner"));
    let ours = bed.by_us(&bed.top, &RulesConfig::default());
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), [".gitignore", "inner/a.o"]);
}

#[test]
fn our_own_rules_outrank_gits_and_an_exclude_outranks_all() {
    let bed = Bed::repository();
    bed.write(".gitignore", "*.log\n");
    bed.write(".outlastignore", "tracked\n!b.log\n!c.log\n");
    bed.write("sub/.outlastignore", "!tracked\n");
    for path in [
        "a.log",
        "b.log",
        "c.log",
        "tracked",
        "sub/tracked",
        "deep/secret/x",
    ] {
        bed.write(path, "");
    }
    bed.git(&["add", "-f", "tracked"]);
    let config = RulesConfig {
        exclude: vec!["c.log".to_owned(), "/deep/secret".to_owned(), "!a.log".to_owned()],
        ..RulesConfig::default()
    };
    let ours = bed.by_us(&bed.top, &config);
    let right = [
        ".gitignore",
        ".outlastignore",
        "a.log",
        "b.log",
        "sub/.outlastignore",
        "sub/tracked",
    ];
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), right);
}

#[test]
fn gits_own_directory_counts_when_it_is_wanted() {
    let bed = Bed::repository();
    bed.write(".gitignore", "HEAD\nx\n");
    bed.write("x", "");
    let config = RulesConfig {
        git_dir: true,
        ..RulesConfig::default()
    };
    let ours = bed.by_us(&bed.top, &config);
    assert_eq!(
        ours.into_iter().collect::<Vec<_>>(),
        [".git/HEAD", ".git/config", ".gitignore"]
    );
}

#[test]
fn without_gitignore_only_our_own_rules_hold() {
    let bed = Bed::repository();
    bed.write(".gitignore", "x\n");
    bed.write(".outlastignore", "y\n");
    bed.write("x", "");
    bed.write("y", "");
    let config = RulesConfig {
        no_gitignore: true,
        ..RulesConfig::default()
    };
    let ours = bed.by_us(&bed.top, &config);
    assert_eq!(
        ours.into_iter().collect::<Vec<_>>(),
        [".gitignore", ".outlastignore", "x"]
    );
}

#[test]
fn a_refreshed_index_says_the_same_and_a_changed_one_does_not() {
    let bed = Bed::repository();
    bed.write("a", "");
    bed.git(&["add", "a"]);
    let open = || Rules::open(&bed.top, &RulesConfig::default(), &bed.places).unwrap();
    let before = open();
    assert!(before.are_fresh());
    fs::remove_file(bed.top.join("a")).unwrap();
    bed.write("a", "");
    bed.git(&["update-index", "--index-version", "4", "--refresh"]);
    assert!(!before.are_fresh());
    assert!(open().say_the_same(&before));
    bed.write("b", "");
    bed.git(&["add", "b"]);
    assert!(!open().say_the_same(&before));
}

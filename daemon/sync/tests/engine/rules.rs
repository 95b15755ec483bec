//! What decides what counts changes while a sync is at work.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command as Program};

use outlast_sync::engine::State;

use crate::bed::Bed;

/// Lets git work in a directory, with the settings of the bed's user.
fn git(bed: &Bed, dir: &Path, args: &[&str]) {
    let done = Program::new("git")
        .current_dir(dir)
        .env("HOME", bed.path().join("home"))
        .env_remove("XDG_CONFIG_HOME")
        .args(["-c", "user.name=u", "-c", "user.email=u@localhost"])
        .args(args)
        .output()
        .expect("git is not there: install git");
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_becomes_a_repository() {
    let mut bed = Bed::new();
    bed.write(".gitignore", "*.log\n");
    bed.write("k.log", "tracked");
    bed.write("other.log", "not tracked");
    bed.start();
    bed.flush().await;
    assert!(!bed.target("k.log").exists());
    let top = bed.source("");
    git(&bed, &top, &["init", "-q"]);
    git(&bed, &top, &["add", "-f", "k.log"]);
    bed.flush().await;
    assert!(bed.target("k.log").exists(), "{:#?}", bed.view());
    assert!(!bed.target("other.log").exists());
    // Without anybody asking, too.
    git(&bed, &top, &["add", "-f", "other.log"]);
    bed.wait_disk("what is tracked", || bed.target("other.log").exists())
        .await;
    fs::remove_dir_all(bed.source(".git")).unwrap();
    bed.wait_disk("no repository any more", || {
        !bed.target("k.log").exists() && !bed.target("other.log").exists()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_comes_up_above_the_source() {
    let mut bed = Bed::new();
    bed.write("a.log", "a");
    bed.write("a.txt", "a");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    assert!(bed.target("a.log").exists());
    git(&bed, bed.path(), &["init", "-q"]);
    fs::write(bed.path().join(".git/info/exclude"), "*.log\n").unwrap();
    bed.wait_disk("its excludes hold", || !bed.target("a.log").exists())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_cloned_into_the_source() {
    let mut bed = Bed::new();
    let from = bed.path().join("from");
    fs::create_dir(&from).unwrap();
    git(&bed, &from, &["init", "-q"]);
    fs::write(from.join(".gitignore"), "*.log\n").unwrap();
    fs::write(from.join("k.log"), "tracked").unwrap();
    git(&bed, &from, &["add", "-f", ".gitignore", "k.log"]);
    git(&bed, &from, &["commit", "-q", "-m", "first"]);
    // As git makes it, `.git` first, seen before there is more.
    bed.write("clone/.gitignore", "*.log\n");
    bed.write("clone/k.log", "tracked");
    bed.write("clone/other.log", "not tracked");
    fs::create_dir(bed.source("clone/.git")).unwrap();
    bed.start();
    bed.flush().await;
    assert!(!bed.target("clone/k.log").exists());
    fs::remove_dir(bed.source("clone/.git")).unwrap();
    fs::rename(from.join(".git"), bed.path().join("moved")).unwrap();
    fs::create_dir(bed.source("clone/.git")).unwrap();
    bed.flush().await;
    for name in ["objects", "refs", "config", "info", "index", "HEAD"] {
        fs::rename(
            bed.path().join("moved").join(name),
            bed.source("clone/.git").join(name),
        )
        .unwrap();
    }
    bed.flush().await;
    assert!(bed.target("clone/k.log").exists(), "{:#?}", bed.view());
    assert!(!bed.target("clone/other.log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_tracks_arrives_without_a_flush() {
    let mut bed = Bed::new();
    let from = bed.path().join("from");
    fs::create_dir(&from).unwrap();
    git(&bed, &from, &["init", "-q"]);
    fs::write(from.join(".gitignore"), "*.log\n").unwrap();
    for index in 0..500 {
        fs::write(from.join(format!("{index}.log")), "tracked").unwrap();
    }
    git(&bed, &from, &["add", "-f", "."]);
    git(&bed, &from, &["commit", "-q", "-m", "first"]);
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    for clone in ["x", "y", "deep/er/z"] {
        let to = bed.source(clone);
        git(
            &bed,
            bed.path(),
            &["clone", "-q", "from", &to.display().to_string()],
        );
        bed.wait_disk(clone, || {
            (0..500).all(|index| bed.target(&format!("{clone}/{index}.log")).exists())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_above_the_source_are_read_again() {
    let mut bed = Bed::new();
    git(&bed, bed.path(), &["init", "-q"]);
    let patterns = bed.path().join(".gitignore");
    fs::write(&patterns, "*.log\n").unwrap();
    bed.write("a.log", "a");
    bed.write("a.tmp", "a");
    bed.start();
    bed.flush().await;
    assert!(!bed.target("a.log").exists() && bed.target("a.tmp").exists());
    fs::write(&patterns, "*.tmp\n").unwrap();
    bed.flush().await;
    assert!(bed.target("a.log").exists() && !bed.target("a.tmp").exists());
    // The whole source is ignored, in which case the repository has no say, and is not any more.
    fs::write(&patterns, "/source/\n*.tmp\n").unwrap();
    bed.wait_disk("no say", || bed.target("a.tmp").exists()).await;
    fs::write(&patterns, "*.tmp\n").unwrap();
    bed.wait_disk("a say again", || !bed.target("a.tmp").exists())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_global_patterns_are_heard() {
    let mut bed = Bed::new();
    bed.write("a.log", "a");
    bed.write("a.tmp", "a");
    bed.write("a.bak", "a");
    git(&bed, &bed.source(""), &["init", "-q"]);
    let home = bed.path().join("home");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    assert!(bed.target("a.log").exists());
    fs::write(home.join("mine"), "*.log\n").unwrap();
    fs::write(home.join(".gitconfig"), "[core]\n\texcludesFile = ~/mine\n").unwrap();
    bed.wait_disk("the user's settings", || !bed.target("a.log").exists())
        .await;
    fs::write(home.join("mine"), "*.tmp\n").unwrap();
    bed.wait_disk("the user's patterns", || {
        bed.target("a.log").exists() && !bed.target("a.tmp").exists()
    })
    .await;
    fs::write(bed.path().join("others"), "*.bak\n").unwrap();
    let others = bed.path().join("others").display().to_string();
    git(&bed, &bed.source(""), &["config", "core.excludesFile", &others]);
    bed.wait_disk("the repository's settings", || {
        bed.target("a.tmp").exists() && !bed.target("a.bak").exists()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_that_change_together_with_the_index_hold_everywhere() {
    let mut bed = Bed::new();
    git(&bed, &bed.source(""), &["init", "-q"]);
    bed.write(".gitignore", "*.log\n");
    for index in 0..20 {
        bed.write(&format!("d{index}/k.log"), "k");
    }
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    // The same names are tracked before and after, so that only the patterns differ.
    for round in 0..10 {
        let (patterns, is_there) = if round % 2 == 0 {
            ("", true)
        } else {
            ("*.log\n", false)
        };
        bed.write(".gitignore", patterns);
        git(&bed, &bed.source(""), &["add", ".gitignore"]);
        bed.write("saved", format!("{round}"));
        bed.wait_disk("all of them", || {
            (0..20).all(|index| bed.target(&format!("d{index}/k.log")).exists() == is_there)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_turn_out_stale_at_a_save_hold_everywhere() {
    let mut bed = Bed::new();
    let home = bed.path().join("home");
    for (dir, patterns) in [("one", "*.one\n"), ("two", "*.two\n")] {
        fs::create_dir(home.join(dir)).unwrap();
        fs::write(home.join(dir).join("mine"), patterns).unwrap();
    }
    symlink("one", home.join("link")).unwrap();
    fs::write(home.join(".gitconfig"), "[core]\n\texcludesFile = ~/link/mine\n").unwrap();
    bed.write("dir/a.one", "a");
    bed.write("dir/a.two", "a");
    bed.start();
    bed.flush().await;
    bed.wait_state(State::Watching).await;
    assert!(!bed.target("dir/a.one").exists() && bed.target("dir/a.two").exists());
    // Of a directory in the middle of a path that is another one now, nothing is heard.
    fs::remove_file(home.join("link")).unwrap();
    symlink("two", home.join("link")).unwrap();
    bed.write("saved", "s");
    bed.wait_disk("all of it", || {
        bed.target("saved").exists() && bed.target("dir/a.one").exists() && !bed.target("dir/a.two").exists()
    })
    .await;
}

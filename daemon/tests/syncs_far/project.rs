//! A large real tree: the unpacked sources of what this project is built from.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use outlast_testkit::run;
use serde_json::Value;

use crate::{
    PATIENCE,
    bed::Bed,
    compare::rsync,
    kills::assert_all_there,
    tree::{Kind, walk},
};

/// The directory where cargo keeps the sources of packages.
fn registry() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--offline",
        "--manifest-path",
    ]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let metadata: Value = run(cargo, PATIENCE).success().json();
    let packages = metadata["packages"].as_array().unwrap();
    let foreign = packages
        .iter()
        .find(|package| package["source"].is_string())
        .unwrap();
    let manifest = Path::new(foreign["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().parent().unwrap().to_owned()
}

/// How many files make a large tree here; there may be several times as many.
const FILES: usize = 6_000;

/// How the names of packages begin that something is done with.
const NEEDED: [&str; 3] = ["tokio-1", "serde-", "libc-"];

/// The directories of packages, by name.
fn packages(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

fn name_of(package: &Path) -> &str {
    package.file_name().unwrap().to_str().unwrap()
}

/// Flushes, and asserts that rsync finds nothing to do.
fn flush(bed: &Bed, what: &str) {
    let began = Instant::now();
    let sync = bed.settle();
    println!("{what}: {:?}", began.elapsed());
    assert_eq!(sync["problem_count"], 0, "{sync}");
    let differences = rsync(&bed.sandbox, &bed.source, &bed.target, |_| false);
    assert!(differences.is_empty(), "{what}: {differences:?}");
}

#[test]
fn the_sources_of_all_dependencies_are_kept_equal() {
    let bed = Bed::new();
    let mut files = 0;
    for package in packages(&registry()) {
        if files < FILES || NEEDED.iter().any(|start| name_of(&package).starts_with(start)) {
            let mut copy = bed.sandbox.command("cp");
            copy.arg("-a").arg(&package).arg(&bed.source);
            drop(run(copy, PATIENCE).success());
            files += walk(&package)
                .values()
                .filter(|node| node.kind == Kind::File)
                .count();
        }
    }
    assert!(files >= FILES, "{files} files are no large tree");
    // Every package has rules of its own about what a repository of it would hold; here all of it is wanted.
    let began = Instant::now();
    drop(bed.add(&["--no-gitignore"]).success());
    println!("{files} files at first: {:?}", began.elapsed());
    flush(&bed, "nothing changed");

    let package = |start: &str| {
        let mut all = packages(&bed.source).into_iter();
        all.find(|path| name_of(path).starts_with(start)).unwrap()
    };
    let tokio = package("tokio-1");
    for entry in walk(&tokio.join("src"))
        .keys()
        .filter(|path| path.ends_with(b".rs"))
    {
        let path = crate::tree::at(&tokio.join("src"), entry);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("pub(crate)", "pub")).unwrap();
    }
    flush(&bed, "a package edited");
    fs::remove_dir_all(package("serde-")).unwrap();
    flush(&bed, "a package deleted");
    fs::rename(&tokio, bed.source.join("tokio-of-ours")).unwrap();
    flush(&bed, "a package renamed");
    let mut copy = bed.sandbox.command("cp");
    copy.arg("-a")
        .arg(package("libc-"))
        .arg(bed.source.join("libc-copy"));
    drop(run(copy, PATIENCE).success());
    flush(&bed, "a package copied");
    bed.proxy.cut();
    fs::rename(
        bed.source.join("libc-copy"),
        bed.source.join("tokio-of-ours/libc"),
    )
    .unwrap();
    bed.sandbox.kill_daemon();
    flush(&bed, "a package moved into another, with the daemon killed");
    assert_all_there(&bed);
}

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io::{Read as _, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// How long something may take that happens.
const DEADLINE: Duration = Duration::from_secs(20);

/// What stands for rules among paths that were heard.
const RULES: &str = "<rules>";

struct Bed {
    // Goes first: directories that are watched are slow to remove.
    watch: Watch,
    top: PathBuf,
    /// How often it was waited for all events.
    marks: usize,
    _keep: TempDir,
}

impl Bed {
    /// With these directories, which are watched, as is the source.
    fn new(dirs: &[&str]) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let top = keep.path().canonicalize().unwrap().join("top");
        fs::create_dir(&top).unwrap();
        for dir in dirs {
            fs::create_dir_all(top.join(dir)).unwrap();
        }
        let mut watch = Watch::new(&top, &[]).unwrap();
        let all = [""].iter().chain(dirs).map(|dir| dir.as_bytes());
        assert_eq!(watch.set(all), Ok(dirs.len() + 1));
        Self {
            watch,
            top,
            marks: 0,
            _keep: keep,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    /// Waits until all of these paths were heard, and gives all that were.
    async fn hear(&mut self, paths: &[&str]) -> BTreeSet<String> {
        let mut heard = BTreeSet::new();
        while !paths.iter().all(|path| heard.contains(*path)) {
            match self.next().await {
                Heard::Paths(paths) => {
                    heard.extend(
                        paths
                            .iter()
                            .map(|path| String::from_utf8_lossy(path).into_owned()),
                    );
                }
                Heard::Rules => {
                    heard.insert(RULES.to_owned());
                }
                other => panic!("{other:?} instead of {paths:?}"),
            }
        }
        heard.retain(|path| !path.starts_with("mark-") || paths.contains(&path.as_str()));
        heard
    }

    /// All that is heard until now.
    async fn hear_all(&mut self) -> BTreeSet<String> {
        // Events come in the order of what happened.
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        fs::write(self.at(&mark), "").unwrap();
        let mut heard = self.hear(&[&mark]).await;
        heard.remove(&mark);
        heard
    }

    async fn next(&mut self) -> Heard {
        timeout(DEADLINE, self.watch.next())
            .await
            .expect("something is heard")
    }

    async fn next_rules(&mut self) {
        loop {
            match self.next().await {
                Heard::Rules => return,
                Heard::Paths(_) => {}
                other => panic!("{other:?} instead of rules"),
            }
        }
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn set<const N: usize>(paths: [&str; N]) -> BTreeSet<String> {
    paths.map(str::to_owned).into()
}

#[tokio::test]
async fn every_kind_of_change_is_heard() {
    let mut bed = Bed::new(&["a", "a/b"]);
    let file = bed.at("a/b/f");
    let mut open = File::create(&file).unwrap();
    assert_eq!(bed.hear(&["a/b/f"]).await, set(["a/b/f"]), "created");
    open.write_all(b"x").unwrap();
    bed.hear(&["a/b/f"]).await;
    drop(open);
    bed.hear_all().await;
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bed.hear(&["a/b/f"]).await, set(["a/b/f"]), "permissions");
    let open = OpenOptions::new().append(true).open(&file).unwrap();
    open.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(bed.hear(&["a/b/f"]).await, set(["a/b/f"]), "its time");
    drop(open);
    bed.hear_all().await;
    fs::rename(&file, bed.at("a/g")).unwrap();
    assert_eq!(
        bed.hear(&["a/b/f", "a/g"]).await,
        set(["a/b/f", "a/g"]),
        "renamed"
    );
    fs::hard_link(bed.at("a/g"), bed.at("h")).unwrap();
    bed.hear(&["h"]).await;
    fs::remove_file(bed.at("a/g")).unwrap();
    bed.hear(&["a/g"]).await;
    symlink("nowhere", bed.at("a/link")).unwrap();
    bed.hear(&["a/link"]).await;
    fs::create_dir(bed.at("a/dir")).unwrap();
    bed.hear(&["a/dir"]).await;
    fs::remove_dir(bed.at("a/dir")).unwrap();
    bed.hear(&["a/dir"]).await;
    fs::set_permissions(bed.at("a/b"), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(
        bed.hear(&["a/b"]).await,
        set(["a/b"]),
        "permissions of a directory"
    );
}

#[tokio::test]
async fn reading_wakes_nobody() {
    let mut bed = Bed::new(&["a"]);
    fs::write(bed.at("a/f"), "content").unwrap();
    bed.hear_all().await;
    bed.hear_all().await;
    let mut text = String::new();
    for _ in 0..100 {
        File::open(bed.at("a/f"))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(fs::read_dir(bed.at("a")).unwrap().count(), 1);
    }
    assert_eq!(bed.hear_all().await, set([]));
}

#[tokio::test]
async fn what_comes_together_is_told_once_and_in_order() {
    let mut bed = Bed::new(&["a"]);
    // Nobody asks in between.
    for _ in 0..50 {
        for path in ["b", "a/y", "a!", "a/x"] {
            fs::write(bed.at(path), "content").unwrap();
        }
    }
    fs::write(bed.at("last"), "").unwrap();
    let mut told = 0;
    loop {
        let Heard::Paths(paths) = bed.next().await else {
            panic!("only paths");
        };
        let mut sorted = paths.clone();
        sorted.sort_by(|a, b| outlast_tree::order(a, b));
        sorted.dedup();
        assert_eq!(paths, sorted);
        told += 1;
        if paths.contains(&b"last".to_vec()) {
            break;
        }
    }
    assert!(told < 100, "{told} times");
}

#[tokio::test]
async fn a_directory_that_is_full_before_its_watch_is_heard_itself() {
    let mut bed = Bed::new(&["a"]);
    fs::create_dir(bed.at("a/new")).unwrap();
    fs::write(bed.at("a/new/early"), "").unwrap();
    assert_eq!(bed.hear(&["a/new"]).await, set(["a/new"]));
    bed.watch
        .add(&[rel("a/new"), rel("a/gone"), rel("a/new/early/no")])
        .unwrap();
    assert_eq!(bed.watch.len(), 3);
    fs::write(bed.at("a/new/late"), "").unwrap();
    bed.hear(&["a/new/late"]).await;
}

#[tokio::test]
async fn a_directory_that_moved_is_heard_only_where_it_is() {
    let mut bed = Bed::new(&["a", "a/dir", "a/dir/deep", "b"]);
    fs::rename(bed.at("a/dir"), bed.at("b/moved")).unwrap();
    assert_eq!(bed.hear_all().await, set(["a/dir", "b/moved"]));
    assert_eq!(bed.watch.len(), 3, "the watches below went with it");
    fs::write(bed.at("b/moved/deep/f"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([]), "nothing is heard at the old path");
    bed.watch.add(&[rel("b/moved"), rel("b/moved/deep")]).unwrap();
    fs::write(bed.at("b/moved/deep/g"), "").unwrap();
    assert_eq!(bed.hear(&["b/moved/deep/g"]).await, set(["b/moved/deep/g"]));
    // Another one takes the place of the old one, and one moves out of the source.
    fs::create_dir(bed.at("a/dir")).unwrap();
    bed.hear(&["a/dir"]).await;
    bed.watch.add(&[rel("a/dir")]).unwrap();
    fs::rename(bed.at("b/moved"), bed.top.parent().unwrap().join("out")).unwrap();
    assert_eq!(bed.hear_all().await, set(["b/moved"]));
    fs::write(bed.top.parent().unwrap().join("out/deep/h"), "").unwrap();
    fs::write(bed.at("a/dir/f"), "").unwrap();
    assert_eq!(bed.hear_all().await, set(["a/dir/f"]));
}

#[tokio::test]
async fn a_directory_asked_for_before_its_move_was_heard_is_watched_in_the_end() {
    for _ in 0..50 {
        let mut bed = Bed::new(&["a", "a/deep"]);
        fs::rename(bed.at("a"), bed.at("b")).unwrap();
        // At once, as whoever looks at everything at this moment would.
        bed.watch.add(&[rel("b"), rel("b/deep")]).unwrap();
        bed.hear(&["a", "b"]).await;
        bed.watch.add(&[rel("b"), rel("b/deep")]).unwrap();
        fs::write(bed.at("b/deep/f"), "").unwrap();
        let heard = bed.hear(&["b/deep/f"]).await;
        assert!(!heard.contains("a/deep/f"), "{heard:?}");
    }
}

#[tokio::test]
async fn two_directories_that_change_places_are_told_apart() {
    let mut bed = Bed::new(&["a", "b"]);
    fs::rename(bed.at("a"), bed.at("c")).unwrap();
    fs::rename(bed.at("b"), bed.at("a")).unwrap();
    fs::rename(bed.at("c"), bed.at("b")).unwrap();
    bed.hear_all().await;
    bed.watch.add(&[rel("a"), rel("b")]).unwrap();
    fs::write(bed.at("b/f"), "").unwrap();
    assert_eq!(bed.hear(&["b/f"]).await, set(["b/f"]));
    // That it was closed may be heard by itself.
    bed.hear_all().await;
    fs::write(bed.at("a/g"), "").unwrap();
    assert_eq!(bed.hear(&["a/g"]).await, set(["a/g"]));
}

#[tokio::test]
async fn a_directory_made_anew_is_watched_when_asked_for() {
    let mut bed = Bed::new(&["a", "a/deep"]);
    for round in 0..50 {
        fs::remove_dir_all(bed.at("a")).unwrap();
        fs::create_dir_all(bed.at("a/deep")).unwrap();
        bed.hear(&["a"]).await;
        // Whatever is heard late makes it be asked for again.
        let name = format!("a/deep/{round}");
        fs::write(bed.at(&name), "").unwrap();
        bed.watch.add(&[rel("a"), rel("a/deep")]).unwrap();
        fs::write(bed.at(&name), "more").unwrap();
        let mut heard = BTreeSet::new();
        while !heard.contains(&name) {
            let Heard::Paths(paths) = bed.next().await else {
                panic!("only paths");
            };
            heard.extend(
                paths
                    .iter()
                    .map(|path| String::from_utf8_lossy(path).into_owned()),
            );
            if heard.contains("a") || heard.contains("a/deep") {
                // A look at it finds the file.
                bed.watch.add(&[rel("a"), rel("a/deep")]).unwrap();
                break;
            }
        }
    }
    bed.hear_all().await;
    bed.watch.add(&[rel("a"), rel("a/deep")]).unwrap();
    fs::write(bed.at("a/deep/last"), "").unwrap();
    bed.hear(&["a/deep/last"]).await;
}

#[tokio::test]
async fn the_source_itself_is_heard_when_it_goes() {
    let mut bed = Bed::new(&["a"]);
    let away = bed.top.parent().unwrap().join("away");
    fs::rename(&bed.top, &away).unwrap();
    assert_eq!(bed.hear(&[""]).await, set([""]), "moved");
    assert_eq!(bed.watch.len(), 0);
    // What happens where it is now is none of ours.
    fs::write(away.join("a/f"), "").unwrap();
    fs::create_dir(&bed.top).unwrap();
    assert_eq!(bed.watch.set([&b""[..], b"a"].into_iter()), Ok(1));
    fs::write(away.join("g"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([]));
    fs::remove_dir_all(&bed.top).unwrap();
    bed.hear(&[""]).await;
    assert_eq!(bed.watch.len(), 0, "removed");
    assert_eq!(bed.watch.set([&b""[..]].into_iter()), Ok(0));
}

#[tokio::test]
async fn the_watches_are_those_that_were_asked_for() {
    let mut bed = Bed::new(&["a", "a/b", "a/b/c", "d"]);
    let wanted = [&b""[..], b"a", b"new"];
    fs::create_dir(bed.at("new")).unwrap();
    bed.hear(&["new"]).await;
    assert_eq!(bed.watch.set(wanted.into_iter()), Ok(1));
    assert_eq!(bed.watch.len(), 3);
    for path in ["a/b/f", "a/b/c/f", "d/f"] {
        fs::write(bed.at(path), "").unwrap();
    }
    assert_eq!(bed.hear_all().await, set([]));
    assert_eq!(bed.watch.set(wanted.into_iter()), Ok(0));
    bed.watch.add(&[rel("a/b"), rel("a/b/c")]).unwrap();
    assert_eq!(bed.watch.set([&b""[..], b"new"].into_iter()), Ok(0));
    assert_eq!(bed.watch.len(), 2);
    fs::write(bed.at("a/b/c/g"), "").unwrap();
    fs::write(bed.at("new/f"), "").unwrap();
    assert_eq!(bed.hear_all().await, set(["new/f"]));
    // Without the source itself.
    assert_eq!(bed.watch.set([&b"new"[..]].into_iter()), Ok(0));
    fs::write(bed.at("f"), "").unwrap();
    fs::write(bed.at("new/g"), "").unwrap();
    bed.hear(&["new/g"]).await;
}

#[tokio::test]
async fn files_that_decide_what_counts_are_rules_wherever_they_are() {
    let mut bed = Bed::new(&["a"]);
    let outside = bed.top.parent().unwrap().to_owned();
    fs::write(outside.join("real"), "").unwrap();
    symlink("real", outside.join("link")).unwrap();
    let files = ["ignore", "no/where/config", "link"].map(|name| outside.join(name));
    bed.watch.set_files(&files).unwrap();
    assert_eq!(bed.hear_all().await, set([RULES]), "nobody heard of them before");
    bed.watch.set_files(&files).unwrap();
    fs::write(outside.join("other"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([]));
    for name in ["ignore", "real", "no"] {
        match name {
            "no" => fs::create_dir(outside.join(name)).unwrap(),
            _ => fs::write(outside.join(name), "*.o").unwrap(),
        }
        assert_eq!(bed.hear_all().await, set([RULES]), "{name}");
    }
    fs::create_dir(outside.join("no/where")).unwrap();
    bed.watch.set_files(&files).unwrap();
    bed.hear_all().await;
    fs::write(outside.join("no/where/config"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([RULES]));
    bed.watch.set_files(&[]).unwrap();
    bed.hear_all().await;
    fs::write(outside.join("ignore"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([]));
}

/// Lets git work in the source, without anything of its user.
fn git(top: &Path, args: &[&str]) {
    let done = Command::new("git")
        .current_dir(top)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(args)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn the_index_and_the_excludes_of_a_repository_are_rules() {
    let mut bed = Bed::new(&[]);
    git(&bed.top, &["init", "-q"]);
    fs::write(bed.at("f"), "").unwrap();
    let files = [".git/index", ".git/info/exclude", "not/there/index"].map(|name| bed.at(name));
    bed.watch.set_files(&files).unwrap();
    bed.hear_all().await;
    git(&bed.top, &["add", "f"]);
    bed.next_rules().await;
    // Nothing else in there is told.
    fs::write(bed.at(".git/HEAD"), "ref: refs/heads/other\n").unwrap();
    fs::write(bed.at(".git/info/other"), "").unwrap();
    assert_eq!(bed.hear_all().await, set([]));
    fs::write(bed.at(".git/info/exclude"), "*.o").unwrap();
    bed.next_rules().await;
    // When it is made again, it is watched again.
    fs::remove_dir_all(bed.at(".git/info")).unwrap();
    bed.next_rules().await;
    fs::create_dir(bed.at(".git/info")).unwrap();
    bed.next_rules().await;
    assert_eq!(bed.watch.set([&b""[..]].into_iter()), Ok(0));
    while let Ok(heard) = timeout(Duration::ZERO, bed.watch.next()).await {
        assert!(matches!(heard, Heard::Rules | Heard::Paths(_)), "{heard:?}");
    }
    fs::write(bed.at(".git/info/exclude"), "*.a").unwrap();
    bed.next_rules().await;
    bed.watch.set_files(&[]).unwrap();
    bed.hear_all().await;
    git(&bed.top, &["rm", "-q", "--cached", "f"]);
    assert_eq!(bed.hear_all().await, set([]));
}

#[tokio::test]
async fn a_repository_that_counts_itself_is_told_as_paths_too() {
    let mut bed = Bed::new(&[".git", ".git/info"]);
    bed.watch.set_files(&[bed.at(".git/index")]).unwrap();
    fs::write(bed.at(".git/index"), "").unwrap();
    bed.next_rules().await;
    bed.hear(&[".git/index"]).await;
    // Each of both reasons to watch it is enough.
    bed.watch.set([&b""[..]].into_iter()).unwrap();
    bed.hear_all().await;
    fs::write(bed.at(".git/index"), "new").unwrap();
    bed.next_rules().await;
    bed.watch.add(&[rel(".git")]).unwrap();
    bed.watch.set_files(&[]).unwrap();
    bed.hear_all().await;
    fs::write(bed.at(".git/index"), "newer").unwrap();
    assert_eq!(bed.hear(&[".git/index"]).await, set([".git/index"]));
}

#[tokio::test]
async fn thousands_of_directories_are_watched_and_let_go() {
    let mut bed = Bed::new(&[]);
    let dirs: Vec<String> = (0..5_000)
        .map(|at| format!("d{}/e{}/f{at}", at % 10, at % 100))
        .collect();
    let mut all = BTreeSet::from([Vec::new()]);
    for dir in &dirs {
        fs::create_dir_all(bed.at(dir)).unwrap();
        let mut path = dir.as_str();
        all.insert(path.as_bytes().to_vec());
        while let Some((above, _)) = path.rsplit_once('/') {
            all.insert(above.as_bytes().to_vec());
            path = above;
        }
    }
    bed.hear(&["d9"]).await;
    let dirs_of = |all: &BTreeSet<Vec<u8>>| all.clone().into_iter().collect::<Vec<_>>();
    let wanted = dirs_of(&all);
    let added = bed.watch.set(wanted.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(added, all.len() - 1);
    for dir in [&dirs[0], &dirs[4_999]] {
        let path = format!("{dir}/file");
        fs::write(bed.at(&path), "").unwrap();
        bed.hear(&[&path]).await;
    }
    let there = bed.watch.len();
    fs::rename(bed.at("d0"), bed.top.parent().unwrap().join("out")).unwrap();
    fs::remove_dir_all(bed.at("d1/e1")).unwrap();
    bed.hear_all().await;
    // Ten directories with fifty each, and one of those.
    assert_eq!(bed.watch.len(), there - (1 + 10 + 500) - (1 + 50));
    assert_eq!(bed.watch.set([&b""[..]].into_iter()), Ok(0));
    assert_eq!(bed.watch.len(), 1);
}

/// Run by the test below in a user namespace that has few watches.
#[test]
#[ignore = "needs a limit of 20 watches"]
fn with_twenty_watches() {
    let keep = tempfile::tempdir().unwrap();
    let dirs: Vec<_> = (0..30).map(|at| rel(&format!("d{at}"))).collect();
    for dir in &dirs {
        fs::create_dir(keep.path().join(OsStr::from_bytes(dir))).unwrap();
    }
    let mut watch = Watch::new(keep.path(), &[]).unwrap();
    assert_eq!(watch.add(&dirs[..20]), Ok(20));
    let refused = watch.add(&dirs[20..21]).unwrap_err();
    assert!(refused.contains("raise fs.inotify.max_user_watches"), "{refused}");
    assert!(watch.set(dirs.iter().map(|dir| &dir[..])).is_err());
    assert_eq!(watch.set(dirs[15..30].iter().map(|dir| &dir[..])), Ok(10));
}

#[test]
fn too_many_directories_are_told_with_what_helps() {
    const LIMIT: &str = "/proc/sys/user/max_inotify_watches";
    let script =
        format!("echo 20 >{LIMIT} && exec \"$0\" --exact watch::tests::with_twenty_watches --ignored");
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", &script])
        .arg(own);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{done:?}");
}

//! What a file system does not have, hold or permit.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncBegin, SyncOpen, SyncRefusal as Refusal, sync_piece};
use outlast_testkit::{DEADLINE, Namespace, Sandbox};

use crate::bed::{Batch, Bed, HELPER, Process, Stream, all, serve_args};

/// Somebody who is neither root nor anybody.
pub const NOBODY: u32 = 65_534;

/// A helper in a view of the file system of its own, and its client.
fn within(sandbox: &Sandbox, namespace: &Namespace) -> Process {
    let mut command = namespace.command(sandbox, "outlast-helper");
    let state = sandbox.path().join("state");
    command
        .args(["serve", "--owner", "owner", "--state-dir"])
        .arg(state);
    Process::start(command)
}

fn sandbox() -> Sandbox {
    Sandbox::with_programs(Path::new(HELPER).parent().unwrap().to_owned())
}

pub fn wanted(target: &Path) -> SyncOpen {
    SyncOpen {
        target: Bytes::copy_from_slice(target.to_str().unwrap().as_bytes()),
        occupied: true,
        ..Bed::new().wanted()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_what_does_not_fit_and_nothing_else() {
    let sandbox = sandbox();
    let target = sandbox.path().join("full");
    let disk = "mkdir \"$1/full\"; mount -t tmpfs -o size=1m outlast-test \"$1/full\"";
    let namespace = Namespace::new(&sandbox, disk);
    let process = within(&sandbox, &namespace);
    let mut stream = Stream::open(&process.client, wanted(&target)).await.unwrap();
    let (small, large) = (vec![1; 100_000], vec![2; 900_000]);
    stream
        .make(Batch::new().dir("d").file("d/kept", &small).file("large", &large))
        .await;
    // A larger one in place of one that fits.
    let larger = vec![3; 200_000];
    let batch = Batch::new()
        .file("d/kept", &larger)
        .file("more", &larger)
        .gone("none");
    let outcomes = stream.outcomes(batch).await;
    assert_eq!(outcomes, [Refusal::Full, Refusal::Full, Refusal::Unspecified]);
    let begin = SyncBegin {
        path: Bytes::from_static(b"d/pieces"),
        base: None,
        part: false,
    };
    stream.piece(1, sync_piece::Event::Begin(begin)).await;
    for _ in 0..4 {
        stream
            .piece(1, sync_piece::Event::Data(Bytes::from(small.clone())))
            .await;
    }
    let arrived = small.repeat(4);
    assert_eq!(
        stream
            .refusal(Batch::new().arrived("d/pieces", &arrived, 1))
            .await,
        Refusal::Full
    );
    let listed = namespace.run(
        &sandbox,
        DEADLINE,
        "find",
        &[target.to_str().unwrap(), "-type", "f", "-size", "+0"],
    );
    let mut files: Vec<_> = listed.success().out().lines().map(PathBuf::from).collect();
    files.sort();
    assert_eq!(files, [target.join("d/kept"), target.join("large")]);
    // With room again it goes on.
    stream
        .make(Batch::new().gone("large").file("d/kept", &larger))
        .await;
    assert!(stream.settle(false).await.altered.is_empty());
    stream.end().await;
}

/// Where nothing can be written down nothing is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_record_ends_the_stream_and_costs_nothing() {
    let sandbox = sandbox();
    let target = sandbox.path().join("target");
    let disk = "mount -t tmpfs -o size=1m,mode=0700 outlast-test \"$1/state\"
        head -c 800000 /dev/zero >\"$1/state/ballast\"";
    let namespace = Namespace::new(&sandbox, disk);
    let process = within(&sandbox, &namespace);
    let mut stream = Stream::open(&process.client, wanted(&target)).await.unwrap();
    let mut ended = None;
    for batch in 0..1_000 {
        let links = (0..100).fold(Batch::new(), |made, link| {
            made.link(&format!("{batch}-{link}"), "somewhere")
        });
        stream.send(links.event()).await;
        if let Err(status) = stream.done().await {
            ended = Some(status);
            break;
        }
    }
    let status = ended.expect("the disk is full before");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    let ballast = sandbox.path().join("state/ballast");
    drop(
        namespace
            .run(&sandbox, DEADLINE, "rm", &[ballast.to_str().unwrap()])
            .success(),
    );
    let mut stream = Stream::open(&process.client, wanted(&target)).await.unwrap();
    assert_eq!(stream.opened.altered, 0);
    let record = stream.record.take().unwrap();
    let there: Vec<_> = all(&target);
    assert_eq!(record.len(), there.len());
    for path in there {
        let path = path.strip_prefix(&target).unwrap().to_str().unwrap();
        assert!(record.get(path.as_bytes()).is_some(), "{path}");
    }
    stream.make(Batch::new().file("f", "f")).await;
}

/// One file by two names, as on a disk that knows no capitals: here by a mount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_one_to_the_file_system_are_told() {
    let sandbox = sandbox();
    let target = sandbox.path().join("target");
    let alike = "mkdir -p \"$1/target/a\" \"$1/target/A\"; cd \"$1/target\"
        printf f >f; touch F
        mount --bind a A; mount --bind f F";
    let namespace = Namespace::new(&sandbox, alike);
    let process = within(&sandbox, &namespace);
    let mut stream = Stream::open(&process.client, wanted(&target)).await.unwrap();
    stream.make(Batch::new().dir("a").file("f", "f")).await;
    for batch in [
        Batch::new().dir("A"),
        Batch::new().file("F", "f"),
        Batch::new().file("F", "other"),
    ] {
        assert_eq!(stream.refusal(batch.clone()).await, Refusal::Clash);
        assert_eq!(stream.refusal(batch.replacing()).await, Refusal::Clash);
    }
    assert_eq!(
        stream.refusal(Batch::new().there("F", "f", 0o600, 5)).await,
        Refusal::Clash
    );
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "f");
    assert!(stream.settle(false).await.altered.is_empty());
}

#[tokio::test]
async fn a_second_name_of_our_file_is_somebody_elses() {
    let bed = Bed::new();
    let mut stream = bed.open().await;
    stream.make(Batch::new().file("f", "f")).await;
    fs::hard_link(bed.at("f"), bed.at("g")).unwrap();
    let outcomes = stream
        .outcomes(Batch::new().file("g", "other").file("f", "new"))
        .await;
    assert_eq!(outcomes, [Refusal::Conflict; 2]);
    stream.make(Batch::new().file("f", "new").replacing()).await;
    assert_eq!((bed.read("f"), bed.read("g")), ("new".to_owned(), "f".to_owned()));
}

/// A helper that is not root, where we are.
pub fn as_nobody(bed: &Bed) -> Process {
    let args = serve_args(bed);
    if !rustix::process::geteuid().is_root() {
        let mut command = Command::new(HELPER);
        command.args(args);
        return Process::start(command);
    }
    fs::set_permissions(bed.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for made in ["state", "target"] {
        fs::create_dir_all(bed.path().join(made)).unwrap();
        chown(bed.path().join(made), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // Where it was built others may not look.
    let program = bed.path().join("outlast-helper");
    fs::copy(HELPER, &program).unwrap();
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(program);
    command.args(args).env("HOME", bed.path().join("state"));
    Process::start(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_of_ours_that_deny_writing_are_opened_for_the_moment() {
    let bed = Bed::new();
    let process = as_nobody(&bed);
    let mut stream = Stream::open(&process.client, bed.wanted()).await.unwrap();
    let batch = Batch::new()
        .dir("shut")
        .dir("shut/read")
        .file("shut/read/f", "1")
        .dir("shut/read/none")
        .dir_with("shut/read/none", 0o000)
        .dir_with("shut/read", 0o555)
        .dir_with("shut", 0o000);
    stream.make(batch).await;
    let modes = |bed: &Bed| {
        let shut = bed.mode("shut");
        // Only root can look into it as it is.
        let root = rustix::process::geteuid().is_root();
        let inner = root.then(|| (bed.mode("shut/read"), bed.mode("shut/read/none")));
        (shut, inner.unwrap_or((0o555, 0o000)))
    };
    let expected = (0o000, (0o555, 0o000));
    assert_eq!(modes(&bed), expected);
    stream
        .make(
            Batch::new()
                .file("shut/read/f", "2")
                .file("shut/read/none/g", "g")
                .file("shut/new", "n"),
        )
        .await;
    assert_eq!(modes(&bed), expected);
    let begin = SyncBegin {
        path: Bytes::from_static(b"shut/read/large"),
        base: None,
        part: false,
    };
    stream.piece(1, sync_piece::Event::Begin(begin)).await;
    stream
        .piece(1, sync_piece::Event::Data(Bytes::from_static(b"large")))
        .await;
    stream
        .make(Batch::new().arrived("shut/read/large", "large", 1))
        .await;
    assert_eq!(modes(&bed), expected);
    stream
        .make(
            Batch::new()
                .gone("shut/read/f")
                .gone("shut/read/none/g")
                .gone("shut/read/none"),
        )
        .await;
    assert_eq!(bed.mode("shut"), 0o000);
    assert!(
        stream.settle(false).await.altered.is_empty(),
        "what cannot be looked at is not taken for gone"
    );
    fs::set_permissions(bed.at("shut"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(bed.at("shut/read"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bed.read("shut/read/large"), "large");
    assert_eq!(bed.read("shut/new"), "n");
    assert_eq!(all(&bed.at("shut")).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_opened_for_the_moment_is_not_taken_for_altered() {
    let bed = Bed::new();
    let process = as_nobody(&bed);
    let mut stream = Stream::open(&process.client, bed.wanted()).await.unwrap();
    let batch = Batch::new()
        .dir("shut")
        .dir("shut/in")
        .dir_with("shut/in", 0o500)
        .dir_with("shut", 0o550);
    stream.make(batch).await;
    stream.make(Batch::new().file("shut/in/f", "f")).await;
    assert!(stream.settle(false).await.altered.is_empty());
    let modes = || (bed.mode("shut"), bed.mode("shut/in"));
    assert_eq!(modes(), (0o550, 0o500));
    // One that is shut tighter in the same batch, with another in it still open.
    let batch = Batch::new().file("shut/in/f", "ff").dir_with("shut", 0o000);
    stream.make(batch).await;
    assert_eq!(bed.mode("shut"), 0o000);
    fs::set_permissions(bed.at("shut"), fs::Permissions::from_mode(0o550)).unwrap();
    assert_eq!(stream.settle(false).await.altered, ["shut"]);
    assert_eq!(modes(), (0o550, 0o500));
    stream.make(Batch::new().dir_with("shut", 0o550)).await;
    // One that makes room for another of the same name has no mode to be given back.
    let batch = Batch::new()
        .gone("shut/in/f")
        .gone("shut/in")
        .dir_with("shut/in", 0o755);
    stream.make(batch).await;
    assert!(stream.settle(false).await.altered.is_empty());
    assert_eq!(modes(), (0o550, 0o755));
    fs::set_permissions(bed.at("shut"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_permitted_is_told() {
    let bed = Bed::new();
    fs::create_dir_all(bed.at("theirs")).unwrap();
    fs::write(bed.at("theirs/f"), "f").unwrap();
    let process = as_nobody(&bed);
    fs::set_permissions(bed.at("theirs"), fs::Permissions::from_mode(0o555)).unwrap();
    let wanted = SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&process.client, wanted).await.unwrap();
    let batch = Batch::new()
        .file("theirs/new", "x")
        .dir("theirs/d")
        .link("theirs/l", "x")
        .file("fine", "");
    let denied = Refusal::Permission;
    assert_eq!(
        stream.outcomes(batch).await,
        [denied, denied, denied, Refusal::Unspecified]
    );
    assert_eq!(bed.mode("theirs"), 0o555);
    fs::set_permissions(bed.at("theirs"), fs::Permissions::from_mode(0o755)).unwrap();
}

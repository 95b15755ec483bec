//! Waking those who watch a directory.

use std::{fs, path::Path, thread, time::Duration};

use outlast_helper::{
    spool::{Dir, LogReader, LogWriter, Stream},
    watch::{Watch, Watcher},
};
use rustix::fs::{FlockOperation, flock};
use tokio::time::timeout;

/// Far longer than a wake takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn dir(root: &Path, name: &str) -> Dir {
    let dir = Dir::new(root.join(name));
    dir.create_new().unwrap();
    dir
}

async fn wakes(watch: &mut Watch) {
    timeout(DEADLINE, watch.changed())
        .await
        .expect("it was not woken");
}

fn replace(dir: &Dir, name: &str) {
    fs::write(dir.path().join("temp"), "{}").unwrap();
    fs::rename(dir.path().join("temp"), dir.path().join(name)).unwrap();
}

#[tokio::test]
async fn whatever_matters_wakes_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let (one, other) = (dir(temp.path(), "one"), dir(temp.path(), "other"));
    let mut watch = watcher.watch(one.path()).unwrap();
    let mut elsewhere = watcher.watch(other.path()).unwrap();
    LogWriter::new(&one, None).write(Stream::Stdout, b"x");
    wakes(&mut watch).await;
    assert_eq!(watch.news(), 0, "output alone is no news");
    for (number, name) in ["report", "status", "activity", "terminal", "answered"]
        .into_iter()
        .enumerate()
    {
        replace(&one, name);
        wakes(&mut watch).await;
        assert_eq!(watch.news(), number as u64 + 1);
    }
    // Events come in order, so once the last of these has woken, the ones before were seen and meant nothing.
    for noise in ["log", "control", "temp"] {
        fs::write(one.path().join(noise), "x").unwrap();
    }
    replace(&other, "status");
    wakes(&mut elsewhere).await;
    assert!(
        timeout(Duration::ZERO, watch.changed()).await.is_err(),
        "woken for nothing"
    );
}

#[tokio::test]
async fn the_death_of_a_holder_wakes_and_the_lock_is_free_then() {
    let temp = tempfile::tempdir().unwrap();
    let dir = dir(temp.path(), "one");
    let lock = fs::File::create(dir.path().join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let is_free = || {
        let lock = fs::File::open(dir.path().join("lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockShared).is_ok()
    };
    let mut watch = Watcher::new().unwrap().watch(dir.path()).unwrap();
    assert!(!is_free());
    let dying = thread::spawn(move || drop(lock));
    while !is_free() {
        wakes(&mut watch).await;
    }
    dying.join().unwrap();
}

#[tokio::test]
async fn what_happened_before_one_waits_is_not_lost() {
    let temp = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let dir = dir(temp.path(), "one");
    let mut watch = watcher.watch(dir.path()).unwrap();
    // A future that is dropped takes nothing along.
    assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
    replace(&dir, "status");
    wakes(&mut watch).await;
    assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
    // The watcher itself need not be kept, and one watch of two can go.
    let second = watcher.watch(dir.path()).unwrap();
    drop((watcher, second));
    replace(&dir, "status");
    wakes(&mut watch).await;
}

#[tokio::test]
async fn a_directory_that_is_removed_wakes_and_can_come_again() {
    let temp = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let dir = dir(temp.path(), "one");
    let mut old = watcher.watch(dir.path()).unwrap();
    dir.remove().unwrap();
    wakes(&mut old).await;
    assert!(watcher.watch(dir.path()).is_err(), "there is nothing to watch");
    dir.create_new().unwrap();
    let mut new = watcher.watch(dir.path()).unwrap();
    drop(old);
    replace(&dir, "report");
    wakes(&mut new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_never_misses_the_last_byte() {
    let temp = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    for round in 0..20 {
        let dir = dir(temp.path(), &format!("d{round}"));
        let mut watch = watcher.watch(dir.path()).unwrap();
        let writing = dir.clone();
        let writer = thread::spawn(move || {
            let mut writer = LogWriter::new(&writing, None);
            for n in 0..200_u32 {
                writer.write(Stream::Stdout, &n.to_le_bytes());
                if n % 7 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut reader = LogReader::open(&dir, 0).unwrap();
        let mut got = Vec::new();
        while got.len() < 800 {
            match reader.next(64).unwrap() {
                Some(chunk) => got.extend_from_slice(&chunk.data),
                None => wakes(&mut watch).await,
            }
        }
        writer.join().unwrap();
        assert_eq!(got, (0..200_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    }
}

/// How often this thread has gone to sleep by itself.
fn rests() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_flood_of_output_wakes_seldom_and_what_follows_it_is_seen() {
    const WRITES: u32 = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let watcher = Watcher::new().unwrap();
    let (flooding, other) = (dir(temp.path(), "flooding"), dir(temp.path(), "other"));
    let _output = watcher.watch(flooding.path()).unwrap();
    let mut watch = watcher.watch(other.path()).unwrap();
    let before = rests();
    let writer = thread::spawn(move || {
        let mut writer = LogWriter::new(&flooding, None);
        for n in 0..WRITES {
            writer.write(Stream::Stdout, &n.to_le_bytes());
        }
        replace(&other, "status");
    });
    wakes(&mut watch).await;
    assert_eq!(watch.news(), 1);
    let rested = rests() - before;
    assert!(rested < u64::from(WRITES) / 20, "{rested} times");
    writer.join().unwrap();
}

//! A helper that is killed again and again while it writes: every thing is as before or as it was to be, what is there is in
//! the record and nothing else is, nothing half-written is left after the next start, and nobody else's is touched.
//!
//! `OUTLAST_SEED` repeats a run's choices, `OUTLAST_KILLS` says how often to kill (200).

use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use outlast_client::helper_v1::{SyncAsk, SyncBegin, SyncOpen, sync_piece, sync_target_request::Event};
use outlast_testkit::Random;
use outlast_tree::{Far, Kind, Table};
use tokio::time::sleep;

use crate::bed::{Batch, Bed, HELPER, MTIME, Process, Stream, all, mtime_ns, serve_args};

/// Directories that stay, those that come and go, and files in each.
const DIRS: [&str; 5] = ["d0", "d1", "d1/deep", "gone0", "gone1"];
const FILES: u64 = 6;

/// Versions that are long enough for a part of them to be kept, for files that arrive in pieces.
const LARGE: u64 = 50;

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thing {
    Nothing,
    Dir,
    /// A file of this version.
    File(u64),
    /// A link of this version.
    Link(u64),
}

fn content(path: &str, version: u64) -> Vec<u8> {
    let mut random = Random::new(version);
    let length = match version {
        version if version.is_multiple_of(LARGE) => 900_000,
        _ => [0, 10, 5_000, 40_000, 300_000][random.between(0, 5) as usize],
    };
    let mut content = format!("{path} {version}\n").into_bytes();
    let head = content.len();
    content.resize(head + length, 0);
    for byte in &mut content[head..] {
        *byte = random.number() as u8;
    }
    content
}

fn mode(version: u64) -> u32 {
    [0o644, 0o600, 0o755, 0o444][(version % 4) as usize]
}

fn mtime(version: u64) -> i64 {
    MTIME + version as i64 * 1_000
}

/// What is at a path, which has to be something whole.
fn look(root: &Path, path: &str) -> Thing {
    let at = root.join(path);
    let Ok(found) = fs::symlink_metadata(&at) else {
        return Thing::Nothing;
    };
    if found.is_dir() {
        return Thing::Dir;
    }
    if found.is_symlink() {
        let says = fs::read_link(&at).unwrap();
        return Thing::Link(says.to_str().unwrap().parse().unwrap());
    }
    let bytes = fs::read(&at).unwrap();
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap();
    let line = std::str::from_utf8(line).unwrap();
    let (name, version) = line
        .rsplit_once(' ')
        .unwrap_or_else(|| panic!("{path}: half of a file: {line:?}"));
    let version = version.parse().unwrap();
    assert_eq!(name, path);
    assert!(bytes == content(path, version), "{path}: half of a file");
    assert_eq!(found.mode() & 0o7777, mode(version), "{path}");
    assert_eq!(mtime_ns(&at), mtime(version), "{path}");
    Thing::File(version)
}

/// What the caller believes.
#[derive(Default)]
struct World {
    /// What every path may be.
    may_be: BTreeMap<String, HashSet<Thing>>,
    versions: u64,
    large: u64,
}

impl World {
    fn paths() -> Vec<String> {
        let files = DIRS
            .iter()
            .flat_map(|dir| (0..FILES).map(move |file| format!("{dir}/f{file}")));
        let top = (0..FILES).map(|number| format!("swap{number}"));
        DIRS.iter()
            .map(|dir| (*dir).to_owned())
            .chain(files)
            .chain(top)
            .collect()
    }

    fn was_asked(&mut self, path: &str, thing: Thing) {
        self.may_be.entry(path.to_owned()).or_default().insert(thing);
    }

    /// Random changes of one batch, with the large files that come before it.
    fn batch(&mut self, random: &mut Random) -> (Batch, Vec<Event>) {
        let mut batch = Batch::new();
        let mut pieces = Vec::new();
        for _ in 0..random.between(1, 30) {
            let dir = DIRS[random.between(0, DIRS.len() as u64) as usize];
            let path = format!("{dir}/f{}", random.between(0, FILES));
            self.versions += 1;
            let version = self.versions;
            let (path, thing) = match random.between(0, 15) {
                0..=5 => (path, Thing::File(version)),
                6 => (path, Thing::Link(version)),
                7 => (path, Thing::Nothing),
                8 => (dir.to_owned(), Thing::Dir),
                9 => {
                    let dir = format!("gone{}", random.between(0, 2));
                    for file in 0..FILES {
                        let path = format!("{dir}/f{file}");
                        self.was_asked(&path, Thing::Nothing);
                        batch = batch.gone(&path);
                    }
                    (dir, Thing::Nothing)
                }
                14 => {
                    // There anew, with what is in it.
                    let dir = format!("gone{}", random.between(0, 2));
                    self.was_asked(&dir, Thing::Nothing);
                    for file in 0..FILES {
                        let path = format!("{dir}/f{file}");
                        self.was_asked(&path, Thing::Nothing);
                        batch = batch.gone(&path);
                    }
                    batch = batch.gone(&dir).dir(&dir);
                    self.was_asked(&dir, Thing::Dir);
                    for file in 0..FILES {
                        let path = format!("{dir}/f{file}");
                        self.versions += 1;
                        let version = self.versions;
                        self.was_asked(&path, Thing::File(version));
                        let bytes = content(&path, version);
                        batch = batch.file_with(&path, bytes, mode(version), mtime(version));
                    }
                    continue;
                }
                10 => {
                    self.large += 1;
                    let version = version.next_multiple_of(LARGE);
                    self.versions = version;
                    let (number, bytes) = (self.large, content(&path, version));
                    pieces.extend(large(number, &path, &bytes));
                    self.was_asked(&path, Thing::File(version));
                    batch = batch.arrived(&path, &bytes, number);
                    let entry = batch.ops.last_mut().unwrap().entry.as_mut().unwrap();
                    (entry.mode, entry.mtime_ns) = (mode(version), mtime(version));
                    continue;
                }
                _ => {
                    let path = format!("swap{}", random.between(0, FILES));
                    // In between nothing may be there.
                    self.was_asked(&path, Thing::Nothing);
                    let things = [
                        Thing::File(version),
                        Thing::Link(version),
                        Thing::Dir,
                        Thing::Nothing,
                    ];
                    (path, things[random.between(0, 4) as usize])
                }
            };
            self.was_asked(&path, thing);
            batch = match thing {
                Thing::Nothing => batch.gone(&path),
                Thing::Dir => batch.dir(&path),
                Thing::Link(version) => batch.link(&path, &version.to_string()),
                Thing::File(version) => {
                    batch.file_with(&path, content(&path, version), mode(version), mtime(version))
                }
            };
        }
        (batch, pieces)
    }

    /// Looks at everything. What is found is what is known from now on.
    fn check(&mut self, root: &Path, record: &Table<Far>) {
        let paths = Self::paths();
        let mut known: HashSet<&str> = HashSet::new();
        for path in &paths {
            let found = look(root, path);
            let may_be = self.may_be.remove(path).unwrap_or_default();
            let expected = may_be.contains(&found) || (may_be.is_empty() && found == Thing::Nothing);
            assert!(expected, "{path} is {found:?}, not one of {may_be:?}");
            let recorded = record.get(path.as_bytes());
            match (found, recorded) {
                (Thing::Nothing, None) => {}
                (Thing::Dir, Some(far)) => assert_eq!(far.entry.kind, Kind::Dir),
                (Thing::File(version), Some(far)) => {
                    assert_eq!(
                        far.entry.hash,
                        *blake3::hash(&content(path, version)).as_bytes(),
                        "{path}"
                    );
                    assert_eq!(u32::from(far.entry.mode), mode(version), "{path}");
                    assert_eq!(far.entry.mtime_ns, mtime(version), "{path}");
                }
                (Thing::Link(version), Some(far)) => {
                    assert_eq!(
                        far.entry.link.as_deref(),
                        Some(version.to_string().as_bytes()),
                        "{path}"
                    );
                }
                (found, recorded) => panic!("{path} is {found:?} and recorded as {recorded:?}"),
            }
            self.was_asked(path, found);
            known.insert(path);
        }
        for found in all(root) {
            let path = found.strip_prefix(root).unwrap().to_str().unwrap();
            assert!(
                known.contains(path) || path.contains("foreign"),
                "what is {path}?"
            );
        }
    }
}

fn large(number: u64, path: &str, bytes: &[u8]) -> Vec<Event> {
    let piece = |event| {
        Event::Piece(outlast_client::helper_v1::SyncPiece {
            number,
            event: Some(event),
            tell: false,
        })
    };
    let begin = SyncBegin {
        path: Bytes::copy_from_slice(path.as_bytes()),
        base: None,
        part: false,
    };
    let parts = bytes
        .chunks(50_000)
        .map(Bytes::copy_from_slice)
        .map(sync_piece::Event::Data);
    std::iter::once(sync_piece::Event::Begin(begin))
        .chain(parts)
        .map(piece)
        .collect()
}

fn start(bed: &Bed) -> Process {
    let mut command = Command::new(HELPER);
    command.args(serve_args(bed));
    Process::start(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moment_a_helper_is_killed_at_all_is_whole() {
    let mut random = Random::from_env();
    let kills: u64 =
        env::var("OUTLAST_KILLS").map_or(200, |text| text.parse().expect("OUTLAST_KILLS is a number"));
    let bed = Bed::new();
    // Somebody else's, in the same directories and at a place where something of ours is wanted.
    fs::create_dir_all(bed.at("d0")).unwrap();
    fs::create_dir_all(bed.at("foreign")).unwrap();
    let foreign = ["d0/foreign", "foreign/f"].map(|path| bed.at(path));
    let seen = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (
            found.ino(),
            found.mode(),
            found.ctime(),
            found.ctime_nsec(),
            fs::read(path).unwrap(),
        )
    };
    for path in &foreign {
        fs::write(path, "theirs").unwrap();
    }
    let before: Vec<_> = foreign.iter().map(|path| seen(path)).collect();
    let mut world = World::default();
    world.was_asked("d0", Thing::Dir);
    let mut first = start(&bed);
    let wanted = SyncOpen {
        occupied: true,
        ..bed.wanted()
    };
    let mut stream = Stream::open(&first.client, wanted).await.unwrap();
    stream.make(Batch::new().dir("d0").dir("d1").dir("d1/deep")).await;
    world.was_asked("d1", Thing::Dir);
    world.was_asked("d1/deep", Thing::Dir);
    first.kill();
    let (mut unfinished, mut parts) = (0, 0);
    for kill in 0..kills {
        let mut process = start(&bed);
        let wanted = SyncOpen {
            keep: random.one_in(2),
            ..bed.wanted()
        };
        let mut stream = Stream::open(&process.client, wanted).await.unwrap();
        let left = bed.leftovers();
        let told = &stream.opened.parts;
        assert_eq!(left.len(), told.len(), "after kill {kill}: {left:?}, {told:?}");
        parts += told.len();
        for part in told {
            let ask = SyncAsk {
                path: part.path.clone(),
                drop: true,
            };
            stream.piece(0, sync_piece::Event::Ask(ask)).await;
        }
        let made = stream.settle(false).await;
        assert!(made.altered.is_empty() && bed.leftovers().is_empty());
        assert_eq!(stream.opened.altered, 0, "after kill {kill}");
        world.check(&bed.target(), stream.record.as_ref().unwrap());
        let after: Vec<_> = foreign.iter().map(|path| seen(path)).collect();
        assert_eq!(after, before, "after kill {kill}");
        let mut sent: u64 = 0;
        for _ in 0..random.between(1, 6) {
            let (mut batch, pieces) = world.batch(&mut random);
            if random.one_in(3) {
                batch = batch.file("d0/foreign", "ours").gone("foreign");
            }
            for piece in pieces {
                stream.send(piece).await;
            }
            stream.send(batch.event()).await;
            sent += 1;
            if random.one_in(4) {
                let settle = outlast_client::helper_v1::SyncSettle { to_disk: true };
                stream.send(Event::Settle(settle)).await;
            }
        }
        // The one thing that is to be left to chance is the moment.
        sleep(Duration::from_micros(random.between(0, 12_000))).await;
        process.kill();
        let mut done = 0;
        while let Ok(Some(answer)) = stream.answer().await {
            done += u64::from(matches!(
                answer,
                outlast_client::helper_v1::sync_target_response::Event::Done(_)
            ));
        }
        unfinished += u64::from(done < sent);
    }
    println!("{kills} kills, {unfinished} of them with work under way; {parts} parts were kept");
    assert!(parts > 0 || kills < 200, "nothing was ever kept");
    let stream = bed.open().await;
    world.check(&bed.target(), stream.record.as_ref().unwrap());
    assert!(bed.leftovers().is_empty());
}

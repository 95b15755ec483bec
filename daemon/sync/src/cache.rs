//! Hashes of local files that need not be read again, and values of the blocks of large ones.
//!
//! It answers for a file only while that has the inode, size and times it had when it was read. It may be lost at any time:
//! whatever is odd about it is a reason to begin with none, never a reason to fail.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use outlast_tree::{
    Hash, RelPath, StatKey, Table,
    hashes::{self, Attached, Hashed},
};
use tracing::debug;

use crate::delta::Signature;

/// The file it is kept in.
const NAME: &str = "hashes";

/// How far times of files may lag behind the clock: kernels take the time of their last tick, of which the slowest make 100
/// a second. Twice that.
const GRANULARITY: Duration = Duration::from_millis(20);

/// What files hold, as far as that is known without reading them.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    hashes: Table<Hashed>,
    signatures: Table<Signed>,
}

#[derive(Debug, Clone)]
struct Signed {
    hash: Hash,
    signature: Signature,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was saved in this directory. Empty when there is nothing that can be read, or when it is damaged.
    #[must_use]
    pub fn load(dir: &Path) -> Self {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                debug!(?path, %error, "no hashes of files");
                return Self::new();
            }
        };
        match hashes::decode(&bytes) {
            Ok((hashes, attached)) => Self {
                hashes,
                signatures: attached
                    .iter()
                    .filter_map(|(path, attached)| {
                        let signature = Signature::decode(&attached.bytes)?;
                        let hash = attached.hash;
                        Some((RelPath::new(path).ok()?, Signed { hash, signature }))
                    })
                    .collect(),
            },
            Err(error) => {
                debug!(?path, %error, "no hashes of files");
                Self::new()
            }
        }
    }

    /// Saves it in this directory, which is made when it is missing. Not brought to the disk: what is lost with the power
    /// is found out by its hash.
    ///
    /// # Errors
    /// When it cannot be written; what was saved before is still there then.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let attached = self
            .signatures
            .iter()
            .filter_map(|(path, signed)| {
                let bytes = signed.signature.encode();
                let hash = signed.hash;
                Some((RelPath::new(path).ok()?, Attached { hash, bytes }))
            })
            .collect();
        let bytes = hashes::encode(&self.hashes, &attached);
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(NAME);
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&bytes)?;
        fs::rename(&temporary, &path)
    }

    /// Gives the hash of a file that has this key now. None: it has to be read. Quick for paths that come in order.
    pub fn cursor(&self) -> impl FnMut(&[u8], &StatKey) -> Option<Hash> {
        let mut hashes = self.hashes.cursor();
        move |path, key| {
            let hashed = hashes.get(path)?;
            (hashed.key == *key).then_some(hashed.hash)
        }
    }

    /// Notes the hash of content that was read while the file had this key before and after. `began`: what the clock said
    /// before the reading began.
    ///
    /// A file whose times lie too close to that (or after it) could be written once more in the same tick and look the same,
    /// so it is not kept and read again the next time. A file dated in the future is read every time.
    pub fn note(&mut self, path: &RelPath, key: StatKey, hash: Hash, began: SystemTime) {
        if key.ino != 0 && key.ctime_ns != StatKey::DOUBTED && is_settled(&key, began) {
            self.hashes.insert(path.clone(), Hashed { key, hash });
        } else {
            // What was known before may have the same key.
            self.hashes.remove(path);
        }
    }

    /// Forgets a file.
    pub fn remove(&mut self, path: &[u8]) {
        self.hashes.remove(path);
        self.signatures.remove(path);
    }

    /// Forgets those that `keep` is false for.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let mut gone: Vec<Vec<u8>> = Vec::new();
        let signed = self.signatures.iter().map(|(path, _)| path);
        let signed = signed.filter(|path| self.hashes.get(path).is_none());
        for path in self.hashes.iter().map(|(path, _)| path).chain(signed) {
            if !keep(path) {
                gone.push(path.to_vec());
            }
        }
        for path in gone {
            self.remove(&path);
        }
        self.compact();
    }

    /// Gives back memory.
    pub fn compact(&mut self) {
        self.hashes.merge();
        self.signatures.merge();
    }

    /// How many files there are hashes of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Values of the blocks of a file, if those that are known are of content with this hash. The file itself may hold
    /// something else by now: what is asked for is mostly what the other side has.
    #[must_use]
    pub fn blocks(&self, path: &[u8], hash: &Hash) -> Option<&Signature> {
        let signed = self.signatures.get(path)?;
        (signed.hash == *hash).then_some(&signed.signature)
    }

    /// Notes the values of the blocks of content with this hash. There is one for each path: those of another content are
    /// forgotten.
    pub fn note_blocks(&mut self, path: &RelPath, hash: Hash, signature: Signature) {
        self.signatures.insert(path.clone(), Signed { hash, signature });
    }
}

/// How long it takes until what is read of a file with this key is kept. None: it is so now, or will not be soon.
pub(crate) fn settles_in(key: &StatKey, now: SystemTime) -> Option<Duration> {
    let last = u64::try_from(key.ctime_ns.max(key.mtime_ns)).ok()?;
    let settled = UNIX_EPOCH.checked_add(Duration::from_nanos(last) + GRANULARITY)?;
    let wait = settled.duration_since(now).ok()? + Duration::from_nanos(1);
    (wait <= GRANULARITY + Duration::from_nanos(1)).then_some(wait)
}

/// Whether no write after `began` can leave a file with the times of this key.
fn is_settled(key: &StatKey, began: SystemTime) -> bool {
    let edge = began
        .checked_sub(GRANULARITY)
        .and_then(|edge| edge.duration_since(UNIX_EPOCH).ok())
        .and_then(|edge| i64::try_from(edge.as_nanos()).ok());
    edge.is_some_and(|edge| key.ctime_ns < edge && key.mtime_ns < edge)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::{any, proptest};
    use tempfile::TempDir;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    impl Cache {
        fn hash(&self, path: &[u8], key: &StatKey) -> Option<Hash> {
            self.cursor()(path, key)
        }
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).expect("a path")
    }

    /// Of a file that was last touched this many seconds after 1970.
    fn key(ino: u64, seconds: i64) -> StatKey {
        StatKey {
            ino,
            size: 5,
            mtime_ns: seconds * SECOND,
            ctime_ns: seconds * SECOND,
        }
    }

    fn at(nanoseconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).expect("after 1970"))
    }

    fn some() -> Cache {
        let mut cache = Cache::new();
        for (ino, name) in [(1, "a"), (2, "b/c"), (3, "d")] {
            cache.note(&path(name), key(ino, 100), [ino as u8; 32], at(200 * SECOND));
        }
        cache
    }

    fn temp() -> TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_hash_is_known_only_while_the_key_is_the_same() {
        let mut cache = some();
        assert_eq!(cache.hash(b"a", &key(1, 100)), Some([1; 32]));
        for other in [
            key(2, 100),
            key(1, 99),
            StatKey {
                size: 6,
                ..key(1, 100)
            },
            StatKey {
                mtime_ns: 1,
                ..key(1, 100)
            },
            StatKey {
                ctime_ns: 1,
                ..key(1, 100)
            },
        ] {
            assert_eq!(cache.hash(b"a", &other), None, "{other:?}");
        }
        assert_eq!(cache.hash(b"x", &key(1, 100)), None);
        cache.remove(b"a");
        assert_eq!((cache.hash(b"a", &key(1, 100)), cache.len()), (None, 2));
    }

    #[test]
    fn a_file_that_may_still_change_within_the_tick_is_not_kept() {
        let edge = 100 * SECOND + 20_000_000;
        for (began, kept) in [
            (edge + 1, true),
            (edge, false),
            (100 * SECOND, false),
            (99 * SECOND, false),
        ] {
            let mut cache = Cache::new();
            cache.note(&path("a"), key(1, 100), [1; 32], at(began));
            assert_eq!(cache.hash(b"a", &key(1, 100)).is_some(), kept, "begun at {began}");
        }
        // Either time is enough to doubt it.
        let mut cache = Cache::new();
        let future = StatKey {
            mtime_ns: 900 * SECOND,
            ..key(1, 100)
        };
        cache.note(&path("a"), future, [1; 32], at(200 * SECOND));
        assert_eq!(cache.len(), 0);
        // What was known of the same key is not true any more either.
        let mut cache = some();
        cache.note(&path("a"), key(1, 100), [8; 32], at(100 * SECOND));
        assert_eq!(cache.hash(b"a", &key(1, 100)), None);
    }

    #[test]
    fn who_waits_until_it_settles_finds_it_settled() {
        let written = key(1, 100);
        for late in [0, 1, 19_999_999, 20_000_000] {
            let now = at(100 * SECOND + late);
            let wait = settles_in(&written, now).expect("it settles soon");
            assert!(is_settled(&written, now + wait), "{late} ns later");
        }
        assert_eq!(
            settles_in(&written, at(100 * SECOND + 20_000_001)),
            None,
            "it has"
        );
        assert_eq!(settles_in(&written, at(99 * SECOND)), None, "of the future");
        assert_eq!(settles_in(&key(1, -5), at(0)), None);
    }

    /// With a real file system and its real clock: a file written just now is never taken for known.
    #[test]
    fn a_file_written_while_it_is_read_is_not_taken_for_known() {
        let dir = temp();
        let file = dir.path().join("f");
        let mut cache = Cache::new();
        for round in 0..200_u32 {
            fs::write(&file, round.to_le_bytes()).expect("it can be written");
            let began = SystemTime::now();
            let seen = |file: &Path| {
                let found = rustix::fs::stat(file).expect("it is there");
                StatKey::of(&found)
            };
            let before = seen(&file);
            let hash: Hash = blake3::hash(&fs::read(&file).expect("it can be read")).into();
            cache.note(&path("f"), before, hash, began);
            // The same length, at once.
            fs::write(&file, (round + 1_000_000).to_le_bytes()).expect("it can be written");
            let known = cache.hash(b"f", &seen(&file));
            assert_eq!(known, None, "round {round}");
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = temp();
        let place = dir.path().join("made/here");
        let mut cache = some();
        let large = vec![7; 3 << 20];
        let signature = Signature::of(&large);
        cache.note_blocks(&path("d"), [3; 32], signature.clone());
        cache.save(&place).expect("it can be saved");
        cache.save(&place).expect("it can be saved again");
        let loaded = Cache::load(&place);
        assert_eq!(loaded.len(), 3);
        assert_eq!(loaded.hash(b"b/c", &key(2, 100)), Some([2; 32]));
        assert_eq!(loaded.blocks(b"d", &[3; 32]), Some(&signature));
        assert_eq!(loaded.blocks(b"d", &[4; 32]), None, "of another content");
        let listed: Vec<_> = fs::read_dir(&place).expect("a listing").collect();
        assert_eq!(listed.len(), 1, "nothing is left beside it");
        let mode = fs::metadata(place.join(NAME))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn whatever_is_odd_is_empty() {
        let dir = temp();
        assert_eq!(Cache::load(dir.path()).len(), 0, "nothing there");
        let file = dir.path().join(NAME);
        some().save(dir.path()).expect("it can be saved");
        let whole = fs::read(&file).expect("it can be read");
        for bad in [&whole[..whole.len() - 1], b"", b"OLHASH9\n"] {
            fs::write(&file, bad).expect("it can be written");
            assert_eq!(Cache::load(dir.path()).len(), 0);
        }
        fs::remove_file(&file).expect("it can be removed");
        fs::create_dir(&file).expect("a directory");
        assert_eq!(Cache::load(dir.path()).len(), 0, "a directory");
        assert!(some().save(dir.path()).is_err());
    }

    #[test]
    fn blocks_outlive_a_change_of_the_file() {
        let mut cache = some();
        let signature = Signature::of(&[1; 1 << 20]);
        cache.note_blocks(&path("a"), [1; 32], signature.clone());
        cache.note(&path("a"), key(9, 150), [9; 32], at(200 * SECOND));
        assert_eq!(
            cache.blocks(b"a", &[1; 32]),
            Some(&signature),
            "for the other side has it still"
        );
        cache.remove(b"a");
        assert_eq!(cache.blocks(b"a", &[1; 32]), None);
    }

    #[test]
    fn only_what_is_to_stay_stays() {
        let mut cache = some();
        cache.note_blocks(&path("only/blocks"), [1; 32], Signature::of(&[1; 1 << 20]));
        cache.retain(|path| path == b"b/c");
        assert_eq!(cache.len(), 1);
        assert!(cache.hash(b"b/c", &key(2, 100)).is_some());
        assert_eq!(cache.blocks(b"only/blocks", &[1; 32]), None);
    }

    /// A row of the table and the path, and nothing besides.
    #[test]
    fn a_hundred_thousand_files_take_little_memory() {
        let mut cache = Cache::new();
        for ino in 1..=100_000 {
            let path = path(&format!("some/directory/of/a/project/{ino:08}.rs"));
            cache.note(&path, key(ino, 100), [1; 32], at(200 * SECOND));
        }
        cache.hashes.merge();
        let each = cache.hashes.memory() / 100_000 - "some/directory/of/a/project/00000000.rs".len();
        assert!(each <= 110, "{each} bytes");
    }

    proptest! {
        #[test]
        fn whatever_is_noted_comes_back_from_the_disk(
            files in proptest::collection::btree_map("[ab]{1,3}(/[ab]{1,3}){0,2}", any::<(u64, i64, [u8; 32])>(), 0..60),
        ) {
            let dir = temp();
            let mut cache = Cache::new();
            for (name, (ino, time, hash)) in &files {
                let key = StatKey { ino: *ino, size: *ino, mtime_ns: *time, ctime_ns: time.saturating_add(1) };
                cache.note(&path(name), key, *hash, at(i64::MAX));
            }
            cache.save(dir.path()).expect("it can be saved");
            let loaded = Cache::load(dir.path());
            assert!(loaded.hashes.iter().eq(cache.hashes.iter()));
        }
    }
}

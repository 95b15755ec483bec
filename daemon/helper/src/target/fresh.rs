//! A new directory is filled before it is put in its place. What is in it needs no name of its own beside its place then:
//! whoever is killed leaves all of it in the making. Goes for one directory at a time, within one batch.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use outlast_tree::{Kind, RelPath, StatKey, journal::Outcome, open_beneath};
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RawDir, RenameFlags},
    io::Errno,
};

use super::{
    Op, Refused, Target,
    dirs::is_below,
    meta::{look_at, os},
};

/// The directory that is being filled.
#[derive(Debug)]
pub(super) struct Fresh {
    path: RelPath,
    /// What it lies in.
    parent: Arc<OwnedFd>,
    /// Its name there till it is put in its place.
    staged: Vec<u8>,
    /// The number of the change that makes it.
    first: usize,
}

/// What became of the changes of a batch so far.
pub(super) type Became = Vec<(Outcome, Result<(), Refused>)>;

impl Target {
    /// Makes a directory in which the next change is, apart from its place. None: it is to be made as any other.
    pub(super) fn begin_fresh(&mut self, number: usize, op: &Op, next: Option<&Op>) -> Option<StatKey> {
        let entry = op.entry.as_ref().filter(|entry| entry.kind == Kind::Dir)?;
        let is_alone = next.is_none_or(|next| !is_below(&next.path, &op.path));
        if is_alone || self.plain || entry.mode & 0o700 != 0o700 || self.record.table.get(&op.path).is_some()
        {
            return None;
        }
        let above = op.path.parent().unwrap_or_default();
        let parent = self.dirs.open(&self.root, above).ok()?;
        if !matches!(look_at(&parent, op.path.name()), Ok(None)) {
            return None;
        }
        let make = |name: &[u8]| fs::mkdirat(&parent, os(name), Mode::RWXU);
        let (staged, ()) = self.names.make(make).ok()?;
        let Ok((made, key)) = self.dress_dir(&parent, &staged, entry) else {
            let _ = fs::unlinkat(&parent, os(&staged), AtFlags::REMOVEDIR);
            return None;
        };
        self.dirs.know(&op.path, Arc::new(made));
        self.fresh = Some(Fresh {
            path: op.path.clone(),
            parent,
            staged,
            first: number,
        });
        Some(key)
    }

    /// Whether a change is to be made in the directory that is being filled.
    pub(super) fn is_in_fresh(&self, op: &Op) -> bool {
        let fresh = self.fresh.as_ref();
        fresh.is_some_and(|fresh| is_below(&op.path, &fresh.path))
    }

    /// Puts the directory that is being filled in its place. Where something came to be there meanwhile it is removed, and
    /// its changes are made once more as any others.
    pub(super) fn place_fresh(&mut self, generation: u64, ops: &[Op], data: &[u8], became: &mut Became) {
        let Some(fresh) = self.fresh.take() else { return };
        let Fresh {
            path,
            parent,
            staged,
            first,
        } = fresh;
        let flags = RenameFlags::NOREPLACE;
        let placed = fs::renameat_with(&parent, os(&staged), &parent, os(path.name()), flags);
        let Err(errno) = placed else { return };
        // The file system may not know how to find out in one go whether something is there.
        self.plain |= matches!(errno, Errno::INVAL | Errno::NOSYS);
        tracing::debug!(target = ?self.path, ?path, %errno, "a new directory is made once more in its place");
        self.dirs.forget(&path);
        self.inodes = None;
        if let Err(errno) = remove_all(&parent, &staged) {
            tracing::warn!(target = ?self.path, ?path, %errno, "a directory in the making cannot be removed");
        }
        let again = first..became.len();
        for op in &ops[again.clone()] {
            drop(self.record.table.remove(&op.path));
        }
        for number in again {
            let op = &ops[number];
            let made = self.make_or_relax(op, data);
            became[number] = self.note(generation, op, made);
        }
    }
}

/// Removes a directory in the making with all there is in it, never through a symlink.
pub(super) fn remove_all(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    // Paths, since how deep it is must cost neither stack nor descriptors.
    let mut dirs = vec![name.to_vec()];
    let mut at = 0;
    let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
    while let Some(path) = dirs.get(at).cloned() {
        at += 1;
        let dir = open_beneath(&parent, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        let mut reader = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = reader.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        for name in names {
            match fs::unlinkat(&dir, os(&name), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => dirs.push([&path[..], b"/", &name].concat()),
                Err(errno) => return Err(errno),
            }
        }
    }
    for path in dirs.iter().rev() {
        let above = path.iter().rposition(|&byte| byte == b'/');
        let removed = match above {
            None => fs::unlinkat(&parent, os(path), AtFlags::REMOVEDIR),
            Some(at) => open_beneath(&parent, &path[..at], OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|dir| fs::unlinkat(dir, os(&path[at + 1..]), AtFlags::REMOVEDIR)),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{ffi::OsStrExt as _, fs::symlink},
    };

    use outlast_tree::{Entry, journal::Change};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        spool::Root,
        target::{Content, Grounds, Opening, Refusal, write::Made},
    };

    #[test]
    fn what_came_to_be_in_its_place_meanwhile_stays_and_the_rest_goes_into_it() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let (state, at) = (base.join("state"), base.join("target"));
        let opening = Opening {
            spool: &Root::new(state.join("owner")),
            grounds: &Grounds::new(&state),
            id: "a7e1c2d4-0000-4000-8000-000000000001",
            target: at.as_os_str().as_bytes(),
            here: false,
            occupied: false,
            reread: false,
            keep: false,
            mode: None,
            all: &[],
            stop: CancellationToken::new(),
        };
        let (mut target, _) = opening.open().unwrap();
        let op = |path: &str, entry, content| Op {
            path: RelPath::new(path.as_bytes()).unwrap(),
            entry: Some(entry),
            content,
            replace: false,
        };
        let file = || Entry::file(0o644, 0, 4, blake3::hash(b"ours").into());
        let ops = [
            op("new", Entry::dir(0o755), Content::There),
            op("new/ours", file(), Content::Inline(0..4)),
            op("new/theirs", file(), Content::Inline(0..4)),
        ];
        let change = |op: &Op| Change {
            path: op.path.clone(),
            new: op.entry.clone(),
        };
        let generation = target.record.begin(ops.iter().map(change).collect()).unwrap();
        let mut became = Became::new();
        let key = target.begin_fresh(0, &ops[0], ops.get(1)).unwrap();
        became.push(target.note(generation, &ops[0], Ok(Made::There(key))));
        for op in &ops[1..] {
            assert!(target.is_in_fresh(op));
            let made = target.make(op, b"ours");
            became.push(target.note(generation, op, made));
        }
        assert!(!at.join("new").exists() && became.iter().all(|(_, answer)| answer.is_ok()));
        // Somebody else's comes to be there at the last moment.
        fs::create_dir(at.join("new")).unwrap();
        fs::write(at.join("new/theirs"), "theirs").unwrap();
        target.place_fresh(generation, &ops, b"ours", &mut became);
        assert!(became[0].1.is_ok() && became[1].1.is_ok());
        assert_eq!(became[2].1.as_ref().unwrap_err().why, Refusal::Conflict);
        assert_eq!(fs::read(at.join("new/ours")).unwrap(), b"ours");
        assert_eq!(fs::read(at.join("new/theirs")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1, "nothing is in the making");
        assert!(target.record.table.get(b"new/theirs").is_none());
        let outcomes = became.into_iter().map(|(outcome, _)| outcome).collect();
        target.record.done(generation, outcomes).unwrap();
        assert!(target.look(false).unwrap().is_empty());
        target.close().unwrap();
    }

    #[test]
    fn all_of_a_directory_in_the_making_is_removed_and_nothing_behind_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let root: OwnedFd = File::open(temp.path()).unwrap().into();
        let making = temp.path().join("making");
        fs::create_dir_all(making.join("a/b/c")).unwrap();
        fs::create_dir_all(making.join("a/d")).unwrap();
        fs::create_dir(temp.path().join("theirs")).unwrap();
        for file in ["making/1", "making/a/2", "making/a/b/c/3", "theirs/4"] {
            fs::write(temp.path().join(file), file).unwrap();
        }
        symlink("../../theirs", making.join("a/link")).unwrap();
        remove_all(&root, b"making").unwrap();
        assert!(!making.exists());
        assert!(temp.path().join("theirs/4").exists());
        symlink("theirs", temp.path().join("making")).unwrap();
        assert!(remove_all(&root, b"making").is_err());
        assert!(temp.path().join("theirs/4").exists());
    }
}

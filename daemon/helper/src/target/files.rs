//! Putting a file in its place, wherever its content comes from.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
};

use outlast_tree::{Entry, Far, Hash, Kind, StatKey};
use rustix::{
    fs::{self, AtFlags},
    io::Errno,
};

use super::{
    Content, Op, Refusal, Refused, Target,
    meta::{CHUNK, dress, hash, look_at, os},
    replay::is_as_recorded,
};

impl Target {
    pub(super) fn file(
        &mut self,
        parent: &OwnedFd,
        op: &Op,
        entry: &Entry,
        data: &[u8],
    ) -> Result<StatKey, Refused> {
        match &op.content {
            Content::There => self.content_is_there(parent, op, entry),
            Content::Inline(range) => {
                let bytes = data.get(range.clone()).unwrap_or_default();
                if bytes.len() as u64 != entry.size || *blake3::hash(bytes).as_bytes() != entry.hash {
                    return Err(Refused::need("what came is not what it was said to be"));
                }
                self.write(parent, op, entry, |mut file| Ok(file.write_all(bytes)?))
            }
            Content::SameAs(other) => {
                let base = self.base(other, Some(&entry.hash))?;
                let stop = self.stop.clone();
                self.write(parent, op, entry, |file| {
                    let copied = copy(&base.file, file, &stop)?;
                    if copied == entry.hash {
                        Ok(())
                    } else {
                        Err(Refused::need(
                            "the file it is to be copied from has other content",
                        ))
                    }
                })
            }
            Content::Arrived(number) => self.arrived(parent, op, entry, *number),
        }
    }

    /// Writes a file beside its place and puts it there.
    fn write(
        &mut self,
        parent: &OwnedFd,
        op: &Op,
        entry: &Entry,
        fill: impl FnOnce(&File) -> Result<(), Refused>,
    ) -> Result<StatKey, Refused> {
        let (staged, file) = self.names.file(parent).map_err(Refused::errno)?;
        let filled = fill(&file);
        let key = filled.and_then(|()| self.finish(parent, (parent, &staged), &file, op, entry));
        if key.is_err() {
            let _ = fs::unlinkat(parent, os(&staged), AtFlags::empty());
        }
        key
    }

    /// Puts a file that has its content in its place. What is left when that fails is the caller's to remove.
    fn finish(
        &mut self,
        parent: &OwnedFd,
        staged: (&OwnedFd, &[u8]),
        file: &File,
        op: &Op,
        entry: &Entry,
    ) -> Result<StatKey, Refused> {
        dress(file, entry, self.owner).map_err(Refused::errno)?;
        match self.put(parent, staged, op, entry)? {
            Some(taken_over) => Ok(taken_over),
            // The rename changed it once more.
            None => Ok(StatKey::of(&fs::fstat(file).map_err(Refused::errno)?)),
        }
    }

    /// Puts a large file in its place that arrived in pieces.
    fn arrived(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry, number: u64) -> Result<StatKey, Refused> {
        let stage = self.stages.remove(&number);
        let mut stage = stage.ok_or_else(|| Refused::need("no such large file arrived"))?;
        let finished = match stage.check(entry) {
            Ok((file, staged)) => self.finish(parent, staged, file, op, entry),
            Err(refused) => Err(refused),
        };
        if finished.is_err() {
            // It may be tried once more.
            self.stages.insert(number, stage);
        }
        finished
    }

    /// What is there has the content: only what is around it is set.
    fn content_is_there(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry) -> Result<StatKey, Refused> {
        let need = || Refused::need("what is there has other content");
        let found = look_at(parent, op.path.name()).map_err(Refused::errno_of_name)?;
        let seen = found.ok_or_else(|| Refused::need("nothing is there"))?;
        if Kind::of(&seen) != Kind::File {
            return Err(need());
        }
        let ours = |far: &&Far| is_as_recorded(far, &seen);
        if let Some(far) = self.record.table.get(&op.path).filter(ours) {
            if !far.entry.same_content(entry) {
                return Err(need());
            }
        } else {
            self.refuse_clash(parent, &op.path, &seen)?;
            if StatKey::of(&seen).size != entry.size || !self.has_content(parent, &op.path, &seen, entry)? {
                return Err(need());
            }
        }
        self.take_over(parent, &op.path, &seen, entry)
    }
}

/// Copies a whole file and returns the hash of the copy. Where the file system can, both share their blocks.
fn copy(from: &File, to: &File, stop: &tokio_util::sync::CancellationToken) -> Result<Hash, Refused> {
    match fs::ioctl_ficlone(to, from) {
        Ok(()) => return Ok(hash(to, stop)?),
        Err(Errno::NOSPC) => return Err(Refused::errno(Errno::NOSPC)),
        Err(Errno::DQUOT) => return Err(Refused::errno(Errno::DQUOT)),
        // This file system cannot.
        Err(_) => {}
    }
    let (mut from, mut to) = (from, to);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        if stop.is_cancelled() {
            return Err(Refused::new(Refusal::Failed, "nobody waits for it any more"));
        }
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

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
    meta::{CHUNK, bits, dress, hash, look_at, mode_of, os},
    replay::is_as_recorded,
    staging::{PRIVATE, new_file},
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
        // One that has to be written to needs no other mode first, if the system takes nothing from it.
        let fits = entry.mode & PRIVATE == PRIVATE && entry.mode & self.umask == 0;
        let mode = if fits { entry.mode } else { PRIVATE };
        if self.fresh.is_some() {
            match new_file(parent, op.path.name(), mode) {
                Ok(file) => {
                    let filled = fill(&file);
                    let left = filled.and_then(|()| self.leave_as(&file, Some(mode), entry));
                    if left.is_err() {
                        let _ = fs::unlinkat(parent, os(op.path.name()), AtFlags::empty());
                    }
                    return left;
                }
                // One that came before has the same name for the file system. Whoever puts it there finds out.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Refused::errno_of_name(errno)),
            }
        }
        let (staged, file) = self.names.file(parent, mode).map_err(Refused::errno)?;
        let filled = fill(&file);
        let key =
            filled.and_then(|()| self.finish(parent, (parent, &staged), (&file, Some(mode)), op, entry));
        if key.is_err() {
            let _ = fs::unlinkat(parent, os(&staged), AtFlags::empty());
        }
        key
    }

    /// Puts a file that has its content in its place. `mode`: the one it was made with, if that is known. What is left when that
    /// fails is the caller's to remove.
    fn finish(
        &mut self,
        parent: &OwnedFd,
        staged: (&OwnedFd, &[u8]),
        (file, mode): (&File, Option<u16>),
        op: &Op,
        entry: &Entry,
    ) -> Result<StatKey, Refused> {
        dress(file, mode, entry, self.owner).map_err(Refused::errno)?;
        if let Some(taken_over) = self.put(parent, staged, op, entry)? {
            return Ok(taken_over);
        }
        // The rename changed it once more.
        Self::left(file, mode, entry)
    }

    /// Makes a file that is in its place already what the entry says.
    fn leave_as(&self, file: &File, mode: Option<u16>, entry: &Entry) -> Result<StatKey, Refused> {
        dress(file, mode, entry, self.owner).map_err(Refused::errno)?;
        Self::left(file, mode, entry)
    }

    /// How a file is left that has everything.
    fn left(file: &File, mode: Option<u16>, entry: &Entry) -> Result<StatKey, Refused> {
        let mut left = fs::fstat(file).map_err(Refused::errno)?;
        if mode == Some(entry.mode) && mode_of(&left) != entry.mode {
            // The directory gives what is made in it other modes.
            fs::fchmod(file, bits(entry.mode)).map_err(Refused::errno)?;
            left = fs::fstat(file).map_err(Refused::errno)?;
        }
        Ok(StatKey::of(&left))
    }

    /// Puts a large file in its place that arrived in pieces.
    fn arrived(&mut self, parent: &OwnedFd, op: &Op, entry: &Entry, number: u64) -> Result<StatKey, Refused> {
        let stage = self.stages.remove(&number);
        let mut stage = stage.ok_or_else(|| Refused::need("no such large file arrived"))?;
        let finished = match stage.check(entry) {
            Ok((file, staged)) => self.finish(parent, staged, (file, None), op, entry),
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

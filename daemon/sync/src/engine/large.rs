//! One large file, sent for itself: in pieces, or only what is new of it. It is read on a thread that may wait for a disk.
//!
//! It knows nothing of what becomes of it. Where the file changes meanwhile, what was sent is taken back. The host keeps that,
//! as it keeps what came before a stream ended; such a part is compared block by block, and what is right of it is not sent
//! once more.

use std::{fs::File, io, sync::Arc, time::SystemTime};

use bytes::Bytes;
use outlast_client::helper_v1::{
    SyncAsk, SyncBegin, SyncCopy, SyncPacked, SyncPiece, SyncTargetRequest, sync_op, sync_piece,
    sync_target_request::Event,
};
use outlast_tree::{Entry, Hash, Kind, RelPath};
use rustix::event::{Timespec, poll};
use tokio::sync::oneshot;

use super::{
    message,
    outlet::{Outlet, Stopped},
    produce::{Index, Learnt, Pending, Produced, READERS, same_as},
    read,
};
use crate::{
    cache,
    delta::{self, Segment, Signature},
    plan::Put,
    problem::Problem,
    root::{Root, Seen},
};

/// Bytes of a piece.
const PIECE: usize = 256 << 10;
/// Bytes that the host copies in one go, while everything else there waits.
const COPIED: u64 = 8 << 20;
/// Values of blocks in one message, which has at most 1 MiB.
const VALUES: usize = (1 << 20) / size_of::<Hash>();
/// What is longer takes longer to be read than its times take to settle.
const WORTH_WAITING: u64 = 64 << 20;

/// What it takes to send one.
pub(crate) struct Large {
    pub(crate) root: Arc<Root>,
    pub(crate) put: Put,
    /// Values of the blocks of what the host has there.
    pub(crate) signature: Option<Signature>,
    /// Where values of the blocks of a part come that the host kept, once it was asked.
    pub(crate) held: Option<oneshot::Receiver<Vec<Hash>>>,
    pub(crate) index: Arc<Index>,
    /// Its content is sent whatever the host is thought to have.
    pub(crate) forced: bool,
    /// What is there and not ours is replaced.
    pub(crate) replace: bool,
    /// Its number in the stream.
    pub(crate) number: u64,
    pub(crate) outlet: Outlet,
}

/// Why it was not sent.
enum Broken {
    Stopped,
    Read(io::Error),
}

impl From<Stopped> for Broken {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What is known of it once it was read, and where the host finds its content.
type Sent = (Hash, Signature, Option<sync_op::Content>);

/// Sends it. Blocking.
pub(crate) fn send(large: Large) {
    let mut sender = Sender {
        large,
        is_begun: false,
    };
    // A stop is what ends it early; there is nothing else to say.
    let _stopped = sender.run();
}

struct Sender {
    large: Large,
    is_begun: bool,
}

impl Sender {
    fn run(&mut self) -> Result<(), Stopped> {
        let (file, seen) = match read::open(&self.large.root, &self.large.put.path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return self.leave(None),
            Err(problem) => return self.leave(Some(problem)),
        };
        if seen.key.size > WORTH_WAITING
            && let Some(wait) = cache::settles_in(&seen.key, SystemTime::now())
        {
            // What is learnt of it would not be believed, and all of it read again. No event tells of a tick of the clock.
            let _ticked = poll(&mut [], Timespec::try_from(wait).ok().as_ref());
        }
        let began = SystemTime::now();
        let sent = self.content(&file, &seen);
        let same = sent.and_then(|sent| Ok(read::is_same(&file, &seen)?.then_some(sent)));
        match same {
            Ok(Some((hash, signature, place))) => {
                let entry = Entry::file(seen.mode, seen.key.mtime_ns, seen.key.size, hash);
                let learnt = Learnt {
                    key: seen.key,
                    hash,
                    began,
                    signature: Some(signature),
                };
                self.put(entry, seen, place, learnt)
            }
            Ok(None) => self.changed(),
            Err(Broken::Stopped) => Err(Stopped),
            // Shorter than it was.
            Err(Broken::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.changed(),
            Err(Broken::Read(error)) => {
                self.take_back(true)?;
                self.leave(Some(read::unreadable(&self.large.put.path, &error)))
            }
        }
    }

    /// Says what it is to be, once its content came.
    fn put(
        &self,
        entry: Entry,
        seen: Seen,
        content: Option<sync_op::Content>,
        learnt: Learnt,
    ) -> Result<(), Stopped> {
        let Large { put, outlet, .. } = &self.large;
        let path = put.path.clone();
        if content.is_none() && put.old.as_ref() == Some(&entry) {
            return outlet.say(Produced::Same {
                path,
                bytes: entry.size,
                learnt: Some(learnt),
            });
        }
        let by_pieces = matches!(content, Some(sync_op::Content::Arrived(_)));
        let ops = vec![message::put(&path, &entry, content, self.large.replace)];
        let pending = vec![Pending {
            path,
            bytes: if by_pieces { 0 } else { entry.size },
            new: Some(entry),
            seen: Some(seen),
            learnt: Some(learnt),
        }];
        outlet.batch(ops, Vec::new(), pending)
    }

    /// It is not sent.
    fn leave(&self, problem: Option<Problem>) -> Result<(), Stopped> {
        let Large { put, outlet, .. } = &self.large;
        outlet.say(Produced::Left {
            path: put.path.clone(),
            bytes: put.seen.key.size,
            problem,
        })
    }

    fn changed(&mut self) -> Result<(), Stopped> {
        // Most of it may be as it was.
        self.take_back(false)?;
        self.large.outlet.say(Produced::Changed)
    }

    /// Sends what the host does not have of it.
    fn content(&mut self, file: &File, seen: &Seen) -> Result<Sent, Broken> {
        let length = seen.key.size;
        let old = self.large.put.old.as_ref();
        let old_length = old.filter(|old| old.kind == Kind::File).map(|old| old.size);
        if !self.large.forced {
            let signature = self.large.signature.take().filter(|_| old_length.is_some());
            let kept = self.kept()?;
            if signature.is_some() || !kept.is_empty() {
                return self.changes(file, length, old_length, signature.as_ref(), &kept);
            }
            if self.large.index.may_have(length) || old_length == Some(length) {
                let (hash, signature) = delta::sign(file, length, READERS, &self.large.outlet.stop)?;
                if let Some(place) = self.has(&hash) {
                    return Ok((hash, signature, place));
                }
            }
        }
        self.begin(None, false)?;
        let mut signer = delta::Signer::new();
        self.data(file, 0, length, |bytes| signer.update(bytes))?;
        let (hash, signature) = signer.finish();
        Ok((hash, signature, Some(self.arrived())))
    }

    /// Where the host has this content, if it has.
    fn has(&self, hash: &Hash) -> Option<Option<sync_op::Content>> {
        let place = self.large.index.has(self.large.put.old.as_ref(), hash)?;
        Some(place.as_ref().map(same_as))
    }

    fn arrived(&self) -> sync_op::Content {
        sync_op::Content::Arrived(self.large.number)
    }

    /// Values of the blocks of the part that the host kept, if it did.
    fn kept(&mut self) -> Result<Vec<Hash>, Stopped> {
        let Some(held) = self.large.held.take() else {
            return Ok(Vec::new());
        };
        let Large { put, number, .. } = &self.large;
        let request = ask(*number, &put.path, false);
        self.large.outlet.say(Produced::Piece {
            request,
            bytes: 0,
            sent: 0,
        })?;
        // Nobody says it where nobody wants this any more.
        held.blocking_recv().map_err(|_gone| Stopped)
    }

    /// Sends what is new of it, where the host has another content or a part of it, while the rest of it is read.
    fn changes(
        &mut self,
        file: &File,
        length: u64,
        old_length: Option<u64>,
        old: Option<&Signature>,
        kept: &[Hash],
    ) -> Result<Sent, Broken> {
        let stop = Arc::clone(&self.large.outlet.stop);
        // Where it may be just as here, or another file may have all of it, nothing is sent before that is known.
        let is_certain = old_length != Some(length);
        let may_be_elsewhere = self.large.index.may_have(length) || (old.is_none() && !is_certain);
        let nothing = Signature::default();
        let mut held = Vec::new();
        let mut at = 0;
        let signature = old.unwrap_or(&nothing);
        let (hash, signature) = delta::compare(file, length, signature, kept, READERS, &stop, |segment| {
            let is_new = match segment {
                Segment::Copy { from, .. } => from != at,
                Segment::Stay { is_old, .. } => !is_old,
                Segment::Data { .. } => true,
            };
            at += segment.length();
            held.push(segment);
            if !self.is_begun && (may_be_elsewhere || !(is_new || is_certain)) {
                return Ok(());
            }
            self.segments(file, old, kept, &mut held)
        })?;
        if !self.is_begun
            && let Some(place) = self.has(&hash)
        {
            return Ok((hash, signature, place));
        }
        self.segments(file, old, kept, &mut held)?;
        Ok((hash, signature, Some(self.arrived())))
    }

    /// Sends parts of the old file and what is new, and begins with it where that was not done.
    fn segments(
        &mut self,
        file: &File,
        old: Option<&Signature>,
        kept: &[Hash],
        segments: &mut Vec<Segment>,
    ) -> Result<(), Broken> {
        if !self.is_begun {
            self.begin(old, !kept.is_empty())?;
        }
        for segment in segments.drain(..) {
            match segment {
                Segment::Copy { mut from, length } => {
                    let end = from + length;
                    while from < end {
                        let length = COPIED.min(end - from);
                        let copy = sync_piece::Event::Copy(SyncCopy { from, length });
                        self.piece(copy, length, 0)?;
                        from += length;
                    }
                }
                Segment::Stay { length, .. } => self.piece(sync_piece::Event::Stay(length), length, 0)?,
                Segment::Data { from, length } => self.data(file, from, length, |_| {})?,
            }
        }
        Ok(())
    }

    /// Sends bytes of the file.
    fn data(&self, file: &File, from: u64, length: u64, mut see: impl FnMut(&[u8])) -> Result<(), Broken> {
        let (mut at, end) = (from, from + length);
        while at < end {
            let count = PIECE.min(usize::try_from(end - at).unwrap_or(PIECE));
            let bytes = read::piece(file, at, count)?;
            see(&bytes);
            at += bytes.len() as u64;
            self.bytes(bytes)?;
        }
        Ok(())
    }

    /// Begins. Its directory must be there.
    fn begin(&mut self, base: Option<&Signature>, part: bool) -> Result<(), Stopped> {
        self.is_begun = true;
        let path = Bytes::copy_from_slice(&self.large.put.path);
        let begin = SyncBegin {
            base: base.map(|_| path.clone()),
            path,
            part,
        };
        self.piece(sync_piece::Event::Begin(begin), 0, 0)?;
        for values in base.map_or(&[][..], Signature::values).chunks(VALUES) {
            let values = Bytes::copy_from_slice(values.as_flattened());
            let sent = values.len() as u64;
            self.piece(sync_piece::Event::Values(values), 0, sent)?;
        }
        Ok(())
    }

    fn bytes(&self, bytes: Vec<u8>) -> Result<(), Stopped> {
        let length = bytes.len() as u64;
        match self.large.outlet.packed(&bytes) {
            Some(data) => {
                let sent = data.len() as u64;
                let packed = SyncPacked {
                    data: data.into(),
                    unpacked: length,
                };
                self.piece(sync_piece::Event::Packed(packed), length, sent)
            }
            None => self.piece(sync_piece::Event::Data(bytes.into()), length, length),
        }
    }

    /// Sends a piece that makes up so many bytes of the file.
    fn piece(&self, event: sync_piece::Event, bytes: u64, sent: u64) -> Result<(), Stopped> {
        let request = piece(self.large.number, event);
        self.large.outlet.say(Produced::Piece { request, bytes, sent })
    }

    /// Takes back what was sent. `drop`: for good.
    fn take_back(&mut self, drop: bool) -> Result<(), Stopped> {
        if std::mem::take(&mut self.is_begun) {
            let request = take_back(self.large.number, drop);
            return self.large.outlet.say(Produced::Piece {
                request,
                bytes: 0,
                sent: 0,
            });
        }
        Ok(())
    }
}

/// The message that asks for what the host kept for a path, or drops it.
pub(crate) fn ask(number: u64, path: &RelPath, drop: bool) -> SyncTargetRequest {
    let path = Bytes::copy_from_slice(path);
    piece(number, sync_piece::Event::Ask(SyncAsk { path, drop }))
}

/// The message that takes back what was sent of a large file. `drop`: for good; else the host keeps it for the path.
pub(crate) fn take_back(number: u64, drop: bool) -> SyncTargetRequest {
    piece(number, sync_piece::Event::Drop(drop))
}

/// Whether a message says that a part of a large file is there already.
pub(crate) fn stays(request: &SyncTargetRequest) -> bool {
    matches!(
        &request.event,
        Some(Event::Piece(SyncPiece {
            event: Some(sync_piece::Event::Stay(_)),
            ..
        }))
    )
}

fn piece(number: u64, event: sync_piece::Event) -> SyncTargetRequest {
    let piece = SyncPiece {
        number,
        event: Some(event),
        tell: false,
    };
    SyncTargetRequest {
        event: Some(Event::Piece(piece)),
    }
}

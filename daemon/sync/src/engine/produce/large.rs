//! Large files: in pieces, or only what is new of them.

use std::{fs::File, io::ErrorKind, os::unix::fs::FileExt as _, time::SystemTime};

use bytes::Bytes;
use outlast_client::helper_v1::{
    SyncBegin, SyncCopy, SyncPacked, SyncPiece, SyncTargetRequest, sync_op, sync_piece,
    sync_target_request::Event,
};
use outlast_tree::{Entry, Hash, Kind};

use super::{Learnt, Produced, Producer, READERS, Stopped, same_as};
use crate::{
    delta::{self, Segment, Signature},
    engine::read,
    plan::Put,
    root::Seen,
};

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// Why a large file was not sent.
enum Broken {
    Stopped,
    Read(std::io::Error),
}

impl From<Stopped> for Broken {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

/// What is known of a large file once it was read, and where the host finds its content.
type Large = (Hash, Signature, Option<sync_op::Content>);

impl Producer {
    /// A file that is sent in pieces, or as what is new of it.
    pub(super) fn large(&mut self, put: &Put) -> Result<(), Stopped> {
        for _ in 0..read::ATTEMPTS {
            let (file, seen) = match read::open(&self.root, &put.path) {
                Ok(Some(opened)) => opened,
                Ok(None) => return self.leave(put, None),
                Err(problem) => return self.leave(put, Some(problem)),
            };
            let began = SystemTime::now();
            self.begun = None;
            let sent = self.send_large(put, &file, &seen);
            let (hash, signature, place) = match sent {
                Ok(Some(sent)) => sent,
                // Shorter than it was.
                Ok(None) => continue,
                Err(Broken::Stopped) => return Err(Stopped),
                Err(Broken::Read(error)) => {
                    if let Some(number) = self.begun.take() {
                        self.drop_piece(Some(&sync_op::Content::Arrived(number)))?;
                    }
                    let problem = read::unreadable(&put.path, &error);
                    return self.leave(put, Some(problem));
                }
            };
            match read::is_same(&file, &seen) {
                Ok(true) => {
                    let entry = Entry::file(seen.mode, seen.key.mtime_ns, seen.key.size, hash);
                    let learnt = Learnt {
                        key: seen.key,
                        hash,
                        began,
                        signature: Some(signature),
                    };
                    return self.add_file(put, entry, seen, place, Some(learnt));
                }
                Ok(false) => self.drop_piece(place.as_ref())?,
                Err(error) => {
                    self.drop_piece(place.as_ref())?;
                    let problem = read::unreadable(&put.path, &error);
                    return self.leave(put, Some(problem));
                }
            }
        }
        self.leave(put, Some(read::changing(&put.path)))
    }

    /// Sends what the host does not have of a large file. None: it is shorter than it was.
    fn send_large(&mut self, put: &Put, file: &File, seen: &Seen) -> Result<Option<Large>, Broken> {
        let length = seen.key.size;
        let forced = self.forced.contains(&put.path);
        let old = put.old.as_ref().filter(|old| old.kind == Kind::File && !forced);
        if let Some(old) = old
            && let Some(signature) = self.signatures.get(&old.hash)
        {
            let delta = match delta::compare(file, length, signature, READERS, &self.stop) {
                Ok(delta) => delta,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if let Some(place) = self.has(put, &delta.hash) {
                return Ok(Some((delta.hash, delta.signature, place.as_ref().map(same_as))));
            }
            let number = self.begin(put, true)?;
            if !self.segments(file, number, &delta.segments)? {
                return Ok(None);
            }
            let arrived = sync_op::Content::Arrived(number);
            return Ok(Some((delta.hash, delta.signature, Some(arrived))));
        }
        if !forced && (self.index.sizes.contains(&length) || old.is_some_and(|old| old.size == length)) {
            let (hash, signature) = match delta::sign(file, length, READERS, &self.stop) {
                Ok(signed) => signed,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if let Some(place) = self.has(put, &hash) {
                return Ok(Some((hash, signature, place.as_ref().map(same_as))));
            }
        }
        let number = self.begin(put, false)?;
        let mut signer = delta::Signer::new();
        let mut at = 0;
        while at < length {
            let piece = PIECE.min(usize::try_from(length - at).unwrap_or(PIECE));
            let mut bytes = vec![0; piece];
            match file.read_exact_at(&mut bytes, at) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.drop_piece(Some(&sync_op::Content::Arrived(number)))?;
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
            signer.update(&bytes);
            at += bytes.len() as u64;
            self.send_data(number, bytes)?;
        }
        let (hash, signature) = signer.finish();
        Ok(Some((hash, signature, Some(sync_op::Content::Arrived(number)))))
    }

    /// Sends a file as parts of the old one and what is new. False: it is shorter than it was.
    fn segments(&mut self, file: &File, number: u64, segments: &[Segment]) -> Result<bool, Broken> {
        for segment in segments {
            match *segment {
                Segment::Copy { from, length } => {
                    let copy = sync_piece::Event::Copy(SyncCopy { from, length });
                    self.piece(number, copy, length)?;
                }
                Segment::Data { from, length } => {
                    let (mut at, end) = (from, from + length);
                    while at < end {
                        let piece = PIECE.min(usize::try_from(end - at).unwrap_or(PIECE));
                        let mut bytes = vec![0; piece];
                        match file.read_exact_at(&mut bytes, at) {
                            Ok(()) => {}
                            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                                self.drop_piece(Some(&sync_op::Content::Arrived(number)))?;
                                return Ok(false);
                            }
                            Err(error) => return Err(error.into()),
                        }
                        at += bytes.len() as u64;
                        self.send_data(number, bytes)?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Begins a large file. Its directory must be there, so what comes before it is sent first.
    fn begin(&mut self, put: &Put, base: bool) -> Result<u64, Stopped> {
        self.close()?;
        let number = self.number;
        self.number += 1;
        self.begun = Some(number);
        let path = Bytes::copy_from_slice(&put.path);
        let begin = SyncBegin {
            base: base.then(|| path.clone()),
            path,
        };
        self.piece(number, sync_piece::Event::Begin(begin), 0)?;
        Ok(number)
    }

    fn send_data(&mut self, number: u64, bytes: Vec<u8>) -> Result<(), Stopped> {
        let length = bytes.len() as u64;
        let event = match self.packed(&bytes) {
            Some(data) => sync_piece::Event::Packed(SyncPacked {
                data: data.into(),
                unpacked: length,
            }),
            None => sync_piece::Event::Data(bytes.into()),
        };
        self.piece(number, event, length)
    }

    fn piece(&self, number: u64, event: sync_piece::Event, bytes: u64) -> Result<(), Stopped> {
        let piece = SyncPiece {
            number,
            event: Some(event),
        };
        let request = SyncTargetRequest {
            event: Some(Event::Piece(piece)),
        };
        self.say(Produced::Piece { request, bytes })
    }

    /// Takes back what was sent of a large file.
    fn drop_piece(&self, content: Option<&sync_op::Content>) -> Result<(), Stopped> {
        match content {
            Some(sync_op::Content::Arrived(number)) => self.piece(*number, sync_piece::Event::Drop(true), 0),
            _ => Ok(()),
        }
    }
}

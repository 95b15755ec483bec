//! The thread that writes to one target: it takes what comes in order, makes it so and says what became of it. It ends
//! between two messages when nobody wants it any more. Only bringing things to the disk and reading what is kept of a large
//! file are not done by it: while these go on, changes are made and answered.

use std::{io, sync::Arc};

use bytes::Bytes;
use outlast_client::helper_v1::{
    SyncAsk, SyncBatch, SyncDone, SyncHeld, SyncOpen, SyncOpened, SyncPart, SyncPiece, SyncPosition,
    SyncSettled, SyncTargetResponse, SyncTook, sync_piece, sync_target_response,
};
use outlast_tree::{Hash, RelPath};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::{
    Event, Sender, convert,
    refuse::{outcome, refuse},
};
use crate::{
    service::{
        Core,
        error::{broken, failed, usage},
    },
    target::{Grounds, OnDisk, OpenError, Opening, PartRead, Position, Target},
};

/// Bytes of the record in one message, and of a piece of a large file at most.
const PART: usize = 1 << 20;

/// Bytes of paths that are told at once.
const ALTERED_MAX: usize = 16 << 20;

/// What the thread needs.
pub(super) struct Worker {
    pub(super) core: Arc<Core>,
    pub(super) to: Sender,
    /// Cancelled when it is to end.
    pub(super) stop: CancellationToken,
    /// For waiting: the thread is none that may.
    pub(super) runtime: Handle,
}

/// What is being brought to the disk. Whoever lets go of it leaves it to itself, and nobody notes what came of it.
type Syncing = JoinHandle<io::Result<OnDisk>>;

/// What came of it.
type Synced = Result<io::Result<OnDisk>, JoinError>;

/// What is kept of a large file, being read. Whoever lets go of it ends that.
struct Reading {
    thread: JoinHandle<PartRead>,
    _stop: DropGuard,
}

/// What goes on beside the thread.
#[derive(Default)]
struct Beside {
    syncing: Option<Syncing>,
    reading: Option<Reading>,
}

/// What there is to be done.
enum Next {
    Event(Event),
    /// What was being brought to the disk is there, or will not be.
    Synced(Synced),
    /// What is kept of a large file was read.
    Read(Result<PartRead, JoinError>),
    /// Nothing more comes.
    End,
}

/// Nobody listens any more, or is to be listened to.
struct Gone;

enum End {
    Gone,
    Refused(Status),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Worker {
    /// Serves one stream to its end.
    pub(super) fn run(&self, open: &SyncOpen, mut events: mpsc::Receiver<Event>) -> Result<(), Status> {
        let grounds = Grounds::new(&self.core.config.state_dir);
        let opening = Opening {
            spool: &self.core.root,
            grounds: &grounds,
            id: &open.id,
            target: &open.target,
            here: open.here,
            occupied: open.occupied,
            reread: open.reread,
            keep: open.keep,
            mode: open.mode,
            all: &open.all,
            stop: self.stop.clone(),
        };
        let (mut target, altered) = opening.open().map_err(refuse)?;
        let ended = self.serve(&mut target, open, altered, &mut events);
        let closed = target.close().map_err(|error| failed(&error));
        match ended {
            Err(End::Refused(status)) => Err(status),
            Ok(()) | Err(End::Gone) => closed,
        }
    }

    fn serve(
        &self,
        target: &mut Target,
        open: &SyncOpen,
        altered: u64,
        events: &mut mpsc::Receiver<Event>,
    ) -> Result<(), End> {
        self.tell_opened(target, open, altered)?;
        let mut beside = Beside::default();
        loop {
            let event = match self.next(events, &mut beside)? {
                Next::Event(event) => event,
                Next::Synced(synced) => {
                    beside.syncing = None;
                    self.synced(target, synced)?;
                    continue;
                }
                Next::Read(read) => {
                    beside.reading = None;
                    let read =
                        read.map_err(|_panic| broken("reading what is kept of a large file ended early"))?;
                    let (number, values) = target.note_part(read);
                    self.tell_held(number, &values)?;
                    continue;
                }
                // Whoever does not stay to hear that it is on the disk is not kept by it.
                Next::End => return Ok(()),
            };
            match event {
                Event::Batch(batch) => self.batch(target, batch)?,
                Event::Piece(piece) => self.piece(target, piece, &mut beside)?,
                Event::Settle(settle) => {
                    // Nothing in their answers says which one is meant but their order.
                    if let Some(before) = beside.syncing.take() {
                        let synced = self.wait(before)?;
                        self.synced(target, synced)?;
                    }
                    if settle.to_disk {
                        beside.syncing = Some(self.to_disk(target)?);
                    } else {
                        self.look(target)?;
                    }
                }
                Event::Open(_) => return Err(usage("a target is opened once in a stream").into()),
            }
        }
    }

    fn tell_opened(&self, target: &Target, open: &SyncOpen, altered: u64) -> Result<(), End> {
        let position = target.position();
        let known = open.position.as_ref().is_some_and(|known| {
            let SyncPosition { epoch, generation } = known;
            *epoch == position.epoch && *generation == position.generation
        });
        let record = (!known).then(|| Bytes::from(target.manifest()));
        let Position { epoch, generation } = position;
        let opened = SyncOpened {
            position: Some(SyncPosition { epoch, generation }),
            target: convert::bytes_of(target.path()),
            record_bytes: record.as_ref().map(|record| record.len() as u64),
            altered,
            parts: target
                .parts()
                .map(|(path, length)| SyncPart {
                    path: Bytes::copy_from_slice(path),
                    length,
                })
                .collect(),
        };
        self.say(sync_target_response::Event::Opened(opened))?;
        let mut left = record.unwrap_or_default();
        while !left.is_empty() {
            let part = left.split_to(left.len().min(PART));
            self.say(sync_target_response::Event::Record(part))?;
        }
        Ok(())
    }

    fn batch(&self, target: &mut Target, batch: SyncBatch) -> Result<(), End> {
        let batch = convert::batch(batch).map_err(usage)?;
        target.is_in_place().map_err(refuse)?;
        let (mut ops, mut outcomes) = (Vec::with_capacity(batch.ops.len()), Vec::new());
        for op in batch.ops {
            match op {
                Ok(op) => {
                    ops.push(op);
                    outcomes.push(None);
                }
                Err(refused) => outcomes.push(Some(outcome(Err(refused)))),
            }
        }
        let made = target.batch(&ops, &batch.data);
        let (generation, answers) = made.map_err(|error| failed(&error))?;
        let mut answers = answers.into_iter();
        let made = |early: Option<_>| early.or_else(|| answers.next().map(outcome));
        let outcomes = outcomes.into_iter().filter_map(made).collect();
        self.say(sync_target_response::Event::Done(SyncDone {
            generation,
            outcomes,
        }))
    }

    /// Has what was written till now brought to the disk by another thread.
    fn to_disk(&self, target: &Target) -> Result<Syncing, End> {
        target.is_in_place().map_err(refuse)?;
        let to_disk = target.to_disk().map_err(|error| failed(&error))?;
        // None of the tasks whose end is waited for: what a slow disk holds up touches nothing of ours any more.
        Ok(self.runtime.spawn_blocking(|| to_disk.run()))
    }

    /// It is on the disk, or will not be.
    fn synced(&self, target: &mut Target, synced: Synced) -> Result<(), End> {
        let synced = synced.map_err(|_panic| broken("bringing what was written to the disk ended early"))?;
        let noted = synced.and_then(|on_disk| target.note_on_disk(on_disk));
        noted.map_err(|error| failed(&error))?;
        self.say_settled(target, &[])
    }

    fn look(&self, target: &mut Target) -> Result<(), End> {
        target.is_in_place().map_err(refuse)?;
        let altered = target.check();
        let altered = altered.map_err(|error| refuse(OpenError::from(error)))?;
        if altered.iter().map(|path| path.len()).sum::<usize>() > ALTERED_MAX {
            // The record, which comes in parts then, says the same.
            return Err(
                broken("more was changed at the target than one message holds; open it again").into(),
            );
        }
        self.say_settled(target, &altered)
    }

    fn say_settled(&self, target: &Target, altered: &[RelPath]) -> Result<(), End> {
        self.say(sync_target_response::Event::Settled(SyncSettled {
            generation: target.position().generation,
            altered: altered.iter().map(|path| Bytes::copy_from_slice(path)).collect(),
        }))
    }

    /// Tells what a part of a large file holds.
    fn tell_held(&self, number: u64, values: &[Hash]) -> Result<(), End> {
        let mut left = Bytes::copy_from_slice(values.as_flattened());
        loop {
            let values = left.split_to(left.len().min(PART));
            let more = !left.is_empty();
            self.say(sync_target_response::Event::Held(SyncHeld {
                number,
                values,
                more,
            }))?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Has what is kept of a large file read by another thread, or drops it.
    fn ask(&self, target: &mut Target, number: u64, ask: &SyncAsk, beside: &mut Beside) -> Result<(), End> {
        let path = RelPath::new(&ask.path).map_err(|bad| usage(format!("of a large file: {bad}")))?;
        if ask.drop {
            target.drop_part(&path);
            return Ok(());
        }
        let Some(part) = target.ask_part(number, &path) else {
            return self.tell_held(number, &[]);
        };
        let stop = self.stop.child_token();
        let guard = stop.clone().drop_guard();
        beside.reading = Some(Reading {
            thread: self.runtime.spawn_blocking(move || part.run(&stop)),
            _stop: guard,
        });
        Ok(())
    }

    fn piece(&self, target: &mut Target, piece: SyncPiece, beside: &mut Beside) -> Result<(), End> {
        let SyncPiece { number, event, tell } = piece;
        match event {
            Some(sync_piece::Event::Begin(begin)) => {
                let path =
                    RelPath::new(&begin.path).map_err(|bad| usage(format!("of a large file: {bad}")))?;
                let base = begin.base.map(|base| RelPath::new(&base)).transpose();
                let base = base.map_err(|bad| usage(format!("of a base: {bad}")))?;
                let begun = target.begin_large(number, &path, base.as_ref(), begin.part);
                begun.map_err(|error| failed(&error))?;
            }
            Some(sync_piece::Event::Data(bytes)) if bytes.len() <= PART => target.large_data(number, &bytes),
            Some(sync_piece::Event::Data(_)) => {
                return Err(usage("a piece has at most 1 MiB").into());
            }
            Some(sync_piece::Event::Packed(packed)) => {
                match convert::unpack(&packed.data, packed.unpacked, PART) {
                    Ok(bytes) => target.large_data(number, &bytes),
                    Err(message) => target.spoil_large(number, &message),
                }
            }
            Some(sync_piece::Event::Values(values)) => {
                let whole = values.as_chunks::<{ size_of::<Hash>() }>();
                let (values, []) = whole else {
                    return Err(usage("a value of a block has 32 bytes").into());
                };
                target.large_values(number, values);
            }
            Some(sync_piece::Event::Copy(copy)) => target.large_copy(number, copy.from, copy.length),
            Some(sync_piece::Event::Ask(ask)) => self.ask(target, number, &ask, beside)?,
            Some(sync_piece::Event::Stay(length)) => target.large_stay(number, length),
            Some(sync_piece::Event::Drop(true)) => target.drop_large(number),
            Some(sync_piece::Event::Drop(false)) => target.leave_large(number),
            None => {
                return Err(usage("a piece has to be something").into());
            }
        }
        if tell {
            self.say(sync_target_response::Event::Took(SyncTook {}))?;
        }
        Ok(())
    }

    /// Waits for what comes next.
    fn next(&self, events: &mut mpsc::Receiver<Event>, beside: &mut Beside) -> Result<Next, Gone> {
        let Beside { syncing, reading } = beside;
        let synced = async {
            match syncing {
                Some(syncing) => syncing.await,
                None => std::future::pending().await,
            }
        };
        let read = async {
            match reading {
                Some(reading) => (&mut reading.thread).await,
                None => std::future::pending().await,
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(Gone),
                synced = synced => Ok(Next::Synced(synced)),
                read = read => Ok(Next::Read(read)),
                event = events.recv() => Ok(event.map_or(Next::End, Next::Event)),
            }
        })
    }

    /// Waits until what is being brought to the disk is there.
    fn wait(&self, syncing: Syncing) -> Result<Synced, Gone> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(Gone),
                synced = syncing => Ok(synced),
            }
        })
    }

    fn say(&self, event: sync_target_response::Event) -> Result<(), End> {
        let answer = Ok(SyncTargetResponse { event: Some(event) });
        let said = self.runtime.block_on(async {
            tokio::select! {
                biased;
                said = self.to.send(answer) => said.map_err(|_nobody| Gone),
                () = self.stop.cancelled() => Err(Gone),
            }
        });
        Ok(said?)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

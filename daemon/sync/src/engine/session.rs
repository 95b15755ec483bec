//! One stream to a target: opened, fed, listened to, until it breaks.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use outlast_client::helper_v1::{
    SyncDone, SyncHeld, SyncOpen, SyncPosition, SyncSettle, SyncSettled, SyncTargetRequest,
    SyncTargetResponse, helper_service_client::HelperServiceClient, sync_target_request,
    sync_target_response::Event,
};
use outlast_tree::{Entry, RelPath};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{copy::Copy, produce::Pending, way::Load};

/// Messages that wait to be sent; what is under way is bounded by the stream's window.
const WAITING: usize = 4;

/// Changed paths that are searched for among those under way.
const SEARCHED: usize = 1000;

/// A change under way, with what the record had before it.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) pending: Pending,
    pub(crate) old: Option<Entry>,
}

/// A target that is open.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) out: mpsc::Sender<SyncTargetRequest>,
    inbound: Streaming<SyncTargetResponse>,
    /// Up to where the record is known to be as the copy says, when nothing is under way.
    pub(crate) position: SyncPosition,
    /// Batches that were sent and not answered yet.
    underway: VecDeque<Vec<Underway>>,
    /// How many changes of each path those hold.
    paths: HashMap<RelPath, u32>,
    /// Batches that were sent.
    pub(crate) sent: u64,
    /// What its connection is for.
    pub(crate) load: Load,
    /// A settle was sent at that time and not answered yet.
    pub(crate) settling: Option<Instant>,
}

/// What a target said.
#[derive(Debug)]
pub(crate) enum Said {
    Done(SyncDone),
    Settled(SyncSettled),
    Took,
    /// What the host kept of a large file.
    Held(SyncHeld),
}

/// What a target was opened with.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) target: Vec<u8>,
    /// Large files of which the host kept a part.
    pub(crate) parts: Vec<RelPath>,
    /// What the record holds. None: it is as the copy that the caller has.
    pub(crate) copy: Option<Copy>,
}

/// Opens a target.
///
/// # Errors
/// What the host says, or that the way broke.
pub(crate) async fn open(
    mut client: HelperServiceClient<Channel>,
    request: SyncOpen,
    load: Load,
) -> Result<Opened, Status> {
    let (out, waiting) = mpsc::channel(WAITING);
    let first = SyncTargetRequest {
        event: Some(sync_target_request::Event::Open(request)),
    };
    // There is room: nothing was sent yet.
    out.send(first)
        .await
        .map_err(|_closed| Status::internal("a queue that was just made is closed"))?;
    let request = Request::new(ReceiverStream::new(waiting));
    let mut inbound = client.sync_target(request).await?.into_inner();
    let Some(Event::Opened(opened)) = event(&mut inbound).await? else {
        return Err(strange());
    };
    let mut position = opened.position.unwrap_or_default();
    let copy = match opened.record_bytes {
        None => None,
        Some(length) => {
            let length = usize::try_from(length).map_err(|_overflow| strange())?;
            let mut record = Vec::new();
            while record.len() < length {
                let Some(Event::Record(part)) = event(&mut inbound).await? else {
                    return Err(strange());
                };
                record.extend_from_slice(&part);
            }
            let (copy, at) = Copy::decode(&record).map_err(|_damaged| strange())?;
            position = at;
            Some(copy)
        }
    };
    Ok(Opened {
        session: Session {
            out,
            inbound,
            position,
            underway: VecDeque::new(),
            paths: HashMap::new(),
            sent: 0,
            load,
            settling: None,
        },
        target: opened.target.to_vec(),
        parts: opened
            .parts
            .iter()
            .filter_map(|part| RelPath::new(&part.path).ok())
            .collect(),
        copy,
    })
}

impl Session {
    /// Waits for what the target says next. Cancel-safe.
    pub(crate) async fn said(&mut self) -> Result<Said, Status> {
        match event(&mut self.inbound).await? {
            Some(Event::Done(done)) => Ok(Said::Done(done)),
            Some(Event::Settled(settled)) => Ok(Said::Settled(settled)),
            Some(Event::Took(_)) => Ok(Said::Took),
            Some(Event::Held(held)) => Ok(Said::Held(held)),
            _ => Err(strange()),
        }
    }

    /// Batches that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.sent - self.underway.len() as u64
    }

    /// Whether the copy is as the record.
    pub(crate) fn is_even(&self) -> bool {
        self.underway.is_empty()
    }

    /// Whether one of these paths, or what is above or below it, is under way: what comes of that decides what is to be done.
    pub(crate) fn has_underway(&self, dirty: &HashSet<Vec<u8>>) -> bool {
        if self.paths.is_empty() {
            return false;
        }
        // So many that it is not worth the search.
        dirty.len() > SEARCHED
            || dirty.iter().any(|path| {
                at_and_above(path).any(|dir| RelPath::new(dir).is_ok_and(|dir| self.paths.contains_key(&dir)))
            })
            || self
                .paths
                .keys()
                .any(|path| at_and_above(path).any(|dir| dirty.contains(dir)))
    }

    /// Batches that are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.underway.len()
    }

    /// Notes what is under way in the copy.
    pub(crate) fn send_off(&mut self, copy: &mut Copy, pending: Vec<Pending>) {
        let mut batch = Vec::with_capacity(pending.len());
        for pending in pending {
            *self.paths.entry(pending.path.clone()).or_default() += 1;
            batch.push(Underway {
                old: copy.set(&pending.path, pending.new.clone()),
                pending,
            });
        }
        self.underway.push_back(batch);
        self.sent += 1;
    }

    /// Takes the batch that is answered next.
    pub(crate) fn answer(&mut self) -> Option<Vec<Underway>> {
        let batch = self.underway.pop_front()?;
        for underway in &batch {
            if let Some(count) = self.paths.get_mut(&underway.pending.path) {
                *count -= 1;
                if *count == 0 {
                    self.paths.remove(&underway.pending.path);
                }
            }
        }
        if self.paths.is_empty() {
            // A first copy makes it large, and afterwards it is for what is saved in an editor.
            self.paths.shrink_to(SEARCHED);
        }
        Some(batch)
    }

    /// The record has this at a path, before what is under way for it.
    pub(crate) fn correct(&mut self, copy: &mut Copy, path: &RelPath, entry: Option<Entry>) {
        if !self.paths.contains_key(path) {
            drop(copy.set(path, entry));
            return;
        }
        let mut all = self.underway.iter_mut().flatten();
        if let Some(underway) = all.find(|underway| underway.pending.path == *path) {
            underway.old = entry;
        }
    }
}

/// A path and the directories above it, without the root.
fn at_and_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

/// The message that asks to look at everything there, or to bring it to the disk.
pub(crate) fn settle(to_disk: bool) -> SyncTargetRequest {
    SyncTargetRequest {
        event: Some(sync_target_request::Event::Settle(SyncSettle { to_disk })),
    }
}

/// Paths that a target names.
pub(crate) fn paths(named: &[bytes::Bytes]) -> impl Iterator<Item = RelPath> {
    named.iter().filter_map(|path| RelPath::new(path).ok())
}

async fn event(inbound: &mut Streaming<SyncTargetResponse>) -> Result<Option<Event>, Status> {
    match inbound.message().await? {
        Some(message) => Ok(message.event),
        None => Err(Status::unavailable("the stream to the target ended")),
    }
}

fn strange() -> Status {
    Status::internal("the helper says something else than it should")
}

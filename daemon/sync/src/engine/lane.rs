//! Large files, which are sent one at a time beside the passes: what is saved meanwhile does not wait for them.
//!
//! A file is in it from when a look found it until its last message is handed over. What later looks see of it counts: one
//! that has gone is not sent any more, and one that changed is begun anew, after a rest and not for ever. Its pieces go when
//! nothing else is to go. Where the stream ends all of it is forgotten; the first look of the next one finds it again. The host
//! keeps what it has of it till then: what is not to be sent any more is dropped there as soon as a look has seen that.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use outlast_client::helper_v1::{SyncHeld, SyncTargetRequest, sync_target_request::Event};
use outlast_tree::{Hash, Kind, RelPath};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use super::{
    large::{self, Large},
    limit::Limit,
    outlet::Outlet,
    produce::{Index, Produced},
    progress::Counter,
    read,
    window::Window,
    work::Engine,
};
use crate::{
    plan::{Put, is_at_or_below},
    root::Root,
};

/// Pieces that wait between reading and sending.
const PIECES: usize = 4;
/// As many bytes that the host copies take it as long as one that is sent, about.
const COPIED: u64 = 32;
/// How long a file that changed while it was sent is left alone: as long as it was being sent, within these bounds.
const REST: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(3)];

/// Those that are to be sent, and the one that is.
pub(super) struct Lane {
    /// By their tickets.
    waiting: VecDeque<Item>,
    running: Option<Running>,
    /// A piece that is to be sent, and how many bytes it counts for.
    next: Option<(SyncTargetRequest, u64)>,
    /// How much of it may be under way.
    pub(super) window: Window,
    /// Of everything that is sent; only pieces wait for it.
    pub(super) limit: Limit,
    /// Those that changed too often.
    given_up: Vec<RelPath>,
    /// Those of which the host may keep a part, from before it was opened or from before they changed.
    kept: HashSet<RelPath>,
    /// Of those, what is not to be sent any more.
    unwanted: Vec<RelPath>,
    tickets: u64,
    /// What the newest look was made on. One for all of them: it holds a directory open.
    ground: Option<(Arc<Root>, Arc<Index>)>,
}

/// One that is to be sent.
struct Item {
    put: Put,
    /// Whoever came later has a higher one.
    ticket: u64,
    /// How often it changed while it was sent.
    changes: usize,
    /// Not before then.
    due: Instant,
}

/// One that is being sent.
struct Running {
    item: Item,
    number: u64,
    began: Instant,
    /// Bytes of it that were counted.
    done: u64,
    /// The host has a part of it.
    is_begun: bool,
    /// Its last message was handed over.
    is_over: bool,
    produced: mpsc::Receiver<Produced>,
    /// Values of what the host kept of it, as far as they came, and where they go.
    held: Option<(Vec<Hash>, oneshot::Sender<Vec<Hash>>)>,
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

/// What a look found.
pub(super) struct Found {
    pub(super) puts: Vec<Put>,
    pub(super) root: Arc<Root>,
    pub(super) index: Arc<Index>,
    /// Somebody waits for what is here now: how often it changed before is no matter.
    pub(super) for_flush: bool,
}

impl Lane {
    /// With so many bytes a second for all that is sent.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: None,
            next: None,
            window: Window::default(),
            limit: Limit::new(limit),
            given_up: Vec::new(),
            kept: HashSet::new(),
            unwanted: Vec::new(),
            tickets: 0,
            ground: None,
        }
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_none() && self.next.is_none()
    }

    /// Whether a file is in it.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.items().any(|item| item.put.path == *path)
    }

    /// The tickets of the one that came first and of the one that came last.
    pub(super) fn tickets(&self) -> Option<(u64, u64)> {
        let running = self.running.iter().filter(|running| !running.is_over);
        let ends = [self.waiting.front(), self.waiting.back()];
        let items = running
            .map(|running| &running.item)
            .chain(ends.into_iter().flatten());
        let tickets = items.map(|item| item.ticket);
        Some((tickets.clone().min()?, tickets.max()?))
    }

    /// When the next one can be begun, where that is not to be waited for otherwise.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.waiting.iter().map(|item| item.due).min();
        due.filter(|_| self.running.is_none())
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        let running = self.running.iter().filter(|running| !running.is_over);
        running.map(|running| &running.item).chain(&self.waiting)
    }

    /// Takes in what a look found, which saw these paths and no others.
    pub(super) fn looked(
        &mut self,
        found: Found,
        was_looked_at: impl Fn(&RelPath) -> bool,
        counter: &mut Counter,
    ) {
        let Found {
            puts,
            root,
            index,
            for_flush,
        } = found;
        self.ground = Some((root, index));
        let mut puts: BTreeMap<RelPath, Put> = puts.into_iter().map(|put| (put.path.clone(), put)).collect();
        let mut take = |item: &mut Item| {
            let put = puts.remove(&item.put.path)?;
            let is_same = put.seen == item.put.seen && put.old == item.put.old;
            if !is_same {
                counter.less(1, item.put.seen.key.size);
                counter.add(1, put.seen.key.size);
                item.put = put;
            }
            if for_flush {
                item.changes = 0;
            }
            Some(is_same)
        };
        let mut gone = Vec::new();
        self.waiting.retain_mut(|item| {
            let stays = take(item).is_some() || !was_looked_at(&item.put.path);
            if !stays {
                gone.push(item.put.seen.key.size);
            }
            stays
        });
        if let Some(running) = self.running.as_mut().filter(|running| !running.is_over) {
            match take(&mut running.item) {
                Some(true) => {}
                Some(false) => self.change(counter),
                None if was_looked_at(&running.item.put.path) => {
                    if let Some(item) = self.stop(counter, true) {
                        gone.push(item.put.seen.key.size);
                    }
                }
                None => {}
            }
        }
        for size in gone {
            counter.less(1, size);
        }
        for put in puts.into_values() {
            counter.add(1, put.seen.key.size);
            self.add(put);
        }
    }

    /// The host kept parts for these paths.
    pub(super) fn keeps(&mut self, paths: Vec<RelPath>) {
        self.kept = paths.into_iter().collect();
    }

    /// Lets go of what the host kept for paths that are not in it and are not to be sent otherwise.
    pub(super) fn let_go(&mut self, is_done_with: impl Fn(&RelPath) -> bool) {
        let mut kept = std::mem::take(&mut self.kept);
        let is_unwanted = |path: &RelPath| !self.has(path) && is_done_with(path);
        let unwanted: Vec<_> = kept.extract_if(is_unwanted).collect();
        self.unwanted.extend(unwanted);
        self.kept = kept;
    }

    /// Takes one that the host kept and that is not to be sent any more, once it was told to keep no more of it.
    pub(super) fn unwanted(&mut self) -> Option<RelPath> {
        if self.is_to_take_back() {
            return None;
        }
        self.unwanted.pop()
    }

    /// The host told what it kept of the one that is being sent. False: not as it should.
    pub(super) fn held(&mut self, told: &SyncHeld) -> bool {
        let running = self.running.as_mut();
        let Some(running) = running.filter(|running| running.number == told.number) else {
            // It was asked for another one, which is not sent any more.
            return true;
        };
        let Some((mut values, to)) = running.held.take() else {
            // It has become shorter than what was kept of it.
            return true;
        };
        let (told_values, []) = told.values.as_chunks::<{ size_of::<Hash>() }>() else {
            return false;
        };
        values.extend_from_slice(told_values);
        let blocks = running.item.put.seen.key.size / outlast_tree::blocks::BLOCK as u64;
        if told.more && values.len() as u64 <= blocks {
            running.held = Some((values, to));
        } else {
            // Who does not wait any more does not need it.
            let _gone = to.send(values);
        }
        true
    }

    /// One that is counted already is to be sent.
    pub(super) fn add(&mut self, put: Put) {
        self.tickets += 1;
        self.waiting.push_back(Item {
            put,
            ticket: self.tickets,
            changes: 0,
            due: Instant::now(),
        });
    }

    /// The one that is being sent changed meanwhile.
    pub(super) fn change(&mut self, counter: &mut Counter) {
        let Some(took) = self.running.as_ref().map(|running| running.began.elapsed()) else {
            return;
        };
        let Some(mut item) = self.stop(counter, false) else {
            return;
        };
        item.changes += 1;
        if item.changes == read::ATTEMPTS {
            counter.did(1, item.put.seen.key.size);
            self.given_up.push(item.put.path);
        } else {
            item.due = Instant::now() + took.clamp(REST[0], REST[1]);
            let at = self.waiting.partition_point(|other| other.ticket < item.ticket);
            self.waiting.insert(at, item);
        }
    }

    /// Takes those that changed too often.
    pub(super) fn given_up(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.given_up)
    }

    /// Ends what is being sent. `drop`: for good; else the host keeps what it has of it.
    fn stop(&mut self, counter: &mut Counter, drop: bool) -> Option<Item> {
        let running = self.running.take()?;
        running.stop.store(true, Ordering::Relaxed);
        counter.undo(running.done);
        if running.is_begun {
            self.next = Some((large::take_back(running.number, drop), 0));
            let path = running.item.put.path.clone();
            if drop {
                // Its thread may have seen that it changed, and have had it kept.
                self.unwanted.push(path);
            } else {
                self.kept.insert(path);
            }
        }
        Some(running.item)
    }

    /// What the one that is being sent comes to next. None: nothing more. Cancel-safe.
    pub(super) async fn produced(&mut self) -> Option<Produced> {
        match &mut self.running {
            Some(running) => running.produced.recv().await,
            None => std::future::pending().await,
        }
    }

    /// A piece of it is to be sent, with so many bytes, which makes up so many of it.
    pub(super) fn piece(&mut self, request: SyncTargetRequest, bytes: u64, sent: u64) {
        if let Some(running) = &mut self.running {
            running.done += bytes;
            running.is_begun = true;
        }
        // What is there already takes the host no time.
        let weight = match large::stays(&request) {
            true => 0,
            false => sent.max(bytes / COPIED),
        };
        self.next = Some((request, weight));
    }

    /// Whether a piece is to be sent.
    pub(super) fn has_piece(&self) -> bool {
        self.next.is_some()
    }

    /// Whether what was sent of one that is not sent any more is still to be taken back.
    pub(super) fn is_to_take_back(&self) -> bool {
        let began_since = self.running.as_ref().is_some_and(|running| running.is_begun);
        self.next.is_some() && !began_since
    }

    /// Takes the piece that is sent now.
    pub(super) fn take_piece(&mut self) -> Option<SyncTargetRequest> {
        let (mut request, weight) = self.next.take()?;
        let tell = self.window.sent(weight, Instant::now());
        if let Some(Event::Piece(piece)) = &mut request.event {
            piece.tell = tell;
        }
        Some(request)
    }

    /// The last message about a path was handed over. Gives how many bytes of it were counted before.
    pub(super) fn over(&mut self, path: &RelPath) -> u64 {
        if self.kept.remove(path) {
            // Where it was gone on with, there is nothing to be dropped.
            self.unwanted.push(path.clone());
        }
        match &mut self.running {
            Some(running) if running.item.put.path == *path => {
                running.is_over = true;
                running.done
            }
            _ => 0,
        }
    }

    /// Nothing more comes of the one that is being sent. False: nobody knows what became of it.
    pub(super) fn end_one(&mut self) -> bool {
        self.running.take().is_none_or(|running| running.is_over)
    }

    /// Forgets everything.
    pub(super) async fn end(&mut self) {
        self.waiting.clear();
        self.given_up.clear();
        self.kept.clear();
        self.unwanted.clear();
        self.ground = None;
        (self.next, self.window) = (None, Window::default());
        if let Some(running) = self.running.take() {
            running.stop.store(true, Ordering::Relaxed);
            drop((running.produced, running.held));
            // Whatever it was at, nothing comes of it.
            let _ended = running.thread.await;
        }
    }
}

impl Engine {
    /// Begins to send the next large file, if it is time.
    pub(super) fn begin_large(&mut self) {
        let lane = &mut self.lane;
        let now = Instant::now();
        let first = lane.waiting.iter().position(|item| item.due <= now);
        let ground = lane.ground.clone();
        let (Some(first), None, Some((root, index)), Some(source), Some(copy)) =
            (first, &lane.running, ground, &self.source, &self.copy)
        else {
            return;
        };
        let Some(mut item) = lane.waiting.remove(first) else {
            return;
        };
        let path = &item.put.path;
        item.put.old = copy.entries().get(path).cloned();
        let old = item.put.old.as_ref().filter(|old| old.kind == Kind::File);
        let signature = old.and_then(|old| source.cache.blocks(path, &old.hash)).cloned();
        self.number += 1;
        let (out, produced) = mpsc::channel(PIECES);
        let stop = Arc::new(AtomicBool::new(false));
        let (told, held) = lane.kept.contains(path).then(oneshot::channel).unzip();
        let large = Large {
            root,
            put: item.put.clone(),
            signature,
            held,
            index,
            forced: self.forced.contains_key(path),
            replace: self.replace || self.adopted.iter().any(|top| is_at_or_below(path, top)),
            number: self.number,
            outlet: Outlet {
                out,
                stop: Arc::clone(&stop),
                pack: self.way.is_far(),
            },
        };
        lane.running = Some(Running {
            item,
            number: self.number,
            began: now,
            done: 0,
            is_begun: false,
            is_over: false,
            produced,
            held: told.map(|told| (Vec::new(), told)),
            thread: spawn_blocking(move || large::send(large)),
            stop,
        });
    }
}

//! Bringing what was written to the disk, which may take long.

use std::sync::mpsc;

use outlast_client::helper_v1::{
    SyncSettle, sync_target_request::Event as Request, sync_target_response::Event,
};
use outlast_tree::manifest;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::bed::{Batch, Bed, ID, Stream};

/// As many threads as wait for the kernel: one that writes to the target and one that brings it to the disk.
const THREADS: usize = 2;

/// A disk that takes as long as is wanted: the only thread that could wait for it is held up.
struct Busy {
    release: mpsc::Sender<()>,
    held: JoinHandle<()>,
}

impl Busy {
    /// Within a runtime of [`runtime`], with a target open.
    async fn new() -> Self {
        let (release, released) = mpsc::channel();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let held = tokio::task::spawn_blocking(move || {
            let _ = begun.send(());
            // Until somebody says so or is gone.
            let _ = released.recv();
        });
        begins.await.unwrap();
        Self { release, held }
    }

    async fn end(self) {
        drop(self.release);
        self.held.await.unwrap();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .unwrap()
}

async fn ask(stream: &Stream, to_disk: bool) {
    stream.send(Request::Settle(SyncSettle { to_disk })).await;
}

/// Waits for an answer to a settle; says which generation was reached.
async fn settled(stream: &mut Stream) -> u64 {
    match stream.answer().await.unwrap() {
        Some(Event::Settled(settled)) => settled.generation,
        other => panic!("it is not settled: {other:?}"),
    }
}

/// Up to which generation all is on the disk, as the record says that a stream left when it ended.
fn durable(bed: &Bed) -> u64 {
    let read = manifest::read(&bed.record(ID).join("manifest")).unwrap();
    read.expect("there is one").0.durable
}

#[test]
fn changes_are_made_while_earlier_ones_are_brought_to_the_disk() {
    runtime().block_on(async {
        let bed = Bed::new();
        let mut stream = bed.open().await;
        let first = stream.make(Batch::new().file("f", "1")).await;
        let busy = Busy::new().await;
        ask(&stream, true).await;
        let second = stream.make(Batch::new().file("f", "2")).await;
        let third = stream.make(Batch::new().file("g", "3")).await;
        assert_eq!((bed.read("f"), bed.read("g")), ("2".to_owned(), "3".to_owned()));
        busy.end().await;
        assert_eq!(settled(&mut stream).await, third.generation);
        assert_eq!(second.generation, first.generation + 1);
        stream.end().await;
        assert_eq!(
            durable(&bed),
            first.generation,
            "what came later may not be on the disk"
        );
        let mut stream = bed.open().await;
        stream.settle(true).await;
        stream.end().await;
        assert_eq!(durable(&bed), third.generation);
    });
}

#[test]
fn what_is_asked_for_meanwhile_has_its_turn() {
    runtime().block_on(async {
        let bed = Bed::new();
        let mut stream = bed.open().await;
        stream.make(Batch::new().file("f", "1")).await;
        let busy = Busy::new().await;
        ask(&stream, true).await;
        let second = stream.make(Batch::new().file("f", "2")).await;
        ask(&stream, true).await;
        ask(&stream, false).await;
        std::fs::remove_file(bed.at("f")).unwrap();
        busy.end().await;
        assert_eq!(settled(&mut stream).await, second.generation);
        assert_eq!(settled(&mut stream).await, second.generation);
        assert_eq!(
            settled(&mut stream).await,
            second.generation + 1,
            "the look found that it is gone"
        );
        stream.end().await;
        assert_eq!(durable(&bed), second.generation);
    });
}

#[test]
fn a_stream_ends_without_waiting_for_the_disk() {
    runtime().block_on(async {
        let bed = Bed::new();
        let mut stream = bed.open().await;
        let before = durable(&bed);
        stream.make(Batch::new().file("f", "1")).await;
        let busy = Busy::new().await;
        ask(&stream, true).await;
        // It has come to that.
        stream.make(Batch::new().file("g", "2")).await;
        stream.end().await;
        assert_eq!(durable(&bed), before);
        // The next one gets the target at once.
        let mut next = bed.open().await;
        next.make(Batch::new().file("f", "3")).await;
        next.end().await;
        busy.end().await;
        assert_eq!(durable(&bed), before, "nobody writes that down any more");
    });
}

//! Where a thread that reads hands over what is to be sent. Waits while nobody takes it, and notices a stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use outlast_client::helper_v1::{SyncBatch, SyncOp, SyncTargetRequest, sync_target_request::Event};
use tokio::sync::mpsc;

use super::produce::{Pending, Produced};

/// Data shorter than this is not packed.
const WORTH_PACKING: usize = 4 << 10;

/// The other end is gone, or it was stopped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// The way out.
pub(crate) struct Outlet {
    pub(crate) out: mpsc::Sender<Produced>,
    /// Set when nobody wants to have it any more.
    pub(crate) stop: Arc<AtomicBool>,
    /// Content is packed where that makes it shorter.
    pub(crate) pack: bool,
}

impl Outlet {
    /// Hands something over.
    pub(crate) fn say(&self, produced: Produced) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stopped);
        }
        self.out.blocking_send(produced).map_err(|_closed| Stopped)
    }

    /// Hands over changes with the contents of their files.
    pub(crate) fn batch(
        &self,
        ops: Vec<SyncOp>,
        data: Vec<u8>,
        pending: Vec<Pending>,
    ) -> Result<(), Stopped> {
        let (unpacked, data) = match self.packed(&data) {
            Some(packed) => (Some(data.len() as u64), packed),
            None => (None, data),
        };
        let sent = data.len() as u64;
        let batch = SyncBatch {
            ops,
            data: data.into(),
            unpacked,
        };
        let request = SyncTargetRequest {
            event: Some(Event::Batch(batch)),
        };
        self.say(Produced::Batch {
            request,
            pending,
            sent,
        })
    }

    /// Shorter, where that is worth it.
    pub(crate) fn packed(&self, data: &[u8]) -> Option<Vec<u8>> {
        if !self.pack || data.len() < WORTH_PACKING {
            return None;
        }
        // What is packed already does not get shorter, which a part of it tells as well.
        let sample = data.get(..WORTH_PACKING)?;
        if lz4_flex::block::compress(sample).len() > sample.len() * 9 / 10 {
            return None;
        }
        let packed = lz4_flex::block::compress(data);
        (packed.len() < data.len() * 9 / 10).then_some(packed)
    }
}

//! What a carrier gives: a byte stream to a command on a machine, its last words, and word of its end.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    sync::watch,
};

use crate::error::ConnectError;

/// How much of what came on standard error is kept for an error message, bytes.
const KEPT: usize = 4096;

/// Both directions of a byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A command that runs on a machine, by its standard input and output.
pub(crate) struct Stream {
    /// Its standard output and input.
    pub(crate) io: Box<dyn Io>,
    /// The end of what it wrote to standard error.
    pub(crate) said: Arc<Said>,
    /// Turns from None to the reason when the carrier has ended. `HelperFailed` says that the command ended by itself and
    /// nothing is wrong with what carried it.
    pub(crate) closed: watch::Receiver<Option<ConnectError>>,
    /// Ends the carrier when dropped.
    pub(crate) guard: Box<dyn Send + Sync>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// The end of what a program said on standard error.
#[derive(Debug, Default)]
pub(crate) struct Said {
    kept: Mutex<VecDeque<u8>>,
}

impl Said {
    /// Takes more of it in.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }

    /// Takes everything in that a program says until its end.
    pub(crate) async fn listen(&self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.push(buffer.get(..count).unwrap_or_default());
        }
    }

    /// Forgets what was said.
    pub(crate) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is kept, as text that is not to be trusted.
    pub(crate) fn text(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).trim().to_owned()
    }
}

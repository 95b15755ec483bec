//! What signals mean to the daemon: SIGTERM and SIGINT end it in good order, a second one at once; SIGHUP, which
//! comes when the terminal it was started from closes, means nothing.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::shutdown::{Ending, Shutdown};

/// Exit code of a daemon that was told twice: as if the signal had killed it.
const TOLD_TWICE: i32 = 143;

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    shutdown: Shutdown,
}

impl Signals {
    /// Listens from now on. Handlers, not ignored signals, so that what the daemon starts has the defaults again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(shutdown: Shutdown) -> io::Result<Self> {
        // The handler stays when the stream is dropped, and with it the signal is harmless.
        drop(signal(SignalKind::hangup())?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            shutdown,
        })
    }

    /// Announces the end at the first signal, though not before the daemon is `serving`, and leaves at the second.
    pub async fn run(mut self, serving: oneshot::Receiver<()>) {
        self.next().await;
        tracing::info!("told to stop by a signal");
        tokio::select! {
            // A start that failed drops the sender, and ends the daemon by itself.
            _ = serving => {}
            () = self.next() => leave(),
        }
        self.shutdown.begin(Ending::Stop);
        self.next().await;
        leave();
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whatever is under way stays as after a kill, which every start makes good.
fn leave() {
    tracing::warn!("told to stop by a second signal; leaving at once");
    std::process::exit(TOLD_TWICE);
}

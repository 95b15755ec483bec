//! One accepted connection, on probation until its first call.
//!
//! A program that connects and then says nothing, or says it a byte at a time, would hold a seat for ever. It has
//! [`PATIENCE`] for a whole first call; after that it may be as quiet as it likes, for it may be following something.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use outlast_client::socket::{Connection, Peer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// How long a connection may take for its first call. Clients send it at once; a loaded machine may need seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who made a call. In the extensions of every request.
#[derive(Debug, Clone)]
pub struct Caller {
    peer: Peer,
    has_called: Arc<AtomicBool>,
}

impl Caller {
    /// The process at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Ends the probation of the connection: a whole call arrived over it.
    pub fn called(&self) {
        self.has_called.store(true, Ordering::Relaxed);
    }
}

/// A connection that was let in and holds one seat while it lives.
pub struct Guest {
    connection: Connection,
    caller: Caller,
    /// Ends when patience does, or with the daemon: nobody has to be told who never asked.
    probation: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _seat: OwnedSemaphorePermit,
}

impl Guest {
    /// Begins the probation of a connection.
    #[must_use]
    pub fn new(connection: Connection, seat: OwnedSemaphorePermit, end: CancellationToken) -> Self {
        let caller = Caller {
            peer: connection.peer(),
            has_called: Arc::default(),
        };
        Self {
            connection,
            caller,
            probation: Some(Box::pin(async move {
                let _either = tokio::time::timeout(PATIENCE, end.cancelled()).await;
            })),
            _seat: seat,
        }
    }
}

impl Connected for Guest {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.caller.has_called.load(Ordering::Relaxed) {
            self.probation = None;
        } else if let Some(probation) = &mut self.probation
            && probation.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

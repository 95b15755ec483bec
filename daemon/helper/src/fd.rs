//! A file descriptor that tokio reads and writes: pipes, sockets and the master side of a pty.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::io::ioctl_fionbio;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use crate::sys;

/// One descriptor. Its file is made non-blocking, for everybody who shares it.
#[derive(Debug)]
pub struct Fd(AsyncFd<Arc<OwnedFd>>);

impl Fd {
    /// Registers a descriptor. Inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be waited for (a plain file cannot).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&fd, true)?;
        sys::async_fd(fd).map(Self)
    }

    /// The descriptor.
    pub fn get(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// Reads what is there, waiting until something is. 0: the other end is closed.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |fd| read(fd, buffer)).await
    }

    /// Reads what is there now, without waiting. None: nothing is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match read(self.get(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    /// Writes all of it, waiting for room.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self
                .0
                .async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?))
                .await?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The master of a pty whose other side is closed says EIO, which means the end.
fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    match rustix::io::read(fd, buffer) {
        Err(rustix::io::Errno::IO) => Ok(0),
        other => Ok(other?),
    }
}

impl AsyncRead for Fd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = to.initialize_unfilled();
            match guard.try_io(|fd| read(fd, space)) {
                Ok(Ok(count)) => {
                    to.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Fd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::writev(fd, parts)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

//! The local socket: how a daemon listens, how a client connects, and who is at the other end.
//!
//! Both ends check the other's user before a byte of HTTP/2 is spoken. Directories that hold sockets are made with
//! mode 0700 and refused when they are somebody else's, a symlink, or open to others.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName as _,
    tokio::{Listener as RawListener, Stream as RawStream},
    traits::{
        StreamCommon as _,
        tokio::{Listener as _, Stream as _},
    },
};
use interprocess::os::unix::local_socket::ListenerOptionsExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use crate::paths::SOCKET_PATH_MAX;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit into a socket address.
    #[error("the socket path {} is longer than {SOCKET_PATH_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// A directory or socket belongs to another user.
    #[error("{} belongs to user {owner}, not to you", path.display())]
    Foreign {
        /// What belongs to somebody else.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// A directory is a symlink or no directory at all.
    #[error("{} is not a directory of its own (it is a symlink or a file)", .0.display())]
    NotADirectory(PathBuf),
    /// A directory can be entered by others.
    #[error("{} is open to other users (mode {mode:o})", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A daemon with another state directory serves there.
    #[error("another outlastd, with another state directory, listens on {}", .0.display())]
    Taken(PathBuf),
    /// The program at the other end runs as another user.
    #[error("the program that serves {} runs as user {uid}, not as you", path.display())]
    Impostor {
        /// The socket.
        path: PathBuf,
        /// The user it runs as.
        uid: u32,
    },
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, in the gerund.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SocketError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// True when nobody listens there: no socket, or one that its daemon left behind.
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }
}

/// Makes a directory of mode 0700, or checks that the one that is there is ours alone.
///
/// # Errors
/// When it is a symlink, somebody else's, open to others, or cannot be made.
pub fn private_dir(path: &Path) -> Result<(), SocketError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(SocketError::io("creating directory", path))?;
    let meta = fs::symlink_metadata(path).map_err(SocketError::io("looking at", path))?;
    if !meta.is_dir() {
        return Err(SocketError::NotADirectory(path.to_owned()));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(SocketError::Foreign {
            path: path.to_owned(),
            owner: meta.uid(),
        });
    }
    if meta.mode() & 0o077 != 0 {
        return Err(SocketError::Open {
            path: path.to_owned(),
            mode: meta.mode() & 0o777,
        });
    }
    Ok(())
}

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id when the connection was made.
    pub uid: u32,
    /// Process id when the connection was made; 0 when the kernel does not say.
    pub pid: i32,
}

impl Peer {
    /// True when the peer runs as this process's user.
    #[must_use]
    pub fn is_self(self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }
}

/// One connection over the local socket.
#[derive(Debug)]
pub struct Connection {
    stream: RawStream,
    peer: Peer,
}

impl Connection {
    fn new(stream: RawStream) -> io::Result<Self> {
        let creds = stream.peer_creds()?;
        let uid = creds
            .euid()
            .ok_or_else(|| io::Error::other("the kernel does not say who the peer is"))?;
        let peer = Peer {
            uid,
            pid: creds.pid().unwrap_or(0),
        };
        Ok(Self { stream, peer })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

/// A listening socket of mode 0600.
#[derive(Debug)]
pub struct Listener(RawListener);

impl Listener {
    /// Listens at `path`, whose directory is made private first. Whoever calls this holds the daemon's lock, so a
    /// socket that lies there is a dead daemon's and is removed; only a daemon with another state directory can
    /// still serve it, and keeps it.
    ///
    /// # Errors
    /// When the directory is not ours alone, the path is too long, somebody serves there, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        check_length(path)?;
        if let Some(dir) = path.parent() {
            private_dir(dir)?;
        }
        if stays_served(path) {
            return Err(SocketError::Taken(path.to_owned()));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SocketError::io("removing the old socket", path)(error));
            }
            _ => {}
        }
        let name = path
            .to_fs_name::<GenericFilePath>()
            .map_err(SocketError::io("naming the socket", path))?;
        ListenerOptions::new()
            .name(name)
            .reclaim_name(false)
            .mode(0o600)
            .create_tokio()
            .map(Self)
            .map_err(SocketError::io("listening on", path))
    }

    /// Waits for the next connection and learns who it is.
    ///
    /// # Errors
    /// When the system refuses, for example for want of file descriptors.
    pub async fn accept(&self) -> io::Result<Connection> {
        Connection::new(self.0.accept().await?)
    }
}

/// Connects to the daemon at `path` and checks that it runs as this user.
///
/// # Errors
/// When nobody listens ([`SocketError::nobody_listens`]), or somebody else does.
pub async fn connect(path: &Path) -> Result<Connection, SocketError> {
    check_length(path)?;
    let name = path
        .to_fs_name::<GenericFilePath>()
        .map_err(SocketError::io("naming the socket", path))?;
    let stream = RawStream::connect(name)
        .await
        .map_err(SocketError::io("connecting to", path))?;
    let connection = Connection::new(stream).map_err(SocketError::io("asking who serves", path))?;
    if connection.peer().is_self() {
        Ok(connection)
    } else {
        Err(SocketError::Impostor {
            path: path.to_owned(),
            uid: connection.peer().uid,
        })
    }
}

/// Whether somebody listens on a socket. It never blocks, whatever the listener does.
#[must_use]
pub fn is_served(path: &Path) -> bool {
    use rustix::{
        io::Errno,
        net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    };
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let caller = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&caller, &address)
    });
    // With a full queue there is a listener all the more.
    matches!(connected, Ok(()) | Err(Errno::AGAIN))
}

/// Whether somebody goes on listening: a daemon that was just killed loses its lock an instant before its socket.
fn stays_served(path: &Path) -> bool {
    const LOOKS: usize = 20;
    const BETWEEN: rustix::event::Timespec = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 25_000_000,
    };
    (0..LOOKS).all(|_| {
        let served = is_served(path);
        if served {
            // An interrupted pause is a shorter one.
            let _ = rustix::event::poll(&mut [], Some(&BETWEEN));
        }
        served
    })
}

fn check_length(path: &Path) -> Result<(), SocketError> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(SocketError::TooLong(path.to_owned()));
    }
    Ok(())
}

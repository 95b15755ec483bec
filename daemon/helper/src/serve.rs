//! Serves the helper's protocol over one byte stream: a duplex in the daemon's process, or standard input and output
//! (`outlast-helper serve`).
//!
//! One stream is one connection; when it closes, serving ends. Listens nowhere.

use std::{
    env,
    ffi::OsStr,
    future::pending as pending_for_ever,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use outlast_client::helper_v1::helper_service_server::HelperServiceServer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::{StreamExt as _, once, pending};
use tonic::transport::{Server, server::Connected};

use crate::{
    facts,
    fd::Fd,
    installed,
    service::{Config, Helper, SessionConfig},
    sys,
};

/// What a connection carries. It decides the window of a stream: the bytes it may have under way before its reader must
/// catch up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Everything, within one process.
    InProcess,
    /// Short calls and terminals, from far away.
    Control,
    /// Logs and files, from far away.
    Bulk,
}

impl Traffic {
    /// Bytes one stream may have under way.
    #[must_use]
    pub const fn stream_window(self) -> u32 {
        match self {
            // Enough for some hundred MB/s in process, little enough that a stalled reader holds no more than this.
            Self::InProcess => 1 << 20,
            // What streams have under way waits in front of every answer: at 2.5 MB/s this much takes 0.1 s. It still
            // gives a stream 5 MB/s at 40 ms.
            Self::Control => 256 << 10,
            // 100 MB/s at 80 ms.
            Self::Bulk => 8 << 20,
        }
    }

    /// Largest frame, bytes: what is sent in one go, and what everything else waits for meanwhile.
    #[must_use]
    pub const fn frame(self) -> u32 {
        match self {
            // A whole chunk of a log with what is around it, so that much output costs few system calls.
            Self::InProcess | Self::Bulk => 256 << 10,
            Self::Control => 16 << 10,
        }
    }

    /// How long the other end of a far connection may be silent before it is asked for a sign of life, which it has the
    /// same time to give. It looks for one by itself much more often; this ends a helper whose daemon is gone without a
    /// word, and with it terminals that nobody looks at. A laptop may sleep for as long without harm.
    const fn silence(self) -> Option<Duration> {
        match self {
            Self::InProcess => None,
            Self::Control | Self::Bulk => Some(Duration::from_secs(60)),
        }
    }
}

/// How much the processes and threads that carry bulk stand back behind those that carry control calls, where all want
/// the same processors: who waits for an answer waits for one thing, who copies a log is late by a moment.
pub const BULK_NICE: i32 = 10;

/// Bytes all streams of a connection may have under way: the most HTTP/2 knows. Each stream is bounded already, and any
/// bound on all of them would let so many stalled readers hold up everybody else's calls.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Largest message, in bytes. A spec holds a whole environment, and a list holds many specs.
pub const MESSAGE_MAX: usize = 64 << 20;

/// Streams that may be reset by the peer before they were looked at. The peer is our own daemon, which drops hundreds
/// of streams at once when it stops; the default of 20 would make that a protocol error.
const RESETS_MAX: usize = 10_000;

/// Lines of scrollback where none are asked for.
const HISTORY_LIMIT: u32 = 50_000;

/// How long threads that wait for a disk or a name server may hold up the end.
const LAST_THREADS: Duration = Duration::from_millis(100);

/// How long what is still to be sent may hold up the end of a connection whose other end says nothing any more.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Names the login shell in place of the password database: for tests, which cannot write that.
const LOGIN_SHELL: &str = "OUTLAST_LOGIN_SHELL";

/// What `outlast-helper serve` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    state_dir: Option<PathBuf>,
    traffic: Traffic,
    owner: String,
    nonce: String,
    sessions: SessionConfig,
}

impl Options {
    /// Reads `--owner ID [--state-dir DIR] [--history-limit N] [--user-copy-mode-keys] [--nonce TEXT] [--bulk]`. None:
    /// something else is there, or something is missing.
    #[must_use]
    pub fn parse(args: &[&OsStr]) -> Option<Self> {
        let (mut state_dir, mut owner, mut nonce) = (None, None, String::new());
        let mut sessions = SessionConfig {
            history_limit: HISTORY_LIMIT,
            user_copy_mode_keys: false,
        };
        let mut traffic = Traffic::Control;
        let mut args = args.iter();
        while let Some(option) = args.next() {
            match option.to_str()? {
                "--user-copy-mode-keys" => {
                    sessions.user_copy_mode_keys = true;
                    continue;
                }
                "--bulk" => {
                    traffic = Traffic::Bulk;
                    continue;
                }
                _ => {}
            }
            let value = args.next()?;
            match option.to_str()? {
                "--state-dir" => state_dir = Some(PathBuf::from(value)),
                "--owner" => owner = Some(value.to_str()?.to_owned()),
                "--nonce" => nonce = value.to_str()?.to_owned(),
                "--history-limit" => sessions.history_limit = value.to_str()?.parse().ok()?,
                _ => return None,
            }
        }
        Some(Self {
            state_dir,
            traffic,
            owner: owner?,
            nonce,
            sessions,
        })
    }
}

/// `outlast-helper serve`: says that it is there, then speaks its protocol on standard input and output until they
/// close. What it started lives on, but programs of `Exec` and attachments.
///
/// # Errors
/// When its directories cannot be had, or standard input and output are nothing that can be waited for.
pub fn serve(options: Options) -> io::Result<()> {
    if options.traffic == Traffic::Bulk {
        // One who may not stand back goes on as before.
        let _ = rustix::process::nice(BULK_NICE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let own = env::current_exe()?;
        let helper = Helper::new(Config {
            state_dir: options.state_dir.unwrap_or_else(facts::state_dir),
            owner: options.owner,
            helper_program: own.clone(),
            login_shell: env::var_os(LOGIN_SHELL).map(PathBuf::from),
            sessions: options.sessions,
            scope: true,
        })?;
        let [input, output] = sys::take_stdio()?.map(Fd::new);
        let wrong = |error: io::Error| {
            let text = format!("standard input and output must be pipes or sockets: {error}");
            io::Error::new(error.kind(), text)
        };
        let (input, output) = (input.map_err(wrong)?, output.map_err(wrong)?);
        // Whatever start files printed ends here.
        output
            .write_all(format!("\n\u{1e}READY {}\n", options.nonce).as_bytes())
            .await?;
        if options.traffic == Traffic::Control {
            helper.expect_login();
            helper.tidy_targets();
        }
        // After the word that we are here: nobody waits for it.
        let looking = tokio::spawn(installed::look_after(own));
        let io = tokio::io::join(input, output);
        let served = connection(Arc::clone(&helper), io, options.traffic).await;
        looking.abort();
        helper.finish().await;
        served.map_err(io::Error::other)
    });
    runtime.shutdown_timeout(LAST_THREADS);
    served
}

/// Serves `helper` over `io` until `io` closes.
///
/// # Errors
/// When the connection breaks in another way than by closing.
pub async fn connection<T>(
    helper: Arc<Helper>,
    io: T,
    traffic: Traffic,
) -> Result<(), tonic::transport::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    carry(helper, io, traffic, traffic.silence()).await
}

/// As [`connection`], with as much silence as this, twice.
async fn carry<T>(
    helper: Arc<Helper>,
    io: T,
    traffic: Traffic,
    silence: Option<Duration>,
) -> Result<(), tonic::transport::Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::new(Mutex::new(Instant::now()));
    let (gone, on_gone) = oneshot::channel::<()>();
    let (ended, on_ended) = oneshot::channel::<()>();
    let io = Link {
        io,
        heard: Arc::clone(&heard),
        ended: Some(ended),
        _gone: gone,
    };
    // The stream of connections must not end before the one connection has, or serving would end at once.
    let incoming = once(Ok::<_, io::Error>(io)).chain(pending());
    let service = HelperServiceServer::from_arc(helper)
        .max_decoding_message_size(MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    let served = Server::builder()
        .initial_stream_window_size(traffic.stream_window())
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(traffic.frame())
        .http2_keepalive_interval(silence)
        .http2_keepalive_timeout(silence)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async {
            // Resolves when the link is dropped, which is when the connection has ended.
            let _ = on_gone.await;
        });
    let stuck = async {
        if on_ended.await.is_err() {
            pending_for_ever::<()>().await;
        }
        sleep(LAST_WORDS).await;
    };
    // A question for a sign of life waits behind output that nobody takes, and is not asked then.
    let silent = async {
        let Some(silence) = silence else {
            return pending_for_ever().await;
        };
        loop {
            let heard = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.elapsed() >= silence * 2 {
                return;
            }
            sleep_until(heard + silence * 2).await;
        }
    };
    tokio::select! {
        served = served => served,
        // Nobody reads what it has still to say.
        () = stuck => Ok(()),
        () = silent => Ok(()),
    }
}

/// The byte stream, when a byte came last, a sender that says that nothing more comes, and one whose drop says that the
/// connection let go of it.
struct Link<T> {
    io: T,
    heard: Arc<Mutex<Instant>>,
    ended: Option<oneshot::Sender<()>>,
    _gone: oneshot::Sender<()>,
}

impl<T> Connected for Link<T> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<T: AsyncRead + Unpin> AsyncRead for Link<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.remaining() < room {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        } else if matches!(read, Poll::Ready(Ok(())))
            && room > 0
            && let Some(ended) = self.ended.take()
        {
            // Who does not wait for it has left already.
            let _ = ended.send(());
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Link<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    /// The longest the end is waited for, on a machine that is busy with builds.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_daemon_that_takes_nothing_and_says_nothing_is_not_served_for_ever() {
        let temp = tempfile::tempdir().unwrap();
        let helper = Helper::new(Config {
            state_dir: temp.path().join("s"),
            owner: "silent".to_owned(),
            helper_program: "/no/such/helper".into(),
            login_shell: Some("/bin/sh".into()),
            sessions: SessionConfig {
                history_limit: HISTORY_LIMIT,
                user_copy_mode_keys: false,
            },
            scope: false,
        })
        .unwrap();
        // Full before it has said how it wants to be spoken to.
        let (mut daemon, io) = duplex(64);
        let served = tokio::spawn(carry(
            helper,
            io,
            Traffic::Control,
            Some(Duration::from_millis(50)),
        ));
        daemon
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        daemon.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        // Questions that want to be answered, for which there is no room. They are not taken any more soon.
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let pings = async {
            while daemon.write_all(&ping).await.is_ok() {}
            pending_for_ever::<()>().await;
        };
        let ended = async {
            tokio::select! {
                served = served => drop(served.unwrap()),
                () = pings => {}
            }
        };
        timeout(DEADLINE, ended).await.expect("it is served for ever");
    }
}

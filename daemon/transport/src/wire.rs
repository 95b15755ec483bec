//! A connection of the helper's protocol over a byte stream: counts what goes over it, looks whether the other end still
//! lives, and tells of the end and its reason.

use std::{
    convert::Infallible,
    io::{self, Cursor, Read as _},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use outlast_helper::serve::Traffic;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Mutex, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tower::service_fn;

use crate::{
    HelperClient, client, endpoint,
    error::{Cause, ConnectError},
    stream::{Io, Stream},
};

/// How long the other end may be silent before HTTP/2 asks it for a sign of life.
const ASKED_AFTER: Duration = Duration::from_secs(5);

/// How patient we are with silence.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// How long it may last.
    silence: Duration,
    /// How long it may go on each time bytes are taken off us meanwhile.
    more: Duration,
    /// How long it may last in any case: large buffers fill slowly, too.
    most: Duration,
}

/// Finds a half-open link within 15 s, for one ping in 5 s while nothing happens. The answer is given the larger part,
/// since a line that is full of what we send ourselves needs long.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(14),
    more: Duration::from_secs(9),
    most: Duration::from_secs(90),
};

/// So many bytes taken off us are a sign of life as well: more than the buffers of a dead link take from somebody who
/// types, and what a line of 2 kB/s takes while we are patient.
const PROGRESS: u64 = 16 << 10;

/// How long to wait for the carrier's reason once the bytes have ended.
const REASON_WITHIN: Duration = Duration::from_secs(1);

/// A client, and word of the end.
pub(crate) struct Wire {
    /// Calls the helper.
    pub(crate) client: HelperClient,
    /// Turns to the reason when the connection is gone.
    pub(crate) closed: watch::Receiver<Option<ConnectError>>,
    /// What goes over it.
    pub(crate) pulse: Arc<Pulse>,
    /// Closes the connection when dropped.
    pub(crate) guard: Box<dyn Send + Sync>,
}

/// Speaks the helper's protocol over a stream on which a helper waits; `first` are bytes that came from it already.
///
/// # Errors
/// When the protocol cannot even begin.
pub(crate) async fn wire(stream: Stream, first: Vec<u8>, traffic: Traffic) -> Result<Wire, ConnectError> {
    let Stream {
        io, closed, guard, ..
    } = stream;
    let pulse = Arc::new(Pulse::new());
    let (gone, on_gone) = oneshot::channel();
    let io = Counted {
        first: Cursor::new(first),
        io,
        pulse: Arc::clone(&pulse),
        _gone: gone,
    };
    let once = Arc::new(Mutex::new(Some(io)));
    let connector = service_fn(move |_| {
        let once = Arc::clone(&once);
        async move {
            let io = once.lock().await.take().map(TokioIo::new);
            io.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotConnected,
                    "the connection to the host has ended",
                )
            })
        }
    });
    let channel = endpoint(traffic)
        .http2_keep_alive_interval(ASKED_AFTER)
        .keep_alive_while_idle(true)
        // When it is to end is decided here, where it is known what goes over the wire.
        .keep_alive_timeout(PATIENCE.most)
        .connect_with_connector(connector)
        .await
        .map_err(|error| ConnectError::new(Cause::Cut, format!("speaking to the helper: {error}")))?;
    let client = client(channel);
    let (closing, closed_here) = watch::channel(None);
    let (wanted, unwanted) = oneshot::channel::<Infallible>();
    let dead = silence(Arc::clone(&pulse), PATIENCE);
    let heard = Arc::clone(&pulse);
    tokio::spawn(async move {
        let reason = tokio::select! {
            biased;
            // Only its drop can be heard.
            _ = unwanted => ConnectError::new(Cause::Cut, "the connection was closed here"),
            reason = ended(closed, on_gone, &pulse) => reason,
            reason = dead => reason,
        };
        // Ends the carrier first, so that whoever hears of the end finds calls failing.
        drop(guard);
        closing.send_replace(Some(reason));
    });
    Ok(Wire {
        client,
        closed: closed_here,
        pulse: heard,
        guard: Box::new(wanted),
    })
}

/// Waits for the end of the carrier or of the protocol.
async fn ended(
    mut carrier: watch::Receiver<Option<ConnectError>>,
    on_gone: oneshot::Receiver<Infallible>,
    pulse: &Pulse,
) -> ConnectError {
    let known = async |carrier: &mut watch::Receiver<Option<ConnectError>>| match carrier
        .wait_for(Option::is_some)
        .await
    {
        Ok(reason) => reason.clone(),
        Err(_carrier_without_a_word) => None,
    };
    let cut = || ConnectError::new(Cause::Cut, "the connection to the host broke");
    tokio::select! {
        reason = known(&mut carrier) => reason.map_or_else(cut, helper_ended),
        _ = on_gone => {
            if pulse.ended.load(Ordering::Acquire) {
                let reason = timeout(REASON_WITHIN, known(&mut carrier)).await;
                reason.ok().flatten().map_or_else(cut, helper_ended)
            } else {
                ConnectError::new(Cause::Protocol, "something else than the helper writes into its connection")
                    .with_hint("a start file of the login shell on the host leaves a program running that prints")
            }
        }
    }
}

/// What carries the connection says that the program at its far end has ended, which is the helper by now.
fn helper_ended(reason: ConnectError) -> ConnectError {
    if reason.cause == Cause::HelperFailed {
        ConnectError::new(
            Cause::Cut,
            format!("the helper on the host has ended ({})", reason.message),
        )
    } else {
        reason
    }
}

/// Ends when the other end was silent for too long.
async fn silence(pulse: Arc<Pulse>, patience: Patience) -> ConnectError {
    loop {
        let heard = pulse.heard_at();
        let mut taken = pulse.written_when_heard.load(Ordering::Relaxed);
        let mut until = heard + patience.silence;
        loop {
            sleep_until(until).await;
            if pulse.heard_at() != heard {
                break;
            }
            let written = pulse.written.load(Ordering::Relaxed);
            let progress = written.saturating_sub(taken) >= PROGRESS;
            if !progress || heard.elapsed() >= patience.most {
                let text = format!(
                    "nothing was heard of the host for {} s",
                    heard.elapsed().as_secs()
                );
                return ConnectError::new(Cause::TimedOut, text);
            }
            taken = written;
            until = Instant::now() + patience.more;
        }
    }
}

/// What goes over a connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    /// When something was heard last, in ns after `since`.
    heard: AtomicU64,
    /// Bytes that the carrier took.
    written: AtomicU64,
    /// How many those were when something was heard last.
    written_when_heard: AtomicU64,
    /// The carrier's bytes have ended.
    ended: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            heard: AtomicU64::new(0),
            written: AtomicU64::new(0),
            written_when_heard: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    fn hear(&self) {
        let after = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let written = self.written.load(Ordering::Relaxed);
        self.written_when_heard.store(written, Ordering::Relaxed);
        self.heard.store(after, Ordering::Release);
    }

    /// Takes notice of an attempt to write.
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &polled {
            Poll::Ready(Ok(count)) => {
                self.written.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => self.ended.store(true, Ordering::Release),
            Poll::Pending => {}
        }
        polled
    }

    /// When a byte of the other end came last.
    pub(crate) fn heard_at(&self) -> Instant {
        self.since + Duration::from_nanos(self.heard.load(Ordering::Acquire))
    }
}

/// A byte stream that is watched; its drop tells that the protocol let go of it.
struct Counted {
    first: Cursor<Vec<u8>>,
    io: Box<dyn Io>,
    pulse: Arc<Pulse>,
    _gone: oneshot::Sender<Infallible>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if to.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.first.position() < self.first.get_ref().len() as u64 {
            let count = self.first.read(to.initialize_unfilled())?;
            to.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = to.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, to);
        match &polled {
            Poll::Ready(Ok(())) if to.filled().len() > before => self.pulse.hear(),
            Poll::Ready(_) => self.pulse.ended.store(true, Ordering::Release),
            Poll::Pending => {}
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.pulse.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.pulse.wrote(polled)
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
    use super::*;

    const QUICK: Patience = Patience {
        silence: Duration::from_millis(50),
        more: Duration::from_millis(40),
        most: Duration::from_secs(600),
    };

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_given_up() {
        let error = silence(Arc::new(Pulse::new()), QUICK).await;
        assert_eq!(error.cause, Cause::TimedOut);
    }

    /// Does something at the pace of a slow line.
    async fn slowly(times: usize, what: impl Fn()) -> Instant {
        for _ in 0..times {
            what();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_heard_or_takes_bytes_lives_until_that_ends() {
        let pulse = Arc::new(Pulse::new());
        let hear = || pulse.hear();
        // As a line does that is full of an upload: it answers late.
        let take = || {
            pulse.written.fetch_add(PROGRESS, Ordering::Relaxed);
        };
        let signs: [&(dyn Fn() + Sync); 2] = [&hear, &take];
        for sign in signs {
            let dead = async {
                let error = silence(Arc::clone(&pulse), QUICK).await;
                (error.cause, Instant::now())
            };
            pulse.hear();
            let (last, (cause, given_up)) = tokio::join!(slowly(60, sign), dead);
            assert_eq!(cause, Cause::TimedOut);
            assert!(given_up >= last, "given up too early");
        }
    }

    /// Buffers that fill slowly are no life for ever.
    #[tokio::test(start_paused = true)]
    async fn who_only_takes_bytes_is_given_up_too() {
        let pulse = Arc::new(Pulse::new());
        let patience = Patience {
            most: Duration::from_millis(200),
            ..QUICK
        };
        let take = || {
            pulse.written.fetch_add(PROGRESS, Ordering::Relaxed);
        };
        tokio::select! {
            error = silence(Arc::clone(&pulse), patience) => assert_eq!(error.cause, Cause::TimedOut),
            _ = slowly(usize::MAX, take) => {}
        }
    }
}

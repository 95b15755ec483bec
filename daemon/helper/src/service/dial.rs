//! Connections from the host to what it can reach: bytes both ways, each end closing its own direction. A reader that does
//! not read holds up its own connection and nothing else.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, Stream, StreamExt as _, stream::FuturesUnordered};
use outlast_client::{
    helper_v1::{DialRequest, DialResponse, TcpAddress, dial_request, dial_response::Event, dial_to::To},
    v1::{Error, ErrorKind},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Answers, Core, error::usage};

/// How long the first message may take, and finding and reaching the other end.
const WITHIN: Duration = Duration::from_secs(10);

/// How long one address may take until the next one is tried as well. A name often has one that leads nowhere.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Messages of these under way.
const QUEUE: usize = 4;

type Sender = mpsc::Sender<Result<DialResponse, Status>>;

/// Connects, and carries bytes.
pub(super) async fn dial(
    core: Arc<Core>,
    mut input: Streaming<DialRequest>,
) -> Result<Answers<DialResponse>, Status> {
    let first = timeout(WITHIN, input.message())
        .await
        .map_err(|_elapsed| usage("nothing was asked for"))??;
    let Some(dial_request::Event::To(to)) = first.and_then(|first| first.event) else {
        return Err(usage("the first message must say whereto"));
    };
    match to.to {
        Some(To::Tcp(address)) => {
            let stream = timeout(WITHIN, reach(&address)).await.unwrap_or_else(|_elapsed| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s"))
            });
            let stream = stream.map_err(|error| unreached(&address, &error))?;
            // Whoever writes small pieces wants them to arrive.
            let _ = stream.set_nodelay(true);
            Ok(carry(&core, stream.into_split(), input))
        }
        Some(To::Accepted(number)) => {
            let stream = core.agent.take(number).ok_or_else(|| {
                let message = format!("no connection {number} waits for an agent");
                Error::new(ErrorKind::NotFound, message).into_status()
            })?;
            Ok(carry(&core, stream.into_split(), input))
        }
        None => Err(usage("the first message must say whereto")),
    }
}

fn unreached(address: &TcpAddress, error: &io::Error) -> Status {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::InvalidInput => ErrorKind::Usage,
        _ => ErrorKind::Failed,
    };
    let host: String = address.host.chars().take(255).collect();
    let message = format!("the host cannot connect to {host}:{}: {error}", address.port);
    Error::new(kind, message).into_status()
}

/// Finds the addresses and connects to the first that answers. One that does not answer soon is overtaken.
async fn reach(to: &TcpAddress) -> io::Result<TcpStream> {
    let port = u16::try_from(to.port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no such port"))?;
    let found = lookup_host((to.host.as_str(), port)).await?;
    let mut addresses = found.take(ADDRESSES_MAX);
    let mut tried = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let next: Option<SocketAddr> = addresses.next();
        if let Some(address) = next {
            tried.push(TcpStream::connect(address));
        }
        let last = next.is_none();
        let outcome = tokio::select! {
            outcome = tried.next() => outcome,
            () = sleep(NEXT_AFTER), if !last => continue,
        };
        match outcome {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failed = error,
            None => return Err(failed),
        }
    }
}

/// Starts carrying bytes both ways, until both are done or the stream is gone.
fn carry<R, W>(core: &Core, (from, into): (R, W), input: Streaming<DialRequest>) -> Answers<DialResponse>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let leaving = core.leaving.clone();
    core.tasks.spawn(async move {
        let done = tokio::select! {
            done = both_ways((from, into), input, &sender) => done,
            () = sender.closed() => Ok(()),
            () = leaving.cancelled() => Ok(()),
        };
        if let Err(Some(error)) = done {
            let message = format!("the connection broke: {error}");
            let status = Error::new(ErrorKind::Failed, message).into_status();
            // Who left does not hear it.
            let _ = sender.send(Err(status)).await;
        }
    });
    Answers::new(receiver)
}

/// Carries bytes both ways, until both are done. None as an error: nobody listens.
async fn both_ways<R, W, S>((from, into): (R, W), input: S, to: &Sender) -> Result<(), Option<io::Error>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: Stream<Item = Result<DialRequest, Status>> + Unpin,
{
    let all_read = CancellationToken::new();
    let inward = async {
        inward(from, to).await?;
        all_read.cancel();
        Ok(())
    };
    let outward = outward(input, into, &all_read).map(|done| done.map_err(Some));
    // A connection that cannot be read, or a daemon that is gone, is the end of both.
    tokio::try_join!(inward, outward).map(drop)
}

/// From the connection to the daemon. None as an error: nobody listens.
async fn inward(mut from: impl AsyncRead + Unpin, to: &Sender) -> Result<(), Option<io::Error>> {
    let say = async |event| {
        let sent = to.send(Ok(DialResponse { event: Some(event) })).await;
        sent.map_err(|_nobody| None)
    };
    say(Event::Connected(true)).await?;
    let mut buffer = BytesMut::zeroed(CHUNK);
    loop {
        let count = from.read(&mut buffer).await.map_err(Some)?;
        if count == 0 {
            return say(Event::Eof(true)).await;
        }
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        say(Event::Data(bytes)).await?;
    }
}

/// From the daemon to the connection. The end of the daemon's side is the end of this direction alone, and so is another
/// end that takes nothing more: what it said before that is still to be read. What comes for it is thrown away then, so
/// that nobody waits, until all is read.
async fn outward(
    mut input: impl Stream<Item = Result<DialRequest, Status>> + Unpin,
    mut into: impl AsyncWrite + Unpin,
    all_read: &CancellationToken,
) -> io::Result<()> {
    let mut takes = true;
    loop {
        let request = tokio::select! {
            request = input.next() => request.transpose(),
            () = all_read.cancelled(), if !takes => return Ok(()),
        };
        let request = request.map_err(|status| io::Error::other(status.message().to_owned()))?;
        match request.map(|request| request.event) {
            Some(Some(dial_request::Event::Data(bytes))) if takes => {
                takes = into.write_all(&bytes).await.is_ok();
            }
            None | Some(Some(dial_request::Event::Eof(true))) => break,
            Some(_) => {}
        }
    }
    // It fails where the other end is gone, of which reading hears.
    let _ = into.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, join};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    #[tokio::test]
    async fn what_was_said_is_read_though_nothing_more_is_taken() {
        let (mut answering, from) = duplex(100);
        let (gone, into) = duplex(100);
        drop(gone);
        let (input, requests) = mpsc::channel(1);
        let (sender, mut answers) = mpsc::channel(QUEUE);
        let carried = tokio::spawn(async move {
            let requests = ReceiverStream::new(requests);
            both_ways(tokio::io::split(join(from, into)), requests, &sender).await
        });
        let mut next = async || answers.recv().await.unwrap().unwrap().event.unwrap();
        assert_eq!(next().await, Event::Connected(true));
        // The third has room only when the first was looked at.
        for _ in 0..3 {
            let event = Some(dial_request::Event::Data(Bytes::from_static(b"in vain")));
            input.send(Ok(DialRequest { event })).await.unwrap();
        }
        answering.write_all(b"too much").await.unwrap();
        assert_eq!(next().await, Event::Data(Bytes::from_static(b"too much")));
        drop(answering);
        assert_eq!(next().await, Event::Eof(true));
        // The daemon's side is still open; nobody waits for it.
        assert!(carried.await.unwrap().is_ok());
        drop(input);
    }
}

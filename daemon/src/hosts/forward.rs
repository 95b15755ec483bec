//! Forwarding a port of this machine to one that a host can reach, for as long as a client listens.
//!
//! The port stays open while the host is away: who connects then waits for it, a while.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{TcpAddress, dial_to::To},
    v1::{
        Error, ErrorKind, ForwardHostRequest, ForwardHostResponse, ForwardListening,
        forward_host_response::Event as Out,
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tonic::Status;

use super::{Host, dial::dial, exec};
use crate::{
    app::App,
    rpc::{host::link_change, status::failure},
};

/// Connections through one port at once: what a browser opens, many times over.
const CONNECTIONS: usize = 512;

/// How long nobody is let in after the system refused to take a connection. It does so for want of descriptors, which only
/// others can give back: long enough not to spin on it, short enough not to be felt.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

type Answers = mpsc::Sender<Result<ForwardHostResponse, Status>>;

/// Serves one port until its client goes away.
pub async fn serve(app: Arc<App>, host: Arc<Host>, request: ForwardHostRequest, answers: Answers) {
    let shutdown = app.shutdown.clone();
    let result = tokio::select! {
        () = answers.closed() => return,
        status = shutdown.ended() => Err(status),
        result = listen(&host, &request, &answers) => result,
    };
    if let Err(status) = result {
        // The client may have gone.
        let _gone = answers.send(Err(status)).await;
    }
}

fn out(event: Out) -> Result<ForwardHostResponse, Status> {
    Ok(ForwardHostResponse { event: Some(event) })
}

async fn listen(host: &Arc<Host>, request: &ForwardHostRequest, answers: &Answers) -> Result<(), Status> {
    let target = target(request).map_err(Error::into_status)?;
    let listener = bind(request).await.map_err(Error::into_status)?;
    let at = listener
        .local_addr()
        .map_err(|error| failure(error).into_status())?;
    let gone = |_closed| Status::cancelled("the client went away");
    let listening = ForwardListening {
        address: at.ip().to_string(),
        port: at.port().into(),
    };
    answers.send(out(Out::Listening(listening))).await.map_err(gone)?;
    let _following = host.follow();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut view = host.view();
    let mut shown = None;
    loop {
        let (now, change) = {
            let view = view.borrow_and_update();
            (view.link, link_change(&view))
        };
        if shown.is_some_and(|shown| shown != now) || (shown.is_none() && !host.is_up()) {
            answers.send(out(Out::Link(change))).await.map_err(gone)?;
        }
        shown = Some(now);
        tokio::select! {
            accepted = accept(&listener, &room) => {
                let (stream, permit) = accepted;
                let (host, target, answers) = (Arc::clone(host), target.clone(), answers.clone());
                connections.spawn(async move {
                    if let Err(error) = carry(&host, target, stream).await {
                        // Whoever wants to know listens; a full queue means that much goes wrong already.
                        let _told = answers.try_send(out(Out::Problem(error.message)));
                    }
                    drop(permit);
                });
            }
            Some(_done) = connections.join_next() => {}
            changed = view.changed() => if changed.is_err() {
                let error = Error::new(ErrorKind::NotFound, format!("host {} was removed", host.name()));
                return Err(error.into_status());
            },
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _from)) => return (stream, permit),
            Err(error) => {
                // Out of descriptors, most likely: others have to close first.
                tracing::warn!(%error, "taking a connection to forward");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

fn target(request: &ForwardHostRequest) -> Result<TcpAddress, Error> {
    let port = u16::try_from(request.remote_port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| Error::new(ErrorKind::Usage, "a port on the host goes from 1 to 65535"))?;
    let host = request
        .remote_address
        .clone()
        .unwrap_or_else(|| "127.0.0.1".to_owned());
    if host.is_empty() || host.len() > 253 || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::new(ErrorKind::Usage, "that is no address to forward to"));
    }
    Ok(TcpAddress {
        host,
        port: port.into(),
    })
}

async fn bind(request: &ForwardHostRequest) -> Result<TcpListener, Error> {
    let address = request.local_address.as_deref().unwrap_or("127.0.0.1");
    let address = if address == "localhost" {
        "127.0.0.1"
    } else {
        address
    };
    let ip = address.parse().map_err(|_no_ip| {
        Error::new(
            ErrorKind::Usage,
            format!("{address:?} is no address of this machine"),
        )
    })?;
    let port = u16::try_from(request.local_port)
        .map_err(|_too_large| Error::new(ErrorKind::Usage, "a port goes from 0 to 65535"))?;
    let at = SocketAddr::new(ip, port);
    TcpListener::bind(at).await.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
            std::io::ErrorKind::PermissionDenied => ErrorKind::NotPermitted,
            _ => ErrorKind::Failed,
        };
        Error::new(kind, format!("listening at {at}: {error}"))
            .with_hint("name another port: LOCAL:REMOTE, or 0:REMOTE for any that is free")
    })
}

/// Carries one connection to its end.
async fn carry(host: &Arc<Host>, target: TcpAddress, stream: TcpStream) -> Result<(), Error> {
    exec::reach(host).await?;
    dial(host.bulk().await, To::Tcp(target), stream).await
}

//! The gRPC server behind the local socket.

mod connection;
mod door;
mod lookout;

use std::{convert::Infallible, io, time::Duration};

use outlast_client::{DESCRIPTORS, socket::SocketError};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    service::Routes,
    transport::Server,
};
use tonic_health::server::HealthReporter;

use crate::{
    hosts::agent::Agent,
    rpc::handshake::HandshakeLayer,
    shutdown::{Ending, Shutdown},
};

pub use connection::Caller;
pub use door::Door;

/// Accepted connections that the server has not taken yet. It takes them at once; this only smooths bursts.
const WAITING_ROOM: usize = 16;

/// What a client may send ahead on one stream. Terminal input is a trickle; a spec with a large environment fits.
const STREAM_WINDOW: u32 = 1 << 20;

/// What a client may send ahead in all: sixteen stalled streams before an unrelated call has to wait.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Calls at once on one connection: an editor that follows everything there is.
const STREAMS: u32 = 1024;

/// All metadata of a call together. Ours is a few dozen bytes.
const HEADER_LIST: u32 = 16 << 10;

/// How long calls may take to end after the daemon's end was announced; the whole end has five seconds.
const GRACE: Duration = Duration::from_secs(2);

/// The services of the daemon, collected before the door opens.
pub struct Services {
    routes: Routes,
    health: HealthReporter,
}

/// The protocol's own descriptors cannot be read: the build is broken.
#[derive(Debug, thiserror::Error)]
#[error("preparing reflection: {0}")]
pub struct ReflectionError(String);

impl Services {
    /// Health and reflection, which every client may rely on.
    ///
    /// # Errors
    /// When the descriptors that were built in cannot be read.
    pub fn new() -> Result<Self, ReflectionError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let public = public_descriptors()?;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_file_descriptor_set(public.clone())
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let failed = |error: tonic_reflection::server::Error| ReflectionError(error.to_string());
        let mut routes = Routes::new(health_service);
        routes = routes.add_service(reflection().build_v1().map_err(failed)?);
        // Older grpcurl and Postman speak only this one.
        routes = routes.add_service(reflection().build_v1alpha().map_err(failed)?);
        Ok(Self { routes, health })
    }

    /// Adds a service and reports it healthy.
    pub async fn add<S>(self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.health.set_serving::<S>().await;
        Self {
            routes: self.routes.add_service(service),
            health: self.health,
        }
    }
}

/// The descriptors of the public protocol alone: what the daemon says to helpers is nobody else's business.
fn public_descriptors() -> Result<FileDescriptorSet, ReflectionError> {
    let mut set =
        FileDescriptorSet::decode(DESCRIPTORS).map_err(|error| ReflectionError(error.to_string()))?;
    set.file
        .retain(|file| !file.package().starts_with("outlast.helper"));
    Ok(set)
}

/// Serves until the end is announced and the calls that ran then have ended, or two seconds more have passed.
///
/// # Errors
/// When the server cannot go on, which leaves the daemon nothing to do but end.
pub async fn run(
    door: Door,
    services: Services,
    agent: Agent,
    shutdown: &Shutdown,
) -> Result<(), tonic::transport::Error> {
    let end = shutdown.token();
    let (guests, waiting) = mpsc::channel::<io::Result<connection::Guest>>(WAITING_ROOM);
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_LIST)
        .layer(HandshakeLayer::new(shutdown.clone(), agent))
        .add_routes(services.routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(waiting), end.clone().cancelled_owned());
    let server = async {
        let served = until_grace_is_over(server, end.clone()).await;
        // A server that broke ends the daemon; nobody shall knock at a door behind which nobody is.
        shutdown.begin(Ending::Stop);
        served
    };
    let (served, ()) = tokio::join!(server, door.keep(guests, end.clone()));
    served
}

async fn until_grace_is_over<E>(
    server: impl Future<Output = Result<(), E>>,
    end: CancellationToken,
) -> Result<(), E> {
    let late = async {
        end.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server => served,
        () = late => {
            tracing::warn!("some calls did not end in time; leaving without them");
            Ok(())
        }
    }
}

/// What helps against an error of the socket, where there is something to advise.
#[must_use]
pub fn socket_hint(error: &SocketError) -> Option<String> {
    match error {
        SocketError::TooLong(_) => Some(
            "set OUTLAST_SOCKET to a shorter path, for example /tmp/outlast-$(id -u)/daemon.sock".to_owned(),
        ),
        SocketError::Foreign { path, .. } => Some(format!(
            "somebody else made {}; remove it, or set XDG_RUNTIME_DIR to a directory of your own",
            path.display()
        )),
        SocketError::NotADirectory(path) => Some(format!("remove {}", path.display())),
        SocketError::Open { path, .. } => Some(format!("chmod 700 {}", path.display())),
        SocketError::Taken(_) => {
            Some("stop that one, or give this one a socket of its own: outlastd --socket PATH".to_owned())
        }
        SocketError::Impostor { .. } | SocketError::Io { .. } => None,
    }
}

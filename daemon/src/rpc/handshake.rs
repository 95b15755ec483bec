//! What every call passes first: is it our protocol, and does the daemon still serve.
//!
//! A client may say which protocol it speaks; one that says nothing is served. Every answer says which protocol and
//! build the daemon is.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use futures::future::{Either, MapOk, TryFutureExt as _};
use outlast_client::{
    AUTH_SOCK_KEY, BUILD_KEY, PROTOCOL, PROTOCOL_KEY, VERSION,
    v1::{Error, ErrorKind},
};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, HeaderValue, Request, Response},
    },
};
use tower::Layer;

use crate::{hosts::agent::Agent, serve::Caller, shutdown::Shutdown};

/// Puts [`Handshake`] before a service.
#[derive(Debug, Clone)]
pub struct HandshakeLayer {
    shutdown: Shutdown,
    agent: Agent,
}

impl HandshakeLayer {
    /// With the announcement of the end, after which nothing is begun, and who wants to hear of ssh-agents.
    #[must_use]
    pub fn new(shutdown: Shutdown, agent: Agent) -> Self {
        Self { shutdown, agent }
    }
}

impl<S> Layer<S> for HandshakeLayer {
    type Service = Handshake<S>;

    fn layer(&self, inner: S) -> Handshake<S> {
        Handshake {
            inner,
            shutdown: self.shutdown.clone(),
            agent: self.agent.clone(),
        }
    }
}

/// A call whose answer will say who answers.
type Introduced<F> = MapOk<F, fn(Response<Body>) -> Response<Body>>;

/// A service behind the handshake.
#[derive(Debug, Clone)]
pub struct Handshake<S> {
    inner: S,
    shutdown: Shutdown,
    agent: Agent,
}

impl<S, B> Service<Request<B>> for Handshake<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Self::Response, S::Error>>, Introduced<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(caller) = request.extensions().get::<Caller>() {
            caller.called();
        }
        let agent = request.headers().get(AUTH_SOCK_KEY);
        if let Some(agent) = agent.and_then(|path| path.to_str().ok()) {
            self.agent.heard(agent);
        }
        let refused = if self.shutdown.has_begun() {
            Some(self.shutdown.status())
        } else {
            incompatible(request.headers())
        };
        match refused {
            Some(status) => Either::Left(ready(Ok(introduce(status.into_http())))),
            None => Either::Right(self.inner.call(request).map_ok(introduce)),
        }
    }
}

/// The status for a client that speaks another protocol.
fn incompatible(headers: &HeaderMap) -> Option<Status> {
    let theirs = headers.get(PROTOCOL_KEY)?.to_str().unwrap_or("unreadable");
    if theirs.parse() == Ok(PROTOCOL) {
        return None;
    }
    let theirs: String = theirs.chars().take(20).collect();
    let build = headers
        .get(BUILD_KEY)
        .and_then(|build| build.to_str().ok())
        .unwrap_or("unknown");
    tracing::info!(protocol = %theirs, build = %build.escape_debug(), "refused a client of another protocol");
    let error = Error::new(
        ErrorKind::Incompatible,
        format!("the daemon ({VERSION}) speaks protocol {PROTOCOL}, this program speaks {theirs}"),
    )
    .with_hint("outlast daemon restart");
    Some(error.into_status())
}

/// Adds who answers.
fn introduce(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(PROTOCOL_KEY, HeaderValue::from(PROTOCOL));
    headers.insert(BUILD_KEY, HeaderValue::from_static(VERSION));
    response
}

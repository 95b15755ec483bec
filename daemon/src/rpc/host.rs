//! `HostService`: the machines.

use std::sync::Arc;

use outlast_client::v1::{
    self, Error, ErrorKind, GetHostRequest, GetHostResponse, ListHostsRequest, ListHostsResponse,
    host_service_server::HostService,
};
use outlast_model::{job::JobState, session::SessionState};
use outlast_store::SessionFilter;
use tonic::{Request, Response, Status};

use super::{convert::timestamp, status::Failure};
use crate::{
    app::App,
    hosts::{Host, HostView, Link},
};

/// The handlers.
pub struct Hosts {
    app: Arc<App>,
}

impl Hosts {
    /// Over the daemon's parts.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl HostService for Hosts {
    async fn list_hosts(&self, _: Request<ListHostsRequest>) -> Result<Response<ListHostsResponse>, Status> {
        let hosts = messages(&self.app).await?;
        Ok(Response::new(ListHostsResponse { hosts }))
    }

    async fn get_host(&self, request: Request<GetHostRequest>) -> Result<Response<GetHostResponse>, Status> {
        let name = request.into_inner().host;
        let host = self.app.hosts.get(&name).ok_or_else(|| unknown_host(&name))?;
        // Somebody looks closely: what was mended since the last look shall show.
        let view = host.refreshed().await;
        let host = message(&self.app, &host, &view).await?;
        Ok(Response::new(GetHostResponse { host: Some(host) }))
    }
}

/// The failure for a name that no host has.
#[must_use]
pub fn unknown_host(name: &str) -> Failure {
    let error = Error::new(
        ErrorKind::NotFound,
        format!("no host is called {}", name.escape_debug()),
    );
    error.with_hint("outlast host list").about(name).into()
}

/// All hosts as messages, from what is known now.
///
/// # Errors
/// When the store fails.
pub async fn messages(app: &App) -> Result<Vec<v1::Host>, Failure> {
    let mut messages = Vec::new();
    for host in app.hosts.list() {
        let view = host.view().borrow().clone();
        messages.push(message(app, &host, &view).await?);
    }
    Ok(messages)
}

async fn message(app: &App, host: &Host, view: &HostView) -> Result<v1::Host, Failure> {
    let running = running(app, host.name()).await?;
    let facts = view.facts.as_ref();
    Ok(v1::Host {
        name: host.name().to_owned(),
        kind: "local".to_owned(),
        address: None,
        user: facts.map(|facts| facts.user.clone()),
        port: None,
        link: link(view.link).into(),
        error: view.error.clone(),
        os: facts.map(|facts| facts.os.clone()),
        arch: facts.map(|facts| facts.arch.clone()),
        helper_version: facts.map(|facts| facts.helper_version.clone()),
        tmux_version: facts.and_then(|facts| facts.tmux_version.clone()),
        rtt_ms: view.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
        boot_id: facts.map(|facts| facts.boot_id.clone()),
        sessions: running.sessions,
        jobs: running.jobs,
        reason: view.reason().map(str::to_owned),
        next_try_at: view.next_try_at.map(timestamp),
        observed_at: view.observed_at.map(timestamp),
        transport: Some("in process".to_owned()),
    })
}

/// How much runs on a host.
struct Running {
    sessions: u32,
    jobs: u32,
}

async fn running(app: &App, host: &str) -> Result<Running, Failure> {
    let filter = SessionFilter {
        states: vec![SessionState::Running],
        hosts: vec![host.to_owned()],
    };
    let sessions = app.store.list_sessions(filter).await?.len();
    let live = app.store.live_jobs().await?;
    let jobs = live
        .iter()
        .filter(|job| job.host == host && job.state == JobState::Running);
    // More than four thousand million run nowhere.
    Ok(Running {
        sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
        jobs: u32::try_from(jobs.count()).unwrap_or(u32::MAX),
    })
}

/// The word on the wire for a link.
#[must_use]
pub fn link(link: Link) -> v1::Link {
    match link {
        Link::Connecting => v1::Link::Connecting,
        Link::Up => v1::Link::Up,
        Link::Backoff => v1::Link::Backoff,
    }
}

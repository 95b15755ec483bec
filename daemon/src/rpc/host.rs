//! `HostService`: the machines.

use std::sync::Arc;

use outlast_client::v1::{
    self, AddHostRequest, AddHostResponse, CheckHostRequest, CheckHostResponse, Error, ErrorKind,
    ExecHostRequest, ExecHostResponse, ForwardHostRequest, ForwardHostResponse, GetHostRequest,
    GetHostResponse, ListHostsRequest, ListHostsResponse, RemoveHostRequest, RemoveHostResponse,
    TrustHostRequest, TrustHostResponse, add_host_request::Address, host_service_server::HostService,
};
use outlast_model::{
    host::{self, Carrier, Link, Route, SshRoute},
    job::JobState,
    session::SessionState,
};
use outlast_store::{Forgotten, RemovedHost, SessionFilter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::timestamp,
    request,
    status::{Failure, failure},
};
use crate::{
    app::{App, now_ms},
    hosts::{Host, HostView, LOCAL, check, exec, forward},
    work::Work,
};

/// Messages that may wait for a client of a stream.
const QUEUE: usize = 8;

/// The handlers.
pub struct Hosts {
    app: Arc<App>,
    work: Work,
}

impl Hosts {
    /// Over the daemon's parts, and what is forgotten together with a host.
    #[must_use]
    pub fn new(app: Arc<App>, work: Work) -> Self {
        Self { app, work }
    }

    async fn add(&self, mut request: AddHostRequest) -> Result<AddHostResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "AddHost", id, &request, &[])?;
        let name = request::name(&request.name, "outlast host add", " ADDRESS")?;
        let route = match request.address {
            Some(Address::Ssh(ssh)) => Route::Ssh(ssh_route(ssh)?),
            Some(Address::Command(command)) => Route::Command(command.command),
            None => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "the request does not say how the host is reached",
                ));
            }
        };
        host::check(&name, &route).map_err(|rule| Error::new(ErrorKind::Usage, rule.to_string()))?;
        let new = host::Host {
            name,
            route,
            created_at: now_ms(),
            machine_id: None,
            seen: None,
        };
        let hosts = self.app.hosts.change().await;
        let host = hosts.add(new, once.as_ref()).await.map_err(failure)?;
        let view = host.view().borrow().clone();
        Ok(AddHostResponse {
            host: Some(message(&self.app, &host, &view).await?),
        })
    }

    async fn remove(&self, mut request: RemoveHostRequest) -> Result<RemoveHostResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "RemoveHost", id, &request, &[])?;
        let name = request.host;
        if name == LOCAL {
            return Err(Error::new(
                ErrorKind::Usage,
                "`local` is this machine and is always there",
            ));
        }
        let there = if request.dry_run {
            if self.app.hosts.get(&name).is_none() {
                return Err(failure(unknown_host(&name)));
            }
            self.app.store.count_on_host(&name).await.map_err(failure)?
        } else {
            let hosts = self.app.hosts.change().await;
            let removed = hosts.remove(&name, request.force, once.as_ref()).await;
            match removed.map_err(failure)? {
                RemovedHost::Now { forgotten, ids } => {
                    self.work.forget_host(&name, ids).await;
                    forgotten
                }
                RemovedHost::Before(forgotten) => forgotten,
                RemovedHost::InUse(there) => return Err(in_use(&name, there)),
                RemovedHost::Absent => return Err(failure(unknown_host(&name))),
            }
        };
        Ok(RemoveHostResponse {
            live_jobs: there.live_jobs,
            jobs: there.jobs,
            live_sessions: there.live_sessions,
            sessions: there.sessions,
            syncs: there.syncs,
        })
    }

    async fn trust(&self, mut request: TrustHostRequest) -> Result<TrustHostResponse, Error> {
        let id = request.request_id.take();
        // Doing it again comes to the same, so nothing has to be remembered.
        let _checked = request::once(&self.app.secret, "TrustHost", id, &request, &[])?;
        let host = self
            .app
            .hosts
            .get(&request.host)
            .ok_or_else(|| failure(unknown_host(&request.host)))?;
        let changed_files = check::trust(&host, self.app.hosts.agent(), &request.fingerprint).await?;
        let view = host.view().borrow().clone();
        Ok(TrustHostResponse {
            host: Some(message(&self.app, &host, &view).await?),
            changed_files,
        })
    }
}

fn in_use(name: &str, there: Forgotten) -> Error {
    let message = format!(
        "host {name} has {} live jobs and {} live sessions",
        there.live_jobs, there.live_sessions
    );
    Error::new(ErrorKind::WrongState, message)
        .with_hint(format!(
            "outlast host remove {name} --force forgets them; they go on there"
        ))
        .about(name)
}

fn ssh_route(ssh: v1::SshAddress) -> Result<SshRoute, Error> {
    let transport = ssh.transport();
    let port = ssh.port.map(u16::try_from).transpose();
    let port = port.map_err(|_too_large| Error::new(ErrorKind::Usage, host::BadRoute::Port.to_string()))?;
    Ok(SshRoute {
        destination: ssh.destination,
        user: ssh.user,
        port,
        identities: ssh.identities,
        jump: ssh.jump,
        carrier: match transport {
            v1::SshTransport::Unspecified => None,
            v1::SshTransport::Ssh2 => Some(Carrier::Ssh2),
            v1::SshTransport::Ssh => Some(Carrier::Ssh),
        },
    })
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

    async fn add_host(&self, request: Request<AddHostRequest>) -> Result<Response<AddHostResponse>, Status> {
        let added = self.add(request.into_inner()).await;
        added.map(Response::new).map_err(Error::into_status)
    }

    async fn remove_host(
        &self,
        request: Request<RemoveHostRequest>,
    ) -> Result<Response<RemoveHostResponse>, Status> {
        let removed = self.remove(request.into_inner()).await;
        removed.map(Response::new).map_err(Error::into_status)
    }

    type CheckHostStream = ReceiverStream<Result<CheckHostResponse, Status>>;

    async fn check_host(
        &self,
        request: Request<Streaming<CheckHostRequest>>,
    ) -> Result<Response<Self::CheckHostStream>, Status> {
        let (answers, stream) = mpsc::channel(QUEUE);
        let serving = check::serve(Arc::clone(&self.app), request.into_inner(), answers);
        self.app.tasks.spawn(serving);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn trust_host(
        &self,
        request: Request<TrustHostRequest>,
    ) -> Result<Response<TrustHostResponse>, Status> {
        let trusted = self.trust(request.into_inner()).await;
        trusted.map(Response::new).map_err(Error::into_status)
    }

    type ExecHostStream = ReceiverStream<Result<ExecHostResponse, Status>>;

    async fn exec_host(
        &self,
        request: Request<Streaming<ExecHostRequest>>,
    ) -> Result<Response<Self::ExecHostStream>, Status> {
        let (answers, stream) = mpsc::channel(QUEUE);
        let serving = exec::serve(Arc::clone(&self.app), request.into_inner(), answers);
        self.app.tasks.spawn(serving);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type ForwardHostStream = ReceiverStream<Result<ForwardHostResponse, Status>>;

    async fn forward_host(
        &self,
        request: Request<ForwardHostRequest>,
    ) -> Result<Response<Self::ForwardHostStream>, Status> {
        let (answers, stream) = mpsc::channel(QUEUE);
        let request = request.into_inner();
        let host = self
            .app
            .hosts
            .get(&request.host)
            .ok_or_else(|| unknown_host(&request.host))?;
        let serving = forward::serve(Arc::clone(&self.app), host, request, answers);
        self.app.tasks.spawn(serving);
        Ok(Response::new(ReceiverStream::new(stream)))
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

/// Checks the hosts of a filter.
///
/// # Errors
/// The first one that there is not.
pub fn check_all(app: &App, names: &[String]) -> Result<(), Failure> {
    let unknown = names.iter().find(|name| app.hosts.get(name).is_none());
    unknown.map_or(Ok(()), |name| Err(unknown_host(name)))
}

/// What somebody hears who is attached to a session of a host that is removed.
#[must_use]
pub fn removed(name: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("host {name} was removed; the session goes on there"),
    )
    .with_hint(format!("outlast host add {name} ADDRESS brings it back"))
    .about(name)
}

/// The error for a host that cannot be called now.
#[must_use]
pub fn not_connected(name: &str, view: &HostView) -> Error {
    let kind = if view.link.is_stuck() {
        ErrorKind::Unauthenticated
    } else {
        ErrorKind::Unreachable
    };
    let trouble = view.trouble.as_ref();
    let why = trouble.map_or_else(
        || "the first connection is being made".to_owned(),
        |trouble| trouble.message.clone(),
    );
    let error = Error::new(
        kind,
        format!("host {name} is not connected ({}): {why}", view.link),
    );
    let hint = trouble.and_then(|trouble| trouble.hint.clone());
    error
        .with_hint(hint.unwrap_or_else(|| format!("outlast host check {name}")))
        .about(name)
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

/// A host as a message.
///
/// # Errors
/// When the store fails.
pub async fn message(app: &App, host: &Host, view: &HostView) -> Result<v1::Host, Failure> {
    let running = running(app, host.name()).await?;
    let facts = view.facts.as_ref();
    let trouble = view.trouble.as_ref();
    let (kind, address, user, port) = match host.record().map(|record| &record.route) {
        None => ("local", None, None, None),
        Some(Route::Ssh(ssh)) => ("ssh", Some(ssh.destination.clone()), ssh.user.clone(), ssh.port),
        Some(Route::Command(words)) => ("command", Some(words.join(" ")), None, None),
    };
    Ok(v1::Host {
        name: host.name().to_owned(),
        kind: kind.to_owned(),
        address,
        user: user.or_else(|| facts.map(|facts| facts.user.clone())),
        port: port.map(u32::from),
        link: link(view.link).into(),
        error: trouble.map(|trouble| trouble.message.clone()),
        os: facts.map(|facts| facts.os.clone()),
        arch: facts.map(|facts| facts.arch.clone()),
        helper_version: facts.map(|facts| facts.helper_version.clone()),
        tmux_version: facts.and_then(|facts| facts.tmux_version.clone()),
        rtt_ms: view.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
        boot_id: facts.map(|facts| facts.boot_id.clone()),
        sessions: running.sessions,
        jobs: running.jobs,
        reason: trouble.map(|trouble| trouble.reason.to_owned()),
        next_try_at: view.next_try_at.map(timestamp),
        observed_at: view.observed_at.map(timestamp),
        transport: view.carrier.map(|carrier| carrier.as_str().to_owned()),
        key_shown: trouble.and_then(|trouble| trouble.key_shown.clone()),
        keys_known: trouble
            .map(|trouble| trouble.keys_known.clone())
            .unwrap_or_default(),
        hint: trouble.and_then(|trouble| trouble.hint.clone()),
    })
}

/// What to say of a host that is not connected. Absent: it is, or it is not known.
#[must_use]
pub fn away(app: &App, name: &str) -> Option<v1::Away> {
    let host = app.hosts.get(name).filter(|host| !host.is_up())?;
    let view = host.view().borrow().clone();
    Some(v1::Away {
        host: name.to_owned(),
        link: link(view.link).into(),
        error: view.trouble.map(|trouble| trouble.message),
        observed_at: view.observed_at.map(timestamp),
        next_try_at: view.next_try_at.map(timestamp),
    })
}

/// What to say of those of these hosts that are not connected, each once, by name.
pub fn all_away<'a>(app: &App, names: impl Iterator<Item = &'a str>) -> Vec<v1::Away> {
    let names: std::collections::BTreeSet<_> = names.filter(|name| *name != LOCAL).collect();
    names.into_iter().filter_map(|name| away(app, name)).collect()
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

/// What clients who follow a link are told of it.
#[must_use]
pub fn link_change(view: &HostView) -> v1::LinkChange {
    let trouble = view.trouble.as_ref().filter(|_| view.link != Link::Up);
    v1::LinkChange {
        link: link(view.link).into(),
        error: trouble.map(|trouble| trouble.message.clone()),
    }
}

/// The word on the wire for a link.
#[must_use]
pub fn link(link: Link) -> v1::Link {
    match link {
        Link::Connecting => v1::Link::Connecting,
        Link::Up => v1::Link::Up,
        Link::Down => v1::Link::Down,
        Link::Backoff => v1::Link::Backoff,
        Link::AuthFailed => v1::Link::AuthFailed,
        Link::HostkeyChanged => v1::Link::HostkeyChanged,
    }
}

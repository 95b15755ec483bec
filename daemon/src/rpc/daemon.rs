//! `DaemonService`: who the daemon is, how it is, and how it ends.

use std::sync::Arc;

use outlast_client::{
    PROTOCOL, VERSION,
    v1::{
        Daemon, DiagnoseRequest, DiagnoseResponse, GetDaemonRequest, GetDaemonResponse, GetOverviewRequest,
        GetOverviewResponse, StopDaemonRequest, StopDaemonResponse, daemon_service_server::DaemonService,
    },
};
use tonic::{Request, Response, Status};

use super::{convert::timestamp, host, status::Failure};
use crate::{app::App, diagnose, shutdown::Ending, work::Work};

/// Live jobs in an overview. A screen holds fewer; the count says how many there are.
const LIVE_JOBS: usize = 200;

/// Ended jobs in an overview when no number is asked for.
const ENDED_JOBS: u32 = 10;

/// Ended jobs in an overview at most; whoever wants history lists it.
const ENDED_JOBS_MAX: u32 = 1000;

/// What this build can do beyond the protocol number.
const CAPABILITIES: [&str; 6] = ["jobs", "sessions", "events", "hosts", "syncs", "notify"];

/// The handlers.
pub struct Daemons {
    app: Arc<App>,
    work: Work,
}

impl Daemons {
    /// Over the daemon's parts and what it drives.
    #[must_use]
    pub fn new(app: Arc<App>, work: Work) -> Self {
        Self { app, work }
    }
}

#[tonic::async_trait]
impl DaemonService for Daemons {
    async fn get_daemon(&self, _: Request<GetDaemonRequest>) -> Result<Response<GetDaemonResponse>, Status> {
        Ok(Response::new(GetDaemonResponse {
            daemon: Some(message(&self.app)),
        }))
    }

    async fn get_overview(
        &self,
        request: Request<GetOverviewRequest>,
    ) -> Result<Response<GetOverviewResponse>, Status> {
        Ok(Response::new(
            overview(&self.app, &self.work, request.into_inner()).await?,
        ))
    }

    async fn diagnose(&self, _: Request<DiagnoseRequest>) -> Result<Response<DiagnoseResponse>, Status> {
        let findings = diagnose::all(&self.app).await;
        Ok(Response::new(DiagnoseResponse { findings }))
    }

    async fn stop_daemon(
        &self,
        request: Request<StopDaemonRequest>,
    ) -> Result<Response<StopDaemonResponse>, Status> {
        let ending = if request.into_inner().restart {
            Ending::Restart
        } else {
            Ending::Stop
        };
        tracing::info!(?ending, "told to stop by a client");
        // Calls that run, this one too, are let finish; only then connections close.
        self.app.shutdown.begin(ending);
        Ok(Response::new(StopDaemonResponse {
            pid: std::process::id(),
        }))
    }
}

fn message(app: &App) -> Daemon {
    Daemon {
        pid: std::process::id(),
        socket: app.socket.display().to_string(),
        version: VERSION.to_owned(),
        protocol: PROTOCOL,
        started_at: Some(timestamp(app.started.at)),
        uptime_s: app.started.monotonic.elapsed().as_secs_f64(),
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        state_dir: app.places.state_dir.display().to_string(),
        owner: app.owner.clone(),
    }
}

async fn overview(
    app: &App,
    work: &Work,
    request: GetOverviewRequest,
) -> Result<GetOverviewResponse, Failure> {
    let ended_limit = match request.ended_limit {
        0 => ENDED_JOBS,
        wanted => wanted.min(ENDED_JOBS_MAX),
    };
    let mut live = app.store.live_jobs().await?;
    let live_job_count = live.len() as u64;
    live.truncate(LIVE_JOBS);
    let ended = app.store.ended_jobs(ended_limit).await?;
    let sessions = app
        .store
        .list_sessions(outlast_store::SessionFilter::default())
        .await?;
    Ok(GetOverviewResponse {
        daemon: Some(message(app)),
        hosts: host::messages(app).await?,
        sessions: sessions
            .iter()
            .map(|session| work.sessions.message(session))
            .collect(),
        live_jobs: live.iter().map(|job| work.jobs.message(job)).collect(),
        ended_jobs: ended.iter().map(|job| work.jobs.message(job)).collect(),
        live_job_count,
        syncs: work.syncs.messages().await?,
    })
}

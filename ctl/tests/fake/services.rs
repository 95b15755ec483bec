//! The services of the fake daemon: each call looks into the script.

use outlast_client::v1::{self, Error, ErrorKind};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Services, Stream, answered, streamed, talked};

pub(super) fn none(what: &str, name: &str) -> Status {
    Error::new(ErrorKind::NotFound, format!("no {what} is called {name:?}"))
        .with_hint(format!("outlast {what} list"))
        .about(name)
        .into_status()
}

#[async_trait]
impl v1::daemon_service_server::DaemonService for Services {
    async fn get_daemon(
        &self,
        request: Request<v1::GetDaemonRequest>,
    ) -> Result<Response<v1::GetDaemonResponse>, Status> {
        answered(self.0.lock().unwrap().daemon.as_mut(), request)
    }

    async fn get_overview(
        &self,
        request: Request<v1::GetOverviewRequest>,
    ) -> Result<Response<v1::GetOverviewResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        let syncs = state.listed_syncs();
        let mut overview = answered(state.overview.as_mut(), request)?;
        overview.get_mut().syncs = syncs;
        Ok(overview)
    }

    async fn diagnose(
        &self,
        request: Request<v1::DiagnoseRequest>,
    ) -> Result<Response<v1::DiagnoseResponse>, Status> {
        answered::<v1::DiagnoseRequest, v1::DiagnoseResponse>(None, request)
    }

    async fn stop_daemon(
        &self,
        request: Request<v1::StopDaemonRequest>,
    ) -> Result<Response<v1::StopDaemonResponse>, Status> {
        answered::<v1::StopDaemonRequest, v1::StopDaemonResponse>(None, request)
    }
}

#[async_trait]
impl v1::job_service_server::JobService for Services {
    type ReadJobLogStream = Stream<v1::ReadJobLogResponse>;
    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        answered(self.0.lock().unwrap().create_job.as_mut(), request)
    }

    async fn list_jobs(
        &self,
        _request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let script = self.0.lock().unwrap();
        let mut jobs: Vec<_> = script.jobs.values().cloned().collect();
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Response::new(v1::ListJobsResponse {
            jobs,
            next_page_token: String::new(),
            away: script.away.clone(),
        }))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let name = request.into_inner().job;
        let script = self.0.lock().unwrap();
        match script.jobs.get(&name).cloned() {
            Some(job) => Ok(Response::new(v1::GetJobResponse {
                away: script.away.iter().find(|away| away.host == job.host).cloned(),
                job: Some(job),
            })),
            None => Err(none("job", &name)),
        }
    }

    async fn wait_job(
        &self,
        request: Request<v1::WaitJobRequest>,
    ) -> Result<Response<v1::WaitJobResponse>, Status> {
        let name = request.into_inner().job;
        let job = self.0.lock().unwrap().jobs.get(&name).cloned();
        match job {
            // Goes on for ever.
            Some(job) if job.state() == v1::JobState::Running => std::future::pending().await,
            job => Ok(Response::new(v1::WaitJobResponse { job })),
        }
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        answered(self.0.lock().unwrap().cancel_job.as_mut(), request)
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        answered::<v1::RetryJobRequest, v1::RetryJobResponse>(None, request)
    }

    async fn prune_jobs(
        &self,
        request: Request<v1::PruneJobsRequest>,
    ) -> Result<Response<v1::PruneJobsResponse>, Status> {
        answered::<v1::PruneJobsRequest, v1::PruneJobsResponse>(None, request)
    }

    async fn read_job_log(
        &self,
        request: Request<v1::ReadJobLogRequest>,
    ) -> Result<Response<Self::ReadJobLogStream>, Status> {
        streamed(self.0.lock().unwrap().job_log.as_mut(), request)
    }
}

#[async_trait]
impl v1::session_service_server::SessionService for Services {
    type ReadSessionLogStream = Stream<v1::ReadSessionLogResponse>;
    type WaitSessionStream = Stream<v1::WaitSessionResponse>;
    type AttachSessionStream = Stream<v1::AttachSessionResponse>;
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        answered(self.0.lock().unwrap().create_session.as_mut(), request)
    }

    async fn list_sessions(
        &self,
        _request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let script = self.0.lock().unwrap();
        let mut sessions: Vec<_> = script.sessions.values().cloned().collect();
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Response::new(v1::ListSessionsResponse {
            sessions,
            away: script.away.clone(),
        }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let name = request.into_inner().session;
        let script = self.0.lock().unwrap();
        match script.sessions.get(&name).cloned() {
            Some(session) => Ok(Response::new(v1::GetSessionResponse {
                away: script.away.iter().find(|away| away.host == session.host).cloned(),
                session: Some(session),
            })),
            None => Err(none("session", &name)),
        }
    }

    async fn peek_session(
        &self,
        request: Request<v1::PeekSessionRequest>,
    ) -> Result<Response<v1::PeekSessionResponse>, Status> {
        answered(self.0.lock().unwrap().peek_session.as_mut(), request)
    }

    async fn send_session(
        &self,
        request: Request<v1::SendSessionRequest>,
    ) -> Result<Response<v1::SendSessionResponse>, Status> {
        answered::<v1::SendSessionRequest, v1::SendSessionResponse>(None, request)
    }

    async fn interrupt_session(
        &self,
        request: Request<v1::InterruptSessionRequest>,
    ) -> Result<Response<v1::InterruptSessionResponse>, Status> {
        answered::<v1::InterruptSessionRequest, v1::InterruptSessionResponse>(None, request)
    }

    async fn stop_session(
        &self,
        request: Request<v1::StopSessionRequest>,
    ) -> Result<Response<v1::StopSessionResponse>, Status> {
        answered(self.0.lock().unwrap().stop_session.as_mut(), request)
    }

    async fn restart_session(
        &self,
        request: Request<v1::RestartSessionRequest>,
    ) -> Result<Response<v1::RestartSessionResponse>, Status> {
        answered::<v1::RestartSessionRequest, v1::RestartSessionResponse>(None, request)
    }

    async fn recover_session(
        &self,
        request: Request<v1::RecoverSessionRequest>,
    ) -> Result<Response<v1::RecoverSessionResponse>, Status> {
        answered::<v1::RecoverSessionRequest, v1::RecoverSessionResponse>(None, request)
    }

    async fn delete_session(
        &self,
        request: Request<v1::DeleteSessionRequest>,
    ) -> Result<Response<v1::DeleteSessionResponse>, Status> {
        answered::<v1::DeleteSessionRequest, v1::DeleteSessionResponse>(None, request)
    }

    async fn read_session_log(
        &self,
        request: Request<v1::ReadSessionLogRequest>,
    ) -> Result<Response<Self::ReadSessionLogStream>, Status> {
        streamed(self.0.lock().unwrap().session_log.as_mut(), request)
    }

    async fn list_session_history(
        &self,
        request: Request<v1::ListSessionHistoryRequest>,
    ) -> Result<Response<v1::ListSessionHistoryResponse>, Status> {
        answered(self.0.lock().unwrap().session_history.as_mut(), request)
    }

    async fn wait_session(
        &self,
        request: Request<v1::WaitSessionRequest>,
    ) -> Result<Response<Self::WaitSessionStream>, Status> {
        streamed(self.0.lock().unwrap().wait_session.as_mut(), request)
    }

    async fn attach_session(
        &self,
        request: Request<Streaming<v1::AttachSessionRequest>>,
    ) -> Result<Response<Self::AttachSessionStream>, Status> {
        talked(self.0.lock().unwrap().attach.as_mut(), request)
    }
}

#[async_trait]
impl v1::event_service_server::EventService for Services {
    type ReadEventsStream = Stream<v1::ReadEventsResponse>;
    async fn read_events(
        &self,
        request: Request<v1::ReadEventsRequest>,
    ) -> Result<Response<Self::ReadEventsStream>, Status> {
        streamed(self.0.lock().unwrap().events.as_mut(), request)
    }
}

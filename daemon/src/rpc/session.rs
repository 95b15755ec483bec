//! `SessionService`: long-lived interactive terminals.

use std::{mem::take, sync::Arc};

use outlast_client::{
    helper_v1::CaptureSessionRequest,
    v1::{
        AttachSessionRequest, AttachSessionResponse, CreateSessionRequest, CreateSessionResponse,
        DeleteSessionRequest, DeleteSessionResponse, Error, ErrorKind, GetSessionRequest, GetSessionResponse,
        InterruptSessionRequest, InterruptSessionResponse, ListSessionHistoryRequest,
        ListSessionHistoryResponse, ListSessionsRequest, ListSessionsResponse, PeekSessionRequest,
        PeekSessionResponse, ReadSessionLogRequest, ReadSessionLogResponse, RecoverSessionRequest,
        RecoverSessionResponse, RestartSessionRequest, RestartSessionResponse, SendSessionRequest,
        SendSessionResponse, SessionCondition, StopSessionRequest, StopSessionResponse, TerminalCursor,
        TerminalSize, WaitSessionRequest, WaitSessionResponse, list_session_history_request::Page,
        read_session_log_request, send_session_request::Input, session_service_server::SessionService,
    },
};
use outlast_model::{
    activity::Doing,
    admission::{self, Verb},
    session::{Session, SessionState},
};
use outlast_store::SessionFilter;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert, host,
    request::{self, Program},
    status::Failure,
};
use crate::{
    app::App,
    hosts::LOCAL,
    logs::{self, Sink, Start},
    refusal,
    sessions::{NewSession, Sessions as Registry, Typing, attach, history, log, start, wait},
};

/// Time between TERM and KILL when a client names none, milliseconds.
const STOP_GRACE_MS: u64 = 5_000;

/// The handlers.
pub struct Sessions {
    app: Arc<App>,
    sessions: Registry,
}

impl Sessions {
    /// Over the daemon's parts and the registry of sessions.
    #[must_use]
    pub fn new(app: Arc<App>, sessions: Registry) -> Self {
        Self { app, sessions }
    }

    async fn create(&self, mut request: CreateSessionRequest) -> Result<CreateSessionResponse, Error> {
        let (base_env, env) = (take(&mut request.base_env), take(&mut request.env));
        let id = request.request_id.take();
        let once = request::once(
            &self.app.secret,
            "CreateSession",
            id,
            &request,
            &[&base_env, &env],
        )?;
        let name = request::name(&request.name, "outlast session create", "")?;
        let host = request.host.unwrap_or_else(|| LOCAL.to_owned());
        let said = start::Said {
            template: request.template.clone(),
            provider: request.provider,
            command: request.command,
            restart_command: request.restart_command,
            cwd: request.cwd,
            default_cwd: request.default_cwd,
            env,
        };
        let start = match start::settle(&self.app.config, &self.app.providers, said, &name, &host) {
            Ok(start) => start,
            // It may be a repeat of a request from before the configuration was changed.
            Err(error) => {
                let session = self.sessions.repeat_or(once, error).await?;
                return Ok(self.created(&session));
            }
        };
        let program = Program::new(start.command, start.cwd, &host, base_env, start.env);
        let size = request.size.map(|size| (size.columns, size.rows));
        let size = admission::create_session(&program.view(), start.restart_command.as_deref(), size)
            .map_err(|denial| refusal::denied(&denial, None))?;
        let new = NewSession {
            host,
            name,
            command: program.command,
            restart_command: start.restart_command,
            cwd: program.cwd,
            env: program.env,
            size,
            template: request.template,
            provider: start.provider,
        };
        let session = self.sessions.create(new, once).await?;
        Ok(self.created(&session))
    }

    fn created(&self, session: &Session) -> CreateSessionResponse {
        CreateSessionResponse {
            session: Some(self.sessions.message(session)),
        }
    }

    async fn list(&self, request: ListSessionsRequest) -> Result<ListSessionsResponse, Failure> {
        let filter = SessionFilter {
            states: states(&request.states)?,
            hosts: request.hosts,
        };
        host::check_all(&self.app, &filter.hosts)?;
        let sessions = self.app.store.list_sessions(filter).await?;
        let activities = request.activities;
        let any = activities.is_empty() || activities.contains(&0);
        let messages = sessions.iter().map(|session| self.sessions.message(session));
        let messages = messages.filter(|message| any || activities.contains(&message.activity));
        Ok(ListSessionsResponse {
            sessions: messages.collect(),
            away: host::all_away(&self.app, sessions.iter().map(|session| session.host.as_str())),
        })
    }

    async fn peek(&self, request: PeekSessionRequest) -> Result<PeekSessionResponse, Error> {
        let session = self.sessions.resolve_made(&request.session).await?;
        let look = CaptureSessionRequest {
            ansi: request.ansi,
            history_lines: request.history_lines,
            blanks: request.blanks,
            ..CaptureSessionRequest::default()
        };
        let screen = self.sessions.peek(&session, look).await?;
        let size = screen.size.map(|size| TerminalSize {
            columns: size.columns,
            rows: size.rows,
        });
        Ok(PeekSessionResponse {
            screen: screen.screen,
            size,
            session: Some(self.sessions.message(&session)),
            cursor: screen.cursor.map(|cursor| TerminalCursor {
                x: cursor.x,
                y: cursor.y,
                visible: cursor.visible,
            }),
            alternate: screen.alternate,
            title: screen.title,
        })
    }

    async fn send(&self, mut request: SendSessionRequest) -> Result<SendSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "SendSession", id, &request, &[])?;
        let mut typing = match request.input {
            Some(Input::Text(text)) => Typing {
                text,
                raw: request.raw,
                ..Typing::default()
            },
            Some(Input::Keys(keys)) => Typing {
                keys: keys.keys,
                ..Typing::default()
            },
            None => Typing::default(),
        };
        if request.enter {
            typing.keys.push("Enter".to_owned());
        }
        let session = self.sessions.resolve_made(&request.session).await?;
        let sent = self.sessions.send(&session, Verb::Send, typing, once).await?;
        Ok(SendSessionResponse {
            log_offset: sent.log_offset,
            after_seq: sent.after_seq,
        })
    }

    async fn interrupt(
        &self,
        mut request: InterruptSessionRequest,
    ) -> Result<InterruptSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "InterruptSession", id, &request, &[])?;
        let session = self.sessions.resolve_made(&request.session).await?;
        let typing = Typing {
            keys: vec!["C-c".to_owned()],
            ..Typing::default()
        };
        self.sessions
            .send(&session, Verb::Interrupt, typing, once)
            .await?;
        Ok(InterruptSessionResponse {})
    }

    async fn history(&self, request: ListSessionHistoryRequest) -> Result<ListSessionHistoryResponse, Error> {
        let (before, after) = match &request.page {
            None => (None, None),
            Some(Page::Before(id)) => (Some(id.as_str()), None),
            Some(Page::After(id)) => (None, Some(id.as_str())),
        };
        let wanted = history::Wanted::new(request.kind(), request.limit, before, after)?;
        let session = self.sessions.resolve(&request.session).await?;
        let found = self.sessions.history(&session, wanted).await?;
        Ok(ListSessionHistoryResponse {
            entries: found.entries,
            has_more: found.next.is_some(),
            next: found.next,
            session: Some(self.sessions.message(&session)),
            away: host::away(&self.app, &session.host),
        })
    }

    async fn wait(&self, request: WaitSessionRequest) -> Result<(Session, wait::Condition), Error> {
        let condition = match request.until() {
            SessionCondition::Unspecified => {
                return Err(Error::new(ErrorKind::Usage, "what to wait for was not said"));
            }
            SessionCondition::Waiting => wait::Condition::Doing {
                doing: Doing::Waiting,
                after: request.after_seq,
            },
            SessionCondition::Idle => wait::Condition::Doing {
                doing: Doing::Idle,
                after: request.after_seq,
            },
            SessionCondition::Exited => wait::Condition::Exited,
            SessionCondition::Output => wait::Condition::Output {
                matching: request.r#match.as_deref().map(wait::expression).transpose()?,
                from: request.from_offset,
            },
            SessionCondition::Reacted => wait::Condition::Reacted {
                from: request.from_offset,
                after: request.after_seq,
            },
        };
        Ok((self.sessions.resolve(&request.session).await?, condition))
    }

    async fn stop(&self, mut request: StopSessionRequest) -> Result<StopSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "StopSession", id, &request, &[])?;
        let grace = request
            .grace
            .map(|grace| request::millis("grace", grace))
            .transpose()?;
        let session = self.sessions.resolve(&request.session).await?;
        let answer = self
            .sessions
            .stop(&session, grace.unwrap_or(STOP_GRACE_MS), once)
            .await?;
        Ok(StopSessionResponse {
            session: Some(self.sessions.message(&answer.session)),
            already_ended: answer.already,
        })
    }

    async fn restart(&self, mut request: RestartSessionRequest) -> Result<RestartSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "RestartSession", id, &request, &[])?;
        let session = self.sessions.resolve(&request.session).await?;
        let answer = self.sessions.restart(&session, request.force, once).await?;
        Ok(RestartSessionResponse {
            session: Some(self.sessions.message(&answer.session)),
        })
    }

    async fn recover(&self, mut request: RecoverSessionRequest) -> Result<RecoverSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "RecoverSession", id, &request, &[])?;
        let session = self.sessions.resolve(&request.session).await?;
        let command = match &session.restart_command {
            Some(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            None => session.command.clone(),
        };
        let session = if request.dry_run {
            admission::recover(&session).map_err(|denial| refusal::denied(&denial, Some(session.id)))?;
            session
        } else {
            self.sessions.recover(&session, once).await?.session
        };
        Ok(RecoverSessionResponse {
            session: Some(self.sessions.message(&session)),
            command,
        })
    }

    async fn delete(&self, mut request: DeleteSessionRequest) -> Result<DeleteSessionResponse, Error> {
        let id = request.request_id.take();
        let once = request::once(&self.app.secret, "DeleteSession", id, &request, &[])?;
        let deleted = match self.sessions.resolve(&request.session).await {
            Ok(session) => self.sessions.delete(&session, request.force, once.clone()).await,
            Err(error) => Err(error),
        };
        match deleted {
            Ok(answer) => Ok(DeleteSessionResponse {
                session: Some(self.sessions.message(&answer.session)),
            }),
            // It went before this came, or while this was on its way.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.deleted_before(request.session, once, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// The answer to a repeat whose first request has removed the session, or the error. What the session was is gone
    /// with it, but for its id.
    async fn deleted_before(
        &self,
        name: String,
        request: Option<outlast_store::Request>,
        error: Error,
    ) -> Result<DeleteSessionResponse, Error> {
        let Some(request) = request else { return Err(error) };
        let recorded = self
            .app
            .store
            .find_request(&request)
            .await
            .map_err(super::status::failure)?;
        let Some(recorded) = recorded else {
            return Err(error);
        };
        let session = outlast_client::v1::Session {
            id: recorded.subject,
            name,
            ..outlast_client::v1::Session::default()
        };
        Ok(DeleteSessionResponse {
            session: Some(session),
        })
    }
}

/// The answer of a call, unless the daemon ends first.
pub(super) async fn unless_ending<T>(
    app: &App,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Response<T>, Status> {
    tokio::select! {
        biased;
        done = work => done.map(Response::new).map_err(Error::into_status),
        status = app.shutdown.ended() => Err(status),
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        unless_ending(&self.app, self.create(request.into_inner())).await
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        let session = self.sessions.resolve(&request.into_inner().session).await;
        let session = session.map_err(Error::into_status)?;
        Ok(Response::new(GetSessionResponse {
            session: Some(self.sessions.message(&session)),
            away: host::all_away(&self.app, std::iter::once(session.host.as_str())).pop(),
        }))
    }

    async fn peek_session(
        &self,
        request: Request<PeekSessionRequest>,
    ) -> Result<Response<PeekSessionResponse>, Status> {
        unless_ending(&self.app, self.peek(request.into_inner())).await
    }

    async fn send_session(
        &self,
        request: Request<SendSessionRequest>,
    ) -> Result<Response<SendSessionResponse>, Status> {
        unless_ending(&self.app, self.send(request.into_inner())).await
    }

    async fn interrupt_session(
        &self,
        request: Request<InterruptSessionRequest>,
    ) -> Result<Response<InterruptSessionResponse>, Status> {
        unless_ending(&self.app, self.interrupt(request.into_inner())).await
    }

    type ReadSessionLogStream = ReceiverStream<Result<ReadSessionLogResponse, Status>>;

    async fn read_session_log(
        &self,
        request: Request<ReadSessionLogRequest>,
    ) -> Result<Response<Self::ReadSessionLogStream>, Status> {
        let request = request.into_inner();
        let start = match request.start {
            None => Start::Offset(0),
            Some(read_session_log_request::Start::Offset(offset)) => Start::Offset(offset),
            Some(read_session_log_request::Start::LastLines(lines)) => Start::LastLines(lines),
            Some(read_session_log_request::Start::Now(_)) => Start::Now,
        };
        let session = self
            .sessions
            .resolve(&request.session)
            .await
            .map_err(Error::into_status)?;
        let (answers, stream) = mpsc::channel(logs::QUEUE);
        let sink = Sink::new(answers, log::wrap, None);
        let work = log::stream(self.sessions.clone(), session, start, request.follow, sink);
        self.app.tasks.spawn(work);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_session_history(
        &self,
        request: Request<ListSessionHistoryRequest>,
    ) -> Result<Response<ListSessionHistoryResponse>, Status> {
        unless_ending(&self.app, self.history(request.into_inner())).await
    }

    type WaitSessionStream = ReceiverStream<Result<WaitSessionResponse, Status>>;

    async fn wait_session(
        &self,
        request: Request<WaitSessionRequest>,
    ) -> Result<Response<Self::WaitSessionStream>, Status> {
        let (session, condition) = self
            .wait(request.into_inner())
            .await
            .map_err(Error::into_status)?;
        // Three messages are all that is ever sent.
        let (answers, stream) = mpsc::channel(3);
        self.app
            .tasks
            .spawn(wait::wait(self.sessions.clone(), session, condition, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn stop_session(
        &self,
        request: Request<StopSessionRequest>,
    ) -> Result<Response<StopSessionResponse>, Status> {
        unless_ending(&self.app, self.stop(request.into_inner())).await
    }

    async fn restart_session(
        &self,
        request: Request<RestartSessionRequest>,
    ) -> Result<Response<RestartSessionResponse>, Status> {
        unless_ending(&self.app, self.restart(request.into_inner())).await
    }

    async fn recover_session(
        &self,
        request: Request<RecoverSessionRequest>,
    ) -> Result<Response<RecoverSessionResponse>, Status> {
        unless_ending(&self.app, self.recover(request.into_inner())).await
    }

    async fn delete_session(
        &self,
        request: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        unless_ending(&self.app, self.delete(request.into_inner())).await
    }

    type AttachSessionStream = ReceiverStream<Result<AttachSessionResponse, Status>>;

    async fn attach_session(
        &self,
        request: Request<Streaming<AttachSessionRequest>>,
    ) -> Result<Response<Self::AttachSessionStream>, Status> {
        let (answers, stream) = mpsc::channel(attach::QUEUE);
        let work = attach::serve(self.sessions.clone(), request.into_inner(), answers);
        self.app.tasks.spawn(work);
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// States of a filter. Unspecified among them means any.
fn states(numbers: &[i32]) -> Result<Vec<SessionState>, Error> {
    let mut states = Vec::new();
    for number in numbers {
        let known = outlast_client::v1::SessionState::try_from(*number).map_err(|unknown| {
            let message = format!("there is no session state with the number {}", unknown.0);
            Error::new(ErrorKind::Usage, message)
        })?;
        match convert::session_state_of(known) {
            Some(state) => states.push(state),
            None => return Ok(Vec::new()),
        }
    }
    Ok(states)
}

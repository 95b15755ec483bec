//! Streaming a session's log to one client: what its terminal was sent, raw.

use std::sync::Arc;

use outlast_client::v1::{
    Error, ErrorKind, LogChunk, ReadSessionLogResponse, SessionLogEnd, read_session_log_response::Event,
};
use outlast_model::session::{Session, SessionState};
use tokio::sync::watch;

use super::{Sessions, View};
use crate::logs::{self, Sink, Start, Stop};

/// Puts a piece of the log into its message.
#[must_use]
pub fn wrap(chunk: LogChunk) -> ReadSessionLogResponse {
    message(Event::Chunk(chunk))
}

fn message(event: Event) -> ReadSessionLogResponse {
    ReadSessionLogResponse { event: Some(event) }
}

/// Streams a session's log until the client has all it asked for, goes away, or the daemon ends.
pub async fn stream(
    sessions: Sessions,
    session: Session,
    start: Start,
    follow: bool,
    sink: Sink<ReadSessionLogResponse>,
) {
    let shutdown = sessions.app().shutdown.clone();
    let result = tokio::select! {
        () = sink.closed() => return,
        status = shutdown.ended() => {
            // The client may have gone in the same moment.
            let _ = sink.send(Err(status)).await;
            return;
        }
        result = read(&sessions, &session, start, follow, &sink) => result,
    };
    if let Err(Stop::Io(error)) = result {
        let error = Error::new(
            ErrorKind::Failed,
            format!("reading the log of session {}: {error}", session.name),
        );
        let _ = sink.send(Err(error.into_status())).await;
    }
}

async fn read(
    sessions: &Sessions,
    session: &Session,
    start: Start,
    follow: bool,
    sink: &Sink<ReadSessionLogResponse>,
) -> Result<(), Stop> {
    let host = sessions.inner.handles.host(&session.host).ok().filter(|_| follow);
    // Somebody waits for what happens there.
    let _following = host.as_ref().map(|host| host.follow());
    let mut view = match sessions.watch(session) {
        Ok(view) => view,
        Err(error) => return sink.send(Err(error.into_status())).await,
    };
    if follow && !started(&mut view).await {
        return gone(sessions, sink, session).await;
    }
    let dir = sessions.spool_dir(session)?;
    // Before the first look at the log, so that nothing is written unseen.
    let mut watch = if follow && dir.exists() {
        Some(sessions.watch_spool(session)?)
    } else {
        None
    };
    let now = (!follow).then(|| dir.log_len());
    let mut reader = logs::open(dir, start, None).await?;
    let mut hot = false;
    loop {
        // The state is read before the log: what the program wrote until it ended is in the log by then.
        let session = view.borrow_and_update().session.clone();
        let ended = session.state.is_ended();
        reader = logs::send_available(reader, now, hot, sink).await?;
        if ended || watch.is_none() {
            let end = SessionLogEnd {
                next_offset: reader.offset(),
                session: Some(sessions.message(&session)),
            };
            return sink.send(Ok(message(Event::End(end)))).await;
        }
        hot = true;
        let Some(watch) = &mut watch else { continue };
        tokio::select! {
            () = watch.changed() => {}
            changed = view.changed() => if changed.is_err() {
                return gone(sessions, sink, &session).await;
            }
        }
    }
}

/// Waits until the session was started or has come to an end. False: it was removed first.
pub(super) async fn started(view: &mut watch::Receiver<Arc<View>>) -> bool {
    view.wait_for(|view| view.session.state != SessionState::Creating)
        .await
        .is_ok()
}

async fn gone(
    sessions: &Sessions,
    sink: &Sink<ReadSessionLogResponse>,
    session: &Session,
) -> Result<(), Stop> {
    sink.send(Err(sessions
        .inner
        .handles
        .gone(session.name.as_str())
        .into_status()))
        .await
}

//! Connecting a client's terminal to a session: a relay between the public stream and the helper's.
//!
//! Everything is bounded on both ways: a client that does not read holds up its own tmux client and nobody else, and
//! input waits in the client while the helper does not take it.

use std::{sync::Arc, time::Duration};

use outlast_client::{
    helper_v1::{
        self, AttachStart, Size, attach_session_request::Event as Down, attach_session_response::Event as Up,
    },
    v1::{
        AttachEnd, AttachEndReason, AttachOpened, AttachSessionRequest, AttachSessionResponse, Error,
        ErrorKind, TerminalSize, attach_session_request::Event as In, attach_session_response::Event as Out,
    },
};
use outlast_helper::spool::State;
use outlast_model::{
    admission::{self, Verb},
    session::{Session, SessionState},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Sessions, View, driver::COPY_WITHIN, sizes::User};
use crate::{
    hosts::{Host, LOCAL, Link},
    notify::Listener,
    refusal,
    rpc::{host, relay, status::failure},
};

/// Messages that may wait on either way: enough to keep both ends busy, little enough that Ctrl-C is felt at once.
pub const QUEUE: usize = 8;

/// How long the end of a program may take to be known once its terminal has gone. Without it, it was the user who
/// left.
const END_PATIENCE: Duration = Duration::from_millis(250);

/// How long the helper may take to let go of the terminal of a program that has ended. It does not when the program
/// ended before it looked.
const LET_GO: Duration = Duration::from_millis(200);

/// How long a host that is not connected is waited for without a word: as long as most first connections take.
const ARRIVES_WITHIN: Duration = Duration::from_millis(500);

/// How long a known end may take to be on disk.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Where the answers go.
pub type Answers = mpsc::Sender<Result<AttachSessionResponse, Status>>;

/// The client's terminal.
struct Terminal<'a> {
    answers: &'a Answers,
    /// What it is told of other sessions.
    notices: Listener,
}

impl Terminal<'_> {
    async fn send(&self, event: Out) -> Result<(), Status> {
        let sent = self.answers.send(Ok(message(event))).await;
        sent.map_err(|_gone| Status::cancelled("the client went away"))
    }
}

/// Serves one attachment to its end.
pub async fn serve(sessions: Sessions, input: Streaming<AttachSessionRequest>, answers: Answers) {
    let shutdown = sessions.app().shutdown.clone();
    let work = async {
        let end = serve_one(&sessions, input, &answers).await?;
        Ok(message(Out::End(end)))
    };
    relay::to_the_end(&shutdown, &answers, work).await;
}

fn message(event: Out) -> AttachSessionResponse {
    AttachSessionResponse { event: Some(event) }
}

async fn serve_one(
    sessions: &Sessions,
    mut input: Streaming<AttachSessionRequest>,
    answers: &Answers,
) -> Result<AttachEnd, Status> {
    let open = |message: AttachSessionRequest| match message.event {
        Some(In::Open(open)) => Some(open),
        _ => None,
    };
    let open = relay::opening(&mut input, "an attachment begins with `open`", open).await?;
    let session = sessions
        .resolve_made(&open.session)
        .await
        .map_err(Error::into_status)?;
    admission::reach(&session, Verb::Attach)
        .map_err(|denial| refusal::denied(&denial, Some(session.id)).into_status())?;
    let mut start = AttachStart {
        id: session.id.to_string(),
        size: Some(size(open.size)?),
        term: if open.term.is_empty() {
            "xterm-256color".to_owned()
        } else {
            open.term
        },
        read_only: open.read_only,
        utf8: open.utf8,
    };
    let host = sessions
        .inner
        .handles
        .host(&session.host)
        .map_err(Error::into_status)?;
    let _following = host.follow();
    let mut terminal = Terminal {
        answers,
        notices: sessions.app().terminals.listen(session.id),
    };
    let mut back = false;
    if !there(&host).await.map_err(Error::into_status)? {
        let opened = AttachOpened {
            session: Some(sessions.message(&session)),
        };
        terminal.send(Out::Opened(opened)).await?;
        if !returned(&host, &mut start, &mut input, &mut terminal).await? {
            return end(sessions, &session, Over::Left).await;
        }
        back = true;
    }
    loop {
        match attached(
            sessions,
            &session,
            &host,
            &mut start,
            &mut input,
            &mut terminal,
            back,
        )
        .await?
        {
            Round::Over(why) => return end(sessions, &session, why).await,
            Round::Away => host.doubt().await,
        }
        if !returned(&host, &mut start, &mut input, &mut terminal).await? {
            return end(sessions, &session, Over::Left).await;
        }
        back = true;
    }
}

/// Whether the host is there, or comes within a moment. It is not refused to wait for it: whoever attaches again after a
/// restart of the daemon comes before the hosts do.
///
/// # Errors
/// When only a person can bring it back.
async fn there(host: &Host) -> Result<bool, Error> {
    if host.is_up() {
        return Ok(true);
    }
    let mut view = host.view();
    let known = view.wait_for(|view| view.link == Link::Up || view.link.is_stuck());
    // In time or not, the view says how it is.
    let _late = tokio::time::timeout(ARRIVES_WITHIN, known).await;
    let view = host.view().borrow().clone();
    if view.link.is_stuck() {
        return Err(host::not_connected(host.name(), &view));
    }
    Ok(host.is_up())
}

/// How one connection of the terminal ended.
enum Round {
    /// The attachment is over.
    Over(Over),
    /// The way to the host broke.
    Away,
}

/// Why an attachment is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The client wanted so.
    Left,
    /// The program has ended; the helper says so.
    Ended,
    /// The terminal was let go of. Whether the program ended or somebody left by tmux's own keys has to be found out.
    LetGo,
}

/// Attaches, and passes on what comes either way. `back`: after the way to the host broke.
async fn attached(
    sessions: &Sessions,
    session: &Session,
    host: &Host,
    start: &mut AttachStart,
    input: &mut Streaming<AttachSessionRequest>,
    terminal: &mut Terminal<'_>,
    back: bool,
) -> Result<Round, Status> {
    let (down, requests) = mpsc::channel(QUEUE);
    let to_helper = |event| helper_v1::AttachSessionRequest { event: Some(event) };
    down.try_send(to_helper(Down::Start(start.clone())))
        .map_err(|_full| Status::internal("a new queue is full"))?;
    let mut client = host.client();
    let opened = client.attach_session(ReceiverStream::new(requests)).await;
    let mut output = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) if host.is_cut_off(&status) => return Ok(Round::Away),
        // What ended while the host was away has an end to tell.
        Err(_refused) if back && settled(sessions, session).await.state.is_ended() => {
            return Ok(Round::Over(Over::Ended));
        }
        Err(status) => return Err(failure(status).into_status()),
    };
    let user = sessions.user(session, start);
    let mut left = false;
    let mut over = false;
    // The first answer says that it stands.
    let mut stands = back;
    let mut told = Over::LetGo;
    let ended = long_ended(sessions, session);
    tokio::pin!(ended);
    // Input has a task's worth of its own: output must flow while the helper takes no input.
    let feeding = feed(user, input, &down, start);
    tokio::pin!(feeding);
    loop {
        tokio::select! {
            fed = &mut feeding, if !left => {
                left = true;
                fed?;
                // Told to leave, or the client has hung up: either way the tmux client has to go.
                if down.send(to_helper(Down::Detach(true))).await.is_err() {
                    break;
                }
            }
            () = &mut ended, if !over => {
                over = true;
                if down.try_send(to_helper(Down::Detach(true))).is_err() {
                    break;
                }
            }
            report = output.message() => {
                let report = match report {
                    Err(status) if !left && host.is_cut_off(&status) => return Ok(Round::Away),
                    report => report.map_err(|status| failure(status).into_status())?,
                };
                let answer = match report.and_then(|report| report.event) {
                    // An end has a word; without one it is the way that ended.
                    None if !left && !host.is_local() => return Ok(Round::Away),
                    Some(Up::Opened(_)) => {
                        stands = true;
                        Out::Opened(AttachOpened {
                            session: Some(sessions.message(session)),
                        })
                    }
                    Some(Up::Output(bytes)) => Out::Output(bytes),
                    Some(Up::Ended(ended)) => {
                        if ended {
                            told = Over::Ended;
                        }
                        break;
                    }
                    None => break,
                };
                terminal.send(answer).await?;
            }
            notice = terminal.notices.next(), if stands => terminal.send(Out::Notice(notice)).await?,
        }
    }
    Ok(Round::Over(if left { Over::Left } else { told }))
}

/// Waits until the host is there again, and tells the client how the link is meanwhile. False: the client left first. What
/// is typed meanwhile is refused.
///
/// # Errors
/// When only a person can bring the host back, or it was removed.
async fn returned(
    host: &Host,
    start: &mut AttachStart,
    input: &mut Streaming<AttachSessionRequest>,
    terminal: &mut Terminal<'_>,
) -> Result<bool, Status> {
    let mut view = host.view();
    let mut told = None;
    loop {
        if host.is_removed() {
            return Err(host::removed(host.name()).into_status());
        }
        let now = view.borrow_and_update().clone();
        let word = (
            now.link,
            now.trouble.as_ref().map(|trouble| trouble.message.clone()),
        );
        if told.as_ref() != Some(&word) {
            terminal.send(Out::Link(host::link_change(&now))).await?;
            told = Some(word);
        }
        if now.link == Link::Up {
            return Ok(true);
        }
        if now.link.is_stuck() {
            return Err(host::not_connected(host.name(), &now).into_status());
        }
        tokio::select! {
            biased;
            () = host.removed() => {}
            Ok(()) = view.changed() => {}
            notice = terminal.notices.next() => terminal.send(Out::Notice(notice)).await?,
            message = input.message() => match message?.map(|message| message.event) {
                Some(Some(In::Resize(to))) => start.size = Some(size(Some(to))?),
                Some(Some(In::Input(_) | In::Open(_)) | None) => {}
                Some(Some(In::Detach(_))) | None => return Ok(false),
            },
        }
    }
}

/// Passes the client's input on and keeps the size for the next time. Returns when the client leaves, and only then.
async fn feed(
    mut user: Option<User>,
    input: &mut Streaming<AttachSessionRequest>,
    down: &mpsc::Sender<helper_v1::AttachSessionRequest>,
    start: &mut AttachStart,
) -> Result<(), Status> {
    while let Some(message) = input.message().await? {
        let event = match message.event {
            Some(In::Input(bytes)) => {
                if let Some(user) = &user {
                    user.used();
                }
                Down::Input(bytes)
            }
            Some(In::Resize(to)) => {
                let size = size(Some(to))?;
                start.size = Some(size);
                if let Some(user) = &mut user {
                    user.resized(size);
                }
                Down::Size(size)
            }
            Some(In::Detach(_)) => return Ok(()),
            Some(In::Open(_)) => {
                return Err(Error::new(ErrorKind::Usage, "the attachment is open already").into_status());
            }
            // A field of a later version.
            None => continue,
        };
        let event = helper_v1::AttachSessionRequest { event: Some(event) };
        if down.send(event).await.is_err() {
            // The helper's side has ended or broke off, and what comes from it says which: nobody left.
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

fn size(size: Option<TerminalSize>) -> Result<Size, Status> {
    let asked = size.map_or((80, 24), |size| (size.columns, size.rows));
    let (columns, rows) =
        admission::terminal_size(asked).map_err(|denial| refusal::denied(&denial, None).into_status())?;
    Ok(Size {
        columns: columns.into(),
        rows: rows.into(),
    })
}

/// Returns when the run that was attached to has been over for a while.
async fn long_ended(sessions: &Sessions, session: &Session) {
    if let Ok(mut view) = sessions.watch(session) {
        let over = |view: &Arc<View>| view.session.state.is_ended() || view.session.run != session.run;
        // A removed session has ended as well.
        let _ = view.wait_for(over).await;
    }
    tokio::time::sleep(LET_GO).await;
}

/// Why the attachment ended.
async fn end(sessions: &Sessions, session: &Session, why: Over) -> Result<AttachEnd, Status> {
    let now = match why {
        Over::Left => current(sessions, session),
        // The row says so once the rest of the log is here, which takes its time on a slow line.
        Over::Ended => ended_within(sessions, session, COPY_WITHIN).await,
        Over::LetGo => settled(sessions, session).await,
    };
    let reason = match now.state {
        _ if why == Over::Left => AttachEndReason::Detached,
        SessionState::Lost => AttachEndReason::Lost,
        state if state.is_ended() => AttachEndReason::Exited,
        _ => AttachEndReason::Detached,
    };
    Ok(AttachEnd {
        reason: reason.into(),
        session: Some(sessions.message(&now)),
    })
}

/// The session as it is once it is clear whether its program ended together with the terminal.
async fn settled(sessions: &Sessions, session: &Session) -> Session {
    // A user who leaves leaves the screen behind; without one the end is on its way, whatever the directory says yet.
    let patience = if runs(sessions, session)
        && sessions
            .peek(session, helper_v1::CaptureSessionRequest::default())
            .await
            .is_ok()
    {
        END_PATIENCE
    } else {
        END_DEADLINE
    };
    ended_within(sessions, session, patience).await
}

/// The session as it is once the end of its run is known, or after so long.
async fn ended_within(sessions: &Sessions, session: &Session, patience: Duration) -> Session {
    let Ok(mut view) = sessions.watch(session) else {
        return session.clone();
    };
    let over = view.wait_for(|view| view.session.state.is_ended() || view.session.run != session.run);
    match tokio::time::timeout(patience, over).await {
        Ok(Ok(view)) => view.session.clone(),
        // Removed meanwhile, which ended its program.
        Ok(Err(_removed)) => Session {
            state: SessionState::Stopped,
            ..session.clone()
        },
        // It runs on: the user left.
        Err(_late) => current(sessions, session),
    }
}

/// Whether the session's program runs: as its directory says, or, where that is on another machine, its driver.
fn runs(sessions: &Sessions, session: &Session) -> bool {
    if session.host != LOCAL {
        return !current(sessions, session).state.is_ended();
    }
    let state = sessions
        .spool_dir(session)
        .and_then(|dir| dir.state(Some(session.run)));
    matches!(state, Ok(State::Running(_) | State::Starting) | Err(_))
}

fn current(sessions: &Sessions, session: &Session) -> Session {
    sessions
        .watch(session)
        .map_or_else(|_gone| session.clone(), |view| view.borrow().session.clone())
}

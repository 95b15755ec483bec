//! Sessions through the real daemon and a real tmux: how they run, are reached, end, and outlive it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use std::{collections::HashMap, fs};

use outlast_client::v1::{
    AttachDetach, AttachEnd, AttachEndReason, AttachOpen, AttachSessionRequest, CreateSessionRequest,
    DeleteSessionRequest, ErrorKind, GetSessionRequest, Keys, ListSessionsRequest, PeekSessionRequest,
    ReadSessionLogRequest, RecoverSessionRequest, RestartSessionRequest, SendSessionRequest, Session,
    SessionCondition, SessionState, SessionWaitDone, StopSessionRequest, TerminalSize, WaitSessionRequest,
    attach_session_request::Event as Type, attach_session_response::Event as Show,
    read_session_log_response::Event as Log, send_session_request::Input,
    session_service_client::SessionServiceClient, wait_session_response::Event as Waited,
};
use outlast_testkit::{DEADLINE, Process, Sandbox, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use support::{error, ready, soon};
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

type Client = SessionServiceClient<Channel>;

async fn client(sandbox: &Sandbox) -> Client {
    SessionServiceClient::new(sandbox.connect().await.unwrap())
}

fn shell(name: &str, script: &str) -> CreateSessionRequest {
    CreateSessionRequest {
        name: name.to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..CreateSessionRequest::default()
    }
}

async fn create(client: &mut Client, request: CreateSessionRequest) -> Session {
    let created = soon("the acceptance", client.create_session(request)).await;
    created.unwrap().into_inner().session.unwrap()
}

async fn get(client: &mut Client, session: &str) -> Session {
    let request = GetSessionRequest {
        session: session.to_owned(),
    };
    let got = client.get_session(request).await.unwrap();
    got.into_inner().session.unwrap()
}

async fn until(
    client: &mut Client,
    session: &str,
    fits: impl Fn(&Session) -> bool + Send + 'static,
) -> Session {
    let (mut client, session, runtime) = (client.clone(), session.to_owned(), Handle::current());
    // On a thread of its own: this one has the calls to make.
    let look = spawn_blocking(move || {
        let mut last = None;
        let what = format!("the state of session {session}");
        wait_until(DEADLINE, &what, || {
            let now = runtime.block_on(get(&mut client, &session));
            if last.as_ref() != Some(&now) {
                println!("{now:?}");
                last = Some(now.clone());
            }
            fits(&now).then_some(now)
        })
    });
    look.await.unwrap()
}

async fn state(client: &mut Client, session: &str, state: SessionState) -> Session {
    until(client, session, move |session| session.state() == state).await
}

async fn send(client: &mut Client, session: &str, text: &str) -> u64 {
    let request = SendSessionRequest {
        session: session.to_owned(),
        input: Some(Input::Text(text.to_owned())),
        enter: true,
        ..SendSessionRequest::default()
    };
    client
        .send_session(request)
        .await
        .unwrap()
        .into_inner()
        .log_offset
}

async fn wait(client: &mut Client, request: WaitSessionRequest) -> SessionWaitDone {
    let mut stream = client.wait_session(request).await.unwrap().into_inner();
    let first = soon("the position", stream.message()).await.unwrap().unwrap();
    assert!(matches!(first.event, Some(Waited::ArmedOffset(_))), "{first:?}");
    let second = soon("what was waited for", stream.message())
        .await
        .unwrap()
        .unwrap();
    let Some(Waited::Done(done)) = second.event else {
        panic!("{second:?}");
    };
    done
}

fn output(session: &str, matching: &str, from_offset: u64) -> WaitSessionRequest {
    WaitSessionRequest {
        session: session.to_owned(),
        until: SessionCondition::Output.into(),
        r#match: Some(matching.to_owned()),
        from_offset: Some(from_offset),
        after_seq: None,
    }
}

async fn shows(client: &mut Client, session: &str, text: &str) {
    wait(client, output(session, text, 0)).await;
}

async fn log(client: &mut Client, session: &str, follow: bool) -> Vec<u8> {
    let request = ReadSessionLogRequest {
        session: session.to_owned(),
        follow,
        ..ReadSessionLogRequest::default()
    };
    let mut stream = client.read_session_log(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    let mut ended = false;
    while let Some(message) = soon("the log", stream.message()).await.unwrap() {
        match message.event.unwrap() {
            Log::Chunk(chunk) => {
                assert_eq!(chunk.offset, bytes.len() as u64);
                bytes.extend_from_slice(&chunk.data);
            }
            Log::End(end) => {
                assert_eq!(end.next_offset, bytes.len() as u64);
                ended = true;
            }
        }
    }
    assert!(ended, "the log ended without an end");
    bytes
}

async fn stop(client: &mut Client, session: &str) -> bool {
    let request = StopSessionRequest {
        session: session.to_owned(),
        ..StopSessionRequest::default()
    };
    client
        .stop_session(request)
        .await
        .unwrap()
        .into_inner()
        .already_ended
}

fn restart(session: &str, force: bool) -> RestartSessionRequest {
    RestartSessionRequest {
        session: session.to_owned(),
        force,
        ..RestartSessionRequest::default()
    }
}

fn delete(session: &str, force: bool) -> DeleteSessionRequest {
    DeleteSessionRequest {
        session: session.to_owned(),
        force,
        ..DeleteSessionRequest::default()
    }
}

fn kill(process: Process) {
    process.signal(Signal::KILL);
    drop(process.finish(DEADLINE));
}

/// Kills the tmux server of a sandbox.
fn kill_tmux(sandbox: &Sandbox) {
    let asked = sandbox.tmux(&["display-message", "-p", "#{pid}"]);
    let pid = String::from_utf8(asked.stdout).unwrap();
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// An attached terminal.
struct Terminal {
    input: mpsc::Sender<AttachSessionRequest>,
    stream: tonic::Streaming<outlast_client::v1::AttachSessionResponse>,
    seen: String,
}

impl Terminal {
    async fn open(client: &mut Client, session: &str) -> Self {
        let (input, requests) = mpsc::channel(8);
        let open = AttachOpen {
            session: session.to_owned(),
            size: Some(TerminalSize {
                columns: 100,
                rows: 30,
            }),
            utf8: true,
            ..AttachOpen::default()
        };
        let mut terminal = Self {
            input,
            stream: {
                let first = AttachSessionRequest {
                    event: Some(Type::Open(open)),
                };
                let requests = ReceiverStream::new(requests);
                let requests = tokio_stream::StreamExt::chain(tokio_stream::once(first), requests);
                client.attach_session(requests).await.unwrap().into_inner()
            },
            seen: String::new(),
        };
        let opened = soon("the attachment", terminal.stream.message())
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(opened.event, Some(Show::Opened(_))), "{opened:?}");
        terminal
    }

    async fn say(&self, event: Type) {
        let request = AttachSessionRequest { event: Some(event) };
        self.input.send(request).await.unwrap();
    }

    async fn until(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let message = soon(text, self.stream.message()).await.unwrap().unwrap();
            match message.event {
                Some(Show::Output(bytes)) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{text:?} did not come but {other:?} after {:?}", self.seen),
            }
        }
    }

    async fn end(mut self) -> AttachEnd {
        loop {
            let message = soon("the end", self.stream.message()).await.unwrap();
            match message.unwrap().event {
                Some(Show::End(end)) => {
                    assert!(self.stream.message().await.unwrap().is_none());
                    return end;
                }
                Some(Show::Output(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_session_runs_is_typed_to_and_ends_with_its_exit_code() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let request = CreateSessionRequest {
        env: HashMap::from([("WORD".to_owned(), "sesame".to_owned())]),
        size: Some(TerminalSize {
            columns: 90,
            rows: 20,
        }),
        ..shell(
            "web",
            "echo ready; while read x; do echo \"got $x $WORD\"; test \"$x\" = bye && exit 3; done",
        )
    };
    let created = create(&mut client, request).await;
    assert_eq!(created.state(), SessionState::Creating);
    let running = state(&mut client, "web", SessionState::Running).await;
    assert!(running.pid.is_some() && running.started_at.is_some());
    assert_eq!((running.runs, running.agent.as_str()), (1, "admin"));
    shows(&mut client, "web", "^ready$").await;

    let at = send(&mut client, "web", "hello").await;
    let done = wait(&mut client, output("web", "^got (\\w+) sesame$", at)).await;
    assert!(done.met);
    assert_eq!(done.line.as_deref(), Some("got hello sesame"));

    let peek = PeekSessionRequest {
        session: "web".to_owned(),
        ..PeekSessionRequest::default()
    };
    let screen = client.peek_session(peek.clone()).await.unwrap().into_inner();
    assert!(String::from_utf8_lossy(&screen.screen).contains("got hello sesame\n"));
    assert_eq!(
        screen.size,
        Some(TerminalSize {
            columns: 90,
            rows: 20
        })
    );

    let mut following = client.clone();
    let following = tokio::spawn(async move { log(&mut following, "web", true).await });
    let mut waiting = client.clone();
    let waiting = tokio::spawn(async move {
        let request = WaitSessionRequest {
            session: "web".to_owned(),
            until: SessionCondition::Exited.into(),
            ..WaitSessionRequest::default()
        };
        wait(&mut waiting, request).await
    });
    send(&mut client, "web", "bye").await;
    let exited = state(&mut client, "web", SessionState::Exited).await;
    assert_eq!((exited.exit_code, exited.pid), (Some(3), None));
    assert!(waiting.await.unwrap().met);
    let followed = following.await.unwrap();
    assert!(String::from_utf8_lossy(&followed).contains("got bye sesame"));
    assert_eq!(log(&mut client, "web", false).await, followed);
    let last = client.peek_session(peek).await.unwrap().into_inner();
    assert!(String::from_utf8_lossy(&last.screen).contains("got bye sesame\n"));

    let refused = SendSessionRequest {
        session: "web".to_owned(),
        input: Some(Input::Keys(Keys {
            keys: vec!["Enter".to_owned()],
        })),
        ..SendSessionRequest::default()
    };
    let refused = error(&client.send_session(refused).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    assert!(refused.hint().contains("restart"), "{refused:?}");
}

#[tokio::test]
async fn what_was_just_accepted_can_be_reached_at_once() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    for name in ["sent", "peeked", "attached"] {
        create(&mut client, shell(name, "read x; echo \"got <$x>\"; exec cat")).await;
        match name {
            "sent" => drop(send(&mut client, name, "one").await),
            "peeked" => {
                let request = PeekSessionRequest {
                    session: name.to_owned(),
                    ..PeekSessionRequest::default()
                };
                let peeked = client.peek_session(request).await.unwrap().into_inner();
                assert!(peeked.size.is_some(), "{peeked:?}");
                send(&mut client, name, "one").await;
            }
            _ => {
                let terminal = Terminal::open(&mut client, name).await;
                terminal.say(Type::Input(b"one\r".to_vec().into())).await;
                shows(&mut client, name, "^got <one>$").await;
            }
        }
        shows(&mut client, name, "^got <one>$").await;
    }
}

#[tokio::test]
async fn stop_restart_and_delete() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let request = CreateSessionRequest {
        restart_command: Some("echo again; exec sleep 600".to_owned()),
        ..shell("web", "echo first; exec sleep 600")
    };
    let created = create(&mut client, request).await;
    shows(&mut client, "web", "first").await;
    let refused = error(&client.restart_session(restart("web", false)).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    let refused = error(&client.delete_session(delete("web", false)).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);

    assert!(!stop(&mut client, "web").await);
    let stopped = state(&mut client, "web", SessionState::Stopped).await;
    assert_eq!((stopped.pid, stopped.reason), (None, None));
    assert!(stop(&mut client, "web").await);

    let again = client.restart_session(restart("web", false)).await.unwrap();
    let again = again.into_inner().session.unwrap();
    assert_eq!((again.state(), again.runs), (SessionState::Creating, 2));
    state(&mut client, "web", SessionState::Running).await;
    shows(&mut client, "web", "again").await;
    let before = get(&mut client, "web").await;

    client.restart_session(restart("web", true)).await.unwrap();
    let third = until(&mut client, "web", |session| {
        session.runs == 3 && session.state() == SessionState::Running
    })
    .await;
    assert_ne!(third.pid, before.pid);

    let gone = client
        .delete_session(delete("web", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(gone.session.unwrap().id, created.id);
    let list = client
        .list_sessions(ListSessionsRequest::default())
        .await
        .unwrap();
    assert_eq!(list.into_inner().sessions, []);
    let left = |path: std::path::PathBuf| fs::read_dir(path).unwrap().count();
    assert_eq!(left(sandbox.spool().unwrap().join("sessions")), 0);
    assert_eq!(left(sandbox.state_dir().join("specs")), 0);
    let missing = GetSessionRequest {
        session: created.id.clone(),
    };
    let missing = error(&client.get_session(missing).await.unwrap_err());
    assert_eq!(
        (missing.kind(), missing.hint()),
        (ErrorKind::NotFound, "outlast session list")
    );
}

#[tokio::test]
async fn a_killed_daemon_finds_its_sessions_again() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    create(
        &mut client,
        shell("web", "echo up; read x; echo \"got $x\"; exit 4"),
    )
    .await;
    create(
        &mut client,
        shell("stopped", "trap '' HUP TERM; echo up; while :; do sleep 1; done"),
    )
    .await;
    create(&mut client, shell("deleted", "echo up; exec sleep 600")).await;
    for name in ["web", "stopped", "deleted"] {
        state(&mut client, name, SessionState::Running).await;
        shows(&mut client, name, "up").await;
    }
    let pid = get(&mut client, "web").await.pid;
    let request = StopSessionRequest {
        session: "stopped".to_owned(),
        grace: Some(prost_types::Duration {
            seconds: 0,
            nanos: 300_000_000,
        }),
        ..StopSessionRequest::default()
    };
    client.stop_session(request).await.unwrap();
    let mut deleting = client.clone();
    let deleting = tokio::spawn(async move { deleting.delete_session(delete("deleted", true)).await });
    kill(daemon);
    drop(deleting.await);

    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    let web = state(&mut client, "web", SessionState::Running).await;
    assert_eq!((web.pid, web.runs), (pid, 1));
    state(&mut client, "stopped", SessionState::Stopped).await;
    send(&mut client, "web", "on").await;
    let exited = state(&mut client, "web", SessionState::Exited).await;
    assert_eq!(exited.exit_code, Some(4));
}

#[tokio::test]
async fn a_killed_tmux_server_loses_sessions_and_recover_brings_them_back() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    create(&mut client, shell("web", "echo up; exec sleep 600")).await;
    create(&mut client, shell("done", "exit 0")).await;
    shows(&mut client, "web", "up").await;
    state(&mut client, "done", SessionState::Exited).await;
    let recover = |session: &str, dry_run| RecoverSessionRequest {
        session: session.to_owned(),
        dry_run,
        ..RecoverSessionRequest::default()
    };
    let refused = error(&client.recover_session(recover("web", true)).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);

    kill_tmux(&sandbox);
    let lost = state(&mut client, "web", SessionState::Lost).await;
    assert_eq!(lost.reason(), "tmux server ended");
    assert_eq!(get(&mut client, "done").await.state(), SessionState::Exited);

    let would = client
        .recover_session(recover("web", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(would.command, ["sh", "-c", "echo up; exec sleep 600"]);
    assert_eq!(get(&mut client, "web").await.state(), SessionState::Lost);
    client.recover_session(recover("web", false)).await.unwrap();
    let back = state(&mut client, "web", SessionState::Running).await;
    assert_eq!((back.runs, back.reason), (2, None));
}

#[tokio::test]
async fn a_terminal_attaches_types_resizes_and_leaves() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let script = "while read x; do echo \"got <$x> $(stty size)\"; test \"$x\" = bye && exit 6; done";
    create(&mut client, shell("web", script)).await;
    state(&mut client, "web", SessionState::Running).await;

    let mut first = Terminal::open(&mut client, "web").await;
    until(&mut client, "web", |session| session.attached == 1).await;
    first.say(Type::Input(b"one\r".to_vec().into())).await;
    first.until("got <one>").await;
    let mut second = Terminal::open(&mut client, "web").await;
    until(&mut client, "web", |session| session.attached == 2).await;
    second.until("got <one>").await;
    second.say(Type::Detach(AttachDetach {})).await;
    let end = second.end().await;
    assert_eq!(end.reason(), AttachEndReason::Detached);
    until(&mut client, "web", |session| session.attached == 1).await;

    first.say(Type::Input(b"bye\r".to_vec().into())).await;
    let end = first.end().await;
    assert_eq!(end.reason(), AttachEndReason::Exited);
    let ended = end.session.unwrap();
    assert_eq!((ended.state(), ended.exit_code), (SessionState::Exited, Some(6)));
    let (input, requests) = mpsc::channel(1);
    let open = AttachOpen {
        session: "web".to_owned(),
        ..AttachOpen::default()
    };
    let first = AttachSessionRequest {
        event: Some(Type::Open(open)),
    };
    input.send(first).await.unwrap();
    let mut refused = client
        .attach_session(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let refused = error(&soon("the refusal", refused.message()).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    assert!(refused.hint().contains("restart"), "{refused:?}");
}

/// Waits until the screen of a session is so wide, and its log is said to be from there on.
async fn is_wide(sandbox: &Sandbox, client: &mut Client, session: &Session, columns: u32) {
    let file = sandbox
        .spool()
        .unwrap()
        .join("sessions")
        .join(&session.id)
        .join("widths");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let peek = PeekSessionRequest {
            session: session.id.clone(),
            ..PeekSessionRequest::default()
        };
        let screen = client.peek_session(peek).await.unwrap().into_inner();
        let records = fs::read(&file).unwrap_or_default();
        let noted = records.last_chunk().map(|last| u64::from_le_bytes(*last));
        let (screen, noted) = (screen.size.map(|size| size.columns), noted);
        if screen == Some(columns) && noted == Some(columns.into()) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{columns}: {screen:?} {noted:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn of_two_terminals_the_one_that_was_used_last_counts() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    create(&mut client, shell("web", "echo up; exec cat")).await;
    let session = state(&mut client, "web", SessionState::Running).await;
    let one = Terminal::open(&mut client, "web").await;
    is_wide(&sandbox, &mut client, &session, 100).await;
    let other = Terminal::open(&mut client, "web").await;
    let size = TerminalSize {
        columns: 70,
        rows: 30,
    };
    other.say(Type::Resize(size)).await;
    is_wide(&sandbox, &mut client, &session, 70).await;
    one.say(Type::Input(b"x".to_vec().into())).await;
    is_wide(&sandbox, &mut client, &session, 100).await;
    other.say(Type::Input(b"y".to_vec().into())).await;
    is_wide(&sandbox, &mut client, &session, 70).await;
    other.say(Type::Detach(AttachDetach {})).await;
    other.end().await;
    is_wide(&sandbox, &mut client, &session, 100).await;
}

#[tokio::test]
async fn an_attached_terminal_hears_of_a_lost_server_and_of_the_daemons_end() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    create(&mut client, shell("web", "echo up; exec sleep 600")).await;
    create(&mut client, shell("other", "echo up; exec sleep 600")).await;
    for name in ["web", "other"] {
        state(&mut client, name, SessionState::Running).await;
    }
    let terminal = Terminal::open(&mut client, "web").await;
    kill_tmux(&sandbox);
    let end = terminal.end().await;
    assert_eq!(end.reason(), AttachEndReason::Lost);
    assert_eq!(end.session.unwrap().state(), SessionState::Lost);

    state(&mut client, "other", SessionState::Lost).await;
    client.restart_session(restart("other", false)).await.unwrap();
    state(&mut client, "other", SessionState::Running).await;
    let mut terminal = Terminal::open(&mut client, "other").await;
    daemon.signal(Signal::TERM);
    let ended = loop {
        match soon("the end of the daemon", terminal.stream.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the attachment ended in silence"),
            Err(status) => break status,
        }
    };
    assert_eq!(error(&ended).kind(), ErrorKind::Stopping);
    assert_eq!(daemon.finish(support::END).exit(), 0);
}

#[tokio::test]
async fn repeats_happen_once_and_names_are_unique() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let request = CreateSessionRequest {
        request_id: Some("one".to_owned()),
        ..shell("web", "cat >> typed")
    };
    let first = create(&mut client, request.clone()).await;
    assert_eq!(create(&mut client, request).await.id, first.id);
    let taken = error(&client.create_session(shell("web", "true")).await.unwrap_err());
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    for bad in ["", "-x", "a b", "#(id)", "..", "é"] {
        let refused = error(&client.create_session(shell(bad, "true")).await.unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::Usage, "{bad:?}");
    }
    state(&mut client, "web", SessionState::Running).await;
    let send = SendSessionRequest {
        request_id: Some("two".to_owned()),
        session: "web".to_owned(),
        input: Some(Input::Text("once".to_owned())),
        enter: true,
        raw: false,
    };
    let at = client
        .send_session(send.clone())
        .await
        .unwrap()
        .into_inner()
        .log_offset;
    let again = client
        .send_session(send.clone())
        .await
        .unwrap()
        .into_inner()
        .log_offset;
    assert_eq!(at, again);
    let other = SendSessionRequest {
        input: Some(Input::Text("other".to_owned())),
        ..send
    };
    assert_eq!(
        error(&client.send_session(other).await.unwrap_err()).kind(),
        ErrorKind::Conflict
    );
    let end = SendSessionRequest {
        session: "web".to_owned(),
        input: Some(Input::Keys(Keys {
            keys: vec!["C-d".to_owned()],
        })),
        ..SendSessionRequest::default()
    };
    client.send_session(end).await.unwrap();
    state(&mut client, "web", SessionState::Exited).await;
    assert_eq!(
        fs::read_to_string(sandbox.home().join("typed")).unwrap(),
        "once\n"
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_exited_with_127() {
    let sandbox = Sandbox::new();
    let _daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let request = CreateSessionRequest {
        name: "none".to_owned(),
        command: vec!["no-such-program".to_owned()],
        ..CreateSessionRequest::default()
    };
    create(&mut client, request).await;
    let exited = state(&mut client, "none", SessionState::Exited).await;
    assert_eq!(exited.exit_code, Some(127));
    assert!(exited.reason.is_some());
    client.restart_session(restart("none", false)).await.unwrap();
    let again = until(&mut client, "none", |session| {
        session.runs == 2 && session.state() == SessionState::Exited
    })
    .await;
    assert_eq!(again.exit_code, Some(127));
}

#[tokio::test]
async fn sessions_of_a_lost_database_are_taken_up_again() {
    let sandbox = Sandbox::new();
    let daemon = ready(&sandbox);
    let mut client = client(&sandbox).await;
    let web = create(&mut client, shell("web", "echo up; read x; exit 4")).await;
    create(&mut client, shell("done", "exit 5")).await;
    shows(&mut client, "web", "up").await;
    state(&mut client, "done", SessionState::Exited).await;
    kill(daemon);
    for entry in fs::read_dir(sandbox.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("state.db") {
            fs::remove_file(&path).unwrap();
        } else if name == "backups" {
            fs::remove_dir_all(&path).unwrap();
        }
    }
    let _daemon = ready(&sandbox);
    let mut client = self::client(&sandbox).await;
    let again = get(&mut client, "web").await;
    assert_eq!(
        (again.id.as_str(), again.state()),
        (web.id.as_str(), SessionState::Running)
    );
    assert_eq!(get(&mut client, "done").await.exit_code, Some(5));
    send(&mut client, "web", "on").await;
    assert_eq!(
        state(&mut client, "web", SessionState::Exited).await.exit_code,
        Some(4)
    );
    client.restart_session(restart("web", false)).await.unwrap();
    state(&mut client, "web", SessionState::Running).await;
}

//! The live dashboard against a daemon that says what a test wants.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fake::{Fake, Script, outlast, screen::Screen, session};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{
    self, Activity, Error, ErrorKind, SessionState, wait_session_response::Event as Waited,
};
use outlast_testkit::{DEADLINE, Pty, wait_until};
use rustix::{process::Signal, termios::LocalModes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

const WEB: &str = "11111111-5d30-480b-9343-05dfe31fdd1a";
const DB: &str = "22222222-5d30-480b-9343-05dfe31fdd1a";

type Events = mpsc::Sender<Result<v1::ReadEventsResponse, Status>>;

/// A daemon whose events a test makes, and what was asked of it.
struct Told {
    fake: Fake,
    /// Sessions are written to without a pause.
    loud: Arc<AtomicBool>,
    /// The stream that is followed now.
    events: Arc<Mutex<Option<Events>>>,
    overviews: Arc<AtomicUsize>,
    peeks: Arc<Mutex<Vec<String>>>,
}

impl Told {
    fn new() -> Self {
        let events = Arc::new(Mutex::new(None));
        let loud = Arc::new(AtomicBool::new(false));
        let is_loud = Arc::clone(&loud);
        let overviews = Arc::new(AtomicUsize::new(0));
        let peeks = Arc::new(Mutex::new(Vec::new()));
        let (follow, count, peeked) = (Arc::clone(&events), Arc::clone(&overviews), Arc::clone(&peeks));
        let working = |id, name| v1::Session {
            activity: Activity::Working.into(),
            activity_source: Some("output".to_owned()),
            ..session(id, name, SessionState::Running)
        };
        let asks = v1::Session {
            activity: Activity::Waiting.into(),
            activity_source: Some("report".to_owned()),
            activity_message: Some("Drop the table?".to_owned()),
            ..working(DB, "db")
        };
        let fake = Fake::start(Script {
            overview: Some(Box::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(v1::GetOverviewResponse {
                    sessions: vec![working(WEB, "web"), working(DB, "db")],
                    ..v1::GetOverviewResponse::default()
                })
            })),
            // As it is when it is asked for once more.
            sessions: [(DB.to_owned(), asks)].into(),
            events: Some(Box::new(move |request: v1::ReadEventsRequest| {
                if !request.follow {
                    return stream::empty().boxed();
                }
                let (send, receive) = mpsc::channel(16);
                let stands = v1::ReadEventsResponse {
                    event: None,
                    position: 7,
                    epoch: "e".to_owned(),
                };
                send.try_send(Ok(stands)).unwrap();
                *follow.lock().unwrap() = Some(send);
                ReceiverStream::new(receive).boxed()
            })),
            peek_session: Some(Box::new(move |request| {
                peeked.lock().unwrap().push(request.session);
                Ok(v1::PeekSessionResponse {
                    screen: b"\x1b[31mred\x1b[0m\x1b]0;evil\x07 screen\n\n".to_vec().into(),
                    ..v1::PeekSessionResponse::default()
                })
            })),
            wait_session: Some(Box::new(move |_| {
                let done = Waited::Done(v1::SessionWaitDone {
                    met: true,
                    ..v1::SessionWaitDone::default()
                });
                let said = [Waited::ArmedOffset(0), done]
                    .map(|event| Ok(v1::WaitSessionResponse { event: Some(event) }));
                let said = stream::iter(said);
                if is_loud.load(Ordering::Relaxed) {
                    said.boxed()
                } else {
                    said.take(1).chain(stream::pending()).boxed()
                }
            })),
            ..Script::default()
        });
        Self {
            fake,
            loud,
            events,
            overviews,
            peeks,
        }
    }

    fn top(&self, args: &[&str], env: &[(&str, &str)]) -> Pty {
        let mut command = outlast(self.fake.home(), &[&["--no-start", "top"], args].concat());
        command
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .envs(env.iter().copied());
        Pty::start(&command)
    }

    fn say(&self, what: Result<v1::ReadEventsResponse, Status>) {
        self.events
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .try_send(what)
            .unwrap();
    }

    fn event(&self, kind: &str, subject: &str) {
        let event = v1::Event {
            seq: 8,
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            data_json: r#"{"name":"db","activity":"waiting"}"#.to_owned(),
            ..v1::Event::default()
        };
        self.say(Ok(v1::ReadEventsResponse {
            event: Some(event),
            position: 8,
            epoch: "e".to_owned(),
        }));
    }
}

/// Waits until the screen shows a text.
fn shows(pty: &Pty, text: &str) {
    pty.wait_for(text, |bytes| Screen::of(bytes).contains(text));
}

/// Waits until the terminal is as a shell wants it: the first screen, a cursor, no marks around pastes, cooked.
fn is_given_back(pty: &Pty) {
    for end in ["\u{1b}[?1049l", "\u{1b}[?25h", "\u{1b}[?2004l"] {
        pty.wait_text(end);
    }
    assert!(pty.modes().local_modes.contains(LocalModes::ICANON));
}

#[test]
fn an_event_asks_for_what_it_concerns_and_what_waits_comes_to_the_top() {
    let told = Told::new();
    let mut pty = told.top(&[], &[]);
    shows(&pty, "nothing waits for you");
    shows(&pty, "red screen");
    told.event("session.activity", DB);
    shows(&pty, "Drop the table?");
    shows(&pty, "(report)");
    shows(&pty, "1 waits for you");
    // It is the first now, and nothing else was selected: it is what is looked at.
    wait_until(DEADLINE, "a look at db", || {
        (told.peeks.lock().unwrap().last().map(String::as_str) == Some(DB)).then_some(())
    });
    assert_eq!(
        told.overviews.load(Ordering::Relaxed),
        1,
        "everything was asked for once"
    );
    assert!(
        pty.text().contains("\u{1b}[38;5;1;49mred"),
        "{}",
        pty.text().escape_debug()
    );
    assert!(!pty.text().contains("evil"));
    pty.write(b"q");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    is_given_back(&pty);
}

#[test]
fn a_broken_stream_is_said_and_mended_and_everything_is_asked_once_more() {
    let told = Told::new();
    let mut pty = told.top(&[], &[]);
    shows(&pty, "nothing waits for you");
    let restarting = Error::new(ErrorKind::Restarting, "outlastd is being replaced").into_status();
    told.say(Err(restarting));
    wait_until(DEADLINE, "a second overview", || {
        (told.overviews.load(Ordering::Relaxed) == 2).then_some(())
    });
    told.event("session.activity", DB);
    shows(&pty, "Drop the table?");
    // Ctrl-C leaves too, and says so by its exit code.
    pty.write(b"\x03");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    is_given_back(&pty);
}

#[test]
fn an_announced_stop_ends_it_with_7_and_the_way_back() {
    let told = Told::new();
    let mut pty = told.top(&[], &[]);
    shows(&pty, "nothing waits for you");
    told.say(Err(
        Error::new(ErrorKind::Stopping, "outlastd is stopping").into_status()
    ));
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(7));
    is_given_back(&pty);
    pty.wait_text("error: outlastd is stopping");
    pty.wait_text("hint: outlast top");
}

#[test]
fn what_fails_is_said_with_what_helps() {
    let told = Told::new();
    let mut pty = told.top(&[], &[]);
    shows(&pty, "nothing waits for you");
    pty.write(b"syes\r");
    shows(&pty, "error: this outlastd does not know the call");
    shows(&pty, "hint: outlast daemon restart");
    assert!(pty.is_running());
}

#[test]
fn a_loud_session_is_looked_at_no_more_often_than_eyes_follow() {
    let told = Told::new();
    told.loud.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let pty = told.top(&[], &[]);
    wait_until(DEADLINE, "six looks", || {
        (told.peeks.lock().unwrap().len() >= 6).then_some(())
    });
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    shows(&pty, "red screen");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let told = Told::new();
    let mut pty = told.top(&[], &[("NO_COLOR", "1")]);
    shows(&pty, "nothing waits for you");
    shows(&pty, "red screen");
    told.event("session.activity", DB);
    shows(&pty, "Drop the table?");
    pty.write(b"q");
    pty.wait_exit(DEADLINE);
    let text = pty.text();
    assert!(
        !text.contains("[38;5;") && !text.contains("[48;5;"),
        "{}",
        text.escape_debug()
    );
}

#[test]
fn signals_give_the_terminal_back_also_when_it_takes_nothing() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let told = Told::new();
        let mut pty = told.top(&[], &[]);
        shows(&pty, "nothing waits for you");
        pty.signal(signal);
        assert_eq!(pty.wait_exit(DEADLINE).code(), Some(code));
        is_given_back(&pty);
    }
    let told = Told::new();
    let mut pty = told.top(&[], &[]);
    shows(&pty, "nothing waits for you");
    let raw = pty.modes();
    pty.stop();
    told.event("session.activity", DB);
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
    assert_ne!(pty.modes().local_modes, raw.local_modes);
}

#[test]
fn without_a_terminal_or_with_json_it_is_refused_naming_what_to_use() {
    let told = Told::new();
    let ran = told.fake.outlast(&["top"]);
    assert_eq!((ran.code, ran.text().as_str()), (2, ""));
    assert_eq!(
        ran.err,
        "error: top needs a terminal on stdin and stdout that can move its cursor\nhint: outlast\n"
    );
    let ran = told.fake.outlast(&["top", "--json"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("\"hint\":\"outlast events --follow --json\""),
        "{ran:?}"
    );
    let mut pty = told.top(&[], &[("TERM", "dumb")]);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(2));
    assert!(!pty.text().contains('\u{1b}'), "{}", pty.text().escape_debug());
}

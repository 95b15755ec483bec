//! An attached terminal while its host, or the daemon, comes and goes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod fake;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use fake::{Fake, Script, outlast, session, talk};
use futures::{StreamExt as _, stream};
use outlast_client::v1::{
    self, AttachEndReason, AttachSessionRequest, AttachSessionResponse, Error, ErrorKind, Link, SessionState,
    attach_session_request::Event as Said, attach_session_response::Event as Tell,
};
use outlast_testkit::{DEADLINE, Pty, wait_until};
use rustix::process::Signal;
use tokio::sync::{Notify, mpsc};
use tonic::{Status, Streaming};

const ID: &str = "11111111-5d30-480b-9343-05dfe31fdd1a";
const AWAY: &str = "outlast: host build1 is away (timed out); trying to come back, ~. leaves";

type Answers = mpsc::Sender<Result<AttachSessionResponse, Status>>;

async fn tell(answers: &Answers, event: Tell) {
    let _ = answers
        .send(Ok(AttachSessionResponse { event: Some(event) }))
        .await;
}

fn web(link: Link) -> v1::Session {
    v1::Session {
        host: "build1".to_owned(),
        link: link.into(),
        ..session(ID, "web", SessionState::Running)
    }
}

fn end(reason: AttachEndReason, session: v1::Session) -> Tell {
    Tell::End(v1::AttachEnd {
        reason: reason.into(),
        session: Some(session),
    })
}

fn link(link: Link) -> Tell {
    Tell::Link(v1::LinkChange {
        link: link.into(),
        error: (link != Link::Up).then(|| "timed out".to_owned()),
    })
}

/// A session as the daemon shows it. What is typed is noted and shown; some bytes do something:
/// `D` the host goes away, `U` (by the test) it is back, `K` the connection breaks, `X` the program ends, `N` something
/// elsewhere wants somebody while the program is in the midst of a sequence.
#[derive(Clone, Default)]
struct Far {
    /// Input and sizes, as text.
    said: Arc<Mutex<String>>,
    /// How often it was attached to.
    attached: Arc<Mutex<u32>>,
    /// The host is back.
    up: Arc<Notify>,
    /// No attachment is answered until then.
    back: Arc<Mutex<Option<Arc<Notify>>>>,
    /// What an attachment is opened with.
    opened: Arc<Mutex<Option<Link>>>,
}

impl Far {
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn wait_said(&self, wanted: &str) {
        wait_until(DEADLINE, wanted, || self.said().contains(wanted).then_some(()));
    }

    fn attached(&self) -> u32 {
        *self.attached.lock().unwrap()
    }

    async fn serve(self, mut requests: Streaming<AttachSessionRequest>, answers: Answers) {
        let Ok(Some(AttachSessionRequest {
            event: Some(Said::Open(open)),
        })) = requests.message().await
        else {
            return;
        };
        assert_eq!(open.session, ID);
        let number = {
            let mut attached = self.attached.lock().unwrap();
            *attached += 1;
            *attached
        };
        let back = self.back.lock().unwrap().clone();
        if let Some(back) = back.filter(|_| number > 1) {
            back.notified().await;
        }
        let now = self.opened.lock().unwrap().unwrap_or(Link::Up);
        tell(
            &answers,
            Tell::Opened(v1::AttachOpened {
                session: Some(web(now)),
            }),
        )
        .await;
        if now != Link::Up {
            tell(&answers, link(now)).await;
        }
        tell(&answers, Tell::Output(format!("screen {number}\r\n").into())).await;
        loop {
            let message = tokio::select! {
                message = requests.message() => message,
                () = self.up.notified() => {
                    tell(&answers, link(Link::Up)).await;
                    tell(&answers, Tell::Output("drawn anew\r\n".into())).await;
                    continue;
                }
            };
            let Ok(Some(AttachSessionRequest { event: Some(event) })) = message else {
                return;
            };
            let typed = match event {
                Said::Input(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Said::Resize(size) => format!("[{}x{}]", size.columns, size.rows),
                Said::Detach(_) => {
                    self.said.lock().unwrap().push_str("[detach]");
                    tell(&answers, end(AttachEndReason::Detached, web(Link::Up))).await;
                    return;
                }
                Said::Open(_) => panic!("opened twice"),
            };
            self.said.lock().unwrap().push_str(&typed);
            match typed.as_str() {
                "D" => tell(&answers, link(Link::Backoff)).await,
                "K" => return,
                "N" => {
                    let notice = v1::AttachNotice {
                        sentence: String::new(),
                        title: "agent waits; quickly".to_owned(),
                        body: "Go on?\u{1b}]0;owned\u{7}".to_owned(),
                    };
                    tell(&answers, Tell::Output("red\x1b[3".into())).await;
                    tell(&answers, Tell::Notice(notice)).await;
                    tell(&answers, Tell::Output("1m".into())).await;
                    tell(&answers, Tell::Output("rose".into())).await;
                }
                "S" => {
                    let stop = Error::new(ErrorKind::Stopping, "outlastd is stopping").into_status();
                    let _ = answers.send(Err(stop)).await;
                    return;
                }
                "X" => {
                    let over = v1::Session {
                        state: SessionState::Exited.into(),
                        exit_code: Some(9),
                        ..web(Link::Up)
                    };
                    tell(&answers, end(AttachEndReason::Exited, over)).await;
                    return;
                }
                _ => {
                    let shown = format!("<{}>", typed.escape_debug());
                    tell(&answers, Tell::Output(shown.into())).await;
                }
            }
        }
    }
}

fn attached() -> (Fake, Far, Pty) {
    attached_to(Far::default())
}

fn attached_to(far: Far) -> (Fake, Far, Pty) {
    attached_by(far, &[("TERM", "xterm")])
}

fn attached_by(far: Far, env: &[(&str, &str)]) -> (Fake, Far, Pty) {
    let served = far.clone();
    let fake = Fake::start(Script {
        sessions: [("web", web(Link::Up)), (ID, web(Link::Up))]
            .map(|(name, session)| (name.to_owned(), session))
            .into(),
        attach: talk(move |requests, answers| served.clone().serve(requests, answers)),
        ..Script::default()
    });
    let mut command = outlast(fake.home(), &["--no-start", "session", "attach", "web"]);
    command.envs(env.iter().copied());
    let pty = Pty::start(&command);
    pty.wait_text("screen 1");
    (fake, far, pty)
}

fn bells(pty: &Pty) -> usize {
    pty.seen().iter().filter(|byte| **byte == 7).count()
}

#[test]
fn while_the_host_is_away_a_line_says_so_and_input_is_refused_not_kept() {
    let (_fake, far, mut pty) = attached();
    pty.write(b"a");
    pty.wait_text("<a>");
    pty.write(b"D");
    pty.wait_text(AWAY);
    // On the last row, in reverse, with the cursor put back.
    let shown = pty.text();
    let line = format!("\u{1b}7\u{1b}(B\u{f}\u{1b}[m\u{1b}[24;1H\u{1b}[2K\u{1b}[7m {AWAY} \u{1b}[m\u{1b}8");
    assert!(shown.contains(&line), "{}", shown.escape_debug());
    let began = Instant::now();
    pty.write(b"lost words\r");
    pty.wait_for("the bell", |bytes| bytes.contains(&7));
    pty.write(b"\x03");
    // The line goes where the last row is.
    pty.resize(100, 30);
    pty.wait_text("\u{1b}[30;1H\u{1b}[2K\u{1b}[7m outlast: host build1 is away");
    far.up.notify_one();
    pty.wait_text("drawn anew");
    assert!(
        pty.text()
            .contains("\u{1b}[30;1H\u{1b}[2K\u{1b}[m\u{1b}8drawn anew"),
        "{}",
        pty.text().escape_debug()
    );
    far.wait_said("[100x30]");
    pty.write(b"b");
    pty.wait_text("<b>");
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(bells(&pty) <= most, "the bell rings at most once a second");
    assert!(
        far.said().starts_with("aD[100x30]") && far.said().ends_with('b'),
        "{}",
        far.said()
    );
    assert!(
        !far.said().contains("lost") && !far.said().contains('\u{3}'),
        "{}",
        far.said()
    );
    assert_eq!(far.attached(), 1);
    pty.write(b"X");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(9));
    pty.wait_text("session web exited with exit code 9");
}

#[test]
fn while_the_host_is_away_the_escape_leaves_whatever_was_typed_before() {
    let (_fake, far, mut pty) = attached();
    let raw = pty.modes();
    pty.write(b"D");
    pty.wait_text(AWAY);
    // The D was no end of a line.
    pty.write(b"~.");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    pty.wait_text("left session web; its host build1 is away, come back with: outlast attach web");
    assert_ne!(pty.modes().local_modes, raw.local_modes);
    assert!(!far.said().contains('~'), "{}", far.said());
}

#[test]
fn a_session_whose_host_is_away_from_the_start_says_so_and_comes_back() {
    let far = Far::default();
    *far.opened.lock().unwrap() = Some(Link::Down);
    let (_fake, far, mut pty) = attached_to(far);
    pty.wait_text(AWAY);
    pty.write(b"q");
    pty.wait_for("the bell", |bytes| bytes.contains(&7));
    far.up.notify_one();
    pty.wait_text("drawn anew");
    pty.write(b"y");
    pty.wait_text("<y>");
    assert!(!far.said().contains('q'), "{}", far.said());
}

#[test]
fn escapes_at_the_beginning_of_a_line_leave_help_and_type_a_tilde() {
    let (_fake, far, mut pty) = attached();
    pty.write(b"~~\r");
    pty.wait_text("<~\\r>");
    pty.write(b"cd ~.\r");
    pty.wait_text("<cd ~.\\r>");
    pty.write(b"~?");
    pty.wait_text("after Enter, ~. leaves, ~~ types ~, ~? shows this; Ctrl-B d leaves");
    // The next key takes the help away: the screen is drawn anew, and the key is typed.
    pty.write(b"k");
    pty.wait_text("screen 2");
    pty.wait_text("<k>");
    pty.write(b"\r");
    far.wait_said("k\r");
    pty.write(b"~.");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    pty.wait_text("detached from session web; it goes on, come back with: outlast attach web");
    assert!(far.said().ends_with("k\r[detach]"), "{}", far.said());
}

#[test]
fn what_wants_somebody_elsewhere_is_told_in_the_way_of_the_terminal_and_cuts_nothing() {
    for (env, told) in [
        (
            &[("TERM", "xterm")][..],
            "\u{1b}]9;outlast: agent waits; quickly: Go on? ]0;owned\u{7}",
        ),
        (
            &[("TERM", "foot")],
            "\u{1b}]777;notify;agent waits, quickly;Go on? ]0;owned\u{7}",
        ),
        (
            &[("TERM", "tmux-256color"), ("TMUX", "/tmp/x,1,0")],
            "\u{1b}Ptmux;\u{1b}\u{1b}]9;outlast: agent waits; quickly: Go on? ]0;owned\u{7}\u{1b}\\",
        ),
        (&[("TERM", "linux")], ""),
    ] {
        let (_fake, far, mut pty) = attached_by(Far::default(), env);
        pty.write(b"N");
        pty.wait_text(&format!("red\u{1b}[31m{told}rose"));
        pty.write(b"a");
        pty.wait_text("<a>");
        assert_eq!(far.said(), "Na");
    }
}

#[test]
fn what_is_typed_into_a_restart_is_typed_when_the_daemon_is_back() {
    let back = Arc::new(Notify::new());
    let far = Far::default();
    *far.back.lock().unwrap() = Some(Arc::clone(&back));
    let (_fake, far, mut pty) = attached_to(far);
    pty.write(b"K");
    wait_until(DEADLINE, "the second attachment", || {
        (far.attached() == 2).then_some(())
    });
    pty.write(b"ls\x03\r");
    back.notify_one();
    pty.wait_text("screen 2");
    pty.write(b"z");
    pty.wait_text("<z>");
    // Where the machine was slower than the second it is kept for, it was refused, and the screen said why.
    if !pty.text().contains("the connection to outlastd broke") {
        assert_eq!(far.said(), "Kls\u{3}\rz");
    }
}

#[test]
fn once_the_screen_says_that_the_daemon_is_away_input_is_refused() {
    let back = Arc::new(Notify::new());
    let far = Far::default();
    *far.back.lock().unwrap() = Some(Arc::clone(&back));
    let (_fake, far, mut pty) = attached_to(far);
    pty.write(b"K");
    pty.wait_text("outlast: the connection to outlastd broke; trying to come back, ~. leaves");
    pty.write(b"rm\r");
    pty.wait_for("the bell", |bytes| bytes.contains(&7));
    back.notify_one();
    pty.wait_text("screen 2");
    pty.write(b"z");
    pty.wait_text("<z>");
    assert_eq!(far.said(), "Kz");
    assert!(!pty.text().contains("error"), "{}", pty.text());
}

#[test]
fn without_the_daemon_ctrl_c_and_the_escape_leave() {
    for keys in [&b"\x03"[..], b"~."] {
        let far = Far::default();
        *far.back.lock().unwrap() = Some(Arc::new(Notify::new()));
        let (_fake, _far, mut pty) = attached_to(far);
        pty.write(b"K");
        pty.wait_text("the connection to outlastd broke");
        pty.write(keys);
        assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
        pty.wait_text(
            "left session web without a connection; it goes on, come back with: outlast attach web",
        );
    }
}

#[test]
fn an_announced_stop_ends_it_with_7_and_the_way_back() {
    let (_fake, _far, mut pty) = attached();
    pty.write(b"S");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(7));
    pty.wait_text("error: outlastd is stopping");
    pty.wait_text("hint: outlast attach web");
}

/// A daemon whose new session is being created while its host is `now`, and runs once it is looked at.
fn created(now: Link) -> (Fake, Pty) {
    let far = Far::default();
    let fake = Fake::start(Script {
        create_session: Some(Box::new(move |request| {
            assert_eq!(request.host.as_deref(), Some("build1"));
            Ok(v1::CreateSessionResponse {
                session: Some(v1::Session {
                    state: SessionState::Creating.into(),
                    ..web(now)
                }),
            })
        })),
        sessions: [(ID.to_owned(), web(Link::Up))].into(),
        events: Some(Box::new(|_| {
            stream::iter([Ok(v1::ReadEventsResponse::default())])
                .chain(stream::pending())
                .boxed()
        })),
        attach: talk(move |requests, answers| far.clone().serve(requests, answers)),
        ..Script::default()
    });
    let mut command = outlast(
        fake.home(),
        &[
            "--no-start",
            "session",
            "create",
            "web",
            "--host",
            "build1",
            "--attach",
        ],
    );
    command.env("TERM", "xterm");
    let pty = Pty::start(&command);
    (fake, pty)
}

#[test]
fn a_new_session_whose_host_is_away_is_not_attached_to_and_that_is_a_failure() {
    let (_fake, mut pty) = created(Link::Backoff);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(125));
    pty.wait_text(
        "error: session web will be started when host build1 is back; it is away (backoff); \
         this terminal was not attached\r\nhint: outlast attach web\r\n",
    );
}

#[test]
fn a_new_session_is_waited_for_while_its_host_is_being_connected_to() {
    let (_fake, mut pty) = created(Link::Connecting);
    pty.wait_text("screen 1");
    pty.write(b"X");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(9));
}

#[test]
fn an_escape_behind_the_help_leaves() {
    let (_fake, far, mut pty) = attached();
    pty.write(b"~?");
    pty.wait_text("~? shows this");
    pty.write(b"k\r~?\r~.");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(far.said(), "k\r\r[detach]");
}

#[test]
fn a_size_that_changes_while_it_is_attached_to_is_told() {
    let back = Arc::new(Notify::new());
    let far = Far::default();
    *far.back.lock().unwrap() = Some(Arc::clone(&back));
    let (_fake, far, mut pty) = attached_to(far);
    pty.write(b"K");
    wait_until(DEADLINE, "the second attachment", || {
        (far.attached() == 2).then_some(())
    });
    pty.resize(90, 30);
    // It is heard of before there is anybody to tell: the notice moves.
    pty.wait_text("\u{1b}[30;1H\u{1b}[2K\u{1b}[7m outlast: the connection to outlastd broke");
    back.notify_one();
    far.wait_said("[90x30]");
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_a_signal() {
    let (_fake, far, mut pty) = attached();
    let raw = pty.modes();
    pty.stop();
    pty.write(b"a");
    far.wait_said("a");
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
    assert_ne!(pty.modes().local_modes, raw.local_modes);
}

//! Attachments.

use outlast_client::{
    helper_v1::{
        AttachSessionRequest, AttachSessionResponse, AttachStart, SendSessionRequest, Size,
        attach_session_request::Event, attach_session_response::Event as Said,
    },
    v1::ErrorKind,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    bed::{Bed, DEADLINE, error, eventually, new_id, state},
    over_all,
};

over_all!(
    a_terminal_sees_types_and_resizes,
    detaching_restores_the_terminal_and_leaves_the_program,
    the_end_of_the_program_ends_the_attachment_with_its_last_words,
    a_hang_up_leaves_no_client,
    several_look_and_one_may_not_type,
    a_flood_is_passed_on_and_a_stalled_viewer_harms_nobody,
    what_is_not_there_cannot_be_attached,
    an_unknown_terminal_gets_a_known_one,
);

struct Terminal {
    to: mpsc::Sender<AttachSessionRequest>,
    from: Streaming<AttachSessionResponse>,
    seen: String,
}

fn request(event: Event) -> AttachSessionRequest {
    AttachSessionRequest { event: Some(event) }
}

async fn open(bed: &mut Bed, start: AttachStart) -> Result<Terminal, Status> {
    let (to, receiver) = mpsc::channel(4);
    to.send(request(Event::Start(start))).await.unwrap();
    let stream = bed.client.attach_session(ReceiverStream::new(receiver)).await?;
    Ok(Terminal {
        to,
        from: stream.into_inner(),
        seen: String::new(),
    })
}

fn start(id: &str) -> AttachStart {
    AttachStart {
        id: id.to_owned(),
        size: Some(Size {
            columns: 90,
            rows: 20,
        }),
        term: "xterm-256color".to_owned(),
        read_only: false,
        utf8: true,
    }
}

async fn attach(bed: &mut Bed, id: &str) -> Terminal {
    open(bed, start(id)).await.unwrap()
}

impl Terminal {
    async fn say(&self, event: Event) {
        self.to.send(request(event)).await.unwrap();
    }

    async fn key(&self, text: &[u8]) {
        self.say(Event::Input(text.to_vec().into())).await;
    }

    /// Reads until this text was shown.
    async fn sees(&mut self, text: &str) {
        let found = timeout(DEADLINE, async {
            while !self.seen.contains(text) {
                match self
                    .from
                    .message()
                    .await
                    .unwrap()
                    .expect("the stream ended")
                    .event
                    .unwrap()
                {
                    Said::Output(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                    Said::Opened(_) => {}
                    Said::Ended(_) => panic!("ended before {text:?}: {:?}", self.seen),
                }
            }
        });
        assert!(found.await.is_ok(), "never {text:?} in {:?}", self.seen);
    }

    /// Reads to the end.
    async fn ends(&mut self) {
        let ended = timeout(DEADLINE, async {
            let mut ended = false;
            while let Some(response) = self.from.message().await.unwrap() {
                assert!(!ended, "something came after the end");
                match response.event.unwrap() {
                    Said::Output(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                    Said::Opened(_) => {}
                    Said::Ended(_) => ended = true,
                }
            }
            ended
        });
        assert_eq!(ended.await, Ok(true), "{:?}", self.seen);
    }
}

fn clients(bed: &Bed) -> usize {
    bed.tmux(&["list-clients", "-F", "#{client_control_mode}"])
        .lines()
        .filter(|line| *line == "0")
        .count()
}

async fn a_terminal_sees_types_and_resizes(mut bed: Bed) {
    let script = "stty size; trap 'stty size' WINCH; echo ready é; while :; do read x && echo got $x; done";
    let (id, _) = bed.session(script).await;
    bed.shows(&id, "ready").await;
    let mut watching = bed.watch(&id).await;
    let mut terminal = attach(&mut bed, &id).await;
    terminal.sees("ready é").await;
    watching.until("somebody attached", |now| now.attached == 1).await;
    terminal.sees("20 90").await;
    terminal.key("hällo\r".as_bytes()).await;
    terminal.sees("got hällo").await;
    terminal
        .say(Event::Size(Size {
            columns: 70,
            rows: 15,
        }))
        .await;
    terminal.sees("15 70").await;
    terminal.say(Event::Detach(true)).await;
    terminal.ends().await;
    watching.until("nobody attached", |now| now.attached == 0).await;
}

async fn detaching_restores_the_terminal_and_leaves_the_program(mut bed: Bed) {
    let (id, started) = bed.session("echo ready; sleep 600").await;
    for by_key in [true, false] {
        let mut terminal = attach(&mut bed, &id).await;
        terminal.sees("ready").await;
        if by_key {
            terminal.key(b"\x02d").await;
        } else {
            terminal.say(Event::Detach(true)).await;
        }
        terminal.ends().await;
        // The viewer's own screen comes back, and tmux says nothing on it.
        let after = terminal.seen.rsplit("\u{1b}[?1049l").next().unwrap();
        assert!(
            after.len() < terminal.seen.len() && !after.contains("detached"),
            "{after:?}"
        );
        assert!(crate::bed::is_alive(started.pid));
    }
    assert_eq!(clients(&bed), 0);
}

async fn the_end_of_the_program_ends_the_attachment_with_its_last_words(mut bed: Bed) {
    for round in 0..10 {
        let (id, _) = bed
            .session(&format!("echo ready; read x; echo last words {round}; exit 3"))
            .await;
        let mut terminal = attach(&mut bed, &id).await;
        terminal.sees("ready").await;
        terminal.key(b"\r").await;
        terminal.ends().await;
        assert!(
            terminal.seen.contains(&format!("last words {round}")),
            "{:?}",
            terminal.seen
        );
        assert!(terminal.seen.contains("\u{1b}[?1049l"));
        let (over, _) = bed.ended(&id).await;
        assert_eq!(state(&over).ended.as_ref().unwrap().exit_code, Some(3));
    }
}

async fn a_hang_up_leaves_no_client(mut bed: Bed) {
    let (id, _) = bed.session("echo ready; sleep 600").await;
    let mut watching = bed.watch(&id).await;
    let mut terminal = attach(&mut bed, &id).await;
    terminal.sees("ready").await;
    watching.until("somebody attached", |now| now.attached == 1).await;
    drop(terminal);
    watching.until("nobody attached", |now| now.attached == 0).await;
    eventually("no client is left", || clients(&bed) == 0).await;
}

async fn several_look_and_one_may_not_type(mut bed: Bed) {
    let (id, _) = bed
        .session("echo ready; while read x; do echo got $x; done")
        .await;
    let mut watching = bed.watch(&id).await;
    let mut typist = attach(&mut bed, &id).await;
    let mut reader = open(
        &mut bed,
        AttachStart {
            read_only: true,
            ..start(&id)
        },
    )
    .await
    .unwrap();
    typist.sees("ready").await;
    reader.sees("ready").await;
    watching.until("two attached", |now| now.attached == 2).await;
    reader.key(b"never\r").await;
    typist.key(b"one\r").await;
    typist.sees("got one").await;
    reader.sees("got one").await;
    let send = SendSessionRequest {
        id: id.clone(),
        text: b"two".to_vec().into(),
        keys: vec!["Enter".to_owned()],
        paste: false,
    };
    bed.client.send_session(send).await.unwrap();
    reader.sees("got two").await;
    let screen = bed.shows(&id, "got two").await;
    assert!(!screen.contains("never"), "{screen}");
}

async fn a_flood_is_passed_on_and_a_stalled_viewer_harms_nobody(mut bed: Bed) {
    let script = "read x; head -c 30000000 /dev/zero | tr '\\0' 'x'; echo; echo flood over; sleep 600";
    let (id, _) = bed.session(script).await;
    let stalled = attach(&mut bed, &id).await;
    let mut terminal = attach(&mut bed, &id).await;
    terminal.key(b"\r").await;
    terminal.sees("flood over").await;
    // Another session is not held up either.
    let (other, _) = bed.session("echo ready; read x; echo got $x; sleep 600").await;
    let mut second = attach(&mut bed, &other).await;
    second.sees("ready").await;
    second.key(b"it\r").await;
    second.sees("got it").await;
    drop(stalled);
    eventually("the stalled client is gone", || clients(&bed) == 2).await;
}

async fn what_is_not_there_cannot_be_attached(mut bed: Bed) {
    let refused = open(&mut bed, start(&new_id())).await.err().unwrap();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
    let (id, _) = bed.session("echo ready; sleep 600").await;
    let none = AttachStart {
        size: None,
        ..start(&id)
    };
    assert_eq!(
        error(&open(&mut bed, none).await.err().unwrap()).0,
        ErrorKind::Usage
    );
    bed.shows(&id, "ready").await;
    bed.tmux(&["kill-server"]);
    bed.ended(&id).await;
    let refused = open(&mut bed, start(&id)).await.err().unwrap();
    assert_eq!(error(&refused).0, ErrorKind::NotFound);
}

async fn an_unknown_terminal_gets_a_known_one(mut bed: Bed) {
    let (id, _) = bed.session("echo ready; sleep 600").await;
    for term in [
        "xterm-nobody-has-this",
        "",
        "../../etc/passwd",
        "-x",
        "#(touch pwned)",
    ] {
        let start = AttachStart {
            term: term.to_owned(),
            ..start(&id)
        };
        let mut terminal = open(&mut bed, start).await.unwrap();
        terminal.sees("ready").await;
        terminal.say(Event::Detach(true)).await;
        terminal.ends().await;
    }
}

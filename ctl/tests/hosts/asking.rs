//! Questions that come while a host is connected to, and who may be asked.

use outlast_client::v1::{CheckHostResponse, Link, QuestionKind};
use outlast_testkit::DEADLINE;

use crate::{
    daemon, end,
    fake::{Fake, Script, talk},
    gone, pty, question, step, up,
};

#[test]
fn at_a_terminal_steps_are_shown_and_questions_asked_with_secrets_hidden() {
    let (fake, asked) = daemon(|name| {
        vec![
            step("key exchange", true, "curve25519"),
            question(
                QuestionKind::HostKey,
                "The host shows a key of type ssh-ed25519 \u{1b}[2J that is not known.",
            ),
            question(QuestionKind::Passphrase, "Passphrase of /home/me/.ssh/id:"),
            question(QuestionKind::Unspecified, "Code:"),
            step("authenticate", true, "by key"),
            end(true, up(name)),
        ]
    });
    let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
    let before = pty.modes();
    pty.wait_text("(yes, no, or the fingerprint) ");
    let shown = pty.text();
    assert!(
        shown.contains("key exchange") && shown.contains("12 ms"),
        "{shown}"
    );
    assert!(
        shown.contains("\\e[2J") && !shown.contains("\u{1b}[2J"),
        "{shown}"
    );
    assert!(shown.contains("its fingerprint is SHA256:right"), "{shown}");
    pty.write(b"y\n");
    pty.wait_text("type yes, no, or the fingerprint");
    pty.write(b"SHA256:wrong\n");
    pty.wait_text("that is not the fingerprint");
    pty.write(b"SHA256:right\n");
    pty.wait_text("Passphrase of /home/me/.ssh/id: ");
    pty.write(b" open sesame \n");
    pty.wait_text("Code: ");
    pty.write(b"123456\n");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    pty.wait_text("host build1 is connected");
    assert_eq!(
        *asked.answered.lock().unwrap(),
        [Some("SHA256:right"), Some(" open sesame "), Some("123456")].map(|text| text.map(str::to_owned))
    );
    assert!(asked.opened.lock().unwrap()[0].interactive);
    let shown = pty.text();
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(
        shown.contains("NAME") && shown.contains("authenticate"),
        "{shown}"
    );
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn a_declined_key_and_the_end_of_input_are_answers_too() {
    for typed in [&b"no\n"[..], b"\x04"] {
        let (fake, asked) = daemon(|name| {
            vec![
                question(QuestionKind::HostKey, "The key SHA256:right is not known."),
                step("host key", false, "the key was declined"),
                end(false, gone(name, Link::AuthFailed)),
            ]
        });
        let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
        pty.wait_text("the fingerprint) ");
        pty.write(typed);
        assert_eq!(pty.wait_exit(DEADLINE).code(), Some(5));
        pty.wait_text("host build1 was not added: the key was declined");
        assert_eq!(*asked.answered.lock().unwrap(), [None]);
        assert_eq!(asked.removed.lock().unwrap().len(), 1);
    }
}

#[test]
fn ctrl_c_at_a_hidden_question_gives_the_terminal_back() {
    let (fake, asked) = daemon(|_| vec![question(QuestionKind::Password, "me@10.1.2.3's password:")]);
    let mut pty = pty(&fake, &["host", "add", "build1", "10.1.2.3"]);
    let before = pty.modes();
    pty.wait_text("password: ");
    assert_ne!(
        pty.modes().local_modes,
        before.local_modes,
        "what is typed is shown"
    );
    pty.write(b"half a sec\x03");
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(130));
    pty.wait_text("host build1 was not added");
    assert_eq!(pty.modes().local_modes, before.local_modes);
    assert!(!pty.text().contains("half"), "{}", pty.text());
    assert_eq!(asked.removed.lock().unwrap().len(), 1);
    // The same when the whole thing is told to end.
    let mut pty = crate::pty(&fake, &["host", "check", "build1"]);
    let before = pty.modes();
    pty.wait_text("password: ");
    pty.signal(rustix::process::Signal::TERM);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(143));
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn a_question_that_the_daemon_gives_up_is_gone() {
    let fake = Fake::start(Script {
        check_host: talk(|_requests, answers| async move {
            let ask = question(QuestionKind::Password, "password:");
            for event in [
                ask,
                step("authenticate", false, "the host hung up"),
                end(false, gone("build1", Link::Backoff)),
            ] {
                let _ = answers.send(Ok(CheckHostResponse { event: Some(event) })).await;
                // The prompt is there before it is taken away.
                tokio::task::yield_now().await;
            }
            answers.closed().await;
        }),
        ..Script::default()
    });
    let mut pty = pty(&fake, &["host", "check", "build1"]);
    let before = pty.modes();
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(6));
    pty.wait_text("error: host build1: the host hung up");
    assert_eq!(pty.modes().local_modes, before.local_modes);
}

#[test]
fn without_input_nobody_is_asked_even_at_a_terminal() {
    let (fake, asked) = daemon(|name| vec![end(true, up(name))]);
    let mut pty = pty(&fake, &["--no-input", "host", "check", "build1"]);
    assert_eq!(pty.wait_exit(DEADLINE).code(), Some(0));
    assert!(!asked.opened.lock().unwrap()[0].interactive);
}

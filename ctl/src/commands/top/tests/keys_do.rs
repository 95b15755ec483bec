//! What keys do to the state, and have done.

use super::*;
use crate::commands::top::{
    input::Deed,
    order,
    section::Section,
    state::{Mode, Said},
};

fn said(state: &State) -> (&str, &str) {
    match &state.said {
        Some(Said::Failed(why, hint)) => (why, hint.as_deref().unwrap_or_default()),
        Some(Said::Done(what)) => (what, ""),
        None => ("", ""),
    }
}

fn deed(make: impl Fn(String, String) -> Deed, name: &str) -> Vec<Effect> {
    vec![Effect::Do(make(format!("id-{name}"), name.to_owned()))]
}

#[test]
fn a_line_is_typed_and_sent_to_what_was_selected_when_it_was_begun() {
    let mut state = state();
    press(&mut state, "sye");
    // Another takes the first place meanwhile.
    state.take(In::Session(Box::new(session(
        "calm",
        Activity::Waiting,
        None,
        999,
    ))));
    state.take(In::Key(Key::Paste("s\tx\n".to_owned())));
    state.take(In::Key(Key::Backspace));
    let send = |id, name| Deed::Send {
        id,
        name,
        text: "yes ".to_owned(),
    };
    let effects = press(&mut state, "\n");
    assert_eq!(effects[..1], deed(send, "long")[..]);
    assert_eq!(state.mode, Mode::Look);
    // Escape sends nothing, whatever stands there; q is a letter.
    press(&mut state, "sq");
    assert_eq!(press(&mut state, "\u{1b}"), []);
    assert_eq!(state.mode, Mode::Look);
    // Words and the whole line can be taken back.
    press(&mut state, "sone two");
    state.take(In::Key(Key::Ctrl('w')));
    assert!(
        matches!(&state.mode, Mode::Line { text, .. } if text == "one "),
        "{:?}",
        state.mode
    );
    state.take(In::Key(Key::Ctrl('u')));
    assert!(
        matches!(&state.mode, Mode::Line { text, .. } if text.is_empty()),
        "{:?}",
        state.mode
    );
}

#[test]
fn what_ends_something_is_asked_first_and_only_y_is_a_yes() {
    let mut state = state();
    assert_eq!(press(&mut state, "c"), []);
    assert!(matches!(&state.mode, Mode::Ask { question, .. } if question == "stop session long?"));
    let stop = |id, name| Deed::Stop { id, name };
    assert_eq!(press(&mut state, "y"), deed(stop, "long"));
    for no in ["cn", "c\n", "c\u{1b}", "cq"] {
        assert_eq!(press(&mut state, no), [], "{no:?}");
        assert_eq!(said(&state).0, "nothing was done");
    }
    press(&mut state, "2c");
    let cancel = |id, name| Deed::Cancel { id, name };
    assert_eq!(press(&mut state, "y"), deed(cancel, "nightly"));
    press(&mut state, "jc");
    assert_eq!(said(&state).0, "job docs has ended already");
    let interrupt = |id, name| Deed::Interrupt { id, name };
    press(&mut state, "1");
    assert_eq!(press(&mut state, "i"), deed(interrupt, "long"));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    let mut state = state();
    assert_eq!(press(&mut state, "2\n"), []);
    assert_eq!(said(&state), ("a job has no terminal", "outlast logs -f nightly"));
    press(&mut state, "4s");
    assert_eq!(
        said(&state),
        ("only a session can be sent a line", "1 goes to the sessions")
    );
    press(&mut state, "4c");
    assert_eq!(
        said(&state),
        (
            "only sessions are stopped, and jobs cancelled",
            "1 goes to the sessions, 2 to the jobs"
        )
    );
    press(&mut state, "1");
    let ended = v1::Session {
        state: SessionState::Exited.into(),
        ..session("long", Activity::Unspecified, None, 0)
    };
    state.take(In::Overview(Box::new(v1::GetOverviewResponse {
        sessions: vec![ended],
        ..overview()
    })));
    assert_eq!(press(&mut state, "\n"), []);
    assert_eq!(
        said(&state),
        ("nothing runs in session long", "outlast session restart long")
    );
    state.take(In::Overview(Box::new(v1::GetOverviewResponse {
        sessions: Vec::new(),
        ..overview()
    })));
    press(&mut state, "s");
    assert_eq!(said(&state).0, "no session is selected");
    // The next key takes it away.
    press(&mut state, "k");
    assert_eq!(state.said, None);
    press(&mut state, "qq");
    state.take(In::Key(Key::Paste("cy".to_owned())));
    assert_eq!(said(&state).0, "what was pasted is ignored here");
}

#[test]
fn nothing_is_typed_for_a_host_that_is_away() {
    let mut state = state();
    state.take(In::Hosts(vec![host("build1", Link::Backoff)]));
    press(&mut state, "s");
    assert_eq!(
        said(&state).0,
        "host build1 is away (backoff); nothing can be sent now"
    );
    assert_eq!(state.mode, Mode::Look);
}

#[test]
fn filters_narrow_while_they_are_typed() {
    let mut state = state();
    let names = |state: &State| order::ids(state, Section::Sessions).join(" ");
    press(&mut state, "/MIGR");
    assert_eq!(names(&state), "id-late");
    press(&mut state, "\n");
    assert_eq!((names(&state).as_str(), &state.mode), ("id-late", &Mode::Look));
    press(&mut state, "/\u{1b}");
    assert_eq!(order::ids(&state, Section::Sessions).len(), 5);
    press(&mut state, "w");
    assert_eq!(names(&state), "id-long id-late");
    assert_eq!(order::ids(&state, Section::Syncs), ["id-site"]);
    assert_eq!(order::ids(&state, Section::Jobs), [""; 0]);
    press(&mut state, "/late\n");
    assert_eq!(names(&state), "id-late");
    press(&mut state, "\u{1b}");
    assert_eq!(order::ids(&state, Section::Sessions).len(), 5);
}

#[test]
fn keys_move_within_a_list_and_between_lists() {
    let mut state = state();
    assert_eq!(state.selected(Section::Sessions), Some(0));
    press(&mut state, "jjjjjjj");
    assert_eq!(state.selected(Section::Sessions), Some(4));
    press(&mut state, "g");
    assert_eq!(state.selected(Section::Sessions), Some(0));
    press(&mut state, "G");
    assert_eq!(state.selected(Section::Sessions), Some(4));
    press(&mut state, "\t\t");
    assert_eq!(state.focus, Section::Syncs);
    state.take(In::Key(Key::BackTab));
    assert_eq!(state.focus, Section::Jobs);
    for (key, section) in ["1", "2", "3", "4", "5"].into_iter().zip(Section::ALL) {
        press(&mut state, key);
        assert_eq!(state.focus, section);
    }
    press(&mut state, "\t");
    assert_eq!(state.focus, Section::Sessions);
}

#[test]
fn attaching_takes_the_selected_session_and_ctrl_c_quits_from_everywhere() {
    let mut state = state();
    let effects = press(&mut state, "\n");
    assert!(
        matches!(&*effects, [Effect::Attach(session)] if session.name == "long"),
        "{effects:?}"
    );
    for before in ["", "/ab", "sab", "c", "?"] {
        press(&mut state, before);
        assert_eq!(
            state.take(In::Key(Key::Ctrl('c'))),
            [Effect::Quit(130)],
            "{before:?}"
        );
        press(&mut state, "\u{1b}");
    }
}

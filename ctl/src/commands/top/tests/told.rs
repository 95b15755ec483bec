//! What is told changes what is known, and what is looked at.

use super::*;
use crate::commands::top::{
    input::Watched,
    order,
    picture::Picture,
    section::Section,
    state::{ENDED, EVENTS},
};

fn names(state: &State) -> Vec<&str> {
    order::sessions(state)
        .iter()
        .map(|session| session.name.as_str())
        .collect()
}

fn watched(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Watch(Some(Watched { id, .. })) => Some(id.as_str()),
        _ => None,
    })
}

#[test]
fn what_waits_longest_is_first_then_what_went_wrong_then_the_rest() {
    let mut state = state();
    assert_eq!(names(&state), ["long", "late", "fell", "busy", "calm"]);
    let ended = v1::Session {
        state: SessionState::Exited.into(),
        ..session("busy", Activity::Waiting, None, 900)
    };
    state.take(In::Session(Box::new(ended)));
    state.take(In::Session(Box::new(session(
        "calm",
        Activity::Waiting,
        Some("?"),
        1,
    ))));
    assert_eq!(names(&state), ["long", "late", "calm", "fell", "busy"]);
    let crashed = v1::Session {
        state: SessionState::Exited.into(),
        exit_code: Some(1),
        ..session("busy", Activity::Unspecified, None, 900)
    };
    state.take(In::Session(Box::new(crashed)));
    let zero = v1::Session {
        state: SessionState::Exited.into(),
        exit_code: Some(0),
        ..session("fell", Activity::Unspecified, None, 900)
    };
    state.take(In::Session(Box::new(zero)));
    assert_eq!(names(&state), ["long", "late", "calm", "busy", "fell"]);
    let jobs = order::jobs(&state);
    let jobs: Vec<_> = jobs.iter().filter_map(|job| job.name.as_deref()).collect();
    assert_eq!(jobs, ["nightly", "docs", "lint"]);
    assert_eq!(order::ids(&state, Section::Syncs), ["id-site", "id-app"]);
    assert_eq!(order::ids(&state, Section::Hosts), ["gpu", "local", "build1"]);
}

#[test]
fn the_selected_session_is_looked_at_wherever_it_moves_to_and_anew_when_it_changes() {
    let mut state = State::new(0.0);
    let effects = state.take(In::Overview(Box::new(overview())));
    assert_eq!(watched(&effects), Some("id-long"), "what waits longest");
    assert_eq!(press(&mut state, "q"), [Effect::Quit(0)]);
    // The next line; it stays selected when it moves.
    assert_eq!(watched(&press(&mut state, "j")), Some("id-late"));
    let answered = session("late", Activity::Working, None, 0);
    assert_eq!(
        state.take(In::Session(Box::new(answered.clone()))),
        [],
        "it prints by itself"
    );
    assert_eq!(state.selected_session().unwrap().name, "late");
    let again = v1::Session { runs: 2, ..answered };
    assert_eq!(
        watched(&state.take(In::Session(Box::new(again)))),
        Some("id-late")
    );
    // Its host goes, and is back.
    let hosts = |link| In::Hosts(vec![host("build1", link)]);
    let effects = state.take(hosts(Link::Down));
    assert!(
        matches!(&*effects, [Effect::Watch(Some(Watched { up: false, .. }))]),
        "{effects:?}"
    );
    assert_eq!(watched(&state.take(hosts(Link::Up))), Some("id-late"));
    assert_eq!(press(&mut state, "p"), [Effect::Watch(None)]);
    assert_eq!(watched(&press(&mut state, "p")), Some("id-late"));
    // It is gone: what took its place is looked at.
    let effects = state.take(event(9, "session.removed", "id-late", "{}"));
    assert!(
        watched(&effects).is_some() && watched(&effects) != Some("id-late"),
        "{effects:?}"
    );
}

#[test]
fn without_outlastd_nothing_is_looked_at_and_what_was_seen_stays() {
    let mut state = state();
    state.take(In::Screen("id-long".to_owned(), Picture::read(b"hello")));
    assert_eq!(state.take(In::Away), [Effect::Watch(None)]);
    assert!(state.away_since.is_some() && state.sessions.len() == 5);
    let effects = state.take(In::Overview(Box::new(overview())));
    assert_eq!(watched(&effects), Some("id-long"));
    assert!(state.away_since.is_none() && state.seen.contains_key("id-long"));
    let fewer = v1::GetOverviewResponse {
        sessions: Vec::new(),
        ..overview()
    };
    assert_eq!(state.take(In::Overview(Box::new(fewer))), [Effect::Watch(None)]);
    assert!(state.seen.is_empty());
}

#[test]
fn a_screen_that_cannot_be_seen_says_why_until_it_can() {
    let mut state = state();
    state.take(In::NoScreen("id-other".to_owned(), "no".to_owned()));
    assert_eq!(state.unseen, None);
    state.take(In::NoScreen("id-long".to_owned(), "tmux is gone".to_owned()));
    assert_eq!(state.unseen.as_deref(), Some("tmux is gone"));
    state.take(In::Screen("id-long".to_owned(), Picture::default()));
    assert_eq!(state.unseen, None);
}

#[test]
fn what_grows_without_end_is_kept_short() {
    let mut state = state();
    for number in 0..500 {
        state.take(event(100 + number, "job.state", "id-x", "{}"));
        let ended = job(&format!("job{number}"), JobState::Succeeded, 0);
        state.take(In::Job(Box::new(ended)));
    }
    assert_eq!(state.events.len(), EVENTS);
    assert_eq!(state.jobs.len(), ENDED + 1, "the live one is kept");
    state.take(In::Gone("id-nightly".to_owned()));
    assert_eq!(state.jobs.len(), ENDED);
}

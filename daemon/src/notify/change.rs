//! What an entry of the log of events, or a row, means for those who are told.

use outlast_client::text::one_line;
use outlast_model::{
    activity::{Activity, Doing},
    event::{Event, Kind},
    job::JobState,
    notice::{Change, Noun, Said, State, Thing},
    session::{Session, SessionState},
};
use serde_json::Value;

/// Characters of what a program says that are told. A question, not a page.
const TEXT: usize = 300;

/// Characters of an id that stand for a name.
const SHORT: usize = 8;

/// The change that an event tells of. None: it is about something else.
pub(super) fn of_event(event: &Event) -> Option<Change> {
    let kind = event.kind.parse().ok()?;
    if matches!(kind, Kind::SessionRemoved | Kind::JobRemoved) {
        return Some(Change::Gone(event.subject.clone()));
    }
    if !matches!(kind, Kind::SessionState | Kind::SessionActivity | Kind::JobState) {
        return None;
    }
    let data = Data(serde_json::from_str(&event.data).ok()?);
    Some(match kind {
        Kind::SessionActivity => {
            let does = data.text("activity").and_then(|word| word.parse().ok());
            let does = does.and_then(|doing| said_by(doing, data.text("message")));
            Change::Does {
                thing: data.thing(Noun::Session, &event.subject)?,
                now: does,
                answered: data.is_set("answered"),
            }
        }
        Kind::SessionState => {
            let state: SessionState = data.text("state")?.parse().ok()?;
            Change::Stands {
                thing: data.thing(Noun::Session, &event.subject)?,
                now: of_session(state, || data.ending()),
                over: is_over(state),
            }
        }
        _ => {
            let state: JobState = data.text("state")?.parse().ok()?;
            Change::Stands {
                thing: data.thing(Noun::Job, &event.subject)?,
                now: of_job(state).map(|state| Said {
                    state,
                    text: data.ending(),
                }),
                over: true,
            }
        }
    })
}

/// What is so of a session before anything happens, in the words that its events have.
pub(super) fn of_row(session: &Session) -> [Change; 2] {
    let thing = Thing {
        noun: Noun::Session,
        id: session.id.to_string(),
        name: session.name.to_string(),
        host: session.host.clone(),
    };
    let outcome = session.outcome.as_ref();
    let ending = || {
        let reason = outcome.and_then(|outcome| outcome.reason.as_deref());
        ending(
            session.reason.as_deref().or(reason),
            outcome.and_then(|outcome| outcome.exit_code).map(i64::from),
            outcome.and_then(|outcome| outcome.signal).map(i64::from),
        )
    };
    let stands = Change::Stands {
        thing: thing.clone(),
        now: of_session(session.state, ending),
        over: is_over(session.state),
    };
    let activity: Option<&Activity> = session.activity.as_ref();
    let does = activity.and_then(|activity| said_by(activity.doing, activity.message.as_deref()));
    let does = Change::Does {
        thing,
        now: does,
        answered: false,
    };
    [stands, does]
}

/// What one is told of what a session does.
fn said_by(doing: Doing, message: Option<&str>) -> Option<Said> {
    let state = match doing {
        Doing::Waiting => State::Waiting,
        Doing::Idle => State::Idle,
        Doing::Error => State::Error,
        Doing::Starting | Doing::Working => return None,
    };
    let text = one_line(message.unwrap_or_default(), TEXT);
    Some(Said { state, text })
}

/// What one is told of how a session stands.
fn of_session(state: SessionState, ending: impl FnOnce() -> String) -> Option<Said> {
    let state = match state {
        SessionState::Exited => State::Exited,
        SessionState::Lost => State::Lost,
        SessionState::Broken => State::Broken,
        // What somebody asked for is no news to them.
        SessionState::Stopped | SessionState::Creating | SessionState::Running | SessionState::Unknown => {
            return None;
        }
    };
    let text = ending();
    Some(Said { state, text })
}

/// Whether what a session did before says nothing any more.
const fn is_over(state: SessionState) -> bool {
    state.is_ended() || matches!(state, SessionState::Creating)
}

const fn of_job(state: JobState) -> Option<State> {
    match state {
        JobState::Succeeded => Some(State::Succeeded),
        JobState::Failed => Some(State::Failed),
        JobState::Lost => Some(State::Lost),
        JobState::Queued | JobState::Running | JobState::Cancelled => None,
    }
}

/// The data of an event.
struct Data(Value);

impl Data {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn is_set(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn thing(&self, noun: Noun, id: &str) -> Option<Thing> {
        let short = id.get(..SHORT).unwrap_or(id);
        Some(Thing {
            noun,
            id: id.to_owned(),
            name: self.text("name").unwrap_or(short).to_owned(),
            host: self.text("host")?.to_owned(),
        })
    }

    fn ending(&self) -> String {
        let number = |key: &str| self.0.get(key)?.as_i64();
        ending(self.text("reason"), number("exit_code"), number("signal"))
    }
}

/// Why and how something ended, in a few words. Exit code 0 says nothing that the state does not say.
fn ending(reason: Option<&str>, exit_code: Option<i64>, signal: Option<i64>) -> String {
    let number = match (exit_code, signal) {
        (Some(0) | None, None) => None,
        (Some(code), None) => Some(format!("exit code {code}")),
        (_, Some(signal)) => Some(format!("signal {signal}")),
    };
    match (reason, number) {
        (Some(reason), _) => one_line(reason, TEXT),
        (None, number) => number.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use outlast_model::job::Outcome;
    use outlast_store::session_event;

    use super::*;
    use crate::notify::fixture::session;

    fn event(kind: Kind, data: &str) -> Option<Change> {
        of_event(&Event {
            seq: 1,
            time: 0,
            kind: kind.to_string(),
            subject: "0d6af9a8-5d30-480b-9343-05dfe31fdd1a".to_owned(),
            data: data.to_owned(),
        })
    }

    fn told(change: Option<Change>) -> (String, Option<(State, String)>) {
        match change.unwrap() {
            Change::Does { thing, now: said, .. } | Change::Stands { thing, now: said, .. } => {
                (thing.name, said.map(|said| (said.state, said.text)))
            }
            Change::Gone(id) => (id, None),
        }
    }

    #[test]
    fn events_mean_what_is_told_of_them() {
        let waits = event(
            Kind::SessionActivity,
            r#"{"name":"a","host":"h","activity":"waiting","message":"Delete\n\u001b[31m\u202eall?"}"#,
        );
        assert_eq!(
            told(waits),
            (
                "a".to_owned(),
                Some((State::Waiting, "Delete [31mall?".to_owned()))
            )
        );
        let works = event(
            Kind::SessionActivity,
            r#"{"name":"a","host":"h","activity":"working"}"#,
        );
        assert!(matches!(&works, Some(Change::Does { answered: false, .. })));
        assert_eq!(told(works), ("a".to_owned(), None));
        let answered = event(
            Kind::SessionActivity,
            r#"{"name":"a","host":"h","answered":true}"#,
        );
        assert!(matches!(&answered, Some(Change::Does { answered: true, .. })));
        let unknown = event(Kind::SessionActivity, r#"{"name":"a","host":"h"}"#);
        assert_eq!(told(unknown), ("a".to_owned(), None));
        let failed = event(Kind::JobState, r#"{"host":"h","state":"failed","exit_code":3}"#);
        assert_eq!(
            told(failed),
            (
                "0d6af9a8".to_owned(),
                Some((State::Failed, "exit code 3".to_owned()))
            )
        );
        let lost = event(
            Kind::SessionState,
            r#"{"name":"a","host":"h","state":"lost","reason":"host rebooted"}"#,
        );
        assert!(matches!(&lost, Some(Change::Stands { over: true, .. })));
        assert_eq!(
            told(lost),
            ("a".to_owned(), Some((State::Lost, "host rebooted".to_owned())))
        );
        assert!(matches!(event(Kind::JobRemoved, "{}"), Some(Change::Gone(_))));
        assert_eq!(event(Kind::HostLink, r#"{"link":"up"}"#), None);
        assert_eq!(event(Kind::JobState, "no JSON"), None);
    }

    #[test]
    fn a_row_says_what_its_event_says() {
        for state in SessionState::ALL {
            let session = Session {
                state,
                outcome: Some(Outcome {
                    exit_code: Some(3),
                    ..Outcome::default()
                }),
                ..session()
            };
            let event = session_event(&session);
            let of_event = of_event(&Event {
                seq: 1,
                time: 0,
                kind: event.kind.to_string(),
                subject: event.subject,
                data: event.data,
            });
            assert_eq!(of_event.as_ref(), of_row(&session).first());
        }
    }
}

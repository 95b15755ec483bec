//! Waiting for a session: until its program has ended, its terminal shows something, or it does something.
//!
//! What it does is looked for in the log of events, so that what it did for a moment only is not missed.

mod reaction;

use outlast_client::v1::{
    Error, ErrorKind, SessionWaitDone, WaitSessionResponse, wait_session_response::Event,
};
use outlast_helper::spool::LogReader;
use outlast_model::{activity::Doing, event::Kind, session::Session};
use regex::{Regex, RegexBuilder};
use tokio::sync::mpsc;
use tonic::Status;

use super::{Sessions, lines::Lines};
use crate::{
    logs::{self, Start},
    rpc::status::failure,
};

/// Longest expression, bytes: what a person types, and then some.
const PATTERN_MAX: usize = 4096;

/// Most memory a compiled expression may take, bytes.
const REGEX_MAX: usize = 1 << 20;

/// Pieces that are read in one go, so that waiting on a program that never pauses still notices its client's end.
const PIECES: usize = 64;

/// Events that are looked through in one go.
const PAGE: u32 = 1000;

/// What to wait for.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The program has ended, in whatever way.
    Exited,
    /// The terminal is written to; with an expression: a line of that matches.
    Output {
        /// The expression.
        matching: Option<Regex>,
        /// Where to look from. Absent: from now.
        from: Option<u64>,
    },
    /// It does this.
    Doing {
        /// What.
        doing: Doing,
        /// Number of an event: only what it does since counts. Absent: what it does now counts as well.
        after: Option<u64>,
    },
    /// It did something and rests again.
    Reacted {
        /// Only what is written behind this offset of the log counts. Absent: from now.
        from: Option<u64>,
        /// Number of an event: only what it does since counts. Absent: from now.
        after: Option<u64>,
    },
}

/// Reads an expression, with bounds on what it may cost.
///
/// # Errors
/// When it is none, or too much of one.
pub fn expression(text: &str) -> Result<Regex, Error> {
    let wrong = |cause: String| {
        let message = format!("the expression to match cannot be used: {cause}");
        Error::new(ErrorKind::Usage, message)
    };
    if text.len() > PATTERN_MAX {
        return Err(wrong(format!("it is longer than {PATTERN_MAX} bytes"))
            .with_hint("match a piece of the line: outlast session wait NAME --until output --match PIECE"));
    }
    // As it is typed, to find the text itself; lines are looked at one by one.
    let line = text.lines().next().unwrap_or_default();
    let plain = regex::escape(line).replace('\'', r"'\''");
    RegexBuilder::new(text)
        .size_limit(REGEX_MAX)
        .dfa_size_limit(REGEX_MAX)
        .build()
        // The parser draws a picture of several lines; the last one says what is wrong.
        .map_err(|error| {
            wrong(
                error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim()
                    .trim_start_matches("error: ")
                    .to_owned(),
            )
            .with_hint(format!(
                "to find it as it stands: outlast session wait NAME --until output --match '{plain}'"
            ))
        })
}

/// Where the answers go.
pub type Answers = mpsc::Sender<Result<WaitSessionResponse, Status>>;

/// Waits and answers: first the position that is watched from, then what happened.
pub async fn wait(sessions: Sessions, session: Session, condition: Condition, answers: Answers) {
    let shutdown = sessions.app().shutdown.clone();
    let result = tokio::select! {
        () = answers.closed() => return,
        status = shutdown.ended() => Err(status),
        result = look(&sessions, &session, condition, &answers) => result,
    };
    let last = match result {
        Ok(done) => Ok(message(Event::Done(done))),
        Err(status) => Err(status),
    };
    // The client may have gone.
    let _ = answers.send(last).await;
}

fn message(event: Event) -> WaitSessionResponse {
    WaitSessionResponse { event: Some(event) }
}

async fn look(
    sessions: &Sessions,
    session: &Session,
    condition: Condition,
    answers: &Answers,
) -> Result<SessionWaitDone, Status> {
    let dir = sessions
        .spool_dir(session)
        .map_err(|error| failure(error).into_status())?;
    let host = sessions
        .inner
        .handles
        .host(&session.host)
        .map_err(Error::into_status)?;
    // Somebody waits for what happens there.
    let _following = host.follow();
    let (matching, start) = match condition {
        Condition::Exited => (None, None),
        Condition::Output { matching, from } => (matching, Some(from)),
        Condition::Doing { doing, after } => return does(sessions, session, doing, after, answers).await,
        Condition::Reacted { from, after } => {
            return reaction::wait(sessions, session, from, after, answers).await;
        }
    };
    let position = start.flatten().unwrap_or_else(|| dir.log_len());
    let armed = answers.send(Ok(message(Event::ArmedOffset(position)))).await;
    armed.map_err(|_gone| Status::cancelled("the client went away"))?;
    if start.is_none() {
        return exited(sessions, session).await;
    }
    output(sessions, session, position, matching).await
}

async fn exited(sessions: &Sessions, session: &Session) -> Result<SessionWaitDone, Status> {
    let mut view = sessions.watch(session).map_err(Error::into_status)?;
    let ended = view.wait_for(|view| view.session.state.is_ended()).await;
    let session = match ended {
        Ok(view) => view.session.clone(),
        Err(_gone) => return Err(sessions.inner.handles.gone(session.name.as_str()).into_status()),
    };
    let next_offset = sessions.spool_dir(&session).map_or(0, |dir| dir.log_len());
    Ok(SessionWaitDone {
        session: Some(sessions.message(&session)),
        met: true,
        line: None,
        next_offset,
    })
}

async fn does(
    sessions: &Sessions,
    session: &Session,
    doing: Doing,
    after: Option<u64>,
    answers: &Answers,
) -> Result<SessionWaitDone, Status> {
    let store = &sessions.app().store;
    let mut view = sessions.watch(session).map_err(Error::into_status)?;
    let subject = session.id.to_string();
    // An event that is written but not seen yet is still to come.
    let mut cursor = after.unwrap_or_else(|| view.borrow().session.activity_seq);
    let armed = answers.send(Ok(message(Event::ArmedSeq(cursor)))).await;
    armed.map_err(|_gone| Status::cancelled("the client went away"))?;
    let mut now_counts = after.is_none();
    loop {
        // What is seen now was written before, so what comes after the newest event comes after this.
        let session = view.borrow_and_update().session.clone();
        let does = |session: &Session| {
            session
                .activity
                .as_ref()
                .is_some_and(|activity| activity.doing == doing)
        };
        let mut met = does(&session) && (now_counts || session.activity_seq > cursor);
        now_counts = false;
        while !met && session.activity_seq > cursor {
            let page = store.events_after(cursor, PAGE).await;
            let page = page.map_err(|error| failure(error).into_status())?;
            let Some(last) = page.events.last() else { break };
            // One that was just written may not be in what is seen, which is what is answered.
            cursor = last.seq.min(session.activity_seq);
            let mut seen = page.events.iter().filter(|event| event.seq <= cursor);
            met = seen.any(|event| says(event, &subject, doing));
        }
        if met || session.state.is_ended() {
            let next_offset = sessions.spool_dir(&session).map_or(0, |dir| dir.log_len());
            return Ok(SessionWaitDone {
                session: Some(sessions.message(&session)),
                met,
                line: None,
                next_offset,
            });
        }
        if view.changed().await.is_err() {
            return Err(sessions.inner.handles.gone(session.name.as_str()).into_status());
        }
    }
}

/// Whether an event says that a session does this.
fn says(event: &outlast_model::event::Event, subject: &str, doing: Doing) -> bool {
    said(event, subject).is_some_and(|(said, _source)| said == doing)
}

/// What an event says that a session does, and where that was read from. Absent: it is about something else, or says that
/// this is not known.
fn said(event: &outlast_model::event::Event, subject: &str) -> Option<(Doing, String)> {
    if event.subject != subject || event.kind != Kind::SessionActivity.as_str() {
        return None;
    }
    let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
    let word = |key: &str| data.get(key).and_then(|word| word.as_str());
    let doing = word("activity")?.parse().ok()?;
    Some((doing, word("source").unwrap_or_default().to_owned()))
}

async fn output(
    sessions: &Sessions,
    session: &Session,
    from: u64,
    matching: Option<Regex>,
) -> Result<SessionWaitDone, Status> {
    let io = |error: std::io::Error| failure(error).into_status();
    let mut view = sessions.watch(session).map_err(Error::into_status)?;
    if !super::log::started(&mut view).await {
        return Err(sessions.inner.handles.gone(session.name.as_str()).into_status());
    }
    let dir = sessions.spool_dir(session).map_err(io)?;
    // Before the first look at the log, so that nothing is written unseen.
    let mut watch = if dir.exists() {
        Some(sessions.watch_spool(session).map_err(io)?)
    } else {
        None
    };
    let mut reader = logs::open(dir, Start::Offset(from), None).await.map_err(io)?;
    let mut search = Search::new(matching);
    let mut hot = false;
    loop {
        // The state is read before the log: what the program wrote until it ended is in the log by then.
        let session = view.borrow_and_update().session.clone();
        let mut progress = Progress::More;
        if hot {
            progress = search.read(&mut reader, 1).map_err(io)?;
        }
        while progress == Progress::More {
            let batch = logs::blocking(move || {
                let progress = search.read(&mut reader, PIECES)?;
                Ok((reader, search, progress))
            });
            (reader, search, progress) = batch.await.map_err(io)?;
        }
        let found = match progress {
            Progress::Found(found) => Some(found),
            Progress::CaughtUp | Progress::More => None,
        };
        if found.is_some() || session.state.is_ended() || watch.is_none() {
            let (met, line, next_offset) = match found {
                Some(Found { line, next_offset }) => (true, line, next_offset),
                None => (false, None, reader.offset()),
            };
            return Ok(SessionWaitDone {
                session: Some(sessions.message(&session)),
                met,
                line,
                next_offset,
            });
        }
        hot = true;
        let Some(watch) = &mut watch else { continue };
        tokio::select! {
            () = watch.changed() => {}
            changed = view.changed() => if changed.is_err() {
                return Err(sessions.inner.handles.gone(session.name.as_str()).into_status());
            }
        }
    }
}

/// What was waited for.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// The line that matched. Absent when any output would do.
    line: Option<String>,
    /// Offset behind it.
    next_offset: u64,
}

/// How far a look came.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// To what was waited for.
    Found(Found),
    /// To the present end, without it.
    CaughtUp,
    /// There may be more to read.
    More,
}

/// Looks for output.
struct Search {
    matching: Option<Regex>,
    lines: Lines,
}

impl Search {
    fn new(matching: Option<Regex>) -> Self {
        Self {
            matching,
            lines: Lines::new(),
        }
    }

    /// Reads on until something is found, the reader has caught up, or so many pieces were read.
    fn read(&mut self, reader: &mut LogReader, pieces: usize) -> std::io::Result<Progress> {
        for _ in 0..pieces {
            let before = reader.offset();
            let Some(piece) = logs::read_hot(reader)? else {
                return Ok(Progress::CaughtUp);
            };
            if let Some(found) = self.push(before, &piece) {
                return Ok(Progress::Found(found));
            }
        }
        Ok(Progress::More)
    }

    /// Looks at a piece of output that begins at an offset. A line matches when it is whole, or at the end of what
    /// there is: a prompt waits without a newline.
    fn push(&mut self, offset: u64, piece: &[u8]) -> Option<Found> {
        let Some(matching) = &self.matching else {
            return (!piece.is_empty()).then(|| Found {
                line: None,
                next_offset: offset + piece.len() as u64,
            });
        };
        for (at, byte) in piece.iter().enumerate() {
            if !self.lines.push(*byte) {
                continue;
            }
            let line = self.lines.text();
            self.lines.clear();
            if matching.is_match(&line) {
                return Some(Found {
                    line: Some(line),
                    next_offset: offset + at as u64 + 1,
                });
            }
        }
        let line = self.lines.text();
        (!self.lines.is_empty() && matching.is_match(&line)).then(|| Found {
            line: Some(line),
            next_offset: offset + piece.len() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(pattern: Option<&str>) -> Search {
        Search::new(pattern.map(|pattern| expression(pattern).unwrap()))
    }

    #[test]
    fn any_output_will_do_without_an_expression() {
        let mut search = search(None);
        assert_eq!(
            search.push(10, b"abc"),
            Some(Found {
                line: None,
                next_offset: 13
            })
        );
    }

    #[test]
    fn a_line_matches_without_its_colours_and_across_pieces() {
        let mut search = search(Some("^ready on port \\d+$"));
        assert_eq!(search.push(0, b"starting\r\n\x1b[32mread"), None);
        let found = search.push(18, b"y on\x1b[0m port 80\r\nmore").unwrap();
        assert_eq!(found.line.as_deref(), Some("ready on port 80"));
        assert_eq!(found.next_offset, 18 + 18);
    }

    #[test]
    fn a_prompt_without_a_newline_matches() {
        let mut search = search(Some("password:"));
        let found = search.push(0, b"\r\nEnter password: ").unwrap();
        assert_eq!(found.line.as_deref(), Some("Enter password: "));
    }

    #[test]
    fn a_wrong_or_huge_expression_is_refused_in_one_line() {
        let huge = "x".repeat(PATTERN_MAX + 1);
        for bad in ["(", "(a{1000}){1000}", huge.as_str()] {
            let error = expression(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(!error.message.contains('\n'), "{}", error.message);
            assert!(!error.message.contains("error:"), "{}", error.message);
            let hint = error.hint.unwrap();
            assert!(
                hint.contains("outlast session wait NAME --until output --match "),
                "{hint}"
            );
        }
        let hint = expression("it's (").unwrap_err().hint.unwrap();
        assert!(hint.ends_with(r"--match 'it'\''s \('"), "{hint}");
    }
}

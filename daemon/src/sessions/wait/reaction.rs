//! Waiting for what comes of an answer: until the session did something and rests again.
//!
//! What rests is somebody's turn again, which is what a script that answers wants to know. A program that says itself
//! what it does, by reports or by sequences with a meaning, is believed at once, and so is one that reads a line: it cannot go
//! on. All else is only seen from outside, where a moment between two steps looks like rest: there it must have lasted.
//!
//! Rest is seen only while something would be heard: a host that is away looks as quiet as one where nothing happens.

use std::{io, time::Duration};

use outlast_client::{
    helper_v1::PingRequest,
    v1::{Error, Link, SessionWaitDone, WaitSessionResponse, wait_session_response::Event},
};
use outlast_helper::spool::{self, LogReader};
use outlast_model::{activity::Doing, session::Session};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use super::{Answers, PAGE, Sessions, message, said};
use crate::{hosts::Host, logs, rpc::status::failure, sessions::lines::Lines};

/// How long nothing must be written or told until that counts as rest. Programs draw a screen in less.
const QUIET: Duration = Duration::from_millis(500);

/// The same where the session seems to do what it did before the answer: that it does something else may be written a second
/// late, when it changes often, and what came in between may have been too short to be written.
const STILL: Duration = Duration::from_millis(2500);

/// The same for a program that says itself what it does and has not said anything since: as a rule it will, and is silent
/// only while it works. Some say no more after they were interrupted.
const SILENT: Duration = Duration::from_secs(15);

/// How much of what is written first may be the echo of what was typed: more than is typed and not pasted.
const ECHO_MAX: u64 = 20 << 10;

/// How long a host may take to show that the way to it is whole.
const PROVE: Duration = Duration::from_secs(5);

/// Waits for it, from these positions on.
pub(super) async fn wait(
    sessions: &Sessions,
    session: &Session,
    from: Option<u64>,
    after: Option<u64>,
    answers: &Answers,
) -> Result<SessionWaitDone, Status> {
    let io = |error: io::Error| failure(error).into_status();
    let gone = || sessions.inner.handles.gone(session.name.as_str()).into_status();
    let store = &sessions.app().store;
    let subject = session.id.to_string();
    let dir = sessions.spool_dir(session).map_err(io)?;
    let from = from.unwrap_or_else(|| dir.log_len());
    let mut view = sessions.watch(session).map_err(Error::into_status)?;
    // An event that is written but not seen yet is still to come.
    let after = after.unwrap_or_else(|| view.borrow().session.activity_seq);
    for position in [Event::ArmedOffset(from), Event::ArmedSeq(after)] {
        tell(answers, position).await?;
    }
    let host = sessions.inner.handles.host(&session.host);
    let host = host.map_err(Error::into_status)?;
    let mut link_view = host.view();
    let mut is_away = false;
    if !super::super::log::started(&mut view).await {
        return Err(gone());
    }
    // Before the first look at the log, so that nothing is written unseen.
    let mut watch = if dir.exists() {
        Some(sessions.watch_spool(session).map_err(io)?)
    } else {
        None
    };
    let mut cursor = after;
    let mut quiet = Quiet::since((dir.log_len(), after));
    let mut printed = Printed::Nothing;
    // Until when the way to the host was whole.
    let mut proved = None;
    loop {
        link_view.mark_unchanged();
        // What is seen now was written before, so what comes after the newest event comes after this.
        let shown = view.borrow_and_update().clone();
        let session = shown.session.clone();
        let link = sessions.message(&session).link();
        // It is tried again all the time, which is no news.
        let is_news = !matches!(link, Link::Connecting | Link::Unspecified);
        if is_news && is_away != (link != Link::Up) {
            is_away = !is_away;
            tell(answers, Event::Link(link.into())).await?;
        }
        let heard = shown.heard.filter(|_heard| host.is_up());
        let mut met = false;
        while !met && session.activity_seq > cursor {
            let page = store.events_after(cursor, PAGE).await;
            let page = page.map_err(|error| failure(error).into_status())?;
            let Some(last) = page.events.last() else { break };
            // One that was just written may not be in what is seen, which is what is answered.
            cursor = last.seq.min(session.activity_seq);
            met = page
                .events
                .iter()
                .filter(|event| event.seq <= cursor)
                .filter_map(|event| said(event, &subject))
                .any(|(doing, source)| rests_at_once(doing, &source));
        }
        let length;
        (printed, length) = look(&dir, from, printed, dir.log_len()).await.map_err(io)?;
        let seen = Seen {
            activity: session
                .activity
                .as_ref()
                .map(|activity| (activity.doing, activity.source.as_str())),
            is_news: session.activity_seq > after,
            printed,
            speaks: heard.is_some_and(|heard| heard.speaks),
            looked: heard.is_some_and(|heard| heard.looked_to >= length),
        };
        let since = quiet.since_when((length, session.activity_seq));
        let rests_at = heard.and_then(|heard| Some(since.max(heard.since) + seen.rests_after()?));
        if !met && let Some(at) = rests_at.filter(|at| *at <= Instant::now()) {
            met = host.is_local() || proved >= Some(at);
            if !met && !session.state.is_ended() {
                // One that was just cut off is not known to be away yet. Then it is looked at again.
                proved = prove(&host).await;
                if proved.is_none() {
                    quiet.begin();
                }
                continue;
            }
        }
        if met || session.state.is_ended() || watch.is_none() {
            return Ok(SessionWaitDone {
                session: Some(sessions.message(&session)),
                met,
                line: None,
                next_offset: length,
            });
        }
        let Some(watch) = &mut watch else { continue };
        tokio::select! {
            () = watch.changed() => {}
            () = sleep_until(rests_at.unwrap_or_else(Instant::now)), if rests_at.is_some() => {}
            changed = view.changed() => if changed.is_err() {
                return Err(gone());
            },
            changed = link_view.changed(), if !host.is_local() => if changed.is_err() {
                return Err(gone());
            }
        }
    }
}

async fn tell(answers: &Answers, event: Event) -> Result<(), Status> {
    let told = answers
        .send(Ok::<WaitSessionResponse, Status>(message(event)))
        .await;
    told.map_err(|_gone| Status::cancelled("the client went away"))
}

/// Asks a host for a sign of life: everything that it told before is here then. Until when the way was whole; absent: it is
/// not.
async fn prove(host: &Host) -> Option<Instant> {
    let asked = Instant::now();
    if let Ok(Ok(_pong)) = timeout(PROVE, host.client().ping(PingRequest {})).await {
        return Some(asked);
    }
    host.doubt().await;
    None
}

/// What a session wrote since an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Printed {
    Nothing,
    /// One line, which can be the echo of the answer.
    Line,
    /// More than that.
    More,
}

/// What a session wrote from there on, if its log is of this length by now, and up to where that was read: as a rule what is
/// written meanwhile is read as well, and nothing is quiet since before that. `before`: what it had written before.
async fn look(dir: &spool::Dir, from: u64, before: Printed, length: u64) -> io::Result<(Printed, u64)> {
    if before == Printed::More || length <= from {
        return Ok((before, length));
    }
    let dir = dir.clone();
    let (printed, read_to) = read(dir, from).await?;
    Ok((printed, length.max(read_to)))
}

async fn read(dir: spool::Dir, from: u64) -> io::Result<(Printed, u64)> {
    logs::blocking(move || {
        let mut reader = LogReader::open(&dir, from)?;
        let (mut lines, mut has_line) = (Lines::new(), false);
        while let Some(piece) = logs::read_hot(&mut reader)? {
            if is_more(&mut lines, &mut has_line, &piece) || reader.offset().saturating_sub(from) > ECHO_MAX {
                return Ok((Printed::More, reader.offset()));
            }
        }
        Ok((Printed::Line, reader.offset()))
    })
    .await
}

/// Whether there is text behind the first line end.
fn is_more(lines: &mut Lines, has_line: &mut bool, piece: &[u8]) -> bool {
    let mut says = false;
    for &byte in piece {
        let is_end = lines.push(byte);
        // Not at each byte: a line may be long.
        if is_end {
            says |= *has_line && !lines.text().trim().is_empty();
            *has_line = true;
            lines.clear();
        }
    }
    says || (*has_line && !lines.text().trim().is_empty())
}

/// Since when nothing changes.
struct Quiet {
    /// Length of the log, and number of the event that says what the session does.
    seen: (u64, u64),
    since: Instant,
}

impl Quiet {
    fn since(seen: (u64, u64)) -> Self {
        Self {
            seen,
            since: Instant::now(),
        }
    }

    /// Counts anew from now.
    fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Since when that was so which is so now.
    fn since_when(&mut self, now: (u64, u64)) -> Instant {
        if self.seen != now {
            *self = Self::since(now);
        }
        self.since
    }
}

/// What is seen of a session.
struct Seen<'a> {
    /// What it does, and where that was read from.
    activity: Option<(Doing, &'a str)>,
    /// That was found after the answer.
    is_news: bool,
    /// What it wrote since the answer.
    printed: Printed,
    /// It says itself what it does.
    speaks: bool,
    /// The host looked at all there is to see since it wrote that.
    looked: bool,
}

impl Seen<'_> {
    /// It rests when it goes on like that for so long. Absent: it does not rest.
    fn rests_after(&self) -> Option<Duration> {
        let printed = self.printed != Printed::Nothing;
        match self.activity {
            Some((Doing::Waiting | Doing::Idle | Doing::Error, _)) => {
                if self.is_news {
                    Some(QUIET)
                } else {
                    printed.then_some(STILL)
                }
            }
            // Output alone makes that of it, and there is none any more.
            Some((Doing::Working, "output")) | None => self.rests_unknown_after(),
            // A program within a shell, as it was before, that reads no line: it may read keys, as many interpreters do at
            // their prompts. One that the answer brought works.
            Some((Doing::Working, source)) => {
                let may_rest = source.starts_with("process:") && !self.is_news;
                may_rest.then(|| self.rests_unknown_after()).flatten()
            }
            Some((Doing::Starting, _)) => None,
        }
    }

    /// The same of what shows no sign but what it writes.
    const fn rests_unknown_after(&self) -> Option<Duration> {
        match self.printed {
            Printed::Nothing => None,
            _ if self.speaks => Some(SILENT),
            Printed::More if self.looked => Some(QUIET),
            // It may be about to be seen what it does.
            Printed::Line | Printed::More => Some(STILL),
        }
    }
}

/// Whether that is rest which need not have lasted: the program says so itself, or is blocked reading a line.
fn rests_at_once(doing: Doing, source: &str) -> bool {
    let is_own_word = source == "report" || source.starts_with("terminal:");
    let reads_line = doing == Doing::Waiting && source.starts_with("process:");
    doing.ends_by_answer() && (is_own_word || reads_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn printed(printed: bool) -> Printed {
        if printed { Printed::More } else { Printed::Nothing }
    }

    #[test]
    fn what_rests_is_told_from_what_works() {
        let rests = |doing, source, is_news, wrote| {
            Seen {
                activity: Some((doing, source)),
                is_news,
                printed: printed(wrote),
                speaks: false,
                looked: true,
            }
            .rests_after()
        };
        assert_eq!(rests(Doing::Idle, "process:bash", true, false), Some(QUIET));
        assert_eq!(
            rests(Doing::Waiting, "screen:tool/asks", false, true),
            Some(STILL)
        );
        assert_eq!(rests(Doing::Idle, "process:bash", false, false), None);
        assert_eq!(rests(Doing::Working, "output", true, true), Some(QUIET));
        assert_eq!(rests(Doing::Working, "report", false, true), None);
        assert_eq!(rests(Doing::Working, "terminal:prompt", true, true), None);
        // An interpreter in a shell, and a command that the shell was told to run.
        assert_eq!(rests(Doing::Working, "process:python3", false, true), Some(QUIET));
        assert_eq!(rests(Doing::Working, "process:make", true, true), None);
        let unseen = |printed, speaks, looked| {
            Seen {
                activity: None,
                is_news: true,
                printed,
                speaks,
                looked,
            }
            .rests_after()
        };
        let unknown = |printed, speaks| unseen(printed, speaks, true);
        assert_eq!(unknown(Printed::More, false), Some(QUIET));
        assert_eq!(unknown(Printed::Line, false), Some(STILL));
        assert_eq!(unknown(Printed::Nothing, false), None);
        assert_eq!(unseen(Printed::More, false, false), Some(STILL));
        assert_eq!(unknown(Printed::More, true), Some(SILENT));
        assert_eq!(unknown(Printed::Nothing, true), None);
    }

    #[test]
    fn what_cannot_go_on_or_says_so_itself_rests_at_once() {
        for (doing, source, at_once) in [
            (Doing::Waiting, "report", true),
            (Doing::Idle, "terminal:prompt", true),
            (Doing::Waiting, "process:deploy", true),
            (Doing::Idle, "process:bash", false),
            (Doing::Waiting, "screen:tool/asks", false),
            (Doing::Working, "report", false),
            (Doing::Working, "process:make", false),
        ] {
            assert_eq!(rests_at_once(doing, source), at_once, "{doing} {source}");
        }
    }

    #[test]
    fn an_echo_is_told_from_what_a_program_says() {
        let says = |text: &str| is_more(&mut Lines::new(), &mut false, text.as_bytes());
        for echo in ["", "h", "hi\r\n", "\r\n", "hi\r\n\x1b[?2004l\r", "hi\r\n\r\n"] {
            assert!(!says(echo), "{echo:?}");
        }
        for more in ["hi\r\ngot hi\r\n", "hi\r\n> ", "\r\na\r\n\r\n"] {
            assert!(says(more), "{more:?}");
        }
    }

    #[tokio::test]
    async fn what_is_written_while_it_is_read_is_not_quiet() {
        let temp = tempfile::tempdir().unwrap();
        let dir = spool::Dir::new(temp.path().to_owned());
        let mut log = spool::LogWriter::new(&dir, None);
        log.write(spool::Stream::Stdout, b"Name? hi\r\n");
        let echoed = dir.log_len();
        let seen = look(&dir, 6, Printed::Nothing, echoed).await.unwrap();
        assert_eq!(seen, (Printed::Line, echoed));
        log.write(spool::Stream::Stdout, b"Password: ");
        // The length was asked for before.
        let seen = look(&dir, 6, seen.0, echoed).await.unwrap();
        assert_eq!(seen, (Printed::More, dir.log_len()));
        let nothing = look(&dir, 30, Printed::Nothing, echoed).await.unwrap();
        assert_eq!(nothing, (Printed::Nothing, echoed));
    }

    #[test]
    fn what_changes_is_not_quiet() {
        let mut quiet = Quiet::since((1, 1));
        let first = quiet.since;
        assert_eq!(quiet.since_when((1, 1)), first);
        assert!(quiet.since_when((2, 1)) >= first && quiet.seen == (2, 1));
    }
}

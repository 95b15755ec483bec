//! Typing into a session, and looking at its screen.

use outlast_client::{
    helper_v1::{CaptureSessionRequest, CaptureSessionResponse, SendSessionRequest},
    v1::{Error, ErrorKind},
};
use outlast_model::{
    admission::{self, Verb},
    job::TimeMs,
    session::{Session, SessionState},
};
use outlast_store::Request;

use super::Sessions;
use crate::{
    app::now_ms,
    hosts::HostView,
    refusal,
    rpc::{host::not_connected, status::failure},
};

/// Most text in one go, bytes.
const TEXT_MAX: usize = 1 << 20;

/// Most keys in one go.
const KEYS_MAX: usize = 1000;

/// Longest text that is typed rather than pasted, bytes.
const TYPED_MAX: usize = 16 << 10;

/// What to type: text, then keys by their tmux names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Typing {
    /// Typed byte by byte, or pasted.
    pub text: String,
    /// Then pressed.
    pub keys: Vec<String>,
    /// Never paste it.
    pub raw: bool,
}

/// Where what comes of typing begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Length of the log just before.
    pub log_offset: u64,
    /// Number of the event that says what the session did just before.
    pub after_seq: u64,
}

impl Sent {
    /// As it is kept for a repeat of the request.
    fn to_outcome(self) -> String {
        format!("{} {}", self.log_offset, self.after_seq)
    }

    fn from_outcome(outcome: &str) -> Option<Self> {
        let (log_offset, after_seq) = outcome.split_once(' ')?;
        Some(Self {
            log_offset: log_offset.parse().ok()?,
            after_seq: after_seq.parse().ok()?,
        })
    }
}

impl Typing {
    /// Whether the text is pasted: a line editor would take more lines for several answers and control characters for
    /// keys, and much text is nothing that anybody types. One line that is ended by its own line end is typed.
    fn is_paste(&self) -> bool {
        let line = self.text.strip_suffix('\n').unwrap_or(&self.text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        !self.raw && (line.len() > TYPED_MAX || line.bytes().any(|byte| byte.is_ascii_control()))
    }

    /// Whether it is text with an Enter.
    pub(super) fn is_command(&self) -> bool {
        let enter = self.keys.first().is_some_and(|key| key == "Enter");
        !self.text.is_empty() && (enter || self.text.ends_with(['\n', '\r']))
    }

    fn check(&self) -> Result<(), Error> {
        let (problem, hint) = if self.text.len() > TEXT_MAX {
            let problem = format!(
                "the text has {} bytes; at most {TEXT_MAX} can be typed at once",
                self.text.len()
            );
            (problem, "send it in pieces, all but the last with --no-enter")
        } else if self.keys.len() > KEYS_MAX {
            let problem = format!(
                "these are {} keys; at most {KEYS_MAX} can be pressed at once",
                self.keys.len()
            );
            (
                problem,
                "send them in pieces: outlast session send NAME --keys KEY…",
            )
        } else if self.text.is_empty() && self.keys.is_empty() {
            let problem = "there is nothing to type".to_owned();
            (
                problem,
                "outlast session send NAME TEXT, or outlast session send NAME --keys Enter",
            )
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Usage, problem).with_hint(hint))
    }
}

impl Sessions {
    /// Types into a session. Returns where what comes of it begins. A request is recorded before its effect, so
    /// that a repeat never types twice; its answer is the first one, or if that got lost, what was known before the effect.
    ///
    /// # Errors
    /// When there is too much to type, the program does not run, or the host does not answer.
    pub async fn send(
        &self,
        session: &Session,
        verb: Verb,
        typing: Typing,
        request: Option<Request>,
    ) -> Result<Sent, Error> {
        typing.check()?;
        let store = &self.app().store;
        if let Some(request) = &request
            && let Some(recorded) = store.find_request(request).await.map_err(failure)?
        {
            return Ok(self.first_answer(session, recorded.outcome.as_deref()));
        }
        admission::reach(session, verb).map_err(|denial| refusal::denied(&denial, Some(session.id)))?;
        let typing = self.for_menu(session, typing)?;
        // Before the request is recorded: one that was never tried can be repeated.
        let host = self.reachable(&session.host)?;
        if let Some(request) = &request {
            // Nothing that comes of it is in front of that, however the daemon ends meanwhile.
            let before = self.position(session).to_outcome();
            let recorded = store
                .record_request(request, &session.id.to_string(), Some(&before))
                .await
                .map_err(failure)?;
            if recorded.is_repeat() {
                return Ok(self.first_answer(session, recorded.into_inner().outcome.as_deref()));
            }
        }
        let mut client = host.client();
        let paste = typing.is_paste();
        let command = typing.is_command().then(|| typing.text.clone());
        let sent = client.send_session(SendSessionRequest {
            id: session.id.to_string(),
            paste,
            text: typing.text.into_bytes().into(),
            keys: typing.keys,
        });
        let sent = super::answered(&host, sent).await?;
        let answered_ms = sent.answered_ms;
        let after_seq = self.answered(session, answered_ms).await;
        let sent = Sent {
            log_offset: sent.log_offset,
            after_seq: after_seq.unwrap_or_default(),
        };
        if let Some(command) = command {
            self.note_for_history(session, sent.log_offset, answered_ms, &command)
                .await;
        }
        if let Some(request) = request
            && let Err(error) = store.set_request_outcome(&request.id, &sent.to_outcome()).await
        {
            // It was typed, which is what counts; only a repeat would get earlier positions.
            tracing::warn!(%error, "recording where input was typed");
        }
        Ok(sent)
    }

    fn first_answer(&self, session: &Session, outcome: Option<&str>) -> Sent {
        outcome
            .and_then(Sent::from_outcome)
            .unwrap_or_else(|| self.position(session))
    }

    /// Where a session is now, as far as that is known here.
    fn position(&self, session: &Session) -> Sent {
        Sent {
            log_offset: self.spool_dir(session).map_or(0, |dir| dir.log_len()),
            after_seq: self.activity_seq(session),
        }
    }

    /// What a session's screen shows, or showed last; how it is to be looked at says `look`.
    ///
    /// # Errors
    /// When the host does not answer or nothing is left to show.
    pub async fn peek(
        &self,
        session: &Session,
        look: CaptureSessionRequest,
    ) -> Result<CaptureSessionResponse, Error> {
        let host = self.inner.handles.host(&session.host)?;
        let log = format!(
            "outlast session logs {} shows what it wrote until then",
            session.name
        );
        if !host.is_up() {
            // Somebody waits for it.
            host.nudge();
            let view = host.view().borrow().clone();
            let error = not_connected(host.name(), &view);
            let message = format!("{}; {}", error.message, last_seen(&view, now_ms()));
            return Err(Error { message, ..error }.with_hint(log));
        }
        let mut client = host.client();
        let screen = client.capture_session(CaptureSessionRequest {
            id: session.id.to_string(),
            ..look
        });
        match super::answered(&host, screen).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(no_screen(session)),
            Err(error) if error.kind() == ErrorKind::Unreachable => Err(error.with_hint(log)),
            answer => answer,
        }
    }
}

/// How old everything is that is known of a host.
fn last_seen(view: &HostView, now: TimeMs) -> String {
    let Some(at) = view.observed_at else {
        return "it was never seen yet".to_owned();
    };
    let seconds = now.saturating_sub(at).max(0) / 1000;
    let age = match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("it was seen last {age} ago")
}

/// The screen went with the tmux server; the log is on disk.
fn no_screen(session: &Session) -> Error {
    let name = &session.name;
    let verb = match session.state {
        SessionState::Lost => "recover",
        _ => "restart",
    };
    Error::new(
        ErrorKind::WrongState,
        format!("the screen of session {name} is gone: its tmux server has ended"),
    )
    .with_hint(format!(
        "outlast session logs {name} shows what it wrote; outlast session {verb} {name} starts it again"
    ))
    .about(session.id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(text: usize, keys: usize) -> Typing {
        Typing {
            text: "x".repeat(text),
            keys: vec!["a".to_owned(); keys],
            raw: false,
        }
    }

    #[test]
    fn more_than_a_plain_line_is_a_paste() {
        let is_paste = |text: &str, raw| {
            let text = text.to_owned();
            Typing {
                text,
                raw,
                ..Typing::default()
            }
            .is_paste()
        };
        let long = "x".repeat(TYPED_MAX + 1);
        for text in ["a\nb", "a\tb", "\x03", "a\x1b[201~b", "a\n\n", "\x7f", &long] {
            assert!(is_paste(text, false), "{text:?}");
            assert!(!is_paste(text, true), "{text:?}");
        }
        for text in ["", "a b é \u{9b}", "one line\n", "one line\r\n", &long[1..]] {
            assert!(!is_paste(text, false), "{text:?}");
        }
    }

    #[test]
    fn where_it_was_typed_reads_back() {
        let sent = Sent {
            log_offset: 12,
            after_seq: 3,
        };
        assert_eq!(Sent::from_outcome(&sent.to_outcome()), Some(sent));
        assert_eq!(Sent::from_outcome("12"), None);
    }

    #[test]
    fn how_old_things_are_is_said_in_words_of_people() {
        let seen = |at| {
            let view = HostView {
                observed_at: at,
                ..HostView::default()
            };
            last_seen(&view, 1_000_000_000)
        };
        assert_eq!(seen(Some(999_995_000)), "it was seen last 5 s ago");
        assert_eq!(seen(Some(999_700_000)), "it was seen last 5 min ago");
        assert_eq!(seen(Some(982_000_000)), "it was seen last 5 h ago");
        assert_eq!(seen(Some(568_000_000)), "it was seen last 5 days ago");
        assert_eq!(seen(Some(2_000_000_000)), "it was seen last 0 s ago");
        assert_eq!(seen(None), "it was never seen yet");
    }

    #[test]
    fn too_much_and_nothing_are_refused() {
        for (text, keys) in [(TEXT_MAX + 1, 0), (0, KEYS_MAX + 1), (0, 0)] {
            let error = typing(text, keys).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{text} {keys}");
        }
        for (text, keys) in [(TEXT_MAX, 0), (0, KEYS_MAX), (1, 1)] {
            assert_eq!(typing(text, keys).check(), Ok(()));
        }
    }
}

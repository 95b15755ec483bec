//! `outlast-helper report STATE [--unless STATE] [MESSAGE… | --message TEXT | --message-json POINTER… …]`: what a hook of a
//! program calls.
//!
//! Hooks run in the middle of other programs' work, wherever those are started. So this does nothing where there is no
//! session, prints nothing when it worked, and never waits for long.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
    stdio::stdin,
};
use serde_json::Value;

use super::{DIR_VARIABLE, REPORTS_VARIABLE, UNLESS, inside::is_inside};
use crate::{plain, spool::Doing};

/// How long standard input may take to end. Hooks are given a document that is there already.
const INPUT_WITHIN: Duration = Duration::from_secs(2);

/// The longest document that is read, bytes.
const INPUT_MAX: usize = 1 << 20;

/// How long the FIFO may be full. The pane empties it at once unless the machine is in trouble.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// What to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    state: String,
    /// What must not be reported already.
    unless: Option<String>,
    message: Message,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    None,
    Text(Vec<u8>),
    /// Where it stands in the document on standard input: the first of these of which all strings are there.
    Places(Vec<Place>),
}

/// What a message is put together of: pointers to strings of a JSON document.
type Place = Vec<String>;

impl Report {
    /// Reads the arguments. None: they are wrong.
    #[must_use]
    pub fn parse(args: &[&OsStr]) -> Option<Self> {
        let (state, rest) = args.split_first()?;
        let state = state.to_str()?.to_owned();
        let _: Doing = state.parse().ok()?;
        let mut unless = None;
        let mut message = Message::None;
        let mut rest = rest;
        while let [first, after @ ..] = rest {
            let words = after.iter().take_while(|word| !is_option(word)).count();
            let (words, others) = after.split_at(words);
            rest = match (first.to_str(), &mut message) {
                (Some("--unless"), _) if unless.is_none() => {
                    let (state, after) = after.split_first()?;
                    let state = state.to_str()?;
                    let _: Doing = state.parse().ok()?;
                    unless = Some(state.to_owned());
                    after
                }
                (Some("--message"), Message::None) => {
                    let (text, after) = after.split_first()?;
                    message = Message::Text(text.as_encoded_bytes().to_vec());
                    after
                }
                (Some("--message-json"), Message::None) => {
                    message = Message::Places(vec![place(words)?]);
                    others
                }
                (Some("--message-json"), Message::Places(places)) => {
                    places.push(place(words)?);
                    others
                }
                // As it is written to the FIFO.
                (_, Message::None) if !is_option(first) && others.is_empty() => {
                    let words: Vec<_> = rest.iter().map(|word| word.as_encoded_bytes()).collect();
                    message = Message::Text(words.join(&b' '));
                    others
                }
                _ => return None,
            };
        }
        Some(Self {
            state,
            unless,
            message,
        })
    }

    /// Of arguments that are wrong: the word that should be a state and is none.
    #[must_use]
    pub fn unknown_state(args: &[&OsStr]) -> Option<String> {
        let word = args.first()?.to_string_lossy();
        let known = word.parse::<Doing>().is_ok() || word.starts_with('-');
        (!known).then(|| plain::line(word.as_bytes()))
    }

    fn line(&self) -> String {
        let message = match &self.message {
            Message::None => String::new(),
            Message::Text(text) => plain::line(text),
            Message::Places(places) => from_json(&input(), places),
        };
        let blank = if message.is_empty() { "" } else { " " };
        let unless = self.unless.as_ref().map(|unless| format!("{UNLESS}{unless}"));
        format!("{}{}{blank}{message}\n", self.state, unless.unwrap_or_default())
    }
}

fn is_option(word: &OsStr) -> bool {
    word.as_encoded_bytes().starts_with(b"-")
}

/// None: these are no pointers.
fn place(pointers: &[&OsStr]) -> Option<Place> {
    let pointers = pointers.iter().map(|pointer| {
        let pointer = pointer.to_str()?;
        (pointer.is_empty() || pointer.starts_with('/')).then(|| pointer.to_owned())
    });
    let place: Place = pointers.collect::<Option<_>>()?;
    (!place.is_empty()).then_some(place)
}

/// Tells the session this runs in. Outside of one, in something that only was started from one, or when nobody listens
/// there any more, it does nothing.
///
/// # Errors
/// When somebody listens and cannot be told.
pub fn report(report: &Report) -> io::Result<()> {
    let inside = env::var_os(DIR_VARIABLE).is_none_or(|dir| is_inside(Path::new(&dir)));
    match env::var_os(REPORTS_VARIABLE).filter(|path| inside && !path.is_empty()) {
        Some(path) => send(Path::new(&path), report.line().as_bytes()),
        None => Ok(()),
    }
}

fn send(path: &Path, line: &[u8]) -> io::Result<()> {
    let opened = File::options()
        .append(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path);
    let mut fifo = match opened {
        Ok(fifo) => fifo,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(()),
        Err(error) => return Err(error),
    };
    let until = Instant::now() + ROOM_WITHIN;
    loop {
        // A line is shorter than what a FIFO takes whole or not at all.
        match fifo.write(line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => return other.map(drop),
        }
        if !is_ready(&fifo, PollFlags::OUT, until) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the session takes no reports",
            ));
        }
    }
}

/// What is on standard input. What comes too late or is too much is not read.
fn input() -> Vec<u8> {
    let mut document = Vec::new();
    if io::stdin().is_terminal() {
        return document;
    }
    let until = Instant::now() + INPUT_WITHIN;
    let mut buffer = [0; 16 << 10];
    while document.len() < INPUT_MAX && is_ready(stdin(), PollFlags::IN, until) {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(got @ 1..) => document.extend_from_slice(&buffer[..got]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => break,
        }
    }
    document
}

/// What a JSON document has at the first of these places that is there whole, its parts with a colon between them; empty:
/// it has none.
fn from_json(document: &[u8], places: &[Place]) -> String {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    let string = |pointer: &String| {
        let text = document.pointer(pointer).and_then(Value::as_str)?;
        Some(plain::line(text.as_bytes())).filter(|text| !text.is_empty())
    };
    let found = places
        .iter()
        .find_map(|place| place.iter().map(string).collect::<Option<Vec<_>>>());
    // Together they may be longer than one.
    plain::line(found.unwrap_or_default().join(": ").as_bytes())
}

/// Waits until something can be read or written, at most until then.
fn is_ready(file: impl AsFd, wanted: PollFlags, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or_default();
    let fd = file.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<Report> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        Report::parse(&args)
    }

    #[test]
    fn a_word_that_is_no_state_is_named() {
        let word = |args: &[&str]| {
            let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            Report::unknown_state(&args)
        };
        assert_eq!(word(&["busy", "x"]).as_deref(), Some("busy"));
        assert_eq!(word(&["bu\x1b\nsy"]).as_deref(), Some("bu sy"));
        assert_eq!(
            (word(&[]), word(&["waiting", "--such"]), word(&["--help"])),
            (None, None, None)
        );
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(parse(&["idle"]).unwrap().line(), "idle\n");
        let message = parse(&["waiting", "--message", "a\nb \x1b[m"]).unwrap();
        assert_eq!(message.line(), "waiting a b [m\n");
        assert_eq!(
            parse(&["waiting", "Go", "on?"]).unwrap().line(),
            "waiting Go on?\n"
        );
        assert!(parse(&["error", "--message-json", "/a/b"]).is_some());
        let places = parse(&["error", "--message-json", "/a", "/b", "--message-json", "/c"]).unwrap();
        assert_eq!(
            places.message,
            Message::Places(vec![vec!["/a".into(), "/b".into()], vec!["/c".into()]])
        );
        for args in [
            &["waiting", "--unless", "error", "--message", "-a"][..],
            &["waiting", "--message", "-a", "--unless", "error"],
            &["waiting", "--unless", "error", "--message-json", "/a"],
            &["waiting", "--message-json", "/a", "--unless", "error"],
            &["waiting", "--unless", "error", "a", "b"],
        ] {
            assert_eq!(parse(args).unwrap().unless.as_deref(), Some("error"), "{args:?}");
        }
        let line = parse(&["waiting", "--unless", "error", "a", "b"]).unwrap().line();
        assert_eq!(line, "waiting/error a b\n");
        for wrong in [
            &[][..],
            &["busy"],
            &["idle", "x", "-y"],
            &["idle", "--message"],
            &["idle", "--message-json", "a"],
            &["idle", "--message", "a", "--message", "b"],
            &["idle", "--message", "a", "--message-json", "/b"],
            &["idle", "--message-json"],
            &["idle", "--message-json", "/a", "b"],
            &["idle", "--message-json", "/a", "--message-json"],
            &["idle", "--unless"],
            &["idle", "--unless", "busy"],
            &["idle", "--unless", "idle", "--unless", "error"],
            &["idle", "x", "--unless", "error"],
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_message_is_found_in_a_document() {
        let document = br#"{"message":"Allow\nrm?","tool":{"name":"Bash","n":1},"none":" \n"}"#;
        let find = |document: &[u8], places: &[&[&str]]| {
            let places: Vec<Place> = places
                .iter()
                .map(|place| place.iter().map(|&pointer| pointer.to_owned()).collect())
                .collect();
            from_json(document, &places)
        };
        assert_eq!(find(document, &[&["/message"]]), "Allow rm?");
        assert_eq!(find(document, &[&["/tool/name"]]), "Bash");
        assert_eq!(find(document, &[&["/tool/name", "/message"]]), "Bash: Allow rm?");
        let places: &[&[&str]] = &[
            &["/tool/n"],
            &["/tool/name", "/none"],
            &["/tool/name"],
            &["/message"],
        ];
        assert_eq!(find(document, places), "Bash", "the first that is there whole");
        for none in ["/tool/n", "/tool", "/none", "/nowhere", ""] {
            assert_eq!(find(document, &[&[none]]), "", "{none}");
        }
        assert_eq!(find(b"{\"message\":\"cut", &[&["/message"]]), "");
        let long = format!(r#"{{"a":"{}","b":"c"}}"#, "a".repeat(2000));
        assert_eq!(find(long.as_bytes(), &[&["/a", "/b"]]), "a".repeat(1000));
    }

    #[test]
    fn nobody_who_listens_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("reports");
        send(&fifo, b"idle\n").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        send(&fifo, b"idle\n").unwrap();
    }
}
